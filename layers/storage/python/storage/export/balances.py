"""The balance of an hour, laid beside the data once everything of that hour is delivered."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict

import orjson

from storage import balance, objects
from storage.balance import Line
from storage.database import Connection
from storage.destination import Destination
from storage.export.layout import Layout
from storage.objects import Body

# In one run, so that a long history keeps no delivery waiting.
MOST_HOURS = 48
KEY = re.compile(r"/balance/date=(\d{4}-\d\d-\d\d)/hour=(\d\d)\.json")


def put(
    connection: Connection, destination: Destination, layout: Layout, fence: int, has_time: Callable[[], bool]
) -> None:
    """Write the balances that a bucket lacks, oldest first.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached.
    """
    for hour in balance.due(connection, destination.name, destination.bucket, MOST_HOURS):
        if not has_time():
            return
        lines = balance.balance(connection, [destination.name], hour, hour + balance.HOUR)
        text = render(destination, layout, hour, lines)
        key = f"{destination.prefix}/balance/date={hour:%Y-%m-%d}/hour={hour:%H}.json"
        objects.put(destination, key, Body.of(text, "application/json"), fence)
        difference = max((abs(line.destinations[destination.name].difference) for line in lines), default=0)
        balance.written(connection, destination.name, destination.bucket, hour, difference)


def take_over(connection: Connection, destination: Destination) -> None:
    """Record the balances that a bucket has: of what was refused, withheld and erased then nobody else knows.

    Raises:
        DeliveryFailed: the bucket cannot be read.
    """
    for key in objects.keys(destination, f"{destination.prefix}/balance/"):
        if found := KEY.search(key):
            hour = dt.datetime.fromisoformat(f"{found[1]}T{found[2]}:00:00Z")
            balance.written(connection, destination.name, destination.bucket, hour, 0)


def render(destination: Destination, layout: Layout, hour: dt.datetime, lines: Sequence[Line]) -> bytes:
    """The report of one hour in one bucket: a line for each site that its rules show."""
    sites = [
        {
            "site_id": line.site_id,
            "received": line.received,
            "refused": line.refused,
            "withheld": line.withheld,
            **asdict(line.destinations[destination.name]),
        }
        for line in lines
        if layout.shows_site(line.site_id)
    ]
    document = {"hour": hour.astimezone(dt.UTC), "destination": destination.name, "sites": sites}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
