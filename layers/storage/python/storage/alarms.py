"""What is told when the export goes wrong, and when it is right again: each once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from psycopg.rows import dict_row

from storage import webhooks
from storage.database import Connection


def watch_refusals(
    connection: Connection, failures: Mapping[str, str], asked: Mapping[str, str], *, all_tried: bool = True
) -> None:
    """Tell that a destination refuses, or takes again what it is given.

    *failures* are those of a run by destination, and *asked* the buckets that it wanted to write to by destination.
    """
    for destination, bucket in asked.items():
        about = {"destination": destination, "bucket": bucket}
        if destination in failures:
            _raise(connection, destination, "refused", "export.refused", {**about, "reason": failures[destination]})
        elif all_tried:
            _lower(connection, destination, "refused", about)


def watch_lag(connection: Connection, limit: dt.timedelta) -> None:
    """Tell that a destination has lacked an event for longer than *limit*, or has caught up."""
    with connection.cursor(row_factory=dict_row) as cursor:
        lags = cursor.execute(LAGS).fetchall()
    for row in lags:
        about = {"destination": row["destination"]}
        if row["since"] is not None and row["lag"] > limit:
            late = {"lag_seconds": int(row["lag"].total_seconds()), "limit_seconds": int(limit.total_seconds())}
            _raise(
                connection, row["destination"], "delayed", "export.delayed", {**about, **late, "since": row["since"]}
            )
        else:
            _lower(connection, row["destination"], "delayed", about)


LAGS = """
    /* alarms.lags */
    WITH unplanned AS (
        SELECT created_at FROM events WHERE id > (SELECT coalesce(max(to_id), 0) FROM export_batches)
         ORDER BY id LIMIT 1),
    late AS (
        SELECT d.destination,
               least(min(b.window_start) FILTER (WHERE b.delivered_at IS NULL AND d.delivered_at IS NULL AND b.to_id > b.from_id),
                     (SELECT created_at FROM unplanned)) AS since
          FROM export_deliveries d JOIN export_batches b USING (batch_id),
               (SELECT batch_id FROM export_batches ORDER BY planned_at DESC LIMIT 1) last
         WHERE (b.delivered_at IS NULL OR b.batch_id = last.batch_id)
           -- One that is set no more lacks what it lacks; it is nobody's failure.
           AND d.destination IN (SELECT destination FROM export_deliveries WHERE batch_id = last.batch_id)
         GROUP BY d.destination
        UNION ALL
        -- An exporter that never worked has nothing that it lags behind.
        SELECT 'client', created_at FROM unplanned WHERE NOT EXISTS (SELECT 1 FROM export_batches))
    SELECT destination, since, now() - since AS lag FROM late
"""


def _raise(connection: Connection, destination: str, alarm: str, type_: str, data: Mapping[str, Any]) -> None:
    with connection.transaction():
        raised = connection.execute(
            """
            /* alarms.raise */
            INSERT INTO export_alarms (destination, alarm) VALUES (%s, %s)
                ON CONFLICT ON CONSTRAINT export_alarms_pkey DO NOTHING RETURNING since
            """,
            (destination, alarm),
        ).fetchone()
        if raised:
            webhooks.tell(connection, type_, data, destination)


def _lower(connection: Connection, destination: str, alarm: str, about: Mapping[str, Any]) -> None:
    with connection.transaction():
        was = connection.execute(
            "/* alarms.lower */ DELETE FROM export_alarms WHERE destination = %s AND alarm = %s RETURNING since",
            (destination, alarm),
        ).fetchone()
        if was:
            webhooks.tell(connection, "export.recovered", {**about, "was": alarm, "since": was[0]}, destination)
