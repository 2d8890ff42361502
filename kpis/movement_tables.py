"""The table of the members behind a figure of a movement."""

from typing import Any

import django_tables2 as tables
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from commission.tables import marked
from kpis.member_tables import member_link
from kpis.models import MemberGroup
from kpis.movement_members import MemberMove
from portfolios.models import Member


class FigureMembersTable(tables.Table):
    """`linked` are the members whose page the reader may open."""

    name = tables.Column(_("Member"), accessor="member")
    at_opening = tables.Column(_("At opening"), accessor="group")
    at_closing = tables.Column(_("At closing"), accessor="group")
    activity = tables.Column(_("Active"), accessor="group", attrs=marked("wide"))
    tier = tables.Column(_("Tier"), accessor="group")
    enrolled_on = tables.DateColumn(
        verbose_name=_("Enrolled on"), accessor="member__enrolled_on", format="Y-m-d", attrs=marked("wide day")
    )

    class Meta:
        attrs = {"class": "ledger members"}
        orderable = False

    def __init__(self, rows: list[MemberMove], *, linked: set[int], **options: Any) -> None:
        self.linked = linked
        super().__init__(rows, **options)

    def render_name(self, value: Member) -> SafeString:
        if value.pk in self.linked:
            return member_link(value)
        return format_html('{} <span class="small card-no">{}</span>', value.name or value.member_no, value.member_no)

    def render_at_opening(self, value: MemberGroup) -> str:
        if not value.at_opening:
            return pgettext("member", "enrolled in the month")
        return value.first_clerk.name if value.first_clerk else gettext("no owner")

    def render_at_closing(self, value: MemberGroup) -> str:
        if not value.at_closing:
            return pgettext("member", "card closed")
        return value.last_clerk.name if value.last_clerk else gettext("no owner")

    def render_activity(self, value: MemberGroup) -> str:
        names = {
            (True, True): pgettext("active members", "stayed active"),
            (True, False): pgettext("active members", "lapsed"),
            (False, False): pgettext("active members", "not active"),
        }
        again, first = pgettext("active members", "reactivated"), pgettext("active members", "newly active")
        turned = again if value.bought_before else first
        return names.get((value.active_opening, value.active_closing), turned)

    def render_tier(self, value: MemberGroup) -> str:
        tiers = [tier for tier in (value.opening_tier, value.closing_tier) if tier]
        return " → ".join(dict.fromkeys(tiers))
