"""Which route a request takes: a whole match first, then `{proxy+}`, then `$default`; a method before ANY."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from emulator.model import Route


class RouteTable:
    """The routes of one API; with a stage of its own name, each path begins with that name."""

    def __init__(self, routes: Sequence[Route], stage: str = "$default") -> None:
        self._routes = [(_pattern(route.path), route) for route in sorted(routes, key=_precedence)]
        self._prefix = "" if stage == "$default" else f"/{stage}"

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of *method* on the undecoded *path*, with the values of its path parameters.

        HEAD is answered by what answers GET, where nothing else does (RFC 9110, 9.3.2; API Gateway would say 404).
        """
        if not path.startswith(f"{self._prefix}/"):
            return None
        path = path.removeprefix(self._prefix)
        found = self._find(method, path)
        return self._find("GET", path) if found is None and method == "HEAD" else found

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
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
