"""Fires schedules: each due time is an asynchronous invocation."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import uuid
from collections.abc import Sequence
from functools import partial

from emulator.asynchronous import Asynchronous
from emulator.intrinsics import ACCOUNT_ID, PSEUDO_PARAMETERS
from emulator.messages import Messages, insist
from emulator.model import Schedule

logger = logging.getLogger("emulator")

# A clock that was set has to be noticed before long.
LONGEST_SLEEP_SECONDS = 60.0


class Scheduler:
    """Invokes functions when their schedules say so, until it is stopped."""

    def __init__(self, schedules: Sequence[Schedule], asynchronous: Asynchronous, messages: Messages) -> None:
        self._schedules = schedules
        self._asynchronous = asynchronous
        self._messages = messages
        self._followers: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin; nothing fires before its first due time."""
        for schedule in self._schedules:
            task = asyncio.create_task(self._follow(schedule))
            self._followers.add(task)
            task.add_done_callback(self._ended)

    def stop(self) -> None:
        """Fire nothing more."""
        for task in self._followers:
            task.cancel()

    def fire(self, schedule: Schedule, due: dt.datetime) -> str:
        """Invoke the function of *schedule* as if it were due; the id of the request is returned."""
        payload = schedule.input.encode() if schedule.input else scheduled_event(schedule, due)
        return self._asynchronous.accept(schedule.function, payload)

    async def _follow(self, schedule: Schedule) -> None:
        # A rate counts from when it was first heard of, or a machine that restarts daily would never see a week's end.
        anchor = await insist(partial(self._messages.anchor, schedule.name, _now()))
        due = schedule.expression(_now(), anchor)
        while due:
            await _until(due)
            await insist(partial(self.fire, schedule, due))
            # Of what was missed while the machine slept, once is enough: the function catches up on its own.
            due = schedule.expression(max(due, _now() - dt.timedelta(seconds=1)), anchor)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._followers.discard(task)
        if not task.cancelled() and task.exception():
            logger.error("a schedule broke off", exc_info=task.exception())


async def _until(due: dt.datetime) -> None:
    left = (due - _now()).total_seconds()
    while left > 0:
        await asyncio.sleep(min(left, LONGEST_SLEEP_SECONDS))
        left = (due - _now()).total_seconds()


def scheduled_event(schedule: Schedule, due: dt.datetime) -> bytes:
    """The event that EventBridge sends."""
    region = PSEUDO_PARAMETERS["AWS::Region"]
    name = schedule.name.replace(".", "-")
    rule = f"arn:aws:events:{region}:{ACCOUNT_ID}:rule/{name}"
    one_of = f"arn:aws:scheduler:{region}:{ACCOUNT_ID}:schedule/default/{name}"
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": schedule.source,
            "account": ACCOUNT_ID,
            "time": f"{due:%Y-%m-%dT%H:%M:%SZ}",
            "region": region,
            "resources": [rule if schedule.source == "aws.events" else one_of],
            # The scheduler writes its own as text.
            "detail": {} if schedule.source == "aws.events" else "{}",
        }
    ).encode()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
