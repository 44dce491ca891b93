"""What invokes a function: routes of the HTTP API, schedules and queues, from its `Events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator import intrinsics, schedules
from emulator.errors import TemplateInvalid
from emulator.model import Batch, QueueSource, Route, Schedule, Template
from emulator.properties import check, number

MOST_RECORDS = 10_000
# More than these have to be given a window in which to come together.
MOST_RECORDS_AT_ONCE = 10
MOST_HEADERS = 8


def add(template: Template, function: str, events: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Add the *events* of a function to *template*.

    Raises:
        TemplateInvalid: one is wrong or not supported here.
    """
    batches = _batches(function, events, metadata.get("Coalesce"))
    for name, event in events.items():
        where = f"{function}.{name}"
        properties = event.get("Properties") or {}
        match event.get("Type"):
            case "HttpApi":
                route = _route(where, function, properties, batches.get(name))
                if any((other.method, other.path) == (route.method, route.path) for other in template.routes):
                    raise TemplateInvalid(f"{where}: {route.method} {route.path} is routed already")
                template.routes.append(route)
            case "Schedule":
                add_schedule(template, where, function, properties, version=1)
            case "ScheduleV2":
                add_schedule(template, where, function, properties, version=2)
            case "SQS":
                _add_queue_source(template, where, function, properties)
            case kind:
                raise TemplateInvalid(f"{where}: events of type {kind} are not supported here")


def add_schedule(template: Template, where: str, function: str, properties: Mapping[str, Any], version: int) -> None:
    """Add a schedule of EventBridge's rules (*version* 1) or of its scheduler (2); a disabled one is only checked.

    Raises:
        TemplateInvalid: it is wrong or not supported here.
    """
    if version == 1:
        check(where, properties, "Schedule Input Enabled State", "Name Description")
        expression = schedules.parse(str(properties.get("Schedule")), where)
    else:
        check(
            where,
            properties,
            "ScheduleExpression ScheduleExpressionTimezone Input State Target",
            "Description FlexibleTimeWindow GroupName KmsKeyArn Name PermissionsBoundary RoleArn",
        )
        zone = properties.get("ScheduleExpressionTimezone")
        expression = schedules.parse(str(properties.get("ScheduleExpression")), where, zone)
    if properties.get("Enabled", True) and properties.get("State", "ENABLED") == "ENABLED":
        source: Any = "aws.events" if version == 1 else "aws.scheduler"
        template.schedules.append(Schedule(where, expression, function, properties.get("Input"), source))


def _route(where: str, function: str, properties: Mapping[str, Any], batch: Batch | None) -> Route:
    check(where, properties, "ApiId Method Path PayloadFormatVersion TimeoutInMillis")
    version = str(properties.get("PayloadFormatVersion", "2.0"))
    if version not in ("1.0", "2.0"):
        raise TemplateInvalid(f"{where}: PayloadFormatVersion has to be 1.0 or 2.0")
    # An event without a method and path is the API's $default route.
    method, path = str(properties.get("Method", "ANY")).upper(), str(properties.get("Path", "$default"))
    timeout_ms = number(where, "TimeoutInMillis", properties.get("TimeoutInMillis", 30_000), 50, 30_000)
    return Route("ANY" if method == "*" else method, path, version, function, batch, timeout_ms / 1000)


def _add_queue_source(template: Template, where: str, function: str, properties: Mapping[str, Any]) -> None:
    check(
        where,
        properties,
        "Queue BatchSize MaximumBatchingWindowInSeconds FunctionResponseTypes Enabled",
        "ScalingConfig",
    )
    window = number(
        where, "MaximumBatchingWindowInSeconds", properties.get("MaximumBatchingWindowInSeconds", 0), 0, 300
    )
    size = number(where, "BatchSize", properties.get("BatchSize", 10), 1, MOST_RECORDS)
    if size > MOST_RECORDS_AT_ONCE and not window:
        raise TemplateInvalid(f"{where}: BatchSize over {MOST_RECORDS_AT_ONCE} needs a MaximumBatchingWindowInSeconds")
    types = properties.get("FunctionResponseTypes") or []
    if properties.get("Enabled", True):
        queue = intrinsics.name_in(str(properties.get("Queue")))
        template.queue_sources.append(
            QueueSource(where, queue, function, size, window, "ReportBatchItemFailures" in types)
        )


def _batches(function: str, events: Mapping[str, Any], rule: Any) -> dict[str, Batch]:
    """Which events take their requests in batches: `Metadata: {Coalesce: {Event, BatchSize, Headers}}`, ours alone."""
    if rule is None:
        return {}
    where = f"{function}: Metadata.Coalesce"
    event = rule.get("Event")
    if (events.get(event) or {}).get("Type") != "HttpApi":
        raise TemplateInvalid(f"{where}.Event has to name an HttpApi event of the function, not {event!r}")
    # https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    size = number(f"{where}.BatchSize", "it", rule.get("BatchSize", 10), 1, MOST_RECORDS)
    headers = tuple(str(name).lower() for name in rule.get("Headers") or [])
    # Ten attributes are all that an SQS message carries; the address and the encoding take two.
    if len(headers) > MOST_HEADERS:
        raise TemplateInvalid(f"{where}.Headers names more than {MOST_HEADERS}")
    return {event: Batch(size, headers)}
