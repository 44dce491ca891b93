"""How far the export is: at a glance, and batch by batch."""

from __future__ import annotations

import datetime as dt
from typing import Any

from aws_croniter import AwsCroniter
from psycopg.rows import dict_row

from storage.database import Connection
from storage.settings import Settings

RECENT = 20


def glance(connection: Connection, settings: Settings) -> dict[str, Any]:
    """What waits and what was delivered, per destination with its lag and its last error, and the last `RECENT` batches.

    `lag_seconds` is how long the oldest event has waited for a destination; 0 where it has everything.
    `backlog_bytes` is what the waiting events will weigh if they are like those before; None while there are none.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        unplanned = cursor.execute(
            """
            /* status.unplanned */
            WITH last AS (SELECT coalesce(max(to_id), 0) AS id FROM export_batches)
            SELECT (SELECT count(*) FROM events WHERE id > last.id) AS events,
                   (SELECT created_at FROM events WHERE id > last.id ORDER BY id LIMIT 1) AS since
              FROM last
            """
        ).fetchone()
        assert unplanned is not None, "an aggregate gives one row"
        destinations = cursor.execute(
            """
            /* status.destinations */
            WITH known AS (
                SELECT destination,
                       count(*) FILTER (WHERE state = 'planned') AS planned,
                       count(*) FILTER (WHERE state = 'written') AS written,
                       count(*) FILTER (WHERE state = 'delivered') AS delivered,
                       coalesce(sum(d.rows) FILTER (WHERE state = 'delivered'), 0)::bigint AS rows,
                       coalesce(sum(d.bytes) FILTER (WHERE state = 'delivered'), 0)::bigint AS bytes,
                       coalesce(sum(coalesce(b.events, to_id - from_id)) FILTER (WHERE state <> 'delivered'), 0)::bigint
                           + %(unplanned)s AS backlog_events,
                       least(min(window_start) FILTER (WHERE state <> 'delivered' AND to_id > from_id),
                             %(since)s::timestamptz) AS waiting_since,
                       max(d.delivered_at) AS last_delivered_at,
                       (array_agg(last_error ORDER BY attempted_at DESC)
                           FILTER (WHERE last_error IS NOT NULL AND state <> 'delivered'))[1] AS last_error,
                       max(attempted_at) FILTER (WHERE last_error IS NOT NULL AND state <> 'delivered') AS last_error_at
                  FROM (SELECT unnest(%(destinations)s::text[]) AS destination
                        UNION SELECT destination FROM export_deliveries) named
                  LEFT JOIN export_deliveries d USING (destination)
                  LEFT JOIN export_batches b USING (batch_id)
                 GROUP BY destination)
            SELECT destination, planned, written, delivered, planned + written AS pending, rows, bytes, backlog_events,
                   round(backlog_events::numeric * bytes / nullif(rows, 0))::bigint AS backlog_bytes,
                   coalesce(extract(epoch FROM now() - waiting_since), 0)::float8 AS lag_seconds,
                   last_delivered_at,
                   coalesce(last_error, run.failures ->> destination) AS last_error,
                   coalesce(last_error_at, CASE WHEN run.failures ? destination THEN run.ended_at END) AS last_error_at,
                   (SELECT count(*) FROM export_balances e
                     WHERE e.destination = known.destination AND e.difference <> 0) AS unbalanced_hours
              FROM known
              -- What held up all of it, before any batch.
              LEFT JOIN (SELECT outcome -> 'failures' AS failures, ended_at FROM export_runs
                          WHERE ended_at IS NOT NULL ORDER BY began_at DESC LIMIT 1) run ON true
             ORDER BY destination DESC
            """,
            {
                "unplanned": unplanned["events"],
                "since": unplanned["since"],
                "destinations": [destination.name for destination in settings.destinations()],
            },
        ).fetchall()
    return {
        "unplanned_events": unplanned["events"],
        "next_run_at": _next_run(connection, settings.schedule_expression),
        "destinations": destinations,
        "batches": batches(connection, RECENT),
    }


def _next_run(connection: Connection, expression: str) -> dt.datetime | None:
    """When the schedule's next run begins; of a rate, what the last run lets expect, and None before the first.

    A rate counts from when its schedule was made, which is not known here; a run by hand shifts what is expected.
    """
    if expression.startswith("cron("):
        found = AwsCroniter(expression[len("cron(") : -1]).get_next(dt.datetime.now(dt.UTC))
        return found[0] if found else None
    row = connection.execute(
        """
        /* status.next_run */
        SELECT began_at + %(rate)s::interval * (1 + floor(
                   extract(epoch FROM now() - began_at) / extract(epoch FROM %(rate)s::interval)))
          FROM export_runs ORDER BY began_at DESC LIMIT 1
        """,
        {"rate": expression.removeprefix("rate(").removesuffix(")")},
    ).fetchone()
    return row[0] if row else None


def oldest_undelivered(connection: Connection) -> dt.datetime:
    """When the oldest event came that some destination lacks; now, when every one has all."""
    row = connection.execute(
        """
        /* status.oldest_undelivered */
        SELECT coalesce(
            (SELECT min(window_start) FROM export_batches WHERE delivered_at IS NULL),
            (SELECT created_at FROM events
              WHERE id > (SELECT coalesce(max(to_id), 0) FROM export_batches) ORDER BY id LIMIT 1),
            now())
        """
    ).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    since: dt.datetime = row[0]
    return since


def batches(connection: Connection, limit: int, before: str | None = None) -> list[dict[str, Any]]:
    """The last *limit* batches, newest first, each with its deliveries; of those that came before a batch, if one is named."""
    return _batches(connection, {"limit": limit, "before": before, "batch_id": None})


def batch(connection: Connection, batch_id: str) -> dict[str, Any] | None:
    """One batch with its deliveries; None if there is none."""
    found = _batches(connection, {"limit": 1, "before": None, "batch_id": batch_id})
    return found[0] if found else None


def _batches(connection: Connection, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* status.batches */
            WITH page AS (
                SELECT * FROM export_batches
                 WHERE (%(batch_id)s::text IS NULL OR batch_id = %(batch_id)s)
                   AND (%(before)s::text IS NULL OR (to_id, planned_at) <
                        (SELECT to_id, planned_at FROM export_batches WHERE batch_id = %(before)s))
                 ORDER BY to_id DESC, planned_at DESC
                 LIMIT %(limit)s)
            SELECT p.batch_id, p.window_start, p.window_end, p.formats, p.events, p.planned_at, p.delivered_at,
                   jsonb_agg(jsonb_build_object(
                       'destination', d.destination, 'state', d.state, 'attempts', d.attempts,
                       'last_error', d.last_error, 'bucket', d.bucket, 'manifest_key', d.manifest_key,
                       'rows', d.rows, 'bytes', d.bytes, 'attempted_at', d.attempted_at, 'delivered_at', d.delivered_at)
                       ORDER BY d.destination DESC) AS deliveries
              FROM page p JOIN export_deliveries d USING (batch_id)
             GROUP BY p.batch_id, p.window_start, p.window_end, p.formats, p.events, p.planned_at, p.delivered_at, p.to_id
             ORDER BY p.to_id DESC, p.planned_at DESC
            """,
            wanted,
        ).fetchall()
