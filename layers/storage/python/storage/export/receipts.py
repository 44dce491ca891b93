"""The receipt of an erasure: what was searched, what was rewritten, what is not covered; signed, and without the visitor's id."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
from typing import Any

import orjson

from storage import erasures, handoffs, objects, visitors
from storage.database import Connection
from storage.erasures import Erasure
from storage.errors import DeliveryFailed, RestoreRefused, SettingsInvalid
from storage.objects import Body
from storage.settings import Settings

NOT_COVERED = (
    "copies that somebody made of delivered objects",
    "backups of the database, until they expire; what is restored from one is erased by asking again",
)


def issue(connection: Connection, settings: Settings, erasure: Erasure, key: bytes, fence: int) -> None:
    """Put the signed receipt into the buckets, whence a database that takes the place of a lost one knows of it, and complete the erasure.

    Raises:
        DeliveryFailed: a bucket that held the visitor refused, or every one.
    """
    done = erasures.what_was_done(connection, erasure.erasure_id)
    handed_off = handoffs.what_was_done(connection, erasure.erasure_id)
    receipt: dict[str, Any] = {
        "erasure_id": str(erasure.erasure_id),
        "state": "completed",
        "visitor_hash": f"{erasure.visitor_hash & (2**64 - 1):016x}",
        "requested_at": erasure.requested_at.isoformat(),
        "completed_at": dt.datetime.now(dt.UTC).isoformat(),
        "searched": ["events", "rejected_events", "quarantined_events", *sorted({f"{one['destination']} bucket" for one in done})],
        "events_erased": erasure.events_erased,
        "rejected_events_erased": erasure.rejected_events_erased,
        "buckets": [
            {"destination": one["destination"], "bucket": one["bucket"], "batch_id": one["batch_id"],
             "rows_removed": one["rows_removed"], "objects": one["objects"]}
            for one in done
        ],
        "handoffs": handed_off,
        "not_covered": [*NOT_COVERED, *_given_away(connection, erasure)],
    }  # fmt: skip
    receipt["signature"] = sign(key, receipt)
    text = orjson.dumps(receipt, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    held = {(one["destination"], one["bucket"]) for one in [*done, *handed_off]}
    refused = []
    for destination in settings.destinations():
        where = f"{destination.prefix}/erasures/{erasure.erasure_id}.json"
        try:
            objects.put(destination, where, Body.of(text, "application/json"), fence)
        except DeliveryFailed as error:
            refused.append(error)
            # Another that held nothing of the visitor keeps nobody waiting, as long as one has it.
            if (destination.name, destination.bucket) in held or len(refused) == len(settings.destinations()):
                raise
    erasures.complete(connection, erasure, receipt)


def _given_away(connection: Connection, erasure: Erasure) -> list[str]:
    """What owners of sites were given, where the visitor may be in it."""
    rows = connection.execute(
        """
        /* receipts.given_away */
        SELECT site_id, handed_off_to FROM sites
         WHERE handed_off_to IS NOT NULL AND EXISTS (
               SELECT 1 FROM erased_events x WHERE x.erasure_id = %(erasure_id)s AND x.site_id = sites.site_id
               UNION ALL SELECT 1 FROM erasing_events e WHERE e.erasure_id = %(erasure_id)s AND e.site_id = sites.site_id)
         ORDER BY site_id
        """,
        {"erasure_id": erasure.erasure_id},
    ).fetchall()
    return [f"the history of {site_id} that its owner was given: {place}" for site_id, place in rows]


def suppress_again(connection: Connection, settings: Settings) -> int:
    """Suppress everybody of whom a bucket has a receipt, and say how many receipts there are.

    Raises:
        SettingsInvalid: a receipt was signed with another privacy key, by which nobody would be known again.
        RestoreRefused: one is not as it was signed.
        DeliveryFailed: a bucket cannot be read.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    found = 0
    for destination in settings.destinations():
        for name in objects.keys(destination, f"{destination.prefix}/erasures/"):
            key = settings.require_privacy_key()
            public_key = sign(key, {})["public_key"]
            try:
                receipt = orjson.loads(objects.fetch(destination, name)[0])
                signed_by = receipt["signature"]["public_key"]
                if signed_by == public_key:
                    verify(receipt, public_key)
            except (ValueError, KeyError, TypeError, InvalidSignature):
                raise RestoreRefused(
                    f"{name} of the {destination.name} bucket is no receipt as it was signed, and whoever was erased would "
                    "not be known; put it back as it was, or remove it if it is nobody's"
                ) from None
            if signed_by != public_key:
                raise SettingsInvalid(
                    f"PRIVACY_KEY is another one than {name} of the {destination.name} bucket was signed with; "
                    "set that one, or visitors who were erased are not known again"
                )
            visitors.require_key(connection, key)
            visitors.suppress(connection, int.from_bytes(bytes.fromhex(receipt["visitor_hash"]), "big", signed=True))
            found += 1
    return found


def sign(key: bytes, receipt: dict[str, Any]) -> dict[str, str]:
    """The signature of a receipt, by Ed25519 (RFC 8032) with a key that is derived from *key*; over its JSON with sorted names."""
    # What signs is large, and an export that signs nothing goes without it.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    private = Ed25519PrivateKey.from_private_bytes(hmac.digest(key, b"evothesis receipts", "sha256"))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(public).decode(),
        "value": base64.b64encode(private.sign(_signed(receipt))).decode(),
    }


def verify(receipt: dict[str, Any], public_key: str) -> None:
    """See that a receipt is as it was signed, by whose public key that is.

    Raises:
        cryptography.exceptions.InvalidSignature: it is not.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
    public.verify(base64.b64decode(receipt["signature"]["value"]), _signed(receipt))


def _signed(receipt: dict[str, Any]) -> bytes:
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    return orjson.dumps(unsigned, option=orjson.OPT_SORT_KEYS)
