"""What is masked before it is stored, and what analytics needs and keeps."""

import json
import string
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collect import redaction, suspicion

# The pixel is held to the same ones.
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "redaction.json").read_text("utf-8"))


@pytest.mark.parametrize(("text", "masked"), VECTORS["masked"] + VECTORS["masked_by_the_server"])
def test_personal_values_are_masked_and_the_rest_of_the_text_stays(text, masked):
    assert redaction.redact_text(text) == masked
    for ascii_only in (True, False):
        assert not suspicion.is_harmless(json.dumps({"text": text}, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize("text", VECTORS["kept"] + VECTORS["kept_by_the_server"])
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
    suspicion.is_harmless(body.encode())
    redaction.redact_text(body)
    assert time.process_time() - began < 5


def test_an_event_says_how_many_of_its_values_are_masked(post, rows):
    post(
        {
            "title": "of anna@mail.example",
            "events": [
                {
                    "event_type": "custom",
                    "data": {
                        "text": "4111 1111 1111 1111 and 5555 5555 5555 4444",
                        "password": "hunter2",
                        "n": 4111111111111111,
                        "by_the_pixel": "[redacted:phone] [redacted:nothing-of-ours]",
                    },
                }
            ],
        }
    )
    raw = rows("SELECT raw_event_data AS raw FROM events")[0]["raw"]
    assert raw["_redactions"] == {"email": 1, "card": 3, "field": 1, "phone": 1}


def test_an_event_without_anything_masked_says_nothing_of_it_whatever_its_sender_says(post, rows):
    post({"event_type": "custom", "_redactions": {"card": 5}})
    assert "_redactions" not in rows("SELECT raw_event_data AS raw FROM events")[0]["raw"]


def test_whom_to_write_to_is_masked_in_the_name_of_a_robot(post, rows):
    post({"event_type": "page_view"}, headers={"user-agent": "ExampleBot/2.1.0 (+mailto:anna@mail.example)"})
    assert rows("SELECT user_agent FROM events")[0]["user_agent"] == "ExampleBot/2.1.0 (+mailto:[redacted:email])"


@given(
    st.text(
        st.sampled_from("0123456789 -.+@=&?%[]AEIeyJaPIN_é\u00a0\u2011") | st.characters(codec="utf-8"), max_size=60
    )
)
def test_what_is_not_suspected_holds_nothing_to_mask(text):
    if not suspicion.is_suspect(text):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redaction, "is_suspect", lambda text: True)
            assert redaction.redact_text(text) == text


@given(
    st.from_regex(
        r"([0-9]{8}-[0-9]{4}-[0-9]{4}-[a-f][0-9a-f]{3}-[0-9a-f]{12})|(B[AE][0-9]{6}(-[0-9]{4}){3}-[0-9A-F]{12})",
        fullmatch=True,
        alphabet=string.hexdigits + "-",
    )
)
@settings(max_examples=1000)
def test_a_uuid_stays_whatever_its_digits_look_like(uuid):
    assert redaction.redact_text(uuid) == uuid
    assert redaction.redact_text(f"order-{uuid}, 4111 1111 1111 1111") == f"order-{uuid}, [redacted:card]"


@pytest.mark.parametrize("naming", ["name", "key", "id", "field"])
def test_what_a_name_beside_it_calls_a_secret_is_masked(post, rows, naming):
    fields = [{naming: "password", "value": "hunter2", "type": "password"}, {naming: "quantity", "value": "2"}]
    # The second time all keys are known to be harmless.
    for _ in range(2):
        post({"event_type": "form_submit", "data": {"fields": fields}})
    for kept in rows("SELECT raw_event_data->'data'->'fields' AS fields FROM events"):
        assert kept["fields"] == [{**fields[0], "value": "[redacted:field]"}, fields[1]]


def test_a_card_that_is_sent_as_a_number_of_any_kind_is_masked(post, rows):
    post({"event_type": "custom", "data": {"a": 4111111111111111.0, "b": 4111111111111112.0, "c": 0.5}})
    kept = rows("SELECT raw_event_data->'data' AS data FROM events")[0]["data"]
    assert kept == {"a": "[redacted:card]", "b": 4111111111111112.0, "c": 0.5}


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("phone", "0171 / 234 56-78", "[redacted:phone]"),
        ("customerPhone", "(555) 010-0199", "[redacted:phone]"),
        ("mobile", 1712345678, "[redacted:phone]"),
        ("fax2", "030 23125 000", "[redacted:phone]"),
        ("phone_number", "030 1234567", "[redacted:phone]"),
        (
            "phones",
            ["030 1234567", {"value": 301234567, "kind": "home"}],
            ["[redacted:phone]", {"value": "[redacted:phone]", "kind": "home"}],
        ),
        ("mobile", True, True),
        ("phone_model", "Pixel 8", "Pixel 8"),
        ("phone", "Pixel 8", "Pixel 8"),
        ("order", "0171 2345678", "0171 2345678"),
    ],
)
def test_a_number_to_dial_is_masked_where_a_field_says_that_it_is_one(post, rows, name, value, kept):
    post({"event_type": "custom", "data": {name: value}})
    assert rows("SELECT raw_event_data->'data' AS data FROM events")[0]["data"] == {name: kept}
