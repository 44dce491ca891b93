"""Sites that have to be let in: their events wait apart, are let in or dropped with them, and are nobody's bill before."""

import pytest
from psycopg.types.json import Jsonb

import domain_discovery.app
import visitor_deletion.app
from storage import discovery, retention, settings

PAGE = {"event_type": "page_view", "url": "https://new.example.com/", "visitor_id": "visitor-1"}
KNOWN = {"event_type": "page_view", "url": "https://shop.example.com/"}


@pytest.fixture
def allowlist(environ):
    environ["DISCOVERY"] = "allowlist"
    environ["SITES"] = '{"shop.example.com": {"aliases": ["shop.example.net"]}}'
    return environ


@pytest.fixture
def decide(call):
    def decide(site_id, what):
        answer = call(domain_discovery.app.handler, "POST", f"/sites/{site_id}/{what}")
        return answer.status, answer.json.get("state") or answer.json["error"]["code"]

    return decide


@pytest.fixture
def sites(call):
    def sites():
        return {one["site_id"]: one for one in call(domain_discovery.app.handler, "GET", "/sites").json["sites"]}

    return sites


def test_a_site_that_nobody_let_in_is_answered_as_any_other_and_kept_apart(allowlist, post, rows, sites):
    for page in (PAGE, KNOWN, {**KNOWN, "url": "https://shop.example.net/"}):
        answer = post(page)
        assert (answer.status, answer.json["accepted"]) == (202, 1)
    assert [row["site_id"] for row in rows("SELECT site_id FROM events")] == ["shop.example.com"] * 2
    assert rows("SELECT site_id, visitor_id FROM quarantined_events") == [
        {"site_id": "new.example.com", "visitor_id": "visitor-1"}
    ]
    new = sites()["new.example.com"]
    assert (new["state"], new["kind"], new["events"], new["quarantined_events"]) == ("seen", "public", 0, 1)
    assert rows("SELECT type, about FROM webhook_messages WHERE about = 'site new.example.com'") == [
        {"type": "site.discovered", "about": "site new.example.com"}
    ]


def test_sent_again_while_it_is_apart_it_is_a_duplicate(allowlist, post, rows):
    event = {**PAGE, "event_id": "0b8ad5b6-6d0c-4e0e-9a53-6d0b4c2f8f11"}
    assert [post(event).json["accepted"] for _ in range(2)] == [1, 0]
    assert len(rows("SELECT 1 FROM quarantined_events")) == 1


def test_let_in_a_site_brings_its_events_under_ids_that_the_next_export_takes(allowlist, post, rows, sites, decide):
    event = {**PAGE, "event_id": "0b8ad5b6-6d0c-4e0e-9a53-6d0b4c2f8f11", "data": {"n": 1}}
    post(event)
    post(KNOWN)
    assert decide("new.example.com", "confirm") == (200, "confirmed")
    assert post(event).json["duplicates"] == 1
    post(PAGE)

    found = rows("SELECT site_id, raw_event_data FROM events ORDER BY id")
    assert [row["site_id"] for row in found] == ["shop.example.com", "new.example.com", "new.example.com"]
    assert found[1]["raw_event_data"]["data"] == {"n": 1}
    assert rows("SELECT 1 FROM quarantined_events") == []
    assert (sites()["new.example.com"]["events"], sites()["new.example.com"]["confirmed_by"]) == (2, "operator")
    assert [row["type"] for row in rows("SELECT type FROM webhook_messages WHERE about = 'site new.example.com'")] == [
        "site.discovered",
        "site.confirmed",
    ]


def test_refused_a_site_loses_them_and_is_told_so_from_then_on(allowlist, post, rows, decide):
    post(PAGE)
    assert decide("new.example.com", "refuse") == (200, "refused")
    assert rows("SELECT 1 FROM quarantined_events") == []
    refused = post(PAGE)
    assert (refused.status, refused.json["rejected"][0]["reason"]) == (400, "site_refused")
    assert rows("SELECT 1 FROM rejected_events") == []
    assert rows("SELECT site_id, events FROM turned_away_events") == [{"site_id": "new.example.com", "events": 1}]
    assert decide("new.example.com", "confirm") == (200, "confirmed")
    assert post(PAGE).status == 202


def test_in_a_closed_installation_nothing_of_another_site_is_kept(allowlist, post, rows):
    allowlist["DISCOVERY"] = "closed"
    mixed = post({"events": [PAGE, KNOWN]})
    assert (mixed.status, mixed.json["accepted"]) == (202, 1)
    assert [(one["index"], one["reason"]) for one in mixed.json["rejected"]] == [(0, "site_unknown")]
    assert rows("SELECT 1 FROM quarantined_events") == []
    assert rows("SELECT 1 FROM rejected_events") == []
    assert rows("SELECT site_id, events FROM turned_away_events") == [{"site_id": "", "events": 1}]


@pytest.mark.parametrize("mode", ["allowlist", "closed"])
def test_an_event_of_no_site_is_refused_where_sites_are_let_in(allowlist, post, rows, mode):
    allowlist["DISCOVERY"] = mode
    assert post({"event_type": "custom"}).json["rejected"][0]["reason"] == "site_unknown"
    assert rows("SELECT 1 FROM events UNION ALL SELECT 1 FROM quarantined_events") == []


@pytest.mark.parametrize("mode", ["allowlist", "closed"])
def test_a_site_can_be_let_in_before_its_first_event(allowlist, post, rows, decide, mode):
    allowlist["DISCOVERY"] = mode
    assert decide("www.New.example.com", "confirm") == (200, "confirmed")
    assert post(PAGE).status == 202
    assert [row["site_id"] for row in rows("SELECT site_id FROM events")] == ["new.example.com"]
    assert decide("not a host", "confirm") == (404, "site_unknown")


def test_a_site_that_the_settings_name_is_not_refused_by_hand(allowlist, post, decide):
    post(KNOWN)
    assert decide("shop.example.com", "refuse") == (409, "site_named")


def test_among_a_flood_of_names_a_known_one_is_found(allowlist, post, rows, decide, monkeypatch):
    monkeypatch.setattr(discovery, "MOST_UNCONFIRMED", 2)
    for number in range(3):
        for _ in range(2):
            post({**PAGE, "url": f"https://made-up-{number}.example.net/"})
    post(PAGE)
    assert decide("new.example.com", "refuse") == (200, "refused")
    assert [row["site_id"] for row in rows("SELECT DISTINCT site_id FROM quarantined_events ORDER BY 1")] == [
        f"made-up-{number}.example.net" for number in range(3)
    ]


def test_evidence_lets_nobody_in(allowlist, post, sites, environ):
    environ["DISCOVERY_MINUTES"] = "0"
    for session in ("session-1", "session-2", "session-3", "session-4"):
        post({**PAGE, "session_id": session}, headers={"origin": "https://new.example.com"})
    assert sites()["new.example.com"]["state"] == "seen"


def test_a_site_of_any_kind_can_be_let_in_and_only_a_public_one_is_told_of(allowlist, post, rows, decide, sites):
    post({**PAGE, "url": "http://localhost:3000/"})
    assert decide("localhost", "confirm") == (200, "confirmed")
    assert (sites()["localhost"]["state"], sites()["localhost"]["events"]) == ("confirmed", 1)
    assert rows("SELECT 1 FROM webhook_messages") == []


def test_back_to_auto_what_was_kept_apart_comes_in(allowlist, post, connection, rows):
    for number in range(3):
        post({**PAGE, "url": f"https://n{number}.example.com/"})
    connection.execute("UPDATE sites SET state = 'refused' WHERE site_id = 'n1.example.com'")
    discovery.discover(connection, settings.current())
    connection.execute("UPDATE sites SET state = 'refused' WHERE site_id = 'n1.example.com'")
    allowlist["DISCOVERY"] = "auto"
    discovery.discover(connection, settings.current())
    assert {row["site_id"] for row in rows("SELECT site_id FROM events")} == {"n0.example.com", "n2.example.com"}
    assert rows("SELECT 1 FROM quarantined_events") == []


def test_a_visitor_is_erased_there_too_and_is_let_in_no_more(allowlist, post, call, rows, decide):
    post(PAGE)
    copy = call(visitor_deletion.app.handler, "GET", "/visitors/visitor-1/events").json
    assert [row["reason"] for row in copy["rejected_events"]] == ["quarantined"]
    erased = call(visitor_deletion.app.handler, "DELETE", "/visitors/visitor-1")
    assert erased.json["rejected_events_erased"] == 1
    assert post(PAGE).status == 202
    assert decide("new.example.com", "confirm")[0] == 200
    assert rows("SELECT 1 FROM events UNION ALL SELECT 1 FROM quarantined_events") == []


def test_what_is_kept_apart_grows_as_old_as_what_was_refused(allowlist, post, connection, rows):
    allowlist["POLICY"] = '{"refused_days": 30}'
    post(PAGE)
    post({**PAGE, "visitor_id": "visitor-2"})
    connection.execute(
        "UPDATE quarantined_events SET received_at = now() - interval '31 days' WHERE visitor_id = 'visitor-1'"
    )
    assert retention.run(settings.current()).refused == 1
    assert [row["visitor_id"] for row in rows("SELECT visitor_id FROM quarantined_events")] == ["visitor-2"]


def test_a_value_that_postgresql_refuses_takes_no_other_with_it_there_either(allowlist, post, rows, monkeypatch):
    good, bad = {**PAGE, "visitor_id": "visitor-2"}, {**PAGE, "path": "x"}

    def refusing(value, dumps):
        if any(event.visitor_id == "visitor-1" for event in value):
            value = [{"event_id": event.event_id, "timestamp": "never"} for event in value]
        return Jsonb(value, dumps)

    monkeypatch.setattr("storage.events.Jsonb", refusing)
    answer = post({"events": [good, bad]})
    assert (answer.json["accepted"], answer.json["rejected"][0]["reason"]) == (1, "unstorable")
    assert [row["visitor_id"] for row in rows("SELECT visitor_id FROM quarantined_events")] == ["visitor-2"]
