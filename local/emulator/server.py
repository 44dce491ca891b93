"""The HTTP server under the gateway: uvicorn, with a limit on how long a client may take for its headers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10
MESSAGE_SECONDS = 30
HEADER_BYTES = 16_384
IDLE_SECONDS = 65


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which gives a client only so much time and so many bytes for a request.

    Without it one client that sends a byte a minute holds a connection for ever, and one that never ends a header
    holds up all others, because what came of it is put together anew with each piece.
    """

    _due: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Start the clock with the connection."""
        super().connection_made(transport)
        self._start_clock(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock with it."""
        self._stop_clock()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the clock with each further request on the same connection."""
        self._start_clock(HEADER_SECONDS)
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the headers are complete, and end a request that goes on too long."""
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but not a trailer: it comes after everything was decided (RFC 9110, 6.5.1)."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Give the body its own time."""
        self._in_headers = False
        self._start_clock(MESSAGE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: the client has done its part."""
        self._stop_clock()
        super().on_message_complete()

    def _start_clock(self, seconds: float) -> None:
        self._stop_clock()
        self._due = self.loop.call_later(seconds, self.transport.close)

    def _stop_clock(self) -> None:
        if self._due:
            self._due.cancel()
            self._due = None


class Server(uvicorn.Server):
    """uvicorn, which says when it answers."""

    def __init__(self, app: Any, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="off",
                # Addresses are judged by the gateway, which knows whom to believe.
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=30,
            )
        )
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as the wish to stop; uvicorn's own would raise them again and end the process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer on *sockets*."""
        await super().startup(sockets)
        self._on_ready()


def listen(host: str, port: int) -> socket.socket:
    """A socket on *host* and *port*.

    Raises:
        OSError: somebody else listens there, or it is not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
