"""manage.py refresh_members: the members table's figures, what talks were followed by, the measures; each night."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from kpis.contact_results import refresh_contact_results
from kpis.measures import refresh_measures
from kpis.member_figures import refresh_member_figures
from portfolios.roster_files import calendar_date


class Command(BaseCommand):
    help = "Makes the members' figures anew: tier, spend and purchases of 12 months, last purchase, at risk from."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--on", metavar="DATE", help="purchases before this date count, YYYY-MM-DD (today)")

    def handle(self, *args: Any, **options: Any) -> None:
        on = calendar_date(options["on"]) if options["on"] else timezone.localdate()
        if on is None:
            raise CommandError(
                _("'%(text)s' is not a date: write it as YYYY-MM-DD, for example 2026-03-01.") % {"text": options["on"]}
            )
        changed = refresh_member_figures(on)
        refresh_contact_results(on)
        refresh_measures(on)
        self.stdout.write(
            _("The members' figures are as of %(day)s; those of %(count)d members have changed.")
            % {"day": on, "count": changed}
        )
