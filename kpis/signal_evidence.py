"""What stands behind a signal: its members, tickets or bindings, as many as its figure says.

A reader is led on to a member or ticket only where the access rules allow it; what one may not open is still listed,
by its number, so that the list is as long as the figure.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _

from commission.models import Sale, SalePart
from commission.templatetags.money import money_text
from kpis.models import Signal
from portfolios.models import Binding, Member, User

Kind = Signal.Kind
OF_MEMBERS = (Kind.LARGE_FIRST, Kind.SAME_PHONE, Kind.NEIGHBOURHOOD, Kind.NOT_AGAIN)


@dataclass(frozen=True)
class Evidence:
    """One line: a card or ticket number, where it leads if anywhere, its date, and what more there is to say.

    `amount` in minor units, of tickets only.
    """

    number: str
    address: str
    name: str
    on: dt.date
    what: str
    amount: int | None = None


def evidence(signal: Signal, user: User, keys: Sequence[int]) -> list[Evidence]:
    """The lines of these keys of the signal's evidence, in their order."""
    if signal.kind in OF_MEMBERS:
        lines = _members(signal, user, keys)
    elif signal.kind == Kind.AFTER_INCOME:
        lines = _bindings(user, keys)
    elif signal.kind == Kind.OWN_NAME:
        lines = _tickets(user, {sale: sale for sale in keys})
    else:
        parts = SalePart.objects.filter(pk__in=keys)
        lines = _tickets(user, dict(parts.values_list("pk", "sale")), parts=True)
    return [lines[key] for key in keys]


def _open(user: User, members: Sequence[int]) -> set[int]:
    may_see = Member.objects.for_user(user, timezone.localdate())
    return set(may_see.filter(pk__in=members).values_list("pk", flat=True))


def _members(signal: Signal, user: User, keys: Sequence[int]) -> dict[int, Evidence]:
    members = Member.objects.filter(pk__in=keys).select_related("store")
    seen, what = _open(user, keys), {member.pk: member.store.name for member in members}
    if signal.kind == Kind.SAME_PHONE:
        what = _earlier_cards(list(members))
    elif signal.kind == Kind.LARGE_FIRST:
        what = _largest_tickets(user, keys)
    elif signal.kind == Kind.NEIGHBOURHOOD:
        what = {member.pk: member.neighbourhood for member in members}
    return {member.pk: _of_member(member, member.pk in seen, member.enrolled_on, what[member.pk]) for member in members}


def _of_member(member: Member, seen: bool, on: dt.date, what: str) -> Evidence:
    address = reverse("member", args=[member.member_no]) if seen else ""
    return Evidence(member.member_no, address, member.name if seen else "", on, what)


def _largest_tickets(user: User, keys: Sequence[int]) -> dict[int, str]:
    """Of each member, the largest ticket of the day of enrolment; with its amount, and leading to it, for who may see
    the ticket."""
    may_see = Sale.objects.for_user(user).filter(pk=OuterRef("pk"))
    sales = (
        Sale.objects.filter(member__in=keys, business_date=F("member__enrolled_on"))
        .annotate(net=Sum(F("parts__commissionable_amount") + F("parts__excluded_amount")), seen=Exists(may_see))
        .order_by("net", "pk")
    )
    said = dict.fromkeys(keys, "")
    for sale in sales:
        at = date_format(timezone.localtime(sale.sold_at), "H:i")
        said[sale.member_id or 0] = (
            format_html(
                '{} · <a href="{}">{}</a> · {}',
                at,
                reverse("ticket", args=[sale.pk]),
                sale.ticket_no,
                money_text(sale.net),
            )
            if sale.seen
            else f"{at} · {sale.ticket_no}"
        )
    return said


def _earlier_cards(members: list[Member]) -> dict[int, str]:
    """Of each card, where and when the latest earlier one with its phone was enrolled."""
    twins = Member.objects.filter(phone__in={member.phone for member in members}).select_related("store")
    known = sorted(twins, key=lambda card: (card.enrolled_on, card.pk))
    said = {}
    for member in members:
        mine = (member.enrolled_on, member.pk)
        before = [card for card in known if card.phone == member.phone and (card.enrolled_on, card.pk) < mine]
        said[member.pk] = (
            _("same phone as a card of %(store)s, enrolled on %(day)s")
            % {"store": before[-1].store.name, "day": before[-1].enrolled_on}
            if before
            else ""
        )
    return said


def _bindings(user: User, keys: Sequence[int]) -> dict[int, Evidence]:
    bindings = list(Binding.objects.filter(pk__in=keys).select_related("member", "batch__recorded_by__clerk"))
    seen = _open(user, [binding.member_id for binding in bindings])
    lines = {}
    for binding in bindings:
        by = binding.batch.recorded_by
        what = _("recorded on %(when)s by %(who)s") % {
            "when": date_format(timezone.localtime(binding.batch.recorded_at), "Y-m-d H:i"),
            "who": (by.clerk.name if by and by.clerk else by) or "",
        }
        lines[binding.pk] = _of_member(binding.member, binding.member_id in seen, binding.valid_from, what)
    return lines


def _tickets(user: User, sale_of: dict[int, int], *, parts: bool = False) -> dict[int, Evidence]:
    """Tickets by the key that names them, with the amount of the ticket, or (`parts`) of the part."""
    sales = Sale.objects.filter(pk__in=set(sale_of.values())).select_related("store")
    seen = set(Sale.objects.for_user(user).filter(pk__in=sales.values("pk")).values_list("pk", flat=True))
    by_key = {sale.pk: sale for sale in sales}
    paid = SalePart.objects.filter(**({"pk__in": list(sale_of)} if parts else {"sale__in": list(sale_of)}))
    sums = paid.values("pk" if parts else "sale").annotate(net=Sum(F("commissionable_amount") + F("excluded_amount")))
    amounts = dict(sums.order_by().values_list("pk" if parts else "sale", "net"))
    lines = {}
    for key, sale_id in sale_of.items():
        sale = by_key[sale_id]
        at = date_format(timezone.localtime(sale.sold_at), "H:i")
        lines[key] = Evidence(
            number=sale.ticket_no,
            address=reverse("ticket", args=[sale.pk]) if sale.pk in seen else "",
            name="",
            on=sale.business_date,
            what=f"{at} · {sale.store.name}",
            amount=amounts.get(key) if sale.pk in seen else None,
        )
    return lines
