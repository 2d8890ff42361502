"""How a month's new members take on: who became effective in it, and who bought again within 30, 60 and 90 days.

A member enrolled on 2026-06-03 who buys for 60.00 on the 10th is effective in June (50.00 within 30 days, in one
ticket); with a second purchase on the 20th it is one of those who bought again within 30 days, which July tells.
"""

import datetime as dt
from typing import NamedTuple

import numpy as np
from django.conf import settings

from kpis.bulk_rows import Numbers, Truths
from kpis.measure_models import REPURCHASE_DAYS
from kpis.member_states import MemberStates

# Later than any day.
_LATER = dt.date.max.toordinal() + 1


class TakenOn(NamedTuple):
    """The new members that a month's measures tell of: who enrolled them, and what became of them.

    `books` are clerks, or below zero the stores of whoever was enrolled by nobody. By days after enrolment, `asked` are
    those whose time was up in the month and `again` those of them who bought again in it.
    """

    books: Numbers
    effective: Truths
    asked: dict[int, Truths]
    again: dict[int, Truths]


def taken_on(states: MemberStates) -> TakenOn:
    """Each new member who enrolled since the first day that the month's measures look back to."""
    new = states.new_members
    since = new.enrolled_on >= states.measured_since.toordinal()
    cards, enrolled_by, stores, enrolled_on = (column[since] for column in new)
    tickets = _tickets(states, cards, enrolled_on)

    effective_on, bought_first = np.full((2, len(cards)), _LATER)
    np.minimum.at(bought_first, tickets.members, tickets.business_dates)
    until = enrolled_on + settings.EFFECTIVE_DAYS
    counts = (tickets.amounts >= settings.EFFECTIVE_PURCHASE_AMOUNT) & (
        tickets.business_dates <= until[tickets.members]
    )
    np.minimum.at(effective_on, tickets.members[counts], tickets.activity_dates[counts])

    first, last = states.month.starts_on.toordinal(), states.last.toordinal()
    asked, again = {}, {}
    for days in REPURCHASE_DAYS:
        until = enrolled_on + days
        within = tickets.business_dates <= until[tickets.members]
        bought_last = np.zeros(len(cards), dtype=np.int64)
        np.maximum.at(bought_last, tickets.members[within], tickets.business_dates[within])
        asked[days] = (until >= first) & (until <= last)
        again[days] = asked[days] & (bought_last > bought_first)
    return TakenOn(
        np.where(enrolled_by > 0, enrolled_by, -stores),
        (effective_on >= first) & (effective_on < _LATER),
        asked,
        again,
    )


class _Tickets(NamedTuple):
    """Purchases of new members since they enrolled: whose (a place among them), when, and for how much."""

    members: Numbers
    activity_dates: Numbers
    business_dates: Numbers
    amounts: Numbers


def _tickets(states: MemberStates, cards: Numbers, enrolled_on: Numbers) -> _Tickets:
    places = np.full(len(states.cards), -1)
    places[cards] = np.arange(len(cards))
    parts = states.lately
    members = places[states.cards.standing(states.merged)[parts.cards]]
    keys = (members, parts.tickets, parts.months, parts.activity_dates, parts.business_dates)
    order = np.lexsort(keys)
    sorted_keys = np.stack(keys)[:, order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (sorted_keys[:, 1:] != sorted_keys[:, :-1]).any(axis=0)
    (starts,) = np.nonzero(begins)
    amounts = np.add.reduceat(parts.amounts[order], starts) if len(starts) else parts.amounts
    members, _tickets, _months, activity_dates, business_dates = sorted_keys[:, starts]
    since = business_dates >= enrolled_on[members]
    return _Tickets(members[since], activity_dates[since], business_dates[since], amounts[since])
