"""Imports ticket files from the POS and attributes what they hold."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils.translation import gettext as _
from tqdm import tqdm

from commission.money import format_amount
from commission.ticket_import import TicketReport, import_tickets
from portfolios.import_problems import ImportRefused
from portfolios.sentences import joined


class Command(BaseCommand):
    help = "Imports POS ticket files (CSV, one row per ticket line) and attributes them. A file counts whole or not."
    # They look at the pages and at what payslips need, which take as long to load as a file of some ten thousand rows.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="CSV files, imported in this order")
        parser.add_argument("--dry-run", action="store_true", help="check and count, and change nothing")
        parser.add_argument("--errors", type=Path, metavar="FILE", help="where to list every error (CSV)")

    def handle(self, *args: Any, files: list[Path], dry_run: bool, errors: Path | None, **options: Any) -> None:
        for place, path in enumerate(files):
            with tqdm(unit=" rows", unit_scale=True, disable=None if options["verbosity"] else True) as bar:

                def show(what: str, done: int, bar: tqdm = bar, path: Path = path) -> None:
                    bar.set_description(f"{path.name}: {what}", refresh=False)
                    bar.update(done - bar.n)

                try:
                    report = import_tickets(
                        path,
                        dry_run=dry_run,
                        errors_path=errors or settings.VAR_DIR / "errors" / f"{path.stem}-errors.csv",
                        progress=show,
                    )
                except ImportRefused as refused:
                    bar.close()
                    for problem in refused.problems.shown:
                        self.stderr.write(str(problem))
                    if (more := refused.problems.count - len(refused.problems.shown)) > 0:
                        self.stderr.write(_("... and %(count)s more.") % {"count": f"{more:,}"})
                    raise CommandError(joined(f"{path}: {refused}", _others(place, len(files)))) from None
                except (OSError, OperationalError) as error:
                    bar.close()
                    reason = str(error).strip().rstrip(".")
                    sentence = _(
                        "%(path)s: nothing was imported, the disk or the database failed: %(reason)s. Put that "
                        "right and import the file again."
                    ) % {"path": path, "reason": reason}
                    raise CommandError(joined(sentence, _others(place, len(files)))) from error
            self.stdout.write(self.style.SUCCESS(_sentence(report, dry_run)))


def _others(before: int, files: int) -> str:
    """What became of the other files when one was refused."""
    parts = []
    if before:
        parts.append(_("Files imported before it, which stay: %(count)d.") % {"count": before})
    if before + 1 < files:
        parts.append(_("Files not read: %(count)d.") % {"count": files - before - 1})
    return joined(*parts)


def _sentence(report: TicketReport, dry_run: bool) -> str:
    figures = {
        "tickets": f"{report.tickets:,}",
        "lines": f"{report.lines:,}",
        "net": format_amount(report.net_amount),
        "attributions": f"{report.attributions:,}",
    }
    parts = [
        _("new tickets: %(tickets)s, lines: %(lines)s, net: %(net)s") % figures,
        _("attributions: %(attributions)s") % figures,
    ]
    if report.months:
        parts.append(_("posted to %(months)s") % {"months": ", ".join(report.months)})
    for count, text in (
        (report.late, _("of them late: %(count)s")),
        (report.repeated, _("tickets that were there already: %(count)s")),
        (report.waiting, _("return lines that wait for their original: %(count)s")),
    ):
        if count:
            parts.append(text % {"count": f"{count:,}"})
    start = _("dry run, nothing changed: ") if dry_run else ""
    return f"{report.file}: {start}{'; '.join(parts)} ({report.seconds:.1f} s)"
