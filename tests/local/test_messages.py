"""The file of the queues: nobody else's business, and never the end of the runtime."""

import asyncio
import sqlite3

import pytest

from emulator import messages
from emulator.errors import QueuesBroken
from emulator.messages import Messages, insist


def test_whoever_looks_into_the_file_beside_us_is_refused(tmp_path):
    queues = Messages(tmp_path / "q.sqlite3")
    queues.send("q", "1")
    other = sqlite3.connect(tmp_path / "q.sqlite3", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()
    queues.send("q", "2")
    assert queues.count("q") == 2
    queues.close()


def test_a_file_that_is_none_is_named_with_the_way_out(tmp_path):
    (tmp_path / "q.sqlite3").write_bytes(b"\xff" * 8192)
    with pytest.raises(QueuesBroken, match=r"q\.sqlite3: file is not a database; move it away"):
        Messages(tmp_path / "q.sqlite3")


def test_what_cannot_be_written_is_tried_until_it_can(monkeypatch):
    monkeypatch.setattr(messages, "PAUSE_SECONDS", 0.01)
    tries = []

    def work():
        tries.append(1)
        if len(tries) < 3:
            raise sqlite3.OperationalError("database or disk is full")
        return "done"

    assert asyncio.run(insist(work)) == "done"
    assert len(tries) == 3
