"""Who a clerk's, a store's and the chain's members are and what they buy; who is behind each bar; and a file of it."""

from typing import Any

import django_tables2 as tables
from auditlog.models import LogEntry
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from commission.tables import MoneyColumn, marked
from kpis.analysis_bands import TITLES, band_label
from kpis.analysis_page import AnalysisPage, analysis_page, is_too_large, write_analysis
from kpis.member_analysis import DIMENSIONS, Buyer, Crowd, members_of
from kpis.member_tables import member_link
from kpis.movement_members import Scope
from kpis.movement_page import address
from kpis.movement_views import asked_scope, scope_context, scope_switch
from portfolios.models import Member, Month, Store
from portfolios.table_files import FORMATS
from portfolios.views import month_choices, reader

ROWS_PER_PAGE = 100


class BuyerTable(tables.Table):
    """`members` are the shown ones by key, `linked` those whose page the reader may open."""

    name = tables.Column(_("Member"), accessor="member_id")
    tier = tables.Column(_("Tier"))
    last_bought_on = tables.DateColumn(verbose_name=_("Last purchase"), format="Y-m-d", default="", attrs=marked("day"))
    tickets = tables.Column(_("Tickets"), attrs=marked("num wide"))
    spend_amount = MoneyColumn(_("12 months"))

    class Meta:
        attrs = {"class": "ledger members"}
        orderable = False

    def __init__(self, rows: list[Buyer], *, members: dict[int, Member], linked: set[int], **options: Any) -> None:
        self.members, self.linked = members, linked
        super().__init__(rows, **options)

    def render_name(self, value: int) -> SafeString:
        member = self.members[value]
        if value in self.linked:
            return member_link(member)
        return format_html(
            '{} <span class="small card-no">{}</span>', member.name or member.member_no, member.member_no
        )


def _scope(request: HttpRequest, month: int, kind: str, number: str) -> Scope:
    scope = asked_scope(request, month, kind, number)
    if scope.unassigned:
        raise Http404
    return scope


def _page(request: HttpRequest, scope: Scope) -> AnalysisPage | None:
    """The page as far as the reader may see the store beside a clerk."""
    if not scope.month.is_closed or is_too_large(scope):
        return None
    store = Crowd.of(scope).store
    sees_store = store is None or Store.objects.for_user(request.user).filter(pk=store.pk).exists()
    return analysis_page(scope, sees_store=sees_store)


@require_GET
def analysis(request: HttpRequest, month: int, kind: str, number: str) -> HttpResponse:
    """The members of a clerk, a store or the chain by bands, at the end of a closed month."""
    scope = _scope(request, month, kind, number)
    last_closed = Month.objects.filter(closed_at__isnull=False).order_by("pk").last()
    context = scope_context(request, scope) | {
        "page": _page(request, scope),
        "too_large": scope.month.is_closed and is_too_large(scope),
        "last_closed": last_closed,
        "last_closed_url": reverse("analysis", args=[last_closed.pk, kind, number]) if last_closed else "",
        "files": [(name.upper(), address(scope, "analysis_file", name)) for name in FORMATS],
        "months": month_choices(scope.month, lambda other: reverse("analysis", args=[other.pk, kind, number])),
        "stores": scope_switch(request, scope, "analysis"),
    }
    return render(request, "kpis/analysis.html", context)


@require_GET
def analysis_members(request: HttpRequest, month: int, kind: str, dimension: str, number: str) -> HttpResponse:
    """The members behind a bar, as many as its table says; the band is in the query string."""
    scope = _scope(request, month, kind, number)
    band = request.GET.get("band", "")
    if dimension not in DIMENSIONS or not (band == "" or band.isprintable()):
        raise Http404
    if not scope.month.is_closed or is_too_large(scope):
        raise Http404
    found = members_of(Crowd.of(scope), dimension, band)
    page = Paginator(found, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    keys = [buyer.member_id for buyer in page.object_list]
    seen = Member.objects.for_user(reader(request), timezone.localdate()).filter(pk__in=keys)
    context = scope_context(request, scope) | {
        "back": address(scope, "analysis"),
        "dimension": TITLES[dimension],
        "band": band_label(dimension, band),
        "count": len(found),
        "page": page,
        "table": BuyerTable(
            list(page.object_list),
            members=Member.objects.in_bulk(keys),
            linked=set(seen.values_list("pk", flat=True)),
        ),
    }
    return render(request, "kpis/analysis_members.html", context)


@require_GET
def analysis_file(request: HttpRequest, month: int, kind: str, format: str, number: str) -> HttpResponse:
    """The figures as a file, without members; that it was taken is on record."""
    scope = _scope(request, month, kind, number)
    page = _page(request, scope)
    if format not in FORMATS or page is None:
        raise Http404
    name = f"{scope.month}-{kind}-{number}-analysis.{format}".replace("/", "-")
    LogEntry.objects.log_create(
        scope.clerk or scope.store or scope.month,
        force_log=True,
        action=LogEntry.Action.ACCESS,
        additional_data={"export": name},
    )
    return HttpResponse(
        write_analysis(scope, page, format),
        content_type=FORMATS[format],
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or "",
            "Cache-Control": "private",
        },
    )
