"""Tickets from a POS file: staged and checked as a whole, then stored and attributed in one transaction.

A file counts whole or not at all. A ticket that is there already with the same content is a repeat and changes
nothing; with other content it is a conflict and refuses the file. Rows go through a temporary table and set-based
statements in booking order (date, time, store, ticket, line), so that memory does not grow with the file and a
shuffled file gives the same database.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from commission.attribution import attribute, lock_ledger
from commission.models import Attribution, Booking, Sale, SaleLine, SalePart
from commission.money import format_amount, round_half_away
from commission.ticket_lines import COLUMNS, LineReader, StagedLine
from portfolios.import_problems import ImportProblems
from portfolios.input_files import read_rows
from portfolios.models import Month, User

Progress = Callable[[str, int], None]

_CHUNK = 5_000

_STAGING = """
CREATE TEMPORARY TABLE staged_line (
    row_no integer NOT NULL, store_id bigint NOT NULL, business_date date NOT NULL, month_number integer NOT NULL,
    ticket_no varchar(40) NOT NULL, sold_at {timestamp} NOT NULL, server_id bigint, member_no varchar(40),
    line_no integer NOT NULL, product_no varchar(50) NOT NULL, category_id bigint NOT NULL,
    quantity_milli bigint NOT NULL, net_amount bigint NOT NULL, is_return bool NOT NULL, plan_id bigint NOT NULL,
    excluded bool, rate_bp integer, unit_amount bigint, commission_e4 bigint,
    original_store_no varchar(20), original_business_date date, original_ticket_no varchar(40),
    original_line_no integer
)
"""

# A staged line beside the stored ticket and line of the same key.
_STORED = """
FROM staged_line s
JOIN commission_sale t ON t.business_date = s.business_date AND t.store_id = s.store_id AND t.ticket_no = s.ticket_no
LEFT JOIN commission_saleline l ON l.sale_id = t.id AND l.line_no = s.line_no
"""


@dataclass
class TicketReport:
    """What one file's import did."""

    file: str
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
    started = time.monotonic()
    report = TicketReport(path.name)
    with ImportProblems(errors_path) as problems:
        try:
            if connection.vendor == "postgresql":
                # For this import's sorts and joins, which would go by way of the disk.
                _execute("SET work_mem = '128MB'")
            # Staged outside the transaction that books: reading a long file must not keep other writers waiting.
            _stage(path, problems, report, progress)
            progress(_("checking"), report.rows)
            for check in (_repeated_lines, _tickets_at_odds, _unknown_members):
                check(path.name, problems)
            with transaction.atomic():
                _book(path, recorded_by, problems, report, progress)
                if dry_run:
                    transaction.set_rollback(True)
        finally:
            _execute("DROP TABLE IF EXISTS staged_line")
            if connection.vendor == "postgresql":
                _execute("RESET work_mem")
    report.seconds = time.monotonic() - started
    return report


def _book(
    path: Path, recorded_by: User | None, problems: ImportProblems, report: TicketReport, progress: Progress
) -> None:
    months = _execute("SELECT MIN(month_number), MAX(month_number) FROM staged_line")[0]
    if months[0] is not None and not problems.count:
        # From here on nobody else books, and no month closes, until this transaction ends.
        lock_ledger(opening=months)
    if _execute("SELECT 1 " + _STORED + " LIMIT 1"):
        _conflicts(path.name, problems)
        report.repeated = _execute(
            "SELECT COUNT(*) FROM (SELECT DISTINCT s.store_id, s.business_date, s.ticket_no " + _STORED + ") AS known"
        )[0][0]
        _execute(
            "DELETE FROM staged_line WHERE EXISTS (SELECT 1 FROM commission_sale t "
            "WHERE t.store_id = staged_line.store_id AND t.business_date = staged_line.business_date "
            "AND t.ticket_no = staged_line.ticket_no)"
        )
    problems.refuse_if_any()
    if not _execute("SELECT 1 FROM staged_line LIMIT 1"):
        return
    booking = Booking.objects.create(source=f"import_tickets {path.name}"[:200], recorded_by=recorded_by)
    progress(_("storing"), report.rows)
    newest_part = SalePart.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    _store(booking)
    _refresh_statistics()
    _match_returns(path.name, booking, problems)
    problems.refuse_if_any()
    _return_parts(newest_part)
    progress(_("attributing"), report.rows)
    report.attributions = attribute(booking=booking, parts=SalePart.objects.filter(pk__gt=newest_part))
    sales = Sale.objects.filter(booking=booking)
    lines = SaleLine.objects.filter(sale__booking=booking)
    report.tickets = sales.count()
    totals = lines.aggregate(lines=Count("pk"), net=Sum("net_amount"), waiting=Count("pk", filter=Q(part=None)))
    report.lines, report.net_amount, report.waiting = totals["lines"], int(totals["net"]), totals["waiting"]
    report.late = Attribution.objects.filter(booking=booking, reason=Attribution.Reason.LATE).count()
    posted = Attribution.objects.filter(booking=booking).values_list("month", flat=True).distinct()
    report.months = [month.name for month in Month.objects.filter(pk__in=list(posted))]


def _read(
    path: Path, reader: LineReader, problems: ImportProblems, report: TicketReport, progress: Progress
) -> Iterator[StagedLine]:
    for row, cells in read_rows(path, COLUMNS, problems):
        line = reader.read(row, cells)
        report.rows += 1
        if report.rows % _CHUNK == 0:
            progress(_("reading"), report.rows)
        if line is not None:
            yield line


def _stage(path: Path, problems: ImportProblems, report: TicketReport, progress: Progress) -> None:
    """Reads the file into the temporary table, a chunk at a time."""
    postgresql = connection.vendor == "postgresql"
    _execute("DROP TABLE IF EXISTS staged_line")
    _execute(_STAGING.format(timestamp="timestamptz" if postgresql else "datetime"))

    def add(row: int, column: str, value: str, reason: str, remedy: str) -> None:
        problems.add(path.name, row, column, value, reason, remedy)

    # The reader asks the database for its numbers now: nothing else can be asked of it while COPY runs.
    lines = _read(path, LineReader(add), problems, report, progress)
    columns = ", ".join(StagedLine._fields)
    with connection.cursor() as cursor:
        if postgresql:
            with cursor.copy(f"COPY staged_line ({columns}) FROM STDIN (NULL '')") as copy:
                while chunk := list(islice(lines, _CHUNK)):
                    copy.write(_copy_text(chunk))
            cursor.execute("ANALYZE staged_line")
        else:
            sold_at = StagedLine._fields.index("sold_at")
            places = ", ".join(["%s"] * len(StagedLine._fields))
            while chunk := list(islice(lines, _CHUNK)):
                rows = [
                    (*line[:sold_at], connection.ops.adapt_datetimefield_value(line.sold_at), *line[sold_at + 1 :])
                    for line in chunk
                ]
                cursor.executemany(f"INSERT INTO staged_line ({columns}) VALUES ({places})", rows)
    if not report.rows and not problems.count:
        problems.add(path.name, 0, "", "", _("The file has a header and no rows."), _("Export the tickets again."))


def _copy_text(chunk: list[StagedLine]) -> str:
    # Control characters were refused, so that of what COPY reads as its own only the backslash can occur; and a text
    # that may be absent is never empty.
    rows = ("\t".join(["" if cell is None else str(cell) for cell in line]) + "\n" for line in chunk)
    return "".join(rows).replace("\\", "\\\\")


def _refresh_statistics() -> None:
    """Tells PostgreSQL's planner of what this transaction has stored: it would take it for a handful of rows."""
    if connection.vendor == "postgresql":
        _execute("ANALYZE commission_sale, commission_salepart, commission_saleline")


def _execute(sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def _each(sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a chunk at a time: there may be as many errors as rows in the file."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql)
        while rows := cursor.fetchmany(_CHUNK):
            yield from rows


# --- Checks over the whole file ---------------------------------------------------------------------------------

_SAME_CELLS = [
    "server_id", "product_no", "category_id", "quantity_milli", "net_amount", "original_store_no",
    "original_business_date", "original_ticket_no", "original_line_no",
]  # fmt: skip


def _differs(a: str, b: str, columns: list[str]) -> str:
    return " OR ".join(f"{a}.{column} IS DISTINCT FROM {b}.{column}" for column in columns)


def _repeated_lines(file: str, problems: ImportProblems) -> None:
    """The same line twice in the file: passed over if it is the same in every cell, else an error."""
    key = "store_id, business_date, ticket_no, line_no"
    same = " AND ".join(f"a.{column} = b.{column}" for column in key.split(", "))
    twice = f"SELECT MIN(row_no) AS row_no FROM staged_line GROUP BY {key} HAVING COUNT(*) > 1"
    repeats = f"FROM ({twice}) f JOIN staged_line a ON a.row_no = f.row_no JOIN staged_line b ON {same}"
    if not _execute(f"SELECT 1 FROM ({twice}) f LIMIT 1"):
        return
    for row, first, ticket_no, line_no in _each(
        f"SELECT b.row_no, a.row_no, b.ticket_no, b.line_no {repeats} "
        f"WHERE {_differs('a', 'b', [*_SAME_CELLS, 'sold_at', 'member_no'])} ORDER BY b.row_no"
    ):
        problems.add(
            file, row, "line_no", f"{ticket_no} / {line_no}",
            _("Row %(row)d has the same line of this ticket with other content.") % {"row": first},
            _("Give each line of a ticket its own number."),
        )  # fmt: skip
    _execute(f"DELETE FROM staged_line WHERE row_no IN (SELECT b.row_no {repeats} WHERE b.row_no <> a.row_no)")


def _tickets_at_odds(file: str, problems: ImportProblems) -> None:
    # Smallest against largest: counting distinct members would sort the whole file.
    times_differ = "MIN(sold_at) <> MAX(sold_at)"
    members_differ = "(MIN(member_no) <> MAX(member_no) OR COUNT(member_no) NOT IN (0, COUNT(*)))"
    rows = _each(
        f"SELECT ticket_no, MIN(row_no), {times_differ}, {members_differ} FROM staged_line "
        f"GROUP BY store_id, business_date, ticket_no HAVING {times_differ} OR {members_differ} ORDER BY 2"
    )
    for ticket_no, row, times, members in rows:
        for column, wrong in (("sold_at", times), ("member_no", members)):
            if wrong:
                problems.add(
                    file,
                    row,
                    column,
                    ticket_no,
                    _("The lines of this ticket do not agree."),
                    _("All lines of a ticket have the same time and the same member."),
                )


def _unknown_members(file: str, problems: ImportProblems) -> None:
    rows = _each(
        "SELECT row_no, member_no FROM staged_line s WHERE member_no IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM portfolios_member m WHERE m.member_no = s.member_no) ORDER BY row_no"
    )
    for row, member_no in rows:
        problems.add(
            file,
            row,
            "member_no",
            member_no,
            _("There is no member with this card number."),
            _("Import members.csv first; check that no leading zeros were lost."),
        )


def _conflicts(file: str, problems: ImportProblems) -> None:
    """Tickets whose key is stored with other content; both are shown."""
    remedy = _("A stored ticket never changes: send the return or the correction as a ticket of its own.")
    other_member = "m.member_no IS DISTINCT FROM s.member_no"
    for row, ticket_no, line_no, ours, theirs, other_time, other in _each(
        f"SELECT s.row_no, s.ticket_no, s.line_no, s.net_amount, l.net_amount, t.sold_at <> s.sold_at, {other_member} "
        f"{_STORED} LEFT JOIN portfolios_member m ON m.id = t.member_id WHERE l.id IS NULL "
        f"OR t.sold_at <> s.sold_at OR {other_member} OR {_differs('l', 's', _SAME_CELLS)} ORDER BY s.row_no"
    ):
        if theirs is None:
            stored = _("it has no line %(line)d") % {"line": line_no}
        elif ours != theirs:
            stored = _("its line %(line)d is %(amount)s") % {"line": line_no, "amount": format_amount(theirs)}
        elif other_time:
            stored = _("its time is another")
        elif other:
            stored = _("its member is another")
        else:
            stored = _("its line %(line)d differs in server, product, category, quantity or original") % {
                "line": line_no
            }
        problems.add(
            file, row, "ticket_no", f"{ticket_no} / {line_no}: {format_amount(ours)}",
            _("This ticket is stored with other content: %(stored)s.") % {"stored": stored}, remedy,
        )  # fmt: skip
    for row, ticket_no, here, stored_lines in _each(
        "SELECT known.row_no, known.ticket_no, known.here, "
        "(SELECT COUNT(*) FROM commission_saleline x WHERE x.sale_id = known.id) FROM "
        f"(SELECT t.id, t.ticket_no, MIN(s.row_no) AS row_no, COUNT(l.id) AS here {_STORED} "
        "GROUP BY t.id, t.ticket_no) AS known "
        "WHERE (SELECT COUNT(*) FROM commission_saleline x WHERE x.sale_id = known.id) > known.here ORDER BY 1"
    ):
        problems.add(
            file, row, "ticket_no", ticket_no,
            _("This ticket is stored with %(stored)d lines, of which the file has %(here)d.")
            % {"stored": stored_lines, "here": here},
            remedy,
        )  # fmt: skip


# --- Storing ----------------------------------------------------------------------------------------------------


def _store(booking: Booking) -> None:
    """Tickets, the parts of their sale lines, and the lines; ids follow the booking order."""
    _execute(
        "INSERT INTO commission_sale "
        "(store_id, business_date, month_number, ticket_no, sold_at, member_id, booking_id) "
        "SELECT s.store_id, s.business_date, s.month_number, s.ticket_no, s.sold_at, m.id, %s FROM "
        "(SELECT store_id, business_date, month_number, ticket_no, MIN(sold_at) AS sold_at, "
        " MIN(member_no) AS member_no "
        " FROM staged_line GROUP BY store_id, business_date, month_number, ticket_no) AS s "
        "JOIN portfolios_store AS store ON store.id = s.store_id "
        "LEFT JOIN portfolios_member m ON m.member_no = s.member_no "
        "ORDER BY s.business_date, s.sold_at, store.store_no, s.ticket_no",
        [booking.pk],
    )
    _refresh_statistics()
    ticket = (
        "JOIN commission_sale t ON t.booking_id = %s AND t.business_date = s.business_date "
        "AND t.store_id = s.store_id AND t.ticket_no = s.ticket_no "
    )
    _execute(
        "INSERT INTO commission_salepart (sale_id, number, store_id, business_date, month_number, member_id, "
        "server_id, plan_id, commissionable_amount, excluded_amount, commission_e4, settled) "
        "SELECT t.id, MIN(s.line_no), t.store_id, t.business_date, t.month_number, t.member_id, "
        "s.server_id, MIN(s.plan_id), "
        f"CAST(SUM(CASE WHEN s.excluded THEN 0 ELSE s.net_amount END) AS bigint), "
        f"CAST(SUM(CASE WHEN s.excluded THEN s.net_amount ELSE 0 END) AS bigint), "
        f"CAST(SUM(s.commission_e4) AS bigint), false "
        f"FROM staged_line s {ticket} WHERE NOT s.is_return "
        "GROUP BY t.id, t.store_id, t.business_date, t.month_number, t.member_id, s.server_id "
        "ORDER BY t.id, MIN(s.line_no)",
        [booking.pk],
    )
    same = [
        "line_no", "server_id", "product_no", "category_id", "quantity_milli", "net_amount", "is_return", "excluded",
        "rate_bp", "unit_amount", "commission_e4", "original_store_no", "original_business_date",
        "original_ticket_no", "original_line_no",
    ]  # fmt: skip
    _execute(
        f"INSERT INTO commission_saleline (sale_id, part_id, {', '.join(same)}) "
        f"SELECT t.id, p.id, {', '.join('s.' + column for column in same)} FROM staged_line s {ticket} "
        "LEFT JOIN commission_salepart p ON p.sale_id = t.id AND p.original_id IS NULL AND NOT s.is_return "
        "AND COALESCE(p.server_id, 0) = COALESCE(s.server_id, 0) ORDER BY t.id, s.line_no",
        [booking.pk],
    )


# --- Returns ----------------------------------------------------------------------------------------------------


def _match_returns(file: str, booking: Booking, problems: ImportProblems) -> None:
    """Finds the originals of waiting returns, of this import and of earlier ones.

    A return of this import that names a line which its original does not have, or takes back more than is left of
    it, is an error; one of an earlier import goes on waiting.
    """
    remainder = (0, 0)  # an original line, and what is left of its net amount: the rows come original by original
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            "SELECT r.id, rs.booking_id, r.net_amount, o.id, o.net_amount, o.commission_e4, o.excluded, o.rate_bp, "
            "o.unit_amount, o.is_return, rs.ticket_no, r.line_no, rs.store_id, rs.business_date, "
            "(SELECT CAST(COALESCE(SUM(b.net_amount), 0) AS bigint) FROM commission_saleline b "
            " WHERE b.original_line_id = o.id) "
            "FROM commission_saleline r JOIN commission_sale rs ON rs.id = r.sale_id "
            "JOIN portfolios_store store ON store.store_no = r.original_store_no "
            "JOIN commission_sale os ON os.store_id = store.id AND os.business_date = r.original_business_date "
            "AND os.ticket_no = r.original_ticket_no "
            "LEFT JOIN commission_saleline o ON o.sale_id = os.id AND o.line_no = r.original_line_no "
            "WHERE r.part_id IS NULL AND r.is_return ORDER BY o.id, rs.id, r.line_no"
        )
        while rows := cursor.fetchmany(_CHUNK):
            matched = []
            for (
                line_id, booking_id, net, original_id, original_net, original_e4, excluded, rate_bp, unit_amount,
                is_return, ticket_no, line_no, store_id, business_date, returned,
            ) in rows:  # fmt: skip
                if original_id is None or is_return:
                    reason = _("Its original has no such line.") if original_id is None else _("It returns a return.")
                    remedy = _("Check the four original columns.")
                else:
                    if remainder[0] != original_id:
                        remainder = (original_id, original_net + returned)
                    left = remainder[1]
                    if left + net >= 0:
                        remainder = (original_id, left + net)
                        if excluded:
                            e4 = 0
                        elif unit_amount is None:
                            e4 = net * rate_bp
                        else:
                            # An amount per unit shrinks with what has been returned: target - booked, as ever.
                            e4 = _part_left(original_e4, left + net, original_net)
                            e4 -= _part_left(original_e4, left, original_net)
                        matched.append((original_id, excluded, rate_bp, unit_amount, e4, line_id))
                        continue
                    reason = _("It returns %(net)s, and only %(left)s of its original is left.") % {
                        "net": format_amount(-net),
                        "left": format_amount(left),
                    }
                    remedy = _("Check the amount and the original: no more comes back than was paid.")
                if booking_id == booking.pk:
                    row = _execute(
                        "SELECT row_no FROM staged_line WHERE store_id = %s AND business_date = %s "
                        "AND ticket_no = %s AND line_no = %s",
                        [store_id, business_date, ticket_no, line_no],
                    )[0][0]
                    value = f"{ticket_no} / {line_no}: {format_amount(net)}"
                    problems.add(file, row, "net_amount", value, reason, remedy)
            with connection.cursor() as writer:
                writer.executemany(
                    "UPDATE commission_saleline SET original_line_id = %s, excluded = %s, rate_bp = %s, "
                    "unit_amount = %s, commission_e4 = %s WHERE id = %s",
                    matched,
                )


def _part_left(commission_e4: int, left: int, net_amount: int) -> int:
    return round_half_away(commission_e4 * left, net_amount) if net_amount else 0


def _return_parts(newest_part: int) -> None:
    """Makes the parts of returns whose originals are known now: the lines with one server and one original part."""
    _execute(
        "INSERT INTO commission_salepart (sale_id, number, store_id, business_date, month_number, member_id, "
        "server_id, original_id, plan_id, commissionable_amount, excluded_amount, commission_e4, settled) "
        "SELECT rs.id, MIN(r.line_no), rs.store_id, rs.business_date, rs.month_number, rs.member_id, r.server_id, "
        "op.id, op.plan_id, "
        "CAST(SUM(CASE WHEN r.excluded THEN 0 ELSE r.net_amount END) AS bigint), "
        "CAST(SUM(CASE WHEN r.excluded THEN r.net_amount ELSE 0 END) AS bigint), "
        "CAST(SUM(r.commission_e4) AS bigint), false "
        "FROM commission_saleline r JOIN commission_saleline o ON o.id = r.original_line_id "
        "JOIN commission_salepart op ON op.id = o.part_id JOIN commission_sale rs ON rs.id = r.sale_id "
        "WHERE r.part_id IS NULL "
        "GROUP BY rs.id, rs.store_id, rs.business_date, rs.month_number, rs.member_id, r.server_id, op.id, op.plan_id "
        "ORDER BY rs.business_date, rs.sold_at, rs.id, MIN(r.line_no)"
    )
    # There were none when it last looked: it would go through all of these parts for each of the lines.
    _refresh_statistics()
    _execute(
        "UPDATE commission_saleline SET part_id = (SELECT p.id FROM commission_salepart p "
        "JOIN commission_saleline o ON o.id = commission_saleline.original_line_id "
        "WHERE p.sale_id = commission_saleline.sale_id AND p.original_id = o.part_id AND p.id > %s "
        "AND COALESCE(p.server_id, 0) = COALESCE(commission_saleline.server_id, 0)) "
        "WHERE part_id IS NULL AND original_line_id IS NOT NULL",
        [newest_part],
    )
