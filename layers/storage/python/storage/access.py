"""Who may call the admin routes."""

from __future__ import annotations

import hmac

from storage.settings import Settings


def is_admin(settings: Settings, presented: str) -> bool:
    """Whether *presented* is an admin token, compared in constant time; never when none is set.

    There are two while one takes the place of the other.
    """
    tokens = settings.evothesis_admin_token.get_secret_value().split()
    return any(hmac.compare_digest(presented.encode(), token.encode()) for token in tokens)
