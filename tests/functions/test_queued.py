"""Where a queue is set, beacons wait in it for the database, and come back to the same function among others."""

import base64
import json

import boto3
import pytest

import collect.app
from storage import buffer


@pytest.fixture
def queue(aws, environ):
    buffer._client.cache_clear()
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="beacons")["QueueUrl"]
    environ["COLLECT_QUEUE_URL"] = url
    yield sqs, url
    buffer._client.cache_clear()


@pytest.fixture
def waiting(queue):
    """What waits in the queue, as the records that a function gets."""
    sqs, url = queue

    def waiting():
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return [
            {
                "messageId": message["MessageId"],
                "body": message["Body"],
                "messageAttributes": {
                    name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
                    for name, value in message.get("MessageAttributes", {}).items()
                },
                "eventSource": "aws:sqs",
            }
            for message in got.get("Messages", [])
        ]

    return waiting


@pytest.fixture
def event():
    return {"event_type": "page_view", "url": "https://shop.example.com/", "visitor_id": "somebody"}


def test_a_beacon_waits_in_the_queue_and_is_stored_once_when_it_comes_back(waiting, post, event, rows):
    answered = post(event, headers={"user-agent": "Mozilla/5.0 Firefox/128.0", "origin": "https://shop.example.com"})
    assert (answered.status, answered.json) == (202, {"queued": True})
    assert count(rows, "events") == 0

    records = waiting()
    for _ in range(2):
        assert collect.app.handler({"Records": records}, None)["batchItemFailures"] == []

    assert rows("SELECT site_id, user_agent FROM events") == [
        {"site_id": "shop.example.com", "user_agent": "Mozilla/5.0 Firefox/128.0"}
    ]


def test_who_objects_is_in_no_queue(waiting, post, event, rows):
    assert post(event, headers={"sec-gpc": "1"}).status == 204
    assert waiting() == []
    assert rows("SELECT beacons FROM withheld_beacons") == [{"beacons": 1}]


def test_what_cannot_be_read_is_refused_at_once(waiting, post, rows):
    assert post(b"{", headers={"content-type": "application/json"}).status == 400
    assert waiting() == []
    assert count(rows, "rejected_events") == 1


def test_what_is_too_large_for_a_message_is_stored_at_once(waiting, post, event, rows):
    assert post({"events": [{**event, "data": {"text": "x" * 8000}} for _ in range(120)]}).status == 202
    assert waiting() == []
    assert count(rows, "events") == 120


def test_a_queue_that_does_not_answer_costs_nothing(queue, post, event, rows):
    sqs, url = queue
    sqs.delete_queue(QueueUrl=url)
    assert post(event).status == 202
    assert count(rows, "events") == 1


def test_a_body_comes_back_byte_by_byte(queue, waiting):
    _, url = queue
    body = bytes(range(256))
    assert buffer.put(url, body, {"user-agent": "", "source-ip": "192.0.2.1"})
    [record] = waiting()
    assert base64.b64decode(record["body"]) == body
    assert json.dumps(sorted(record["messageAttributes"])) == '["is-base64", "source-ip"]'


def count(rows, table):
    return rows(f"SELECT count(*) AS number FROM {table}")[0]["number"]


def test_a_beacon_that_is_in_the_queue_and_in_the_database_is_stored_once(waiting, post, rows, monkeypatch):
    really = buffer._send

    # SQS has it, and its answer is lost.
    def send(*arguments):
        really(*arguments)
        return False

    monkeypatch.setattr(buffer, "_send", send)
    assert post({"event_type": "page_view", "url": "https://shop.example.com/"}).status == 202
    assert collect.app.handler({"Records": waiting()}, None)["batchItemFailures"] == []
    assert count(rows, "events") == 1
