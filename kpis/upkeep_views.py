"""Profile upkeep on a clerk's phone: whom to ask, and "is this still right?" at the point of service."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from commission.money import format_bp
from kpis.care_views import own_clerk
from kpis.upkeep import (
    PhoneTaken,
    Profile,
    ProfileError,
    confirm,
    correct,
    month_upkeep,
    profile_of,
    profiles,
    progress,
)
from kpis.upkeep_chart import ring
from portfolios.forms import PlainForm
from portfolios.models import Member, Month
from portfolios.months import month_number
from portfolios.phones import masked
from portfolios.views import reader

SHOWN = 10


class ProfileForm(PlainForm):
    """What is different; the rules are in `kpis.upkeep`, which says what is wrong."""

    phone = forms.CharField(
        label=gettext_lazy("New phone number"),
        max_length=40,
        required=False,
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off"}),
    )
    neighbourhood = forms.CharField(
        label=gettext_lazy("Neighbourhood"), required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    another_person = forms.BooleanField(
        label=gettext_lazy("I have asked: a different person has the same phone."), required=False
    )


@require_GET
def upkeep(request: HttpRequest) -> HttpResponse:
    """Whose profile to ask for: the member at the counter, or the stale ones first."""
    clerk, on = own_clerk(request), timezone.localdate()
    wanted = request.GET.get("q", "").strip()
    known = profiles(clerk, on)
    stale = [profile for profile in known if profile.stale]
    found = [profile for profile in known if _is(profile.member, wanted)] if wanted else stale
    done, month = progress(clerk, on), Month.objects.filter(pk=month_number(on)).first()
    own = month_upkeep(month, clerk=clerk) if month else []
    context = {
        "here": "my_month",
        "wanted": wanted,
        "rows": [_row(profile) for profile in found[:SHOWN]],
        "found": len(found),
        "more": max(0, len(found) - SHOWN),
        "stale": len(stale),
        "members": len(known),
        "progress": done,
        "ring": ring(done),
        "month": month,
        "upkeep": own[0] if own else None,
        "rate": format_bp(own[0].rate_bp) if own else "",
    }
    return render(request, "kpis/upkeep.html", context)


def _is(member: Member, wanted: str) -> bool:
    """Found as the members table finds: by the beginning of name or card, or the phone's last four digits."""
    return member.name.startswith(wanted) or member.member_no.startswith(wanted) or member.phone_tail == wanted


def _row(profile: Profile) -> dict[str, Any]:
    return {"profile": profile, "phone": masked(profile.member.phone)}


@require_http_methods(["GET", "POST"])
def upkeep_member(request: HttpRequest, member_no: str) -> HttpResponse:
    """One member's phone, masked, and neighbourhood: still right, or put right at once."""
    clerk, on = own_clerk(request), timezone.localdate()
    member = Member.objects.for_user(reader(request), on).filter(member_no=member_no).first()
    profile = profile_of(member, clerk, on) if member else None
    if profile is None:
        raise Http404
    member = profile.member
    form = ProfileForm(initial={"neighbourhood": member.neighbourhood})
    context: dict[str, Any] = {"here": "my_month", "member": member, "status": 200, "cards": []}
    if request.method == "POST":
        form = ProfileForm(request.POST)
        if form.is_valid():
            try:
                if "right" in request.POST:
                    confirm(member, by=reader(request), on=on)
                else:
                    correct(member, by=reader(request), on=on, **form.cleaned_data)
            except ProfileError as refusal:
                form.add_error(refusal.field or None, str(refusal))
                context["cards"] = refusal.cards if isinstance(refusal, PhoneTaken) else []
            else:
                done = progress(clerk, on)
                messages.success(
                    request,
                    _("%(member)s: thank you. Today %(done)d of %(due)d.")
                    % {"member": member.name or member.member_no, "done": done.done, "due": done.per_day},
                )
                return redirect("upkeep")
        context["status"] = 422
    context |= {
        **_row(profile_of(member, clerk, on) or profile),
        "form": form,
        "complete": bool(member.phone and member.neighbourhood),
        "wrong_number": profile.stale == "wrong_number",
    }
    return render(request, "kpis/upkeep_member.html", context, status=context["status"])
