"""What must not be stored is masked: secrets by their field's name; cards, accounts, people's numbers and addresses by shape."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from string import digits
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

from collect import rules
from collect.suspicion import is_suspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Where something begins and ends, and its mark.
    Found = tuple[int, int, str]

FIELD = "[redacted:field]"
# An event may be nested no deeper (COLLECT_MAX_DEPTH).
MOST_DEPTH = 100
NUMBER_WORDS = frozenset({"number", "num", "no", "nr"})
PHONE = "[redacted:phone]"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SPLIT = re.compile(r"[^a-zA-Z0-9ñçÑÇ]+")
# What may part the digits of a number: spaces and hyphens of every kind, seen or not.
_BETWEEN = r"\s\xad\u200b-\u200d\u2010-\u2015\u2060\u2212\ufeff-"
# The least that all numbers have in common, which most texts do not.
_NUMBER = re.compile(r"[0-9][^a-z]{0,4}[0-9][^a-z]{0,4}[0-9]|[A-Z]{2}[0-9]{2}")
# Its groups of digits can look like a card's or an account's, of which one in many thousands passes the check too.
_UUID = r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
# A number stands alone: not behind the point of another, nor as the last group of a longer word.
_ALONE = r"(?:(?<![0-9A-Za-z-])(?<![0-9]\.)|(?<=[g-zG-Z]-)|(?<=[g-zG-Z][A-Za-z]-)|(?<=[^0-9A-Za-z]-)|(?<=^-))"
_ENDS = r"(?![0-9A-Za-z]|[.-][0-9])"
_CARD = re.compile(rf"(?P<uuid>{_UUID})|{_ALONE}[0-9](?:[{_BETWEEN}]{{0,3}}[0-9]){{13,18}}{_ENDS}")
# Those that begin with 9 are the tax office's, which uses some groups of them (irs.gov, Internal Revenue Manual 3.21.263).
_TAXPAYERS = r"9[0-9]{2}(?=.(?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9]))"
_SSN = re.compile(
    rf"{_ALONE}(?:(?!000|666|9)[0-9]{{3}}|{_TAXPAYERS})(\s?[.{_BETWEEN}]\s?)(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}"
    rf"{_ENDS}"
)
_IBAN = re.compile(
    rf"(?P<uuid>{_UUID})|(?<![0-9A-Za-z])[A-Z]{{2}}[0-9]{{2}}(?:[{_BETWEEN}]{{0,3}}[A-Z0-9]){{11,30}}(?![0-9A-Za-z])"
)
_PHONE = re.compile(rf"(?<![0-9A-Za-z])\+[1-9](?:[().{_BETWEEN}]{{0,3}}[0-9]){{7,14}}(?![0-9A-Za-z])")
_SECRET = re.compile(rf"(?<![0-9A-Za-z])(?:{rules.SECRETS})(?![0-9A-Za-z])", re.ASCII)
# What comes before the @ is looked for backwards from it, so that each character is looked at once.
_DOMAIN = re.compile(
    r"@(?:[a-z0-9\u00a1-\uffff-]{1,63}\.){1,8}([a-z]{2,63}|xn--[a-z0-9-]{2,59}|[\u00a1-\uffff]{2,63})(?!\.?[a-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_MAILBOX = re.compile(r"[\w.%+\u00a1-\uffff-]{1,64}\Z", re.ASCII)
_MAILBOX_LENGTH = 64
# As one is written at home; who else is called by digits alone is told by the field's name.
_DIALLED = re.compile(r"[0-9(](?:[ ()./-]{0,3}[0-9)]){6,16}")
# A parameter's name has so many characters at most. It is looked for backwards from the sign behind it, so that each
# character is looked at once.
_NAME_LENGTH = 128
_TO_LAST_END = re.compile(r".*[?=&;#\s]", re.DOTALL)
_NAMED = re.compile(r"(?<=[^?=&;#\s])=")
_OPENING = re.compile(r"[,\"'(]")
# By the second the parameters of an address are found that is a parameter itself.
_PARAMETER_VALUES = (re.compile(r"\"[^\"&;#]{0,200}\"|[^&;#\s]*"), re.compile(r"[^?&;#\s]*"))
# As JSON stands within a text.
_PAIR = re.compile(r"""(\\{0,7}["'])([^"'\s\\]{1,128})\1\s{0,9}:\s{0,9}""")
# What a value is, by how the name before it is quoted; one without an end is all that follows.
_VALUE = re.compile(r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\[[^\]]*\]?|\{[^}]*\}?|[^\s,;}\])"']+""", re.DOTALL)
_ESCAPED_VALUE = re.compile(r"""(\\+["']).*?(?:\1|$)|\[[^\]]*\]?|\{[^}]*\}?|[^\s,;}\])"'\\]+""", re.DOTALL)
# With a state beside it, a code is what OAuth lets somebody in by (RFC 6749, 4.1.2).
_STATE = re.compile(r"(?:[?&;#]|^)state=")
_USERINFO = re.compile(r"(//)[^/?#\s]{1,256}@")
_LAST_GROUP = re.compile(r"\W*\w+$")
# A number that tells something has at least so many characters.
_LEAST_NUMBER = 14
_MOST_CANDIDATES = 500
# What an address may hold in another spelling. One that was put into another is spelled twice.
_WORD = re.compile(r"[^\s&;#?=/]+")
_SPELLINGS = 3
MARK = re.compile(r"\[redacted:(card|ssn|iban|email|phone|secret|field)\]")


@lru_cache(maxsize=20_000)
def is_sensitive(key: str) -> bool:
    """Whether a field, or a parameter of a URL, holds a secret by its name."""
    words = _words(key)
    if " ".join(words) in rules.KEYS:
        return True
    if not words or words[-1] in rules.HARMLESS_LAST_WORDS or words[0] in rules.HARMLESS_FIRST_WORDS:
        return False
    # Of more than one it is as secret as of one.
    singular = [word.removesuffix("s") for word in words]
    if singular[-1].endswith(rules.ENDINGS) or any(
        word in rules.WORDS or word in rules.JOINED for word in (*words, *singular)
    ):
        return True
    return any(pair in rules.PAIRS for one in (words, singular) for pair in pairwise(one))


def names_a_phone(key: str) -> bool:
    """Whether a field holds a telephone number by its name, if it has the shape of one."""
    words = [word.removesuffix("s") for word in _words(key)]
    if words[-1:] and words[-1] in NUMBER_WORDS:
        words.pop()
    return bool(words) and words[-1] in rules.PHONE_WORDS


def is_dialled(value: Any) -> bool:
    """Whether the value of a field that names a telephone is a number to dial, in whatever writing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return 10**6 <= value < 10**15
    return isinstance(value, str) and _DIALLED.fullmatch(value.strip()) is not None


def without_phones(value: Any, depth: int = 0) -> Any:
    """*value*, the one of a field that names a telephone, with each number to dial in it masked."""
    if is_dialled(value):
        return PHONE
    if depth > MOST_DEPTH:
        return value
    if isinstance(value, dict):
        return {name: without_phones(item, depth + 1) for name, item in value.items()}
    return [without_phones(item, depth + 1) for item in value] if isinstance(value, list) else value


def _words(key: str) -> list[str]:
    words = (word.lower().rstrip(digits) for word in _SPLIT.split(_CAMEL.sub(" ", key)))
    return [word for word in words if word]


def redact_text(text: str, spellings: int = _SPELLINGS) -> str:
    """*text* with every card, account, social security and phone number, e-mail address, key and secret parameter masked.

    A word that is percent-encoded is masked whole if there is anything of that in it, however often it was encoded.
    """
    if not is_suspect(text):
        return text
    if "@" in text:
        # Left out, not marked: a bracket before the host would make the URL unreadable.
        text = _USERINFO.sub(r"\1", text)
    if "=" in text:
        # Looked for once: a text may have as many codes as it has room for.
        hidden = frozenset({"code"} if _STATE.search(text) else ())
        for value in _PARAMETER_VALUES:
            text = _marked(text, _parameters(text, value, hidden))
    if ":" in text:
        text = _marked(text, _pairs(text))
    text = _SECRET.sub("[redacted:secret]", text)
    if _NUMBER.search(text):
        text = _marked(text, _numbers(text, _CARD, _is_card, "[redacted:card]"))
        text = _SSN.sub("[redacted:ssn]", text)
        text = _marked(text, _numbers(text, _IBAN, _is_iban, "[redacted:iban]"))
    if "+" in text:
        text = _PHONE.sub(PHONE, text)
    if "@" in text:
        text = _marked(text, _emails(text))
    if spellings and ("%" in text or "+" in text) and _hides(text):
        text = _WORD.sub(lambda match: _mask_word(match[0], spellings - 1), text)
    return text


def redact_number(number: int) -> Any:
    """*number*, unless its digits are a card number."""
    return "[redacted:card]" if 10**13 <= abs(number) < 10**19 and _is_card(str(abs(number))) else number


def _marked(text: str, found: Iterator[Found]) -> str:
    """*text* with a mark in the place of all that was *found*."""
    kept, end = [], 0
    for start, stop, mark in found:
        kept += [text[end:start], mark]
        end = stop
    return "".join([*kept, text[end:]]) if kept else text


def _parameters(text: str, value_of: re.Pattern[str], hidden: frozenset[str]) -> Iterator[Found]:
    at = before = 0
    while sign := _NAMED.search(text, max(at, before)):
        equals = sign.start()
        begin = _name_begin(text, at, before, equals)
        before = equals + 1
        if begin is None:
            continue
        value = value_of.match(text, before)
        assert value is not None, "a value may be empty"
        at = value.end()
        name = unquote(text[begin:equals])
        if name in hidden or is_sensitive(name):
            yield before, at, FIELD
        elif names_a_phone(name) and is_dialled(unquote_plus(value[0])):
            yield before, at, PHONE


def _name_begin(text: str, at: int, before: int, equals: int) -> int | None:
    """Where the name of the parameter begins whose sign is at *equals*, behind *at*; the last sign was just before *before*."""
    least = max(at, equals - _NAME_LENGTH - 1)
    last = _TO_LAST_END.match(text, max(least, before - 1), equals)
    if last and text[last.end() - 1] != "=":
        begin = last.end()
    elif not (last or at) and equals <= _NAME_LENGTH:
        begin = 1 if _OPENING.match(text) and equals > 1 else 0
    elif opening := _OPENING.search(text, last.end() if last else least, equals):
        begin = opening.end()
    else:
        return None
    return begin if begin < equals else None


def _pairs(text: str) -> Iterator[Found]:
    at = 0
    while match := _PAIR.search(text, at):
        at = match.end()
        if is_sensitive(match[2]):
            value = (_ESCAPED_VALUE if match[1].startswith("\\") else _VALUE).match(text, at)
            if value and value[0]:
                yield at, value.end(), FIELD
                at = value.end()


def _numbers(text: str, pattern: re.Pattern[str], holds: Callable[[str], bool], mark: str) -> Iterator[Found]:
    """What *holds*, where it stands alone or begins or ends in the company of other numbers."""
    at = candidates = 0
    while match := pattern.search(text, at):
        if match["uuid"]:
            at = match.end()
            continue
        at = match.start() + 1
        number = match[0]
        candidates += 1
        # A text of so many numbers is no text, and not worth the time that it takes to tell them apart.
        while candidates < _MOST_CANDIDATES and len(number) >= _LEAST_NUMBER and not holds(re.sub(r"\W", "", number)):
            number = _LAST_GROUP.sub("", number)
        if len(number) >= _LEAST_NUMBER:
            at = match.start() + len(number)
            yield match.start(), at, mark


def _is_iban(number: str) -> bool:
    # ISO 13616: the first four characters go to the end, letters count from ten, and 97 divides it with a rest of one.
    if rules.IBAN_LENGTHS.get(number[:2]) != len(number):
        return False
    return int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97 == 1


def _hides(text: str) -> bool:
    """Whether there is anything to mask in what *text* says in other spellings; to look once costs less than by the word."""
    plain = text
    for _ in range(_SPELLINGS):
        plain = unquote_plus(plain)
        if redact_text(plain, 0) != plain:
            return True
    return False


def _mask_word(word: str, spellings: int) -> str:
    plain = unquote_plus(word)
    if plain == word:
        return word
    clean = redact_text(plain, spellings)
    return word if clean == plain else (MARK.search(clean) or (FIELD,))[0]


def _emails(text: str) -> Iterator[Found]:
    end = 0
    for match in _DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(end, match.start() - _MAILBOX_LENGTH), match.start())
        if mailbox and match[1].lower() not in rules.ASSET_ENDINGS:
            end = match.end()
            yield mailbox.start(), end, "[redacted:email]"


def _is_card(digits: str) -> bool:
    return _has_issuer(digits) and _passes_luhn(digits)


def _has_issuer(digits: str) -> bool:
    """Whether a card issuer uses this start with this length (ISO/IEC 7812, as the networks publish their ranges)."""
    return any(
        issuer["from"] <= digits[: len(issuer["from"])] <= issuer["to"]
        and issuer["lengths"][0] <= len(digits) <= issuer["lengths"][1]
        for issuer in rules.ISSUERS
    )


def _passes_luhn(digits: str) -> bool:
    # Doubling every second digit from the right; a sum over nine counts its own digits (ISO/IEC 7812-1, annex B).
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0
