"""The accelerator on a month's credit, and whose plan it comes from."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commission.bands import accelerator, plan_of_store, plans_in
from commission.models import Band, Plan
from commission.money import round_half_away
from portfolios.models import Month, Store


def bands(*steps: tuple[int, int]) -> list[Band]:
    return [Band(lower_amount=lower, rate_bp=rate) for lower, rate in steps]


USUAL = ((0, 0), (3_000_000, 200), (6_000_000, 300))


@pytest.mark.parametrize(
    ("credit", "earned"),
    [
        (7_000_000, 90_000),  # 3,000,000 at 2% and 1,000,000 at 3%
        (6_000_000, 60_000),
        (6_000_001, 60_000),  # 0.03 more
        (6_000_017, 60_001),  # 0.51 more
        (3_000_000, 0),
        (3_000_024, 0),  # 0.48
        (3_000_025, 1),  # 0.50: half is rounded away from zero
        (2_999_999, 0),
        (0, 0),
        (-5_000_000, 0),
    ],
)
def test_each_band_counts_for_the_credit_within_it(credit: int, earned: int) -> None:
    assert accelerator(credit, bands(*USUAL)) == earned
    assert accelerator(credit, reversed(bands(*USUAL))) == earned


def test_it_is_rounded_once_and_not_by_band() -> None:
    # 1 x 0.4 + 1 x 0.3 = 0.7, rounded 1; by band it would be 0.
    assert accelerator(2, bands((0, 4000), (1, 3000))) == 1


def test_below_the_lowest_bound_nothing_is_earned() -> None:
    assert accelerator(999, bands((1000, 500))) == 0
    assert accelerator(1020, bands((1000, 500))) == 1
    assert accelerator(1_000_000, []) == 0


@given(
    steps=st.dictionaries(st.integers(0, 400), st.integers(0, 10_000), max_size=5),
    credit=st.integers(-50, 600),
)
def test_it_is_what_counting_fen_by_fen_gives(steps: dict[int, int], credit: int) -> None:
    def rate_of(fen: int) -> int:
        below = [lower for lower in steps if lower <= fen]
        return steps[max(below)] if below else 0

    expected = round_half_away(sum(rate_of(fen) for fen in range(credit)), 10_000)
    assert accelerator(credit, bands(*steps.items())) == expected


@pytest.mark.django_db
def test_the_stores_own_plan_wins_even_where_it_has_no_bands() -> None:
    month = Month(pk=202610, starts_on=dt.date(2026, 10, 1), ends_on=dt.date(2026, 10, 31))
    first, second = (Store.objects.create(store_no=no, name=no) for no in ("S1", "S2"))
    before = Plan.objects.create(plan_no="OLD", valid_from=dt.date(2026, 1, 1), valid_to=dt.date(2026, 10, 1))
    chain = Plan.objects.create(plan_no="CHAIN", valid_from=dt.date(2026, 10, 1), valid_to=dt.date(2026, 10, 20))
    own = Plan.objects.create(plan_no="OWN", store=second, valid_from=dt.date(2026, 10, 1))
    Band.objects.create(plan=chain, lower_amount=0, rate_bp=100)

    plans = plans_in(month)

    assert before not in plans
    assert plan_of_store(plans, first.pk, dt.date(2026, 10, 19)) == chain
    assert plan_of_store(plans, second.pk, dt.date(2026, 10, 19)) == own
    assert plan_of_store(plans, second.pk, dt.date(2026, 10, 31)) == own
    assert plan_of_store(plans, first.pk, dt.date(2026, 10, 20)) is None
    assert accelerator(50_000, chain.bands.all()) == 500
    assert accelerator(50_000, own.bands.all()) == 0
