"""Home by role, the enrolment of a member, and what the pages of every app share: the switch of months."""

import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import PasswordChangeView
from django.contrib.messages.views import SuccessMessageMixin
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_GET, require_http_methods
from django.views.defaults import server_error

from portfolios.enrolment import SOURCE, EnrolmentRefused, find_by_phone, home_store, phone_number
from portfolios.enrolment import enrol as enrol_member
from portfolios.forms import EnrolmentForm
from portfolios.models import Member, Month, User
from portfolios.months import first_open_month
from portfolios.sentences import joined

__all__ = [
    "ChangePassword", "Choice", "current_month", "enrol", "enrolled", "fault", "home", "month_choices", "reader",
]  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One line of a switch."""

    url: str
    text: str
    note: str
    current: bool


def month_choices(current: Month | None, url: Callable[[Month], str]) -> list[Choice]:
    """Every month, newest first, each with the address of the same page for it."""
    return [
        Choice(
            url(month),
            month.name,
            pgettext("month", "closed") if month.is_closed else pgettext("month", "open"),
            month == current,
        )
        for month in Month.objects.order_by("-pk")
    ]


def reader(request: HttpRequest) -> User:
    """Whoever asks for a page: the middleware lets nobody in without a login."""
    assert isinstance(request.user, User)
    return request.user


def current_month() -> Month | None:
    """The month that work is in: the first open one, or the last where all are closed; None before any ticket."""
    return first_open_month() or Month.objects.order_by("pk").last()


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The page that a person's work begins with."""
    user = reader(request)
    if user.office:
        return redirect("months")
    if user.managed_store_ids():
        return redirect("stores")
    if user.clerk_id:
        return redirect("my_month")
    return render(request, "portfolios/no_role.html")


class ChangePassword(SuccessMessageMixin, PasswordChangeView):
    success_url = reverse_lazy("home")
    success_message = gettext_lazy("Your password is changed.")


@require_http_methods(["GET", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    """A clerk enrols a member in two steps: the phone, then who it is and consent."""
    user = reader(request)
    if user.clerk is None:
        raise Http404
    today = timezone.localdate()
    context: dict[str, Any] = {"here": "my_month", "store": home_store(user.clerk, today), "form": EnrolmentForm()}
    if request.method == "POST":
        # Whatever is shown again is a new form: the one sent may have enrolled somebody by now.
        sent = request.POST.copy()
        form = context["form"] = EnrolmentForm(sent)
        try:
            if form.is_valid():
                asked = form.cleaned_data
                phone = context["phone"] = phone_number(asked["phone"])
                if "enrol" in request.POST:
                    del asked["phone"]
                    member = enrol_member(phone=phone, on=today, recorded_by=user, **asked)
                    return redirect("enrolled", member.member_no)
                context["form"] = EnrolmentForm(initial={"phone": phone})
        except EnrolmentRefused as refusal:
            form.add_error(refusal.field or None, str(refusal))
        sent["form_token"] = str(uuid.uuid4())
        context["cards"] = find_by_phone(context["phone"], on=today) if "phone" in context else []
    return render(request, "portfolios/enrol.html", context)


@require_GET
def enrolled(request: HttpRequest, member_no: str) -> HttpResponse:
    """The card that one has just enrolled."""
    made = Member.objects.filter(bindings__batch__recorded_by=reader(request), bindings__batch__source=SOURCE)
    member = get_object_or_404(made.distinct(), member_no=member_no)
    return render(request, "portfolios/enrolled.html", {"here": "my_month", "member": member})


def fault(request: HttpRequest) -> HttpResponse:
    """What a page says that failed: that the books are busy, where another writer held SQLite for too long."""
    error = sys.exception()
    if not (isinstance(error, OperationalError) and "database is locked" in str(error)):
        return server_error(request)
    response = render(request, "503.html", status=503)
    response["Retry-After"] = "10"
    if request.headers.get("HX-Request"):
        # A part of a page has no room for a whole one: the page shows itself again, with the message.
        messages.error(request, joined(_("The books are busy."), _("Nothing was saved."), _("Try again in a moment.")))
        response["HX-Refresh"] = "true"
    return response
