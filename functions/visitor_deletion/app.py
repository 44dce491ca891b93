"""The door of erasure: the schedule, `/visitors/…` and `/erasures/…`."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any
from uuid import UUID

from httpapi import Api, ApiError, Response, answer, clock
from storage import database, erasures, portability, settings, visitors

api = Api("visitor-deletion")

# Of a page: the id of an event in the database, or in a bucket.
PLACE = re.compile(r"(bucket-)?([0-9]{1,18})", re.ASCII)
VISITOR_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@api.schedule
def visitor_deletion(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Take the visitors of all erasures that are not completed out of the buckets."""
    del event
    current = settings.current()
    open_ones = database.run(current.require_database(), erasures.waiting)
    api.level(ErasuresBlocked=sum(one["state"] == "blocked" for one in open_ones))
    if not open_ones:
        return {}
    # What reads and writes objects is loaded where there is something to do, and not each minute.
    from storage.export import erase as buckets  # noqa: PLC0415

    outcome = buckets.run(current, clock(context))
    if outcome.waiting:
        api.logger.warning("erasures_wait", erasures=outcome.waiting)
    return asdict(outcome)


@api.route("/visitors/{visitor_id}", "DELETE", content_types=())
def erase(visitor_id: str) -> Response:
    """Delete every row of one visitor, and answer with how far the erasure is; or, with `dry_run=true`, what it would do."""
    _require_visitor_id(visitor_id)
    given = api.request.query_params
    query: dict[str, str] = dict(given or {})
    if unknown := query.keys() - {"dry_run", "confirm"}:
        message = f"`{min(unknown)}` is no parameter of this; there are `dry_run` and `confirm`"
        raise ApiError(400, "parameter_unknown", message)
    if repeated := [name for name in query if given and len(given.getlist(name)) > 1]:
        raise ApiError(400, "parameter_repeated", f"`{min(repeated)}` is there more than once; give it once")
    wish = {name: _is_true(query, name) for name in ("dry_run", "confirm")}
    current = settings.current()
    key, hash_key = current.require_privacy_key(), current.export_hash_key
    exported_as = visitors.exported_as(hash_key.get_secret_value().encode(), visitor_id.encode()) if hash_key else None
    url = current.require_database()
    extent = database.run(url, lambda connection: erasures.extent(connection, key, visitor_id))
    if wish["dry_run"]:
        return answer({"dry_run": True, **asdict(extent)})
    if extent.is_improbable and not wish["confirm"]:
        message = (
            f"{extent.events} events, {extent.share:.0%} of all, go by this id, which is more than a visitor's; "
            "look what sends it, or add ?confirm=true"
        )
        raise ApiError(409, "share_improbable", message)
    begun = database.run(url, lambda connection: erasures.erase(connection, key, visitor_id, exported_as))
    api.logger.info("visitor_erased", erasure_id=str(begun["erasure_id"]), events=begun["events_erased"])
    return answer(begun, 202, {"Location": f"/erasures/{begun['erasure_id']}"})


@api.route("/visitors/{visitor_id}/events", "GET")
def copy(visitor_id: str) -> Response:
    """All that is held of one visitor, a page at a time: what the database has, then what buckets alone have."""
    _require_visitor_id(visitor_id)
    query: dict[str, str] = dict(api.request.query_params or {})
    place = PLACE.fullmatch(query.get("after", "0"))
    if not place:
        raise ApiError(400, "after_invalid", "`after` has to be the `next` of the page before")
    current = settings.current()
    url, after = current.require_database(), int(place[2])
    if not place[1]:
        page = database.run(url, lambda connection: portability.held(connection, visitor_id, after))
        dropped = page["next"] is None and database.run(url, erasures.any_dropped)
        return answer({**page, "next": "bucket-0" if dropped else page["next"]})
    # What reads objects is loaded where there are any to read.
    from storage.export import held  # noqa: PLC0415

    return answer(database.run(url, lambda connection: held.held(connection, current, visitor_id, after)))


@api.route("/erasures", "GET")
def waiting() -> Response:
    """The erasures that are not completed."""
    return answer({"erasures": database.run(settings.current().require_database(), erasures.waiting)})


@api.route("/erasures/{erasure_id}", "GET")
def progress(erasure_id: str) -> Response:
    """How far an erasure is, and its receipt once it is completed."""
    try:
        wanted = UUID(erasure_id)
    except ValueError:
        raise ApiError(400, "erasure_id_invalid", "an erasure id is a UUID; DELETE /visitors/{id} gives it") from None
    found = database.run(
        settings.current().require_database(), lambda connection: erasures.progress(connection, wanted)
    )
    return answer(found)


def _require_visitor_id(text: str) -> None:
    if not VISITOR_ID.fullmatch(text):
        raise ApiError(400, "visitor_id_invalid", "a visitor id is 8 to 64 of A-Z a-z 0-9 _ -")


def _is_true(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise ApiError(400, f"{name}_invalid", f"`{name}` is true or false")
    return value == "true"


handler = api.handler
