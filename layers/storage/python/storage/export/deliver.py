"""Batches into their destinations: each encoded once for all that get the same, and taken by each on a thread of its own."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Self

import pyarrow as pa

from storage import ledger, objects, visitors, webhooks
from storage.database import Connection
from storage.destination import Destination
from storage.errors import BatchUnreadable, DeliveryFailed, SettingsInvalid
from storage.export import contract, manifest
from storage.export.encode import Contents, Part, encode
from storage.export.layout import Layout
from storage.export.read import record_batches
from storage.export.transform import Filter, Transform
from storage.ledger import Batch
from storage.objects import Body

CONTENT_TYPES = {"json": "application/x-ndjson", "csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
# Objects that are whole and not yet in every bucket: what they may take of the disk.
MOST_UNDER_WAY = 2


def deliver(
    connection: Connection,
    url: str,
    asked: Iterable[tuple[Batch, Sequence[Destination]]],
    fence: int,
    key: bytes,
    tells: bool = False,
) -> Iterator[tuple[Batch, dict[str, str]]]:
    """Bring every batch to its destinations, one after the other, and say of each what went wrong, by destination.

    While a batch is on its way into the buckets the next is encoded, so that one is taken from *asked* before this one is
    told of. Each destination goes its own way: what one refuses, the other still gets. One that refused is asked no
    more, so none gets a batch before an older one. A batch that fits no file is told of under its own id. Every key is
    in the ledger before its first byte is sent, so whatever dies on the way, doing it again ends in the same objects and
    no others. *key* is that of the hashes by which visitors are found again in the objects. Where somebody listens (*tells*)
    the operator is told of each delivery by `export.delivered`.
    """
    before: _Sending | None = None
    with _Road(tells) as road:
        for batch, destinations in asked:
            failures: dict[str, str] = {
                one.name: road.refused[one.name] for one in destinations if one.name in road.refused
            }
            groups = _alike(batch, [one for one in destinations if one.name not in failures])
            for layout, together in groups:
                sending = _Sending(connection, batch, layout, together, fence, road, failures)
                sending.encode(url, key)
                if before:
                    before.finish()
                if before and before.batch is not batch:
                    yield before.batch, before.failures
                before = sending
            if not groups:
                yield batch, failures
        if before:
            before.finish()
            yield before.batch, before.failures


def _alike(batch: Batch, destinations: Sequence[Destination]) -> list[tuple[Layout, list[Destination]]]:
    """The destinations that get the same, which is encoded once for all of them."""
    layout = Layout(formats=tuple(batch.formats), **batch.layout)
    groups: list[tuple[Layout, list[Destination]]] = []
    for destination in destinations:
        own = layout.of_destination(destination.name)
        if groups and groups[0][0] == own:
            groups[0][1].append(destination)
        else:
            groups.append((own, [destination]))
    return groups


class _Road:
    """What the batches of a run share: a thread for each destination, the objects under way, and who refused with what."""

    def __init__(self, tells: bool) -> None:
        self.tells = tells
        self.refused: dict[str, str] = {}
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._under_way: deque[tuple[Part, list[Future[None]]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for thread in self._threads.values():
            thread.shutdown(cancel_futures=True)
        for part, _ in self._under_way:
            part.close()

    def thread(self, destination: Destination) -> ThreadPoolExecutor:
        """The one thread that writes into a destination, in order."""
        if destination.name not in self._threads:
            self._threads[destination.name] = ThreadPoolExecutor(1, thread_name_prefix=f"export-{destination.name}")
        return self._threads[destination.name]

    def take(self, part: Part, sent: list[Future[None]]) -> None:
        """Keep *part* until it is sent, and wait where too many are kept."""
        self._under_way.append((part, sent))
        while len(self._under_way) > MOST_UNDER_WAY:
            self._arrive()

    def wait(self, sent: Sequence[Future[None]]) -> None:
        """Wait until all of *sent* are, and let go of what has arrived."""
        wait(sent)
        while self._under_way and all(future.done() for future in self._under_way[0][1]):
            self._arrive()

    def _arrive(self) -> None:
        part, sent = self._under_way.popleft()
        wait(sent)
        part.close()
        for future in sent:
            future.result()


class _Sending:
    """A batch on its way into the destinations that get the same of it: `encode`, then `finish`."""

    def __init__(
        self,
        connection: Connection,
        batch: Batch,
        layout: Layout,
        destinations: Sequence[Destination],
        fence: int,
        road: _Road,
        failures: dict[str, str],
    ) -> None:
        self.batch = batch
        self.failures = failures
        self._connection, self._layout, self._road = connection, layout, road
        self._contents, self._kept = Contents(), Filter(layout.filters)
        self._lanes = [_Lane(connection, batch, destination, fence, road) for destination in destinations]
        self._sent: list[Future[None]] = []
        self._is_whole = False

    def encode(self, url: str, key: bytes) -> None:
        """Make all objects and begin to send them; what is wrong with the batch itself is in the ledger and in `failures`."""
        destinations = [lane.destination for lane in self._lanes]
        try:
            transform = Transform(self._layout.filters, self._layout.transforms, destinations[0].hashing_key())
            for part in encode(self._kept.kept(self._read(url)), self._layout, transform):
                if part.format == self._layout.formats[0]:
                    self._contents.include(part.contents)
                # Before a byte of it is anywhere: whoever erases finds what an attempt left that was given up.
                held = visitors.hashes_of(key, part.visitors.ids())
                visitors.keep_index(
                    self._connection, self.batch.batch_id, manifest.relative_key(self.batch, part), held
                )
                sent = [lane.send(part) for lane in self._lanes]
                self._sent += sent
                self._road.take(part, sent)
        except (BatchUnreadable, SettingsInvalid) as error:
            for destination in destinations:
                ledger.failed(self._connection, self.batch.batch_id, destination.name, str(error))
            if isinstance(error, BatchUnreadable):
                self.failures[self.batch.batch_id] = str(error)
            else:
                self.failures |= {destination.name: str(error) for destination in destinations}
        else:
            self._is_whole = True
            ledger.indexed(self._connection, self.batch.batch_id, [one.name for one in destinations])

    def finish(self) -> None:
        """Wait until all objects are there, then write the manifests and commit, or record what went wrong."""
        self._road.wait(self._sent)
        if self._is_whole:
            for lane in self._lanes:
                lane.finish(self._layout, self._contents, self._kept.left_out)
        self._road.refused |= {name: text for name, text in self.failures.items() if name != self.batch.batch_id}
        self.failures |= {
            name: self._road.refused[name]
            for name in (lane.destination.name for lane in self._lanes)
            if name in self._road.refused
        }

    def _read(self, url: str) -> Iterator[pa.RecordBatch]:
        """The events of the batch; what is erased is erased before they are read, and not in them, or after."""
        names = [lane.destination.name for lane in self._lanes]
        events = record_batches(url, self.batch.from_id, self.batch.to_id, bool(self._layout.partition_by))
        with ledger.reading(self._connection, self.batch.batch_id, names):
            first = next(events, None)
        if first is not None:
            yield first
            yield from events


class _Lane:
    """The way of a batch into one destination."""

    def __init__(self, connection: Connection, batch: Batch, destination: Destination, fence: int, road: _Road) -> None:
        self.destination = destination
        self._connection, self._batch, self._fence, self._road = connection, batch, fence, road
        self._described: list[dict[str, Any]] = []
        self._failure = ""

    def send(self, part: Part) -> Future[None]:
        """Announce an object and begin to write it; none is sent any more where one was refused."""
        described = manifest.describe(self.destination.prefix, self._batch, part)
        if self.destination.name not in self._road.refused:
            ledger.announce(self._connection, self._batch.batch_id, self.destination.name, described["key"])
        self._described.append(described)
        return self._road.thread(self.destination).submit(self._put, part, described["key"])

    def _put(self, part: Part, key: str) -> None:
        if self.destination.name in self._road.refused:
            return
        body = Body(part.open(), part.size, part.sha256, CONTENT_TYPES[part.format])
        try:
            objects.put(self.destination, key, body, self._fence)
        except DeliveryFailed as error:
            self._fail(error)

    def _fail(self, error: DeliveryFailed) -> None:
        self._failure = self._road.refused[self.destination.name] = str(error)

    def finish(self, layout: Layout, contents: Contents, left_out: Mapping[str, int]) -> None:
        """Write the manifest and commit, or record what went wrong with this batch and not with one before it."""
        batch_id, name = self._batch.batch_id, self.destination.name
        if name not in self._road.refused:
            before = ledger.objects_of(self._connection, batch_id, name)
            ledger.written(
                self._connection, batch_id, name, self.destination.bucket, self._described, contents.rows, left_out
            )
            try:
                self._remove_leftovers()
                contract.put_where_none_is(self.destination, layout, self._fence)
                place = ledger.place(self._connection, batch_id, name, self.destination.bucket)
                revisions = list(place.revisions)
                text = manifest.render(self._batch, layout, self._described, contents, left_out, place, revisions)
                if place.present_sha256 not in (None, hashlib.sha256(text).hexdigest()):
                    # It takes the place of one that the next may name.
                    revisions.append(
                        {"sha256": place.present_sha256, **manifest.removed(before, self._described, layout)}
                    )
                    text = manifest.render(self._batch, layout, self._described, contents, left_out, place, revisions)
                key, sha256 = put_manifest(self._batch, self.destination, text, self._fence)
            except DeliveryFailed as error:
                self._fail(error)
            else:
                self._delivered(key, place.sequence, sha256, revisions)
        if self._failure:
            ledger.failed(self._connection, batch_id, name, self._failure)

    def _delivered(self, key: str, sequence: int, sha256: str, revisions: Sequence[Mapping[str, Any]]) -> None:
        """Commit, and tell of it in the same transaction."""
        batch, name, shares = self._batch, self.destination.name, manifest.shares(self._described)
        with self._connection.transaction():
            ledger.delivered(self._connection, batch.batch_id, name, key, sequence, sha256, revisions, shares)
            if self._road.tells:
                told = {
                    "destination": name,
                    "bucket": self.destination.bucket,
                    "batch_id": batch.batch_id,
                    "window": {"start": batch.window_start, "end": batch.window_end},
                    "events": sum(events for events, _ in shares.values()),
                    "bytes": sum(held for _, held in shares.values()),
                    "sites": len(shares),
                    "manifest_key": key,
                    "manifest_sha256": sha256,
                }
                webhooks.tell(self._connection, "export.delivered", told, name)

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
