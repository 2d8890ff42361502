"""manage.py verify_payslip FILE..."""

import argparse
import re
from pathlib import Path
from typing import Any

import pypdfium2
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from payroll_exports.verification import kept_file, with_code

_CODE = re.compile(r"\b(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}\b")


class Command(BaseCommand):
    help = "Says of each PDF whether it is, byte by byte, one that is kept here, or only has the code of one."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("files", metavar="FILE", nargs="+", help="a payslip or a pay report as PDF")

    def handle(self, *args: Any, files: list[str], **options: Any) -> None:
        doubtful = sum(not self._is_genuine(name) for name in files)
        if doubtful:
            message = ngettext("%(count)d file is not genuine.", "%(count)d files are not genuine.", doubtful)
            raise CommandError(message % {"count": doubtful})

    def _is_genuine(self, name: str) -> bool:
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise CommandError(
                _("%(path)s cannot be read: %(why)s.") % {"path": name, "why": error.strerror}
            ) from error
        if kept := kept_file(content):
            self.stdout.write(_("%(path)s: genuine, %(what)s.") % {"path": name, "what": kept})
            return True
        found = with_code(set(_CODE.findall(_text(content))))
        if found:
            message = _("%(path)s: not the file that is kept, but with the code of %(what)s. Compare what it says.")
            self.stdout.write(message % {"path": name, "what": found})
        else:
            self.stdout.write(_("%(path)s: not ours.") % {"path": name})
        return False


def _text(content: bytes) -> str:
    """The text of a PDF's pages; none where it is no PDF, or locked."""
    try:
        with pypdfium2.PdfDocument(content) as pdf:
            return "\n".join(page.get_textpage().get_text_range() for page in pdf)
    except pypdfium2.PdfiumError:
        return ""
