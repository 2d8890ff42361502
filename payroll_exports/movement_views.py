"""A movement as a PDF."""

from auditlog.models import LogEntry
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from kpis.movement_page import movement_page
from kpis.movement_views import asked_scope
from payroll_exports.movement_pdf import movement_pdf as pdf_of


@require_GET
def movement_pdf(request: HttpRequest, month: int, kind: str, number: str) -> HttpResponse:
    """The movement of a closed month to print; that it was taken is on record."""
    scope = asked_scope(request, month, kind, number)
    page = movement_page(scope)
    if page is None:
        raise Http404
    name = f"{scope.month}-{kind}-{number}.pdf".replace("/", "-")
    LogEntry.objects.log_create(
        scope.clerk or scope.store or scope.month,
        force_log=True,
        action=LogEntry.Action.ACCESS,
        additional_data={"export": name},
    )
    return HttpResponse(
        pdf_of(scope, page),
        content_type="application/pdf",
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or "",
            "Cache-Control": "private",
        },
    )
