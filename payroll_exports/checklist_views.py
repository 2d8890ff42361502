"""The lists behind a month's checklist: tickets without an attribution, and members without an owner, by store."""

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from commission.tables import in_currency
from payroll_exports.close_checklist import unattributed_parts
from payroll_exports.views import for_readers
from portfolios.models import Member, Month, Store
from portfolios.views import reader

TICKETS_PER_PAGE = 50


@require_GET
@for_readers
def unattributed_tickets(request: HttpRequest, month: int) -> HttpResponse:
    """The tickets that keep a month open because nobody is credited for them yet."""
    shown = get_object_or_404(Month, pk=month)
    parts = unattributed_parts(shown).select_related("sale__store", "server").order_by("business_date", "pk")
    context = {
        "here": "months",
        "month": shown,
        "amount_heading": in_currency(_("Commissionable")),
        "page": Paginator(parts, TICKETS_PER_PAGE).get_page(request.GET.get("page")),
    }
    return render(request, "payroll_exports/unattributed_tickets.html", context)


@require_GET
@for_readers
def month_unassigned(request: HttpRequest, month: int) -> HttpResponse:
    """How many members of each store have no owner on a month's last day; HR goes on to a store's list."""
    shown = get_object_or_404(Month, pk=month)
    counts = dict(
        Member.objects.unassigned(shown.ends_on).order_by().values_list("store").annotate(members=Count("pk"))
    )
    stores = Store.objects.for_user(request.user).filter(pk__in=counts)
    context = {
        "here": "months",
        "month": shown,
        "stores": [(store, counts[store.pk]) for store in stores],
        "total": sum(counts.values()),
        "may_change": reader(request).is_hr,
    }
    return render(request, "payroll_exports/month_unassigned.html", context)
