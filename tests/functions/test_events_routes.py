"""What an operator asks: health, count, recent events, and who may ask."""

import pytest

import collect.app
import domain_discovery.app
import export_scheduled.app
import visitor_deletion.app

ADMIN_ROUTES = [
    (collect.app, "GET", "/events/count"),
    (collect.app, "GET", "/events/recent"),
    (export_scheduled.app, "POST", "/export/run"),
    (export_scheduled.app, "GET", "/export/status"),
    (export_scheduled.app, "GET", "/export/config"),
    (domain_discovery.app, "GET", "/sites"),
    (visitor_deletion.app, "DELETE", "/visitors/visitor-1"),
    (visitor_deletion.app, "GET", "/erasures"),
    (visitor_deletion.app, "GET", "/erasures/00000000-0000-0000-0000-000000000000"),
]


@pytest.mark.parametrize(("app", "method", "path"), ADMIN_ROUTES)
@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic demo-admin-token", "Bearer demo-admin-token2"])
def test_every_other_route_wants_the_admin_token(call, database_url, app, method, path, authorization):
    answer = call(app.handler, method, path, admin=False, headers={"authorization": authorization})

    assert (answer.status, answer.json["error"]["code"]) == (401, "unauthorized")
    assert "www-authenticate" in answer.headers


def test_no_token_is_right_while_none_is_set(call, environ, database_url):
    environ["EVOTHESIS_ADMIN_TOKEN"] = ""
    answer = call(collect.app.handler, "GET", "/events/count", admin=False, headers={"authorization": "Bearer "})
    assert answer.status == 401


def test_health_tells_whether_events_can_be_stored(call, database_url, environ):
    assert call(collect.app.handler, "GET", "/health", admin=False).json == {"status": "ok", "database": "connected"}

    environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"
    down = call(collect.app.handler, "GET", "/health", admin=False)
    assert (down.status, down.json["database"]) == (503, "unreachable")


def test_count_and_recent_show_what_was_stored_newest_first(post, call):
    for number in range(3):
        post({"event_type": "custom", "url": f"https://{'ab'[number % 2]}.example/", "data": {"number": number}})

    assert call(collect.app.handler, "GET", "/events/count").json == {"count": 3}
    events = call(collect.app.handler, "GET", "/events/recent?limit=2").json["events"]
    assert [event["raw_event_data"]["data"]["number"] for event in events] == [2, 1]
    assert events[0]["created_at"].endswith("Z")
    of_one_site = call(collect.app.handler, "GET", "/events/recent?site_id=b.example").json["events"]
    assert [event["site_id"] for event in of_one_site] == ["b.example"]


def test_recent_events_are_as_many_as_one_answer_can_hold(call, connection):
    connection.execute(
        "INSERT INTO events_log (event_type, timestamp, raw_event_data)"
        " SELECT 'custom', now(), jsonb_build_object('text', repeat('x', 900000)) FROM generate_series(1, 8)"
    )
    answer = call(collect.app.handler, "GET", "/events/recent")
    assert (answer.status, len(answer.json["events"])) == (200, 4)


def test_an_event_that_was_stored_by_hand_with_a_number_beyond_ours_is_shown(call, connection):
    connection.execute(
        "INSERT INTO events_log (event_type, timestamp, raw_event_data) VALUES ('custom', now(), '{\"n\": 1e400}')"
    )
    assert call(collect.app.handler, "GET", "/events/recent").status == 200


def test_a_site_id_that_no_database_takes_is_named(call, database_url):
    answer = call(collect.app.handler, "GET", "/events/recent?site_id=%00")
    assert (answer.status, answer.json["error"]["code"]) == (400, "site_id_invalid")


@pytest.mark.parametrize(
    "limit", ["0", "1001", "-1", "x", "", "1e3", "99999999999999999999", "00000000199999999999999999999", "٣"]
)
def test_a_limit_that_makes_no_sense_is_named(call, database_url, limit):
    answer = call(collect.app.handler, "GET", f"/events/recent?limit={limit}")
    assert (answer.status, answer.json["error"]["code"]) == (400, "limit_invalid")
