"""Who is no visitor: crawlers, assistants' agents, driven browsers, programs. They are flagged with the reasons, and never dropped."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import re2

from storage.settings import Settings

# In an event, why it is no visitor's; it is there in no other.
FLAG = "_bot"

# What the list of user agents calls them, where it is more than a crawler.
TAGS = {"ai-crawler": "ai", "browser-automation": "automation", "http-library": "program"}
CRAWLER = "crawler"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# By version and bits of the prefix, the prefixes.
Prefixes = Mapping[tuple[int, int], set[int]]


def reasons(settings: Settings, user_agent: str | None, source_ip: str | None, event: Mapping[str, Any]) -> list[str]:
    """Why an event is no visitor's: none of a visitor, else some of `ai automation crawler network program`.

    By the user agent and the address that it came from, and by what a browser says of itself (`navigator.webdriver`,
    https://w3c.github.io/webdriver/#interface). Whoever hides all of that is not known.
    """
    found = set(_by_user_agent(user_agent)) if user_agent else set()
    data = event.get("data")
    if isinstance(data, Mapping) and data.get("webdriver") is True:
        found.add("automation")
    if source_ip and _is_theirs(settings.bot_networks, source_ip):
        found.add("network")
    return sorted(found)


@lru_cache(maxsize=2_000)
def _by_user_agent(header: str) -> frozenset[str]:
    patterns, names = _patterns()
    return frozenset(name for index in patterns.Match(header.encode(errors="replace")) or () for name in names[index])


@cache
def _patterns() -> tuple[Any, list[list[str]]]:
    """The list of https://github.com/monperrus/crawler-user-agents as one look, and what each of its patterns says."""
    # Half a megabyte, which is not read before there is an event.
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 64 << 20
    patterns = re2.Set.SearchSet(options)
    names = []
    for entry in CRAWLER_USER_AGENTS_DATA:
        patterns.Add(entry["pattern"])
        names.append([TAGS[tag] for tag in entry.get("tags", ()) if tag in TAGS] or [CRAWLER])
    patterns.Compile()
    return patterns, names


@lru_cache(maxsize=10_000)
def _is_theirs(networks: tuple[Network, ...], source_ip: str) -> bool:
    try:
        address = ipaddress.ip_address(source_ip.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    number, bits = int(address), address.max_prefixlen
    return any(
        version == address.version and number >> (bits - length) in prefixes
        for (version, length), prefixes in _prefixes(networks).items()
    )


@lru_cache(maxsize=2)
def _prefixes(networks: tuple[Network, ...]) -> Prefixes:
    found: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for network in networks:
        shift = network.max_prefixlen - network.prefixlen
        found[network.version, network.prefixlen].add(int(network.network_address) >> shift)
    return found
