"""manage.py export_roster --out DIR: the thirteen roster files, as import_roster reads them."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from payroll_exports.exports import ENCODINGS, ExportRefused
from payroll_exports.roster_export import FORMATS, export_roster
from portfolios.output_files import OutputFileError


class Command(BaseCommand):
    help = "Writes the roster's files into a directory, whole, as import_roster reads them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="made where it is not there")
        parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
        parser.add_argument(
            "--encoding", choices=ENCODINGS, default=ENCODINGS[0], help="of CSV: UTF-8 for Excel, or GB18030"
        )

    def handle(self, *args: Any, out: Path, format: str, encoding: str, **options: Any) -> None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            for export in export_roster(out, format=format, encoding=encoding):
                self.stdout.write(f"{export.name:<24}{export.rows:>10,}")
        except (ExportRefused, OutputFileError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                _("%(path)s is no directory that can be written to: %(why)s. Name another one.")
                % {"path": out, "why": error.strerror or error}
            ) from error
        self.stderr.write(
            _(
                "With members' phone numbers and clerks' identity numbers: keep the files where only those see them "
                "who may."
            )
        )
