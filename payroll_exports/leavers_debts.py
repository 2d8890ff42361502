"""What leavers owe and no later pay recovers: listed for HR, and written off by two people.

A clerk left in January; in February a sale came back, and 15.00 of commission with it. The 15.00 are carried from
month to month, until HR has them written off: an adjustment of 15.00 in the first open month, asked for by one person
and approved by another, after which nothing is carried any more.
"""

from dataclasses import dataclass

from django.db.models import Q
from django.utils.translation import gettext as _

from payroll_exports.adjustments import AdjustmentRefused, ask_adjustment
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Adjustment, EarningLine
from portfolios.models import Clerk, Month, Posting, Store, User
from portfolios.months import first_open_month, next_number


@dataclass(frozen=True)
class Debt:
    """What a leaver owes at the end of the last closed month, in minor units; the write-off that waits, if any."""

    clerk: Clerk
    store: Store
    amount: int
    write_off: Adjustment | None


def leavers_debts(month: Month) -> list[Debt]:
    """The debts that are carried into an open month by clerks who have no posting on or after its first day.

    Those whose write-off is approved for the month are not among them.
    """
    posted = Posting.objects.filter(valid_to__gt=month.starts_on).filter(
        Q(clerk__left_on__isnull=True) | Q(clerk__left_on__gte=month.starts_on)
    )
    carried = (
        EarningLine.objects.filter(month=next_number(month.pk, -1), line_code=LineCode.CARRIED_OUT)
        .exclude(payslip__clerk__in=posted.values("clerk"))
        .select_related("payslip__clerk", "payslip__store")
        .order_by("payslip__store__store_no", "payslip__clerk__clerk_no")
    )
    asked = {
        one.clerk_id: one for one in Adjustment.objects.filter(month=month, write_off=True).exclude(approved=False)
    }
    return [
        Debt(line.payslip.clerk, line.payslip.store, line.amount, asked.get(line.payslip.clerk_id))
        for line in carried
        if line.payslip.clerk_id not in asked or asked[line.payslip.clerk_id].approved is None
    ]


def ask_write_off(clerk: Clerk, *, reason: str, asked_by: User) -> Adjustment:
    """Asks that a leaver's debt is written off in the first open month; another person approves the adjustment.

    Raises AdjustmentRefused.
    """
    month = first_open_month()
    debt = next((one for one in leavers_debts(month) if one.clerk == clerk), None) if month else None
    if month is None or debt is None:
        raise AdjustmentRefused(_("%(name)s owes nothing that is left to write off.") % {"name": clerk.name})
    if debt.write_off is not None:
        raise AdjustmentRefused(_("The write-off is asked for already: another person decides on it."))
    return ask_adjustment(clerk, month, amount=debt.amount, reason=reason, asked_by=asked_by, write_off=True)
