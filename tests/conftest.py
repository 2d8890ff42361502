"""What every test stands on: settings, and a way to empty tables that refuse to be emptied."""

import os
import sqlite3

os.environ.setdefault("SECRET_KEY", "only-for-the-tests-of-this-run")

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import settings

# On a busy machine one example takes as long as it takes: no test is one of speed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def english_by_default() -> Iterator[None]:
    from django.utils import translation

    with translation.override("en"):
        yield


@pytest.fixture(autouse=True, scope="session")
def emptying_despite_the_rules() -> Iterator[None]:
    """Transactional tests empty every table afterwards, which the append-only rules refuse: they step aside for it."""
    flush = getattr(TransactionTestCase, "_fixture_teardown")  # noqa: B009 - it is no public name

    def teardown(case: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # Triggers rest on this connection while it empties the tables.
                cursor.execute("SET session_replication_role = replica")
                flush(case)
                cursor.execute("SET session_replication_role = DEFAULT")
            else:
                cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
                triggers = cursor.fetchall()
                for name, _sql in triggers:
                    cursor.execute(f"DROP TRIGGER {name}")
                flush(case)
                for _name, sql in triggers:
                    cursor.execute(sql)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", teardown)
        yield


@pytest.fixture
def shared_database(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """A database that several connections can write to, for whoever connects from now on.

    SQLite's test database is in memory, where connections lock each other out at once instead of waiting: a copy of
    it in a file behaves as in real life.
    """
    if connection.vendor == "postgresql":
        yield
        return
    connection.ensure_connection()
    with closing(sqlite3.connect(tmp_path / "shared.sqlite3")) as copy:
        connection.connection.backup(copy)
    in_memory = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = str(tmp_path / "shared.sqlite3")
    yield
    connection.settings_dict["NAME"] = in_memory
