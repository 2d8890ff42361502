"""Changes that the database's own rules would refuse, as somebody with every right to it could make them."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, models, transaction
from django.db.backends.utils import CursorWrapper


@contextmanager
def behind_the_rules(*changed: type[models.Model]) -> Iterator[None]:
    """Triggers and checks of these tables are off; what is done meanwhile is taken back at the end."""
    tables = [model._meta.db_table for model in changed]
    off = _off_on_postgresql if connection.vendor == "postgresql" else _off_on_sqlite
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                off(cursor, tables)
            yield
            transaction.set_rollback(True)
    finally:
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA ignore_check_constraints = OFF")


def _off_on_postgresql(cursor: CursorWrapper, tables: list[str]) -> None:
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    cursor.execute("SET LOCAL session_replication_role = replica")
    for table in tables:
        cursor.execute("SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = %s::regclass", [table])
        for (name,) in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def _off_on_sqlite(cursor: CursorWrapper, tables: list[str]) -> None:
    cursor.execute("PRAGMA ignore_check_constraints = ON")
    cursor.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'")
    for name in [name for name, table in cursor.fetchall() if table in tables]:
        cursor.execute(f"DROP TRIGGER {name}")
