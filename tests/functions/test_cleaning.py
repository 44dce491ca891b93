"""Whatever JSON arrives, what the cleaner gives is bounded, storable and final."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collect import suspicion
from collect.cleaning import Cleaner
from storage.settings import Settings

LIMITS = Settings(collect_max_depth=4, collect_max_values=20, collect_max_keys=5, collect_max_string_bytes=64)

texts = st.text(st.characters(codec="utf-8"), max_size=70)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=9) | st.dictionaries(texts, inner, max_size=9), max_leaves=30
)
documents = st.dictionaries(texts, values, max_size=9)


@pytest.fixture(scope="module")
def cleaner():
    return Cleaner(LIMITS)


def walk(value, depth=0):
    """Every value in *value* that holds no other, every key, and how deep each lies."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield key, depth
            yield from walk(member, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item, depth + 1)
    else:
        yield value, depth


@settings(max_examples=100)
@given(document=documents)
def test_what_was_cleaned_keeps_every_limit_and_holds_no_nul(cleaner, document):
    found = list(walk(cleaner.clean(document)))

    assert max((depth for _, depth in found), default=0) <= LIMITS.collect_max_depth
    assert all("\0" not in value for value, _ in found if isinstance(value, str))
    assert all(len(value.encode()) <= 200 for value, _ in found if isinstance(value, str))
    assert all(abs(value) < 2**63 for value, _ in found if isinstance(value, int | float))


@settings(max_examples=100)
@given(document=documents)
def test_cleaning_an_accepted_event_again_changes_nothing(cleaner, document):
    once = cleaner.clean(document)
    if cleaner.problem is None:
        assert cleaner.clean(once) == once


DELICATE = st.sampled_from(
    [
        *(
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111111111111111",
            "378282246310005",
            "123-45-6789",
            "123.45.6789",
        ),
        *(
            "a@example.com",
            "a%40example.com",
            "https://user:secret@shop.example/?token=x&page=2",
            "?password=x",
            "\\",
            "\0",
        ),
        *("-", " ", ".", "7", "x", "/", '"', "é", "0193a5b1-7c2e-7d3f-8a4b-1c2d3e4f5a6b", "2026-11-24T10:00:00.100Z"),
    ]
)
delicate_texts = st.lists(DELICATE, max_size=4).map("".join)
delicate = st.dictionaries(
    delicate_texts | st.sampled_from(["url", "data", "password"]),
    delicate_texts | st.sampled_from([4111111111111111, 378282246310005, -4111111111111111, 12]),
    max_size=4,
)


@settings(max_examples=300)
@given(document=delicate)
def test_one_look_at_the_whole_body_hides_nothing_from_redaction(document):
    limits = Settings()
    glance = Cleaner(limits, suspicion.is_harmless(orjson.dumps(document)))

    assert glance.clean(document) == Cleaner(limits).clean(document)


def test_an_ordinary_beacon_is_harmless():
    assert suspicion.is_harmless(b'{"event_id":"0193a5b1-7c2e-7d3f-8a4b-1c2d3e4f5a6b","at":1763978400123,"w":1440}')
