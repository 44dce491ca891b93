"""One pass over a batch's events into objects of each format, and what the manifest says of them."""

from __future__ import annotations

import datetime as dt
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import BatchUnreadable, StorageError
from storage.export.delimited import CsvWriter
from storage.export.hashed import HashingFile, Reader
from storage.export.jsonl import JsonLinesWriter
from storage.export.layout import Layout
from storage.export.parquet import ParquetWriter
from storage.export.transform import Transform
from storage.settings import Compression, Format

# Of Arrow's allocators this one holds on to the least when one thread reads and another writes; some builds go without.
with suppress(NotImplementedError):
    pa.set_memory_pool(pa.mimalloc_memory_pool())


# Threads that read, gather and encode hand over to each other more often than Python's 5 ms: they hold it for microseconds.
sys.setswitchinterval(0.0005)

# So many visitors are kept before those that are there twice go.
MERGED_VISITORS = 50_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Writer(Protocol):
    """What every format offers."""

    extension: str

    def __init__(self, file: IO[bytes], compression: Compression, schema: pa.Schema) -> None: ...
    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*, whose columns are those of the schema, in that order."""

    def size(self) -> int:
        """How much is written, which depends on the rows alone."""

    def close(self) -> None:
        """Make the file whole, and leave it open."""

    def abandon(self) -> None:
        """Write no more to a file that is not made whole; also after `close` failed."""


WRITERS: dict[Format, type[Writer]] = {"json": JsonLinesWriter, "csv": CsvWriter, "parquet": ParquetWriter}


@dataclass(slots=True)
class Contents:
    """What an object or a batch holds, counted while it is read."""

    rows: int = 0
    first_id: int | None = None
    last_id: int | None = None
    first_timestamp: dt.datetime | None = None
    last_timestamp: dt.datetime | None = None
    sites: Counter[str | None] = field(default_factory=Counter)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of *batch*."""
        if not batch.num_rows:
            return
        ids = pc.min_max(batch.column("id")).as_py()
        self.first_id = min(filter(None, (self.first_id, ids["min"])))
        self.last_id = max(filter(None, (self.last_id, ids["max"])))
        self.rows += batch.num_rows
        # As numbers: whoever asks Arrow for a datetime loads pandas where it is installed, which is larger than all this.
        times = pc.min_max(batch.column("timestamp").cast(pa.int64())).as_py()
        first, last = (EPOCH + dt.timedelta(microseconds=times[end]) for end in ("min", "max"))
        self.first_timestamp = min(first, self.first_timestamp or first)
        self.last_timestamp = max(last, self.last_timestamp or last)
        for pair in pc.value_counts(batch.column("site_id")).to_pylist():
            self.sites[pair["values"]] += pair["counts"]

    def include(self, other: Contents) -> None:
        """Count what *other* counted too."""
        self.rows += other.rows
        self.sites.update(other.sites)
        for one in (other.first_id, other.last_id):
            if one is not None:
                self.first_id, self.last_id = min(one, self.first_id or one), max(one, self.last_id or one)
        for moment in (other.first_timestamp, other.last_timestamp):
            if moment is not None:
                self.first_timestamp = min(moment, self.first_timestamp or moment)
                self.last_timestamp = max(moment, self.last_timestamp or moment)


class Visitors:
    """Who is in the rows of an object: each once, however many there are."""

    def __init__(self) -> None:
        self._seen: list[pa.Array] = []
        self._many = 0
        self._merged = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take note of who is in *batch*."""
        # Of their own: a part of what the driver read would keep all of its memory from being given back.
        some = pc.unique(batch.column("visitor_id"))
        self._seen.append(some)
        self._many += len(some)
        if self._many > 2 * self._merged + MERGED_VISITORS:
            self._merge()

    def ids(self) -> list[str]:
        """All of them."""
        self._merge()
        return [visitor_id for some in self._seen for visitor_id in some.to_pylist() if visitor_id is not None]

    def _merge(self) -> None:
        if self._seen:
            self._seen = [pc.unique(pa.chunked_array(self._seen))]
            self._many = self._merged = len(self._seen[0])


@dataclass(frozen=True, slots=True)
class Part:
    """One object, ready to upload. Its file has no name: whatever ends the process, the disk space comes back."""

    format: Format
    number: int
    # The one that all of its rows are of, where partitions are asked for.
    site_id: str | None
    extension: str
    size: int
    sha256: bytes
    contents: Contents
    visitors: Visitors
    file: IO[bytes]

    def open(self) -> IO[bytes]:
        """A reader of its own, at the start; several may read at once."""
        return cast("IO[bytes]", io.BufferedReader(Reader(self.file.fileno(), self.size)))

    def close(self) -> None:
        """Give the disk space back."""
        self.file.close()


def encode(batches: Iterable[pa.RecordBatch], layout: Layout, transform: Transform) -> Iterator[Part]:
    """The objects of a batch, each as soon as it is whole, with what *transform* makes of the rows; whoever takes one closes it.

    *batches* are in the order of sites where partitions are asked for. In every format each row is in exactly one object.

    Raises:
        BatchUnreadable: the disk is full, or a value fits no format.
    """
    encoder = _Encoder(layout, transform)
    try:
        for batch in batches:
            for site_id, rows in _by_site(batch) if layout.partition_by else [(None, batch)]:
                yield from encoder.take(site_id, rows)
        yield from encoder.finish()
    except StorageError:
        raise
    except Exception as error:
        # Also what nobody foresaw: it is this batch's, and holds up no other and no other destination.
        raise BatchUnreadable(f"the batch cannot be encoded: {' '.join(str(error).split())}") from error
    finally:
        encoder.abandon()


def _by_site(batch: pa.RecordBatch) -> Iterator[tuple[str | None, pa.RecordBatch]]:
    """The runs of rows of one site; those without one and those whose site has no name are of the same partition."""
    runs = pc.run_end_encode(batch.column("site_id"))
    start = 0
    for site_id, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield site_id or None, batch.slice(start, end - start)
        start = end


class _Encoder:
    """Objects in the making: one of each format at a time."""

    def __init__(self, layout: Layout, transform: Transform) -> None:
        self._layout = layout
        self._transform = transform
        self._made: dict[Format, _Making] = {}
        self._numbers: Counter[Format] = Counter()
        self._site_id: str | None = None

    def take(self, site_id: str | None, rows: pa.RecordBatch) -> Iterator[Part]:
        """Write *rows*, which are of one site where partitions are asked for."""
        if site_id != self._site_id:
            yield from self.finish()
            self._numbers.clear()
            self._site_id = site_id
        written = self._transform.apply(rows)
        for name in self._layout.formats:
            making = self._made.get(name) or self._begin(name)
            making.writer.write(written)
            making.contents.add(rows)
            making.visitors.add(rows)
            if making.writer.size() >= self._layout.object_bytes:
                yield self._seal(name)

    def finish(self) -> Iterator[Part]:
        """Make whole what was begun."""
        for name in list(self._made):
            yield self._seal(name)

    def abandon(self) -> None:
        """Stop what was begun and is not whole, and give back its disk space."""
        for making in self._made.values():
            making.writer.abandon()
            making.file.abandon()

    def _begin(self, name: Format) -> _Making:
        file = HashingFile(tempfile.TemporaryFile())  # noqa: SIM115 - whoever takes the part closes it
        compression = self._layout.compression_of(name)
        try:
            writer = WRITERS[name](cast("IO[bytes]", file), compression, self._transform.schema)
        except BaseException:
            file.abandon()
            raise
        making = self._made[name] = _Making(file, writer)
        self._numbers[name] += 1
        return making

    def _seal(self, name: Format) -> Part:
        making = self._made[name]
        making.writer.close()
        making.file.flush()
        del self._made[name]
        return Part(
            name,
            self._numbers[name],
            self._site_id,
            making.writer.extension,
            making.file.size,
            making.file.digest(),
            making.contents,
            making.visitors,
            making.file.below,
        )


@dataclass(slots=True)
class _Making:
    file: HashingFile
    writer: Writer
    contents: Contents = field(default_factory=Contents)
    visitors: Visitors = field(default_factory=Visitors)
