"""What was used in some days, by day and site, and by type; and what is held."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row

from storage.database import Connection
from storage.naming import Site
from storage.settings import Settings

NAMELESS = Site()
# Of what no site is known by name.
UNNAMED: dict[str, Any] = {
    "site_id": "", "kind": None, "state": None, "registrable_domain": None, "name": None, "group": None, "billed": False,
}  # fmt: skip
COUNTS = ("events", "bytes", "bot_events", "duplicates", "refused", "withheld")


def lines(
    connection: Connection, start: dt.date, end: dt.date, site_ids: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Of each site and day from *start* on and before *end* what was used, by day and site; of some sites if they are named.

    The empty site is that of events whose site could not be told, and of names that are not kept. `delivered` has, by
    destination, the events and bytes that were brought there; `visitors` and `sessions` are None where nobody counted.
    """
    wanted = {"start": start, "end": end, "sites": None if site_ids is None else list(site_ids)}
    found: dict[tuple[dt.date, str], dict[str, Any]] = {}

    def line(row: dict[str, Any]) -> dict[str, Any]:
        key = row["day"], row["site_id"]
        if key not in found:
            empty = dict.fromkeys(COUNTS, 0)
            found[key] = {
                "day": key[0],
                "site_id": key[1],
                **empty,
                "visitors": None,
                "sessions": None,
                "delivered": {},
            }
        return found[key]

    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(USED, wanted):
            line(row).update({name: row[name] for name in (*COUNTS[:3], "visitors", "sessions")})
        for row in cursor.execute(KEPT_OUT, wanted):
            line(row)[row["what"]] = row["number"]
        for row in cursor.execute(DELIVERED, wanted):
            line(row)["delivered"][row["destination"]] = {"events": row["events"], "bytes": row["bytes"]}
    return [found[key] for key in sorted(found)]


def types(
    connection: Connection, start: dt.date, end: dt.date, site_ids: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """By type, those with most events first; the empty type is that of all beyond the first hundred of a site."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            TYPES, {"start": start, "end": end, "sites": None if site_ids is None else list(site_ids)}
        ).fetchall()


def total(some: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What lines come to together, but for visitors and sessions, which no sum is of."""
    summed: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    delivered: dict[str, dict[str, int]] = {}
    for line in some:
        for name in COUNTS:
            summed[name] += line[name]
        for destination, brought in line["delivered"].items():
            into = delivered.setdefault(destination, {"events": 0, "bytes": 0})
            for name in into:
                into[name] += brought[name]
    return {**summed, "delivered": delivered}


def totals_by(rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> dict[Any, dict[str, Any]]:
    """The totals of the lines that are alike by *key*, in the order in which they come."""
    alike: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault(key(row), []).append(row)
    return {name: total(some) for name, some in alike.items()}


def sites_of(connection: Connection, settings: Settings) -> dict[str, dict[str, Any]]:
    """Every known site: what it is, and whether it is billed."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "/* usage.sites */ SELECT site_id, kind, state, registrable_domain FROM sites ORDER BY site_id"
        ).fetchall()
    return {
        row["site_id"]: {
            **row,
            "name": settings.sites.get(row["site_id"], NAMELESS).name,
            "group": settings.sites.get(row["site_id"], NAMELESS).group,
            "billed": row["kind"] == "public" and row["state"] == "confirmed",
        }
        for row in rows
    }


def storage_held(
    connection: Connection, site_ids: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """What is held at this moment: the database's bytes and those of the objects by destination; and the latter of each site.

    Of all sites, or of some. An object of several sites is each one's by its share of the rows.
    """
    row = connection.execute("/* usage.database */ SELECT pg_database_size(current_database())").fetchone()
    together: dict[str, Decimal] = {}
    by_site: dict[str, dict[str, int]] = {}
    for destination, site_id, held in connection.execute(HELD, {"sites": None if site_ids is None else list(site_ids)}):
        together[destination] = together.get(destination, Decimal()) + held
        by_site.setdefault(site_id, {})[destination] = round(held)
    whole = {destination: round(held) for destination, held in together.items()}
    return {"database_bytes": row[0] if row else 0, "destinations": whole}, by_site


USED = """
    /* usage.days */
    SELECT used.day, used.site_id, events, bytes, bot_events, a.visitor_count AS visitors, a.session_count AS sessions
      FROM (SELECT day, site_id, sum(events)::bigint AS events, sum(bytes)::bigint AS bytes,
                   sum(bot_events)::bigint AS bot_events
              FROM usage_days
             WHERE day >= %(start)s AND day < %(end)s AND (%(sites)s::text[] IS NULL OR site_id = ANY (%(sites)s))
             GROUP BY day, site_id) used
      LEFT JOIN usage_audiences a ON a.site_id = used.site_id AND a.period = 'day' AND a.since = used.day
     WHERE events > 0
"""
KEPT_OUT = """
    /* usage.kept_out */
    SELECT (hour AT TIME ZONE 'UTC')::date AS day, site_id,
           CASE reason WHEN 'duplicate' THEN 'duplicates' ELSE 'refused' END AS what, sum(events)::bigint AS number
      FROM turned_away_events
     WHERE hour >= %(start)s::date::timestamp AT TIME ZONE 'UTC' AND hour < %(end)s::date::timestamp AT TIME ZONE 'UTC'
       AND (%(sites)s::text[] IS NULL OR site_id = ANY (%(sites)s))
     GROUP BY 1, 2, 3
    UNION ALL
    SELECT (hour AT TIME ZONE 'UTC')::date, site_id, 'withheld', sum(beacons)::bigint
      FROM withheld_beacons
     WHERE hour >= %(start)s::date::timestamp AT TIME ZONE 'UTC' AND hour < %(end)s::date::timestamp AT TIME ZONE 'UTC'
       AND (%(sites)s::text[] IS NULL OR site_id = ANY (%(sites)s))
     GROUP BY 1, 2
"""
DELIVERED = """
    /* usage.delivered */
    SELECT (b.window_start AT TIME ZONE 'UTC')::date AS day, d.destination, site.key AS site_id,
           sum((site.value ->> 0)::bigint)::bigint AS events, sum((site.value ->> 1)::bigint)::bigint AS bytes
      FROM export_batches b JOIN export_deliveries d USING (batch_id), jsonb_each(d.metered) site
     WHERE b.window_start >= %(start)s::date::timestamp AT TIME ZONE 'UTC'
       AND b.window_start < %(end)s::date::timestamp AT TIME ZONE 'UTC'
       AND (%(sites)s::text[] IS NULL OR site.key = ANY (%(sites)s))
     GROUP BY 1, 2, 3
"""
TYPES = """
    /* usage.types */
    SELECT event_type, sum(events)::bigint AS events, sum(bytes)::bigint AS bytes
      FROM usage_days
     WHERE day >= %(start)s AND day < %(end)s AND (%(sites)s::text[] IS NULL OR site_id = ANY (%(sites)s))
     GROUP BY event_type HAVING sum(events) > 0 ORDER BY events DESC, event_type
"""
HELD = """
    /* usage.held */
    SELECT d.destination, site.key,
           coalesce(sum((object ->> 'bytes')::bigint * site.value::bigint / nullif((object ->> 'rows')::numeric, 0)), 0) AS bytes
      FROM export_deliveries d, jsonb_array_elements(d.objects) object, jsonb_each_text(object -> 'sites') site
     WHERE d.delivered_at IS NOT NULL AND d.expired_at IS NULL AND (%(sites)s::text[] IS NULL OR site.key = ANY (%(sites)s))
     GROUP BY 1, 2
"""
