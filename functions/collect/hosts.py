"""Which site an event belongs to, and where on it."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

# What nearly every URL looks like; all others are taken apart by the book.
PLAIN_URL = re.compile(r"https?://([a-z0-9.-]+)(/[^?#\x00-\x20]*)?(?:[?#].*)?")
SITE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?")


def site_of(*urls: str | None) -> str | None:
    """The site of the first of *urls* that has a host: lower case, without port, trailing dot or `www.`."""
    for url in urls:
        if url and (site := _site(url)):
            return site
    return None


def _site(url: str) -> str | None:
    if plain := PLAIN_URL.fullmatch(url):
        return _named(plain[1])
    try:
        host = urlsplit(url).hostname or ""
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


def path_of(url: str | None, limit: int = 500) -> str | None:
    """The path of *url*, at most *limit* characters of it."""
    if plain := PLAIN_URL.fullmatch(url or ""):
        return (plain[2] or "")[:limit] or None
    try:
        return urlsplit(url or "").path[:limit] or None
    except ValueError:
        return None
