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
