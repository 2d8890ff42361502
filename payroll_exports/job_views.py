"""A job on the page that waits for it: how far it is, and its end before the time."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from payroll_exports.jobs import cancel
from payroll_exports.models import Job
from payroll_exports.views import for_hr, for_readers


@for_readers
@require_GET
def job(request: HttpRequest, pk: int) -> HttpResponse:
    """How far a job is; when it ends, the whole page is asked to show itself again."""
    shown = get_object_or_404(Job.objects.for_user(request.user), pk=pk)
    response = render(request, "payroll_exports/job.html", {"job": shown})
    if shown.finished_at:
        response["HX-Refresh"] = "true"
    return response


@for_hr
@require_POST
def cancel_job(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends a job under way; what it has made is kept."""
    ended = get_object_or_404(Job.objects.for_user(request.user), pk=pk)
    cancel(ended)
    if ended.plan_change_id:
        return redirect("plan_change", ended.plan_change_id)
    return redirect("pay_run" if ended.kind == Job.Kind.DRAFT else "month", ended.month_id)
