"""What `/collect` stores, refuses and answers."""

import datetime as dt
import gzip
import json
import uuid

import pytest

import collect.app


def page_view(**fields):
    return {"event_type": "page_view", "url": "https://shop.example.com/p?utm_source=x", **fields}


def test_a_bare_event_is_stored_and_what_is_missing_is_filled_in(post, rows):
    answer = post(page_view(), headers={"user-agent": "Browser/1"})

    assert (answer.status, answer.json) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    [event] = rows("SELECT * FROM events_log")
    assert event["event_type"] == "page_view"
    assert event["site_id"] == "shop.example.com"
    assert event["path"] == "/p"
    assert event["user_agent"] == "Browser/1"
    assert isinstance(event["event_id"], uuid.UUID)
    assert abs(event["timestamp"] - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert event["raw_event_data"] == page_view()
    assert event["exported_at"] is None


def test_an_envelope_gives_its_fields_to_each_of_its_events(post, rows):
    post(
        {
            "visitor_id": "visitor-1",
            "session_id": "session-1",
            "site_id": None,
            "sent_at": "2026-11-23T10:00:00.123Z",
            "events": [page_view(seq=1), page_view(seq=2, visitor_id="visitor-2")],
        }
    )

    events = rows("SELECT visitor_id, session_id, raw_event_data FROM events_log ORDER BY raw_event_data->'seq'")
    assert [(event["visitor_id"], event["session_id"]) for event in events] == [
        ("visitor-1", "session-1"),
        ("visitor-2", "session-1"),
    ]
    assert events[0]["raw_event_data"]["sent_at"] == "2026-11-23T10:00:00.123Z"


def test_an_event_id_in_the_envelope_is_no_events_id(post):
    body = {"event_id": str(uuid.uuid4()), "events": [page_view(), page_view()]}
    assert post(body).json["accepted"] == 2


def test_what_an_envelope_says_is_small_for_it_is_stored_with_each_event(post, rows):
    small = post({"campaign": "x" * 1000, "events": [page_view()] * 3})
    large = post({"blob": ["a" * 8000] * 3, "events": [page_view()] * 3})

    assert small.json["accepted"] == 3
    assert (large.status, large.json["error"]["code"]) == (413, "envelope_too_large")
    assert rows("SELECT DISTINCT length(raw_event_data->>'campaign') AS length FROM events") == [{"length": 1000}]


def test_a_retry_is_a_duplicate_and_stored_once(post, rows):
    events = [page_view(event_id=str(uuid.uuid4())) for _ in range(3)]

    first = post({"events": events})
    second = post({"events": [*events, page_view()]})
    twice = post({"events": [page_view(event_id=events[0]["event_id"].upper())] * 2})

    assert first.json["accepted"] == 3
    assert second.json == {"accepted": 1, "duplicates": 3, "rejected": []}
    assert (twice.status, twice.json["duplicates"]) == (202, 2)
    assert rows("SELECT count(*) FROM events")[0]["count"] == 4


def test_a_good_event_is_stored_beside_a_bad_one_which_is_kept_with_its_reason(post, rows):
    answer = post({"events": [page_view(), {"event_type": "Page View!", "visitor_id": "visitor-1"}, "text"]})

    assert answer.status == 202
    assert answer.json["accepted"] == 1
    assert [(item["index"], item["reason"]) for item in answer.json["rejected"]] == [
        (1, "event_type_invalid"),
        (2, "not_an_object"),
    ]
    kept = rows("SELECT reason, visitor_id, payload FROM rejected_events ORDER BY id")
    assert kept[0] == {
        "reason": "event_type_invalid",
        "visitor_id": "visitor-1",
        "payload": {"event_type": "Page View!", "visitor_id": "visitor-1"},
    }


def test_when_every_event_is_refused_the_answer_is_400_with_each_reason(post, rows):
    answer = post({"events": [page_view(event_id="not-a-uuid")]})

    assert answer.status == 400
    assert answer.json["error"]["code"] == "event_id_invalid"
    assert answer.json["rejected"][0]["reason"] == "event_id_invalid"
    assert rows("SELECT reason FROM rejected_events") == [{"reason": "event_id_invalid"}]


@pytest.mark.parametrize(
    ("event", "headers", "site_id"),
    [
        ({"url": "https://Shop.Example.COM:8443/x"}, {}, "shop.example.com"),
        ({"url": "https://www.example.com./"}, {}, "example.com"),
        ({"url": "https://bücher.example/"}, {}, "xn--bcher-kva.example"),
        ({"url": "https://user:secret@a.example/x"}, {}, "a.example"),
        ({"url": "http://192.0.2.7/x"}, {}, "192.0.2.7"),
        ({"url": "http://[2001:db8::1]:80/"}, {}, "2001:db8::1"),
        ({"url": "https://a.example/", "site_id": "B.example"}, {}, "b.example"),
        ({"site_id": "www.a.example:443"}, {}, "a.example"),
        ({"site_id": "a.example."}, {}, "a.example"),
        ({"url": "https://www.com/"}, {}, "www.com"),
        (
            {
                "url": "https://a..b/",
            },
            {"origin": "https://o.example"},
            "o.example",
        ),
        ({}, {"origin": "https://o.example"}, "o.example"),
        ({}, {"origin": "null", "referer": "https://r.example/page"}, "r.example"),
        ({"url": "http://[broken/"}, {"origin": "https://o.example"}, "o.example"),
        ({}, {}, None),
    ],
)
def test_the_site_is_told_from_the_page_then_origin_then_referer(post, rows, event, headers, site_id):
    assert post({"event_type": "custom", **event}, headers=headers).status == 202
    assert rows("SELECT site_id FROM events") == [{"site_id": site_id}]


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain;charset=UTF-8", "APPLICATION/JSON; charset=utf-8"]
)
def test_json_and_plain_text_are_read_alike(post, content_type):
    assert post(page_view(), headers={"content-type": content_type}).status == 202


def test_what_curl_sends_with_d_is_read_although_it_calls_itself_a_form(post):
    assert post(page_view(), headers={"content-type": "application/x-www-form-urlencoded"}).status == 202


def test_a_gzip_body_of_several_members_is_read(post):
    text = json.dumps(page_view()).encode()
    body = gzip.compress(text[:20]) + gzip.compress(text[20:])
    assert post(body, headers={"content-encoding": "gzip", "content-type": "application/json"}).status == 202


@pytest.mark.parametrize(
    ("headers", "signal"),
    [({"dnt": "1"}, "dnt"), ({"sec-gpc": "1"}, "gpc"), ({"dnt": "1", "sec-gpc": "1"}, "gpc"), ({"dnt": "1, 1"}, "dnt")],
)
def test_a_privacy_signal_keeps_everything_out_but_a_number(post, rows, headers, signal):
    answers = [post(page_view(visitor_id="visitor-1"), headers=headers) for _ in range(2)]

    assert [(answer.status, answer.text) for answer in answers] == [(204, "")] * 2
    assert rows("SELECT count(*) FROM events")[0]["count"] == 0
    assert rows("SELECT count(*) FROM rejected_events")[0]["count"] == 0
    assert rows("SELECT signal, beacons FROM withheld_beacons") == [{"signal": signal, "beacons": 2}]


@pytest.mark.parametrize(
    "consent",
    [
        {"analytics": False},
        {"analytics": "false"},
        {"analytics": 0},
        {"state": "denied"},
        {"state": "unknown"},
        {"analytics": None, "state": "denied"},
        {"analytics": True, "state": "denied"},
        {"granted": False},
        {"analytics_storage": "denied", "ad_storage": "granted"},
        {"analytics": {"deep": True}},
        [True],
        "denied",
        False,
    ],
)
def test_refused_consent_keeps_everything_out_but_a_number(post, rows, consent):
    assert post({"consent": consent, "events": [page_view()]}).status == 204
    assert rows("SELECT signal, beacons FROM withheld_beacons") == [{"signal": "consent", "beacons": 1}]
    assert rows("SELECT count(*) FROM events")[0]["count"] == 0


def test_refused_consent_of_one_event_keeps_that_one_out(post, rows):
    refused = page_view(consent={"analytics": False}, visitor_id="visitor-1")

    both = post({"events": [page_view(), refused]})
    alone = post({"events": [refused]})

    assert (both.status, both.json["accepted"], alone.status) == (202, 1, 204)
    assert rows("SELECT visitor_id FROM events") == [{"visitor_id": None}]
    assert rows("SELECT signal, beacons FROM withheld_beacons") == [{"signal": "consent", "beacons": 2}]


@pytest.mark.parametrize(
    "consent",
    [
        {"analytics": True, "source": "tcf"},
        {"state": "granted"},
        {"source": "none"},
        {"analytics_storage": "granted"},
        True,
        None,
    ],
)
def test_consent_that_was_given_or_not_asked_for_changes_nothing(post, consent):
    assert post({"consent": consent, "events": [page_view()]}).status == 202


@pytest.mark.parametrize("value", ["0", "unspecified", "null", ""])
def test_a_signal_that_is_not_set_changes_nothing(post, value):
    assert post(page_view(), headers={"dnt": value, "sec-gpc": value}).status == 202


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("nonsense", None),
    ],
)
def test_of_an_address_only_the_network_is_stored(post, rows, address, stored):
    post(page_view(), source_ip=address)
    assert rows("SELECT host(ip_address) AS ip FROM events") == [{"ip": stored}]


def test_any_page_may_send_but_none_with_credentials(post, call):
    preflight = call(collect.app.handler, "OPTIONS", "/collect", admin=False, headers={"origin": "https://a.example"})

    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "*")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert post(page_view()).headers["access-control-allow-origin"] == "*"


def test_without_a_database_nothing_is_acknowledged_and_the_sender_is_told_when_to_try_again(post, environ):
    environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"

    answer = post(page_view())

    assert (answer.status, answer.json["error"]["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "5"


def test_a_connection_that_died_between_two_beacons_costs_nothing(post, rows, connection):
    post(page_view())
    connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    assert post(page_view()).status == 202
    assert rows("SELECT count(*) FROM events")[0]["count"] == 2


def test_a_batch_from_a_queue_is_stored_by_the_same_code(call, database_url, rows):
    event_id = str(uuid.uuid4())
    headers = {"user_agent": "Browser/1", "source_ip": "203.0.113.77", "origin": "https://o.example"}
    attributes = {name: {"stringValue": value, "dataType": "String"} for name, value in headers.items()}
    bodies = [
        page_view(event_id=event_id),
        page_view(event_id=event_id),
        {"event_type": "custom"},
        {"event_type": "?"},
    ]
    records = [
        {"messageId": str(number), "body": json.dumps(body), "messageAttributes": attributes}
        for number, body in enumerate(bodies)
    ]
    records.append({"messageId": "5", "body": "{", "messageAttributes": {"dnt": {"stringValue": "1"}}})

    returned = collect.app.handler({"Records": records}, None)

    assert returned["batchItemFailures"] == []
    statuses = {name: answer["statusCode"] for name, answer in by_id(returned).items()}
    assert statuses == {"0": 202, "1": 202, "2": 202, "3": 400, "5": 204}

    events = rows("SELECT site_id, user_agent, host(ip_address) AS ip FROM events ORDER BY site_id")
    assert [event["site_id"] for event in events] == ["o.example", "shop.example.com"]
    assert events[0]["user_agent"] == "Browser/1"
    assert events[0]["ip"] == "203.0.113.0"
    assert rows("SELECT reason FROM rejected_events") == [{"reason": "event_type_invalid"}]
    assert rows("SELECT signal FROM withheld_beacons") == [{"signal": "dnt"}]


def by_id(returned):
    """What each record of a batch is answered, in the order of their ids."""
    answers = {name: answer for answer in returned["answers"] for name in answer["messageIds"]}
    return dict(sorted(answers.items()))


def queued(*bodies, **attributes):
    """A batch event of *bodies* as a queue hands it over."""
    named = {name: {"stringValue": value, "dataType": "String"} for name, value in attributes.items()}
    records = [
        {"messageId": str(number), "body": json.dumps(body), "messageAttributes": named}
        for number, body in enumerate(bodies)
    ]
    return {"Records": records}


def test_a_batch_that_is_handed_in_again_leaves_everything_once(database_url, rows):
    batch = queued({"events": [page_view(), page_view()]}, {"events": [{"event_type": "?"}] * 2}, "{")

    first, second = (by_id(collect.app.handler(batch, None)) for _ in range(2))

    assert [json.loads(answers["0"]["body"])["accepted"] for answers in (first, second)] == [2, 0]
    assert rows("SELECT count(*) AS stored FROM events") == [{"stored": 2}]
    assert rows("SELECT count(*) AS refused FROM rejected_events") == [{"refused": 3}]


def test_consent_that_is_nested_without_end_takes_no_other_event_with_it(post):
    deep = json.loads("[" * 900 + "]" * 900)
    answer = post({"events": [page_view(), page_view(consent=deep), page_view(consent={"analytics": deep})]})
    assert (answer.status, answer.json["accepted"]) == (202, 1)


def test_a_batch_that_cannot_be_stored_stays_in_the_queue(environ, database_url):
    environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"

    returned = collect.app.handler(queued(page_view(), page_view()), None)

    assert returned["batchItemFailures"] == [{"itemIdentifier": "0"}, {"itemIdentifier": "1"}]
    for answer in by_id(returned).values():
        assert answer["statusCode"] == 503
        assert answer["headers"]["Retry-After"] == "5"
        assert json.loads(answer["body"])["error"]["code"] == "database_unavailable"


def test_a_privacy_signal_needs_no_database(environ, database_url):
    environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/nothing"

    returned = collect.app.handler(queued(page_view(), sec_gpc="1"), None)

    assert returned["batchItemFailures"] == []
    assert by_id(returned)["0"]["statusCode"] == 204


def test_one_poisoned_beacon_of_a_batch_fails_alone(database_url, rows, monkeypatch):
    def trip(value, received):
        if value == "poison":
            raise RuntimeError
        return received

    monkeypatch.setattr("collect.moments.read", trip)

    returned = collect.app.handler(queued(page_view(), page_view(timestamp="poison"), page_view()), None)

    assert returned["batchItemFailures"] == [{"itemIdentifier": "1"}]
    assert [answer["statusCode"] for answer in by_id(returned).values()] == [202, 500, 202]
    assert rows("SELECT count(*) AS stored FROM events") == [{"stored": 2}]


def test_each_beacon_of_a_batch_is_answered_as_it_would_be_alone(post, database_url):
    bodies = [page_view(), {"event_type": "?"}, {"events": []}]
    alone = [post(body) for body in bodies]

    answers = by_id(collect.app.handler(queued(*bodies), None)).values()

    assert [(answer["statusCode"], json.loads(answer["body"])) for answer in answers] == [
        (answer.status, answer.json) for answer in alone
    ]
