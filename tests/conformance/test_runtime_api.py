"""The Runtime API, as the process of an environment meets it."""

import asyncio
import contextlib
import json
import uuid

import httpx
import pytest

from emulator.runtime_api import Invocation, RuntimeApi

BASE = "/2018-06-01/runtime"


@pytest.fixture
def talk():
    """Run a conversation: a coroutine that gets the API's state and a client; what it called back with is kept."""

    def talk(conversation):
        async def work():
            heard = []
            api = RuntimeApi(lambda: heard.append("idle"), heard.append)
            server = await asyncio.get_running_loop().create_server(api.connect, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                await conversation(api, client)
            server.close()
            return heard

        return asyncio.run(work())

    return talk


def invocation(payload=b'{"a":1}', **options):
    loop = asyncio.get_running_loop()
    arn = "arn:aws:lambda:us-east-1:123456789012:function:F"
    return Invocation(payload, arn, 1_700_000_000_000, loop.create_future(), **options)


async def given(api, client, **options):
    """Hand an invocation to a process that waits for one; the invocation, and what the process got."""
    waiting = asyncio.create_task(client.get(f"{BASE}/invocation/next"))
    while api._waiting is None:
        await asyncio.sleep(0.001)
    made = invocation(**options)
    api.invoke(made)
    return made, await waiting


def test_next_gives_the_event_with_its_headers(talk):
    async def conversation(api, client):
        made, got = await given(api, client)
        assert (got.status_code, got.content) == (200, b'{"a":1}')
        # With anything behind it the client hands its handler raw bytes.
        assert got.headers["content-type"] == "application/json"
        assert got.headers["lambda-runtime-aws-request-id"] == made.request_id == str(uuid.UUID(made.request_id))
        assert got.headers["lambda-runtime-deadline-ms"] == "1700000000000"
        assert got.headers["lambda-runtime-invoked-function-arn"] == made.function_arn
        assert got.headers["lambda-runtime-trace-id"].startswith("Root=1-")
        for name in ("client-context", "cognito-identity", "aws-tenant-id"):
            assert f"lambda-runtime-{name}" not in got.headers

    assert talk(conversation) == ["idle"]


def test_a_client_context_comes_decoded(talk):
    async def conversation(api, client):
        _, got = await given(api, client, client_context='{"custom": {"a": 1}}')
        assert json.loads(got.headers["lambda-runtime-client-context"]) == {"custom": {"a": 1}}

    talk(conversation)


def test_next_during_an_invocation_gives_the_same_one_again(talk):
    async def conversation(api, client):
        made, _ = await given(api, client)
        again = await client.get(f"{BASE}/invocation/next")
        assert again.headers["lambda-runtime-aws-request-id"] == made.request_id

    assert talk(conversation) == ["idle"]


def test_a_response_ends_the_invocation(talk):
    async def conversation(api, client):
        made, _ = await given(api, client)
        answer = await client.post(f"{BASE}/invocation/{made.request_id}/response", content=b'"done"')
        assert (answer.status_code, answer.json()) == (202, {"status": "OK"})
        result = made.result.result()
        assert (result.payload, result.error_type) == (b'"done"', None)

    talk(conversation)


def test_an_error_goes_to_the_caller_to_the_letter(talk):
    async def conversation(api, client):
        made, _ = await given(api, client)
        body = b'{"errorMessage": "m",  "errorType": "T", "requestId": "r", "stackTrace": []}'
        headers = {"Lambda-Runtime-Function-Error-Type": "Function.Odd"}
        answer = await client.post(f"{BASE}/invocation/{made.request_id}/error", content=body, headers=headers)
        assert answer.status_code == 202
        assert (made.result.result().payload, made.result.result().error_type) == (body, "Function.Odd")

    talk(conversation)


@pytest.mark.parametrize("first", ["response", "error"])
@pytest.mark.parametrize("second", ["response", "error"])
def test_an_invocation_ends_once(talk, first, second):
    async def conversation(api, client):
        made, _ = await given(api, client)
        await client.post(f"{BASE}/invocation/{made.request_id}/{first}", content=b"{}")
        answer = await client.post(f"{BASE}/invocation/{made.request_id}/{second}", content=b"{}")
        assert (answer.status_code, answer.json()["errorType"]) == (403, "InvalidStateTransition")

    talk(conversation)


def test_an_unknown_id_is_refused(talk):
    async def conversation(api, client):
        await given(api, client)
        answer = await client.post(f"{BASE}/invocation/{uuid.uuid4()}/response", content=b"{}")
        assert (answer.status_code, answer.json()["errorType"]) == (400, "InvalidRequestID")

    talk(conversation)


@pytest.mark.parametrize(("size", "status"), [(6_291_556, 202), (6_291_557, 413)])
def test_a_response_has_a_limit(talk, size, status):
    async def conversation(api, client):
        made, _ = await given(api, client)
        answer = await client.post(f"{BASE}/invocation/{made.request_id}/response", content=b"x" * size)
        assert answer.status_code == status
        if status == 413:
            assert answer.json()["errorType"] == "RequestEntityTooLarge"
            assert made.result.result().error_type == "Function.ResponseSizeTooLarge"

    talk(conversation)


@pytest.mark.parametrize(
    ("said", "known_as"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.Odd", "Function.Odd"),
        ("odd", "Runtime.Unknown"),
        (None, "Runtime.Unknown"),
    ],
)
def test_a_failed_init_says_why(talk, said, known_as):
    async def conversation(api, client):
        del api
        headers = {"Lambda-Runtime-Function-Error-Type": said} if said else {}
        answer = await client.post(f"{BASE}/init/error", content=b'{"errorMessage":"m"}', headers=headers)
        assert (answer.status_code, answer.json()) == (202, {"status": "OK"})

    [result] = talk(conversation)
    assert (result.error_type, result.payload) == (known_as, b'{"errorMessage":"m"}')


def test_init_does_not_fail_after_the_first_next(talk):
    async def conversation(api, client):
        await given(api, client)
        assert (await client.post(f"{BASE}/init/error", content=b"{}")).status_code == 403

    assert talk(conversation) == ["idle"]


@pytest.mark.parametrize(("mode", "status"), [("streaming", 202), ("buffered", 400)])
def test_the_only_response_mode_that_is_named_is_streaming(talk, mode, status):
    async def conversation(api, client):
        made, _ = await given(api, client)
        headers = {"Lambda-Runtime-Function-Response-Mode": mode}
        answer = await client.post(f"{BASE}/invocation/{made.request_id}/response", content=b"{}", headers=headers)
        assert answer.status_code == status

    talk(conversation)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ping", 200),
        ("GET", f"{BASE}/restore/next", 404),
        ("POST", f"{BASE}/restore/error", 404),
        ("GET", "/2020-01-01/extension/event/next", 404),
        ("GET", "/nowhere", 404),
        ("POST", f"{BASE}/invocation/next", 404),
    ],
)
def test_there_is_nothing_else(talk, method, path, status):
    async def conversation(api, client):
        del api
        assert (await client.request(method, path)).status_code == status

    talk(conversation)


def test_a_body_may_come_in_pieces(talk):
    async def pieces():
        for piece in (b'"a', b'b"'):
            yield piece

    async def conversation(api, client):
        made, _ = await given(api, client)
        with contextlib.suppress(httpx.HTTPError):
            await client.post(f"{BASE}/invocation/{made.request_id}/response", content=pieces())
        assert made.result.result().payload == b'"ab"'

    talk(conversation)
