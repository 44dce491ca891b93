"""CSV by RFC 4180 with a header, which a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
import re
from typing import IO

import pyarrow as pa

from storage.export.compressed import ENDINGS, compressed
from storage.export.read import ROWS
from storage.settings import Compression

# What a spreadsheet takes for a formula, also behind white space or a quote: OWASP ASVS 1.2.10, with CR, LF and the
# full-width forms that some of them fold.
FORMULA = re.compile(r"""[\s"']*[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]""")

STRINGS = tuple(field.name for field in ROWS if pa.types.is_string(field.type))


class CsvWriter:
    """Writes record batches to an open binary file; `close` makes it whole and leaves it open."""

    def __init__(self, file: IO[bytes], compression: Compression, schema: pa.Schema) -> None:
        self._file = file
        self._names = schema.names
        self._times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        self._truths = [field.name for field in schema if pa.types.is_boolean(field.type)]
        self._strings = [field.name for field in schema if pa.types.is_string(field.type)]
        self.extension = "csv" + ENDINGS[compression]
        self._sink = compressed(file, compression)
        self._sink.write(",".join(self._names).encode() + b"\r\n")

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of *batch*."""
        text = io.StringIO(newline="")
        rows = csv.DictWriter(text, self._names)
        for row in batch.rename_columns(self._names).to_pylist():
            for name in self._times:
                row[name] = row[name].isoformat(timespec="microseconds").replace("+00:00", "Z")
            for name in self._truths:
                row[name] = row[name] if row[name] is None else str(row[name]).lower()
            for name in self._strings:
                if row[name] and FORMULA.match(row[name]):
                    row[name] = "'" + row[name]
            rows.writerow(row)
        self._sink.write(text.getvalue().encode())

    def size(self) -> int:
        """How much is written but for what the compressor still holds."""
        return self._file.tell()

    def close(self) -> None:
        """Write what the compressor still holds."""
        self._sink.close()

    def abandon(self) -> None:
        """Nothing of it goes on by itself."""
