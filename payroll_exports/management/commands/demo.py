"""Runs the main job on demo data and says what came out: `bin/demo` calls it."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from tqdm import tqdm

from commission.money import format_amount
from payroll_exports.demo import DemoError, DemoSummary, run_demo, run_journey


class Command(BaseCommand):
    help = "Runs the main job on generated data, or on The Complete Journey: a year of tickets becomes payslips."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--real", action="store_true", help="a year of a retailer's receipts, from PyPI")
        parser.add_argument("--out", type=Path, metavar="DIR", help="where files, payslips and exports go")

    def handle(self, *args: Any, real: bool, out: Path | None, **options: Any) -> None:
        directory = out or settings.VAR_DIR / ("real" if real else "demo")
        bar: tqdm | None = None

        def show(what: str, done: int, of: int) -> None:
            nonlocal bar
            if bar is None or bar.total != of or done < bar.n:
                if bar:
                    bar.close()
                # Nothing but a terminal can redraw a bar: elsewhere the summary says it all.
                bar = tqdm(total=of, disable=None if options["verbosity"] else True, file=sys.stderr, mininterval=0)
            bar.set_description(what, refresh=False)
            bar.update(done - bar.n)

        try:
            summary = (run_journey if real else run_demo)(directory, progress=show)
        except (DemoError, ModuleNotFoundError) as error:
            raise CommandError(str(error)) from error
        finally:
            if bar:
                bar.close()
        self._report(summary, directory, real)

    def _report(self, summary: DemoSummary, directory: Path, real: bool) -> None:
        say = self.stdout.write
        say("")
        say(
            _("%(tickets)s tickets with %(lines)s lines, %(members)s members, %(clerks)s clerks, %(stores)s stores")
            % {name: f"{getattr(summary, name):,}" for name in ("tickets", "lines", "members", "clerks", "stores")}
        )
        heads = [
            _("month"), _("tickets"), _("POS total"), "", _("attributed"), _("ledger"), "", _("payslips"),
            _("to be paid"), _("state"), _("seconds"),
        ]  # fmt: skip
        rows = []
        for row in summary.months:
            figures = row.figures
            rows.append(
                [
                    row.month.name, f"{row.tickets:,}", _grouped(figures.pos_amount), "=",
                    _grouped(figures.attributed_amount), _grouped(figures.commission_amount), "=",
                    _grouped(figures.payslip_amount), _grouped(row.paid_amount) if row.payslips else "-",
                    _("closed") if row.month.is_closed else _("open"), f"{row.seconds:.1f}",
                ]
            )  # fmt: skip
        self._table(heads, rows)
        if real:
            say(self.style.SUCCESS(_("Every month agrees to the cent with totals added up from the source itself.")))
        say("")
        say(
            _("%(count)d payslips as PDF (%(size).1f MB): %(path)s")
            % {"count": summary.pdfs, "size": summary.pdf_bytes / 1e6, "path": directory / "payslips"}
        )
        say(_("Exports: %(path)s") % {"path": directory / "exports"})
        for path in summary.files:
            say(f"  {path.name}  {path.stat().st_size / 1e6:.2f} MB")
        say(_("More on command: manage.py payslips MONTH --out DIR, export_payroll, export_movement."))
        say("")
        say(
            _("%(seconds).0f seconds, at most %(mb).0f MB of memory")
            % {"seconds": summary.seconds, "mb": summary.peak_bytes / 1e6}
        )
        say("")
        say(_("Logins of this run (made up at random just now):"))
        self._table(
            [_("who"), _("for"), _("user"), _("password")],
            [list(login) for login in summary.logins],
            right=False,
        )

    def _table(self, heads: list[str], rows: list[list[str]], right: bool = True) -> None:
        widths = [max(_width(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
        for row in [heads, *rows]:
            cells = [
                " " * (width - _width(cell)) + cell if right and place else cell + " " * (width - _width(cell))
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.stdout.write("  " + "  ".join(cells).rstrip())


def _grouped(amount: int) -> str:
    whole, _dot, cents = format_amount(amount).partition(".")
    return f"{int(whole):,}.{cents}"


def _width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if "\u2e80" <= character <= "\uffef" else 1 for character in text)
