"""A function in its environment: answers, failures, deaths and limits, as Lambda shows them."""

import asyncio
import contextlib
import itertools
import json
import os
import time
from pathlib import Path

import psutil
import pytest

from emulator import environment
from emulator.errors import Throttled
from emulator.runtime_api import Result
from services.child import wait_for


def invoke(runtime, *payloads):
    async def work():
        try:
            return [await runtime.invoke("F", json.dumps(payload).encode()) for payload in payloads]
        finally:
            await runtime.stop()

    results = asyncio.run(work())
    return results[0] if len(results) == 1 else results


def error(result):
    body = json.loads(result.payload)
    return result.error_type, body["errorType"], body["errorMessage"]


@pytest.mark.parametrize("event", [None, "s", [1], {"a": 1}, 1.5, "naïve 😀"])
def test_the_handler_gets_the_event_and_its_answer_comes_back(start, event):
    result = invoke(start("def handler(event, context): return event"), event)
    assert (json.loads(result.payload), result.error_type) == (event, None)


def test_the_context_is_lambdas(start):
    result = invoke(
        start(
            """
            import os
            def handler(event, context):
                return [context.function_name, context.memory_limit_in_mb, context.invoked_function_arn,
                        context.get_remaining_time_in_millis(), context.aws_request_id, os.environ["SETTING"],
                        os.environ.get("LEAK"), os.environ["AWS_LAMBDA_FUNCTION_NAME"]]
            """,
            properties={
                "MemorySize": 512,
                "Environment": {"Variables": {"SETTING": "4=4", "AWS_LAMBDA_FUNCTION_NAME": "other"}},
            },
        ),
        {},
    )
    name, memory, arn, remaining, request_id, setting, leak, reserved = json.loads(result.payload)
    assert (name, memory, setting, leak, reserved) == ("F", "512", "4=4", None, "F")
    assert arn == "arn:aws:lambda:us-east-1:123456789012:function:F"
    assert 4000 < remaining <= 5000
    assert len(request_id) == 36


def test_the_runners_own_environment_does_not_leak(start, monkeypatch):
    monkeypatch.setenv("LEAK", "secret")
    result = invoke(start("import os\ndef handler(event, context): return os.environ.get('LEAK')"), {})
    assert json.loads(result.payload) is None


def test_an_environment_is_kept_warm(start):
    first, second = invoke(
        start(
            """
            count = 0
            def handler(event, context):
                global count
                count += 1
                return count
            """
        ),
        {},
        {},
    )
    assert (first.payload, second.payload) == (b"1", b"2")


def test_an_exception_is_a_function_error_and_the_environment_lives_on(start):
    failed, fine = invoke(
        start(
            """
            import os
            def handler(event, context):
                if event: raise KeyError("why")
                return os.getpid()
            """
        ),
        1,
        0,
    )
    assert error(failed)[1:] == ("KeyError", "'why'")
    assert failed.error_type
    assert int(fine.payload)


@pytest.mark.parametrize(
    ("code", "handler", "error_type"),
    [
        ("raise ValueError('no')", "main.handler", "ValueError"),
        ("import nowhere_to_be_found", "main.handler", "Runtime.ImportModuleError"),
        ("x = 1", "main.handler", "Runtime.HandlerNotFound"),
        ("x = 1", "handler", "Runtime.MalformedHandlerName"),
    ],
)
def test_a_function_that_cannot_start_says_why(start, code, handler, error_type):
    assert error(invoke(start(code, properties={"Handler": handler}), {}))[1] == error_type


def test_a_function_that_takes_too_long_is_killed_and_replaced(start):
    began = time.monotonic()
    slow, fine = invoke(
        start(
            """
            import time
            def handler(event, context):
                time.sleep(event)
                return "done"
            """,
            properties={"Timeout": 1},
        ),
        60,
        0,
    )
    kind, _, text = error(slow)
    assert kind == "Sandbox.Timedout"
    assert text.endswith("Task timed out after 1.00 seconds")
    assert fine.payload == b'"done"'
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("death", "text"),
    [
        ("os._exit(7)", "Runtime exited with error: exit status 7"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_process_that_dies_is_a_function_error_and_is_replaced(start, death, text):
    code = f"import os\ndef handler(event, context):\n    if event: {death}\n    return 'fine'"
    died, fine = invoke(start(code), 1, 0)
    assert error(died)[0] == "Runtime.ExitError"
    assert error(died)[2].endswith(text)
    assert fine.payload == b'"fine"'


def test_an_answer_over_six_megabytes_is_a_function_error(start):
    big, fine = invoke(start("def handler(event, context): return 'x' * event"), 6_291_560, 1)
    assert big.error_type == "Function.ResponseSizeTooLarge"
    assert fine.payload == b'"x"'


def test_what_is_not_json_is_a_function_error(start):
    assert error(invoke(start("def handler(event, context): return object()"), {}))[1] == "Runtime.MarshalError"


def test_a_slow_start_is_given_up(start, monkeypatch):
    monkeypatch.setattr(environment, "INIT_SECONDS", 0.5)
    assert error(invoke(start("import time; time.sleep(60)"), {}))[0] == "Sandbox.Timedout"


def test_as_many_run_at_once_as_are_allowed_and_the_others_wait(start):
    runtime = start(
        """
        import os, time
        def handler(event, context):
            time.sleep(0.3)
            return os.getpid()
        """,
        properties={"ReservedConcurrentExecutions": 2},
    )

    async def work():
        try:
            return await asyncio.gather(*(runtime.invoke("F", b"{}") for _ in range(6)))
        finally:
            await runtime.stop()

    results = asyncio.run(work())
    assert len({result.payload for result in results}) == 2
    assert not [result for result in results if result.error_type]


def test_a_function_that_may_not_run_is_throttled(start):
    with pytest.raises(Throttled):
        invoke(start("def handler(event, context): pass", properties={"ReservedConcurrentExecutions": 0}), {})


def test_whoever_waits_when_the_runtime_stops_is_throttled_and_starts_nothing(start):
    runtime = start(
        "import time\ndef handler(event, context): time.sleep(30)",
        properties={"ReservedConcurrentExecutions": 1, "Timeout": 60},
    )

    async def work():
        calls = [asyncio.create_task(runtime.invoke("F", b"{}")) for _ in range(4)]
        await asyncio.sleep(0.5)
        await runtime.stop()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(work())
    assert [type(result) for result in results] == [Result, Throttled, Throttled, Throttled]
    assert not [child for child in psutil.Process().children() if "awslambdaric" in " ".join(child.cmdline())]


def test_a_process_that_cannot_be_started_costs_its_slot_for_no_longer_than_that(start, monkeypatch):
    runtime = start("def handler(event, context): return 1", properties={"ReservedConcurrentExecutions": 1})
    real = asyncio.create_subprocess_exec

    async def work():
        monkeypatch.setattr(asyncio, "create_subprocess_exec", _too_many_files)
        for _ in range(3):
            with pytest.raises(Throttled, match="Too many open files"):
                await runtime.invoke("F", b"{}")
        monkeypatch.setattr(asyncio, "create_subprocess_exec", real)
        try:
            return await runtime.invoke("F", b"{}")
        finally:
            await runtime.stop()

    assert asyncio.run(work()).payload == b"1"


def test_a_second_start_that_the_machine_refuses_costs_no_slot_either(start, monkeypatch, tmp_path):
    # The first init fails, so the process is started once more within the invocation.
    runtime = start(
        f"""
        import os
        marker = {str(tmp_path / "marker")!r}
        if not os.path.exists(marker):
            open(marker, "w").close()
            raise RuntimeError("not yet")
        def handler(event, context): return 1
        """,
        properties={"ReservedConcurrentExecutions": 1},
    )
    real, starts = asyncio.create_subprocess_exec, itertools.count()

    async def only_the_first(*arguments, **options):
        return await (real if next(starts) != 1 else _too_many_files)(*arguments, **options)

    async def work():
        monkeypatch.setattr(asyncio, "create_subprocess_exec", only_the_first)
        with pytest.raises(Throttled, match="Too many open files"):
            await runtime.invoke("F", b"{}")
        try:
            return await runtime.invoke("F", b"{}")
        finally:
            await runtime.stop()

    assert asyncio.run(work()).payload == b"1"


async def _too_many_files(*arguments, **options):
    raise OSError(24, "Too many open files")


def test_stopping_leaves_no_process(start):
    result = invoke(
        start(
            """
            import os, subprocess
            child = subprocess.Popen(["sleep", "600"])
            def handler(event, context): return [os.getpid(), child.pid]
            """
        ),
        {},
    )
    assert wait_for(lambda: not any(_runs(pid) for pid in json.loads(result.payload)), 5)


def _runs(pid: int) -> bool:
    """Whether *pid* is a process that is not a zombie; SIGKILL takes a moment to be carried out."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_layers_are_on_the_path_after_the_code(start, tmp_path):
    layer = tmp_path / "layer" / "python"
    layer.mkdir(parents=True)
    (layer / "shared.py").write_text("name = 'layer'")
    (layer / "both.py").write_text("name = 'layer'")
    (tmp_path / "code").mkdir()
    Path(tmp_path / "code" / "both.py").write_text("name = 'code'")
    result = invoke(
        start(
            "import shared, both\ndef handler(event, context): return [shared.name, both.name]",
            properties={"Layers": [{"Ref": "L"}]},
            resources={"L": {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": "layer"}}},
        ),
        {},
    )
    assert json.loads(result.payload) == ["layer", "code"]
    assert os.environ.get("PYTHONPATH") is None


def test_a_process_that_answered_and_hangs_keeps_nobody_waiting(start):
    runtime = start(
        """
        import os
        def handler(event, context):
            if event: os.closerange(3, 1000)
            return os.getpid()
        """,
        properties={"Timeout": 3, "ReservedConcurrentExecutions": 1},
    )
    first, second = invoke(runtime, {"hang": True}, {})
    assert (first.error_type, second.error_type) == (None, None)
    assert first.payload != second.payload
