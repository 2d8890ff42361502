"""Columns that every table of figures uses, and the lines of a ticket."""

from decimal import Decimal
from typing import Any

import django_tables2 as tables
from django.utils.functional import Promise, lazy
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from commission.models import SaleLine
from commission.money import format_bp
from commission.templatetags.money import count, currency, money, money_text


def in_currency(name: str | Promise) -> Promise:
    """A heading with its unit: Commission (CNY)."""
    return format_lazy(_("{name} ({currency})"), name=name, currency=lazy(currency, str)())


class MoneyColumn(tables.Column):
    """An amount in minor units, with its sum at the foot where `total` is true."""

    def __init__(self, verbose_name: str | Promise, *, total: bool = False, wide: bool = False, **options: Any) -> None:
        super().__init__(
            verbose_name=in_currency(verbose_name), footer=_sum if total else None, attrs=_figure(wide), **options
        )

    def render(self, value: int) -> SafeString:
        return money(value)


class CountColumn(tables.Column):
    """A number of things, with its sum at the foot where `total` is true; `wide` is left out on a phone."""

    def __init__(self, verbose_name: str | Promise, *, total: bool = False, wide: bool = False, **options: Any) -> None:
        super().__init__(
            verbose_name=verbose_name, footer=_count_sum if total else None, attrs=_figure(wide), **options
        )

    def render(self, value: int) -> str:
        return count(value)


def marked(css: str) -> dict[str, dict[str, str]]:
    """A column's attributes: a class for its cells, "num" for figures, "wide" for what a phone leaves out."""
    return {"th": {"class": css}, "td": {"class": css}, "tf": {"class": css}}


def _figure(wide: bool) -> dict[str, dict[str, str]]:
    return marked("num wide" if wide else "num")


def _total(table: tables.Table, bound_column: Any) -> int:
    return sum(bound_column.accessor.resolve(row) or 0 for row in table.data)


def _sum(table: tables.Table, bound_column: Any) -> SafeString:
    return money(_total(table, bound_column))


def _count_sum(table: tables.Table, bound_column: Any) -> str:
    return count(_total(table, bound_column))


class SaleLineTable(tables.Table):
    line_no = tables.Column(_("Line"), attrs=marked("wide"))
    category = tables.Column(_("Category"))
    product_no = tables.Column(_("Product"), attrs=marked("wide"))
    server = tables.Column(_("Served by"), accessor="server__name", default="")
    quantity_milli = CountColumn(_("Quantity"), wide=True)
    # Without empty_values an excluded line, which has no rate, would say nothing.
    rate_bp = tables.Column(_("Rate (%)"), empty_values=(), attrs=marked("num"))
    net_amount = MoneyColumn(_("Net"))

    class Meta:
        orderable = False
        attrs = {"class": "ledger"}
        empty_text = _("The ticket has no lines.")

    def render_quantity_milli(self, value: int) -> str:
        return (
            f"{Decimal(value) / 1000:f}".rstrip("0").rstrip(".").replace("-", "−")
            if value % 1000
            else count(value // 1000)
        )

    def render_rate_bp(self, value: int | None, record: SaleLine) -> str:
        if record.excluded:
            return gettext("excluded")
        if record.unit_amount is not None:
            return gettext("%(amount)s per unit") % {"amount": money_text(record.unit_amount)}
        return "" if value is None else format_bp(value)
