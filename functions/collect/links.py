"""What a click on a link was: a way out of the site, a download, or just a click.

It is told here and not by the pixel, as the channel is: a kind of file that sites begin to offer needs no new pixel.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from collect.attribution import registrable

FILE = re.compile(
    r"pdf|xlsx?|docx?|pptx?|od[tspg]|txt|rtf|csv|zip|rar|7z|t?gz|tar|dmg|pkg|exe|msi|apk|deb|rpm|iso|mp[34]|m4[av]|wav"
    r"|avi|mov|mkv|webm|epub|ics|jsonl?|parquet|xml"
)
ENDING = re.compile(r"\.(\w{1,8})$", re.ASCII)


def name_click(raw: dict[str, Any]) -> str:
    """The event type of the `link_click` *raw*: `file_download`, `outbound_click` or `click`, written into it as well.

    A download has its file's `extension` in its data. A link without an address of the web's (mailto, tel) is a click.
    """
    data = raw.get("data")
    target = _parts(data.get("href")) if isinstance(data, dict) else None
    event_type = "click"
    if isinstance(data, dict) and target:
        host, path = target
        ending = ENDING.search(path[-10:])
        extension = ending[1].lower() if ending else ""
        if data.get("download") or FILE.fullmatch(extension):
            event_type = "file_download"
            raw["data"] = {**data, "extension": extension}
        elif not _is_inside(host, _parts(raw.get("url"))):
            event_type = "outbound_click"
    raw["event_type"] = event_type
    return event_type


def _is_inside(host: str, page: tuple[str, str] | None) -> bool:
    """Whether a host is of the registered domain that the page is of; sub-domains are the same owner's."""
    return page is not None and registrable(host.partition(":")[0]) == registrable(page[0].partition(":")[0])


def _parts(url: Any) -> tuple[str, str] | None:
    """Host with port, and path, of an address of the web's."""
    if not isinstance(url, str) or not url.startswith(("http:", "https:")):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.netloc.lower(), parts.path
