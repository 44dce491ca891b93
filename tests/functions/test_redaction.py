"""What is masked before it is stored, and what analytics needs and keeps."""

import time

import pytest

from collect import redaction

MASKED = [
    ("4111 1111 1111 1111", "[redacted:card]"),
    ("paid with 4111-1111-1111-1111.", "paid with [redacted:card]."),
    ("378282246310005", "[redacted:card]"),
    ("6011000990139424", "[redacted:card]"),
    ("my ssn is 219-09-9999", "my ssn is [redacted:ssn]"),
    ("219 09 9999", "[redacted:ssn]"),
    ("write to jane.doe+x@mail.example!", "write to [redacted:email]!"),
    ("?to=jane%40mail.example", "?to=[redacted:email]"),
    ("https://a.example/?password=hunter2&q=1", "https://a.example/?password=[redacted:field]&q=1"),
    ("https://a.example/?user%5Bpassword%5D=x", "https://a.example/?user%5Bpassword%5D=[redacted:field]"),
    ("https://a.example/#access_token=abc&state=1", "https://a.example/#access_token=[redacted:field]&state=1"),
    ("https://user:secret@a.example/", "https://a.example/"),
]

KEPT = [
    "4111 1111 1111 1112",  # no Luhn
    "order 1234567890123456",
    "2026-11-24T10:00:00.123Z",
    "1795514400000",
    "0.5454545454545454",
    "3f1c0e5a-9b7d-42c6-8e0a-1b2c3d4e5f60",
    "000-12-3456",
    "666-12-3456",
    "912-12-3456",
    "123-45-67890",
    "logo@2x.png",
    "react@18.2.0",
    "https://maps.example/@37.4,-122.1,15z",
    "https://a.example/?utm_source=news&utm_campaign=summer_20&gclid=EAIaIQobChMI",
    "Chrome/126.0.0.0",
    "SKU 4006381333931",
    "?code=SUMMER20",
    "Forgot your password?",
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_personal_values_are_masked_and_the_rest_of_the_text_stays(text, masked):
    assert redaction.redact_text(text) == masked


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_personal_is_kept(text):
    assert redaction.redact_text(text) == text


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "userPassword",
        "user_pw",
        "new-password",
        "cardNumber",
        "cc_number",
        "CVC",
        "ssn",
        "apiKey",
        "auth_token",
        "PIN",
    ],
)
def test_a_field_is_secret_by_its_name(key):
    assert redaction.is_sensitive(key)


@pytest.mark.parametrize(
    "key",
    [
        "className",
        "businessName",
        "passenger",
        "compass",
        "password_length",
        "has_password",
        "experiment",
        "session_id",
        "spin",
        "tokens_used",
    ],
)
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


@pytest.mark.parametrize("piece", ["?", "&a", "#=", "a%40", "@a.", "@a-", "1 ", "1-", "a.b@", "://", "x" * 63 + "@"])
def test_no_body_takes_long(piece):
    # A second or more would be the square of what it should take; a few hundredths is what it takes.
    body = piece * (1_000_000 // len(piece))
    began = time.process_time()
    redaction.is_harmless(body.encode())
    redaction.redact_text(body)
    assert time.process_time() - began < 1
