"""The environments of one function: started on demand up to a limit, kept warm, replaced when they die."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque

from emulator.environment import Environment
from emulator.errors import Throttled
from emulator.runtime_api import Result
from emulator.template import Function

logger = logging.getLogger("emulator")

# On a machine of two cores more processes than this only take memory.
DEFAULT_CONCURRENCY = 4
LONGEST_QUEUE = 1000


class Pool:
    """Invokes one function; whoever finds every environment busy waits in turn."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._limit = DEFAULT_CONCURRENCY if function.concurrency is None else function.concurrency
        self._environments: set[Environment] = set()
        self._idle: list[Environment] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._releases: set[asyncio.Task[None]] = set()
        self._releasing = 0
        self._stopping = False

    async def invoke(self, payload: bytes) -> Result:
        """Run the function on *payload*.

        Raises:
            Throttled: every environment is busy and too many wait already, or the function may not run at all.
        """
        environment = await self._acquire()
        began = time.monotonic()
        result = await environment.invoke(payload)
        self._report(environment, result, time.monotonic() - began)
        # The caller has its answer; the process is free only once it asks for its next event.
        self._releasing += 1
        release = asyncio.create_task(self._release(environment))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)
        return result

    async def stop(self) -> None:
        """End every environment, and start no other for whoever still waits."""
        self._stopping = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
        await asyncio.gather(*(environment.stop() for environment in set(self._environments)))

    async def _acquire(self) -> Environment:
        if self._limit == 0 or len(self._waiting) >= LONGEST_QUEUE:
            raise Throttled(f"{self.function.name}: no environment is free")
        while True:
            if self._stopping:
                raise Throttled(f"{self.function.name}: the runtime is stopping")
            while self._idle:
                # The one that was used last is the warmest.
                environment = self._idle.pop()
                if environment.alive:
                    return environment
            # One that has answered asks for its next event at once; waiting for that beats starting another.
            soon_free = self._releasing > len(self._waiting)
            if len(self._environments) < self._limit and not soon_free:
                return await self._start()
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._forget(turn)
                raise

    async def _start(self) -> Environment:
        environment = Environment(self.function, self._gone)
        self._environments.add(environment)
        try:
            await environment.start()
        except BaseException as error:
            await environment.stop()
            self._gone(environment)
            if isinstance(error, OSError):
                raise Throttled(f"{self.function.name}: no process can be started: {error}") from error
            raise
        return environment

    async def _release(self, environment: Environment) -> None:
        await environment.until_idle()
        self._releasing -= 1
        if environment.alive:
            self._idle.append(environment)
        self._wake()

    def _gone(self, environment: Environment) -> None:
        self._environments.discard(environment)
        self._wake()

    def _forget(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self._wake()
        elif turn in self._waiting:
            self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _report(self, environment: Environment, result: Result, seconds: float) -> None:
        if result.error_type:
            # The message of a failure may quote what was sent; the function's own log has it.
            logger.error("%s failed: %s", self.function.name, result.error_type)
        line = {"function": self.function.name, "duration_ms": round(seconds * 1000, 2)}
        if environment.init_ms is not None:
            line["init_ms"] = round(environment.init_ms, 2)
            environment.init_ms = None
        logger.debug("%s", json.dumps(line))
