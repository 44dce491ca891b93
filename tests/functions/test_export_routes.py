"""Delivery on demand and by schedule, and what can be asked about it."""

import datetime as dt
import json
from types import SimpleNamespace

import pytest

import export_scheduled.app
from storage import database, ledger, runs, settings
from storage.export import run

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


def test_a_run_under_a_key_is_made_once_and_told_again(post, call, buckets, database_url):
    post({"event_type": "custom", "url": "https://a.example/"})
    first = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": "night-1"})
    post({"event_type": "custom", "url": "https://a.example/"})

    again = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": "night-1"})
    assert (again.status, again.json) == (200, first.json)
    assert call(export_scheduled.app.handler, "GET", "/export/status").json["unplanned_events"] == 1

    other = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": "night-2"})
    assert len(other.json["delivered"]) == 1


def test_what_became_of_a_run_is_told_while_another_is_under_way(post, call, buckets, database_url):
    first = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": "night-1"})
    with database.connect(database_url) as other, ledger.claim(other):
        again = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": "night-1"})
    assert (again.status, again.json) == (200, first.json)


def test_a_run_that_ran_out_of_time_goes_on_under_its_key(post, buckets, database_url):
    post({"event_type": "custom", "url": "https://a.example/"})
    assert run.run(settings.current(), lambda: False, "night-1").unfinished
    assert len(run.run(settings.current(), lambda: True, "night-1").delivered) == 1


def test_a_run_that_was_killed_is_made_again_under_its_key(post, call, buckets, database_url):
    post({"event_type": "custom", "url": "https://a.example/"})
    with database.connect(database_url) as killed, ledger.claim(killed):
        runs.begin(killed, "night-1")

    answer = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": "night-1"})

    assert len(answer.json["delivered"]) == 1


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "schl\u00fcssel"])
def test_a_key_that_is_none_is_refused_before_anything_is_done(post, call, buckets, key):
    post({"event_type": "custom", "url": "https://a.example/"})
    answer = call(export_scheduled.app.handler, "POST", "/export/run", headers={"idempotency-key": key})
    assert (answer.status, answer.json["error"]["code"]) == (400, "idempotency_key_invalid")
    assert call(export_scheduled.app.handler, "GET", "/export/status").json["unplanned_events"] == 1


def test_runs_of_long_ago_are_forgotten(connection):
    with ledger.claim(connection):
        old = runs.begin(connection, "old")
        connection.execute("UPDATE export_runs SET began_at = now() - interval '31 days'")
        assert runs.begin(connection, "old").run_id != old.run_id


def test_what_a_destination_lacks_is_told_in_events_bytes_and_seconds(post, call, buckets, environ, connection):
    post({"event_type": "custom", "url": "https://a.example/"})
    call(export_scheduled.app.handler, "POST", "/export/run")
    environ["BACKUP_S3_BUCKET"] = "nowhere-to-be-found"
    post({"event_type": "custom", "url": "https://a.example/"})
    post({"event_type": "custom", "url": "https://b.example/"})
    call(export_scheduled.app.handler, "POST", "/export/run")
    connection.execute("UPDATE export_batches SET window_start = now() - interval '1 hour' WHERE delivered_at IS NULL")

    client, backup = call(export_scheduled.app.handler, "GET", "/export/status").json["destinations"]

    assert (client["delivered"], client["pending"], client["backlog_events"], client["lag_seconds"]) == (2, 0, 0, 0)
    assert (backup["delivered"], backup["planned"], backup["backlog_events"]) == (1, 1, 2)
    assert backup["backlog_bytes"] == 2 * backup["bytes"]
    assert 3600 <= backup["lag_seconds"] < 3660
    assert "NoSuchBucket" in backup["last_error"]
    assert backup["last_error_at"]


def test_the_status_of_a_long_outage_of_a_large_bucket_is_told(call, database_url, buckets, connection):
    call(export_scheduled.app.handler, "POST", "/export/run")
    connection.execute("UPDATE export_deliveries SET rows = 10^10, bytes = 10^13")
    connection.execute(
        """
        INSERT INTO export_batches (batch_id, from_id, to_id, window_start, window_end, events, formats)
        VALUES ('long', 0, 10^10, now(), now(), 10^10, '{json}')
        """
    )
    connection.execute("INSERT INTO export_deliveries (batch_id, destination) VALUES ('long', 'backup')")
    [_, backup] = call(export_scheduled.app.handler, "GET", "/export/status").json["destinations"]
    assert backup["backlog_bytes"] == 10**13


@pytest.mark.parametrize(
    ("schedule", "within"), [("hourly", 3600), ("daily", 86_400), ("rate(5 minutes)", 300), ("rate(1 hour)", 3600)]
)
def test_the_next_run_is_told(call, database_url, buckets, environ, schedule, within):
    environ["EXPORT_SCHEDULE"] = schedule
    call(export_scheduled.app.handler, "POST", "/export/run")
    told = call(export_scheduled.app.handler, "GET", "/export/status").json["next_run_at"]
    left = (dt.datetime.fromisoformat(told) - dt.datetime.now(dt.UTC)).total_seconds()
    assert 0 < left <= within + 1


def test_before_the_first_run_a_rate_tells_no_next_one(call, database_url, buckets, environ):
    environ["EXPORT_SCHEDULE"] = "rate(5 minutes)"
    assert call(export_scheduled.app.handler, "GET", "/export/status").json["next_run_at"] is None


def test_batches_are_listed_page_by_page(call, database_url, connection, monkeypatch):
    connection.execute(
        """
        WITH made AS (
            INSERT INTO export_batches (batch_id, from_id, to_id, window_start, window_end, formats)
            SELECT 'batch-' || lpad(n::text, 3, '0'), n - 1, n, now(), now(), '{json}' FROM generate_series(1, 7) n
            RETURNING batch_id)
        INSERT INTO export_deliveries (batch_id, destination) SELECT batch_id, 'client' FROM made
        """
    )
    monkeypatch.setattr(export_scheduled.app, "PAGE", 3)
    pages, before = [], ""
    while not pages or before:
        page = call(export_scheduled.app.handler, "GET", f"/export/batches?before={before}")
        pages.append([item["batch_id"] for item in page.json["batches"]])
        before = page.json["next"]
    assert pages == [[f"batch-{n:03}" for n in ns] for ns in ((7, 6, 5), (4, 3, 2), (1,))]


@pytest.mark.parametrize("before", ["nothing", "nul%00"])
def test_a_page_before_no_batch_is_refused(call, database_url, buckets, before):
    answer = call(export_scheduled.app.handler, "GET", f"/export/batches?before={before}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "before_invalid")


def test_one_batch_tells_how_far_it_is(post, call, buckets):
    post({"event_type": "custom", "url": "https://a.example/"})
    [batch_id] = call(export_scheduled.app.handler, "POST", "/export/run").json["delivered"]

    batch = call(export_scheduled.app.handler, "GET", f"/export/batches/{batch_id}")

    assert (batch.status, batch.json["events"]) == (200, 1)
    assert [item["state"] for item in batch.json["deliveries"]] == ["delivered", "delivered"]
    unknown = call(export_scheduled.app.handler, "GET", "/export/batches/none")
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "batch_unknown")


def test_before_the_first_batch_each_destination_is_told_of(post, call, buckets):
    post({"event_type": "custom", "url": "https://a.example/"})
    status = call(export_scheduled.app.handler, "GET", "/export/status").json
    assert [(one["destination"], one["delivered"], one["backlog_events"]) for one in status["destinations"]] == [
        ("client", 0, 1),
        ("backup", 0, 1),
    ]


def test_a_schedule_is_told_by_its_name(call, buckets, environ):
    environ["EXPORT_SCHEDULE"] = "cron(0 * * * ? *)"
    assert call(export_scheduled.app.handler, "GET", "/export/config").json["schedule"] == "hourly"


def test_the_balance_tells_what_became_of_everything_that_came(post, call, buckets):
    for url in ("https://a.example/", "https://a.example/", "https://b.example/"):
        post({"event_type": "custom", "url": url})
    post({"event_type": "Not One", "url": "https://a.example/"})
    export_scheduled.app.handler(SCHEDULED, None)
    post({"event_type": "custom", "url": "https://a.example/"})

    answer = call(export_scheduled.app.handler, "GET", "/export/balance").json

    assert answer["balanced"] is True
    by_site = {line["site_id"]: line for line in answer["lines"]}
    assert by_site["a.example"]["received"] == 3
    assert by_site[""]["refused"] == 1, "a site that was not discovered has no line for what was refused"
    client = by_site["a.example"]["destinations"]["client"]
    assert (client["exported"], client["pending"], client["difference"]) == (2, 1, 0)
    one = call(export_scheduled.app.handler, "GET", "/export/balance?site_id=b.example").json
    assert [line["site_id"] for line in one["lines"]] == ["b.example"]
    empty = call(
        export_scheduled.app.handler, "GET", "/export/balance?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z"
    )
    assert empty.json["lines"] == []


@pytest.mark.parametrize(
    "query",
    [
        "to=9999-12-31T23:30:00Z",
        "to=9999-12-31T23:59:59-05:00",
        "from=soon",
        "to=2026-13-01",
        "from=2026-01-01&to=2025-01-01",
        "from=2025-01-01",
    ],
)
def test_a_range_of_the_balance_that_is_none_is_named(call, buckets, query):
    answer = call(export_scheduled.app.handler, "GET", f"/export/balance?{query}")
    assert (answer.status, answer.json["error"]["code"].rpartition("_")[2]) == (400, "invalid")


def test_in_real_time_enough_events_begin_a_run_before_the_minute_is_over(
    connection, buckets, environ, monkeypatch, delivered
):
    environ["EXPORT_SCHEDULE"] = "real-time"
    environ["EXPORT_SOONER_EVENTS"] = 2
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(export_scheduled.app, "REAL_TIME_SECONDS", 3)
    look, looks = ledger.has_unplanned, []

    def another_event_at_each_look(connection, most):
        looks.append(1)
        if len(looks) <= 2:
            connection.execute("INSERT INTO events (event_type, timestamp, raw_event_data) VALUES ('x', now(), '{}')")
        return look(connection, most)

    monkeypatch.setattr(run.ledger, "has_unplanned", another_event_at_each_look)

    export_scheduled.app.handler(SCHEDULED, None)

    assert [manifest["rows"] for manifest in delivered("client").manifests if manifest["rows"]] == [2]
