"""What buckets still have of a visitor whose rows the database has dropped because of their age."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from storage import deliveries, objects, portability, visitors
from storage.database import Connection
from storage.deliveries import Delivery
from storage.destination import Destination
from storage.errors import DeliveryFailed
from storage.export.batch_rewrite import Blocked, destination_of
from storage.export.decode import rows
from storage.export.layout import Layout
from storage.export.read import ROWS
from storage.settings import Settings


@dataclass(frozen=True, slots=True)
class Held:
    """A batch of which the database dropped events, that may hold the visitor, and the buckets that have it."""

    batch_id: str
    to_id: int
    destinations: list[str]


def held(connection: Connection, settings: Settings, visitor_id: str, after: int) -> dict[str, Any]:
    """A page of the events of a visitor that only buckets have, with ids after *after*; `next` as `portability.held` has it.

    The backup bucket is asked first, as it hides nothing. A batch that only a bucket with rules has, which may not tell
    whose a row is, is left out.

    Raises:
        DeliveryFailed: no bucket that has a batch can be read, or has it whole.
    """
    visitor_hash = visitors.hash_of(settings.require_privacy_key(), visitor_id)
    for batch in _batches(connection, visitor_hash, after):
        found = sorted(_found(connection, settings, batch, visitor_id, visitor_hash, after), key=lambda row: row["id"])
        only_there = _only_there(connection, [row["id"] for row in found])
        if missing := [row for row in found if row["id"] in only_there]:
            page, more = portability.page_of(missing)
            return {"events": page, "rejected_events": [], "next": f"bucket-{page[-1]['id'] if more else batch.to_id}"}
    return {"events": [], "rejected_events": [], "next": None}


def _batches(connection: Connection, visitor_hash: int, after: int) -> list[Held]:
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(
            """
            /* held.batches */
            SELECT b.batch_id, b.to_id, array_agg(d.destination::text ORDER BY d.destination) AS destinations
              FROM export_batches b JOIN export_deliveries d USING (batch_id)
             WHERE b.to_id > %(after)s AND d.delivered_at IS NOT NULL AND d.expired_at IS NULL AND d.objects <> '[]'
               AND EXISTS (SELECT 1 FROM erased_events x WHERE x.batch_id = b.batch_id AND x.expired)
               AND (d.unindexed OR EXISTS (SELECT 1 FROM object_visitors o
                                            WHERE o.batch_id = b.batch_id AND %(visitor_hash)s = ANY (o.visitor_hashes)))
             GROUP BY b.batch_id, b.to_id ORDER BY b.to_id
            """,
            {"after": after, "visitor_hash": visitor_hash},
        ).fetchall()


def _found(
    connection: Connection, settings: Settings, batch: Held, visitor_id: str, visitor_hash: int, after: int
) -> list[dict[str, Any]]:
    """The visitor's rows of a batch, of the first bucket that has them whole."""
    failures = []
    for name in batch.destinations:
        delivery = deliveries.find(connection, batch.batch_id, name)
        layout = Layout(formats=tuple(delivery.formats), **delivery.layout)
        try:
            destination = destination_of(settings, name, delivery.bucket)
            if layout.of_destination(destination.name).is_complete():
                found = _rows(connection, delivery, destination, visitor_id, visitor_hash)
                return [row for row in found if row["id"] > after]
        except (DeliveryFailed, Blocked) as error:
            failures.append(str(error))
    if failures:
        raise DeliveryFailed(f"the copy would not be whole: {'; '.join(failures)}")
    return []


def _rows(
    connection: Connection, delivery: Delivery, destination: Destination, visitor_id: str, visitor_hash: int
) -> Iterator[dict[str, Any]]:
    index = visitors.held_by(connection, delivery.batch_id, [visitor_hash])
    # An eraser may be at it.
    announced = deliveries.rewrites(connection, delivery.batch_id, delivery.destination)
    for item in delivery.objects:
        key = item["key"]
        below = key.removeprefix(f"{destination.prefix}/")
        if item["format"] != delivery.formats[0] or not (delivery.unindexed or index.get(below, True)):
            continue
        with tempfile.TemporaryFile() as file:
            sha256 = objects.read(destination, key, file)
            if sha256 != item["sha256"] and (key, sha256) not in announced:
                raise DeliveryFailed(
                    f"{destination.name} bucket {destination.bucket}: {key} is missing, or holds other bytes than were "
                    f"delivered; `evothesis verify {destination.name}` says more"
                )
            for values in rows(file, key, visitor_id):
                row = dict(zip(ROWS.names, values, strict=True))
                row["id"] = int(row["id"])
                yield row


def _only_there(connection: Connection, ids: list[int]) -> set[int]:
    stored = connection.execute("/* held.stored */ SELECT id FROM events WHERE id = ANY (%s)", (ids,)).fetchall()
    return set(ids) - {row[0] for row in stored}
