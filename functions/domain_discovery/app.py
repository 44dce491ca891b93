"""The door of discovery: the schedule, and `/sites`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from httpapi import Api, ApiError, Response, answer
from storage import database, settings, sites
from storage.errors import WritersBusy

api = Api("domain-discovery")

PAGE = 1000


@api.schedule
def domain_discovery(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Record the sites of the events that came since the last time."""
    del event, context
    discovered = database.run(settings.current().require_database(), sites.discover)
    if discovered:
        api.logger.info("sites_discovered", sites=discovered)
    return {"discovered": discovered}


@api.route("/sites", "GET")
def listing() -> Response:
    """The sites that were seen, by name, those of the last second included; a page at a time."""
    query: dict[str, str] = dict(api.request.query_params or {})
    after = query.get("after", "")
    if "\0" in after:
        raise ApiError(400, "after_invalid", "`after` has to be the `next` of the page before")
    url = settings.current().require_database()
    with suppress(WritersBusy):
        database.run(url, sites.discover)
    page = database.run(url, lambda connection: sites.listing(connection, after, PAGE + 1))
    more = len(page) > PAGE
    return answer({"sites": page[:PAGE], "next": page[PAGE - 1]["site_id"] if more else None})


handler = api.handler
