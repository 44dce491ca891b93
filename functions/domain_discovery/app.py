"""The door of discovery: the schedule, and `/sites`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from httpapi import Api, ApiError, Response, answer
from storage import alarms, database, settings, sites, webhooks
from storage.errors import WritersBusy

api = Api("domain-discovery")

PAGE = 1000


@api.schedule
def domain_discovery(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Record the sites of the events that came since the last time, and send the operator what there is to tell."""
    del event, context
    current = settings.current()
    url = current.require_database()
    discovered = database.run(url, sites.discover)
    if discovered:
        api.logger.info("sites_discovered", sites=discovered)
    database.run(url, lambda connection: alarms.watch_lag(connection, current.lag_limit))
    told = database.run(url, lambda connection: webhooks.send_due(connection, current))
    if told["failed"]:
        api.logger.warning("webhooks_not_taken", failed=told["failed"])
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
