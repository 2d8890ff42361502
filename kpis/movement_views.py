"""How a clerk's, a store's and the chain's members changed in a month, and who is behind each figure."""

from typing import Any

from auditlog.models import LogEntry
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from kpis.movement_members import MEMBER_FIGURES, FigureMembers, MemberMove, Scope, write_members
from kpis.movement_page import TITLES, address, movement_page
from kpis.movement_tables import FigureMembersTable
from portfolios.models import Clerk, Member, Month, Store
from portfolios.table_files import FORMATS, file_formats
from portfolios.views import Choice, month_choices, reader

ROWS_PER_PAGE = 100


def asked_scope(request: HttpRequest, month: int, kind: str, number: str) -> Scope:
    """Whose movement the address names; what the reader may not see is not there."""
    shown = get_object_or_404(Month, pk=month)
    if kind == "clerk":
        return Scope(shown, clerk=get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=number))
    if kind in ("store", "unassigned"):
        store = get_object_or_404(Store.objects.for_user(request.user), store_no=number)
        return Scope(shown, store=store, unassigned=kind == "unassigned")
    if kind == "chain" and number == "all" and reader(request).office:
        return Scope(shown)
    raise Http404


def scope_context(request: HttpRequest, scope: Scope) -> dict[str, Any]:
    """What every page about a clerk, a store or the chain says of it."""
    user = reader(request)
    own = scope.clerk is not None and scope.clerk.pk == user.clerk_id
    if scope.clerk:
        title = scope.clerk.name
    else:
        title = scope.store.name if scope.store else _("Chain")
    return {
        "here": "my_month" if own else "stores",
        "scope": scope,
        "title": title,
        "month": scope.month,
    }


def scope_switch(request: HttpRequest, scope: Scope, page: str) -> list[Choice]:
    """The same page of the chain and of each store that the reader may see; a clerk's has none."""
    if scope.clerk:
        return []
    choices = []
    if reader(request).office:
        url = reverse(page, args=[scope.month.pk, "chain", "all"])
        choices.append(Choice(url, _("Chain"), "", scope.store is None))
    return choices + [
        Choice(
            reverse(page, args=[scope.month.pk, "store", other.store_no]),
            other.name,
            other.store_no,
            other == scope.store,
        )
        for other in Store.objects.for_user(request.user)
    ]


def _context(request: HttpRequest, scope: Scope) -> dict[str, Any]:
    return scope_context(request, scope) | {"back": address(scope), "pdf": address(scope, "movement_pdf")}


@require_GET
def movement(request: HttpRequest, month: int, kind: str, number: str) -> HttpResponse:
    """The movement of a clerk's book, an unassigned list, a store or the chain in a closed month."""
    scope = asked_scope(request, month, kind, number)
    last_closed = Month.objects.filter(closed_at__isnull=False).order_by("pk").last()
    context = _context(request, scope) | {
        "page": movement_page(scope),
        "last_closed": last_closed,
        "last_closed_url": reverse("movement", args=[last_closed.pk, kind, number]) if last_closed else "",
        "months": month_choices(scope.month, lambda other: reverse("movement", args=[other.pk, kind, number])),
        "so_far_url": "" if scope.unassigned else address(scope, "measures"),
        "today_url": _today_url(scope),
        "stores": scope_switch(request, scope, "movement"),
    }
    return render(request, "kpis/movement.html", context)


def _today_url(scope: Scope) -> str:
    """Where the members are as they stand; the whole chain's are on no page."""
    if scope.clerk:
        return reverse("clerk_portfolio", args=[scope.clerk.clerk_no])
    return reverse("store_portfolio", args=[scope.store.store_no]) if scope.store else ""


@require_GET
def movement_members(request: HttpRequest, month: int, kind: str, figure: str, number: str) -> HttpResponse:
    """The members behind one figure, as many as it says."""
    scope = asked_scope(request, month, kind, number)
    members = _members(scope, figure)
    page: Page[MemberMove] = Paginator(members, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    rows = list(page.object_list)
    keys = [row.member.pk for row in rows]
    linked = set(
        Member.objects.for_user(reader(request), timezone.localdate()).filter(pk__in=keys).values_list("pk", flat=True)
    )
    context = _context(request, scope) | {
        "figure": figure,
        "figure_title": TITLES[figure],
        "count": len(members),
        "page": page,
        "others_cards": bool(linked) and len(linked) < len(keys),
        "table": FigureMembersTable(rows, linked=linked),
        "files": [(name.upper(), address(scope, "movement_file", figure, name)) for name in file_formats(len(members))],
    }
    return render(request, "kpis/movement_members.html", context)


@require_GET
def movement_file(request: HttpRequest, month: int, kind: str, figure: str, format: str, number: str) -> HttpResponse:
    """The same as a file, without phone numbers; that it was taken is on record."""
    scope = asked_scope(request, month, kind, number)
    members = _members(scope, figure)
    if format not in file_formats(len(members)):
        raise Http404
    name = f"{scope.month}-{kind}-{number}-{figure}.{format}".replace("/", "-")
    LogEntry.objects.log_create(
        scope.clerk or scope.store or scope.month,
        force_log=True,
        action=LogEntry.Action.ACCESS,
        additional_data={"export": name, "members": len(members)},
    )
    return HttpResponse(
        write_members(members, format),
        content_type=FORMATS[format],
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or "",
            "Cache-Control": "private",
        },
    )


def _members(scope: Scope, figure: str) -> FigureMembers:
    if figure not in MEMBER_FIGURES or not scope.month.is_closed:
        raise Http404
    return FigureMembers(scope, figure)
