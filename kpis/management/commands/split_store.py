"""manage.py split_store STORE|--all: share what is unassigned fairly among a store's clerks."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from commission.money import format_amount
from kpis.store_split import SplitReport, StoreSplitError, split_stores
from portfolios.bindings import BindingError
from portfolios.models import Store
from portfolios.months import MonthError
from portfolios.roster_files import calendar_date
from portfolios.split import SplitError, SplitSummary


class Command(BaseCommand):
    help = "Shares a store's unassigned members (with --again: all of them) fairly among its clerks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("store", nargs="?", metavar="STORE", help="the store's number")
        which.add_argument("--all", action="store_true", help="every store")
        parser.add_argument("--on", metavar="DATE", help="from which business date, YYYY-MM-DD (the first open day)")
        parser.add_argument("--again", action="store_true", help="share all members anew, those with an owner too")
        parser.add_argument("--dry-run", action="store_true", help="show the split, but change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        on = calendar_date(options["on"]) if options["on"] else None
        if options["on"] and on is None:
            raise CommandError(
                _("'%(text)s' is not a date: write it as YYYY-MM-DD, for example 2026-03-01.") % {"text": options["on"]}
            )
        stores = list(Store.objects.all() if options["all"] else Store.objects.filter(store_no=options["store"]))
        if not stores:
            known = ", ".join(Store.objects.values_list("store_no", flat=True)[:10])
            raise CommandError(
                _("There is no store %(store)s. The first ones are: %(known)s.")
                % {"store": options["store"], "known": known}
                if known
                else _("There are no stores yet: run import_roster first.")
            )
        source = f"split_store {'--again' if options['again'] else ''}".strip()
        try:
            reports = split_stores(stores, on=on, again=options["again"], source=source, dry_run=options["dry_run"])
        except (StoreSplitError, SplitError, MonthError, BindingError) as error:
            raise CommandError(str(error)) from error
        for report in reports:
            self._tell(report)
        if options["dry_run"]:
            self.stdout.write(_("A dry run: nothing was changed."))

    def _tell(self, report: SplitReport) -> None:
        if not report.shared:
            self.stdout.write(_("%(store)s: nothing to share on %(day)s.") % {"store": report.store, "day": report.on})
        else:
            self.stdout.write(
                _("%(store)s: %(count)d members shared from %(day)s on (another date: --on).")
                % {"store": report.store, "count": report.shared, "day": report.on}
            )
            line = "  {:<12}{:>9}{:>6}{:>6}{:>16}   ->{:>9}{:>6}{:>6}{:>16}".format
            titles = (_("members"), "A", "B", _("12-month spend"))
            self.stdout.write(line(_("clerk"), *titles, *titles))
            for before, after in zip(report.before, report.after, strict=True):
                self.stdout.write(line(before.clerk_no, *_figures(before), *_figures(after)))
            self.stdout.write(
                _("  Spread of the spend per weight: %(before)s -> %(after)s")
                % {"before": f"{float(report.spread_before):.2%}", "after": f"{float(report.spread_after):.4%}"}
            )
        for notice in report.notices:
            self.stdout.write(self.style.WARNING(_("Note: %(notice)s") % {"notice": notice}))


def _figures(row: SplitSummary) -> tuple[str, ...]:
    return f"{row.members:,}", f"{row.a:,}", f"{row.b:,}", format_amount(row.spend_amount)
