"""How each book changed in a month: state at opening x state at closing gives the kind of movement.

A book is a clerk's portfolio or a store's unassigned list. Opening + enrolled + transferred in - transferred out -
closed = closing, and likewise for the active members; a closing is the next month's opening. A member whom 李娜
enrols on the 3rd and who is moved to 王伟 on the 20th is enrolled and out for 李娜, in for 王伟. A clerk who has left
keeps the book until it is handed over.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Cast

from kpis.activity import PURCHASE, member_activity
from kpis.models import PortfolioMonth
from kpis.tiers import TIER, bounds_of, year_before
from portfolios.duplicates import surviving_cards_sql
from portfolios.models import Binding, Clerk, Member, Month, Posting, Store
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


class MovementError(ValueError):
    """Books that do not carry over from one month to the next; the message names the clerk and the figures."""


class Book(NamedTuple):
    """A clerk's portfolio (no store), or a store's unassigned list (no clerk)."""

    clerk_id: int | None
    store_id: int | None


class Transition(NamedTuple):
    """How many members went the same way: from the first book of the month to the last, and how active.

    A member that is not there at opening is enrolled in the month, and one that is not there at closing is closed in
    it. `store_id` is the home store, where one of the two books is the unassigned list.
    """

    first_clerk_id: int | None
    last_clerk_id: int | None
    store_id: int | None
    at_opening: bool
    at_closing: bool
    active_opening: bool
    active_closing: bool
    bought_before: bool
    members: int
    tier_a: int
    tier_b: int

    @property
    def first(self) -> Book:
        return Book(self.first_clerk_id, self.store_id if self.first_clerk_id is None else None)

    @property
    def last(self) -> Book:
        return Book(self.last_clerk_id, self.store_id if self.last_clerk_id is None else None)


def _customers(month: Month) -> models.QuerySet:
    """Every card with a ticket up to the month's end: last purchase before the month, last at all, year's spend."""
    after = month.ends_on + dt.timedelta(days=1)
    spend = Sum("net_amount", filter=Q(activity_date__gte=year_before(after)))
    return (
        member_activity(before=after)
        .values("member_id")
        .annotate(
            bought_before=Max("activity_date", filter=PURCHASE & Q(activity_date__lt=month.starts_on)),
            bought=Max("activity_date", filter=PURCHASE),
            # PostgreSQL sums bigints into numeric.
            spend=Cast(spend, models.BigIntegerField()),
        )
    )


def _groups(name: str, columns: str) -> str:
    """SQL of the cards that stand for one another at the end of a day (three times), and of these sums over each group.

    Nearly every card is alone and in neither: what has a group takes its figures from there, the others their own.
    """
    return f"""
        {name}_merged AS ({surviving_cards_sql()}),
        {name}_cards AS (
            SELECT card_id, survivor_id FROM {name}_merged UNION SELECT survivor_id, survivor_id FROM {name}_merged
        ),
        {name} AS (
            SELECT survivor_id, {columns} FROM {name}_cards JOIN card ON card.member_id = card_id GROUP BY survivor_id
        )"""


def _bound_on(day: dt.date) -> FilteredRelation:
    return FilteredRelation(
        "bindings",
        condition=Q(bindings__voided_by=None, bindings__valid_from__lte=day, bindings__valid_to__gt=day),
    )


def _owners(month: Month) -> models.QuerySet:
    """Every member that counts on some day of the month or closes in it: the first owner, and the owner at closing."""
    enrolled_for = (
        Binding.objects.valid()
        .filter(member=OuterRef("pk"), valid_from__lte=month.ends_on, valid_to__gt=OuterRef("counted_from"))
        .order_by("valid_from")
        .values("clerk")[:1]
    )
    members = Member.objects.order_by().annotate(
        at_closing=ExpressionWrapper(Q(counted_to__gt=month.ends_on), output_field=BooleanField()),
        closing=_bound_on(month.ends_on),
        last_clerk=F("closing__clerk"),
    )
    there = members.filter(counted_from__lt=month.starts_on, counted_to__gte=month.starts_on).annotate(
        opening=_bound_on(month.starts_on - dt.timedelta(days=1)),
        first_clerk=F("opening__clerk"),
        at_opening=Value(True),
    )
    enrolled = members.filter(counted_from__range=(month.starts_on, month.ends_on)).annotate(
        first_clerk=Subquery(enrolled_for), at_opening=Value(False)
    )
    columns = ("id", "store_id", "at_opening", "at_closing", "first_clerk", "last_clerk")
    return there.values(*columns).union(enrolled.values(*columns), all=True)


def transitions(month: Month) -> list[Transition]:
    """The members of the month by what became of them: one pass over bindings and ledger, counted in the database."""
    cards, card_params = _customers(month).query.sql_with_params()
    owners, owner_params = _owners(month).query.sql_with_params()
    bounds, same_scope = bounds_of("customer")
    # A window of one day is that day alone.
    window = dt.timedelta(days=settings.ACTIVITY_WINDOW_DAYS - 1)
    day_before = month.starts_on - dt.timedelta(days=1)
    sums = "MAX(bought_before) AS bought_before, MAX(bought) AS bought, CAST(SUM(spend) AS bigint) AS spend"
    statement = f"""
        WITH card AS ({cards}),
        {_groups("opened", "MAX(bought_before) AS bought")},
        {_groups("closed", sums)},
        customer AS (
            SELECT member_id, spend FROM card WHERE member_id NOT IN (SELECT card_id FROM closed_cards)
            UNION ALL SELECT survivor_id, spend FROM closed
        ),
        bounds AS ({bounds}),
        owned AS ({owners}),
        member AS (
            SELECT first_clerk, last_clerk, store_id, at_opening, at_closing,
                COALESCE(opened.bought, card.bought_before) AS bought_at_opening,
                COALESCE(closed.bought, card.bought) AS bought_at_closing,
                COALESCE(closed.bought_before, card.bought_before) AS bought_before,
                COALESCE(closed.spend, card.spend) AS spend
            FROM owned
            LEFT JOIN card ON card.member_id = owned.id
            LEFT JOIN opened ON opened.survivor_id = owned.id
            LEFT JOIN closed ON closed.survivor_id = owned.id
        ),
        state AS (
            SELECT first_clerk,
                CASE WHEN at_closing THEN last_clerk END AS last_clerk,
                CASE WHEN first_clerk IS NULL OR last_clerk IS NULL OR NOT at_closing THEN store_id END AS store,
                at_opening,
                at_closing,
                at_opening AND COALESCE(bought_at_opening >= %s, FALSE) AS active_opening,
                at_closing AND COALESCE(bought_at_closing >= %s, FALSE) AS active_closing,
                bought_before IS NOT NULL AS bought_before,
                {TIER} AS tier
            FROM member
            LEFT JOIN bounds ON {same_scope}
        )
        SELECT first_clerk, last_clerk, store, at_opening, at_closing, active_opening, active_closing, bought_before,
            COUNT(*), COUNT(CASE WHEN tier = 'A' THEN 1 END), COUNT(CASE WHEN tier = 'B' THEN 1 END)
        FROM state
        GROUP BY first_clerk, last_clerk, store, at_opening, at_closing, active_opening, active_closing, bought_before
    """
    merged = [day_before] * 3 + [month.ends_on] * 3
    active_since = [day_before - window, month.ends_on - window]
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It cannot estimate the rows behind `customer`, and would spend more time compiling than the work takes.
            cursor.execute("SET LOCAL jit = off")
        cursor.execute(statement, [*card_params, *merged, *owner_params, *active_since])
        return [Transition(*row) for row in cursor.fetchall()]


def classify(rows: Iterable[Transition]) -> dict[Book, Counter[str]]:
    """The figures of each book: what a transition adds to the book at its beginning and to the one at its end."""
    books: dict[Book, Counter[str]] = defaultdict(Counter)
    for row in rows:
        first, last, members = books[row.first], books[row.last], row.members
        moved = row.first != row.last

        first["opening" if row.at_opening else "enrolled"] += members
        if not row.at_closing:
            first["closed"] += members
        else:
            last["closing"] += members
            last["tier_a"] += row.tier_a
            last["tier_b"] += row.tier_b
            if moved:
                first["transferred_out"] += members
                last["transferred_in"] += members

        if row.active_opening:
            first["active_opening"] += members
        if row.active_closing:
            last["active_closing"] += members
        if row.active_opening and not row.active_closing:
            first["lapsed"] += members
        elif row.active_closing and not row.active_opening:
            last["reactivated" if row.bought_before else "newly_active"] += members
        elif row.active_opening and moved:
            first["active_out"] += members
            last["active_in"] += members
    return books


def _carry_over(books: Mapping[Book, Counter[str]], frozen: Iterable[PortfolioMonth]) -> None:
    """Holds each opening against the closing that was frozen for the month before.

    A member that waits unassigned is on the list of its home store as it is known now. Where that changed since the
    month before closed, the member has gone from one list to another: in there, out here.

    Raises MovementError where anything else differs.
    """
    before = {Book(row.clerk_id, row.store_id if row.clerk_id is None else None): row for row in frozen}
    for opening, closing, came, went in (
        ("opening", "closing", "transferred_in", "transferred_out"),
        ("active_opening", "active_closing", "active_in", "active_out"),
    ):
        gone = {
            book: (getattr(before[book], closing) if book in before else 0) - books[book][opening]
            for book in {*books, *before}
        }
        differing = {book.clerk_id: less for book, less in gone.items() if book.clerk_id is not None and less}
        for clerk in Clerk.objects.filter(pk__in=differing).order_by("clerk_no")[:1]:
            now = books[Book(clerk.pk, None)][opening]
            _refuse(str(clerk), opening, now, closing, now + differing[clerk.pk])
        lists = [book for book in gone if book.clerk_id is None]
        if any(gone[book] for book in lists):
            now = sum(books[book][opening] for book in lists)
            if sum(gone[book] for book in lists):
                _refuse("The unassigned lists", opening, now, closing, now + sum(gone[book] for book in lists))
            for book in lists:
                books[book][opening] += gone[book]
                books[book][went if gone[book] > 0 else came] += abs(gone[book])


def _refuse(whose: str, opening: str, now: int, closing: str, then: int) -> None:
    raise MovementError(
        f"{whose}: {opening} is {now}, but {closing} of the month before was frozen at {then}. Bindings, cards or "
        "purchases that count in a closed month have changed since, or ACTIVITY_WINDOW_DAYS has: set it back, or find "
        "out which rows were written past the month's close."
    )


def movement(month: Month) -> list[PortfolioMonth]:
    """The movement of every book in the month, computed from what is known now; nothing is saved.

    One row per clerk who is posted in the month or has anything to show, and one per store's unassigned list. A
    clerk's store is the home store on the last posted day of the month, or the last known before it.

    Raises MovementError if the books don't carry over from the month before, where that is frozen.
    """
    books = classify(transitions(month))
    previous = Month.objects.filter(pk=next_number(month.pk, -1), closed_at__isnull=False).first()
    if previous:
        _carry_over(books, PortfolioMonth.objects.filter(month=previous))
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=month.ends_on)
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
            **{name: books[book][name] for name in FIGURES},
        )
        for book in sorted(shown, key=lambda book: (book.clerk_id or 0, book.store_id or 0))
    ]


def freeze(month: Month) -> list[PortfolioMonth]:
    """Saves the month's movement for good; called within the transaction that closes the month.

    Raises MovementError as `movement` does.
    """
    return PortfolioMonth.objects.bulk_create(movement(month))


def portfolio_months(month: Month) -> list[PortfolioMonth]:
    """The movement of every book: as frozen where the month is closed, else as it stands now."""
    if month.is_closed:
        return list(PortfolioMonth.objects.filter(month=month).select_related("clerk", "store"))
    rows = movement(month)
    models.prefetch_related_objects(rows, "clerk", "store")
    return rows
