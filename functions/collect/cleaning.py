"""Makes any parsed JSON storable and exportable: bounded in every direction, redacted, without NUL."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from collect import redaction
from storage.settings import Settings

# Beyond these, PostgreSQL writes hundreds of digits for a number that came in as five characters.
GREATEST_NUMBER = 2**63 - 1
SMALLEST_FRACTION = 1e-18

# Of a card, an account or a telephone, with all that may stand between their digits.
LONGEST_NUMBER = 150

CUT = "[cut]"
REPLACEMENT = "\ufffd"

MOST_PLAIN_KEYS = 20_000

# The keys that were found to need no change, by how long a key may be.
_PLAIN_KEYS: dict[int, set[str]] = defaultdict(set)

# The members by which a member `value` may be named.
NAMING = frozenset({"name", "key", "id", "field"})
URLS = frozenset({"url", "referrer", "href"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an event is refused: a reason to count by, and a message that says how to mend it."""

    reason: str
    message: str


class Cleaner:
    """Cleans one event at a time; `problem` is the first thing that makes the last one unfit, or None.

    `redactions` counts what is masked in it by kind, whoever masked it.

    The result is storable even then, for it is what the refused event is kept as. Of a *harmless* body
    (`suspicion.is_harmless`) each string is looked at less closely.
    """

    def __init__(self, settings: Settings, harmless: bool = False) -> None:
        self._settings = settings
        self._harmless = harmless
        self._most_keys = settings.collect_max_keys
        self._most_key_chars = settings.collect_max_key_chars
        self._most_values = settings.collect_max_values
        # A character takes four bytes at most, so what is shorter than this need not be encoded to know that it fits.
        self._surely_fits = min(settings.collect_max_string_bytes, settings.collect_max_url_bytes) // 4
        self._plain_keys = _PLAIN_KEYS[self._most_key_chars]
        self._values = 0
        self.problem: Problem | None = None
        self.redactions: Counter[str] = Counter()

    def clean(self, event: dict[str, Any]) -> dict[str, Any]:
        """*event* as it can be stored, exported and read back; keys that are empty or too long are left out."""
        self._values = 0
        self.problem = None
        self.redactions = Counter()
        if self._harmless and self._is_clean(event, 1):
            return event
        self._values = 0
        return self._object(event, 1)

    def _is_clean(self, members: dict[str, Any], depth: int) -> bool:
        """Whether `_object` would return *members* just as they are; False where only that can tell."""
        return (
            # What its name calls a secret lies beside it: that is seen where it is looked at closely.
            not ("value" in members and NAMING & members.keys())
            and len(members) <= self._most_keys
            and members.keys() <= self._plain_keys
            and self._are_clean(members.values(), depth)
        )

    def _are_clean(self, values: Collection[Any], depth: int) -> bool:
        self._values += len(values)
        if self._values > self._most_values:
            return False
        for value in values:
            kind = type(value)
            if kind is str:
                clean = len(value) <= self._surely_fits
            elif kind is int:
                clean = -GREATEST_NUMBER <= value <= GREATEST_NUMBER
            elif kind is float:
                clean = not value or SMALLEST_FRACTION <= abs(value) <= GREATEST_NUMBER
            elif kind is dict or kind is list:
                look = self._is_clean if kind is dict else self._are_clean
                clean = depth < self._settings.collect_max_depth and look(value, depth + 1)
            else:
                clean = value is None or kind is bool
            if not clean:
                return False
        return True

    def _object(self, members: dict[str, Any], depth: int) -> dict[str, Any]:
        if len(members) > self._most_keys:
            self._refuse("too_many_keys", f"an object has more than {self._most_keys} keys; send fewer, or a list")
        kept: dict[str, Any] = {}
        is_pair = "value" in members and any(
            isinstance(named := members[naming], str) and redaction.is_sensitive(named)
            for naming in NAMING & members.keys()
        )
        for key, value in members.items():
            if len(kept) == self._most_keys:
                break
            if "\0" in key:
                key = key.replace("\0", "")
            # Before anything remembers it: only short keys are worth their place.
            if not key or len(key) > self._most_key_chars:
                continue
            name, is_secret, is_phone = _key(key)
            is_secret = is_secret or (is_pair and key == "value")
            if name == key and not is_secret and not is_phone:
                self._remember(key)
            if "[" in name:
                self._count_marks(name)
            if is_secret and value is not None and not isinstance(value, bool):
                kept[name] = redaction.FIELD
                self._count_marks(redaction.FIELD)
            elif is_phone:
                kept[name] = self._value(redaction.without_phones(value), depth, name in URLS)
            else:
                kept[name] = self._value(value, depth, name in URLS)
        return kept

    def _value(self, value: Any, depth: int, is_url: bool = False) -> Any:
        kind = type(value)
        if kind is str:
            return self._count(self._string(value, is_url))
        if kind is int or kind is float:
            return self._count(self._number(value))
        if value is None or kind is bool:
            return self._count(value)
        if depth >= self._settings.collect_max_depth:
            self._refuse("too_deep", f"nested deeper than {self._settings.collect_max_depth} levels; flatten it")
            return CUT
        if kind is dict:
            # Empty, it weighs something too, or a million of them would weigh nothing.
            return self._object(value, depth + 1) or self._count({})
        items = []
        for item in value:
            if self._values >= self._most_values:
                self._too_many_values()
                break
            items.append(self._value(item, depth + 1))
        return items or self._count(items)

    def _count(self, value: Any) -> Any:
        self._values += 1
        if self._values > self._most_values:
            self._too_many_values()
            return None
        return value

    def _too_many_values(self) -> None:
        self._refuse("too_many_values", f"more than {self._most_values} values in one event; split it")

    def _string(self, text: str, is_url: bool) -> str:
        if self._harmless and len(text) <= self._surely_fits and text != redaction.PHONE:
            return text
        if "\0" in text:
            self._refuse("nul_character", "a string holds U+0000, which no database stores; remove it")
            text = text.replace("\0", REPLACEMENT)
        limit = self._settings.collect_max_url_bytes if is_url else self._settings.collect_max_string_bytes
        # Cut twice: what is redacted is bounded, and of a number that the first cut went through nothing is left.
        whole = cut(text, 2 * limit)
        clean = cut(redaction.redact_text(whole if len(whole) == len(text) else whole[:-LONGEST_NUMBER]), limit)
        if "[" in clean:
            self._count_marks(clean)
        return clean

    def _number(self, number: float) -> Any:
        size = abs(number)
        if size > GREATEST_NUMBER or 0 < size < SMALLEST_FRACTION:
            self._refuse("number_out_of_range", "a number does not fit 64 bits; send it as a string")
            return CUT
        whole = int(number) if isinstance(number, int) or number.is_integer() else 0
        masked = redaction.redact_number(whole)
        if not isinstance(masked, str):
            return number
        self._count_marks(masked)
        return masked

    def _count_marks(self, text: str) -> None:
        self.redactions.update(redaction.MARK.findall(text))

    def _remember(self, key: str) -> None:
        if len(self._plain_keys) >= MOST_PLAIN_KEYS:
            # Somebody makes keys up; those that beacons really have come back with the next of them.
            self._plain_keys.clear()
        self._plain_keys.add(key)

    def _refuse(self, reason: str, message: str) -> None:
        if self.problem is None:
            self.problem = Problem(reason, message)


@lru_cache(maxsize=20_000)
def _key(key: str) -> tuple[str, bool, bool]:
    """A key as it is stored, and whether what it names is a secret, or a telephone."""
    name = redaction.redact_text(key)
    return name, redaction.is_sensitive(name), redaction.names_a_phone(name)


def cut(text: str, limit: int) -> str:
    """*text*, shortened to at most *limit* bytes of UTF-8, between characters."""
    # Four bytes is the most that a character takes, so most strings need not be encoded to know.
    if len(text) * 4 <= limit or len(raw := text.encode()) <= limit:
        return text
    return raw[:limit].decode(errors="ignore")
