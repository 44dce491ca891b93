"""The door of discovery: the schedule, and `/sites`."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from typing import Any, cast, get_args
from urllib.parse import unquote

from httpapi import Api, ApiError, Response, answer, clock
from storage import alarms, confirmation, database, discovery, metering, settings, sites, usage_report, webhooks
from storage.errors import WritersBusy
from storage.hosts import canonical
from storage.post import NotTaken
from storage.settings import Settings

api = Api("domain-discovery")

PAGE = 1000
DAY = dt.timedelta(days=1)
MOST_DAYS = 400
FIRST_YEAR = 2000
SEQUENCE = re.compile(r"[0-9]{1,18}")
MESSAGE_ID = re.compile(r"msg_[0-9a-f]{32}")


@api.schedule
def domain_discovery(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Record the sites of the events that came since the last time, and send the operator what there is to tell."""
    del event
    current = settings.current()
    url = current.require_database()
    discovered = database.run(url, lambda connection: discovery.discover(connection, current))
    if discovered:
        api.logger.info("sites_discovered", sites=discovered)
    api.count(SitesDiscovered=len(discovered))
    api.level(DatabaseBytes=database.run(url, database.size))
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
    current = settings.current()
    _discover(current)
    page = database.run(
        current.require_database(), lambda connection: sites.listing(connection, current, after, PAGE + 1)
    )
    more = len(page) > PAGE
    return answer({"sites": page[:PAGE], "next": page[PAGE - 1]["site_id"] if more else None})


@api.route("/sites/{site_id}/confirm", "POST")
def confirm(site_id: str) -> Response:
    """Let a site be billed, whatever evidence there is of it; and in, with its events, where sites have to be let in."""
    current = settings.current()
    site_id = _site_of(site_id)
    _discover(current, site_id)
    kind = database.run(
        current.require_database(), lambda connection: confirmation.confirm_by_hand(connection, current, site_id)
    )
    if kind is None:
        raise _unknown(site_id)
    if kind != "public" and current.discovery == "auto":
        raise ApiError(409, "site_not_public", f"{site_id} is no public site ({kind}), and has no domain to be billed")
    _discover(current)
    return answer({"site_id": site_id, "state": "confirmed"})


@api.route("/sites/{site_id}/refuse", "POST")
def refuse(site_id: str) -> Response:
    """Let a site never be billed; its events stay, but for those that are kept apart."""
    current = settings.current()
    site_id = _site_of(site_id)
    if site_id in current.sites:
        raise ApiError(409, "site_named", f"{site_id} is named by SITES, which lets it in; take it out of there first")
    _discover(current, site_id)
    if not database.run(current.require_database(), lambda connection: confirmation.refuse(connection, site_id)):
        raise _unknown(site_id)
    _discover(current)
    return answer({"site_id": site_id, "state": "refused"})


def _discover(current: Settings, site_id: str | None = None) -> None:
    url = current.require_database()
    # What the last second brought is known too, unless somebody is storing more at this moment.
    with suppress(WritersBusy):
        database.run(url, lambda connection: discovery.discover(connection, current))
    if site_id and current.discovery != "auto":
        # Among a flood of names one that the operator knows is found by its own.
        database.run(url, lambda connection: discovery.find_quarantined(connection, site_id))


def _site_of(named: str) -> str:
    return canonical(unquote(named)) or named


def _unknown(site_id: str) -> ApiError:
    return ApiError(404, "site_unknown", f"no event of {site_id[:100]!r} was seen; GET /sites lists those that were")


@api.route("/usage", "GET")
def used() -> Response:
    """What was used in a range of days, of all sites, of one, or of those of a group; of this month where none is named."""
    query: dict[str, str] = dict(api.request.query_params or {})
    if unknown := sorted(query.keys() - {"from", "to", "site", "group"}):
        raise ApiError(
            400, "parameter_unknown", f"`{unknown[0][:40]}` is no parameter; there are from, to, site, group"
        )
    today = dt.datetime.now(dt.UTC).date()
    end = _day(query, "to", today + DAY)
    start = _day(query, "from", (end - DAY).replace(day=1))
    if not DAY <= end - start <= MOST_DAYS * DAY:
        raise ApiError(400, "range_invalid", f"`from` has to be before `to`, by {MOST_DAYS} days at most")
    current = settings.current()
    _discover(current)
    url, site, group = current.require_database(), query.get("site"), query.get("group")
    site = _site_of(site) if site is not None else None
    told = database.run(
        url, lambda connection: usage_report.report(connection, current, start, end, site=site, group=group)
    )
    if told is None:
        raise (
            _unknown(site) if site is not None else ApiError(404, "group_unknown", "SITES names no site of this group")
        )
    return answer(told)


@api.route("/usage/recount", "GET")
def recount() -> Response:
    """Where what was metered is not what a recount of all events finds."""
    return answer({"differing": database.run(settings.current().require_database(), metering.recount)})


def _day(query: dict[str, str], name: str, otherwise: dt.date) -> dt.date:
    try:
        day = dt.date.fromisoformat(query[name]) if query.get(name) else otherwise
    except ValueError:
        day = dt.date.min
    if not FIRST_YEAR <= day.year < dt.MAXYEAR:
        raise ApiError(400, f"{name}_invalid", f"`{name}` has to be a day of UTC such as 2026-11-01")
    return day


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


@api.route("/webhooks/test", "POST")
def try_out() -> Response:
    """Send a message that says nothing to the operator's endpoint, and say whether it took it."""
    current = settings.current()
    if not current.webhook_url:
        raise ApiError(409, "webhook_not_set", "WEBHOOK_URL is not set, so nobody is told anything")
    try:
        webhooks.try_out(current)
    except NotTaken as error:
        raise ApiError(502, "webhook_not_taken", str(error)) from None
    return answer({"taken": True})


@api.route("/webhooks/{message_id}/replay", "POST")
def replay(message_id: str) -> Response:
    """Send one message again, at the next turn, whether it arrived or not."""
    if not MESSAGE_ID.fullmatch(message_id) or not database.run(
        settings.current().require_database(), lambda connection: webhooks.replay(connection, message_id)
    ):
        raise ApiError(404, "message_unknown", "there is no such message; GET /webhooks lists them")
    return answer({"replayed": 1}, 202)


handler = api.handler
