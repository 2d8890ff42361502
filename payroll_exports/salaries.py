"""A clerk's dated base salaries: a raise ends the one before and starts the next, and closed months keep theirs.

A base of 5,000.00 since 2026-01-01 and a raise to 6,000.00 from 2026-10-16 are two rows, [01-01, 10-16) and from
10-16 on; October pays (15 x 5,000.00 + 16 x 6,000.00) / 31 = 5,516.13.
"""

import datetime as dt

from django.db import transaction
from django.utils.translation import gettext as _

from commission.money import MAX_AMOUNT
from commission.rebinding import hold_ledger
from payroll_exports.models import Salary
from portfolios.models import OPEN_END, Clerk, on_date
from portfolios.months import MonthError, require_open


class SalaryRefused(ValueError):
    """A salary that cannot be set like this: why, and what to do; `field` is of a form."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@transaction.atomic
def set_salary(clerk: Clerk, *, monthly_base_amount: int, valid_from: dt.date) -> Salary:
    """The clerk's monthly base (minor units) from a day of an open month on, until the next one that is on record.

    Raises SalaryRefused.
    """
    # No month closes meanwhile.
    hold_ledger()
    if not 0 <= monthly_base_amount <= MAX_AMOUNT:
        raise SalaryRefused(_("A base salary is zero or more, and no more than ten billion."), "amount")
    try:
        require_open(valid_from, _("A base salary"))
    except MonthError as error:
        raise SalaryRefused(str(error), "valid_from") from None
    if clerk.left_on is not None and valid_from > clerk.left_on:
        raise SalaryRefused(
            _("%(name)s has left: the last day worked is %(day)s.") % {"name": clerk.name, "day": clerk.left_on},
            "valid_from",
        )
    salaries = Salary.objects.select_for_update().filter(clerk=clerk)
    before = salaries.filter(on_date(valid_from)).first()
    if before is not None and before.monthly_base_amount == monthly_base_amount:
        raise SalaryRefused(_("That is the base salary on this day already."), "amount")
    if before is not None and before.valid_from == valid_from:
        # Another amount for the same days, none of which is closed.
        before.monthly_base_amount = monthly_base_amount
        before.save(update_fields=["monthly_base_amount"])
        return before
    if before is not None:
        valid_to = before.valid_to
        before.valid_to = valid_from
        before.save(update_fields=["valid_to"])
    else:
        following = salaries.filter(valid_from__gt=valid_from).order_by("valid_from").first()
        valid_to = following.valid_from if following else OPEN_END
    return Salary.objects.create(
        clerk=clerk, monthly_base_amount=monthly_base_amount, valid_from=valid_from, valid_to=valid_to
    )
