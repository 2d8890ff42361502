from django.db import migrations

import portfolios.database_rules


def names_of_triggers(check):
    """On SQLite a table is rebuilt under another name, and triggers of other tables name this one meanwhile."""

    def switch(apps, schema_editor):
        if schema_editor.connection.vendor == 'sqlite':
            schema_editor.execute(f"PRAGMA legacy_alter_table = {'OFF' if check else 'ON'}")

    return migrations.RunPython(switch, switch)


class Migration(migrations.Migration):

    dependencies = [
        ('portfolios', '0001_initial'),
    ]

    operations = [
        names_of_triggers(check=False),
        migrations.RemoveConstraint(
            model_name='month',
            name='month_stays_closed',
        ),
        migrations.RemoveField(
            model_name='month',
            name='close_requested_at',
        ),
        migrations.RemoveField(
            model_name='month',
            name='close_requested_by',
        ),
        migrations.AddConstraint(
            model_name='month',
            constraint=portfolios.database_rules.AppendOnly(allow='OLD.closed_at IS NULL', mutable=('closed_at', 'closed_by', 'digest'), name='month_stays_closed'),
        ),
        names_of_triggers(check=True),
    ]
