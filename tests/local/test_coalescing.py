"""Requests that wait for one function share its next invocation, and each gets its own answer."""

import asyncio
import base64

import httpx
import pytest

from emulator import coalescing
from emulator.errors import TemplateInvalid
from emulator.gateway import Gateway
from emulator.model import Batch, Route
from emulator.runtime import Runtime

ECHO = """
    import json, os, time

    def handler(event, context):
        records = event["Records"]
        time.sleep(PAUSE)
        for record in records:
            if record["body"] == "poison":
                os._exit(7)
        size = str(len(records))
        return {
            "batchItemFailures": [],
            "answers": [
                {
                    "statusCode": 202, "headers": {"Size": size}, "body": json.dumps(record),
                    "messageIds": [record["messageId"]],
                }
                for record in records
            ],
        }
"""
HEADERS = ("content-type", "content-encoding", "origin")


@pytest.fixture
def post(write_template):
    """Post bodies at the same time to a function that takes them in batches; the answers in their order."""

    def post(bodies, *, code=ECHO, pause=0.0, size=100, properties=None, **options):
        template = write_template(code.replace("PAUSE", str(pause)), properties=properties)
        runtime = Runtime(template)
        template.routes.append(Route("POST", "/collect", "1.0", "F", Batch(size, HEADERS)))
        gateway = Gateway(template, runtime.pools)

        async def work():
            transport = httpx.ASGITransport(gateway, client=("203.0.113.7", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://host.example", timeout=60) as client:
                try:
                    return await asyncio.gather(*(client.post("/collect", content=body, **options) for body in bodies))
                finally:
                    await runtime.stop()

        return asyncio.run(work())

    return post


def test_a_request_is_a_record_of_sqs_with_the_headers_that_the_template_names(post):
    [answer] = post(["{}"], headers={"Content-Type": "text/plain", "Origin": "https://a.example", "X-Other": "no"})

    record = answer.json()
    assert record.keys() == {
        "messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfBody", "eventSource",
        "eventSourceARN", "awsRegion",
    }  # fmt: skip
    assert record["body"] == "{}"
    assert record["md5OfBody"] == "99914b932bd37a50b983c5e7c90ae93b"
    assert record["eventSource"] == "aws:sqs"
    assert record["messageAttributes"] == {
        "content-type": {"stringValue": "text/plain", "dataType": "String"},
        "origin": {"stringValue": "https://a.example", "dataType": "String"},
        "source-ip": {"stringValue": "203.0.113.7", "dataType": "String"},
    }


@pytest.mark.parametrize(("body", "headers"), [(b"\x00\xff", {}), (b"{}", {"content-encoding": "gzip"})])
def test_a_body_that_is_no_text_comes_as_base64(post, body, headers):
    [answer] = post([body], headers=headers)

    assert base64.b64decode(answer.json()["body"]) == body
    assert answer.json()["messageAttributes"]["is-base64"]["stringValue"] == "true"


def test_whoever_waits_shares_the_next_invocation_and_gets_its_own_answer(post):
    answers = post([str(number) for number in range(50)], pause=0.2)

    assert [answer.json()["body"] for answer in answers] == [str(number) for number in range(50)]
    # The first went off at once and alone.
    assert answers[0].headers["size"] == "1"
    assert max(int(answer.headers["size"]) for answer in answers) > 20


def test_a_batch_is_no_larger_than_the_template_says(post):
    answers = post(["x"] * 30, pause=0.05, size=10)

    assert max(int(answer.headers["size"]) for answer in answers) == 10


def test_a_request_that_kills_the_function_takes_no_other_with_it(post):
    bodies = ["x"] * 20
    bodies[13] = "poison"

    answers = post(bodies, pause=0.05)

    assert [answer.status_code for answer in answers] == [500 if body == "poison" else 202 for body in bodies]


def test_a_process_that_is_killed_under_a_batch_costs_nobody_an_answer(post, tmp_path):
    code = f"""
        import os, pathlib
        once = pathlib.Path({str(tmp_path / "once")!r})

        def handler(event, context):
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), 9)
            names = [record["messageId"] for record in event["Records"]]
            return {{"answers": [{{"statusCode": 202, "messageIds": names}}]}}
    """

    assert [answer.status_code for answer in post(["x"] * 10, code=code)] == [202] * 10


def test_a_function_that_cannot_start_is_503_and_to_be_tried_again(post):
    answers = post(["x"] * 3, code="import nothing_of_this_name")

    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "1")] * 3


def test_too_many_that_wait_are_503_and_to_be_tried_again(post, monkeypatch):
    monkeypatch.setattr(coalescing, "LONGEST_QUEUE", 5)

    answers = post(["x"] * 20, pause=0.2, size=1)

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(202) == coalescing.BATCHES_AT_ONCE + 5
    assert statuses.count(202) + statuses.count(503) == 20


def test_what_waits_is_bounded_by_its_weight_too(post, monkeypatch):
    monkeypatch.setattr(coalescing, "MOST_BYTES", 50_000)

    answers = post(["x" * 10_000] * 20, pause=0.2, size=1)

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(202) == 4
    assert statuses.count(202) + statuses.count(503) == 20


@pytest.mark.parametrize(
    "code",
    [
        "handler = lambda event, context: {'batchItemFailures': []}",
        "handler = lambda event, context: {'answers': [{'statusCode': 'no', 'messageIds': [r['messageId'] for r in event['Records']]}]}",
        "handler = lambda event, context: None",
    ],
)
def test_a_request_without_a_proper_answer_is_500(post, code):
    [answer] = post(["x"], code=code)

    assert answer.status_code == 500


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"Event": "Nothing"}, "F: Metadata.Coalesce.Event"),
        ({"Event": "R0", "BatchSize": 0}, "F: Metadata.Coalesce.BatchSize"),
        ({"Event": "R0", "BatchSize": "many"}, "F: Metadata.Coalesce.BatchSize"),
        ({"Event": "R0", "Headers": [f"h{number}" for number in range(9)]}, "F: Metadata.Coalesce.Headers"),
    ],
)
def test_a_wrong_rule_is_named(write_template, rule, message):
    with pytest.raises(TemplateInvalid, match=message):
        write_template("", routes=[("POST", "/collect", "1.0")], metadata={"Coalesce": rule})
