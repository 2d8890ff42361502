"""A store's portfolios, for whoever manages the store, and for HR."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET
from django_tables2 import RequestConfig

from commission.models import Inquiry, TicketCorrection
from commission.settlement import waiting_returns
from kpis.care import complaints_to_close
from kpis.leaving import departures
from kpis.models import Signal
from kpis.store_portfolios import store_portfolios
from kpis.tables import StorePortfolioTable
from portfolios.duplicates import shared_phones
from portfolios.models import Month, Store, User
from portfolios.views import Choice, current_month, month_choices, reader


@require_GET
def stores(request: HttpRequest) -> HttpResponse:
    """The first store that one may see, in the current month."""
    may_see = Store.objects.for_user(request.user)
    first, month = may_see.first(), current_month()
    if first is None and not reader(request).office:
        raise Http404
    if first is None or month is None:
        return render(request, "kpis/no_store.html", {"here": "stores"})
    return redirect("store", month.pk, first.store_no)


@require_GET
def store(request: HttpRequest, month: int, store_no: str) -> HttpResponse:
    """The portfolios of a store's clerks in a month."""
    may_see = Store.objects.for_user(request.user)
    shown = get_object_or_404(may_see, store_no=store_no)
    of_month = get_object_or_404(Month, pk=month)
    portfolios = store_portfolios(shown, of_month, today=timezone.localdate())
    table = StorePortfolioTable(portfolios.rows, month=of_month, store=shown, on=portfolios.on)
    RequestConfig(request, paginate=False).configure(table)
    context = {
        "here": "stores",
        "store": shown,
        "month": of_month,
        "portfolios": portfolios,
        "table": table,
        "shared_phones": 0 if reader(request).office == User.Office.AUDITOR else shared_phones([shown.pk]).count(),
        "waiting_corrections": TicketCorrection.objects.for_user(request.user)
        .waiting()
        .filter(sale__store=shown)
        .count(),
        "waiting_inquiries": Inquiry.objects.for_user(request.user).unanswered().filter(store=shown).count(),
        "open_complaints": complaints_to_close(reader(request)).filter(member__store=shown).count(),
        "waiting_returns": waiting_returns().filter(sale__store=shown).count(),
        "signals": Signal.objects.for_user(request.user).filter(month=of_month, store=shown).to_look_at().count(),
        "departures": departures(shown, today=timezone.localdate()),
        "may_change": reader(request).office != User.Office.AUDITOR,
        "stores": [
            Choice(reverse("store", args=[month, other.store_no]), other.name, other.store_no, other == shown)
            for other in may_see
        ],
        "months": month_choices(of_month, lambda other: reverse("store", args=[other.pk, store_no])),
    }
    return render(request, "kpis/store.html", context)
