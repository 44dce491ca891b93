"""What event a function is given for an HTTP request."""

import base64
import re

import pytest

PATHS = ("/v2", "/v1")


@pytest.fixture(scope="module")
def api(serve, function, route):
    events = {
        "V2": route("ANY", "/v2"),
        "V1": route("ANY", "/v1", "1.0"),
        "Files": route("ANY", "/files/{proxy+}"),
        "Special": route("GET", "/files/special"),
        "User": route("GET", "/users/{id}"),
        "User1": route("GET", "/users1/{id}", "1.0"),
        "Exact": route("POST", "/exact"),
    }
    # What comes is what goes back, as the body.
    code = "import json\ndef handler(event, context):\n    return {'statusCode': 200, 'body': json.dumps(event)}"
    return serve({"F": function(events)}, code)


@pytest.fixture
def event(api, ask):
    def event(method, path, **options):
        return ask(api, method, path, **options).json

    return event


def test_payload_2_0_has_its_keys_in_order(event):
    found = event("POST", "/v2?a=1", content="x", headers={"cookie": "a=1", "content-type": "text/plain"})
    assert list(found) == [
        "version", "routeKey", "rawPath", "rawQueryString", "cookies", "headers", "queryStringParameters",
        "requestContext", "body", "isBase64Encoded",
    ]  # fmt: skip
    assert list(found["requestContext"]) == [
        "accountId", "apiId", "domainName", "domainPrefix", "http", "requestId", "routeKey", "stage", "time", "timeEpoch",
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["cookies", "body", "queryStringParameters", "pathParameters", "stageVariables"])
def test_payload_2_0_leaves_out_what_there_is_not(event, key):
    assert key not in event("GET", "/v2")


@pytest.mark.parametrize(
    "key",
    ["body", "pathParameters", "queryStringParameters", "multiValueQueryStringParameters", "stageVariables"],
)
def test_payload_1_0_says_null_of_what_there_is_not(event, key):
    assert event("GET", "/v1")[key] is None


def test_header_names_are_lower_case_in_2_0_and_title_case_in_1_0(event):
    sent = {"X-My-Header": "1"}
    second, first = event("GET", "/v2", headers=sent), event("GET", "/v1", headers=sent)
    assert [name for name in second["headers"] if name != name.lower()] == []
    assert first["headers"]["X-My-Header"] == "1"
    assert first["multiValueHeaders"]["X-My-Header"] == ["1"]


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"])
def test_the_gateway_adds_its_headers_in_place_of_the_clients(event, name):
    found = event("GET", "/v2", headers={name: "forged"})["headers"]
    assert found[name] != "forged"
    assert found["content-length"] == "0"


def test_repeated_headers_are_joined_in_2_0_and_listed_in_1_0(event):
    sent = [("x-a", "1"), ("x-a", "2")]
    assert event("GET", "/v2", headers=sent)["headers"]["x-a"] == "1,2"
    first = event("GET", "/v1", headers=sent)
    assert (first["headers"]["X-A"], first["multiValueHeaders"]["X-A"]) == ("2", ["1", "2"])


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [
        ([("cookie", "a=1; b=2;a=3")], ["a=1", "b=2", "a=3"]),
        ([("cookie", "a=1"), ("cookie", "b=2")], ["a=1", "b=2"]),
    ],
)
def test_cookies_are_split(event, headers, cookies):
    found = event("GET", "/v2", headers=headers)
    assert found["cookies"] == cookies
    assert "cookie" not in found["headers"]


@pytest.mark.parametrize(
    ("query", "raw", "parameters"),
    [
        ("a=1&a=2", "a=1&a=2", {"a": "1,2"}),
        ("a=%20x%26y", "a=%20x%26y", {"a": " x&y"}),
        ("a+b=c+d", "a+b=c+d", {"a b": "c d"}),
        ("a=", "a=", {"a": ""}),
        ("", "", None),
    ],
)
def test_a_query_comes_raw_and_decoded(event, query, raw, parameters):
    found = event("GET", f"/v2?{query}")
    assert (found["rawQueryString"], found.get("queryStringParameters")) == (raw, parameters)


def test_payload_1_0_lists_what_a_query_repeats(event):
    found = event("GET", "/v1?a=1&a=2")
    assert found["queryStringParameters"] == {"a": "2"}
    assert found["multiValueQueryStringParameters"] == {"a": ["1", "2"]}


def test_the_context_says_who_asked_where(event):
    found = event("GET", "/v2", headers={"host": "a.example:8000", "user-agent": "ua/1"})["requestContext"]
    assert (found["domainName"], found["domainPrefix"], found["stage"]) == ("a.example:8000", "a", "$default")
    assert found["http"] == {
        "method": "GET", "path": "/v2", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "ua/1",
    }  # fmt: skip


def test_each_request_has_an_id_and_a_time_of_its_own(event):
    first, second = (event("GET", "/v2")["requestContext"] for _ in range(2))
    assert first["requestId"] != second["requestId"]
    assert re.fullmatch(r".{15}=", first["requestId"])
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", first["time"])
    assert first["timeEpoch"] > 1_700_000_000_000


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("content_type", "is_text"),
    [
        ("text/plain", True),
        ("text/plain;charset=UTF-8", True),
        ("text/html", True),
        ("text/csv", True),
        ("text/xml", True),
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/xml", True),
        ("application/javascript", True),
        ("application/graphql", True),
        ("text/plain; charset=latin1", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/vnd.api+json", False),
        ("application/octet-stream", False),
        (None, False),
    ],
)
def test_a_body_is_text_only_for_the_types_that_aws_knows(event, path, content_type, is_text):
    headers = {"content-type": content_type} if content_type else {}
    found = event("POST", path, content=b"x", headers=headers)
    expected = "x" if is_text else base64.b64encode(b"x").decode()
    assert (found["isBase64Encoded"], found["body"]) == (not is_text, expected)


@pytest.mark.parametrize("path", PATHS)
def test_every_byte_arrives(event, path):
    found = event("POST", path, content=bytes(range(256)), headers={"content-type": "application/octet-stream"})
    assert base64.b64decode(found["body"]) == bytes(range(256))


@pytest.mark.parametrize(
    ("method", "path", "route_key", "parameters"),
    [
        ("GET", "/files/special", "GET /files/special", None),
        ("POST", "/files/special", "ANY /files/{proxy+}", {"proxy": "special"}),
        ("GET", "/files/a/b/c.txt", "ANY /files/{proxy+}", {"proxy": "a/b/c.txt"}),
        ("GET", "/users/7", "GET /users/{id}", {"id": "7"}),
        ("GET", "/users/a%20b", "GET /users/{id}", {"id": "a b"}),
        ("DELETE", "/v2", "ANY /v2", None),
    ],
)
def test_the_most_specific_route_is_taken(event, method, path, route_key, parameters):
    found = event(method, path)
    assert (found["routeKey"], found.get("pathParameters")) == (route_key, parameters)


def test_a_path_is_decoded_in_2_0_and_as_it_came_in_1_0(event):
    assert event("GET", "/users/a%20b")["rawPath"] == "/users/a b"
    first = event("GET", "/users1/a%20b")
    assert (first["path"], first["resource"], first["pathParameters"]) == (
        "/users1/a%20b",
        "/users1/{id}",
        {"id": "a b"},
    )


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere"), ("GET", "/exact"), ("POST", "/users/7"), ("GET", "/")]
)
def test_what_no_route_takes_is_404_and_never_405(api, ask, method, path):
    found = ask(api, method, path)
    assert (found.status, found.json) == (404, {"message": "Not Found"})


def test_a_stage_with_a_name_begins_every_path(serve, function, route, ask):
    api = serve(
        {
            "F": function({"V2": route("GET", "/v2")}),
            "Api": {
                "Type": "AWS::Serverless::HttpApi",
                "Properties": {"StageName": "test", "StageVariables": {"colour": "blue"}},
            },
        }
    )
    assert ask(api, "GET", "/v2").status == 404
    found = ask(api, "GET", "/test/v2").json
    assert (found["rawPath"], found["requestContext"]["stage"]) == ("/test/v2", "test")
    assert found["stageVariables"] == {"colour": "blue"}


def test_what_has_no_route_of_its_own_goes_to_the_default_route(serve, function, ask):
    api = serve({"F": function({"All": {"Type": "HttpApi"}})})
    found = ask(api, "PATCH", "/any/where").json
    assert (found["routeKey"], found["requestContext"]["http"]["method"]) == ("$default", "PATCH")
