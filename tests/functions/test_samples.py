"""Every sample in `events/` is taken by the handler whose folder it lies in, and does what its name says."""

import importlib
import json
from pathlib import Path

import pytest

EVENTS = Path(__file__).resolve().parents[2] / "events"
SAMPLES = sorted(EVENTS.rglob("*.json"))

STATUS = {
    "collect/batch": 202,
    "collect/single": 202,
    "collect/sam_http_api": 202,
    "collect/partly_refused": 202,
    "collect/do_not_track": 204,
    "collect/preflight": 204,
    "collect/health": 200,
    "collect/events_count": 200,
    "collect/events_recent": 200,
    "export_scheduled/run": 200,
    "export_scheduled/status": 200,
    "export_scheduled/config": 200,
    "domain_discovery/sites": 200,
    "domain_discovery/usage": 200,
    "visitor_deletion/erase": 202,
    "visitor_deletion/copy": 200,
    "visitor_deletion/receipt": 404,
}
RETURNED = {
    "collect/queue": {"batchItemFailures": []},
    "collect/sam_queue": {"batchItemFailures": []},
    # That nothing came in this hour is delivered too.
    "export_scheduled/schedule": {"planned": 1, "failures": {}, "unfinished": False},
    "export_scheduled/sam_schedule": {"planned": 1, "failures": {}, "unfinished": False},
    "domain_discovery/schedule": {"discovered": []},
    "domain_discovery/sam_schedule": {"discovered": []},
    "retention/schedule": {"events": 0, "refused": 0, "objects": 0},
}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_sample_is_answered(sample, database_url, buckets, environ):
    environ["EVOTHESIS_ADMIN_TOKEN"] = "demo-admin-token"
    app = importlib.import_module(f"{sample.parent.name}.app")
    name = f"{sample.parent.name}/{sample.stem}"

    answer = app.handler(json.loads(sample.read_text()), None)

    if name in RETURNED:
        assert {key: answer[key] for key in RETURNED[name]} == RETURNED[name]
    else:
        assert answer["statusCode"] == STATUS[name]


def test_every_function_has_samples_and_every_sample_is_expected():
    names = {f"{sample.parent.name}/{sample.stem}" for sample in SAMPLES}
    assert names == set(STATUS) | set(RETURNED)
