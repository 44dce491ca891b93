"""Schedules fire their functions with the event that EventBridge sends, and try again when they fail."""

import asyncio
import datetime as dt
import json

from emulator import scheduler
from emulator.runtime_api import Result
from emulator.scheduler import Scheduler
from emulator.template import Schedule

SOON = dt.timedelta(milliseconds=50)


class Recorder:
    def __init__(self, failures=0):
        self.events = []
        self.failures = failures

    async def invoke(self, payload):
        self.events.append(json.loads(payload))
        failed = len(self.events) <= self.failures
        return Result(b"{}", "Unhandled" if failed else None)


def watch(schedule, pool, count):
    async def work():
        running = Scheduler([schedule], {"F": pool})
        running.start()
        async with asyncio.timeout(10):
            while len(pool.events) < count:
                await asyncio.sleep(0.01)
        await running.stop()

    asyncio.run(work())


def test_a_schedule_fires_again_and_again_with_the_scheduled_event():
    pool = Recorder()
    watch(Schedule("F.Tick", lambda after: after + SOON, "F", None), pool, 3)

    event = pool.events[0]
    assert (event["source"], event["detail-type"], event["detail"]) == ("aws.events", "Scheduled Event", {})
    assert event["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/F-Tick"]
    assert dt.datetime.fromisoformat(event["time"]).tzinfo
    assert len({item["id"] for item in pool.events}) == len(pool.events)


def test_an_input_replaces_the_event():
    pool = Recorder()
    watch(Schedule("F.Tick", lambda after: after + SOON, "F", '{"a": 1}'), pool, 1)
    assert pool.events[0] == {"a": 1}


def test_a_failure_is_tried_again_twice(monkeypatch):
    monkeypatch.setattr(scheduler, "RETRY_SECONDS", (0.01, 0.01))
    pool = Recorder(failures=2)
    once = iter(
        [dt.datetime.now(dt.UTC), dt.datetime.now(dt.UTC) + dt.timedelta(days=1)]
        + [dt.datetime.max.replace(tzinfo=dt.UTC)] * 9
    )
    watch(Schedule("F.Tick", lambda after: next(once), "F", '{"a": 1}'), pool, 3)
    assert pool.events == [{"a": 1}] * 3
