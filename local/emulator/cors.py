"""CORS from the API's own block: the gateway answers preflights, and its headers replace the function's.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
"""

from __future__ import annotations

from emulator.http_event import Request
from emulator.http_response import Headers, HttpResponse
from emulator.model import Cors


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if it may send something."""
    return request.method == "OPTIONS" and bool(
        request.header("origin") and request.header("access-control-request-method")
    )


def preflight(cors: Cors, request: Request) -> HttpResponse:
    """The answer to a preflight; an origin that is not allowed gets no permission, and no error."""
    allowed = _allowed(cors, request.header("origin"))
    if not allowed:
        return HttpResponse(204)
    headers = [("access-control-allow-origin", allowed)]
    if cors.methods:
        headers.append(("access-control-allow-methods", ",".join(cors.methods)))
    if cors.headers:
        headers.append(("access-control-allow-headers", ",".join(cors.headers)))
    if cors.max_age is not None:
        headers.append(("access-control-max-age", str(cors.max_age)))
    if cors.credentials:
        headers.append(("access-control-allow-credentials", "true"))
    return HttpResponse(204, tuple(headers))


def decorated(cors: Cors, origin: str, headers: Headers) -> Headers:
    """*headers* with the API's CORS headers in place of whatever the function set."""
    kept = [item for item in headers if not item[0].startswith("access-control-")]
    if origin and (allowed := _allowed(cors, origin)):
        kept.append(("access-control-allow-origin", allowed))
        if cors.expose:
            kept.append(("access-control-expose-headers", ",".join(cors.expose)))
        if cors.credentials:
            kept.append(("access-control-allow-credentials", "true"))
    return tuple(kept)


def _allowed(cors: Cors, origin: str) -> str | None:
    if "*" in cors.origins:
        return "*"
    scheme = origin.partition("://")[0]
    return origin if origin in cors.origins or f"{scheme}://*" in cors.origins else None
