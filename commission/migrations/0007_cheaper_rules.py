"""The rules of tickets compare rows by their columns on PostgreSQL, which takes a tenth of the time of their JSON."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from portfolios.database_rules import AppendOnly


def replace_functions(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor != "postgresql":
        return
    for name in ("SalePart", "SaleLine"):
        model = apps.get_model("commission", name)
        for rule in model._meta.constraints:
            if isinstance(rule, AppendOnly):
                function = rule.postgresql(model)[0]
                editor.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1), params=None)


class Migration(migrations.Migration):
    dependencies = [("commission", "0006_month_kpis")]

    operations = [migrations.RunPython(replace_functions, migrations.RunPython.noop)]
