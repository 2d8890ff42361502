"""A clerk's own score with its sum, and the scores of a store for its manager."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from commission.tables import in_currency
from commission.templatetags.money import currency
from kpis.measures import measured_as_of
from kpis.models import Scorecard
from kpis.score_page import score_page
from kpis.scorecard import managed_stores, scores_of
from portfolios.models import Clerk, Month, Posting, Store
from portfolios.postings import postings_in
from portfolios.views import Choice, month_choices, reader


@require_GET
def score(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """A clerk's score of a month: so far while it is open, as frozen once it is closed."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    shown = get_object_or_404(Month, pk=month)
    own = clerk.pk == reader(request).clerk_id
    found = next(iter(scores_of(shown, [clerk.pk])), None)
    stores: list[Store] = []
    if found and found.scorecard.role == Posting.Role.MANAGER:
        managed = managed_stores(shown, postings_in(shown, [clerk.pk]))
        stores = list(Store.objects.filter(pk__in=managed.get(clerk.pk, [])).order_by("store_no"))
    context = {
        "here": "my_month" if own else "stores",
        "clerk": clerk,
        "month": shown,
        "scorecard": found.scorecard if found else None,
        "may_read_scorecard": found is not None
        and Scorecard.objects.for_user(request.user).filter(pk=found.scorecard.pk).exists(),
        "stores": stores,
        "page": score_page(found, shown, clerk, stores, own=own) if found else None,
        "as_of": measured_as_of(shown),
        "currency": currency(),
        "months": month_choices(shown, lambda other: reverse("score", args=[other.pk, clerk_no])),
    }
    return render(request, "kpis/score.html", context)


@require_GET
def store_scores(request: HttpRequest, month: int, store_no: str) -> HttpResponse:
    """The scores of a store's clerks and of who manages it; the office and the store's manager alone."""
    store = get_object_or_404(Store.objects.for_user(request.user), store_no=store_no)
    shown = get_object_or_404(Month, pk=month)
    posted = postings_in(shown)
    managed = managed_stores(shown, posted)
    people = [
        clerk
        for clerk, places in posted.items()
        if store.pk in managed.get(clerk, []) or (places.home and places.home[1] == store.pk)
    ]
    clerks = Clerk.objects.for_user(request.user).in_bulk(people)
    found = [one for one in scores_of(shown, people) if one.clerk_id in clerks]
    rows = sorted(((clerks[one.clerk_id], one) for one in found), key=lambda row: row[0].clerk_no)
    context = {
        "here": "stores",
        "store": store,
        "month": shown,
        "rows": rows,
        "total": sum(one.bonus_amount for _clerk, one in rows),
        "as_of": measured_as_of(shown),
        "amount_heading": in_currency(_("Bonus")),
        "months": month_choices(shown, lambda other: reverse("store_scores", args=[other.pk, store_no])),
        "stores": [
            Choice(reverse("store_scores", args=[shown.pk, other.store_no]), other.name, other.store_no, other == store)
            for other in Store.objects.for_user(request.user)
        ],
    }
    return render(request, "kpis/store_scores.html", context)
