"""What the runtime counts, in Prometheus' terms; and what functions count, from the metrics that they log.

A function writes CloudWatch's embedded metric format to its log, here as on AWS. There CloudWatch reads it; here it
becomes a counter (unit Count) or a gauge (any other unit) under the name `<namespace>_<metric>`.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# When each series was made is of interest to nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)

INVOCATIONS = Counter("lambda_invocations", "Invocations that ran.", ["function"])
ERRORS = Counter("lambda_errors", "Invocations that failed.", ["function"])
THROTTLES = Counter("lambda_throttles", "Invocations that were refused because nothing could run them.", ["function"])
DURATION = Histogram("lambda_duration_seconds", "How long invocations ran.", ["function"], buckets=SECONDS)
INIT_DURATION = Histogram("lambda_init_duration_seconds", "How long environments took to start.", ["function"])
ENVIRONMENTS = Gauge("lambda_environments", "Processes that run a function.", ["function"])
WAITING = Gauge("lambda_waiting_invocations", "Invocations that wait for an environment.", ["function"])
QUEUED = Gauge("lambda_queued_requests", "Requests that wait for a batch to carry them.", ["function"])
BATCH_SIZE = Histogram(
    "lambda_batch_requests",
    "Requests that shared an invocation.",
    ["function"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
RESPONSES = Counter("http_responses", "Answers of the front.", ["method", "route", "status"])
QUEUE_ERRORS = Counter("lambda_queue_errors", "Times that the file of the queues could not be read or written.")
DROPPED_METRICS = Counter("lambda_metrics_dropped", "Metrics in a function's log that could not be read.", ["function"])

# A function that makes names or dimensions up must not fill the memory.
MOST_SERIES = 1000

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

_series: set[tuple[str, tuple[str, ...]]] = set()


def is_embedded(line: bytes) -> bool:
    """Whether a line of a log carries metrics."""
    return line.startswith(b"{") and b'"CloudWatchMetrics"' in line


def take_embedded(function: str, line: bytes) -> None:
    """Count what a line of a function's log says in the embedded metric format."""
    try:
        said = orjson.loads(line)
        for directive in said["_aws"]["CloudWatchMetrics"]:
            dimensions = directive["Dimensions"][0] if directive["Dimensions"] else []
            labels = {_snake(name): str(said[name]) for name in dimensions}
            for metric in directive["Metrics"]:
                name = f"{_snake(directive['Namespace'])}_{_snake(metric['Name'])}"
                values = said[metric["Name"]]
                _take(name, metric.get("Unit", "None"), labels, values if isinstance(values, list) else [values])
    except (ValueError, TypeError, LookupError, AttributeError):
        DROPPED_METRICS.labels(function).inc()


def _take(name: str, unit: str, labels: Mapping[str, str], values: list[Any]) -> None:
    key = name, tuple(labels.values())
    if key not in _series and len(_series) >= MOST_SERIES:
        raise ValueError("too many series")
    _series.add(key)
    if unit == "Count":
        _counter(name, tuple(labels)).labels(*labels.values()).inc(sum(values))
    else:
        _gauge(name, tuple(labels)).labels(*labels.values()).set(values[-1])


@lru_cache(maxsize=MOST_SERIES)
def _counter(name: str, labels: tuple[str, ...]) -> Counter:
    return Counter(name, "Counted by a function.", labels)


@lru_cache(maxsize=MOST_SERIES)
def _gauge(name: str, labels: tuple[str, ...]) -> Gauge:
    return Gauge(name, "Measured by a function.", labels)


@lru_cache(maxsize=MOST_SERIES)
def _snake(name: str) -> str:
    return "_".join(word.lower() for word in _WORDS.split(name) if word)
