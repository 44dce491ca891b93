"""The environments of one function: started on demand up to a limit, kept warm, replaced when they die."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Coroutine
from pathlib import Path

from emulator import intrinsics, metrics
from emulator.environment import Environment
from emulator.errors import Throttled
from emulator.logs import FunctionLog
from emulator.model import Function
from emulator.runtime_api import Invocation, Result

logger = logging.getLogger("emulator")

# On a machine of two cores more processes than this only take memory.
DEFAULT_CONCURRENCY = 4
LONGEST_QUEUE = 1000
# An environment that nobody used for so long is ended.
IDLE_SECONDS = 600.0
# A process that has answered asks for its next event at once; one that does not hangs in what its handler left behind.
AFTER_ANSWER_SECONDS = 2.0
# A function whose process dies while it starts is left alone for a while, longer each time.
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0


class Pool:
    """Invokes one function; whoever finds every environment busy waits in turn."""

    def __init__(self, function: Function, log_directory: Path | None = None, keep_warm: int = 0) -> None:
        self.function = function
        self._limit = DEFAULT_CONCURRENCY if function.concurrency is None else function.concurrency
        self._log = FunctionLog(function.name, log_directory)
        # So many environments stay, however long nobody uses them.
        self._keep_warm = keep_warm
        self._environments: set[Environment] = set()
        self._idle: list[Environment] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._releasing = 0
        self._stopping = False
        self._failed_starts = 0
        self._last_failure: Result | None = None
        self._closed_until = 0.0
        self._reaper: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """How many invocations can run at the same time."""
        return self._limit

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [environment.pid for environment in self._environments if environment.pid]

    async def invoke(
        self, payload: bytes, *, request_id: str | None = None, client_context: str | None = None,
        qualifier: str | None = None, patient: bool = True,
    ) -> Result:  # fmt: skip
        """Run the function on *payload*.

        Who is not *patient* is refused where Lambda would refuse: when as many run as the function has reserved.

        Raises:
            Throttled: every environment is busy and too many wait already, or the function may not run at all.
        """
        name = self.function.name
        try:
            environment = await self._acquire(patient)
        except Throttled:
            metrics.THROTTLES.labels(name).inc()
            raise
        if environment is None:
            assert self._last_failure is not None
            return self._last_failure
        invocation = Invocation(
            payload=payload,
            function_arn=intrinsics.arn(name) + (f":{qualifier}" if qualifier else ""),
            deadline_ms=int((time.time() + self.function.timeout_seconds) * 1000),
            result=asyncio.get_running_loop().create_future(),
            request_id=request_id or str(uuid.uuid4()),
            client_context=client_context,
        )
        try:
            result = await environment.invoke(invocation)
        except OSError as error:
            raise await self._not_started(environment, error) from error
        self._count(result)
        # The caller has its answer; the process is free only once it asks for its next event.
        self._releasing += 1
        self._spawn(self._release(environment))
        return result

    async def stop(self) -> None:
        """End every environment, and start no other for whoever still waits."""
        self._stopping = True
        if self._reaper:
            self._reaper.cancel()
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)
        await asyncio.gather(*(environment.stop() for environment in set(self._environments)))
        self._log.close()

    async def _acquire(self, patient: bool) -> Environment | None:
        """An environment, or none while the function is left alone because it cannot start."""
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
            if self._closed_until > time.monotonic():
                return None
            # One that has answered asks for its next event at once; waiting for that beats starting another.
            soon_free = self._releasing > len(self._waiting)
            if len(self._environments) < self._limit and not soon_free:
                return await self._start()
            if not patient and not soon_free and self.function.concurrency is not None:
                raise Throttled(f"{self.function.name}: as many run as are reserved")
            await self._turn()

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        metrics.WAITING.labels(self.function.name).set(len(self._waiting))
        try:
            await turn
        except asyncio.CancelledError:
            self._forget(turn)
            raise
        finally:
            metrics.WAITING.labels(self.function.name).set(len(self._waiting))

    async def _start(self) -> Environment:
        environment = Environment(self.function, self._gone, self._log)
        self._environments.add(environment)
        metrics.ENVIRONMENTS.labels(self.function.name).set(len(self._environments))
        try:
            await environment.start()
        except OSError as error:
            raise await self._not_started(environment, error) from error
        except BaseException:
            await environment.stop()
            self._gone(environment)
            raise
        return environment

    async def _not_started(self, environment: Environment, error: OSError) -> Throttled:
        """Give an environment's place back whose process the machine could not start."""
        await environment.stop()
        self._gone(environment)
        return Throttled(f"{self.function.name}: no process can be started: {error}")

    async def _release(self, environment: Environment) -> None:
        asked = True
        try:
            await asyncio.wait_for(environment.until_idle(), AFTER_ANSWER_SECONDS)
        except TimeoutError:
            asked = False
            logger.warning("%s answered and does not ask for its next event; its process is ended", self.function.name)
        self._releasing -= 1
        if asked and environment.alive:
            self._idle.append(environment)
            if self._reaper is None:
                self._reap_later(IDLE_SECONDS)
        else:
            await environment.stop()
            self._gone(environment)
        self._wake()

    def _gone(self, environment: Environment) -> None:
        self._environments.discard(environment)
        metrics.ENVIRONMENTS.labels(self.function.name).set(len(self._environments))
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

    def _count(self, result: Result) -> None:
        name = self.function.name
        metrics.INVOCATIONS.labels(name).inc()
        if result.error_type:
            metrics.ERRORS.labels(name).inc()
            # The message of a failure may quote what was sent; the function's own log has it.
            logger.error("%s failed: %s, request %s", name, result.error_type, result.request_id)
        if result.ran:
            self._failed_starts = 0
            return
        self._failed_starts += 1
        self._last_failure = result
        if self._failed_starts > 1:
            pause = min(FIRST_BACKOFF_SECONDS * 2 ** (self._failed_starts - 2), LONGEST_BACKOFF_SECONDS)
            self._closed_until = time.monotonic() + pause
            logger.error("%s cannot start; the next try is in %.1f s", name, pause)

    def _reap_later(self, seconds: float) -> None:
        self._reaper = asyncio.get_running_loop().call_later(seconds, self._reap)

    def _reap(self) -> None:
        """End what nobody has used for a while, and look again when the next one's time has come."""
        self._reaper = None
        now = time.monotonic()
        while len(self._idle) > self._keep_warm and now - self._idle[0].used_at >= IDLE_SECONDS:
            environment = self._idle.pop(0)
            self._gone(environment)
            self._spawn(environment.stop())
        if len(self._idle) > self._keep_warm:
            self._reap_later(max(0.01, self._idle[0].used_at + IDLE_SECONDS - now))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
