"""Each card of a month: in whose book at opening and at closing, how active, and what was bought with it.

Members, bindings and the ledger are each read once, as arrays with a place for every card, and compared place by place.
"""

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Case, IntegerField, Min, QuerySet, When

from commission.models import Attribution
from kpis.bulk_rows import DaysSince, Numbers, Places, Truths, read_columns, rows_where
from kpis.cards import Cards, Merged
from kpis.measure_models import REPURCHASE_DAYS
from kpis.models import MemberGroup
from kpis.purchases import NEVER, Parts, read_purchases
from portfolios.models import Binding, Clerk, Member, Month, Store
from portfolios.months import month_days, next_number

# How many months of enrolment a cohort is followed for, its own one included.
COHORT_MONTHS = 12


class NewMembers(NamedTuple):
    """The cards enrolled within the months that cohorts and measures look back to, but for those merged since.

    Each by its place, with who enrolled it (0 for nobody), its home store and the date, an ordinal.
    """

    cards: Numbers
    enrolled_by: Numbers
    stores: Numbers
    enrolled_on: Numbers


@dataclass(frozen=True)
class MemberStates:
    """All cards of a month up to the end of a day of it: arrays with one element for each of the `cards`.

    Books are known by their place in `books`, which are the keys of clerks and, below zero, those of the stores whose
    unassigned list it is. The first one is that at opening, or on the day of enrolment in the month, and the last one
    that at closing; for who is not there then it is one more than there are. Who is not `there` counted on no day of
    the month. Amounts are in minor units. What was bought with a merged card is the surviving card's; `opening_spend`
    and `spend` are of the twelve months to either end.
    """

    month: Month
    last: dt.date
    cards: Cards
    books: Numbers
    book_places: Places
    stores: Numbers
    there: Truths
    at_opening: Truths
    at_closing: Truths
    active_opening: Truths
    active_closing: Truths
    bought_before: Truths
    first_books: Numbers
    last_books: Numbers
    opening_spend: Numbers
    spend: Numbers
    month_spend: Numbers
    bought_amount: Numbers
    tickets: Numbers
    purchase_days: Numbers
    merged: Merged
    new_members: NewMembers
    measured_since: dt.date
    lately: Parts
    worked: set[tuple[int, dt.date]]


@transaction.atomic
def member_states(month: Month, last: dt.date | None = None) -> MemberStates:
    """Every card as of the end of the month, or of the day `last` of it."""
    last = last or month.ends_on
    day_before = month.starts_on - dt.timedelta(days=1)
    since = measured_since(month)
    members = _members(day_before, last, min(since, cohort_days(month)[-1][0]))
    cards = Cards(members["id"])
    opened, merged = cards.merged(day_before), cards.merged(last)

    # Days are counted from the day before the month, which is 0; `after` is the day after the last.
    after = (last - day_before).days + 1
    counted_from = members["counted"]
    at_opening = (counted_from == 0) & (members["stays"] >= _FIRST_DAY)
    enrolled = (counted_from > 0) & (counted_from < after)
    at_closing = (counted_from < after) & (members["stays"] == _LAST_DAY)
    first_owners, last_owners = _owners(cards, day_before, last, np.where(enrolled, counted_from, 0))
    stores = members["store_id"]
    lists = stores.copy()
    waiting = MemberGroup.objects.filter(month=next_number(month.pk, -1), at_closing=True, last_clerk=None)
    waited, list_stores = keys_in_groups(waiting)
    lists[cards.places(waited)] = -list_stores

    (recent,) = np.nonzero((members["enrolled_on"] > 0) & (members["stood_for"] == 0))
    new_members = NewMembers(recent, members["enrolled_by_id"][recent], stores[recent], members["enrolled_on"][recent])
    new = np.zeros(len(cards), dtype=np.bool_)
    new[recent[new_members.enrolled_on >= since.toordinal()]] = True
    bought = read_purchases(month, last, cards, new=new[cards.standing(merged)], since=since)

    opening_spend = opened.together(bought.opening_spend, np.add)
    spend = merged.together(bought.earlier_spend + bought.spend, np.add)
    opening_spend[opened.cards] = spend[merged.cards] = 0
    earlier = merged.together(bought.earlier, np.maximum)
    days = merged.together(bought.days, np.bitwise_or)
    # A window of one day is that day alone.
    window = dt.timedelta(days=settings.ACTIVITY_WINDOW_DAYS - 1)
    active_opening = at_opening & (opened.together(bought.earlier, np.maximum) >= (day_before - window).toordinal())
    within = max(0, (last - window - month.starts_on).days)
    active_closing = at_closing & ((days >> within > 0) | (earlier >= (last - window).toordinal()))

    books = np.array(sorted([*_keys(Clerk), *(-key for key in _keys(Store))]), dtype=np.int64)
    book_places = Places(books)
    last_books = book_places(np.where(last_owners > 0, last_owners, -stores))
    return MemberStates(
        month=month,
        last=last,
        cards=cards,
        books=books,
        book_places=book_places,
        stores=stores,
        there=at_opening | enrolled,
        at_opening=at_opening,
        at_closing=at_closing,
        active_opening=active_opening,
        active_closing=active_closing,
        bought_before=active_closing & ~active_opening & (earlier != NEVER),
        first_books=book_places(np.where(first_owners > 0, first_owners, -lists)),
        last_books=np.where(at_closing, last_books, len(books)),
        opening_spend=opening_spend,
        spend=spend,
        month_spend=merged.together(bought.spend, np.add),
        bought_amount=merged.together(bought.bought_amount, np.add),
        tickets=merged.together(bought.tickets, np.add),
        purchase_days=np.bitwise_count(days).astype(np.int64),
        merged=merged,
        new_members=new_members,
        measured_since=since,
        lately=bought.lately,
        worked=bought.worked,
    )


def _keys(model: type[Clerk | Store]) -> list[int]:
    return list(model.objects.order_by().values_list("pk", flat=True))


# --- Which days matter ---------------------------------------------------------------------------------------------


def earliest_purchase(month: Month) -> dt.date:
    """The business date of the earliest purchase that is posted to the month; the month's first day if none is late."""
    late = Attribution.objects.filter(month=month, reason__in=[Attribution.Reason.LATE, Attribution.Reason.CORRECTION])
    return min(late.aggregate(first=Min("business_date"))["first"] or month.starts_on, month.starts_on)


def measured_since(month: Month) -> dt.date:
    """The first day on which a new member of whom the month's measures tell may have enrolled.

    They are those of the last 90 days, and those for whom a late ticket may be the effective purchase.
    """
    return min(
        month.starts_on - dt.timedelta(days=max(REPURCHASE_DAYS)),
        earliest_purchase(month) - dt.timedelta(days=settings.EFFECTIVE_DAYS),
    )


def cohort_days(month: Month) -> list[tuple[dt.date, dt.date]]:
    """The first and last days of the months whose newcomers are followed, the month itself first."""
    return [month_days(next_number(month.pk, -steps)) for steps in range(COHORT_MONTHS)]


# --- Members and their owners --------------------------------------------------------------------------------------


# How long a card counts: at least on the first day, or at the end of the last one too.
_FIRST_DAY, _LAST_DAY = 1, 2


def _members(day_before: dt.date, last: dt.date, since: dt.date) -> dict[str, Numbers]:
    """Every card in the order of keys: on which day after `day_before` it begins to count, and how long it stays.

    `enrolled_on` is an ordinal, and 0 for who was not enrolled from `since` to `last`. A card that is `stood_for` has
    been merged by then.
    """
    earlier, after = since - dt.timedelta(days=1), last + dt.timedelta(days=1)
    rows = Member.objects.order_by().annotate(
        counted=DaysSince("counted_from", day_before, after),
        stays=_number(When(counted_to__gt=last, then=_LAST_DAY), When(counted_to__gt=day_before, then=_FIRST_DAY)),
        stood_for=_number(When(merged_into__isnull=False, counted_to__lte=last, then=1)),
        enrolled=DaysSince("enrolled_on", earlier, after),
    )
    found = read_columns(
        rows,
        {
            "id": Member,
            "store_id": Store,
            "counted": (after - day_before).days,
            "stays": _LAST_DAY,
            "stood_for": 1,
            "enrolled": (after - earlier).days,
            "enrolled_by_id": Clerk,
        },
    )
    enrolled_on = found.pop("enrolled") + earlier.toordinal()
    lately = (enrolled_on >= since.toordinal()) & (enrolled_on <= last.toordinal())
    return rows_where(
        np.argsort(found["id"], kind="stable"), {**found, "enrolled_on": np.where(lately, enrolled_on, 0)}
    )


def _number(*cases: When) -> Case:
    return Case(*cases, default=0, output_field=IntegerField())


def _owners(cards: Cards, day_before: dt.date, last: dt.date, enrolled: Numbers) -> tuple[Numbers, Numbers]:
    """Each card's first owner and last owner in the month, 0 for nobody.

    `enrolled` is for which cards, and on which day after `day_before`, the month begins with their enrolment: theirs
    is the first one since then.
    """
    after = last + dt.timedelta(days=1)
    days = (after - day_before).days
    bindings = Binding.objects.valid().filter(valid_from__lte=last, valid_to__gt=day_before).order_by()
    rows = read_columns(
        bindings.annotate(
            since=DaysSince("valid_from", day_before, after), until=DaysSince("valid_to", day_before, after)
        ),
        {"member_id": Member, "clerk_id": Clerk, "since": days, "until": days},
    )
    places = cards.places(rows["member_id"])
    # Whoever was enrolled since the cards were read is left out, here and wherever rows are read later.
    rows, places = rows_where(places >= 0, rows), places[places >= 0]
    clerks, since, until = rows["clerk_id"], rows["since"], rows["until"]
    first, final = np.zeros((2, len(cards)), dtype=np.int64)
    opening = since == 0
    first[places[opening]] = clerks[opening]
    closing = until == days
    final[places[closing]] = clerks[closing]
    first[enrolled > 0] = 0
    (since_then,) = np.nonzero((enrolled[places] > 0) & (until > enrolled[places]))
    # The earliest is written last.
    since_then = since_then[np.argsort(-since[since_then], kind="stable")]
    first[places[since_then]] = clerks[since_then]
    return first, final


def keys_in_groups(groups: QuerySet[MemberGroup]) -> tuple[Numbers, Numbers]:
    """The keys of the members in these groups, and beside each the last book that it was in: a clerk's, or below zero
    the unassigned list of a store."""
    rows = list(groups.order_by().values_list("last_clerk", "last_store", "members", "member_ids"))
    books = np.array([clerk or -store for clerk, store, _members, _keys in rows], dtype=np.int64)
    keys = ",".join(keys for *_book, keys in rows)
    return (
        np.fromstring(keys, dtype=np.int64, sep=",") if keys else np.zeros(0, dtype=np.int64),
        np.repeat(books, [members for _clerk, _store, members, _keys in rows]),
    )
