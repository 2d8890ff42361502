"""Export profiles: the ready ones and HR's own, to copy, change, look through for a closed month, and take out."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_tables2 import RequestConfig

from payroll_exports.exports import ExportRefused
from payroll_exports.line_codes import LineCode
from payroll_exports.models import ExportProfile, FileRecord
from payroll_exports.profile_files import ProfileRun, preview_rows, record, run_profile
from payroll_exports.profile_forms import CopyForm, ProfileForm, chosen_columns, column_forms
from payroll_exports.profile_rows import OPEN, Source, columns_of, missing_references, profile_problems
from payroll_exports.ready_profiles import READY, ready_profile
from payroll_exports.tables import FileRecordTable
from payroll_exports.views import for_hr, for_readers
from portfolios.models import Month
from portfolios.views import Choice, reader

PREVIEW_ROWS = 12
RECORDS_PER_PAGE = 20


@require_GET
@for_readers
def export_profiles(request: HttpRequest) -> HttpResponse:
    """HR's own profiles and the ready ones, and which files went out."""
    user = reader(request)
    taken = FileRecord.objects.for_user(user).filter(direction=FileRecord.Direction.OUT).exclude(filter="")
    records = FileRecordTable(taken.select_related("recorded_by"))
    RequestConfig(request, paginate={"per_page": RECORDS_PER_PAGE}).configure(records)
    context = {
        "here": "months",
        "profiles": ExportProfile.objects.for_user(user).select_related("changed_by"),
        "ready": READY,
        "records": records,
    }
    return render(request, "payroll_exports/export_profiles.html", context)


@require_POST
@for_hr
def copy_ready_profile(request: HttpRequest, key: str) -> HttpResponse:
    """A ready profile becomes one's own, under a name."""
    ready = ready_profile(key)
    if ready is None:
        raise Http404
    form = CopyForm(request.POST)
    if not form.is_valid():
        messages.error(request, str(form.errors["name"][0]))
        return redirect("export_profiles")
    profile = ready.copy(form.cleaned_data["name"], by=reader(request))
    profile.save()
    return redirect("edit_export_profile", profile.pk)


@require_POST
@for_hr
def copy_export_profile(request: HttpRequest, pk: int) -> HttpResponse:
    """A copy of a profile under another name, to be changed."""
    profile = get_object_or_404(ExportProfile.objects.for_user(request.user), pk=pk)
    form = CopyForm(request.POST)
    if not form.is_valid():
        messages.error(request, str(form.errors["name"][0]))
        return redirect("export_profile", pk)
    profile.pk, profile._state.adding = None, True
    profile.name, profile.changed_by = form.cleaned_data["name"], reader(request)
    profile.save()
    return redirect("edit_export_profile", profile.pk)


@require_GET
@for_readers
def export_profile(request: HttpRequest, pk: int) -> HttpResponse:
    """What a profile makes of a closed month: its first rows and its totals, or what is in the way."""
    profile = get_object_or_404(ExportProfile.objects.for_user(request.user), pk=pk)
    closed = list(Month.objects.filter(closed_at__isnull=False).order_by("-pk"))
    asked = request.GET.get("month", "")
    month = next((one for one in closed if one.name == asked or not asked), None)
    if month is None and asked:
        raise Http404
    problems, run, missing = profile_problems(profile), None, []
    if month and not problems:
        missing = missing_references(profile, month)
        try:
            run = run_profile(profile, month)
        except ExportRefused as refusal:
            problems = str(refusal).splitlines()
    context: dict[str, Any] = {
        "here": "months",
        "profile": profile,
        "month": month,
        "problems": problems,
        "missing": missing,
        "months": [Choice(f"?{urlencode({'month': one.name})}", one.name, "", one == month) for one in closed],
        "columns": columns_of(profile),
        # Else what is lacking is a number in the other system.
        "lacks_documents": bool(missing) and all(column.source != Source.REFERENCE for column in columns_of(profile)),
    }
    if run:
        context |= _preview(run, with_references=reader(request).is_hr)
    return render(request, "payroll_exports/export_profile.html", context)


def _preview(run: ProfileRun, *, with_references: bool) -> dict[str, Any]:
    tables = [file.table for file in run.files]
    left_out: dict[str, int] = {}
    for table in tables:
        for code, amount in table.left_out.items():
            left_out[code] = left_out.get(code, 0) + amount
    return {
        "run": run,
        "rows": preview_rows(run, PREVIEW_ROWS, with_references=with_references),
        "row_count": sum(len(table.rows) for table in tables),
        "more": sum(len(table.rows) for table in tables) > PREVIEW_ROWS,
        "payslips_amount": sum(table.ledger_amount for table in tables),
        "exported_amount": sum(table.exported_amount for table in tables),
        "left_out": [(LineCode(code).label, amount) for code, amount in left_out.items()],
    }


@require_http_methods(["GET", "POST"])
@for_hr
def edit_export_profile(request: HttpRequest, pk: int) -> HttpResponse:
    """Name, format, columns, codes and clerks' numbers of a profile."""
    profile = get_object_or_404(ExportProfile.objects.for_user(request.user), pk=pk)
    form = ProfileForm(request.POST or None, instance=profile)
    columns = column_forms(profile, request.POST or None)
    if request.method == "POST" and form.is_valid() & columns.is_valid():
        profile.columns = chosen_columns(columns)
        profile.changed_by = reader(request)
        form.save()
        messages.success(request, _("The profile is saved."))
        return redirect("export_profile", pk)
    context = {"here": "months", "profile": profile, "form": form, "columns": columns, "open": OPEN}
    status = 422 if request.method == "POST" else 200
    return render(request, "payroll_exports/edit_export_profile.html", context, status=status)


@require_POST
@for_hr
def delete_export_profile(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes a profile off the list; the files that were made by it stay on record."""
    profile = get_object_or_404(ExportProfile.objects.for_user(request.user), pk=pk)
    profile.delete()
    messages.success(request, _("The profile %(name)s is deleted.") % {"name": profile.name})
    return redirect("export_profiles")


@require_POST
@for_hr
def run_export_profile(request: HttpRequest, pk: int, month: int) -> HttpResponse:
    """A closed month's files by the profile with their control totals, as one ZIP; who took them is on record."""
    profile = get_object_or_404(ExportProfile.objects.for_user(request.user), pk=pk)
    closed = get_object_or_404(Month, pk=month, closed_at__isnull=False)
    try:
        run = run_profile(profile, closed)
    except ExportRefused as refusal:
        messages.error(request, str(refusal))
        return redirect(f"{reverse('export_profile', args=[pk])}?{urlencode({'month': closed.name})}")
    record(run, by=reader(request))
    disposition = content_disposition_header(as_attachment=True, filename=f"{closed.name}-{profile.name}.zip")
    return HttpResponse(
        run.archive(),
        content_type="application/zip",
        headers={"Content-Disposition": disposition or "", "Cache-Control": "private, no-store"},
    )
