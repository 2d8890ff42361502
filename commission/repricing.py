"""Gives tickets that are stored already another plan: the rates of their lines, and the totals of their parts.

A line of 200.00 that paid 3% is 6.00; by a plan of 4% it is 8.00, and a return of 50.00 of it -2.00 in place of -1.50.
What is booked follows afterwards (commission/corrections.py). Set-based, like the import: a month of a chain at once.
"""

from itertools import groupby
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from commission.models import PlanChange, SalePart
from commission.money import MAX_AMOUNT, WHOLE_BP
from commission.plan_book import Rate

# The parts of the sales, and of the returns of them.
_TABLE = "repriced_part"

_EXCLUDED = "COALESCE(rate.excluded, category.excluded)"
# A line with what the new plan has for its product and its category; both may be lacking.
_RATED = (
    f"{_TABLE} part JOIN commission_saleline line ON line.sale_id = part.sale_id AND line.part_id = part.id "
    "JOIN commission_category category ON category.id = line.category_id "
    "LEFT JOIN commission_planrate rate ON rate.plan_id = %s AND rate.category_id = line.category_id "
    "LEFT JOIN commission_planproduct product ON product.plan_id = %s AND product.product_no = line.product_no"
)


class BeyondMeasure(ValueError):
    """An amount per unit that makes the commission of a stored line larger than an amount may be."""


def reprice(parts: QuerySet[SalePart], change: PlanChange) -> QuerySet[SalePart]:
    """Gives these parts of sales, and their returns, the change's plan; returns all of them.

    The caller holds the ledger, and books what follows from it. Raises BeyondMeasure.
    """
    _execute(f"DROP TABLE IF EXISTS {_TABLE}")
    _collect(parts)
    _refuse_beyond_measure(change)
    _sale_lines(change)
    _return_lines(change)
    _totals(change)
    _execute(f"DROP TABLE {_TABLE}")
    return SalePart.objects.filter(plan_change=change)


def _execute(sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def _collect(parts: QuerySet[SalePart]) -> None:
    sql, params = parts.order_by().values_list("pk", "sale").query.sql_with_params()
    _execute(
        f"CREATE TEMPORARY TABLE {_TABLE} (id bigint PRIMARY KEY, sale_id bigint NOT NULL, is_return bool NOT NULL)"
    )
    _execute(f"INSERT INTO {_TABLE} SELECT sold.*, false FROM ({sql}) AS sold", params)
    _execute(
        f"INSERT INTO {_TABLE} SELECT back.id, back.sale_id, true FROM commission_salepart back "
        f"JOIN {_TABLE} sold ON sold.id = back.original_id WHERE NOT sold.is_return"
    )
    if connection.vendor == "postgresql":
        _execute(f"ANALYZE {_TABLE}")


def _refuse_beyond_measure(change: PlanChange) -> None:
    """By product, the largest quantity at the amount per unit."""
    per_unit = dict(change.plan.products.filter(unit_amount__isnull=False).values_list("product_no", "unit_amount"))
    if not per_unit:
        return
    largest = _execute(
        f"SELECT line.product_no, MAX(ABS(line.quantity_milli)) FROM {_RATED} "
        "WHERE product.unit_amount IS NOT NULL GROUP BY line.product_no ORDER BY line.product_no",
        (change.plan_id, change.plan_id),
    )
    for product_no, quantity_milli in largest:
        if Rate(unit_amount=per_unit[product_no]).commission_e4(1, quantity_milli) > MAX_AMOUNT * WHOLE_BP:
            raise BeyondMeasure(product_no)


def _sale_lines(change: PlanChange) -> None:
    """Lines of sales, and of returns that a manager settled: the product's rate, else the category's."""
    _execute(
        "UPDATE commission_saleline SET excluded = due.excluded, rate_bp = due.rate_bp, "
        "unit_amount = due.unit_amount, commission_e4 = due.commission_e4, plan_change_id = %s FROM "
        f"(SELECT line.id, {_EXCLUDED} AS excluded, "
        f"CASE WHEN {_EXCLUDED} THEN NULL WHEN product.id IS NULL THEN rate.rate_bp "
        "ELSE product.rate_bp END AS rate_bp, "
        f"CASE WHEN {_EXCLUDED} THEN NULL ELSE product.unit_amount END AS unit_amount, "
        f"CASE WHEN {_EXCLUDED} OR line.net_amount = 0 THEN 0 "
        "WHEN product.unit_amount IS NOT NULL THEN line.quantity_milli * product.unit_amount * 10 "
        "ELSE line.net_amount * COALESCE(product.rate_bp, rate.rate_bp, 0) END AS commission_e4 "
        f"FROM {_RATED} WHERE NOT part.is_return) AS due WHERE commission_saleline.id = due.id",
        (change.pk, change.plan_id, change.plan_id),
    )


_RETURNED = (
    f"{_TABLE} part JOIN commission_saleline back ON back.sale_id = part.sale_id AND back.part_id = part.id "
    "JOIN commission_saleline sold ON sold.id = back.original_line_id"
)


def _return_lines(change: PlanChange) -> None:
    """Lines of returns: rate and exclusion of the line that they return."""
    _execute(
        "UPDATE commission_saleline SET excluded = due.excluded, rate_bp = due.rate_bp, unit_amount = NULL, "
        "commission_e4 = due.commission_e4, plan_change_id = %s FROM "
        "(SELECT back.id, sold.excluded, sold.rate_bp, "
        "CASE WHEN sold.excluded THEN 0 ELSE back.net_amount * sold.rate_bp END AS commission_e4 "
        f"FROM {_RETURNED} WHERE part.is_return AND sold.unit_amount IS NULL) AS due "
        "WHERE commission_saleline.id = due.id",
        (change.pk,),
    )
    # What is left of a line at an amount per unit is rounded from one return to the next, in the order of booking.
    rows = _execute(
        "SELECT sold.id, sold.net_amount, sold.commission_e4, sold.unit_amount, back.id, back.net_amount, "
        "(SELECT MIN(booked.booking_id) FROM commission_attribution booked WHERE booked.part_id = part.id) AS booking "
        f"FROM {_RETURNED} WHERE part.is_return AND sold.unit_amount IS NOT NULL "
        "ORDER BY sold.id, booking, back.sale_id, back.line_no"
    )
    due = []
    for (_sold, net, e4, unit_amount), backs in groupby(rows, key=lambda row: row[:4]):
        left, rate = net, Rate(unit_amount=unit_amount)
        for *_same, line, back, _booking in backs:
            due.append((unit_amount, rate.returned_e4(back, left, e4, net), change.pk, line))
            left += back
    if due:
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE commission_saleline SET excluded = false, rate_bp = NULL, unit_amount = %s, "
                "commission_e4 = %s, plan_change_id = %s WHERE id = %s",
                due,
            )


def _totals(change: PlanChange) -> None:
    _execute(
        "UPDATE commission_salepart SET plan_id = %s, commissionable_amount = due.commissionable_amount, "
        "excluded_amount = due.excluded_amount, commission_e4 = due.commission_e4, plan_change_id = %s FROM "
        "(SELECT part.id, "
        "CAST(SUM(CASE WHEN line.excluded THEN 0 ELSE line.net_amount END) AS bigint) AS commissionable_amount, "
        "CAST(SUM(CASE WHEN line.excluded THEN line.net_amount ELSE 0 END) AS bigint) AS excluded_amount, "
        "CAST(SUM(line.commission_e4) AS bigint) AS commission_e4 "
        f"FROM {_TABLE} part JOIN commission_saleline line ON line.sale_id = part.sale_id AND line.part_id = part.id "
        "GROUP BY part.id) AS due WHERE commission_salepart.id = due.id",
        (change.plan_id, change.pk),
    )
