"""Which route a request takes: a whole match first, then `{proxy+}`, then `$default`; a method before ANY."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from emulator.template import Route


class RouteTable:
    """The routes of one API."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(_pattern(route.path), route) for route in sorted(routes, key=_precedence)]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of *method* on the undecoded *path*, with the values of its path parameters."""
        for pattern, route in self._routes:
            if route.method in (method, "ANY") and (match := pattern.fullmatch(path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None


def _precedence(route: Route) -> tuple[int, int, int, bool]:
    greedy = "+}" in route.path
    level = 2 if route.path == "$default" else 1 if greedy else 0
    return level, route.path.count("{"), -len(route.path), route.method == "ANY"


def _pattern(path: str) -> re.Pattern[str]:
    if path == "$default":
        return re.compile(r".*", re.DOTALL)
    parts = re.split(r"\{([A-Za-z0-9_.-]+)(\+?)\}", path)
    pattern = re.escape(parts[0])
    for name, greedy, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if greedy else '[^/]+'})" + re.escape(text)
    return re.compile(pattern)
