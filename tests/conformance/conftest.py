"""Runtimes that answer on real sockets, each with a template and handlers of its own, as long as a module's tests run.

What the cases expect was recorded from AWS, from its own emulator and clients, or stands in its documentation.
"""

import asyncio
import contextlib
import json
import textwrap
import threading
from types import SimpleNamespace

import boto3
import httpx
import pytest
import uvloop
from botocore.config import Config

from emulator import template
from emulator.runtime import Runtime
from emulator.server import PatientProtocol, Server, listen

# Does what its event says: an HTTP request in its parameter `do`, an invocation in its member `do`.
HANDLER = """
import json, logging, os, sys, time
logging.getLogger().setLevel(logging.INFO)
count = -1

def handler(event, context):
    global count
    count += 1
    parameters = event.get("queryStringParameters") if isinstance(event, dict) else None
    do = (parameters or {}).get("do") or (event.get("do") if isinstance(event, dict) else None)
    if do is None:
        return event
    scope = {"event": event, "context": context, "os": os, "sys": sys, "time": time, "logging": logging, "json": json,
             "count": count}
    if do.startswith("raise"):
        exec(do, scope)
    return eval(do, scope)
"""


class Serving:
    """A runtime in a thread of its own: `url` of the front, `client` of the Invoke API, `call` into its loop."""

    def __init__(self, file, parameters, data_dir):
        self._file = file
        self._parameters = parameters
        self._data_dir = data_dir
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(20), "the runtime does not come up"

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.runtime = Runtime(template.load(self._file, self._parameters), data_dir=self._data_dir)
        listeners = [listen("127.0.0.1", 0), listen("127.0.0.1", 0)]
        servers = [Server(self.runtime.gateway, PatientProtocol), Server(self.runtime.invoke_api, "httptools")]
        serving = [
            asyncio.create_task(server.serve([listener])) for server, listener in zip(servers, listeners, strict=True)
        ]
        while not all(server.started for server in servers):
            await asyncio.sleep(0.01)
        self.runtime.start()
        self.url, self.invoke_url = (f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
        self._ready.set()
        await self._stop.wait()
        await self.runtime.asynchronous.stop()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        await self.runtime.stop()

    def call(self, function, *arguments):
        """Call a function in the runtime's own thread, and wait for what it returns."""

        async def work():
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(20)

    def stop(self):
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def lambda_client(self, attempts=1):
        return boto3.client(
            "lambda",
            endpoint_url=self.invoke_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": attempts}, read_timeout=60),
        )


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """Serve a template; `F` and whatever else it has find their code in `main.py`."""
    with contextlib.ExitStack() as stack:

        def serve(resources, code=HANDLER, **document):
            directory = tmp_path_factory.mktemp("conformance")
            (directory / "code").mkdir()
            (directory / "code" / "main.py").write_text(textwrap.dedent(code))
            file = directory / "template.yaml"
            file.write_text(json.dumps({"Resources": resources, **document}))
            serving = Serving(file, {}, directory / "data")
            stack.callback(serving.stop)
            return serving

        yield serve


@pytest.fixture(scope="session")
def function():
    """A function of `main.py` with properties."""

    def function(events=(), handler="main.handler", **properties):
        written = {"Handler": handler, "CodeUri": "code", "Timeout": 10, **properties}
        return {"Type": "AWS::Serverless::Function", "Properties": {**written, "Events": dict(events)}}

    return function


@pytest.fixture(scope="session")
def route():
    """An HttpApi event."""

    def route(method, path, version="2.0", **properties):
        said = {"Method": method, "Path": path, "PayloadFormatVersion": version, **properties}
        return {"Type": "HttpApi", "Properties": said}

    return route


@pytest.fixture
def ask():
    """Ask a runtime's front; the answer's parts by their names."""

    def ask(serving, method, path, *, do=None, **options):
        params = {"do": do} if do else None
        with httpx.Client(base_url=serving.url, timeout=60) as client:
            # httpx sends headers that the cases do not speak of.
            for name in ("accept", "accept-encoding", "user-agent"):
                del client.headers[name]
            answer = client.request(method, path, params=params, **options)
        with contextlib.suppress(ValueError):
            return SimpleNamespace(answer=answer, status=answer.status_code, headers=answer.headers, json=answer.json())
        return SimpleNamespace(answer=answer, status=answer.status_code, headers=answer.headers, json=None)

    return ask
