"""JSON Lines: one event a line, `raw_event_data` nested, times in RFC 3339."""

from __future__ import annotations

import io
from typing import IO

import orjson
import pyarrow as pa

from storage.export.compressed import ENDINGS, compressed
from storage.settings import Compression


class JsonLinesWriter:
    """Writes record batches to an open binary file; `close` makes it whole and leaves it open."""

    def __init__(self, file: IO[bytes], compression: Compression, schema: pa.Schema) -> None:
        self._file = file
        self._names = schema.names
        self.extension = "jsonl" + ENDINGS[compression]
        self._sink = compressed(file, compression)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""
        lines = []
        nested = batch.schema.get_field_index("raw_event_data")
        name = self._names[nested] if nested >= 0 else None
        for row in batch.rename_columns(self._names).to_pylist():
            if name:
                row[name] = orjson.Fragment(row[name])
            lines.append(orjson.dumps(row, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        self._sink.write(b"".join(lines))

    def size(self) -> int:
        """How much is written but for what the compressor still holds."""
        return self._file.tell()

    def close(self) -> None:
        """Write what the compressor still holds."""
        self._sink.close()

    def abandon(self) -> None:
        """Nothing of it goes on by itself."""


def json_lines(batch: pa.RecordBatch, schema: pa.Schema) -> bytes:
    """The rows of *batch*, by the names of *schema*, in memory."""
    file = io.BytesIO()
    writer = JsonLinesWriter(file, "none", schema)
    writer.write(batch)
    writer.close()
    return file.getvalue()
