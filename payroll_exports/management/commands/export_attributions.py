"""manage.py export_attributions 2026-10 --out FILE"""

import argparse
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from commission.attribution_export import write_attributions
from payroll_exports.exports import export_text
from portfolios.months import MonthError, get_month
from portfolios.output_files import OutputFileError


class Command(BaseCommand):
    help = "Writes a month's attributions, one row each, as CSV (UTF-8)."
    # A page names who takes the file.
    stealth_options = ("by",)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="for example 2026-10")
        parser.add_argument("--out", metavar="FILE", required=True, help="the file to write, or - for standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = get_month(options["month"])
            rows = export_text(
                f"{month}-attributions.csv",
                month,
                options["out"],
                by=options.get("by"),
                write=partial(write_attributions, month),
            )
        except (MonthError, OutputFileError) as error:
            raise CommandError(str(error)) from error
        done = _("%(month)s: %(rows)d attributions written to %(path)s.")
        self.stderr.write(done % {"month": month, "rows": rows, "path": options["out"]}, str)
        if not month.is_closed:
            self.stderr.write(_("The month is open: its attributions may still change."), str)
