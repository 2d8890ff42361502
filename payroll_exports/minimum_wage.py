"""Who would be paid less than the store's minimum wage: a warning for HR, it changes no pay.

A clerk posted for 20 of 31 days at a store with a minimum of 2,500.00 a month is due 1,612.90 at least; 1,500.00 is
under it. With a weight of 0.5 the clerk works half the time, and is due 806.45.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from commission.money import round_half_away
from portfolios.models import Clerk, Month, Posting, Store
from portfolios.postings import Posted, postings_in


class UnderMinimum(NamedTuple):
    """A clerk's gross pay of a month, and what the store has to pay at least for the time worked: minor units."""

    clerk_id: int
    paid_amount: int
    minimum_amount: int


def under_minimum_wage(month: Month, pay: Iterable[tuple[int, int, int]]) -> list[UnderMinimum]:
    """Of the clerks, each with the store of the payslip and the amount to be paid, those who get less."""
    stores = Store.objects.filter(minimum_wage_amount__isnull=False)
    wages = {store.pk: store.minimum_wage_amount or 0 for store in stores}
    due = {clerk: (wages[store], paid) for clerk, store, paid in pay if store in wages}
    found = []
    for clerk, percent in _worked_percent(month, postings_in(month, list(due))).items():
        wage, paid = due[clerk]
        minimum = round_half_away(wage * percent, month.days * 100)
        if paid < minimum:
            found.append(UnderMinimum(clerk, paid, minimum))
    return sorted(found, key=lambda one: one.paid_amount - one.minimum_amount)


def with_clerks(found: Iterable[UnderMinimum]) -> list[tuple[Clerk, UnderMinimum]]:
    """Each with the clerk, to be shown."""
    found = list(found)
    clerks = Clerk.objects.in_bulk([one.clerk_id for one in found])
    return [(clerks[one.clerk_id], one) for one in found]


def _worked_percent(month: Month, posted: dict[int, Posted]) -> dict[int, int]:
    """Per cent of a day, summed over the days posted: 100 for a whole day, a part-timer's weight for a part of one.

    A weight of 0 (a manager, probation, relief) says nothing of the time worked, and who manages a store on the day
    works all of it.
    """
    of_month = Posting.objects.filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
    part_time = of_month.clerk_postings().filter(clerk__in=list(posted), weight_percent__gt=0, weight_percent__lt=100)
    worked = {clerk: 100 * len(own.days) for clerk, own in posted.items()}
    managed: dict[int, set[dt.date]] = defaultdict(set)
    for posting in of_month.filter(clerk__in=part_time.values("clerk"), role=Posting.Role.MANAGER):
        managed[posting.clerk_id] |= _days(posting, posted)
    for posting in part_time:
        days = _days(posting, posted) - managed[posting.clerk_id]
        worked[posting.clerk_id] -= (100 - posting.weight_percent) * len(days)
    return worked


def _days(posting: Posting, posted: dict[int, Posted]) -> set[dt.date]:
    return {day for day in posted[posting.clerk_id].days if posting.valid_from <= day < posting.valid_to}
