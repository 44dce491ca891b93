"""The ledger of deliveries: which batches exist, and how far each destination has them. Only it writes those tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg.rows import class_row, dict_row

from storage import database, events
from storage.database import Connection
from storage.errors import ExportRunning
from storage.settings import Format


@dataclass(frozen=True, slots=True)
class Batch:
    """The events with `from_id < id <= to_id`, all received within one hour of UTC."""

    batch_id: str
    from_id: int
    to_id: int
    window_start: dt.datetime
    window_end: dt.datetime
    formats: list[Format]
    layout: dict[str, Any]
    pending: list[str]


@contextmanager
def claim(connection: Connection) -> Iterator[int]:
    """Be the only exporter of this database for as long as the block runs, with a number higher than all before.

    The claim is a lock of the connection's session: an exporter that dies gives it up by dying.

    Raises:
        ExportRunning: another session holds it.
    """
    with database.held(connection, 3) as is_ours:
        if not is_ours:
            raise ExportRunning("another export is running; GET /export/status shows how far it is")
        yield next_fence(connection)


def next_fence(connection: Connection) -> int:
    """The number of a turn, higher than all before."""
    row = connection.execute("/* ledger.fence */ SELECT nextval('export_fences')").fetchone()
    assert row is not None, "a SELECT without FROM gives one row"
    fence: int = row[0]
    return fence


def plan(
    connection: Connection,
    destinations: Sequence[str],
    formats: Sequence[Format],
    max_rows: int,
    layout: Mapping[str, Any] | None = None,
) -> int:
    """Put every settled event that is in no batch yet into batches, and say how many batches that made.

    A batch holds at most *max_rows* events, all of one hour, and becomes objects by *layout*, which is kept for whoever
    begins it again. Each is in the ledger, with its deliveries, before the first byte of it is written anywhere. Needs
    the claim.
    """
    mark = events.settled_mark(connection)
    planned = 0
    while _plan_one(connection, mark, destinations, formats, max_rows, layout or {}):
        planned += 1
    if not planned:
        planned += _plan_nothing(connection, destinations, formats, layout or {})
    return planned


def _plan_nothing(
    connection: Connection, destinations: Sequence[str], formats: Sequence[Format], layout: Mapping[str, Any]
) -> int:
    """Plan a batch of no events, once in an hour in which nothing else was: credentials that died show on a quiet site."""
    with connection.transaction():
        row = connection.execute(
            """
            /* ledger.plan_nothing */
            INSERT INTO export_batches (batch_id, from_id, to_id, window_start, window_end, events, formats, layout)
            SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') || '-' || lpad(last.id::text, 12, '0'),
                   last.id, last.id, date_trunc('hour', now(), 'UTC'), now(), 0, %s, %s
              FROM (SELECT coalesce(max(to_id), 0) AS id FROM export_batches) last
             WHERE NOT EXISTS (SELECT 1 FROM export_batches WHERE planned_at >= date_trunc('hour', now(), 'UTC'))
            RETURNING batch_id
            """,
            (list(formats), orjson.dumps(layout).decode()),
        ).fetchone()
        if row is None:
            return 0
        _plan_deliveries(connection, row[0], destinations)
    return 1


def _plan_deliveries(connection: Connection, batch_id: str, destinations: Sequence[str]) -> None:
    connection.execute(
        """
        /* ledger.plan_deliveries */
        INSERT INTO export_deliveries (batch_id, destination) SELECT %s, unnest(%s::text[])
        """,
        (batch_id, list(destinations)),
    )


def _plan_one(
    connection: Connection,
    mark: int,
    destinations: Sequence[str],
    formats: Sequence[Format],
    max_rows: int,
    layout: Mapping[str, Any],
) -> bool:
    with connection.transaction():
        # Whoever erases meanwhile changes nothing of what is seen here.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        window = _next_window(connection, mark, max_rows)
        if window is None:
            return False
        row = connection.execute(
            """
            /* ledger.plan */
            INSERT INTO export_batches (batch_id, from_id, to_id, window_start, window_end, events, formats, layout)
            SELECT to_char(%(start)s AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') || '-' || lpad(%(to_id)s::text, 12, '0'),
                   %(from_id)s, %(to_id)s, %(start)s, %(end)s, %(events)s, %(formats)s, %(layout)s
            RETURNING batch_id
            """,
            {**window, "formats": list(formats), "layout": orjson.dumps(layout).decode()},
        ).fetchone()
        assert row is not None, "an INSERT of one row returns it"
        _plan_deliveries(connection, row[0], destinations)
    return True


def _next_window(connection: Connection, mark: int, max_rows: int) -> dict[str, Any] | None:
    """The ids and the times of the next batch: from the last one on, as far as it is one hour of UTC; None if nothing is left.

    It begins when its first event came and ends when its last one did. The bounds reach PostgreSQL as plain values, so
    that it reads in the way that is cheapest for so many: that is most of what planning costs.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        bounds = {"from_id": highest_planned(connection), "to_id": mark}
        first = cursor.execute(FIRST, bounds).fetchone()
        if first is None:
            return None
        # So many ids are no more events, and nothing has to be counted.
        bounds |= {"to_id": min(mark, first["id"] + max_rows - 1), "hour": first["hour"]}
        last = cursor.execute(LAST, bounds).fetchone()
        assert last is not None, "the first is there"
        # Where it ends in another hour, only this one is read, up to the border.
        border = cursor.execute(STRAGGLER if last["hour"] == first["hour"] else BORDER, bounds).fetchone()
        if border and border["id"] is not None:
            bounds["to_id"] = border["id"] - 1
            last = cursor.execute(LAST, bounds).fetchone()
        window = cursor.execute(WINDOW, bounds).fetchone()
    assert window, "an aggregate gives one row"
    assert last, "the first is before the border"
    times = first["created_at"], last["created_at"]
    return {**window, "from_id": bounds["from_id"], "start": min(times), "end": max(times)}


FIRST = """
    /* ledger.first_unplanned */
    SELECT id, created_at, date_trunc('hour', created_at, 'UTC') AS hour
      FROM events WHERE id > %(from_id)s AND id <= %(to_id)s ORDER BY id LIMIT 1
"""
LAST = """
    /* ledger.last_unplanned */
    SELECT created_at, date_trunc('hour', created_at, 'UTC') AS hour
      FROM events WHERE id > %(from_id)s AND id <= %(to_id)s ORDER BY id DESC LIMIT 1
"""
BORDER = """
    /* ledger.border */
    SELECT id FROM events
     WHERE id > %(from_id)s AND id <= %(to_id)s
       AND (created_at < %(hour)s OR created_at >= %(hour)s + interval '1 hour')
     ORDER BY id LIMIT 1
"""
# Of no column, or every event would be looked at in the order of ids: by their blocks nearly none is.
STRAGGLER = """
    /* ledger.straggler */
    SELECT min(id + 0) AS id FROM events
     WHERE id > %(from_id)s AND id <= %(to_id)s
       AND (created_at < %(hour)s OR created_at >= %(hour)s + interval '1 hour')
"""
WINDOW = """
    /* ledger.window */
    SELECT count(*) AS events, max(id) AS to_id FROM events WHERE id > %(from_id)s AND id <= %(to_id)s
"""


def undelivered(connection: Connection) -> list[Batch]:
    """The batches that some destination still lacks, oldest first."""
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(
            """
            /* ledger.undelivered */
            SELECT b.batch_id, b.from_id, b.to_id, b.window_start, b.window_end, b.formats, b.layout,
                   array_agg(d.destination ORDER BY d.destination DESC) AS pending
              FROM export_batches b
              JOIN export_deliveries d USING (batch_id)
             WHERE b.delivered_at IS NULL AND d.delivered_at IS NULL
             GROUP BY b.batch_id
             ORDER BY b.to_id, b.planned_at
            """
        ).fetchall()


@contextmanager
def reading(connection: Connection, batch_id: str, destinations: Sequence[str]) -> Iterator[None]:
    """Begin to read the events of a batch: no erasure is under way in the block, in which the first of them has to be read.

    So what is erased was so before all of them were read, or comes after, and the ledger tells which.
    """
    connection.execute("/* ledger.hold_erasures */ SELECT pg_advisory_lock(1163284308, 5)")
    try:
        connection.execute(
            """
            /* ledger.reading */
            WITH moment AS MATERIALIZED (SELECT next_moment() AS now)
            UPDATE export_deliveries
               SET read_at = moment.now, first_read_at = coalesce(first_read_at, moment.now)
              FROM moment
             WHERE batch_id = %s AND destination = ANY(%s)
            """,
            (batch_id, list(destinations)),
        )
        yield
    finally:
        if not connection.closed:
            connection.execute("/* ledger.let_erasures */ SELECT pg_advisory_unlock(1163284308, 5)")


def indexed(connection: Connection, batch_id: str, destinations: Sequence[str]) -> None:
    """Record that the index has everybody who is in the objects of this attempt at a batch."""
    connection.execute(
        """
        /* ledger.indexed */
        WITH moment AS MATERIALIZED (SELECT next_moment() AS now)
        UPDATE export_deliveries SET indexed_at = moment.now FROM moment WHERE batch_id = %s AND destination = ANY(%s)
        """,
        (batch_id, list(destinations)),
    )


def unindexed(connection: Connection, batch_id: str, destination: str) -> None:
    """Record that nobody knows who is in what a destination has of a batch, which was read before anything is erased here."""
    connection.execute(
        """
        /* ledger.unindexed */
        UPDATE export_deliveries SET unindexed = true, first_read_at = 'epoch' WHERE batch_id = %s AND destination = %s
        """,
        (batch_id, destination),
    )


def announce(connection: Connection, batch_id: str, destination: str, key: str) -> None:
    """Record that an object of a batch is about to be written; should this attempt die, the next one knows of it."""
    connection.execute(
        """
        /* ledger.announce */
        UPDATE export_deliveries SET announced = array_append(array_remove(announced, %(key)s), %(key)s)
         WHERE batch_id = %(batch_id)s AND destination = %(destination)s
        """,
        {"batch_id": batch_id, "destination": destination, "key": key},
    )


def announced(connection: Connection, batch_id: str, destination: str) -> list[str]:
    """The keys under which any attempt at a batch may have written into a destination."""
    row = connection.execute(
        "/* ledger.announced */ SELECT announced FROM export_deliveries WHERE batch_id = %s AND destination = %s",
        (batch_id, destination),
    ).fetchone()
    return list(row[0]) if row else []


def written(
    connection: Connection,
    batch_id: str,
    destination: str,
    bucket: str,
    objects: Sequence[dict[str, Any]],
    rows: int,
    left_out: Mapping[str, int],
) -> None:
    """Record that every object of a batch lies verified in a destination; its manifest does not yet."""
    connection.execute(
        """
        /* ledger.written */
        UPDATE export_deliveries
           SET state = 'written', written_at = now(), attempted_at = now(), last_error = NULL,
               bucket = %(bucket)s, objects = %(objects)s, rows = %(rows)s, bytes = %(bytes)s,
               left_out = %(left_out)s, read_at = coalesce(read_at, now()),
               first_read_at = coalesce(first_read_at, read_at, now())
         WHERE batch_id = %(batch_id)s AND destination = %(destination)s
        """,
        {
            "batch_id": batch_id,
            "destination": destination,
            "bucket": bucket,
            "objects": orjson.dumps(objects).decode(),
            "rows": rows,
            "bytes": sum(item["bytes"] for item in objects),
            "left_out": orjson.dumps(left_out).decode(),
        },
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a manifest stands among those of its bucket: from 1, after the one with the hash *previous_sha256*."""

    sequence: int
    previous_sha256: str | None
    # The manifest that lies there already, and those that it took the place of.
    present_sha256: str | None = None
    revisions: tuple[dict[str, Any], ...] = ()


def place(connection: Connection, batch_id: str, destination: str, bucket: str) -> Place:
    """The place of a delivery: the one that it had, should the bucket have lost it, or else the next."""
    row = connection.execute(
        """
        /* ledger.place */
        WITH mine AS (SELECT coalesce(
                 (SELECT sequence FROM export_deliveries
                   WHERE batch_id = %(batch_id)s AND destination = %(destination)s AND bucket = %(bucket)s),
                 (SELECT coalesce(max(sequence), 0) + 1 FROM export_deliveries
                   WHERE destination = %(destination)s AND bucket = %(bucket)s)) AS sequence)
        SELECT mine.sequence, before.manifest_sha256, present.manifest_sha256, present.revisions
          FROM mine
          LEFT JOIN export_deliveries before
            ON before.destination = %(destination)s AND before.bucket = %(bucket)s
           AND before.sequence = mine.sequence - 1
          LEFT JOIN export_deliveries present
            ON present.destination = %(destination)s AND present.bucket = %(bucket)s
           AND present.sequence = mine.sequence
        """,
        {"batch_id": batch_id, "destination": destination, "bucket": bucket},
    ).fetchone()
    assert row is not None, "the common table gives one row"
    return Place(row[0], row[1], row[2], tuple(row[3] or ()))


def last_manifest(connection: Connection, destination: str, bucket: str, below: str) -> str:
    """The key of the last manifest, in the order of their keys, that was written into this bucket *below* a prefix; or nothing."""
    row = connection.execute(
        """
        /* ledger.last_manifest */
        SELECT coalesce(max(manifest_key COLLATE "C"), '') FROM export_deliveries
         WHERE destination = %s AND bucket = %s AND starts_with(manifest_key, %s)
        """,
        (destination, bucket, below),
    ).fetchone()
    return str(row[0]) if row else ""


def unknown(connection: Connection, batch_ids: Sequence[str]) -> list[str]:
    """Those of *batch_ids* that are no batches of this database."""
    rows = connection.execute(
        "/* ledger.unknown */ SELECT id FROM unnest(%s::text[]) id WHERE id NOT IN (SELECT batch_id FROM export_batches)",
        (list(batch_ids),),
    ).fetchall()
    return [row[0] for row in rows]


def delivered(
    connection: Connection,
    batch_id: str,
    destination: str,
    manifest_key: str,
    sequence: int,
    manifest_sha256: str,
    revisions: Sequence[Mapping[str, Any]],
    metered: Mapping[str, tuple[int, int]],
) -> None:
    """Record that a destination has a batch, manifest and all; the batch is delivered with its last destination.

    *metered* are the events and bytes of each site in it. What was metered first stays, however often it is delivered.
    """
    with connection.transaction():
        connection.execute(
            """
            /* ledger.delivered */
            UPDATE export_deliveries
               SET state = 'delivered', delivered_at = now(), attempts = attempts + 1, manifest_key = %s,
                   sequence = %s, manifest_sha256 = %s, revisions = %s, last_error = NULL, announced = '{}',
                   metered = coalesce(metered, %s),
                   leftovers = ARRAY (SELECT unnest(leftovers || announced)
                                      EXCEPT SELECT item ->> 'key' FROM jsonb_array_elements(objects) item)
             WHERE batch_id = %s AND destination = %s
            """,
            (
                manifest_key,
                sequence,
                manifest_sha256,
                orjson.dumps(revisions).decode(),
                orjson.dumps(metered).decode(),
                batch_id,
                destination,
            ),
        )
        connection.execute(
            """
            /* ledger.complete */
            UPDATE export_batches b
               SET delivered_at = now()
             WHERE b.batch_id = %s
               AND NOT EXISTS (SELECT 1 FROM export_deliveries d
                                WHERE d.batch_id = b.batch_id AND d.delivered_at IS NULL)
            """,
            (batch_id,),
        )


def failed(connection: Connection, batch_id: str, destination: str, error: str) -> None:
    """Record why a destination does not have a batch; the next run tries again."""
    connection.execute(
        """
        /* ledger.failed */
        UPDATE export_deliveries
           SET attempts = attempts + 1, attempted_at = now(), last_error = %s
         WHERE batch_id = %s AND destination = %s
        """,
        (error, batch_id, destination),
    )


def take_over(
    connection: Connection, manifest: Mapping[str, Any], layout: Mapping[str, Any], destinations: Sequence[str]
) -> None:
    """Record a batch that a bucket's manifest tells of, as one that no destination has yet."""
    formats = list(dict.fromkeys(item["format"] for item in manifest["objects"]))
    connection.execute(
        """
        /* ledger.take_over */
        INSERT INTO export_batches (batch_id, from_id, to_id, window_start, window_end, events, formats, layout)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            manifest["batch_id"],
            manifest["id_range"]["after"],
            manifest["id_range"]["to"],
            manifest["window"]["start"],
            manifest["window"]["end"],
            manifest["rows"],
            formats,
            orjson.dumps(layout).decode(),
        ),
    )
    _plan_deliveries(connection, manifest["batch_id"], destinations)


def skip_fences(connection: Connection, fence: int) -> None:
    """Let no exporter have a turn that is not after *fence*."""
    connection.execute(
        """
        /* ledger.skip_fences */
        SELECT setval('export_fences', greatest(%s, (SELECT last_value FROM export_fences)))
        """,
        (fence,),
    )


def planned_batches(connection: Connection) -> set[str]:
    """The ids of all batches."""
    return {row[0] for row in connection.execute("/* ledger.planned_batches */ SELECT batch_id FROM export_batches")}


def delivered_manifests(connection: Connection, destination: str) -> list[tuple[str, str, str]]:
    """Batch, bucket and manifest key of everything that a destination has, oldest first."""
    rows = connection.execute(
        """
        /* ledger.delivered_manifests */
        SELECT d.batch_id, d.bucket, d.manifest_key
          FROM export_deliveries d JOIN export_batches b USING (batch_id)
         WHERE d.destination = %s AND d.state = 'delivered'
         ORDER BY b.to_id, b.planned_at
        """,
        (destination,),
    ).fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


def delivered_as(connection: Connection, destination: str) -> dict[str, tuple[dict[str, Any], str, str | None]]:
    """Of every batch that a destination has: how it was planned to become objects, the bucket, and its manifest's SHA-256."""
    rows = connection.execute(
        """
        /* ledger.delivered_as */
        SELECT b.batch_id, b.layout, d.bucket, d.manifest_sha256
          FROM export_deliveries d JOIN export_batches b USING (batch_id)
         WHERE d.destination = %s AND d.state = 'delivered'
        """,
        (destination,),
    ).fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def ids_between(connection: Connection, after: int, to: int) -> tuple[int, int]:
    """How many events there are with `after < id <= to`, and the sum of their ids."""
    row = connection.execute(
        """
        /* ledger.ids_between */
        SELECT count(*), coalesce(sum(id), 0)::numeric::text FROM events WHERE id > %s AND id <= %s
        """,
        (after, to),
    ).fetchone()
    assert row is not None, "an aggregate gives one row"
    return row[0], int(row[1])


def highest_planned(connection: Connection) -> int:
    """The last id that is in a batch."""
    row = connection.execute(
        "/* ledger.highest_planned */ SELECT coalesce(max(to_id), 0) FROM export_batches"
    ).fetchone()
    assert row is not None, "an aggregate gives one row"
    highest: int = row[0]
    return highest


def first_planned(connection: Connection, destination: str) -> int:
    """The id after which the first batch begins that was planned for a destination; 0 where none was."""
    row = connection.execute(
        """
        /* ledger.first_planned */
        SELECT coalesce(min(b.from_id), 0) FROM export_batches b JOIN export_deliveries d USING (batch_id)
         WHERE d.destination = %s
        """,
        (destination,),
    ).fetchone()
    assert row is not None, "an aggregate gives one row"
    first: int = row[0]
    return first


def objects_of(connection: Connection, batch_id: str, destination: str) -> list[dict[str, Any]]:
    """The objects that a destination was last known to have of a batch."""
    row = connection.execute(
        "/* ledger.objects_of */ SELECT objects FROM export_deliveries WHERE batch_id = %s AND destination = %s",
        (batch_id, destination),
    ).fetchone()
    return list(row[0] or ()) if row else []


def give_up(connection: Connection, destination: str) -> int:
    """Let go of every delivery that a destination still lacks, and say how many; what it has stays known. Needs the claim."""
    with connection.transaction():
        given_up = connection.execute(
            "/* ledger.give_up */ DELETE FROM export_deliveries WHERE destination = %s AND delivered_at IS NULL",
            (destination,),
        ).rowcount
        connection.execute(
            """
            /* ledger.complete_without */
            UPDATE export_batches b SET delivered_at = now()
             WHERE b.delivered_at IS NULL
               AND NOT EXISTS (SELECT 1 FROM export_deliveries d WHERE d.batch_id = b.batch_id AND d.delivered_at IS NULL)
            """
        )
    return given_up


def has_unplanned(connection: Connection, most: int) -> bool:
    """Whether so many events are in no batch yet."""
    return (
        connection.execute(
            """
            /* ledger.has_unplanned */
            SELECT 1 FROM events WHERE id > (SELECT coalesce(max(to_id), 0) FROM export_batches)
             ORDER BY id OFFSET %s LIMIT 1
            """,
            (most - 1,),
        ).fetchone()
        is not None
    )


def reopen(connection: Connection, batch_ids: Sequence[str], destination: str) -> None:
    """Put delivered batches back to planned for a destination that lost them; the next run delivers them again."""
    with connection.transaction():
        connection.execute(
            """
            /* ledger.reopen */
            UPDATE export_deliveries
               SET state = 'planned', written_at = NULL, delivered_at = NULL, expired_at = NULL
             WHERE batch_id = ANY(%s) AND destination = %s
            """,
            (list(batch_ids), destination),
        )
        connection.execute(
            "/* ledger.reopen_batches */ UPDATE export_batches SET delivered_at = NULL WHERE batch_id = ANY(%s)",
            (list(batch_ids),),
        )
        connection.execute(
            """
            /* ledger.reopen_balances */
            DELETE FROM export_balances
             WHERE destination = %s
               AND hour >= (SELECT date_trunc('hour', min(window_start), 'UTC') FROM export_batches WHERE batch_id = ANY(%s))
            """,
            (destination, list(batch_ids)),
        )
