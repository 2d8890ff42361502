"""manage.py run_export_profile NAME 2026-10 --out DIR"""

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from payroll_exports.exports import ExportRefused
from payroll_exports.models import ExportProfile
from payroll_exports.profile_files import TOTALS_NAME, record, run_profile
from portfolios.months import MonthError, get_month
from portfolios.output_files import OutputFileError, output_directory, output_file


class Command(BaseCommand):
    help = "Writes a closed month's files by one of HR's export profiles, and their control totals."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="of the profile, as HR has named it")
        parser.add_argument("month", metavar="MONTH", help="for example 2026-10")
        parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="made where it is not there")

    def handle(self, *args: Any, name: str, out: Path, **options: Any) -> None:
        profile = ExportProfile.objects.filter(name=name).first()
        if profile is None:
            names = ", ".join(ExportProfile.objects.values_list("name", flat=True)) or _("none")
            raise CommandError(
                _("There is no export profile %(name)s. The profiles are: %(names)s.") % {"name": name, "names": names}
            )
        try:
            run = run_profile(profile, get_month(options["month"]))
            totals = json.dumps(run.control_totals(), ensure_ascii=False, indent=1) + "\n"
            output_directory(out)
            contents = {file.name: file.content for file in run.files} | {TOTALS_NAME: totals.encode()}
            for file_name, content in contents.items():
                with output_file(out / file_name) as target:
                    target.write(content)
            record(run, by=None)
        except (MonthError, ExportRefused, OutputFileError) as error:
            raise CommandError(str(error)) from error
        done = _("%(month)s by %(name)s: files %(files)d, rows %(rows)d, written to %(path)s.")
        rows = sum(len(file.table.rows) for file in run.files)
        figures = {"month": run.month, "name": name, "files": len(run.files), "rows": rows, "path": out}
        self.stderr.write(done % figures, str)
