"""The pixel and the demo site as static files, where no nginx stands in front."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from emulator.body import AsgiApp

# What `pixel/build.mjs` writes beside each file, the smaller first.
ENCODINGS = {"br": ".br", "gzip": ".gz"}
_VERSIONED = re.compile(r"(\w+)\.([0-9a-f]{8})\.js")
# All that is built for browsers; the compressed files have no address of their own.
_NAME = re.compile(r"[\w.-]{1,60}\.(?:js|json)", re.ASCII)
_FOR_A_WHILE = "public, max-age=300"
_FOR_EVER = "public, max-age=31536000, immutable"


class _Fresh(StaticFiles):
    """Files that a browser may keep for a while, but asks about again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = _FOR_A_WHILE
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


class _Pixel(_Fresh):
    """The built files, as small as the browser takes them; under a name with their version they never change."""

    def __init__(self, dist: Path) -> None:
        super().__init__(directory=dist, check_dir=False)
        self._dist = dist

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not _NAME.fullmatch(path):
            raise HTTPException(404)
        versioned = _VERSIONED.fullmatch(path)
        # A page that names a version which is gone gets what there is, or nothing of its visitors would be known.
        name = f"{versioned[1]}.js" if versioned else path
        accepted = _accepted(Headers(scope=scope).get("accept-encoding", ""))
        encoding = next((each for each in ENCODINGS if each in accepted and self._has(name + ENCODINGS[each])), None)
        response = await super().get_response(name + ENCODINGS[encoding] if encoding else name, scope)
        if encoding:
            response.headers["Content-Encoding"] = encoding
            response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        response.headers["Vary"] = "Accept-Encoding"
        # Pages of other origins load the pixel, and may ask for it to be what they know.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Access-Control-Allow-Origin"] = "*"
        if versioned and self._version(name) == versioned[2]:
            response.headers["Cache-Control"] = _FOR_EVER
        return response

    def _has(self, name: str) -> bool:
        return bool(self.lookup_path(name)[1])

    def _version(self, name: str) -> str | None:
        return hashlib.sha256((self._dist / name).read_bytes()).hexdigest()[:8] if self._has(name) else None


def _accepted(header: str) -> set[str]:
    """The encodings that a browser takes (RFC 9110, 12.5.3); a weight of nothing means not that one."""
    parts = [part.partition(";") for part in header.lower().split(",")]
    return {name.strip() for name, _, weight in parts if not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)}


def site(pixel: Path) -> AsgiApp:
    """`/js/…` from the built pixel, everything else from the demo site."""
    return Starlette(
        routes=[
            Mount("/js", _Pixel(pixel / "dist")),
            Mount("/", _Fresh(directory=pixel / "demo", html=True)),
        ],
        exception_handlers={HTTPException: _refuse},
    )


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "error")
    message = (
        "nothing is here" if status == 404 else "nothing that is here takes this method; events go to POST /collect"
    )
    return JSONResponse({"error": {"code": code, "message": message}}, status)
