"""The HTTP server under the gateway: uvicorn, with a limit on how long a client may take for its headers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from emulator.http_response import HttpResponse, head

HEADER_SECONDS = 10
MESSAGE_SECONDS = 30
HEADER_BYTES = 16_384
IDLE_SECONDS = 65


class Front(Protocol):
    """An ASGI application that takes some requests whole, without a task of their own (see `Gateway.take`)."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request as ASGI has it."""

    def takes(self, scope: Any) -> bool:
        """Whether `take` may have the request."""
        ...

    def take(self, scope: Any, body: bytes, respond: Callable[[HttpResponse], None]) -> bool:
        """Take a request, and call *respond* once; or leave it, with False."""
        ...


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which gives a client only so much time and so many bytes for a request.

    Without it one client that sends a byte a minute holds a connection for ever, and one that never ends a header
    holds up all others, because what came of it is put together anew with each piece.

    A request that arrives in one piece is handed to the front whole, if the front takes it; every other one becomes
    a task of ASGI.
    """

    app: Front
    _deadline: float | None = None
    _alarm: asyncio.TimerHandle | None = None
    _in_headers = True
    _header_bytes = 0
    _receiving = False
    _unparsed_body = 0
    _held: RequestResponseCycle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock with the connection."""
        super().connection_made(transport)
        self._start_clock(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock with it."""
        self._deadline = None
        self._held = None
        if self._alarm:
            self._alarm.cancel()
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
        self._receiving = True
        self._unset_keepalive_if_required()
        self._feed(data)
        self._receiving = False
        if held := self._release():
            super()._start_asgi_task(held, self.app)
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
        super().on_message_complete()
        if (held := self._held) and not held.more_body:
            self._held = None
            self._answer(held)

    def _take_length(self) -> None:
        """Note how long the body is that the parser is going to leave unread."""
        said = dict(self.headers)
        length = said.get(b"content-length", b"0")
        if b"transfer-encoding" in said or self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError("no other protocol is spoken here")
        self._unparsed_body = int(length)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Whoever does not read its answers, or waits to be told to go on, needs what a task does.
        plain = self.app.takes(cycle.scope) and not (cycle.waiting_for_100_continue or self.flow.write_paused)
        if plain and not cycle.more_body:
            self._answer(cycle)
        elif plain and self._receiving:
            self._held = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def _release(self) -> RequestResponseCycle | None:
        held, self._held = self._held, None
        return held

    def _answer(self, cycle: RequestResponseCycle) -> None:
        """Hand a request to the front, and write what it answers."""

        def respond(response: HttpResponse) -> None:
            if cycle.disconnected or self.transport.is_closing():
                return
            parts = [head(response.status, response.headers, len(response.body))]
            for name, value in self.server_state.default_headers:
                parts += (name, b": ", value, b"\r\n")
            parts += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", response.body)
            self.transport.write(b"".join(parts))
            cycle.response_complete = True
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()

        if not self.app.take(cycle.scope, bytes(cycle.body), respond):
            super()._start_asgi_task(cycle, self.app)

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
