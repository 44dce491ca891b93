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


class TooManyBodies(Exception):
    """Together with what is held for others the body is too much."""


class Room:
    """The bytes of one request's body, out of those that all requests together may hold."""

    held = 0

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._own = 0

    def take(self, size: int) -> None:
        """Hold *size* bytes more.

        Raises:
            TooManyBodies: that would be too much.
        """
        if Room.held + size > self._most:
            raise TooManyBodies
        Room.held += size
        self._own += size

    def leave(self) -> None:
        """Hold none any more."""
        Room.held -= self._own
        self._own = 0


async def read_body(receive: Receive, most_bytes: int, room: Room | None = None) -> bytes | None:
    """The whole body, None when the client goes away before its end; *room* holds it until the caller leaves that.

    Raises:
        BodyTooLarge: it has more than *most_bytes*.
        TooManyBodies: there is no room for it right now.
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
        if room:
            room.take(len(chunk))
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
