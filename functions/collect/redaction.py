"""What must not be stored is masked: secrets by their field's name; cards, accounts, people's numbers and addresses by shape."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = json.loads((resources.files("collect") / "rules.json").read_text("utf-8"))
WORDS = frozenset(RULES["sensitive_words"])
ENDINGS = tuple(RULES["sensitive_endings"])
PAIRS = frozenset(tuple(pair.split()) for pair in RULES["sensitive_pairs"])
JOINED = frozenset("".join(pair) for pair in PAIRS)
KEYS = frozenset(RULES["sensitive_keys"])
HARMLESS_LAST_WORDS = frozenset(RULES["harmless_last_words"])
HARMLESS_FIRST_WORDS = frozenset(RULES["harmless_first_words"])
ASSET_ENDINGS = frozenset(RULES["asset_endings"])
ISSUERS = tuple(RULES["card_issuers"])
# Country and length, four characters each (SWIFT's IBAN registry).
IBAN_LENGTHS = {text[:2]: int(text[2:]) for text in re.findall(r"....", RULES["iban_lengths"])}

FIELD = "[redacted:field]"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SPLIT = re.compile(r"[^a-zA-Z0-9ñç]+")
# One cheap look decides that most strings hold nothing of interest.
_SUSPECT = re.compile(
    r"@|%[0-7]|[0-9](?:\W{0,3}[0-9]){3}|[?&;#]?[^?=&;#\s]{1,128}=|://[^/\s]{0,256}:"
    r"|eyJ|A[A-Z]{2}A|gh[opsur]_|glpat-|[sr]k_live_|xox[abprs]-|SG\.|PRIVATE KEY"
)
# What may part the digits of a number: spaces and hyphens of every kind, seen or not.
_BETWEEN = r"\s\xad\u200b\u2010-\u2015-"
_CARD = re.compile(rf"(?<![0-9A-Za-z.-])[0-9](?:[{_BETWEEN}]{{0,3}}[0-9]){{13,18}}(?![0-9A-Za-z]|[.-][0-9A-Za-z])")
_SSN = re.compile(
    rf"(?<![0-9A-Za-z.-])(?!000|666|9)[0-9]{{3}}([.{_BETWEEN}])(?!00)[0-9]{{2}}\1(?!0000)[0-9]{{4}}(?![0-9A-Za-z]|[.-][0-9A-Za-z])"
)
_IBAN = re.compile(rf"(?<![0-9A-Za-z])[A-Z]{{2}}[0-9]{{2}}(?:[{_BETWEEN}]{{0,3}}[A-Z0-9]){{11,30}}(?![0-9A-Za-z])")
_PHONE = re.compile(rf"(?<![0-9A-Za-z])\+[1-9](?:[().{_BETWEEN}]{{0,3}}[0-9]){{7,14}}(?![0-9A-Za-z])")
_SECRET = re.compile(rf"(?<![0-9A-Za-z])(?:{RULES['secrets']})(?![0-9A-Za-z])", re.ASCII)
# What comes before the @ is looked for backwards from it, so that each character is looked at once.
_DOMAIN = re.compile(
    r"@(?:[a-z0-9\u00a1-\uffff-]{1,63}\.){1,8}([a-z]{2,63}|xn--[a-z0-9-]{2,59})(?!\.?[a-z0-9-])",
    re.IGNORECASE | re.ASCII,
)
_MAILBOX = re.compile(r"[\w.%+\u00a1-\uffff-]{1,64}\Z", re.ASCII)
_MAILBOX_LENGTH = 64
# Numbers, looked for in a whole body at once, in which only the kinds of characters are left: `0` is a digit, `A` and `a`
# letters, `_` all that can stand before a number and not within. So the search leaps from number to number.
_KINDS = bytes(
    ord(
        "0"
        if chr(byte) in digits
        else "A"
        if chr(byte) in ascii_uppercase
        else "a"
        if chr(byte) in ascii_lowercase
        else chr(byte)
        if chr(byte) in " .-"
        # How a form writes a space into an address.
        else " "
        if chr(byte) == "+"
        else "_"
    )
    for byte in range(256)
)
_NUMBERS = tuple(
    re.compile(before + rb"0(?:(?:[ -]{0,3}0){13,18}|00[-. ]00[-. ]0000)(?![0Aa]|[.-][0Aa])")
    for before in (rb"_", rb" ")
)
_ACCOUNT = re.compile(rb"AA00(?:[ -]{0,3}[0A]){11}")
_DIALLED = re.compile(rb"\+[1-9](?:[ ().-]{0,3}[0-9]){7}")
# Something of each kind of secret; the fewer there are, the less a body has to be gone through.
_SECRET_PARTS = (b"eyJ", b"IA", b"ACCA", b"glpat-", b"k_live_", b"xox", b"SG.", b"PRIVATE KEY")
_GITHUB = re.compile(rb"gh[opsur]_")
# A character takes four bytes at most.
_PARAMETER_NAMES = re.compile(rb"[?&;#\"]([^?=&;#\s\"]{1,512})=")
# The second finds the parameters of an address that is a parameter itself.
_PARAMETERS = tuple(
    re.compile(rf"([?&;#]|^)([^?=&;#\s]{{1,128}})=({value})") for value in (r"[^&;#\s]*", r"[^?&;#\s]*")
)
_USERINFO = re.compile(r"(://)[^/?#\s]{1,256}@")
_LAST_GROUP = re.compile(r"\W*\w+$")
# A number that tells something has at least so many characters.
_LEAST_NUMBER = 14
_MOST_CANDIDATES = 500
# What an address may hold in another spelling. One that was put into another is spelled twice.
_WORD = re.compile(r"[^\s&;#?=/]+")
_ENCODED = re.compile(rb"%(?:[0-7]|[0-9A-Fa-f]{2}[0-9A-Z+])")
# Digits that are parted by what only more than one byte writes.
_WIDE = re.compile(rb"[0-9][ -]?[\x80-\xff]{2,9}[ -]?[0-9]")
_SPELLINGS = 3
_MARK = re.compile(r"\[redacted:\w+\]")


@lru_cache(maxsize=20_000)
def is_sensitive(key: str) -> bool:
    """Whether a field, or a parameter of a URL, holds a secret by its name."""
    words = [word.lower().rstrip(digits) for word in _SPLIT.split(_CAMEL.sub(" ", key)) if word]
    words = [word for word in words if word]
    if " ".join(words) in KEYS:
        return True
    if not words or words[-1] in HARMLESS_LAST_WORDS or words[0] in HARMLESS_FIRST_WORDS:
        return False
    # Of more than one it is as secret as of one.
    singular = [word.removesuffix("s") for word in words]
    if singular[-1].endswith(ENDINGS) or any(word in WORDS or word in JOINED for word in (*words, *singular)):
        return True
    return any(pair in PAIRS for one in (words, singular) for pair in pairwise(one))


def is_harmless(body: bytes) -> bool:
    """Whether nothing in the strings and numbers of a JSON text can need to be masked, nor hold a NUL.

    Nearly every beacon is harmless, and one look at its whole body costs less than one at each of its strings. A
    backslash can hide anything, so whatever has one is looked at closely.
    """
    if b"@" in body or b"\\" in body or (b"%" in body and _ENCODED.search(body)):
        return False
    if b"=" in body and not all(map(_is_plain_parameter, _PARAMETER_NAMES.findall(body))):
        return False
    if b"+" in body and _DIALLED.search(body):
        return False
    if any(part in body for part in _SECRET_PARTS) or (b"gh" in body and _GITHUB.search(body)):
        return False
    kinds = body.translate(_KINDS)
    if not body.isascii() and _WIDE.search(body):
        return False
    return not (_ACCOUNT.search(kinds) or any(numbers.search(kinds) for numbers in _NUMBERS))


@lru_cache(maxsize=20_000)
def _is_plain_parameter(name: bytes) -> bool:
    return not is_sensitive(unquote(name.decode(errors="replace")))


def redact_text(text: str, spellings: int = _SPELLINGS) -> str:
    """*text* with every card, account, social security and phone number, e-mail address, key and secret parameter masked.

    A word that is percent-encoded is masked whole if there is anything of that in it, however often it was encoded.
    """
    if not _SUSPECT.search(text):
        return text
    # Left out, not marked: a bracket before the host would make the URL unreadable.
    text = _USERINFO.sub(r"\1", text)
    for parameter in _PARAMETERS:
        text = parameter.sub(_mask_parameter, text)
    text = _SECRET.sub("[redacted:secret]", text)
    text = _mask_numbers(text, _CARD, _is_card, "[redacted:card]")
    text = _SSN.sub("[redacted:ssn]", text)
    text = _mask_numbers(text, _IBAN, _is_iban, "[redacted:iban]")
    text = _PHONE.sub("[redacted:phone]", text)
    text = _mask_emails(text)
    if spellings and ("%" in text or "+" in text) and _hides(text):
        text = _WORD.sub(lambda match: _mask_word(match[0], spellings - 1), text)
    return text


def redact_number(number: int) -> Any:
    """*number*, unless its digits are a card number."""
    return "[redacted:card]" if 10**13 <= number < 10**19 and _is_card(str(number)) else number


def _mask_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={FIELD}" if is_sensitive(unquote(match[2])) else match[0]


def _mask_numbers(text: str, pattern: re.Pattern[str], holds: Callable[[str], bool], mark: str) -> str:
    """*text* with what *holds* masked, where it stands alone or begins or ends in the company of other numbers."""
    kept, end, at, candidates = [], 0, 0, 0
    while match := pattern.search(text, at):
        at = match.start() + 1
        number = match[0]
        candidates += 1
        # A text of so many numbers is no text, and not worth the time that it takes to tell them apart.
        while candidates < _MOST_CANDIDATES and len(number) >= _LEAST_NUMBER and not holds(re.sub(r"\W", "", number)):
            number = _LAST_GROUP.sub("", number)
        if len(number) >= _LEAST_NUMBER:
            kept += [text[end : match.start()], mark]
            end = at = match.start() + len(number)
    return "".join([*kept, text[end:]]) if kept else text


def _is_iban(number: str) -> bool:
    # ISO 13616: the first four characters go to the end, letters count from ten, and 97 divides it with a rest of one.
    if IBAN_LENGTHS.get(number[:2]) != len(number):
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
    return word if clean == plain else (_MARK.search(clean) or (FIELD,))[0]


def _mask_emails(text: str) -> str:
    kept, end = [], 0
    for match in _DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(end, match.start() - _MAILBOX_LENGTH), match.start())
        if mailbox and match[1].lower() not in ASSET_ENDINGS:
            kept += [text[end : mailbox.start()], "[redacted:email]"]
            end = match.end()
    return "".join([*kept, text[end:]]) if kept else text


def _is_card(digits: str) -> bool:
    return _has_issuer(digits) and _passes_luhn(digits)


def _has_issuer(digits: str) -> bool:
    """Whether a card issuer uses this start with this length (ISO/IEC 7812, as the networks publish their ranges)."""
    return any(
        issuer["from"] <= digits[: len(issuer["from"])] <= issuer["to"]
        and issuer["lengths"][0] <= len(digits) <= issuer["lengths"][1]
        for issuer in ISSUERS
    )


def _passes_luhn(digits: str) -> bool:
    # Doubling every second digit from the right; a sum over nine counts its own digits (ISO/IEC 7812-1, annex B).
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0
