"""A store's portfolios side by side: each clerk's members, how the book moved, and what it brought.

An open month's members are counted today (on its last day, once that is past), a closed month's are frozen; they are
those of the store's portfolio on that date, whichever store their card is of. A leaver's wait unassigned. The
movement is the month's as frozen, and while the month is open that of the last one closed; credit and commission are
always the month's own.
"""

import datetime as dt
from dataclasses import dataclass

from django.db.models import Count

from commission.credit import Credit, clerk_credits
from kpis.models import PortfolioMonth
from kpis.portfolio_on_date import PortfolioOnDate
from portfolios.models import Binding, Clerk, Member, Month, Posting, Store, on_date


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
    others_cards: int
    moved_in: Month | None
    rows: list[ClerkPortfolio]


def store_portfolios(store: Store, month: Month, *, today: dt.date) -> StorePortfolios:
    """The store's clerks of the month (those whose last home store in it this is) with their portfolios."""
    on = min(max(today, month.starts_on), month.ends_on)
    closed = Month.objects.filter(closed_at__isnull=False, pk__lte=month.pk).order_by("pk").last()
    clerks = Clerk.objects.filter(pk__in=_home_clerks(store, month, on))
    ids = [clerk.pk for clerk in clerks]
    movements = {row.clerk_id: row for row in PortfolioMonth.objects.filter(month=closed, clerk__in=ids)}
    credits = clerk_credits(month, ids)
    sizes = portfolio_sizes([clerk.pk for clerk in clerks if clerk.left_on is None or clerk.left_on >= on], on)
    unassigned = Member.objects.unassigned(on).filter(store=store).count()
    if month.is_closed:
        sizes = {clerk_id: row.closing for clerk_id, row in movements.items() if clerk_id}
        waiting = PortfolioMonth.objects.filter(month=month, store=store, clerk=None).first()
        # A store that opened later had no list yet.
        unassigned = waiting.closing if waiting else 0
    return StorePortfolios(
        on=on,
        unassigned=unassigned,
        others_cards=PortfolioOnDate(on=on, store=store, only=PortfolioOnDate.OTHERS_CARDS).bound,
        moved_in=closed,
        rows=[
            ClerkPortfolio(clerk, sizes.get(clerk.pk, 0), movements.get(clerk.pk), credits[clerk.pk])
            for clerk in clerks
        ],
    )


def _home_clerks(store: Store, month: Month, on: dt.date) -> list[int]:
    """The clerks whose last home store in the month, up to that day, is this one; a leaver's stays it."""
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=on, valid_to__gt=month.starts_on)
    postings = postings.exclude(clerk__left_on__lt=month.starts_on)
    home = dict(postings.order_by("valid_from").values_list("clerk", "store"))
    return [clerk for clerk, home_store in home.items() if home_store == store.pk]


def portfolio_sizes(clerk_ids: list[int], on: dt.date) -> dict[int, int]:
    """How many open cards each of the clerks owns on a date."""
    bound = Binding.objects.valid().filter(
        on_date(on), clerk__in=clerk_ids, member__counted_from__lte=on, member__counted_to__gt=on
    )
    return dict(bound.values("clerk").annotate(members=Count("pk")).order_by().values_list("clerk", "members"))
