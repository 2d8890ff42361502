"""Logging a call with a member, from the member's page, and closing a complaint."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from kpis.care import CareError, close_complaint, log_contact
from kpis.models import CareContact
from portfolios.models import Member, User
from portfolios.views import reader


class CareForm(forms.Form):
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


@require_POST
def member_care(request: HttpRequest, member_no: str) -> HttpResponse:
    """Keeps a call with a member in the care log."""
    user, today = reader(request), timezone.localdate()
    member = get_object_or_404(Member.objects.for_user(user, today), member_no=member_no)
    form = CareForm(request.POST)
    if form.is_valid():
        try:
            log_contact(
                member,
                kind=CareContact.Kind(form.cleaned_data["kind"]),
                outcome=CareContact.Outcome(form.cleaned_data["outcome"]),
                by=user,
                on=today,
                note=form.cleaned_data["note"],
                next_on=form.cleaned_data["next_on"],
            )
        except CareError as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, _("It is in the care log."))
    else:
        messages.error(request, " ".join(str(error) for errors in form.errors.values() for error in errors))
    return redirect("member", member_no)


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
    return redirect("member", contact.member.member_no)
