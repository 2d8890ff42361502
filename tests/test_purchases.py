"""What is added up card by card is what the ledger says when its rows are asked one by one."""

import datetime as dt
from typing import Any, NamedTuple

import numpy as np
import pytest
from django.db import transaction
from django.db.models import Max, QuerySet, Sum
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from commission.models import Attribution, SalePart, TicketCorrection
from kpis.activity import PURCHASE, member_activity
from kpis.bulk_rows import Numbers
from kpis.cards import Cards
from kpis.member_states import measured_since
from kpis.purchases import NEVER, Purchases, read_purchases
from kpis.tiers import year_before
from kpis.upkeep import month_upkeep
from portfolios.models import Member, Month, User
from tests.books import Chain, Reason, day

pytestmark = pytest.mark.django_db

APRIL = 202604
LAST = day("4-30")


class Sold(NamedTuple):
    """A part of a ticket: by whom bought and served, when, for how much; and what was corrected afterwards."""

    card: int | None
    on: dt.date
    amount: int
    server: int | None
    late: bool
    beside: bool
    correction: str


sold = st.builds(
    Sold,
    card=st.none() | st.integers(0, 2),
    on=st.sampled_from(["2025-3-31", "2025-4-1", "2025-4-30", "2025-5-1", "1-15", "3-31", "4-1", "4-2", "4-30"]).map(
        day
    ),
    amount=st.sampled_from([100, 250, -80, 10**12]),
    server=st.none() | st.integers(0, 1),
    late=st.booleans(),
    beside=st.booleans(),
    correction=st.sampled_from(["", "", "", "owner", "member"]),
)


def write(chain: Chain, parts: list[Sold]) -> list[Member]:
    store = chain.store()
    clerks = [chain.clerk(store), chain.clerk(store)]
    cards = [chain.member(store) for _number in range(3)]
    users = [User.objects.create(username=name) for name in ("one", "two")]
    before: SalePart | None = None
    for part in parts:
        member = None if part.card is None else cards[part.card]
        beside = before if part.beside and before and before.business_date == part.on else None
        posted = APRIL if part.late and part.on < day("4-1") else 0
        server = None if part.server is None else clerks[part.server]
        before = chain.buy(
            member,
            part.on.isoformat(),
            part.amount,
            posted=posted,
            settled=part.amount < 0,
            beside=beside,
            server=server,
        )
        if part.correction:
            row = Attribution.objects.get(part=before)
            if part.correction == "member":
                asked = TicketCorrection.objects.create(
                    sale=before.sale, what="member", new_member=cards[0], reason="forgotten", asked_by=users[0],
                    approved=False, decided_by=users[1], decided_at=dt.datetime.now(dt.UTC),
                )  # fmt: skip
                SalePart.objects.filter(pk=before.pk).update(member=cards[0], correction=asked)
                member = cards[0]
            chain.attribute(
                before, month=row.month_id, reason=Reason.CORRECTION, member=row.member, sign=-1, corrects=row
            )
            chain.attribute(before, month=row.month_id, reason=Reason.CORRECTION, member=member, corrects=row)
    return cards


def read(last: dt.date = LAST) -> tuple[Cards, Purchases]:
    cards = Cards(np.array(sorted(Member.objects.values_list("pk", flat=True)), dtype=np.int64))
    month, new = Month.objects.get(pk=APRIL), np.ones(len(cards), dtype=np.bool_)
    return cards, read_purchases(month, last, cards, new=new, since=measured_since(month))


def by_card(cards: Cards, found: Numbers, nothing: int = 0) -> dict[int, int]:
    pairs = zip(cards.keys.tolist(), found.tolist(), strict=True)
    return {key: number for key, number in pairs if number != nothing}


@example([Sold(0, day("3-1"), 100, None, True, beside, "") for beside in (False, True)], LAST)
@examples(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(sold, max_size=12), st.sampled_from([LAST, day("4-1")]))
def test_each_card_s_purchases_are_those_of_its_rows(parts: list[Sold], last: dt.date) -> None:
    after = last + dt.timedelta(days=1)
    with transaction.atomic():
        write(Chain(202503, 202605), parts)
        cards, found = read(last)
        own: QuerySet[Any, Any] = member_activity(before=after).filter(month=APRIL)
        earlier: QuerySet[Any, Any] = member_activity(before=day("4-1")).filter(month__lt=APRIL)
        bought = own.filter(PURCHASE)

        def net(rows: QuerySet[Any, Any]) -> dict[int, int]:
            sums = rows.values_list("member").annotate(net=Sum("net_amount"))
            return {member: int(amount) for member, amount in sums if amount}

        assert by_card(cards, found.spend) == net(own)
        assert by_card(cards, found.bought_amount) == net(bought)
        for amounts, since in ((found.opening_spend, day("4-1")), (found.earlier_spend, after)):
            assert by_card(cards, amounts) == net(earlier.filter(activity_date__gte=year_before(since)))
        last_days = earlier.filter(PURCHASE).values_list("member").annotate(last=Max("activity_date"))
        base = year_before(day("4-1")) - dt.timedelta(days=1)
        assert by_card(cards, found.earlier, NEVER) == {card: max(on, base).toordinal() for card, on in last_days}

        days: dict[int, int] = {}
        tickets: dict[int, set[tuple[int, dt.date]]] = {}
        singles = []
        for row in bought.values("member", "part__sale", "business_date", "activity_date", "net_amount"):
            member, on, counts_on = row["member"], row["business_date"], row["activity_date"]
            days[member] = days.get(member, 0) | 1 << (counts_on - day("4-1")).days
            tickets.setdefault(member, set()).add((row["part__sale"], on))
            singles.append((member, on, counts_on, row["net_amount"]))
        assert by_card(cards, found.days) == days
        assert by_card(cards, found.tickets) == {member: len(those) for member, those in tickets.items()}
        of_april = found.lately.where(found.lately.months == APRIL)
        dates = [[dt.date.fromordinal(number) for number in column.tolist()] for column in of_april[3:5]]
        amounts = of_april.amounts.tolist()
        keys = cards.keys[of_april.cards].tolist()
        assert sorted(zip(keys, dates[1], dates[0], amounts, strict=True)) == sorted(singles)

        month = Month.objects.get(pk=APRIL)
        assert month_upkeep(month, working=found.worked) == month_upkeep(month)
        transaction.set_rollback(True)


def test_a_ticket_without_a_card_is_a_working_day_and_nobody_s_purchase() -> None:
    chain = Chain()
    store = chain.store()
    clerk = chain.clerk(store)
    chain.member(store)
    chain.buy(None, "4-9", 5000, server=clerk)
    cards, found = read()
    assert found.worked == {(clerk.pk, day("4-9"))}
    assert by_card(cards, found.spend) == by_card(cards, found.tickets) == {}


def test_a_card_that_was_not_there_when_the_others_were_read_is_passed_over() -> None:
    """Its ticket comes while the month is read: it counts when the month is read again."""
    chain = Chain()
    store = chain.store()
    known, fresh = chain.member(store), chain.member(store)
    for member in (known, fresh):
        chain.buy(member, "3-9", 300)
        chain.buy(member, "4-9", 500)
    cards = Cards(np.array([known.pk], dtype=np.int64))
    month = Month.objects.get(pk=APRIL)
    found = read_purchases(month, LAST, cards, new=np.ones(1, dtype=np.bool_), since=day("1-1"))
    assert (found.spend.tolist(), found.opening_spend.tolist(), found.tickets.tolist()) == ([500], [300], [1])
