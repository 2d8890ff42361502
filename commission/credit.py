"""What each clerk has been credited with in a month: as owner of members and as server, whatever the kind.

A split of 20,000 at 70/30 whose commission is 600 credits the owner with 14,000 and 420, the server with 6,000 and
180.
"""

from collections.abc import Collection
from typing import NamedTuple

from django.db.models import Sum

from commission.models import Attribution
from portfolios.models import Month


class Credit(NamedTuple):
    """Minor units: the credit and the commission."""

    credit_amount: int
    commission_amount: int


def clerk_credits(month: Month, clerk_ids: Collection[int]) -> dict[int, Credit]:
    """The credit of each of the clerks in the month, from the ledger as it stands; (0, 0) for one without a ticket."""
    credits = dict.fromkeys(clerk_ids, Credit(0, 0))
    owned, served = (
        Attribution.objects.filter(month=month, **{f"{party}__in": clerk_ids})
        .values_list(party)
        .annotate(Sum(f"{party}_credit_amount"), Sum(f"{party}_commission_amount"))
        .order_by()
        for party in ("owner", "server")
    )
    for clerk, credit_amount, commission_amount in owned.union(served, all=True):
        before = credits[clerk]
        credits[clerk] = Credit(before.credit_amount + credit_amount, before.commission_amount + commission_amount)
    return credits
