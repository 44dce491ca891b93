"""What buckets still have of a visitor whose rows the database has dropped because of their age."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, TypeVar

import pyarrow as pa
from psycopg.rows import class_row

from storage import deliveries, objects, portability, visitors
from storage.database import Connection
from storage.deliveries import Delivery
from storage.destination import Destination
from storage.errors import DeliveryFailed
from storage.export.batch_rewrite import Blocked, destination_of
from storage.export.decode import BEST, batches, rows
from storage.export.layout import Layout
from storage.export.read import ROWS
from storage.settings import Settings

T = TypeVar("T")


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

    def read(delivery: Delivery, destination: Destination) -> list[dict[str, Any]]:
        index = visitors.held_by(connection, delivery.batch_id, [visitor_hash])
        found = []
        for item in delivery.objects:
            below = item["key"].removeprefix(f"{destination.prefix}/")
            if item["format"] == delivery.formats[0] and (delivery.unindexed or index.get(below, True)):
                with _fetched(connection, delivery, destination, item) as file:
                    found += [
                        dict(zip(ROWS.names, values, strict=True)) for values in rows(file, item["key"], visitor_id)
                    ]
        numbered = [{**row, "id": int(row["id"])} for row in found]
        return [row for row in numbered if row["id"] > after]

    return _of_any(connection, settings, batch.batch_id, batch.destinations, read) or []


@dataclass(frozen=True, slots=True)
class Dropped:
    """A batch of which the database dropped events of a site: its ids, and all of its events as a bucket has them.

    Where none has it any more, or it was never in one, `gone` is how many events of the site those were.
    """

    from_id: int
    to_id: int
    gone: int
    files: list[tuple[str, IO[bytes]]]
    erased: frozenset[int]
    key: bytes

    def read(self) -> Iterator[pa.RecordBatch]:
        """The events of all sites, but for those of visitors who were erased; once."""
        for name, file in self.files:
            with file:
                for batch in batches(file, name):
                    yield batch.filter(
                        pa.array([not self._is_gone(one) for one in batch.column("visitor_id").to_pylist()])
                    )

    def _is_gone(self, visitor_id: str | None) -> bool:
        return bool(self.erased and visitor_id) and visitors.hash_of(self.key, visitor_id or "") in self.erased


def batches_of_site(connection: Connection, settings: Settings, site_id: str, hour: dt.datetime) -> Iterator[Dropped]:
    """The batches of an hour of which the database dropped events of a site, each as a bucket has it; the files go with their reading.

    Raises:
        DeliveryFailed: no bucket that has a batch can be read.
    """
    erased, key = frozenset(visitors.suppressed(connection)), settings.require_privacy_key()

    def read(delivery: Delivery, destination: Destination) -> list[tuple[str, IO[bytes]]]:
        best = min(delivery.formats, key=BEST.index)
        items = [item for item in delivery.objects if item["format"] == best]
        return [(item["key"], _fetched(connection, delivery, destination, item)) for item in items]

    for batch_id, from_id, to_id, events, destinations in connection.execute(
        DROPPED, {"site_id": site_id, "hour": hour}
    ).fetchall():
        files = _of_any(connection, settings, batch_id, destinations, read) if destinations else None
        if files is None:
            # Nothing is to be taken out of what the database still has.
            yield Dropped(0, 0, events, [], erased, key)
        else:
            yield Dropped(from_id, to_id, 0, files, erased, key)


def _of_any(
    connection: Connection,
    settings: Settings,
    batch_id: str,
    destinations: Sequence[str],
    read: Callable[[Delivery, Destination], T],
) -> T | None:
    """What *read* makes of a batch in the first bucket that has it with all of its rows, as they were stored; None where none has."""
    failures = []
    for name in destinations:
        delivery = deliveries.find(connection, batch_id, name)
        layout = Layout(formats=tuple(delivery.formats), **delivery.layout)
        try:
            destination = destination_of(settings, name, delivery.bucket)
            if layout.of_destination(name).is_complete():
                return read(delivery, destination)
        except (DeliveryFailed, Blocked) as error:
            failures.append(str(error))
    if failures:
        raise DeliveryFailed(f"the copy would not be whole: {'; '.join(failures)}")
    return None


def _fetched(
    connection: Connection, delivery: Delivery, destination: Destination, item: Mapping[str, Any]
) -> IO[bytes]:
    """An object of a batch in a file without a name, after a look at its checksum; whoever takes it closes it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    sha256 = objects.read(destination, item["key"], file)
    # An eraser may be at it.
    announced = deliveries.rewrites(connection, delivery.batch_id, delivery.destination)
    if sha256 != item["sha256"] and (item["key"], sha256) not in announced:
        file.close()
        raise DeliveryFailed(
            f"{destination.name} bucket {destination.bucket}: {item['key']} is missing, or holds other bytes than were "
            f"delivered; `evothesis verify {destination.name}` says more"
        )
    return file


def _only_there(connection: Connection, ids: list[int]) -> set[int]:
    stored = connection.execute("/* held.stored */ SELECT id FROM events WHERE id = ANY (%s)", (ids,)).fetchall()
    return set(ids) - {row[0] for row in stored}


DROPPED = """
    /* held.dropped_of_site */
    WITH dropped AS (
        SELECT batch_id, sum(events)::bigint AS events FROM erased_events
         WHERE site_id = %(site_id)s AND expired AND hour >= %(hour)s AND hour < %(hour)s + interval '1 hour'
         GROUP BY batch_id)
    SELECT x.batch_id, b.from_id, b.to_id, x.events,
           (SELECT array_agg(d.destination ORDER BY d.destination) FROM export_deliveries d
             WHERE d.batch_id = x.batch_id AND d.delivered_at IS NOT NULL AND d.expired_at IS NULL)
      FROM dropped x LEFT JOIN export_batches b USING (batch_id)
     ORDER BY b.to_id NULLS LAST
"""
