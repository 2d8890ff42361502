"""Returns that wait for their original: what is known of each, and their settlement by a manager or HR."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from commission.models import Sale, SaleLine
from commission.settlement import SettlementError, original_of, settle_return, waiting_for
from commission.templatetags.money import currency
from portfolios.models import Month, User
from portfolios.months import MonthError, parse_month
from portfolios.views import reader

TICKETS_PER_PAGE = 50


def _waiting_tickets(user: User) -> Any:
    """The tickets with a waiting return that the user may see; nobody but managers, HR and auditors has such a list."""
    if not user.office and not user.managed_store_ids():
        raise Http404
    return Sale.objects.filter(Exists(waiting_for(user).filter(sale=OuterRef("pk"))))


@require_GET
def waiting_returns(request: HttpRequest) -> HttpResponse:
    """The tickets whose returns wait, the oldest first; with `month`, those that keep that month from closing."""
    user = reader(request)
    tickets = _waiting_tickets(user).select_related("store", "member", "booking").order_by("business_date", "pk")
    month = None
    if asked := request.GET.get("month"):
        try:
            month = get_object_or_404(Month, pk=parse_month(asked))
        except MonthError as error:
            raise Http404 from error
        tickets = tickets.filter(business_date__lte=month.ends_on)
    page = Paginator(tickets, TICKETS_PER_PAGE).get_page(request.GET.get("page"))
    lines: dict[int, list[tuple[SaleLine, str, Sale | None]]] = {}
    for line in waiting_for(user).filter(sale__in=list(page)).select_related("category").order_by("sale", "line_no"):
        original = original_of(line)
        lines.setdefault(line.sale_id, []).append((line, _known(line, original), original))
    context = {
        "here": "months" if user.office else "stores",
        "month": month,
        "page": page,
        "tickets": [
            {
                "sale": sale,
                "lines": lines.get(sale.pk, []),
                "net_amount": sum(row[0].net_amount for row in lines[sale.pk]),
            }
            for sale in page
        ],
        "may_settle": user.office != User.Office.AUDITOR,
        "currency": currency(),
    }
    return render(request, "commission/waiting_returns.html", context)


def _known(line: SaleLine, original: Sale | None) -> str:
    """What is known of a waiting line's original, and so why it waits."""
    if line.original_ticket_no is None:
        return _("It names no original.")
    named = _("store %(store)s, %(date)s, ticket %(ticket)s, line %(line)s") % {
        "store": line.original_store_no,
        "date": line.original_business_date,
        "ticket": line.original_ticket_no,
        "line": line.original_line_no,
    }
    if original is None:
        return _("Of %(original)s: no such ticket has arrived yet.") % {"original": named}
    return _("Of %(original)s: the ticket is there, but it has no such line, or less of it is left.") % {
        "original": named
    }


@require_POST
def settle_waiting_return(request: HttpRequest, pk: int) -> HttpResponse:
    """Settles the waiting returns of a ticket, with a reason: they are wholly the store's."""
    user = reader(request)
    sale = get_object_or_404(_waiting_tickets(user).select_related("store"), pk=pk)
    if user.office == User.Office.AUDITOR:
        raise Http404
    try:
        settled = settle_return(
            store_no=sale.store.store_no,
            business_date=sale.business_date,
            ticket_no=sale.ticket_no,
            reason=request.POST.get("reason", ""),
            recorded_by=user,
        )
    except SettlementError as refusal:
        messages.error(request, str(refusal))
    else:
        message = ngettext(
            "%(count)d return line of ticket %(ticket)s is settled: it is the store's, and nobody's pay changes.",
            "%(count)d return lines of ticket %(ticket)s are settled: they are the store's, and nobody's pay changes.",
            settled,
        )
        messages.success(request, message % {"count": settled, "ticket": sale.ticket_no})
    return redirect("waiting_returns")
