"""What a what-if asks of the ledger: other terms of a plan, for all its tickets or a store's, and members moved.

At an owner share of 60% in place of 70% only the splits are touched; at another rate of a category only the parts
with a line of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from commission.models import Attribution, Plan
from commission.plan_book import Rate
from portfolios.models import Clerk, Store

Kind = Attribution.Kind

# A statement, or a piece of one, with its parameters.
Sql = tuple[str, list[Any]]


@dataclass(frozen=True)
class Terms:
    """What a plan pays: shares in basis points, rates by category, product rates by number, and the bands' steps."""

    plan: Plan
    owner_share_bp: int
    house_share_bp: int
    walk_in_share_bp: int
    rates: Mapping[int, int]
    products: Mapping[str, Rate]
    bands: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, plan: Plan) -> "Terms":
        """The terms that the plan has. What it excludes is no rate, and stays excluded in every what-if."""
        return cls(
            plan,
            plan.owner_share_bp,
            plan.house_share_bp,
            plan.walk_in_share_bp,
            {rate.category_id: rate.rate_bp for rate in plan.rates.all() if rate.rate_bp is not None},
            {
                product.product_no: Rate(rate_bp=product.rate_bp, unit_amount=product.unit_amount)
                for product in plan.products.all()
            },
            tuple(plan.bands.order_by("lower_amount").values_list("lower_amount", "rate_bp")),
        )


@dataclass(frozen=True)
class Move:
    """Members who would have been another clerk's: all that were one clerk's, or those of a list of primary keys."""

    to: Clerk
    of: Clerk | None = None
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recount:
    """What is shared out anew: rows of the terms' plan of these kinds, those with a line at one of these rates (by
    category or product), those whose owner the move changes. With a store, the terms hold for its tickets only."""

    terms: Terms | None = None
    kinds: frozenset[str] = frozenset()
    rates: Mapping[int, int] = field(default_factory=dict)
    products: Mapping[str, Rate] = field(default_factory=dict)
    move: Move | None = None
    store: Store | None = None

    @classmethod
    def of(cls, terms: Terms | None, move: Move | None, store: Store | None) -> "Recount":
        """What the change touches, and no more: where an owner share changes, splits alone."""
        if terms is None:
            return cls(move=move)
        now = Terms.of(terms.plan)
        shares = [
            (Kind.SPLIT, terms.owner_share_bp, now.owner_share_bp),
            (Kind.UNOWNED, terms.house_share_bp, now.house_share_bp),
            (Kind.WALK_IN, terms.walk_in_share_bp, now.walk_in_share_bp),
        ]
        return cls(
            terms,
            frozenset(str(kind) for kind, then, share_bp in shares if then != share_bp),
            {category: bp for category, bp in terms.rates.items() if bp != now.rates.get(category)},
            {product: rate for product, rate in terms.products.items() if rate != now.products.get(product)},
            move,
            store,
        )

    @property
    def by_line(self) -> bool:
        return bool(self.rates or self.products)


def listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)
