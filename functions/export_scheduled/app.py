"""The door of delivery: the schedule, and `/export/…`."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from httpapi import Api, Response, answer
from storage import database, ledger, settings
from storage.errors import ExportRunning
from storage.export import check, restore, verify
from storage.export import run as export

api = Api("export-scheduled")

# A batch that is begun is given this long; what is left after it goes on in the next run.
LEAST_MILLISECONDS = 120_000


@api.schedule
def export_scheduled(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Deliver everything that is due, unless somebody is at it already; or, when asked to, verify, try out or read back a bucket."""
    destination = str(event.get("detail", {}).get("destination"))
    match event.get("source"):
        case "evothesis.verify":
            return verify.run(settings.current(), destination).as_dict()
        case "evothesis.check":
            return check.run(settings.current(), destination)
        case "evothesis.restore":
            return restore.run(settings.current(), destination, has_time=_clock(context)).as_dict()
    try:
        outcome = export.run(settings.current(), has_time=_clock(context))
    except ExportRunning:
        return {"running": True}
    _measure(outcome)
    api.logger.info("export_run", **_outcome(outcome))
    return _outcome(outcome)


@api.route("/export/run", "POST", content_types=())
def run() -> Response:
    """Deliver everything that is due, now, and say what became of it."""
    outcome = export.run(settings.current(), has_time=_clock(api.app.lambda_context))
    _measure(outcome)
    return answer(_outcome(outcome), 200 if not outcome.failures else 502)


@api.route("/export/status", "GET")
def status() -> Response:
    """How far each destination is."""
    return answer(database.run(settings.current().require_database(), ledger.status))


@api.route("/export/config", "GET")
def config() -> Response:
    """What is exported where, with secrets masked."""
    current = settings.current()
    return answer(
        {
            "formats": current.export_format,
            "schedule": current.export_schedule,
            "schedule_expression": current.schedule_expression,
            "batch_rows": current.export_batch_rows,
            "destinations": [_masked(item.model_dump()) for item in current.destinations()],
        }
    )


def _measure(outcome: export.Outcome) -> None:
    """Say how many batches were delivered and refused, and since when the oldest event waits (now, if none does)."""
    waiting_since = database.run(settings.current().require_database(), ledger.oldest_undelivered)
    api.count(BatchesDelivered=len(outcome.delivered), ExportFailures=len(outcome.failures))
    api.measure(ExportWaitingSinceSeconds=waiting_since.timestamp())


def _clock(context: Any) -> Any:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return (lambda: remaining() > LEAST_MILLISECONDS) if remaining else (lambda: True)


def _outcome(outcome: export.Outcome) -> dict[str, Any]:
    return {
        "planned": outcome.planned,
        "delivered": outcome.delivered,
        "failures": outcome.failures,
        "unfinished": outcome.unfinished,
    }


def _masked(values: dict[str, Any]) -> dict[str, Any]:
    return {name: "********" if isinstance(value, SecretStr) else value for name, value in values.items()}


handler = api.handler
