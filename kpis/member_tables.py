"""The tables of members: the one of all of them, and a portfolio on a date."""

from collections.abc import Mapping
from typing import Any

import django_tables2 as tables
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django_tables2.data import TableData

from commission.tables import MoneyColumn, marked
from kpis.member_list import MemberPage, MemberRow
from kpis.portfolio_on_date import PortfolioRow
from portfolios.models import Member
from portfolios.phones import masked


def member_link(member: Member) -> SafeString:
    """The member's name and card; a card without a name is named by its number."""
    url = reverse("member", args=[member.member_no])
    return format_html(
        '<a href="{}">{}</a> <span class="small card-no">{}</span>',
        url,
        member.name or member.member_no,
        member.member_no,
    )


class PageData(TableData):
    """The rows of one page, ordered already."""

    def __len__(self) -> int:
        return len(self.data)

    def order_by(self, aliases: Any) -> None:
        pass


class MemberTable(tables.Table):
    """`choosable` puts a box before each row, part of the form "change"; `checked` ticks them."""

    choose = tables.Column("", empty_values=(), orderable=False, attrs=marked("choose"))
    name = tables.Column(_("Member"), accessor="member", order_by="name")
    phone = tables.Column(_("Phone"), accessor="member__phone", orderable=False, attrs=marked("wide phone"))
    store = tables.Column(_("Store"), accessor="member__store__name", orderable=False, attrs=marked("wide"))
    owner = tables.Column(_("Owner"), accessor="owner__clerk__name", empty_values=(), orderable=False)
    tier = tables.Column(_("Tier"), accessor="figures__tier", default="", orderable=False)
    bought = tables.Column(_("Last purchase"), accessor="figures__last_purchase_on", default="", attrs=marked("day"))
    spend = MoneyColumn(_("12 months"), accessor="figures__spend_amount", default="", wide=True)

    class Meta:
        attrs = {"class": "ledger members"}
        order_by_field = "sort"

    def __init__(
        self, page: MemberPage, *, choosable: bool, checked: bool, hidden: tuple[str, ...], **options: Any
    ) -> None:
        self.checked = checked
        exclude = hidden if choosable else (*hidden, "choose")
        super().__init__(PageData(page.rows), exclude=exclude, **options)
        self.page = page

    @property
    def paginated_rows(self) -> Any:
        return self.rows

    def render_choose(self, record: MemberRow) -> SafeString:
        return format_html(
            '<input type="checkbox" form="change" name="member" value="{}" aria-label="{}"{}>',
            record.member.pk,
            gettext("Choose %(member)s") % {"member": record.member.name or record.member.member_no},
            mark_safe(" checked") if self.checked else "",
        )

    def render_name(self, value: Member) -> SafeString:
        link = member_link(value)
        return format_html('{} <span class="tag">{}</span>', link, gettext("locked")) if value.locked else link

    def render_phone(self, value: str) -> str:
        return masked(value)

    def render_owner(self, record: MemberRow) -> SafeString:
        if record.owner is None:
            return format_html('<span class="tag tag-waits">{}</span>', gettext("no owner"))
        clerk = record.owner.clerk
        return format_html('{} <span class="small wide-inline">{}</span>', clerk.name, clerk.clerk_no)

    def render_bought(self, record: MemberRow, value: Any) -> SafeString:
        risk = format_html(' <span class="tag tag-waits">{}</span>', gettext("at risk")) if record.at_risk else ""
        return format_html("{}{}", f"{value:%Y-%m-%d}", risk)


class PortfolioTable(tables.Table):
    """A portfolio on a date. `linked` are the members whose page the reader may open.

    `taken_over` are bindings by which members went to another clerk since, and which the reader may question.
    """

    name = tables.Column(_("Member"), accessor="member")
    clerk = tables.Column(_("Owner"), accessor="clerk__name", empty_values=())
    phone = tables.Column(_("Phone"), accessor="member__phone", attrs=marked("wide phone"))
    since = tables.DateColumn(verbose_name=_("Bound since"), format="Y-m-d", default="", attrs=marked("day"))
    reason = tables.Column(_("Reason"), default="", attrs=marked("wide"))

    class Meta:
        attrs = {"class": "ledger members"}
        orderable = False

    def __init__(
        self, rows: list[PortfolioRow], *, linked: set[int], taken_over: Mapping[int, int], **options: Any
    ) -> None:
        self.linked, self.taken_over = linked, taken_over
        super().__init__(rows, **options)

    def render_name(self, value: Member) -> SafeString:
        if value.pk in self.linked:
            return member_link(value)
        plain = format_html('{} <span class="small card-no">{}</span>', value.name or value.member_no, value.member_no)
        if value.pk not in self.taken_over:
            return plain
        url = reverse("question_binding", args=[self.taken_over[value.pk]])
        return format_html(
            '{} <a class="small" href="{}">{}</a>', plain, url, gettext("another's since: question this")
        )

    def render_clerk(self, record: PortfolioRow) -> SafeString:
        if record.clerk is None:
            return format_html('<span class="tag tag-waits">{}</span>', gettext("no owner"))
        return format_html('{} <span class="small wide-inline">{}</span>', record.clerk.name, record.clerk.clerk_no)

    def render_phone(self, record: PortfolioRow, value: str) -> str:
        return masked(value) if record.member.pk in self.linked else ""
