"""Why an attribution says what it says, and why a ticket is not somebody's.

In a list one sentence: "Member of 李娜, 王伟 served: 70% to 李娜, 30% to 王伟." It reads the frozen row only, so it
stays true when a binding or a plan changes later. On the ticket one for each party: "李娜: 4.20, 70% of 6.00. The
member is bound to 李娜 since 2026-03-01 by enrolment." "王伟: 1.80, the rest. 王伟 served."
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from commission.corrections import standing
from commission.models import Attribution, PlanChange, Sale
from commission.money import WHOLE_BP, format_bp
from commission.templatetags.money import money_text
from portfolios.models import Binding, Clerk, Member, Month, User
from portfolios.sentences import joined

Kind = Attribution.Kind


def clerk_rows(clerk: Clerk, month: Month) -> QuerySet[Attribution]:
    """The rows of a month in which the clerk has a part, the latest sale first.

    Annotates `own_credit_amount` and `own_commission_amount`, in minor units: what they bring the clerk, as owner and
    as server.
    """
    rows = Attribution.objects.filter(Q(owner=clerk) | Q(server=clerk), month=month)
    return rows.annotate(
        own_credit_amount=_own(clerk, "credit"), own_commission_amount=_own(clerk, "commission")
    ).order_by("-business_date", "-pk")


def _own(clerk: Clerk, what: str) -> Combinable:
    return Case(When(owner=clerk, then=F(f"owner_{what}_amount")), default=Value(0)) + Case(
        When(server=clerk, then=F(f"server_{what}_amount")), default=Value(0)
    )


def with_parties(rows: QuerySet[Attribution]) -> QuerySet[Attribution]:
    """The rows with all that `explain` and a list of them read, in one query."""
    return rows.select_related("part__sale", "part__original", "store", "owner", "server", "member", "plan", "month")


def role(row: Attribution, clerk: Clerk) -> tuple[str, str]:
    """What a row is to a clerk who has a part in it: the mark that charts give it, and its name."""
    if row.kind == Kind.OWN_SERVED:
        return "own-served", _("Own member, served")
    if row.kind == Kind.SPLIT and row.owner_id == clerk.pk:
        return "own-absent", _("Own member, served by another")
    if row.kind == Kind.SPLIT:
        return "covered", _("Covered for another clerk")
    return "others", _("Walk-in") if row.kind == Kind.WALK_IN else _("Member without an owner")


def entry(row: Attribution, clerk: Clerk, amount: int | None = None) -> dict[str, Any]:
    """A line in a list of a clerk's tickets: the row of `clerk_rows`, what it is to the clerk, and why.

    `amount` (minor units) is what it brings where that is not all that the row brings the clerk.
    """
    mark, name = role(row, clerk)
    own = getattr(row, "own_commission_amount", 0) if amount is None else amount
    why = explain(row)
    if row.excluded_amount and not row.commissionable_amount:
        why = joined(why, _("Excluded categories alone, which earn no commission."))
    return {"row": row, "mark": mark, "name": name, "amount": own, "why": why}


def explain(row: Attribution) -> str:
    """Who gets what of the row, and why, as a sentence in the active language."""
    sentence = _("%(whose)s, %(served)s: %(shares)s.") % {
        "whose": _whose(row),
        "served": _("%(name)s served") % {"name": row.server.name} if row.server else _("no clerk served"),
        "shares": pgettext("between the shares of a ticket", ", ").join(_shares(row)),
    }
    return f"{_occasion(row)}{sentence}"


def _whose(row: Attribution) -> str:
    if row.owner:
        return _("Member of %(name)s") % {"name": row.owner.name}
    return _("No member") if row.kind == Kind.WALK_IN else _("Member without an owner")


def _occasion(row: Attribution) -> str:
    """What the row is where it is no plain sale of its own month."""
    if row.reverses:
        return _("Takes back what was booked before: ")
    if row.reason == Attribution.Reason.CORRECTION:
        return _("Corrected: ")
    if row.reason == Attribution.Reason.RETURN:
        return _("Return, shared as the sale was: ")
    if row.reason == Attribution.Reason.LATE:
        return _("Late, its own month was closed: ")
    return ""


def _shares(row: Attribution) -> Iterable[str]:
    house = _("the store")
    if row.kind == Kind.OWN_SERVED:
        parties = [(WHOLE_BP, _name(row.owner, house)), (0, house)]
    elif row.kind == Kind.SPLIT:
        parties = [(row.share_bp, _name(row.owner, house)), (WHOLE_BP - row.share_bp, _name(row.server, house))]
    elif row.server is None:
        parties = [(WHOLE_BP, house)]
    elif row.kind == Kind.UNOWNED:
        parties = [(WHOLE_BP - row.share_bp, row.server.name), (row.share_bp, house)]
    else:
        parties = [(row.share_bp, row.server.name), (WHOLE_BP - row.share_bp, house)]
    for share_bp, name in parties:
        if share_bp:
            yield _("%(share)s%% to %(name)s") % {"share": format_bp(share_bp), "name": name}


def _name(clerk: Clerk | None, otherwise: str) -> str:
    return clerk.name if clerk else otherwise


# --- For each party ----------------------------------------------------------------------------------------------


class Grounds:
    """What the explanations of some rows are read from: the bindings by which their owners own, in one query; and, of
    those that are corrected, the changes of plans that corrected them."""

    def __init__(self, rows: Collection[Attribution]) -> None:
        members = {member for row in rows if (member := _shared_as(row)[0]) and row.owner_id}
        changes = PlanChange.objects.filter(booking__in={row.booking_id for row in rows}).select_related("plan")
        self.plan_changes = {change.booking_id: change for change in changes}
        self.bindings: dict[tuple[int, int], list[Binding]] = defaultdict(list)
        found = Binding.objects.filter(member__in=members).select_related("batch__recorded_by__clerk")
        for binding in found.order_by("pk"):
            self.bindings[binding.member_id, binding.clerk_id].append(binding)

    def binding(self, row: Attribution) -> Binding | None:
        """By which the row's owner owned the member on the day that counts; for a row taken back, as it was then."""
        member, on = _shared_as(row)
        if member is None or row.owner_id is None:
            return None
        # One that was voided or ended earlier afterwards gives way to one that still covers the day.
        covering = [
            ((one.voided_by_id is None and one.valid_to > on, one.pk), one)
            for one in self.bindings[member, row.owner_id]
            if one.valid_from <= on < max(one.valid_to, one.former_valid_to or one.valid_to)
        ]
        return max(covering, key=lambda one: one[0])[1] if covering else None


def _shared_as(row: Attribution) -> tuple[int | None, dt.date]:
    """The member and the day by which the owner was found: a return's are its original's."""
    part = row.part.original or row.part
    return part.member_id, part.business_date


def sentences(row: Attribution, grounds: Grounds) -> list[str]:
    """Who gets how much of the row's commission, by which fact and which rule: a sentence for each party."""
    told = []
    share: str | None
    if row.owner:
        share = format_bp(WHOLE_BP if row.kind == Kind.OWN_SERVED else row.share_bp)
        told.append(joined(_amount(row.owner.name, row.owner_commission_amount, row, share), _bound(row, grounds)))
    if row.server and row.kind != Kind.OWN_SERVED:
        share = {Kind.WALK_IN.value: format_bp(row.share_bp)}.get(row.kind)
        if row.kind == Kind.UNOWNED and not row.share_bp:
            share = format_bp(WHOLE_BP)
        told.append(joined(_amount(row.server.name, row.server_commission_amount, row, share), _served(row)))
    if row.house_credit_amount or row.house_commission_amount:
        share = format_bp(row.share_bp) if row.kind == Kind.UNOWNED and row.server else None
        told.append(joined(_amount(_("The store"), row.house_commission_amount, row, share), _kept(row)))
    return [*told, _rule(row), *_change_of_plans(row, grounds)]


def _amount(name: str, amount: int, row: Attribution, share: str | None) -> str:
    figures = {"name": name, "amount": money_text(amount), "commission": money_text(row.commission_amount)}
    if row.part.original_id:
        # What is left after the return less what was there before it: no share of the row's own commission.
        return _("%(name)s: %(amount)s.") % figures
    if share is None:
        return _("%(name)s: %(amount)s, the rest.") % figures
    return _("%(name)s: %(amount)s, %(share)s%% of %(commission)s.") % (figures | {"share": share})


def _bound(row: Attribution, grounds: Grounds) -> str:
    """Since when the owner owns the member, and by what."""
    told = ""
    if (binding := grounds.binding(row)) and row.owner:
        told = _("The member is bound to %(name)s since %(since)s by %(reason)s.") % {
            "name": row.owner.name,
            "since": binding.valid_from,
            "reason": binding.get_reason_display(),
        }
    if row.kind == Kind.OWN_SERVED and row.owner:
        told = joined(told, _("%(name)s served.") % {"name": row.owner.name})
    return told


def _served(row: Attribution) -> str:
    names = {"name": row.server.name if row.server else "", "day": _shared_as(row)[1]}
    if row.kind == Kind.SPLIT:
        return _("%(name)s served.") % names
    if row.kind == Kind.UNOWNED:
        return _("%(name)s served, and nobody owned the member on %(day)s.") % names
    return _("%(name)s served, and the sale has no member.") % names


def _kept(row: Attribution) -> str:
    return "" if row.server else _("No clerk is named as the server.")


def _rule(row: Attribution) -> str:
    """The plan and what it says of this kind of sale."""
    shares = {
        Kind.OWN_SERVED.value: _("who owns the member and serves gets the whole"),
        Kind.SPLIT.value: _("owner and server %(owner)s/%(server)s")
        % {"owner": format_bp(row.share_bp), "server": format_bp(WHOLE_BP - row.share_bp)},
        Kind.UNOWNED.value: _("the store keeps %(share)s%% of an unowned member's sale")
        % {"share": format_bp(row.share_bp)},
        Kind.WALK_IN.value: _("the server gets %(share)s%% of a sale without a member")
        % {"share": format_bp(row.share_bp)},
    }
    told = _("Plan %(plan)s: %(rule)s.") % {"plan": row.plan, "rule": shares[row.kind]}
    original = row.part.original
    if original:
        told = joined(told, _("A return is shared as its sale of %(day)s was.") % {"day": original.business_date})
    return told


def _change_of_plans(row: Attribution, grounds: Grounds) -> Iterable[str]:
    """Why a row was taken back, or booked anew, where that is for a change of plans."""
    if change := grounds.plan_changes.get(row.booking_id):
        figures = {"plan": change.plan, "day": change.plan.valid_from, "note": change.note}
        yield _("Since plan %(plan)s is in force from %(day)s on: %(note)s") % figures


# --- Why it is not mine ------------------------------------------------------------------------------------------


def why_not(sale: Sale, clerk: Clerk) -> list[str]:
    """Why a clerk has no part in a ticket: whose the member was and since when, and which plan; no amounts, no member.

    It tells nothing else of the ticket, so it may be shown to whoever worked in the store on that day.
    """
    rows = list(with_parties(standing().filter(part__sale=sale)).order_by("part__number", "pk"))
    grounds = Grounds(rows)
    told = [_("Ticket %(ticket)s is on record.") % {"ticket": sale.ticket_no}]
    told += dict.fromkeys(_whose_on_the_day(row, grounds) for row in rows)
    if not rows:
        told.append(_("It is a return that waits for its sale: nobody is credited yet."))
    if clerk.pk not in {row.server_id for row in rows}:
        told.append(_("You are not named as the server on any of its lines."))
    told += dict.fromkeys(_rule(row) for row in rows)
    return told


def _whose_on_the_day(row: Attribution, grounds: Grounds) -> str:
    if row.kind == Kind.WALK_IN:
        return _("It has no member card: a sale without a member is credited to its server.")
    day = _shared_as(row)[1]
    if row.owner is None:
        return _("Its member had no owner on %(day)s: the sale is credited to its server.") % {"day": day}
    binding = grounds.binding(row)
    if binding is None:
        return _("Its member was %(name)s's on %(day)s.") % {"name": row.owner.name, "day": day}
    return _("Its member was %(name)s's on %(day)s: bound since %(since)s by %(reason)s, recorded by %(who)s.") % {
        "name": row.owner.name,
        "day": day,
        "since": binding.valid_from,
        "reason": binding.get_reason_display(),
        "who": person(binding.batch.recorded_by) or binding.batch.origin,
    }


def person(user: User | None) -> str:
    """A login's person as colleagues know them: the clerk's name, else the full name, else the login."""
    if user is None:
        return ""
    return user.clerk.name if user.clerk else user.get_full_name() or user.get_username()


def returned_sales(sale: Sale, user: User) -> QuerySet[Sale]:
    """The tickets of which lines came back with this one, so far as the user may see them."""
    originals = sale.parts.exclude(original=None).values("original__sale")
    return Sale.objects.for_user(user).filter(pk__in=originals)


def ticket_members(sale: Sale) -> list[Member]:
    """The members whose purchase a ticket is: the one on it, or those that a correction gave its parts."""
    parts = list(sale.parts.select_related("member"))
    if any(part.correction_id for part in parts):
        return list({part.member_id: part.member for part in parts if part.member}.values())
    return [sale.member] if sale.member else []
