"""A month's pay run on pages: draft it, look through what differs and why, approve it, close the month on it."""

import functools
import hashlib
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from commission.money import format_amount
from commission.tables import in_currency
from commission.templatetags.money import currency
from kpis.change_charts import before_after
from payroll_exports import pay_run_steps
from payroll_exports.close_checklist import CloseRefused
from payroll_exports.jobs import start_close, start_draft
from payroll_exports.minimum_wage import under_minimum_wage, with_clerks
from payroll_exports.models import FileRecord, Job, PayRun, PayRunSlip
from payroll_exports.pay_differences import Comparison, against_last_draft, against_last_month, differences, seen_by
from payroll_exports.pay_run_steps import PayRunRefused
from payroll_exports.since_draft import booked_since, booked_since_text
from payroll_exports.views import View, for_hr
from portfolios.models import Month, Store
from portfolios.table_files import FORMATS, table_file
from portfolios.views import Choice, month_choices, reader

CLERKS_PER_PAGE = 50
BESIDE = {"month": against_last_month, "draft": against_last_draft}


def _run(request: HttpRequest, month: Month) -> PayRun | None:
    people = ("drafted_by", "reviewed_by", "approved_by")
    return PayRun.objects.for_user(request.user).in_force().filter(month=month).select_related(*people).first()


def _beside(request: HttpRequest, run: PayRun) -> tuple[str, Comparison | None]:
    """What the run is compared with: what the address names, else last month, else the last draft.

    A manager sees the own stores' clerks of it.
    """
    asked = request.GET.get("beside", "")
    if asked and asked not in BESIDE:
        raise Http404
    for name in [asked] if asked else BESIDE:
        compared = BESIDE[name](run)
        if compared:
            return name, seen_by(reader(request), run, compared)
    return asked or "month", None


def for_readers_and_managers(view: View) -> View:
    """The page is there for HR, auditors and whoever manages a store; to everyone else there is no such page."""

    @functools.wraps(view)
    def scoped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = reader(request)
        if not (user.office or user.managed_store_ids()):
            raise Http404
        return view(request, *args, **kwargs)

    return scoped


@require_GET
@for_readers_and_managers
def pay_run(request: HttpRequest, month: int) -> HttpResponse:
    """The month's pay run, its steps, and whose pay differs from last month's or the last draft's, with the reasons.

    A manager reads the own stores' part of it.
    """
    shown = get_object_or_404(Month, pk=month)
    run = _run(request, shown)
    job = Job.objects.for_user(request.user).filter(month=shown).first()
    context: dict[str, Any] = {
        "here": "months" if reader(request).office else "stores",
        "month": shown,
        "run": run,
        "job": job if job and job.kind == Job.Kind.DRAFT else None,
        "currency": currency(),
        "months": month_choices(shown, lambda other: reverse("pay_run", args=[other.pk])),
    }
    if run:
        beside, compared = _beside(request, run)
        found = differences(run, compared) if compared else []
        store_no = request.GET.get("store", "")
        store = get_object_or_404(Store.objects.for_user(request.user), store_no=store_no) if store_no else None
        of_store = [one for one in found if store is None or one.store == store]
        page = Paginator(of_store, CLERKS_PER_PAGE).get_page(request.GET.get("page"))
        bars = before_after([(one.before or 0, one.after or 0) for one in page])
        address = reverse("pay_run", args=[month])
        slips = PayRunSlip.objects.for_user(request.user).filter(run=run)
        under = under_minimum_wage(shown, slips.values_list("clerk", "store", "paid_amount"))
        context |= {
            "beside": beside,
            "compared": compared,
            "rows": list(zip(page, bars, strict=True)),
            "page": page,
            "changed": len(of_store),
            **slips.aggregate(clerks=Count("pk"), paid_amount=Sum("paid_amount", default=0)),
            "before_amount": sum(sum(line.amount for line in own) for own in compared.before.values())
            if compared
            else None,
            "under_minimum": with_clerks(under),
            "pay_heading": in_currency(_("Pay")),
            "booked_since": [] if shown.is_closed else [text for _count, text in booked_since(run)],
            "booked_since_text": booked_since_text(run),
            "stores": [Choice(f"{address}?beside={beside}", _("all stores"), "", store is None)]
            + [
                Choice(f"{address}?beside={beside}&store={one.store_no}", one.name, one.store_no, one == store)
                for one in sorted({row.store for row in found}, key=lambda one: one.store_no)
            ],
        }
    return render(request, "payroll_exports/pay_run.html", context)


@require_GET
@for_readers_and_managers
def pay_run_file(request: HttpRequest, month: int, format: str) -> HttpResponse:
    """Every clerk whose pay differs, a line for each reason, as CSV or XLSX. Who took it is on record."""
    shown = get_object_or_404(Month, pk=month)
    run = _run(request, shown)
    if run is None or format not in FORMATS:
        raise Http404
    beside, compared = _beside(request, run)
    if compared is None:
        raise Http404
    lines = [
        (
            one.clerk.clerk_no,
            one.clerk.name,
            one.store.store_no,
            *map(_amount, (one.before, one.after, one.change, reason.amount)),
            reason.text,
        )
        for one in differences(run, compared)
        for reason in one.reasons
    ]
    columns = (
        "clerk_no", "clerk_name", "store_no", "before", "after", "change", "reason_amount", "reason",
    )  # fmt: skip
    content = table_file(columns, (10, 16, 10, 12, 12, 12, 14, 60), lines, sheet=shown.name, format=format)
    name = f"{shown}-pay-run-{run.pk}-beside-{beside}.{format}"
    FileRecord.objects.create(
        recorded_by=reader(request),
        direction=FileRecord.Direction.OUT,
        name=name,
        filter=shown.name,
        rows=len(lines),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    headers = {"Content-Disposition": content_disposition_header(True, name) or "", "Cache-Control": "private"}
    return HttpResponse(content, content_type=FORMATS[format], headers=headers)


def _amount(amount: int | None) -> Decimal | None:
    return None if amount is None else Decimal(format_amount(amount))


@for_hr
@require_POST
def draft_pay_run(request: HttpRequest, month: int) -> HttpResponse:
    """Starts to work the month's pay out as of now, in place of the draft that was there."""
    try:
        start_draft(
            get_object_or_404(Month, pk=month), by=reader(request), language=get_language() or settings.LANGUAGE_CODE
        )
    except PayRunRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("pay_run", month)


@for_hr
@require_POST
def review_pay_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Somebody has looked through the differences."""
    run = get_object_or_404(PayRun.objects.for_user(request.user), pk=pk)
    try:
        pay_run_steps.review(run, by=reader(request))
    except PayRunRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("pay_run", run.month_id)


@for_hr
@require_POST
def approve_pay_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Another person than the drafter approves the run."""
    run = get_object_or_404(PayRun.objects.for_user(request.user), pk=pk)
    try:
        pay_run_steps.approve(run, by=reader(request))
    except PayRunRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("Approved: the month can be closed on it."))
    return redirect("pay_run", run.month_id)


@for_hr
@require_POST
def close(request: HttpRequest, month: int) -> HttpResponse:
    """Closes the month for good, on its approved pay run."""
    try:
        start_close(
            get_object_or_404(Month, pk=month), by=reader(request), language=get_language() or settings.LANGUAGE_CODE
        )
    except CloseRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("month", month)
