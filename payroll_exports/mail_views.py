"""Payslips by mail: a clerk's own address, and a month's mailing. No such pages where MAIL_PAYSLIPS is off."""

import functools
from smtplib import SMTPException
from typing import Any

from auditlog.models import LogEntry
from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Case, Count, IntegerField, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_tables2 import RequestConfig

from payroll_exports.jobs import start_mailing
from payroll_exports.mail_tables import STATES, MailTable
from payroll_exports.models import Job, MailedPayslip, Payslip, PayslipAddress
from payroll_exports.payslip_addresses import TooManyLinks, address_of_token, confirm_address, type_address
from payroll_exports.payslip_mail import send_again, to_be_mailed, with_mail_state
from payroll_exports.views import View, for_hr, for_readers
from portfolios.models import Clerk, Month
from portfolios.sentences import joined
from portfolios.views import month_choices, reader

PAYSLIPS_PER_PAGE = 50


def where_mail_is_on(view: View) -> View:
    """The page is there only where MAIL_PAYSLIPS is on."""

    @functools.wraps(view)
    def switched(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.MAIL_PAYSLIPS:
            raise Http404
        return view(request, *args, **kwargs)

    return switched


# --- A clerk's own address ---------------------------------------------------------------------------------------


@require_POST
@where_mail_is_on
def type_payslip_address(request: HttpRequest) -> HttpResponse:
    """Takes one's own address and mails the link to it by which one confirms it."""
    clerk = get_object_or_404(Clerk, user=reader(request))
    try:
        email = forms.EmailField(max_length=254).clean(request.POST.get("email", ""))
        type_address(
            clerk,
            email,
            page=request.build_absolute_uri(reverse("payslips")),
            link=request.build_absolute_uri(reverse("confirm_payslip_address", args=["TOKEN"])),
        )
    except ValidationError as error:
        messages.error(request, joined(*error.messages))
    except TooManyLinks:
        messages.error(request, _("That was often enough for one day: try again tomorrow."))
    except (SMTPException, OSError):
        messages.error(request, _("The mail server did not take the mail to %(email)s.") % {"email": email})
    else:
        messages.success(request, _("A link is on its way to %(email)s: open it within two days.") % {"email": email})
    return redirect("payslips")


@require_http_methods(["GET", "POST"])
@where_mail_is_on
def confirm_payslip_address(request: HttpRequest, token: str) -> HttpResponse:
    """What the mailed link opens: the clerk who typed the address confirms it."""
    clerk = get_object_or_404(Clerk, user=reader(request))
    address = address_of_token(token, clerk=clerk)
    if address is None:
        messages.error(request, _("This link is too old, or of another address. Type your address again."))
    elif request.method == "GET":
        return render(request, "payroll_exports/confirm_address.html", {"here": "payslips", "address": address})
    else:
        confirm_address(address)
        messages.success(request, _("Payslips are mailed to %(email)s from now on.") % {"email": address.email})
    return redirect("payslips")


@require_POST
@where_mail_is_on
def remove_payslip_address(request: HttpRequest) -> HttpResponse:
    """Takes one's own address away: nothing is mailed any more."""
    get_object_or_404(Clerk, user=reader(request))
    for address in PayslipAddress.objects.for_user(reader(request)):
        address.delete()
    messages.success(request, _("Your address is taken away: no payslip is mailed to it."))
    return redirect("payslips")


# --- A month's mailing -------------------------------------------------------------------------------------------


@require_GET
@where_mail_is_on
@for_readers
def month_mail(request: HttpRequest, month: int) -> HttpResponse:
    """Which payslips of a closed month were mailed, which could be, and what stands in the way of the others."""
    closed = _closed(month)
    payslips = with_mail_state(Payslip.objects.for_user(request.user).filter(month=closed))
    ranks = [When(mail_state=state, then=Value(rank)) for rank, state in enumerate(STATES)]
    ordered = payslips.select_related("clerk", "store", "mailed").order_by(
        Case(*ranks, output_field=IntegerField()), "clerk__clerk_no"
    )
    table = MailTable(ordered)
    RequestConfig(request, paginate={"per_page": PAYSLIPS_PER_PAGE}).configure(table)
    counts = dict(payslips.order_by().values_list("mail_state").annotate(payslips=Count("pk")))
    job = Job.objects.for_user(request.user).filter(month=closed).first()
    context = {
        "here": "months",
        "month": closed,
        "table": table,
        "counts": [(label, counts[state]) for state, label in STATES.items() if state in counts],
        "job": job if job and job.kind == Job.Kind.MAIL else None,
        "ready": _ready(closed),
        "to_send": to_be_mailed(closed).count(),
        "months": month_choices(
            closed, lambda other: reverse("month_mail" if other.is_closed else "month", args=[other.pk])
        ),
    }
    return render(request, "payroll_exports/month_mail.html", context)


@require_POST
@where_mail_is_on
@for_hr
def mail_payslips(request: HttpRequest, month: int) -> HttpResponse:
    """Mails what the month still has to mail, once all its payslips are made as PDF."""
    closed = _closed(month)
    if _ready(closed):
        start_mailing(closed, by=reader(request), language=get_language() or settings.LANGUAGE_CODE)
    else:
        messages.error(request, _("First have all payslips made as PDF."))
    return redirect("month_mail", month)


@require_POST
@where_mail_is_on
@for_hr
def mail_again(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """Lets the next mailing send a payslip that may have been sent already; who decided so is on record."""
    mailings = MailedPayslip.objects.for_user(request.user)
    mailed = get_object_or_404(mailings, payslip__month=month, payslip__clerk__clerk_no=clerk_no)
    if send_again(mailed):
        LogEntry.objects.log_create(
            mailed, force_log=True, action=LogEntry.Action.UPDATE, additional_data={"to be mailed again": clerk_no}
        )
        waiting = to_be_mailed(_closed(month)).count()
        said = ngettext("%(count)d payslip is to be mailed.", "%(count)d payslips are to be mailed.", waiting)
        messages.success(request, said % {"count": waiting})
    return redirect("month_mail", month)


def _closed(month: int) -> Month:
    return get_object_or_404(Month, pk=month, closed_at__isnull=False)


def _ready(month: Month) -> bool:
    """Whether all payslips are made as PDF, and nothing makes files of them any more."""
    making = Job.objects.unfinished().filter(month=month, kind=Job.Kind.PAYSLIP_FILES)
    return not making.exists() and not Payslip.objects.filter(month=month, file__isnull=True).exists()
