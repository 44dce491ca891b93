"""What a function returns, as the HTTP answer that API Gateway's HTTP API makes of it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from emulator.runtime_api import Result

# RFC 9110, 5.6.2 and 5.5.
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What has no body (RFC 9110, 15.3.5 and 15.4.5); whoever was sent one would read it as the next answer.
WITHOUT_BODY = (204, 304)

# Set by the connection, whatever the function says.
HOP_BY_HOP = frozenset({"connection", "content-length", "date", "upgrade", "transfer-encoding", "keep-alive"})


Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer: status, headers in order with lower-case names, body."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def encoded_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent, with the length of the body."""
        return _encoded(self.status, self.headers, len(self.body))


def _encoded(status: int, headers: Headers, length: int) -> list[tuple[bytes, bytes]]:
    encoded = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
    if status not in WITHOUT_BODY:
        encoded.append((b"content-length", str(length).encode()))
    return encoded


@lru_cache(maxsize=1024)
def head(status: int, headers: Headers, length: int) -> bytes:
    """What goes before a body of *length* bytes, but for the last empty line: others may add to it."""
    lines = [STATUS_LINE[status]]
    for name, value in _encoded(status, headers, length):
        lines += (name, b": ", value, b"\r\n")
    return b"".join(lines)


def message(status: int, text: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An answer of the gateway itself."""
    body = json.dumps({"message": text}, separators=(",", ":")).encode()
    return HttpResponse(status, (("content-type", "application/json"), *(headers or {}).items()), body)


def convert(result: Result, payload_version: str) -> HttpResponse:
    """The answer for *result*; a function that failed, or returned no answer, is a 500 without details."""
    if result.error_type:
        return message(500, "Internal Server Error")
    try:
        returned = json.loads(result.payload)
    except ValueError:
        return message(500, "Internal Server Error")
    if not isinstance(returned, dict) or "statusCode" not in returned:
        return _bare(returned, result.payload) if payload_version == "2.0" else message(500, "Internal Server Error")
    try:
        return integration(returned, payload_version)
    except (ValueError, TypeError, AttributeError):
        return message(500, "Internal Server Error")


def _bare(returned: Any, payload: bytes) -> HttpResponse:
    """Format 2.0 takes anything for a body of 200 when there is no status code."""
    body = returned.encode() if isinstance(returned, str) else payload
    return HttpResponse(200, (("content-type", "application/json"),), body)


def integration(returned: Mapping[str, Any], payload_version: str) -> HttpResponse:
    """The answer that an integration's `statusCode`, `headers` and `body` write.

    Raises:
        ValueError, TypeError, AttributeError: API Gateway would make a 500 of it.
    """
    status = _status(returned["statusCode"])
    headers = [(_name(name), _text(value)) for name, value in (returned.get("headers") or {}).items()]
    if payload_version == "1.0":
        for name, values in (returned.get("multiValueHeaders") or {}).items():
            headers += [(_name(name), _text(value)) for value in values]
    cookies = [("set-cookie", _text(value)) for value in returned.get("cookies") or []]
    headers = cookies + [item for item in headers if item[0] not in HOP_BY_HOP]
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    body = returned.get("body")
    if body is not None and not isinstance(body, str):
        raise TypeError("a body is a string")
    raw = (body or "").encode()
    if returned.get("isBase64Encoded"):
        try:
            raw = base64.b64decode(raw, validate=True)
        except binascii.Error as error:
            raise ValueError("the body is not base64") from error
    return HttpResponse(status, tuple(headers), b"" if status in WITHOUT_BODY else raw)


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("a status code is a whole number")
    status = int(value)
    # What is under 200 is no answer yet, and whoever got it would wait for one.
    if not 200 <= status <= 599:
        raise ValueError("a status code lies between 200 and 599")
    return status


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("a header's name is a token")
    return name.lower()


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if NO_VALUE.search(text):
        raise ValueError("a header is one line of text")
    return text
