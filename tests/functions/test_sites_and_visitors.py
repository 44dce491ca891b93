"""Sites are discovered from the events; visitors are erased from them, with a receipt."""

import pytest

import domain_discovery.app
import visitor_deletion.app
from storage import database, erasures, portability, webhooks

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}


def page_view(site, **fields):
    return {"event_type": "page_view", "url": f"https://{site}/", **fields}


def test_the_operator_is_sent_what_there_is_to_tell(environ, call, database_url, rows):
    environ["WEBHOOK_URL"] = "http://127.0.0.1:1/"
    environ["WEBHOOK_SECRET"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    database.run(database_url, lambda connection: webhooks.tell(connection, "a", {}))
    domain_discovery.app.handler(SCHEDULED, None)
    [row] = rows("SELECT attempts, last_error FROM webhook_messages")
    assert row["attempts"] == 1
    assert "127.0.0.1 cannot be reached" in row["last_error"]


def test_a_new_site_is_discovered_once_with_first_and_last_sight(post, call):
    post({"events": [page_view("a.example"), page_view("b.example"), page_view("a.example")]})
    assert domain_discovery.app.handler(SCHEDULED, None) == {"discovered": ["a.example", "b.example"]}
    first = {site["site_id"]: site for site in call(domain_discovery.app.handler, "GET", "/sites").json["sites"]}

    post({"events": [page_view("a.example"), {"event_type": "custom"}]})
    assert domain_discovery.app.handler(SCHEDULED, None) == {"discovered": []}
    second = {site["site_id"]: site for site in call(domain_discovery.app.handler, "GET", "/sites").json["sites"]}

    assert {name: site["events"] for name, site in first.items()} == {"a.example": 2, "b.example": 1}
    assert {name: site["events"] for name, site in second.items()} == {"a.example": 3, "b.example": 1}
    assert second["a.example"]["first_seen_at"] == first["a.example"]["first_seen_at"]
    assert second["a.example"]["last_seen_at"] > first["a.example"]["last_seen_at"]
    assert second["b.example"] == first["b.example"]


def test_the_listing_knows_the_sites_of_the_last_second(post, call):
    post(page_view("new.example"))
    sites = call(domain_discovery.app.handler, "GET", "/sites").json["sites"]
    assert [site["site_id"] for site in sites] == ["new.example"]


def test_a_listing_that_is_long_comes_in_pages(post, call, monkeypatch):
    monkeypatch.setattr(domain_discovery.app, "PAGE", 2)
    post({"events": [page_view(f"{name}.example") for name in "abc"]})

    first = call(domain_discovery.app.handler, "GET", "/sites").json
    second = call(domain_discovery.app.handler, "GET", f"/sites?after={first['next']}").json

    assert [site["site_id"] for site in first["sites"]] == ["a.example", "b.example"]
    assert [site["site_id"] for site in second["sites"]] == ["c.example"]
    assert (first["next"], second["next"]) == ("b.example", None)


def test_erasure_takes_one_visitor_out_and_nobody_else(post, call, rows):
    post({"visitor_id": "visitor-1", "events": [page_view("a.example"), page_view("b.example"), {"event_type": "?"}]})
    post({"visitor_id": "visitor-2", "events": [page_view("a.example"), {"event_type": "?"}]})

    answer = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1")

    assert answer.status == 202
    assert answer.json["state"] == "pending"
    assert (answer.json["events_erased"], answer.json["rejected_events_erased"]) == (2, 1)
    assert "visitor-1" not in answer.text
    assert rows("SELECT visitor_id FROM events") == [{"visitor_id": "visitor-2"}]
    assert rows("SELECT visitor_id FROM rejected_events") == [{"visitor_id": "visitor-2"}]
    polled = call(visitor_deletion.app.handler, "GET", answer.headers["location"])
    assert (polled.status, polled.json) == (200, answer.json)

    assert visitor_deletion.app.handler(SCHEDULED, None) == {"completed": 1, "waiting": 0, "objects": 0}
    completed = call(visitor_deletion.app.handler, "GET", answer.headers["location"]).json
    assert (completed["state"], completed["receipt"]["events_erased"]) == ("completed", 2)


def test_a_copy_of_all_that_is_held_of_a_visitor_comes_in_pages(post, call, monkeypatch):
    monkeypatch.setattr(portability, "MOST_ROWS", 2)
    sent = [page_view(f"{name}.example", data={"n": 1.5}) for name in "abc"]
    post({"visitor_id": "visitor-1", "events": [*sent, {"event_type": "?"}]})
    post({"visitor_id": "visitor-2", **page_view("d.example")})

    first = call(visitor_deletion.app.handler, "GET", "/visitors/visitor-1/events").json
    second = call(visitor_deletion.app.handler, "GET", f"/visitors/visitor-1/events?after={first['next']}").json

    assert [len(page["events"]) for page in (first, second)] == [2, 1]
    events = [*first["events"], *second["events"]]
    assert sorted(event["site_id"] for event in events) == ["a.example", "b.example", "c.example"]
    assert {event["visitor_id"] for event in events} == {"visitor-1"}
    assert second["events"][0]["raw_event_data"]["data"] == {"n": 1.5}
    assert [len(page["rejected_events"]) for page in (first, second)] == [1, 0]
    assert first["rejected_events"][0]["payload"]["event_type"] == "?"
    assert second["next"] is None


@pytest.mark.parametrize("path", ["/visitors/short/events", "/visitors/visitor-1/events?after=x"])
def test_what_is_no_page_of_no_visitor_is_named(call, database_url, path):
    assert call(visitor_deletion.app.handler, "GET", path).status == 400


def test_a_dry_run_says_what_would_go_and_takes_nothing(post, call, rows):
    post({"visitor_id": "visitor-1", "events": [page_view("a.example"), {"event_type": "?"}]})
    post({"visitor_id": "visitor-2", **page_view("a.example")})
    answer = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1?dry_run=true")
    assert (answer.status, answer.json["events"], answer.json["rejected_events"]) == (200, 1, 1)
    assert answer.json["share"] == 0.5
    assert rows("SELECT count(*) FROM events") == [{"count": 2}]
    assert rows("SELECT * FROM suppressed_visitors") == []


def test_more_than_a_visitor_can_have_done_is_erased_only_when_it_is_meant(call, connection, rows):
    connection.execute(
        """
        INSERT INTO events (event_type, visitor_id, timestamp, raw_event_data)
        SELECT 'page_view', 'a-proxy-of-all', now(), '{}' FROM generate_series(1, 10000)
        """
    )
    refused = call(visitor_deletion.app.handler, "DELETE", "/visitors/a-proxy-of-all")
    assert (refused.status, refused.json["error"]["code"]) == (409, "share_improbable")
    assert rows("SELECT count(*) FROM events") == [{"count": 10_000}]
    meant = call(visitor_deletion.app.handler, "DELETE", "/visitors/a-proxy-of-all?confirm=true")
    assert (meant.status, meant.json["events_erased"]) == (202, 10_000)


def test_half_of_all_is_no_visitor_either_where_there_is_more_than_a_handful(call, connection):
    connection.execute(
        """
        INSERT INTO events (event_type, visitor_id, timestamp, raw_event_data)
        SELECT 'page_view', 'undefined', now(), '{}' FROM generate_series(1, 1000)
        """
    )
    refused = call(visitor_deletion.app.handler, "DELETE", "/visitors/undefined")
    assert (refused.status, refused.json["error"]["code"]) == (409, "share_improbable")


def test_a_wish_that_is_there_twice_erases_nobody(post, call, rows):
    post({"visitor_id": "visitor-1", **page_view("a.example")})
    answer = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1?dry_run=true&dry_run=false")
    assert (answer.status, answer.json["error"]["code"]) == (400, "parameter_repeated")
    assert rows("SELECT count(*) FROM events") == [{"count": 1}]


def test_a_wish_that_is_neither_true_nor_false_is_named(call, database_url):
    answer = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1?dry_run=perhaps")
    assert (answer.status, answer.json["error"]["code"]) == (400, "dry_run_invalid")


def test_a_misspelled_wish_erases_nobody(post, call, rows):
    post({"visitor_id": "visitor-1", **page_view("a.example")})
    answer = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1?dryrun=true")
    assert (answer.status, answer.json["error"]["code"]) == (400, "parameter_unknown")
    assert rows("SELECT count(*) FROM events") == [{"count": 1}]


def test_erasing_again_while_it_goes_on_is_the_same_erasure(post, call):
    post({"visitor_id": "visitor-1", **page_view("a.example")})
    first = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1").json
    second = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1").json
    assert (first["events_erased"], second) == (1, first)


def test_sites_and_counts_survive_an_erasure(post, call):
    post({"visitor_id": "visitor-1", **page_view("a.example")})
    call(domain_discovery.app.handler, "GET", "/sites")
    call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1")
    sites = call(domain_discovery.app.handler, "GET", "/sites").json["sites"]
    assert [(site["site_id"], site["events"]) for site in sites] == [("a.example", 1)]


@pytest.mark.parametrize("visitor_id", ["short", "a" * 65, "jane@mail.example", "a%20b%20c%20d"])
def test_what_is_no_visitor_id_is_named(call, database_url, visitor_id):
    answer = call(visitor_deletion.app.handler, "DELETE", f"/visitors/{visitor_id}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "visitor_id_invalid")
    assert visitor_id not in answer.text


def test_erasures_that_wait_are_listed_and_what_blocks_one_comes_first(call, connection, database_url):
    ids = [call(visitor_deletion.app.handler, "DELETE", f"/visitors/visitor-{n}").json["erasure_id"] for n in range(3)]
    erasures.hold(connection, ids[2], "blocked", "client bucket events: denied")
    listed = call(visitor_deletion.app.handler, "GET", "/erasures").json["erasures"]
    assert [(one["erasure_id"], one["state"]) for one in listed] == [
        (ids[2], "blocked"),
        (ids[0], "pending"),
        (ids[1], "pending"),
    ]
    assert listed[0]["reason"] == "client bucket events: denied"


@pytest.mark.parametrize(
    ("erasure_id", "status", "code"),
    [("nonsense", 400, "erasure_id_invalid"), ("00000000-0000-4000-8000-000000000000", 404, "erasure_unknown")],
)
def test_a_receipt_that_does_not_exist_is_named(call, database_url, erasure_id, status, code):
    answer = call(visitor_deletion.app.handler, "GET", f"/erasures/{erasure_id}")
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
