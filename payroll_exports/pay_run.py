"""Closing a month for good: payslips, snapshots of the portfolios and the tie-out, in one transaction.

A month of four clerks with 6.00 of commission becomes four payslips that pay 6.00, or stays open and says why. Where
a pay run is approved, it is what the month pays, or nothing closes.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.attribution import lock_ledger
from commission.contested import record_held
from commission.money import format_amount
from kpis.measures import freeze_measures
from kpis.member_states import member_states
from kpis.movement import MovementError, freeze
from kpis.scorecard import freeze_scores
from payroll_exports.close_checklist import CloseCheck, CloseRefused, blockers, close_checklist
from payroll_exports.earnings import earnings
from payroll_exports.models import PayRun, Payslip
from payroll_exports.pay_run_steps import lock_run
from payroll_exports.payslip_lock import lock_payslips
from payroll_exports.proof import seal
from payroll_exports.tie_out import TieOut, locked_commission, tie_out_against
from portfolios.enrolment import hold_enrolments
from portfolios.models import Month
from portfolios.months import next_number, open_months

__all__ = ["CloseRefused", "CloseReport", "close_month"]


@dataclass(frozen=True)
class CloseReport:
    """What a close did. `paid_amount` is the payslips' sum; `tie_out` is None where the month was closed before."""

    month: Month
    already_closed: bool
    dry_run: bool
    warnings: list[CloseCheck]
    payslips: int
    paid_amount: int
    tie_out: TieOut | None
    seconds: float


def close_month(
    month: Month,
    *,
    approved_by: str,
    run: PayRun | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> CloseReport:
    """Closes the month for good: payslips, snapshots of the portfolios and the tie-out, in one transaction.

    A month that is closed already is left as it is, and the report says so. `run` is the pay run that was approved;
    where there is one, named or not, the month pays what it says or does not close. `dry_run` does all of it and
    takes it back. The month after it is opened, so that late tickets have somewhere to go. Raises CloseRefused.
    """
    started = time.monotonic()
    tell = progress or (lambda step: None)
    with transaction.atomic():
        tell(_("waiting for imports to end"))
        month = Month.objects.get(pk=month.pk)
        if not month.is_closed:
            # From here on nothing is posted beside us, and what was posted is seen by every statement that follows.
            lock_ledger()
            # Nor does a card begin to count on a day of the month once its portfolios are frozen.
            hold_enrolments()
            month.refresh_from_db()
        if month.is_closed:
            return _report(month, started, already_closed=True)
        tell(_("checking"))
        checks = close_checklist(month)
        blockers(month, checks)
        tell(_("portfolios"))
        states = member_states(month)
        try:
            books = freeze(states)
        except MovementError as error:
            raise CloseRefused(str(error)) from error
        tell(_("measures"))
        freeze_measures(states, books)
        freeze_scores(month)
        tell(_("payslips"))
        earned = earnings(month)
        lock_run(month, earned, run=run)
        lock_payslips(month, earned, books)
        record_held(month)
        tell(_("tie-out"))
        figures = tie_out_against(month, locked_commission(month))
        _refuse_unless_tied(month, figures)
        tell(_("digest"))
        month.closed_at = timezone.now()
        month.closed_by = approved_by
        month.digest = seal(month)
        month.save(update_fields=["closed_at", "closed_by", "digest"])
        following = next_number(month.pk)
        open_months(following, following)
        report = _report(month, started, warnings=checks, figures=figures, dry_run=dry_run)
        if dry_run:
            transaction.set_rollback(True)
    if dry_run:
        month.refresh_from_db()
    return report


def _report(
    month: Month,
    started: float,
    *,
    already_closed: bool = False,
    dry_run: bool = False,
    warnings: Iterable[CloseCheck] = (),
    figures: TieOut | None = None,
) -> CloseReport:
    payslips = Payslip.objects.filter(month=month)
    return CloseReport(
        month=month,
        already_closed=already_closed,
        dry_run=dry_run,
        warnings=list(warnings),
        payslips=payslips.count(),
        paid_amount=payslips.aggregate(total=Sum("paid_amount", default=0))["total"],
        tie_out=figures,
        seconds=time.monotonic() - started,
    )


def _refuse_unless_tied(month: Month, figures: TieOut) -> None:
    if figures.ties:
        return
    message = _(
        "Month %(month)s does not tie out and stays open. Tickets: %(pos)s; credits %(credits)s + house %(house)s + "
        "excluded %(excluded)s = %(attributed)s. Commission in the ledger: %(commission)s; on the payslips: "
        "%(payslips)s. A ticket was booked twice, or not wholly: export the month's attributions and compare them "
        "with the POS."
    )
    raise CloseRefused(
        message
        % {
            "month": month,
            "pos": format_amount(figures.pos_amount),
            "credits": format_amount(figures.credits_amount),
            "house": format_amount(figures.house_credit_amount),
            "excluded": format_amount(figures.excluded_amount),
            "attributed": format_amount(figures.attributed_amount),
            "commission": format_amount(figures.commission_amount),
            "payslips": format_amount(figures.payslip_amount),
        }
    )
