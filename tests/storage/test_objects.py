"""A write into a bucket: whole, verified, and never over what somebody else has put there."""

import hashlib
import io

import pytest

from storage import objects, settings
from storage.errors import DeliveryFailed
from storage.objects import Body

KEY = "analytics/events/x.parquet"


def body(data=b"the rows"):
    return Body(io.BytesIO(data), len(data), hashlib.sha256(data).digest(), "application/octet-stream")


@pytest.fixture
def client(buckets):
    return settings.current().destinations()[0]


@pytest.fixture
def held(buckets):
    """What the client's bucket holds under a key."""

    def held(key=KEY):
        return buckets.s3.get_object(Bucket=buckets.names["client"], Key=key)["Body"].read()

    return held


def test_the_same_bytes_again_are_as_good_as_the_first(client, held):
    for fence in (2, 3, 1):
        objects.put(client, KEY, body(), fence)
    assert held() == b"the rows"


def test_what_an_earlier_exporter_left_unfinished_is_replaced(client, held):
    objects.put(client, KEY, body(b"its rows"), 1)
    objects.put(client, KEY, body(), 2)
    assert held() == b"the rows"


@pytest.mark.parametrize("late", [1, 2])
def test_an_exporter_that_wakes_up_late_replaces_nothing(client, held, late):
    objects.put(client, KEY, body(), 2)
    with pytest.raises(DeliveryFailed, match=r"written by a later exporter \(2\); nothing was replaced"):
        objects.put(client, KEY, body(b"its rows"), late)
    assert held() == b"the rows"


def test_somebody_elses_object_stays_where_it_is(client, buckets, held):
    buckets.s3.put_object(Bucket=buckets.names["client"], Key=KEY, Body=b"a book")
    with pytest.raises(DeliveryFailed, match="written by nobody of this product; nothing was replaced"):
        objects.put(client, KEY, body(), 9)
    assert held() == b"a book"


def test_a_large_object_goes_in_parts_and_is_known_again(client, buckets, held, monkeypatch):
    monkeypatch.setattr(objects, "MULTIPART_BYTES", 1024)
    monkeypatch.setattr(objects, "PART_BYTES", 5 * 1024 * 1024)
    data = bytes(range(256)) * 4096 * 11
    for fence in (1, 2):
        objects.put(client, KEY, body(data), fence)
    with pytest.raises(DeliveryFailed, match="nothing was replaced"):
        objects.put(client, KEY, body(data[:-1]), 1)
    assert held() == data
    assert "Uploads" not in buckets.s3.list_multipart_uploads(Bucket=buckets.names["client"])


def test_a_body_that_is_not_what_it_says_is_never_there(client, buckets):
    lying = Body(io.BytesIO(b"damaged!"), 8, hashlib.sha256(b"the rows").digest(), "application/octet-stream")
    with pytest.raises(DeliveryFailed):
        objects.put(client, KEY, lying, 1)
    assert not objects.exists(client, KEY)


def test_an_object_can_be_removed_twice(client):
    objects.put(client, KEY, body(), 1)
    for _ in range(2):
        objects.remove(client, KEY)
    assert not objects.exists(client, KEY)


@pytest.mark.parametrize("status", [(403, None), (403, "AccessDenied")])
def test_what_is_not_there_is_missing_to_whoever_may_list_its_prefix_alone(client, fault, status):
    fault("client", "HeadObject", status)
    fault("client", "GetObject", status)
    assert not objects.exists(client, KEY)
    assert objects.read(client, KEY, io.BytesIO()) is None


def test_what_is_there_and_may_not_be_read_is_not_missing(client, fault):
    objects.put(client, KEY, body(), 1)
    objects.put(client, f"{KEY}.more", body(), 1)
    fault("client", "HeadObject", (403, None))
    fault("client", "GetObject", (403, "AccessDenied"))
    with pytest.raises(DeliveryFailed, match="GetObject"):
        objects.exists(client, KEY)
    with pytest.raises(DeliveryFailed, match="GetObject"):
        objects.read(client, KEY, io.BytesIO())
