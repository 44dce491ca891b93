"""What the SAM template says, as what the emulator runs: functions, routes, schedules, CORS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import intrinsics, schedules
from emulator.errors import TemplateInvalid

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
HTTP_API = "AWS::Serverless::HttpApi"
RESOURCE_TYPES = {FUNCTION, LAYER, HTTP_API}

DEFAULT_TIMEOUT_SECONDS = 3
DEFAULT_MEMORY_MB = 128

MOST_RECORDS = 10_000
MOST_HEADERS = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """How requests become records of a batch event: at most how many, and with which of their headers."""

    size: int
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path of the HTTP API, and the payload format that its function takes."""

    method: str
    path: str
    payload_version: str
    function: str
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to invoke a function, and with what instead of the scheduled event, if anything."""

    name: str
    expression: schedules.Expression
    function: str
    input: str | None


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
class Function:
    """A function: how to start it, and its limits."""

    name: str
    handler: str
    timeout_seconds: float
    memory_mb: int
    environment: Mapping[str, str]
    python_path: tuple[Path, ...]
    concurrency: int | None


@dataclass(slots=True)
class Template:
    """Everything that the emulator runs."""

    functions: dict[str, Function] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    cors: Cors | None = None


def load(path: Path, parameters: Mapping[str, str]) -> Template:
    """Read the template with *parameters* over its defaults.

    Raises:
        TemplateInvalid: it holds something that is wrong or not supported here, by name.
    """
    document = intrinsics.read(path)
    resolver = intrinsics.Resolver(document, parameters)
    defaults = (document.get("Globals") or {}).get("Function") or {}
    template = Template()
    for name, resource in document["Resources"].items():
        kind = resource.get("Type")
        if kind not in RESOURCE_TYPES:
            raise TemplateInvalid(f"{name}: {kind} is not supported here")
        properties = resource.get("Properties") or {}
        if kind == HTTP_API and "CorsConfiguration" in properties:
            template.cors = _cors(resolver.resolve(properties["CorsConfiguration"], name))
        if kind == FUNCTION:
            own = resolver.resolve(_with_defaults(defaults, properties), name)
            template.functions[name] = _function(name, own, document["Resources"], path.parent)
            _add_events(template, name, own.get("Events") or {}, _batches(name, resource, own))
    return template


def _with_defaults(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Globals under a function's own properties: maps are merged, lists are joined, the rest is replaced.

    https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html
    """
    merged = dict(defaults)
    for key, value in own.items():
        inherited = merged.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            merged[key] = _with_defaults(inherited, value)
        elif isinstance(inherited, list) and isinstance(value, list):
            merged[key] = inherited + value
        else:
            merged[key] = value
    return merged


def _function(name: str, properties: Mapping[str, Any], resources: Mapping[str, Any], root: Path) -> Function:
    if "Handler" not in properties or "CodeUri" not in properties:
        raise TemplateInvalid(f"{name}: a function needs Handler and CodeUri")
    variables = (properties.get("Environment") or {}).get("Variables") or {}
    layers = [_layer_root(name, layer, resources, root) for layer in properties.get("Layers") or []]
    concurrency = properties.get("ReservedConcurrentExecutions")
    return Function(
        name=name,
        handler=str(properties["Handler"]),
        timeout_seconds=float(properties.get("Timeout", DEFAULT_TIMEOUT_SECONDS)),
        memory_mb=int(properties.get("MemorySize", DEFAULT_MEMORY_MB)),
        environment={key: str(value) for key, value in variables.items()},
        python_path=((root / properties["CodeUri"]).resolve(), *layers),
        concurrency=None if concurrency is None else int(concurrency),
    )


def _layer_root(function: str, layer: str, resources: Mapping[str, Any], root: Path) -> Path:
    """Where a layer's packages lie: what SAM builds for a Python runtime is the folder itself, else its `python/`."""
    resource = resources.get(layer) or {}
    if resource.get("Type") != LAYER:
        raise TemplateInvalid(f"{function}: layer {layer} is not in the template")
    content = root / str(resource["Properties"]["ContentUri"])
    built = str((resource.get("Metadata") or {}).get("BuildMethod", "")).startswith("python")
    return (content if built else content / "python").resolve()


def _batches(function: str, resource: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Batch]:
    """Which events take their requests in batches: `Metadata: {Coalesce: {Event, BatchSize, Headers}}`, ours alone."""
    rule = (resource.get("Metadata") or {}).get("Coalesce")
    if rule is None:
        return {}
    where = f"{function}: Metadata.Coalesce"
    event = rule.get("Event")
    if ((properties.get("Events") or {}).get(event) or {}).get("Type") != "HttpApi":
        raise TemplateInvalid(f"{where}.Event has to name an HttpApi event of the function, not {event!r}")
    size = rule.get("BatchSize", 10)
    # https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    if not isinstance(size, int) or not 1 <= size <= MOST_RECORDS:
        raise TemplateInvalid(f"{where}.BatchSize has to be a number from 1 to {MOST_RECORDS}")
    headers = tuple(str(name).lower() for name in rule.get("Headers") or [])
    # Ten attributes are all that an SQS message carries; the address and the encoding take two.
    if len(headers) > MOST_HEADERS:
        raise TemplateInvalid(f"{where}.Headers names more than {MOST_HEADERS}")
    return {event: Batch(size, headers)}


def _add_events(template: Template, function: str, events: Mapping[str, Any], batches: Mapping[str, Batch]) -> None:
    for name, event in events.items():
        where = f"{function}.{name}"
        properties = event.get("Properties") or {}
        match event.get("Type"):
            case "HttpApi":
                version = str(properties.get("PayloadFormatVersion", "2.0"))
                template.routes.append(
                    Route(
                        str(properties["Method"]).upper(), str(properties["Path"]), version, function, batches.get(name)
                    )
                )
            case "Schedule":
                expression = schedules.parse(str(properties["Schedule"]), where)
                if properties.get("Enabled", True):
                    template.schedules.append(Schedule(where, expression, function, properties.get("Input")))
            case kind:
                raise TemplateInvalid(f"{where}: events of type {kind} are not supported here")


def _cors(block: Any) -> Cors:
    if block is True:
        block = {"AllowOrigins": ["*"]}
    return Cors(
        origins=tuple(_strings(block.get("AllowOrigins"))),
        methods=tuple(_strings(block.get("AllowMethods"))),
        headers=tuple(_strings(block.get("AllowHeaders"))),
        expose=tuple(_strings(block.get("ExposeHeaders"))),
        credentials=bool(block.get("AllowCredentials")),
        max_age=block.get("MaxAge"),
    )


def _strings(values: Any) -> Iterator[str]:
    return (str(value) for value in values or [])
