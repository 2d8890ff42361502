"""From the staged lines to the books: tickets, their parts and lines are stored, and returns find their originals.

Everything is in booking order (date, time, store, ticket, line), so that shuffled lines give the same database. Whoever
stores holds the ledger (commission.attribution.lock_ledger).
"""

from django.db import connection
from django.db.models import Model
from django.utils.translation import gettext as _

from commission.models import Booking, Sale, SalePart, TicketCorrection
from commission.money import format_amount
from commission.plan_book import Rate
from commission.ticket_lines import LINE_COLUMNS, StagedLine
from commission.ticket_staging import CHUNK, LINES, execute, refresh_statistics, totals, writing
from portfolios.duplicates import credit_survivors
from portfolios.import_problems import ImportProblems

# What a return of this import or of an earlier one takes from its original.
_MATCHED = ("line_id", "original_line_id", "excluded", "rate_bp", "unit_amount", "commission_e4")
_MATCHED_RETURNS = """
CREATE TEMPORARY TABLE matched_return (
    line_id bigint NOT NULL, original_line_id bigint NOT NULL, excluded bool NOT NULL, rate_bp integer,
    unit_amount bigint, commission_e4 bigint NOT NULL
)
"""


def newest(*models: type[Model]) -> tuple[int, ...]:
    """The largest id of each; while the ledger is held, what is stored gets larger ones."""
    ids = ", ".join(f"(SELECT COALESCE(MAX(id), 0) FROM {model._meta.db_table})" for model in models)
    return execute(f"SELECT {ids}")[0]


def _number_after(model: type[Model]) -> None:
    """Lets the numbers that PostgreSQL gives out go on after those that were given here."""
    if connection.vendor == "postgresql":
        table = model._meta.db_table
        execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), MAX(id)) FROM {table}")


# --- Storing ----------------------------------------------------------------------------------------------------


def store(booking: Booking, newest_sale: int, newest_part: int, rows: int) -> None:
    """Stores tickets, the parts of their sale lines, and the lines.

    Ids follow the booking order. Those of tickets and parts are given here, so that a line knows both and need not be
    joined to what has just been stored; it finds its part by its run, of which there are fewer.
    """
    execute(
        "INSERT INTO commission_sale "
        "(id, store_id, business_date, month_number, ticket_no, sold_at, member_id, booking_id) "
        "SELECT %s + ticket, store_id, business_date, month_number, ticket_no, sold_at, member_id, %s "
        "FROM staged_run WHERE run = 1 ORDER BY ticket",
        [newest_sale, booking.pk],
    )
    of_part = "ticket, server_id, store_id, business_date, month_number, member_id, plan_id"
    amounts = ("commissionable_amount", "excluded_amount", "commission_e4")
    sums = ", ".join(f"CAST(SUM({amount}) AS bigint)" for amount in amounts)
    # Most tickets are one run, which is one part: to group all of them takes twice as long.
    several = "SELECT ticket FROM staged_run WHERE run = 2"
    execute(
        "CREATE TEMPORARY TABLE staged_part AS "
        f"SELECT %s + ROW_NUMBER() OVER (ORDER BY ticket, number) AS id, {of_part}, number, {', '.join(amounts)} FROM ("
        f"SELECT {of_part}, number, {', '.join(amounts)} FROM staged_run "
        f"WHERE number IS NOT NULL AND ticket NOT IN ({several}) UNION ALL "
        f"SELECT {of_part}, MIN(number), {sums} FROM staged_run "
        f"WHERE number IS NOT NULL AND ticket IN ({several}) GROUP BY {of_part}) AS parts",
        [newest_part],
    )
    # A card that was merged by then is the surviving one's; the ticket keeps the card that it prints.
    credit_survivors("staged_part")
    refresh_statistics("staged_part", rows)
    execute(
        "INSERT INTO commission_salepart (id, sale_id, number, store_id, business_date, month_number, member_id, "
        "server_id, plan_id, commissionable_amount, excluded_amount, commission_e4, settled) "
        "SELECT id, %s + ticket, number, store_id, business_date, month_number, member_id, server_id, plan_id, "
        "commissionable_amount, excluded_amount, commission_e4, false FROM staged_part ORDER BY id",
        [newest_sale],
    )
    same = [column for column in LINE_COLUMNS if column != "line_no"]
    execute(
        f"INSERT INTO commission_saleline (sale_id, line_no, part_id, server_id, {', '.join(same)}) "
        "SELECT %s + r.ticket, s.line_no, CASE WHEN NOT s.is_return THEN r.part_id END, r.server_id, "
        f"{', '.join('s.' + column for column in same)} FROM staged_line s JOIN ("
        "SELECT r.first_row, r.ticket, r.server_id, p.id AS part_id FROM staged_run r LEFT JOIN staged_part p "
        "ON p.ticket = r.ticket AND COALESCE(p.server_id, 0) = COALESCE(r.server_id, 0)"
        ") r ON r.first_row = s.first_row ORDER BY r.ticket, s.line_no",
        [newest_sale],
    )
    _number_after(Sale)
    _number_after(SalePart)


# --- Returns ----------------------------------------------------------------------------------------------------


def match_returns(file: str, booking: Booking, problems: ImportProblems) -> bool:
    """Finds the originals of waiting returns, of this import and of earlier ones; returns whether there are any.

    A return of this import that names a line which its original does not have, or takes back more than is left of
    it, is an error; one of an earlier import goes on waiting.
    """
    found = False
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
        while rows := cursor.fetchmany(CHUNK):
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
                    row = execute(
                        f"SELECT s.row_no FROM {LINES} WHERE r.store_id = %s AND r.business_date = %s "
                        "AND r.ticket_no = %s AND s.line_no = %s",
                        [store_id, business_date, ticket_no, line_no],
                    )[0][0]
                    value = f"{ticket_no} / {line_no}: {format_amount(net)}"
                    problems.add(file, row, "net_amount", value, reason, remedy)
            if matched and not found:
                execute(_MATCHED_RETURNS)
                found = True
            if matched:
                with writing("matched_return", _MATCHED) as write:
                    write(matched)
    return found


def return_parts() -> None:
    """Makes the parts of returns whose originals are known now: the lines with one server and one original part."""
    of_part = "rs.store_id, rs.business_date, rs.month_number, rs.member_id, op.plan_id"
    execute(
        "CREATE TEMPORARY TABLE return_part AS "
        "SELECT %s + ROW_NUMBER() OVER (ORDER BY rs.business_date, rs.sold_at, rs.id, MIN(r.line_no)) AS id, "
        f"rs.id AS sale_id, {of_part}, r.server_id, op.id AS original_id, MIN(r.line_no) AS number, "
        "CAST(NULL AS bigint) AS correction_id, "
        f"{totals('r', 'm')} FROM matched_return m "
        "JOIN commission_saleline r ON r.id = m.line_id JOIN commission_saleline o ON o.id = m.original_line_id "
        "JOIN commission_salepart op ON op.id = o.part_id JOIN commission_sale rs ON rs.id = r.sale_id "
        f"GROUP BY rs.id, rs.sold_at, {of_part}, r.server_id, op.id",
        list(newest(SalePart)),
    )
    _correct_returns()
    credit_survivors("return_part")
    columns = (
        "id, sale_id, number, store_id, business_date, month_number, member_id, server_id, original_id, plan_id, "
        "commissionable_amount, excluded_amount, commission_e4, correction_id"
    )
    execute(
        f"INSERT INTO commission_salepart ({columns}, settled) SELECT {columns}, false FROM return_part ORDER BY id"
    )
    execute(
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
    execute(
        "UPDATE return_part SET member_id = op.member_id, correction_id = c.id "
        "FROM (SELECT sale_id, MAX(id) AS id FROM commission_ticketcorrection WHERE what = %s AND approved "
        "GROUP BY sale_id) c JOIN commission_sale os ON os.id = c.sale_id "
        "JOIN commission_salepart op ON op.sale_id = os.id "
        "WHERE return_part.original_id = op.id AND return_part.member_id IS NOT DISTINCT FROM os.member_id",
        [TicketCorrection.What.MEMBER],
    )
