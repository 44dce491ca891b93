"""Reads the SAM template: what is in it is what runs, and what is not supported is refused by name and line.

https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification.html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulator import intrinsics, sources
from emulator.errors import TemplateInvalid
from emulator.model import AsyncConfig, Cors, Function, Queue, Target, Template
from emulator.properties import check, number

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
HTTP_API = "AWS::Serverless::HttpApi"
SCHEDULE = "AWS::Scheduler::Schedule"

DEFAULT_TIMEOUT_SECONDS = 3
DEFAULT_MEMORY_MB = 128

# Of each resource: the properties that mean something here, and those that only AWS has a use for.
PROPERTIES = {
    FUNCTION: (
        """CodeUri Handler Environment Timeout MemorySize Layers ReservedConcurrentExecutions EventInvokeConfig
        DeadLetterQueue Events Runtime""",
        """Architectures Description EphemeralStorage KmsKeyArn LoggingConfig PermissionsBoundary Policies Role Tags
        Tracing VpcConfig""",
    ),
    LAYER: (
        "ContentUri",
        "CompatibleArchitectures CompatibleRuntimes Description LayerName LicenseInfo RetentionPolicy",
    ),
    HTTP_API: (
        "CorsConfiguration StageName StageVariables",
        "AccessLogSettings DefaultRouteSettings Description Domain FailOnWarnings Name RouteSettings Tags",
    ),
    intrinsics.QUEUE: (
        "VisibilityTimeout MessageRetentionPeriod RedrivePolicy",
        "KmsMasterKeyId KmsDataKeyReusePeriodSeconds ReceiveMessageWaitTimeSeconds SqsManagedSseEnabled Tags",
    ),
    SCHEDULE: (
        "ScheduleExpression ScheduleExpressionTimezone State Target",
        "Description FlexibleTimeWindow GroupName KmsKeyArn Name",
    ),
}

# What stands around the functions on AWS, and for which a machine of one's own has other means.
OF_AWS_ALONE = frozenset(
    (
        "AWS::CloudWatch::Alarm",
        "AWS::EC2::SecurityGroup",
        "AWS::IAM::ManagedPolicy",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Logs::LogGroup",
        "AWS::RDS::DBInstance",
        "AWS::RDS::DBSubnetGroup",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SecretsManager::Secret",
    )
)


def load(path: Path, parameters: Mapping[str, str]) -> Template:
    """Read the template with *parameters* over its defaults.

    Raises:
        TemplateInvalid: it holds something that is wrong or not supported here; the text names the resource and line.
    """
    document = intrinsics.read(path)
    reading = _Reading(document, intrinsics.Resolver(document, parameters), path.parent)
    for name, resource in document["Resources"].items():
        try:
            reading.add(name, resource)
        except TemplateInvalid as error:
            raise TemplateInvalid(f"{path.name}, line {document.lines[name]}: {error}") from None
    for source in reading.template.queue_sources:
        if source.queue not in reading.template.queues:
            raise TemplateInvalid(f"{path.name}: {source.name}: Queue has to be the Arn of a queue of this template")
    for name in {schedule.function for schedule in reading.template.schedules}:
        reading.template.functions[name] = replace(reading.template.functions[name], gives_way=True)
    return reading.template


class _Reading:
    """A template on its way from text to what runs."""

    def __init__(self, document: intrinsics.Document, resolver: intrinsics.Resolver, root: Path) -> None:
        self.template = Template()
        self._resources = document["Resources"]
        self._defaults = document.get("Globals") or {}
        self._resolver = resolver
        self._root = root

    def add(self, name: str, resource: Mapping[str, Any]) -> None:
        kind = resource.get("Type")
        if kind in OF_AWS_ALONE:
            return
        if kind not in PROPERTIES:
            raise TemplateInvalid(f"{name}: {kind} is not supported here")
        condition = resource.get("Condition")
        if condition and not self._resolver.holds(condition, name):
            return
        globals_of = {FUNCTION: "Function", HTTP_API: "HttpApi"}.get(kind, "")
        written = _merged(self._defaults.get(globals_of) or {}, resource.get("Properties") or {})
        check(name, written, *PROPERTIES[kind])
        own = self._resolver.resolve(written, name)
        match kind:
            case "AWS::Serverless::Function":
                self.template.functions[name] = self._function(name, own)
                sources.add(self.template, name, own.get("Events") or {}, resource.get("Metadata") or {})
            case "AWS::Serverless::HttpApi":
                self._api(own)
            case "AWS::SQS::Queue":
                self.template.queues[name] = _queue(name, own)
            case "AWS::Scheduler::Schedule":
                target = own.get("Target") or {}
                function = self._named(name, "Target.Arn", target.get("Arn"), FUNCTION)
                sources.add_schedule(self.template, name, function, {**own, "Input": target.get("Input")}, version=2)

    def _api(self, own: Mapping[str, Any]) -> None:
        if "CorsConfiguration" in own:
            self.template.cors = _cors(own["CorsConfiguration"])
        self.template.stage = str(own.get("StageName", "$default"))
        self.template.stage_variables = {key: str(value) for key, value in (own.get("StageVariables") or {}).items()}

    def _function(self, name: str, own: Mapping[str, Any]) -> Function:
        if "Handler" not in own or "CodeUri" not in own:
            raise TemplateInvalid(f"{name}: a function needs Handler and CodeUri")
        if not (self._root / str(own["CodeUri"])).is_dir():
            raise TemplateInvalid(f"{name}: CodeUri {own['CodeUri']}: there is no such folder")
        if not str(own.get("Runtime", "python")).startswith("python"):
            raise TemplateInvalid(f"{name}: Runtime {own['Runtime']} is not supported here; python is")
        layers = [self._layer(name, layer) for layer in reversed(own.get("Layers") or [])]
        variables = (own.get("Environment") or {}).get("Variables") or {}
        concurrency = own.get("ReservedConcurrentExecutions")
        return Function(
            name=name,
            handler=str(own["Handler"]),
            timeout_seconds=number(name, "Timeout", own.get("Timeout", DEFAULT_TIMEOUT_SECONDS), 1, 900),
            memory_mb=number(name, "MemorySize", own.get("MemorySize", DEFAULT_MEMORY_MB), 128, 10_240),
            environment={key: str(value) for key, value in variables.items()},
            # Lambda lays the layers over one another in /opt, so that of two files the later layer's is found.
            python_path=((self._root / own["CodeUri"]).resolve(), *(path for paths, _ in layers for path in paths)),
            concurrency=None
            if concurrency is None
            else number(name, "ReservedConcurrentExecutions", concurrency, 0, 1000),
            asynchronous=self._asynchronous(name, own),
            layers=tuple(content for _, content in layers),
        )

    def _layer(self, function: str, layer: str) -> tuple[tuple[Path, ...], Path]:
        """Where a layer's packages lie, and its content.

        What SAM builds for a Python runtime is the folder itself, and else its `python/`.
        """
        resource = self._resources.get(layer) or {}
        if resource.get("Type") != LAYER:
            raise TemplateInvalid(f"{function}: layer {layer} is not in the template")
        content = (self._root / str(resource["Properties"]["ContentUri"])).resolve()
        if str((resource.get("Metadata") or {}).get("BuildMethod", "")).startswith("python"):
            return (content,), content
        packages = content / "python" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        return (content / "python", *([packages] if packages.is_dir() else [])), content

    def _asynchronous(self, name: str, own: Mapping[str, Any]) -> AsyncConfig:
        config = own.get("EventInvokeConfig") or {}
        where = f"{name}.EventInvokeConfig"
        check(where, config, "MaximumRetryAttempts MaximumEventAgeInSeconds DestinationConfig")
        destinations = config.get("DestinationConfig") or {}
        check(f"{where}.DestinationConfig", destinations, "OnSuccess OnFailure")
        dead_letters = own.get("DeadLetterQueue")
        default = AsyncConfig()
        return AsyncConfig(
            number(where, "MaximumRetryAttempts", config.get("MaximumRetryAttempts", default.retries), 0, 2),
            number(where, "MaximumEventAgeInSeconds", config.get("MaximumEventAgeInSeconds", default.max_age_seconds), 60, 21_600),
            self._target(where, destinations, "OnSuccess"),
            self._target(where, destinations, "OnFailure"),
            self._named(name, "DeadLetterQueue.TargetArn", dead_letters.get("TargetArn"), intrinsics.QUEUE)
            if dead_letters
            else None,
        )  # fmt: skip

    def _target(self, where: str, destinations: Mapping[str, Any], end: str) -> Target | None:
        if end not in destinations:
            return None
        match destinations[end].get("Type"):
            case "SQS":
                return Target("queue", self._named(where, end, destinations[end].get("Destination"), intrinsics.QUEUE))
            case "Lambda":
                return Target("function", self._named(where, end, destinations[end].get("Destination"), FUNCTION))
            case kind:
                raise TemplateInvalid(f"{where}: {end}.Type {kind} is not supported here; SQS and Lambda are")

    def _named(self, where: str, what: str, an_arn: Any, kind: str) -> str:
        """The logical id behind an ARN of this template."""
        name = intrinsics.name_in(str(an_arn))
        if (self._resources.get(name) or {}).get("Type") != kind:
            raise TemplateInvalid(f"{where}: {what} has to be the Arn of a {kind} of this template")
        return name


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Globals under a resource's own properties: maps are merged, lists are joined, the rest is replaced.

    https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html
    """
    merged = dict(defaults)
    for key, value in own.items():
        inherited = merged.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            merged[key] = _merged(inherited, value)
        elif isinstance(inherited, list) and isinstance(value, list):
            merged[key] = inherited + value
        else:
            merged[key] = value
    return merged


def _queue(name: str, own: Mapping[str, Any]) -> Queue:
    redrive = own.get("RedrivePolicy") or {}
    most = redrive.get("maxReceiveCount")
    return Queue(
        name,
        number(name, "VisibilityTimeout", own.get("VisibilityTimeout", 30), 0, 43_200),
        number(name, "MessageRetentionPeriod", own.get("MessageRetentionPeriod", 345_600), 60, 1_209_600),
        intrinsics.name_in(redrive["deadLetterTargetArn"]) if redrive else None,
        number(name, "RedrivePolicy.maxReceiveCount", most, 1, 1000) if redrive else None,
    )


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
