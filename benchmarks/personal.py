"""Personal values and secrets in every writing that a page sends them in, made by a seed: what redaction has to find.

Each is told as the members of an event and the text that must not be left of them. Numbers are made by the rules of those
who give them out, so they are as good as real ones and nobody's: check digits are right, and what stands before is chance.
Documented examples (of payment providers, of the Social Security Administration, of SWIFT's registry) stand among them.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from collect import rules

# As payment providers publish them for trying their interfaces.
CARDS = (
    "4242424242424242 4000056655665556 5555555555554444 2223003122003222 5200828282828210 5105105105105100 378282246310005 "
    "371449635398431 6011111111111117 6011000990139424 3056930009020004 36227206271667 6555900000604105 3566002020360505 "
    "6200000000000005 4111111111111111 4012888888881881 6759649826438453 5610591081018250 30569309025904 38520000023237"
)
SSNS = "219-09-9999 078-05-1120 457-55-5462 123-45-6789 666-12-3456"  # the last area was never given out
CONTEXTS = ("{}", "card {}", "my number is {}.", "({})", "no: {}, thanks", '"{}"', "a;{};b", "{}\nnext line", "Nr.{}")
ADDRESSES = ("https://shop.example.com/p?q={}&page=2", "https://shop.example.com/p#q={}", "/search/{}?sort=asc")


class Personal(NamedTuple):
    """A value of a kind in the members of an event, and what must not be left of it."""

    kind: str
    members: dict[str, Any]
    value: str


def personal(seed: int = 7) -> Iterator[Personal]:
    """Every kind in every writing; the same for the same seed."""
    chance = random.Random(seed)
    for kind, values in (
        ("card", _cards(chance)),
        ("ssn", _ssns(chance)),
        ("iban", _ibans(chance)),
        ("email", _emails(chance)),
        ("phone", _phones(chance)),
        ("secret", _secrets(chance)),
    ):
        for value in values:
            yield Personal(kind, {"data": {"text": chance.choice(CONTEXTS).format(value)}}, value)
            yield Personal(kind, {"title": f"{chance.choice(('Order', 'Profile', 'Thanks,'))} {value}"}, value)
            address = chance.choice(ADDRESSES)
            yield Personal(kind, {"url": address.format(quote(value))}, value)
            yield Personal(kind, {"referrer": address.format(quote_plus(value))}, value)
    yield from _parameters(chance)
    yield from _fields(chance)


def _grouped(digits: str, sizes: tuple[int, ...], between: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return between.join(part for part in (*parts, digits[at:]) if part)


def _with_luhn(digits: str) -> str:
    total = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[::-2]) + sum(map(int, digits[-2::-2]))
    return digits + str(-total % 10)


def _digits(chance: random.Random, number: int) -> str:
    return "".join(chance.choices(string.digits, k=number))


def _cards(chance: random.Random) -> Iterator[str]:
    made = CARDS.split()
    for issuer in rules.ISSUERS:
        for length in range(issuer["lengths"][0], issuer["lengths"][1] + 1):
            start = str(chance.randint(int(issuer["from"]), int(issuer["to"])))
            made.append(_with_luhn(start + _digits(chance, length - 1 - len(start))))
    for card in made:
        yield card
        sizes = (4, 6, 5) if len(card) == 15 else (4, 6, 4) if len(card) == 14 else (4, 4, 4, 4)
        for between in (" ", "-", "\u00a0", "\u2011"):
            yield _grouped(card, sizes, between)


def _ssns(chance: random.Random) -> Iterator[str]:
    yield from SSNS.split()[:-1]
    for _ in range(150):
        area = chance.choice([number for number in range(1, 900) if number != 666])
        between = chance.choice("- .")
        yield f"{area:03}{between}{chance.randint(1, 99):02}{between}{chance.randint(1, 9999):04}"


def _ibans(chance: random.Random) -> Iterator[str]:
    for country, length in sorted(rules.IBAN_LENGTHS.items()):
        account = _digits(chance, length - 4)
        number = int("".join(str(int(letter, 36)) for letter in f"{account}{country}00"))
        iban = f"{country}{98 - number % 97:02}{account}"
        yield iban
        yield _grouped(iban, (4,) * 9, " ")


def _emails(chance: random.Random) -> Iterator[str]:
    names = ("anna", "j.doe", "first.last+news", "x_1", "o%27neil", "jürgen", "info", "a-b", "ANNA", "用户")
    domains = (
        "mail.example",
        "sub.shop.example.com",
        "example.co.uk",
        "xn--bcher-kva.example",
        "bücher.example",
        "EXAMPLE.ORG",
    )
    for name in names:
        for domain in domains:
            yield f"{name}@{domain}"
    for _ in range(60):
        yield f"{''.join(chance.choices(string.ascii_lowercase, k=chance.randint(1, 20)))}@example.{chance.choice(('com', 'de', 'museum'))}"


def _phones(chance: random.Random) -> Iterator[str]:
    # Numbers that are set aside for fiction, and shapes as people write them (ITU-T E.123).
    yield from ("+1 (555) 010-0199", "+1-555-010-0100", "+15550100123", "+44 20 7946 0958", "+44 (0)20 7946 0018")
    yield from ("+49 30 23125 000", "+49.30.23125.123", "+33 1 99 00 12 34", "+61 2 5550 1234", "+353 20 910 1234")
    for _ in range(100):
        country, rest = chance.choice(("1", "7", "20", "34", "49", "86", "351", "420", "971")), _digits(chance, 9)
        yield f"+{country}{chance.choice(' -.')}{rest[:3]}{chance.choice(' -.')}{rest[3:6]}{chance.choice(' -.')}{rest[6:]}"


def _base64(chance: random.Random, number: int) -> str:
    return "".join(chance.choices(string.ascii_letters + string.digits + "-_", k=number))


def _secrets(chance: random.Random) -> Iterator[str]:
    upper = string.ascii_uppercase + string.digits
    plain = string.ascii_letters + string.digits
    for _ in range(12):
        head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).decode().rstrip("=")
        body = base64.urlsafe_b64encode(json.dumps({"sub": _digits(chance, 9)}).encode()).decode().rstrip("=")
        yield f"{head}.{body}.{_base64(chance, 43)}"
        for start in ("AKIA", "ASIA", "ABIA", "ACCA"):
            yield start + "".join(chance.choices(upper, k=16))
        for start in ("ghp_", "gho_", "ghs_", "ghu_", "ghr_"):
            yield start + "".join(chance.choices(plain, k=36))
        for start, length in (("glpat-", 20), ("sk_live_", 24), ("rk_live_", 24), ("xoxb-", 40), ("xoxp-", 40)):
            yield start + "".join(chance.choices(plain, k=length))
        yield f"SG.{_base64(chance, 22)}.{_base64(chance, 43)}"
        yield f"sk-{''.join(chance.choices(plain, k=20))}T3BlbkFJ{''.join(chance.choices(plain, k=20))}"
        yield f"Bearer {''.join(chance.choices(plain, k=28))}7-"
        yield f"Basic {base64.b64encode(f'user{_digits(chance, 4)}:hunter2'.encode()).decode()}"


def _parameters(chance: random.Random) -> Iterator[Personal]:
    names = (
        "password passwd pwd user%5Bpassword%5D new_password token access_token id_token refresh_token reset_token "
        "resetToken api_key apikey apiKey secret client_secret sig signature X-Amz-Signature X-Amz-Credential "
        "X-Amz-Security-Token session sid PHPSESSID jsessionid auth otp pin ssn iban card_number cvc csrf_token jwt"
    )
    for name in names.split():
        value = _base64(chance, 24)
        for address in ("https://a.example/x?a=1&{}={}&b=2", "https://a.example/x#{}={}", "/x;{}={}", "{}={}"):
            yield Personal("parameter", {"url": address.format(name, value)}, value)
        nested = quote(f"https://b.example/cb?{name}={value}", safe="")
        yield Personal("parameter", {"referrer": f"https://a.example/login?next={nested}"}, value)
    for _ in range(20):
        value = _base64(chance, 30)
        yield Personal("parameter", {"url": f"https://a.example/cb?code={value}&state={_base64(chance, 12)}"}, value)
        yield Personal("parameter", {"url": f"https://a.example/cb?state={_base64(chance, 12)}&code={value}"}, value)
        yield Personal("parameter", {"url": f"https://user{_digits(chance, 3)}:{value}@a.example/x"}, value)


def _fields(chance: random.Random) -> Iterator[Personal]:
    names = (
        "password passwd pwd userPassword user_password user-password user[password] form.password newPassword Password "
        "current-password new-password one-time-code passphrase passcode passwort kennwort contraseña senha mot_de_passe "
        "secret client_secret token accessToken auth_token csrf_token apiKey api_key privateKey secret_key creditCard "
        "card_number cardNumber cardnum cc-number ccnumber cc_csc cc-exp cc-exp-month cc-name cvc cvv cvv2 securityCode ssn "
        "social_security_number socialSecurity iban bankAccount account_number routingNumber taxId pin otp mfa jwt bearer "
        "authorization cookie session sid signature nationalInsurance"
    )
    for name in names.split():
        value = _base64(chance, 12)
        yield Personal("field", {"data": {name: value}}, value)
        yield Personal("field", {"data": {"form": {"fields": [{name: {"value": value}}]}}}, value)
        number = chance.randint(10**7, 10**8)
        yield Personal("field", {"data": {name: number}}, str(number))
