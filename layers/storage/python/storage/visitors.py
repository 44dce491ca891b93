"""Visitors as keyed hashes: who was erased is known again, and nobody learns of it who does not know the visitor's id."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

import psycopg

from storage.database import Connection
from storage.errors import SettingsInvalid, WritersBusy

FINGERPRINT = "evothesis"
# Of SHA-256, in bytes.
HMAC_BLOCK = 64

# The databases that this process has asked, each with the key.
_known: set[tuple[str, int, str, bytes]] = set()


def hash_of(key: bytes, visitor_id: str) -> int:
    """The first 64 bits of HMAC-SHA-256 (RFC 2104), as PostgreSQL's bigint has them."""
    return int.from_bytes(hmac.digest(key, visitor_id.encode(), "sha256")[:8], "big", signed=True)


def hashes_of(key: bytes, visitor_ids: Iterable[str]) -> list[int]:
    """`hash_of` each, in the order of the hashes: of the tens of thousands that a batch has, in half the time."""
    block = (hashlib.sha256(key).digest() if len(key) > HMAC_BLOCK else key).ljust(HMAC_BLOCK, b"\0")
    begun = hashlib.sha256(bytes(one ^ 0x36 for one in block)).copy
    ended = hashlib.sha256(bytes(one ^ 0x5C for one in block)).copy
    found = []
    for visitor_id in visitor_ids:
        inner, outer = begun(), ended()
        inner.update(visitor_id.encode())
        outer.update(inner.digest())
        found.append(outer.digest()[:8])
    return sorted(int.from_bytes(one, "big", signed=True) for one in found)


def exported_as(key: bytes, value: bytes) -> str:
    """How a bucket that hashes names a value: the first 128 bits of HMAC-SHA-256 (RFC 2104).

    Who has the key can find an id, who has not cannot try all.
    """
    return hmac.digest(key, value, "sha256").hex()[:32]


def require_key(connection: Connection, key: bytes) -> None:
    """See, once in the life of this process, that *key* is the one that this database's hashes were made with; the first is.

    Raises:
        SettingsInvalid: it is another one.
    """
    place = connection.info.host, connection.info.port, connection.info.dbname, key
    if place in _known:
        return
    fingerprint = hash_of(key, FINGERPRINT)
    row = connection.execute(
        """
        /* visitors.require_key */
        WITH first AS (
            INSERT INTO privacy_key (fingerprint) SELECT %(fingerprint)s WHERE NOT EXISTS (SELECT 1 FROM privacy_key)
                ON CONFLICT DO NOTHING RETURNING fingerprint)
        SELECT fingerprint FROM privacy_key UNION ALL SELECT fingerprint FROM first
        """,
        {"fingerprint": fingerprint},
    ).fetchone()
    if row is None:
        # Somebody else was first in this very moment, and who asks next sees with what.
        return
    if row[0] != fingerprint:
        raise SettingsInvalid(
            "PRIVACY_KEY is another one than this database was begun with; erased visitors are known by that one alone"
        )
    _known.add(place)


def suppress(connection: Connection, visitor_hash: int) -> None:
    """Let nothing of a visitor be stored from now on: what is under way is stored before this returns, or never.

    Within a transaction writers wait until that one ends.

    Raises:
        WritersBusy: a writer did not end its transaction in time.
    """
    try:
        # In one trip, which is a transaction by itself: writers wait for PostgreSQL alone, and never for us. They hold the
        # same lock, shared, until they have committed, and look at the list once they have it.
        psycopg.ClientCursor(connection).execute(
            """
            /* visitors.suppress */
            SET LOCAL lock_timeout = '500ms';
            SELECT pg_advisory_xact_lock(1163284308, 1);
            INSERT INTO suppressed_visitors (visitor_hash) VALUES (%s) ON CONFLICT DO NOTHING
            """,
            (visitor_hash,),
        )
    except psycopg.errors.LockNotAvailable:
        raise WritersBusy("a transaction that stored events is still open; end it, or try again later") from None


def keep_index(connection: Connection, batch_id: str, object_key: str, visitor_hashes: Sequence[int]) -> None:
    """Keep who is in an object of a batch, by its key below the prefix, whichever buckets it lies in.

    Where buckets get different rows of a batch, the object has whoever is in it in any of them.
    """
    connection.execute(
        """
        /* visitors.keep_index */
        INSERT INTO object_visitors AS known (batch_id, object, visitor_hashes) VALUES (%s, %s, %s::bigint[])
            ON CONFLICT ON CONSTRAINT object_visitors_pkey
            DO UPDATE SET visitor_hashes = (
                SELECT coalesce(array_agg(DISTINCT one ORDER BY one), '{}')
                  FROM unnest(known.visitor_hashes || excluded.visitor_hashes) one)
             WHERE known.visitor_hashes <> excluded.visitor_hashes
        """,
        # As text: tens of thousands of numbers, which psycopg would look at one by one.
        (batch_id, object_key, f"{{{','.join(map(str, visitor_hashes))}}}"),
    )


def held_by(connection: Connection, batch_id: str, visitor_hashes: Sequence[int]) -> dict[str, bool]:
    """Whether any of these visitors is in an object of a batch, by its key below the prefix."""
    return dict(
        connection.execute(
            """
            /* visitors.held_by */
            SELECT object, visitor_hashes && %s::bigint[] FROM object_visitors WHERE batch_id = %s
            """,
            (list(visitor_hashes), batch_id),
        ).fetchall()
    )


def suppressed(connection: Connection, among: Sequence[int] | None = None) -> set[int]:
    """Everybody who was erased, or those of *among* who were."""
    rows = connection.execute(
        """
        /* visitors.suppressed */
        SELECT visitor_hash FROM suppressed_visitors WHERE %(among)s::bigint[] IS NULL OR visitor_hash = ANY (%(among)s)
        """,
        {"among": None if among is None else list(among)},
    )
    return {row[0] for row in rows}
