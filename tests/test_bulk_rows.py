"""Columns as arrays and rows in bulk: what is read is what the table has, whatever shares a number with it."""

import datetime as dt

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from commission.models import Attribution, SalePart
from kpis import bulk_rows
from kpis.bulk_rows import DaysSince, Places, Range, blocks, in_order, read_columns, read_pieces, write_all
from kpis.movement_models import CohortMonth
from portfolios.models import Member, Month, Store
from tests.books import Chain, close, day

pytestmark = pytest.mark.django_db

COLUMNS: dict[str, Range] = {
    "member_id": Member,
    "part_id": SalePart,
    "day": 20_000,
    "commissionable_amount": None,
    "server_id": 2**40,
    "excluded_amount": None,
}
FIRST, LAST = day("1990-1-1"), day("2030-1-1")

tickets = st.tuples(
    st.booleans(),
    st.dates(dt.date(2026, 1, 1), dt.date(2026, 6, 30)),
    st.integers(-(2**40), 2**40),
    st.integers(0, 2**62),
)


def rows() -> list[dict[str, int]]:
    """The ledger's rows as the ORM reads them."""
    found = Attribution.objects.order_by("part_id").values(*COLUMNS.keys() - {"day"}, "business_date")
    return [
        {**{name: row[name] or 0 for name in COLUMNS if name != "day"}, "day": (row["business_date"] - FIRST).days}
        for row in found
    ]


def turned(columns: dict[str, bulk_rows.Numbers]) -> list[dict[str, int]]:
    """Columns as rows, in the order of their parts."""
    found = [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
    return sorted(found, key=lambda row: row["part_id"])


@examples(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(tickets, max_size=8))
def test_columns_are_what_the_table_has(bought: list[tuple[bool, dt.date, int, int]]) -> None:
    """With a member or without, amounts below zero and beyond 32 bits; ids, days and amounts share no digit."""
    with transaction.atomic():
        chain = Chain()
        member = chain.member(chain.store())
        for with_card, on, amount, excluded in bought:
            chain.buy(member if with_card else None, on.isoformat(), amount, excluded=excluded)
        query = Attribution.objects.annotate(day=DaysSince("business_date", FIRST, LAST))
        assert turned(read_columns(query, COLUMNS)) == rows()
        transaction.set_rollback(True)


def test_keys_that_there_is_no_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all members but the first had come while the columns were read: nothing is told apart wrongly."""
    chain = Chain()
    store = chain.store()
    members = [chain.member(store), chain.member(store)]
    for member in members:
        chain.buy(member, "3-9")
    monkeypatch.setattr(bulk_rows, "_room", lambda held: 1)
    if connection.vendor == "postgresql":
        with pytest.raises(RuntimeError, match=r"^member_id: .* Nothing is kept: run it again\.$"):
            read_columns(Attribution.objects.all(), {"member_id": Member})
    else:
        # There no columns share a number.
        found = read_columns(Attribution.objects.order_by("pk"), {"member_id": Member})
        assert found["member_id"].tolist() == [member.pk for member in members]


def test_several_queries_are_read_each_with_its_place() -> None:
    chain = Chain()
    member = chain.member(chain.store())
    for number in range(1, 5):
        chain.buy(member, f"{number}-10", 100 * number)
    months = [
        Attribution.objects.filter(month=202600 + number).annotate(card=F("member_id")) for number in (4, 1, 9, 2)
    ]
    pieces = dict(read_pieces(months, {"card": Member, "commissionable_amount": None}))
    amounts = {place: piece["commissionable_amount"].tolist() for place, piece in pieces.items()}
    assert amounts == {0: [400], 1: [100], 2: [], 3: [200]}
    assert pieces[3]["card"].tolist() == [member.pk]
    assert list(read_pieces([], {"card": Member})) == []


def test_a_table_that_is_read_in_several_queries_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four hundred rows do not fit in one block of 8 KB; each of them is in one query, also those at the end."""
    monkeypatch.setattr(bulk_rows, "_BLOCKS", 1)
    chain = Chain()
    member = chain.member(chain.store())
    for number in range(400):
        chain.buy(member, "3-9", number)
    queries = blocks(Attribution.objects.filter(month=202603))
    assert len(queries) > 1 or connection.vendor == "sqlite"
    found = [piece["commissionable_amount"] for _place, piece in read_pieces(queries, {"commissionable_amount": None})]
    assert sorted(np.concatenate(found).tolist()) == list(range(400))


@pytest.mark.parametrize(
    ("on", "days"), [("2025-12-30", 0), ("2025-12-31", 0), ("1-1", 1), ("2-1", 32), ("2-2", 32), ("3-1", 32)]
)
def test_days_before_the_first_and_after_the_last_are_those(on: str, days: int) -> None:
    chain = Chain(202501, 202606)
    chain.store()
    chain.buy(None, on)
    query = Attribution.objects.annotate(day=DaysSince("business_date", day("2025-12-31"), day("2-1")))
    assert read_columns(query, {"day": 32})["day"].tolist() == [days]


@given(st.sets(st.integers(-50, 50) | st.integers(-(2**62), 2**62)), st.lists(st.integers(-60, 60)))
def test_places_are_those_in_the_list(known: set[int], others: list[int]) -> None:
    ordered = sorted(known)
    asked = [*ordered, *others]
    found = Places(np.array(ordered, dtype=np.int64))(np.array(asked, dtype=np.int64))
    assert found.tolist() == [ordered.index(key) if key in known else -1 for key in asked]


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**62)))
def test_equal_numbers_keep_their_order(numbers: list[int]) -> None:
    found = in_order(np.array(numbers, dtype=np.int64)).tolist()
    assert found == sorted(range(len(numbers)), key=lambda place: numbers[place])


def test_rows_written_in_bulk_are_held_to_every_rule() -> None:
    Chain()
    store = Store.objects.create(store_no="S1", name="Store 1")
    march = Month.objects.get(pk=202603)

    def cohort(members: int, active: int) -> CohortMonth:
        return CohortMonth(month=march, enrolled_month=202603, store=store, members=members, active=active)

    write_all([])
    write_all([cohort(9, 3), cohort(4, 4)])
    kept = CohortMonth.objects.order_by("-members").filter(month=march, store=store, clerk=None)
    assert list(kept.values_list("members", "active")) == [(9, 3), (4, 4)]
    with pytest.raises(IntegrityError), transaction.atomic():
        write_all([cohort(1, 0), cohort(2, 3)])
    close(march)
    with pytest.raises(IntegrityError), transaction.atomic():
        write_all([cohort(1, 0)])
    assert CohortMonth.objects.count() == 2
