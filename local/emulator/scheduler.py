"""Fires schedules: each as an asynchronous invocation, which is retried twice."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import uuid
from collections.abc import Coroutine, Mapping, Sequence

from emulator.errors import Throttled
from emulator.intrinsics import ACCOUNT_ID, PSEUDO_PARAMETERS
from emulator.pool import Pool
from emulator.template import Schedule

logger = logging.getLogger("emulator")

# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
RETRY_SECONDS = (60, 120)
# An invocation that is cut off is done again by the next run; this long it need not be.
STOP_SECONDS = 25


class Scheduler:
    """Invokes functions when their schedules say so, until it is stopped."""

    def __init__(self, schedules: Sequence[Schedule], pools: Mapping[str, Pool]) -> None:
        self._schedules = schedules
        self._pools = pools
        self._followers: set[asyncio.Task[None]] = set()
        self._invocations: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin; nothing fires before its first due time."""
        for schedule in self._schedules:
            _spawn(self._follow(schedule), self._followers)

    async def stop(self) -> None:
        """Fire nothing more, let go of retries that wait, and give what is under way a while to end."""
        self._stopping.set()
        for task in self._followers:
            task.cancel()
        if self._invocations:
            await asyncio.wait(self._invocations, timeout=STOP_SECONDS)

    def fire(self, schedule: Schedule, due: dt.datetime) -> None:
        """Invoke the function of *schedule* as if it were due."""
        payload = schedule.input.encode() if schedule.input else scheduled_event(schedule, due)
        _spawn(self._invoke(schedule, payload), self._invocations)

    async def _follow(self, schedule: Schedule) -> None:
        due = schedule.expression(_now())
        while True:
            await asyncio.sleep(max(0.0, (due - _now()).total_seconds()))
            if _now() < due:
                continue  # The clock was set back, or the sleep ended a little early.
            self.fire(schedule, due)
            # Of what was missed while the machine slept, once is enough: the function catches up on its own.
            due = max(schedule.expression(due), schedule.expression(_now() - dt.timedelta(seconds=1)))

    async def _invoke(self, schedule: Schedule, payload: bytes) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                result = await self._pools[schedule.function].invoke(payload)
                if not result.error_type:
                    return
            except Throttled as error:
                logger.warning("%s was not invoked: %s", schedule.name, error)
            if pause is None:
                logger.error("%s failed three times and waits for its next schedule", schedule.name)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return


def _spawn(work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    task.add_done_callback(_report)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        logger.error("a schedule broke off", exc_info=task.exception())


def scheduled_event(schedule: Schedule, due: dt.datetime) -> bytes:
    """The event that EventBridge sends."""
    region = PSEUDO_PARAMETERS["AWS::Region"]
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT_ID,
            "time": f"{due:%Y-%m-%dT%H:%M:%SZ}",
            "region": region,
            "resources": [f"arn:aws:events:{region}:{ACCOUNT_ID}:rule/{schedule.name.replace('.', '-')}"],
            "detail": {},
        }
    ).encode()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
