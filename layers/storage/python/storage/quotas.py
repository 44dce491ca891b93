"""What was agreed on for a month, of the installation, a group or a site: how much of it is used, told at 80 and 100 %."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

from storage import usage, webhooks
from storage.database import Connection
from storage.settings import Settings

TOLD_AT = (80, 100)


def standing(connection: Connection, settings: Settings, month: dt.date) -> list[dict[str, Any]]:
    """Each quota with the events of billed sites that the month beginning with *month* has, and how many are beyond it."""
    agreed = [
        *([("installation", "", settings.quota_events)] if settings.quota_events else []),
        *(("group", name, group.quota_events) for name, group in settings.site_groups.items() if group.quota_events),
        *(("site", name, site.quota_events) for name, site in settings.sites.items() if site.quota_events),
    ]
    if not agreed:
        return []
    end = (month + dt.timedelta(days=32)).replace(day=1)
    used: Counter[tuple[str, str]] = Counter()
    known = usage.sites_of(connection, settings)
    for site_id, events in connection.execute(USED, {"start": month, "end": end}):
        if (site := known.get(site_id)) and site["billed"]:
            for whom in (("installation", ""), ("group", site["group"] or ""), ("site", site_id)):
                used[whom] += events
    return [
        {
            "scope": scope,
            "name": name,
            "quota_events": quota,
            "events": used[scope, name],
            "percent": used[scope, name] * 100 // quota,
            "overage_events": max(0, used[scope, name] - quota),
        }
        for scope, name, quota in agreed
    ]


def watch(connection: Connection, settings: Settings) -> None:
    """Tell of each quota that is used by 80 and by 100 %, each once. Needs the turn of discovery."""
    today = dt.datetime.now(dt.UTC).date()
    # What came in the last moments of a month is read in the next one.
    for month in sorted({day.replace(day=1) for day in (today - dt.timedelta(days=1), today)}):
        for one in standing(connection, settings, month):
            for percent in TOLD_AT:
                if one["percent"] >= percent:
                    _tell(connection, month, one, percent)


def _tell(connection: Connection, month: dt.date, one: dict[str, Any], percent: int) -> None:
    if connection.execute(TELL, (month, one["scope"], one["name"], percent)).fetchone():
        told = {"month": f"{month:%Y-%m}", **one, "reached_percent": percent}
        about = {"installation": "usage", "group": f"group {one['name']}", "site": f"site {one['name']}"}
        webhooks.tell(connection, "usage.quota_reached", told, about[one["scope"]])


USED = """
    /* quotas.used */
    SELECT site_id, sum(events)::bigint FROM usage_days WHERE day >= %(start)s AND day < %(end)s GROUP BY site_id
"""
TELL = """
    /* quotas.tell */
    INSERT INTO usage_quotas_told (month, scope, name, percent) VALUES (%s, %s, %s, %s)
        ON CONFLICT ON CONSTRAINT usage_quotas_told_pkey DO NOTHING RETURNING percent
"""
