"""Clerks' identity documents as HR sees them: who has one, masked, and one in full, which is on record."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from payroll_exports.identity_documents import IdentityDocument, IdentityRead, read_in_full
from payroll_exports.views import for_hr
from portfolios.models import Clerk
from portfolios.views import reader

CLERKS_PER_PAGE = 50
READS_SHOWN = 10


@require_GET
@for_hr
def identity_documents(request: HttpRequest) -> HttpResponse:
    """Every clerk with the identity document, masked; first who has none."""
    return _page(request, {})


@require_POST
@for_hr
@never_cache
def show_identity_document(request: HttpRequest, clerk_no: str) -> HttpResponse:
    """The same page with one clerk's number in full; that it was read is on record."""
    user = reader(request)
    documents = IdentityDocument.objects.for_user(user).select_related("clerk")
    document = get_object_or_404(documents, clerk__clerk_no=clerk_no)
    return _page(request, {"shown": document, "number": read_in_full(document, by=user)})


def _page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    user = reader(request)
    documents = IdentityDocument.objects.for_user(user).filter(clerk=OuterRef("pk"))
    clerks = Clerk.objects.for_user(user).annotate(identified=Exists(documents))
    ordered = clerks.select_related("identity_document").order_by("identified", "clerk_no")
    page = Paginator(ordered, CLERKS_PER_PAGE).get_page(request.GET.get("page"))
    context |= {
        "here": "roster",
        "page": page,
        "rows": [(clerk, getattr(clerk, "identity_document", None)) for clerk in page],
        "missing": clerks.filter(identified=False, left_on=None).count(),
        "reads": IdentityRead.objects.select_related("user", "clerk")[:READS_SHOWN],
    }
    return render(request, "payroll_exports/identity_documents.html", context)
