"""One execution environment: a process that runs one function's handler, one event at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from emulator import intrinsics
from emulator.runtime_api import Invocation, Result, RuntimeApi
from emulator.template import Function
from services.child import die_with_parent

INIT_SECONDS = 10
SHUTDOWN_SECONDS = 2

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

    Lambda freezes a process between invocations; here it just waits.
    """

    def __init__(self, function: Function, on_exit: Callable[[Environment], None]) -> None:
        self._function = function
        self._on_exit = on_exit
        self._api = RuntimeApi(self._idle, self._init_error)
        self._process: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._failure: Result | None = None
        self._current: Invocation | None = None
        self.init_ms: float | None = None

    @property
    def alive(self) -> bool:
        """Whether the process can take an invocation."""
        return self._process is not None and self._process.returncode is None and self._failure is None

    async def start(self) -> None:
        """Start the process and wait until it asks for its first event, or has failed to."""
        began = time.monotonic()
        self._server = await asyncio.get_running_loop().create_server(self._api.connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "awslambdaric",
            self._function.handler,
            env=_environ(self._function, port),
            cwd=self._function.python_path[0],
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        self._watch = asyncio.create_task(self._wait_for_exit())
        try:
            await asyncio.wait_for(self._ready.wait(), INIT_SECONDS)
        except TimeoutError:
            self._failure = failure("Sandbox.Timedout", f"Init phase took longer than {INIT_SECONDS} s")
            self._kill()
        self.init_ms = (time.monotonic() - began) * 1000

    async def invoke(self, payload: bytes) -> Result:
        """Run the handler on *payload*; a handler that fails, dies or takes too long is a result too."""
        if self._failure:
            return replace(self._failure, ran=False)
        limit = self._function.timeout_seconds
        invocation = Invocation(
            payload=payload,
            function_arn=intrinsics.arn(self._function.name),
            deadline_ms=int((time.time() + limit) * 1000),
            result=asyncio.get_running_loop().create_future(),
        )
        self._current = invocation
        self._ready.clear()
        self._api.invoke(invocation)
        try:
            return await asyncio.wait_for(invocation.result, limit)
        except TimeoutError:
            self._failure = failure(
                "Sandbox.Timedout",
                f"RequestId: {invocation.request_id} Error: Task timed out after {limit:.2f} seconds",
            )
            self._kill()
            return self._failure
        finally:
            self._current = None

    async def until_idle(self) -> None:
        """Wait until the process asks for its next event, or is gone."""
        await self._ready.wait()

    async def stop(self) -> None:
        """End the process: SIGTERM, two seconds, SIGKILL to its whole session."""
        if self._process and self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), SHUTDOWN_SECONDS)
            self._kill()
        if self._watch:
            await self._watch
        if self._server:
            self._server.close()

    def _kill(self) -> None:
        """Kill the process and whatever it started: all of its session."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _idle(self) -> None:
        self._ready.set()

    def _init_error(self, result: Result) -> None:
        self._failure = result

    async def _wait_for_exit(self) -> None:
        assert self._process is not None
        status = await self._process.wait()
        self._kill()
        how = f"exit status {status}" if status >= 0 else f"signal: {signal.Signals(-status).name}"
        message = f"Runtime exited with error: {how}" if status else "Runtime exited without providing a reason"
        if self._current and not self._current.result.done():
            text = f"RequestId: {self._current.request_id} Error: {message}"
            self._current.result.set_result(failure("Runtime.ExitError", text))
        self._failure = self._failure or failure("Runtime.ExitError", message)
        self._ready.set()
        if self._server:
            self._server.close()
        self._on_exit(self)


def failure(error_type: str, message: str) -> Result:
    """A result that the emulator makes itself, in the shape that Lambda gives it."""
    return Result(json.dumps({"errorMessage": message, "errorType": error_type}).encode(), error_type)


def _environ(function: Function, port: int) -> Mapping[str, str]:
    """What Lambda sets; a template cannot override what is reserved.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    own = {name: os.environ[name] for name in (*INHERITED, *CREDENTIALS) if name in os.environ}
    path = [str(directory) for directory in function.python_path]
    return {
        **own,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        **function.environment,
        "_HANDLER": function.handler,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": time.strftime("%Y/%m/%d/[$LATEST]local"),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        # The client starts a thread for each event where this says 3.12 or newer, which costs twice the time.
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_REGION": os.environ.get("AWS_REGION", "us-east-1"),
        "AWS_DEFAULT_REGION": os.environ.get("AWS_REGION", "us-east-1"),
        "LAMBDA_TASK_ROOT": path[0],
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
