"""The template as YAML with CloudFormation's short forms, and the functions in it resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
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


def read(path: Path) -> dict[str, Any]:
    """The template as it is written, short forms made long.

    Raises:
        TemplateInvalid: it cannot be read, or is no template.
    """
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise TemplateInvalid(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise TemplateInvalid(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateInvalid(f"{path} has no Resources")
    return document


class Resolver:
    """Resolves `Ref`, `Fn::Sub`, `Fn::GetAtt` and `Fn::Join` with parameters and logical ids."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources = document["Resources"]
        declared = document.get("Parameters") or {}
        if unknown := set(parameters) - set(declared):
            raise TemplateInvalid(f"the template has no parameter {min(unknown)}")
        self._values = dict(PSEUDO_PARAMETERS)
        for name, declaration in declared.items():
            value = parameters.get(name, declaration.get("Default"))
            if value is None:
                raise TemplateInvalid(f"parameter {name} has no default; give it a value")
            self._values[name] = str(value)

    def resolve(self, value: Any, where: str) -> Any:
        """*value* with every intrinsic function replaced by what it stands for.

        Raises:
            TemplateInvalid: one cannot be resolved; the text names *where*.
        """
        if isinstance(value, list):
            return [self.resolve(item, where) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref":
                return self._reference(argument, where)
            if name.startswith("Fn::"):
                return self._call(name, argument, where)
        return {key: self.resolve(item, where) for key, item in value.items()}

    def _call(self, name: str, argument: Any, where: str) -> Any:
        match name:
            case "Fn::Sub":
                return self._substitute(argument, where)
            case "Fn::GetAtt" if argument[1] == "Arn":
                return arn(argument[0])
            case "Fn::Join":
                return argument[0].join(str(item) for item in self.resolve(argument[1], where))
        raise TemplateInvalid(f"{where}: {name} is not supported here")

    def _reference(self, name: str, where: str) -> str:
        if name in self._values:
            return self._values[name]
        if name in self._resources:
            return name
        raise TemplateInvalid(f"{where}: !Ref {name} names neither a parameter nor a resource")

    def _substitute(self, argument: Any, where: str) -> str:
        text, local = argument if isinstance(argument, list) else (argument, {})
        values = self.resolve(local, where)

        def one(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in values:
                return str(values[name])
            if name.endswith(".Arn"):
                return arn(name.removesuffix(".Arn"))
            return self._reference(name, where)

        return re.sub(r"\$\{([^}]+)\}", one, text)


def arn(function_name: str) -> str:
    """The ARN that a function has here."""
    return f"arn:aws:lambda:{PSEUDO_PARAMETERS['AWS::Region']}:{ACCOUNT_ID}:function:{function_name}"
