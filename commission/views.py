"""Tickets: a clerk's in a month, each with its share and why, and one ticket whole."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from commission.explain import (
    Grounds,
    clerk_rows,
    entry,
    explain,
    returned_sales,
    sentences,
    ticket_members,
    with_parties,
)
from commission.models import Attribution, Plan, Sale, SaleLine
from commission.tables import SaleLineTable, in_currency
from commission.templatetags.money import currency
from commission.ticket_corrections import askable_tickets
from portfolios.models import Clerk, Month
from portfolios.views import current_month, month_choices, reader

ROWS_PER_PAGE = 50


@require_GET
def my_tickets(request: HttpRequest) -> HttpResponse:
    """One's own tickets of the current month."""
    clerk = get_object_or_404(Clerk, user=request.user)
    month = current_month()
    if month is None:
        return render(request, "commission/clerk_tickets.html", {"here": "my_tickets", "clerk": clerk})
    return redirect("clerk_tickets", month.pk, clerk.clerk_no)


@require_GET
def clerk_tickets(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """The tickets of a month in which a clerk has a part."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    shown = get_object_or_404(Month, pk=month)
    page = Paginator(with_parties(clerk_rows(clerk, shown)), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "my_tickets" if clerk.pk == reader(request).clerk_id else "stores",
        "clerk": clerk,
        "month": shown,
        "page": page,
        "entries": [entry(row, clerk) for row in page],
        "commission_heading": in_currency(_("Commission")),
        "months": month_choices(shown, lambda other: reverse("clerk_tickets", args=[other.pk, clerk_no])),
    }
    return render(request, "commission/clerk_tickets.html", context)


@require_GET
def ticket(request: HttpRequest, pk: int) -> HttpResponse:
    """One ticket whole: its lines, and who gets what of each part, in booking order."""
    sale = get_object_or_404(Sale.objects.for_user(request.user).select_related("store", "member"), pk=pk)
    rows = list(with_parties(Attribution.objects.filter(part__sale=sale).order_by("pk")))
    grounds = Grounds(rows)
    corrections = sale.corrections.select_related(
        "part__server", "new_member", "new_server", "asked_by__clerk", "decided_by__clerk"
    )
    lines = SaleLine.objects.filter(sale=sale).select_related("category", "server").order_by("line_no")
    context = {
        "here": "my_tickets" if reader(request).clerk_id else "months",
        "sale": sale,
        "lines": SaleLineTable(list(lines), request=request),
        "net_amount": sum(line.net_amount for line in lines),
        "waiting": any(line.part_id is None for line in lines),
        "rows": [{"row": row, "why": explain(row), "sentences": sentences(row, grounds)} for row in rows],
        "members": ticket_members(sale),
        "plans": Plan.objects.for_user(request.user).filter(pk__in={row.plan_id for row in rows}),
        "originals": returned_sales(sale, reader(request)),
        "corrections": corrections,
        "may_ask": any(not row.month.is_closed for row in rows)
        and askable_tickets(reader(request)).filter(pk=pk).exists(),
        "credit_heading": in_currency(_("Credit")),
        "commission_heading": in_currency(_("Commission")),
        "currency": currency(),
    }
    return render(request, "commission/ticket.html", context)
