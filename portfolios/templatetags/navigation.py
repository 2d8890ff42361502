"""The places that a person can go to: a sidebar on a desktop, tabs at the bottom on a phone."""

from dataclasses import dataclass
from typing import Any

from django import template
from django.urls import reverse
from django.utils.translation import gettext as _

from portfolios.models import User

register = template.Library()


@dataclass(frozen=True)
class Place:
    url: str
    label: str
    icon: str
    current: bool


@register.inclusion_tag("pieces/places.html", takes_context=True)
def navigation(context: dict[str, Any]) -> dict[str, Any]:
    """The places of whoever asks; `here` in the page's context names the one that the page belongs to."""
    user, here = context.get("user"), context.get("here")
    if not isinstance(user, User):
        return {"places": []}
    manages = bool(user.managed_store_ids())
    places = []
    if user.office:
        places.append(("months", _("Months"), "months"))
    if user.office or manages:
        places.append(("stores", _("Stores") if user.office else _("Store"), "store"))
    if user.clerk_id:
        places.append(("my_month", _("My month") if user.office or manages else _("Home"), "home"))
    if user.is_hr or user.clerk_id:
        places.append(("members", _("Members"), "members"))
    if user.clerk_id:
        places.append(("my_tickets", _("Tickets"), "tickets"))
    if user.office or user.clerk_id:
        places.append(("payslips", _("Payslips"), "payslips"))
    if user.office:
        places.append(("plans", _("Plans"), "plans"))
        places.append(("scorecards", _("Scores"), "scorecards"))
        places.append(("roster", _("Roster"), "roster"))
    return {"places": [Place(reverse(name), label, icon, here == name) for name, label, icon in places]}
