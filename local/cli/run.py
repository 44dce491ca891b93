"""`evothesis run`: PostgreSQL, S3 and the runtime, up together and down together."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import click
import uvloop
from prometheus_client import Gauge, start_http_server

from cli import parameters, static
from cli.machine import ROOT, Machine, MachineInvalid, require_spelled
from emulator import schedules, template
from emulator.runtime import Runtime
from emulator.server import bind, listen
from services.child import StartFailed
from services.localstack import LocalStack
from services.postgres import Postgres
from storage import settings as storage_settings
from storage.settings import Settings

DEMO_BUCKETS = {"CLIENT_S3_BUCKET": "client-analytics", "BACKUP_S3_BUCKET": "backup-analytics"}
# What nobody set is made, and kept in the data directory under this name.
SECRETS = {"EVOTHESIS_ADMIN_TOKEN": "admin-token", "PRIVACY_KEY": "privacy-key"}
DEMO_KEYS = {
    f"{side}_S3_{part}": "demo" for side in ("CLIENT", "BACKUP") for part in ("ACCESS_KEY", "SECRET_KEY")
}  # fmt: skip


LOOK_SECONDS = 0.5
PREFERRED_INVOKE_PORT = 9001


@click.command()
@click.option("--interim", is_flag=True, help="Stand in for the runtime of this data directory while it is replaced.")
def run(interim: bool) -> None:
    """Start everything and answer until Ctrl-C.

    PostgreSQL is embedded unless DATABASE_URL is set, S3 unless AWS_ENDPOINT_URL_S3 or CLIENT_S3_BUCKET is. With
    --interim it runs beside another on the same database, with the same keys.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It tells of every start and stop under the name of its errors.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # A wrong setting shows before anything is started.
    require_spelled(os.environ, map(str.upper, Settings.model_fields))
    wanted = storage_settings.load()
    if wanted.backup_s3_bucket:
        wanted.require_destinations()
    schedules.parse(wanted.schedule_expression, "EXPORT_SCHEDULE")
    machine = Machine.from_environ(os.environ)
    routes = template.load(ROOT / "sam-template.yaml", parameters.of(wanted)).routes
    if taken := machine.aliases.keys() & {route.path for route in routes}:
        raise MachineInvalid(f"EVOTHESIS_ALIASES: {min(taken)} is a route of its own; take another name")
    keeper = machine
    if interim:
        if not wanted.database_url.get_secret_value():
            raise MachineInvalid("--interim stands in on a database that both use; set DATABASE_URL")
        machine = replace(machine, data_dir=machine.data_dir / "interim")
    with ExitStack() as stack:
        stack.enter_context(machine.claim())
        listener = stack.enter_context(_listener("EVOTHESIS_PORT", machine.host, machine.port, bind))
        # What programs on this machine ask for is for them alone, whoever may reach the front.
        behind = stack.enter_context(_invoke_listener(machine))
        stack.enter_context(_metrics(machine))
        for variable, file in SECRETS.items():
            if not getattr(wanted, variable.lower()).get_secret_value():
                os.environ[variable] = keeper.secret(file)
        services = stack.enter_context(_services(machine, wanted))
        _prepare(services.demo_buckets)
        settings = storage_settings.load()
        runtime = Runtime(
            template.load(ROOT / "sam-template.yaml", parameters.of(settings)),
            static.site(ROOT / "pixel"),
            machine.trusted_proxies,
            machine.data_dir,
            machine.aliases,
        )
        stack.enter_context(_found_by_others(machine, listener, behind))
        uvloop.run(_serve(runtime, services, listener, behind, lambda: _announce(machine, listener, behind, settings)))
    click.echo("stopped; the data stays in " + str(machine.data_dir))


@dataclass(slots=True)
class _Services:
    """What is embedded, and whether the buckets are the demo's."""

    parts: list[Postgres | LocalStack] = field(default_factory=list)
    demo_buckets: bool = False


async def _serve(
    runtime: Runtime,
    services: _Services,
    listener: socket.socket,
    behind: socket.socket,
    on_ready: Callable[[], None],
) -> None:
    """Serve until told to stop; without one of its parts the whole stops too, so that whoever supervises it sees it.

    Raises:
        Ended: a part ended by itself.
    """
    serving = asyncio.create_task(runtime.serve(listener, on_ready, behind))
    try:
        while not serving.done():
            await asyncio.wait([serving], timeout=LOOK_SECONDS)
            for part in services.parts:
                part.require()
    finally:
        runtime.finish()
        await serving


@contextmanager
def _services(machine: Machine, wanted: Settings) -> Iterator[_Services]:
    """Start what is embedded, for as long as the block runs, and put its addresses into the environment."""
    services = _Services()
    with ExitStack() as stack:
        _require_no_keys_of_nothing(wanted)
        demo_buckets = not (wanted.client_s3_bucket or wanted.backup_s3_bucket or wanted.aws_endpoint_url_s3)
        local_stack = LocalStack(machine.data_dir, machine.localstack_python) if demo_buckets else None
        if local_stack:
            # It takes longest, so it comes up while PostgreSQL does.
            stack.callback(local_stack.stop)
            services.parts.append(local_stack)
            local_stack.start()
            os.environ["AWS_ENDPOINT_URL_S3"] = local_stack.url
        if not wanted.database_url.get_secret_value():
            postgres = Postgres(machine.data_dir)
            stack.callback(postgres.stop)
            services.parts.append(postgres)
            postgres.start()
            os.environ["DATABASE_URL"] = postgres.url
            _keep_private(machine, "database-url", postgres.url)
        if local_stack:
            local_stack.wait()
        if not wanted.client_s3_bucket and not wanted.backup_s3_bucket and (demo_buckets or wanted.aws_endpoint_url_s3):
            # On an endpoint of one's own the demo's buckets are as good as any; its keys are AWS's to give.
            os.environ.update(DEMO_BUCKETS if not demo_buckets else DEMO_BUCKETS | DEMO_KEYS)
            services.demo_buckets = True
        yield services


def _require_no_keys_of_nothing(wanted: Settings) -> None:
    """Refuse to take for the demo what has the keys of a client's bucket, and forgot its name.

    Raises:
        MachineInvalid: a side has keys, or a role, and no side has a bucket.
    """
    if wanted.client_s3_bucket or wanted.backup_s3_bucket:
        return
    for side in ("client", "backup"):
        for way in ("access_key", "secret_key", "role_arn"):
            if getattr(wanted, f"{side}_s3_{way}"):
                name = side.upper()
                raise MachineInvalid(
                    f"{name}_S3_{way.upper()} leads nowhere; set {name}_S3_BUCKET too, or none for the demo"
                )


def _invoke_listener(machine: Machine) -> AbstractContextManager[socket.socket]:
    """Where the Invoke API is; where nobody said, and the usual port is taken, on one that the kernel gives."""
    if machine.invoke_port is not None:
        return _listener("EVOTHESIS_INVOKE_PORT", "127.0.0.1", machine.invoke_port, listen)
    try:
        return listen("127.0.0.1", PREFERRED_INVOKE_PORT)
    except OSError:
        return listen("127.0.0.1", 0)


@contextmanager
def _listener(setting: str, host: str, port: int, take: Callable[[str, int], socket.socket]) -> Iterator[socket.socket]:
    try:
        listener = take(host, port)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise MachineInvalid(f"EVOTHESIS_HOST: {host} is no address of this machine") from None
        raise MachineInvalid(f"{setting}: cannot listen on {host}:{port}: {error.strerror}; set another") from None
    with listener:
        try:
            yield listener
        except OSError as error:
            # Two that were started at once are both bound; the first that listens has it.
            if error.errno != errno.EADDRINUSE:
                raise
            raise MachineInvalid(f"{setting}: another program took {host}:{port} meanwhile; set another") from None


@contextmanager
def _metrics(machine: Machine) -> Iterator[None]:
    """What Prometheus asks for, on a port that has nothing else, for as long as the block runs."""
    free = Gauge("evothesis_disk_free_bytes", "What is left on the disk of the data directory.")
    free.set_function(lambda: shutil.disk_usage(machine.data_dir).free)
    if machine.metrics_port is None:
        yield
        return
    try:
        server, thread = start_http_server(machine.metrics_port, machine.host)
    except OSError as error:
        raise MachineInvalid(
            f"EVOTHESIS_METRICS_PORT: cannot listen on {machine.metrics_port}: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _found_by_others(machine: Machine, listener: socket.socket, behind: socket.socket) -> Iterator[None]:
    """Say in the data directory where the runtime is, for as long as the block runs."""
    at = {"url": _url(machine, listener), "invoke_url": _invoke_url(behind)}
    _keep_private(machine, "runtime.json", json.dumps(at))
    try:
        yield
    finally:
        (machine.data_dir / "runtime.json").unlink(missing_ok=True)


def _url(machine: Machine, listener: socket.socket) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(machine.host, machine.host)  # noqa: S104 - it is not bound here
    return f"http://{host}:{listener.getsockname()[1]}"


def _invoke_url(behind: socket.socket) -> str:
    return f"http://127.0.0.1:{behind.getsockname()[1]}"


def _prepare(demo_buckets: bool) -> None:
    arguments = [sys.executable, "-m", "cli.prepare", *(["--demo-buckets"] if demo_buckets else [])]
    done = subprocess.run(arguments, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise StartFailed(done.stderr.strip().rpartition("\n")[2])


def _keep_private(machine: Machine, name: str, text: str) -> None:
    file = machine.data_dir / name
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text + "\n")


def _announce(machine: Machine, listener: socket.socket, behind: socket.socket, settings: Settings) -> None:
    url = _url(machine, listener)
    lines = [
        f"demo site     {url}/",
        f"admin token   {machine.data_dir / 'admin-token'}",
        f"Invoke API    {_invoke_url(behind)}, and its /metrics",
    ]
    if not settings.backup_s3_bucket:
        lines.append("backup bucket none: BACKUP_S3_BUCKET is not set, so nothing meters what is delivered")
    for destination in settings.destinations():
        endpoint = f" at {destination.endpoint_url}" if destination.endpoint_url else ""
        lines.append(f"{destination.name + ' bucket':13} s3://{destination.bucket}/{destination.prefix}/{endpoint}")
    click.echo("\n".join([*lines, f"ready: {url}"]))
    sys.stdout.flush()
