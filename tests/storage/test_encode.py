"""What an object leaves behind that cannot be made: no open file, no thread, no work in vain."""

import errno
import io
import random
import tempfile
import threading

import pyarrow as pa
import pytest

from storage.errors import BatchUnreadable
from storage.export import encode, parquet
from storage.export.layout import Layout
from storage.export.read import ROWS
from storage.export.transform import Transform
from storage.rules import Filters, Transforms

FORMATS = ("json", "csv", "parquet")
PLAIN = Transform(Filters(), Transforms(), b"")


def rows(count, size=100):
    content = random.Random(count)
    moment = pa.scalar(0, pa.timestamp("us", tz="UTC"))
    columns = {
        "id": pa.array(range(1, count + 1), pa.int64()),
        "timestamp": pa.repeat(moment, count),
        "created_at": pa.repeat(moment, count),
    }
    texts = pa.array([f'"{content.randbytes(size // 2).hex()}"' for _ in range(count)])
    return pa.RecordBatch.from_arrays([columns.get(name, texts) for name in ROWS.names], schema=ROWS)


class Disk:
    """Temporary files that take so many bytes together and no more."""

    def __init__(self, room):
        self.room = room
        self.files = []

    def file(self):
        self.files.append(_File(self))
        return self.files[-1]


class _File:
    def __init__(self, disk):
        self._disk, self._below = disk, io.BytesIO()
        self.close = self._below.close

    @property
    def closed(self):
        return self._below.closed

    def write(self, data):
        if len(data) > self._disk.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._disk.room -= len(data)
        return self._below.write(data)

    def flush(self):
        if not self._disk.room:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_wherever_the_disk_is_full_no_file_stays_open(monkeypatch, name, compression):
    layout = Layout(formats=(name,), compression=compression)
    whole = Disk(10**9)
    monkeypatch.setattr(tempfile, "TemporaryFile", whole.file)
    for part in encode.encode([rows(50)], layout, PLAIN):
        part.close()
    taken = 10**9 - whole.room

    # When it begins, while it is written, when its last byte is, and when it is flushed.
    for room in (0, taken // 2, taken - 1, taken):
        disk = Disk(room)
        monkeypatch.setattr(tempfile, "TemporaryFile", disk.file)
        with pytest.raises(BatchUnreadable, match="No space left") as failed:
            list(encode.encode([rows(50)], layout, PLAIN))
        # Whoever keeps the error, to say it, keeps what the frames of its traceback hold.
        assert failed.value.__traceback__
        assert [file.closed for file in disk.files] == [True]


def test_after_a_failure_no_row_group_is_encoded_any_more(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 10)
    begun, go_on = threading.Event(), threading.Event()
    encoded = []
    real = parquet.ParquetWriter._encode

    def slowly(self, handed):
        encoded.append(len(handed[0]))
        begun.set()
        assert go_on.wait(10)
        return real(self, handed)

    def read():
        yield rows(10)
        assert begun.wait(10)
        threading.Timer(0.2, go_on.set).start()
        raise OSError("the server went away")

    monkeypatch.setattr(parquet.ParquetWriter, "_encode", slowly)
    with pytest.raises(BatchUnreadable, match="went away"):
        list(encode.encode(read(), Layout(formats=("parquet",)), PLAIN))
    assert encoded == [10]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("export-parquet")]


def test_objects_of_one_row_group_give_memory_back_too(monkeypatch):
    times = []
    monkeypatch.setattr(parquet, "_give_back", lambda: times.append(1))
    for _ in range(8):
        for part in encode.encode([rows(10)], Layout(formats=("parquet",)), PLAIN):
            part.close()
    assert len(times) == 2
