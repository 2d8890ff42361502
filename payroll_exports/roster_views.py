"""The roster's pages: files in (upload, preview, confirm) and out, and who took or brought which."""

import csv
import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header, urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST
from django_tables2 import RequestConfig

from payroll_exports import roster_uploads
from payroll_exports.applied_imports import AppliedImport
from payroll_exports.exports import ENCODINGS, ExportRefused
from payroll_exports.models import FileRecord, RosterPreviewPage, RosterUpload
from payroll_exports.roster import RosterError
from payroll_exports.roster_export import FORMATS, phones_for, record, roster_names_for
from payroll_exports.roster_export import roster_export as export_file
from payroll_exports.roster_preview import ERRORS
from payroll_exports.tables import FileRecordTable
from payroll_exports.views import for_hr, for_readers
from portfolios.import_problems import ImportProblem
from portfolios.output_files import safe_text
from portfolios.views import Choice, reader

TITLES = {
    "stores": gettext_lazy("Stores"),
    "categories": gettext_lazy("Categories"),
    "clerks": gettext_lazy("Clerks"),
    "postings": gettext_lazy("Postings"),
    "salaries": gettext_lazy("Salaries"),
    "adjustments": gettext_lazy("Adjustments"),
    "identity_documents": gettext_lazy("Identity documents"),
    "members": gettext_lazy("Members"),
    "bindings": gettext_lazy("Bindings"),
    "plans": gettext_lazy("Plans"),
    "plan_rates": gettext_lazy("Rates by category"),
    "plan_products": gettext_lazy("Rates by product"),
    "bands": gettext_lazy("Bands"),
}
RECORDS_PER_PAGE = 20
IMPORTS_SHOWN = 10


@require_GET
@for_readers
def roster(request: HttpRequest) -> HttpResponse:
    """The roster's files to take out, and for HR the way in; what went in and out is on record."""
    user = reader(request)
    records = FileRecordTable(FileRecord.objects.for_user(user).select_related("recorded_by"))
    RequestConfig(request, paginate={"per_page": RECORDS_PER_PAGE}).configure(records)
    context = {
        "here": "roster",
        "files": [(name, TITLES[name]) for name in roster_names_for(user)],
        "phones": phones_for(user).label,
        "waiting": RosterUpload.objects.for_user(user).unexpired(),
        "imports": AppliedImport.objects.for_user(user).select_related("applied_by", "undone_by")[:IMPORTS_SHOWN],
        "megabytes": roster_uploads.MAX_BYTES // 1_000_000,
        "records": records,
    }
    return render(request, "payroll_exports/roster.html", context)


@for_hr
@require_POST
def roster_import(request: HttpRequest) -> HttpResponse:
    """Takes files in and shows what they would change; nothing is changed yet."""
    try:
        upload = roster_uploads.receive(request.FILES.getlist("files"), by=reader(request))
    except RosterError as error:
        messages.error(request, str(error))
        return redirect("roster")
    return redirect("roster_preview", upload.pk)


@for_hr
@require_GET
def roster_preview(request: HttpRequest, pk: int) -> HttpResponse:
    """What an upload would change, list by list and page by page, and every error."""
    upload = _own(request, pk)
    if upload is None:
        return _gone(request)
    lists = upload.summary["lists"]
    names = [one["name"] for one in lists]
    asked = request.GET.get("list", names[0] if names else "")
    if asked not in names and names:
        raise Http404
    shown = next((one for one in lists if one["name"] == asked), None)
    pages = Paginator(RosterPreviewPage.objects.filter(upload=upload, list=asked), per_page=1)
    page = pages.get_page(request.GET.get("page"))
    files = upload.summary["files"]
    context: dict[str, Any] = {
        "here": "roster",
        "upload": upload,
        "summary": upload.summary,
        "writes": sum(file["new"] + file["changed"] for file in files) + upload.summary["bound"],
        "shown": shown,
        "kind": asked.rpartition(".")[2],
        "page": page,
        "lines": [line for one in page for line in json.loads(one.lines)],
        "lists": [
            Choice(f"?{urlencode({'list': one['name']})}", one["title"], f"{one['count']:,}", one["name"] == asked)
            for one in lists
        ],
    }
    if asked == ERRORS:
        context["lines"] = [ImportProblem(*line) for line in context["lines"]]
    return render(request, "payroll_exports/roster_preview.html", context)


@for_hr
@require_GET
def roster_errors(request: HttpRequest, pk: int) -> HttpResponse:
    """All errors of an upload as a CSV file."""
    upload = _own(request, pk)
    if upload is None:
        return _gone(request)
    response = HttpResponse(content_type="text/csv; charset=utf-8", headers=_headers("errors.csv"))
    # With a BOM, so that Excel shows the Chinese.
    response.write("\ufeff")
    writer = csv.writer(response, lineterminator="\n")
    writer.writerow(ImportProblem._fields)
    for page in upload.pages.filter(list=ERRORS).iterator():
        writer.writerows([safe_text(str(cell)) for cell in line] for line in json.loads(page.lines))
    return response


@for_hr
@require_POST
def roster_apply(request: HttpRequest, pk: int) -> HttpResponse:
    """Imports what was previewed, exactly; or shows the new preview, if the data has changed since."""
    upload = _own(request, pk)
    if upload is None:
        return _gone(request)
    try:
        applied = roster_uploads.apply(upload)
    except RosterUpload.DoesNotExist:
        return _gone(request)
    if not applied:
        messages.error(
            request,
            _("The data has changed since you looked, so nothing was imported. This is the preview as of now."),
        )
        return redirect("roster_preview", pk)
    files = upload.summary["files"]
    new, changed = sum(file["new"] for file in files), sum(file["changed"] for file in files)
    messages.success(
        request, _("Imported: %(new)d new rows, %(changed)d changed ones.") % {"new": new, "changed": changed}
    )
    return redirect("roster")


@for_hr
@require_POST
def roster_discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Forgets an upload; nothing was changed by it."""
    upload = _own(request, pk)
    if upload is None:
        return _gone(request)
    upload.delete()
    messages.success(request, _("The files are forgotten; nothing was changed."))
    return redirect("roster")


@require_GET
@for_readers
def roster_export(request: HttpRequest, name: str, format: str) -> HttpResponse:
    """One of the roster's files. Who took it, and whether with phone numbers, is on record."""
    encoding = request.GET.get("encoding", ENCODINGS[0])
    user = reader(request)
    if name not in roster_names_for(user) or format not in FORMATS or encoding not in ENCODINGS:
        raise Http404
    try:
        export = export_file(name, format=format, encoding=encoding, phones=phones_for(user))
    except ExportRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("roster")
    record(export, by=user)
    kinds = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
    return HttpResponse(export.content, content_type=kinds[format], headers=_headers(export.name))


def _own(request: HttpRequest, pk: int) -> RosterUpload | None:
    return RosterUpload.objects.for_user(reader(request)).unexpired().filter(pk=pk).first()


def _gone(request: HttpRequest) -> HttpResponse:
    """Another person's upload, and one that is no more, get the same answer."""
    messages.error(
        request, _("These files are not here any more: imported, discarded, or older than a day. Choose them again.")
    )
    return redirect("roster")


def _headers(name: str) -> dict[str, str]:
    disposition = content_disposition_header(as_attachment=True, filename=name) or ""
    return {"Content-Disposition": disposition, "Cache-Control": "private, no-store"}
