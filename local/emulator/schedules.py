"""Schedule expressions as EventBridge reads them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aws_croniter import AwsCroniter

from emulator.errors import TemplateInvalid

# Given an instant and the schedule's first moment (both UTC), the next instant at which to fire; None for never again.
Expression = Callable[[dt.datetime, dt.datetime], dt.datetime | None]

# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rate-expressions.html: one takes the singular unit.
RATE = re.compile(r"rate\((?:(?P<one>1) (?P<unit>minute|hour|day)|(?P<many>[1-9]\d*) (?P<units>minute|hour|day)s)\)")
LONGEST_RATE_DAYS = 3650
AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


def parse(text: str, where: str, time_zone: str | None = None) -> Expression:
    """The schedule that *text* writes, its wall clock in *time_zone* (UTC where none is named).

    Raises:
        TemplateInvalid: EventBridge would refuse it; the text names *where*.
    """
    zone = _zone(time_zone, where)
    if match := RATE.fullmatch(text):
        count = int(match["one"] or match["many"])
        if count == 1 and match["many"]:
            raise TemplateInvalid(f"{where}: {text} has to name one unit in the singular")
        return _rate(count, match["unit"] or match["units"], f"{where}: {text}")
    if match := AT.fullmatch(text):
        try:
            once = dt.datetime.fromisoformat(match[1]).replace(tzinfo=zone).astimezone(dt.UTC)
        except ValueError as error:
            raise TemplateInvalid(f"{where}: {text} is no moment: {error}") from None
        return lambda after, _anchor: once if once > after else None
    if text.startswith("cron(") and text.endswith(")"):
        try:
            cron = AwsCroniter(text[len("cron(") : -1])
        except ValueError as error:
            raise TemplateInvalid(f"{where}: {text} is not a schedule: {error}") from None
        if _next(cron, dt.datetime.now(dt.UTC), zone) is None:
            raise TemplateInvalid(f"{where}: {text} never fires")
        return lambda after, _anchor: _next(cron, after, zone)
    if text.startswith("rate("):
        raise TemplateInvalid(f"{where}: {text} is no rate such as rate(1 hour) or rate(5 minutes)")
    raise TemplateInvalid(f"{where}: {text} is neither rate(…), cron(…) nor at(…)")


def _rate(count: int, unit: str, where: str) -> Expression:
    # Longer ones lead out of the calendar.
    if count > LONGEST_RATE_DAYS * {"day": 1, "hour": 24, "minute": 24 * 60}[unit]:
        raise TemplateInvalid(f"{where} is longer than {LONGEST_RATE_DAYS} days")
    period = dt.timedelta(**{f"{unit}s": count})
    return lambda after, anchor: anchor + period * ((after - anchor) // period + 1)


def _zone(name: str | None, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise TemplateInvalid(f"{where}: {name} is not a time zone") from None


def _next(cron: AwsCroniter, after: dt.datetime, zone: ZoneInfo) -> dt.datetime | None:
    """The next time that the wall clock shows it; an hour that the clock skips has none, one that it repeats has one."""
    wall = after.astimezone(zone).replace(tzinfo=dt.UTC)
    # Nothing is found by a list of nothing.
    while (found := cron.get_next(wall)) and found[0]:
        wall = found[0]
        moment: dt.datetime = wall.replace(tzinfo=zone).astimezone(dt.UTC)
        exists = moment.astimezone(zone).replace(tzinfo=dt.UTC) == wall
        if exists and moment > after:
            return moment
    return None
