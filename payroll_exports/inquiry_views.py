"""A clerk questions a line of the own pay, from the month or the payslip that shows it."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_http_methods

from commission.forms import what_is_not_right
from commission.inquiries import InquiryRefused, ask_line
from commission.money import AmountError, amount_fault, parse_amount
from commission.tables import in_currency
from commission.templatetags.money import money_text
from payroll_exports.earnings import Earning, earnings
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Payslip
from portfolios.enrolment import home_store
from portfolios.forms import PlainForm
from portfolios.models import Clerk, Month, Posting, Store
from portfolios.sentences import joined
from portfolios.views import reader


class LineQuestionForm(PlainForm):
    line = forms.ChoiceField(label=pgettext_lazy("of the pay", "Line"))
    expected = forms.CharField(
        label=gettext_lazy("What it should come to"),
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    text = what_is_not_right()

    def __init__(self, *args: Any, lines: list[Earning], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        line = self.fields["line"]
        assert isinstance(line, forms.ChoiceField)
        self.fields["expected"].label = str(in_currency(_("What it should come to")))
        line.choices = [
            (
                one.line_code,
                _("%(name)s: %(amount)s") % {"name": LineCode(one.line_code).label, "amount": money_text(one.amount)},
            )
            for one in lines
        ]

    def clean_expected(self) -> int:
        text = self.cleaned_data["expected"].strip()
        try:
            return parse_amount(text)
        except AmountError:
            general = (_("Write an amount such as 1234.50, without other signs."),)
            raise forms.ValidationError(joined(*amount_fault(text) or general)) from None


@require_http_methods(["GET", "POST"])
def question_line(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """Asks about a line of one's own month, open or closed, in which something is missing."""
    user = reader(request)
    clerk = get_object_or_404(Clerk, user=user, clerk_no=clerk_no)
    shown = get_object_or_404(Month, pk=month)
    lines = earnings(shown, [clerk.pk]).get(clerk.pk, [])
    if not lines:
        raise Http404
    form = LineQuestionForm(request.POST or None, lines=lines, initial={"line": request.GET.get("line")})
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        line = next(one for one in lines if one.line_code == asked["line"])

        def evidence() -> dict[str, Any]:
            name = LineCode(line.line_code).label
            told = [
                _("%(line)s of %(month)s: %(amount)s as of now, and %(expected)s expected.")
                % {
                    "line": name,
                    "month": shown,
                    "amount": money_text(line.amount),
                    "expected": money_text(asked["expected"]),
                }
            ]
            title = _("%(line)s of %(month)s") % {"line": name, "month": shown}
            return {"title": title, "asker": told, "whole": told}

        try:
            inquiry = ask_line(
                shown,
                line.line_code,
                store=_store(clerk, shown),
                missing_amount=asked["expected"] - line.amount,
                text=asked["text"],
                asked_by=user,
                evidence=evidence,
            )
        except InquiryRefused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        else:
            messages.success(
                request, _("Asked. The manager of the store or HR answers; you are told on your first page.")
            )
            return redirect("inquiry", inquiry.pk)
    context = {"here": "my_month", "clerk": clerk, "month": shown, "form": form}
    status = 422 if request.method == "POST" else 200
    return render(request, "payroll_exports/question_line.html", context, status=status)


def _store(clerk: Clerk, month: Month) -> Store:
    """The store whose manager answers: the payslip's, else the home store on the month's last day, else the last."""
    payslip = Payslip.objects.filter(month=month, clerk=clerk).select_related("store").first()
    store = payslip.store if payslip else home_store(clerk, month.ends_on)
    if store is None:
        posting = Posting.objects.filter(clerk=clerk).select_related("store").order_by("valid_to").last()
        if posting is None:
            raise Http404
        store = posting.store
    return store
