"""What the policy of a site leaves of an event: of its sender's address and browser, and of what the site itself calls personal."""

from __future__ import annotations

import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Any

import re2

from collect.beacons import Beacon
from collect.redaction import FIELD
from storage.policies import Policy

NOTHING: Counter[str] = Counter()
PATTERN = "[redacted:pattern]"


def address(policy: Policy, beacon: Beacon) -> str | None:
    """The sender's address as it may be stored: none, its network (/24 of IPv4, /48 of IPv6), or all of it."""
    if policy.ip_address == "truncate":
        return beacon.network
    if policy.ip_address == "drop":
        return None
    try:
        whole = ipaddress.ip_address((beacon.source_ip or "").partition("%")[0])
    except ValueError:
        return None
    return str(getattr(whole, "ipv4_mapped", None) or whole)


def user_agent(policy: Policy, header: str | None) -> str | None:
    """The browser as it may be stored: not at all, as families and major versions, or as it says itself."""
    if header is None or policy.user_agent == "drop":
        return None
    return _families(header) if policy.user_agent == "parse" else header


@lru_cache(maxsize=2000)
def _families(header: str) -> str:
    # Its tables take a tenth of a second to load, and most sites keep what a browser says.
    from ua_parser import parse  # noqa: PLC0415

    found = parse(header)
    known = ((part.family, part.major) for part in (found.user_agent, found.os) if part)
    named = [" ".join(word for word in (family, major) if word) for family, major in known]
    return ", ".join(named) or "Other"


def mask(policy: Policy, event: dict[str, Any]) -> tuple[dict[str, Any], Counter[str]]:
    """*event* without what the site calls personal, and how much of it there was, by kind."""
    if not (policy.sensitive_fields or policy.sensitive_patterns):
        return event, NOTHING
    found: Counter[str] = Counter()
    names = frozenset(name.lower() for name in policy.sensitive_fields)
    patterns = [re2.compile(pattern) for pattern in policy.sensitive_patterns]

    def masked(value: Any) -> Any:
        if isinstance(value, str):
            for pattern in patterns:
                value, times = pattern.subn(PATTERN, value)
                found.update({"pattern": times} if times else {})
            return value
        if isinstance(value, dict):
            return {masked(name): member(name, item) for name, item in value.items()}
        return [masked(item) for item in value] if isinstance(value, list) else value

    def member(name: str, value: Any) -> Any:
        if name.lower() in names and value is not None and not isinstance(value, bool):
            found["field"] += 1
            return FIELD
        return masked(value)

    return {name: member(name, value) for name, value in event.items()}, found
