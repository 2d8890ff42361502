"""One page of members in an order, out of a million: walked along an index, counted only as far as it matters.

Where the order is by what was bought, members without it come last, in either direction. More members than COUNTED are
not counted out for the whole chain: the page says "more than 10,000".
"""

import datetime as dt
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from kpis.models import MemberFigures
from portfolios.models import Binding, Member
from portfolios.ownership import owners_on

PER_PAGE = 50
COUNTED = 10_000
# By name: the field and, for what not every member has, the condition of having it.
ORDERS: dict[str, tuple[str, Q | None]] = {
    "card": ("member_no", None),
    "name": ("name", None),
    "bought": ("figures__last_purchase_on", Q(figures__last_purchase_on__isnull=False)),
    "spend": ("figures__spend_amount", Q(figures__isnull=False)),
}
# Who spends most comes first.
FIRST_ORDER = "-spend"


@dataclass(frozen=True)
class MemberRow:
    """A member with what the table shows; `figures` and `owner` are None where there are none."""

    member: Member
    figures: MemberFigures | None
    owner: Binding | None
    at_risk: bool


@dataclass(frozen=True)
class MemberPage:
    """`count` is None where there are more than COUNTED."""

    rows: list[MemberRow]
    number: int
    count: int | None
    has_next: bool

    @property
    def back(self) -> str:
        return _("Previous")

    @property
    def forth(self) -> str:
        return _("Next")

    @property
    def has_previous(self) -> bool:
        return self.number > 1

    @property
    def has_other_pages(self) -> bool:
        return self.has_previous or self.has_next

    @property
    def previous_page_number(self) -> int:
        return self.number - 1

    @property
    def next_page_number(self) -> int:
        return self.number + 1


def known_order(text: str) -> str:
    """The order that an address names, "-spend" or "name"; the first one for any other text."""
    return text if text.removeprefix("-") in ORDERS else FIRST_ORDER


def page_number(text: str) -> int:
    """The page that an address names; the first one for any other text."""
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def member_page(
    members: QuerySet[Member], *, order: str, number: int, on: dt.date, as_of: dt.date | None, exact: bool
) -> MemberPage:
    """A page of the members in an order of ORDERS ("-" before it: the other way round), with owners on a date.

    `exact` counts however many there are; a store's are few enough.
    """
    start = (number - 1) * PER_PAGE
    keys = keys_in_order(members, order, start, PER_PAGE + 1)
    count = _count(members, exact)
    shown = keys[:PER_PAGE]
    known = members.model._default_manager.select_related("store", "figures").in_bulk(shown)
    owners = owners_on(shown, on)
    rows = []
    for key in shown:
        figures = getattr(known[key], "figures", None)
        risk = figures.at_risk_on if figures else None
        rows.append(MemberRow(known[key], figures, owners.get(key), bool(risk and as_of and risk <= as_of)))
    return MemberPage(rows, number, count, len(keys) > PER_PAGE)


def keys_in_order(members: QuerySet[Member], order: str, start: int, length: int) -> list[int]:
    """The primary keys of some members in an order, `length` of them from the place `start` on."""
    sign = "-" if order.startswith("-") else ""
    by, having = ORDERS[order.removeprefix("-")]
    if having is None:
        return list(members.order_by(f"{sign}{by}", f"{sign}pk").values_list("pk", flat=True)[start : start + length])
    # An inner join with the figures, so that the database walks their index; then those that have none.
    ranked = members.filter(having).order_by(f"{sign}{by}", f"{sign}figures__member_id").values_list("pk", flat=True)
    keys = list(ranked[start : start + length])
    if len(keys) < length:
        before = start + len(keys) if keys else ranked.count()
        rest = members.exclude(having).order_by("pk").values_list("pk", flat=True)
        first = max(0, start - before)
        keys += rest[first : first + length - len(keys)]
    return keys


def _count(members: QuerySet[Member], exact: bool) -> int | None:
    found = members.order_by()
    if exact:
        return found.count()
    counted = found[: COUNTED + 1].count()
    return counted if counted <= COUNTED else None
