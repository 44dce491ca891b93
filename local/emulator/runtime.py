"""The runtime as a whole: template, environments, queues, schedules and the front, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from emulator.asynchronous import Asynchronous
from emulator.body import AsgiApp
from emulator.consumer import Consumer
from emulator.gateway import Gateway
from emulator.invoke_api import InvokeApi
from emulator.messages import Messages
from emulator.model import Template
from emulator.pool import Pool
from emulator.runtime_api import Result
from emulator.scheduler import Scheduler
from emulator.server import PatientProtocol, Server

DRAIN_SECONDS = 30


class Runtime:
    """Runs every function of a template: `serve` until told to stop, or `invoke` one function.

    What has to outlive it, and the functions' logs, lie in *data_dir*; without one they do not outlive it.
    """

    def __init__(
        self,
        template: Template,
        static: AsgiApp | None = None,
        trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (),
        data_dir: Path | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        # A visitor is not to wait for a process to start, so what requests share is always there.
        warm = {route.function for route in template.routes if route.batch}
        logs = data_dir / "logs" if data_dir else None
        self.pools = {
            name: Pool(function, logs, keep_warm=int(name in warm)) for name, function in template.functions.items()
        }
        self.messages = Messages(data_dir / "queues.sqlite3" if data_dir else None)
        self.gateway = Gateway(template, self.pools, static, trusted_proxies, aliases)
        self.asynchronous = Asynchronous(self.pools, self.messages)
        self.invoke_api = InvokeApi(self.pools, self.asynchronous)
        self._scheduler = Scheduler(template.schedules, self.asynchronous, self.messages)
        self._consumer = Consumer(template.queue_sources, template.queues, self.pools, self.messages)
        self._stop = asyncio.Event()

    async def invoke(self, function: str, payload: bytes) -> Result:
        """Invoke a function by its logical id."""
        return await self.pools[function].invoke(payload)

    async def serve(
        self, listener: socket.socket, on_ready: Callable[[], None], invoke_listener: socket.socket | None = None
    ) -> None:
        """Answer HTTP and fire schedules until SIGINT, SIGTERM or `finish`; then end what is under way and stop.

        The Invoke API answers on *invoke_listener*. A second signal does not wait for what is under way.
        """
        front = Server(self.gateway, PatientProtocol, on_ready)
        behind = Server(self.invoke_api, "httptools")
        # Next to nothing of a request is garbage that only the collector finds; what was loaded until now never is.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self.start()
        with self._signals():
            servers = [asyncio.create_task(front.serve([listener]))]
            if invoke_listener:
                servers.append(asyncio.create_task(behind.serve([invoke_listener])))
            stop = asyncio.create_task(self._stop.wait())
            await asyncio.wait([stop, *servers], return_when=asyncio.FIRST_COMPLETED)
            self._stop.clear()
            draining = asyncio.create_task(self._drain())
            hurry = asyncio.create_task(self._stop.wait())
            await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
            for task in (stop, hurry, draining):
                task.cancel()
            front.should_exit = behind.should_exit = True
            await asyncio.gather(*servers)
            await self.stop()

    def start(self) -> None:
        """Begin with what comes by itself: schedules, queues, events that were accepted before."""
        self.asynchronous.start()
        self._consumer.start()
        self._scheduler.start()

    def finish(self) -> None:
        """Make `serve` return, as a signal would."""
        self._stop.set()

    async def stop(self) -> None:
        """End every environment."""
        for pool in self.pools.values():
            await pool.stop()
        self.messages.close()

    async def _drain(self) -> None:
        """Refuse what comes, and wait for what was taken."""
        self.gateway.close()
        self.invoke_api.close()
        self._scheduler.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(self.gateway.drain(), self.invoke_api.drain()), DRAIN_SECONDS)
        await asyncio.gather(self.asynchronous.stop(), self._consumer.stop())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.finish)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
