"""What was used in a range of days at a glance: totals and what they were before, by site, group, day and type."""

from __future__ import annotations

import datetime as dt
from typing import Any

from storage import audiences, quotas, usage
from storage.database import Connection
from storage.settings import Settings

MOST_SITES = MOST_TYPES = 1000


def report(
    connection: Connection,
    settings: Settings,
    start: dt.date,
    end: dt.date,
    *,
    site: str | None = None,
    group: str | None = None,
) -> dict[str, Any] | None:
    """What was used from the day *start* on and before *end*: totals, trend, and the same by site, by day, by group, by type.

    Of one site or of the sites of one group, if it is named; None where there is no such one. The trend compares with as many days before. The
    quotas are those of the month of the last day, whatever is asked for.
    """
    known = usage.sites_of(connection, settings)
    only = None
    if site is not None or group is not None:
        only = [name for name, one in known.items() if site in (None, name) and group in (None, one["group"])]
        if not only and group not in {one.group for one in settings.sites.values()}:
            return None
    rows = usage.lines(connection, start, end, only)
    together, by_site = audiences.counts(connection, start, end, only)
    totals = {**usage.total(rows), "visitors": together[0], "sessions": together[1]}
    held, held_by = usage.storage_held(connection, only)
    sites = [
        {
            **known.get(name, {**usage.UNNAMED, "site_id": name}),
            **counted,
            "visitors": who[0],
            "sessions": who[1],
            "held": held_by.get(name, {}),
        }
        for name, counted in usage.totals_by(rows, lambda row: row["site_id"]).items()
        for who in [by_site.get(name, (None, None))]
    ]
    sites.sort(key=lambda one: (-one["events"], one["site_id"]))
    return {
        "from": start,
        "to": end,
        "totals": totals,
        "billed": usage.total(row for row in rows if known.get(row["site_id"], usage.UNNAMED)["billed"]),
        "trend": _trend(totals, usage.total(usage.lines(connection, start - (end - start), start, only))),
        "sites": sites[:MOST_SITES],
        "sites_left_out": max(0, len(sites) - MOST_SITES),
        "groups": usage.totals_by(rows, lambda row: known.get(row["site_id"], usage.UNNAMED)["group"] or ""),
        "days": [{"day": day, **counted} for day, counted in usage.totals_by(rows, lambda row: row["day"]).items()],
        "types": usage.types(connection, start, end, only)[:MOST_TYPES],
        "quotas": quotas.standing(connection, settings, (end - dt.timedelta(days=1)).replace(day=1)),
        "storage": held,
    }


def _trend(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What each number was in the days before, and by what share it has changed; None where it was nothing."""
    return {
        name: {
            "before": before[name],
            "change": round(now[name] / before[name] - 1, 4) if before[name] else None,
        }
        for name in usage.COUNTS
    }
