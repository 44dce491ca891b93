"""An HTTP request as the event that API Gateway's HTTP API makes of it, in payload format 1.0 or 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import secrets
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from emulator.intrinsics import ACCOUNT_ID
from emulator.model import Route

API_ID = "local"

# Bodies of these types stay text, as long as they say no charset but UTF-8; all others are base64.
TEXT_TYPES = frozenset(
    {
        "text/plain",
        "text/html",
        "text/csv",
        "text/xml",
        "application/json",
        "application/xml",
        "application/javascript",
        "application/graphql",
    }
)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: headers in order with lower-case names, path decoded and as it came."""

    method: str
    path: str
    raw_path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str
    http_version: str
    scheme: str

    def header(self, name: str) -> str:
        """The last value of a header, or nothing."""
        return next((value for key, value in reversed(self.headers) if key == name), "")

    def whole_header(self, name: str) -> str:
        """All values of a header as the list that they stand for (RFC 9110, 5.3)."""
        return ", ".join(value for key, value in self.headers if key == name)


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage of the API: its name and its variables."""

    name: str = "$default"
    variables: Mapping[str, str] = field(default_factory=dict)


DEFAULT_STAGE = Stage()


def build(
    request: Request, route: Route, path_parameters: Mapping[str, str], stage: Stage = DEFAULT_STAGE
) -> dict[str, Any]:
    """The event for *route*'s function, in the payload format that the route names."""
    version = _version_1 if route.payload_version == "1.0" else _version_2
    # What GET answers is asked as GET; HEAD is between the gateway and the client.
    if request.method == "HEAD" and route.method == "GET":
        request = replace(request, method="GET")
    return version(request, route, path_parameters, stage)


def _version_1(request: Request, route: Route, path_parameters: Mapping[str, str], stage: Stage) -> dict[str, Any]:
    headers: dict[str, list[str]] = defaultdict(list)
    for name, value in _with_gateway_headers(request):
        headers["-".join(part.capitalize() for part in name.split("-"))].append(value)
    query: dict[str, list[str]] = defaultdict(list)
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query[name].append(value)
    body, is_base64 = _body(request)
    return {
        "version": "1.0",
        "resource": route.path,
        "path": request.raw_path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": dict(headers),
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": dict(query) or None,
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "domainName": request.header("host"),
            "domainPrefix": request.header("host").partition(".")[0],
            "extendedRequestId": _request_id(),
            "httpMethod": request.method,
            "identity": {"sourceIp": request.source_ip, "userAgent": request.header("user-agent")},
            "path": request.raw_path,
            "protocol": f"HTTP/{request.http_version}",
            "requestId": _request_id(),
            "requestTime": _clf_time(),
            "requestTimeEpoch": int(time.time() * 1000),
            "resourceId": f"{route.method} {route.path}",
            "resourcePath": route.path,
            "stage": stage.name,
        },
        "pathParameters": dict(path_parameters) or None,
        "stageVariables": dict(stage.variables) or None,
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _version_2(request: Request, route: Route, path_parameters: Mapping[str, str], stage: Stage) -> dict[str, Any]:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in _with_gateway_headers(request):
        if name == "cookie":
            cookies += [part.strip() for part in value.split(";")]
        else:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    body, is_base64 = _body(request)
    event = {
        "version": "2.0",
        "routeKey": _route_key(route),
        "rawPath": request.path,
        "rawQueryString": request.query,
        "cookies": cookies,
        "headers": headers,
        "queryStringParameters": query,
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "domainName": request.header("host"),
            "domainPrefix": request.header("host").partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": f"HTTP/{request.http_version}",
                "sourceIp": request.source_ip,
                "userAgent": request.header("user-agent"),
            },
            "requestId": _request_id(),
            "routeKey": _route_key(route),
            "stage": stage.name,
            "time": _clf_time(),
            "timeEpoch": int(time.time() * 1000),
        },
        "pathParameters": dict(path_parameters),
        "stageVariables": dict(stage.variables),
        "body": body,
        "isBase64Encoded": is_base64,
    }
    # Absent, not null, when there is none.
    optional = ("cookies", "queryStringParameters", "pathParameters", "stageVariables", "body")
    return {name: value for name, value in event.items() if value or name not in optional}


def _with_gateway_headers(request: Request) -> list[tuple[str, str]]:
    """The request's headers and those that the gateway adds; what a client sends under their names is dropped."""
    added = {
        "x-forwarded-for": request.source_ip,
        "x-forwarded-port": request.header("host").rpartition(":")[2] if ":" in request.header("host") else "80",
        "x-forwarded-proto": request.scheme,
        "x-amzn-trace-id": f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}",
    }
    kept = [(name, value) for name, value in request.headers if name not in added and name != "content-length"]
    return [*kept, ("content-length", str(len(request.body))), *added.items()]


def _body(request: Request) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    kind, _, parameters = request.header("content-type").lower().partition(";")
    is_text = kind.strip() in TEXT_TYPES and parameters.strip().replace('"', "") in ("", "charset=utf-8")
    if is_text and not request.header("content-encoding"):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass  # Base64 keeps the bytes as they came, so that whoever reads them sees what is wrong.
    return base64.b64encode(request.body).decode(), True


def _route_key(route: Route) -> str:
    return "$default" if route.path == "$default" else f"{route.method} {route.path}"


def _request_id() -> str:
    return base64.b64encode(secrets.token_bytes(11)).decode()[:15] + "="


def _clf_time() -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
