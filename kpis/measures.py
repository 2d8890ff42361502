"""The measures of every clerk's month, for the whole chain at once: how new members take on, who stays, what is spent.

What members spent is added up from the same arrays that the movement is made from. A clerk with 40 active members who
spent 6,000.00 in 60 tickets has 150.00 a member and 100.00 a ticket. An open month's are those of the last night.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from django.db import connection, models, transaction
from django.db.models import Q, Sum

from commission.bands import accelerators
from commission.models import Attribution
from kpis.bulk_rows import Numbers, planning, write_rows
from kpis.contact_results import calls_between
from kpis.measure_models import REPURCHASE_DAYS, SUMS, MeasureMonth, MeasuresSoFar, MeasureSums
from kpis.member_states import MemberStates, keys_in_groups, member_states
from kpis.models import MemberGroup, PortfolioMonth
from kpis.movement import movement_so_far
from kpis.new_members import taken_on
from kpis.upkeep import month_upkeep
from portfolios.models import Month, Posting, Store
from portfolios.months import next_number
from portfolios.postings import postings_in

Book = tuple[int | None, int | None]


def freeze_measures(states: MemberStates, movements: Iterable[PortfolioMonth]) -> None:
    """Writes down the sums of a month for good, with its movement; called within the transaction of the close.

    The movement of the month before has to be frozen, if there was such a month: its key members are those at opening.
    """
    month = states.month
    MeasuresSoFar.objects.filter(month=month).delete()
    columns = ("clerk_id", "store_id", *SUMS)
    rows = ((month.pk, *(row[name] for name in columns)) for row in _books(states, movements))
    write_rows(MeasureMonth._meta.db_table, ("month_id", *columns), rows)


def measure_as_closed(month: Month) -> None:
    """Makes the sums of an open month anew as its close would freeze them now: of all its days, of what is known."""
    with transaction.atomic():
        MeasuresSoFar.objects.filter(month=month).delete()
        _write_so_far(month, month.ends_on)


def _write_so_far(month: Month, last: dt.date) -> int:
    after = last + dt.timedelta(days=1)
    states = member_states(month, last)
    books = _books(states, movement_so_far(states))
    rows = [MeasuresSoFar(month=month, as_of=after, **row) for row in books]
    return len(MeasuresSoFar.objects.bulk_create(rows, batch_size=500))


def refresh_measures(on: dt.date) -> int:
    """Makes the sums of every open month anew as of the start of a day; returns how many books they are of."""
    written = 0
    with transaction.atomic():
        MeasuresSoFar.objects.all().delete()
        for month in Month.objects.filter(closed_at__isnull=True, starts_on__lt=on):
            last = min(month.ends_on, on - dt.timedelta(days=1))
            written += _write_so_far(month, last)
    return written


def measured(month: Month) -> models.QuerySet[Any]:
    """The sums of every book of a month: as frozen, or as of the last night where the month is open."""
    rows: type[MeasureSums] = MeasureMonth if month.is_closed else MeasuresSoFar
    return rows._default_manager.filter(month=month)


def measured_as_of(month: Month) -> dt.date | None:
    """Of an open month, the day before which what was bought counts; None where nothing is measured so far."""
    return MeasuresSoFar.objects.filter(month=month).values_list("as_of", flat=True).first()


def _books(states: MemberStates, movements: Iterable[PortfolioMonth]) -> list[dict[str, Any]]:
    """The sums of each book up to a day of the month: of every clerk posted in it, and of whoever has any.

    `movements` are those of the books up to that day. A clerk's store is the home store on that day, or the last one
    before. Without a clerk it is what is nobody's.
    """
    month, last = states.month, states.last
    found: dict[Book, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for book, sums in _member_sums(states).items():
        found[book] |= sums
    for clerk, (member_pay, variable_pay) in _pay(month).items():
        found[clerk, None] |= {"member_pay_amount": member_pay, "variable_pay_amount": variable_pay}
    for row in movements:
        names = ("opening", "organic_growth", "active_opening", "organic_active_growth", "lapsed")
        if any(values := {name: getattr(row, name) for name in names}):
            found[row.clerk_id, None if row.clerk_id else row.store_id] |= values
    for own in month_upkeep(month, working=states.worked):
        found[own.clerk_id, None] |= {"profiles_due": own.due, "profiles_done": own.done}
    for calls in calls_between(month.starts_on, last):
        found[calls.clerk_id, None] |= {"contacts": calls.contacts, "contacts_reached": calls.reached}
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=last)
    posted = postings.filter(valid_to__gt=month.starts_on).exclude(clerk__left_on__lt=month.starts_on)
    for clerk in posted.values_list("clerk", flat=True):
        found[clerk, None]
    for store in Store.objects.values_list("pk", flat=True):
        found[None, store]
    home = dict(postings.order_by("valid_from").values_list("clerk", "store"))
    return [
        {"clerk_id": clerk, "store_id": home.get(clerk) if clerk else store, **found[clerk, store]}
        for clerk, store in sorted(found, key=lambda book: (book[0] or 0, book[1] or 0))
    ]


def _pay(month: Month) -> dict[int, tuple[int, int]]:
    """By clerk: what own members brought (served, and served by another), and the variable pay of it all.

    As on the payslip before held, carried and adjusted amounts: the ledger's commission, and the accelerator.
    """
    own: dict[int, int] = {}
    variable: dict[int, int] = defaultdict(int)
    credits: dict[int, int] = defaultdict(int)
    rows = Attribution.objects.filter(month=month).order_by()
    owned = rows.filter(owner__isnull=False).values_list("owner")
    served = rows.filter(server__isnull=False).values_list("server")
    of_kind = Q(pay_line=Attribution.PayLine.KIND)
    # For either there is an index with all of it, in order, which is read in half the time of the ledger.
    with connection.cursor() as cursor, planning(cursor, random_page_cost="1.1"):
        for clerk, commission, from_own, credit in owned.annotate(
            commission=Sum("owner_commission_amount"),
            own=Sum("owner_commission_amount", filter=of_kind, default=0),
            credit=Sum("owner_credit_amount"),
        ):
            own[clerk], variable[clerk], credits[clerk] = int(from_own), int(commission), int(credit)
        for clerk, commission, credit in served.annotate(
            commission=Sum("server_commission_amount"), credit=Sum("server_credit_amount")
        ):
            variable[clerk] += int(commission)
            credits[clerk] += int(credit)
    for clerk, amount in accelerators(month, credits, postings_in(month)).items():
        variable[clerk] += amount
    return {clerk: (own.get(clerk, 0), amount) for clerk, amount in variable.items()}


# --- By book -------------------------------------------------------------------------------------------------------

_MEMBER_SUMS = SUMS[: SUMS.index("member_pay_amount")]


def _member_sums(states: MemberStates) -> dict[Book, dict[str, int]]:
    """What members add to each book at the end of the day; without a clerk it is the list of the store.

    New members count for who enrolled them, key members for their owner at opening, spend for the owner on the day.
    """
    sums = {name: np.zeros(len(states.books) + 1, dtype=np.int64) for name in _MEMBER_SUMS}

    def add(name: str, books: Numbers, values: Numbers | int = 1) -> None:
        np.add.at(sums[name], books, values)

    new = taken_on(states)
    enrolled_by = states.book_places(new.books)
    add("effective_new", enrolled_by[new.effective])
    for days in REPURCHASE_DAYS:
        add(f"new_{days}", enrolled_by[new.asked[days]])
        add(f"again_{days}", enrolled_by[new.again[days]])

    before = MemberGroup.objects.filter(month=next_number(states.month.pk, -1), at_closing=True)
    keys, books = keys_in_groups(before.filter(closing_tier__in=("A", "B")))
    key_books = states.book_places(books)
    add("key_opening", key_books)
    # The card that survives a merge is active for the merged one.
    standing = states.cards.standing(states.merged)[states.cards.places(keys)]
    add("key_kept", key_books[states.active_closing[standing]])

    (active,) = np.nonzero(states.active_closing)
    for name, values in (
        ("active_members", None),
        ("spend_amount", states.month_spend),
        ("bought_amount", states.bought_amount),
        ("tickets", states.tickets),
        ("purchase_days", states.purchase_days),
    ):
        add(name, states.last_books[active], 1 if values is None else values[active])
    found = np.stack(list(sums.values()), axis=1)
    (some,) = np.nonzero(found.any(axis=1))
    return {
        (book, None) if book > 0 else (None, -book): dict(zip(_MEMBER_SUMS, row, strict=True))
        for book, row in zip(states.books[some].tolist(), found[some].tolist(), strict=True)
    }
