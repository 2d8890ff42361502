"""What leavers owe, for HR to have written off, and what was written off, for auditors."""

from django.contrib import messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from commission.tables import in_currency
from commission.templatetags.money import currency
from payroll_exports.adjustments import AdjustmentRefused
from payroll_exports.leavers_debts import ask_write_off, leavers_debts
from payroll_exports.models import Adjustment
from payroll_exports.views import for_hr, for_readers
from portfolios.models import Clerk
from portfolios.months import first_open_month
from portfolios.views import reader


@require_GET
@for_readers
def debts(request: HttpRequest) -> HttpResponse:
    """The leavers' debts that are carried on, and those that were written off, with who asked, who approved and why."""
    month = first_open_month()
    found = leavers_debts(month) if month else []
    written_off = (
        Adjustment.objects.for_user(request.user)
        .filter(write_off=True, approved=True)
        .select_related("clerk", "month", "asked_by__clerk", "decided_by__clerk")
        .order_by("-pk")
    )
    context = {
        "here": "months",
        "month": month,
        "debts": found,
        "total": sum(debt.amount for debt in found),
        "written_off": written_off,
        "written_off_amount": written_off.aggregate(total=Sum("amount", default=0))["total"],
        "amount_heading": in_currency(_("Amount")),
        "currency": currency(),
    }
    return render(request, "payroll_exports/leavers_debts.html", context)


@for_hr
@require_POST
def write_off(request: HttpRequest, clerk_no: str) -> HttpResponse:
    """Asks for the write-off of a leaver's debt; another person decides on it."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    try:
        ask_write_off(clerk, reason=request.POST.get("reason", ""), asked_by=reader(request))
    except AdjustmentRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("Asked for. Another person in HR decides on it."))
    return redirect("leavers_debts")
