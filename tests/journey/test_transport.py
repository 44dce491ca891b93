"""The front under hostile transport: sizes, encodings, slowness, smuggling; through real sockets to the real runtime."""

import contextlib
import gzip
import itertools
import json
import re
import socket
import time

import httpx
import pytest

GOOD = {"event_type": "page_view", "url": "https://transport.example/"}


def raw(platform, *parts, seconds=30):
    """Send bytes as they are, and read until the server closes or falls silent after its answer."""
    with socket.create_connection(("127.0.0.1", platform.port), timeout=seconds) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
            answer += chunk
        return answer


def post(platform, content, **headers):
    return httpx.post(
        f"{platform.url}/collect", content=content, headers={"content-type": "application/json", **headers}
    )


def test_an_empty_body_is_refused(platform):
    assert post(platform, b"").status_code == 400


def test_an_endless_chunked_body_is_cut_at_the_limit(platform):
    sent = 0
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", platform.port), timeout=30) as connection:
        connection.sendall(b"POST /collect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 64 * 1024 * 1024:
                connection.sendall(chunk)
                sent += len(chunk)
        except (ConnectionError, TimeoutError):
            pass
        try:
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    assert sent < 32 * 1024 * 1024
    assert answer == b"" or b" 413 " in answer
    assert post(platform, json.dumps(GOOD)).status_code == 202


def test_a_body_that_announces_too_much_is_refused(platform):
    assert post(platform, b" " * (2 * 1024 * 1024)).status_code == 413
    assert post(platform, b" " * (11 * 1024 * 1024)).status_code == 413


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(gzip.compress(json.dumps(GOOD).encode())), "invalid_json"),
        (gzip.compress(json.dumps(GOOD).encode())[:-5], "invalid_gzip"),
        (gzip.compress(json.dumps(GOOD).encode()) + b"garbage", "invalid_gzip"),
        (b"not gzip", "invalid_gzip"),
        (gzip.compress(b" " * 500_000_000, 1), "body_too_large"),
        (gzip.compress(b" " * 700_000) * 2, "body_too_large"),
        (gzip.compress(b"") * 40_000, "invalid_gzip"),
        (gzip.compress(b"") * 100_000, "body_too_large"),
    ],
)
def test_gzip_that_is_broken_or_too_large_is_refused(platform, body, reason):
    answer = post(platform, body, **{"content-encoding": "gzip"})
    assert answer.json()["error"]["code"] == reason
    assert answer.status_code == (413 if reason == "body_too_large" else 400)


def test_gzip_is_read(platform):
    assert post(platform, gzip.compress(json.dumps(GOOD).encode()), **{"content-encoding": "gzip"}).status_code == 202


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--'),
        ("application/x-www-form-urlencoded", b"event_type=page_view"),
        ("application/xml", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'),
        ("image/png", b"\x89PNG"),
    ],
)
def test_other_types_are_refused_and_never_parsed(platform, content_type, body):
    answer = httpx.post(f"{platform.url}/collect", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_two_lengths_for_one_body_are_refused_and_the_connection_closed(platform):
    answer = raw(
        platform,
        b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /events/count HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1") == 1


UPGRADE = b"POST /collect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: "


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(platform, pieces):
    body = json.dumps(GOOD).encode()
    request = UPGRADE + str(len(body)).encode() + b"\r\n\r\n" + body
    cuts = [len(request) * number // pieces for number in range(pieces + 1)]
    answer = raw(platform, *(request[start:end] for start, end in itertools.pairwise(cuts)))
    assert answer.startswith(b"HTTP/1.1 202 ")


def test_a_request_within_the_body_of_another_is_never_answered(platform):
    inner = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    outer = UPGRADE + str(len(inner)).encode() + b"\r\n\r\n"
    last = b"GET /nothing-is-here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", platform.port), timeout=30) as connection:
        for part in (outer, inner, last):
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"400", b"404"]


def test_a_signal_on_one_of_two_lines_is_heard(platform):
    headers = [("content-type", "application/json"), ("sec-gpc", "1"), ("sec-gpc", "0")]
    assert httpx.post(f"{platform.url}/collect", content=json.dumps(GOOD), headers=headers).status_code == 204


def test_headers_beyond_the_limit_are_refused(platform):
    assert post(platform, json.dumps(GOOD), cookie="x" * 20_000).status_code == 431


def test_a_header_that_never_ends_is_cut_off_and_holds_up_nobody(platform):
    with socket.create_connection(("127.0.0.1", platform.port), timeout=30) as connection:
        connection.sendall(b"POST /collect HTTP/1.1\r\nHost: x\r\nA: ")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 4_000_000:
                sent += connection.send(b"a" * 4096)
    assert sent < 4_000_000
    assert post(platform, json.dumps(GOOD)).status_code == 202


def test_a_trailer_is_no_header(platform):
    token = platform.admin["Authorization"].encode()
    head = b"GET /events/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(platform, head + b"0\r\nAuthorization: " + token + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_client_that_is_slow_on_purpose_is_cut_off_and_holds_up_nobody(platform):
    starts = {
        "headers": b"POST /collect HTTP/1.1\r\nHost: x\r\n",
        "body": b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
        "body that nobody reads": b"POST /index.html HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
    }
    slow = {name: socket.create_connection(("127.0.0.1", platform.port), timeout=0.3) for name in starts}
    answers = dict.fromkeys(starts, b"")
    for name, connection in slow.items():
        connection.sendall(starts[name])
    deadline = time.monotonic() + 45
    while slow:
        assert time.monotonic() < deadline, f"still open: {sorted(slow)}"
        assert post(platform, json.dumps(GOOD)).status_code == 202
        for name, connection in list(slow.items()):
            try:
                connection.sendall(b"x")
                while chunk := connection.recv(4096):
                    answers[name] += chunk
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            connection.close()
            del slow[name]
    assert {name: answer[:12] for name, answer in answers.items()} == {
        "headers": b"",
        "body": b"HTTP/1.1 408",
        "body that nobody reads": b"HTTP/1.1 405",
    }


def test_a_preflight_is_answered(platform):
    answer = httpx.options(
        f"{platform.url}/collect",
        headers={"origin": "https://a.example", "access-control-request-method": "POST"},
    )
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
