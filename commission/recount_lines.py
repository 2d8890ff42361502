"""The lines that would have been paid at another rate, and by how much their parts would have been worth more.

A line of 100.00 at 4% in place of 3% is 10,000 x (400 - 300) = 1,000,000 ten-thousandths of a fen more; the sum over a
part's lines is added to what the part keeps, and rounded anew with it. Lines that keep their rate are not read.
"""

from collections.abc import Callable, Sized
from dataclasses import dataclass

from commission.money import half_away_sql
from commission.recount_terms import Recount, Sql, listed


@dataclass(frozen=True)
class Stretch:
    """Parts of sales by their number, and the tickets that they are of."""

    parts: tuple[int, int]
    sales: tuple[int, int]


# Lines that return a part of another, beside it and what of its net amount was left before.
_RETURNED_LINES = """
SELECT l.part_id, l.net_amount, l.commission_e4, l.excluded, o.product_no, o.category_id,
    o.quantity_milli AS sold_milli, o.net_amount AS sold_amount,
    o.net_amount + COALESCE(CAST(SUM(l.net_amount) OVER earlier AS bigint), 0) AS left_amount
FROM commission_saleline l JOIN commission_saleline o ON o.id = l.original_line_id
WHERE l.original_line_id IS NOT NULL AND l.part_id IS NOT NULL
WINDOW earlier AS (
    PARTITION BY l.original_line_id ORDER BY l.part_id, l.line_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
)
"""


def _places(values: Sized) -> str:
    return ", ".join(["%s"] * len(values))


def _at_rate(asked: Recount) -> Sql:
    """Of a line l: that it is paid at one of the rates that change."""
    assert asked.terms is not None
    changed, priced = list(asked.products), list(asked.terms.products)
    at_product = f"l.product_no IN ({_places(changed)})" if changed else "1 = 0"
    # A product with a rate of its own is not touched by its category's.
    by_category = f" AND l.product_no NOT IN ({_places(priced)})" if priced else ""
    in_category = f"l.category_id IN ({listed(asked.rates)}){by_category}" if asked.rates else "1 = 0"
    return f"NOT l.excluded AND ({at_product} OR {in_category})", [*changed, *(priced if asked.rates else [])]


def _more(asked: Recount, of_units: Callable[[int], str]) -> Sql:
    """How much more such a line pays, in ten-thousandths of the minor unit."""
    whens, params = [], []
    for product, rate in asked.products.items():
        pays = of_units(rate.unit_amount) if rate.unit_amount is not None else f"l.net_amount * {rate.rate_bp}"
        whens.append(f"WHEN l.product_no = %s THEN {pays}")
        params.append(product)
    whens += [f"WHEN l.category_id = {category} THEN l.net_amount * {bp}" for category, bp in asked.rates.items()]
    return f"CASE WHEN l.net_amount = 0 THEN 0 {' '.join(whens)} END - l.commission_e4", params


def _sold_units(unit_amount: int) -> str:
    return f"l.quantity_milli * {unit_amount * 10}"


def _returned_units(unit_amount: int) -> str:
    # An amount per unit shrinks with the net amount that has come back.
    whole = f"l.sold_milli * {unit_amount * 10}"
    left = half_away_sql(f"{whole} * (l.left_amount + l.net_amount)", "l.sold_amount")
    return f"{left} - {half_away_sql(f'{whole} * l.left_amount', 'l.sold_amount')}"


def changed_sales(asked: Recount, stretch: Stretch) -> Sql:
    """The parts of sales of a stretch with a line at another rate, and how much more that is."""
    (more, more_params), (at_rate, at_rate_params) = _more(asked, _sold_units), _at_rate(asked)
    return (
        "SELECT p.id AS part_id, p.commission_e4, line.more_e4 FROM commission_salepart p JOIN ("
        f"SELECT l.part_id, CAST(SUM({more}) AS bigint) AS more_e4 FROM commission_saleline l "
        f"WHERE l.sale_id BETWEEN {stretch.sales[0]} AND {stretch.sales[1]} AND {at_rate} GROUP BY l.part_id"
        ") AS line ON line.part_id = p.id "
        f"WHERE p.id BETWEEN {stretch.parts[0]} AND {stretch.parts[1]} AND {_by_the_terms(asked)} "
        "AND p.original_id IS NULL",
        [*more_params, *at_rate_params],
    )


def changed_among(asked: Recount, parts: str) -> Sql:
    """The parts of sales among these with a line at another rate, and how much more that is: looked up one by one."""
    (more, more_params), (at_rate, at_rate_params) = _more(asked, _sold_units), _at_rate(asked)
    return (
        f"SELECT p.id AS part_id, p.commission_e4, CAST(SUM({more}) AS bigint) AS more_e4 FROM ({parts}) AS among "
        "JOIN commission_salepart p ON p.id = among.part_id "
        "JOIN commission_saleline l ON l.part_id = p.id AND l.sale_id = p.sale_id "
        f"WHERE {_by_the_terms(asked)} AND p.original_id IS NULL AND {at_rate} GROUP BY p.id, p.commission_e4",
        [*more_params, *at_rate_params],
    )


def _by_the_terms(asked: Recount) -> str:
    """Of a part p of a sale: that the terms are about it."""
    assert asked.terms is not None
    of_store = f" AND p.store_id = {asked.store.pk}" if asked.store else ""
    return f"p.plan_id = {asked.terms.plan.pk}{of_store}"


def changed_returns(asked: Recount) -> Sql:
    """The parts that return another, and those others, with a line at another rate, and how much more that is."""
    returned = "SELECT DISTINCT original_id AS part_id FROM commission_salepart WHERE original_id IS NOT NULL"
    sold, sold_params = changed_among(asked, returned)
    (back, back_params), (at_rate, at_rate_params) = _more(asked, _returned_units), _at_rate(asked)
    return (
        f"SELECT part_id, more_e4 FROM ({sold}) AS sold "
        f"UNION ALL SELECT r.id, CAST(SUM({back}) AS bigint) FROM ({_RETURNED_LINES}) AS l "
        "JOIN commission_salepart r ON r.id = l.part_id JOIN commission_salepart p ON p.id = r.original_id "
        f"WHERE {_by_the_terms(asked)} AND {at_rate} GROUP BY r.id",
        [*sold_params, *back_params, *at_rate_params],
    )
