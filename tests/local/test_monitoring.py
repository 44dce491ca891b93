"""What the alerts go by is what the runtime tells."""

import json
import re
from pathlib import Path

import httpx
import yaml

from services.child import free_port

ROOT = Path(__file__).resolve().parents[2]
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "local/monitoring/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
METRIC = re.compile(r"\b(?:evothesis|lambda|http)_[a-z_]+")


def test_every_metric_of_an_alert_is_one_that_there_is(run):
    port = free_port(0)
    running = run(EVOTHESIS_METRICS_PORT=str(port))
    httpx.post(f"{running.url}/collect", json={"event_type": "page_view", "url": "https://shop.example.com/"})
    httpx.post(f"{running.url}/export/run", headers=running.admin, timeout=60)
    for function in ("DomainDiscovery", "VisitorDeletion"):
        invoked(running, function)

    told = httpx.get(f"http://127.0.0.1:{port}/metrics").text

    known = set(re.findall(r"^# TYPE (\S+)", told, re.MULTILINE)) | set(
        re.findall(r"^([a-z_]+)[{ ]", told, re.MULTILINE)
    )
    # Counters of what has not happened are not there yet; the functions' pages name them.
    documented = (ROOT / "docs/runtime.md").read_text()
    for rule in RULES:
        for metric in METRIC.findall(rule["expr"]):
            named = metric in documented or metric.replace("evothesis", "", 1) in documented
            assert metric in known or (named and metric.endswith("_total")), metric


def test_only_metrics_are_on_their_port(run):
    port = free_port(0)
    run(EVOTHESIS_METRICS_PORT=str(port))
    for path in ("/", "/2015-03-31/functions/Collect/invocations", "/events/count"):
        assert "lambda_" in httpx.get(f"http://127.0.0.1:{port}{path}").text


def test_every_alert_has_a_page_of_the_runbook():
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in RULES:
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/runbook.md"
        assert anchor in anchors


def invoked(running, function):
    at = running.process_data / "runtime.json"
    url = json.loads(at.read_text())["invoke_url"]
    httpx.post(
        f"{url}/2015-03-31/functions/{function}/invocations",
        headers={"Authorization": "AWS4-HMAC-SHA256 Credential=local"},
        json={"source": "evothesis", "detail-type": "Scheduled Event", "detail": {}},
        timeout=60,
    ).raise_for_status()
