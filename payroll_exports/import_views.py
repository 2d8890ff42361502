"""Imports that were applied: what each changed, and the way to take it back as a whole."""

from pathlib import Path
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from payroll_exports.applied_imports import AppliedImport, AppliedRow
from payroll_exports.roster_undo import UNDOABLE, UndoRefused, undo
from payroll_exports.views import for_hr, for_readers
from portfolios.phones import masked
from portfolios.views import reader

ROWS_PER_PAGE = 50
_RESOURCES = {Path(resource.file_name).stem: resource for resource in UNDOABLE}


@require_GET
@for_readers
def applied_import(request: HttpRequest, pk: int) -> HttpResponse:
    """What an import changed, cell by cell, as it was and as it left it."""
    shown = get_object_or_404(AppliedImport.objects.for_user(request.user), pk=pk)
    page = Paginator(shown.rows.all(), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {"here": "roster", "applied": shown, "page": page, "rows": [_shown(row, request) for row in page]}
    return render(request, "payroll_exports/applied_import.html", context)


@require_POST
@for_hr
def undo_import(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes an import back, or says what was built on it."""
    applied = get_object_or_404(AppliedImport.objects.for_user(request.user), pk=pk)
    try:
        undo(applied, by=reader(request))
    except UndoRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("The import is taken back: everything is as it was before."))
    return redirect("applied_import", pk)


def _shown(row: AppliedRow, request: HttpRequest) -> dict[str, Any]:
    """A row for the page: its key, and each cell before and after; identity numbers are masked, or not there at all."""
    resource = _RESOURCES[row.roster_file]
    key, written = resource.key, row.after if row.is_new else row.before
    names = [name for name in resource._meta.fields if name in written and not (row.is_new and name in key)]

    def text(name: str, value: str) -> str:
        if name != "document_no":
            return value
        return masked(value) if reader(request).is_hr else "•••"

    return {
        "file": row.roster_file,
        "number": row.number,
        "is_new": row.is_new,
        "key": " · ".join(filter(None, (row.after[name] for name in key))),
        "cells": [(name, text(name, row.before.get(name, "")), text(name, row.after[name])) for name in names],
    }
