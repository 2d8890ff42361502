"""The members of a store without an owner: since when each waits, and what was sold to them meanwhile.

A card enrolled without a clerk waits from the day it counts, a leaver's member from the day after the last day. What
nobody owns, the servers and the store earn: 200.00 at 3% with a house share of 70% is 4.20 for the store, 1.80 for the
server.
"""

import datetime as dt
from dataclasses import dataclass

from django.db.models import OuterRef, QuerySet, Subquery

from commission.models import Attribution
from portfolios.models import Binding, Member, Store

_CHUNK = 5_000


@dataclass
class Waiting:
    """A member who waits for an owner; amounts in minor units, of what was booked since."""

    member: Member
    since: dt.date
    days: int
    net_amount: int = 0
    server_commission_amount: int = 0
    house_commission_amount: int = 0


def unassigned(store: Store, on: dt.date) -> QuerySet[Member]:
    """The store's members without an owner on a date, with `last_end` and `left_on` of the last binding before it."""
    before = Binding.objects.valid().filter(member=OuterRef("pk"), valid_from__lte=on).order_by("-valid_from")
    return (
        Member.objects.unassigned(on)
        .filter(store=store)
        .annotate(
            last_end=Subquery(before.values("valid_to")[:1]), left_on=Subquery(before.values("clerk__left_on")[:1])
        )
    )


def waiting(store: Store, on: dt.date) -> list[Waiting]:
    """Everyone on the unassigned list of a store on a date, who waits longest first."""
    rows = {}
    for member in unassigned(store, on):
        last_end, left_on = member.last_end, member.left_on  # type: ignore[attr-defined] # annotations
        ends = [day for day in (last_end, left_on + dt.timedelta(days=1) if left_on else None) if day]
        since = min(ends) if ends else member.counted_from
        rows[member.pk] = Waiting(member, since, (on - since).days)
    keys = list(rows)
    for start in range(0, len(keys), _CHUNK):
        sold = Attribution.objects.filter(
            part__sale__member__in=keys[start : start + _CHUNK], kind=Attribution.Kind.UNOWNED, business_date__lte=on
        ).values_list(
            "member",
            "business_date",
            "commissionable_amount",
            "excluded_amount",
            "server_commission_amount",
            "house_commission_amount",
        )
        for pk, day, commissionable, excluded, server, house in sold:
            row = rows.get(pk)
            if row and day >= row.since:
                row.net_amount += commissionable + excluded
                row.server_commission_amount += server
                row.house_commission_amount += house
    return sorted(rows.values(), key=lambda row: (row.since, row.member.member_no))
