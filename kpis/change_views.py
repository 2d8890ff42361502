"""Changing owners, for a store's manager and HR: choose, preview, apply, see, take back."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from commission.tables import in_currency
from kpis.change_charts import before_after, moves_curve, percent_text
from kpis.follow_up import follow_up
from kpis.forms import FORMS, ChangeForm, LeavingForm, RebalanceForm
from kpis.leaving import DAY, LeavingError, departures, move, set_last_day
from kpis.member_filters import FilterError, matching
from kpis.models import Proposal
from kpis.proposals import (
    Options,
    ProposalError,
    StoreChanged,
    apply_proposal,
    can_undo,
    curve,
    draft,
    moves_of,
    redraft,
    undo_batch,
)
from kpis.store_split import StoreSplitError, default_day
from kpis.unassigned_list import waiting
from portfolios.bindings import BindingError
from portfolios.models import Binding, Clerk, Member, Store, User
from portfolios.months import MonthError, first_open_day
from portfolios.split import SplitError
from portfolios.views import Choice, reader

Kind = Proposal.Kind
MOVES_PER_PAGE = 50
PROPOSALS_PER_PAGE = 30
REFUSALS = (ProposalError, SplitError, BindingError, MonthError, StoreSplitError)


def changeable_stores(user: User) -> Any:
    """The stores whose members the user may reassign: the managed ones, HR all; an auditor only looks."""
    stores = Store.objects.for_user(user)
    return stores.none() if user.office == User.Office.AUDITOR else stores


@require_GET
def changes(request: HttpRequest, store_no: str) -> HttpResponse:
    """What can be changed in a store, and every change there was, newest first."""
    stores = changeable_stores(reader(request))
    store = get_object_or_404(stores, store_no=store_no)
    found = Proposal.objects.for_user(request.user).filter(store=store, batch__isnull=False)
    found = found.select_related("clerk", "batch__recorded_by__clerk", "batch__undone_by__recorded_by")
    page = Paginator(found.order_by("-batch"), PROPOSALS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "stores",
        "store": store,
        "page": page,
        "changes": [{"proposal": change, "moved": len(change.document["moves"])} for change in page],
        "stores": [
            Choice(reverse("changes", args=[other.store_no]), other.name, other.store_no, other == store)
            for other in stores
        ],
    }
    return render(request, "kpis/changes.html", context)


@require_GET
def unassigned(request: HttpRequest, store_no: str) -> HttpResponse:
    """Who has no owner in a store, since when, and what was sold to them meanwhile."""
    stores = changeable_stores(reader(request))
    store = get_object_or_404(stores, store_no=store_no)
    rows = waiting(store, timezone.localdate())
    context = {
        "here": "stores",
        "store": store,
        "page": Paginator(rows, MOVES_PER_PAGE).get_page(request.GET.get("page")),
        "longest": rows[0] if rows else None,
        "headings": {
            "bought": in_currency(_("Bought meanwhile")),
            "served": in_currency(_("Commission of who served")),
            "kept": in_currency(_("Commission kept by the store")),
        },
        "totals": {
            name: sum(getattr(row, name) for row in rows)
            for name in ("net_amount", "server_commission_amount", "house_commission_amount")
        },
        "stores": [
            Choice(reverse("unassigned", args=[other.store_no]), other.name, other.store_no, other == store)
            for other in stores
        ],
    }
    return render(request, "kpis/unassigned.html", context)


@require_http_methods(["GET", "POST"])
def leaving(request: HttpRequest, store_no: str) -> HttpResponse:
    """A clerk's last day in the store; the hand-over of the portfolio follows."""
    user, today = reader(request), timezone.localdate()
    store = get_object_or_404(changeable_stores(user), store_no=store_no)
    form = LeavingForm(request.POST if request.method == "POST" else None, store=store, on=today)
    refusal = ""
    if form.is_valid():
        clerk, last_day, to_store = (form.cleaned_data[name] for name in ("clerk", "last_day", "to_store"))
        try:
            if to_store:
                move(clerk, to_store, last_day + DAY)
            else:
                set_last_day(clerk, last_day, by=user)
        except (LeavingError, MonthError) as refused:
            refusal = str(refused)
        else:
            if last_day is None:
                messages.success(request, _("%(name)s stays.") % {"name": clerk.name})
                return redirect("leaving", store_no)
            messages.success(request, _("%(name)s: last day here %(day)s.") % {"name": clerk.name, "day": last_day})
            ahead = urlencode({"clerk": clerk.clerk_no, "on": last_day + DAY})
            return redirect(f"{reverse('propose', args=[store_no, Kind.HAND_OVER])}?{ahead}")
    context = {
        "here": "stores",
        "store": store,
        "form": form,
        "refusal": refusal,
        "departures": departures(store, today=today),
    }
    return render(request, "kpis/leaving.html", context, status=422 if refusal or form.errors else 200)


@require_http_methods(["GET", "POST"])
def propose(request: HttpRequest, store_no: str, kind: str) -> HttpResponse:
    """The choices for a change of one kind; what is chosen is drafted, and shown as a preview."""
    user = reader(request)
    store = get_object_or_404(changeable_stores(user), store_no=store_no)
    if kind not in FORMS:
        raise Http404
    asked_kind = Kind(kind)
    data = request.POST if request.method == "POST" else request.GET
    day = _day(data.get("on"), asked_kind, store)
    refusal, members = "", []
    if asked_kind == Kind.REASSIGNMENT:
        try:
            members = _chosen(user, request.POST, day)
        except FilterError as refused:
            refusal = str(refused)
    form = FORMS[kind](kind=asked_kind, store=store, on=day, initial=_initial(request.GET))
    if request.method == "POST" and "quick" in request.POST:
        form = FORMS[kind](_as_offered(form), kind=asked_kind, store=store, on=day)
    elif request.method == "POST" and "on" in request.POST:
        form = FORMS[kind](request.POST, kind=asked_kind, store=store, on=day)
    if form.is_bound and form.is_valid() and not refusal:
        try:
            proposal = _draft(form, members, user)
            return redirect("proposal", proposal.pk)
        except REFUSALS as refused:
            refusal = str(refused)
    context = {
        "here": "stores",
        "store": store,
        "kind": asked_kind,
        "form": form,
        "refusal": refusal,
        "members": members,
        "selection": request.POST.getlist("member"),
        "query": request.POST.get("query", "") if request.POST.get("all") else None,
    }
    if isinstance(form, RebalanceForm):
        context |= _curve(store, day, form, data)
    return render(request, "kpis/propose.html", context, status=422 if refusal or form.errors else 200)


def _day(text: str | None, kind: Proposal.Kind, store: Store) -> dt.date:
    """The day that was chosen, or the one that suits the kind: a store's first split reaches back to the first open
    day, the unassigned get their owner today, and every other change begins tomorrow."""
    if text:
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            pass
    today = timezone.localdate()
    if kind == Kind.SPLIT and not Binding.objects.valid().filter(member__store=store).exists():
        try:
            return default_day(store)
        except StoreSplitError:
            return today
    day = today if kind == Kind.UNASSIGNED else today + dt.timedelta(days=1)
    return max(day, first_open_day() or day)


def _initial(query: QueryDict) -> dict[str, Any]:
    """A link may name who hands over."""
    return {"clerk": query["clerk"]} if "clerk" in query else {}


def _as_offered(form: ChangeForm) -> QueryDict:
    """The form as it is offered, filled in: for a button that asks nothing."""
    data = QueryDict(mutable=True)
    for name in form.fields:
        value = form.get_initial_for_field(form.fields[name], name)
        if isinstance(value, list):
            data.setlist(name, [str(one) for one in value])
        elif value is not None:
            data[name] = str(form.fields[name].prepare_value(value))
    return data


def _chosen(user: User, data: QueryDict, on: dt.date) -> list[Member]:
    """The members that were chosen one by one, or all that match a search."""
    if data.get("all"):
        return list(matching(user, QueryDict(data.get("query", "")), on))
    keys = [int(key) for key in data.getlist("member") if key.isdecimal()]
    return list(Member.objects.for_user(user, on).filter(pk__in=keys))


def _draft(form: ChangeForm, members: list[Member], by: User) -> Proposal:
    options = form.options()
    if members:
        options = Options(
            takers=options.takers, members=tuple(member.pk for member in members), to_list=options.to_list
        )
    return draft(
        form.kind,
        form.store,
        on=form.cleaned_data["on"],
        options=options,
        clerk=form.hands_over,
        note=form.cleaned_data["note"],
        by=by,
    )


def _curve(store: Store, day: dt.date, form: RebalanceForm, data: QueryDict) -> dict[str, Any]:
    """The moves that each spread takes, with the choices as they stand."""
    within = data.get("counts_within", "")
    takers = data.getlist("takers") or list(form.fields["takers"].initial or [])
    try:
        bp = form.fields["counts_within"].clean(within) if within else None
        points = curve(store, on=day, options=Options(takers=tuple(takers), counts_within_bp=bp))
    except REFUSALS as refused:
        return {"curve_refusal": str(refused)}
    return {
        "curve": moves_curve(points),
        "points": [(point, percent_text(point.spread), point.spread_bp / 100) for point in points],
    }


def _proposal(request: HttpRequest, pk: int) -> Proposal:
    proposals = Proposal.objects.for_user(request.user).select_related(
        "store", "clerk", "batch__recorded_by__clerk", "batch__undone_by__recorded_by__clerk", "drafted_by"
    )
    return get_object_or_404(proposals, pk=pk)


@require_GET
def proposal(request: HttpRequest, pk: int) -> HttpResponse:
    """A proposal as it would be, or as it was applied: each clerk before and after, whose pay moves, and every move."""
    shown = _proposal(request, pk)
    document = shown.document
    rows = [*document["clerks"], {"clerk_no": "", "name": "", **document["unassigned"]}]
    bars = before_after([(row["before"]["spend_amount"], row["after"]["spend_amount"]) for row in document["clerks"]])
    for row, bar in zip(document["clerks"], bars, strict=True):
        row["bar"] = bar
    today = timezone.localdate()
    began = shown.batch is not None and not hasattr(shown.batch, "undone_by") and shown.effective_on <= today
    page = Paginator(document["moves"], MOVES_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "here": "stores",
        "proposal": shown,
        "store": shown.store,
        "rows": rows,
        "spend_heading": in_currency(_("Spend in 12 months")),
        "expected_heading": in_currency(_("Expected commission a month")),
        "unassigned": document["unassigned"],
        "spread": {
            name: None if bp is None else percent_text(bp / 10_000) for name, bp in document["spread_bp"].items()
        },
        "pay": document["pay"],
        "moves": _moves(list(page)),
        "page": page,
        "limit": settings.MEMBERS_PER_CLERK_LIMIT,
        "limit_passed": [
            row for row in document["clerks"] if row["after"]["members"] > settings.MEMBERS_PER_CLERK_LIMIT
        ],
        "follow_up": follow_up(moves_of(shown), shown.effective_on, today=today) if began else [],
        "undoable": shown.batch is not None and can_undo(shown.batch),
        "form_url": f"{reverse('propose', args=[shown.store.store_no, shown.kind])}?on={shown.effective_on}",
    }
    return render(request, "kpis/proposal.html", context)


def _moves(rows: list[list[int | None]]) -> list[dict[str, Any]]:
    members = Member.objects.in_bulk([row[0] for row in rows])
    clerks: dict[int | None, Clerk] = dict(Clerk.objects.in_bulk({key for row in rows for key in row[1:] if key}))
    return [{"member": members[row[0]], "from": clerks.get(row[1]), "to": clerks.get(row[2])} for row in rows if row[0]]


@require_POST
def apply(request: HttpRequest, pk: int) -> HttpResponse:
    """Makes the moves of a proposal. A second click finds them made; a store that changed is previewed anew.

    The page asks through htmx, so that it can show the progress meanwhile, and is sent on when it is done.
    """
    url = _applied(request, pk)
    return HttpResponseClientRedirect(url) if request.headers.get("HX-Request") else redirect(url)


def _applied(request: HttpRequest, pk: int) -> str:
    """Applies the proposal, says how it went, and returns the address to go on to."""
    shown = _proposal(request, pk)
    user = reader(request)
    try:
        apply_proposal(shown, by=user, progress=lambda done, total: cache.set(_progress_key(pk), (done, total), 600))
    except StoreChanged as changed:
        messages.error(request, str(changed))
        try:
            return reverse("proposal", args=[redraft(shown, by=user).pk])
        except REFUSALS as refused:
            messages.error(request, str(refused))
            return reverse("changes", args=[shown.store.store_no])
    except REFUSALS as refused:
        messages.error(request, str(refused))
    else:
        count = len(shown.document["moves"])
        messages.success(
            request,
            ngettext("%(count)d member has a new owner.", "%(count)d members have a new owner.", count)
            % {"count": count},
        )
    return reverse("proposal", args=[pk])


@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """How far the applying of a proposal is; the page asks while it waits."""
    shown = _proposal(request, pk)
    done, total = cache.get(_progress_key(pk), (0, 0))
    return render(request, "kpis/progress.html", {"proposal": shown, "done": done, "total": total})


def _progress_key(pk: int) -> str:
    return f"proposal-{pk}-progress"


@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Takes an applied proposal back as a whole."""
    shown = _proposal(request, pk)
    if shown.batch is None:
        raise Http404
    try:
        undo_batch(shown.batch, by=reader(request), note=request.POST.get("note", "")[:500])
    except REFUSALS as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("The change is taken back: every member is with whom it was before."))
    return redirect("proposal", pk)
