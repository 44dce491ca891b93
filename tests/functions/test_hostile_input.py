"""What an open endpoint gets sent: each input has a safe outcome, and takes no good event with it."""

import json
import uuid

import pytest

MARKER = "ECHOECHO"


def good(**fields):
    return {"event_type": "page_view", "url": "https://good.example/", "data": {"good": True}, **fields}


def nested(depth):
    value = MARKER
    for _ in range(depth):
        value = {"k": value}
    return value


UNREADABLE = {
    "an empty body": (b"", 400, "empty_body"),
    "a hundred thousand brackets": (b"[" * 100_000, 400, "invalid_json"),
    "an object six thousand deep": (b'{"a":' * 6000 + b"1" + b"}" * 6000, 400, "invalid_json"),
    "three megabytes of empty lists": (b"[" + b"[]," * 1_000_000 + b"[]]", 413, "body_too_large"),
    "null": (b"null", 400, "not_an_object"),
    "a string": (b'"x"', 400, "not_an_object"),
    "a number": (b"42", 400, "not_an_object"),
    "an empty list": (b"[]", 400, "not_an_object"),
    "a list of lists": (b"[[1]]", 400, "not_an_object"),
    "NaN": (b'{"event_type":"a","v":NaN}', 400, "invalid_json"),
    "Infinity": (b'{"event_type":"a","v":Infinity}', 400, "invalid_json"),
    "-Infinity": (b'{"event_type":"a","v":-Infinity}', 400, "invalid_json"),
    "a number beyond every float": (b'{"event_type":"a","v":1e131071}', 400, "invalid_json"),
    "bytes that are not UTF-8": (b'{"event_type":"a","v":"\xff\xfe"}', 400, "invalid_json"),
    "half a surrogate pair and NaN": (b'{"event_type":"a","v":"\\ud800","n":NaN}', 400, "invalid_json"),
    "a byte order mark": (b'\xef\xbb\xbf{"event_type":"a"}', 400, "invalid_json"),
    "two documents": (b'{"event_type":"a"}{"event_type":"b"}', 400, "invalid_json"),
    "events that are no list": (b'{"events":{"event_type":"a"}}', 400, "events_not_a_list"),
    "no events": (b'{"events":[]}', 400, "no_events"),
    "too many events": (json.dumps({"events": [good()] * 501}).encode(), 413, "too_many_events"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_body_in_which_nothing_can_be_read_is_refused_by_name_and_remembered(post, rows, name):
    body, status, reason = UNREADABLE[name]

    answer = post(body, headers={"origin": "https://o.example"})

    assert (answer.status, answer.json["error"]["code"]) == (status, reason)
    kept = rows("SELECT reason, site_id, body_bytes, payload FROM rejected_events")
    assert kept == [{"reason": reason, "site_id": "o.example", "body_bytes": len(body), "payload": None}]
    assert post(good()).status == 202


REFUSED = {
    "nested deeper than 16": ({"data": nested(100)}, "too_deep"),
    "more values than 250": ({"data": {"list": [MARKER] * 251}}, "too_many_values"),
    "lists of empty lists": ({"data": {"list": [[] for _ in range(300)]}}, "too_many_values"),
    "lists of empty objects": ({"data": {"list": [{} for _ in range(300)]}}, "too_many_values"),
    "more keys than 64": ({"data": {f"k{n}": MARKER for n in range(65)}}, "too_many_keys"),
    "an integer of 30 digits": ({"data": {"n": 10**29 + 1}}, "number_out_of_range"),
    "a float that would take 308 digits": ({"data": {"n": 1e308}}, "number_out_of_range"),
    "a fraction that would take 324 digits": ({"data": {"n": 5e-324}}, "number_out_of_range"),
    "U+0000 in a string": ({"title": f"a\0{MARKER}"}, "nul_character"),
    "a visitor id of 3,000 characters": ({"visitor_id": MARKER * 375}, "visitor_id_invalid"),
    "an e-mail address for a visitor id": ({"visitor_id": f"{MARKER}@mail.example"}, "visitor_id_invalid"),
    "a social security number for a visitor id": ({"visitor_id": "219-09-9999"}, "visitor_id_invalid"),
    "a card number for a session id": ({"session_id": "4111111111111111"}, "session_id_invalid"),
    "a visitor id that is a number": ({"visitor_id": 12345678}, "visitor_id_invalid"),
    "an event id that is no UUID": ({"event_id": MARKER}, "event_id_invalid"),
    "an event id that many would share": ({"event_id": "00000000-0000-0000-0000-000000000000"}, "event_id_invalid"),
    "an event type in capitals": ({"event_type": MARKER}, "event_type_invalid"),
    "an event type that is a list": ({"event_type": [MARKER]}, "event_type_invalid"),
    "a URL that is an object": ({"url": {"href": MARKER}}, "url_invalid"),
    "a site id with a path": ({"site_id": "../../other"}, "site_id_invalid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_event_that_cannot_be_kept_is_refused_by_name_without_an_echo(post, rows, name):
    fields, reason = REFUSED[name]

    beside = post({"events": [good(), {**good(), **fields}, good()]})
    alone = post({**good(), **fields})

    assert (beside.status, beside.json["accepted"]) == (202, 2)
    assert [(item["index"], item["reason"]) for item in beside.json["rejected"]] == [(1, reason)]
    assert (alone.status, alone.json["error"]["code"]) == (400, reason)
    assert MARKER not in beside.text + alone.text
    assert [row["reason"] for row in rows("SELECT reason FROM rejected_events")] == [reason, reason]
    assert rows("SELECT count(*) FROM events") == [{"count": 2}]


def test_half_a_surrogate_pair_costs_its_character_and_no_event(post, rows):
    events = [good(), good(title="cut \ud83d"), good(title="whole \U0001f680")]

    assert post({"events": events}).json["accepted"] == 3

    titles = rows("SELECT raw_event_data->>'title' AS title FROM events ORDER BY 1")
    assert [row["title"] for row in titles] == ["cut \ufffd", "whole \U0001f680", None]


def test_99_good_events_survive_one_with_a_nul_character(post, rows):
    answer = post({"events": [*[good() for _ in range(99)], good(title="a\0b")]})

    assert (answer.json["accepted"], len(answer.json["rejected"])) == (99, 1)
    assert rows("SELECT count(*) FROM events") == [{"count": 99}]
    assert rows("SELECT payload->>'title' AS title FROM rejected_events") == [{"title": "a\ufffdb"}]


def test_keys_that_cannot_be_kept_are_left_out_and_the_event_stays(post, rows):
    data = {"": 1, "k" * 1_000_000: 2, "a\0b": 3, "a.b": 4, "$set": 5, "line\nbreak": 6}

    assert post(good(data=data)).json["accepted"] == 1

    assert rows("SELECT raw_event_data->'data' AS data FROM events") == [
        {"data": {"ab": 3, "a.b": 4, "$set": 5, "line\nbreak": 6}}
    ]


def test_no_field_of_an_event_reaches_a_column_that_is_not_its_own(post, rows):
    claims = {
        "is_admin": True,
        "client_id": "other",
        "id": 1_000_000,
        "created_at": "1999-01-01",
        "exported_at": "1999-01-01",
    }

    assert post(good(**claims)).status == 202

    [event] = rows("SELECT * FROM events_log")
    assert event["id"] == 1
    assert event["exported_at"] is None
    assert event["created_at"].year > 2000
    assert event["raw_event_data"]["client_id"] == "other"


@pytest.mark.parametrize(
    "text", ["\u202egnp.exe", "a\u200b\u200db", "e" + "\u0301" * 10_000, "\U0001f469\u200d\U0001f680" * 5000]
)
def test_strange_letters_are_stored_and_long_strings_cut_between_characters(post, rows, text):
    assert post(good(title=text)).json["accepted"] == 1

    [event] = rows("SELECT raw_event_data->>'title' AS title FROM events")
    assert text.startswith(event["title"])
    assert len(event["title"].encode()) in range(min(len(text.encode()), 8189), 8193)


@pytest.mark.parametrize(
    ("timestamp", "year"),
    [
        ("2026-11-23T10:00:00.100Z", 2026),
        ("2026-11-23T10:00:00", 2026),
        ("2026-11-23T23:59:59+14:00", 2026),
        (1_763_892_000, 2025),
        (1_763_892_000_000, 2025),
        (1_763_892_000_000_000, 2025),
        (1_763_892_000_000_000_000, 2025),
    ],
)
def test_a_client_time_is_read_in_every_usual_form(post, rows, timestamp, year):
    post(good(timestamp=timestamp))
    assert rows("SELECT extract(year FROM timestamp)::int AS year FROM events") == [{"year": year}]


@pytest.mark.parametrize(
    "timestamp",
    [
        "1970-01-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
        "+300000-01-01T00:00:00Z",
        "now",
        "infinity",
        "",
        -1,
        1e300,
        True,
        [],
        0,
    ],
)
def test_a_client_time_that_cannot_be_true_gives_way_to_the_time_of_arrival(post, rows, timestamp):
    if timestamp == 1e300:
        timestamp = 1e18 * 9
    assert post(good(timestamp=timestamp)).json["accepted"] == 1
    assert rows("SELECT abs(extract(epoch FROM timestamp - created_at)) < 60 AS near FROM events") == [{"near": True}]


def test_any_number_of_event_types_is_kept(post, rows):
    post({"events": [good(event_type=f"type_{n}") for n in range(500)]})
    assert rows("SELECT count(DISTINCT event_type) FROM events") == [{"count": 500}]


def test_a_url_is_kept_to_four_kibibytes(post, rows):
    post(good(url="https://good.example/" + "x" * 10_000))
    [event] = rows("SELECT length(url) AS url, length(path) AS path FROM events")
    assert event == {"url": 4096, "path": 500}


def test_what_is_refused_is_redacted_before_it_is_kept(post, rows):
    secrets = {"password": "hunter2", "note": "card 4111 1111 1111 1111", "mail": "jane@mail.example"}
    post(good(event_type="?", data=secrets))

    [kept] = rows("SELECT payload::text AS payload FROM rejected_events")
    assert not [secret for secret in ("hunter2", "4111", "jane@") if secret in kept["payload"]]


def test_every_outcome_leaves_the_process_able_to_go_on(post, rows):
    for body, _, _ in UNREADABLE.values():
        post(body)
    event_id = str(uuid.uuid4())
    assert post(good(event_id=event_id)).json["accepted"] == 1
    assert str(rows("SELECT event_id FROM events")[0]["event_id"]) == event_id


def test_a_card_number_at_the_end_of_a_string_that_is_cut_does_not_show(post, rows):
    post(good(title="x" * 8180 + " 4111111111111111" + " y" * 10_000))
    [event] = rows("SELECT raw_event_data->>'title' AS title FROM events")
    assert "4111" not in event["title"]
