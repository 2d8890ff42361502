"""Amounts are integers in the currency's minor unit, and everything is rounded by the one rule written here.

Half away from zero: 16.65 -> 17, 0.5 -> 1, -0.5 -> -1. `round_half_away` is the rule in Python, `RoundHalfAway` the
same in SQL: 333 at 5% is 1,665,000 ten-thousandths, 166.5 hundredths, 17 fen (16.65).
"""

import re
from decimal import Decimal
from typing import Any

from django.db.models import BigIntegerField, Case, F, Value, When
from django.db.models.expressions import Combinable
from django.db.models.lookups import LessThan
from django.utils.translation import gettext as _

# Basis points in a whole: a share of 70% is 7000.
WHOLE_BP = 10_000

# The largest amount a file may hold, in minor units (ten billion yuan): sums of it times a rate fit 64 bits.
MAX_AMOUNT = 10**12


class AmountError(ValueError):
    """Text that is no amount by the files' strict grammar."""


# Eleven digits hold MAX_AMOUNT, and Python refuses to read numbers of thousands of digits.
_AMOUNT = re.compile(r"-?(?:0|[1-9][0-9]{0,10})(?:\.[0-9]{1,2})?", re.ASCII)

# What is written instead, told apart only once it is refused.
_SEPARATED = re.compile(r"-?[0-9]{1,3}(?:[,，'’ \u00a0\u202f][0-9]{3})+(?:\.[0-9]*)?", re.ASCII)
_LONG_FRACTION = re.compile(r"-?[0-9]+\.[0-9]{3,}", re.ASCII)
_LARGE = re.compile(r"-?[1-9][0-9]{10,}(?:\.[0-9]{1,2})?", re.ASCII)


def parse_amount(text: str) -> int:
    """Minor units of an amount in currency units: "333.00" -> 33300, "-50" -> -5000, "0.5" -> 50.

    At most two decimals; no thousands separators, signs other than a leading minus, exponents or full-width digits.
    Raises AmountError.
    """
    if not _AMOUNT.fullmatch(text):
        raise AmountError(text)
    whole, _, cents = text.partition(".")
    amount = int(whole) * 100
    if cents:
        part = int(cents) if len(cents) == 2 else int(cents) * 10
        amount = amount - part if text[0] == "-" else amount + part
    if abs(amount) > MAX_AMOUNT:
        raise AmountError(text)
    return amount


def amount_fault(text: str) -> tuple[str, str] | None:
    """What is wrong with text that `parse_amount` refuses, and what to write; None where it is none of the usual."""
    if _SEPARATED.fullmatch(text):
        return _("The amount has thousands separators."), _("Leave them out: 1234.50, not 1,234.50.")
    if _LONG_FRACTION.fullmatch(text):
        return _("The amount has more than two decimals."), _("Write at most two decimals, for example 1234.50.")
    if _LARGE.fullmatch(text):
        return _("The amount is too large."), _("Write at most %(most)s.") % {"most": format_amount(MAX_AMOUNT)}
    return None


def format_amount(amount: int) -> str:
    """The files' form of an amount: 33300 -> "333.00", -5 -> "-0.05"."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def format_bp(bp: int) -> str:
    """The files' form of a ratio, in percent without needless zeros: 7000 -> "70", 350 -> "3.5"."""
    return f"{Decimal(bp) / 100:f}".rstrip("0").rstrip(".") if bp % 100 else str(bp // 100)


def round_half_away(numerator: int, denominator: int) -> int:
    """numerator / denominator, rounded half away from zero; the denominator is positive."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return -quotient if numerator < 0 else quotient


def RoundHalfAway(numerator: Combinable | str, denominator: Combinable | int) -> Combinable:  # noqa: N802 - an expression, named as Django's are
    """`round_half_away` as an ORM expression over integers (both databases truncate an integer division)."""
    top = F(numerator) if isinstance(numerator, str) else numerator
    bottom: Any = Value(denominator) if isinstance(denominator, int) else denominator
    signed = Case(When(LessThan(top, 0), then=bottom * -1), default=bottom, output_field=BigIntegerField())
    return (top * 2 + signed) / (bottom * 2)


def half_away_sql(numerator: str, denominator: str) -> str:
    """`round_half_away` as SQL text over integers, for statements that no model composes."""
    half = f"CASE WHEN ({numerator}) < 0 THEN -({denominator}) ELSE ({denominator}) END"
    return f"((({numerator}) * 2 + {half}) / (({denominator}) * 2))"
