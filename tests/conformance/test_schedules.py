"""Schedule expressions: what EventBridge accepts, what it refuses, and when it fires."""

import datetime as dt
import itertools
import json
import random
from pathlib import Path

import pytest

from emulator import schedules
from emulator.errors import TemplateInvalid

NOW = dt.datetime(2026, 11, 24, 12, 0, 30, tzinfo=dt.UTC)

ACCEPTED = [
    "rate(1 minute)", "rate(2 minutes)", "rate(1 hour)", "rate(48 hours)", "rate(1 day)", "rate(7 days)",
    "cron(0 10 * * ? *)", "cron(0/15 * * * ? *)", "cron(0 2 ? * SAT#3 *)", "cron(*/15 * * * ? *)",
    "cron(0 18 ? * MON-FRI *)", "cron(0 8 1 * ? *)", "cron(0/5 8-17 ? * MON-FRI *)", "cron(0 0 L * ? *)",
    "cron(0 0 15W * ? *)", "cron(0 0 ? JAN,JUL 6L *)", "cron(0 9 ? * 2#1 2026-2030)", "at(2027-01-01T00:00:00)",
]  # fmt: skip
REFUSED = [
    "rate(10 seconds)", "rate()", "rate(10 minutess)", "rate(-10 minutes)", "rate(0 minutes)", "rate(1 minutes)",
    "rate(2 minute)", "rate( 1 minute)", "rate(1 minute )", "rate(1.5 hours)", "rate(1 week)", "rate(1 MINUTE)",
    "cron(0 dummy ? * MON-FRI *)", "cron(71 8 1 * ? *)", "cron(0 1 * * * *)", "cron(0 24 * * ? *)", "cron(* * * * *)",
    "cron(0 0 0 * ? *)", "cron(0 0 ? 13 MON *)", "cron(0 0 ? * ? *)", "cron(0 0 31 2 ? *)", "at(2027-13-01T00:00:00)",
    "at(tomorrow)", "every hour", "", "0 * * * *",
]  # fmt: skip


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_eventbridge_accepts(text):
    due = schedules.parse(text, "F.Tick")(NOW, NOW)
    assert due
    assert due > NOW


@pytest.mark.parametrize("text", REFUSED)
def test_what_eventbridge_refuses_is_named(text):
    with pytest.raises(TemplateInvalid, match=r"F\.Tick"):
        schedules.parse(text, "F.Tick")


def test_a_rate_counts_from_its_anchor():
    expression = schedules.parse("rate(7 days)", "F.Tick")
    anchor = dt.datetime(2026, 11, 1, 6, 30, tzinfo=dt.UTC)
    assert expression(NOW, anchor) == dt.datetime(2026, 11, 29, 6, 30, tzinfo=dt.UTC)


def test_at_fires_once():
    expression = schedules.parse("at(2026-11-24T13:00:00)", "F.Tick", "Europe/Berlin")
    due = expression(NOW - dt.timedelta(hours=1), NOW)
    assert due == dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
    assert expression(due, NOW) is None


def test_a_time_zone_that_is_none_is_named():
    with pytest.raises(TemplateInvalid, match="Mars/Olympus is not a time zone"):
        schedules.parse("rate(1 day)", "F.Tick", "Mars/Olympus")


@pytest.mark.parametrize(
    ("after", "due"),
    [
        # Berlin's clock goes from 02:00 to 03:00 on 28 March 2027: 02:30 is not there that day.
        ("2027-03-27T12:00:00+00:00", "2027-03-29T00:30:00+00:00"),
        # It goes back from 03:00 to 02:00 on 31 October 2027: 02:30 is there twice, and counts once.
        ("2027-10-30T12:00:00+00:00", "2027-10-31T00:30:00+00:00"),
        ("2027-10-31T00:30:00+00:00", "2027-11-01T01:30:00+00:00"),
    ],
)
def test_the_wall_clock_of_a_zone_is_followed_through_summer_and_winter(after, due):
    expression = schedules.parse("cron(30 2 * * ? *)", "F.Tick", "Europe/Berlin")
    assert expression(dt.datetime.fromisoformat(after), NOW).isoformat() == due


# 1 is Sunday for EventBridge; Python's weekday() has 0 for Monday.
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def part(rng, low, high, *, steps=True):
    """A field of a cron expression with the values that it stands for."""
    first, second = sorted(rng.sample(range(low, high + 1), 2))
    step = rng.randint(1, high - low)
    return rng.choice(
        [
            ("*", set(range(low, high + 1))),
            (str(first), {first}),
            (f"{first}-{second}", set(range(first, second + 1))),
            (f"{first},{second}", {first, second}),
            *([(f"{first}/{step}", set(range(first, high + 1, step)))] if steps else []),
        ]
    )


def test_random_expressions_fire_when_their_definition_says():
    rng = random.Random(20261124)
    for _ in range(150):
        minute, minutes = part(rng, 0, 59)
        hour, hours = part(rng, 0, 23)
        month, months = part(rng, 1, 12)
        by_day = rng.random() < 0.5
        day, days = part(rng, 1, 28) if by_day else part(rng, 1, 7, steps=False)
        text = f"cron({minute} {hour} {day if by_day else '?'} {month} {'?' if by_day else day} *)"
        after = dt.datetime(2026, rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), tzinfo=dt.UTC)

        def fits(moment, days=days, by_day=by_day):
            number = moment.day if by_day else DAYS.index(f"{moment:%a}".upper()) + 1
            return number in days

        days_ahead = (after + dt.timedelta(days=number) for number in range(800))
        expected = next(
            moment
            for date in days_ahead
            if date.month in months and fits(date)
            for h, m in itertools.product(sorted(hours), sorted(minutes))
            if (moment := date.replace(hour=h, minute=m)) > after
        )
        assert schedules.parse(text, "F.Tick")(after, after) == expected, text


def test_a_function_that_a_schedule_calls_takes_the_processor_after_the_others(serve, function):
    tick = {"Tick": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 day)"}}}
    code = "import os\ndef handler(event, context): return os.nice(0)"
    client = serve({"F": function(), "Patient": function(tick)}, code).lambda_client()
    nice = {name: int(client.invoke(FunctionName=name)["Payload"].read()) for name in ("F", "Patient")}
    assert nice["Patient"] == nice["F"] + 10


def test_the_group_of_processes_that_gives_way_is_the_functions_and_not_the_runtimes(serve, function):
    def weight(group):
        return group.rpartition(" nice ")[2].strip()

    # A kernel that groups by session gives each function a group, though what starts the runtime may be in none.
    group = Path("/proc/self/autogroup")
    before = group.read_text() if group.exists() else ""
    tick = {"Tick": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 day)"}}}
    code = f"""
    import pathlib

    def handler(event, context):
        group = pathlib.Path("{group}")
        return group.read_text() if group.exists() else ""
    """
    client = serve({"F": function(), "Patient": function(tick)}, code).lambda_client()
    of = {name: weight(json.loads(client.invoke(FunctionName=name)["Payload"].read())) for name in ("F", "Patient")}
    assert of["Patient"] == ("10" if of["F"] else "")
    assert of["F"] in ("0", "")
    assert (group.read_text() if group.exists() else "") == before
