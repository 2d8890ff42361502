"""Issuing a plan on pages: what it moves is shown first, then it is issued as it was shown; both are long work."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import get_language
from django.views.decorators.http import require_GET, require_POST

from commission.models import Plan, PlanChange
from commission.plan_changes import PlanRefused, ask_preview
from commission.templatetags.money import currency
from payroll_exports.jobs import start_issue, start_preview
from payroll_exports.models import Job
from payroll_exports.views import for_hr
from portfolios.months import MonthError
from portfolios.views import reader


@require_POST
@for_hr
def preview_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Starts to work out what issuing a draft would do; a second press goes to what is under way for it."""
    user, plan = reader(request), get_object_or_404(Plan.objects.for_user(request.user), pk=pk)
    change = PlanChange.objects.filter(jobs__in=Job.objects.unfinished(), plan=plan).first()
    if change is None:
        try:
            change = ask_preview(plan, by=user, note=request.POST.get("note", ""))
        except (PlanRefused, MonthError) as refusal:
            messages.error(request, str(refusal))
            return redirect("plan", pk)
    if not change.document:
        start_preview(change, by=user, language=_language())
    return redirect("plan_change", change.pk)


@require_GET
def plan_change(request: HttpRequest, pk: int) -> HttpResponse:
    """What issuing a plan moves, or has moved: the plan that it ends, the tickets booked anew, everyone's pay."""
    changes = PlanChange.objects.for_user(request.user).select_related("plan__store", "replaces", "applied_by__clerk")
    shown = get_object_or_404(changes, pk=pk)
    job = Job.objects.for_user(request.user).filter(plan_change=shown).first()
    context = {
        "here": "plans",
        "issuing": shown,
        "plan": shown.plan,
        "document": shown.document,
        "job": job,
        "under_way": job is not None and job.finished_at is None,
        "may_write": reader(request).is_hr,
        "currency": currency(),
    }
    return render(request, "payroll_exports/plan_change.html", context)


@require_POST
@for_hr
def apply_plan_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Starts to issue the plan as it was shown."""
    shown = get_object_or_404(PlanChange.objects.for_user(request.user), pk=pk)
    if not shown.applied_at:
        start_issue(shown, by=reader(request), language=_language())
    return redirect("plan_change", pk)


def _language() -> str:
    return get_language() or settings.LANGUAGE_CODE
