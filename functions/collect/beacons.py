"""What arrives: a beacon by HTTP or as a record of a queue, and its body read into JSON."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

import orjson

from collect import suspicion

JSON_TYPES = ("application/json", "text/plain")
FORM_TYPE = "application/x-www-form-urlencoded"

# A body that does not say its type is JSON; curl says "form" of whatever it is given with -d.
CONTENT_TYPES = (*JSON_TYPES, FORM_TYPE)

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = re.compile(rf"((?:{_OCTET}\.){{3}}){_OCTET}")

SIGNALS = {"dnt": "dnt", "sec-gpc": "gpc"}
SIGNAL_IS_SET = frozenset({"1", "yes", "true"})


# A namespace of our own (RFC 9562, 5.5).
BEACON_PARTS = UUID("5f2d8d2e-3c0f-4f0a-9a53-6d0b4c2f8f11")

HALF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Browsers and libraries write one; each costs a copy of what follows it.
MOST_GZIP_MEMBERS = 16


@dataclass(frozen=True, slots=True)
class Beacon:
    """One request to `/collect`: its body as it came, and the headers that matter, by lower-case name."""

    body: bytes
    headers: Mapping[str, str]
    source_ip: str | None
    # What the request is known by, however often it is handed in.
    request_id: str

    def id_of(self, index: int | str) -> str:
        """An id for a part of this beacon that has none: the same one when the beacon is handed in again."""
        return str(uuid5(BEACON_PARTS, f"{self.request_id}/{index}"))

    def header(self, name: str) -> str | None:
        """The value of a header, None when it is empty or absent."""
        return self.headers.get(name) or None

    @property
    def signal(self) -> str | None:
        """The privacy signal that this beacon carries, if any: `gpc` before `dnt`."""
        for header in ("sec-gpc", "dnt"):
            if header not in self.headers:
                continue
            values = {part.strip().lower() for part in (self.header(header) or "").split(",")}
            if values & SIGNAL_IS_SET:
                return SIGNALS[header]
        return None

    @property
    def network(self) -> str | None:
        """The sender's network, never the address: /24 of IPv4, /48 of IPv6."""
        if plain := IPV4.fullmatch(self.source_ip or ""):
            return f"{plain[1]}0"
        try:
            address = ipaddress.ip_address((self.source_ip or "").partition("%")[0])
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None) or address
        return str(ipaddress.ip_network((mapped, 24 if mapped.version == 4 else 48), strict=False).network_address)


@dataclass(frozen=True, slots=True)
class Document:
    """The JSON object of a body: an envelope with events or one event, and whether redaction has nothing to do in it."""

    envelope: dict[str, Any]
    size: int
    harmless: bool


class Unreadable(Exception):
    """A body in which nothing can be read: the status and the reason that the sender is given."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


def from_record(record: Mapping[str, Any]) -> Beacon:
    """The beacon in an SQS record: the body as sent (base64 when `is_base64` says so), the headers as attributes.

    It is known by the request that it came with where an attribute names that: a message may have been sent twice.
    """
    attributes = {
        _header_name(name): attribute.get("stringValue") or ""
        for name, attribute in (record.get("messageAttributes") or {}).items()
    }
    body = str(record.get("body") or "").encode()
    if attributes.get("is-base64") == "true":
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            body = b""
    request_id = attributes.get("request-id") or str(record["messageId"])
    return Beacon(body, attributes, attributes.get("source-ip"), request_id)


@lru_cache(maxsize=256)
def _header_name(attribute: str) -> str:
    return attribute.lower().replace("_", "-")


def read(beacon: Beacon, max_bytes: int) -> Document:
    """The JSON object in a beacon's body.

    Raises:
        Unreadable: 413 over *max_bytes* (also once unzipped), 415 of another type, 400 when it is no JSON object.
    """
    content_type = (beacon.header("content-type") or "application/json").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        raise Unreadable(415, "unsupported_media_type", "send application/json or text/plain")
    body = _unzip(beacon.body, (beacon.header("content-encoding") or "").strip().lower(), max_bytes)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if content_type == FORM_TYPE and not body.lstrip().startswith(b"{"):
        raise Unreadable(415, "unsupported_media_type", "send application/json or text/plain, not a form")
    if not body:
        raise Unreadable(400, "empty_body", "the body is empty; send an event, or an object with `events`")
    document = _parse(body)
    if not isinstance(document, dict):
        raise Unreadable(400, "not_an_object", "send one JSON object: an event, or an envelope with `events`")
    return Document(document, len(body), suspicion.is_harmless(body))


def _parse(body: bytes) -> Any:
    try:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            if not HALF_A_PAIR.search(body):
                raise
        # Half of a surrogate pair is what a text leaves that was cut in the middle of a character; it costs that
        # character, not the batch.
        whole = LONE_SURROGATE.sub("\ufffd", json.dumps(json.loads(body), ensure_ascii=False))
        return orjson.loads(whole)
    except (ValueError, RecursionError):
        message = "the body is not UTF-8 JSON (RFC 8259), or it is nested too deep"
        raise Unreadable(400, "invalid_json", message) from None


def _unzip(body: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Unreadable(415, "unsupported_encoding", "send the body plain or as gzip")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    plain = b""
    # RFC 1952: a gzip body is one or more members; all of them count against the limit.
    for _ in range(MOST_GZIP_MEMBERS):
        inflater = zlib.decompressobj(wbits=31)
        try:
            plain += inflater.decompress(body, max_bytes + 1 - len(plain))
        except zlib.error:
            raise Unreadable(400, "invalid_gzip", "the body is not gzip, or it has bytes after its end") from None
        if len(plain) > max_bytes:
            raise _too_large(max_bytes)
        if not inflater.eof:
            raise Unreadable(400, "invalid_gzip", "the gzip body ends too early")
        body = inflater.unused_data
        if not body:
            return plain
    raise Unreadable(400, "invalid_gzip", f"the gzip body has more than {MOST_GZIP_MEMBERS} members; send one")


def _too_large(max_bytes: int) -> Unreadable:
    return Unreadable(413, "body_too_large", f"the body is over {max_bytes} bytes; send fewer events at a time")
