"""Parquet: real types, zstd, row groups of 128 Ki rows, each sorted so that one site and one visitor prune."""

from __future__ import annotations

from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.export.read import ROWS

ROW_GROUP_ROWS = 131_072


class ParquetWriter:
    """Writes record batches to an open binary file; `close` makes it whole and leaves it open."""

    extension = "parquet"

    def __init__(self, file: IO[bytes]) -> None:
        self._gathered: list[pa.RecordBatch] = []
        self._rows = 0
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
            room = ROW_GROUP_ROWS - self._rows
            taken = batch.slice(0, room)
            self._gathered.append(taken)
            self._rows += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if self._rows == ROW_GROUP_ROWS:
                self._flush()

    def close(self) -> None:
        """Write what was gathered and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._gathered:
            return
        rows = pa.Table.from_batches(self._gathered)
        self._gathered.clear()
        self._rows = 0
        order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in ("site_id", "visitor_id", "id")])
        self._writer.write_table(rows.take(order), row_group_size=ROW_GROUP_ROWS)
