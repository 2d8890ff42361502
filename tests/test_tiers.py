"""Twelve months' spend and the tiers that follow from it: hand-worked ranks, ties, and the SQL that says the same."""

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from kpis.member_states import member_states
from kpis.movement import freeze, movement
from kpis.tiers import TIER, bounds_of, member_spend, member_tiers, tier_bounds, tier_numbers, tiers_of, year_before
from portfolios.models import Month
from tests.books import Chain, Reason, close, day


def tiers_by_hand(amounts: list[int]) -> str:
    tiers = tiers_of(dict(enumerate(amounts)))
    return "".join(tiers[member] for member in range(len(amounts)))


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        # One of one: ceil(0.05) = 1.
        ([500], "A"),
        # Of 5: A is place 1, B is place 1 too.
        ([50, 40, 30, 20, 10], "ACCCC"),
        # Of 6: ceil(1.2) = 2, so the second is B.
        ([60, 50, 40, 30, 20, 10], "ABCCCC"),
        # Of 20: A is place 1, B reaches to place 4.
        (list(range(20, 0, -1)), "A" + "BBB" + "C" * 16),
        # Of 21: ceil(1.05) = 2 and ceil(4.2) = 5.
        (list(range(21, 0, -1)), "AA" + "BBB" + "C" * 16),
        # Ties share the better tier: places 2 and 3 spent what the first did; then B's bound, place 4, is A already.
        ([9, 9, 9, 5, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1], "AAAB" + "C" * 16),
        # All the same: all A.
        ([7] * 40, "A" * 40),
        # Nobody without a positive spend is ranked: of the 5 who are, one is A; the others don't count in n.
        ([50, 40, 30, 20, 10, 0, -5, 0, 0, 0], "ACCCC" + "CCCCC"),
        ([0, -1], "CC"),
        ([], ""),
    ],
)
def test_tiers_by_hand(amounts: list[int], expected: str) -> None:
    assert tiers_by_hand(amounts) == expected


def test_bounds_are_the_amounts_in_place() -> None:
    """Of 140, place 7 and place 28; of 15, place 1 and place 3."""
    assert tier_bounds({member: 1000 - member for member in range(140)}) == (994, 973)
    assert tier_bounds({member: 100 - member for member in range(15)}) == (100, 98)
    assert tier_bounds({1: 0, 2: -4}) is None


def test_year_before() -> None:
    assert year_before(day("2026-3-1")) == day("2025-3-1")
    assert year_before(day("2028-2-29")) == day("2027-2-28")


@pytest.mark.django_db
def test_spend_is_the_whole_ticket_of_twelve_months_less_returns() -> None:
    chain = Chain(202503, 202604)
    here, there = chain.store(), chain.store()
    regular, prescribed, neighbour, gone = (chain.member(store) for store in (here, here, there, here))
    # The window of 2026-04-01 is [2025-04-01, 2026-04-01).
    chain.buy(regular, "2025-3-31", 7)
    first = chain.buy(regular, "2025-4-1", 1000)
    chain.buy(regular, "3-31", 50)
    chain.buy(regular, "4-1", 9000)
    chain.buy(regular, "3-20", -400, original=first)
    # Excluded categories are spent money too; a settled return takes it back.
    chain.buy(prescribed, "3-5", 0, excluded=800)
    chain.buy(prescribed, "3-6", 0, excluded=-300, settled=True)
    chain.buy(neighbour, "3-7", 60)
    chain.buy(None, "3-7", 99999)
    # Everything came back: no spend is left, but there were tickets.
    chain.buy(gone, "3-8", -20, original=chain.buy(gone, "3-8", 20))

    year = day("4-1")
    assert member_spend(year) == {regular.pk: 650, prescribed.pk: 500, neighbour.pk: 60, gone.pk: 0}
    assert member_spend(year, store=there) == {neighbour.pk: 60}
    assert member_spend(day("2025-4-1")) == {regular.pk: 7}
    assert member_spend(day("2024-1-1")) == {}


@pytest.mark.django_db
def test_a_late_ticket_is_spent_from_the_first_day_of_the_month_it_is_posted_to() -> None:
    chain = Chain()
    member = chain.member(chain.store())
    late = chain.buy(member, "1-20", 500, posted=202603)
    chain.buy(member, "1-21", -100, original=late, posted=202603)

    assert member_spend(day("3-1")) == {}
    assert member_spend(day("3-2")) == {member.pk: 400}
    # And it leaves with that day: still there a year after the business date.
    assert member_spend(day("2027-3-1")) == {member.pk: 400}
    assert member_spend(day("2027-3-2")) == {}


@pytest.mark.django_db
def test_corrections_change_nobodys_spend() -> None:
    chain = Chain()
    member = chain.member(chain.store())
    part = chain.buy(member, "2-3", 500)
    chain.attribute(part, month=202602, reason=Reason.CORRECTION, member=member, sign=-1)
    chain.attribute(part, month=202602, reason=Reason.CORRECTION, member=member)
    assert member_spend(day("3-1")) == {member.pk: 500}


@pytest.mark.django_db
@pytest.mark.parametrize(("scope", "expected"), [("chain", "ABCCCC"), ("store", "AC" + "ACCC")])
def test_members_are_ranked_across_the_chain_or_within_their_store(settings, scope: str, expected: str) -> None:
    """600 and 500 shop here, 400 to 100 there: across the chain there is one A, within the stores one each."""
    settings.TIER_SCOPE = scope
    chain = Chain()
    here, there = chain.store(), chain.store()
    members = [chain.member(store) for store in (here, here, there, there, there, there)]
    for member, amount in zip(members, (600, 500, 400, 300, 200, 100), strict=True):
        chain.buy(member, "3-5", amount)

    by_store = {store: member_tiers(day("4-1"), store=store) for store in (here, there)}
    assert "".join(by_store[member.store][member.pk] for member in members) == expected

    rows = {row.store_id: row for row in movement(Month.objects.get(pk=202603))}
    for store in (here, there):
        tiers = [by_store[store][member.pk] for member in members if member.store == store]
        assert (rows[store.pk].tier_a, rows[store.pk].tier_b) == (tiers.count("A"), tiers.count("B"))


@pytest.mark.django_db
def test_a_tier_scope_that_is_neither_is_refused(settings) -> None:
    settings.TIER_SCOPE = "region"
    with pytest.raises(ImproperlyConfigured, match='TIER_SCOPE is "region": set it to "chain"'):
        bounds_of("customer")


@pytest.mark.django_db
@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(-3, 6), st.integers(-(10**6), 10**12)), min_size=1, max_size=130))
def test_the_database_ranks_as_the_bounds_do(amounts: list[int]) -> None:
    bounds, same_scope = bounds_of("customer")
    values = ", ".join(f"({number}, {amount})" for number, amount in enumerate(amounts))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"WITH customer (member_id, spend) AS (VALUES {values}) "
            f"SELECT member_id, {TIER} FROM customer LEFT JOIN ({bounds}) AS bounds ON {same_scope}"
        )
        assert dict(cursor.fetchall()) == tiers_of(dict(enumerate(amounts)))


@given(st.lists(st.one_of(st.integers(-3, 6), st.integers(-(10**6), 10**12)), max_size=130))
def test_an_array_of_spends_is_ranked_as_the_bounds_do(amounts: list[int]) -> None:
    numbers = tier_numbers(np.array(amounts, dtype=np.int64)).tolist()
    assert {place: " CBA"[number] for place, number in enumerate(numbers)} == tiers_of(dict(enumerate(amounts)))


@pytest.mark.django_db
def test_month_end_tiers_look_back_to_the_month_of_the_year_before() -> None:
    """March 2026 counts the tickets posted to 2025-04 up to 2026-03, whichever day they were sold."""
    chain = Chain(202503, 202604)
    store = chain.store()
    clerk = chain.clerk(store)
    member = chain.member(store)
    chain.bind(member, clerk)
    chain.buy(member, "2025-3-31", 100)
    march = Month.objects.get(pk=202603)
    assert [row.tier_a for row in movement(march) if row.clerk_id] == [0]
    chain.buy(member, "2025-3-30", 100, posted=202504)
    assert [row.tier_a for row in movement(march) if row.clerk_id] == [1]
    freeze(member_states(march))
    close(march)
    assert [row.tier_a for row in movement(Month.objects.get(pk=202604)) if row.clerk_id] == [0]
