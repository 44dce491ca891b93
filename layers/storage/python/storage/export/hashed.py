"""A file that is hashed while it is written, and readers of a file that have places of their own."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from typing import IO


class HashingFile:
    """Passes on what is written, and knows its size and SHA-256 without reading it again."""

    closed = False

    def __init__(self, below: IO[bytes]) -> None:
        self.below = below
        self.size = 0
        self._hash = hashlib.sha256()
        self.digest = self._hash.digest

    def write(self, data: bytes) -> int:
        """Write, and count."""
        if self.below.closed:
            # A library that is told to stop writes its end all the same.
            return len(data)
        self._hash.update(data)
        written = self.below.write(data)
        self.size += written
        return written

    def flush(self) -> None:
        """Flush the file below."""
        if not self.below.closed:
            self.below.flush()

    def abandon(self) -> None:
        """Close the file below, and so give back its disk space."""
        # A full disk refuses what is still to be written once more; the file is closed all the same.
        with suppress(OSError):
            self.below.close()

    def tell(self) -> int:
        """What was written until now."""
        return self.size

    def writable(self) -> bool:
        """It is there for nothing else."""
        return True

    def close(self) -> None:
        """The file below is somebody else's to close."""


class Reader(io.RawIOBase):
    """Reads a file at a place of its own, whoever else reads it."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._size, self._at = fd, size, 0

    def readable(self) -> bool:
        """It is there for this."""
        return True

    def seekable(self) -> bool:
        """From any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Where it stands."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read from where it stands."""
        data = os.pread(self._fd, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
