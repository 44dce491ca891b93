"""One pass over a batch's events into one object per format, and what the manifest says of them."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import BatchUnreadable
from storage.export.delimited import CsvWriter
from storage.export.jsonl import JsonLinesWriter
from storage.export.parquet import ParquetWriter
from storage.settings import Format

# Of Arrow's allocators this one gives memory back soonest; some builds go without it.
with suppress(NotImplementedError):
    pa.set_memory_pool(pa.jemalloc_memory_pool())

HASH_CHUNK_BYTES = 1024 * 1024


class Writer(Protocol):
    """What every format offers."""

    extension: str

    def __init__(self, file: IO[bytes]) -> None: ...
    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""

    def close(self) -> None:
        """Make the file whole, and leave it open."""


WRITERS: dict[Format, type[Writer]] = {"json": JsonLinesWriter, "csv": CsvWriter, "parquet": ParquetWriter}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One object, ready to upload: an open file at its start, its size and SHA-256."""

    format: Format
    extension: str
    file: IO[bytes]
    size: int
    sha256: bytes


@dataclass(slots=True)
class Contents:
    """What a batch holds, counted while it is read."""

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
        times = pc.min_max(batch.column("timestamp")).as_py()
        self.first_timestamp = min(filter(None, (self.first_timestamp, times["min"])))
        self.last_timestamp = max(filter(None, (self.last_timestamp, times["max"])))
        for pair in pc.value_counts(batch.column("site_id")).to_pylist():
            self.sites[pair["values"]] += pair["counts"]


@contextmanager
def encode(batches: Iterable[pa.RecordBatch], formats: Iterable[Format]) -> Iterator[tuple[list[Encoded], Contents]]:
    """Write *batches* in every one of *formats*, for as long as the block runs.

    The files have no name: whatever ends the process, the disk space comes back.

    Raises:
        BatchUnreadable: the disk is full, or a value fits no format.
    """
    with ExitStack() as stack:
        try:
            files = {name: stack.enter_context(tempfile.TemporaryFile()) for name in formats}
            encoded = _write(batches, files)
        except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
            raise BatchUnreadable(f"the batch cannot be encoded: {' '.join(str(error).split())}") from error
        yield encoded


def _write(batches: Iterable[pa.RecordBatch], files: Mapping[Format, IO[bytes]]) -> tuple[list[Encoded], Contents]:
    contents = Contents()
    writers = {name: WRITERS[name](file) for name, file in files.items()}
    for batch in batches:
        contents.add(batch)
        for writer in writers.values():
            writer.write(batch)
    for writer in writers.values():
        writer.close()
    return [_seal(name, writers[name].extension, file) for name, file in files.items()], contents


def _seal(name: Format, extension: str, file: IO[bytes]) -> Encoded:
    file.flush()
    size = file.tell()
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(HASH_CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return Encoded(name, extension, file, size, digest.digest())
