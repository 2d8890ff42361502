"""A store's portfolios side by side: each clerk's members, how the book moved, and what it brought.

Members are counted on the last day of the month, or today while it runs. The movement is the month's as frozen, and
while the month is open that of the last one closed; credit and commission are always the month's own.
"""

import datetime as dt
from dataclasses import dataclass

from django.db.models import Count

from commission.credit import Credit, clerk_credits
from kpis.models import PortfolioMonth
from portfolios.models import Binding, Clerk, Member, Month, Store, on_date


@dataclass(frozen=True)
class ClerkPortfolio:
    """One clerk's row; `movement` is None for a clerk who had no book when that month closed."""

    clerk: Clerk
    members: int
    movement: PortfolioMonth | None
    credit: Credit


@dataclass(frozen=True)
class StorePortfolios:
    on: dt.date
    unassigned: int
    moved_in: Month | None
    rows: list[ClerkPortfolio]


def store_portfolios(store: Store, month: Month, *, today: dt.date) -> StorePortfolios:
    """The store's clerks (those whose home store it is on that day) with their portfolios."""
    on = min(max(today, month.starts_on), month.ends_on)
    closed = Month.objects.filter(closed_at__isnull=False, pk__lte=month.pk).order_by("pk").last()
    clerks = list(Clerk.objects.posted_to(store, on))
    ids = [clerk.pk for clerk in clerks]
    frozen = PortfolioMonth.objects.filter(month=closed, clerk__in=ids)
    movements = {row.clerk_id: row for row in frozen}
    credits = clerk_credits(month, ids)
    sizes = portfolio_sizes(ids, on)
    return StorePortfolios(
        on=on,
        unassigned=Member.objects.unassigned(on).filter(store=store).count(),
        moved_in=closed,
        rows=[
            ClerkPortfolio(clerk, sizes.get(clerk.pk, 0), movements.get(clerk.pk), credits[clerk.pk])
            for clerk in clerks
        ],
    )


def portfolio_sizes(clerk_ids: list[int], on: dt.date) -> dict[int, int]:
    """How many open cards each of the clerks owns on a date."""
    bound = Binding.objects.valid().filter(
        on_date(on), clerk__in=clerk_ids, member__counted_from__lte=on, member__counted_to__gt=on
    )
    return dict(bound.values("clerk").annotate(members=Count("pk")).order_by().values_list("clerk", "members"))
