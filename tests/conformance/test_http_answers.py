"""What an HTTP client is answered for what a function returns, or fails to."""

import base64

import pytest


@pytest.fixture(scope="module")
def api(serve, function, route):
    return serve(
        {
            "F": function(
                {
                    "V2": route("ANY", "/v2"),
                    "V1": route("ANY", "/v1", "1.0"),
                    "Impatient": route("GET", "/impatient", TimeoutInMillis=200),
                }
            ),
            "Slow": function({"V2": route("GET", "/slow")}, Timeout=1),
            "None": function({"V2": route("GET", "/none")}, ReservedConcurrentExecutions=0),
            "Broken": function({"V2": route("GET", "/broken")}, handler="main.nosuch"),
            "Small": function({"V2": route("GET", "/small")}, MemorySize=128),
        }
    )


TEXT = "text/plain;charset=UTF-8"
ERROR = (500, "application/json", '{"message":"Internal Server Error"}')

V2 = {
    "a string is the body": ("'Hello from Lambda!'", (200, "application/json", "Hello from Lambda!")),
    "a list is the body": ("['hello', 3, True]", (200, "application/json", '["hello", 3, true]')),
    "a float is the body": ("3.1", (200, "application/json", "3.1")),
    "nothing is null": ("None", (200, "application/json", "null")),
    "an empty string is an empty body": ("''", (200, "application/json", "")),
    "without a status code all of it is the body": ("{'body': 'x'}", (200, "application/json", '{"body": "x"}')),
    "an error that is returned is an answer": (
        "{'errorMessage': 'x'}",
        (200, "application/json", '{"errorMessage": "x"}'),
    ),
    "a body is text": ("{'statusCode': 200, 'body': 'hi there'}", (200, TEXT, "hi there")),
    "a body may be missing": ("{'statusCode': 201}", (201, TEXT, "")),
    "a body may be null": ("{'statusCode': 200, 'body': None}", (200, TEXT, "")),
    "a body is not an object": ("{'statusCode': 200, 'body': {'a': 1}}", ERROR),
    "a body is not a number": ("{'statusCode': 200, 'body': 1}", ERROR),
    "a status code may be a string": ("{'statusCode': '201', 'body': 'x'}", (201, TEXT, "x")),
    "a status code is a number": ("{'statusCode': '201abc'}", ERROR),
    "a status code is whole": ("{'statusCode': 200.5}", ERROR),
    "a status code is not 0": ("{'statusCode': 0}", ERROR),
    "a status code is not interim": ("{'statusCode': 100}", ERROR),
    "a header's name is a token": ("{'statusCode': 200, 'headers': {'x y': '1'}}", ERROR),
    "a header's name is not two lines": ("{'statusCode': 200, 'headers': {'x\\r\\nInj': '1'}}", ERROR),
    "a header's name is ASCII": ("{'statusCode': 200, 'headers': {'€': '1'}}", ERROR),
    "a header's value has no NUL": ("{'statusCode': 200, 'headers': {'x': 'a\\0b'}}", ERROR),
    "a header's value is one line": ("{'statusCode': 200, 'headers': {'x': 'a\\nb'}}", ERROR),
    "half of a surrogate pair is no text": ("{'statusCode': 200, 'body': '\\ud800'}", ERROR),
    "unknown keys are ignored": ("{'statusCode': 200, 'body': 'x', 'other': 1}", (200, TEXT, "x")),
    "a content type stays": (
        "{'statusCode': 200, 'headers': {'Content-Type': 'text/css'}, 'body': 'x'}",
        (200, "text/css", "x"),
    ),
    "base64 that is none": ("{'statusCode': 200, 'isBase64Encoded': True, 'body': 'é'}", ERROR),
    "an exception": ("raise KeyError('x')", ERROR),
    "an exit": ("sys.exit(3)", ERROR),
    "an answer over 6 MB": ("'x' * 6291600", ERROR),
    "what JSON cannot write": ("object()", ERROR),
}


@pytest.mark.parametrize("case", V2)
def test_payload_2_0(api, ask, case):
    do, expected = V2[case]
    found = ask(api, "GET", "/v2", do=do)
    assert (found.status, found.headers["content-type"], found.answer.text) == expected


def test_no_content_has_no_body(api, ask):
    for do in ("{'statusCode': 204}", "{'statusCode': 204, 'body': 'HTTP/1.1 200 OK'}"):
        found = ask(api, "GET", "/v2", do=do)
        assert (found.status, found.answer.content, found.headers.get("content-length")) == (204, b"", None)


@pytest.mark.parametrize("path", ["/v1", "/v2"])
def test_bytes_come_as_base64(api, ask, path):
    encoded = base64.b64encode(b"\x00\x01\xff").decode()
    do = f"{{'statusCode': 200, 'isBase64Encoded': True, 'body': '{encoded}', 'headers': {{'content-type': 'a/b'}}}}"
    found = ask(api, "GET", path, do=do)
    assert (found.status, found.headers["content-type"], found.answer.content) == (200, "a/b", b"\x00\x01\xff")


def test_cookies_are_set_the_array_first(api, ask):
    do = "{'statusCode': 200, 'cookies': ['a=1', 'b=2'], 'headers': {'set-cookie': 'c=3'}}"
    assert ask(api, "GET", "/v2", do=do).headers.get_list("set-cookie") == ["a=1", "b=2", "c=3"]


def test_headers_that_are_no_strings_become_some(api, ask):
    found = ask(api, "GET", "/v2", do="{'statusCode': 200, 'headers': {'x-a': True, 'x-b': 5}}")
    assert (found.headers["x-a"], found.headers["x-b"]) == ("true", "5")


def test_headers_of_the_connection_are_not_the_functions(api, ask):
    do = "{'statusCode': 200, 'body': 'x', 'headers': {'content-length': '99', 'connection': 'close', 'upgrade': 'h2'}}"
    found = ask(api, "GET", "/v2", do=do)
    assert found.headers["content-length"] == "1"
    assert not {"connection", "upgrade"} & set(found.headers)


def test_payload_2_0_has_no_headers_of_several_values_and_1_0_has(api, ask):
    do = "{'statusCode': 200, 'headers': {'x-a': '0'}, 'multiValueHeaders': {'x-a': ['1', '2']}}"
    assert ask(api, "GET", "/v2", do=do).headers.get_list("x-a") == ["0"]
    assert ask(api, "GET", "/v1", do=do).headers.get_list("x-a") == ["0", "1", "2"]


@pytest.mark.parametrize("do", ["'text'", "None", "{'body': 'x'}"])
def test_payload_1_0_wants_a_status_code(api, ask, do):
    found = ask(api, "GET", "/v1", do=do)
    assert (found.status, found.headers["content-type"], found.answer.text) == ERROR


def test_a_function_that_takes_too_long_is_500(api, ask):
    assert ask(api, "GET", "/slow", do="time.sleep(5)").status == 500


def test_an_integration_that_takes_too_long_is_503_and_the_function_runs_on(api, ask, tmp_path):
    left = tmp_path / "left"
    found = ask(api, "GET", "/impatient", do=f"time.sleep(1) or open({str(left)!r}, 'w').close()")
    assert (found.status, found.json) == (503, {"message": "Service Unavailable"})
    ask(api, "GET", "/v2", do="1")
    for _ in range(100):
        if left.exists():
            return
        ask(api, "GET", "/v2", do="time.sleep(0.05)")
    pytest.fail("the function was stopped")


def test_a_function_that_may_not_run_is_503_and_to_be_tried_again(api, ask):
    found = ask(api, "GET", "/none")
    assert (found.status, found.json, found.headers["retry-after"]) == (503, {"message": "Service Unavailable"}, "1")


def test_a_function_that_cannot_start_is_500(api, ask):
    assert ask(api, "GET", "/broken").status == 500


def test_a_function_that_takes_too_much_memory_is_500(api, ask):
    assert ask(api, "GET", "/small", do="(bytearray(400_000_000), time.sleep(5))").status == 500
    assert ask(api, "GET", "/small", do="'fine'").answer.text == "fine"


def test_a_body_over_ten_megabytes_is_413(api, ask):
    found = ask(api, "POST", "/v2", content=b"x" * (10 * 1024 * 1024 + 1))
    assert (found.status, found.json) == (413, {"message": "Request Entity Too Large"})


def test_an_event_over_six_megabytes_is_413(api, ask):
    # 5 MB of bytes are 6.7 MB of base64.
    assert ask(api, "POST", "/v2", content=b"\xff" * 5_000_000).status == 413


def test_headers_over_ten_kilobytes_are_431(api, ask):
    assert ask(api, "GET", "/v2", headers={"x-long": "x" * 10_300}).status == 431


def test_head_is_answered_like_get_without_the_body(api, ask):
    found = ask(api, "HEAD", "/impatient", do="{'statusCode': 200, 'body': 'four'}")
    assert (found.status, found.headers["content-length"], found.answer.content) == (200, "4", b"")
