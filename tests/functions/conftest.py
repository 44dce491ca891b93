import functools

import pytest

import collect.app


@pytest.fixture
def post(call, database_url):
    """Send a body to `/collect` as a page would."""
    return functools.partial(call, collect.app.handler, "POST", "/collect", admin=False)


@pytest.fixture
def rows(connection):
    """All rows of a query as dictionaries."""

    def rows(query, *parameters):
        cursor = connection.execute(query, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return rows
