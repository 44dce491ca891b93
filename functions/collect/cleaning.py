"""Makes any parsed JSON storable and exportable: bounded in every direction, redacted, without NUL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collect import redaction
from storage.settings import Settings

# Beyond these, PostgreSQL writes hundreds of digits for a number that came in as five characters.
GREATEST_NUMBER = 2**63 - 1
SMALLEST_FRACTION = 1e-18

CUT = "[cut]"
REPLACEMENT = "\ufffd"

URLS = frozenset({"url", "referrer", "href"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an event is refused: a reason to count by, and a message that says how to mend it."""

    reason: str
    message: str


class Cleaner:
    """Cleans one event at a time; `problem` is the first thing that makes the last one unfit, or None.

    The result is storable even then, for it is what the refused event is kept as.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._values = 0
        self.problem: Problem | None = None

    def clean(self, event: dict[str, Any]) -> dict[str, Any]:
        """A copy of *event* that can be stored, exported and read back; keys that are empty or too long are left out."""
        self._values = 0
        self.problem = None
        return self._object(event, 1)

    def _object(self, members: dict[str, Any], depth: int) -> dict[str, Any]:
        limit = self._settings.collect_max_keys
        if len(members) > limit:
            self._refuse("too_many_keys", f"an object has more than {limit} keys; send fewer, or a list")
        kept: dict[str, Any] = {}
        for key, value in members.items():
            if len(kept) == limit:
                break
            if "\0" in key:
                key = key.replace("\0", "")
            if not key or len(key) > self._settings.collect_max_key_chars:
                continue
            key = redaction.redact_text(key)
            kept[key] = redaction.FIELD if self._is_secret(key, value) else self._value(value, depth, key in URLS)
        return kept

    def _value(self, value: Any, depth: int, is_url: bool = False) -> Any:
        # bool first: it is an int to Python.
        if value is None or isinstance(value, bool):
            return self._count(value)
        if isinstance(value, str):
            return self._count(self._string(value, is_url))
        if isinstance(value, int | float):
            return self._count(self._number(value))
        if depth >= self._settings.collect_max_depth:
            self._refuse("too_deep", f"nested deeper than {self._settings.collect_max_depth} levels; flatten it")
            return CUT
        if isinstance(value, dict):
            # Empty, it weighs something too, or a million of them would weigh nothing.
            return self._object(value, depth + 1) or self._count({})
        items = []
        for item in value:
            if self._values >= self._settings.collect_max_values:
                self._too_many_values()
                break
            items.append(self._value(item, depth + 1))
        return items or self._count(items)

    def _count(self, value: Any) -> Any:
        self._values += 1
        if self._values > self._settings.collect_max_values:
            self._too_many_values()
            return None
        return value

    def _too_many_values(self) -> None:
        limit = self._settings.collect_max_values
        self._refuse("too_many_values", f"more than {limit} values in one event; split it")

    def _string(self, text: str, is_url: bool) -> str:
        if "\0" in text:
            self._refuse("nul_character", "a string holds U+0000, which no database stores; remove it")
            text = text.replace("\0", REPLACEMENT)
        limit = self._settings.collect_max_url_bytes if is_url else self._settings.collect_max_string_bytes
        # Cut twice: what is redacted is bounded, and what the first cut left of a number falls to the second.
        return cut(redaction.redact_text(cut(text, 2 * limit)), limit)

    def _number(self, number: float) -> Any:
        size = abs(number)
        if size > GREATEST_NUMBER or 0 < size < SMALLEST_FRACTION:
            self._refuse("number_out_of_range", "a number does not fit 64 bits; send it as a string")
            return CUT
        return redaction.redact_number(number) if isinstance(number, int) else number

    def _is_secret(self, key: str, value: Any) -> bool:
        return value is not None and not isinstance(value, bool) and redaction.is_sensitive(key)

    def _refuse(self, reason: str, message: str) -> None:
        if self.problem is None:
            self.problem = Problem(reason, message)


def cut(text: str, limit: int) -> str:
    """*text*, shortened to at most *limit* bytes of UTF-8, between characters."""
    # Four bytes is the most that a character takes, so most strings need not be encoded to know.
    if len(text) * 4 <= limit or len(raw := text.encode()) <= limit:
        return text
    return raw[:limit].decode(errors="ignore")
