"""Who owned whom on any date: an owner, a portfolio, and a member's whole history.

A member bound to 李娜 from 2026-03-01 and to 王伟 from 2026-06-01 is in 李娜's portfolio on 2026-05-31 and in 王伟's on
2026-06-01. Nothing is kept for it: each answer is read from the bindings.
"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import OuterRef, Q, QuerySet, Subquery

from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, Posting, Store, on_date


@dataclass(frozen=True)
class HistoryEntry:
    """One line of a member's history: a clerk's days from `since` to `last_day`, or (no clerk) days without an owner.

    `last_day` is None where no end is known. A voided binding never counted.
    """

    clerk: Clerk | None
    since: dt.date
    last_day: dt.date | None
    current: bool = False
    reason: str = ""
    batch: BindingBatch | None = None
    ended_by: BindingBatch | None = None
    voided_by: BindingBatch | None = None
    binding_id: int | None = None


def owners_on(member_ids: Collection[int], on: dt.date) -> dict[int, Binding]:
    """The bindings by which the members have an owner on a date, each with its clerk; who has none is not there."""
    bound = Binding.objects.valid().filter(on_date(on), member__in=member_ids).exclude(clerk__left_on__lt=on)
    return {binding.member_id: binding for binding in bound.select_related("clerk")}


def clerk_portfolio(clerk: Clerk, on: dt.date) -> QuerySet[Binding]:
    """The bindings of the members who are the clerk's on a date, by card number.

    A leaver's book stays the leaver's until it is handed over, though nobody owns its members then.
    """
    return _counting(Binding.objects.valid().filter(on_date(on), clerk=clerk), on)


def store_portfolio(store: Store, on: dt.date) -> QuerySet[Binding]:
    """The bindings of the members whose owner has the store as home store on a date, by clerk and card number.

    Where a clerk has no home store on that date, the last one before it counts. With the store's unassigned list this
    is each member exactly once over all stores.
    """
    home = Posting.objects.clerk_postings().filter(clerk=OuterRef("pk"), valid_from__lte=on).order_by("-valid_from")
    clerks = Clerk.objects.annotate(home_id=Subquery(home.values("store")[:1])).filter(
        Q(left_on__isnull=True) | Q(left_on__gte=on), home_id=store.pk
    )
    return _counting(Binding.objects.valid().filter(on_date(on), clerk__in=clerks), on).order_by(
        "clerk__clerk_no", "member__member_no"
    )


def unassigned_list(store: Store, on: dt.date) -> QuerySet[Member]:
    """The store's members without an owner on a date, by card number. The home store is the one known today."""
    return Member.objects.unassigned(on).filter(store=store).order_by("member_no")


def _counting(bindings: QuerySet[Binding], on: dt.date) -> QuerySet[Binding]:
    return (
        bindings.filter(member__counted_from__lte=on, member__counted_to__gt=on)
        .select_related("member__store", "clerk")
        .order_by("member__member_no")
    )


def history(member: Member, *, today: dt.date) -> list[HistoryEntry]:
    """All that ever happened to a member's ownership, the latest first: bindings, voided ones too, and the gaps."""
    bindings = list(
        Binding.objects.filter(member=member)
        .select_related(
            "clerk", "batch__recorded_by__clerk", "ended_by__recorded_by__clerk", "voided_by__recorded_by__clerk"
        )
        .order_by("valid_from", "pk")
    )
    entries = [
        HistoryEntry(
            clerk=binding.clerk,
            since=binding.valid_from,
            last_day=_last_day(binding.valid_to),
            current=binding.voided_by_id is None and binding.valid_from <= today < _owned_until(binding),
            reason=binding.get_reason_display(),
            batch=binding.batch,
            ended_by=binding.ended_by,
            voided_by=binding.voided_by,
            binding_id=binding.pk,
        )
        for binding in bindings
    ]
    entries += _gaps(member, [binding for binding in bindings if binding.voided_by_id is None], today)
    # What was voided stands below what counts from the same day.
    return sorted(entries, key=lambda entry: (entry.since, entry.voided_by is None), reverse=True)


def _gaps(member: Member, valid: list[Binding], today: dt.date) -> list[HistoryEntry]:
    """The days without an owner: before the first binding, between two, after the owner has left, after the last."""
    gaps, since = [], member.counted_from
    for start, end in [*((binding.valid_from, _owned_until(binding)) for binding in valid), (member.counted_to,) * 2]:
        if since < start and since <= today:
            gaps.append(HistoryEntry(None, since, _last_day(start), current=since <= today < start))
        since = max(since, end)
    return gaps


def _owned_until(binding: Binding) -> dt.date:
    """The first day on which the binding gives no owner: its end, or the day after its clerk's last."""
    left_on = binding.clerk.left_on
    return min(binding.valid_to, left_on + dt.timedelta(days=1)) if left_on else binding.valid_to


def _last_day(end: dt.date) -> dt.date | None:
    return None if end == OPEN_END else end - dt.timedelta(days=1)
