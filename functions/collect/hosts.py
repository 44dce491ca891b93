"""Which site an event belongs to, and where on it."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

# What nearly every URL looks like; all others are taken apart by the book.
PLAIN_URL = re.compile(r"https?://([a-z0-9.-]+)(/[^?#\x00-\x20]*)?(?:[?#].*)?")
PATH_CHARS = 500
SITE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?")


def site_of(*urls: str | None) -> str | None:
    """The site of the first of *urls* that has a host: lower case, without port, trailing dot or `www.`."""
    return next((site for url in urls if url and (site := locate(url)[0])), None)


def locate(url: str) -> tuple[str | None, str | None]:
    """The site of *url*, as `site_of` has it, and its path, at most 500 characters of it."""
    if plain := PLAIN_URL.fullmatch(url):
        return _named(plain[1]), (plain[2] or "")[:PATH_CHARS] or None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None, None
    return _site(parts), parts.path[:PATH_CHARS] or None


def _site(parts: SplitResult) -> str | None:
    try:
        host = parts.hostname or ""
        # IDNA: one site has one name, however its letters were written.
        host = host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError):
        return None
    return _named(host)


@lru_cache(maxsize=10_000)
def _named(host: str) -> str | None:
    host = host.removesuffix(".")
    if host.count(".") > 1:
        host = host.removeprefix("www.")
    if ".." in host:
        return None
    return host if SITE.fullmatch(host) or _is_address(host) else None


def _is_address(host: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f:.]{2,45}", host))
