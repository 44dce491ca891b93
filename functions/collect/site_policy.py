"""What the policy of a site leaves of an event: of its sender's address and browser, and of what the site itself calls personal."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

import re2

from collect.beacons import Beacon
from collect.redaction import FIELD
from storage.policies import Policy

PARAMETER = re.compile(r"([?&;#]|^)([^?=&;#\s]{1,128})=[^&;#\s]*")
WORD = re.compile(r"[^\s&;#?=/]+")
NOTHING: Counter[str] = Counter()
# What an event is known and sorted by; masked, it would be refused.
STRUCTURE = frozenset({"event_id", "event_type", "timestamp", "session_id", "visitor_id", "site_id"})
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
    masking = _Masking(policy)
    kept = {name: value if name in STRUCTURE else masking.member(name, value) for name, value in event.items()}
    return kept, masking.found


class _Masking:
    """Masks one event, and counts what it masks in `found`."""

    def __init__(self, policy: Policy) -> None:
        self._names, self._patterns = _rules_of(policy)
        self.found: Counter[str] = Counter()

    def member(self, name: str, value: Any) -> Any:
        if name.lower() in self._names and value is not None and not isinstance(value, bool):
            self.found["field"] += 1
            return FIELD
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(name): self.member(name, item) for name, item in value.items()}
        return [self._value(item) for item in value] if isinstance(value, list) else value

    def _text(self, text: str) -> str:
        if "=" in text and self._names:
            text = PARAMETER.sub(self._parameter, text)
        for pattern in self._patterns:
            text, times = pattern.subn(PATTERN, text)
            self.found.update({"pattern": times} if times else {})
        return WORD.sub(self._word, text) if self._patterns and ("%" in text or "+" in text) else text

    def _parameter(self, match: re.Match[str]) -> str:
        if unquote_plus(match[2]).lower() not in self._names:
            return match[0]
        self.found["field"] += 1
        return f"{match[1]}{match[2]}={FIELD}"

    def _word(self, match: re.Match[str]) -> str:
        # As an address spells it: masked as a whole.
        plain = unquote_plus(match[0])
        if plain == match[0] or not any(pattern.search(plain) for pattern in self._patterns):
            return match[0]
        self.found["pattern"] += 1
        return PATTERN


@lru_cache(maxsize=100)
def _rules_of(policy: Policy) -> tuple[frozenset[str], tuple[Any, ...]]:
    return frozenset(map(str.lower, policy.sensitive_fields)), tuple(map(re2.compile, policy.sensitive_patterns))
