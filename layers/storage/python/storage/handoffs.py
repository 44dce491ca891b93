"""What was handed off beside the regular stream: where it lies, who is in it, and what an erasure did to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from psycopg.rows import class_row, dict_row

from storage.database import Connection
from storage.settings import Format


@dataclass(frozen=True, slots=True)
class Handoff:
    """One that may hold visitors who are to be erased, and which erasures wait for it."""

    destination: str
    bucket: str
    prefix: str
    formats: list[Format]
    layout: dict[str, Any]
    erasure_ids: list[UUID]


def began_at(connection: Connection, destination: str, bucket: str, prefix: str) -> dt.datetime | None:
    """When the last hand-off to this place began; None where there was none."""
    row = connection.execute(
        """
        /* handoffs.began_at */
        SELECT began_at FROM handoffs WHERE destination = %s AND bucket = %s AND prefix = %s
        """,
        (destination, bucket, prefix),
    ).fetchone()
    return row[0] if row else None


def begin(
    connection: Connection,
    place: tuple[str, str, str],
    of: tuple[dt.datetime, dt.datetime, str | None],
    formats: Sequence[str],
    layout: Mapping[str, Any],
) -> dt.datetime:
    """Record that a hand-off of a range and a site begins, to a destination, bucket and prefix; gives when."""
    row = connection.execute(
        """
        /* handoffs.begin */
        INSERT INTO handoffs (destination, bucket, prefix, from_time, to_time, site_id, formats, layout, visitor_hashes)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '{}')
            ON CONFLICT ON CONSTRAINT handoffs_pkey
            DO UPDATE SET began_at = now(), ended_at = NULL, formats = excluded.formats, layout = excluded.layout,
                          -- Older versions of what an earlier one wrote may be there.
                          visitor_hashes = handoffs.visitor_hashes
        RETURNING began_at
        """,
        (*place, *of, list(formats), orjson.dumps(layout).decode()),
    ).fetchone()
    assert row is not None, "an INSERT of one row returns it"
    began: dt.datetime = row[0]
    return began


def take_over(
    connection: Connection, place: tuple[str, str, str], of: tuple[dt.datetime, dt.datetime, str | None]
) -> None:
    """Record a hand-off that is there, of a range and a site, where none is known of; its manifests tell the rest."""
    connection.execute(
        """
        /* handoffs.take_over */
        INSERT INTO handoffs (destination, bucket, prefix, from_time, to_time, site_id)
        VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (*place, *of),
    )


def end(connection: Connection, place: tuple[str, str, str]) -> None:
    """Record that a hand-off is whole."""
    connection.execute(
        """
        /* handoffs.end */
        UPDATE handoffs SET ended_at = now() WHERE destination = %s AND bucket = %s AND prefix = %s
        """,
        place,
    )


def keep_index(connection: Connection, place: tuple[str, str, str], visitor_hashes: Sequence[int]) -> None:
    """Keep who else is in a hand-off."""
    connection.execute(
        """
        /* handoffs.keep_index */
        UPDATE handoffs
           SET visitor_hashes = (SELECT coalesce(array_agg(DISTINCT one ORDER BY one), '{}')
                                   FROM unnest(visitor_hashes || %s::bigint[]) one)
         WHERE destination = %s AND bucket = %s AND prefix = %s
           -- Who was in what lay there before is not known by knowing who is in it now.
           AND visitor_hashes IS NOT NULL
        """,
        (list(visitor_hashes), *place),
    )


def affected(connection: Connection) -> list[Handoff]:
    """The hand-offs that may hold visitors of unfinished erasures and were not gone through for them."""
    with connection.cursor(row_factory=class_row(Handoff)) as cursor:
        return cursor.execute(
            """
            /* handoffs.affected */
            SELECT h.destination, h.bucket, h.prefix, h.formats, h.layout,
                   array_agg(e.erasure_id ORDER BY e.requested_at) AS erasure_ids
              FROM erasures e
              -- One that began later may have older versions, of what lay there before.
              JOIN handoffs h ON h.visitor_hashes IS NULL OR e.visitor_hash = ANY (h.visitor_hashes)
             WHERE e.state <> 'completed'
               AND NOT EXISTS (SELECT 1 FROM erasure_handoffs x
                                WHERE x.erasure_id = e.erasure_id AND x.destination = h.destination
                                  AND x.bucket = h.bucket AND x.prefix = h.prefix)
             GROUP BY h.destination, h.bucket, h.prefix
             ORDER BY h.destination, h.bucket, h.prefix
            """
        ).fetchall()


def done(connection: Connection, erasure_id: UUID, of: Handoff, rows: int, objects: Sequence[Any]) -> None:
    """Record that a hand-off does not hold the visitor any more, and what that took."""
    connection.execute(
        """
        /* handoffs.done */
        INSERT INTO erasure_handoffs (erasure_id, destination, bucket, prefix, rows_removed, objects)
        VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (erasure_id, of.destination, of.bucket, of.prefix, rows, orjson.dumps(objects).decode()),
    )


def what_was_done(connection: Connection, erasure_id: UUID) -> list[dict[str, Any]]:
    """What an erasure did to the objects of each hand-off."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            /* handoffs.what_was_done */
            SELECT destination, bucket, prefix, rows_removed, objects
              FROM erasure_handoffs WHERE erasure_id = %s ORDER BY destination, bucket, prefix
            """,
            (erasure_id,),
        ).fetchall()


def forget(connection: Connection, visitor_hashes: Sequence[int]) -> None:
    """Let the index know nothing of visitors who are in no hand-off any more."""
    connection.execute(
        """
        /* handoffs.forget */
        UPDATE handoffs
           SET visitor_hashes = ARRAY (SELECT one FROM unnest(visitor_hashes) one
                                        WHERE one <> ALL (%(gone)s::bigint[]) ORDER BY one)
         WHERE visitor_hashes && %(gone)s::bigint[]
        """,
        {"gone": list(visitor_hashes)},
    )


def older(connection: Connection, days: int) -> list[tuple[str, str, str]]:
    """The hand-offs of events of which the youngest came so many days ago: destination, bucket and prefix."""
    return connection.execute(
        """
        /* handoffs.older */
        SELECT destination, bucket, prefix FROM handoffs WHERE to_time < now() - make_interval(days => %s)
         ORDER BY destination, bucket, prefix
        """,
        (days,),
    ).fetchall()


def remove(connection: Connection, place: tuple[str, str, str]) -> None:
    """Forget a hand-off that is not there any more."""
    connection.execute(
        "/* handoffs.remove */ DELETE FROM handoffs WHERE destination = %s AND bucket = %s AND prefix = %s", place
    )
