"""Home by role, and what the pages of every app share: the switch of months."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.views import PasswordChangeView
from django.contrib.messages.views import SuccessMessageMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_GET

from portfolios.models import Month, User
from portfolios.months import first_open_month

__all__ = ["ChangePassword", "Choice", "current_month", "home", "month_choices", "reader"]


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
