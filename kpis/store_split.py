"""Share a store's members among its clerks on a date: those without an owner, or all of them anew.

Counts follow the weights of the clerks' postings; A and B members and the spend of the twelve months before the date
are balanced with them. What the clerks own already counts: of 1,000 members, 100 of them owned by the first of ten
clerks, the other 900 go to the other nine.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from django.conf import settings
from django.db import transaction
from django.db.models import DateField, F, Min, Q, QuerySet, Value
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.models import Plan
from commission.rebinding import correct_since, hold_ledger
from kpis.tiers import member_spend, ranked_in_store, tiers_of
from portfolios.bindings import BindingChanges, assign
from portfolios.models import Binding, BindingBatch, Clerk, Member, Posting, Store, User, on_date
from portfolios.months import first_open_day, first_open_month, require_open
from portfolios.split import SplitClerk, SplitMember, SplitSummary, split, spread, summarise


class StoreSplitError(ValueError):
    """A store that cannot be split as asked; the message says why and what to do."""


@dataclass
class SplitReport:
    """What a split of one store did: how many members changed hands, and each clerk's portfolio before and after.

    Spend is in minor units; the spreads are (max - min) / mean of it per weight.
    """

    store: Store
    on: dt.date
    shared: int
    before: list[SplitSummary]
    after: list[SplitSummary]
    spread_before: Fraction
    spread_after: Fraction
    changes: BindingChanges
    notices: list[str] = field(default_factory=list)


def default_day(store: Store) -> dt.date:
    """The first open day; before any month is closed, the first day of the first ticket's month; before any ticket,
    the day from which the store can sell: it has a plan, without which no ticket is booked, and a clerk.

    Raises StoreSplitError where it never had a clerk and has members; today will do for a store without either.
    """
    month = first_open_month()
    if day := first_open_day() or (month.starts_on if month else None):
        return day
    staffed = Posting.objects.clerk_postings().filter(store=store).aggregate(first=Min("valid_from"))["first"]
    if staffed is None:
        if store.members.exists():
            raise StoreSplitError(
                _("Store %(store)s has no clerk to take its members: import its clerks' postings first.")
                % {"store": store.store_no}
            )
        return timezone.localdate()
    planned = Plan.objects.filter(Q(store=store) | Q(store=None)).aggregate(first=Min("valid_from"))["first"]
    return max(staffed, planned or staffed)


def split_stores(
    stores: Sequence[Store],
    *,
    on: dt.date | None = None,
    again: bool = False,
    recorded_by: User | None = None,
    source: str = "split_store",
    dry_run: bool = False,
) -> list[SplitReport]:
    """Shares each store's members from `on` (default_day() if None) among the clerks posted there on that date.

    Those without an owner and those whose owner has left before it; with `again` all of them. Booked sales from then
    on are corrected. One transaction, a batch of bindings for each store; a dry run rolls it back.
    Raises StoreSplitError for a store without clerks, SplitError where none has a weight, MonthError for a date in a
    closed month.
    """
    if on is not None:
        require_open(on, _("The split"))
    with transaction.atomic():
        hold_ledger()
        spend_on: dict[dt.date, dict[int, int]] = {}
        reports = []
        for store in stores:
            day = on or default_day(store)
            if day not in spend_on:
                spend_on[day] = member_spend(day)
            batch = BindingBatch(source=f"{source} {store.store_no}"[:200], recorded_by=recorded_by)
            reports.append(_split(store, day, again=again, spend=spend_on[day], batch=batch))
        since = min((report.changes.since for report in reports if report.changes.since), default=None)
        corrected = correct_since(since, source=source, recorded_by=recorded_by)
        if corrected:
            reports[-1].notices.append(_("%(count)d parts of booked tickets were corrected.") % {"count": corrected})
        transaction.set_rollback(dry_run)
    return reports


def split_store(
    store: Store,
    *,
    on: dt.date | None = None,
    again: bool = False,
    recorded_by: User | None = None,
    dry_run: bool = False,
) -> SplitReport:
    """`split_stores` of one store."""
    return split_stores([store], on=on, again=again, recorded_by=recorded_by, dry_run=dry_run)[0]


def _split(store: Store, on: dt.date, *, again: bool, spend: dict[int, int], batch: BindingBatch) -> SplitReport:
    weights = dict(
        Posting.objects.clerk_postings()
        .filter(on_date(on), store=store, clerk__in=Clerk.objects.posted_to(store, on))
        .values_list("clerk__clerk_no", "weight_percent")
    )
    clerks = [SplitClerk(clerk_no, weight) for clerk_no, weight in weights.items()]
    members = _members(store, on)
    # Each member's binding on the day from which it would be shared, whoever has it.
    bindings = {binding.member_id: binding for binding in _running(on, Q(member__store=store))}
    owners = {
        member: binding.clerk.clerk_no
        for member, binding in bindings.items()
        if not binding.clerk.left_on or binding.clerk.left_on >= max(on, binding.valid_from)
    }
    free = [member for member in members if again or member.pk not in owners]
    if free and not clerks:
        raise StoreSplitError(
            _("No clerk is posted to store %(store)s on %(day)s: import a posting, or choose another date.")
            % {"store": store.store_no, "day": on}
        )
    numbers = {member.pk: member.member_no for member in members}
    free_pks = {member.pk for member in free}
    # The whole portfolio of each clerk counts, with the members of other stores.
    held = {
        binding.member_id: (binding.member.member_no, binding.clerk.clerk_no)
        for binding in _running(on, Q(clerk__clerk_no__in=weights)).select_related("member", "clerk")
    }
    here = {pk: spend.get(pk, 0) for pk in numbers.keys() | held.keys()}
    tiers = tiers_of(here if ranked_in_store() else spend)
    to_split = [
        SplitMember(number, here[pk], tiers.get(pk, "C"), owners.get(pk, ""))
        for pk, number in numbers.items()
        if pk in free_pks
    ] + [
        SplitMember(number, here[pk], tiers.get(pk, "C"), clerk_no, locked=True)
        for pk, (number, clerk_no) in held.items()
        if pk not in free_pks
    ]
    before = summarise({member.member_no: member.owner for member in to_split}, to_split, clerks)
    changes = BindingChanges()
    after = before
    if free:
        assignment = split(to_split, clerks)
        after = summarise(assignment, to_split, clerks)
        changes = _apply(free, assignment, bindings, owners, on, again=again, batch=batch)
    shares = any(clerk.weight_percent for clerk in clerks)
    return SplitReport(
        store=store,
        on=on,
        shared=changes.made,
        before=before,
        after=after,
        spread_before=spread(before, clerks) if shares else Fraction(0),
        spread_after=spread(after, clerks) if shares else Fraction(0),
        changes=changes,
        notices=[
            _("Clerk %(clerk)s has %(count)d members, more than the %(limit)d that one clerk can look after.")
            % {"clerk": row.clerk_no, "count": row.members, "limit": settings.MEMBERS_PER_CLERK_LIMIT}
            for row in after
            if row.members > settings.MEMBERS_PER_CLERK_LIMIT
        ],
    )


def _members(store: Store, on: dt.date) -> list[Member]:
    """The store's open cards that count on the date; before the first ticket also those that count only later."""
    members = Member.objects.filter(store=store, counted_to__gt=Greatest(Value(on, DateField()), F("counted_from")))
    if first_open_month() is not None or first_open_day() is not None:
        members = members.filter(counted_from__lte=on)
    return list(members)


def _running(on: dt.date, which: Q) -> QuerySet[Binding]:
    """The bindings that run on the date, or on the day from which their member counts, if that is later."""
    day = Greatest(Value(on, DateField()), F("member__counted_from"))
    return Binding.objects.valid().filter(which, valid_from__lte=day, valid_to__gt=day).select_related("clerk")


def _apply(
    free: Iterable[Member],
    assignment: dict[str, str],
    bindings: dict[int, Binding],
    owners: dict[int, str],
    on: dt.date,
    *,
    again: bool,
    batch: BindingBatch,
) -> BindingChanges:
    clerks = dict(Clerk.objects.filter(clerk_no__in=set(assignment.values())).values_list("clerk_no", "pk"))
    moved = [member for member in free if assignment[member.member_no] != owners.get(member.pk)]
    if not moved:
        return BindingChanges()
    reasons = {
        member.pk: (
            Binding.Reason.INITIAL_SPLIT
            if member.pk not in bindings
            else Binding.Reason.REBALANCE
            if member.pk in owners
            else Binding.Reason.LEAVER
        )
        for member in moved
    }
    batch.save()
    return assign(
        {member.pk: clerks[assignment[member.member_no]] for member in moved},
        on=on,
        reason=reasons,
        batch=batch,
        keep_later=not again,
    )
