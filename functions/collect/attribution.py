"""How a visitor came: the channel and the source of a page view, told from its address and its referrer.

It is told here and not by the pixel, whose file sites pin and browsers keep: a new assistant, search engine or
advertising network has its name on the day on which it is added to the table.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from collect import hosts

# By channel, what begins in a referrer's host with its start or a dot; what was found is the source's name.
NAMES = {
    "ai-assistant": r"chatgpt|openai|perplexity|claude|gemini\.google|copilot\.microsoft|deepseek|mistral|grok|phind|poe\.com$|you\.com$|meta\.ai$",
    "email": r"e?mail\.[^.]+|webmail|outlook|gmx",
    "search": r"google|bing|duckduckgo|yahoo|yandex|baidu|ecosia|qwant|startpage|search\.brave|kagi|naver|seznam|mojeek|swisscows|sogou",
    "social": r"facebook|instagram|threads|t\.co$|twitter|x\.com$|linkedin|lnkd|reddit|youtube|youtu\.be$|pinterest|tiktok|bsky|vk\.com$|whatsapp|t\.me$|xing|tumblr|quora|discord|snapchat|weibo|news\.ycombinator",
}
REFERRERS = tuple((channel, re.compile(rf"(?:^|\.)({names})(?:\.|$)")) for channel, names in NAMES.items())
MEDIA = (
    ("paid", re.compile(r"cp[acmv]$|^ppc|^paid|^display|^banner", re.IGNORECASE)),
    ("email", re.compile(r"mail|newsletter", re.IGNORECASE)),
    ("social", re.compile(r"^social", re.IGNORECASE)),
    ("affiliate", re.compile(r"^affiliate", re.IGNORECASE)),
)
# A part of a campaign, or the id that an advertising network gave to the click.
PARAMETER = re.compile(
    r"utm_(source|medium|campaign|term|content|id)"
    r"|([gdy]clid|[gw]braid|fbclid|msclkid|ttclid|twclid|li_fat_id|epik|rdt_cid|sccid)"
)
MOST_PARAMETERS = 100
REMEMBERED_CHARACTERS = 300
# Facebook puts its own on the links of free posts too.
FREE_CLICK_ID = "fbclid"

# Roughly the part of a host that is registered; `co.uk` and its like are two short words.
REGISTRABLE = re.compile(r"[^.]+\.(?:[^.]{1,3}\.[^.]{2}|[^.]+)$")
ADDRESS = re.compile(r"[\d.]+|.*:.*")


def attribute(raw: dict[str, Any], host: str | None) -> None:
    """Say in the data of the page view *raw* by which channel and from which source its visitor came to *host*.

    The campaign is read from the page's address. The same is said of the session's first and last touch, where the
    pixel noted them. What a sender says himself stands, and of what says nothing of how its visitor came nothing is said.
    """
    data = raw.get("data")
    if data is None:
        data = {}
    if not isinstance(data, dict):
        return
    if not (data.get("utm") or data.get("click_ids") or "referrer" in raw):
        return
    told: dict[str, Any] = {name: found for name, found in campaign(raw.get("url")).items() if name not in data}
    utm, click_ids = ({**data, **told}.get(name) for name in ("utm", "click_ids"))
    click_id = next(iter(click_ids), None) if isinstance(click_ids, dict) else None
    if "channel" not in data:
        told |= _told(utm if isinstance(utm, dict) else {}, click_id, raw.get("referrer"), host)
    for name in ("first_touch", "last_touch"):
        touch = data.get(name)
        if isinstance(touch, dict) and "channel" not in touch:
            told[name] = _touch(touch, host)
    raw["data"] = {**data, **told}


def campaign(url: Any) -> dict[str, dict[str, str]]:
    """What the query of *url* says of a campaign: `utm`, its parts by name, and `click_ids`, each if there is any.

    Of several values the first counts, and an empty one is none. To be read, not to be changed: it may be remembered.
    """
    if not isinstance(url, str) or "?" not in url:
        return {}
    query = url.partition("#")[0].partition("?")[2]
    return _remembered(query) if len(query) <= REMEMBERED_CHARACTERS else _read(query)


def _read(query: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in parse_qsl("&".join(query.split("&", MOST_PARAMETERS)[:MOST_PARAMETERS])):
        if parameter := PARAMETER.fullmatch(name):
            part, network = parameter.groups()
            # What was encoded is no longer: no database stores a NUL.
            found.setdefault("utm" if part else "click_ids", {}).setdefault(
                part or network, value.replace("\0", "\ufffd")
            )
    return found


# A campaign leads thousands to the same few addresses.
_remembered = lru_cache(maxsize=4_000)(_read)


def _touch(touch: dict[str, Any], host: str | None) -> dict[str, Any]:
    """A touch as the pixel noted it, referrer and query, as it is stored: the campaign's parts by their names."""
    named = {name: value for name, value in touch.items() if name != "query"}
    found = campaign(touch.get("query"))
    click_id = next(iter(found.get("click_ids", {})), None)
    named = {**found.get("utm", {}), **({"click_id": click_id} if click_id else {}), **named}
    return {**named, **_told(named, named.get("click_id"), named.get("referrer"), host)}


def _told(utm: dict[str, Any], click_id: Any, referrer: Any, host: str | None) -> dict[str, Any]:
    source, medium = utm.get("source"), utm.get("medium")
    channel, found = classify(referrer if isinstance(referrer, str) else "", host)
    if click_id == FREE_CLICK_ID and channel in ("direct", "internal"):
        channel, found = "social", "facebook"
    if click_id and click_id != FREE_CLICK_ID:
        channel = "paid"
    elif medium and (named := _channel_of(str(medium)[:REMEMBERED_CHARACTERS])):
        channel = named
    elif source and channel in ("direct", "internal"):
        # Assistants say who they are where no browser does.
        named = _classify(str(source).lower()[:REMEMBERED_CHARACTERS], "")[0] if "." in str(source) else "referral"
        channel = "campaign" if named == "referral" else named
    source = source or found
    return {"channel": channel, "source": source} if source else {"channel": channel}


def classify(referrer: str, host: str | None) -> tuple[str, str | None]:
    """The channel of *referrer* on a page of *host*, and the name of the source if it has one."""
    if referrer.startswith("android-app:"):
        return "app", None
    sender = hosts.site_of(referrer)
    return _classify(sender, host or "") if sender else ("direct", None)


# By host: a referrer is whatever a sender writes, and a thousand of the longest would fill an environment's memory.
@lru_cache(maxsize=10_000)
def _classify(sender: str, host: str) -> tuple[str, str | None]:
    if registrable(sender) == registrable(host):
        return "internal", None
    for channel, names in REFERRERS:
        if found := names.search(sender):
            return channel, found[1]
    return "referral", sender


@lru_cache(maxsize=1_000)
def _channel_of(medium: str) -> str | None:
    return next((channel for channel, pattern in MEDIA if pattern.search(medium)), None)


def registrable(host: str) -> str:
    """The part of *host* that somebody registered, as far as its form tells; an address is whole."""
    found = None if ADDRESS.fullmatch(host) else REGISTRABLE.search(host)
    return found[0] if found else host
