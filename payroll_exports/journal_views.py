"""The accounting journal of a closed month, to look at and take out; and the codes of its accounts, for HR to edit."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.templatetags.money import currency
from payroll_exports.journal import account_codes, journals
from payroll_exports.journal_accounts import Account, JournalAccount
from payroll_exports.journal_files import archive, journal_files, record
from payroll_exports.views import for_hr, for_readers
from portfolios.forms import PlainForm
from portfolios.models import Month
from portfolios.views import Choice, reader


@require_GET
@for_readers
def journal(request: HttpRequest, month: int) -> HttpResponse:
    """Each store's sums, and the entries of one."""
    closed = _closed(month)
    of_stores = journals(closed)
    asked = request.GET.get("store", of_stores[0].store_no if of_stores else "")
    shown = next((one for one in of_stores if one.store_no == asked), None)
    if shown is None and asked:
        raise Http404
    codes = account_codes()
    context = {
        "here": "months",
        "month": closed,
        "currency": currency(),
        "journals": of_stores,
        "shown": shown,
        "entries": [(entry, codes[entry.account], Account(entry.account).label) for entry in shown.entries]
        if shown
        else [],
        "months": [
            Choice(reverse("journal", args=[other.pk]), other.name, "", other == closed)
            for other in Month.objects.filter(closed_at__isnull=False).order_by("-pk")
        ],
    }
    return render(request, "payroll_exports/journal.html", context)


@require_POST
@for_readers
def take_journal(request: HttpRequest, month: int) -> HttpResponse:
    """The journal as CSV, XLSX and JSON with its control totals, in one ZIP; who took it is on record."""
    closed = _closed(month)
    files = journal_files(closed)
    record(files, closed, by=reader(request))
    disposition = content_disposition_header(as_attachment=True, filename=f"{closed}-journal.zip")
    return HttpResponse(
        archive(files),
        content_type="application/zip",
        headers={"Content-Disposition": disposition or "", "Cache-Control": "private, no-store"},
    )


class AccountsForm(PlainForm):
    """A code for each account."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        codes = account_codes()
        for account in Account:
            self.fields[account.value] = forms.CharField(
                label=account.label,
                max_length=30,
                initial=codes[account.value],
                widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
            )


@require_http_methods(["GET", "POST"])
@for_hr
def journal_accounts(request: HttpRequest) -> HttpResponse:
    """The codes under which the chain's bookkeeping knows the journal's accounts."""
    form = AccountsForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            for account in form.changed_data:
                JournalAccount.objects.update_or_create(
                    account=account,
                    defaults={"code": form.cleaned_data[account], "changed_by": reader(request)},
                )
        messages.success(request, _("The codes are saved; they hold for every journal that is taken out from now on."))
        return redirect("journal_accounts")
    changed = JournalAccount.objects.select_related("changed_by").order_by("-changed_at").first()
    context = {"here": "months", "form": form, "changed": changed}
    return render(
        request, "payroll_exports/journal_accounts.html", context, status=422 if request.method == "POST" else 200
    )


def _closed(month: int) -> Month:
    return get_object_or_404(Month, pk=month, closed_at__isnull=False)
