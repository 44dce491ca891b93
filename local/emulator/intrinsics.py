"""The template as YAML with CloudFormation's short forms, and the functions in it resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from emulator.errors import TemplateInvalid

ACCOUNT_ID = "123456789012"

# What CloudFormation itself defines; the values are those of a region that is not there.
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT_ID,
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "evothesis",
    "AWS::URLSuffix": "amazonaws.com",
}

QUEUE = "AWS::SQS::Queue"

# Stands for what `AWS::NoValue` takes away.
_NOTHING = object()


class Document(dict[str, Any]):
    """A template as written, and the line on which each of its resources begins."""

    lines: Mapping[str, int]


class _Loader(yaml.SafeLoader):
    """YAML with `!Ref X` read as `{"Ref": X}` and `!Sub X` as `{"Fn::Sub": X}`."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any = None
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
    """A mapping whose keys are all different; of two that are the same, one would be lost without a word."""
    seen: set[Any] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
    return loader.construct_yaml_map(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path) -> Document:
    """The template as it is written, short forms made long.

    Raises:
        TemplateInvalid: it cannot be read, or is no template.
    """
    try:
        loader = _Loader(path.read_text("utf-8"))
        root = loader.get_single_node()
        document = loader.construct_document(root) if root else None
    except OSError as error:
        raise TemplateInvalid(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TemplateInvalid(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if root is None or not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateInvalid(f"{path} has no Resources")
    read = Document(document)
    [resources] = [value for key, value in root.value if key.value == "Resources"]
    read.lines = {key.value: key.start_mark.line + 1 for key, _ in resources.value}
    return read


class Resolver:
    """Resolves intrinsic functions with parameters, conditions, mappings and logical ids."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources = document["Resources"]
        self._conditions = document.get("Conditions") or {}
        self._mappings = document.get("Mappings") or {}
        declared = document.get("Parameters") or {}
        if unknown := set(parameters) - set(declared):
            raise TemplateInvalid(f"the template has no parameter {min(unknown)}")
        self._values: dict[str, Any] = dict(PSEUDO_PARAMETERS)
        for name, declaration in declared.items():
            self._values[name] = _parameter(name, declaration or {}, parameters.get(name))

    def holds(self, condition: str, where: str) -> bool:
        """Whether a condition of the template is true.

        Raises:
            TemplateInvalid: there is none of this name, or it is no condition.
        """
        if condition not in self._conditions:
            raise TemplateInvalid(f"{where}: the template has no condition {condition}")
        return self._is_true(self._conditions[condition], f"condition {condition}")

    def resolve(self, value: Any, where: str) -> Any:
        """*value* with every intrinsic function replaced by what it stands for.

        Raises:
            TemplateInvalid: one cannot be resolved; the text names *where*.
        """
        if isinstance(value, list):
            items = (self.resolve(item, where) for item in value)
            return [item for item in items if item is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref":
                return self._reference(argument, where)
            if str(name).startswith("Fn::"):
                try:
                    return self._call(name, argument, where)
                except (TypeError, ValueError, KeyError, IndexError, AttributeError):
                    raise TemplateInvalid(f"{where}: {name} is not given what it takes") from None
        members = {key: self.resolve(item, where) for key, item in value.items()}
        return {key: item for key, item in members.items() if item is not _NOTHING}

    def _call(self, name: str, argument: Any, where: str) -> Any:
        match name:
            case "Fn::Sub":
                return self._substitute(argument, where)
            case "Fn::GetAtt":
                return self._attribute(argument[0], argument[1], where)
            case "Fn::Join":
                return argument[0].join(str(item) for item in self.resolve(argument[1], where))
            case "Fn::If":
                chosen = argument[1] if self.holds(argument[0], where) else argument[2]
                return self.resolve(chosen, where)
            case "Fn::FindInMap":
                table, row, column = self.resolve(argument, where)
                return self.resolve(self._mappings[table][row][column], where)
        raise TemplateInvalid(f"{where}: {name} is not supported here")

    def _is_true(self, condition: Any, where: str) -> bool:
        try:
            [(name, argument)] = condition.items()
            match name:
                case "Fn::Equals":
                    left, right = self.resolve(argument, where)
                    return str(left) == str(right)
                case "Fn::Not":
                    return not self._is_true(argument[0], where)
                case "Fn::And":
                    return all(self._is_true(part, where) for part in argument)
                case "Fn::Or":
                    return any(self._is_true(part, where) for part in argument)
                case "Condition":
                    return self.holds(argument, where)
        except (TypeError, ValueError, AttributeError):
            pass
        raise TemplateInvalid(f"{where}: it is none of Fn::Equals, Fn::Not, Fn::And, Fn::Or and Condition")

    def _reference(self, name: str, where: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._values:
            return self._values[name]
        if name in self._resources:
            is_queue = self._resources[name].get("Type") == QUEUE
            return (
                f"https://sqs.{PSEUDO_PARAMETERS['AWS::Region']}.amazonaws.com/{ACCOUNT_ID}/{name}"
                if is_queue
                else name
            )
        raise TemplateInvalid(f"{where}: !Ref {name} names neither a parameter nor a resource")

    def _attribute(self, name: str, attribute: str, where: str) -> str:
        if name not in self._resources:
            raise TemplateInvalid(f"{where}: !GetAtt {name}.{attribute} names no resource")
        is_queue = self._resources[name].get("Type") == QUEUE
        if attribute == "Arn":
            return queue_arn(name) if is_queue else arn(name)
        if is_queue and attribute == "QueueName":
            return name
        raise TemplateInvalid(f"{where}: !GetAtt {name}.{attribute} is not supported here")

    def _substitute(self, argument: Any, where: str) -> str:
        text, local = argument if isinstance(argument, list) else (argument, {})
        values = self.resolve(local, where)

        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in values:
                return str(values[name])
            resource, dot, attribute = name.partition(".")
            return self._attribute(resource, attribute, where) if dot else str(self._reference(name, where))

        return re.sub(r"\$\{([^}]+)\}", one, text)


def _parameter(name: str, declaration: Mapping[str, Any], given: str | None) -> Any:
    value = declaration.get("Default") if given is None else given
    if value is None:
        raise TemplateInvalid(f"parameter {name} has no default; give it a value")
    allowed = declaration.get("AllowedValues")
    if allowed and str(value) not in map(str, allowed):
        raise TemplateInvalid(f"parameter {name}: {value} is none of {', '.join(map(str, allowed))}")
    if "List" in str(declaration.get("Type", "")):
        return [part.strip() for part in str(value).split(",")]
    return str(value)


def arn(function_name: str) -> str:
    """The ARN that a function has here."""
    return f"arn:aws:lambda:{PSEUDO_PARAMETERS['AWS::Region']}:{ACCOUNT_ID}:function:{function_name}"


def queue_arn(queue_name: str) -> str:
    """The ARN that a queue has here."""
    return f"arn:aws:sqs:{PSEUDO_PARAMETERS['AWS::Region']}:{ACCOUNT_ID}:{queue_name}"


def name_in(an_arn: str) -> str:
    """The last part of an ARN: the name of what it stands for."""
    return an_arn.rpartition(":")[2]
