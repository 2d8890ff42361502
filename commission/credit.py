"""What each clerk has been credited with in a month: as owner of members and as server, whatever the kind.

A split of 20,000 at 70/30 whose commission is 600 credits the owner with 14,000 and 420, the server with 6,000 and
180.
"""

from collections.abc import Collection
from typing import NamedTuple

from django.db.models import F, Sum

from commission.models import Attribution
from portfolios.models import Month


class Credit(NamedTuple):
    """Minor units: the credit and the commission."""

    credit_amount: int
    commission_amount: int


def clerk_credits(month: Month, clerk_ids: Collection[int]) -> dict[int, Credit]:
    """The credit of each of the clerks in the month, from the ledger as it stands; (0, 0) for one without a ticket."""
    credits = dict.fromkeys(clerk_ids, Credit(0, 0))
    for party in ("owner", "server"):
        sums = (
            Attribution.objects.filter(month=month, **{f"{party}__in": clerk_ids})
            .values(clerk=F(party))
            .annotate(credit=Sum(f"{party}_credit_amount"), commission=Sum(f"{party}_commission_amount"))
            .order_by()
        )
        for row in sums:
            before = credits[row["clerk"]]
            credits[row["clerk"]] = Credit(
                before.credit_amount + row["credit"], before.commission_amount + row["commission"]
            )
    return credits
