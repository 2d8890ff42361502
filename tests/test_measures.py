"""Measures of a month: sums that add up from clerk to chain, and what counts when."""

from collections import Counter
from typing import Any

import pytest
from pytest_django import Settings

from kpis.goal_bars import goal_bars
from kpis.measure_models import SUMS, MeasureMonth, MeasuresSoFar
from kpis.measure_page import MEASURES, Rank, figure_text, measures_page, percent, rank
from kpis.measures import freeze_measures, measured, refresh_measures
from kpis.member_states import member_states
from kpis.movement import freeze
from kpis.movement_members import Scope
from portfolios.models import BindingBatch, Clerk, Member, Month, Store
from tests.books import Chain, close, day

pytestmark = pytest.mark.django_db


def close_as(number: int) -> Month:
    month = Month.objects.get(pk=number)
    states = member_states(month)
    freeze_measures(states, freeze(states))
    close(month)
    return month


def row_of(month: int, clerk: Clerk | None, store: Store | None = None) -> Counter[str]:
    rows = measured(Month.objects.get(pk=month)).filter(clerk=clerk)
    row = (rows.filter(store=store) if store else rows).get()
    return Counter({name: getattr(row, name) for name in SUMS})


def two_months(chain: Chain) -> tuple[Store, Clerk, Clerk]:
    """C1 has five members and C2 two; all seven spent the same in January, so all are key members at its end."""
    store = chain.store()
    one, two = chain.clerk(store), chain.clerk(store)
    for place in range(7):
        member = chain.member(store)
        chain.bind(member, one if place < 5 else two)
        chain.buy(member, "1-2", 1000)
        if place in (0, 5):
            chain.buy(member, "4-20", 1500 * (place + 1))
    return store, one, two


def test_a_store_is_the_sum_of_its_books_and_no_mean_of_means() -> None:
    """One of five stays with C1 (20%), one of two with C2 (50%): two of seven are 29%, the mean would be 35%."""
    chain = Chain()
    store, one, two = two_months(chain)
    for number in (202601, 202602, 202603, 202604):
        close_as(number)
    april = Month.objects.get(pk=202604)
    assert [figure_text(MEASURES[4], row_of(202604, clerk)) for clerk in (one, two)] == ["20%", "50%"]
    page = measures_page(Scope(april, store=store))
    assert page
    assert page.lines[4].cells[0].text == "29%"
    # 1,500 and 9,000 fen of two active members.
    assert page.lines[6].cells[0].text == "52.50"
    chain_page = measures_page(Scope(april))
    assert chain_page
    assert [line.cells[0] for line in chain_page.lines] == [line.cells[0] for line in page.lines]


def test_the_night_before_the_close_says_what_the_close_freezes() -> None:
    chain = Chain()
    two_months(chain)
    for number in (202601, 202602, 202603):
        close_as(number)
    april = Month.objects.get(pk=202604)
    refresh_measures(day("5-1"))

    def shown() -> list[tuple[Any, ...]]:
        return list(measured(april).order_by("clerk", "store").values_list("clerk", "store", *SUMS))

    nightly = shown()
    assert {row.as_of for row in MeasuresSoFar.objects.filter(month=april)} == {day("5-1")}
    close_as(202604)
    april.refresh_from_db()
    assert shown() == nightly
    assert not MeasuresSoFar.objects.filter(month=april).exists()


def test_what_is_bought_on_the_day_of_the_refresh_counts_the_night_after() -> None:
    chain = Chain()
    _store, one, _two = two_months(chain)
    refresh_measures(day("4-20"))
    assert row_of(202604, one)["tickets"] == 0
    refresh_measures(day("4-21"))
    assert row_of(202604, one)["tickets"] == 1
    # May has not begun: nothing is known of it.
    assert not MeasuresSoFar.objects.filter(month=202605).exists()


def test_a_merged_card_counts_with_the_one_that_stays() -> None:
    """The key member's card is merged into another in April, which goes on buying: kept, and one active member."""
    chain = Chain()
    store = chain.store()
    clerk = chain.clerk(store)
    merged, survivor = chain.member(store, until="4-10"), chain.member(store)
    chain.bind(merged, clerk, until="4-10")
    chain.bind(survivor, clerk)
    chain.buy(merged, "1-2", 1000)
    chain.buy(merged, "4-5", 700)
    Member.objects.filter(pk=merged.pk).update(merged_into=survivor, merged_by=chain.batch)
    for number in (202601, 202602, 202603, 202604):
        close_as(number)
    row = row_of(202604, clerk)
    assert (row["key_opening"], row["key_kept"], row["active_members"], row["spend_amount"]) == (1, 1, 1, 700)


def test_the_cards_of_one_person_have_their_tickets_and_days_together() -> None:
    """Bought with three cards on the 3rd, 5th and 25th of April: five tickets on three days, two of them of two parts.

    7.40 was bought and 0.40 taken back.
    """
    chain = Chain()
    store = chain.store()
    clerk = chain.clerk(store)
    first, second = chain.member(store, until="4-12"), chain.member(store, until="4-20")
    survivor, other = chain.member(store), chain.member(store)
    for member, until in ((first, "4-12"), (second, "4-20"), (survivor, ""), (other, "")):
        chain.bind(member, clerk, until=until)
    chain.buy(first, "4-3", 50)
    chain.buy(first, "4-5", 60)
    chain.buy(second, "4-5", 20, beside=chain.buy(second, "4-5", 10))
    whole = chain.buy(survivor, "4-3", 100)
    chain.buy(survivor, "4-25", 300, beside=chain.buy(survivor, "4-25", 200))
    chain.buy(survivor, "4-26", -40, original=whole)
    for card, other_card in ((first, second), (second, survivor)):
        batch = BindingBatch.objects.create(source="merge")
        Member.objects.filter(pk=card.pk).update(merged_into=other_card, merged_by=batch)
    # Somebody else's two tickets on one of these days.
    chain.buy(other, "4-5", 1000)
    chain.buy(other, "4-5", 1000)
    for number in (202601, 202602, 202603, 202604):
        close_as(number)
    row = row_of(202604, clerk)
    assert (row["tickets"], row["purchase_days"], row["active_members"]) == (5 + 2, 3 + 1, 2)
    assert (row["spend_amount"], row["bought_amount"]) == (700 + 2000, 740 + 2000)


def test_late_tickets_count_once_in_the_month_they_are_posted_to() -> None:
    """Enrolled on 5 March, bought for 40.00 on the 10th, known in April: effective in April, and never again."""
    chain = Chain()
    store = chain.store()
    clerk = chain.clerk(store)
    member = chain.member(store, since="3-5")
    Member.objects.filter(pk=member.pk).update(enrolled_by=clerk)
    for number in (202601, 202602, 202603):
        close_as(number)
    chain.buy(member, "3-10", 4000, posted=202604)
    chain.buy(member, "4-2", 4000)
    chain.buy(member, "3-11", 4000, posted=202605)
    for number in (202604, 202605):
        close_as(number)
    assert [row_of(number, clerk)["effective_new"] for number in (202603, 202604, 202605)] == [0, 1, 0]


def test_the_settings_are_followed(settings: Settings) -> None:
    settings.EFFECTIVE_PURCHASE_AMOUNT, settings.EFFECTIVE_DAYS = 1000, 3
    chain = Chain()
    store = chain.store()
    clerk = chain.clerk(store)
    for bought, amount in (("3-4", 1000), ("3-5", 5000), ("3-2", 999)):
        member = chain.member(store, since="3-1")
        Member.objects.filter(pk=member.pk).update(enrolled_by=clerk)
        chain.buy(member, bought, amount)
    refresh_measures(day("4-1"))
    assert row_of(202603, clerk)["effective_new"] == 1


def test_small_samples_have_no_rank(settings: Settings) -> None:
    settings.MEASURE_SMALL_SAMPLE = 2
    chain = Chain()
    _store, one, two = two_months(chain)
    for number in (202601, 202602, 202603, 202604):
        close_as(number)
    rows = list(MeasureMonth.objects.filter(month=202604, clerk__isnull=False))
    whole = Counter({name: sum(getattr(row, name) for row in rows) for name in SUMS})
    retention, spend = MEASURES[4], MEASURES[6]
    # 50% before 20%; of the store's 29% (2/7) they are 175 and 70.
    assert rank(retention, row_of(202604, two), rows, whole) == Rank(1, 2, 175)
    assert rank(retention, row_of(202604, one), rows, whole) == Rank(2, 2, 70)
    # One active member each.
    assert rank(spend, row_of(202604, one), rows, whole) is None
    page = measures_page(Scope(Month.objects.get(pk=202604), clerk=one))
    assert page
    assert (page.lines[6].cells[0].text, page.lines[6].cells[0].small) == ("15.00", True)
    assert page.lines[4].in_store == Rank(2, 2, 70)


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(399, 400, 99), (1, 400, 1), (2, 7, 29), (5, 5, 100), (-1, 4, -25)]
)
def test_a_percentage_is_all_or_nothing_only_if_it_is(part: int, whole: int, shown: int) -> None:
    assert percent(part, whole) == shown


def test_bars_below_the_goal_are_hatched() -> None:
    chart = goal_bars([("A", 80), ("B", 64), ("C", None)])
    assert chart
    assert [(bar.name, bar.figure, bar.below) for bar in chart.bars] == [("A", "80%", False), ("B", "64%", True)]
    assert chart.desc == "A: 80%; B: 64%; goal: 70%"
    assert goal_bars([("C", None)]) is None
    many = goal_bars([(f"S{n}", n) for n in range(20)], sort=True)
    assert many
    assert (len(many.bars), many.left_out, many.bars[0].figure) == (12, 8, "0%")
