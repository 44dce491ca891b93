"""The life of environments: slow and failing starts, crash loops, idleness, memory, and what each log keeps."""

import asyncio
import json
import logging
import time

import httpx
import pytest

from emulator import environment, logs, pool, template
from emulator.logs import FunctionLog, Lines
from emulator.runtime import Runtime
from emulator.server import listen


@pytest.fixture
def run(tmp_path):
    """Do something with a runtime of one function `F`, whose module is given; then stop it."""

    def run(code, work, **properties):
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "main.py").write_text(code)
        own = {"Handler": "main.handler", "CodeUri": "code", "Timeout": 5, **properties}
        file = tmp_path / "template.yaml"
        file.write_text(json.dumps({"Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": own}}}))

        async def all_of_it():
            runtime = Runtime(template.load(file, {}), data_dir=tmp_path)
            try:
                return await work(runtime)
            finally:
                await runtime.stop()

        return asyncio.run(all_of_it())

    return run


def starts(tmp_path):
    """How often the module was loaded: each time it adds a letter to a file."""
    return len((tmp_path / "starts").read_text())


COUNTING = "open({0!r}, 'a').write('x')\n"


@pytest.fixture
def counting(tmp_path):
    return COUNTING.format(str(tmp_path / "starts"))


def test_an_init_that_takes_too_long_is_done_again_within_the_first_invocation(run, tmp_path, counting, monkeypatch):
    monkeypatch.setattr(environment, "INIT_SECONDS", 0.6)
    # The first start takes longer than an init may; the second has the time of the invocation.
    code = counting + "import time; time.sleep(1.2)\ndef handler(event, context): return 'late'"
    result = run(code, lambda runtime: runtime.invoke("F", b"{}"))
    assert (result.payload, result.error_type) == (b'"late"', None)
    assert starts(tmp_path) == 2
    text = (tmp_path / "logs" / "F.log").read_text()
    assert "INIT_REPORT Init Duration: " in text
    assert "Phase: init\tStatus: timeout" in text


def test_an_init_that_takes_too_long_twice_is_a_timeout(run, monkeypatch):
    monkeypatch.setattr(environment, "INIT_SECONDS", 0.3)
    code = "import time; time.sleep(60)\ndef handler(event, context): pass"
    result = run(code, lambda runtime: runtime.invoke("F", b"{}"), Timeout=1)
    assert json.loads(result.payload)["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_an_init_that_fails_once_is_no_failure(run, tmp_path, counting):
    code = counting + f"if len(open({str(tmp_path / 'starts')!r}).read()) == 1: raise ValueError\n"
    result = run(code + "def handler(event, context): return 'fine'", lambda runtime: runtime.invoke("F", b"{}"))
    assert result.payload == b'"fine"'


def test_a_crash_loop_is_slowed_down(run, tmp_path, counting):
    async def work(runtime):
        return [await runtime.invoke("F", b"{}") for _ in range(50)]

    results = run(counting + "raise ValueError('broken')", work)
    assert {json.loads(result.payload)["errorType"] for result in results} == {"ValueError"}
    assert not any(result.ran for result in results)
    # Two invocations start it twice each; the others are told what was found without another try.
    assert starts(tmp_path) <= 6


def test_a_function_that_was_mended_runs_again_after_its_pause(run, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "FIRST_BACKOFF_SECONDS", 0.05)

    async def work(runtime):
        for _ in range(3):
            await runtime.invoke("F", b"{}")
        (tmp_path / "code" / "main.py").write_text("def handler(event, context): return 'mended'")
        deadline = time.monotonic() + 10
        while (result := await runtime.invoke("F", b"{}")).error_type:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        return result

    assert run("raise ValueError", work).payload == b'"mended"'


@pytest.mark.parametrize(("keep_warm", "left"), [(0, 0), (1, 1)])
def test_what_nobody_uses_is_ended_but_for_what_is_kept_warm(run, monkeypatch, keep_warm, left):
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.3)

    async def work(runtime):
        f = runtime.pools["F"]
        f._keep_warm = keep_warm
        await asyncio.gather(*(runtime.invoke("F", b"{}") for _ in range(3)))
        assert len(f.pids) == 3
        deadline = time.monotonic() + 10
        while len(f.pids) > left:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        return (await runtime.invoke("F", b"{}")).payload

    assert run("import time\ndef handler(event, context): return time.sleep(0.2)", work) == b"null"


def test_a_process_over_its_memory_is_killed_and_replaced(run):
    async def work(runtime):
        return [await runtime.invoke("F", json.dumps(n).encode()) for n in (400_000_000, 10)]

    big, fine = run(
        "import time\ndef handler(n, _): return len(bytearray(n)) if n < 99 else [bytearray(n), time.sleep(4)]", work
    )
    assert json.loads(big.payload)["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert fine.payload == b"10"


def test_the_log_is_in_a_file_a_function(run, tmp_path):
    run("print('loaded')\ndef handler(event, context): print('called')", lambda runtime: runtime.invoke("F", b"{}"))
    lines = (tmp_path / "logs" / "F.log").read_text().splitlines()
    assert lines[0].startswith("INIT_START Runtime Version: python:3.")
    assert [line.split(" ")[0] for line in lines[1:]] == ["loaded", "START", "called", "END", "REPORT"]


def test_a_traceback_is_several_lines_in_the_file(run, tmp_path):
    run("def handler(event, context): raise ValueError('no')", lambda runtime: runtime.invoke("F", b"{}"))
    text = (tmp_path / "logs" / "F.log").read_text()
    assert "[ERROR] ValueError: no\nTraceback (most recent call last):\n  File" in text


def test_a_log_that_is_full_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    monkeypatch.setattr(logs, "FILES_KEPT", 2)
    log = FunctionLog("F", tmp_path)
    for number in range(100):
        log.write(f"{number:03} " + "x" * 60)
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["F.log", "F.log.1", "F.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert (tmp_path / "F.log").read_text().splitlines()[-1].startswith("099 ")


def test_a_line_is_whole_however_it_was_written(tmp_path):
    log = FunctionLog("F", tmp_path)
    lines = Lines("F", log)
    for piece in (b"one\ntw", b"o\n", b"three"):
        lines.feed(piece)
    lines.end()
    log.close()
    assert (tmp_path / "F.log").read_text() == "one\ntwo\nthree\n"


def test_a_start_that_is_slow_is_told_and_nobody_is_lost(run, caplog):
    caplog.set_level(logging.ERROR)

    async def work(runtime):
        return await asyncio.gather(*(runtime.invoke("F", str(n).encode()) for n in range(8)))

    results = run("import time; time.sleep(0.3)\ndef handler(event, context): return event", work)
    assert [result.payload for result in results] == [str(n).encode() for n in range(8)]


def test_an_invocation_that_was_taken_ends_before_the_runtime_does(tmp_path):
    (tmp_path / "code").mkdir()
    # Longer than the server gives those who send nothing.
    (tmp_path / "code" / "main.py").write_text("import time\ndef handler(event, context): return time.sleep(6) or 7")
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {"Handler": "main.handler", "CodeUri": "code", "Timeout": 9},
    }
    (tmp_path / "template.yaml").write_text(json.dumps({"Resources": {"F": function}}))

    async def work():
        runtime = Runtime(template.load(tmp_path / "template.yaml", {}), data_dir=tmp_path / "data")
        behind, ready = listen("127.0.0.1", 0), asyncio.Event()
        serving = asyncio.create_task(runtime.serve(listen("127.0.0.1", 0), ready.set, behind))
        await ready.wait()
        url = f"http://127.0.0.1:{behind.getsockname()[1]}/2015-03-31/functions/F/invocations"
        async with httpx.AsyncClient(headers={"authorization": "AWS4-HMAC-SHA256 any"}, timeout=20) as client:
            under_way = asyncio.create_task(client.post(url))
            while not runtime.pools["F"].pids:
                await asyncio.sleep(0.01)
            runtime.finish()
            while (await client.post(url, headers={"x-amz-invocation-type": "DryRun"})).status_code != 503:
                await asyncio.sleep(0.01)
            answer = await under_way
            await serving
            return answer

    answer = asyncio.run(work())
    assert (answer.status_code, answer.text) == (200, "7")
