"""Each member of a month by its state at opening and its state at closing: in whose book, how active, in which tier.

Members who went the same way are counted together: of 40 who stay with 李娜, active and C at both ends, there is one
row of 40. A close keeps these rows with the members' keys.
"""

import datetime as dt
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from kpis.bulk_rows import Numbers, Truths, in_order, write_rows
from kpis.member_states import MemberStates, cohort_days
from kpis.models import CohortMonth, MemberGroup, PortfolioMonth
from kpis.tiers import ranked_in_store, tier_numbers
from portfolios.models import Posting
from portfolios.months import next_number


class Transition(NamedTuple):
    """How many members went the same way: from the first book of the month to the last, how active, and their tiers.

    Without a clerk a book is the unassigned list of its store; a clerk's store is the home store at that end of the
    month, None where there was none. A member that is not there at opening is enrolled in the month, and one that is
    not there at closing is closed in it.
    """

    first_clerk_id: int | None
    first_store_id: int | None
    last_clerk_id: int | None
    last_store_id: int | None
    at_opening: bool
    at_closing: bool
    active_opening: bool
    active_closing: bool
    bought_before: bool
    opening_tier: str
    closing_tier: str
    members: int


# --- Ways ----------------------------------------------------------------------------------------------------------

_TIERS = np.array(["", "C", "B", "A"])
_STATES = ("at_opening", "at_closing", "active_opening", "active_closing", "bought_before")


def _tiers(spend: Numbers, stores: Numbers, there: Truths) -> Numbers:
    """The tier of each card that is there, as its place in _TIERS, ranked among all cards."""
    if not ranked_in_store():
        return np.where(there, tier_numbers(spend), 0)
    tiers = np.zeros(len(spend), dtype=np.int64)
    by_store = np.argsort(stores, kind="stable")
    for cards in np.split(by_store, np.nonzero(np.diff(stores[by_store]))[0] + 1):
        tiers[cards] = tier_numbers(spend[cards])
    return np.where(there, tiers, 0)


def _ways(states: MemberStates) -> tuple[list[Transition], Numbers]:
    """The ways that members went, in order, and the places of the members who went the first one, the second, ..."""
    truths = [getattr(states, name) for name in _STATES]
    opening_tiers = _tiers(states.opening_spend, states.stores, states.at_opening)
    closing_tiers = _tiers(states.spend, states.stores, states.at_closing)
    # One number says all of a way: to put members in order is to sort numbers.
    way = states.first_books * (len(states.books) + 1) + states.last_books
    for truth in truths:
        way = way * 2 + truth
    way = (way * len(_TIERS) + opening_tiers) * len(_TIERS) + closing_tiers
    (cards,) = np.nonzero(states.there)
    cards = cards[in_order(way[cards])]
    _found, starts, members = np.unique(way[cards], return_index=True, return_counts=True)
    firsts = cards[starts]
    columns = [
        *_books(states, firsts),
        *(truth[firsts].tolist() for truth in truths),
        _TIERS[opening_tiers[firsts]].tolist(),
        _TIERS[closing_tiers[firsts]].tolist(),
        members.tolist(),
    ]
    return [Transition._make(row) for row in zip(*columns, strict=True)], cards


def _books(states: MemberStates, cards: Numbers) -> list[list[int | None]]:
    """Of these cards the clerk and store at opening, and the clerk and store at closing."""
    month = states.month
    opening, closing = (_homes(day) for day in (month.starts_on - dt.timedelta(days=1), states.last))
    # A clerk's home store at opening is the one that the month before was closed with.
    frozen = PortfolioMonth.objects.filter(month=next_number(month.pk, -1), clerk__isnull=False)
    opening |= dict(frozen.values_list("clerk", "store"))
    # One more, for who is in no book at closing.
    books = np.append(states.books, 0)
    first, last, there = states.first_books[cards], states.last_books[cards], states.at_opening[cards]
    first_stores = np.where(there, _stores(books, opening)[first], _stores(books, closing)[first])
    numbers = [np.maximum(books[first], 0), first_stores, np.maximum(books[last], 0), _stores(books, closing)[last]]
    return [[number or None for number in column.tolist()] for column in numbers]


def _homes(day: dt.date) -> dict[int, int | None]:
    """Each clerk's home store on a day, or the last one before it."""
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=day).order_by("valid_from")
    return dict(postings.values_list("clerk", "store"))


def _stores(books: Numbers, homes: Mapping[int, int | None]) -> Numbers:
    """The store of each book, 0 for none: that of an unassigned list, or the clerk's home store."""
    return np.array([-book if book < 0 else homes.get(book) or 0 for book in books.tolist()], dtype=np.int64)


def transitions(states: MemberStates) -> list[Transition]:
    """The members of the month by what became of them, counted; nothing is kept."""
    return _ways(states)[0]


# --- What a close keeps --------------------------------------------------------------------------------------------


def keep(states: MemberStates) -> list[Transition]:
    """Writes down for good who went which way, and how each month's newcomers hold; returns the members, counted.

    Groups and the keys in them are written in order, so that the same month made twice has the same digest.
    """
    ways, cards = _ways(states)
    keys = list(map(str, states.cards.keys[cards].tolist()))
    ends = accumulate(way.members for way in ways)
    write_rows(
        MemberGroup._meta.db_table,
        ("month_id", *Transition._fields, "member_ids"),
        ((states.month.pk, *way, ",".join(keys[end - way.members : end])) for way, end in zip(ways, ends, strict=True)),
    )
    _keep_cohorts(states)
    return ways


def _keep_cohorts(states: MemberStates) -> None:
    """Of the cards enrolled in each of the last months, how many there are and how many of them are active.

    Cards that were merged into another one are left out: the surviving card stands for them.
    """
    # The month itself comes first there.
    begins = np.array([starts_on.toordinal() for starts_on, _ends_on in reversed(cohort_days(states.month))])
    new = states.new_members
    followed = new.enrolled_on >= begins[0]
    months = np.searchsorted(begins, new.enrolled_on[followed], side="right") - 1
    clerks, stores = new.enrolled_by[followed], new.stores[followed]
    # One number says all of a cohort, as of a way.
    shape = (len(begins), int(stores.max(initial=0)) + 1, int(clerks.max(initial=0)) + 1)
    found, cohort, members = np.unique(
        np.ravel_multi_index((months, stores, clerks), shape), return_inverse=True, return_counts=True
    )
    active = np.zeros(len(found), dtype=np.int64)
    np.add.at(active, cohort[states.active_closing[new.cards[followed]]], 1)
    columns = (*np.unravel_index(found, shape), members, active)
    write_rows(
        CohortMonth._meta.db_table,
        ("month_id", "enrolled_month", "store_id", "clerk_id", "members", "active"),
        (
            (states.month.pk, next_number(states.month.pk, month - len(begins) + 1), store, clerk or None, *counts)
            for month, store, clerk, *counts in zip(*(column.tolist() for column in columns), strict=True)
        ),
    )
