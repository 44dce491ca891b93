"""The house rules, held by a test: template, folders and documents agree, and intake stays light."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import parameters
from cli.machine import NAMES
from emulator import intrinsics, template
from storage import settings
from storage.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir() if (path / "app.py").exists())
PACKAGES = {
    "layers/storage/python/storage": "storage",
    "layers/httpapi/python/httpapi": "httpapi",
    "local/emulator": "emulator",
    "local/services": "services",
    "local/cli": "cli",
    **{f"functions/{name}": name for name in FUNCTIONS},
}
MODULES = sorted(
    ".".join([package, *file.relative_to(ROOT / folder).with_suffix("").parts]).removesuffix(".__init__")
    for folder, package in PACKAGES.items()
    for file in (ROOT / folder).rglob("*.py")
)
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_template_has_every_function_under_its_folders_name():
    resources = intrinsics.read(ROOT / "sam-template.yaml")["Resources"]
    handlers = {
        name: resource["Properties"]["Handler"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    camel = {name: "".join(part.capitalize() for part in name.split("_")) for name in FUNCTIONS}
    assert handlers == {camel[name]: f"{name}.app.handler" for name in FUNCTIONS}


def test_the_template_routes_what_the_functions_answer():
    resources = intrinsics.read(ROOT / "sam-template.yaml")["Resources"]
    for name in FUNCTIONS:
        routes = importlib.import_module(f"{name}.app").api.app.routes
        answered = {(method, path) for path, methods in routes.items() for method in methods}
        logical_id = "".join(part.capitalize() for part in name.split("_"))
        events = resources[logical_id]["Properties"]["Events"].values()
        routed = {(e["Properties"]["Method"], e["Properties"]["Path"]) for e in events if e["Type"] == "HttpApi"}
        assert routed == answered


def test_every_module_is_imported_in_an_empty_environment():
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    environ = {"PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-W", "error::SyntaxWarning", "-c", code, *MODULES], env=environ, check=True)


@pytest.mark.parametrize("function", ["collect", "domain_discovery", "retention", "visitor_deletion"])
def test_a_function_that_does_not_export_loads_nothing_heavy(function):
    code = f"import {function}.app, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # Powertools looks whether botocore is there; what would cost time is its session.
    assert not {"pyarrow", "boto3", "botocore.session", "adbc_driver_postgresql"} & set(loaded)


def test_every_setting_is_documented_and_no_other():
    documented = set(re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    of_the_machine = set(re.findall(r'environ\.get\("(\w+)"\)', (ROOT / "local" / "cli" / "machine.py").read_text()))
    assert documented == {name.upper() for name in Settings.model_fields} | NAMES
    assert of_the_machine == NAMES - {"EVOTHESIS_CONFIG", "EVOTHESIS_SECRETS_ARN", "EVOTHESIS_SECRETS_DIR", "PG_BIN"}


def test_every_setting_reaches_a_function_under_its_name():
    given = template.load(
        ROOT / "sam-template.yaml", {"DatabaseUrl": "-", "AdminToken": "-", "PrivacyKey": "-"}
    ).functions.values()
    variables = {name for function in given for name in function.environment}
    # The endpoint that stands for both is resolved into each bucket's own.
    assert {name.upper() for name in Settings.model_fields} - {"AWS_ENDPOINT_URL_S3"} <= variables


def test_what_the_runner_is_set_to_reaches_the_functions(environ):
    environ["COLLECT_MAX_EVENTS"] = 5
    environ["EXPORT_FORMAT"] = "csv"
    environ["CLIENT_S3_BUCKET"] = "a-bucket"
    given = parameters.of(settings.load()) | {"DatabaseUrl": "-"}
    functions = template.load(ROOT / "sam-template.yaml", given).functions
    assert functions["Collect"].environment["COLLECT_MAX_EVENTS"] == "5"
    assert functions["ExportScheduled"].environment["EXPORT_FORMAT"] == "csv"
    assert functions["ExportScheduled"].environment["CLIENT_S3_BUCKET"] == "a-bucket"


def test_the_policies_that_can_be_asked_for_are_those_that_are_obeyed():
    given = {"DatabaseUrl": "-", "AdminToken": "-", "PrivacyKey": "-", "Policy": "{a}", "SitePolicies": "{b}"}
    functions = template.load(ROOT / "sam-template.yaml", given).functions
    for name in ("Collect", "Retention", "ExportScheduled"):
        assert (functions[name].environment["POLICY"], functions[name].environment["SITE_POLICIES"]) == ("{a}", "{b}")


def test_every_route_is_documented():
    documented = set(re.findall(r"^### `(\w+) (\S+)`", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    routes = {
        (method, path)
        for name in FUNCTIONS
        for path, methods in importlib.import_module(f"{name}.app").api.app.routes.items()
        for method in methods
    }
    assert documented == routes


def test_lock_files_name_no_address():
    for name in TRACKED:
        if "requirements" in name or name.endswith("package-lock.json"):
            assert not re.search(
                r"\bhttps?://\S*\.(tgz|whl|tar)|--index-url|\"resolved\"", (ROOT / name).read_text()
            ), name


def test_the_layers_hold_the_versions_that_are_tested():
    tested = set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    for file in (ROOT / "layers" / "dependencies").glob("*/requirements.txt"):
        assert set(re.findall(r"^(\S+==\S+)", file.read_text(), re.MULTILINE)) <= tested


def test_no_module_has_a_name_that_says_nothing():
    nothing = {"utils", "helpers", "common", "manager", "core", "misc", "base"}
    assert not [name for name in TRACKED if name.endswith(".py") and Path(name).stem in nothing]


@pytest.mark.parametrize("name", ["runbook", "security"])
def test_what_a_page_says_is_shown_by_tests_that_there_are(name):
    page = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 15
    for file, function in named:
        assert not function or f"\ndef {function}(" in (ROOT / file).read_text("utf-8"), function
        assert (ROOT / file).is_file()


def test_every_claim_of_the_privacy_page_names_a_test_that_there_is():
    page = (ROOT / "docs" / "privacy.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    told = re.findall(r'`(pixel/test/[\w/.]+\.ts)`(?: has each platform)?: "([^"]+)"', page)
    assert len(named) > 20
    assert len(told) > 5
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text("utf-8"), name
    for file, title in told:
        assert title in (ROOT / file).read_text("utf-8"), title
