"""Taking a visitor out of the database at once, and what is known of the objects that have to follow; with a receipt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row, dict_row

from storage import visitors
from storage.database import Connection
from storage.errors import ErasureUnknown, WritersBusy

# So many events, and that share of everything, are not one person's.
IMPROBABLE = ((10_000, 0.01), (1000, 0.5))


@dataclass(frozen=True, slots=True)
class Erasure:
    """One that is not completed yet."""

    erasure_id: UUID
    requested_at: dt.datetime
    erased_at: dt.datetime
    visitor_hash: int
    exported_as: str | None
    events_erased: int
    rejected_events_erased: int


@dataclass(frozen=True, slots=True)
class Affected:
    """A batch in a bucket that may hold visitors who are to be erased, and which erasures wait for it."""

    batch_id: str
    destination: str
    erasure_ids: list[UUID]


@dataclass(frozen=True, slots=True)
class Extent:
    """What an erasure would take out: rows, and objects of all buckets that it would write anew."""

    events: int
    rejected_events: int
    objects: int
    # Batches of which nobody knows who is in them: all of their objects would be read.
    batches_to_read: int
    # What was handed off beside the regular stream and would be gone through.
    handoffs: int
    # Of the rows of the database, about.
    share: float

    @property
    def is_improbable(self) -> bool:
        """Whether one visitor cannot have done all of this: something else goes by that id."""
        return any(self.events >= events and self.share >= share for events, share in IMPROBABLE)


def extent(connection: Connection, key: bytes, visitor_id: str) -> Extent:
    """What erasing *visitor_id* would take out; nothing is changed."""
    row = connection.execute(
        EXTENT, {"visitor_id": visitor_id, "visitor_hash": visitors.hash_of(key, visitor_id)}
    ).fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    events, rejected, objects, to_read, rows, handoffs = row
    return Extent(events, rejected, objects, to_read, handoffs, round(events / max(rows, events, 1), 4))


EXTENT = """
    /* erasures.extent */
    SELECT (SELECT count(*) FROM events WHERE visitor_id = %(visitor_id)s),
           (SELECT count(*) FROM rejected_events WHERE visitor_id = %(visitor_id)s)
           + (SELECT count(*) FROM quarantined_events WHERE visitor_id = %(visitor_id)s),
           (SELECT count(*) FROM object_visitors o JOIN export_deliveries d USING (batch_id)
             WHERE %(visitor_hash)s = ANY (o.visitor_hashes) AND d.delivered_at IS NOT NULL AND d.expired_at IS NULL),
           (SELECT count(*) FROM export_deliveries d
             WHERE d.delivered_at IS NOT NULL AND d.expired_at IS NULL AND d.objects <> '[]' AND d.unindexed),
           -- Of many rows an estimate will do; of few there may be none yet.
           (SELECT CASE WHEN reltuples < 100000 THEN (SELECT count(*) FROM events) ELSE reltuples::bigint END
              FROM pg_class WHERE oid = 'events'::regclass),
           (SELECT count(*) FROM handoffs WHERE visitor_hashes IS NULL OR %(visitor_hash)s = ANY (visitor_hashes))
"""


def erase(connection: Connection, key: bytes, visitor_id: str, exported_as: str | None = None) -> dict[str, Any]:
    """Delete every row of *visitor_id*, let none come any more, and tell how far the erasure is.

    What is under way is stored before the rows are looked for, or never. The rows go in one transaction; the objects of
    the buckets follow (`storage.export.erase`), and until then it is pending. Idempotent: a second call removes nothing
    more. *exported_as* is how the client's bucket names the visitor where it hashes ids.

    Raises:
        SettingsInvalid: *key* is another one than the database's.
        WritersBusy: a writer does not end its transaction; nothing was done.
    """
    visitors.require_key(connection, key)
    visitor_hash = visitors.hash_of(key, visitor_id)
    visitors.suppress(connection, visitor_hash)
    whom = {"visitor_id": visitor_id, "visitor_hash": visitor_hash, "exported_as": exported_as}
    try:
        with connection.transaction():
            # Not while an exporter begins to read: what is erased is in what it read, or is not, and that has to be known.
            connection.execute("SET LOCAL lock_timeout = '20s'")
            connection.execute("/* erasures.turn */ SELECT pg_advisory_xact_lock(1163284308, 5)")
            row = connection.execute(UNDER_WAY, whom).fetchone() or connection.execute(ERASE, whom).fetchone()
    except psycopg.errors.LockNotAvailable:
        raise WritersBusy(
            "an export begins to read, or events are being counted; nothing more of the visitor is stored, ask again later"
        ) from None
    assert row is not None, "an INSERT of one row returns it"
    return progress(connection, row[0])


# Whoever asks again while an erasure goes on, and has sent nothing since, asks for that one.
UNDER_WAY = """
    /* erasures.under_way_already */
    SELECT erasure_id FROM erasures
     WHERE visitor_hash = %(visitor_hash)s AND state <> 'completed'
       AND NOT EXISTS (SELECT 1 FROM events WHERE visitor_id = %(visitor_id)s)
       AND NOT EXISTS (SELECT 1 FROM rejected_events WHERE visitor_id = %(visitor_id)s)
       AND NOT EXISTS (SELECT 1 FROM quarantined_events WHERE visitor_id = %(visitor_id)s)
     ORDER BY requested_at LIMIT 1
"""
ERASE = """
    /* erasures.erase */
    WITH erased AS (DELETE FROM events WHERE visitor_id = %(visitor_id)s RETURNING id, created_at, site_id),
         refused AS (DELETE FROM rejected_events WHERE visitor_id = %(visitor_id)s RETURNING 1),
         apart AS (DELETE FROM quarantined_events WHERE visitor_id = %(visitor_id)s RETURNING 1),
         erasure AS (
             INSERT INTO erasures (visitor_hash, state, exported_as, erased_at, events_erased, rejected_events_erased)
             SELECT %(visitor_hash)s, 'pending', %(exported_as)s, next_moment(),
                    (SELECT count(*) FROM erased),
                    (SELECT count(*) FROM refused) + (SELECT count(*) FROM apart)
             RETURNING erasure_id, erased_at),
         counted AS (
             INSERT INTO erased_events (erased_at, hour, site_id, batch_id, events, erasure_id)
             SELECT (SELECT erased_at FROM erasure), date_trunc('hour', created_at, 'UTC'), coalesce(site_id, ''),
                    (SELECT b.batch_id FROM export_batches b
                      WHERE b.to_id >= erased.id AND b.from_id < erased.id ORDER BY b.to_id LIMIT 1),
                    count(*), (SELECT erasure_id FROM erasure)
               FROM erased GROUP BY 2, 3, 4),
         known AS (
             INSERT INTO erasing_events (erasure_id, id, site_id)
             SELECT (SELECT erasure_id FROM erasure), id, site_id FROM erased)
    SELECT erasure_id FROM erasure
"""


def progress(connection: Connection, erasure_id: UUID) -> dict[str, Any]:
    """How far an erasure is; its receipt once it is completed.

    Raises:
        ErasureUnknown: there is none with this id.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            /* erasures.progress */
            SELECT erasure_id, state, reason, requested_at, completed_at, events_erased, rejected_events_erased, receipt
              FROM erasures
             WHERE erasure_id = %s
            """,
            (erasure_id,),
        ).fetchone()
    if row is None:
        raise ErasureUnknown(f"no erasure has the id {erasure_id}; DELETE /visitors/{{visitor_id}} makes one")
    return {name: value for name, value in row.items() if value is not None}


def waiting(connection: Connection) -> list[dict[str, Any]]:
    """How far the erasures are that are not completed, those first that somebody has to act on, then the oldest."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* erasures.waiting */
            SELECT erasure_id, state, reason, requested_at, events_erased, rejected_events_erased
              FROM erasures WHERE state <> 'completed' ORDER BY state, requested_at, erasure_id
            """
        ).fetchall()


def forget_samples(connection: Connection) -> None:
    """Let PostgreSQL's statistics, which quote values that are frequent, be of the rows that are left.

    Raises:
        WritersBusy: whoever cleans a table up does not come to an end.
    """
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '20s'")
            connection.execute("/* erasures.forget_samples */ ANALYZE events, rejected_events, quarantined_events")
    except psycopg.errors.LockNotAvailable:
        raise WritersBusy("PostgreSQL's statistics still quote the visitor: a VACUUM is under way") from None


def unfinished(connection: Connection) -> list[Erasure]:
    """The erasures that are not completed, oldest first."""
    with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        return cursor.execute(
            """
            /* erasures.unfinished */
            SELECT erasure_id, requested_at, erased_at, visitor_hash, exported_as, events_erased, rejected_events_erased
              FROM erasures WHERE state <> 'completed' ORDER BY requested_at, erasure_id
            """
        ).fetchall()


def affected(connection: Connection) -> list[Affected]:
    """The batches in buckets that may hold visitors of unfinished erasures and were not gone through for them, oldest first.

    The backup bucket's come first: it hides nothing, and what is found there is known of the client's too.
    """
    with connection.cursor(row_factory=class_row(Affected)) as cursor:
        return cursor.execute(
            """
            /* erasures.affected */
            WITH open AS MATERIALIZED (
                SELECT erasure_id, visitor_hash, erased_at, requested_at FROM erasures WHERE state <> 'completed'),
            held AS MATERIALIZED (
                SELECT DISTINCT o.batch_id, one.visitor_hash
                  FROM object_visitors o CROSS JOIN unnest(o.visitor_hashes) AS one (visitor_hash)
                 WHERE one.visitor_hash IN (SELECT visitor_hash FROM open))
            SELECT b.batch_id, d.destination, array_agg(e.erasure_id ORDER BY e.requested_at) AS erasure_ids
              FROM open e
              JOIN export_deliveries d ON d.delivered_at IS NOT NULL AND d.expired_at IS NULL AND d.first_read_at <= e.erased_at
                                      AND (d.objects <> '[]' OR d.leftovers <> '{}')
              JOIN export_batches b USING (batch_id)
              LEFT JOIN held h ON h.batch_id = d.batch_id AND h.visitor_hash = e.visitor_hash
             WHERE (d.unindexed OR h.batch_id IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM erasure_deliveries x
                                WHERE x.erasure_id = e.erasure_id AND x.batch_id = d.batch_id
                                  AND x.destination = d.destination)
             GROUP BY b.batch_id, d.destination
             ORDER BY b.to_id, b.batch_id, d.destination
            """
        ).fetchall()


def under_way(connection: Connection, destinations: Sequence[str]) -> dict[UUID, tuple[str, str]]:
    """The unfinished erasures whose visitor may have been read for a batch that a bucket does not have yet, with batch and bucket.

    One that is none of *destinations*, and so will not have it by itself, is told before others.
    """
    return {
        erasure_id: (batch_id, destination)
        for erasure_id, batch_id, destination in connection.execute(
            """
            /* erasures.under_way */
            SELECT DISTINCT ON (e.erasure_id) e.erasure_id, d.batch_id, d.destination
              FROM erasures e JOIN export_deliveries d ON d.delivered_at IS NULL AND d.first_read_at <= e.erased_at
             WHERE e.state <> 'completed'
               AND ((d.read_at <= e.erased_at AND (d.indexed_at IS NULL OR d.indexed_at < d.read_at))
                    OR d.unindexed
                    OR EXISTS (SELECT 1 FROM object_visitors o
                                WHERE o.batch_id = d.batch_id AND e.visitor_hash = ANY (o.visitor_hashes)))
             ORDER BY e.erasure_id, d.destination = ANY (%s), d.batch_id
            """,
            (list(destinations),),
        )
    }


def erased_between(
    connection: Connection, erasure_ids: Sequence[UUID], after: int, to: int
) -> dict[int, tuple[int, str]]:
    """The events with `after < id <= to` that these erasures, or others of the same visitors, took out: visitor and site by id."""
    return {
        row[0]: (row[1], row[2])
        for row in connection.execute(
            """
            /* erasures.erased_between */
            SELECT g.id, e.visitor_hash, coalesce(g.site_id, '')
              FROM erasing_events g JOIN erasures e USING (erasure_id)
             WHERE e.visitor_hash IN (SELECT visitor_hash FROM erasures WHERE erasure_id = ANY (%s))
               AND g.id > %s AND g.id <= %s
            """,
            (list(erasure_ids), after, to),
        )
    }


def found(connection: Connection, erasure_id: UUID, events: Mapping[int, str]) -> None:
    """Keep events of an erasure that were found in a bucket, with their sites: another may hide whose they are."""
    connection.execute(
        """
        /* erasures.found */
        INSERT INTO erasing_events (erasure_id, id, site_id, in_bucket_only)
        SELECT %(erasure_id)s, id, site_id, true
          FROM unnest(%(ids)s::bigint[], %(sites)s::text[]) AS found (id, site_id)
         -- Another erasure of the same visitor took it out of the database, and it is counted once.
         WHERE NOT EXISTS (SELECT 1 FROM erasing_events known
                            WHERE known.id = found.id AND known.erasure_id <> %(erasure_id)s)
            ON CONFLICT DO NOTHING
        """,
        {"erasure_id": erasure_id, "ids": list(events), "sites": list(events.values())},
    )


def done(
    connection: Connection, erasure_id: UUID, batch_id: str, destination: str, rows: int, objects: Sequence[Any]
) -> None:
    """Record that a batch in a bucket does not hold the visitor any more, and what that took."""
    connection.execute(
        """
        /* erasures.done */
        INSERT INTO erasure_deliveries (erasure_id, batch_id, destination, rows_removed, objects)
        VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (erasure_id, batch_id, destination, rows, orjson.dumps(objects).decode()),
    )


def gone_through(connection: Connection, erasure_ids: Sequence[UUID], batch_id: str, destination: str) -> bool:
    """Whether all of these erasures went through what a destination has of a batch."""
    row = connection.execute(
        """
        /* erasures.gone_through */
        SELECT count(*) = %s FROM erasure_deliveries WHERE erasure_id = ANY (%s) AND batch_id = %s AND destination = %s
        """,
        (len(erasure_ids), list(erasure_ids), batch_id, destination),
    ).fetchone()
    return row is not None and bool(row[0])


def what_was_done(connection: Connection, erasure_id: UUID) -> list[dict[str, Any]]:
    """What an erasure did to the objects of each batch in each bucket."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* erasures.what_was_done */
            SELECT x.batch_id, x.destination, d.bucket, x.rows_removed, x.objects
              FROM erasure_deliveries x JOIN export_deliveries d USING (batch_id, destination)
             WHERE x.erasure_id = %s ORDER BY x.destination, x.batch_id
            """,
            (erasure_id,),
        ).fetchall()


def hold(connection: Connection, erasure_id: UUID, state: str, reason: str) -> None:
    """Record why an erasure is not completed: `pending` where it goes on by itself, `blocked` where somebody has to act."""
    connection.execute(
        "/* erasures.hold */ UPDATE erasures SET state = %s, reason = %s WHERE erasure_id = %s",
        (state, reason, erasure_id),
    )


def complete(connection: Connection, erasure: Erasure, receipt: Mapping[str, Any]) -> None:
    """Record the receipt, and forget by what the visitor was known."""
    with connection.transaction():
        connection.execute(
            """
            /* erasures.complete */
            UPDATE erasures SET state = 'completed', reason = NULL, exported_as = NULL, completed_at = %s, receipt = %s
             WHERE erasure_id = %s
            """,
            (receipt["completed_at"], orjson.dumps(receipt).decode(), erasure.erasure_id),
        )
        # What the database had dropped before was counted as dropped, and the bucket has it no more: now it is erased.
        connection.execute(
            """
            /* erasures.count_late */
            WITH late AS (
                SELECT b.batch_id, date_trunc('hour', b.window_start, 'UTC') AS hour, coalesce(g.site_id, '') AS site_id,
                       count(*) AS events
                  FROM erasing_events g JOIN export_batches b ON g.id > b.from_id AND g.id <= b.to_id
                 WHERE g.erasure_id = %(erasure_id)s AND g.in_bucket_only GROUP BY 1, 2, 3)
            INSERT INTO erased_events (erased_at, hour, site_id, batch_id, events, erasure_id, expired)
            SELECT %(erased_at)s, hour, site_id, batch_id, events, %(erasure_id)s, false FROM late
            UNION ALL
            SELECT %(erased_at)s, hour, site_id, batch_id, -events, NULL, true FROM late
            """,
            {"erasure_id": erasure.erasure_id, "erased_at": erasure.erased_at},
        )
        connection.execute(
            "/* erasures.forget_events */ DELETE FROM erasing_events WHERE erasure_id = %s", (erasure.erasure_id,)
        )


def forget(connection: Connection, visitor_hashes: Sequence[int]) -> None:
    """Let the index know nothing of visitors who are in no object any more."""
    connection.execute(
        """
        /* erasures.forget */
        UPDATE object_visitors
           SET visitor_hashes = ARRAY (SELECT one FROM unnest(visitor_hashes) one
                                        WHERE one <> ALL (%(gone)s::bigint[]) ORDER BY one)
         WHERE visitor_hashes && %(gone)s::bigint[]
        """,
        {"gone": list(visitor_hashes)},
    )


def dropped(connection: Connection, after: int, to: int) -> int:
    """How many events with `after < id <= to` the database has dropped because of their age, and buckets may still have."""
    row = connection.execute(
        """
        /* erasures.dropped */
        SELECT coalesce(sum(x.events), 0)::bigint
          FROM export_batches b JOIN erased_events x ON x.batch_id = b.batch_id AND x.expired
         WHERE b.from_id >= %s AND b.to_id <= %s
        """,
        (after, to),
    ).fetchone()
    return int(row[0]) if row else 0


def dropped_of(connection: Connection, batch_id: str) -> bool:
    """Whether the database has dropped events of a batch because of their age."""
    row = connection.execute(
        "/* erasures.dropped_of */ SELECT EXISTS (SELECT 1 FROM erased_events WHERE expired AND batch_id = %s)",
        (batch_id,),
    ).fetchone()
    return row is not None and bool(row[0])


def any_dropped(connection: Connection) -> bool:
    """Whether the database has ever dropped events because of their age."""
    row = connection.execute(
        "/* erasures.any_dropped */ SELECT EXISTS (SELECT 1 FROM erased_events WHERE expired)"
    ).fetchone()
    return row is not None and bool(row[0])


def still_there(connection: Connection, destination: str, after: int, to: int) -> int:
    """How many events with `after < id <= to` were taken out of the database, and perhaps not yet of a bucket."""
    row = connection.execute(
        """
        /* erasures.still_there */
        SELECT count(DISTINCT g.id)
          FROM erasing_events g JOIN export_batches b ON g.id > b.from_id AND g.id <= b.to_id
         WHERE g.id > %(after)s AND g.id <= %(to)s
           AND NOT EXISTS (SELECT 1 FROM erasure_deliveries x
                            WHERE x.erasure_id = g.erasure_id AND x.batch_id = b.batch_id
                              AND x.destination = %(destination)s)
        """,
        {"destination": destination, "after": after, "to": to},
    ).fetchone()
    return int(row[0]) if row else 0
