"""A clerk's, a store's and the chain's measures of a month, and how each figure of the pages is counted."""

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from kpis.definitions import GROUPS, definition_text
from kpis.measure_page import measures_page
from kpis.movement_members import Scope
from portfolios.models import Clerk, Month, Store
from portfolios.views import Choice, month_choices, reader


@require_GET
def measures(request: HttpRequest, month: int, kind: str, number: str) -> HttpResponse:
    """The measures of a clerk, a store or the chain; what the reader may not see is not there."""
    shown, user = get_object_or_404(Month, pk=month), reader(request)
    if kind == "clerk":
        scope = Scope(shown, clerk=get_object_or_404(Clerk.objects.for_user(user), clerk_no=number))
    elif kind == "store":
        scope = Scope(shown, store=get_object_or_404(Store.objects.for_user(user), store_no=number))
    elif kind == "chain" and number == "all" and user.office:
        scope = Scope(shown)
    else:
        raise Http404
    own = scope.clerk is not None and scope.clerk.pk == user.clerk_id
    context: dict[str, Any] = {
        "here": "my_month" if own else "stores",
        "scope": scope,
        "title": scope.clerk.name if scope.clerk else scope.store.name if scope.store else _("Chain"),
        "month": shown,
        "page": measures_page(scope),
        "small_sample": settings.MEASURE_SMALL_SAMPLE,
        "months": month_choices(shown, lambda other: reverse("measures", args=[other.pk, kind, number])),
        "stores": _stores(request, scope) if not scope.clerk else [],
    }
    return render(request, "kpis/measures.html", context)


def _stores(request: HttpRequest, scope: Scope) -> list[Choice]:
    choices = []
    if reader(request).office:
        url = reverse("measures", args=[scope.month.pk, "chain", "all"])
        choices.append(Choice(url, _("Chain"), "", scope.store is None))
    return choices + [
        Choice(
            reverse("measures", args=[scope.month.pk, "store", other.store_no]),
            other.name,
            other.store_no,
            other == scope.store,
        )
        for other in Store.objects.for_user(request.user)
    ]


@require_GET
def definitions(request: HttpRequest) -> HttpResponse:
    """How every figure is counted, with its worked table."""
    groups = [
        (group, definition_text(group), [(one, definition_text(one)) for one in group.definitions]) for group in GROUPS
    ]
    user = reader(request)
    here = "stores" if user.office or user.managed_store_ids() else "my_month"
    return render(request, "kpis/definitions.html", {"here": here, "groups": groups})
