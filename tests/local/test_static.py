"""The pixel's files as they are served: compressed, kept for as long as they do not change, open to every origin."""

import asyncio
import base64
import gzip
import hashlib
import json

import httpx
import pytest

from cli import static
from cli.machine import ROOT

SCRIPT = "console.log('the pixel')"
VERSION = hashlib.sha256(SCRIPT.encode()).hexdigest()[:8]


@pytest.fixture
def get(tmp_path):
    (tmp_path / "dist").mkdir()
    (tmp_path / "demo").mkdir()
    (tmp_path / "dist" / "tracking.js").write_text(SCRIPT)
    (tmp_path / "dist" / "tracking.js.br").write_bytes(b"small")
    (tmp_path / "dist" / "tracking.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (tmp_path / "dist" / "plain.js").write_text("plain")
    app = static.site(tmp_path)

    def get(path, **headers):
        async def work():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host.example") as client:
                # As it was sent: what is not compressed here only says that it is.
                request = client.build_request("GET", path, headers={"accept-encoding": "identity", **headers})
                answer = await client.send(request, stream=True)
                answer.raw = b"".join([chunk async for chunk in answer.aiter_raw()])
                return answer

        return asyncio.run(work())

    return get


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("BR", "br"),
        ("identity", None),
        ("", None),
    ],
)
def test_a_browser_gets_the_smallest_that_it_takes(get, accepted, sent):
    answer = get("/js/tracking.js", **{"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == sent
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    ["tracking.js.br", "tracking.js.gz", "%00", "%2e%2e/dist/tracking.js", "a" * 300 + ".js", "a/" * 2500, "", "."],
)
def test_what_was_not_built_for_browsers_is_not_found(get, path):
    for accepted in ("br", "identity"):
        assert get(f"/js/{path}", **{"accept-encoding": accepted}).status_code == 404


def test_what_was_never_compressed_is_sent_as_it_is(get):
    assert get("/js/plain.js", **{"accept-encoding": "br"}).raw == b"plain"


def test_under_its_name_it_is_asked_for_again_after_five_minutes(get):
    answer = get("/js/tracking.js")
    assert answer.raw.decode() == SCRIPT
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert get("/js/tracking.js", **{"if-none-match": answer.headers["etag"]}).status_code == 304


def test_under_the_name_of_its_version_it_is_kept_for_ever(get):
    answer = get(f"/js/tracking.{VERSION}.js")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_a_version_that_is_gone_is_the_present_one_for_a_while(get):
    answer = get("/js/tracking.00000000.js")
    assert (answer.status_code, answer.raw.decode()) == (200, SCRIPT)
    assert answer.headers["cache-control"] == "public, max-age=300"


def test_pages_of_every_origin_may_load_it_and_check_it(get):
    headers = get("/js/tracking.js").headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize("path", ["/js/none.js", "/js/none.00000000.js", "/js/../demo/x", "/js/%2e%2e/pyproject.toml"])
def test_nothing_else_is_there(get, path):
    assert get(path).status_code == 404


def test_the_build_says_each_file_s_version_and_hash():
    dist = ROOT / "pixel" / "dist"
    manifest = json.loads((dist / "manifest.json").read_text())
    assert set(manifest) == {"tracking.js", "consent.js", "domains.js", "errors.js", "vitals.js"}
    for name, said in manifest.items():
        content = (dist / name).read_bytes()
        assert said["integrity"] == "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()
        assert said["versioned"] == name.replace(".js", f".{hashlib.sha256(content).hexdigest()[:8]}.js")
        assert gzip.decompress((dist / f"{name}.gz").read_bytes()) == content
