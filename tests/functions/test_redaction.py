"""What is masked before it is stored, and what analytics needs and keeps."""

import json
import time
from pathlib import Path

import pytest

from collect import redaction

# The pixel is held to the same ones.
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "redaction.json").read_text("utf-8"))


@pytest.mark.parametrize(("text", "masked"), VECTORS["masked"])
def test_personal_values_are_masked_and_the_rest_of_the_text_stays(text, masked):
    assert redaction.redact_text(text) == masked
    for ascii_only in (True, False):
        assert not redaction.is_harmless(json.dumps({"text": text}, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize("text", VECTORS["kept"])
def test_what_only_looks_personal_is_kept(text):
    assert redaction.redact_text(text) == text


@pytest.mark.parametrize("key", VECTORS["sensitive_names"])
def test_a_field_is_secret_by_its_name(key):
    assert redaction.is_sensitive(key)


@pytest.mark.parametrize("key", VECTORS["harmless_names"])
def test_a_name_that_only_sounds_like_it_is_not(key):
    assert not redaction.is_sensitive(key)


def test_a_secret_field_is_masked_with_all_that_lies_in_it(post, rows):
    post(
        {
            "event_type": "custom",
            "data": {
                "password": {"value": "hunter2", "list": [1, 2]},
                "cardNumber": 4111111111111111,
                "n": 4111111111111111,
                "has_password": True,
                "password_visible": False,
                "pin": None,
                "jane@mail.example": 1,
            },
        }
    )
    assert rows("SELECT raw_event_data->'data' AS data FROM events")[0]["data"] == {
        "password": "[redacted:field]",
        "cardNumber": "[redacted:field]",
        "n": "[redacted:card]",
        "has_password": True,
        "password_visible": False,
        "pin": None,
        "[redacted:email]": 1,
    }


@pytest.mark.parametrize(
    "text", ["1" * 8192, "1 " * 4096, "a@" * 4096, "@" * 8192, "?a=" * 2730, "://" * 2730, "a." * 4096 + "@"]
)
def test_no_text_takes_long(text):
    began = time.process_time()
    redaction.redact_text(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "piece",
    [
        "?",
        "&a",
        "#=",
        "-eyJ",
        "%252541 ",
        "4  ",
        "1\u00a0",
        "a%40",
        "@a.",
        "@a-",
        "1 ",
        "1-",
        "a.b@",
        "://",
        "x" * 63 + "@",
    ],
)
def test_no_body_takes_long(piece):
    # The square of what it should take would be minutes; a few hundredths of a second is what it takes.
    body = piece * (1_000_000 // len(piece))
    began = time.process_time()
    redaction.is_harmless(body.encode())
    redaction.redact_text(body)
    assert time.process_time() - began < 5
