"""The log of a function: what it prints, and the lines that Lambda writes around each invocation.

One file a function, rotated by size. Where there is no directory for them, the lines go to standard error.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

from emulator import metrics

FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5
# What the Invoke API gives of it.
TAIL_BYTES = 4096


class FunctionLog:
    """Takes the lines of one function's environments."""

    def __init__(self, function: str, directory: Path | None) -> None:
        self._function = function
        handler: logging.Handler
        if directory:
            directory.mkdir(parents=True, exist_ok=True)
            # Nothing is written until there is something to write.
            handler = logging.handlers.RotatingFileHandler(
                directory / f"{function}.log", maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
            )
        else:
            handler = logging.StreamHandler(sys.stderr)
        self._handler = handler

    def write(self, text: str) -> None:
        """Write one line, or several."""
        self._handler.emit(logging.LogRecord(self._function, logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class Lines:
    """What one process prints, a line at a time; the last bytes of it since `begin` are its tail."""

    def __init__(self, function: str, log: FunctionLog) -> None:
        self._function = function
        self._log = log
        self._rest = b""
        self._tail = b""

    @property
    def tail(self) -> bytes:
        """The last 4 KB of the log since the current invocation began."""
        return self._tail

    def begin(self) -> None:
        """Start a new tail."""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Take what was printed; what has no end of line yet waits for it."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > FILE_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        kept = []
        for line in whole:
            if metrics.is_embedded(line):
                metrics.take_embedded(self._function, line)
            else:
                kept.append(line)
        if kept:
            self.add(b"\n".join(kept))

    def end(self) -> None:
        """Take what is left without an end of line: the process is gone."""
        if self._rest:
            self.feed(b"\n")

    def add(self, lines: bytes) -> None:
        """Write lines of the log."""
        self._tail = (self._tail + lines + b"\n")[-TAIL_BYTES:]
        # A traceback comes as one record, its lines parted by \r and indented by no-break spaces.
        self._log.write(lines.decode("utf-8", "replace").replace("\r", "\n").replace("\u00a0", " "))
