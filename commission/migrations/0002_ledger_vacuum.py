"""The ledger is vacuumed soon after rows come in, which index-only scans live on.

PostgreSQL waits until a fifth of a table is new; of a ledger of sixteen months that is the last three, which are the
ones that are read. A table that only grows costs a vacuum no more than its new pages.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "commission_attribution"


def vacuum_soon(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor == "postgresql":
        editor.execute(
            f"ALTER TABLE {TABLE} SET "
            "(autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000)"
        )


def vacuum_as_ever(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor == "postgresql":
        editor.execute(
            f"ALTER TABLE {TABLE} RESET (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold)"
        )


class Migration(migrations.Migration):
    dependencies = [("commission", "0001_initial")]
    operations = [migrations.RunPython(vacuum_soon, vacuum_as_ever)]
