"""Whatever JSON arrives, what the cleaner gives is bounded, storable and final."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
