"""Proves closed months: nothing of them was changed, and the rules still give what they paid."""

import argparse
import sys
from typing import Any

from django.core.management import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from payroll_exports.proof import verify
from portfolios.models import Month
from portfolios.months import MonthError, get_month


class Command(BaseCommand):
    help = "Proves that closed months are as they were closed, and works their money out again from the tickets."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", metavar="MONTH", nargs="?", help="for example 2026-10; all closed months without")

    def handle(self, *args: Any, month: str | None, **options: Any) -> None:
        months = self._months(month)
        tell = self._tell if sys.stderr.isatty() else None
        findings = 0
        for finding in verify(months, progress=tell):
            findings += 1
            self.stdout.write(f"{finding.month}: {finding.where}: {finding.what}")
            self.stdout.write("  " + _("expected: %(expected)s") % {"expected": finding.expected})
            self.stdout.write("  " + _("found: %(found)s") % {"found": finding.found})
            self.stdout.write("  " + finding.remedy)
        if findings:
            message = ngettext("%(count)d difference.", "%(count)d differences.", findings)
            raise CommandError(message % {"count": findings})
        for proved in months:
            self.stdout.write(_("%(month)s is proved. Digest: %(digest)s") % {"month": proved, "digest": proved.digest})

    def _months(self, name: str | None) -> list[Month]:
        if name is None:
            return list(Month.objects.filter(closed_at__isnull=False).order_by("pk"))
        try:
            month = get_month(name)
        except MonthError as error:
            raise CommandError(str(error)) from error
        if not month.is_closed:
            raise CommandError(
                _("Month %(month)s is open and may still change: close it first, or verify a closed one.")
                % {"month": month}
            )
        return [month]

    def _tell(self, step: str) -> None:
        self.stderr.write(f"{step} …", str)
