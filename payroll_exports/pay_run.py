"""Closing a month: what stands in its way, the three-way tie-out, and the payslips that are locked with it.

The POS total of a month is what its clerks, its stores and the excluded categories share (20,000 = 14,000 + 6,000
credited + 0 + 0), and the commission of the ledger is the commission on the payslips, to the fen, or nothing closes.
"""

import base64
import datetime as dt
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Sum
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from commission.attribution import lock_ledger
from commission.contested import record_held
from commission.inquiries import waiting_inquiries
from commission.models import Attribution, SaleLine, SalePart
from commission.money import format_amount
from commission.ticket_corrections import waiting_corrections
from kpis.measures import freeze_measures
from kpis.member_states import classified
from kpis.models import PortfolioMonth
from kpis.movement import FIGURES, MovementError, freeze
from kpis.scorecard import freeze_scores
from payroll_exports.adjustments import waiting_adjustments
from payroll_exports.earnings import COMMISSION_LINES, Earning, earnings
from payroll_exports.models import EarningLine, Payslip
from payroll_exports.payslip_pdf import PayslipDocument, PayslipLine, added_up
from payroll_exports.proof import seal
from portfolios.enrolment import hold_enrolments
from portfolios.models import Clerk, Member, Month, Posting, Store, User
from portfolios.months import next_number, open_months
from portfolios.postings import postings_in

__all__ = [
    "CloseCheck",
    "CloseRefused",
    "CloseReport",
    "Earning",
    "TieOut",
    "approve_close",
    "close_checklist",
    "close_month",
    "earnings",
    "request_close",
    "tie_out",
    "unattributed_parts",
    "verification_code",
]

_EXAMPLES = 5
_BATCH = 500


class CloseRefused(ValueError):
    """A month that cannot be closed; the message says what stands in the way and what to do."""


# --- The tie-out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TieOut:
    """The figures of a month that must agree, in minor units.

    `pos_amount` is the net of the lines posted to the month, added up from the ticket lines themselves;
    `credits_amount` is what owners and servers are credited with. `commission_amount` is theirs in the ledger,
    `payslip_amount` the same on the payslips.
    """

    pos_amount: int
    credits_amount: int
    house_credit_amount: int
    excluded_amount: int
    commission_amount: int
    payslip_amount: int
    house_commission_amount: int

    @property
    def attributed_amount(self) -> int:
        return self.credits_amount + self.house_credit_amount + self.excluded_amount

    @property
    def ties(self) -> bool:
        return self.pos_amount == self.attributed_amount and self.commission_amount == self.payslip_amount


def tie_out(month: Month) -> TieOut:
    """The month's figures: a closed month's against its locked payslips, an open one's against what they would be."""
    if month.is_closed:
        return _tie_out(month, _locked_commission(month))
    lines = (line for own in earnings(month).values() for line in own)
    return _tie_out(month, sum(line.amount for line in lines if line.line_code in COMMISSION_LINES))


def _locked_commission(month: Month) -> int:
    lines = EarningLine.objects.filter(month=month, line_code__in=COMMISSION_LINES)
    return lines.aggregate(total=Sum("amount", default=0))["total"]


def _tie_out(month: Month, payslip_amount: int) -> TieOut:
    rows = Attribution.objects.filter(month=month)
    names = [f"{party}_{what}_amount" for party in ("owner", "server", "house") for what in ("credit", "commission")]
    total = rows.aggregate(**{f"total_{name}": Sum(name, default=0) for name in [*names, "excluded_amount"]})
    # A part's first row brings its lines into a month; corrections come on top and add nothing to the tickets. The
    # lines are found by their ticket, for which there is an index.
    parts = SalePart.objects.filter(pk__in=rows.filter(corrects__isnull=True).values("part"))
    pos = parts.filter(sale__lines__part=F("pk")).aggregate(total=Sum("sale__lines__net_amount", default=0))
    return TieOut(
        pos_amount=pos["total"],
        credits_amount=total["total_owner_credit_amount"] + total["total_server_credit_amount"],
        house_credit_amount=total["total_house_credit_amount"],
        excluded_amount=total["total_excluded_amount"],
        commission_amount=total["total_owner_commission_amount"] + total["total_server_commission_amount"],
        payslip_amount=payslip_amount,
        house_commission_amount=total["total_house_commission_amount"],
    )


# --- What stands in the way --------------------------------------------------------------------------------------


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


def close_checklist(month: Month, today: dt.date | None = None) -> list[CloseCheck]:
    """What stands in the way of closing the month, then what is worth knowing; empty when all is well."""
    if month.is_closed:
        return []
    checks = [_earlier_months(month), _unmatched_returns(month), _unattributed_parts(month)]
    checks += [_not_over(month, today or timezone.localdate()), _members_without_owner(month)]
    checks += [_waiting_corrections(month), _waiting_inquiries(month), _waiting_adjustments(month)]
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
            _("%(name)s: %(amount)s, %(reason)s")
            % {"name": one.clerk.name, "amount": format_amount(one.amount), "reason": one.reason}
            for one in waiting[:_EXAMPLES]
        ],
    )


# --- Payslips ----------------------------------------------------------------------------------------------------


def verification_code(document: Mapping[str, Any]) -> str:
    """Sixteen characters that only this installation can make, and only of this document: "K5QX-2MBA-7RNE-ZC4U".

    `document` is a payslip's as it is stored; the code that it holds already does not count.
    """
    canonical = json.dumps({**document, "verification_code": ""}, sort_keys=True, separators=(",", ":"))
    digest = salted_hmac("payroll_exports.payslip", canonical, algorithm="sha256").digest()
    code = base64.b32encode(digest).decode()
    return "-".join(code[start : start + 4] for start in range(0, 16, 4))


def _lock_payslips(month: Month, books: Iterable[PortfolioMonth]) -> None:
    """Writes every payslip of the month with its lines, and the document that its PDF will be made of."""
    earned = earnings(month)
    clerks = Clerk.objects.in_bulk(earned)
    stores = _payslip_stores(month, list(earned))
    movements = {book.clerk_id: {name: getattr(book, name) for name in FIGURES} for book in books if book.clerk_id}
    last_month = _payslip_lines(next_number(month.pk, -1))
    years = _year_so_far(month)

    payslips = []
    for clerk_id in sorted(earned, key=lambda clerk_id: (stores[clerk_id].store_no, clerks[clerk_id].clerk_no)):
        clerk, store = clerks[clerk_id], stores[clerk_id]
        document = PayslipDocument(
            language=clerk.language,
            month=month.name,
            starts_on=month.starts_on,
            ends_on=month.ends_on,
            clerk_no=clerk.clerk_no,
            clerk_name=clerk.name,
            store_no=store.store_no,
            store_name=store.name,
            lines=tuple(PayslipLine(*line) for line in earned[clerk_id]),
            paid_amount=sum(line.amount for line in earned[clerk_id]),
            movement=movements.get(clerk_id) or dict.fromkeys(FIGURES, 0),
            previous_lines=tuple(last_month[clerk_id]) if clerk_id in last_month else None,
            verification_code="",
            currency=settings.CURRENCY,
            year_lines=added_up([*years.get(clerk_id, ()), *(PayslipLine(*line) for line in earned[clerk_id])]),
        )
        stored = document.to_dict()
        stored["verification_code"] = verification_code(stored)
        payslips.append(
            Payslip(month=month, clerk=clerk, store=store, paid_amount=document.paid_amount, document=stored)
        )
    Payslip.objects.bulk_create(payslips, batch_size=_BATCH)
    EarningLine.objects.bulk_create(
        (
            EarningLine(
                payslip=payslip,
                month=month,
                line_code=line.line_code,
                quantity=line.quantity,
                amount=line.amount,
            )
            for payslip in payslips
            for line in earned[payslip.clerk_id]
        ),
        batch_size=_BATCH,
    )


def _payslip_lines(month_id: int) -> dict[int, list[PayslipLine]]:
    """The lines of each locked payslip of a month, by clerk id."""
    payslips = Payslip.objects.filter(month=month_id).defer("document").prefetch_related("lines")
    return {
        payslip.clerk_id: [PayslipLine(line.line_code, line.quantity, line.amount) for line in payslip.lines.all()]
        for payslip in payslips
    }


def _year_so_far(month: Month) -> dict[int, list[PayslipLine]]:
    """The sum of each line of the calendar year's earlier payslips, by clerk id."""
    january = month.pk // 100 * 100 + 1
    lines = EarningLine.objects.filter(month__gte=january, month__lt=month.pk).values("payslip__clerk", "line_code")
    sums = lines.annotate(count=Sum("quantity"), total=Sum("amount")).order_by()
    found: dict[int, list[PayslipLine]] = defaultdict(list)
    for line in sums:
        found[line["payslip__clerk"]].append(PayslipLine(line["line_code"], line["count"], line["total"]))
    return found


def _payslip_stores(month: Month, clerks: list[int]) -> dict[int, Store]:
    """The store on each clerk's payslip: the month's last home store, else the last store posted to.

    Who was never posted has lines from tickets alone, and gets the store of the last of them.
    """
    stores = Store.objects.in_bulk()
    posted = postings_in(month, clerks)
    found = {clerk: place[1] for clerk, where in posted.items() if (place := where.home or where.last)}
    others = [clerk for clerk in clerks if clerk not in found]
    earlier = Posting.objects.filter(clerk__in=others, valid_from__lte=month.ends_on).order_by("valid_to", "store")
    found |= dict(earlier.values_list("clerk", "store"))
    for clerk in others:
        if clerk not in found:
            rows = Attribution.objects.filter(month__lte=month.pk)
            last = (rows.filter(owner=clerk) | rows.filter(server=clerk)).order_by("business_date", "pk").last()
            if last is None:
                raise CloseRefused(
                    _("Clerk %(clerk)s has an adjustment, but no posting and no ticket: post the clerk to a store.")
                    % {"clerk": Clerk.objects.get(pk=clerk).clerk_no}
                )
            found[clerk] = last.store_id
    return {clerk: stores[store] for clerk, store in found.items()}


# --- The close ---------------------------------------------------------------------------------------------------


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
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> CloseReport:
    """Closes the month for good: payslips, snapshots of the portfolios and the tie-out, in one transaction.

    A month that is closed already is left as it is, and the report says so. `dry_run` does all of it and takes it
    back. The month after it is opened, so that late tickets have somewhere to go. Raises CloseRefused.
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
        _refuse_if_blocked(month, checks)
        tell(_("portfolios"))
        with classified(month):
            try:
                books = freeze(month)
            except MovementError as error:
                raise CloseRefused(str(error)) from error
            tell(_("measures"))
            freeze_measures(month)
            freeze_scores(month)
        tell(_("payslips"))
        _lock_payslips(month, books)
        record_held(month)
        tell(_("tie-out"))
        figures = _tie_out(month, _locked_commission(month))
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


def _refuse_if_blocked(month: Month, checks: Iterable[CloseCheck]) -> None:
    reasons = []
    for check in checks:
        if check.blocks:
            more = ["…"] if check.count > len(check.examples) else []
            reasons.append(f"- {check.message} ({check.count}: {'; '.join(check.examples + more)})")
    if reasons:
        raise CloseRefused("\n".join([_("Month %(month)s cannot be closed.") % {"month": month}, *reasons]))


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


# --- Two people --------------------------------------------------------------------------------------------------


def request_close(month: Month, *, by: User) -> Month:
    """Asks for the month to be closed, for somebody else to approve; returns the month.

    Raises CloseRefused where it is closed, or asked for already.
    """
    with transaction.atomic():
        month = Month.objects.select_for_update().get(pk=month.pk)
        if month.is_closed:
            raise CloseRefused(_("Month %(month)s is closed already.") % {"month": month})
        if month.close_requested_by is not None:
            raise CloseRefused(
                _("%(who)s has asked for the close of %(month)s already: another person can approve it.")
                % {"who": month.close_requested_by, "month": month}
            )
        month.close_requested_at = timezone.now()
        month.close_requested_by = by
        month.save(update_fields=["close_requested_at", "close_requested_by"])
    return month


def check_approval(month: Month, *, by: User) -> None:
    """Raises CloseRefused where `by` may not approve the close: nobody has asked for it, or it was `by`."""
    month = Month.objects.get(pk=month.pk)
    if month.is_closed:
        return
    if month.close_requested_by_id is None:
        raise CloseRefused(
            _("Nobody has asked for the close of %(month)s: one person asks, another approves.") % {"month": month}
        )
    if month.close_requested_by_id == by.pk:
        raise CloseRefused(
            _("You have asked for the close of %(month)s yourself: another person must approve it.") % {"month": month}
        )


def approve_close(month: Month, *, by: User, progress: Callable[[str], None] | None = None) -> CloseReport:
    """Closes a month that somebody else has asked to close.

    Raises CloseRefused as `check_approval` and `close_month` do.
    """
    check_approval(month, by=by)
    return close_month(month, approved_by=by.get_username(), progress=progress)
