"""The door of discovery: the schedule, and `/sites`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from httpapi import Api, Response, answer
from storage import database, settings, sites
from storage.errors import WritersBusy

api = Api("domain-discovery")


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
    """Every site that was seen, those of the last second included."""
    url = settings.current().require_database()
    with suppress(WritersBusy):
        database.run(url, sites.discover)
    return answer({"sites": database.run(url, sites.listing)})


handler = api.handler
