"""A store's books on a date, as a split, a rebalance or a hand-over sees them: who holds whom, and what each is worth.

What a clerk may expect of a portfolio in a month is a twelfth of its members' commission of the last 12 months: the
whole of what the clerk served, the plan's owner share of the rest. A member whose purchases brought 120.00 in
commission, half of it served by 李娜, is worth (60.00 + 60.00 x 70%) / 12 = 8.50 a month to her and 7.00 to 王伟.
"""

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from django.db import models
from django.db.models import Count, DateField, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Greatest

from commission.money import round_half_away
from kpis.activity import PURCHASE, member_activity
from kpis.tiers import member_spend, ranked_in_store, tiers_of, year_before
from portfolios.models import Binding, Clerk, Member, Posting, Store, on_date
from portfolios.months import first_open_day, first_open_month
from portfolios.split import SplitClerk, SplitMember

_CHUNK = 10_000


@dataclass(frozen=True)
class BookClerk:
    """A clerk of the store, with the weight of the posting: 100 a full post, 0 takes no members."""

    pk: int
    clerk_no: str
    name: str
    weight_percent: int

    @property
    def to_split(self) -> SplitClerk:
        return SplitClerk(self.clerk_no, self.weight_percent)


@dataclass
class BookMember:
    """A member in one of the books. `holder` is bound, whether or not that clerk has left by then; `owner` has not."""

    pk: int
    member_no: str
    of_store: bool
    locked: bool
    holder: int | None = None
    owner: int | None = None
    spend_amount: int = 0
    tier: str = "C"
    # By clerk (None: no server): purchases served, commission, and commission x owner share in basis points.
    served: dict[int | None, tuple[int, int, int]] = field(default_factory=dict)

    def worth_e4(self, clerk: int) -> int:
        """The commission of 12 months that goes to `clerk` as the owner, in ten-thousandths of the minor unit."""
        return sum(
            commission * 10_000 if server == clerk else shared
            for server, (_n, commission, shared) in self.served.items()
        )

    def served_most_by(self, clerks: Mapping[int, BookClerk]) -> str:
        """The number of the clerk among `clerks` who served the most purchases, the lower number where two did."""
        counts = [
            (-purchases, clerks[server].clerk_no)
            for server, (purchases, _commission, _shared) in self.served.items()
            if server is not None and server in clerks and purchases
        ]
        return min(counts)[1] if counts else ""

    def to_split(self, clerks: Mapping[int, BookClerk], *, locked: bool) -> SplitMember:
        owner = clerks[self.owner].clerk_no if self.owner is not None and self.owner in clerks else ""
        return SplitMember(
            self.member_no, self.spend_amount, self.tier, owner, locked=locked, served_by=self.served_most_by(clerks)
        )


@dataclass(frozen=True)
class Holding:
    """What one book holds; amounts in minor units, `expected_amount` per month."""

    members: int = 0
    a: int = 0
    b: int = 0
    spend_amount: int = 0
    expected_amount: int = 0


@dataclass
class StoreBooks:
    """The books of a store's clerks, with the store's members whoever holds them. `basis` is the digest of all that
    decides a change of owners: members, bindings, locks, clerks and weights. What is sold meanwhile is not in it."""

    store: Store
    on: dt.date
    clerks: dict[int, BookClerk]
    members: dict[int, BookMember]
    basis: str

    def holdings(self, moves: Mapping[int, int | None]) -> dict[int | None, Holding]:
        """What each clerk holds after these moves (none: as it is), by primary key; None is the unassigned list.

        The list counts the store's own members only. Who is not one of the store's clerks has no entry.
        """
        books: dict[int | None, list[BookMember]] = {pk: [] for pk in (*self.clerks, None)}
        for member in self.members.values():
            holder = moves.get(member.pk, member.holder)
            if holder in books and (holder is not None or member.of_store):
                books[holder].append(member)
        return {holder: _holding(holder, members) for holder, members in books.items()}


def _holding(holder: int | None, members: Collection[BookMember]) -> Holding:
    expected_e4 = sum(member.worth_e4(holder) for member in members) if holder is not None else 0
    return Holding(
        members=len(members),
        a=sum(member.tier == "A" for member in members),
        b=sum(member.tier == "B" for member in members),
        spend_amount=sum(member.spend_amount for member in members),
        expected_amount=round_half_away(expected_e4, 12 * 10_000),
    )


def store_books(
    store: Store,
    on: dt.date,
    *,
    also: Iterable[Clerk] = (),
    chosen: Collection[int] = (),
    spend: Mapping[int, int] | None = None,
) -> StoreBooks:
    """The books of the clerks posted to the store on a date, and of those in `also` (who hand over, at weight 0).

    `chosen` members are there too, whatever their store. `spend` is member_spend(on), where the caller has it.
    """
    postings = (
        Posting.objects.clerk_postings()
        .filter(on_date(on), store=store, clerk__in=Clerk.objects.posted_to(store, on))
        .select_related("clerk")
        .order_by("clerk__clerk_no")
    )
    clerks = {clerk.pk: BookClerk(clerk.pk, clerk.clerk_no, clerk.name, 0) for clerk in also}
    for posting in postings:
        clerk = posting.clerk
        clerks[clerk.pk] = BookClerk(clerk.pk, clerk.clerk_no, clerk.name, posting.weight_percent)
    of_store = {member.pk: member for member in _store_members(store, on)}
    bindings = {binding.member_id: binding for binding in _running(on, Q(member__store=store) | Q(clerk__in=clerks))}
    chosen_elsewhere = [pk for pk in chosen if pk not in of_store]
    for start in range(0, len(chosen_elsewhere), _CHUNK):
        there = chosen_elsewhere[start : start + _CHUNK]
        of_others = Member.objects.filter(pk__in=there, counted_from__lte=on, counted_to__gt=on)
        of_store_or_chosen = {member.pk: member for member in of_others}
        bindings.update({binding.member_id: binding for binding in _running(on, Q(member__in=of_store_or_chosen))})
        of_store.update(of_store_or_chosen)
    members = {
        pk: BookMember(pk, member.member_no, member.store_id == store.pk, member.locked)
        for pk, member in of_store.items()
    }
    for pk, binding in bindings.items():
        if pk not in members:
            if binding.clerk_id not in clerks:
                continue
            members[pk] = BookMember(pk, binding.member.member_no, False, binding.member.locked)
        members[pk].holder = binding.clerk_id
        if not binding.clerk.left_on or binding.clerk.left_on >= max(on, binding.valid_from):
            members[pk].owner = binding.clerk_id
    _value(store, on, members, clerks, member_spend(on) if spend is None else spend)
    state = [
        [str(on), store.pk, sorted((clerk.clerk_no, clerk.weight_percent) for clerk in clerks.values())],
        [
            [pk, member.owner, member.holder, member.locked, *(_span(bindings[pk]) if pk in bindings else ())]
            for pk, member in sorted(members.items())
        ],
    ]
    basis = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    return StoreBooks(store, on, dict(sorted(clerks.items(), key=lambda item: item[1].clerk_no)), members, basis)


def _span(binding: Binding) -> tuple[int, str]:
    return binding.pk, str(binding.valid_to)


def _store_members(store: Store, on: dt.date) -> QuerySet[Member]:
    """The store's open cards that count on the date; before the first ticket also those that count only later."""
    members = Member.objects.filter(store=store, counted_to__gt=Greatest(Value(on, DateField()), F("counted_from")))
    if first_open_month() is not None or first_open_day() is not None:
        members = members.filter(counted_from__lte=on)
    return members


def _running(on: dt.date, which: Q) -> QuerySet[Binding]:
    """The bindings that run on the date, or on the day from which their member counts, if that is later."""
    day = Greatest(Value(on, DateField()), F("member__counted_from"))
    return (
        Binding.objects.valid().filter(which, valid_from__lte=day, valid_to__gt=day).select_related("clerk", "member")
    )


def _value(
    store: Store,
    on: dt.date,
    members: Mapping[int, BookMember],
    clerks: Mapping[int, BookClerk],
    spend: Mapping[int, int],
) -> None:
    """Gives each member its spend and tier, and what each server sold it."""
    here = {pk: spend.get(pk, 0) for pk in members}
    tiers = tiers_of(here if ranked_in_store() else spend)
    for pk, member in members.items():
        member.spend_amount = here[pk]
        member.tier = tiers.get(pk, "C")
    year = member_activity(since=year_before(on), before=on)
    known = Q(member__store=store) | Q(
        member__in=Binding.objects.valid().filter(on_date(on), clerk__in=clerks).values("member")
    )
    elsewhere = [pk for pk, member in members.items() if not member.of_store and member.holder not in clerks]
    asked = [known] + [Q(member__in=elsewhere[start : start + _CHUNK]) for start in range(0, len(elsewhere), _CHUNK)]
    served: dict[int, dict[int | None, tuple[int, int, int]]] = defaultdict(dict)
    for which in asked:
        rows = (
            year.filter(which)
            .values("member", "server")
            .annotate(
                purchases=Count("pk", filter=PURCHASE),
                commission=Cast(Sum("commission_amount"), models.BigIntegerField()),
                shared=Cast(Sum(F("commission_amount") * F("plan__owner_share_bp")), models.BigIntegerField()),
            )
            .order_by()
        )
        for pk, server, *worth in rows.values_list("member", "server", "purchases", "commission", "shared"):
            served[pk][server] = (worth[0], worth[1], worth[2])
    for pk, member in members.items():
        member.served = served.get(pk, {})
