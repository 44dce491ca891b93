"""The pixel and the demo site as static files, where no nginx stands in front."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from emulator.body import AsgiApp


class _Fresh(StaticFiles):
    """Files that a browser may keep for a while, but asks about again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=300"
        # Pages of other origins load the pixel.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def site(pixel: Path) -> AsgiApp:
    """`/js/…` from the built pixel, everything else from the demo site."""
    return Starlette(
        routes=[
            Mount("/js", _Fresh(directory=pixel / "dist", check_dir=False)),
            Mount("/", _Fresh(directory=pixel / "demo", html=True)),
        ],
        exception_handlers={HTTPException: _refuse},
    )


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "error")
    message = "nothing is here" if status == 404 else "this path does not answer to this method"
    return JSONResponse({"error": {"code": code, "message": message}}, status)
