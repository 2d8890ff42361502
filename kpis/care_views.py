"""Today's list of a clerk, logging a call in two taps, and the complaints that wait for their manager."""

import datetime as dt
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from kpis.care import CareError, close_complaint, complaints_to_close, log_contact
from kpis.care_list import Call, Why, care_list
from kpis.contact_results import calls_between
from kpis.models import CareContact
from kpis.upkeep import progress
from kpis.upkeep_chart import ring
from portfolios.forms import PlainForm
from portfolios.models import Clerk, Member, User
from portfolios.months import month_days, month_number
from portfolios.ownership import owners_on
from portfolios.sentences import joined
from portfolios.views import reader

# Of one group; the others come up as these are done.
CALLS_SHOWN = 20
CALLS_ON_HOME = 3
COMPLAINTS_PER_PAGE = 50
# Where a form leads back to, by its field "back"; to the member's page otherwise.
BACK = {"today": "today", "home": "my_month", "complaints": "complaints"}


class CareForm(PlainForm):
    """What the talk was about, and when to call again; the outcome is the button that sends it."""

    kind = forms.ChoiceField(
        label=gettext_lazy("About"),
        choices=CareContact.Kind.choices,
        initial=CareContact.Kind.FOLLOW_UP,
        widget=forms.RadioSelect,
    )
    outcome = forms.ChoiceField(choices=CareContact.Outcome.choices, widget=forms.HiddenInput, required=True)
    note = forms.CharField(label=gettext_lazy("Note"), max_length=500, required=False)
    next_on = forms.DateField(
        label=gettext_lazy("Call again on"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )


def may_log(user: User) -> bool:
    """Whoever sees the member may log a talk with it, but the auditor, who only looks."""
    return user.office != User.Office.AUDITOR


# --- Today -------------------------------------------------------------------------------------------------------


def glance(clerk: Clerk, today: dt.date) -> dict[str, Any]:
    """What a clerk's home shows of the day: how many to call and the first of them, and how far the profiles are."""
    found = care_list(clerk, today)
    first = [call for _why, calls in found.groups for call in calls][:CALLS_ON_HOME]
    done = progress(clerk, today)
    return {
        "calls": [_row(call, today) for call in first],
        "counts": [(why.label, count) for why, count in found.counts],
        "progress": done,
        "ring": ring(done),
        "outcomes": CareContact.Outcome.choices,
    }


@require_GET
def today(request: HttpRequest) -> HttpResponse:
    """Whom a clerk should talk to today, and why."""
    clerk, on = own_clerk(request), timezone.localdate()
    found, done = care_list(clerk, on), progress(clerk, on)
    calls = calls_between(month_days(month_number(on))[0], on, clerk=clerk)
    context = {
        "here": "my_month",
        "on": on,
        "groups": [_group(why, listed, on) for why, listed in found.groups],
        "calls": calls[0] if calls else None,
        "progress": done,
        "ring": ring(done),
        "outcomes": CareContact.Outcome.choices,
    }
    return render(request, "kpis/today.html", context)


def _group(why: Why, calls: list[Call], on: dt.date) -> dict[str, Any]:
    return {
        "label": why.label,
        "count": len(calls),
        "rows": [_row(call, on) for call in calls[:CALLS_SHOWN]],
        "more": max(0, len(calls) - CALLS_SHOWN),
    }


def _row(call: Call, on: dt.date) -> dict[str, Any]:
    return {
        "call": call,
        "sentences": call.sentences(on),
        # Each with its own ids: there are several forms on the page.
        "form": CareForm(auto_id=f"call-{call.member.pk}-%s"),
    }


def own_clerk(request: HttpRequest) -> Clerk:
    """The clerk whose login this is; to anybody else the page is not there."""
    clerk = reader(request).clerk
    if clerk is None:
        raise Http404
    return clerk


# --- The log -----------------------------------------------------------------------------------------------------


@require_POST
def member_care(request: HttpRequest, member_no: str) -> HttpResponse:
    """Keeps a call with a member in the care log."""
    user, on = reader(request), timezone.localdate()
    member = get_object_or_404(Member.objects.for_user(user, on), member_no=member_no)
    form = CareForm(request.POST)
    if form.is_valid():
        try:
            log_contact(
                member,
                kind=CareContact.Kind(form.cleaned_data["kind"]),
                outcome=CareContact.Outcome(form.cleaned_data["outcome"]),
                by=user,
                on=on,
                note=form.cleaned_data["note"],
                next_on=form.cleaned_data["next_on"],
            )
        except CareError as refused:
            messages.error(request, str(refused))
        else:
            messages.success(
                request, _("%(member)s: the call is in the care log.") % {"member": member.name or member.member_no}
            )
    else:
        messages.error(request, joined(*(error for errors in form.errors.values() for error in errors)))
    return _back(request, member)


def _back(request: HttpRequest, member: Member) -> HttpResponse:
    page = BACK.get(request.POST.get("back", ""))
    return redirect(page) if page else redirect("member", member.member_no)


# --- Complaints --------------------------------------------------------------------------------------------------


@require_GET
def complaints(request: HttpRequest) -> HttpResponse:
    """The complaints that one may close, the oldest first."""
    user, on = reader(request), timezone.localdate()
    if not (user.is_hr or user.managed_store_ids()):
        raise Http404
    waiting = complaints_to_close(user).select_related("member__store", "recorded_by__clerk")
    page = Paginator(waiting, COMPLAINTS_PER_PAGE).get_page(request.GET.get("page"))
    owners = owners_on([contact.member_id for contact in page.object_list], on)
    context = {
        "here": "stores",
        "page": page,
        "rows": [
            {"contact": contact, "days": (on - contact.on).days, "owner": owners.get(contact.member_id)}
            for contact in page.object_list
        ],
    }
    return render(request, "kpis/complaints.html", context)


@require_POST
def complaint_close(request: HttpRequest, pk: int) -> HttpResponse:
    """Closes a complaint."""
    user = reader(request)
    seen = Member.objects.for_user(user, timezone.localdate())
    contact = get_object_or_404(CareContact.objects.select_related("member"), pk=pk, member__in=seen.values("pk"))
    try:
        close_complaint(contact, by=user)
    except CareError as refused:
        messages.error(request, str(refused))
    else:
        member = contact.member
        messages.success(
            request, _("%(member)s: the complaint is closed.") % {"member": member.name or member.member_no}
        )
    return _back(request, contact.member)
