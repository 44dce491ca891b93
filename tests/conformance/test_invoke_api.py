"""Lambda's Invoke API through boto3, and what it shows of environments, contexts and logs."""

import base64
import concurrent.futures
import json
import re
import time

import httpx
import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:lambda:us-east-1:123456789012:function"


@pytest.fixture(scope="module")
def lambdas(serve, function):
    variables = {"Variables": {"PAIR": "4=4", "AWS_LAMBDA_FUNCTION_NAME": "other", "AWS_REGION": "mars"}}
    return serve(
        {
            "F": function(Environment=variables, MemorySize=256),
            "Quick": function(Timeout=1),
            "One": function(ReservedConcurrentExecutions=1),
            "None": function(ReservedConcurrentExecutions=0),
            "Missing": function(handler="main.nosuch"),
            "BuiltIn": function(handler="sys.exit"),
            "Nameless": function(handler="main"),
            "Nowhere": function(handler="nowhere.handler"),
            "Json": function(Environment={"Variables": {"AWS_LAMBDA_LOG_FORMAT": "JSON"}}),
        }
    )


@pytest.fixture(scope="module")
def client(lambdas):
    client = lambdas.lambda_client()
    yield client
    client.close()


@pytest.fixture
def invoke(client):
    """Invoke a function with an event; its answer and the API's."""

    def invoke(event, name="F", **options):
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        answer = client.invoke(FunctionName=name, Payload=payload, **options)
        body = answer.pop("Payload").read()
        return json.loads(body) if body else None, answer

    return invoke


@pytest.mark.parametrize("event", [None, "s", [1], {"a": 1}, 1.5, "naïve 😀", {"records": [None, True]}])
def test_an_event_of_any_type_comes_back(invoke, event):
    body, answer = invoke(event)
    assert (body, answer["StatusCode"], answer["ExecutedVersion"]) == (event, 200, "$LATEST")
    assert "FunctionError" not in answer


def test_no_payload_is_an_empty_object(client):
    assert json.loads(client.invoke(FunctionName="F")["Payload"].read()) == {}


def test_a_handler_that_returns_nothing_returns_null(invoke):
    assert invoke({"do": "None"})[0] is None


@pytest.mark.parametrize(
    ("do", "error_type", "message"),
    [
        ("raise KeyError('why')", "KeyError", r"'why'"),
        ("object()", "Runtime.MarshalError", r"Unable to marshal response: .* is not JSON serializable"),
        ("sys.exit(7)", "Runtime.ExitError", r"RequestId: \S+ Error: Runtime exited with error: exit status 7"),
        ("os._exit(0)", "Runtime.ExitError", r"RequestId: \S+ Error: Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime.ExitError", r"RequestId: \S+ Error: .*: signal: killed"),
        ("os.kill(os.getpid(), 11)", "Runtime.ExitError", r"RequestId: \S+ Error: .*: signal: Segmentation fault"),
        (
            "(bytearray(400_000_000), time.sleep(9))",
            "Runtime.ExitError",
            r"RequestId: \S+ Error: Runtime exited with error: signal: killed",
        ),
        (
            "'x' * 6291600",
            "Function.ResponseSizeTooLarge",
            r"Exceeded maximum allowed payload size \(6291556 bytes\)\.",
        ),
    ],
)
def test_a_failure_is_200_with_the_error(invoke, do, error_type, message):
    body, answer = invoke({"do": do})
    assert (answer["StatusCode"], answer["FunctionError"], body["errorType"]) == (200, "Unhandled", error_type)
    assert re.fullmatch(message, body["errorMessage"])


def test_an_exception_is_told_with_its_trace(invoke):
    body, _ = invoke({"do": "raise ValueError('no')"})
    assert list(body) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert any("main.py" in line for line in body["stackTrace"])


def test_a_timeout_says_how_long(invoke):
    body, answer = invoke({"do": "time.sleep(9)"}, "Quick")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert body == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }


@pytest.mark.parametrize(
    ("name", "error_type"),
    [
        ("Missing", "Runtime.HandlerNotFound"),
        ("BuiltIn", "Runtime.BuiltInModuleConflict"),
        ("Nameless", "Runtime.MalformedHandlerName"),
        ("Nowhere", "Runtime.ImportModuleError"),
    ],
)
def test_a_function_that_cannot_start_says_why_every_time(invoke, name, error_type):
    # The first invocation starts it once more; those that follow soon are told without another try.
    for _ in range(3):
        body, answer = invoke({}, name)
        assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", error_type)


def test_an_environment_is_kept_and_replaced_after_a_death(invoke):
    counts = [invoke({"do": "(count, os.getpid())"}, "One")[0] for _ in range(2)]
    invoke({"do": "os._exit(1)"}, "One")
    fresh = invoke({"do": "(count, os.getpid())"}, "One")[0]
    assert counts[1] == [counts[0][0] + 1, counts[0][1]]
    assert fresh[0] == 0
    assert fresh[1] != counts[0][1]


def test_the_context_is_lambdas(invoke):
    do = (
        "[context.function_name, context.function_version, context.memory_limit_in_mb, context.invoked_function_arn,"
        " context.log_group_name, context.aws_request_id, context.get_remaining_time_in_millis()]"
    )
    (name, version, memory, arn, group, request_id, remaining), answer = invoke({"do": do})
    assert (name, version, memory, arn, group) == ("F", "$LATEST", "256", f"{ARN}:F", "/aws/lambda/F")
    assert request_id == answer["ResponseMetadata"]["RequestId"]
    assert 8000 < remaining <= 10_000


def test_the_arn_has_the_qualifier_that_was_asked_for(invoke):
    assert invoke({"do": "context.invoked_function_arn"}, Qualifier="$LATEST")[0] == f"{ARN}:F:$LATEST"


def test_a_client_context_reaches_the_handler(invoke):
    said = base64.b64encode(json.dumps({"custom": {"colour": "blue"}}).encode()).decode()
    assert invoke({"do": "context.client_context.custom"}, ClientContext=said)[0] == {"colour": "blue"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAIR", "4=4"),
        ("_HANDLER", "main.handler"),
        ("AWS_LAMBDA_FUNCTION_NAME", "F"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/F"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_FUNCTION_TIMEOUT", None),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("LC_CTYPE", "C.UTF-8"),
        ("SHLVL", "0"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
    ],
)
def test_the_environment_is_lambdas_and_a_template_cannot_take_what_is_reserved(invoke, name, value):
    assert invoke({"do": f"os.environ.get({name!r})"})[0] == value


def test_each_invocation_has_a_trace_and_a_log_stream(invoke):
    traces = [invoke({"do": "os.environ['_X_AMZN_TRACE_ID']"})[0] for _ in range(2)]
    assert traces[0] != traces[1]
    stream = invoke({"do": "os.environ['AWS_LAMBDA_LOG_STREAM_NAME']"})[0]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)


@pytest.mark.parametrize("name", ["F", "F:$LATEST", "123456789012:function:F", f"{ARN}:F", f"{ARN}:F:$LATEST"])
def test_a_function_is_found_by_every_name_that_it_has(invoke, name):
    assert invoke({"do": "context.function_name"}, name)[0] == "F"


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [
        ({"FunctionName": "G"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "F", "Qualifier": "live"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "F", "Payload": b"{"}, "InvalidRequestContentException", 400),
        ({"FunctionName": "F", "Payload": b'"\xff"'}, "InvalidRequestContentException", 400),
        ({"FunctionName": "F", "Payload": b"NaN"}, "InvalidRequestContentException", 400),
        ({"FunctionName": "F", "Payload": b"[" * 100_000}, "InvalidRequestContentException", 400),
        ({"FunctionName": "F", "Payload": '"utf-16"'.encode("utf-16")}, "InvalidRequestContentException", 400),
        ({"FunctionName": "F", "Payload": b'\xef\xbb\xbf"bom"'}, "InvalidRequestContentException", 400),
        ({"FunctionName": "F", "Payload": b'"' + b"x" * 6_291_456 + b'"'}, "RequestTooLargeException", 413),
        (
            {"FunctionName": "F", "InvocationType": "Event", "Payload": b'"' + b"x" * 1_048_576 + b'"'},
            "RequestTooLargeException",
            413,
        ),
        ({"FunctionName": "None"}, "TooManyRequestsException", 429),
    ],
)
def test_what_cannot_be_invoked_is_refused_in_the_apis_words(client, options, code, status):
    with pytest.raises(ClientError) as raised:
        client.invoke(**options)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_what_is_unknown_is_named_by_its_arn(client):
    with pytest.raises(ClientError, match=f"Function not found: {ARN}:G"):
        client.invoke(FunctionName="G")


def test_reserved_concurrency_that_is_used_up_is_429(lambdas, invoke):
    client = lambdas.lambda_client()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(invoke, {"do": "time.sleep(2) or 'done'"}, "One")
        pool_of = lambdas.runtime.pools["One"]
        while not any(environment._process._current for environment in pool_of._environments if environment._process):
            time.sleep(0.01)
        with pytest.raises(ClientError) as raised:
            client.invoke(FunctionName="One")
        assert running.result()[0] == "done"
    client.close()
    error = raised.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert error["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert error["Error"]["Message"] == "Rate Exceeded."


def test_boto3_tries_again_what_was_throttled(lambdas):
    client = lambdas.lambda_client(attempts=3)
    with pytest.raises(ClientError) as raised:
        client.invoke(FunctionName="None")
    client.close()
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_dry_run_runs_nothing(invoke):
    before = invoke({"do": "count"}, "One")[0]
    body, answer = invoke({"do": "count"}, "One", InvocationType="DryRun")
    assert (body, answer["StatusCode"]) == (None, 204)
    assert invoke({"do": "count"}, "One")[0] == before + 1


def test_an_event_is_accepted_without_waiting(invoke, tmp_path):
    file = tmp_path / "done"
    body, answer = invoke({"do": f"open({str(file)!r}, 'w').close()"}, InvocationType="Event")
    assert (body, answer["StatusCode"]) == (None, 202)
    assert "ExecutedVersion" not in answer
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def logged(invoke, do, name="F"):
    """The log of an invocation that does something, as its tail."""
    _, answer = invoke({"do": do}, name, LogType="Tail")
    return base64.b64decode(answer["LogResult"]).decode(), answer["ResponseMetadata"]["RequestId"]


def test_the_log_begins_and_ends_with_lambdas_lines(invoke):
    invoke({"do": "os._exit(1)"}, "One")
    cold, request_id = logged(invoke, "print('hello')", "One")
    warm, _ = logged(invoke, "1", "One")
    assert re.fullmatch(
        rf"START RequestId: {request_id} Version: \$LATEST\nhello\nEND RequestId: {request_id}\n"
        rf"REPORT RequestId: {request_id}\tDuration: [0-9.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\tInit Duration: [0-9.]+ ms\t\n",
        cold,
    )
    assert "Init Duration" not in warm


def test_the_log_is_told_only_to_who_asks_and_its_last_four_kilobytes(invoke):
    assert "LogResult" not in invoke({})[1]
    text, _ = logged(invoke, "print('x' * 10_000)")
    assert len(text.encode()) == 4096
    assert "REPORT" in text


def test_lines_are_logged_with_level_time_and_request(invoke):
    text, request_id = logged(invoke, "logging.info('m')")
    assert re.search(rf"^\[INFO\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request_id}\tm$", text, re.MULTILINE)


def test_a_log_in_json_is_json(invoke):
    text, request_id = logged(invoke, "logging.info('m')", "Json")
    [line] = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert (line["level"], line["message"], line["requestId"]) == ("INFO", "m", request_id)


def test_what_is_printed_is_parted_at_line_feeds_alone(invoke):
    text, _ = logged(invoke, r"print('multi\nline\nstring\nanother\rline')")
    assert text.split("\n")[1:5] == ["multi", "line", "string", "another\rline"]


@pytest.mark.parametrize(("do", "status"), [("time.sleep(9)", "timeout"), ("os._exit(1)", "error")])
def test_the_report_of_a_failure_says_so(invoke, do, status):
    text, _ = logged(invoke, do, "Quick")
    assert f"\tStatus: {status}\t" in text


def test_a_page_in_a_browser_can_invoke_nothing(lambdas):
    answer = httpx.post(f"{lambdas.invoke_url}/2015-03-31/functions/F/invocations", content=b"{}")
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")


def test_metrics_are_in_prometheus_text_format(lambdas, invoke):
    invoke({})
    invoke({"do": "raise ValueError"})
    answer = httpx.get(f"{lambdas.invoke_url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    for line in (
        r'^lambda_invocations_total\{function="F"\} \d',
        r'^lambda_errors_total\{function="F"\} \d',
        r'^lambda_throttles_total\{function="None"\} \d',
        r'^lambda_duration_seconds_bucket\{function="F",le="0.005"\} \d',
        r'^lambda_environments\{function="F"\} \d',
    ):
        assert re.search(line, answer.text, re.MULTILINE), line
