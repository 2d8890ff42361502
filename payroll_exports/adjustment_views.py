"""A month's adjustments: HR asks for them and another person decides; the list behind a payslip's line."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.money import AmountError, amount_fault, parse_amount
from commission.tables import in_currency
from commission.templatetags.money import currency
from payroll_exports.adjustment_models import Adjustment, AdjustmentQuerySet
from payroll_exports.adjustments import (
    AdjustmentRefused,
    approve,
    ask_adjustment,
    may_decide,
    may_withdraw,
    refuse,
    withdraw,
)
from payroll_exports.views import for_hr
from portfolios.forms import PlainForm
from portfolios.models import Clerk, Month
from portfolios.sentences import joined
from portfolios.views import month_choices, reader


class AdjustmentForm(PlainForm):
    clerk = forms.CharField(
        label=gettext_lazy("Clerk number"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "list": "clerk-numbers"}),
    )
    amount = forms.CharField(
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "text", "autocomplete": "off"}),
        help_text=gettext_lazy("With a minus where it takes: -50."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason, which the clerk reads"),
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].label = str(in_currency(_("Amount")))

    def clean_clerk(self) -> Clerk:
        clerk = Clerk.objects.filter(clerk_no=self.cleaned_data["clerk"]).first()
        if clerk is None:
            raise forms.ValidationError(_("No clerk has this number: it is on the roster."))
        return clerk

    def clean_amount(self) -> int:
        text = self.cleaned_data["amount"].strip().replace("\N{MINUS SIGN}", "-")
        try:
            return parse_amount(text)
        except AmountError:
            general = (_("Write an amount such as 1234.50, or -50 where it takes."),)
            raise forms.ValidationError(joined(*amount_fault(text) or general)) from None


def _seen(request: HttpRequest) -> AdjustmentQuerySet:
    return Adjustment.objects.for_user(request.user).select_related(
        "clerk", "month", "asked_by__clerk", "decided_by__clerk"
    )


@require_http_methods(["GET", "POST"])
def adjustments(request: HttpRequest, month: int) -> HttpResponse:
    """The adjustments of a month's pay: those that wait, then the decided ones; HR asks for another."""
    user = reader(request)
    if not (user.office or user.managed_store_ids()):
        raise Http404
    shown = get_object_or_404(Month, pk=month)
    may_ask = user.is_hr and not shown.is_closed
    form = AdjustmentForm(request.POST or None)
    if request.method == "POST":
        if not user.is_hr:
            raise Http404
        if form.is_valid():
            asked = form.cleaned_data
            try:
                ask_adjustment(asked["clerk"], shown, amount=asked["amount"], reason=asked["reason"], asked_by=user)
            except AdjustmentRefused as refusal:
                form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
            else:
                messages.success(request, _("Asked for. Another person in HR decides on it."))
                return redirect("adjustments", month)
    seen = _seen(request).filter(month=shown)
    waiting = [
        (one, may_decide(user, one) and not shown.is_closed, may_withdraw(user, one) and not shown.is_closed)
        for one in seen.waiting()
    ]
    context = {
        "here": "months" if user.office else "stores",
        "month": shown,
        "waiting": waiting,
        "decided": seen.filter(approved__isnull=False).order_by("clerk__clerk_no", "pk"),
        "form": form if may_ask else None,
        "clerks": Clerk.objects.filter(left_on__isnull=True) if may_ask else [],
        "approved_amount": seen.approved().aggregate(total=Sum("amount", default=0))["total"],
        "amount_heading": in_currency(_("Amount")),
        "currency": currency(),
        "months": month_choices(shown, lambda other: reverse("adjustments", args=[other.pk])),
    }
    return render(request, "payroll_exports/adjustments.html", context, status=422 if request.method == "POST" else 200)


@for_hr
@require_POST
def decide_adjustment(request: HttpRequest, pk: int) -> HttpResponse:
    """Approves or refuses what somebody else asked for."""
    adjustment = get_object_or_404(_seen(request), pk=pk)
    note = request.POST.get("note", "")
    try:
        if "approve" in request.POST:
            approve(adjustment, by=reader(request), note=note)
            done = _("Approved: it is on the payslip of %(name)s.")
        else:
            refuse(adjustment, by=reader(request), note=note)
            done = _("Not approved: the pay of %(name)s stays.")
    except AdjustmentRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, done % {"name": adjustment.clerk.name})
    return redirect("adjustments", adjustment.month_id)


@for_hr
@require_POST
def withdraw_adjustment(request: HttpRequest, pk: int) -> HttpResponse:
    """Whoever asked takes it back before anybody has decided."""
    user = reader(request)
    adjustment = get_object_or_404(_seen(request), pk=pk)
    if not may_withdraw(user, adjustment):
        raise Http404
    try:
        withdraw(adjustment, by=user)
    except AdjustmentRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("Withdrawn: the pay of %(name)s stays.") % {"name": adjustment.clerk.name})
    return redirect("adjustments", adjustment.month_id)


@require_GET
def line_adjustments(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """What the line of adjustments on a clerk's payslip is made of; it sums to the line."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    shown = get_object_or_404(Month, pk=month)
    approved = _seen(request).approved().filter(month=shown, clerk=clerk)
    context = {
        "here": "my_month" if clerk.pk == reader(request).clerk_id else "stores",
        "clerk": clerk,
        "month": shown,
        "adjustments": approved,
        "total_amount": approved.aggregate(total=Sum("amount", default=0))["total"],
        "amount_heading": in_currency(_("Amount")),
    }
    return render(request, "payroll_exports/line_adjustments.html", context)
