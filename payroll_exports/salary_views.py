"""A clerk's base salaries in time, for HR; and what each store must pay at least."""

from typing import Any

from auditlog.models import LogEntry
from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from commission.money import format_amount
from commission.resources import AmountCell
from commission.tables import in_currency
from payroll_exports.earnings import earnings
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Salary
from payroll_exports.salaries import SalaryRefused, set_salary
from payroll_exports.views import for_readers
from portfolios.forms import PlainForm
from portfolios.models import OPEN_END, Clerk, Store
from portfolios.views import current_month, reader


class SalaryForm(PlainForm):
    amount = forms.CharField(
        max_length=20, widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
    )
    valid_from = forms.DateField(
        label=gettext_lazy("From"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].label = str(in_currency(_("Monthly base")))

    def clean_amount(self) -> int:
        return AmountCell().parse(self.cleaned_data["amount"].strip())


@require_http_methods(["GET", "POST"])
@for_readers
def salaries(request: HttpRequest, clerk_no: str) -> HttpResponse:
    """A clerk's base salaries, the latest first; HR sets another one from a day on."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    may_set = reader(request).is_hr
    form = SalaryForm(request.POST or None)
    if request.method == "POST":
        if not may_set:
            raise Http404
        if form.is_valid():
            asked = form.cleaned_data
            try:
                salary = set_salary(clerk, monthly_base_amount=asked["amount"], valid_from=asked["valid_from"])
            except SalaryRefused as refusal:
                form.add_error(refusal.field or None, str(refusal))
            else:
                LogEntry.objects.log_create(
                    salary,
                    force_log=True,
                    action=LogEntry.Action.UPDATE,
                    additional_data={"monthly_base": format_amount(asked["amount"]), "from": str(asked["valid_from"])},
                )
                messages.success(
                    request,
                    _("The base salary of %(name)s from %(day)s is set.")
                    % {"name": clerk.name, "day": salary.valid_from},
                )
                return redirect("salaries", clerk_no)
    month = current_month()
    lines = earnings(month, [clerk.pk]).get(clerk.pk, []) if month else []
    context = {
        "here": "stores",
        "clerk": clerk,
        "salaries": Salary.objects.filter(clerk=clerk).order_by("-valid_from"),
        "open_end": OPEN_END,
        "today": timezone.localdate(),
        "month": month,
        "base": next((line for line in lines if line.line_code == LineCode.BASE), None),
        "form": form if may_set else None,
        "amount_heading": in_currency(_("Monthly base")),
    }
    return render(request, "payroll_exports/salaries.html", context, status=422 if request.method == "POST" else 200)


@require_http_methods(["GET", "POST"])
@for_readers
def minimum_wages(request: HttpRequest) -> HttpResponse:
    """What each store must pay a clerk for a whole month at least; HR sets it."""
    stores = list(Store.objects.for_user(request.user))
    problems = {}
    if request.method == "POST":
        if not reader(request).is_hr:
            raise Http404
        for store in stores:
            text = request.POST.get(f"store-{store.pk}", "").strip()
            try:
                store.minimum_wage_amount = AmountCell().parse(text) if text else None
            except forms.ValidationError as error:
                problems[store.pk] = (text, error.message)
        if not problems:
            Store.objects.bulk_update(stores, ["minimum_wage_amount"])
            LogEntry.objects.log_create(
                stores[0],
                force_log=True,
                action=LogEntry.Action.UPDATE,
                additional_data={"minimum wages": {store.store_no: store.minimum_wage_amount for store in stores}},
            )
            messages.success(request, _("The minimum wages are set."))
            return redirect("minimum_wages")
    rows = []
    for store in stores:
        wage = store.minimum_wage_amount
        text, problem = problems.get(store.pk, ("" if wage is None else format_amount(wage), ""))
        rows.append((store, text, problem))
    context = {
        "here": "months",
        "rows": rows,
        "may_set": reader(request).is_hr,
        "amount_heading": in_currency(_("Minimum wage a month")),
    }
    return render(request, "payroll_exports/minimum_wages.html", context, status=422 if problems else 200)
