"""The door of retention: the schedule."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from httpapi import Api, clock
from storage import retention, settings

api = Api("retention")


@api.schedule
def drop(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Drop what the policies do not let be any longer: events, refusals, and then the objects of buckets."""
    del event
    current, has_time = settings.current(), clock(context)
    outcome = retention.run(current, has_time)
    if outcome.waits_for_bucket:
        api.logger.warning(
            "retention_waits", reason="a bucket lacks events that are too old; GET /export/status says which"
        )
    if current.policy.objects_days and current.destinations() and has_time():
        # What writes manifests is loaded where there are any to write.
        from storage.export import expire  # noqa: PLC0415

        outcome.objects, refused = expire.run(current, current.policy.objects_days, has_time)
        for reason in refused:
            api.logger.warning("objects_stay", reason=reason)
    return asdict(outcome)


handler = api.handler
