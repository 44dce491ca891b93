"""Makes the reference of settings and of the HTTP API out of the code, while mkdocs makes the site."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from storage.settings import Settings

FUNCTIONS = ("collect", "export_scheduled", "domain_discovery", "retention", "visitor_deletion")
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
# What the functions read of a request beside its path, as docs/api.md has it.
HEADING = re.compile(r"^### `(GET|POST|DELETE|OPTIONS) (\S+?)(?:\?\S*)?`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)


def openapi() -> dict[str, Any]:
    """Every route that a function answers, as OpenAPI 3.1: its words from the docstring of the view and from docs/api.md."""
    told = {(method, path): text.strip() for method, path, text in HEADING.findall(_page("api.md"))}
    paths: dict[str, dict[str, Any]] = {}
    for name in FUNCTIONS:
        api = importlib.import_module(f"{name}.app").api
        for path, methods in api.app.routes.items():
            for method, route in methods.items():
                paths.setdefault(path, {})[method.lower()] = _operation(
                    name, method, path, route.view_function, (method, path) in api.public, told
                )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Evothesis",
            "version": metadata.version("evothesis"),
            "description": "First-party web analytics data that the client owns.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": "the admin token"}},
            "schemas": {"Error": ERROR},
        },
    }


def _operation(
    name: str, method: str, path: str, view: Any, public: bool, told: dict[tuple[str, str], str]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": view.__name__,
        "tags": [name],
        "summary": (inspect.getdoc(view) or "").partition("\n")[0],
        "description": told.get((method, path), ""),
        "parameters": [
            {"name": part, "in": "path", "required": True, "schema": {"type": "string"}}
            for part in re.findall(r"\{(\w+)\}", path)
        ],
        "responses": {
            "default": {
                "description": "refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
        },
    }
    if (method, path) == ("POST", "/collect"):
        sample = json.loads(json.loads(_text("events/collect/single.json"))["body"])
        operation["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}, "example": sample}}}
    if not public:
        operation["security"] = [{"admin": []}]
    return operation


def settings_page() -> str:
    """Every setting with what it takes, from the model that reads it."""
    meanings = dict(re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \| .*? \| (.*) \|$", _page("settings.md"), re.MULTILINE))
    schema = Settings.model_json_schema()["properties"]
    lines = [
        "# Every setting, by its type\n",
        "Made from the model that reads them; [Settings](settings.md) has them by what they are for.\n",
        "| setting | takes | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in sorted(Settings.model_fields.items()):
        default = (
            "" if field.default in (None, PydanticUndefined) or isinstance(field.default, SecretStr) else field.default
        )
        shown = f"`{default}`" if isinstance(default, str | int | bool) and default != "" else ""
        lines.append(f"| `{name.upper()}` | {_takes(schema[name])} | {shown} | {meanings[name.upper()]} |")
    return "\n".join(lines) + "\n"


def _takes(schema: dict[str, Any]) -> str:
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    said = []
    for one in kinds:
        if one.get("format") == "password":
            said.append("a secret")
        elif "enum" in one:
            said.append(", ".join(f"`{value}`" for value in one["enum"]))
        elif one.get("type") == "integer":
            bounds = [str(one[bound]) for bound in ("minimum", "maximum") if bound in one]
            said.append("a number" + (f" from {' to '.join(bounds)}" if bounds else ""))
        elif one.get("type") == "boolean":
            said.append("`true` or `false`")
        elif one.get("type") == "array":
            said.append("several, with commas between them")
        elif one.get("type") == "object" or "$ref" in one:
            said.append("JSON")
        else:
            said.append("text")
    return ", or ".join(said)


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs: adds the pages that are made."""
    files.append(File.generated(config, "openapi.json", content=json.dumps(openapi(), indent=1)))
    files.append(File.generated(config, "settings-by-type.md", content=settings_page()))
    return files


def _page(name: str) -> str:
    return _text(f"docs/{name}")


def _text(name: str) -> str:
    return (Path(__file__).resolve().parents[2] / name).read_text("utf-8")
