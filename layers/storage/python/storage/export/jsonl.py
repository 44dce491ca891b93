"""JSON Lines: one event a line, `raw_event_data` nested, times in RFC 3339."""

from __future__ import annotations

import gzip
from typing import IO

import orjson
import pyarrow as pa

GZIP_LEVEL = 4


class JsonLinesWriter:
    """Writes record batches to an open binary file, gzipped; `close` makes it whole and leaves it open."""

    extension = "jsonl.gz"

    def __init__(self, file: IO[bytes]) -> None:
        # No name and no time in the header: the same rows make the same bytes.
        self._gzip = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""
        lines = []
        for row in batch.to_pylist():
            row["raw_event_data"] = orjson.Fragment(row["raw_event_data"])
            lines.append(orjson.dumps(row, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        self._gzip.write(b"".join(lines))

    def close(self) -> None:
        """Write what the compressor still holds."""
        self._gzip.close()
