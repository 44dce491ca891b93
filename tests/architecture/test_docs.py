"""The site is made, and its reference is what the code says."""

import importlib.util
import re
from pathlib import Path

import pytest

from emulator import template
from storage.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference():
    described = importlib.util.spec_from_file_location("reference", ROOT / "docs/site/reference.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def test_the_openapi_document_has_every_route_and_says_which_want_the_token(reference):
    document = reference.openapi()
    routes = {(route.method, route.path) for route in template.load(ROOT / "sam-template.yaml", {}).routes}
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == routes
    open_to_all = {
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if "security" not in operation
    }
    assert open_to_all == {"/collect", "/pixel.gif", "/health"}


def test_every_operation_says_what_it_is(reference):
    operations = [each for methods in reference.openapi()["paths"].values() for each in methods.values()]
    for operation in operations:
        assert operation["summary"]
        assert operation["description"], operation["operationId"]


def test_every_setting_is_in_the_reference_with_what_it_takes(reference):
    page = reference.settings_page()
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ([^|]+) \|", page, re.MULTILINE)
    assert {name for name, _ in rows} == {name.upper() for name in Settings.model_fields}
    takes = dict(rows)
    assert takes["EXPORT_BATCH_ROWS"] == "a number from 1 to 10000000"
    assert takes["CLIENT_S3_SECRET_KEY"] == "a secret"
    assert takes["RETENTION_WAITS_FOR_BUCKETS"] == "`true` or `false`"
