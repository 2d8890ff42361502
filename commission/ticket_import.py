"""Tickets from a POS file, or from an API request: staged and checked as a whole, then stored and attributed at once.

A file counts whole or not at all. A ticket that is there already with the same content is a repeat and changes
nothing; with other content it is a conflict and refuses the file. Rows go through temporary tables and set-based
statements (ticket_staging.py, ticket_booking.py), so that memory does not grow with the file and a shuffled file gives
the same database.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from commission.attribution import attribute, lock_ledger
from commission.models import Attribution, Booking, Sale, SaleLine, SalePart
from commission.plan_book import Named, PlanBook
from commission.ticket_booking import match_returns, newest, return_parts, store
from commission.ticket_lines import COLUMNS
from commission.ticket_staging import (
    KNOWN,
    Progress,
    check,
    conflicts,
    drop_temporary,
    execute,
    refresh_statistics,
    stage,
)
from portfolios.import_problems import ImportProblems
from portfolios.input_files import read_rows
from portfolios.models import Month, User


@dataclass
class TicketReport:
    """What the import of a file, or of a request, did."""

    file: str
    # The tickets that are new.
    sales: QuerySet[Sale] = field(default_factory=Sale.objects.none)
    rows: int = 0
    tickets: int = 0
    repeated: int = 0
    lines: int = 0
    net_amount: int = 0
    attributions: int = 0
    waiting: int = 0
    late: int = 0
    months: list[str] = field(default_factory=list)
    seconds: float = 0.0


def import_tickets(
    path: Path,
    *,
    recorded_by: User | None = None,
    dry_run: bool = False,
    errors_path: Path | None = None,
    progress: Progress = lambda what, done: None,
) -> TicketReport:
    """Imports one file of ticket lines and attributes what is new; with `dry_run` it checks, counts and leaves all.

    `progress` is told what is being done and how many rows are. Raises ImportRefused with every problem found.
    """
    with ImportProblems(errors_path) as problems:
        return import_rows(
            read_rows(path, COLUMNS, problems),
            name=path.name,
            source=f"import_tickets {path.name}",
            problems=problems,
            recorded_by=recorded_by,
            dry_run=dry_run,
            progress=progress,
        )


def import_rows(
    rows: Iterable[tuple[int, list[str]]],
    *,
    name: str,
    source: str,
    problems: ImportProblems,
    named: Named | None = None,
    recorded_by: User | None = None,
    dry_run: bool = False,
    progress: Progress = lambda what, done: None,
) -> TicketReport:
    """Imports ticket lines: their numbers and the cells of COLUMNS.

    `name` is what problems are told of, `source` what the booking is recorded with. Where the lines are few, `named`
    is what they name. Raises ImportRefused.
    """
    started = time.monotonic()
    report = TicketReport(name)
    try:
        if connection.vendor == "postgresql":
            # For this import's sorts and joins, which would go by way of the disk; its statements are done before
            # it pays to compile them; and what it looks up it has just written, so that it is in memory.
            execute("SET work_mem = '256MB'; SET jit = off; SET random_page_cost = 1.1")
        # Staged outside the transaction that books: reading a long file must not keep other writers waiting.
        plans, report.rows = stage(rows, name=name, named=named, problems=problems, progress=progress)
        if not report.rows and not problems.count:
            problems.add(name, 0, "", "", _("The file has a header and no rows."), _("Export the tickets again."))
        progress(_("checking"), report.rows)
        check(name, problems)
        with transaction.atomic():
            _hold_and_compare(name, problems, report, plans, named)
            problems.refuse_if_any()
            if execute("SELECT 1 FROM staged_run LIMIT 1"):
                booking = Booking.objects.create(source=source[:200], recorded_by=recorded_by)
                _book(booking, problems, report, progress)
            if dry_run:
                transaction.set_rollback(True)
    finally:
        drop_temporary()
        if connection.vendor == "postgresql":
            execute("RESET work_mem; RESET jit; RESET random_page_cost")
    report.seconds = time.monotonic() - started
    return report


def _hold_and_compare(
    name: str, problems: ImportProblems, report: TicketReport, plans: PlanBook, named: Named | None
) -> None:
    """Takes the ledger, and sets aside what is stored already."""
    months = execute("SELECT MIN(month_number), MAX(month_number) FROM staged_run")[0]
    if months[0] is not None and not problems.count:
        # From here on nobody else books, and no month closes, until this transaction ends.
        lock_ledger(opening=months)
        if not plans.same_as(PlanBook(named)):
            problems.add(
                name,
                0,
                "",
                "",
                _("The plans were changed while the file was read."),
                _("Import it again: it is then paid by the plans as they are now."),
            )
    if execute(f"SELECT 1 FROM {KNOWN} LIMIT 1"):
        conflicts(name, problems)
        report.repeated = execute(f"SELECT COUNT(*) FROM (SELECT DISTINCT t.id FROM {KNOWN}) AS known")[0][0]
        execute(f"DELETE FROM staged_run WHERE first_row IN (SELECT r.first_row FROM {KNOWN})")


def _book(booking: Booking, problems: ImportProblems, report: TicketReport, progress: Progress) -> None:
    """Stores what is staged, finds the originals of returns, attributes all that is new, and counts it."""
    progress(_("storing"), report.rows)
    newest_sale, newest_part, newest_line, newest_attribution = newest(Sale, SalePart, SaleLine, Attribution)
    store(booking, newest_sale, newest_part, report.rows)
    if match_returns(report.file, booking, problems):
        return_parts()
    problems.refuse_if_any()
    refresh_statistics("commission_salepart", report.rows)
    progress(_("attributing"), report.rows)
    report.attributions = attribute(booking=booking, after=newest_part)
    # By their numbers: no index finds the tickets of a booking.
    report.sales = Sale.objects.filter(pk__gt=newest_sale, booking=booking)
    report.tickets = report.sales.count()
    totals = SaleLine.objects.filter(pk__gt=newest_line).aggregate(
        lines=Count("pk"), net=Sum("net_amount"), waiting=Count("pk", filter=Q(part=None))
    )
    report.lines, report.net_amount, report.waiting = totals["lines"], int(totals["net"]), totals["waiting"]
    posted = Attribution.objects.filter(pk__gt=newest_attribution).values_list("month", "reason").annotate(Count("pk"))
    report.late = sum(count for _month, reason, count in posted if reason == Attribution.Reason.LATE)
    report.months = [month.name for month in Month.objects.filter(pk__in={month for month, _reason, _count in posted})]
