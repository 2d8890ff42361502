"""A month's files: what starts the job that makes them, the ZIP, the register and the stores' summaries."""

import hashlib
from tempfile import TemporaryFile

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import get_language
from django.views.decorators.http import require_GET, require_POST

from payroll_exports.jobs import start_payslip_files
from payroll_exports.models import FileRecord, PayReport, Payslip
from payroll_exports.pay_reports import chain_register, store_summary
from payroll_exports.payslip_zip import ready_language, write_zip
from payroll_exports.views import attachment, for_hr, for_readers
from portfolios.models import Month, Store
from portfolios.views import reader


@for_hr
@require_POST
def make_payslips(request: HttpRequest, month: int) -> HttpResponse:
    """Makes the PDFs that the payslips of a closed month still lack."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    start_payslip_files(closed, by=reader(request), language=_language())
    return redirect("month", month)


@for_readers
@require_GET
def payslips_zip(request: HttpRequest, month: int) -> FileResponse:
    """All payslips of a closed month as one ZIP, once they are made. Who took it is on record."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    language = ready_language(closed, _language())
    if language is None:
        raise Http404
    file = TemporaryFile()  # noqa: SIM115 - open until it is sent, and without a name from the start
    written = write_zip(closed, file, language=language)
    file.seek(0)
    name = f"{closed}-payslips.zip"
    _record(request, closed, name, hashlib.file_digest(file, "sha256").hexdigest(), rows=len(written))
    file.seek(0)
    return FileResponse(file, as_attachment=True, filename=name)


@for_readers
@require_GET
def register_pdf(request: HttpRequest, month: int) -> HttpResponse:
    """The chain's register of a closed month, in the reader's language. Who took it is on record."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    try:
        return _pdf(request, chain_register(closed, language=_language()), f"{closed}.pdf")
    except Payslip.DoesNotExist:
        raise Http404 from None


@require_GET
def store_summary_pdf(request: HttpRequest, month: int, store_no: str) -> HttpResponse:
    """The summary of a store's payslips of a closed month, in the reader's language. Who took it is on record."""
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    store = get_object_or_404(Store.objects.for_user(request.user), store_no=store_no)
    try:
        return _pdf(request, store_summary(closed, store, language=_language()), f"{closed}-{store_no}.pdf")
    except Payslip.DoesNotExist:
        raise Http404 from None


def _language() -> str:
    return get_language() or settings.LANGUAGE_CODE


def _pdf(request: HttpRequest, report: PayReport, name: str) -> HttpResponse:
    _record(request, report.month, name, report.sha256)
    headers = {"Content-Disposition": attachment(name), "Cache-Control": "private"}
    return HttpResponse(bytes(report.pdf), content_type="application/pdf", headers=headers)


def _record(request: HttpRequest, month: Month, name: str, sha256: str, rows: int | None = None) -> None:
    FileRecord.objects.create(
        recorded_by=reader(request),
        direction=FileRecord.Direction.OUT,
        name=name,
        filter=month.name,
        rows=rows,
        sha256=sha256,
    )
