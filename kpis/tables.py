import datetime as dt
from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from commission.tables import CountColumn, MoneyColumn
from kpis.portfolio_on_date import PortfolioOnDate
from kpis.store_portfolios import ClerkPortfolio
from portfolios.models import Clerk, Month, Store


class MembersColumn(CountColumn):
    """How many members; each number opens them as they were on the table's date."""

    def render(self, value: int, record: ClerkPortfolio, table: "StorePortfolioTable") -> str:  # type: ignore[override]
        shown = super().render(value)
        if not value:
            return shown
        url = reverse("clerk_portfolio", args=[record.clerk.clerk_no])
        return format_html('<a href="{}?{}">{}</a>', url, urlencode({"on": table.on.isoformat()}), shown)

    def footer(self, bound_column: Any, table: "StorePortfolioTable") -> str:
        url = reverse("store_portfolio", args=[table.store.store_no])
        query = urlencode({"on": table.on.isoformat(), "only": PortfolioOnDate.OWNED})
        return format_html('<a href="{}?{}">{}</a>', url, query, super().footer(bound_column, table))


class StorePortfolioTable(tables.Table):
    clerk = tables.Column(_("Clerk"), order_by="clerk__clerk_no", footer=_("Store"))
    members = MembersColumn(_("Members"), total=True)
    tier_a = CountColumn(_("A"), accessor="movement__tier_a", total=True, wide=True)
    tier_b = CountColumn(_("B"), accessor="movement__tier_b", total=True, wide=True)
    active = CountColumn(_("Active"), accessor="movement__active_closing", total=True, wide=True)
    enrolled = CountColumn(pgettext_lazy("portfolio", "Enrolled"), accessor="movement__enrolled", total=True, wide=True)
    transferred_in = CountColumn(
        pgettext_lazy("portfolio", "Transferred in"), accessor="movement__transferred_in", total=True, wide=True
    )
    transferred_out = CountColumn(
        pgettext_lazy("portfolio", "Transferred out"), accessor="movement__transferred_out", total=True, wide=True
    )
    closed = CountColumn(pgettext_lazy("portfolio", "Closed"), accessor="movement__closed", total=True, wide=True)
    credit_amount = MoneyColumn(_("Credit"), accessor="credit__credit_amount", total=True, wide=True)
    commission_amount = MoneyColumn(_("Commission"), accessor="credit__commission_amount", total=True)

    class Meta:
        attrs = {"class": "ledger"}
        order_by = "-commission_amount"
        empty_text = _("No clerk has this store as home store.")

    def __init__(self, data: list[ClerkPortfolio], *, month: Month, store: Store, on: dt.date) -> None:
        self.month, self.store, self.on = month, store, on
        super().__init__(data)

    def render_clerk(self, value: Clerk) -> SafeString:
        url = reverse("clerk_month", args=[self.month.pk, value.clerk_no])
        return format_html('<a href="{}">{}</a> <span class="small">{}</span>', url, value.name, value.clerk_no)
