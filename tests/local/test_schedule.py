"""Schedules fire their functions with the event that EventBridge sends."""

import asyncio
import datetime as dt
import json
from types import SimpleNamespace

from emulator.asynchronous import Asynchronous
from emulator.messages import Messages
from emulator.model import AsyncConfig, Schedule
from emulator.runtime_api import Result
from emulator.scheduler import Scheduler

SOON = dt.timedelta(milliseconds=50)


class Recorder:
    """A function that records its events."""

    limit = 4
    function = SimpleNamespace(asynchronous=AsyncConfig())

    def __init__(self):
        self.events = []

    async def invoke(self, payload, **_):
        self.events.append(json.loads(payload))
        return Result(b"{}")


def watch(schedule, count, messages=None):
    pool = Recorder()
    messages = messages or Messages()

    async def work():
        asynchronous = Asynchronous({"F": pool}, messages)
        running = Scheduler([schedule], asynchronous, messages)
        asynchronous.start()
        running.start()
        async with asyncio.timeout(10):
            while len(pool.events) < count:
                await asyncio.sleep(0.01)
        running.stop()
        await asynchronous.stop()

    asyncio.run(work())
    return pool


def test_a_schedule_fires_again_and_again_with_the_scheduled_event():
    pool = watch(Schedule("F.Tick", lambda after, _: after + SOON, "F", None), 3)

    event = pool.events[0]
    assert (event["source"], event["detail-type"], event["detail"]) == ("aws.events", "Scheduled Event", {})
    assert event["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/F-Tick"]
    assert dt.datetime.fromisoformat(event["time"]).tzinfo
    assert len({item["id"] for item in pool.events}) == len(pool.events)


def test_the_scheduler_of_eventbridge_says_so():
    [event] = watch(Schedule("F.Tick", once(), "F", None, "aws.scheduler"), 1).events
    assert (event["source"], event["detail"]) == ("aws.scheduler", "{}")
    assert event["resources"] == ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/F-Tick"]


def test_an_input_replaces_the_event():
    assert watch(Schedule("F.Tick", once(), "F", '{"a": 1}'), 1).events == [{"a": 1}]


def test_a_schedule_counts_from_when_it_was_first_heard_of_also_after_a_restart(tmp_path):
    anchors = []

    def expression(after, anchor):
        anchors.append(anchor)
        return after + SOON if len(anchors) in (1, 3) else None

    for _ in range(2):
        messages = Messages(tmp_path / "queues.sqlite3")
        watch(Schedule("F.Tick", expression, "F", None), 1, messages)
        messages.close()

    assert len(set(anchors)) == 1


def once():
    """A schedule that fires soon and never again."""
    moments = iter([dt.datetime.now(dt.UTC), None])
    return lambda after, anchor: next(moments)
