"""Ticket lines on their way into the books: read into temporary tables, and checked there as a whole.

Rows go through set-based statements, so that memory does not grow with their number. Lines of one ticket and server
that follow each other are a run, and what they share is staged once. The temporary tables are the connection's own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from commission.money import format_amount
from commission.plan_book import Named, PlanBook
from commission.ticket_lines import STAGED_COLUMNS, LineReader, StagedLine
from portfolios.import_problems import ImportProblems

Progress = Callable[[str, int], None]

CHUNK = 5_000

# Below so many rows the planner does well without statistics, which take longer than the import.
FEW_ROWS = 5_000

# The lines of a file; what is of a whole run is with the first of them alone (commission/ticket_lines.py).
_STAGED_LINES = """
CREATE TEMPORARY TABLE staged_line (
    row_no integer NOT NULL, first_row integer NOT NULL,
    line_no integer NOT NULL, product_no varchar(50) NOT NULL, category_id bigint NOT NULL,
    quantity_milli bigint NOT NULL, net_amount bigint NOT NULL, is_return bool NOT NULL,
    excluded bool, rate_bp integer, unit_amount bigint, commission_e4 bigint,
    original_store_no varchar(20), original_business_date date, original_ticket_no varchar(40),
    original_line_no integer,
    store_id bigint, business_date date, month_number integer, ticket_no varchar(40), sold_at {timestamp},
    server_id bigint, member_no varchar(40), plan_id bigint,
    number integer, commissionable_amount bigint, excluded_amount bigint, total_e4 bigint
)
"""

# The runs, each with its member, the number of its ticket in booking order, and which run of it this is.
_STAGED_RUNS = """
CREATE TEMPORARY TABLE staged_run AS
SELECT s.first_row, s.store_id, s.business_date, s.month_number, s.ticket_no, s.sold_at, s.server_id, s.member_no,
    s.plan_id, s.number, s.commissionable_amount, s.excluded_amount, s.total_e4 AS commission_e4, m.id AS member_id,
    DENSE_RANK() OVER booking_order AS ticket,
    ROW_NUMBER() OVER booking_order - RANK() OVER booking_order + 1 AS run
FROM staged_line s JOIN portfolios_store store ON store.id = s.store_id
LEFT JOIN portfolios_member m ON m.member_no = s.member_no
WHERE s.store_id IS NOT NULL
WINDOW booking_order AS (ORDER BY s.business_date, s.sold_at, store.store_no {bytes}, s.ticket_no {bytes})
"""

_TEMPORARY = ("staged_line", "staged_run", "staged_part", "matched_return", "return_part")

# A staged line with what its run shares.
LINES = "staged_line s JOIN staged_run r ON r.first_row = s.first_row"
# A staged run beside the stored ticket of the same key.
KNOWN = (
    "staged_run r JOIN commission_sale t ON t.business_date = r.business_date AND t.store_id = r.store_id "
    "AND t.ticket_no = r.ticket_no"
)
# The same with its lines, each beside the stored one.
_STORED = (
    f"FROM {KNOWN} JOIN staged_line s ON s.first_row = r.first_row "
    "LEFT JOIN commission_saleline l ON l.sale_id = t.id AND l.line_no = s.line_no"
)


def stage(
    rows: Iterable[tuple[int, list[str]]],
    *,
    name: str,
    named: Named | None,
    problems: ImportProblems,
    progress: Progress,
) -> tuple[PlanBook, int]:
    """Reads rows into the temporary tables, a chunk at a time; returns the plans by which they were read, and how many.

    A row is its number and the cells of COLUMNS; `name` is what its problems are told of.
    """
    drop_temporary()
    execute(_STAGED_LINES.format(timestamp="timestamptz" if connection.vendor == "postgresql" else "datetime"))

    def add(row: int, column: str, value: str, reason: str, remedy: str) -> None:
        problems.add(name, row, column, value, reason, remedy)

    # The reader asks the database for its numbers now: nothing else can be asked of it while COPY runs.
    reader = LineReader(add, named)
    count = 0
    with writing("staged_line", STAGED_COLUMNS) as write:
        for row, cells in rows:
            count += 1
            reader.read(row, cells)
            if count % CHUNK == 0:
                write(reader.staged())
                progress(_("reading"), count)
        write(reader.staged(last=True))
        progress(_("reading"), count)
    refresh_statistics("staged_line (store_id, first_row, line_no, is_return)", count)
    # By the bytes of the texts: the order of no language, so that it is the same in every database.
    collation = '"C"' if connection.vendor == "postgresql" else "BINARY"
    execute(_STAGED_RUNS.format(bytes=f"COLLATE {collation}"))
    refresh_statistics("staged_run", count)
    return reader.plan_book, count


@contextmanager
def writing(table: str, columns: Sequence[str]) -> Iterator[Callable[[list[StagedLine]], None]]:
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


def drop_temporary() -> None:
    # SQLite drops one at a time.
    for tables in [", ".join(_TEMPORARY)] if connection.vendor == "postgresql" else _TEMPORARY:
        execute(f"DROP TABLE IF EXISTS {tables}")


def refresh_statistics(table: str, rows: int) -> None:
    """Tells PostgreSQL's planner what a table holds that this import has filled with so many rows."""
    if connection.vendor == "postgresql" and rows > FEW_ROWS:
        execute(f"ANALYZE {table}")


def execute(sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def each(sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, a chunk at a time: there may be as many errors as rows in the file."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql)
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


# --- Checks over the whole ----------------------------------------------------------------------------------------

_SAME_CELLS = [
    "product_no", "category_id", "quantity_milli", "net_amount", "original_store_no", "original_business_date",
    "original_ticket_no", "original_line_no",
]  # fmt: skip


def _differs(a: str, b: str, columns: list[str]) -> str:
    return " OR ".join(f"{a}.{column} IS DISTINCT FROM {b}.{column}" for column in columns)


def check(file: str, problems: ImportProblems) -> None:
    """What is wrong with the staged lines beside each other; nothing is locked for it."""
    _repeated_lines(file, problems)
    _tickets_at_odds(file, problems)
    _unknown_members(file, problems)


def _repeated_lines(file: str, problems: ImportProblems) -> None:
    """The same line twice in the file: passed over if it is the same in every cell, else an error."""
    # Within a run it cannot be.
    in_runs = "SELECT ticket FROM staged_run WHERE run = 2"
    if not execute(f"{in_runs} LIMIT 1"):
        return
    shared = ["server_id", "member_no"]
    cells = ", ".join([*("s." + name for name in ["row_no", "line_no", *_SAME_CELLS]), *("r." + n for n in shared)])
    lines = f"(SELECT r.ticket, r.ticket_no, {cells} FROM {LINES} WHERE r.ticket IN ({in_runs}))"
    twice = f"SELECT MIN(row_no) AS row_no FROM {lines} AS l GROUP BY ticket, line_no HAVING COUNT(*) > 1"
    repeats = (
        f"FROM ({twice}) f JOIN {lines} AS a ON a.row_no = f.row_no "
        f"JOIN {lines} AS b ON a.ticket = b.ticket AND a.line_no = b.line_no"
    )
    for row, first, ticket_no, line_no in each(
        f"SELECT b.row_no, a.row_no, b.ticket_no, b.line_no {repeats} "
        f"WHERE {_differs('a', 'b', [*_SAME_CELLS, *shared])} ORDER BY b.row_no"
    ):
        problems.add(
            file, row, "line_no", f"{ticket_no} / {line_no}",
            _("Row %(row)d has the same line of this ticket with other content.") % {"row": first},
            _("Give each line of a ticket its own number."),
        )  # fmt: skip
    execute(f"DELETE FROM staged_line WHERE row_no IN (SELECT b.row_no {repeats} WHERE b.row_no <> a.row_no)")
    _add_up_again(in_runs)


def _add_up_again(tickets: str) -> None:
    """The totals of the runs of these tickets, some of whose lines are gone."""
    execute(
        "UPDATE staged_run SET number = NULL, commissionable_amount = 0, excluded_amount = 0, commission_e4 = 0 "
        f"WHERE ticket IN ({tickets})"
    )
    execute(
        "UPDATE staged_run SET number = l.number, commissionable_amount = l.commissionable_amount, "
        "excluded_amount = l.excluded_amount, commission_e4 = l.commission_e4 FROM ("
        f"SELECT s.first_row, MIN(s.line_no) AS number, {totals('s', 's')} FROM {LINES} "
        f"WHERE r.ticket IN ({tickets}) AND NOT s.is_return GROUP BY s.first_row"
        ") AS l WHERE staged_run.first_row = l.first_row"
    )


def totals(line: str, rate: str) -> str:
    """SQL of the totals over sale lines, or over return lines and what they pay."""
    sums = {
        "commissionable_amount": f"CASE WHEN {rate}.excluded THEN 0 ELSE {line}.net_amount END",
        "excluded_amount": f"CASE WHEN {rate}.excluded THEN {line}.net_amount ELSE 0 END",
        "commission_e4": f"{rate}.commission_e4",
    }
    return ", ".join(f"CAST(SUM({amount}) AS bigint) AS {name}" for name, amount in sums.items())


def _tickets_at_odds(file: str, problems: ImportProblems) -> None:
    # Most tickets are one run, which cannot be at odds with itself.
    several = "SELECT store_id, business_date, ticket_no FROM staged_run GROUP BY 1, 2, 3 HAVING COUNT(*) > 1"
    times_differ = "MIN(sold_at) <> MAX(sold_at)"
    members_differ = "(MIN(member_no) <> MAX(member_no) OR COUNT(member_no) NOT IN (0, COUNT(*)))"
    rows = each(
        f"SELECT ticket_no, MIN(first_row), {times_differ}, {members_differ} FROM staged_run "
        f"WHERE (store_id, business_date, ticket_no) IN ({several}) "
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
    rows = each(
        f"SELECT s.row_no, r.member_no FROM {LINES} WHERE r.member_no IS NOT NULL AND r.member_id IS NULL "
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


def conflicts(file: str, problems: ImportProblems) -> None:
    """Tickets whose key is stored with other content; both are shown."""
    remedy = _("A stored ticket never changes: send the return or the correction as a ticket of its own.")
    other_time, other_member = "t.sold_at <> r.sold_at", "t.member_id IS DISTINCT FROM r.member_id"
    other_server = "l.server_id IS DISTINCT FROM r.server_id"
    for row, ticket_no, line_no, ours, theirs, at_other_time, with_other_member in each(
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
    for row, ticket_no, here, stored_lines in each(
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
