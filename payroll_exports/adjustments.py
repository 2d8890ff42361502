"""Adjustments of pay: what a clerk gets or gives beside the ledger, asked for by one person and approved by another.

A month's commission is 420.00; an adjustment of 50.00 ("stocktaking on Sunday") that another person approves makes it
470.00, one of -600.00 leaves -180.00, which is carried to next month. What nobody has decided on by the close is not
paid.
"""

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.money import MAX_AMOUNT
from payroll_exports.models import Adjustment
from portfolios.models import Clerk, Month, Posting, User


class AdjustmentRefused(ValueError):
    """An adjustment that cannot be asked for or decided: why, and what to do; `field` is of a form or a file."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def ask_adjustment(
    clerk: Clerk, month: Month, *, amount: int, reason: str, asked_by: User | None, write_off: bool = False
) -> Adjustment:
    """Asks that the clerk gets `amount` (minor units; below zero takes) in the month, which is open.

    `asked_by` is None for a command of the operator; `write_off` is for `leavers_debts`. Raises AdjustmentRefused.
    """
    reason = reason.strip()
    check_adjustment(clerk, month, amount=amount, reason=reason)
    asked = Adjustment(clerk=clerk, month=month, amount=amount, reason=reason, asked_by=asked_by, write_off=write_off)
    try:
        with transaction.atomic():
            asked.save(force_insert=True)
    except IntegrityError:
        _refuse_closed(month)
        raise AdjustmentRefused(
            _("The same amount for the same reason is there already: say in the reason what differs."), "reason"
        ) from None
    return asked


def check_adjustment(clerk: Clerk, month: Month, *, amount: int, reason: str) -> None:
    """Raises AdjustmentRefused where the clerk cannot get this adjustment in the month."""
    _refuse_closed(month)
    if amount == 0:
        raise AdjustmentRefused(_("An adjustment of nothing changes nothing: give an amount."), "amount")
    if abs(amount) > MAX_AMOUNT:
        raise AdjustmentRefused(_("The amount is too large."), "amount")
    if not reason:
        raise AdjustmentRefused(_("Say what it is for: the clerk reads it on the payslip's page."), "reason")
    if len(reason) > 500:
        raise AdjustmentRefused(_("The reason is longer than 500 characters."), "reason")
    if not Posting.objects.filter(clerk=clerk, valid_from__lte=month.ends_on).exists():
        raise AdjustmentRefused(
            _("Clerk %(clerk)s is posted to no store by the end of %(month)s, so there is no payslip to put it on.")
            % {"clerk": clerk.clerk_no, "month": month},
            "clerk",
        )


def approve(adjustment: Adjustment, *, by: User, note: str = "") -> Adjustment:
    """Puts the adjustment on the clerk's payslip of its month.

    Raises AdjustmentRefused.
    """
    return _decide(adjustment, approved=True, by=by, note=note)


def refuse(adjustment: Adjustment, *, by: User, note: str) -> Adjustment:
    """Leaves the pay as it is, and says why.

    Raises AdjustmentRefused.
    """
    if not note.strip():
        raise AdjustmentRefused(_("Say why it is not approved: whoever asked reads it."), "note")
    return _decide(adjustment, approved=False, by=by, note=note)


def withdraw(adjustment: Adjustment, *, by: User, note: str = "") -> None:
    """Takes back what was asked for and nobody has decided on, typed wrongly for one; it stays on record.

    Whoever asked does so, or whoever takes back the import that asked.

    Raises AdjustmentRefused.
    """
    with transaction.atomic():
        adjustment = Adjustment.objects.select_for_update(of=("self",)).select_related("month").get(pk=adjustment.pk)
        if adjustment.approved is not None:
            raise AdjustmentRefused(_("This adjustment is decided already."))
        _refuse_closed(adjustment.month)
        _write_decision(adjustment, approved=False, by=by, note=note)


def may_decide(user: User, adjustment: Adjustment) -> bool:
    """HR decides what somebody else asked for, and not on one's own pay."""
    own = user.clerk_id is not None and user.clerk_id == adjustment.clerk_id
    return user.is_active and user.is_hr and user.pk != adjustment.asked_by_id and not own


def may_withdraw(user: User, adjustment: Adjustment) -> bool:
    """Whoever in HR asked takes it back, the own pay too: that gives nobody anything."""
    return user.is_active and user.is_hr and user.pk == adjustment.asked_by_id


def waiting_adjustments(month: Month) -> QuerySet[Adjustment]:
    """The month's adjustments that nobody has decided on, the oldest first."""
    return Adjustment.objects.waiting().filter(month=month).order_by("pk")


@transaction.atomic
def _decide(adjustment: Adjustment, *, approved: bool, by: User, note: str) -> Adjustment:
    adjustment = Adjustment.objects.select_for_update(of=("self",)).select_related("month").get(pk=adjustment.pk)
    if adjustment.approved is not None:
        raise AdjustmentRefused(_("This adjustment is decided already."))
    if adjustment.asked_by_id == by.pk:
        raise AdjustmentRefused(_("You have asked for this adjustment yourself: another person must decide."))
    if not may_decide(by, adjustment):
        raise AdjustmentRefused(_("HR decides on adjustments, and nobody on the own pay."))
    _refuse_closed(adjustment.month)
    return _write_decision(adjustment, approved=approved, by=by, note=note)


def _write_decision(adjustment: Adjustment, *, approved: bool, by: User, note: str) -> Adjustment:
    adjustment.approved = approved
    adjustment.decided_by = by
    adjustment.decided_at = timezone.now()
    adjustment.decision_note = note.strip()[:500]
    try:
        with transaction.atomic():
            adjustment.save(update_fields=["approved", "decided_by", "decided_at", "decision_note"])
    except IntegrityError:
        # The month closed beside us.
        _refuse_closed(adjustment.month)
        raise
    return adjustment


def _refuse_closed(month: Month) -> None:
    if Month.objects.filter(pk=month.pk, closed_at__isnull=False).exists():
        raise AdjustmentRefused(
            _("Month %(month)s is closed and never changes: ask for it in an open month.") % {"month": month}, "month"
        )
