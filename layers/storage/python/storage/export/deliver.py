"""One batch into its destinations: encoded once for all that get the same, while each destination takes the objects on a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, Self

import pyarrow as pa

from storage import ledger, objects
from storage.database import Connection
from storage.errors import BatchUnreadable, DeliveryFailed, SettingsInvalid
from storage.export import contract, manifest
from storage.export.encode import Contents, Part, encode
from storage.export.layout import Layout
from storage.export.read import record_batches
from storage.export.transform import Filter, Transform
from storage.ledger import Batch
from storage.objects import Body
from storage.settings import Destination

CONTENT_TYPES = {"json": "application/x-ndjson", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
# Objects that are whole and not yet in every bucket: what they may take of the disk.
MOST_UNDER_WAY = 2


def deliver(
    connection: Connection, url: str, batch: Batch, destinations: Sequence[Destination], fence: int
) -> dict[str, str]:
    """Bring *batch* to every one of *destinations*, and say per destination what went wrong.

    Each destination goes its own way: what one refuses, the other still gets. Every key is in the ledger before its
    first byte is sent, so whatever dies on the way, doing it again ends in the same objects and no others.

    Raises:
        BatchUnreadable: the batch fits no file of some destination, and the ledger says so of each that lacks it.
    """
    layout = Layout(formats=tuple(batch.formats), **batch.layout)
    alike: list[tuple[Layout, list[Destination]]] = []
    for destination in destinations:
        own = layout.of_destination(destination.name)
        if alike and alike[0][0] == own:
            alike[0][1].append(destination)
        else:
            alike.append((own, [destination]))
    failures: dict[str, str] = {}
    unreadable: BatchUnreadable | None = None
    # Those that get the same are encoded for at once.
    for own, together in alike:
        try:
            failures |= _deliver(connection, url, batch, own, together, fence)
        except BatchUnreadable as error:
            unreadable = unreadable or error
        except SettingsInvalid as error:
            for destination in together:
                ledger.failed(connection, batch.batch_id, destination.name, str(error))
                failures[destination.name] = str(error)
    if unreadable:
        raise unreadable
    return failures


def _deliver(
    connection: Connection,
    url: str,
    batch: Batch,
    layout: Layout,
    destinations: Sequence[Destination],
    fence: int,
) -> dict[str, str]:
    contents, kept = Contents(), Filter(layout.filters)
    transform = Transform(layout.filters, layout.transforms, destinations[0].hashing_key())
    with ExitStack() as stack:
        lanes = [stack.enter_context(_Lane(connection, batch, destination, fence)) for destination in destinations]
        under_way: deque[tuple[Part, list[Future[None]]]] = deque()
        try:
            names = [destination.name for destination in destinations]
            events = _read(connection, url, batch, names, by_site=bool(layout.partition_by))
            for part in encode(contents.counting(kept.kept(events)), layout, transform):
                under_way.append((part, [lane.send(part) for lane in lanes if not lane.failure]))
                while len(under_way) > MOST_UNDER_WAY:
                    _wait(under_way)
        except BatchUnreadable as error:
            for destination in destinations:
                ledger.failed(connection, batch.batch_id, destination.name, str(error))
            raise
        finally:
            while under_way:
                _wait(under_way)
        for lane in lanes:
            lane.finish(layout, contents, kept.left_out)
    return {lane.destination.name: lane.failure for lane in lanes if lane.failure}


def _read(
    connection: Connection, url: str, batch: Batch, destinations: Sequence[str], *, by_site: bool
) -> Iterator[pa.RecordBatch]:
    """The events of *batch*; what is erased is erased before they are read, and not in them, or after."""
    events = record_batches(url, batch.from_id, batch.to_id, by_site)
    with ledger.reading(connection, batch.batch_id, destinations):
        first = next(events, None)
    if first is not None:
        yield first
        yield from events


def _wait(under_way: deque[tuple[Part, list[Future[None]]]]) -> None:
    part, sent = under_way.popleft()
    wait(sent)
    part.close()
    for future in sent:
        future.result()


class _Lane:
    """The way of a batch into one destination."""

    def __init__(self, connection: Connection, batch: Batch, destination: Destination, fence: int) -> None:
        self.destination = destination
        self.failure = ""
        self._connection, self._batch, self._fence = connection, batch, fence
        self._described: list[dict[str, Any]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"export-{destination.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def send(self, part: Part) -> Future[None]:
        """Announce an object and begin to write it."""
        described = manifest.describe(self.destination.prefix, self._batch, part)
        ledger.announce(self._connection, self._batch.batch_id, self.destination.name, described["key"])
        self._described.append(described)
        return self._thread.submit(self._put, part, described["key"])

    def _put(self, part: Part, key: str) -> None:
        if self.failure:
            return
        body = Body(part.open(), part.size, part.sha256, CONTENT_TYPES[part.format])
        try:
            objects.put(self.destination, key, body, self._fence)
        except DeliveryFailed as error:
            self.failure = str(error)

    def finish(self, layout: Layout, contents: Contents, left_out: Mapping[str, int]) -> None:
        """Write the manifest and commit, or record what went wrong."""
        batch_id, name = self._batch.batch_id, self.destination.name
        if not self.failure:
            ledger.written(
                self._connection, batch_id, name, self.destination.bucket, self._described, contents.rows, left_out
            )
            try:
                self._remove_leftovers()
                contract.put_where_none_is(self.destination, layout, self._fence)
                place = ledger.place(self._connection, batch_id, name, self.destination.bucket)
                text = manifest.render(self._batch, layout, self._described, contents, left_out, place)
                key, sha256 = put_manifest(self._batch, self.destination, text, self._fence)
            except DeliveryFailed as error:
                self.failure = str(error)
            else:
                ledger.delivered(self._connection, batch_id, name, key, place.sequence, sha256)
        if self.failure:
            ledger.failed(self._connection, batch_id, name, self.failure)

    def _remove_leftovers(self) -> None:
        """Remove what an earlier attempt wrote and this one did not, or readers of the folder would see rows twice."""
        whole = {item["key"] for item in self._described}
        for key in ledger.announced(self._connection, self._batch.batch_id, self.destination.name):
            if key not in whole:
                objects.remove(self.destination, key)


def put_manifest(batch: Batch, destination: Destination, text: bytes, fence: int) -> tuple[str, str]:
    """Write the manifest of a batch whose objects all lie there, and give its key and SHA-256."""
    key = manifest.manifest_key(destination.prefix, batch)
    body = Body.of(text, "application/json")
    objects.put(destination, key, body, fence)
    return key, body.sha256.hex()
