"""The schema: applied once, in order, whoever starts first."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from storage import database, migrations
from storage.errors import DatabaseUnavailable, SchemaTooNew


@pytest.fixture
def empty(postgres):
    with psycopg.connect(f"{postgres.base}/postgres", autocommit=True) as admin:
        admin.execute("CREATE DATABASE empty")
        yield f"{postgres.base}/empty"
        admin.execute("DROP DATABASE empty WITH (FORCE)")


def test_many_who_start_at_once_migrate_once(empty):
    def migrate(_):
        with database.connect(empty) as connection:
            return migrations.migrate(connection)

    with ThreadPoolExecutor(8) as starters:
        applied = list(starters.map(migrate, range(8)))

    names = [migration.name for migration in migrations.all_migrations()]
    assert sorted(applied) == [[]] * 7 + [names]
    with database.connect(empty) as connection:
        rows = connection.execute("SELECT version, name FROM schema_migrations ORDER BY version").fetchall()
    assert [row[1] for row in rows] == names
    assert [row[0] for row in rows] == list(range(1, len(names) + 1))


def test_a_database_of_a_newer_release_is_left_alone(connection):
    connection.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, '9999_future')")
    with pytest.raises(SchemaTooNew, match="run the newer release"):
        migrations.migrate(connection)


def test_a_database_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(DatabaseUnavailable) as raised:
        database.connect("postgresql://user:hunter2@127.0.0.1:1/nothing")
    assert "does not answer" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_change_that_waits_for_a_table_gives_way_to_who_writes(empty, monkeypatch):
    first = migrations.all_migrations()[:17]
    with database.connect(empty) as connection, monkeypatch.context() as then:
        then.setattr(migrations, "all_migrations", lambda: first)
        migrations.migrate(connection)
    with ThreadPoolExecutor(1) as starter, psycopg.connect(empty) as reader:
        # An export that reads for long.
        reader.execute("SELECT * FROM events")
        with database.connect(empty) as connection, database.connect(empty) as writer:
            migrating = starter.submit(migrations.migrate, connection)
            while "0018_webhooks" not in names(writer):
                write(writer)
            # Whatever comes next wants the table for itself, and waits in moments; who writes comes in between.
            for _ in range(20):
                write(writer)
            assert not migrating.done()
            reader.rollback()
            migrating.result(timeout=30)
            assert names(writer)[-1] == migrations.all_migrations()[-1].name
            assert not connection.execute("SELECT 1 FROM pg_index WHERE NOT indisvalid").fetchone()


def test_what_failed_in_the_middle_is_finished_by_the_next(empty, monkeypatch):
    known = migrations.all_migrations()
    broken = migrations.Migration(known[9].version, known[9].name, known[9].statements + "SELECT 1 / 0;\n")
    with database.connect(empty) as connection:
        with monkeypatch.context() as then:
            then.setattr(migrations, "all_migrations", lambda: (*known[:9], broken, *known[10:]))
            with pytest.raises(psycopg.errors.DivisionByZero):
                migrations.migrate(connection)
        assert names(connection) == [migration.name for migration in known[:9]]
        assert migrations.migrate(connection) == [migration.name for migration in known[9:]]


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_index_whose_builder_was_killed_is_built_anew_only_where_it_is_not_whole(empty, monkeypatch, is_whole):
    index = "SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = 'events_created_at_id_idx'::regclass"
    with database.connect(empty) as connection:
        migrations.migrate(connection)
        before = connection.execute(index).fetchone()[0]
        connection.execute("DELETE FROM schema_migrations WHERE version >= 17")
        connection.execute("UPDATE pg_index SET indisvalid = %s WHERE indexrelid = %s", (is_whole, before))
        until_17 = migrations.all_migrations()[:17]
        monkeypatch.setattr(migrations, "all_migrations", lambda: until_17)

        assert migrations.migrate(connection) == ["0017_planning"]

        after, is_valid = connection.execute(index).fetchone()
        assert is_valid
        assert (after == before) == is_whole


def names(connection):
    return [row[0] for row in connection.execute("SELECT name FROM schema_migrations ORDER BY version")]


def write(connection):
    """As the first release did."""
    connection.execute("SET lock_timeout = '5s'")
    connection.execute("INSERT INTO events (event_type, timestamp, raw_event_data) VALUES ('page_view', now(), '{}')")
