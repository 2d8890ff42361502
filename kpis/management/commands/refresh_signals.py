"""manage.py refresh_signals: the signals of open months and of the last closed one, made anew each night."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from kpis.gaming_signals import refresh_signals
from portfolios.models import Month
from portfolios.months import MonthError, get_month
from portfolios.roster_files import calendar_date


class Command(BaseCommand):
    help = "Makes the signals of the open months, and of the last closed one, anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--month", metavar="YYYY-MM", help="this month only")
        parser.add_argument("--on", metavar="DATE", help="what is known before this date counts, YYYY-MM-DD (today)")

    def handle(self, *args: Any, **options: Any) -> None:
        on = calendar_date(options["on"]) if options["on"] else timezone.localdate()
        if on is None:
            raise CommandError(
                _("'%(text)s' is not a date: write it as YYYY-MM-DD, for example 2026-03-01.") % {"text": options["on"]}
            )
        try:
            months = [get_month(options["month"])] if options["month"] else self._months()
        except MonthError as error:
            raise CommandError(str(error)) from error
        for month in months:
            if month.starts_on < on:
                self.stdout.write(
                    _("%(month)s: %(count)d signals.") % {"month": month, "count": refresh_signals(month, as_of=on)}
                )

    @staticmethod
    def _months() -> list[Month]:
        closed = Month.objects.filter(closed_at__isnull=False).order_by("pk").last()
        return [*([closed] if closed else []), *Month.objects.filter(closed_at__isnull=True).order_by("pk")]
