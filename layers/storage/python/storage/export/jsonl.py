"""JSON Lines: one event a line, `raw_event_data` nested, times in RFC 3339."""

from __future__ import annotations

from typing import IO

import orjson
import pyarrow as pa

from storage.export.compressed import ENDINGS, compressed
from storage.settings import Compression


class JsonLinesWriter:
    """Writes record batches to an open binary file; `close` makes it whole and leaves it open."""

    def __init__(self, file: IO[bytes], compression: Compression) -> None:
        self.extension = "jsonl" + ENDINGS[compression]
        self._sink = compressed(file, compression)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""
        lines = []
        for row in batch.to_pylist():
            row["raw_event_data"] = orjson.Fragment(row["raw_event_data"])
            lines.append(orjson.dumps(row, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        self._sink.write(b"".join(lines))

    def close(self) -> None:
        """Write what the compressor still holds."""
        self._sink.close()
