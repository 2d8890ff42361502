"""Scorecards: which hold for whom, each readable, what one would have paid, and HR's way to write and issue one."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Sum, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.tables import in_currency
from commission.templatetags.money import currency
from kpis.measures import measured
from kpis.models import Scorecard, ScoreMonth
from kpis.score_page import terms_line
from kpis.score_spread import spread
from kpis.scorecard import BY_KEY, cards_in, scores
from kpis.scorecard_changes import (
    ScorecardRefused,
    discard,
    end,
    is_used,
    issue,
    months_of,
    predecessor,
    withdraw,
    write_measures,
)
from kpis.scorecard_forms import EndScorecardForm, ScorecardForm
from portfolios.models import Clerk, Month, Store, User
from portfolios.months import MonthError, first_open_day, month_number, next_number
from portfolios.postings import postings_in
from portfolios.views import month_choices, reader

REFUSALS = (ScorecardRefused, MonthError)


def _here(user: User) -> str:
    return "scorecards" if user.office else "stores"


def _writer(request: HttpRequest) -> User:
    """HR alone writes scorecards; for everyone else such a page is not there."""
    user = reader(request)
    if not user.is_hr:
        raise Http404
    return user


def _seen(request: HttpRequest, pk: int) -> Scorecard:
    return get_object_or_404(Scorecard.objects.for_user(request.user).select_related("store"), pk=pk)


@require_GET
def scorecards(request: HttpRequest) -> HttpResponse:
    """The scorecards that one may read, by scope: the chain's first, then those of stores."""
    user = reader(request)
    if not (user.office or user.managed_store_ids()):
        raise Http404
    seen = Scorecard.objects.for_user(user).select_related("store")
    scopes: dict[tuple[str, str, Store | None], list[Scorecard]] = {}
    for card in seen.order_by("store__store_no", "role", "-valid_from", "-pk"):
        scopes.setdefault((card.store.store_no if card.store else "", card.role, card.store), []).append(card)
    ordered = sorted(scopes.items(), key=lambda one: one[0][:2])
    context = {
        "here": _here(user),
        "scopes": [(store, role, cards) for (_no, role, store), cards in ordered],
        "today": timezone.localdate(),
        "may_write": user.is_hr,
    }
    return render(request, "kpis/scorecards.html", context)


@require_GET
def scorecard(request: HttpRequest, pk: int) -> HttpResponse:
    """What a scorecard says, and what it has paid so far."""
    user, shown = reader(request), _seen(request, pk)
    paid = ScoreMonth.objects.filter(scorecard=shown).order_by().values("month")
    history: list[Any] = []
    if user.office:
        history = list(paid.annotate(people=Count("pk"), amount=Sum("bonus_amount")).order_by("-month"))
    context = {
        "here": _here(user),
        "scorecard": shown,
        "lines": [terms_line(BY_KEY[terms.measure], terms) for terms in shown.measures.all()],
        "amount_heading": in_currency(_("Bonus")),
        "currency": currency(),
        "today": timezone.localdate(),
        "history": [(Month(pk=row["month"]), row["people"], row["amount"]) for row in history],
        "office": bool(user.office),
        "preview_month": _last_measured() if user.office else None,
    }
    if user.is_hr:
        context |= {
            "may_write": True,
            "used": is_used(shown),
            "ends": predecessor(shown) if shown.is_draft else None,
            "end_form": EndScorecardForm(initial={"last_month": months_of(shown)[1]}),
        }
    return render(request, "kpis/scorecard.html", context)


def _last_measured() -> Month | None:
    """The last closed month, or the open one where none is closed yet."""
    months = Month.objects.order_by("pk")
    return months.filter(closed_at__isnull=False).last() or months.first()


# --- Writing -------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def new_scorecard(request: HttpRequest) -> HttpResponse:
    """A new draft, empty or from a copy of another scorecard."""
    user = _writer(request)
    copied = None
    if (asked := request.GET.get("copy", "")).isdecimal():
        copied = get_object_or_404(Scorecard.objects.for_user(user), pk=int(asked))
    initial = ScorecardForm.filled_in(copied) | {"scorecard_no": "", "first_month": _next_month(), "last_month": None}
    form = ScorecardForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_valid():
        made = Scorecard()
        _save(form, made)
        messages.success(
            request,
            _("Scorecard %(scorecard)s is a draft: nobody is scored by it before it is issued.") % {"scorecard": made},
        )
        return redirect("scorecard", made.pk)
    return _form_page(request, form, copied=copied)


def _next_month() -> int:
    """The month after this one, or the first that is open."""
    first = first_open_day()
    following = next_number(month_number(timezone.localdate()))
    return max(month_number(first), following) if first else following


def _save(form: ScorecardForm, card: Scorecard) -> None:
    with transaction.atomic():
        for name in ("scorecard_no", "role", "store", "full_amount"):
            setattr(card, name, form.cleaned_data[name])
        card.valid_from, card.valid_to = form.days()
        card.save()
        write_measures(card, form.measures())


def _form_page(request: HttpRequest, form: ScorecardForm, **context: Any) -> HttpResponse:
    context |= {"here": "scorecards", "form": form}
    return render(request, "kpis/scorecard_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def edit_scorecard(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft; what is issued is made a draft first, as long as no close has used it."""
    _writer(request)
    shown = _seen(request, pk)
    if not shown.is_draft:
        messages.error(request, _("Scorecard %(scorecard)s is issued: only a draft is edited.") % {"scorecard": shown})
        return redirect("scorecard", pk)
    form = ScorecardForm(
        request.POST if request.method == "POST" else None, initial=ScorecardForm.filled_in(shown), scorecard=shown
    )
    if form.is_valid():
        _save(form, shown)
        messages.success(request, _("Scorecard %(scorecard)s is saved.") % {"scorecard": shown})
        return redirect("scorecard", pk)
    return _form_page(request, form, scorecard=shown)


def _done(request: HttpRequest, pk: int, act: Callable[[Scorecard], Any], said: str) -> HttpResponse:
    """Does something to a scorecard, and says that it is done or why not."""
    _writer(request)
    shown = _seen(request, pk)
    try:
        act(shown)
    except REFUSALS as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, said % {"scorecard": shown})
    return redirect("scorecard", pk) if Scorecard.objects.filter(pk=pk).exists() else redirect("scorecards")


@require_POST
def issue_scorecard(request: HttpRequest, pk: int) -> HttpResponse:
    """Puts a draft in force."""
    return _done(request, pk, issue, _("Scorecard %(scorecard)s is issued."))


@require_POST
def withdraw_scorecard(request: HttpRequest, pk: int) -> HttpResponse:
    """Makes an issued scorecard that no close has used a draft again."""
    return _done(request, pk, withdraw, _("Scorecard %(scorecard)s is a draft again; what it had ended stays ended."))


@require_POST
def discard_scorecard(request: HttpRequest, pk: int) -> HttpResponse:
    """Throws a draft away."""
    return _done(request, pk, discard, _("Draft %(scorecard)s is thrown away."))


@require_POST
def end_scorecard(request: HttpRequest, pk: int) -> HttpResponse:
    """Sets the last month of an issued scorecard."""
    form = EndScorecardForm(request.POST)
    if not form.is_valid():
        _writer(request)
        messages.error(request, _("Write the last month as 2026-10, or leave it empty."))
        return redirect("scorecard", _seen(request, pk).pk)
    last = form.cleaned_data["last_month"]
    said = (
        _("Scorecard %(scorecard)s has its last month set.") if last else _("Scorecard %(scorecard)s has no end now.")
    )
    return _done(request, pk, lambda shown: end(shown, last), said)


# --- What it would have paid ---------------------------------------------------------------------------------------


@require_GET
def preview_scorecard(request: HttpRequest, pk: int, month: int) -> HttpResponse:
    """What a scorecard would have paid in a month, person by person, in the place of what holds for the same people."""
    if not reader(request).office:
        raise Http404
    card, shown = _seen(request, pk), get_object_or_404(Month, pk=month)
    prefetch_related_objects([card], "measures")
    others = [other for other in cards_in(shown) if (other.role, other.store_id) != (card.role, card.store_id)]
    found = [one for one in scores(shown, cards=[*others, card]) if one.scorecard is card]
    clerks = Clerk.objects.in_bulk([one.clerk_id for one in found])
    posted = postings_in(shown, list(clerks))
    stores = Store.objects.in_bulk()
    rows = []
    for one in found:
        place = posted[one.clerk_id].home or posted[one.clerk_id].last
        rows.append((clerks[one.clerk_id], stores[place[1]] if place else None, one))
    rows.sort(key=lambda row: (-(row[2].score_bp or 0), row[0].clerk_no))
    paid = ScoreMonth.objects.filter(month=shown, clerk__in=clerks).aggregate(paid=Sum("bonus_amount", default=0))
    context = {
        "here": "scorecards",
        "scorecard": card,
        "month": shown,
        "measured": measured(shown).exists(),
        "rows": rows,
        "names": [(terms.measure, str(BY_KEY[terms.measure].name)) for terms in card.measures.all()],
        "total": sum(one.bonus_amount for one in found),
        "paid": paid["paid"],
        "picture": spread(one.score_bp for one in found if one.score_bp is not None),
        "amount_heading": in_currency(_("Bonus")),
        "currency": currency(),
        "months": month_choices(shown, lambda other: reverse("preview_scorecard", args=[card.pk, other.pk])),
    }
    return render(request, "kpis/scorecard_preview.html", context)
