"""The Runtime API of one environment: what `awslambdaric` asks for its next invocation and gives the answer to.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Each environment has a port of its own, because the
client takes no path prefix; so the port alone says who is asking.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

BASE = "/2018-06-01/runtime"
INVOCATION = re.compile(rf"{BASE}/invocation/([^/]+)/(response|error)")
ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z]\w*")

# The client hands its handler raw bytes unless the content type is exactly this.
JSON = "application/json"
STATUS_LINES = {
    200: b"HTTP/1.1 200 OK\r\n",
    202: b"HTTP/1.1 202 Accepted\r\n",
    400: b"HTTP/1.1 400 Bad Request\r\n",
    403: b"HTTP/1.1 403 Forbidden\r\n",
    404: b"HTTP/1.1 404 Not Found\r\n",
    413: b"HTTP/1.1 413 Request Entity Too Large\r\n",
}
RESPONSE_BYTES = 6_291_556


@dataclass(slots=True)
class Result:
    """What came of an invocation: the payload, the error type when the function failed, and whether it ran at all.

    `log_tail` is the last 4 KB of its log.
    """

    payload: bytes
    error_type: str | None = None
    ran: bool = True
    request_id: str = ""
    log_tail: bytes = b""


@dataclass(slots=True)
class Invocation:
    """One event on its way through an environment."""

    payload: bytes
    function_arn: str
    deadline_ms: int
    result: asyncio.Future[Result]
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    # JSON, as the runtime gives it to the handler's context.
    client_context: str | None = None


class RuntimeApi:
    """The state of one environment as its process sees it; `connect` makes the protocol of a connection."""

    def __init__(self, on_idle: Callable[[], None], on_init_error: Callable[[Result], None]) -> None:
        self._on_idle = on_idle
        self._on_init_error = on_init_error
        self._waiting: _Connection | None = None
        self._current: Invocation | None = None
        self._asked_before = False

    def connect(self) -> asyncio.Protocol:
        """A protocol for one connection."""
        return _Connection(self)

    def invoke(self, invocation: Invocation) -> None:
        """Hand an invocation to the process, which has to be waiting for one."""
        self._current = invocation
        if self._waiting:
            self._send_current(self._waiting)
            self._waiting = None

    def answer(self, connection: _Connection, method: str, path: str, body: bytes, error_type: str | None) -> None:
        """Answer one request of the process."""
        if method == "GET" and path == f"{BASE}/invocation/next":
            self._next(connection)
        elif method == "POST" and path == f"{BASE}/init/error":
            self._init_error(connection, body, error_type)
        elif method == "POST" and (match := INVOCATION.fullmatch(path)):
            self._finish(connection, match[1], match[2], body, error_type)
        elif method == "GET" and path == "/ping":
            connection.send(200, b"pong", "text/plain")
        else:
            connection.send(404, b"{}")

    def gone(self, connection: _Connection) -> None:
        """A connection was closed."""
        if self._waiting is connection:
            self._waiting = None

    def _next(self, connection: _Connection) -> None:
        # While an invocation is under way, asking again gets the same event.
        if self._current and not self._current.result.done():
            self._send_current(connection)
            return
        self._asked_before = True
        self._current = None
        self._waiting = connection
        self._on_idle()

    def _send_current(self, connection: _Connection) -> None:
        invocation = self._current
        if invocation is None:
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        connection.send(200, invocation.payload, JSON, headers)

    def _finish(self, connection: _Connection, request_id: str, how: str, body: bytes, error_type: str | None) -> None:
        current = self._current
        if current is None or current.request_id != request_id:
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")
        elif current.result.done():
            connection.refuse(403, "InvalidStateTransition", "State transition is not allowed")
        elif connection.response_mode not in (None, "streaming"):
            connection.refuse(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        elif how == "response" and len(body) > RESPONSE_BYTES:
            message = f"Exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
            failure = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
            current.result.set_result(Result(json.dumps(failure).encode(), "Function.ResponseSizeTooLarge"))
            connection.refuse(413, "RequestEntityTooLarge", message)
        else:
            current.result.set_result(Result(body, (error_type or "Unhandled") if how == "error" else None))
            connection.send(202, b'{"status":"OK"}\n')

    def _init_error(self, connection: _Connection, body: bytes, error_type: str | None) -> None:
        if self._asked_before:
            connection.refuse(403, "InvalidStateTransition", "State transition is not allowed")
            return
        connection.send(202, b'{"status":"OK"}\n')
        known = error_type and ERROR_TYPE.fullmatch(error_type)
        self._on_init_error(Result(body, error_type if known else "Runtime.Unknown"))


class _Connection(asyncio.Protocol):
    """HTTP/1.1 between the emulator and one process, which sends one request at a time."""

    def __init__(self, api: RuntimeApi) -> None:
        self._api = api
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._body: list[bytes] = []
        self._error_type: str | None = None
        self.response_mode: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A server's transport always writes; uvloop's is not a subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        self._api.gone(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport:
                self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"lambda-runtime-function-error-type":
            self._error_type = value.decode("latin-1")
        elif name.lower() == b"lambda-runtime-function-response-mode":
            self.response_mode = value.decode("latin-1").lower()
        elif name.lower() == b"expect" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method, path, body = self._parser.get_method().decode(), self._url.decode("latin-1"), b"".join(self._body)
        self._api.answer(self, method, path, body, self._error_type)
        self._begin()

    def send(self, status: int, body: bytes, content_type: str = JSON, headers: dict[str, str] | None = None) -> None:
        """Write one response."""
        if self._transport is None or self._transport.is_closing():
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self._transport.write(STATUS_LINES[status] + head.encode("latin-1") + body)

    def refuse(self, status: int, error_type: str, message: str) -> None:
        """Write one error in the shape of the Runtime API."""
        self.send(status, json.dumps({"errorMessage": message, "errorType": error_type}).encode())
