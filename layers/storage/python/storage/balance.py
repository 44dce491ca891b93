"""Conservation: by site and hour, every event that came is exported, left out, refused, withheld, erased or pending."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg.rows import dict_row

from storage.database import Connection

HOUR = dt.timedelta(hours=1)


@dataclass(slots=True)
class Delivered:
    """What became of the events of a site and an hour in one destination."""

    # In its objects, as they were counted when they were written.
    exported: int = 0
    # Kept out by its filters.
    left_out: int = 0
    pending: int = 0
    # Before they were read for it, or taken out of its objects since.
    erased: int = 0
    # What came and is none of these: zero, or events were lost or are there twice.
    difference: int = 0


@dataclass(slots=True)
class Line:
    """One site in one hour of UTC; the empty site is that of events whose site could not be told."""

    hour: dt.datetime
    site_id: str
    received: int = 0
    refused: int = 0
    withheld: int = 0
    destinations: dict[str, Delivered] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def balance(connection: Connection, destinations: Sequence[str], start: dt.datetime, end: dt.datetime) -> list[Line]:
    """The lines of the hours from *start* on and before *end*, oldest first.

    `received` is counted where events, refusals, erasures and signals are kept; `exported` is what was counted in the
    objects of a bucket. Repeated events count once. All is seen at one moment.
    """
    lines: dict[tuple[dt.datetime, str], Line] = {}
    bounds = {"start": start, "end": end}

    def line(row: dict[str, Any]) -> Line:
        key = row["hour"], row["site_id"]
        if key not in lines:
            lines[key] = Line(*key, destinations={name: Delivered() for name in destinations})
        return lines[key]

    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for row in cursor.execute(CAME, bounds):
            one = line(row)
            one.received += row["number"]
            if row["what"] in ("refused", "withheld"):
                setattr(one, row["what"], row["number"])
        for name in destinations:
            for row in cursor.execute(BECAME, {**bounds, "destination": name}):
                setattr(line(row).destinations[name], row["what"], row["number"])
    for one in lines.values():
        for each in one.destinations.values():
            known = each.exported + each.left_out + each.pending + each.erased + one.refused + one.withheld
            each.difference = one.received - known
    return [lines[key] for key in sorted(lines)]


CAME = """
    /* balance.came */
    -- The hours of UTC by plain arithmetic; to find them by the calendar of a zone takes twice as long.
    SELECT 'stored' AS what, date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS hour, coalesce(site_id, '') AS site_id,
           count(*) AS number
      FROM events WHERE created_at >= %(start)s AND created_at < %(end)s GROUP BY 2, 3
    UNION ALL
    SELECT 'erased', hour, site_id, sum(events)::bigint
      FROM erased_events WHERE hour >= %(start)s AND hour < %(end)s GROUP BY 2, 3
    UNION ALL
    -- Whoever makes names up makes no lines.
    SELECT 'refused', date_trunc('hour', received_at, 'UTC'), coalesce(s.site_id, ''), count(*)
      FROM rejected_events r LEFT JOIN sites s ON s.site_id = r.site_id
     WHERE received_at >= %(start)s AND received_at < %(end)s GROUP BY 2, 3
    UNION ALL
    SELECT 'withheld', hour, site_id, sum(beacons)::bigint
      FROM withheld_beacons WHERE hour >= %(start)s AND hour < %(end)s GROUP BY 2, 3
"""
BECAME = """
    /* balance.became */
    WITH deliveries AS (
        SELECT b.batch_id, b.from_id, b.to_id, b.formats[1] AS format, date_trunc('hour', b.window_start, 'UTC') AS hour,
               d.objects, d.left_out, d.read_at, d.delivered_at
          FROM export_batches b LEFT JOIN export_deliveries d ON d.batch_id = b.batch_id AND d.destination = %(destination)s
         WHERE b.window_start >= %(start)s AND b.window_start < %(end)s),
    lacking AS (
        SELECT from_id, to_id FROM deliveries WHERE delivered_at IS NULL
        UNION ALL
        SELECT coalesce(max(to_id), 0), 9223372036854775807 FROM export_batches)
    SELECT 'exported' AS what, hour, site.key AS site_id, sum(site.value::bigint)::bigint AS number
      FROM deliveries, jsonb_array_elements(objects) object, jsonb_each_text(object -> 'sites') site
     WHERE delivered_at IS NOT NULL AND object ->> 'format' = format
     GROUP BY 2, 3
    UNION ALL
    SELECT 'left_out', hour, site.key, sum(site.value::bigint)::bigint
      FROM deliveries, jsonb_each_text(left_out) site
     WHERE delivered_at IS NOT NULL
     GROUP BY 2, 3
    UNION ALL
    SELECT 'pending', date_bin('1 hour', e.created_at, '2000-01-01 00:00:00+00'), coalesce(e.site_id, ''), count(*)
      FROM lacking JOIN events e ON e.id > lacking.from_id AND e.id <= lacking.to_id
     WHERE e.created_at >= %(start)s AND e.created_at < %(end)s
     GROUP BY 2, 3
    UNION ALL
    SELECT 'erased', e.hour, e.site_id, sum(e.events)::bigint
      FROM erased_events e LEFT JOIN deliveries d USING (batch_id)
     WHERE e.hour >= %(start)s AND e.hour < %(end)s
       AND (d.delivered_at IS NULL OR d.read_at > e.erased_at
            OR EXISTS (SELECT 1 FROM erasure_deliveries x
                        WHERE x.erasure_id = e.erasure_id AND x.batch_id = e.batch_id
                          AND x.destination = %(destination)s))
     GROUP BY 2, 3
"""


def due(connection: Connection, destination: str, bucket: str, most: int) -> list[dt.datetime]:
    """The hours that are over and wholly delivered, and whose balance the bucket does not have yet; oldest first."""
    rows = connection.execute(
        """
        /* balance.due */
        WITH unplanned AS (
            SELECT created_at FROM events WHERE id > (SELECT coalesce(max(to_id), 0) FROM export_batches)
             ORDER BY id LIMIT 1),
        hours AS (
            SELECT date_trunc('hour', window_start, 'UTC') AS hour, bool_and(d.delivered_at IS NOT NULL) AS whole
              FROM export_batches b JOIN export_deliveries d USING (batch_id)
             WHERE d.destination = %(destination)s AND (d.bucket IS NULL OR d.bucket = %(bucket)s)
               AND b.window_start >= coalesce(
                   (SELECT max(hour) + interval '1 hour' FROM export_balances
                     WHERE destination = %(destination)s AND bucket = %(bucket)s), '-infinity')
             GROUP BY 1)
        SELECT hour FROM hours
         -- A transaction that was open over the end of the hour has ended.
         WHERE hour < date_trunc('hour', least(now() - interval '5 minutes', (SELECT created_at FROM unplanned)), 'UTC')
           AND hour < coalesce((SELECT min(hour) FROM hours WHERE NOT whole), 'infinity')
         ORDER BY hour LIMIT %(most)s
        """,
        {"destination": destination, "bucket": bucket, "most": most},
    ).fetchall()
    return [row[0] for row in rows]


def written(connection: Connection, destination: str, bucket: str, hour: dt.datetime, difference: int) -> None:
    """Record that the balance of an hour lies in a bucket."""
    connection.execute(
        """
        /* balance.written */
        INSERT INTO export_balances (destination, bucket, hour, difference) VALUES (%s, %s, %s, %s)
            ON CONFLICT ON CONSTRAINT export_balances_pkey
            DO UPDATE SET difference = excluded.difference, written_at = now()
        """,
        (destination, bucket, hour, difference),
    )
