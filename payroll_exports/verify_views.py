"""The page on which anybody who holds a payslip learns whether it is genuine, and nothing else."""

from typing import Any

from axes.helpers import get_client_ip_address
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from payroll_exports.verification import Printed, TooManyWrong, is_ours, kept_file
from payroll_exports.verify_forms import FileForm, PrintedForm


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
def verify(request: HttpRequest) -> HttpResponse:
    """A payslip by what is printed on it, or by its file: "genuine" or "not ours"."""
    by_file = request.method == "POST" and "file" in request.FILES
    typed = request.method == "POST" and not by_file
    printed = PrintedForm(request.POST if typed else None)
    file = FileForm(request.POST, request.FILES) if by_file else FileForm()
    context: dict[str, Any] = {"printed": printed, "file": file}
    status = 200
    if file.is_valid():
        context["genuine"] = bool(kept_file(file.cleaned_data["file"].read()))
    elif printed.is_valid():
        try:
            context["genuine"] = is_ours(Printed(**printed.cleaned_data), address=get_client_ip_address(request))
        except TooManyWrong:
            context["wait"], status = True, 429
    elif request.method == "POST":
        status = 422
    context["answered"] = "genuine" in context
    return render(request, "payroll_exports/verify.html", context, status=status)
