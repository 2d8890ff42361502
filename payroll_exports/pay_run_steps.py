"""The steps of a pay run before the close: drafted, reviewed, approved by somebody else.

A draft keeps what each clerk would be paid, line by line; a new one replaces it as a whole. Where a clerk's 420.00
have become 450.00 since (a ticket came late), the run is not approved, and the month does not close on it: both name
the clerk, and HR drafts again.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commission.attribution import lock_ledger
from commission.templatetags.money import money_text
from kpis.measures import measure_as_closed
from kpis.scorecard import cards_in
from payroll_exports.close_checklist import CloseRefused, blockers, close_checklist
from payroll_exports.earnings import Earning, earnings
from payroll_exports.models import PayRun, PayRunLine, PayRunSlip
from payroll_exports.payslip_lock import payslip_stores
from payroll_exports.since_draft import last_booked
from portfolios.models import Clerk, Month, User

_BATCH = 500
_EXAMPLES = 5

State = PayRun.State


class PayRunRefused(ValueError):
    """A step that a pay run can't take; the message says why and what to do."""


class Changed(NamedTuple):
    """A clerk whose pay is another than the pay run's: minor units, None where there is no payslip."""

    clerk_id: int
    before: int | None
    after: int | None


def draft(month: Month, *, by: User) -> PayRun:
    """Works out what the month would pay as of now, and keeps it in place of the run that was there.

    Raises PayRunRefused where the month is closed, CloseRefused where a payslip would be of no store.
    """
    with transaction.atomic():
        month = _hold(month)
        PayRun.objects.in_force().filter(month=month).update(state=State.REPLACED)
        earned = _as_closed_now(month)
        stores = payslip_stores(month, list(earned))
        paid = {clerk: sum(line.amount for line in lines) for clerk, lines in earned.items()}
        run = PayRun.objects.create(
            month=month, drafted_by=by, paid_amount=sum(paid.values()), last_booked=last_booked()
        )
        slips = PayRunSlip.objects.bulk_create(
            (PayRunSlip(run=run, clerk_id=clerk, store=stores[clerk], paid_amount=paid[clerk]) for clerk in earned),
            batch_size=_BATCH,
        )
        PayRunLine.objects.bulk_create(
            (PayRunLine(slip=slip, **line._asdict()) for slip in slips for line in earned[slip.clerk_id]),
            batch_size=_BATCH,
        )
    return run


def refuse_closed(month: Month) -> None:
    """Raises PayRunRefused where the month is closed: it has no further step."""
    if month.is_closed:
        raise PayRunRefused(_("Month %(month)s is closed already.") % {"month": month})


def review(run: PayRun, *, by: User) -> PayRun:
    """Says that somebody has looked through the differences; it may be whoever drafted it.

    Raises PayRunRefused.
    """
    with transaction.atomic():
        run = _to_step(run, State.DRAFT)
        run.state, run.reviewed_by, run.reviewed_at = State.REVIEWED, by, timezone.now()
        run.save(update_fields=["state", "reviewed_by", "reviewed_at"])
    return run


def approve(run: PayRun, *, by: User) -> PayRun:
    """Approves a reviewed run, so that the month can be closed on it.

    Raises PayRunRefused where `by` has drafted it, something stands in the way of the close, or pay has changed.
    """
    with transaction.atomic():
        run = _to_step(run, State.REVIEWED)
        if run.drafted_by_id == by.pk:
            raise PayRunRefused(_("You have drafted this pay run yourself: another person must approve it."))
        try:
            blockers(run.month, close_checklist(run.month))
        except CloseRefused as refusal:
            raise PayRunRefused(str(refusal)) from None
        changed = changes(run, _as_closed_now(run.month))
        if changed:
            raise PayRunRefused(told(changed, _("Pay has changed since the draft, so it is not approved.")))
        run.state, run.approved_by, run.approved_at = State.APPROVED, by, timezone.now()
        run.last_booked = last_booked()
        run.save(update_fields=["state", "approved_by", "approved_at", "last_booked"])
    return run


def approved_run(month: Month) -> PayRun:
    """The run on which the month may be closed, or was.

    Raises CloseRefused where there is none.
    """
    run = (
        PayRun.objects.filter(month=month, state__in=[State.APPROVED, State.LOCKED])
        .select_related("approved_by")
        .first()
    )
    if run is None:
        raise CloseRefused(
            _("No pay run of %(month)s is approved: one person drafts it, another approves it.") % {"month": month}
        )
    return run


def lock_run(month: Month, earned: Mapping[int, list[Earning]], *, run: PayRun | None = None) -> None:
    """Locks the approved run with the month that pays `earned`; the ledger is held.

    Raises CloseRefused where it would pay something else, or `run` is not the approved one any more.
    """
    approved = PayRun.objects.filter(month=month, state=State.APPROVED).first()
    if run is not None and run != approved:
        raise CloseRefused(_("The pay run was replaced by a new draft: have that approved."))
    if approved is None:
        return
    changed = changes(approved, earned)
    if changed:
        raise CloseRefused(told(changed, _("The close would pay something else than the approved pay run.")))
    approved.state = State.LOCKED
    approved.save(update_fields=["state"])


# --- What has changed since --------------------------------------------------------------------------------------


def run_lines(run: PayRun) -> dict[int, list[Earning]]:
    """The lines of each clerk in a pay run, by clerk id."""
    lines: dict[int, list[Earning]] = {clerk: [] for clerk in run.slips.values_list("clerk", flat=True)}
    rows = PayRunLine.objects.filter(slip__run=run).order_by("pk")
    for clerk, code, quantity, amount in rows.values_list("slip__clerk", "line_code", "quantity", "amount"):
        lines[clerk].append(Earning(code, quantity, amount))
    return lines


def changes(run: PayRun, earned: Mapping[int, list[Earning]]) -> list[Changed]:
    """The clerks whose lines are others than the run's, though their sum may be the same."""
    drafted = run_lines(run)

    def paid(of: Mapping[int, list[Earning]], clerk: int) -> int | None:
        return sum(line.amount for line in of[clerk]) if clerk in of else None

    return [
        Changed(clerk, paid(drafted, clerk), paid(earned, clerk))
        for clerk in sorted(drafted.keys() | earned.keys())
        if drafted.get(clerk) != earned.get(clerk)
    ]


def told(changed: Iterable[Changed], why: str) -> str:
    """The refusal that names the clerks."""
    changed = list(changed)
    clerks = Clerk.objects.in_bulk([one.clerk_id for one in changed[:_EXAMPLES]])
    named = [
        _("%(name)s (%(number)s): %(before)s in the pay run, %(after)s now")
        % {
            "name": clerks[one.clerk_id].name,
            "number": clerks[one.clerk_id].clerk_no,
            "before": _("nothing") if one.before is None else money_text(one.before),
            "after": _("nothing") if one.after is None else money_text(one.after),
        }
        for one in changed[:_EXAMPLES]
    ]
    count = ngettext("%(count)d clerk:", "%(count)d clerks:", len(changed)) % {"count": len(changed)}
    more = " …" if len(changed) > _EXAMPLES else ""
    return _("%(why)s %(clerks)s %(named)s. Draft the pay run again and have it approved.") % {
        "why": why,
        "clerks": count,
        "named": "; ".join(named) + more,
    }


def _as_closed_now(month: Month) -> dict[int, list[Earning]]:
    """What a close of the month would pay now, by the measures that it would freeze."""
    if cards_in(month):
        measure_as_closed(month)
    return earnings(month)


# --- Holding -----------------------------------------------------------------------------------------------------


def _hold(month: Month) -> Month:
    """The month, with the ledger kept from moving until the transaction ends."""
    month = Month.objects.get(pk=month.pk)
    if not month.is_closed:
        lock_ledger()
        month.refresh_from_db()
    refuse_closed(month)
    return month


def _to_step(run: PayRun, state: PayRun.State) -> PayRun:
    """The run, held, where it is in this state."""
    _hold(run.month)
    run = PayRun.objects.select_related("month").get(pk=run.pk)
    if run.state != state:
        raise PayRunRefused(
            _("This pay run is %(state)s by now: open the latest one.") % {"state": run.get_state_display()}
        )
    return run
