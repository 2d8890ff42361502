"""Why an attribution says what it says: one sentence with who owned, who served, and each one's share.

"Member of 李娜, 王伟 served: 70% to 李娜, 30% to 王伟." It reads the frozen row only, so it stays true when a binding
or a plan changes later.
"""

from collections.abc import Iterable
from typing import Any

from django.db.models import Case, F, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from commission.models import Attribution
from commission.money import WHOLE_BP, format_bp
from portfolios.models import Clerk, Month

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
    return rows.select_related("part__sale", "store", "owner", "server", "member", "plan", "month")


def role(row: Attribution, clerk: Clerk) -> tuple[str, str]:
    """What a row is to a clerk who has a part in it: the mark that charts give it, and its name."""
    if row.kind == Kind.OWN_SERVED:
        return "own-served", _("Own member, served")
    if row.kind == Kind.SPLIT and row.owner_id == clerk.pk:
        return "own-absent", _("Own member, served by another")
    if row.kind == Kind.SPLIT:
        return "covered", _("Covered for another clerk")
    return "others", _("Walk-in") if row.kind == Kind.WALK_IN else _("Member without an owner")


def entry(row: Attribution, clerk: Clerk) -> dict[str, Any]:
    """A line in a list of a clerk's tickets: the row of `clerk_rows`, what it is to the clerk, and why."""
    mark, name = role(row, clerk)
    return {"row": row, "mark": mark, "name": name, "why": explain(row)}


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
