"""The front: which function gets what event, and what its answer becomes."""

import asyncio
import ipaddress
import json

import httpx
import pytest

from emulator import gateway, server
from emulator.gateway import Gateway
from emulator.model import Cors, Function, Route, Template
from emulator.pool import Pool
from emulator.runtime_api import Result

FUNCTION = Function("F", "main.handler", 5, 128, {}, (), None)


class Recorder(Pool):
    """A function that records its event and answers what the test says."""

    def __init__(self, answer):
        super().__init__(FUNCTION)
        self.answer = answer
        self.event = None

    async def invoke(self, payload):
        self.event = json.loads(payload)
        return Result(json.dumps(self.answer).encode()) if not isinstance(self.answer, Result) else self.answer


ROUTES = [
    Route("POST", "/collect", "1.0", "F"),
    Route("GET", "/v2", "2.0", "F"),
    Route("POST", "/v2", "2.0", "F"),
    Route("ANY", "/files/{proxy+}", "2.0", "F"),
    Route("GET", "/files/special", "2.0", "F"),
    Route("DELETE", "/visitors/{visitor_id}", "1.0", "F"),
]


@pytest.fixture
def ask():
    def ask(
        method, path, *, answer=None, cors=None, routes=ROUTES, trusted=(), aliases=None, peer="203.0.113.7", **options
    ):
        pool = Recorder({"statusCode": 200, "body": "fine"} if answer is None else answer)
        front = Gateway(Template({"F": FUNCTION}, list(routes), [], cors), {"F": pool}, None, trusted, aliases)

        async def work():
            transport = httpx.ASGITransport(front, client=(peer, 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://host.example:8000") as client:
                return await client.request(method, path, **options)

        response = asyncio.run(work())
        response.event = pool.event
        return response

    return ask


def test_an_alias_is_answered_as_the_path_that_it_stands_for(ask):
    event = ask("POST", "/in", aliases={"/in": "/collect"}, content="{}").event
    assert (event["path"], event["resource"]) == ("/collect", "/collect")
    assert ask("POST", "/in/more", aliases={"/in": "/collect"}).status_code == 404


def test_payload_1_0_is_what_chalice_reads(ask):
    event = ask(
        "POST", "/collect?a=1&a=2&b=%20x", content=b'{"n":1}', headers={"content-type": "application/json"}
    ).event

    assert (event["version"], event["resource"], event["path"], event["httpMethod"]) == (
        "1.0",
        "/collect",
        "/collect",
        "POST",
    )
    assert event["queryStringParameters"] == {"a": "2", "b": " x"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [" x"]}
    assert event["headers"]["Content-Type"] == "application/json"
    assert event["multiValueHeaders"]["Host"] == ["host.example:8000"]
    assert event["requestContext"]["resourcePath"] == "/collect"
    assert event["requestContext"]["identity"]["sourceIp"] == "203.0.113.7"
    assert (event["body"], event["isBase64Encoded"]) == ('{"n":1}', False)
    assert event["pathParameters"] is None


def test_payload_2_0_leaves_out_what_there_is_not(ask):
    event = ask("GET", "/v2").event
    assert event["routeKey"] == "GET /v2"
    assert event["rawQueryString"] == ""
    assert not {"cookies", "body", "queryStringParameters", "pathParameters", "stageVariables"} & set(event)


def test_payload_2_0_joins_what_is_repeated(ask):
    headers = [("x-a", "1"), ("x-a", "2"), ("cookie", "a=1; b=2"), ("cookie", "a=3")]
    event = ask("GET", "/v2?a=1&a=2", headers=headers).event
    assert event["headers"]["x-a"] == "1,2"
    assert "cookie" not in event["headers"]
    assert event["cookies"] == ["a=1", "b=2", "a=3"]
    assert event["queryStringParameters"] == {"a": "1,2"}
    assert event["requestContext"]["http"]["sourceIp"] == "203.0.113.7"
    assert event["requestContext"]["domainName"] == "host.example:8000"


@pytest.mark.parametrize(
    ("content_type", "is_base64"),
    [
        ("text/plain;charset=UTF-8", False),
        ("text/csv", False),
        ("application/json; charset=utf-8", False),
        ("application/graphql", False),
        ("application/x-www-form-urlencoded", True),
        ("application/vnd.api+json", True),
        ("text/plain; charset=latin1", True),
        (None, True),
    ],
)
def test_a_body_is_text_only_for_the_types_that_aws_knows(ask, content_type, is_base64):
    headers = {"content-type": content_type} if content_type else {}
    assert ask("POST", "/v2", content=b"x", headers=headers).event["isBase64Encoded"] is is_base64


def test_bytes_that_are_no_text_reach_the_function_as_they_came(ask):
    event = ask("POST", "/collect", content=bytes(range(256)), headers={"content-type": "application/json"}).event
    assert event["isBase64Encoded"] is True


@pytest.mark.parametrize(
    ("method", "path", "route", "parameters"),
    [
        ("GET", "/files/special", "GET /files/special", None),
        ("POST", "/files/special", "ANY /files/{proxy+}", {"proxy": "special"}),
        ("GET", "/files/a/b/c.txt", "ANY /files/{proxy+}", {"proxy": "a/b/c.txt"}),
    ],
)
def test_the_most_specific_route_is_taken(ask, method, path, route, parameters):
    event = ask(method, path).event
    assert (event["routeKey"], event.get("pathParameters")) == (route, parameters)


def test_path_parameters_are_decoded(ask):
    assert ask("DELETE", "/visitors/a%2Fb%20c").event["pathParameters"] == {"visitor_id": "a/b c"}


@pytest.mark.parametrize(("method", "path"), [("GET", "/collect"), ("POST", "/nowhere"), ("DELETE", "/visitors/a/b")])
def test_what_no_route_takes_is_404(ask, method, path):
    response = ask(method, path)
    assert (response.status_code, response.json(), response.event) == (404, {"message": "Not Found"}, None)


ANSWERS = [
    ("Hello", 200, "application/json", "Hello"),
    (["a", 3, True], 200, "application/json", '["a", 3, true]'),
    (None, 200, "application/json", "null"),
    ({"body": "x"}, 200, "application/json", '{"body": "x"}'),
    ({"errorMessage": "x"}, 200, "application/json", '{"errorMessage": "x"}'),
    ({"statusCode": 201, "body": "hi"}, 201, "text/plain;charset=UTF-8", "hi"),
    ({"statusCode": "201", "body": None}, 201, "text/plain;charset=UTF-8", ""),
    ({"statusCode": 200, "body": {"a": 1}}, 500, "application/json", '{"message":"Internal Server Error"}'),
    ({"statusCode": 0}, 500, "application/json", '{"message":"Internal Server Error"}'),
    ({"statusCode": 200.5}, 500, "application/json", '{"message":"Internal Server Error"}'),
    ({"statusCode": "x"}, 500, "application/json", '{"message":"Internal Server Error"}'),
    (
        {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
        500,
        "application/json",
        '{"message":"Internal Server Error"}',
    ),
    (Result(b"{}", "Unhandled"), 500, "application/json", '{"message":"Internal Server Error"}'),
    (Result(b"not json"), 500, "application/json", '{"message":"Internal Server Error"}'),
]


@pytest.mark.parametrize(("answer", "status", "content_type", "body"), ANSWERS[1:])
def test_an_answer_is_converted_by_the_rules_of_payload_2_0(ask, answer, status, content_type, body):
    if answer is None:
        answer = Result(b"null")
    response = ask("GET", "/v2", answer=answer)
    assert (response.status_code, response.headers["content-type"], response.text) == (status, content_type, body)


def test_bytes_cookies_and_headers_come_through(ask):
    answer = {
        "statusCode": 200,
        "isBase64Encoded": True,
        "body": "AAH/",
        "cookies": ["a=1", "b=2"],
        "headers": {"X-Number": 5, "Connection": "close", "Content-Type": "image/gif"},
    }
    response = ask("GET", "/v2", answer=answer)
    assert response.content == b"\x00\x01\xff"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert (response.headers["x-number"], response.headers["content-type"]) == ("5", "image/gif")
    assert "connection" not in response.headers


CORS = Cors(("https://good.example",), ("POST",), ("content-type",), (), credentials=False, max_age=60)
PREFLIGHT = {"access-control-request-method": "POST"}


def test_a_preflight_is_answered_without_the_function(ask):
    response = ask("OPTIONS", "/anything", cors=CORS, headers={"origin": "https://good.example", **PREFLIGHT})
    assert (response.status_code, response.event) == (204, None)
    assert response.headers["access-control-allow-origin"] == "https://good.example"
    assert response.headers["access-control-allow-methods"] == "POST"
    assert response.headers["access-control-max-age"] == "60"


def test_a_preflight_from_another_origin_gets_no_permission(ask):
    response = ask("OPTIONS", "/collect", cors=CORS, headers={"origin": "https://evil.example", **PREFLIGHT})
    assert response.status_code == 204
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_the_apis_cors_replaces_the_functions(ask):
    answer = {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "https://evil.example"}}
    evil = ask("POST", "/collect", answer=answer, cors=CORS, headers={"origin": "https://evil.example"})
    good = ask("POST", "/collect", answer=answer, cors=CORS, headers={"origin": "https://good.example"})
    assert "access-control-allow-origin" not in evil.headers
    assert good.headers["access-control-allow-origin"] == "https://good.example"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        ((), "198.51.100.1", "203.0.113.7"),
        (("203.0.113.0/24",), "198.51.100.1", "198.51.100.1"),
        (("203.0.113.0/24",), "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (("203.0.113.0/24", "198.51.100.0/24"), "6.6.6.6, 198.51.100.1", "6.6.6.6"),
        (("203.0.113.0/24",), None, "203.0.113.7"),
    ],
)
def test_forwarded_addresses_are_believed_only_from_trusted_proxies(ask, trusted, forwarded, address):
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    networks = tuple(map(ipaddress.ip_network, trusted))
    event = ask("GET", "/v2", trusted=networks, headers=headers).event
    assert event["requestContext"]["http"]["sourceIp"] == address
    assert event["headers"]["x-forwarded-for"] == address


def test_an_ipv4_proxy_is_known_on_a_socket_that_takes_both(ask):
    networks = (ipaddress.ip_network("203.0.113.0/24"),)
    headers = {"x-forwarded-for": "198.51.100.1"}
    event = ask("GET", "/v2", trusted=networks, headers=headers, peer="::ffff:203.0.113.7").event
    assert event["requestContext"]["http"]["sourceIp"] == "198.51.100.1"


def test_who_names_no_host_is_refused(ask):
    assert ask("GET", "/v2", headers={"host": "a.example"}).status_code == 200
    assert ask("GET", "/v2", headers=[("host", "a.example"), ("host", "b.example")]).status_code == 400


def test_bodies_are_held_only_as_far_as_there_is_room(ask, monkeypatch):
    monkeypatch.setattr(gateway, "MOST_BODIES_BYTES", 1000)
    assert ask("POST", "/v2", content=b"x" * 900).status_code == 200
    refused = ask("POST", "/v2", content=b"x" * 1100)
    assert (refused.status_code, refused.headers["retry-after"], refused.event) == (503, "1", None)
    assert ask("POST", "/v2", content=b"x" * 900).status_code == 200


def test_a_port_is_taken_from_the_moment_it_is_given():
    with server.listen("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        server.listen("127.0.0.1", first.getsockname()[1])


def test_an_event_that_would_be_too_large_is_refused(ask):
    response = ask("POST", "/v2", content=b"x" * 5_000_000)
    assert (response.status_code, response.event) == (413, None)
