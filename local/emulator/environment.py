"""One execution environment: a process that runs one function's handler, one event at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from emulator import metrics
from emulator.logs import FunctionLog, Lines
from emulator.model import Function
from emulator.runtime_api import Invocation, Result, RuntimeApi
from services.child import die_with_parent, give_way

INIT_SECONDS = 10.0
SHUTDOWN_SECONDS = 2
# How often the memory of the process is looked at.
LOOK_SECONDS = 0.1
MB = 1024 * 1024

# Of the runner's own environment a function sees what a program needs to run, and no more.
INHERITED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "TMPDIR",
)
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "HOME")


class Environment:
    """A process with its Runtime API: `start`, then `invoke` while `alive`, then `stop`.

    Lambda freezes a process between invocations; here it just waits. A process that fails to start, or takes longer
    than ten seconds, is started once more within the first invocation and its time limit, as Lambda does
    ("suppressed init").
    """

    def __init__(self, function: Function, on_exit: Callable[[Environment], None], log: FunctionLog) -> None:
        self._function = function
        self._on_exit = on_exit
        self._lines = Lines(function.name, log)
        self._stream = f"{time.strftime('%Y/%m/%d/[$LATEST]')}{uuid.uuid4().hex}"
        self._process: _Process | None = None
        self._failure: Result | None = None
        self._init_ms: float | None = None
        self._stopped = False
        self.used_at = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether an invocation can be given to it."""
        return self._failure is None and not self._stopped

    @property
    def started(self) -> bool:
        """Whether its process has asked for an event."""
        return self._process is not None and self._process.ready

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process and wait until it asks for its first event, or has failed to.

        Raises:
            OSError: no process can be started.
        """
        self._lines.add(f"INIT_START Runtime Version: python:{sys.version_info[0]}.{sys.version_info[1]}".encode())
        await self._spawn(INIT_SECONDS)
        if not self.started:
            status = "error" if self._failure else "timeout"
            self._lines.add(
                f"INIT_REPORT Init Duration: {self._init_ms:.2f} ms\tPhase: init\tStatus: {status}".encode()
            )
            await self._end_process()
            self._failure = None

    async def invoke(self, invocation: Invocation) -> Result:
        """Run the handler on an event; a handler that fails, dies or takes too long is a result too."""
        self._lines.begin()
        self._lines.add(f"START RequestId: {invocation.request_id} Version: $LATEST".encode())
        began = time.monotonic()
        limit = self._function.timeout_seconds
        if not self.started:
            await self._spawn(limit)
        result = await self._run(invocation, max(0.001, limit - (time.monotonic() - began)))
        duration_ms = (time.monotonic() - began) * 1000
        result.log_tail = self._report(invocation, result, duration_ms)
        result.request_id = invocation.request_id
        metrics.DURATION.labels(self._function.name).observe(duration_ms / 1000)
        self.used_at = time.monotonic()
        return result

    async def until_idle(self) -> None:
        """Wait until the process asks for its next event, or is gone."""
        if self._process:
            await self._process.idle.wait()

    async def stop(self) -> None:
        """End the process: SIGTERM, two seconds, SIGKILL to its whole session."""
        self._stopped = True
        await self._end_process(SHUTDOWN_SECONDS)

    async def _spawn(self, patience_seconds: float) -> None:
        began = time.monotonic()
        self._process = _Process(self._function, self._lines, self._stream, self._ended)
        await self._process.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.idle.wait(), patience_seconds)
        self._init_ms = (time.monotonic() - began) * 1000
        self._failure = self._process.failure
        metrics.INIT_DURATION.labels(self._function.name).observe(self._init_ms / 1000)

    async def _run(self, invocation: Invocation, limit: float) -> Result:
        process = self._process
        assert process is not None
        if process.failure:
            # It failed to start within the invocation: nothing of the event was seen.
            self._failure = process.failure
            return replace(process.failure, ran=False)
        if not process.ready:
            self._failure = self._timed_out(invocation)
            process.kill()
            return self._failure
        try:
            return await asyncio.wait_for(process.invoke(invocation), limit)
        except TimeoutError:
            self._failure = self._timed_out(invocation)
            process.kill()
            return self._failure

    def _timed_out(self, invocation: Invocation) -> Result:
        seconds = self._function.timeout_seconds
        text = f"RequestId: {invocation.request_id} Error: Task timed out after {seconds:.2f} seconds"
        return failure("Sandbox.Timedout", text)

    def _report(self, invocation: Invocation, result: Result, duration_ms: float) -> bytes:
        """Write the lines that end an invocation, and give the last bytes of its log."""
        process = self._process
        assert process is not None
        process.read_output()
        process.look_at_memory()
        parts = [
            f"REPORT RequestId: {invocation.request_id}",
            f"Duration: {duration_ms:.2f} ms",
            f"Billed Duration: {math.ceil(duration_ms + (self._init_ms or 0))} ms",
            f"Memory Size: {self._function.memory_mb} MB",
            f"Max Memory Used: {math.ceil(process.most_memory / MB)} MB",
        ]
        if self._init_ms is not None:
            parts.append(f"Init Duration: {self._init_ms:.2f} ms")
            self._init_ms = None
        if result.error_type == "Sandbox.Timedout":
            parts.append("Status: timeout")
        elif result.error_type:
            parts.append(f"Status: error\tError Type: {result.error_type}")
        self._lines.add(f"END RequestId: {invocation.request_id}\n{chr(9).join(parts)}\t".encode())
        return self._lines.tail

    def _ended(self, process: _Process) -> None:
        if process is self._process and self.alive and process.ready:
            self._failure = process.failure
            self._on_exit(self)

    async def _end_process(self, patience_seconds: float = 0) -> None:
        if self._process:
            await self._process.stop(patience_seconds)


class _Process:
    """One run of the runtime client: its Runtime API, what it prints, its memory."""

    def __init__(self, function: Function, lines: Lines, stream: str, on_exit: Callable[[_Process], None]) -> None:
        self._function = function
        self._lines = lines
        self._stream = stream
        self._on_exit = on_exit
        self._api = RuntimeApi(self._asked, self._init_error)
        self._process: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._watches: list[asyncio.Task[None]] = []
        self._output = -1
        self._current: Invocation | None = None
        self._out_of_memory = False
        self.most_memory = 0
        # Set when the process waits for an event, and when it is gone.
        self.idle = asyncio.Event()
        self.ready = False
        self.failure: Result | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._api.connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._output, writing = os.pipe()
        os.set_blocking(self._output, False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "awslambdaric",
                self._function.handler,
                env=_environ(self._function, port, self._stream),
                cwd=self._function.python_path[0],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                preexec_fn=_preparation(self._function),
            )
        except OSError:
            self._close()
            raise
        finally:
            os.close(writing)
        self._memory = psutil.Process(self._process.pid).memory_info
        asyncio.get_running_loop().add_reader(self._output, self.read_output)
        self._watches = [asyncio.create_task(self._wait_for_exit()), asyncio.create_task(self._watch_memory())]

    async def invoke(self, invocation: Invocation) -> Result:
        self._current = invocation
        self.idle.clear()
        self._api.invoke(invocation)
        try:
            return await invocation.result
        finally:
            self._current = None

    async def stop(self, patience_seconds: float) -> None:
        if self._process and self._process.returncode is None and patience_seconds:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience_seconds)
        self.kill()
        if self._watches:
            await asyncio.wait(self._watches)

    def kill(self) -> None:
        """Kill the process and whatever it started: all of its session."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def read_output(self) -> None:
        """Read what was printed until now; what was printed before an answer is there with the answer."""
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._output, 65_536):
                self._lines.feed(data)

    def _asked(self) -> None:
        self.ready = True
        self.idle.set()

    def _init_error(self, result: Result) -> None:
        self.failure = result

    async def _wait_for_exit(self) -> None:
        assert self._process is not None
        status = await self._process.wait()
        self.kill()
        self.read_output()
        self._lines.end()
        how = f"exit status {status}" if status >= 0 else f"signal: {_signal(-status, self._out_of_memory)}"
        message = f"Runtime exited with error: {how}" if status else "Runtime exited without providing a reason"
        if self._current and not self._current.result.done():
            text = f"RequestId: {self._current.request_id} Error: {message}"
            self._current.result.set_result(failure("Runtime.ExitError", text))
        self.failure = self.failure or failure("Runtime.ExitError", message)
        self._close()
        self._on_exit(self)
        self.idle.set()

    async def _watch_memory(self) -> None:
        """Kill the process when it holds more than it may; there is no control group to do it for us."""
        assert self._process is not None
        while self._process.returncode is None:
            if self.look_at_memory() > self._function.memory_mb * MB:
                self._out_of_memory = True
                self.kill()
                return
            await asyncio.sleep(LOOK_SECONDS)

    def look_at_memory(self) -> int:
        """How many bytes the process holds right now; none when it is gone."""
        held = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            held = self._memory().rss
        self.most_memory = max(self.most_memory, held)
        return held

    def _close(self) -> None:
        if self._output >= 0:
            asyncio.get_running_loop().remove_reader(self._output)
            os.close(self._output)
            self._output = -1
        if self._server:
            self._server.close()


def failure(error_type: str, message: str) -> Result:
    """A result that the emulator makes itself, in the shape that Lambda gives it."""
    return Result(json.dumps({"errorType": error_type, "errorMessage": message}).encode(), error_type)


def _signal(number: int, out_of_memory: bool) -> str:
    return "killed" if out_of_memory or number == signal.SIGKILL else signal.strsignal(number) or str(number)


def _environ(function: Function, port: int, stream: str) -> Mapping[str, str]:
    """What Lambda sets; a template cannot override what is reserved.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    own = {name: os.environ[name] for name in (*INHERITED, *CREDENTIALS) if name in os.environ}
    path = [str(directory) for directory in function.python_path]
    region = os.environ.get("AWS_REGION", "us-east-1")
    return {
        **own,
        "LANG": "en_US.UTF-8",
        "LC_CTYPE": "C.UTF-8",
        "TZ": ":UTC",
        "SHLVL": "0",
        "PATH": _search_path(function, "bin", own.get("PATH")),
        "LD_LIBRARY_PATH": _search_path(function, "lib", own.get("LD_LIBRARY_PATH")),
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        **function.environment,
        "_HANDLER": function.handler,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        # The client starts a thread for each event where this says 3.12 or newer, which costs twice the time.
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "LAMBDA_TASK_ROOT": path[0],
        "LAMBDA_RUNTIME_DIR": str(Path(sys.executable).parent),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _preparation(function: Function) -> Callable[[], None]:
    """What a process of *function* does before its program begins."""
    end_with_the_runtime = die_with_parent(signal.SIGKILL)

    def prepare() -> None:
        end_with_the_runtime()
        # Not by `start_new_session`: uvloop would begin the session after this, and the weight would be the runtime's.
        os.setsid()
        if function.gives_way:
            give_way()

    return prepare


def _search_path(function: Function, directory: str, after: str | None) -> str:
    own = [str(layer / directory) for layer in function.layers if (layer / directory).is_dir()]
    return os.pathsep.join([*own, *([after] if after else [])])
