"""What a bucket has of a batch, for whoever writes it anew."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg.rows import class_row

from storage.database import Connection
from storage.errors import DeliveryFailed
from storage.ledger import Batch
from storage.settings import Format


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a destination has of a batch."""

    batch_id: str
    from_id: int
    to_id: int
    window_start: dt.datetime
    window_end: dt.datetime
    formats: list[Format]
    layout: dict[str, Any]
    destination: str
    bucket: str
    objects: list[dict[str, Any]]
    rows: int
    left_out: dict[str, int]
    manifest_key: str
    manifest_sha256: str
    revisions: list[dict[str, Any]]
    leftovers: list[str]
    unindexed: bool

    def as_batch(self) -> Batch:
        """The batch itself."""
        return Batch(
            self.batch_id, self.from_id, self.to_id, self.window_start, self.window_end, self.formats, self.layout, []
        )


def find(connection: Connection, batch_id: str, destination: str) -> Delivery:
    """What *destination* has of a batch that was delivered to it."""
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        found = cursor.execute(
            """
            /* deliveries.find */
            SELECT b.batch_id, b.from_id, b.to_id, b.window_start, b.window_end, b.formats, b.layout, d.destination,
                   d.bucket, d.objects, d.rows, d.left_out, d.manifest_key, d.manifest_sha256, d.revisions,
                   d.leftovers, d.unindexed
              FROM export_deliveries d JOIN export_batches b USING (batch_id)
             WHERE d.batch_id = %s AND d.destination = %s
            """,
            (batch_id, destination),
        ).fetchone()
    assert found is not None, "whoever asks has it from the ledger"
    return found


def rewrites(connection: Connection, batch_id: str, destination: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What was about to be put in the place of objects of a batch, by key and SHA-256."""
    rows = connection.execute(
        """
        /* deliveries.rewrites */
        SELECT key, sha256, described FROM object_rewrites WHERE batch_id = %s AND destination = %s
        """,
        (batch_id, destination),
    ).fetchall()
    return {(row[0], row[1]): row[2] for row in rows}


def announce_rewrite(connection: Connection, of: Delivery, key: str, described: Mapping[str, Any]) -> None:
    """Record that an object is about to be put in the place of the one under *key*."""
    connection.execute(
        """
        /* deliveries.announce_rewrite */
        INSERT INTO object_rewrites (batch_id, destination, key, sha256, described) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT ON CONSTRAINT object_rewrites_pkey DO UPDATE SET described = excluded.described
        """,
        (of.batch_id, of.destination, key, described["sha256"], orjson.dumps(described).decode()),
    )


def rewritten(
    connection: Connection,
    of: Delivery,
    objects: Sequence[Mapping[str, Any]],
    manifest_sha256: str,
    revision: Mapping[str, Any],
) -> None:
    """Record that a destination has other objects of a batch than it was given, and a manifest of them.

    Raises:
        DeliveryFailed: somebody delivered it again meanwhile.
    """
    changed = connection.execute(
        """
        /* deliveries.rewritten */
        UPDATE export_deliveries
           SET objects = %(objects)s, rows = %(rows)s, bytes = %(bytes)s, manifest_sha256 = %(manifest_sha256)s,
               revisions = revisions || %(revision)s::jsonb
         WHERE batch_id = %(batch_id)s AND destination = %(destination)s
           AND manifest_sha256 = %(before)s AND delivered_at IS NOT NULL
        """,
        {
            "before": of.manifest_sha256,
            "batch_id": of.batch_id,
            "destination": of.destination,
            "objects": orjson.dumps(objects).decode(),
            "rows": sum(item["rows"] for item in objects if item["format"] == of.formats[0]),
            "bytes": sum(item["bytes"] for item in objects),
            "manifest_sha256": manifest_sha256,
            "revision": orjson.dumps([revision]).decode(),
        },
    ).rowcount
    if not changed:
        raise DeliveryFailed(f"{of.batch_id} was delivered to the {of.destination} bucket again meanwhile")


def older(connection: Connection, days: int, most: int) -> list[tuple[str, str]]:
    """The deliveries whose window ended so many days ago, that every bucket has, and whose objects are still there; oldest first."""
    return connection.execute(
        """
        /* deliveries.older */
        SELECT b.batch_id, d.destination
          FROM export_batches b JOIN export_deliveries d USING (batch_id)
         WHERE b.window_end < now() - make_interval(days => %s) AND b.delivered_at IS NOT NULL AND d.expired_at IS NULL
           AND d.delivered_at IS NOT NULL
         ORDER BY b.to_id, d.destination LIMIT %s
        """,
        (days, most),
    ).fetchall()


def expired(connection: Connection, of: Delivery, manifest_sha256: str, revision: Mapping[str, Any]) -> None:
    """Record that the objects of a delivery are gone because of their age; once no bucket has any, nobody is known to be in them."""
    with connection.transaction():
        connection.execute(
            """
            /* deliveries.expired */
            UPDATE export_deliveries
               SET expired_at = %(at)s, manifest_sha256 = %(manifest_sha256)s, revisions = revisions || %(revision)s::jsonb,
                   leftovers = '{}'
             WHERE batch_id = %(batch_id)s AND destination = %(destination)s
            """,
            {
                "at": revision["expired_at"],
                "manifest_sha256": manifest_sha256,
                "revision": orjson.dumps([revision]).decode(),
                "batch_id": of.batch_id,
                "destination": of.destination,
            },
        )
        connection.execute(
            """
            /* deliveries.forget_visitors */
            DELETE FROM object_visitors
             WHERE batch_id = %(batch_id)s
               AND NOT EXISTS (SELECT 1 FROM export_deliveries WHERE batch_id = %(batch_id)s AND expired_at IS NULL)
            """,
            {"batch_id": of.batch_id},
        )
        forget_rewrites(connection, of)


def forget_rewrites(connection: Connection, of: Delivery) -> None:
    """Nothing of a batch is about to be put anywhere any more."""
    connection.execute(
        "/* deliveries.forget_rewrites */ DELETE FROM object_rewrites WHERE batch_id = %s AND destination = %s",
        (of.batch_id, of.destination),
    )
