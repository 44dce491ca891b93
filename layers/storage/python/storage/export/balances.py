"""The balance of an hour, laid beside the data once everything of that hour is delivered."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict

import orjson

from storage import balance, objects
from storage.balance import Line
from storage.database import Connection
from storage.objects import Body
from storage.settings import Destination

# In one run, so that a long history keeps no delivery waiting.
MOST_HOURS = 48


def put(connection: Connection, destination: Destination, fence: int, has_time: Callable[[], bool]) -> None:
    """Write the balances that a bucket lacks, oldest first.

    Raises:
        DeliveryFailed: the bucket refused or cannot be reached.
    """
    for hour in balance.due(connection, destination.name, destination.bucket, MOST_HOURS):
        if not has_time():
            return
        lines = balance.balance(connection, [destination.name], hour, hour + balance.HOUR)
        text = render(destination, hour, lines)
        key = f"{destination.prefix}/balance/date={hour:%Y-%m-%d}/hour={hour:%H}.json"
        objects.put(
            destination,
            key,
            Body(io.BytesIO(text), len(text), hashlib.sha256(text).digest(), "application/json"),
            fence,
        )
        difference = max((abs(line.destinations[destination.name].difference) for line in lines), default=0)
        balance.written(connection, destination.name, destination.bucket, hour, difference)


def render(destination: Destination, hour: dt.datetime, lines: Sequence[Line]) -> bytes:
    """The report of one hour in one bucket: a line for each site."""
    sites = [
        {
            "site_id": line.site_id,
            "received": line.received,
            "refused": line.refused,
            "withheld": line.withheld,
            **asdict(line.destinations[destination.name]),
        }
        for line in lines
    ]
    document = {"hour": hour.astimezone(dt.UTC), "destination": destination.name, "sites": sites}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
