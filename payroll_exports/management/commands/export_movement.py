"""The movement of each clerk's portfolio in a month, as a CSV file."""

import csv
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from kpis.movement import FIGURES, MovementError, portfolio_months
from payroll_exports.exports import export_text
from portfolios.months import MonthError, get_month
from portfolios.output_files import OutputFileError, safe_text

COLUMNS = ("month", "clerk_no", "store_no", *FIGURES)


class Command(BaseCommand):
    help = "Exports the movement of each clerk's portfolio in a month: frozen if it is closed, else as it stands now."
    # A page names who takes the file.
    stealth_options = ("by",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="the month, for example 2026-10")
        parser.add_argument("--out", metavar="FILE", required=True, help="the CSV file to write; - for standard output")

    def handle(self, *args: Any, month: str, out: str, **options: Any) -> None:
        try:
            asked = get_month(month)
            books = {row.clerk.clerk_no: row for row in portfolio_months(asked) if row.clerk}

            def write(file: TextIO) -> int:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                for clerk_no, row in sorted(books.items()):
                    store_no = row.store.store_no if row.store else ""
                    figures = (getattr(row, name) for name in FIGURES)
                    writer.writerow([asked.name, safe_text(clerk_no), safe_text(store_no), *figures])
                return len(books)

            export_text(f"{asked}-movement.csv", asked, out, by=options.get("by"), write=write)
        except (MonthError, MovementError, OutputFileError) as error:
            raise CommandError(str(error)) from error
        if asked.is_closed:
            told = _(
                "%(month)s: the movement of %(count)d clerks, as frozen when the month was closed, is in %(path)s."
            )
        else:
            told = _(
                "%(month)s: the movement of %(count)d clerks is in %(path)s. The month is open: these figures are "
                "those of this moment and may change until it is closed."
            )
        self.stderr.write(told % {"month": asked, "count": len(books), "path": out}, self.style.SUCCESS)
