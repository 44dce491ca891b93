"""A signed POST to an endpoint that the operator named, and to no machine that an address could be bent to."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

import urllib3
from standardwebhooks import Webhook

from storage.settings import Settings

TIMEOUT = urllib3.Timeout(connect=5, read=10)
PORTS = {"http": 80, "https": 443}


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
    try:
        with _pool(parts, address, port) as pool:
            answer = pool.request(
                "POST",
                target,
                body=body.encode(),
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NotTaken(f"{parts.hostname} cannot be reached: {' '.join(str(error).split())}") from None
    if not 200 <= answer.status < 300:
        raise NotTaken(f"{parts.hostname} answered {answer.status}")


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


def _may_be_asked(scheme: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, allow_private: bool) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_loopback:
        return True
    if scheme == "http":
        return False
    return address.is_global or (allow_private and not address.is_link_local and not address.is_multicast)
