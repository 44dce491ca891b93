"""The door of intake: `/collect`, and what an operator asks about events."""

from __future__ import annotations

import datetime as dt
import gc
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from collect import intake, queued
from collect.beacons import Beacon, from_record
from collect.intake import Answer
from httpapi import Api, ApiError, Response, answer
from storage import database, events, settings
from storage.errors import DatabaseUnavailable

api = Api("collect")

# Any site may send beacons. Without credentials: we set no cookie, and read none that a browser adds to a beacon.
CORS = {"Access-Control-Allow-Origin": "*"}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "content-type, content-encoding",
    "Access-Control-Max-Age": "86400",
}

MOST_RECENT = 1000

# One dot without a colour, whose bytes are all ASCII. Chalice would refuse a binary answer to whoever does not ask for one
# in so many words, as no browser does.
GIF = "GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
api.app.api.binary_types.remove("image/gif")

QUEUED = {"queued": True}
UNAVAILABLE = {"error": {"code": "database_unavailable", "message": "not stored; send it again"}}


@api.route("/collect", "POST", public=True, content_types=())
def collect() -> Response:
    """Store the events of one beacon."""
    request = api.request
    beacon = Beacon(
        body=_bytes(request.raw_body),
        headers=_joined(request.to_original_event().get("multiValueHeaders") or {}),
        source_ip=request.context.get("identity", {}).get("sourceIp"),
        request_id=request.context["requestId"],
    )
    current = settings.current()
    if current.collect_queue_url and queued.put(current, current.collect_queue_url, beacon):
        return answer(QUEUED, 202, CORS)
    [reply] = _collect([beacon])
    return answer(reply.body, reply.status, _headers(reply))


@api.route("/collect", "GET", public=True, content_types=())
@api.route("/pixel.gif", "GET", public=True, content_types=())
def pixel() -> Response:
    """Store what an image's address says, where a browser can do no better.

    `d` is a beacon; without it the image stands in a page for those who run no scripts, and the page is its referrer.
    An image cannot read an answer, so it is one whatever became of the beacon, unless sending it again would help.
    The pixel asks for it under the endpoint's own path, which is then all that a site has to give another name.
    """
    request = api.request
    headers = _joined(request.to_original_event().get("multiValueHeaders") or {})
    query: dict[str, str] = dict(request.query_params or {})
    page = headers.get("referer")
    seen = json.dumps({"event_type": "page_view", "url": page, "data": {"noscript": True}}) if page else ""
    beacon = Beacon(
        body=(query.get("d") or seen).encode(errors="surrogatepass"),
        headers={name: value for name, value in headers.items() if not name.startswith("content-")},
        source_ip=request.context.get("identity", {}).get("sourceIp"),
        request_id=request.context["requestId"],
    )
    [reply] = _collect([beacon])
    if reply.status >= 500:
        return answer(reply.body, reply.status, _headers(reply))
    # From a cache, the next visitor would not be seen.
    never = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "cross-origin"}
    return Response(GIF, headers={**CORS, **never, "Content-Type": "image/gif"})


@api.route("/collect", "OPTIONS", public=True, content_types=())
def preflight() -> Response:
    """Let any page send beacons."""
    return answer(None, 204, PREFLIGHT)


@api.queue
def collect_queued(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Store the events of many beacons in one transaction.

    `batchItemFailures` names the beacons that were not stored and may be sent again; what is refused is kept as
    refused, and sending it again would not help. `answers` says what the beacons are to be answered where somebody
    waits for it, each in the shape of an HTTP integration with the `messageIds` of those that it is for; a queue has
    nobody who does.
    """
    replies = _collect([from_record(record) for record in records])
    # Most are answered alike, and that answer is made once.
    groups: dict[int, tuple[Answer, list[str]]] = {}
    for record, reply in zip(records, replies, strict=True):
        groups.setdefault(id(reply), (reply, []))[1].append(str(record["messageId"]))
    failed = [name for reply, names in groups.values() if reply.status >= 500 for name in names]
    return {
        "batchItemFailures": [{"itemIdentifier": name} for name in failed],
        "answers": [{**_integration(reply), "messageIds": names} for reply, names in groups.values()],
    }


@api.route("/health", "GET", public=True)
def health() -> Response:
    """Whether events can be stored right now."""
    try:
        database.run(settings.current().require_database(), lambda connection: connection.execute("SELECT 1"))
    except DatabaseUnavailable:
        body = {"status": "unavailable", "database": "unreachable"}
        return answer(body, 503, {"Retry-After": "5"})
    return answer({"status": "ok", "database": "connected"})


@api.route("/events/count", "GET")
def count() -> Response:
    """How many events are stored."""
    return answer({"count": database.run(settings.current().require_database(), events.count)})


@api.route("/events/recent", "GET")
def recent() -> Response:
    """The last events, newest first; fewer than asked for where they would be too much for one answer."""
    query: dict[str, str] = dict(api.request.query_params or {})
    limit = query.get("limit", "20")
    if not limit.isascii() or not limit.isdigit() or len(limit) > 4 or not 1 <= int(limit) <= MOST_RECENT:
        raise ApiError(400, "limit_invalid", f"`limit` has to be a number from 1 to {MOST_RECENT}")
    site_id = query.get("site_id") or None
    if site_id and "\0" in site_id:
        raise ApiError(400, "site_id_invalid", "`site_id` has to be a host name such as shop.example.com")
    rows = database.run(
        settings.current().require_database(), lambda connection: events.recent(connection, int(limit), site_id)
    )
    return answer({"events": rows})


def _collect(beacons: list[Beacon]) -> list[Answer]:
    """The answer to each beacon, also when the database is away: a privacy signal needs none."""
    try:
        replies = intake.collect(settings.current(), beacons, dt.datetime.now(dt.UTC))
    except DatabaseUnavailable as error:
        api.logger.warning("database_unavailable", error=str(error), beacons=len(beacons))
        replies = [Answer(204, None) if beacon.signal else Answer(503, UNAVAILABLE) for beacon in beacons]
    _count(replies)
    return replies


def _count(replies: list[Answer]) -> None:
    # Most of a batch is answered alike, so each kind of answer is looked at once.
    kinds = Counter(map(id, replies))
    answers = {id(reply): reply for reply in replies}
    bodies = [(answers[kind].body or {}, number) for kind, number in kinds.items()]
    api.count(
        EventsAccepted=sum(body.get("accepted", 0) * number for body, number in bodies),
        EventsDuplicate=sum(body.get("duplicates", 0) * number for body, number in bodies),
        EventsRefused=sum(len(body.get("rejected", ())) * number for body, number in bodies),
        BeaconsWithheld=sum(number for kind, number in kinds.items() if answers[kind].status == 204),
        BeaconsUnavailable=sum(number for kind, number in kinds.items() if answers[kind].status == 503),
    )


def _joined(headers: Mapping[str, list[str]]) -> dict[str, str]:
    """Headers by lower-case name; several lines of one are the list that they stand for (RFC 9110, 5.3)."""
    return {name.lower(): ", ".join(values) for name, values in headers.items()}


def _headers(reply: Answer) -> dict[str, str]:
    return {**CORS, "Retry-After": "5"} if reply.status == 503 else CORS


def _integration(reply: Answer) -> dict[str, Any]:
    response = answer(reply.body, reply.status, _headers(reply))
    return {"statusCode": reply.status, "headers": response.headers, "body": response.body}


def _bytes(body: str | bytes) -> bytes:
    # Chalice gives text for a body that came as text; a lone surrogate in it was never UTF-8.
    return body if isinstance(body, bytes) else body.encode(errors="surrogatepass")


handler = api.handler

# A batch makes many small objects and no cycles; what is loaded by now stays for good.
gc.freeze()
gc.set_threshold(20_000, 20, 50)
