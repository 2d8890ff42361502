"""What plans pay, as an import looks it up: by store and date the plan, by product or category the rate.

A store's own plan comes before the chain's, and a product's rate before its category's. 10000 fen at 3% are 3,000,000
ten-thousandths of commission; so are two pieces at 1.50 each.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Prefetch, Q

from commission.models import Category, Plan, PlanProduct
from commission.money import round_half_away


class Named(NamedTuple):
    """What a few lines name, so that only that is looked up: reading every clerk and rate takes longer than to book."""

    stores: frozenset[str]
    original_stores: frozenset[str]
    clerks: frozenset[str]
    products: frozenset[str]
    first_day: dt.date
    last_day: dt.date


@dataclass(frozen=True, slots=True)
class Rate:
    """What a plan pays for a product or category; `excluded` counts nothing."""

    excluded: bool = False
    rate_bp: int | None = None
    unit_amount: int | None = None

    def commission_e4(self, net_amount: int, quantity_milli: int) -> int:
        """The line's commission before rounding, in ten-thousandths of the minor unit.

        A line that nothing was paid for earns nothing, at whatever rate.
        """
        if self.excluded or net_amount == 0:
            return 0
        if self.unit_amount is not None:
            return quantity_milli * self.unit_amount * 10
        return net_amount * (self.rate_bp or 0)

    def returned_e4(self, net_amount: int, left: int, original_e4: int, original_net: int) -> int:
        """The commission before rounding of a line that returns `net_amount` of what was `left` of a sale's line.

        `original_e4` and `original_net` are the sale's. An amount per unit shrinks with the net amount that has come
        back: target less what is booked, as ever.
        """
        if self.excluded:
            return 0
        if self.unit_amount is None:
            return net_amount * (self.rate_bp or 0)
        if not original_net:
            return 0
        return round_half_away(original_e4 * (left + net_amount), original_net) - round_half_away(
            original_e4 * left, original_net
        )

    def staged(self) -> str:
        """The text of excluded, rate and amount per unit."""
        rate_bp, unit_amount = self.rate_bp, self.unit_amount
        return (
            f"{int(self.excluded)}\t{'' if rate_bp is None else rate_bp}\t{'' if unit_amount is None else unit_amount}"
        )


class PlanBook:
    """All plans, or what they say of some lines, looked up by store and date; kept for the length of one import."""

    def __init__(self, named: Named | None = None) -> None:
        self._plans: dict[int | None, list[Plan]] = {}
        self._rates: dict[int, dict[int, Rate]] = {}
        self._products: dict[int, dict[str, Rate]] = {}
        plans, products = Plan.objects.issued(), PlanProduct.objects.all()
        if named:
            of_scope = Q(store=None) | Q(store__store_no__in=named.stores)
            plans = plans.filter(of_scope, valid_from__lte=named.last_day, valid_to__gt=named.first_day)
            products = products.filter(product_no__in=named.products)
        for plan in plans.prefetch_related("rates", Prefetch("products", products)):
            self._plans.setdefault(plan.store_id, []).append(plan)
            self._rates[plan.id] = {r.category_id: Rate(r.excluded, r.rate_bp) for r in plan.rates.all()}
            self._products[plan.id] = {
                p.product_no: Rate(rate_bp=p.rate_bp, unit_amount=p.unit_amount) for p in plan.products.all()
            }

    def same_as(self, other: "PlanBook") -> bool:
        """Whether both choose and pay alike."""

        def dates(book: PlanBook) -> set[tuple[Any, ...]]:
            return {(p.pk, p.store_id, p.valid_from, p.valid_to) for plans in book._plans.values() for p in plans}

        return dates(self) == dates(other) and self._rates == other._rates and self._products == other._products

    def plan_no(self, plan_id: int) -> str:
        return next(plan.plan_no for plans in self._plans.values() for plan in plans if plan.id == plan_id)

    def plan_on(self, store_id: int, on: dt.date) -> Plan | None:
        """The plan of a store on a date: its own, else the chain's."""
        for scope in (store_id, None):
            for plan in self._plans.get(scope, ()):
                if plan.valid_from <= on < plan.valid_to:
                    return plan
        return None

    def rate(self, plan_id: int, category: Category, product_no: str) -> Rate | None:
        """What the plan pays for a line; None where it has no rate for a category that is not excluded.

        What the plan or the category excludes stays excluded, whatever the product's own rate.
        """
        rate = self._rates[plan_id].get(category.id)
        if rate is None and category.excluded:
            rate = Rate(excluded=True)
        if rate is not None and rate.excluded:
            return rate
        return self._products[plan_id].get(product_no) or rate
