"""The HTTP server under the gateway: uvicorn, with a limit on how long a client may take for its headers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator.http_response import HttpResponse, head

HEADER_SECONDS = 10
MESSAGE_SECONDS = 30
HEADER_BYTES = 16_384
IDLE_SECONDS = 65
BACKLOG = 2048


# What an ordinary request has before its body: printable ASCII, and tokens for names (RFC 9110, 5.6.2).
PRINTABLE = bytes(range(0x20, 0x7F))
TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
# Whoever sends one of these wants more than an answer.
NOT_ORDINARY = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade", b"te", b"trailer"})


class Front(Protocol):
    """An ASGI application that takes some requests whole, without a task of their own (see `Gateway.take`)."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request as ASGI has it."""

    def take(
        self,
        request_line: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        client: tuple[str, int] | None,
        respond: Callable[[HttpResponse], None],
    ) -> bool:
        """Take a request, and call *respond* once; or leave it, with False."""
        ...


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which gives a client only so much time and so many bytes for a request.

    Without it one client that sends a byte a minute holds a connection for ever, and one that never ends a header
    holds up all others, because what came of it is put together anew with each piece.

    An ordinary request that arrives in one piece is handed to the front whole, if the front takes it: that costs a
    third of what a task of ASGI does. Whatever has anything out of the ordinary is left to the parser.
    """

    app: Front
    _deadline: float | None = None
    _alarm: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0
    _unparsed_body = 0
    # Whether the parser stands between two requests, and whether a request that was taken has no answer yet.
    _between = True
    _taken = False
    _later = b""
    _closes = False

    def connection_made(self, transport: Any) -> None:
        """Start the clock with the connection."""
        super().connection_made(transport)
        self._start_clock(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock with it."""
        self._deadline = None
        if self._alarm:
            self._alarm.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the clock with each further request on the same connection."""
        self._start_clock(HEADER_SECONDS)
        self._between = False
        self._in_headers = True
        self._header_bytes = 0
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the headers are complete, and end a request that goes on too long."""
        if self._taken:
            # A request that is sent before its predecessor is answered waits for that.
            self._later += data
            self.transport.pause_reading()
            return
        if self._between and self._take(data):
            return
        if self._in_headers:
            self._header_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._in_headers and self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()

    def _feed(self, data: bytes) -> None:
        """Parse; what follows a request for another protocol is read as the body that it is (RFC 9110, 7.8).

        The parser leaves it unread, and whoever took it for the next request would let one be smuggled in.
        """
        if self._unparsed_body:
            body, data = data[: self._unparsed_body], data[self._unparsed_body :]
            self._unparsed_body -= len(body)
            self.on_body(body)
            if self._unparsed_body:
                return
            self.on_message_complete()
            self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._unparsed_body:
                self.parser = httptools.HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but not a trailer: it comes after everything was decided (RFC 9110, 6.5.1)."""
        if not self._in_headers:
            return
        # As uvicorn has it, without another call: there are ten of these a request.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Give the body its own time."""
        self._in_headers = False
        self._start_clock(MESSAGE_SECONDS)
        if self.parser.should_upgrade():
            self._take_length()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: the client has done its part."""
        if self._unparsed_body:
            return
        self._deadline = None
        self._between = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """Close the connection once nothing is under way on it."""
        if self._taken:
            self._closes = True
        else:
            super().shutdown()

    def _take_length(self) -> None:
        """Note how long the body is that the parser is going to leave unread."""
        said = dict(self.headers)
        length = said.get(b"content-length", b"0")
        if b"transfer-encoding" in said or self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError("no other protocol is spoken here")
        self._unparsed_body = int(length)

    def _take(self, data: bytes) -> bool:
        """Hand a whole request to the front; False when it is not whole, not ordinary, or not wanted there."""
        end = data.find(b"\r\n\r\n")
        busy = self.flow.write_paused or (self.cycle is not None and not self.cycle.response_complete)
        if end < 0 or end > HEADER_BYTES or busy:
            return False
        lines = data[:end].split(b"\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        length = headers.get(b"content-length", b"")
        if (
            len(headers) != len(lines) - 1
            or data[:end].translate(None, PRINTABLE) != b"\r\n" * len(headers)
            or b"".join(headers).translate(None, TOKEN)
            or not NOT_ORDINARY.isdisjoint(headers)
            or b"host" not in headers
            or not length.isdigit()
            or len(length) > 10
            or int(length) != len(data) - end - 4
        ):
            return False
        self._taken = True
        if self.app.take(lines[0], headers, data[end + 4 :], self.client, self._respond):
            self._unset_keepalive_if_required()
            self._deadline = None
            return True
        self._taken = False
        return False

    def _respond(self, response: HttpResponse) -> None:
        """Write what the front answers to the request that it took."""
        self._taken = False
        if self.transport.is_closing():
            return
        parts = [head(response.status, response.headers, len(response.body))]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"connection: close\r\n\r\n" if self._closes else b"\r\n", response.body)
        self.transport.write(b"".join(parts))
        if self._closes:
            self.transport.close()
            return
        self._start_clock(IDLE_SECONDS)
        if self._later:
            later, self._later = self._later, b""
            self.transport.resume_reading()
            self.data_received(later)

    def _start_clock(self, seconds: float) -> None:
        """Close the connection after *seconds*, unless the clock is stopped or started anew before."""
        self._deadline = self.loop.time() + seconds
        # An alarm that rings early looks at the deadline again, which is cheaper than a new alarm a request.
        if self._alarm is None or self._alarm.when() > self._deadline:
            if self._alarm:
                self._alarm.cancel()
            self._alarm = self.loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._deadline is None:
            return
        if self._deadline > self.loop.time():
            self._alarm = self.loop.call_at(self._deadline, self._ring)
        else:
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, which says when it answers, and leaves signals to whoever runs it."""

    def __init__(
        self, app: Any, protocol: type[asyncio.Protocol] | str, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                # Addresses are judged by the gateway, which knows whom to believe.
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=IDLE_SECONDS,
                # What was taken is answered by then; this is for who never ends what he began to send.
                timeout_graceful_shutdown=5,
            )
        )
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none: uvicorn would raise them again at the end, and end the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer on *sockets*."""
        await super().startup(sockets)
        self._on_ready()


def bind(host: str, port: int) -> socket.socket:
    """A socket for *host* and *port*, which listens once it is served: until then whoever comes goes elsewhere.

    Raises:
        OSError: somebody else listens there, or it is not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on *host* and *port*; until it did, another could be bound to the same.

    Raises:
        OSError: somebody else listens there, or it is not allowed.
    """
    listener = bind(host, port)
    try:
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
