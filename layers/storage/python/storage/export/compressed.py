"""A file that compresses what is written to it, the same way whenever the same is written."""

from __future__ import annotations

import gzip
from typing import IO, Protocol

import pyarrow as pa

from storage.settings import Compression

GZIP_LEVEL = 4
ENDINGS: dict[Compression, str] = {"gzip": ".gz", "zstd": ".zst", "none": ""}


class Sink(Protocol):
    """Where text goes."""

    def write(self, data: bytes, /) -> object:
        """Take *data*."""

    def close(self) -> None:
        """Write what is still held, and leave the file below open."""


class _Plain:
    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write

    def close(self) -> None:
        """Nothing is held."""


class _Zstd:
    def __init__(self, file: IO[bytes]) -> None:
        # Arrow would close what it was given.
        self._stream = pa.CompressedOutputStream(pa.PythonFile(_Kept(file), mode="w"), "zstd")
        self.write = self._stream.write

    def close(self) -> None:
        self._stream.close()


class _Kept:
    """A file that whoever has it cannot close."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.write, self.flush, self.tell = file.write, file.flush, file.tell

    def close(self) -> None:
        """Not here."""


def compressed(file: IO[bytes], compression: Compression) -> Sink:
    """Compress into *file* what is written to the result."""
    if compression == "gzip":
        # No name and no time in the header: the same rows make the same bytes.
        return gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)
    return _Zstd(file) if compression == "zstd" else _Plain(file)
