"""Proves the plain rows of a month's ledger all at once, by a statement that shares nothing with what books.

Plain is a sale that is no return, was not settled, corrected or priced anew, and has one row. Of such a row the
statement says that every fact and amount is as the rules have it, or it says nothing: whatever is unusual or wrong is
left to be worked out one by one (commission/verify.py), which names what is wrong. A ticket with several rows is plain
if all of them are: 3,000,000 tickets of which one in fifty brings something back leave 60,000.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import DataError, OperationalError, connection, transaction

from commission.ledger_proof import calm_planner
from portfolios.models import Month

_CHUNK = 2_000


class PlainTotal(NamedTuple):
    """What the plain rows give a clerk in a line of the payslip: tickets, and minor units."""

    clerk_id: int
    line_code: str
    tickets: int
    commission_amount: int
    credit_amount: int


# By store and business date: the month, and the plan that wins, the store's own before the chain's.
_PLACE = """
SELECT d.store_id, d.business_date,
    (SELECT MIN(m.id) FROM portfolios_month m WHERE d.business_date BETWEEN m.starts_on AND m.ends_on) AS month_number,
    (SELECT w.id FROM commission_plan w
     WHERE w.state = 'issued' AND (w.store_id = d.store_id OR w.store_id IS NULL)
     AND w.valid_from <= d.business_date AND w.valid_to > d.business_date
     ORDER BY w.store_id IS NULL, w.id LIMIT 1) AS plan_id
FROM (SELECT DISTINCT store_id, business_date FROM commission_attribution WHERE month_id = %(month)s) d
"""

# Between which keys the sales of the month are, and their tickets: of the lines of many years only these are read.
_BOUNDS = """
SELECT MIN(p.id), MAX(p.id), MIN(p.sale_id), MAX(p.sale_id)
FROM commission_attribution a JOIN commission_salepart p ON p.id = a.part_id
WHERE a.month_id = %(month)s AND p.original_id IS NULL
"""

# What each part comes to by the rates of its plan: the product's before the category's. A category without a rate is
# excluded where it is so by default, and wherever the product has no rate either.
_SUMS = """
WITH rate AS MATERIALIZED (SELECT * FROM commission_planrate),
product AS MATERIALIZED (SELECT * FROM commission_planproduct)
SELECT p.id AS part_id,
    SUM(CASE WHEN {excluded} THEN 0 ELSE l.net_amount END) AS commissionable,
    SUM(CASE WHEN {excluded} THEN l.net_amount ELSE 0 END) AS excluded,
    SUM(CASE WHEN {excluded} OR l.net_amount = 0 THEN 0
        WHEN g.unit_amount IS NOT NULL THEN l.quantity_milli * g.unit_amount * 10
        ELSE l.net_amount * COALESCE(CASE WHEN g.id IS NULL THEN r.rate_bp ELSE g.rate_bp END, 0) END) AS e4,
    MIN(CASE WHEN l.server_id IS NOT DISTINCT FROM p.server_id THEN 1 ELSE 0 END) AS one_server
FROM commission_salepart p
JOIN commission_saleline l ON l.sale_id = p.sale_id AND l.part_id = p.id
LEFT JOIN rate r ON r.plan_id = p.plan_id AND r.category_id = l.category_id
LEFT JOIN product g ON g.plan_id = p.plan_id AND g.product_no = l.product_no
WHERE p.id BETWEEN %(first_part)s AND %(last_part)s AND l.sale_id BETWEEN %(first_sale)s AND %(last_sale)s
GROUP BY p.id
""".replace("{excluded}", "COALESCE(r.excluded, l.excluded OR g.id IS NULL, g.id IS NULL)")

# Members whose bindings overlap, which no rule of the database lets be.
_CONTESTED = """
SELECT DISTINCT x.member_id FROM portfolios_binding x
JOIN portfolios_binding y ON y.member_id = x.member_id AND y.id > x.id
AND y.valid_from < x.valid_to AND x.valid_from < y.valid_to
WHERE x.voided_by_id IS NULL AND y.voided_by_id IS NULL
"""

_OWNER = "CASE WHEN k.left_on IS NULL OR k.left_on >= p.business_date THEN b.clerk_id END"


def _rounded(top: str) -> str:
    """A quotient of 10,000 rounded half up, which is half away from zero as nothing plain is below zero."""
    return f"({top} + 5000) / 10000"


def _shared(total: str, owner: str, server: str, house: str) -> str:
    """That owner, server and house have their parts of a total: one share is rounded, the other party has the rest."""
    share = f"({_rounded(f'{total} * a.share_bp')})"
    return f"""
    {owner} = CASE a.kind WHEN 'OWN_SERVED' THEN {total} WHEN 'SPLIT' THEN {share} ELSE 0 END
    AND {server} = CASE WHEN a.server_id IS NULL OR a.kind = 'OWN_SERVED' THEN 0
        WHEN a.kind = 'WALK_IN' THEN {share} ELSE {total} - {share} END
    AND {house} = {total} - {owner} - {server}"""


_PLAIN = [
    # The row is the only one of its part, and brings it in.
    "NOT a.reverses AND a.corrects_id IS NULL AND o.id IS NULL AND v.id IS NULL",
    "p.original_id IS NULL AND NOT p.settled AND p.correction_id IS NULL AND p.plan_change_id IS NULL",
    # The part is its ticket's, by the card that stood for the printed one on the day.
    "p.store_id = s.store_id AND p.business_date = s.business_date AND p.month_number = d.month_number",
    "n.id IS NULL AND p.member_id IS NOT DISTINCT FROM COALESCE(m.merged_into_id, s.member_id)",
    "p.plan_id = d.plan_id AND t.one_server = 1",
    "t.commissionable >= 0 AND t.e4 >= 0 AND p.commissionable_amount = t.commissionable",
    "p.excluded_amount = t.excluded AND p.commission_e4 = t.e4",
    # The row's facts.
    "a.store_id = p.store_id AND a.business_date = p.business_date AND a.plan_id = p.plan_id",
    "a.member_id IS NOT DISTINCT FROM p.member_id AND a.server_id IS NOT DISTINCT FROM p.server_id",
    f"c.member_id IS NULL AND a.owner_id IS NOT DISTINCT FROM {_OWNER}",
    "a.kind = CASE WHEN a.member_id IS NULL THEN 'WALK_IN' WHEN a.owner_id IS NULL THEN 'UNOWNED' "
    "WHEN a.owner_id = a.server_id THEN 'OWN_SERVED' ELSE 'SPLIT' END",
    "a.share_bp = CASE a.kind WHEN 'WALK_IN' THEN w.walk_in_share_bp WHEN 'UNOWNED' THEN w.house_share_bp "
    "WHEN 'SPLIT' THEN w.owner_share_bp ELSE 10000 END",
    "a.reason = CASE WHEN a.month_id = p.month_number THEN 'SALE' WHEN a.month_id > p.month_number THEN 'LATE' END",
    "a.pay_line = CASE WHEN a.month_id = p.month_number THEN 'KIND' ELSE 'LATE' END",
    # Its amounts.
    "a.commissionable_amount = p.commissionable_amount AND a.excluded_amount = p.excluded_amount",
    f"a.commission_amount = {_rounded('p.commission_e4')}",
    *(
        _shared(total, *(f"a.{party}_{what}_amount" for party in ("owner", "server", "house")))
        for what, total in (("credit", "a.commissionable_amount"), ("commission", "a.commission_amount"))
    ),
]

_ROWS = f"""
SELECT a.id, a.part_id, p.sale_id, a.owner_id, a.server_id, a.kind, a.pay_line, a.owner_credit_amount,
    a.server_credit_amount, a.owner_commission_amount, a.server_commission_amount,
    CASE WHEN {" AND ".join(_PLAIN)} THEN 1 ELSE 0 END AS plain
FROM commission_attribution a
LEFT JOIN commission_attribution o ON o.part_id = a.part_id AND o.id <> a.id
LEFT JOIN commission_attribution v ON v.corrects_id = a.id
LEFT JOIN commission_salepart p ON p.id = a.part_id
LEFT JOIN commission_sale s ON s.id = p.sale_id
LEFT JOIN portfolios_member m ON m.id = s.member_id AND m.merged_into_id IS NOT NULL AND m.counted_to <= s.business_date
LEFT JOIN portfolios_member n ON n.id = m.merged_into_id AND n.merged_into_id IS NOT NULL
    AND n.counted_to <= s.business_date
LEFT JOIN ({_PLACE}) d ON d.store_id = p.store_id AND d.business_date = p.business_date
LEFT JOIN commission_plan w ON w.id = p.plan_id
LEFT JOIN ({_SUMS}) t ON t.part_id = p.id
LEFT JOIN portfolios_binding b ON b.member_id = p.member_id AND b.voided_by_id IS NULL
    AND b.valid_from <= p.business_date AND b.valid_to > p.business_date
LEFT JOIN portfolios_clerk k ON k.id = b.clerk_id
LEFT JOIN ({_CONTESTED}) c ON c.member_id = p.member_id
WHERE a.month_id = %(month)s
"""

_TABLES = ("checked_row", "other_ticket")

_OWNERS_LINE = "CASE WHEN pay_line <> 'KIND' THEN pay_line WHEN kind = 'SPLIT' THEN 'OWN_ABSENT' ELSE kind END"
_SERVERS_LINE = "CASE WHEN pay_line <> 'KIND' THEN pay_line WHEN kind = 'SPLIT' THEN 'COVERED' ELSE kind END"
# The rows of tickets that are plain as a whole.
_PLAIN_ROWS = """
FROM checked_row r
WHERE r.sale_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM other_ticket o WHERE o.id = r.sale_id)
"""
_TOTALS = f"""
SELECT clerk_id, line_code, COUNT(DISTINCT sale_id), CAST(SUM(commission_amount) AS bigint),
    CAST(SUM(credit_amount) AS bigint)
FROM (
    SELECT owner_id AS clerk_id, {_OWNERS_LINE} AS line_code, sale_id, owner_commission_amount AS commission_amount,
        owner_credit_amount AS credit_amount
    {_PLAIN_ROWS} AND owner_id IS NOT NULL
    UNION ALL
    SELECT server_id, {_SERVERS_LINE}, sale_id, server_commission_amount, server_credit_amount
    {_PLAIN_ROWS} AND server_id IS NOT NULL AND kind <> 'OWN_SERVED'
) AS legs GROUP BY clerk_id, line_code
"""


class PlainRows:
    """What the statement says of a month; `count` rows are plain."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) {_PLAIN_ROWS}")
            self.count = int(cursor.fetchone()[0])

    def totals(self) -> list[PlainTotal]:
        with connection.cursor() as cursor:
            cursor.execute(_TOTALS)
            return [PlainTotal(*row) for row in cursor.fetchall()]

    def others(self) -> Iterator[tuple[int, int, int]]:
        """Ticket, part and row of every row that is left, ticket by ticket."""
        with connection.chunked_cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT r.sale_id, r.part_id, r.id FROM other_ticket o JOIN checked_row r ON r.sale_id = o.id "
                "ORDER BY 1, 3"
            )
            while rows := cursor.fetchmany(_CHUNK):
                yield from rows


@contextmanager
def plain_rows(month: Month) -> Iterator[PlainRows | None]:
    """The plain rows of a month, for as long as it is asked; None where the database cannot reckon with its figures."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            calm_planner()
            _drop()
            cursor.execute(_BOUNDS, {"month": month.pk})
            bounds = dict(zip(("first_part", "last_part", "first_sale", "last_sale"), cursor.fetchone(), strict=True))
            cursor.execute(f"CREATE TEMPORARY TABLE checked_row AS {_ROWS}", {"month": month.pk, **bounds})
            cursor.execute(
                "CREATE TEMPORARY TABLE other_ticket AS SELECT DISTINCT sale_id AS id FROM checked_row "
                "WHERE plain = 0 AND sale_id IS NOT NULL"
            )
    except (DataError, OperationalError):
        # An amount beyond 64 bits, which no import wrote: PostgreSQL and SQLite tell it each in its own way.
        yield None
        return
    try:
        yield PlainRows()
    finally:
        _drop()


def _drop() -> None:
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
