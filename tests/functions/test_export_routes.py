"""Delivery on demand and by schedule, and what can be asked about it."""

import json
from types import SimpleNamespace

import export_scheduled.app
from storage import database, ledger

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


def test_a_run_delivers_what_is_due_and_says_so(post, call, buckets, delivered):
    post({"event_type": "custom", "url": "https://a.example/"})

    answer = call(export_scheduled.app.handler, "POST", "/export/run")

    assert (answer.status, answer.json["planned"], answer.json["failures"]) == (200, 1, {})
    [batch_id] = answer.json["delivered"]
    assert [manifest["batch_id"] for manifest in delivered("client").manifests] == [batch_id]
    again = call(export_scheduled.app.handler, "POST", "/export/run")
    assert again.json == {"planned": 0, "delivered": [], "failures": {}, "unfinished": False}


def test_a_schedule_delivers_the_same_way(post, buckets, delivered):
    post({"event_type": "custom", "url": "https://a.example/"})
    assert len(export_scheduled.app.handler(SCHEDULED, None)["delivered"]) == 1
    assert len(delivered("backup").rows["parquet"]) == 1


def test_a_run_near_its_deadline_leaves_the_rest_for_the_next(post, buckets):
    post({"event_type": "custom", "url": "https://a.example/"})
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 1000, aws_request_id="r")
    assert export_scheduled.app.handler(SCHEDULED, context)["unfinished"] is True


def test_a_refusing_bucket_makes_the_run_a_failure_that_names_it(post, call, buckets, environ):
    environ["CLIENT_S3_BUCKET"] = "nowhere-to-be-found"
    post({"event_type": "custom", "url": "https://a.example/"})

    answer = call(export_scheduled.app.handler, "POST", "/export/run")

    assert answer.status == 502
    assert "NoSuchBucket" in answer.json["failures"]["client"]
    status = call(export_scheduled.app.handler, "GET", "/export/status").json
    assert [item["pending"] for item in status["destinations"]] == [1, 0]


def test_a_missing_setting_is_named(post, call, database_url):
    answer = call(export_scheduled.app.handler, "POST", "/export/run")
    assert (answer.status, answer.json["error"]["code"]) == (500, "settings_invalid")
    assert "CLIENT_S3_BUCKET is not set" in answer.json["error"]["message"]


def test_a_run_while_another_is_under_way_is_refused(call, database_url, buckets):
    with database.connect(database_url) as other, ledger.claim(other):
        answer = call(export_scheduled.app.handler, "POST", "/export/run")
    assert (answer.status, answer.json["error"]["code"]) == (409, "export_running")


def test_a_schedule_that_comes_while_another_run_is_under_way_is_no_failure(database_url, buckets):
    with database.connect(database_url) as other, ledger.claim(other):
        assert export_scheduled.app.handler(SCHEDULED, None) == {"running": True}


def test_status_shows_backlog_states_and_batches(post, call, buckets):
    post({"event_type": "custom", "url": "https://a.example/"})
    call(export_scheduled.app.handler, "POST", "/export/run")
    post({"event_type": "custom", "url": "https://a.example/"})

    status = call(export_scheduled.app.handler, "GET", "/export/status").json

    assert status["unplanned_events"] == 1
    assert [(item["destination"], item["delivered"], item["rows"]) for item in status["destinations"]] == [
        ("client", 1, 1),
        ("backup", 1, 1),
    ]
    assert [item["state"] for item in status["batches"][0]["deliveries"]] == ["delivered", "delivered"]


def test_config_shows_everything_but_secrets(call, buckets, environ):
    environ["CLIENT_S3_SECRET_KEY"] = "hush"
    answer = call(export_scheduled.app.handler, "GET", "/export/config")
    assert answer.json["schedule_expression"] == "cron(0 * * * ? *)"
    assert answer.json["destinations"][0]["bucket"] == buckets.names["client"]
    assert answer.json["destinations"][0]["secret_key"] == "********"
    assert "hush" not in json.dumps(answer.json)
