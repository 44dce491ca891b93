"""The runtime as a whole: template, environments, schedules and the front, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import socket
from collections.abc import Callable, Sequence

from emulator.gateway import AsgiApp, Gateway
from emulator.pool import Pool
from emulator.runtime_api import Result
from emulator.scheduler import Scheduler
from emulator.server import Server
from emulator.template import Template

DRAIN_SECONDS = 30


class Runtime:
    """Runs every function of a template: `serve` until told to stop, or `invoke` one function."""

    def __init__(
        self,
        template: Template,
        static: AsgiApp | None = None,
        trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (),
    ) -> None:
        self.pools = {name: Pool(function) for name, function in template.functions.items()}
        self.gateway = Gateway(template, self.pools, static, trusted_proxies)
        self._scheduler = Scheduler(template.schedules, self.pools)
        self._front: Server | None = None

    async def invoke(self, function: str, payload: bytes) -> Result:
        """Invoke a function by its logical id."""
        return await self.pools[function].invoke(payload)

    async def serve(self, listener: socket.socket, on_ready: Callable[[], None]) -> None:
        """Answer HTTP and fire schedules until SIGINT, SIGTERM or `finish`; then end what is under way and stop."""
        self._front = Server(self.gateway, on_ready)
        self._scheduler.start()
        # Next to nothing of a request is garbage that only the collector finds; what was loaded until now never is.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        try:
            await self._front.serve([listener])
        finally:
            await self._scheduler.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.gateway.drain(), DRAIN_SECONDS)
            await self.stop()

    def finish(self) -> None:
        """Make `serve` return, as a signal would."""
        if self._front:
            self._front.should_exit = True

    async def stop(self) -> None:
        """End every environment."""
        for pool in self.pools.values():
            await pool.stop()
