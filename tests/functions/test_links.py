"""What a click on a link was."""

import pytest

from collect.links import name_click

PAGE = "https://shop.example:8443/cart?x=1"


def clicked(href, page=PAGE, **data):
    raw = {"event_type": "link_click", "url": page, "data": {"href": href, **data}}
    event_type = name_click(raw)
    assert raw["event_type"] == event_type
    return event_type, raw["data"].get("extension")


@pytest.mark.parametrize(
    ("href", "event_type", "extension"),
    [
        ("https://shop.example:8443/help", "click", None),
        ("https://SHOP.example:8443/help", "click", None),
        ("https://shop.example/help", "click", None),
        ("https://blog.shop.example/", "click", None),
        ("https://notshop.example/", "outbound_click", None),
        ("https://partner.example", "outbound_click", None),
        ("https://shop.example:8443/Report.PDF?v=2#page", "file_download", "pdf"),
        ("https://cdn.example/app.tar.gz", "file_download", "gz"),
        ("https://cdn.example/song.mp3", "file_download", "mp3"),
        ("https://shop.example:8443/archive.zip/readme", "click", None),
        ("https://shop.example:8443/zip", "click", None),
        ("https://shop.example:8443/v1.2", "click", None),
        ("https://shop.example:8443/?file=a.pdf", "click", None),
        ("mailto:", "click", None),
        ("javascript:", "click", None),
        ("https://[broken/a.pdf", "click", None),
        (None, "click", None),
        (7, "click", None),
    ],
)
def test_a_link_is_known_by_where_it_leads(href, event_type, extension):
    assert clicked(href) == (event_type, extension)


def test_what_the_page_calls_a_download_is_one_whatever_its_name():
    assert clicked("https://shop.example:8443/export", download=True) == ("file_download", "")
    assert clicked("https://shop.example:8443/export.dat", download=True) == ("file_download", "dat")


def test_a_link_on_no_known_page_leads_away():
    assert clicked("https://shop.example/", page=None)[0] == "outbound_click"


def test_a_click_without_data_is_a_click():
    for data in (None, "text", []):
        raw = {"event_type": "link_click", "data": data}
        assert name_click(raw) == "click"


def test_a_click_on_a_link_is_stored_under_its_name(post, rows):
    data = {"href": "https://shop.example/price-list.pdf"}
    post({"event_type": "link_click", "url": "https://shop.example/", "data": data})
    row = rows("SELECT event_type, raw_event_data->>'event_type' AS raw, raw_event_data->'data' AS data FROM events")[0]
    assert row == {"event_type": "file_download", "raw": "file_download", "data": {**data, "extension": "pdf"}}
