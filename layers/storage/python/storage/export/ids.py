"""The ids of the events in an object, read back from every format."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import closing
from typing import IO, cast

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

# A field holds a whole event.
csv.field_size_limit(2**31 - 1)


def ids(file: IO[bytes], key: str) -> Iterator[int]:
    """The ids in the object *key* that lies in *file*, in its order, as they come.

    Raises:
        ValueError, OSError, pa.ArrowException: it is no such object.
    """
    name = key.rpartition("/")[2]
    if name.endswith(".parquet"):
        parquet = pq.ParquetFile(file)
        for batch in parquet.iter_batches(columns=["id"]):
            yield from batch.column(0).to_pylist()
        return
    with closing(_plain(file, name)) as text:
        if ".csv" in name:
            for row in csv.DictReader(codecs.getreader("utf-8")(text)):
                yield int(row["id"])
        else:
            for line in text:
                yield orjson.loads(line)["id"]


def _plain(file: IO[bytes], name: str) -> IO[bytes]:
    if name.endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if name.endswith(".zst"):
        return io.BufferedReader(pa.input_stream(file, compression="zstd"))
    return file
