"""The door of delivery: the schedule, and `/export/…`."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import SecretStr

from httpapi import Api, ApiError, Response, answer, clock
from storage import balance, database, settings
from storage.errors import ExportRunning
from storage.export import check, handoff, preview, reconcile, restore, site_handoff, statements, status, verify
from storage.export import run as export

api = Api("export-scheduled")


# A real-time run watches what comes for so long; the next one begins after a minute.
REAL_TIME_SECONDS = 55

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
PAGE = 100
DAY = dt.timedelta(days=1)
MOST_DAYS = 31
MOST_LINES = 5000
FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)


def _reopened(current: settings.Settings, destination: str, batch_ids: list[str]) -> dict[str, Any]:
    export.reopen(current, destination, batch_ids)
    return {"reopened": batch_ids}


# What `evothesis verify` and the like ask, by the source of their event: the bucket's rights are the exporter's.
QUESTIONS: dict[str, Callable[[settings.Settings, dict[str, Any], Callable[[], bool]], dict[str, Any]]] = {
    "evothesis.verify": lambda current, detail, _: verify.run(current, str(detail["destination"])).as_dict(),
    "evothesis.check": lambda current, detail, _: check.run(current, str(detail["destination"])),
    "evothesis.restore": lambda current, detail, has_time: restore.run(
        current, str(detail["destination"]), has_time=has_time
    ).as_dict(),
    "evothesis.preview": lambda current, detail, _: preview.run(
        current, detail.get("settings"), int(detail.get("sample", 0))
    ),
    "evothesis.reopen": lambda current, detail, _: _reopened(current, str(detail["destination"]), detail["batch_ids"]),
    "evothesis.give_up": lambda current, detail, _: {"given_up": export.give_up(current, str(detail["destination"]))},
    "evothesis.statement": lambda current, detail, _: statements.fetch(current, str(detail["month"])),
    "evothesis.reconcile": lambda current, detail, _: reconcile.run(
        current, str(detail["month"]), str(detail["destination"])
    ).as_dict(),
    "evothesis.site_handoff": lambda current, detail, has_time: site_handoff.run(
        current, detail["wanted"], detail.get("so_far"), has_time
    ),
    "evothesis.handoff": lambda current, detail, has_time: handoff.run(
        current, detail["wanted"], detail.get("so_far"), has_time
    ),
}


@api.schedule
def export_scheduled(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Deliver everything that is due, unless somebody is at it already; or, when asked to, do what `evothesis verify` and the like ask."""
    if ask := QUESTIONS.get(event.get("source", "")):
        return ask(settings.current(), event.get("detail", {}), clock(context))
    current, until = settings.current(), time.monotonic() + REAL_TIME_SECONDS
    try:
        outcome = export.run(current, has_time=clock(context))
        _told(outcome)
        if event.get("source") == "aws.events" and current.export_sooner_events and current.is_real_time:
            for more in export.sooner(current, current.export_sooner_events, until, clock(context)):
                _told(more)
    except ExportRunning:
        return {"running": True}
    return asdict(outcome)


@api.route("/export/run", "POST", content_types=())
def run() -> Response:
    """Deliver everything that is due, now, and say what became of it; under an `Idempotency-Key` once."""
    key = api.request.headers.get("idempotency-key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        message = "`Idempotency-Key` has to be 1 to 255 letters, digits and signs, such as a UUID"
        raise ApiError(400, "idempotency_key_invalid", message)
    outcome = export.told(settings.current(), key) if key else None
    if outcome is None:
        outcome = export.run(settings.current(), clock(api.app.lambda_context), key)
        _measure(outcome)
    return answer(asdict(outcome), 200 if not outcome.failures else 502)


@api.route("/export/status", "GET")
def at_a_glance() -> Response:
    """How far each destination is, and when the next run begins."""
    current = settings.current()
    return answer(database.run(current.require_database(), lambda connection: status.glance(connection, current)))


@api.route("/export/batches", "GET")
def batches() -> Response:
    """All batches with their deliveries, newest first; a page at a time."""
    query: dict[str, str] = dict(api.request.query_params or {})
    before = query.get("before") or None
    url = settings.current().require_database()
    if before and not database.run(url, lambda connection: _batch(connection, before)):
        raise ApiError(400, "before_invalid", "`before` has to be the `next` of the page before")
    page = database.run(url, lambda connection: status.batches(connection, PAGE + 1, before))
    return answer({"batches": page[:PAGE], "next": page[PAGE - 1]["batch_id"] if len(page) > PAGE else None})


@api.route("/export/batches/{batch_id}", "GET")
def batch(batch_id: str) -> Response:
    """How far one batch is."""
    found = database.run(settings.current().require_database(), lambda connection: _batch(connection, batch_id))
    if not found:
        raise ApiError(404, "batch_unknown", "there is no such batch; GET /export/batches lists them")
    return answer(found)


def _batch(connection: database.Connection, batch_id: str) -> dict[str, Any] | None:
    # What PostgreSQL cannot even be asked for is not there.
    return None if "\0" in batch_id else status.batch(connection, batch_id)


@api.route("/export/balance", "GET")
def conservation() -> Response:
    """What every event that came has become, by hour and site; of the last day, or from and to the times that are asked for."""
    query: dict[str, str] = dict(api.request.query_params or {})
    now = dt.datetime.now(dt.UTC)
    end = _hour(query.get("to"), "to", now)
    start = _hour(query.get("from"), "from", max(end, FIRST + DAY) - DAY)
    if not dt.timedelta() <= end - start <= MOST_DAYS * DAY:
        raise ApiError(400, "range_invalid", f"`from` has to be before `to`, by {MOST_DAYS} days at most")
    current = settings.current()
    names = [item.name for item in current.destinations()]
    url = current.require_database()
    lines = database.run(url, lambda connection: balance.balance(connection, names, start, end))
    if site_id := query.get("site_id"):
        lines = [line for line in lines if line.site_id == site_id]
    if len(lines) > MOST_LINES:
        message = (
            f"there are {len(lines)} lines; ask for fewer hours, or for one `site_id`, to have {MOST_LINES} at most"
        )
        raise ApiError(400, "range_invalid", message)
    balanced = all(not one.difference for line in lines for one in line.destinations.values())
    body = {"from": start, "to": end, "balanced": balanced, "lines": [line.as_dict() for line in lines]}
    return answer(body)


def _hour(text: str | None, name: str, otherwise: dt.datetime) -> dt.datetime:
    """The hour that a parameter is in; a `to` inside of an hour means all of it."""
    try:
        moment = dt.datetime.fromisoformat(text.replace(" ", "+")) if text else otherwise
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        hour = moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
        return hour + balance.HOUR if name == "to" and moment > hour else hour
    except (ValueError, OverflowError):
        raise ApiError(400, f"{name}_invalid", f"`{name}` has to be a time such as 2026-11-24T10:00:00Z") from None


@api.route("/export/config", "GET")
def config() -> Response:
    """What is exported where, with secrets masked."""
    current = settings.current()
    return answer(
        {
            "formats": current.export_format,
            "schedule": settings.SCHEDULE_NAMES.get(current.schedule_expression, current.export_schedule),
            "schedule_expression": current.schedule_expression,
            "batch_rows": current.export_batch_rows,
            "filters": current.export_filters.model_dump(exclude_defaults=True),
            "transforms": current.export_transforms.model_dump(exclude_defaults=True),
            "policy": current.policy.model_dump(exclude_none=True),
            "site_policies": {site: one.model_dump(exclude_none=True) for site, one in current.site_policies.items()},
            "destinations": [_masked(item.model_dump()) for item in current.destinations()],
        }
    )


def _told(outcome: export.Outcome) -> None:
    _measure(outcome)
    api.logger.info("export_run", **asdict(outcome))


def _measure(outcome: export.Outcome) -> None:
    """Say how many batches were delivered and refused, and since when the oldest event waits (now, if none does)."""
    waiting_since = database.run(settings.current().require_database(), status.oldest_undelivered)
    api.count(BatchesDelivered=len(outcome.delivered), ExportFailures=len(outcome.failures))
    api.measure(ExportWaitingSinceSeconds=waiting_since.timestamp())


def _masked(values: dict[str, Any]) -> dict[str, Any]:
    return {name: "********" if isinstance(value, SecretStr) else value for name, value in values.items()}


handler = api.handler
