"""Measures what redaction finds, what it masks without need, and what it costs; every string goes the way of a beacon.

    .venv/bin/python benchmarks/redaction.py [--plain 100000] [--rounds 5000]

Found: of the values of `personal.py`, those of which nothing is left, by kind. Masked without need: of the strings of
`corpora/ordinary.jsonl`, those that come out changed, and of so many generated plain events those with a mark. Cost: the
median of reading and cleaning one clean event of 1.25 KB, beside `json.loads` of the same bytes; and what a body costs
that is ten times as long, of each kind that is hard to tell.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from personal import personal

from collect import redaction, suspicion
from collect.beacons import Beacon, read
from collect.cleaning import Cleaner
from storage.settings import Settings

SETTINGS = Settings()
ORDINARY = Path(__file__).parent / "corpora" / "ordinary.jsonl"
SURE = ("card", "ssn", "field")
LEAST_RECALL = 0.98
MOST_ORDINARY = 0.01
MOST_PLAIN = 0.001
MOST_MICROSECONDS = 25
# Ten times as long may take twenty times as long, where a square would take a hundred.
MOST_GROWTH = 20
HARD = (
    "1",
    "1 ",
    "4 4",
    "4111 1111 1111 1112 ",
    "a@",
    "@a.",
    "?a=",
    "://",
    "eyJ",
    "-eyJa.",
    "DE89 ",
    "+4",
    "%25",
    "password",
    "&code=@",
)


def clean(members: dict[str, Any]) -> dict[str, Any]:
    """*members* of an event as they are stored."""
    document = read(_beacon(members), SETTINGS.collect_max_body_bytes)
    return Cleaner(SETTINGS, document.harmless).clean(document.envelope)


def _beacon(members: dict[str, Any]) -> Beacon:
    return Beacon(json.dumps({"event_type": "custom", **members}).encode(), {}, None, "a request")


def found() -> dict[str, tuple[int, int]]:
    """How many values of each kind there are, and of how many something is left."""
    counts: dict[str, tuple[int, int]] = {}
    for kind, members, value in personal():
        text = json.dumps(clean(members), ensure_ascii=False)
        left = False
        for _ in range(4):
            left = left or value in text
            text = unquote_plus(text)
        number, missed = counts.get(kind, (0, 0))
        counts[kind] = (number + 1, missed + left)
    return counts


def ordinary() -> tuple[int, list[tuple[str, str]]]:
    """How many ordinary strings there are, and the kind and text of those that are masked."""
    lines = [json.loads(line) for line in ORDINARY.read_text("utf-8").splitlines()]
    return len(lines), [
        (line["kind"], line["text"])
        for line in lines
        if clean({"data": {"text": line["text"]}})["data"]["text"] != line["text"]
    ]


def plain_event(chance: random.Random) -> dict[str, Any]:
    """An event as a shop's page sends it, with the numbers and names that analytics lives of."""
    sku = f"{chance.choice(('AB', 'SHOE', 'X'))}-{chance.randint(100, 99999)}-{chance.choice(('S', 'M', 'XL', '42'))}"
    campaign = f"{chance.choice(('autumn', 'sale', 'brand'))}-{chance.randint(2020, 2027)}_{chance.randint(1, 99)}"
    moment = chance.randint(1_700_000_000_000, 1_800_000_000_000)
    return {
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "event_type": chance.choice(("page_view", "click", "purchase", "scroll")),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment / 1000)) + f".{moment % 1000:03}Z",
        "session_id": f"{chance.getrandbits(128):032x}",
        "visitor_id": f"{chance.getrandbits(128):032x}",
        "url": f"https://shop.example.com/category/shoes/{sku.lower()}?utm_source=newsletter&utm_medium=email"
        f"&utm_campaign={campaign}&utm_id={chance.randint(10**9, 10**12)}&page={chance.randint(1, 40)}",
        "title": f"Running shoes, {chance.randint(1, 999)} results | Example Shop",
        "referrer": chance.choice(("https://www.google.com/", "https://www.bing.com/search?q=running+shoes+2026", "")),
        "data": {
            "viewport": f"{chance.randint(320, 3840)}x{chance.randint(480, 2160)}",
            "scroll": chance.random(),
            "engaged_ms": chance.randint(0, 10**7),
            "at_ms": moment,
            "at_us": moment * 1000 + chance.randint(0, 999),
            "selector": f"div.product[data-sku='{sku}'] > a.btn.btn-{chance.choice(('primary', 'link'))}:nth-child({chance.randint(1, 9)})",
            "order": chance.choice(
                (
                    f"2026-{chance.randint(0, 10**6):06}",
                    str(chance.randint(10**9, 10**10)),
                    f"#{chance.randint(1, 10**6)}",
                )
            ),
            "gtin": f"{chance.randint(10**12, 10**13 - 1)}",
            "snowflake": str(1_100_000_000_000_000_000 + chance.getrandbits(58)),
            "version": f"{chance.randint(0, 30)}.{chance.randint(0, 99)}.{chance.randint(0, 9999)}",
            "ga": f"GA1.2.{chance.randint(10**8, 10**10)}.{moment // 1000}",
            "price": round(chance.uniform(0.5, 2000), 2),
            "currency": "EUR",
            "position": f"{chance.uniform(-90, 90):.6f},{chance.uniform(-180, 180):.6f}",
            "etag": f"{chance.getrandbits(160):040x}",
        },
    }


def plain(number: int) -> tuple[int, Counter[str]]:
    """How many of *number* plain events have a mark, and which marks."""
    chance, marked, marks = random.Random(11), 0, Counter[str]()
    for _ in range(number):
        event = plain_event(chance)
        if here := redaction.MARK.findall(json.dumps(clean(event))):
            marked += 1
            marks.update(here)
    return marked, marks


def costs(rounds: int) -> tuple[int, float, float, float]:
    """Of a clean event its bytes, and the medians in microseconds: of json.loads, of the whole way, of one with five findings."""
    event = {**plain_event(random.Random(3)), "experiment": {"name": "checkout-v2", "variant": "B", "seen": True}}
    event["text"] = "x" * max(0, 1250 - len(json.dumps({"event_type": "custom", **event, "text": ""})))
    dirty = {**event, "title": "for anna@mail.example", "referrer": "https://a.example/?token=abc&b=1"}
    dirty["data"] = {**event["data"], "password": "hunter2", "card": "4111 1111 1111 1111", "call": "+49 30 23125 000"}
    beacon, bad = _beacon(event), _beacon(dirty)

    def whole(beacon: Beacon) -> None:
        document = read(beacon, SETTINGS.collect_max_body_bytes)
        Cleaner(SETTINGS, document.harmless).clean(document.envelope)

    bare = _median(lambda: json.loads(beacon.body), rounds)
    return len(beacon.body), bare, _median(lambda: whole(beacon), rounds), _median(lambda: whole(bad), rounds)


def _median(call: Callable[[], Any], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1000


def growth() -> list[tuple[str, float, float]]:
    """Of each hard piece, repeated to 50 KB and to 500 KB: seconds of the longer, and how many times the shorter's."""
    rows = []
    for piece in HARD:
        short, long = (piece * (size // len(piece)) for size in (50_000, 500_000))
        first, then = _seconds(short), _seconds(long)
        rows.append((piece, then, then / first))
    return rows


def _seconds(text: str) -> float:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        suspicion.is_harmless(text.encode())
        redaction.redact_text(text)
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    """Print what was measured, and end with 1 if a bound is broken."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--plain", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5000)
    options = arguments.parse_args()
    broken = []

    print(f"{'kind':<12}{'values':>8}{'missed':>8}{'found':>9}")
    counts = found()
    for kind, (number, missed) in counts.items():
        print(f"{kind:<12}{number:>8}{missed:>8}{1 - missed / number:>9.2%}")
        if missed and kind in SURE:
            broken.append(f"{kind}: {missed} missed")
    number, missed = (sum(column) for column in zip(*counts.values(), strict=True))
    print(f"{'all':<12}{number:>8}{missed:>8}{1 - missed / number:>9.2%}")
    if 1 - missed / number < LEAST_RECALL:
        broken.append("recall")

    number, masked = ordinary()
    print(f"\nordinary strings: {number}, masked {len(masked)} ({len(masked) / number:.2%})")
    for kind, text in masked:
        print(f"  {kind}: {text}")
    marked, marks = plain(options.plain)
    print(f"plain events: {options.plain}, with a mark {marked} ({marked / options.plain:.3%}) {dict(marks)}")
    broken += ["ordinary strings"] * (len(masked) > MOST_ORDINARY * number)
    broken += ["plain events"] * (marked > MOST_PLAIN * options.plain)

    # The quietest of three: a shared machine is twice as slow from one moment to the next.
    size, bare, whole, dirty = min((costs(options.rounds) for _ in range(3)), key=lambda cost: cost[2])
    print(f"\na clean event of {size} B: {whole:.1f} us, {whole / bare:.2f} of json.loads ({bare:.1f} us)")
    print(f"with five findings: {dirty:.1f} us, {dirty / bare:.2f} of json.loads")
    broken += ["median"] * (whole > MOST_MICROSECONDS)

    print(f"\n{'500 KB of':<24}{'seconds':>9}{'times 50 KB':>13}")
    for piece, seconds, times in growth():
        print(f"{piece!r:<24}{seconds:>9.3f}{times:>13.1f}")
        broken += [f"growth of {piece!r}"] * (times > MOST_GROWTH)
    if broken:
        sys.exit(f"\nbroken: {', '.join(broken)}")


if __name__ == "__main__":
    main()
