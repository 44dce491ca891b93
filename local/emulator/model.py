"""What a template comes to: functions and their limits, and what invokes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emulator.schedules import Expression

# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html
DEFAULT_RETRIES = 2
LONGEST_EVENT_AGE_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class Batch:
    """How requests become records of a batch event: at most how many, and with which of their headers."""

    size: int
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path of the HTTP API, the payload format that its function takes, and how long it is waited for."""

    method: str
    path: str
    payload_version: str
    function: str
    batch: Batch | None = None
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to invoke a function, and with what instead of the scheduled event, if anything."""

    name: str
    expression: Expression
    function: str
    input: str | None
    source: Literal["aws.events", "aws.scheduler"] = "aws.events"


@dataclass(frozen=True, slots=True)
class Cors:
    """The API's CORS block: preflights are answered from it, and every answer gets its headers."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    expose: tuple[str, ...]
    credentials: bool
    max_age: int | None


@dataclass(frozen=True, slots=True)
class Target:
    """Where the record of an asynchronous invocation goes."""

    kind: Literal["queue", "function"]
    name: str


@dataclass(frozen=True, slots=True)
class AsyncConfig:
    """How often an asynchronous invocation is tried, for how long, and who is told of its end."""

    retries: int = DEFAULT_RETRIES
    max_age_seconds: int = LONGEST_EVENT_AGE_SECONDS
    on_success: Target | None = None
    on_failure: Target | None = None
    dead_letter_queue: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function: how to start it, and its limits."""

    name: str
    handler: str
    timeout_seconds: float
    memory_mb: int
    environment: Mapping[str, str]
    python_path: tuple[Path, ...]
    concurrency: int | None
    asynchronous: AsyncConfig = AsyncConfig()
    # Layers whose `bin` and `lib` join the search paths, the last one first.
    layers: tuple[Path, ...] = ()
    # Called by a schedule: what it does takes the processor after those whom somebody waits for.
    gives_way: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: how long a message that was received stays hidden, how long it is kept, and where it ends."""

    name: str
    visibility_seconds: int
    retention_seconds: int
    dead_letter_queue: str | None
    most_receives: int | None


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue whose messages invoke a function."""

    name: str
    queue: str
    function: str
    batch_size: int
    window_seconds: int
    reports_failures: bool


@dataclass(slots=True)
class Template:
    """Everything that the emulator runs."""

    functions: dict[str, Function] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    cors: Cors | None = None
    queues: dict[str, Queue] = field(default_factory=dict)
    queue_sources: list[QueueSource] = field(default_factory=list)
    stage: str = "$default"
    stage_variables: Mapping[str, str] = field(default_factory=dict)
