"""Amounts as a ledger shows them: -1234.5 yuan is −1,234.50, with a true minus sign and in the colour of a loss."""

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from commission.money import format_amount

register = template.Library()

MINUS = "−"


def currency() -> str:
    """The chain's currency in the reader's language."""
    return gettext("CNY") if settings.CURRENCY == "CNY" else settings.CURRENCY


@register.filter
def money_text(amount: int | None) -> str:
    """Minor units as text, 123450 -> "1,234.50"; nothing for None."""
    if amount is None:
        return ""
    whole, _, rest = format_amount(abs(amount)).partition(".")
    return f"{MINUS if amount < 0 else ''}{int(whole):,}.{rest}"


@register.filter
def money(amount: int | None) -> SafeString:
    """`money_text` marked as a figure, and as a loss where it is negative."""
    loss = amount is not None and amount < 0
    return format_html('<span class="{}">{}</span>', "money less" if loss else "money", money_text(amount))


@register.filter
def count(value: int | None) -> str:
    """1234 -> "1,234", with a true minus sign; nothing for None."""
    if value is None:
        return ""
    return f"{MINUS if value < 0 else ''}{abs(value):,}"


@register.filter
def signed(value: int | None) -> str:
    """`count` with its sign, also where it is positive: 12 -> "+12"."""
    return f"+{count(value)}" if value and value > 0 else count(value)
