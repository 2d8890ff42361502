"""A clerk's, a store's and the chain's measures of a month, and how each figure of the pages is counted."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from kpis.definitions import GROUPS, definition_text
from kpis.measure_page import measures_page
from kpis.movement_views import asked_scope, scope_context, scope_switch
from portfolios.views import month_choices, reader


@require_GET
def measures(request: HttpRequest, month: int, kind: str, number: str) -> HttpResponse:
    """The measures of a clerk, a store or the chain; what the reader may not see is not there."""
    scope = asked_scope(request, month, kind, number)
    if scope.unassigned:
        raise Http404
    context = scope_context(request, scope) | {
        "page": measures_page(scope),
        "small_sample": settings.MEASURE_SMALL_SAMPLE,
        "months": month_choices(scope.month, lambda other: reverse("measures", args=[other.pk, kind, number])),
        "stores": scope_switch(request, scope, "measures"),
    }
    return render(request, "kpis/measures.html", context)


@require_GET
def definitions(request: HttpRequest) -> HttpResponse:
    """How every figure is counted, with its worked table."""
    groups = [
        (group, definition_text(group), [(one, definition_text(one)) for one in group.definitions]) for group in GROUPS
    ]
    user = reader(request)
    here = "stores" if user.office or user.managed_store_ids() else "my_month"
    return render(request, "kpis/definitions.html", {"here": here, "groups": groups})
