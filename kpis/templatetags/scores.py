"""Hundredths as people read them: 8,750 is 87.5."""

from django import template

from commission.money import format_bp

register = template.Library()


@register.filter
def hundredths(number: int | None) -> str:
    """A number of hundredths without needless zeros; nothing for None."""
    return "" if number is None else format_bp(number)
