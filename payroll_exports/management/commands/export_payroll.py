"""manage.py export_payroll 2026-10 --format csv --out FILE"""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from commission.money import format_amount
from payroll_exports.exports import ENCODINGS, FORMATS, ExportRefused, export_payroll
from portfolios.months import MonthError, get_month
from portfolios.output_files import OutputFileError


class Command(BaseCommand):
    help = "Writes a closed month's earning lines for HR's payroll, one row per clerk and line."
    # A page names who takes the file.
    stealth_options = ("by",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="for example 2026-10")
        parser.add_argument("--format", choices=FORMATS, required=True)
        parser.add_argument("--out", metavar="FILE", required=True, help="the file to write, or - for standard output")
        parser.add_argument(
            "--encoding", choices=ENCODINGS, default=ENCODINGS[0], help="of CSV: UTF-8 for Excel, or GB18030"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = get_month(options["month"])
            totals = export_payroll(
                month,
                format=options["format"],
                path=options["out"],
                encoding=options["encoding"],
                by=options.get("by"),
            )
        except (MonthError, ExportRefused, OutputFileError) as error:
            raise CommandError(str(error)) from error
        done = _("%(month)s is written to %(path)s: lines %(rows)d, clerks %(clerks)d, sum %(amount)s.")
        figures = {"month": month, "rows": totals.rows, "clerks": totals.clerks, "path": options["out"]}
        self.stderr.write(done % (figures | {"amount": format_amount(totals.amount)}), str)
