"""Plans: what is in force where and since when, each plan readable, and HR's way to write, end and copy one.

Issuing one is long work: payroll_exports/plan_change_views.py.
"""

import datetime as dt
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.models import Plan, PlanChange
from commission.money import format_bp
from commission.plan_changes import (
    PlanRefused,
    change_terms,
    check_editable,
    compared_with,
    discard,
    end_plan,
    is_editable,
    withdraw,
)
from commission.plan_forms import EndPlanForm, PlanForm
from commission.plan_terms import PlanTerms, read, terms_of, write_terms
from commission.plans import lacking_rates
from commission.tables import in_currency
from commission.templatetags.money import currency
from portfolios.models import OPEN_END, Store, User
from portfolios.months import MonthError, first_open_day, month_days, month_number, next_number
from portfolios.views import reader

REFUSALS = (PlanRefused, MonthError)


def _here(user: User) -> str:
    if user.office:
        return "plans"
    return "stores" if user.managed_store_ids() else "my_tickets"


def _writer(request: HttpRequest) -> User:
    """HR alone writes plans; for everyone else such a page is not there."""
    user = reader(request)
    if not user.is_hr:
        raise Http404
    return user


@require_GET
def plans(request: HttpRequest) -> HttpResponse:
    """The plans that one may read, by scope: the chain's first, then the stores' that have their own."""
    user = reader(request)
    if not (user.office or user.clerk_id):
        raise Http404
    today = timezone.localdate()
    seen = Plan.objects.for_user(user).select_related("store").order_by("store__store_no", "-valid_from", "-pk")
    scopes: dict[Store | None, list[dict[str, Any]]] = {}
    for plan in seen:
        scopes.setdefault(plan.store, []).append(_entry(plan, today))
    stores = sorted((store for store in scopes if store), key=lambda store: store.store_no)
    chain = Plan.objects.issued().filter(store=None).order_by("valid_from").last()
    context = {
        "here": _here(user),
        "scopes": [(store, scopes[store]) for store in [None, *stores] if store in scopes],
        "uncovered_from": chain.valid_to if user.office and chain and chain.last_day else None,
        "may_write": user.is_hr,
    }
    return render(request, "commission/plans.html", context)


def _entry(plan: Plan, today: dt.date) -> dict[str, Any]:
    """A plan in a timeline."""
    told = _("Owner %(owner)s%%, server %(server)s%%") % {
        "owner": format_bp(plan.owner_share_bp),
        "server": format_bp(10_000 - plan.owner_share_bp),
    }
    return {
        "plan": plan,
        "current": plan.is_issued and plan.valid_from <= today < plan.valid_to,
        "ahead": plan.is_issued and plan.valid_from > today,
        "told": told,
    }


def _seen(request: HttpRequest, pk: int) -> Plan:
    return get_object_or_404(Plan.objects.for_user(request.user).select_related("store"), pk=pk)


@require_GET
def plan(request: HttpRequest, pk: int) -> HttpResponse:
    """What a plan says, in sentences and tables, and what differs from the plan before it."""
    user, shown = reader(request), _seen(request, pk)
    before = compared_with(shown)
    if before and not Plan.objects.for_user(user).filter(pk=before.pk).exists():
        before = None
    today = timezone.localdate()
    context = {
        "here": _here(user),
        "plan": shown,
        "before": before,
        "reading": read(terms_of(shown), terms_of(before) if before else None),
        "current": shown.is_issued and shown.valid_from <= today < shown.valid_to,
        "ahead": shown.is_issued and shown.valid_from > today,
        "currency": currency(),
        "changes": PlanChange.objects.for_user(user).filter(plan=shown, applied_at__isnull=False),
        "followed_by": PlanChange.objects.for_user(user).filter(replaces=shown, applied_at__isnull=False),
    }
    if user.is_hr:
        context |= {
            "may_write": True,
            "editable": is_editable(shown),
            "lacking": lacking_rates([shown]).get(shown.plan_no, []) if shown.is_draft else [],
            "end_form": EndPlanForm(initial={"last_day": shown.last_day}),
            "first_open": first_open_day(),
            "shown_last": shown.changes.first() if shown.is_draft else None,
        }
    return render(request, "commission/plan.html", context)


@require_http_methods(["GET", "POST"])
def new_plan(request: HttpRequest) -> HttpResponse:
    """A new draft, empty or from a copy of another plan."""
    user = _writer(request)
    copied = None
    initial: dict[str, Any] = {"valid_from": _next_month(timezone.localdate())}
    if (asked := request.GET.get("copy", "")).isdecimal():
        copied = get_object_or_404(Plan.objects.for_user(user), pk=int(asked))
        initial |= {"store": copied.store_id}
    initial |= PlanForm.filled_in(terms_of(copied) if copied else PlanTerms())
    form = PlanForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_valid():
        made = Plan(state=Plan.State.DRAFT)
        _save(form, made)
        messages.success(
            request, _("Plan %(plan)s is a draft: nothing is paid by it before it is issued.") % {"plan": made}
        )
        return redirect("plan", made.pk)
    return _form_page(request, form, copied=copied)


def _next_month(today: dt.date) -> dt.date:
    """The first day of the next month, or the first that is open."""
    starts_on, _ends_on = month_days(next_number(month_number(today)))
    return max(starts_on, first_open_day() or starts_on)


def _save(form: PlanForm, plan: Plan) -> None:
    with transaction.atomic():
        plan.plan_no, plan.store = form.cleaned_data["plan_no"], form.cleaned_data["store"]
        plan.valid_from, plan.valid_to = form.cleaned_data["valid_from"], form.valid_to
        plan.save()
        write_terms(plan, form.terms())


def _form_page(request: HttpRequest, form: PlanForm, **context: Any) -> HttpResponse:
    context |= {"here": "plans", "form": form, "amount_heading": in_currency(_("Amount"))}
    return render(request, "commission/plan_form.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def edit_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft, or the terms of an issued plan that no ticket has used."""
    _writer(request)
    shown = _seen(request, pk)
    try:
        check_editable(shown)
    except REFUSALS as refusal:
        messages.error(request, str(refusal))
        return redirect("plan", pk)
    last = None if shown.valid_to == OPEN_END else shown.valid_to - dt.timedelta(days=1)
    initial = {"plan_no": shown.plan_no, "store": shown.store_id, "valid_from": shown.valid_from, "last_day": last}
    initial |= PlanForm.filled_in(terms_of(shown))
    form = PlanForm(request.POST if request.method == "POST" else None, initial=initial, plan=shown)
    if form.is_valid():
        try:
            if shown.is_draft:
                _save(form, shown)
            else:
                change_terms(shown, form.terms())
        except REFUSALS as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("Plan %(plan)s is saved.") % {"plan": shown})
            return redirect("plan", pk)
    return _form_page(request, form, plan=shown)


def _done(request: HttpRequest, pk: int, act: Any, said: str) -> HttpResponse:
    """Does something to a plan, and says that it is done or why not."""
    _writer(request)
    shown = _seen(request, pk)
    try:
        act(shown)
    except REFUSALS as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, said % {"plan": shown})
    return redirect("plan", pk) if Plan.objects.filter(pk=pk).exists() else redirect("plans")


@require_POST
def discard_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Throws a draft away."""
    return _done(request, pk, discard, _("Draft %(plan)s is thrown away."))


@require_POST
def withdraw_plan(request: HttpRequest, pk: int) -> HttpResponse:
    """Makes an issued plan that no ticket has used a draft again."""
    return _done(request, pk, withdraw, _("Plan %(plan)s is a draft again; what it had ended goes on."))


@require_POST
def end_plan_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Sets the last day of an issued plan."""
    form = EndPlanForm(request.POST)
    if not form.is_valid():
        _writer(request)
        messages.error(request, _("Write the last day as 2026-10-31, or leave it empty."))
        return redirect("plan", _seen(request, pk).pk)
    last_day = form.cleaned_data["last_day"]
    said = _("Plan %(plan)s has its last day set.") if last_day else _("Plan %(plan)s has no last day now.")
    return _done(request, pk, lambda shown: end_plan(shown, last_day), said)
