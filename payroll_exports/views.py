"""A clerk's month and payslips, and HR's months: the tie-out, the exports."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.management import call_command
from django.core.paginator import Paginator
from django.db.models import BigIntegerField, Count, OuterRef, QuerySet, Subquery, Sum
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.http import content_disposition_header, urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST
from django_tables2 import RequestConfig

from commission.bands import band_plan
from commission.explain import clerk_rows, entry, with_parties
from commission.inquiries import news
from commission.models import Attribution, Plan
from commission.tables import in_currency
from commission.templatetags.money import currency
from kpis.care_views import glance
from kpis.models import Signal
from payroll_exports import clerk_month as months_of_clerks
from payroll_exports.checklist_links import linked
from payroll_exports.close_checklist import close_checklist
from payroll_exports.earnings import COMMISSION_LINES, line_rows
from payroll_exports.line_codes import LineCode
from payroll_exports.minimum_wage import under_minimum_wage, with_clerks
from payroll_exports.models import Job, PayRun, Payslip
from payroll_exports.pay_reports import years_of
from payroll_exports.payslip_files import payslip_pdf as fixed_pdf
from payroll_exports.payslip_mail import own_mail
from payroll_exports.payslip_zip import ready_language
from payroll_exports.store_pay import store_pay
from payroll_exports.tables import MonthTable, PayslipTable, StorePayTable
from payroll_exports.tie_out import tie_out
from portfolios.models import Clerk, Month, Store, User
from portfolios.views import Choice, current_month, month_choices, reader


@dataclass(frozen=True)
class Export:
    """A file for HR: the command `export_<name>` writes it in one of these formats, and records who takes it."""

    name: str
    title: Promise | str
    formats: tuple[str, ...]


EXPORTS = (
    Export(
        "payroll",
        gettext_lazy("Payroll: every earning line of every clerk"),
        ("csv", "xlsx", "json"),
    ),
    Export("attributions", gettext_lazy("Attributions: who was credited for each ticket"), ("csv",)),
    Export("movement", gettext_lazy("Movement of the portfolios"), ("csv",)),
)
RECENT_TICKETS = 8
NEWS = 5
PAYSLIPS_PER_PAGE = 50
ROWS_PER_PAGE = 50

View = Callable[..., HttpResponseBase]


def for_offices(*offices: str) -> Callable[[View], View]:
    """The page is there for people of these offices only; to everyone else there is no such page."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if reader(request).office not in offices:
                raise Http404
            return view(request, *args, **kwargs)

        return scoped

    return decorate


for_readers = for_offices(User.Office.HR, User.Office.AUDITOR)
for_hr = for_offices(User.Office.HR)


# --- Clerks ------------------------------------------------------------------------------------------------------


@require_GET
def my_month(request: HttpRequest) -> HttpResponse:
    """One's own month so far."""
    clerk = get_object_or_404(Clerk, user=request.user)
    month = current_month()
    if month is None:
        return render(request, "payroll_exports/no_month.html", {"here": "my_month"})
    return redirect("clerk_month", month.pk, clerk.clerk_no)


@require_GET
def clerk_month(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """A clerk's month: so far while it is open, the locked payslip once it is closed."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    shown = get_object_or_404(Month, pk=month)
    recent = with_parties(clerk_rows(clerk, shown))[:RECENT_TICKETS]
    own = clerk.pk == reader(request).clerk_id
    figures = months_of_clerks.clerk_month(clerk, shown, today=timezone.localdate())
    context = {
        "here": "my_month" if own else "stores",
        "inquiries": news(clerk).select_related("asker", "other")[:NEWS] if own else [],
        "clerk": clerk,
        "month": shown,
        "figures": figures,
        "accelerator": _accelerator(clerk, shown, reader(request))
        if any(line.code == LineCode.BAND for line in figures.other)
        else None,
        "today": glance(clerk, timezone.localdate()) if own and shown == current_month() else None,
        "entries": [entry(row, clerk) for row in recent],
        "amount_heading": in_currency(_("Amount")),
        "currency": currency(),
        "months": month_choices(shown, lambda other: reverse("clerk_month", args=[other.pk, clerk_no])),
    }
    return render(request, "payroll_exports/clerk_month.html", context)


def _accelerator(clerk: Clerk, month: Month, user: User) -> dict[str, Any] | None:
    """On what credit, and by which plan, the month's accelerator is earned."""
    plan = band_plan(clerk.pk, month)
    if plan is None or not Plan.objects.for_user(user).filter(pk=plan.pk).exists():
        return None
    return {"plan": plan, "credit_amount": clerk_rows(clerk, month).aggregate(sum=Sum("own_credit_amount"))["sum"]}


@require_GET
def line_tickets(request: HttpRequest, month: int, clerk_no: str, code: str) -> HttpResponse:
    """The tickets behind one commission line of a clerk's month; they sum to the line."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    shown = get_object_or_404(Month, pk=month)
    if code not in COMMISSION_LINES:
        raise Http404
    rows = line_rows(shown, clerk, code)
    listed: QuerySet[Any] = with_parties(rows)
    page = Paginator(listed, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "my_month" if clerk.pk == reader(request).clerk_id else "stores",
        "clerk": clerk,
        "month": shown,
        "code": code,
        "name": LineCode(code).label,
        "page": page,
        "entries": [entry(row, clerk, row.line_amount) for row in page],
        "total": rows.aggregate(
            amount=Sum("line_amount", default=0),
            credit_amount=Sum("line_credit_amount", default=0),
            tickets=Count("part__sale", distinct=True),
        ),
        "amount_heading": in_currency(_("Commission")),
        "credit_heading": in_currency(_("Credit")),
    }
    return render(request, "payroll_exports/line_tickets.html", context)


@require_GET
def payslips(request: HttpRequest) -> HttpResponse:
    """The payslips that one may see, of a month or a store where the address names one."""
    may_see = Payslip.objects.for_user(request.user).select_related("month", "clerk", "store")
    user = reader(request)
    if not (user.office or user.clerk_id):
        raise Http404
    month, store_no = request.GET.get("month", ""), request.GET.get("store", "")
    stores = Store.objects.for_user(request.user)
    store = get_object_or_404(stores, store_no=store_no) if store_no else None
    closed = Month.objects.filter(closed_at__isnull=False).order_by("-pk")
    of_month = next((other for other in closed if other.name == month), None)
    if month and of_month is None:
        raise Http404
    if store:
        may_see = may_see.filter(store=store)
    if of_month:
        may_see = may_see.filter(month=of_month)
    table = PayslipTable(may_see, order_by=("-month", "clerk"))
    if not (user.office or stores):
        table.exclude = ("clerk", "store")
    RequestConfig(request, paginate={"per_page": PAYSLIPS_PER_PAGE}).configure(table)

    def address(month: Month | None, store: Store | None) -> str:
        wanted = {"month": month.name if month else "", "store": store.store_no if store else ""}
        return f"?{urlencode({name: value for name, value in wanted.items() if value})}"

    context = {
        "here": "payslips",
        "table": table,
        "own": user.clerk,
        "mail": own_mail(user) if settings.MAIL_PAYSLIPS and user.clerk else None,
        "own_years": years_of(user.clerk) if user.clerk else [],
        "paid_heading": in_currency(_("To be paid")),
        "languages": Clerk.Language.choices,
        "month": of_month,
        "store": store,
        "pay_month": (of_month or current_month()) if user.office or stores else None,
        "months": [Choice(address(None, store), _("all months"), "", of_month is None)]
        + [Choice(address(other, store), other.name, "", other == of_month) for other in closed],
        "stores": [Choice(address(of_month, None), _("all stores"), "", store is None)]
        + [Choice(address(of_month, other), other.name, other.store_no, other == store) for other in stores],
    }
    return render(request, "payroll_exports/payslips.html", context)


@require_GET
def payslip_pdf(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """The payslip's PDF, the same bytes each time; made at the first request."""
    payslip = get_object_or_404(Payslip.objects.for_user(request.user), month=month, clerk__clerk_no=clerk_no)
    pdf = bytes(fixed_pdf(payslip).pdf)
    return HttpResponse(
        pdf,
        content_type="application/pdf",
        headers={"Content-Disposition": attachment(f"{payslip.month}-{clerk_no}.pdf"), "Cache-Control": "private"},
    )


@require_POST
def payslip_language(request: HttpRequest) -> HttpResponse:
    """The language in which one's own payslips are made from now on."""
    clerk = get_object_or_404(Clerk, user=reader(request))
    if request.POST.get("language") not in Clerk.Language.values:
        raise Http404
    clerk.language = request.POST["language"]
    clerk.save(update_fields=["language"])
    messages.success(
        request,
        _("Payslips of months that close from now on are in %(language)s.")
        % {"language": clerk.get_language_display()},
    )
    return redirect("payslips")


def attachment(name: str) -> str:
    """The header that gives a download its name."""
    return content_disposition_header(as_attachment=True, filename=name.replace("/", "-")) or ""


# --- Months ------------------------------------------------------------------------------------------------------


# Up to so many rows of the ledger a month is added up whenever its page is looked at, of more only when asked for.
ADDED_UP_AT_ONCE = 200_000


@require_GET
@for_readers
def months(request: HttpRequest) -> HttpResponse:
    """Every month with its state and, once closed, what it paid."""
    paid = Payslip.objects.filter(month=OuterRef("pk")).order_by().values("month")
    known = Month.objects.order_by("-pk").annotate(
        payslip_count=Subquery(paid.annotate(n=Count("pk")).values("n")),
        paid_amount=Subquery(paid.annotate(n=Sum("paid_amount")).values("n"), output_field=BigIntegerField()),
    )
    return render(request, "payroll_exports/months.html", {"here": "months", "table": MonthTable(known)})


@require_GET
@for_readers
def month(request: HttpRequest, month: int) -> HttpResponse:
    """A month's tie-out, and what stands in the way of its close, or what it paid."""
    shown = get_object_or_404(Month, pk=month)
    few = Attribution.objects.filter(month=shown)[: ADDED_UP_AT_ONCE + 1].count() <= ADDED_UP_AT_ONCE
    added_up = few or "tie-out" in request.GET
    checks = linked(close_checklist(shown, every_ticket=added_up), shown)
    payslips = Payslip.objects.filter(month=shown)
    stores = StorePayTable(store_pay(shown), month=shown)
    RequestConfig(request, paginate=False).configure(stores)
    job = Job.objects.for_user(request.user).filter(month=shown).first()
    context = {
        "here": "months",
        "month": shown,
        "tie_out": tie_out(shown) if added_up else None,
        "added_up_at_once": ADDED_UP_AT_ONCE,
        "blocking": [check for check in checks if check.blocks],
        "to_know": [check for check in checks if not check.blocks],
        "stores": stores,
        "under_minimum": with_clerks(under_minimum_wage(shown, payslips.values_list("clerk", "store", "paid_amount"))),
        "pay_heading": in_currency(_("Pay")),
        "job": job,
        "making": job is not None and job.can_be_cancelled,
        "run": PayRun.objects.for_user(request.user)
        .in_force()
        .filter(month=shown)
        .select_related("drafted_by", "reviewed_by", "approved_by")
        .first(),
        "signals": Signal.objects.for_user(request.user).filter(month=shown).to_look_at().count(),
        "pdfs": {
            "made": payslips.filter(file__isnull=False).count(),
            "of": payslips.count(),
            "ready": ready_language(shown, ""),
        },
        "mail_is_on": settings.MAIL_PAYSLIPS,
        "exports": EXPORTS,
        "currency": currency(),
        "months": month_choices(shown, lambda other: reverse("month", args=[other.pk])),
    }
    return render(request, "payroll_exports/month.html", context)


@require_GET
@for_readers
def export(request: HttpRequest, month: int, name: str, format: str) -> FileResponse:
    """A closed month's file for HR, as the command of the same name writes it. Who took it is on record."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    wanted = next((known for known in EXPORTS if known.name == name and format in known.formats), None)
    if wanted is None:
        raise Http404
    options: dict[str, Any] = {"format": format} if len(wanted.formats) > 1 else {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{closed}-{name}.{format}"
        call_command(
            f"export_{name}",
            closed.name,
            out=str(path),
            by=reader(request),
            stderr=StringIO(),
            stdout=StringIO(),
            **options,
        )
        # Its name goes with the folder; the open file stays until it is sent.
        file = path.open("rb")
    return FileResponse(file, as_attachment=True, filename=path.name)
