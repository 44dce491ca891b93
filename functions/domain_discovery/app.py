"""The door of discovery: the schedule, and `/sites`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, cast, get_args

from httpapi import Api, ApiError, Response, answer, clock
from storage import alarms, database, settings, sites, webhooks
from storage.errors import WritersBusy

api = Api("domain-discovery")

PAGE = 1000
SEQUENCE = re.compile(r"[0-9]{1,18}")
MESSAGE_ID = re.compile(r"msg_[0-9a-f]{32}")


@api.schedule
def domain_discovery(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Record the sites of the events that came since the last time, and send the operator what there is to tell."""
    del event
    current = settings.current()
    url = current.require_database()
    discovered = database.run(url, sites.discover)
    if discovered:
        api.logger.info("sites_discovered", sites=discovered)
    database.run(url, lambda connection: alarms.watch_lag(connection, current.lag_limit))
    told = database.run(url, lambda connection: webhooks.send_due(connection, current, clock(context)))
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


@api.route("/webhooks", "GET")
def messages() -> Response:
    """What was told, the newest first; a page at a time, of one state where one is named."""
    query: dict[str, str] = dict(api.request.query_params or {})
    state, after = query.get("state"), query.get("after", "0")
    if state is not None and state not in get_args(webhooks.State):
        raise ApiError(400, "state_invalid", f"`state` has to be one of {', '.join(get_args(webhooks.State))}")
    if not SEQUENCE.fullmatch(after):
        raise ApiError(400, "after_invalid", "`after` has to be the `next` of the page before")
    page = database.run(
        settings.current().require_database(),
        lambda connection: webhooks.listing(connection, cast("webhooks.State | None", state), int(after), PAGE + 1),
    )
    more = len(page) > PAGE
    return answer({"messages": page[:PAGE], "next": str(page[PAGE - 1]["sequence"]) if more else None})


@api.route("/webhooks/replay", "POST")
def replay_given_up() -> Response:
    """Send again, at the next turn, all that were given up."""
    replayed = database.run(settings.current().require_database(), webhooks.replay)
    return answer({"replayed": replayed}, 202)


@api.route("/webhooks/{message_id}/replay", "POST")
def replay(message_id: str) -> Response:
    """Send one message again, at the next turn, whether it arrived or not."""
    if not MESSAGE_ID.fullmatch(message_id) or not database.run(
        settings.current().require_database(), lambda connection: webhooks.replay(connection, message_id)
    ):
        raise ApiError(404, "message_unknown", "there is no such message; GET /webhooks lists them")
    return answer({"replayed": 1}, 202)


handler = api.handler
