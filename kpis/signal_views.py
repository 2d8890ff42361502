"""Signals, for a store's manager and HR: what stands out in a month, what it counts, and that it was looked at."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from commission.models import Sale, TicketCorrection
from commission.tables import in_currency
from commission.ticket_corrections import correction_counts
from kpis.gaming_signals import Period, known_period
from kpis.models import Signal, SignalReview
from kpis.signal_evidence import OF_MEMBERS, evidence
from kpis.signal_reviews import ReviewRefused, may_review, review
from kpis.signal_texts import percent, rule, sentence, yardstick
from portfolios.models import Clerk, Month, Store, User
from portfolios.views import Choice, month_choices, reader

ROWS_PER_PAGE = 50
# Of one kind, for a reader of many stores: the highest figures; the rest is a store away.
ROWS_PER_KIND = 30


def watched_stores(user: User) -> QuerySet[Store]:
    """The stores whose signals the user sees: the managed ones, HR all; an auditor sees no members behind them."""
    stores = Store.objects.for_user(user)
    return stores.none() if user.office == User.Office.AUDITOR else stores


@require_GET
def signals(request: HttpRequest, month: int) -> HttpResponse:
    """What stands out in a month, of one store or of all that one sees, kind by kind."""
    user = reader(request)
    stores = list(watched_stores(user))
    if not stores:
        raise Http404
    shown = get_object_or_404(Month, pk=month)
    store_no = request.GET.get("store", "")
    store = get_object_or_404(watched_stores(user), store_no=store_no) if store_no else None
    found = Signal.objects.for_user(user).filter(month=shown).select_related("clerk", "store").with_review()
    if store:
        found = found.filter(store=store)
    period, reviews = known_period(shown), _reviews(found)
    kinds = []
    for kind in Signal.Kind:
        of_kind = [signal for signal in found if signal.kind == kind]
        if period and of_kind:
            rows = [_row(signal, period, user, reviews) for signal in of_kind]
            kinds.append(
                {
                    "title": kind.label,
                    "rule": rule(kind, period.limits),
                    "rows": [row for row in rows if not row["review"]][:ROWS_PER_KIND],
                    "reviewed": [row for row in rows if row["review"]],
                    "more": max(0, sum(not row["review"] for row in rows) - ROWS_PER_KIND),
                }
            )
    context = {
        "here": "stores",
        "month": shown,
        "store": store,
        "period": period,
        "kinds": kinds,
        "corrections": _corrections(shown, [store] if store else stores),
        "query": f"?{urlencode({'store': store.store_no})}" if store else "",
        "stores": _switch(shown, stores, store),
        "months": month_choices(shown, lambda other: _address(other, store)),
    }
    return render(request, "kpis/signals.html", context)


def _address(month: Month, store: Store | None) -> str:
    return reverse("signals", args=[month.pk]) + (f"?{urlencode({'store': store.store_no})}" if store else "")


def _switch(month: Month, stores: list[Store], store: Store | None) -> list[Choice]:
    return [
        Choice(_address(month, None), _("All stores"), "", store is None),
        *(Choice(_address(month, other), other.name, other.store_no, other == store) for other in stores),
    ]


def _row(signal: Signal, period: Period, user: User, reviews: dict[int, SignalReview]) -> dict[str, Any]:
    return {
        "signal": signal,
        "sentence": sentence(signal, period),
        "percent": percent(signal.hits, signal.total) if signal.total else "",
        "yardstick": yardstick(signal),
        "review": reviews.get(signal.review_id),  # type: ignore[attr-defined] # an annotation
        "may_review": may_review(signal, user),
    }


def _reviews(signals: Iterable[Signal]) -> dict[int, SignalReview]:
    keys = [key for signal in signals if (key := getattr(signal, "review_id", None))]
    return SignalReview.objects.select_related("looked_at_by__clerk").in_bulk(keys)


def _corrections(month: Month, stores: list[Store]) -> list[dict[str, Any]]:
    """How often each clerk asked for a correction of the stores' tickets of the month, who asked most first."""
    counts: dict[int, dict[str, Any]] = {}
    for row in correction_counts(month).filter(sale__store__in=stores):
        clerk = counts.setdefault(row["clerk"], {"asked": 0, "approved": 0, "member": 0, "server": 0})
        clerk[row["what"]] = row["asked"]
        clerk["asked"] += row["asked"]
        clerk["approved"] += row["approved"]
    clerks = Clerk.objects.in_bulk(counts)
    rows = [{"clerk": clerks[pk], **row} for pk, row in counts.items()]
    return sorted(rows, key=lambda row: (-row["asked"], row["clerk"].clerk_no))


def _signal(request: HttpRequest, month: int, kind: str, clerk_no: str) -> Signal:
    signals = Signal.objects.for_user(request.user).select_related("month", "clerk", "store").with_review()
    return get_object_or_404(signals, month=month, kind=kind, clerk__clerk_no=clerk_no)


@require_GET
def signal(request: HttpRequest, month: int, kind: str, clerk_no: str) -> HttpResponse:
    """What a signal counts: a list as long as its figure."""
    user, shown = reader(request), _signal(request, month, kind, clerk_no)
    period = known_period(shown.month)
    if period is None:
        raise Http404
    page = Paginator(shown.evidence, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "stores",
        "month": shown.month,
        "row": _row(shown, period, user, _reviews([shown])),
        "rule": rule(Signal.Kind(shown.kind), period.limits),
        "back": _address(shown.month, shown.store),
        "page": page,
        "lines": evidence(shown, user, list(page)),
        "of_members": shown.kind in (*OF_MEMBERS, Signal.Kind.AFTER_INCOME),
        "amount_heading": in_currency(_("Amount")),
    }
    return render(request, "kpis/signal.html", context)


@require_POST
def look_at_signal(request: HttpRequest, month: int, kind: str, clerk_no: str) -> HttpResponse:
    """Keeps that the signal was looked at, with a note."""
    shown = _signal(request, month, kind, clerk_no)
    try:
        review(shown, note=request.POST.get("note", ""), by=reader(request))
    except ReviewRefused as refused:
        messages.error(request, str(refused))
        return redirect("signal", month, kind, clerk_no)
    messages.success(request, _("Looked at: it comes up again only if its figure rises."))
    return redirect(_address(shown.month, shown.store))


@require_GET
def clerk_corrections(request: HttpRequest, month: int, clerk_no: str) -> HttpResponse:
    """The corrections of a month's tickets that a clerk asked for."""
    user = reader(request)
    asked = TicketCorrection.objects.filter(
        sale__month_number=month, sale__store__in=watched_stores(user), asked_by__clerk__clerk_no=clerk_no
    ).select_related("sale__store", "asked_by__clerk", "decided_by__clerk", "new_member", "new_server", "part__server")
    if not asked:
        raise Http404
    page = Paginator(asked.order_by("pk"), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "stores",
        "month": get_object_or_404(Month, pk=month),
        "clerk": asked[0].asked_by.clerk,
        "page": page,
        "visible": set(Sale.objects.for_user(user).filter(corrections__in=list(page)).values_list("pk", flat=True)),
    }
    return render(request, "kpis/clerk_corrections.html", context)
