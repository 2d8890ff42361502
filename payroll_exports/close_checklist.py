"""What stands in the way of closing a month, and what is worth knowing before it closes.

Two return lines wait for their ticket, and 14 members have no owner: the first stands in the way, the second does not.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.inquiries import waiting_inquiries
from commission.models import Attribution, SaleLine, SalePart
from commission.templatetags.money import currency, money_text
from commission.ticket_corrections import waiting_corrections
from payroll_exports.adjustments import waiting_adjustments
from payroll_exports.leavers_debts import leavers_debts
from payroll_exports.models import PayRun
from payroll_exports.since_draft import booked_since, booked_since_text
from portfolios.models import Member, Month

_EXAMPLES = 5


class CloseRefused(ValueError):
    """A month that cannot be closed; the message says what stands in the way and what to do."""


@dataclass(frozen=True)
class CloseCheck:
    """Something to settle before a month closes (`blocks`), or to know of; with a few examples.

    `address` is the page with all of them, where a page shows the checklist.
    """

    code: str
    blocks: bool
    count: int
    message: str
    examples: list[str]
    address: str = ""


def close_checklist(month: Month, today: dt.date | None = None, *, every_ticket: bool = True) -> list[CloseCheck]:
    """What stands in the way of closing the month, then what is worth knowing; empty when all is well.

    Without `every_ticket` the one point that reads all tickets is left out: whether each is attributed.
    """
    if month.is_closed:
        return []
    checks = [_earlier_months(month), _unmatched_returns(month)]
    if every_ticket:
        checks.append(_unattributed_parts(month))
    checks += [_not_over(month, today or timezone.localdate()), _members_without_owner(month)]
    checks += [_waiting_corrections(month), _waiting_inquiries(month), _waiting_adjustments(month)]
    checks += [_leavers_debts(month), _booked_since_draft(month)]
    return [check for check in checks if check.count]


def _earlier_months(month: Month) -> CloseCheck:
    earlier = Month.objects.filter(closed_at__isnull=True, pk__lt=month.pk).order_by("pk")
    return CloseCheck(
        "earlier_month",
        True,
        len(earlier),
        _("Months close in order, and an earlier one is open: close it first."),
        [other.name for other in earlier[:_EXAMPLES]],
    )


def _unmatched_returns(month: Month) -> CloseCheck:
    waiting = SaleLine.objects.filter(part__isnull=True, sale__business_date__lte=month.ends_on)
    count = waiting.count()
    first = waiting.select_related("sale__store").order_by("sale_id", "line_no")[:_EXAMPLES] if count else []
    return CloseCheck(
        "unmatched_return",
        True,
        count,
        _("Return lines wait for the ticket that they return: import it, or settle them."),
        [
            _("store %(store)s, %(date)s, ticket %(ticket)s, line %(line)d")
            % {
                "store": line.sale.store.store_no,
                "date": line.sale.business_date,
                "ticket": line.sale.ticket_no,
                "line": line.line_no,
            }
            for line in first
        ],
    )


def unattributed_parts(month: Month) -> QuerySet[SalePart]:
    """The parts of tickets up to the month's last day that have no attribution."""
    return SalePart.objects.filter(
        ~Exists(Attribution.objects.filter(part=OuterRef("pk"))), business_date__lte=month.ends_on
    )


def _unattributed_parts(month: Month) -> CloseCheck:
    missing = unattributed_parts(month)
    count = missing.count()
    first = missing.select_related("sale__store").order_by("business_date", "pk")[:_EXAMPLES] if count else []
    return CloseCheck(
        "unattributed_ticket",
        True,
        count,
        _("Tickets are stored but not attributed, which no import leaves: find out what else writes to the database."),
        [
            _("store %(store)s, %(date)s, ticket %(ticket)s")
            % {"store": part.sale.store.store_no, "date": part.business_date, "ticket": part.sale.ticket_no}
            for part in first
        ],
    )


def _not_over(month: Month, today: dt.date) -> CloseCheck:
    message = _("The month runs until %(last)s: what is sold after the close will count as late in the next one.")
    return CloseCheck(
        "month_not_over",
        False,
        max((month.ends_on - today).days + 1, 0),
        message % {"last": month.ends_on},
        [],
    )


def _members_without_owner(month: Month) -> CloseCheck:
    members = Member.objects.unassigned(month.ends_on)
    return CloseCheck(
        "members_without_owner",
        False,
        members.count(),
        _("Members have no owner on the month's last day: no clerk earns an owner's share from them."),
        list(members.values_list("member_no", flat=True)[:_EXAMPLES]),
    )


def _waiting_corrections(month: Month) -> CloseCheck:
    waiting = waiting_corrections(month).select_related("sale__store")
    return CloseCheck(
        "waiting_correction",
        False,
        waiting.count(),
        _("Corrections of tickets wait for a decision: once the month is closed its tickets stay as they are."),
        [
            _("store %(store)s, %(date)s, ticket %(ticket)s")
            % {"store": one.sale.store.store_no, "date": one.sale.business_date, "ticket": one.sale.ticket_no}
            for one in waiting[:_EXAMPLES]
        ],
    )


def _waiting_inquiries(month: Month) -> CloseCheck:
    waiting = waiting_inquiries(month).select_related("asker")
    return CloseCheck(
        "waiting_inquiry",
        False,
        waiting.count(),
        _("Inquiries wait for an answer: the close holds the amount in question of each until it is answered."),
        [
            _("%(title)s (asked by %(name)s)") % {"title": one.title, "name": one.asker.name}
            for one in waiting[:_EXAMPLES]
        ],
    )


def _waiting_adjustments(month: Month) -> CloseCheck:
    waiting = waiting_adjustments(month).select_related("clerk")
    return CloseCheck(
        "waiting_adjustment",
        False,
        waiting.count(),
        _("Adjustments wait for a decision: what is not approved before the close is not paid."),
        [
            _("%(name)s: %(amount)s %(currency)s, %(reason)s")
            % {
                "name": one.clerk.name,
                "amount": money_text(one.amount),
                "currency": currency(),
                "reason": one.reason,
            }
            for one in waiting[:_EXAMPLES]
        ],
    )


def _leavers_debts(month: Month) -> CloseCheck:
    debts = leavers_debts(month)
    return CloseCheck(
        "leavers_debt",
        False,
        len(debts),
        _("Leavers owe what no later pay recovers: it is carried on and on until it is written off."),
        [
            _("%(name)s: %(amount)s %(currency)s")
            % {"name": debt.clerk.name, "amount": money_text(debt.amount), "currency": currency()}
            for debt in debts[:_EXAMPLES]
        ],
    )


def _booked_since_draft(month: Month) -> CloseCheck:
    run = PayRun.objects.in_force().filter(month=month).select_related("month").first()
    found = booked_since(run) if run else []
    return CloseCheck(
        "booked_since_draft",
        False,
        sum(count for count, _text in found),
        booked_since_text(run) if run else "",
        [text for _count, text in found],
    )


def blockers(month: Month, checks: Iterable[CloseCheck]) -> None:
    """Raises CloseRefused with every point of the checklist that stands in the way."""
    reasons = []
    for check in checks:
        if check.blocks:
            more = ["…"] if check.count > len(check.examples) else []
            reasons.append(f"- {check.message} ({check.count}: {'; '.join(check.examples + more)})")
    if reasons:
        raise CloseRefused("\n".join([_("Month %(month)s cannot be closed.") % {"month": month}, *reasons]))
