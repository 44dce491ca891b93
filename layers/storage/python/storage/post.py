"""A signed POST to an endpoint that the operator named, and to no machine that an address could be bent to."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
from collections.abc import Callable
from threading import Thread
from urllib.parse import SplitResult, urlsplit

import urllib3
from standardwebhooks import Webhook

from storage.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Of all that a try does: a look-up and two round trips, of an endpoint that works.
SECONDS = 15
TIMEOUT = urllib3.Timeout(connect=5, read=10)
PORTS = {"http": 80, "https": 443}

WORLD = ipaddress.ip_network("2000::/3")
PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
# Link-local, 6to4 and its relays, Teredo.
NOWHERE = [ipaddress.ip_network(text) for text in ("169.254.0.0/16", "192.88.99.0/24", "2002::/16", "2001::/32")]
# What tells a machine of a cloud its secrets: AWS, Alibaba, Azure.
METADATA = [ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")]


class NotTaken(Exception):
    """The endpoint does not have the message; the text says why."""


def post(settings: Settings, message_id: str, body: str) -> None:
    """Send a message, signed with each secret, and be sure that it was taken: any answer of 2xx.

    The name is looked up once, and the connection goes to what was found and checked. No redirect is followed.

    Raises:
        NotTaken: it was not, or the address may not be asked.
    """
    parts = urlsplit(settings.webhook_url or "")
    address = _address(parts, settings.webhook_allow_private)
    now = dt.datetime.now(dt.UTC)
    secrets = settings.webhook_secret.get_secret_value().split() if settings.webhook_secret else []
    headers = {
        "Host": parts.netloc.rpartition("@")[2],
        "Content-Type": "application/json",
        "User-Agent": "evothesis",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, now, body) for secret in secrets),
    }
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    port = parts.port or PORTS[parts.scheme]
    status = _within(SECONDS, lambda: _status(_pool(parts, address, port), target, body, headers))
    if isinstance(status, Exception):
        raise NotTaken(f"{parts.hostname} cannot be reached: {' '.join(str(status).split())}")
    if status is None:
        raise NotTaken(f"{parts.hostname} took longer than {SECONDS} s")
    if not 200 <= status < 300:
        raise NotTaken(f"{parts.hostname} answered {status}")


def _status(pool: urllib3.HTTPConnectionPool, target: str, body: str, headers: dict[str, str]) -> int:
    with pool:
        answer = pool.request(
            "POST", target, body=body.encode(), headers=headers, redirect=False, retries=False, preload_content=False
        )
        answer.close()
        return answer.status


def _within(seconds: float, work: Callable[[], int]) -> int | Exception | None:
    """What *work* gives or raises; None where it takes longer: the time-out of a socket begins again with each byte."""
    result: list[int | Exception] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            result.append(error)

    thread = Thread(target=run, name="webhook", daemon=True)
    thread.start()
    thread.join(seconds)
    return result[0] if result else None


def _pool(parts: SplitResult, address: str, port: int) -> urllib3.HTTPConnectionPool:
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(address, port, timeout=TIMEOUT)
    # To the address that was checked, as the host that was meant.
    return urllib3.HTTPSConnectionPool(
        address, port, timeout=TIMEOUT, server_hostname=parts.hostname, assert_hostname=parts.hostname
    )


def _address(parts: SplitResult, allow_private: bool) -> str:
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or PORTS[parts.scheme], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotTaken(f"{parts.hostname} is no host that can be found: {error}") from None
    addresses = [str(item[4][0]) for item in found]
    for address in addresses:
        if not _may_be_asked(parts.scheme, ipaddress.ip_address(address.partition("%")[0]), allow_private):
            raise NotTaken(
                f"{parts.hostname} is {address}, which is not a public address; set WEBHOOK_ALLOW_PRIVATE=true if it is meant"
            )
    return addresses[0]


def _may_be_asked(scheme: str, address: Address, allow_private: bool) -> bool:
    # An address of one kind that stands in one of the other leads to it.
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return True
    if scheme == "http" or address in METADATA or any(address in network for network in NOWHERE):
        return False
    if any(address in network for network in PRIVATE):
        return allow_private
    # Of IPv6 what is given out to the world; what leads on to IPv4 is in NOWHERE.
    return address.is_global and not address.is_multicast and (address.version == 4 or address in WORLD)
