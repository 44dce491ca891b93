"""Asynchronous invocations: retries, ages, destinations and dead letters, and what outlives a restart."""

import json
import time

import pytest

from emulator import asynchronous
from emulator.messages import Messages

ARN = "arn:aws:lambda:us-east-1:123456789012:function"


def queue():
    return {"Type": "AWS::SQS::Queue"}


def destination(name):
    return {"Type": "SQS", "Destination": {"Fn::GetAtt": [name, "Arn"]}}


@pytest.fixture(scope="module", autouse=True)
def soon():
    """Retries come at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asynchronous, "RETRY_SECONDS", (0.05, 0.05))
        patch.setattr(asynchronous, "FIRST_THROTTLE_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def lambdas(serve, function):
    ends = {"OnSuccess": destination("Done"), "OnFailure": destination("Failed")}
    dead = {"Type": "SQS", "TargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}}
    told = {"OnFailure": {"Type": "Lambda", "Destination": {"Fn::GetAtt": ["Listener", "Arn"]}}}
    return serve(
        {
            "F": function(EventInvokeConfig={"DestinationConfig": ends}, DeadLetterQueue=dead),
            "Once": function(EventInvokeConfig={"MaximumRetryAttempts": 0, "DestinationConfig": ends}),
            "Aged": function(EventInvokeConfig={"MaximumEventAgeInSeconds": 60, "DestinationConfig": ends}),
            "None": function(ReservedConcurrentExecutions=0, EventInvokeConfig={"DestinationConfig": ends}),
            "Telling": function(EventInvokeConfig={"MaximumRetryAttempts": 0, "DestinationConfig": told}),
            "Listener": function(EventInvokeConfig={"DestinationConfig": {"OnSuccess": destination("Heard")}}),
            **{name: queue() for name in ("Done", "Failed", "Dead", "Heard")},
        }
    )


@pytest.fixture
def take(lambdas):
    """Wait for the next message of a queue and take it out."""

    def take(name, count=1):
        messages = lambdas.runtime.messages
        deadline = time.monotonic() + 20
        while lambdas.call(messages.count, name) < count:
            assert time.monotonic() < deadline, f"nothing comes to {name}"
            time.sleep(0.02)
        taken = lambdas.call(messages.receive, name, 10, 60)
        lambdas.call(messages.delete, taken)
        return taken[0] if count == 1 else taken

    return take


def accept(lambdas, function, event):
    return lambdas.call(lambdas.runtime.asynchronous.accept, function, json.dumps(event).encode())


def test_success_is_told_with_what_was_returned(lambdas, take):
    request_id = accept(lambdas, "F", {"do": "'done'"})
    record = json.loads(take("Done").body)
    assert list(record) == [
        "version", "timestamp", "requestContext", "requestPayload", "responseContext", "responsePayload",
    ]  # fmt: skip
    assert record["version"] == "1.0"
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{ARN}:F:$LATEST",
        "condition": "Success",
        "approximateInvokeCount": 1,
    }
    assert record["requestPayload"] == {"do": "'done'"}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == "done"


def test_a_failure_is_tried_twice_more_under_the_same_id_and_then_told(lambdas, take, tmp_path):
    file = tmp_path / "ids"
    do = f"open({str(file)!r}, 'a').write(context.aws_request_id + chr(10)) and 1 / 0"
    request_id = accept(lambdas, "F", {"do": do})
    record = json.loads(take("Failed").body)
    assert file.read_text().split() == [request_id] * 3
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorType"] == "ZeroDivisionError"
    take("Dead")


def test_a_dead_letter_is_the_event_with_what_went_wrong(lambdas, take):
    event = {"do": "raise ValueError('w' * 2000)"}
    request_id = accept(lambdas, "F", event)
    take("Failed")
    message = take("Dead")
    assert json.loads(message.body) == event
    assert message.attributes == {"RequestID": request_id, "ErrorCode": 200, "ErrorMessage": "w" * 1024}


def test_retries_can_be_fewer(lambdas, take):
    accept(lambdas, "Once", {"do": "raise ValueError"})
    assert json.loads(take("Failed").body)["requestContext"]["approximateInvokeCount"] == 1


def test_an_event_that_would_be_too_old_for_its_next_try_is_given_up(lambdas, take, monkeypatch):
    monkeypatch.setattr(asynchronous, "RETRY_SECONDS", (61.0, 120.0))
    accept(lambdas, "Aged", {"do": "raise ValueError"})
    context = json.loads(take("Failed").body)["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 1)


def test_a_function_that_may_not_run_is_told_of_without_an_answer(lambdas, take):
    accept(lambdas, "None", {})
    record = json.loads(take("Failed").body)
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not {"responseContext", "responsePayload"} & set(record)


def test_another_function_can_be_told(lambdas, take):
    accept(lambdas, "Telling", {"do": "raise ValueError"})
    heard = json.loads(take("Heard").body)
    assert heard["requestPayload"]["requestContext"]["functionArn"] == f"{ARN}:Telling:$LATEST"


def test_what_was_accepted_outlives_the_runtime(tmp_path):
    first = Messages(tmp_path / "queues.sqlite3")
    first.send("invocations of F", '{"n": 1}', {"attempts": 1, "throttles": 0}, "an-id")
    # In somebody's hands when everything dies.
    [held] = first.receive("invocations of F", 1, 86_400)
    assert first.receive("invocations of F", 1, 1) == []
    first.close()

    second = Messages(tmp_path / "queues.sqlite3")
    [again] = second.receive("invocations of F", 1, 1)
    second.close()
    assert (again.message_id, again.body, again.attributes["attempts"]) == ("an-id", '{"n": 1}', 1)
    assert again.receives == held.receives + 1
