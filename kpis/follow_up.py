"""After a hand-over: how many of the members bought again under their new owner, within 30, 60 and 90 days.

A member counts when it bought while it still was the new owner's: of 10 members handed to 王伟 on 2026-03-01, 4 who
bought by 2026-03-30 are 40% after 30 days. A window that has not passed yet counts what there is so far.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import F, Min

from commission.models import Sale
from portfolios.models import Clerk

WINDOWS = (30, 60, 90)
_CHUNK = 5_000


@dataclass(frozen=True)
class Window:
    """How many bought within the days from the date on; `complete` once they have passed."""

    days: int
    bought: int
    complete: bool


@dataclass(frozen=True)
class FollowUp:
    """One new owner's (None: all of them together)."""

    clerk: Clerk | None
    members: int
    windows: list[Window]


def follow_up(moves: Mapping[int, int | None], on: dt.date, *, today: dt.date) -> list[FollowUp]:
    """Each new owner's members of a hand-over, all of them last; nobody for those who went to the unassigned list."""
    named = {member: clerk for member, clerk in moves.items() if clerk is not None}
    members: dict[int, int] = defaultdict(int)
    for clerk in named.values():
        members[clerk] += 1
    first = _first_purchases(named, on)
    rows = []
    for owner in sorted(Clerk.objects.in_bulk(members).values(), key=lambda owner: owner.clerk_no):
        days = [first[member] for member, clerk in named.items() if clerk == owner.pk and member in first]
        rows.append(FollowUp(owner, members[owner.pk], _windows(days, on, today)))
    if len(rows) > 1:
        rows.append(FollowUp(None, len(named), _windows(list(first.values()), on, today)))
    return rows


def _windows(first: list[dt.date], on: dt.date, today: dt.date) -> list[Window]:
    return [
        Window(
            days,
            sum(day < on + dt.timedelta(days=days) for day in first),
            complete=today >= on + dt.timedelta(days=days),
        )
        for days in WINDOWS
    ]


def _first_purchases(named: Mapping[int, int], on: dt.date) -> dict[int, dt.date]:
    """The first day from `on` on that each member bought something while it was its new owner's."""
    found: dict[int, dt.date] = {}
    keys = list(named)
    for start in range(0, len(keys), _CHUNK):
        bought = (
            Sale.objects.filter(
                member__in=keys[start : start + _CHUNK],
                business_date__gte=on,
                business_date__lt=on + dt.timedelta(days=WINDOWS[-1]),
                parts__original__isnull=True,
                parts__settled=False,
                member__bindings__voided_by__isnull=True,
                member__bindings__valid_from__lte=F("business_date"),
                member__bindings__valid_to__gt=F("business_date"),
            )
            .values("member", "member__bindings__clerk")
            .annotate(first=Min("business_date"))
            .order_by()
        )
        for member, clerk, day in bought.values_list("member", "member__bindings__clerk", "first"):
            if named[member] == clerk:
                found[member] = day
    return found
