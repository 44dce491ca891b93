"""Events read back from an object of any format."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import IO, Any, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.export.delimited import FORMULA, STRINGS
from storage.export.read import ROWS

# Of what a bucket has in several formats the one that says the most exactly what was stored.
BEST = ("parquet", "json", "csv")
# A field holds a whole event.
csv.field_size_limit(2**31 - 1)


def ids(file: IO[bytes], key: str) -> Iterator[int]:
    """The ids in the object *key* that lies in *file*, in its order, as they come.

    Raises:
        ValueError, KeyError, OSError, pa.ArrowException: it is no such object.
    """
    if key.endswith(".parquet"):
        for batch in pq.ParquetFile(file).iter_batches(columns=["id"]):
            yield from batch.column(0).to_pylist()
    else:
        for row in _records(file, key):
            yield int(row["id"])


def rows(file: IO[bytes], key: str, visitor_id: str | None = None) -> Iterator[list[Any]]:
    """The events in the object *key* that lies in *file*, each as PostgreSQL's COPY takes it, in the columns of `ROWS`; with *visitor_id* that visitor's alone.

    Of CSV a quote that stood before a formula is taken to be the one that was put there.

    Raises:
        ValueError, KeyError, OSError, pa.ArrowException: it is no such object.
    """
    if key.endswith(".parquet"):
        for batch in pq.ParquetFile(file).iter_batches(batch_size=4096):
            if visitor_id is not None:
                batch = batch.filter(pc.equal(batch.column("visitor_id").cast(pa.string()), visitor_id))
            for row in batch.to_pylist():
                yield [row[name] for name in ROWS.names]
    elif ".csv" in key.rpartition("/")[2]:
        for row in _of(_records(file, key), visitor_id):
            yield [unquoted(row[name]) if name in STRINGS else row[name] for name in ROWS.names]
    else:
        for row in _of(_records(file, key), visitor_id):
            row["raw_event_data"] = orjson.dumps(row["raw_event_data"]).decode()
            yield [row[name] for name in ROWS.names]


def batches(file: IO[bytes], key: str) -> Iterator[pa.RecordBatch]:
    """The events in the object *key* that lies in *file*, in the columns of `ROWS`.

    Raises:
        ValueError, KeyError, OSError, pa.ArrowException: it is no such object.
    """
    if key.endswith(".parquet"):
        for batch in pq.ParquetFile(file).iter_batches(batch_size=4096, columns=ROWS.names):
            yield batch.select(ROWS.names).cast(ROWS)
        return
    found = rows(file, key)
    while some := list(islice(found, 4096)):
        columns = dict(zip(ROWS.names, zip(*some, strict=True), strict=True))
        columns["id"] = tuple(map(int, columns["id"]))
        for name in ("timestamp", "created_at"):
            columns[name] = tuple(map(dt.datetime.fromisoformat, columns[name]))
        yield pa.RecordBatch.from_arrays([pa.array(columns[one.name], one.type) for one in ROWS], schema=ROWS)


def _of(records: Iterator[dict[str, Any]], visitor_id: str | None) -> Iterator[dict[str, Any]]:
    return (row for row in records if visitor_id is None or row["visitor_id"] == visitor_id)


def _records(file: IO[bytes], key: str) -> Iterator[dict[str, Any]]:
    """The rows of an object of text."""
    name = key.rpartition("/")[2]
    with closing(plain(file, name)) as data:
        if ".csv" in name:
            # Lines end where RFC 4180 ends them, and not at whatever else Unicode calls an end.
            with io.TextIOWrapper(data, "utf-8", newline="") as text:
                yield from csv.DictReader(text)
        else:
            for line in data:
                yield orjson.loads(line)


def unquoted(value: str) -> str | None:
    """A text of CSV as it was stored."""
    # CSV has no sign of its own for NULL: an empty text comes back as none.
    return (value[1:] if value[0] == "'" and FORMULA.match(value[1:]) else value) if value else None


def plain(file: IO[bytes], name: str) -> IO[bytes]:
    """What *file* holds, by the ending of its name, without its compression."""
    if name.endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if name.endswith(".zst"):
        return io.BufferedReader(pa.input_stream(file, compression="zstd"))
    return file
