"""How a site is written: the host of its pages, in one form however it came."""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache

# Of a name: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4. Hyphens and underscores stand where DNS lets them.
MOST_CHARS = 253
LABEL = r"[a-z0-9_-]{1,63}"
NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
# A host whose last part is a number is an address of IPv4: https://url.spec.whatwg.org/#ends-in-a-number-checker
NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
# Seen by nobody where they join nothing.
JOINERS = "\u200c\u200d"
IPV4 = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+)){0,3}")


@lru_cache(maxsize=10_000)
def canonical(host: str) -> str | None:
    """The site of pages of *host*: lower case, in ASCII, without trailing dot or `www.`; None of what can be no host.

    Letters of all the world's scripts are mapped as browsers map them (UTS 46, https://www.unicode.org/reports/tr46/), and
    addresses are written in the one way that a browser shows. An address of IPv6 may stand in brackets.
    """
    if ":" in host:
        return _ipv6(host.removeprefix("[").removesuffix("]"))
    host = host.lower() if host.isascii() else _mapped(host) or ""
    if "xn--" in host and not _is_spelled_out(host):
        return None
    host = host.removesuffix(".")
    if NUMERIC.fullmatch(host):
        return _ipv4(host)
    if host.count(".") > 1:
        host = host.removeprefix("www.")
    return host if len(host) <= MOST_CHARS and NAME.fullmatch(host) else None


def _mapped(host: str) -> str | None:
    # Few need its tables.
    import idna  # noqa: PLC0415

    try:
        labels = idna.uts46_remap(host, std3_rules=False, transitional=False).split(".")
        return ".".join(label if label.isascii() else _punycode(label) for label in labels)
    except (ValueError, UnicodeError):
        return None


def _punycode(label: str) -> str:
    import idna  # noqa: PLC0415

    # What browsers ask of a name, without what registries ask of whoever buys one: a heart is a host.
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    if not all(idna.valid_contextj(label, at) for at, char in enumerate(label) if char in JOINERS):
        raise ValueError(label)
    return f"xn--{label.encode('punycode').decode()}"


def _is_spelled_out(host: str) -> bool:
    """Whether each label of punycode says something, in the only way in which it can be said."""
    for label in host.split("."):
        if label.startswith("xn--"):
            try:
                plain = label[4:].encode().decode("punycode")
            except (ValueError, UnicodeError):
                return False
            if plain.isascii() or _mapped(plain) != label:
                return False
    return True


def _ipv4(host: str) -> str | None:
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if IPV4.fullmatch(host) else None
    except OSError:
        return None


def _ipv6(host: str) -> str | None:
    try:
        return None if "%" in host else str(ipaddress.IPv6Address(host))
    except ValueError:
        return None
