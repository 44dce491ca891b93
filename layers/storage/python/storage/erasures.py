"""Taking a visitor out of the database, with a receipt that does not name the visitor."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from storage import visitors
from storage.database import Connection
from storage.errors import ErasureUnknown


def erase(connection: Connection, key: bytes, visitor_id: str) -> dict[str, Any]:
    """Delete every row of *visitor_id*, let none come any more, and give the receipt.

    What is under way is stored before the rows are looked for, or never. The rows go and the receipt comes in one
    transaction. Idempotent: a second call removes nothing more and its receipt says so.

    Raises:
        SettingsInvalid: *key* is another one than the database's.
    """
    visitors.require_key(connection, key)
    with connection.transaction():
        visitors.suppress(connection, visitors.hash_of(key, visitor_id))
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        # Not while an exporter begins to read: what is erased is in what it read, or is not, and that has to be known.
        cursor.execute("/* erasures.turn */ SELECT pg_advisory_xact_lock(1163284308, 5)")
        row = cursor.execute(
            """
            /* erasures.erase */
            WITH erased AS (DELETE FROM events WHERE visitor_id = %(visitor_id)s RETURNING id, created_at, site_id),
                 counted AS (
                     INSERT INTO erased_events (erased_at, hour, site_id, batch_id, events)
                     SELECT clock_timestamp(), date_trunc('hour', created_at, 'UTC'), coalesce(site_id, ''),
                            (SELECT b.batch_id FROM export_batches b
                              WHERE b.to_id >= erased.id AND b.from_id < erased.id ORDER BY b.to_id LIMIT 1),
                            count(*)
                       FROM erased GROUP BY 2, 3, 4),
                 refused AS (DELETE FROM rejected_events WHERE visitor_id = %(visitor_id)s RETURNING 1)
            INSERT INTO erasures (events_erased, rejected_events_erased, completed_at)
            SELECT (SELECT count(*) FROM erased), (SELECT count(*) FROM refused), clock_timestamp()
            RETURNING erasure_id, requested_at, completed_at, events_erased, rejected_events_erased
            """,
            {"visitor_id": visitor_id},
        ).fetchone()
    return _receipt(row or {})


def receipt(connection: Connection, erasure_id: UUID) -> dict[str, Any]:
    """The receipt of an erasure.

    Raises:
        ErasureUnknown: there is none with this id.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            /* erasures.receipt */
            SELECT erasure_id, requested_at, completed_at, events_erased, rejected_events_erased
              FROM erasures
             WHERE erasure_id = %s
            """,
            (erasure_id,),
        ).fetchone()
    if row is None:
        raise ErasureUnknown(f"no erasure has the id {erasure_id}; DELETE /visitors/{{visitor_id}} makes one")
    return _receipt(row)


def _receipt(row: dict[str, Any]) -> dict[str, Any]:
    scope = {"searched": ["events", "rejected_events"], "not_covered": ["objects that were exported before"]}
    return {"state": "completed", **row, **scope}
