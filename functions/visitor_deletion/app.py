"""The door of erasure: `/visitors/…` and `/erasures/…`."""

from __future__ import annotations

import re
from uuid import UUID

from httpapi import Api, ApiError, Response, answer
from storage import database, erasures, settings

api = Api("visitor-deletion")

VISITOR_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@api.route("/visitors/{visitor_id}", "DELETE", content_types=())
def erase(visitor_id: str) -> Response:
    """Delete everything of one visitor, and answer with the receipt."""
    if not VISITOR_ID.fullmatch(visitor_id):
        raise ApiError(400, "visitor_id_invalid", "a visitor id is 8 to 64 of A-Z a-z 0-9 _ -")
    current = settings.current()
    key = current.require_privacy_key()
    receipt = database.run(current.require_database(), lambda connection: erasures.erase(connection, key, visitor_id))
    api.logger.info("visitor_erased", erasure_id=str(receipt["erasure_id"]), events=receipt["events_erased"])
    return answer(receipt, 202, {"Location": f"/erasures/{receipt['erasure_id']}"})


@api.route("/erasures/{erasure_id}", "GET")
def receipt(erasure_id: str) -> Response:
    """The receipt of an erasure."""
    try:
        wanted = UUID(erasure_id)
    except ValueError:
        raise ApiError(400, "erasure_id_invalid", "an erasure id is a UUID; DELETE /visitors/{id} gives it") from None
    found = database.run(settings.current().require_database(), lambda connection: erasures.receipt(connection, wanted))
    return answer(found)


handler = api.handler
