"""Parquet: real types, zstd, row groups of 128 Ki rows, each sorted so that one site and one visitor prune."""

from __future__ import annotations

import ctypes
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.settings import Compression

ROW_GROUP_ROWS = 131_072
# A row group of large events ends sooner, as it is in memory up to three times: one is gathered while another is encoded,
# and while that is sorted it is there twice. Measured: the file is no larger than with twice as much.
ROW_GROUP_BYTES = 8 * 1024 * 1024
# Giving memory back takes time, and so does asking for it again: with each group it would be a twentieth of all. They are
# counted over all objects, of which most are smaller than this.
GROUPS_A_TRIM = 4
_groups = count(1)
# Where the C library has it.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

# A dictionary pays where values repeat; of these it would be built in vain.
UNIQUE = ("id", "event_id", "timestamp", "raw_event_data", "created_at")
# Measured: of events the third level is no smaller than the first, and takes twice as long.
ZSTD_LEVEL = 1


class ParquetWriter:
    """Writes record batches to an open binary file; `close` makes it whole and leaves it open.

    A thread of its own sorts and encodes a row group while the next is gathered; what goes wrong there is raised by the
    next call that waits for it.
    """

    extension = "parquet"

    def __init__(self, file: IO[bytes], compression: Compression, schema: pa.Schema) -> None:
        self._file = file
        self._names = schema.names
        self._gathered: list[pa.RecordBatch] = []
        self._rows = self._bytes = self._size = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="export-parquet")
        self._under_way: deque[Future[int]] = deque()
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression=compression,
            compression_level=ZSTD_LEVEL if compression == "zstd" else None,
            write_page_index=True,
            use_dictionary=[name for name in schema.names if name not in UNIQUE],
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""
        while batch.num_rows:
            taken = batch.slice(0, ROW_GROUP_ROWS - self._rows)
            batch = batch.slice(taken.num_rows)
            self._gathered.append(taken)
            self._rows += taken.num_rows
            self._bytes += taken.nbytes
            if self._rows == ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
                self._flush()

    def size(self) -> int:
        """How much of the file is certainly written: the same each time for the same rows, however fast they are encoded."""
        return self._size

    def close(self) -> None:
        """Write what was gathered and the footer."""
        self._flush()
        self._wait()
        self._thread.shutdown()
        self._writer.close()

    def abandon(self) -> None:
        """Encode no more, and wait until none of it is written."""
        self._thread.shutdown(cancel_futures=True)

    def _flush(self) -> None:
        if self._gathered:
            rows = pa.Table.from_batches(self._gathered)
            self._gathered.clear()
            self._rows = self._bytes = 0
            handed = [rows]
            del rows
            self._under_way.append(self._thread.submit(self._encode, handed))
            # It is handed over before the one before it is done, so that its thread goes from one to the next at once.
            self._wait(1)

    def _encode(self, handed: list[pa.Table]) -> int:
        # Nobody else holds the rows any more, so that they are in memory twice for no longer than it takes to sort them.
        rows = handed.pop()
        rows = rows.take(_order(rows))
        self._writer.write_table(rows.rename_columns(self._names), row_group_size=ROW_GROUP_ROWS)
        del rows
        if next(_groups) % GROUPS_A_TRIM == 0:
            _give_back()
        return self._file.tell()

    def _wait(self, most: int = 0) -> None:
        while len(self._under_way) > most:
            self._size = self._under_way.popleft().result()


def _give_back() -> None:
    """Let the C library give the system what is free.

    The driver's buffers are its, and would stay for good (malloc_trim(3)).
    """
    if _trim is not None:
        _trim(0)


def _order(rows: pa.Table) -> pa.Array:
    """The rows by site, then visitor, then id, none first; they come in the order of ids, and what is equal stays so."""
    # Of each value once, strings are compared; the rows are compared by numbers, in a third of the time.
    names = [name for name in ("site_id", "visitor_id") if name in rows.column_names] or ["id"]
    ranks = pa.table({name: _ranks(rows.column(name)) for name in names})
    return pc.sort_indices(ranks, [(name, "ascending", "at_start") for name in ranks.column_names])


def _ranks(values: pa.ChunkedArray) -> pa.Array:
    """The place of each value among them; none has none."""
    values = values.combine_chunks().dictionary_encode()
    return pc.rank(values.dictionary, tiebreaker="first").take(values.indices)
