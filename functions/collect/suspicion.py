"""One look, linear in time, at whether a text can hold anything that has to be masked.

It may suspect what is harmless, never the other way round: what it passes, `redaction.redact_text` leaves as it is. The
look is RE2's, whose time grows with the text alone (https://github.com/google/re2/wiki/WhyRE2), as everything that
anybody sends goes through it.
"""

from __future__ import annotations

from typing import Any

import re2

from collect import rules

# In UTF-8, byte for byte: what may stand between two digits is a space or hyphen of any kind, and a form writes a space
# as a plus. Each of what is longer than a byte has at most three.
_SPACE = r"\t-\r\x1c- +\x80-\xff-"
_GAP = rf"[{_SPACE}]{{0,9}}"
_BEFORE = r"(?:[^0-9A-Za-z.-]|[^0-9]\.|[g-zG-Z][A-Za-z]?-|[^0-9A-Za-z]-)"
# What the numbers of cards begin with.
_ISSUED = f"[{''.join(sorted({digit for issuer in rules.ISSUERS for digit in (issuer['from'][0], issuer['to'][0])}))}]"
_NAME = r'[^?=&;#\s"]'
_START = r"""[\t-\r\x1c- ?&;#"',(\x80-\xff]"""
_NO_LETTER = r'(?:[^A-Za-z?=&;#\s"]|%[0-9A-Fa-f]{2})'


def _spelled(word: str) -> str:
    """A word as a name may spell it, whose other letters than English ones may be percent-encoded."""
    return "".join(letter if letter.isascii() else r"(?:[\x80-\xff]|%[0-9A-Fa-f]{2})+" for letter in word)


def _secret_parameter() -> str:
    words = "|".join(sorted(map(_spelled, {*rules.WORDS, *rules.JOINED, *rules.ENDINGS})))
    pairs = "|".join(f"{first}s?{_NO_LETTER}*{second}" for first, second in sorted(rules.PAIRS))
    keys = "|".join(key.replace(" ", f"{_NO_LETTER}*") for key in sorted(rules.KEYS))
    whole = rf"{_START}{_NO_LETTER}*(?:{keys}){_NO_LETTER}*="
    phones = "|".join(sorted(rules.PHONE_WORDS))
    # In an address, and in JSON that stands within a text.
    quoted = rf"""(?:{words}|{pairs})[^"'\s]*["'][^a-z0-9]{{0,27}}:|["']{_NO_LETTER}*(?:{keys}){_NO_LETTER}*["'][^a-z0-9]{{0,27}}:"""
    return f"(?i:(?:{words}|{pairs}|{phones}){_NAME}*=|{whole}|{quoted})"


_SUSPECT = "|".join(
    (
        "@",  # an e-mail address, or who is let in by a URL
        r"%(?:[0-7]|[0-9A-Fa-f]{2}[0-9A-Z+])",  # any of this in another spelling
        rf"{_BEFORE}{_ISSUED}(?:{_GAP}[0-9]){{13}}",  # a card
        rf"{_BEFORE}[0-9]{{3}}[.{_SPACE}]{{1,3}}[0-9]{{2}}[.{_SPACE}]{{1,3}}[0-9]{{4}}",  # a social security number
        rf"[A-Z]{{2}}[0-9]{{2}}(?:{_GAP}[0-9A-Z]){{11}}",  # an account
        rf"\+[1-9](?:[().{_SPACE}]{{0,9}}[0-9]){{7}}",  # a telephone
        r"eyJ|A(?:KI|SI|BI|CC)A|gh[opsur]_|github_pat_|glpat-|[sr]k_live_|xox[abprs]-|SG\.|T3BlbkFJ|PRIVATE KEY",
        r"B(?:earer|asic)[ +]|(?i:ssn|social security)[^0-9]{0,42}[0-9]{9}",
        r"\[redacted:",  # what the pixel masked is counted too
        r'[?&;#"]state=',  # and a code, perhaps
        _secret_parameter(),
    )
)


def _compiled() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return re2.compile(_SUSPECT.encode(), options)


_PATTERN = _compiled()
# Shorter, and without any sign or space, there is nothing that would be masked: a social security number and its name are
# the shortest that is.
_LEAST_PLAIN = 12


def is_suspect(text: str) -> bool:
    """Whether there may be anything in *text* that `redaction.redact_text` masks."""
    if len(text) < _LEAST_PLAIN and text.isalnum():
        return False
    # As it would stand in JSON: begun by a quote, and with no other in it.
    return _PATTERN.search(b'"%b"' % text.replace('"', "'").encode(errors="replace")) is not None


def is_harmless(body: bytes) -> bool:
    """Whether nothing in the strings and numbers of a JSON text can need to be masked, nor hold a NUL.

    Nearly every beacon is harmless, and one look at its whole body costs less than one at each of its strings. A
    backslash can hide anything, so whatever has one is looked at closely.
    """
    return b"\\" not in body and _PATTERN.search(body) is None
