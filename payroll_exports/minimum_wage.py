"""Who would be paid less than the store's minimum wage: a warning for HR, it changes no pay.

A clerk posted for 20 of 31 days at a store with a minimum of 2,500.00 a month is due 1,612.90 at least; 1,500.00 is
under it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from commission.money import round_half_away
from portfolios.models import Month, Store
from portfolios.postings import postings_in


class UnderMinimum(NamedTuple):
    """A clerk's gross pay of a month, and what the store has to pay at least for the days posted: minor units."""

    clerk_id: int
    paid_amount: int
    minimum_amount: int


def under_minimum_wage(month: Month, pay: Iterable[tuple[int, int, int]]) -> list[UnderMinimum]:
    """Of the clerks, each with the store of the payslip and the amount to be paid, those who get less."""
    stores = Store.objects.filter(minimum_wage_amount__isnull=False)
    wages = {store.pk: store.minimum_wage_amount or 0 for store in stores}
    due = {clerk: (wages[store], paid) for clerk, store, paid in pay if store in wages}
    found = []
    for clerk, posted in postings_in(month, list(due)).items():
        wage, paid = due[clerk]
        minimum = round_half_away(wage * len(posted.days), month.days)
        if paid < minimum:
            found.append(UnderMinimum(clerk, paid, minimum))
    return sorted(found, key=lambda one: one.paid_amount - one.minimum_amount)
