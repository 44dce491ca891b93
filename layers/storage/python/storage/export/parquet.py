"""Parquet: real types, zstd, row groups of 128 Ki rows; in the order of the rows one site and one visitor prune."""

from __future__ import annotations

from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from storage.export.read import ROWS

ROW_GROUP_ROWS = 131_072
# A row group of large events ends sooner, or it would not fit into the memory that an export may take.
ROW_GROUP_BYTES = 96 * 1024 * 1024


class ParquetWriter:
    """Writes record batches to an open binary file; `close` makes it whole and leaves it open."""

    extension = "parquet"

    def __init__(self, file: IO[bytes]) -> None:
        self._gathered: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._writer = pq.ParquetWriter(
            file,
            ROWS,
            compression="zstd",
            compression_level=3,
            write_page_index=True,
            # A dictionary pays where values repeat; on the others it is built in vain.
            use_dictionary=[
                "event_type",
                "session_id",
                "visitor_id",
                "site_id",
                "path",
                "url",
                "user_agent",
                "ip_address",
            ],
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""
        while batch.num_rows:
            taken = batch.slice(0, ROW_GROUP_ROWS - self._rows)
            batch = batch.slice(taken.num_rows)
            # What ADBC hands over has room to grow, up to as much again; a copy has not.
            self._gathered.append(pa.ipc.read_record_batch(taken.serialize(), taken.schema))
            self._rows += taken.num_rows
            self._bytes += taken.nbytes
            if self._rows == ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what was gathered and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._gathered:
            self._writer.write_table(pa.Table.from_batches(self._gathered), row_group_size=ROW_GROUP_ROWS)
            self._gathered.clear()
            self._rows = self._bytes = 0
