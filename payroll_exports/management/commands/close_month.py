"""manage.py close_month 2026-10"""

import argparse
import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.money import format_amount
from payroll_exports.close_checklist import CloseCheck, CloseRefused, close_checklist
from payroll_exports.pay_run import close_month
from payroll_exports.tie_out import TieOut, tie_out
from portfolios.models import Month
from portfolios.months import MonthError, get_month


class Command(BaseCommand):
    help = "Closes a month for good: payslips, portfolios and the tie-out, in one transaction."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="for example 2026-10")
        parser.add_argument("--check", action="store_true", help="only show what stands in the way")
        parser.add_argument("--dry-run", action="store_true", help="do everything and take it back")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = get_month(options["month"])
            if options["check"]:
                self._check(month)
            else:
                self._close(month, dry_run=options["dry_run"])
        except (MonthError, CloseRefused) as error:
            raise CommandError(str(error)) from error

    def _check(self, month: Month) -> None:
        if month.is_closed:
            self.stdout.write(_closed_before(month))
            return
        checks = close_checklist(month)
        for check in checks:
            self._show(check)
        self._table(tie_out(month))
        if any(check.blocks for check in checks):
            raise CommandError(_("Month %(month)s cannot be closed yet.") % {"month": month})
        self.stdout.write(_("Nothing stands in the way of closing %(month)s.") % {"month": month})

    def _close(self, month: Month, *, dry_run: bool) -> None:
        # A close from the command line is the operator's own approval.
        operator = _("%(operator)s, on the command line") % {"operator": getpass.getuser()}
        tell = self._tell if sys.stderr.isatty() else None
        report = close_month(month, approved_by=operator, dry_run=dry_run, progress=tell)
        if report.tie_out is None:
            self.stdout.write(_closed_before(report.month))
            return
        for check in report.warnings:
            self._show(check)
        self._table(report.tie_out)
        done = (
            _("Dry run, nothing changed: %(month)s would close, %(count)d payslips, %(paid)s to be paid (%(s).1f s).")
            if dry_run
            else _("%(month)s is closed: %(count)d payslips, %(paid)s to be paid (%(s).1f s).")
        )
        paid = format_amount(report.paid_amount)
        self.stdout.write(done % {"month": report.month, "count": report.payslips, "paid": paid, "s": report.seconds})

    def _tell(self, step: str) -> None:
        self.stderr.write(f"{step} …", str)

    def _show(self, check: CloseCheck) -> None:
        mark = _("in the way") if check.blocks else _("to know")
        self.stdout.write(f"{mark}: {check.message} ({check.count})")
        for example in check.examples:
            self.stdout.write(f"  {example}")

    def _table(self, figures: TieOut) -> None:
        rows = [
            (_("net of all ticket lines"), figures.pos_amount),
            (_("credits of owners and servers"), figures.credits_amount),
            (_("+ house"), figures.house_credit_amount),
            (_("+ excluded"), figures.excluded_amount),
            (_("= attributed"), figures.attributed_amount),
            (_("commission in the ledger"), figures.commission_amount),
            (_("commission on the payslips"), figures.payslip_amount),
            (_("commission of the house, apart"), figures.house_commission_amount),
        ]
        for name, amount in rows:
            self.stdout.write(f"{format_amount(amount):>18}  {name}")


def _closed_before(month: Month) -> str:
    message = _("%(month)s is closed already, since %(at)s by %(who)s; nothing was changed.")
    closed_at = timezone.localtime(month.closed_at)
    return message % {"month": month, "at": f"{closed_at:%Y-%m-%d %H:%M}", "who": month.closed_by}
