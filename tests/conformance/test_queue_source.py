"""A queue whose messages invoke a function: records, batches, failures, dead letters."""

import hashlib
import json
import time

import pytest

# Writes what it was given into the file that its environment names; fails the bodies that say so.
CODE = """
import json, os
def handler(event, context):
    bodies = [record["body"] for record in event["Records"]]
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps(event["Records"]) + chr(10))
    if "raise" in bodies:
        raise ValueError
    if "nonsense" in bodies:
        return {"batchItemFailures": [{"itemIdentifier": "no-such-id"}]}
    failed = [record["messageId"] for record in event["Records"] if record["body"] == "fail"]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
"""


@pytest.fixture(scope="module")
def source(serve, function, tmp_path_factory):
    """Serve a queue with a function behind it; what was handed to it, batch by batch."""

    def source(**properties):
        seen = tmp_path_factory.mktemp("seen") / "batches"
        event = {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Q", "Arn"]}, **properties}}
        redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 2}
        serving = serve(
            {
                "F": function({"Q": event}, Environment={"Variables": {"SEEN": str(seen)}}),
                "Q": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 1, "RedrivePolicy": redrive}},
                "Dead": {"Type": "AWS::SQS::Queue"},
            },
            CODE,
        )

        def batches():
            return [json.loads(line) for line in seen.read_text().splitlines()] if seen.exists() else []

        serving.batches = batches
        return serving

    return source


@pytest.fixture(scope="module")
def reporting(source):
    return source(FunctionResponseTypes=["ReportBatchItemFailures"])


def send(serving, *bodies, **attributes):
    def put():
        return [serving.runtime.messages.send("Q", body, attributes) for body in bodies]

    return serving.call(put)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def left(serving, queue="Q"):
    return serving.call(serving.runtime.messages.count, queue)


def received(serving, message_id):
    return [r for batch in serving.batches() for r in batch if r["messageId"] == message_id]


def test_a_message_is_a_record_as_sqs_has_it(reporting):
    [message_id] = send(reporting, "hello", colour="blue", size=3)
    until(lambda: received(reporting, message_id))
    [record] = received(reporting, message_id)
    assert set(record) == {
        "messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfBody", "eventSource",
        "eventSourceARN", "awsRegion",
    }  # fmt: skip
    assert (record["body"], record["eventSource"]) == ("hello", "aws:sqs")
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:123456789012:Q"
    assert record["md5OfBody"] == hashlib.md5(b"hello").hexdigest()
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert {name: (value["stringValue"], value["dataType"]) for name, value in record["messageAttributes"].items()} == {
        "colour": ("blue", "String"),
        "size": ("3", "Number"),
    }
    until(lambda: left(reporting) == 0)


def test_what_is_reported_as_failed_comes_again_and_then_goes_to_the_dead(reporting):
    good, bad = send(reporting, "fine", "fail")
    until(lambda: left(reporting, "Dead") == 1 and left(reporting) == 0)
    counts = [record["attributes"]["ApproximateReceiveCount"] for record in received(reporting, bad)]
    assert counts == ["1", "2"]
    assert len(received(reporting, good)) == 1


@pytest.mark.parametrize("body", ["raise", "nonsense"])
def test_an_error_or_an_unknown_id_fails_the_whole_batch(reporting, body):
    before = left(reporting, "Dead")
    ids = send(reporting, "fine", body)
    until(lambda: left(reporting, "Dead") == before + 2)
    assert all(len(received(reporting, message_id)) == 2 for message_id in ids)


def test_without_reports_what_is_returned_does_not_matter(source):
    serving = source()
    [message_id] = send(serving, "fail")
    until(lambda: received(serving, message_id) and left(serving) == 0)
    assert left(serving, "Dead") == 0


def test_batches_are_no_larger_than_asked_for(source):
    serving = source(BatchSize=3)
    send(serving, *[str(number) for number in range(10)])
    until(lambda: left(serving) == 0)
    assert [len(batch) for batch in serving.batches()] == [3, 3, 3, 1]
    assert [record["body"] for batch in serving.batches() for record in batch] == [str(number) for number in range(10)]


def test_a_window_gathers_what_comes_within_it(source):
    serving = source(BatchSize=100, MaximumBatchingWindowInSeconds=1)
    for body in "abc":
        send(serving, body)
    until(lambda: left(serving) == 0)
    assert [len(batch) for batch in serving.batches()] == [3]
