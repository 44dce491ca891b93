"""PostgreSQL is lost, and comes back from its backup: nothing that was acknowledged is missing, nothing is delivered twice."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from services import postgres as services_postgres
from services.postgres import Postgres
from storage import database, events, migrations, settings
from storage.export import run, verify

SCRIPT = Path(__file__).parents[2] / "local" / "containers" / "backup.sh"


class Machine:
    """A PostgreSQL server of its own, and the script that backs it up."""

    def __init__(self, folder):
        self.folder, self.backups = folder, folder / "backups"
        self.server = Postgres(folder)
        self.server.start()
        self.streaming = None

    @property
    def cluster(self):
        return next(self.folder.glob("pg*/cluster"))

    def environ(self):
        at = urlsplit(self.server.url)
        return {
            "PATH": f"{services_postgres.programs()}:{os.environ['PATH']}",
            "BACKUPS": str(self.backups),
            "PGHOST": at.hostname,
            "PGPORT": str(at.port),
            "PGUSER": at.username,
            "PGPASSWORD": at.password,
        }

    def script(self, *arguments, **environ):
        environ = self.environ() | environ
        return subprocess.run(
            [SCRIPT, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=120
        )

    def keep(self):
        self.streaming = subprocess.Popen([SCRIPT, "keep"], env=self.environ(), start_new_session=True)
        until(lambda: self.script("check").returncode == 0)

    def stop_keeping(self):
        if self.streaming:
            self.streaming.terminate()
            self.streaming.wait(timeout=30)

    def lose(self):
        """Kill the server and remove its files, all at once."""
        owner = self.cluster.stat()
        self.server._process.kill()
        self.server._process.wait()
        shutil.rmtree(self.cluster)
        return owner

    def lose_and_recover(self, *time_):
        """Lose the server with all that it streamed, and have it again from its backup."""
        until(lambda: is_streamed(self))
        owner = self.lose()
        self.stop_keeping()
        database.close()
        self.recover(owner, *time_)

    def recover(self, owner, *time_):
        into = self.folder / "recovered"
        done = self.script("recover", into, *time_)
        assert done.returncode == 0, done.stderr
        for path in [into, *into.rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
        # The server reads its log as somebody else.
        for path in [self.folder, self.backups, self.backups / "wal", *(self.backups / "wal").iterdir()]:
            path.chmod(path.stat().st_mode | 0o055)
        into.rename(next(self.folder.glob("pg*")) / "cluster")
        self.server.start()
        # It answers before it has come to the end of its log.
        with psycopg.connect(self.server.url, autocommit=True) as asked:
            until(lambda: not asked.execute("SELECT pg_is_in_recovery()").fetchone()[0])


def until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def machine(environ, buckets):
    # Where whoever PostgreSQL runs as may go.
    folder = Path(tempfile.mkdtemp(prefix="evothesis-backup-"))
    folder.chmod(0o755)
    machine = Machine(folder)
    environ["DATABASE_URL"] = machine.server.url
    environ["PRIVACY_KEY"] = "demo-privacy-key"
    with database.connect(machine.server.url) as connection:
        migrations.migrate(connection)
    yield machine
    machine.stop_keeping()
    database.close()
    machine.server.stop()
    shutil.rmtree(folder)


def store(event, count):
    made = [event() for _ in range(count)]
    assert len(database.run(settings.current().require_database(), lambda c: events.append(c, made)).stored) == count
    return {str(one.event_id) for one in made}


def stored():
    def ids(connection):
        return {str(row[0]) for row in connection.execute("SELECT event_id FROM events")}

    return database.run(settings.current().require_database(), ids)


def export():
    assert run.run(settings.current()).failures == {}


def verified():
    return [verify.run(settings.current(), side) for side in ("client", "backup")]


def test_after_its_loss_the_database_is_what_it_was_and_the_export_goes_on(machine, event):
    acknowledged = store(event, 500)
    export()
    machine.keep()
    # After the base backup: delivered, and not yet delivered.
    acknowledged |= store(event, 300)
    export()
    acknowledged |= store(event, 200)

    machine.lose_and_recover()

    assert stored() == acknowledged
    assert [report.findings for report in verified()] == [[], []]
    acknowledged |= store(event, 100)
    export()
    for report in verified():
        assert report.findings == []
        assert report.rows == len(acknowledged) == 1100

    # And once more: the log goes on where the recovered server began it anew.
    machine.keep()
    acknowledged |= store(event, 50)
    machine.lose_and_recover()
    assert stored() == acknowledged


def test_an_older_state_than_the_bucket_delivers_nothing_twice(machine, event):
    store(event, 500)
    export()
    store(event, 300)
    machine.keep()
    then = database.run(machine.server.url, lambda c: c.execute("SELECT now()").fetchone()[0])
    store(event, 200)
    export()
    machine.lose_and_recover(str(then))

    assert len(stored()) == 800
    outcome = run.run(settings.current())

    assert "older than what it delivered" in outcome.failures["client"]
    assert "older than what it delivered" in outcome.failures["backup"]
    assert [report.rows for report in verified()] == [1000, 1000]


def test_what_is_to_be_recovered_into_is_empty(machine, tmp_path):
    (tmp_path / "PG_VERSION").touch()
    done = machine.script("recover", tmp_path)
    assert done.returncode == 1
    assert "is not empty" in done.stderr


def test_a_base_backup_that_fails_takes_none_of_the_others_with_it(machine):
    machine.keep()
    machine.stop_keeping()
    made = sorted((machine.backups / "base").iterdir())
    machine.server.stop()
    assert machine.script("base").returncode != 0
    assert sorted((machine.backups / "base").iterdir()) == made


def is_streamed(machine):
    """Whether all that was committed is on the backup's disk."""
    query = "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication WHERE application_name = 'pg_receivewal'"
    return database.run(machine.server.url, lambda c: c.execute(query).fetchone())[0]


def test_base_backups_go_by_their_age_and_not_by_their_number(machine):
    machine.keep()
    machine.stop_keeping()
    for _ in range(3):
        assert machine.script("base").returncode == 0
    made = sorted((machine.backups / "base").iterdir())
    assert len(made) == 4
    old = time.time() - 49 * 3600
    os.utime(made[0], (old, old))
    os.utime(made[1], (old, old))
    assert machine.script("base").returncode == 0
    assert sorted((machine.backups / "base").iterdir())[:2] == made[2:]


def test_a_slot_that_was_lost_while_it_streamed_is_begun_anew(machine, event):
    machine.keep()
    machine.stop_keeping()
    with psycopg.connect(machine.server.url, autocommit=True) as server:
        server.execute("SELECT pg_drop_replication_slot('evothesis_backup')")
        # As a backup that was killed right after it had made it leaves it.
        server.execute("SELECT pg_create_physical_replication_slot('evothesis_backup', false)")
    acknowledged = store(event, 20)
    machine.keep()
    until(lambda: is_streamed(machine))
    assert len(list((machine.backups / "base").iterdir())) == 2
    machine.lose_and_recover()
    assert stored() == acknowledged


def test_a_time_is_read_as_it_is_meant_or_not_at_all(machine, event):
    store(event, 5)
    machine.keep()
    then = database.run(machine.server.url, lambda c: c.execute("SELECT now()").fetchone()[0])
    store(event, 5)
    assert machine.script("base").returncode == 0

    nonsense = machine.script("recover", machine.folder / "recovered", f"{then:%F %T} Europe/Nowhere")
    assert (nonsense.returncode, "invalid date" in nonsense.stderr) == (1, True)
    machine.lose_and_recover(f"@{then.timestamp()}")

    assert len(stored()) == 5


def test_what_was_half_removed_is_no_base_backup(machine, tmp_path):
    machine.keep()
    machine.stop_keeping()
    [old] = (machine.backups / "base").iterdir()
    long_ago = time.time() - 49 * 3600
    os.utime(old, (long_ago, long_ago))
    # As one that is killed after its first file.
    killed = tmp_path / "rm"
    killed.write_text('#!/bin/sh\n/bin/rm "$2/base.tar.gz" && exit 137\nexec /bin/rm "$@"\n')
    killed.chmod(0o755)
    assert machine.script("base", PATH=f"{tmp_path}:{machine.environ()['PATH']}").returncode != 0

    assert machine.script("base").returncode == 0

    assert all((one / "base.tar.gz").exists() for one in (machine.backups / "base").iterdir())
