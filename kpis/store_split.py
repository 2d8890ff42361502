"""Share a store's members among its clerks on a date: those without an owner, or all of them anew.

Counts follow the weights of the clerks' postings; A and B members and the spend of the twelve months before the date
are balanced with them. What the clerks own already counts: of 1,000 members, 100 of them owned by the first of ten
clerks, the other 900 go to the other nine.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from django.conf import settings
from django.db import transaction
from django.db.models import Min, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.models import Plan
from commission.rebinding import correct_since, hold_ledger
from kpis.store_books import BookMember, StoreBooks, store_books
from kpis.tiers import member_spend
from portfolios.bindings import BindingChanges, assign
from portfolios.models import Binding, BindingBatch, Posting, Store, User
from portfolios.months import first_open_day, first_open_month, require_open
from portfolios.split import SplitSummary, split, spread, summarise


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
    planned = Plan.objects.issued().filter(Q(store=store) | Q(store=None)).aggregate(first=Min("valid_from"))["first"]
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


def share_out(
    books: StoreBooks, free: Collection[BookMember], *, takers: Collection[int], keep_within_bp: int | None = None
) -> dict[int, int]:
    """Who gets each of the free members, by primary keys: a fair split among the takers, whose books count already.

    `keep_within_bp` lets members stay with the taker who served them most while the spread of the spend stays under it.
    Raises SplitError where none of the takers has a weight above 0.
    """
    taking = {pk: books.clerks[pk] for pk in takers}
    free_pks = {member.pk for member in free}
    to_split = [member.to_split(taking, locked=False) for member in free] + [
        member.to_split(taking, locked=True)
        for member in books.members.values()
        if member.pk not in free_pks and member.owner in taking
    ]
    assignment = split(to_split, [clerk.to_split for clerk in taking.values()], keep_within_bp=keep_within_bp)
    keys = {clerk.clerk_no: pk for pk, clerk in taking.items()}
    return {member.pk: keys[assignment[member.member_no]] for member in free}


def shareable(books: StoreBooks, *, again: bool) -> list[BookMember]:
    """The store's own members that a split shares: those without an owner; with `again` all but the locked ones."""
    return [
        member
        for member in books.members.values()
        if member.of_store and (member.owner is None or (again and not member.locked))
    ]


def reasons(books: StoreBooks, moves: Iterable[int]) -> dict[int, Binding.Reason]:
    """Why each of these members gets an owner: never had one, the owner has left, or another is better."""
    found = {}
    for pk in moves:
        member = books.members[pk]
        found[pk] = (
            Binding.Reason.INITIAL_SPLIT
            if member.holder is None
            else Binding.Reason.LEAVER
            if member.owner is None
            else Binding.Reason.REBALANCE
        )
    return found


def _split(store: Store, on: dt.date, *, again: bool, spend: dict[int, int], batch: BindingBatch) -> SplitReport:
    books = store_books(store, on, spend=spend)
    clerks = [clerk.to_split for clerk in books.clerks.values()]
    free = shareable(books, again=again)
    if free and not clerks:
        raise StoreSplitError(
            _("No clerk is posted to store %(store)s on %(day)s: import a posting, or choose another date.")
            % {"store": store.store_no, "day": on}
        )
    counted = {member.pk: member for member in [*free, *books.members.values()] if member.of_store or member.owner}
    to_split = [member.to_split(books.clerks, locked=False) for member in counted.values()]
    owners = {member.member_no: member.owner for member in to_split}
    before = after = summarise(owners, to_split, clerks)
    changes = BindingChanges()
    if free:
        given = share_out(books, free, takers=books.clerks)
        numbers = {member.pk: books.clerks[given[member.pk]].clerk_no for member in free}
        after = summarise(
            owners | {books.members[pk].member_no: clerk_no for pk, clerk_no in numbers.items()}, to_split, clerks
        )
        moves = {pk: clerk for pk, clerk in given.items() if clerk != books.members[pk].owner}
        if moves:
            batch.save()
            changes = assign(moves, on=on, reason=reasons(books, moves), batch=batch, keep_later=not again)
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
