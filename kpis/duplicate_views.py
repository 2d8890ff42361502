"""Duplicate cards, for a store's manager and HR: found by the phone, merged after a preview, taken apart again."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.tables import in_currency
from kpis.card_merges import MergeChanged, apply_merge, preview_merge, take_back, twins
from portfolios.duplicates import MergeError, shared_phones
from portfolios.models import BindingBatch, Member, Store
from portfolios.months import MonthError
from portfolios.phones import masked
from portfolios.views import Choice, reader

PHONES_PER_PAGE = 25
RECENT = 20


def _own_cards(request: HttpRequest) -> QuerySet[Member]:
    """The cards that the user may merge: those of the managed stores, HR all; nobody else any."""
    return Member.objects.filter(store__in=_stores(request)).select_related("store", "merged_into", "enrolled_by")


def _stores(request: HttpRequest) -> QuerySet[Store]:
    """The stores whose cards the user may merge."""
    user = reader(request)
    return Store.objects.all() if user.is_hr else Store.objects.filter(pk__in=user.managed_store_ids())


@require_GET
def duplicates(request: HttpRequest) -> HttpResponse:
    """Cards with the same phone, of one store or of all that one manages."""
    stores = list(_stores(request))
    if not stores:
        raise Http404
    store_no = request.GET.get("store", "")
    chosen = [store for store in stores if store.store_no == store_no] if store_no else stores
    if not chosen:
        raise Http404
    everywhere = reader(request).is_hr and not store_no
    ids = [store.pk for store in chosen]
    page = Paginator(shared_phones(None if everywhere else ids), PHONES_PER_PAGE).get_page(request.GET.get("page"))
    mine = {store.pk for store in stores}
    context = {
        "here": "stores",
        "store": chosen[0] if store_no else None,
        "stores": [
            Choice(reverse("duplicates"), _("All stores"), "", not store_no),
            *(
                Choice(
                    f"{reverse('duplicates')}?store={one.store_no}", one.name, one.store_no, one.store_no == store_no
                )
                for one in stores
            ),
        ],
        "page": page,
        "groups": [
            {
                "phone": masked(group.phone),
                "survivor": group.cards[0][0],
                "cards": [
                    {"card": card, "owner": owner, "mine": card.store_id in mine, "survives": place == 0}
                    for place, (card, owner) in enumerate(group.cards)
                ],
                "mergeable": group.cards[0][0].store_id in mine,
            }
            for group in twins(page, on=timezone.localdate())
        ],
        "merged": Member.objects.filter(merged_by__isnull=False, store__in=ids)
        .select_related("merged_into", "merged_by__recorded_by__clerk")
        .order_by("-merged_by")[:RECENT],
    }
    return render(request, "kpis/duplicates.html", context)


@require_http_methods(["GET", "POST"])
def merge_cards(request: HttpRequest, survivor: int, card: int) -> HttpResponse:
    """What merging two cards would do, and doing it."""
    keeps = get_object_or_404(_own_cards(request), pk=survivor)
    goes = get_object_or_404(_own_cards(request), pk=card)
    today = timezone.localdate()
    try:
        if request.method == "POST":
            apply_merge(keeps, goes, today=today, basis=request.POST.get("basis", ""), recorded_by=reader(request))
            messages.success(
                request,
                _("Card %(card)s is merged into %(survivor)s.") % {"card": goes.member_no, "survivor": keeps.member_no},
            )
            return redirect("duplicates")
        merge = preview_merge(keeps, goes, today=today)
    except MergeChanged as change:
        messages.error(request, str(change))
        return redirect("merge_cards", survivor, card)
    except (MergeError, MonthError) as error:
        messages.error(request, str(error))
        return redirect("duplicates")
    context = {
        "here": "stores",
        "merge": merge,
        "phone": masked(goes.phone),
        "spend_heading": in_currency(_("Spend in 12 months")),
    }
    return render(request, "kpis/merge_cards.html", context)


@require_POST
def undo_merge(request: HttpRequest, batch: int) -> HttpResponse:
    """Takes a merge back as a whole."""
    card = get_object_or_404(_own_cards(request), merged_by=batch)
    get_object_or_404(_own_cards(request), pk=card.merged_into_id)
    try:
        take_back(get_object_or_404(BindingBatch, pk=batch), recorded_by=reader(request))
    except (MergeError, MonthError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Card %(card)s is open again, with the owner it had.") % {"card": card.member_no})
    return redirect("duplicates")
