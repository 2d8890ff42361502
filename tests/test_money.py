"""Amounts in minor units, their strict grammar, and the one rounding: half away from zero, in Python and in SQL."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from django.db.models import BigIntegerField, Value
from django.db.models.functions import Cast
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commission.money import (
    MAX_AMOUNT,
    AmountError,
    RoundHalfAway,
    amount_fault,
    format_amount,
    format_bp,
    parse_amount,
    round_half_away,
)
from tests.builders import make_store

numerators = st.integers(-4 * 10**18, 4 * 10**18)
# PostgreSQL takes a denominator that is written out for 32 bits, and it is doubled.
denominators = st.one_of(st.just(10_000), st.integers(1, 10**9))


def by_decimal(numerator: int, denominator: int) -> int:
    return int((Decimal(numerator) / Decimal(denominator)).quantize(Decimal(1), ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("numerator", "rounded"),
    [(166_500, 17), (119_000, 12), (9_900, 1), (5_000, 1), (4_999, 0), (0, 0), (-4_999, 0), (-5_000, -1),
     (-15_000, -2), (-166_500, -17), (25_000, 3), (35_000, 4)],
)  # fmt: skip
def test_halves_go_away_from_zero(numerator: int, rounded: int) -> None:
    assert round_half_away(numerator, 10_000) == rounded


@given(numerators, denominators)
def test_rounding_is_that_of_decimal(numerator: int, denominator: int) -> None:
    assert round_half_away(numerator, denominator) == by_decimal(numerator, denominator)
    assert round_half_away(-numerator, denominator) == -round_half_away(numerator, denominator)


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(cases=st.lists(st.tuples(numerators, denominators), min_size=1, max_size=40))
def test_the_database_rounds_the_same(cases: list[tuple[int, int]], one_row: Any) -> None:
    rounded = {
        f"case{place}": RoundHalfAway(Cast(Value(numerator), BigIntegerField()), denominator)
        for place, (numerator, denominator) in enumerate(cases)
    }
    assert one_row.values_list(*rounded.values()).get() == tuple(by_decimal(*case) for case in cases)


@pytest.mark.django_db
def test_the_database_rounds_halves_on_both_sides_of_every_boundary(one_row: Any) -> None:
    cases = [
        (sign * (whole * 10_000 + 5_000 + off), 10_000) for sign in (1, -1) for whole in range(8) for off in (-1, 0, 1)
    ]
    rounded = [RoundHalfAway(Cast(Value(numerator), BigIntegerField()), over) for numerator, over in cases]
    assert one_row.values_list(*rounded).get() == tuple(by_decimal(*case) for case in cases)


@pytest.fixture
def one_row(db: None) -> Any:
    """A query of one row to work something out in."""
    return type(make_store()).objects.order_by()


@pytest.mark.parametrize(
    ("text", "amount"),
    [("333.00", 33_300), ("-50", -5_000), ("0.5", 50), ("-0.05", -5), ("0", 0), ("-0", 0), ("12.3", 1_230),
     ("10000000000", MAX_AMOUNT), ("-10000000000.00", -MAX_AMOUNT)],
)  # fmt: skip
def test_amounts_are_read(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", " ", "1.", ".5", "+5", "007", "1,000.00", "1.000", "1e3", "1E+3", "NaN", "inf", "-inf", "--5", "5-", "(5)",
     "１２３", "1２.00", "٣", "1 000", "¥5", "5元", "0x10", "1_000", "10000000000.01", "99999999999", "9" * 5_000,
     "-" + "9" * 5_000, "1\n", "−5"],
)  # fmt: skip
def test_anything_else_is_no_amount(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text)


@pytest.mark.parametrize(
    ("fault", "texts"),
    [("thousands separators", ["1,000.00", "-1,234", "1 000", "12'345.6", "1，000", "1\u00a0000", "1,234,567.891"]),
     ("more than two decimals", ["1.000", "-0.001", "4200.005", "12.300000000000001", "99999999999.999"]),
     ("too large", ["10000000000.01", "99999999999", "-99999999999", "9" * 5_000])],
)  # fmt: skip
def test_what_is_wrong_with_an_amount_is_said(fault: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(AmountError):
            parse_amount(text)
        said = amount_fault(text)
        assert said is not None, text
        assert fault in said[0], text
        assert said[1]


@pytest.mark.parametrize("text", ["", "12,5", "1,00", "10,00.00", "007", "１２３", "1e3", "NaN", "5-", "(5)", "¥5"])
def test_nothing_is_guessed_of_other_text(text: str) -> None:
    assert amount_fault(text) is None


@given(st.integers(-MAX_AMOUNT, MAX_AMOUNT))
def test_an_amount_written_and_read_is_itself(amount: int) -> None:
    assert parse_amount(format_amount(amount)) == amount


@given(st.text())
def test_no_text_is_read_as_an_amount_that_would_not_be_written_so(text: str) -> None:
    try:
        amount = parse_amount(text)
    except AmountError:
        return
    assert Decimal(text) == Decimal(amount) / 100


@pytest.mark.parametrize(("bp", "text"), [(7_000, "70"), (350, "3.5"), (9_999, "99.99"), (0, "0"), (10_000, "100")])
def test_ratios_are_written_in_percent(bp: int, text: str) -> None:
    assert format_bp(bp) == text
