"""manage.py import_roster DIR: stores, clerks, members, bindings, plans and the rest from CSV files."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from tqdm import tqdm

from payroll_exports.roster import RosterError, RosterReport, import_roster
from portfolios.import_problems import ImportRefused


class Command(BaseCommand):
    help = "Imports the roster's CSV files of a directory: all of them, or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR", help="where stores.csv, clerks.csv ... are")
        parser.add_argument("--dry-run", action="store_true", help="check and count, but change nothing")
        parser.add_argument("--errors", type=Path, metavar="FILE", help="where to list the errors (CSV)")

    def handle(self, *args: Any, directory: Path, dry_run: bool, errors: Path | None, **options: Any) -> None:
        try:
            with tqdm(unit=" rows", disable=not sys.stderr.isatty(), leave=False) as bar:

                def progress(file: str, done: int, total: int) -> None:
                    if done < bar.n or bar.total != total:
                        bar.reset(total=total)
                    bar.set_description(file, refresh=False)
                    bar.update(done - bar.n)

                report = import_roster(
                    directory,
                    dry_run=dry_run,
                    errors_path=errors,
                    progress=None if bar.disable else progress,
                )
        except RosterError as error:
            raise CommandError(str(error)) from error
        except ImportRefused as error:
            for problem in error.problems.shown:
                self.stderr.write(str(problem))
            if (more := error.problems.count - len(error.problems.shown)) > 0:
                self.stderr.write(_("... and %(count)d more.") % {"count": more})
            raise CommandError(str(error)) from error
        self._tell(report, dry_run)

    def _tell(self, report: RosterReport, dry_run: bool) -> None:
        line = "{:<24}{:>10}{:>10}{:>12}".format
        self.stdout.write(line(_("file"), _("new"), _("changed"), _("unchanged")))
        for file in report.files:
            self.stdout.write(line(file.file, f"{file.new:,}", f"{file.changed:,}", f"{file.unchanged:,}"))
        self.stdout.write(_("Members bound to the clerk who enrolled them: %(count)d") % {"count": report.bound})
        self.stdout.write(_("Parts of tickets corrected: %(count)d") % {"count": report.corrections})
        for notice in report.notices:
            self.stdout.write(self.style.WARNING(_("Note: %(notice)s") % {"notice": notice}))
        if dry_run:
            self.stdout.write(_("A dry run: nothing was changed."))
