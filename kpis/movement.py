"""How each book changed in a month: state at opening x state at closing gives the kind of movement.

A book is a clerk's portfolio or a store's unassigned list. Opening + enrolled + transferred in - transferred out -
closed = closing, and likewise for the active members; a closing is the next month's opening. A member whom 李娜
enrols on the 3rd and who is moved to 王伟 on the 20th is enrolled and out for 李娜, in for 王伟. A clerk who has left
keeps the book until it is handed over.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from django.db import models

from kpis.bulk_rows import write_all
from kpis.classification import Transition, keep, transitions
from kpis.member_states import MemberStates, member_states
from kpis.models import PortfolioMonth, StoreMonth
from portfolios.models import Clerk, Month, Posting, Store
from portfolios.months import next_number

FIGURES = (
    "opening",
    "enrolled",
    "transferred_in",
    "transferred_out",
    "closed",
    "closing",
    "active_opening",
    "newly_active",
    "reactivated",
    "active_in",
    "active_out",
    "lapsed",
    "active_closing",
    "tier_a",
    "tier_b",
)


Key = TypeVar("Key")


class MovementError(ValueError):
    """Books that do not carry over from one month to the next; the message names the clerk and the figures."""


class Book(NamedTuple):
    """A clerk's portfolio (no store), or a store's unassigned list (no clerk)."""

    clerk_id: int | None
    store_id: int | None


def classify(
    rows: Iterable[Transition], *, first: Callable[[Transition], Key], last: Callable[[Transition], Key]
) -> dict[Key, Counter[str]]:
    """The figures of each book: what a transition adds to the book at its beginning and to the one at its end.

    `first` and `last` say which books these are: a clerk's, a store's, or the chain's. So the identities hold for each
    of them, and who moves within one book adds to neither figure of transfers.
    """
    books: dict[Key, Counter[str]] = defaultdict(Counter)
    for row in rows:
        first_key, last_key, members = first(row), last(row), row.members
        begins, ends = books[first_key], books[last_key]
        moved = row.at_closing and first_key != last_key

        begins["opening" if row.at_opening else "enrolled"] += members
        if not row.at_closing:
            begins["closed"] += members
        else:
            ends["closing"] += members
            if row.closing_tier != "C":
                ends["tier_a" if row.closing_tier == "A" else "tier_b"] += members
            if moved:
                begins["transferred_out"] += members
                ends["transferred_in"] += members

        if row.active_opening:
            begins["active_opening"] += members
        if row.active_closing:
            ends["active_closing"] += members
        if row.active_opening and not row.active_closing:
            begins["lapsed"] += members
        elif row.active_closing and not row.active_opening:
            ends["reactivated" if row.bought_before else "newly_active"] += members
        elif row.active_opening and moved:
            begins["active_out"] += members
            ends["active_in"] += members
    return books


class Movements(NamedTuple):
    """The figures of a month: of each book, of each store (None: clerks without one), and of the chain."""

    books: dict[Book, Counter[str]]
    stores: dict[int | None, Counter[str]]
    chain: Counter[str]


def _movements(rows: list[Transition]) -> Movements:
    # Of a store and of the chain the clerks do not matter: rows that differ in them alone are taken together first.
    of_stores = _together(rows, lambda row: (None, row[1], None, *row[3:-1]))
    of_chain = _together(of_stores, lambda row: (None, None, None, None, *row[4:-1]))
    stores = classify(of_stores, first=lambda row: row.first_store_id, last=lambda row: row.last_store_id)
    chain = classify(of_chain, first=lambda row: None, last=lambda row: None)
    # By place, and books made of their keys afterwards, for the same reason.
    books = classify(
        rows,
        first=lambda row: (row[0], row[1] if row[0] is None else None),
        last=lambda row: (row[2], row[3] if row[2] is None else None),
    )
    return Movements({Book._make(key): figures for key, figures in books.items()}, stores, chain[None])


def _together(rows: Iterable[Transition], way: Callable[[Transition], tuple[Any, ...]]) -> list[Transition]:
    """The rows that are alike in `way`, all that a row has but its members, as one; by place, for there are many."""
    counted: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        counted[way(row)] += row.members
    return [Transition._make((*alike, members)) for alike, members in counted.items()]


CARRIED = (("opening", "closing"), ("active_opening", "active_closing"))


def _carry_over(found: Movements, previous: Month) -> None:
    """Holds each opening against the closing that was frozen for the month before: of books, stores and the chain.

    Raises MovementError where anything differs.
    """
    frozen = PortfolioMonth.objects.filter(month=previous)
    for opening, closing in CARRIED:
        before = {
            Book(clerk, store if clerk is None else None): members
            for clerk, store, members in frozen.values_list("clerk", "store", closing)
        }
        gone = {
            book: before.get(book, 0) - (found.books[book][opening] if book in found.books else 0)
            for book in {*found.books, *before}
        }
        differing = {book.clerk_id: less for book, less in gone.items() if book.clerk_id is not None and less}
        for clerk in Clerk.objects.filter(pk__in=differing).order_by("clerk_no")[:1]:
            now = found.books[Book(clerk.pk, None)][opening]
            _refuse(str(clerk), opening, now, closing, now + differing[clerk.pk])
        lists = [book for book in gone if book.clerk_id is None]
        if any(gone[book] for book in lists):
            now = sum(found.books[book][opening] for book in lists if book in found.books)
            _refuse("The unassigned lists", opening, now, closing, now + sum(gone[book] for book in lists))
    for row in StoreMonth.objects.filter(month=previous).select_related("store"):
        now_found = found.stores.get(row.store_id, Counter()) if row.store else found.chain
        for opening, closing in CARRIED:
            if now_found[opening] != getattr(row, closing):
                _refuse(str(row.store or "The chain"), opening, now_found[opening], closing, getattr(row, closing))


def _refuse(whose: str, opening: str, now: int, closing: str, then: int) -> None:
    raise MovementError(
        f"{whose}: {opening} is {now}, but {closing} of the month before was frozen at {then}. Bindings, cards or "
        "purchases that count in a closed month have changed since, or ACTIVITY_WINDOW_DAYS has: set it back, or find "
        "out which rows were written past the month's close."
    )


def _checked(month: Month, rows: list[Transition]) -> Movements:
    """The movements that these members make.

    Raises MovementError if they don't carry over from the month before, where that is frozen.
    """
    found = _movements(rows)
    previous = Month.objects.filter(pk=next_number(month.pk, -1), closed_at__isnull=False).first()
    if previous:
        _carry_over(found, previous)
    return found


def movement(month: Month) -> list[PortfolioMonth]:
    """The movement of every book in the month, computed from what is known now; nothing is saved.

    One row per clerk who is posted in the month or has anything to show, and one per store's unassigned list. A
    clerk's store is the home store on the last posted day of the month, or the last known before it.

    Raises MovementError if the books don't carry over from the month before, where that is frozen.
    """
    states = member_states(month)
    return _portfolio_months(month, month.ends_on, _checked(month, transitions(states)).books)


def movement_so_far(states: MemberStates) -> list[PortfolioMonth]:
    """The same as of the end of a day of an open month, and not held against the month before; nothing is saved."""
    return _portfolio_months(states.month, states.last, _movements(transitions(states)).books)


def _portfolio_months(month: Month, last: dt.date, books: Mapping[Book, Counter[str]]) -> list[PortfolioMonth]:
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=last)
    home = dict(postings.order_by("valid_from").values_list("clerk", "store"))
    posted = postings.filter(valid_to__gt=month.starts_on).exclude(clerk__left_on__lt=month.starts_on)
    shown = {Book(clerk, None) for clerk in posted.values_list("clerk", flat=True)}
    shown |= {Book(None, store) for store in Store.objects.values_list("pk", flat=True)}
    shown |= {book for book, figures in books.items() if any(figures.values())}
    return [
        PortfolioMonth(
            month=month,
            clerk_id=book.clerk_id,
            store_id=book.store_id if book.clerk_id is None else home.get(book.clerk_id),
            **{name: books[book][name] if book in books else 0 for name in FIGURES},
        )
        for book in sorted(shown, key=lambda book: (book.clerk_id or 0, book.store_id or 0))
    ]


def _store_months(month: Month, found: Movements) -> list[StoreMonth]:
    """One row per store, and the chain's."""
    figures: list[tuple[int | None, Counter[str]]] = [
        (store, found.stores.get(store, Counter())) for store in Store.objects.values_list("pk", flat=True)
    ]
    return [
        StoreMonth(month=month, store_id=store, **{name: own[name] for name in FIGURES})
        for store, own in [*figures, (None, found.chain)]
    ]


def freeze(states: MemberStates) -> list[PortfolioMonth]:
    """Saves the month's movement for good, with the members behind it; called within the transaction of the close.

    Raises MovementError as `movement` does.
    """
    month = states.month
    found = _checked(month, keep(states))
    rows = _portfolio_months(month, states.last, found.books)
    write_all(rows)
    write_all(_store_months(month, found))
    return rows


def portfolio_months(month: Month) -> list[PortfolioMonth]:
    """The movement of every book: as frozen where the month is closed, else as it stands now."""
    if month.is_closed:
        return list(PortfolioMonth.objects.filter(month=month).select_related("clerk", "store"))
    rows = movement(month)
    models.prefetch_related_objects(rows, "clerk", "store")
    return rows
