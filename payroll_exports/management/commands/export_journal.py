"""manage.py export_journal 2026-10 --out DIR"""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from payroll_exports.exports import ExportRefused
from payroll_exports.journal_files import journal_files, record
from portfolios.months import MonthError, get_month
from portfolios.output_files import OutputFileError, output_directory, output_file


class Command(BaseCommand):
    help = "Writes a closed month's accounting journal as CSV, XLSX and JSON, and its control totals."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="for example 2026-10")
        parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="made where it is not there")

    def handle(self, *args: Any, out: Path, **options: Any) -> None:
        try:
            month = get_month(options["month"])
            files = journal_files(month)
            output_directory(out)
            for file in files:
                with output_file(out / file.name) as target:
                    target.write(file.content)
            record(files, month, by=None)
        except (MonthError, ExportRefused, OutputFileError) as error:
            raise CommandError(str(error)) from error
        done = _("%(month)s: the journal with %(rows)d entries is written to %(path)s.")
        self.stderr.write(done % {"month": month, "rows": files[0].rows, "path": out}, str)
