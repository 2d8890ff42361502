"""manage.py payslips 2026-10 --out DIR (or --zip FILE)"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from tqdm import tqdm

from payroll_exports.exports import record_export
from payroll_exports.models import Payslip
from payroll_exports.payslip_files import Progress, make_payslip_files, manifest_text, write_payslips
from payroll_exports.payslip_zip import write_zip
from portfolios.months import MonthError, get_month
from portfolios.output_files import OutputFileError, output_file


class Command(BaseCommand):
    help = "Writes the PDF of every payslip of a closed month, and a manifest of their sizes and SHA-256 sums."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="for example 2026-10")
        to = parser.add_mutually_exclusive_group(required=True)
        to.add_argument("--out", metavar="DIR", help="the directory to write to")
        to.add_argument("--zip", metavar="FILE", help="one ZIP with all of them; - is standard output")
        parser.add_argument(
            "--processes", type=_processes, default=0, metavar="N", help="how many to use; one per core by default"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            month = get_month(options["month"])
            if not month.is_closed:
                raise CommandError(
                    _("Month %(month)s is open: it has payslips once it is closed (manage.py close_month %(month)s).")
                    % {"month": month}
                )
            with tqdm(desc=_("making payslips"), disable=None, file=sys.stderr) as bar:
                made = make_payslip_files(month, processes=options["processes"], progress=_shown_on(bar))
            with tqdm(desc=_("writing payslips"), disable=None, file=sys.stderr) as bar:
                if options["zip"]:
                    with output_file(options["zip"]) as file:
                        written = write_zip(month, file, language=get_language() or settings.LANGUAGE_CODE)
                else:
                    written = write_payslips(month, Path(options["out"]), progress=_shown_on(bar))
        except (MonthError, OutputFileError) as error:
            raise CommandError(str(error)) from error
        # The digest of their manifest stands for all of them.
        digest = hashlib.sha256(manifest_text(written).encode()).hexdigest()
        record_export(f"{month}-payslips", month, rows=len(written), sha256=digest, by=None)
        done = _("%(month)s: %(files)d payslips (%(made)d of them made now), %(size).1f MB, written to %(path)s.")
        size = sum(file.size for file in written) / 1e6
        figures = {
            "month": month,
            # A ZIP has the summaries and the register besides.
            "files": Payslip.objects.filter(month=month).count(),
            "made": made,
            "size": size,
            "path": options["zip"] or options["out"],
        }
        self.stderr.write(done % figures, str)


def _processes(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("a number from 1 to 64")
    return int(text)


def _shown_on(bar: Any) -> Progress:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show
