"""Which site a page is of, and which domain somebody registered for it: a table of hosts, the strange and the hostile included."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collect import hosts
from storage import domains
from storage.hosts import canonical

VECTORS = Path(__file__).parents[1] / "vectors" / "hosts.json"
[ROWS] = json.loads(VECTORS.read_text()).values()

# What browsers show and no name on the net can be, or no URL of a page; and a name alone, which is ours to read.
NOT_AS_BROWSERS = {
    "http://1.0x.1/",
    "https://xn--example-.com/",
    "https://exa'mple.com/",
    "https://exa*mple.com/",
    "https://example..com/",
    "https://.example.com/",
    "https://./",
    "https://../",
    "https:///example.com/",
    "https:/example.com/",
    f"https://{'a' * 64}.com/",
    "//example.com/path",
}
NODE = """
for (const url of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
  let host = "";
  try { const { protocol, hostname } = new URL(url); if (/^https?:$/.test(protocol)) host = hostname; } catch {}
  console.log(host);
}
"""


@pytest.mark.parametrize(("url", "site_id", "kind", "registrable"), ROWS, ids=[row[0][:60] for row in ROWS])
def test_a_page_has_one_site_and_one_domain(url, site_id, kind, registrable):
    assert hosts.site_of(url) == site_id
    domain = domains.of(site_id) if site_id else None
    assert (domain and domain.kind, domain and domain.registrable) == (kind, registrable)


def test_the_table_is_large_enough():
    assert len({url for url, *_ in ROWS}) == len(ROWS) > 200


def test_hosts_are_those_that_browsers_show():
    compared = [(url, site_id) for url, site_id, *_ in ROWS if url not in NOT_AS_BROWSERS]
    urls = json.dumps([url for url, _ in compared])
    shown = subprocess.run(
        [shutil.which("node"), "-e", NODE], input=urls, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for (url, site_id), host in zip(compared, shown, strict=True):
        name = host.rstrip(".").strip("[]")
        assert (site_id or "") == (name.removeprefix("www.") if name.count(".") > 1 else name), url


@given(st.text(max_size=80))
def test_a_site_is_written_in_one_way(host):
    site_id = canonical(host)
    # `www.` is of the pages' host: of www.www.example.com the site is www.example.com.
    if site_id and not site_id.startswith("www."):
        assert canonical(site_id) == site_id
        assert site_id.isascii()
        assert len(site_id) <= 253


@given(st.text(max_size=120))
def test_whatever_is_sent_as_an_address_has_a_site_or_none(url):
    for scheme in ("", "https://", "https://user@", "//"):
        site_id = hosts.site_of(scheme + url)
        assert site_id is None or canonical(site_id) in (site_id, site_id.removeprefix("www."))
