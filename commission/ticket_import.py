"""Tickets from a POS file: staged and checked as a whole, then stored and attributed in one transaction.

A file counts whole or not at all. A ticket that is there already with the same content is a repeat and changes
nothing; with other content it is a conflict and refuses the file. Rows go through a temporary table and set-based
statements in booking order (date, time, store, ticket, line), so that memory does not grow with the file and a
shuffled file gives the same database.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Model, Q, Sum
from django.utils.translation import gettext as _

from commission.attribution import attribute, lock_ledger
from commission.models import Attribution, Booking, Sale, SaleLine, SalePart, TicketCorrection
from commission.money import format_amount
from commission.ticket_lines import COLUMNS, LINE_COLUMNS, STAGED_COLUMNS, LineReader, PlanBook, Rate, StagedLine
from portfolios.duplicates import credit_survivors
from portfolios.import_problems import ImportProblems
from portfolios.input_files import read_rows
from portfolios.models import Month, User

Progress = Callable[[str, int], None]

_CHUNK = 5_000

# Below so many rows the planner does well without statistics, which take longer than the import.
_FEW_ROWS = 5_000

# The lines of a file; what the lines of a run share is with the first of them alone (commission/ticket_lines.py).
_STAGED_LINES = """
CREATE TEMPORARY TABLE staged_line (
    row_no integer NOT NULL, first_row integer NOT NULL, store_id bigint, business_date date, month_number integer,
    ticket_no varchar(40), sold_at {timestamp}, server_id bigint, member_no varchar(40), plan_id bigint,
    line_no integer NOT NULL, product_no varchar(50) NOT NULL, category_id bigint NOT NULL,
    quantity_milli bigint NOT NULL, net_amount bigint NOT NULL, is_return bool NOT NULL,
    excluded bool, rate_bp integer, unit_amount bigint, commission_e4 bigint,
    original_store_no varchar(20), original_business_date date, original_ticket_no varchar(40),
    original_line_no integer
)
"""

# The runs, each with its member, the number of its ticket in booking order, and which run of it this is.
_STAGED_RUNS = """
CREATE TEMPORARY TABLE staged_run AS
SELECT s.first_row, s.store_id, s.business_date, s.month_number, s.ticket_no, s.sold_at, s.server_id, s.member_no,
    s.plan_id, m.id AS member_id,
    DENSE_RANK() OVER (ORDER BY s.business_date, s.sold_at, store.store_no {bytes}, s.ticket_no {bytes}) AS ticket,
    ROW_NUMBER() OVER (
        PARTITION BY s.business_date, s.sold_at, store.store_no {bytes}, s.ticket_no {bytes} ORDER BY s.first_row
    ) AS run
FROM staged_line s JOIN portfolios_store store ON store.id = s.store_id
LEFT JOIN portfolios_member m ON m.member_no = s.member_no
WHERE s.store_id IS NOT NULL
"""

# What a return of this import or of an earlier one takes from its original.
_MATCHED = ("line_id", "original_line_id", "excluded", "rate_bp", "unit_amount", "commission_e4")
_MATCHED_RETURNS = """
CREATE TEMPORARY TABLE matched_return (
    line_id bigint NOT NULL, original_line_id bigint NOT NULL, excluded bool NOT NULL, rate_bp integer,
    unit_amount bigint, commission_e4 bigint NOT NULL
)
"""

_TEMPORARY = ("staged_line", "staged_run", "staged_part", "matched_return", "return_part")

# A staged line with what its run shares.
_LINES = "staged_line s JOIN staged_run r ON r.first_row = s.first_row"
# A staged run beside the stored ticket of the same key.
_KNOWN = (
    "staged_run r JOIN commission_sale t ON t.business_date = r.business_date AND t.store_id = r.store_id "
    "AND t.ticket_no = r.ticket_no"
)
# The same with its lines, each beside the stored one.
_STORED = (
    f"FROM {_KNOWN} JOIN staged_line s ON s.first_row = r.first_row "
    "LEFT JOIN commission_saleline l ON l.sale_id = t.id AND l.line_no = s.line_no"
)


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
                # For this import's sorts and joins, which would go by way of the disk; its statements are done before
                # it pays to compile them; and what it looks up it has just written, so that it is in memory.
                _execute("SET work_mem = '256MB'; SET jit = off; SET random_page_cost = 1.1")
            # Staged outside the transaction that books: reading a long file must not keep other writers waiting.
            plans = _stage(path, problems, report, progress)
            progress(_("checking"), report.rows)
            for check in (_repeated_lines, _tickets_at_odds, _unknown_members):
                check(path.name, problems)
            with transaction.atomic():
                _book(path, recorded_by, problems, report, progress, plans)
                if dry_run:
                    transaction.set_rollback(True)
        finally:
            _drop_temporary()
            if connection.vendor == "postgresql":
                _execute("RESET work_mem; RESET jit; RESET random_page_cost")
    report.seconds = time.monotonic() - started
    return report


def _book(
    path: Path,
    recorded_by: User | None,
    problems: ImportProblems,
    report: TicketReport,
    progress: Progress,
    plans: PlanBook,
) -> None:
    months = _execute("SELECT MIN(month_number), MAX(month_number) FROM staged_run")[0]
    if months[0] is not None and not problems.count:
        # From here on nobody else books, and no month closes, until this transaction ends.
        lock_ledger(opening=months)
        if not plans.same_as(PlanBook()):
            problems.add(
                path.name,
                0,
                "",
                "",
                _("The plans were changed while the file was read."),
                _("Import it again: it is then paid by the plans as they are now."),
            )
    if _execute(f"SELECT 1 FROM {_KNOWN} LIMIT 1"):
        _conflicts(path.name, problems)
        report.repeated = _execute(f"SELECT COUNT(*) FROM (SELECT DISTINCT t.id FROM {_KNOWN}) AS known")[0][0]
        _execute(f"DELETE FROM staged_run WHERE first_row IN (SELECT r.first_row FROM {_KNOWN})")
    problems.refuse_if_any()
    if not _execute("SELECT 1 FROM staged_run LIMIT 1"):
        return
    booking = Booking.objects.create(source=f"import_tickets {path.name}"[:200], recorded_by=recorded_by)
    progress(_("storing"), report.rows)
    newest_part, newest_line, newest_attribution = _newest(SalePart), _newest(SaleLine), _newest(Attribution)
    _store(booking, newest_part, report.rows)
    _match_returns(path.name, booking, problems)
    problems.refuse_if_any()
    _return_parts()
    _refresh_statistics("commission_salepart", report.rows)
    progress(_("attributing"), report.rows)
    report.attributions = attribute(booking=booking, parts=SalePart.objects.filter(pk__gt=newest_part))
    report.tickets = booking.sales.count()
    totals = SaleLine.objects.filter(pk__gt=newest_line).aggregate(
        lines=Count("pk"), net=Sum("net_amount"), waiting=Count("pk", filter=Q(part=None))
    )
    report.lines, report.net_amount, report.waiting = totals["lines"], int(totals["net"]), totals["waiting"]
    posted = Attribution.objects.filter(pk__gt=newest_attribution).values_list("month", "reason").annotate(Count("pk"))
    report.late = sum(count for _month, reason, count in posted if reason == Attribution.Reason.LATE)
    report.months = [month.name for month in Month.objects.filter(pk__in={month for month, _reason, _count in posted})]


def _stage(path: Path, problems: ImportProblems, report: TicketReport, progress: Progress) -> PlanBook:
    """Reads the file into the temporary tables, a chunk at a time; returns the plans by which it was read."""
    _drop_temporary()
    _execute(_STAGED_LINES.format(timestamp="timestamptz" if connection.vendor == "postgresql" else "datetime"))

    def add(row: int, column: str, value: str, reason: str, remedy: str) -> None:
        problems.add(path.name, row, column, value, reason, remedy)

    # The reader asks the database for its numbers now: nothing else can be asked of it while COPY runs.
    reader = LineReader(add)
    rows = read_rows(path, COLUMNS, problems)
    with _writing("staged_line", STAGED_COLUMNS) as write:
        staged: list[StagedLine] = []
        for row, cells in rows:
            report.rows += 1
            if line := reader.read(row, cells):
                staged.append(line)
            if report.rows % _CHUNK == 0:
                write(staged)
                staged.clear()
                progress(_("reading"), report.rows)
        write(staged)
        progress(_("reading"), report.rows)
    if not report.rows and not problems.count:
        problems.add(path.name, 0, "", "", _("The file has a header and no rows."), _("Export the tickets again."))
    _refresh_statistics("staged_line (store_id, first_row, line_no, is_return)", report.rows)
    # By the bytes of the texts: the order of no language, so that it is the same in every database.
    collation = '"C"' if connection.vendor == "postgresql" else "BINARY"
    _execute(_STAGED_RUNS.format(bytes=f"COLLATE {collation}"))
    _refresh_statistics("staged_run", report.rows)
    return reader.plan_book


@contextmanager
def _writing(table: str, columns: Sequence[str]) -> Iterator[Callable[[list[StagedLine]], None]]:
    """Writes rows, cells between tabs, to a temporary table as fast as the database can; "" is NULL.

    On PostgreSQL nothing else can be asked of the connection meanwhile.
    """
    into = f"{table} ({', '.join(columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {into} FROM STDIN (NULL '')") as copy:
                # Of what COPY reads as its own only the backslash can occur.
                yield lambda rows: copy.write("".join([row + "\n" for row in rows]).replace("\\", "\\\\"))
        else:
            places = ", ".join(["%s"] * len(columns))
            yield lambda rows: cursor.executemany(
                f"INSERT INTO {into} VALUES ({places})", [[cell or None for cell in row.split("\t")] for row in rows]
            )


def _drop_temporary() -> None:
    # SQLite drops one at a time.
    for tables in [", ".join(_TEMPORARY)] if connection.vendor == "postgresql" else _TEMPORARY:
        _execute(f"DROP TABLE IF EXISTS {tables}")


def _newest(model: type[Model]) -> int:
    """The largest id; while the ledger is held, what is stored gets larger ones."""
    return model._default_manager.aggregate(newest=Max("pk"))["newest"] or 0


def _number_after(model: type[Model]) -> None:
    """Lets the numbers that PostgreSQL gives out go on after those that were given here."""
    if connection.vendor == "postgresql":
        table = model._meta.db_table
        _execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), MAX(id)) FROM {table}")


def _refresh_statistics(table: str, rows: int) -> None:
    """Tells PostgreSQL's planner what a table holds that this import has filled with so many rows."""
    if connection.vendor == "postgresql" and rows > _FEW_ROWS:
        _execute(f"ANALYZE {table}")


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
    "product_no", "category_id", "quantity_milli", "net_amount", "original_store_no", "original_business_date",
    "original_ticket_no", "original_line_no",
]  # fmt: skip


def _differs(a: str, b: str, columns: list[str]) -> str:
    return " OR ".join(f"{a}.{column} IS DISTINCT FROM {b}.{column}" for column in columns)


def _repeated_lines(file: str, problems: ImportProblems) -> None:
    """The same line twice in the file: passed over if it is the same in every cell, else an error."""
    # Within a run it cannot be.
    in_runs = "SELECT ticket FROM staged_run WHERE run = 2"
    if not _execute(f"{in_runs} LIMIT 1"):
        return
    shared = ["server_id", "member_no"]
    cells = ", ".join([*("s." + name for name in ["row_no", "line_no", *_SAME_CELLS]), *("r." + n for n in shared)])
    lines = f"(SELECT r.ticket, r.ticket_no, {cells} FROM {_LINES} WHERE r.ticket IN ({in_runs}))"
    twice = f"SELECT MIN(row_no) AS row_no FROM {lines} AS l GROUP BY ticket, line_no HAVING COUNT(*) > 1"
    repeats = (
        f"FROM ({twice}) f JOIN {lines} AS a ON a.row_no = f.row_no "
        f"JOIN {lines} AS b ON a.ticket = b.ticket AND a.line_no = b.line_no"
    )
    for row, first, ticket_no, line_no in _each(
        f"SELECT b.row_no, a.row_no, b.ticket_no, b.line_no {repeats} "
        f"WHERE {_differs('a', 'b', [*_SAME_CELLS, *shared])} ORDER BY b.row_no"
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
        f"SELECT ticket_no, MIN(first_row), {times_differ}, {members_differ} FROM staged_run "
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
        f"SELECT s.row_no, r.member_no FROM {_LINES} WHERE r.member_no IS NOT NULL AND r.member_id IS NULL "
        "ORDER BY s.row_no"
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
    other_time, other_member = "t.sold_at <> r.sold_at", "t.member_id IS DISTINCT FROM r.member_id"
    other_server = "l.server_id IS DISTINCT FROM r.server_id"
    for row, ticket_no, line_no, ours, theirs, at_other_time, with_other_member in _each(
        f"SELECT s.row_no, r.ticket_no, s.line_no, s.net_amount, l.net_amount, {other_time}, {other_member} {_STORED} "
        f"WHERE l.id IS NULL OR {other_time} OR {other_member} OR {other_server} "
        f"OR {_differs('l', 's', _SAME_CELLS)} ORDER BY s.row_no"
    ):
        if theirs is None:
            stored = _("it has no line %(line)d") % {"line": line_no}
        elif ours != theirs:
            stored = _("its line %(line)d is %(amount)s") % {"line": line_no, "amount": format_amount(theirs)}
        elif at_other_time:
            stored = _("its time is another")
        elif with_other_member:
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


def _totals(line: str, rate: str) -> str:
    """SQL of a part's totals over its lines and what they pay."""
    sums = {
        "commissionable_amount": f"CASE WHEN {rate}.excluded THEN 0 ELSE {line}.net_amount END",
        "excluded_amount": f"CASE WHEN {rate}.excluded THEN {line}.net_amount ELSE 0 END",
        "commission_e4": f"{rate}.commission_e4",
    }
    return ", ".join(f"CAST(SUM({amount}) AS bigint) AS {name}" for name, amount in sums.items())


def _store(booking: Booking, newest_part: int, rows: int) -> None:
    """Stores tickets, the parts of their sale lines, and the lines.

    Ids follow the booking order. Those of tickets and parts are given here, so that a line knows both and need not be
    joined to what has just been stored.
    """
    newest_sale = _newest(Sale)
    _execute(
        "INSERT INTO commission_sale "
        "(id, store_id, business_date, month_number, ticket_no, sold_at, member_id, booking_id) "
        "SELECT %s + ticket, store_id, business_date, month_number, ticket_no, sold_at, member_id, %s "
        "FROM staged_run WHERE run = 1 ORDER BY ticket",
        [newest_sale, booking.pk],
    )
    of_ticket = "r.ticket, r.store_id, r.business_date, r.month_number, r.member_id, r.plan_id"
    _execute(
        "CREATE TEMPORARY TABLE staged_part AS "
        f"SELECT %s + ROW_NUMBER() OVER (ORDER BY r.ticket, MIN(s.line_no)) AS id, {of_ticket}, r.server_id, "
        f"MIN(s.line_no) AS number, {_totals('s', 's')} FROM {_LINES} WHERE NOT s.is_return "
        f"GROUP BY {of_ticket}, r.server_id",
        [newest_part],
    )
    # A card that was merged by then is the surviving one's; the ticket keeps the card that it prints.
    credit_survivors("staged_part")
    _refresh_statistics("staged_part", rows)
    _execute(
        "INSERT INTO commission_salepart (id, sale_id, number, store_id, business_date, month_number, member_id, "
        "server_id, plan_id, commissionable_amount, excluded_amount, commission_e4, settled) "
        "SELECT id, %s + ticket, number, store_id, business_date, month_number, member_id, server_id, plan_id, "
        "commissionable_amount, excluded_amount, commission_e4, false FROM staged_part ORDER BY id",
        [newest_sale],
    )
    same = [column for column in LINE_COLUMNS if column != "line_no"]
    _execute(
        f"INSERT INTO commission_saleline (sale_id, line_no, part_id, server_id, {', '.join(same)}) "
        f"SELECT %s + r.ticket, s.line_no, p.id, r.server_id, {', '.join('s.' + column for column in same)} "
        f"FROM {_LINES} LEFT JOIN staged_part p ON NOT s.is_return AND p.ticket = r.ticket "
        "AND COALESCE(p.server_id, 0) = COALESCE(r.server_id, 0) ORDER BY r.ticket, s.line_no",
        [newest_sale],
    )
    _number_after(Sale)
    _number_after(SalePart)


# --- Returns ----------------------------------------------------------------------------------------------------


def _match_returns(file: str, booking: Booking, problems: ImportProblems) -> None:
    """Finds the originals of waiting returns, of this import and of earlier ones.

    A return of this import that names a line which its original does not have, or takes back more than is left of
    it, is an error; one of an earlier import goes on waiting.
    """
    _execute(_MATCHED_RETURNS)
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
            matched: list[StagedLine] = []
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
                        rate = Rate(excluded, rate_bp, unit_amount)
                        e4 = rate.returned_e4(net, left, original_e4, original_net)
                        matched.append(f"{line_id}\t{original_id}\t{rate.staged()}\t{e4}")
                        continue
                    reason = _("It returns %(net)s, and only %(left)s of its original is left.") % {
                        "net": format_amount(-net),
                        "left": format_amount(left),
                    }
                    remedy = _("Check the amount and the original: no more comes back than was paid.")
                if booking_id == booking.pk:
                    row = _execute(
                        f"SELECT s.row_no FROM {_LINES} WHERE r.store_id = %s AND r.business_date = %s "
                        "AND r.ticket_no = %s AND s.line_no = %s",
                        [store_id, business_date, ticket_no, line_no],
                    )[0][0]
                    value = f"{ticket_no} / {line_no}: {format_amount(net)}"
                    problems.add(file, row, "net_amount", value, reason, remedy)
            with _writing("matched_return", _MATCHED) as write:
                write(matched)


def _return_parts() -> None:
    """Makes the parts of returns whose originals are known now: the lines with one server and one original part."""
    of_part = "rs.store_id, rs.business_date, rs.month_number, rs.member_id, op.plan_id"
    _execute(
        "CREATE TEMPORARY TABLE return_part AS "
        "SELECT %s + ROW_NUMBER() OVER (ORDER BY rs.business_date, rs.sold_at, rs.id, MIN(r.line_no)) AS id, "
        f"rs.id AS sale_id, {of_part}, r.server_id, op.id AS original_id, MIN(r.line_no) AS number, "
        "CAST(NULL AS bigint) AS correction_id, "
        f"{_totals('r', 'm')} FROM matched_return m "
        "JOIN commission_saleline r ON r.id = m.line_id JOIN commission_saleline o ON o.id = m.original_line_id "
        "JOIN commission_salepart op ON op.id = o.part_id JOIN commission_sale rs ON rs.id = r.sale_id "
        f"GROUP BY rs.id, rs.sold_at, {of_part}, r.server_id, op.id",
        [_newest(SalePart)],
    )
    _correct_returns()
    credit_survivors("return_part")
    columns = (
        "id, sale_id, number, store_id, business_date, month_number, member_id, server_id, original_id, plan_id, "
        "commissionable_amount, excluded_amount, commission_e4, correction_id"
    )
    _execute(
        f"INSERT INTO commission_salepart ({columns}, settled) SELECT {columns}, false FROM return_part ORDER BY id"
    )
    _execute(
        "UPDATE commission_saleline SET part_id = p.id, original_line_id = m.original_line_id, "
        "excluded = m.excluded, rate_bp = m.rate_bp, unit_amount = m.unit_amount, commission_e4 = m.commission_e4 "
        "FROM matched_return m JOIN commission_saleline o ON o.id = m.original_line_id "
        "JOIN return_part p ON p.original_id = o.part_id "
        "WHERE commission_saleline.id = m.line_id AND p.sale_id = commission_saleline.sale_id "
        "AND COALESCE(p.server_id, 0) = COALESCE(commission_saleline.server_id, 0)"
    )
    _number_after(SalePart)


def _correct_returns() -> None:
    """Gives returns with the card of their sale the member that a correction has given the sale meanwhile.

    What comes back with the card of the sale comes back with the wrong one too.
    """
    _execute(
        "UPDATE return_part SET member_id = op.member_id, correction_id = c.id "
        "FROM (SELECT sale_id, MAX(id) AS id FROM commission_ticketcorrection WHERE what = %s AND approved "
        "GROUP BY sale_id) c JOIN commission_sale os ON os.id = c.sale_id "
        "JOIN commission_salepart op ON op.sale_id = os.id "
        "WHERE return_part.original_id = op.id AND return_part.member_id IS NOT DISTINCT FROM os.member_id",
        [TicketCorrection.What.MEMBER],
    )
