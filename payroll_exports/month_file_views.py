"""HR makes a month's files and takes them out: the job with its progress, and the ZIP."""

import hashlib
from tempfile import TemporaryFile

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import get_language
from django.views.decorators.http import require_GET, require_POST

from payroll_exports.jobs import cancel, start_payslip_files
from payroll_exports.models import FileRecord, Job
from payroll_exports.payslip_zip import all_made, write_zip
from payroll_exports.views import for_hr, for_readers
from portfolios.models import Month
from portfolios.views import reader


@for_hr
@require_POST
def make_payslips(request: HttpRequest, month: int) -> HttpResponse:
    """Makes the PDFs that the payslips of a closed month still lack."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    start_payslip_files(closed, by=reader(request), language=get_language() or settings.LANGUAGE_CODE)
    return redirect("month", month)


@for_hr
@require_POST
def cancel_job(request: HttpRequest, month: int) -> HttpResponse:
    """Ends the job under way; what it has made is kept."""
    cancel(get_object_or_404(Job.objects.for_user(reader(request)).filter(month=month)[:1]))
    return redirect("month", month)


@for_readers
@require_GET
def month_job(request: HttpRequest, month: int) -> HttpResponse:
    """How far the month's latest job is; when it ends, the whole page is asked to show itself again."""
    job = get_object_or_404(Job.objects.for_user(reader(request)).filter(month=month)[:1])
    response = render(request, "payroll_exports/job.html", {"job": job})
    if job.finished_at:
        response["HX-Refresh"] = "true"
    return response


@for_readers
@require_GET
def payslips_zip(request: HttpRequest, month: int) -> FileResponse:
    """All payslips of a closed month as one ZIP, once each is made. Who took it is on record."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    if not all_made(closed):
        raise Http404
    file = TemporaryFile()  # noqa: SIM115 - open until it is sent, and without a name from the start
    written = write_zip(closed, file)
    file.seek(0)
    name = f"{closed}-payslips.zip"
    FileRecord.objects.create(
        recorded_by=reader(request),
        direction=FileRecord.Direction.OUT,
        name=name,
        filter=closed.name,
        rows=len(written),
        sha256=hashlib.file_digest(file, "sha256").hexdigest(),
    )
    file.seek(0)
    return FileResponse(file, as_attachment=True, filename=name)
