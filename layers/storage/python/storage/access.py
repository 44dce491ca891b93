"""Who may call the admin routes."""

from __future__ import annotations

import hmac

from storage.settings import Settings


def is_admin(settings: Settings, presented: str) -> bool:
    """Whether *presented* is the admin token, compared in constant time; never when none is set."""
    token = settings.evothesis_admin_token.get_secret_value()
    return bool(token) and hmac.compare_digest(presented.encode(), token.encode())
