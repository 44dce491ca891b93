"""Requests and answers of ASGI: a body within its bound, an answer in one piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from emulator.http_response import HttpResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyTooLarge(Exception):
    """The body goes on past the limit."""


async def read_body(receive: Receive, most_bytes: int) -> bytes | None:
    """The whole body, None when the client goes away before its end.

    Raises:
        BodyTooLarge: it has more than *most_bytes*.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > most_bytes:
            raise BodyTooLarge
        chunks.append(chunk)
        if not event.get("more_body"):
            return b"".join(chunks)


async def send_response(send: Send, response: HttpResponse, *, close: bool = False, empty: bool = False) -> None:
    """Send an answer, *empty* without its body, and *close* the connection after it."""
    headers = response.encoded_headers()
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if empty else response.body})
