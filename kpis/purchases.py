"""What was bought with each card up to a day of a month: the ledger, read month by month and added up by card.

A card that bought for 30.00 in June and for 8.00 on two days of July has, at the end of July, an earlier spend of
30.00, a spend of 8.00 in the month and two days with a purchase, and its last purchase before them was in June.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from django.conf import settings
from django.db.models import BigIntegerField, Case, F, IntegerField, Q, QuerySet, Value, When

from commission.models import Attribution, SalePart
from kpis.activity import NET_AMOUNT, PURCHASE, of_members
from kpis.bulk_rows import DaysSince, Numbers, Places, Range, Truths, blocks, read_columns, read_pieces, rows_where
from kpis.cards import Cards
from kpis.tiers import year_before
from kpis.upkeep import worked_in
from portfolios.models import Clerk, Member, Month

# The date of a purchase that never was. All dates are ordinals here.
NEVER = 0
_DAY = dt.timedelta(days=1)


class Parts(NamedTuple):
    """Parts of tickets that are purchases: with which card (its place), of which ticket, when, and for how much.

    The ticket is known by the number of its sale, or below zero by that of its only part. `months` are those that the
    parts are posted to. Business dates further back than was asked for are the day before.
    """

    cards: Numbers
    tickets: Numbers
    months: Numbers
    activity_dates: Numbers
    business_dates: Numbers
    amounts: Numbers

    def where(self, which: Truths) -> "Parts":
        return Parts._make(column[which] for column in self)


@dataclass(frozen=True)
class Purchases:
    """What was bought with each card, in minor units: arrays with one number for each of the `Cards`.

    `earlier` is the last purchase before the month. `opening_spend` is of the year before the month, `earlier_spend`
    the part of it that lies within a year of the day. What follows is the month's own: `spend` is net of returns,
    `bought_amount` before them, and `days` has a bit for each day with a purchase, the lowest for the 1st. `lately` are
    the parts bought with the cards of new members, and `worked` the days on which clerks served.
    """

    earlier: Numbers
    opening_spend: Numbers
    earlier_spend: Numbers
    spend: Numbers
    bought_amount: Numbers
    tickets: Numbers
    days: Numbers
    lately: Parts
    worked: set[tuple[int, dt.date]]


def read_purchases(month: Month, last: dt.date, cards: Cards, *, new: Truths, since: dt.date) -> Purchases:
    """What counts up to the end of a day of the month.

    `new` says of each card whether it is a new member's. `since` is the day from which they may have bought, and no
    purchase that is posted to the month was made before it.
    """
    earlier = np.full(len(cards), NEVER)
    opening_spend, earlier_spend, spend, bought_amount, tickets, days = np.zeros((6, len(cards)), dtype=np.int64)
    several = _Several(since, last)
    lately: list[Parts] = []
    of_several: list[Parts] = []
    worked = _WorkingDays(month)
    # Rows without a card are passed over, and so are those with one enrolled since the others were read.
    for posted, rows in _earlier_rows(month, since):
        places = cards.places(rows["card"])
        rows, places = rows_where(places >= 0, rows), places[places >= 0]
        bought = rows["purchase"] == 1
        np.maximum.at(earlier, places[bought], rows["activity_date"][bought])
        if "net_amount" in rows:
            for sums, day in ((opening_spend, month.starts_on), (earlier_spend, last + _DAY)):
                within = rows["activity_date"] >= year_before(day).toordinal()
                np.add.at(sums, places[within], rows["net_amount"][within])
            lately.append(several.parts(posted, rows, places, bought & new[places]))

    for rows in _own_rows(month, last, since):
        worked.add(rows)
        places = cards.places(rows["card"])
        rows, places = rows_where(places >= 0, rows), places[places >= 0]
        bought = rows["purchase"] == 1
        np.add.at(spend, places, rows["net_amount"])
        parts = several.parts(month, rows, places, bought)
        np.add.at(bought_amount, parts.cards, parts.amounts)
        np.add.at(tickets, parts.cards, 1)
        np.bitwise_or.at(days, parts.cards, 1 << (parts.activity_dates - month.starts_on.toordinal()))
        of_several.append(parts.where(parts.tickets > 0))
        lately.append(parts.where(new[parts.cards]))
    np.subtract.at(tickets, _further(_all(of_several)), 1)
    return Purchases(
        earlier,
        opening_spend,
        earlier_spend,
        spend,
        bought_amount,
        tickets,
        days,
        _all(lately),
        worked.days(),
    )


# --- The ledger's rows ---------------------------------------------------------------------------------------------

_PART: dict[str, Range] = {"part_id": SalePart, "net_amount": None}
_PURCHASE = Case(When(PURCHASE, then=1), default=0, output_field=IntegerField())


def _earlier_rows(month: Month, since: dt.date) -> Iterator[tuple[Month, dict[str, Numbers]]]:
    """What members bought by the rows of each earlier month: amounts and parts only where they may still matter."""
    opening_year = year_before(month.starts_on)
    active_since = month.starts_on - dt.timedelta(days=settings.ACTIVITY_WINDOW_DAYS)
    first = min(opening_year, active_since, since) - _DAY
    columns: dict[str, Range] = {"card": Member, "purchase": 1, "day": (month.starts_on - first).days}
    earlier = Month.objects.filter(pk__lt=month.pk).order_by("pk")
    of_year = Q(ends_on__gte=min(opening_year, since))
    for months, further in ((earlier.exclude(of_year), {}), (earlier.filter(of_year), _PART)):
        rows = [
            Attribution.objects.filter(of_members(), month=posted).annotate(card=F("member_id")) for posted in months
        ]
        # As it lies, the rows of a month are side by side in the ledger, which PostgreSQL does not know: it would read
        # the whole for each month, or jump about.
        pieces = _read(
            rows,
            {**columns, **further},
            first,
            month.starts_on,
            enable_seqscan="off",
            enable_indexscan="off",
            jit="off",
        )
        for place, piece in pieces:
            yield months[place], _dated(piece, months[place])


def _own_rows(month: Month, last: dt.date, since: dt.date) -> Iterator[dict[str, Numbers]]:
    """The rows of the month, with a card (`card`, else 0) where a member's purchase or return counts, and with a clerk
    (`worker`, else 0) where the sale makes a working day."""
    first = since - _DAY
    columns: dict[str, Range] = {
        "card": Member, "worker": Clerk, "purchase": 1, "day": (month.ends_on - first).days, **_PART,
    }  # fmt: skip
    rows = Attribution.objects.filter(month=month)
    # Of a part that was not corrected there is one row, which counts: to find that out part by part takes as long
    # again as to read them.
    corrections = Attribution.objects.filter(reason=Attribution.Reason.CORRECTION, month__gte=month)
    corrected = Q(
        part__in=SalePart.objects.filter(correction__isnull=False).values("pk").union(corrections.values("part"))
    )
    plain = rows.exclude(corrected).annotate(card=F("member_id"), worker=F("server_id"))
    for _place, piece in _read(blocks(plain), columns, first, month.ends_on, jit="off"):
        piece["card"][piece["business_date"] > last.toordinal()] = 0
        piece["worker"][(piece["purchase"] == 0) | (piece["business_date"] < month.starts_on.toordinal())] = 0
        yield _dated(piece, month)
    others = rows.filter(corrected).annotate(
        card=_where(of_members() & Q(business_date__lte=last), "member_id"),
        worker=_where(worked_in(month.pk), "server_id"),
    )
    for _place, piece in _read([others], columns, first, month.ends_on, jit="off"):
        yield _dated(piece, month)


def _where(condition: Q, key: str) -> Case:
    return Case(When(condition, then=F(key)), default=Value(0), output_field=BigIntegerField())


def _read(
    queries: Sequence[QuerySet[Any, Any]],
    columns: Mapping[str, Range],
    first: dt.date,
    last: dt.date,
    **configuration: str,
) -> Iterator[tuple[int, dict[str, Numbers]]]:
    """The columns of each query's rows. Dates are ordinals; `first` stands for all before it, `last` for all after."""
    told = {"purchase": _PURCHASE, "day": DaysSince("business_date", first, last), "net_amount": NET_AMOUNT}
    for place, piece in read_pieces([rows.annotate(**told) for rows in queries], columns, **configuration):
        piece["business_date"] = piece.pop("day") + first.toordinal()
        yield place, piece


def _dated(piece: dict[str, Numbers], posted: Month) -> dict[str, Numbers]:
    # Posted to the month of its business date, a part is dated within it; posted later, before it.
    return {**piece, "activity_date": np.maximum(piece["business_date"], posted.starts_on.toordinal())}


class _WorkingDays:
    """Who served on which days of a month."""

    def __init__(self, month: Month) -> None:
        self._month = month
        self._clerks = sorted(Clerk.objects.order_by().values_list("pk", flat=True))
        self._places = Places(np.array(self._clerks, dtype=np.int64))
        # One row more, for who is none of them.
        self._worked = np.zeros((len(self._clerks) + 1, month.days), dtype=np.bool_)

    def add(self, rows: Mapping[str, Numbers]) -> None:
        """The rows that have a `worker`."""
        days = np.clip(rows["business_date"] - self._month.starts_on.toordinal(), 0, self._month.days - 1)
        self._worked[self._places(rows["worker"]), days] = True

    def days(self) -> set[tuple[int, dt.date]]:
        dates = [self._month.starts_on + day * _DAY for day in range(self._month.days)]
        return {(self._clerks[place], dates[day]) for place, day in np.argwhere(self._worked[:-1]).tolist()}


# --- Tickets of several parts -------------------------------------------------------------------------------------


class _Several:
    """The tickets of a time that have more than one part with a sale. Nearly every ticket has but one."""

    def __init__(self, since: dt.date, last: dt.date) -> None:
        sales = SalePart.objects.filter(number__gt=1, original__isnull=True, business_date__range=(since, last))
        parts = SalePart.objects.filter(sale__in=sales.values("sale"))
        # The few of them are near at hand, each by its index, and in their order.
        found = read_columns(parts, {"id": None, "sale_id": None}, random_page_cost="1.1", enable_hashagg="off")
        order = np.argsort(found["id"])
        self._parts, self._sales = found["id"][order], found["sale_id"][order]

    def parts(self, posted: Month, rows: Mapping[str, Numbers], places: Numbers, which: Truths) -> Parts:
        """Which of the rows of a month, as parts of their tickets."""
        parts = rows["part_id"][which]
        tickets = -parts
        if len(self._parts):
            at = np.minimum(np.searchsorted(self._parts, parts), len(self._parts) - 1)
            of_several = self._parts[at] == parts
            tickets[of_several] = self._sales[at[of_several]]
        dates = rows["activity_date"][which], rows["business_date"][which]
        return Parts(places[which], tickets, np.full(len(parts), posted.pk), *dates, rows["net_amount"][which])


def _all(parts: Iterable[Parts]) -> Parts:
    return Parts._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _further(parts: Parts) -> Numbers:
    """The cards of those parts that are not the first one of a ticket with that card and date."""
    keys = (parts.business_dates, parts.tickets, parts.cards)
    order = np.lexsort(keys)
    days, tickets, cards = (key[order] for key in keys)
    further = (days[1:] == days[:-1]) & (tickets[1:] == tickets[:-1]) & (cards[1:] == cards[:-1])
    return cards[1:][further]
