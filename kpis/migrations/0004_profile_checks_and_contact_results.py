import django.db.models.deletion
import portfolios.database_rules
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('kpis', '0003_care_log'),
        ('portfolios', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ContactResult',
            fields=[
                ('contact', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='result', serialize=False, to='kpis.carecontact', verbose_name='care contact')),
                ('bought_on', models.DateField(verbose_name='bought on')),
            ],
            options={
                'verbose_name': 'result of a contact',
                'verbose_name_plural': 'results of contacts',
            },
        ),
        migrations.CreateModel(
            name='ProfileCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('on', models.DateField(db_column='check_date', verbose_name='date')),
                ('outcome', models.CharField(choices=[('confirmed', 'confirmed'), ('corrected', 'corrected')], max_length=10, verbose_name='outcome')),
                ('recorded_at', models.DateTimeField(auto_now_add=True, verbose_name='recorded at')),
                ('clerk', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='portfolios.clerk', verbose_name='clerk')),
                ('member', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='profile_checks', to='portfolios.member', verbose_name='member')),
                ('recorded_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='recorded by')),
            ],
            options={
                'verbose_name': 'profile check',
                'verbose_name_plural': 'profile checks',
                'ordering': ['-on', '-id'],
                'indexes': [models.Index(fields=['on', 'clerk', 'member'], name='profile_check_by_day')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('outcome', 'confirmed')), fields=('member', 'on'), name='one_confirmation_a_day'), portfolios.database_rules.AppendOnly(allow='', mutable=(), name='profile_check_stays')],
            },
        ),
    ]
