"""CORS, from the block of the API."""

import pytest

CORS = {
    "AllowOrigins": ["https://a.example", "http://*"],
    "AllowMethods": ["GET", "POST"],
    "AllowHeaders": ["content-type"],
    "ExposeHeaders": ["retry-after"],
    "MaxAge": 60,
}
PREFLIGHT = {"origin": "https://a.example", "access-control-request-method": "POST"}
# Tells by its answer that it was asked.
CODE = """
def handler(event, context):
    return {'statusCode': 200, 'body': 'asked', 'headers': {'access-control-allow-origin': 'https://mine.example'}}
"""


@pytest.fixture(scope="module")
def api(serve, function, route):
    cors = {"Type": "AWS::Serverless::HttpApi", "Properties": {"CorsConfiguration": CORS}}
    return serve({"F": function({"G": route("GET", "/x"), "O": route("OPTIONS", "/x")}), "Api": cors}, CODE)


def allowed(found):
    return {name: value for name, value in found.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", ["/x", "/no-route-at-all"])
def test_a_preflight_is_answered_by_the_gateway(api, ask, path):
    found = ask(api, "OPTIONS", path, headers=PREFLIGHT)
    assert (found.status, found.answer.text) == (204, "")
    assert allowed(found) == {
        "access-control-allow-origin": "https://a.example",
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": "60",
    }


def test_a_preflight_from_another_origin_gets_no_permission(api, ask):
    found = ask(api, "OPTIONS", "/x", headers={**PREFLIGHT, "origin": "https://b.example"})
    assert (found.status, allowed(found)) == (204, {})


def test_options_that_are_no_preflight_go_to_their_route(api, ask):
    assert ask(api, "OPTIONS", "/x").answer.text == "asked"


@pytest.mark.parametrize(
    ("origin", "answered"),
    [
        ("https://a.example", "https://a.example"),
        ("http://any.example", "http://any.example"),
        ("https://b.example", None),
        (None, None),
    ],
)
def test_the_apis_permission_stands_in_place_of_the_functions(api, ask, origin, answered):
    found = ask(api, "GET", "/x", headers={"origin": origin} if origin else {})
    assert (found.answer.text, found.headers.get("access-control-allow-origin")) == ("asked", answered)
    assert found.headers.get("access-control-expose-headers") == ("retry-after" if answered else None)


def test_without_the_block_options_is_an_ordinary_route_and_the_function_speaks_for_itself(serve, function, route, ask):
    api = serve({"F": function({"G": route("GET", "/x"), "O": route("OPTIONS", "/x")})}, CODE)
    for method in ("GET", "OPTIONS"):
        found = ask(api, method, "/x", headers=PREFLIGHT)
        assert (found.answer.text, found.headers["access-control-allow-origin"]) == ("asked", "https://mine.example")
