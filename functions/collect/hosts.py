"""Which site an event belongs to, and where on it."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from storage.hosts import canonical

# What nearly every URL looks like; all others are taken apart by the book.
PLAIN_URL = re.compile(r"https?://([a-z0-9.-]+)(/[^?#\x00-\x20]*)?(?:[?#].*)?")
PATH_CHARS = 500
# The pages of a site. A file or an extension has no host that anybody else could have; `//host` is a name without a page.
SCHEMES = ("http", "https", "")


def site_of(*urls: str | None) -> str | None:
    """The site of the first of *urls* that has a host: lower case, without port, trailing dot or `www.`."""
    return next((site for url in urls if url and (site := locate(url)[0])), None)


def locate(url: str) -> tuple[str | None, str | None]:
    """The site of *url*, as `site_of` has it, and its path, at most 500 characters of it."""
    if plain := PLAIN_URL.fullmatch(url):
        return canonical(plain[1]), (plain[2] or "")[:PATH_CHARS] or None
    try:
        parts = urlsplit(url)
        if parts.scheme and parts.scheme in SCHEMES:
            # To a browser they are one: `https://a.example\@b.example` is a page of a.example.
            parts = urlsplit(url.replace("\\", "/"))
        # Raises where it is none: to a browser the whole is then no URL.
        _ = parts.port
        host = unquote(parts.hostname or "") if parts.scheme in SCHEMES else ""
    except ValueError:
        return None, None
    return canonical(host) if host else None, parts.path[:PATH_CHARS] or None
