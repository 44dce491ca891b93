"""The front: an ASGI application that makes Lambda events of HTTP requests, as API Gateway's HTTP API does."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

from emulator import cors, http_event, metrics
from emulator.body import AsgiApp, BodyTooLarge, Receive, Room, Scope, Send, TooManyBodies, read_body, send_response
from emulator.coalescing import Coalescer
from emulator.errors import Throttled
from emulator.http_event import Request
from emulator.http_response import HttpResponse, convert, message
from emulator.model import Route, Template
from emulator.pool import Pool
from emulator.routes import RouteTable

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html and Lambda's own limit.
BODY_BYTES = 10 * 1024 * 1024
EVENT_BYTES = 6 * 1024 * 1024
HEADER_BYTES = 10_240

BODY_SECONDS = 20
# The bodies of all requests that are being read or answered.
MOST_BODIES_BYTES = 128 * 1024 * 1024


Found = tuple[Route, dict[str, str]] | None


class _Direct(NamedTuple):
    route: Route
    coalescer: Coalescer
    headers: tuple[tuple[bytes, str], ...]


class Gateway:
    """Answers what the template routes; all else goes to *static*, if there is one.

    *aliases* are further names of paths, which a function and *static* see as the paths that they stand for.
    """

    def __init__(
        self,
        template: Template,
        pools: Mapping[str, Pool],
        static: AsgiApp | None = None,
        trusted_proxies: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._aliases = aliases or {}
        self._cors = template.cors
        if template.cors:
            self._cors_headers = lru_cache(maxsize=256)(partial(cors.decorated, template.cors))
        self._routes = RouteTable(template.routes, template.stage)
        self._stage = http_event.Stage(template.stage, template.stage_variables)
        self._pools = pools
        self._coalescers = {
            route: Coalescer(pools[route.function], route.batch) for route in template.routes if route.batch
        }
        self._direct = {
            f"{route.method} {path} HTTP/1.1".encode(): _Direct(
                route, coalescer, tuple((name.encode(), name) for name in route.batch.headers)
            )
            for route, coalescer in self._coalescers.items()
            if route.batch and self._is_plain(route)
            for path in (route.path, *(alias for alias, target in self._aliases.items() if target == route.path))
        }
        self._static = static
        self._trusted = trusted_proxies
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def close(self) -> None:
        """Take no further request: whoever comes now is told to come again."""
        self._closed = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        if sum(len(name) + len(value) for name, value in headers) + len(scope["raw_path"]) > HEADER_BYTES:
            await send_response(send, message(431, "Request Header Fields Too Large"), close=True)
            return
        raw_path = scope["raw_path"].decode("latin-1")
        if raw_path in self._aliases:
            raw_path = self._aliases[raw_path]
            scope = {**scope, "path": raw_path, "raw_path": raw_path.encode()}
        request = Request(
            method=scope["method"],
            path=scope["path"],
            raw_path=raw_path,
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=b"",
            source_ip=self._source_ip(
                scope.get("client"), b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
            ),
            http_version=scope["http_version"],
            scheme=scope["scheme"],
        )
        if self._cors and cors.is_preflight(request):
            await send_response(send, cors.preflight(self._cors, request))
            return
        if self._closed:
            await send_response(send, self._decorated(request.header("origin"), _closed()), close=True)
            return
        found = self._routes.find(request.method, raw_path)
        if found is None and self._static:
            await self._static(scope, receive, send)
            return
        await self._answer(request, found, receive, send)

    def take(
        self,
        request_line: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        client: tuple[str, int] | None,
        respond: Callable[[HttpResponse], None],
    ) -> bool:
        """Answer a request without a task of its own, or what sharing an invocation saves would be spent here.

        *headers* are printable ASCII under lower-case names, none of them twice. False when the request is not one
        that shares invocations, or the gateway takes no more: then nothing was done, and ASGI's way is to be taken.
        """
        direct = self._direct.get(request_line)
        if direct is None or self._closed or len(body) > BODY_BYTES or _size(headers) > HEADER_BYTES:
            return False
        route, coalescer, names = direct
        attributes = {name: headers[key].decode() for key, name in names if key in headers}
        attributes["source-ip"] = self._source_ip(client, headers.get(b"x-forwarded-for", b""))
        origin = attributes.get("origin") or headers.get(b"origin", b"").decode()

        def answer(response: HttpResponse) -> None:
            _count(route, response.status)
            respond(self._decorated(origin, response))

        coalescer.submit(attributes, body, answer)
        return True

    async def drain(self) -> None:
        """Wait for the answers of all requests that were taken, though their clients may have gone."""
        await asyncio.gather(*(coalescer.drain() for coalescer in self._coalescers.values()))
        if self._running:
            await asyncio.wait(self._running)

    async def _answer(self, request: Request, found: Found, receive: Receive, send: Send) -> None:
        names = [name for name, _ in request.headers]
        hosts = names.count("host")
        if {"content-length", "transfer-encoding"} <= set(names) or (request.http_version == "1.1" and hosts != 1):
            # Two lengths for one body: who trusts the other one reads somebody else's request (RFC 9112, 6.1). And who
            # names two hosts, or none, means two things at once (3.2).
            await send_response(send, message(400, "Bad Request"), close=True)
            return
        close = False
        room = Room(MOST_BODIES_BYTES)
        try:
            body = await asyncio.wait_for(read_body(receive, BODY_BYTES, room), BODY_SECONDS)
            if body is None:
                return
            response = await self._respond(replace(request, body=body), found)
        except BodyTooLarge:
            response, close = message(413, "Request Entity Too Large"), True
        except TooManyBodies:
            response, close = message(503, "Service Unavailable", {"retry-after": "1"}), True
        except TimeoutError:
            response, close = message(408, "Request Timeout"), True
        finally:
            room.leave()
        if found:
            _count(found[0], response.status)
        empty = request.method == "HEAD"
        await send_response(send, self._decorated(request.header("origin"), response), close=close, empty=empty)

    async def _respond(self, request: Request, found: Found) -> HttpResponse:
        if found is None:
            return message(404, "Not Found")
        route, parameters = found
        if coalescer := self._coalescers.get(route):
            return await _coalesced(coalescer, route, request)
        payload = json.dumps(http_event.build(request, route, parameters, self._stage)).encode()
        if len(payload) > EVENT_BYTES:
            return message(413, "Request Entity Too Large")
        # A client that goes away, or is told 503, does not stop the function.
        invocation = asyncio.ensure_future(self._pools[route.function].invoke(payload))
        self._running.add(invocation)
        invocation.add_done_callback(self._finished)
        done, _ = await asyncio.wait([invocation], timeout=route.timeout_seconds)
        if not done:
            return message(503, "Service Unavailable")
        try:
            return convert(invocation.result(), route.payload_version)
        except Throttled:
            return message(503, "Service Unavailable", {"retry-after": "1"})

    def _is_plain(self, route: Route) -> bool:
        return route.method not in ("ANY", "OPTIONS") and "{" not in route.path and self._stage.name == "$default"

    def _finished(self, invocation: asyncio.Task[Any]) -> None:
        self._running.discard(invocation)
        if not invocation.cancelled():
            invocation.exception()

    def _decorated(self, origin: str, response: HttpResponse) -> HttpResponse:
        if not self._cors:
            return response
        return HttpResponse(response.status, self._cors_headers(origin, response.headers), response.body)

    def _source_ip(self, client: tuple[str, int] | None, forwarded_for: bytes) -> str:
        """The client's address: the peer's, or what trusted proxies say of it, read from the right."""
        # An IPv4 client of a socket that takes both is one all the same (RFC 4291, 2.5.5.2).
        address = client[0].removeprefix("::ffff:") if client else ""
        if self._trusted:
            hops = [hop.strip() for hop in forwarded_for.decode("latin-1").split(",") if hop.strip()]
            while hops and self._is_trusted(address):
                address = hops.pop()
        return address

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


def _closed() -> HttpResponse:
    return message(503, "Service Unavailable", {"retry-after": "5"})


def _size(headers: Mapping[bytes, bytes]) -> int:
    return len(b"".join(headers)) + len(b"".join(headers.values()))


def _count(route: Route, status: int) -> None:
    _counter(route.method, route.path, status).inc()


@lru_cache(maxsize=1024)
def _counter(method: str, path: str, status: int) -> Any:
    # Which answer this is in the table of counters is looked up once.
    return metrics.RESPONSES.labels(method, path, str(status))


async def _coalesced(coalescer: Coalescer, route: Route, request: Request) -> HttpResponse:
    names = route.batch.headers if route.batch else ()
    attributes = {name: request.whole_header(name) for name in names} | {"source-ip": request.source_ip}
    answer: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()

    def respond(response: HttpResponse) -> None:
        if not answer.done():
            answer.set_result(response)

    coalescer.submit(attributes, request.body, respond)
    return await answer
