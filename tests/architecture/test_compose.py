"""The compose file gives the runtime every setting, the world none of the operator's routes, and nobody more than he needs."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from cli.machine import NAMES
from storage.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS = ROOT / "local" / "containers"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEMO = yaml.safe_load((CONTAINERS / "s3.yml").read_text())
SERVICES = {**COMPOSE["services"], **DEMO["services"]}
FUNCTIONS = ("collect", "export_scheduled", "domain_discovery", "retention", "visitor_deletion")

# What the stack decides itself, and what an image has by its name or by a file.
OF_THE_STACK = {"AWS_ENDPOINT_URL_S3", "DATABASE_URL", "EVOTHESIS_TRUSTED_PROXIES", "EVOTHESIS_SECRETS_DIR"}
# What there is on AWS alone.
OF_AWS = {"COLLECT_QUEUE_URL", "EVOTHESIS_SECRETS_ARN"}
OF_A_CHECKOUT = {"EVOTHESIS_HOST", "EVOTHESIS_METRICS_PORT", "EVOTHESIS_PORT", "EVOTHESIS_INVOKE_PORT", "EVOTHESIS_DATA_DIR", "EVOTHESIS_CONFIG",
                 "EVOTHESIS_LOCALSTACK_PYTHON", "PG_BIN"}  # fmt: skip


def test_the_runtime_gets_every_setting_that_is_set_where_the_stack_is_started():
    passed = {name for name, value in SERVICES["runtime"]["environment"].items() if value is None}
    every = {name.upper() for name in Settings.model_fields} | NAMES
    assert passed == every - OF_THE_STACK - OF_A_CHECKOUT - OF_AWS


def test_no_route_of_the_operators_is_on_the_port_of_the_sites():
    hidden = re.search(r"location ~ (\S+) \{\s*return 404;", (CONTAINERS / "nginx" / "site.conf").read_text())
    for name in FUNCTIONS:
        app = importlib.import_module(f"{name}.app").api
        for path in app.app.routes:
            is_public = path in ("/collect", "/pixel.gif", "/health")
            assert bool(re.match(hidden[1], path)) != is_public, path


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_limit_a_rotated_log_and_no_way_to_more(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert name == "secrets" or ("mem_limit" in service and service["restart"] == "unless-stopped")
    # LocalStack writes wherever it likes.
    assert name == "localstack" or service["read_only"]


@pytest.mark.parametrize("name", ["runtime", "nginx", "postgres"])
def test_no_image_of_ours_runs_as_root(name):
    stages = (CONTAINERS / f"{name}.Dockerfile").read_text().split("\nFROM ")
    users = re.findall(r"^USER (\S+)", stages[-1], re.MULTILINE)
    assert users
    assert users[-1] != "root"


def test_every_image_of_ours_is_one_of_those():
    built = {service["build"]["dockerfile"] for service in SERVICES.values() if "build" in service}
    assert built == {f"local/containers/{name}.Dockerfile" for name in ("runtime", "nginx", "postgres")}


def test_only_the_sites_are_published_to_the_world():
    published = {port for service in SERVICES.values() for port in service.get("ports", ())}
    open_to_all = {port for port in published if "127.0.0.1" not in port}
    assert open_to_all == {"${EVOTHESIS_SITE_BIND:-0.0.0.0:80}:8080"}


def test_with_the_clients_bucket_no_other_s3_is_started():
    assert COMPOSE["include"] == ["local/containers/s3${CLIENT_S3_BUCKET:+-of-the-client}.yml"]
    instead = yaml.safe_load((CONTAINERS / "s3-of-the-client.yml").read_text())["services"]["localstack"]
    assert instead["profiles"] == ["demo"]
    assert not re.search(r"^[^#]", (CONTAINERS / "s3-of-the-client.env").read_text(), re.MULTILINE)
