"""What a pay run pays each clerk more or less than the last draft, or than last month, and why.

A clerk's 1,000.00 have become 1,312.40: "+312.40: 41 more covered sales". The clerks whose pay moved most come first,
by change x change / the larger pay: 300.00 on 1,000.00 (69.23) weighs more than 500.00 on 10,000.00 (23.81).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, ngettext_lazy

from commission.templatetags.money import money_text
from payroll_exports.earnings import Earning, earnings
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Adjustment, PayRun, PayRunSlip, Payslip, Salary
from payroll_exports.pay_run_steps import run_lines
from portfolios.models import Clerk, Month, Store, User
from portfolios.months import next_number

# So many reasons are read at a glance, the others on demand.
_MAIN = 3

Lines = Mapping[int, list[Earning]]

_WHAT = {
    LineCode.OWN_SERVED: ngettext_lazy("sale to an own member", "sales to own members"),
    LineCode.OWN_ABSENT: ngettext_lazy("own member's sale by another clerk", "own members' sales by others"),
    LineCode.COVERED: ngettext_lazy("covered sale", "covered sales"),
    LineCode.UNOWNED: ngettext_lazy("sale to a member without an owner", "sales to members without an owner"),
    LineCode.WALK_IN: ngettext_lazy("walk-in", "walk-ins"),
    LineCode.LATE: ngettext_lazy("late ticket", "late tickets"),
    LineCode.CLAWBACK: ngettext_lazy("return of an earlier month's sale", "returns of earlier months' sales"),
    LineCode.CORRECTION: ngettext_lazy("corrected ticket of an earlier month", "corrected tickets of earlier months"),
    LineCode.HELD: ngettext_lazy("inquiry", "inquiries"),
}


class Reason(NamedTuple):
    """What one line, or an adjustment, adds to the change or takes from it: minor units."""

    amount: int
    text: str


@dataclass(frozen=True)
class Difference:
    """A clerk's pay before and after, in minor units; None where there is no payslip."""

    clerk: Clerk
    store: Store
    before: int | None
    after: int | None
    reasons: tuple[Reason, ...]
    first_month: bool
    last_month: bool

    @property
    def change(self) -> int:
        return (self.after or 0) - (self.before or 0)

    @property
    def weight(self) -> float:
        """How far it stands out: the change times its part of the larger pay."""
        return self.change**2 / max(abs(self.before or 0), abs(self.after or 0), 1)

    @property
    def main_reasons(self) -> tuple[Reason, ...]:
        return self.reasons[:_MAIN]

    @property
    def other_reasons(self) -> tuple[Reason, ...]:
        return self.reasons[_MAIN:]

    @property
    def expected(self) -> bool:
        """Whether a clerk's first or last month says why already."""
        return self.first_month or self.last_month


@dataclass(frozen=True)
class Comparison:
    """Two states of pay; `since` is when the earlier one was drafted, where both are of one month."""

    before: Lines
    after: Lines
    earlier: Month
    since: dt.datetime | None


def against_last_draft(run: PayRun) -> Comparison | None:
    """The run beside the one that it replaced; None where it is the first."""
    last = PayRun.objects.filter(month=run.month_id, pk__lt=run.pk).first()
    return Comparison(run_lines(last), run_lines(run), run.month, last.drafted_at) if last else None


def against_last_month(run: PayRun) -> Comparison | None:
    """The run beside the payslips of the month before; None where that is not closed, or not there."""
    earlier = Month.objects.filter(pk=next_number(run.month_id, -1), closed_at__isnull=False).first()
    return Comparison(earnings(earlier), run_lines(run), earlier, None) if earlier else None


def seen_by(user: User, run: PayRun, compared: Comparison) -> Comparison:
    """What of a comparison the user may see: all for HR and auditors, the managed stores' clerks for a manager."""
    if user.office:
        return compared
    clerks = compared.before.keys() | compared.after.keys()
    managed, staff = set(Store.objects.for_user(user)), set(Clerk.objects.for_user(user).values_list("pk", flat=True))
    seen = {clerk for clerk, store in _stores(run, compared, clerks).items() if store in managed and clerk in staff}
    before, after = (
        {clerk: own for clerk, own in lines.items() if clerk in seen} for lines in (compared.before, compared.after)
    )
    return replace(compared, before=before, after=after)


def differences(run: PayRun, compared: Comparison) -> list[Difference]:
    """Every clerk whose lines differ: who stands out most first, then those in their first or last month."""
    before, after, month = compared.before, compared.after, run.month
    changed = [clerk for clerk in before.keys() | after.keys() if before.get(clerk) != after.get(clerk)]
    clerks = Clerk.objects.in_bulk(changed)
    stores = _stores(run, compared, changed)
    tell = _Teller(month, compared, changed)
    found = (
        Difference(
            clerk=clerks[clerk],
            store=stores[clerk],
            before=_paid(before, clerk),
            after=_paid(after, clerk),
            reasons=tuple(tell.reasons(clerk)),
            first_month=clerks[clerk].hired_on >= month.starts_on,
            last_month=(clerks[clerk].left_on or dt.date.max) <= month.ends_on,
        )
        for clerk in changed
    )
    # The days of a base differ from month to month where its amount does not.
    differ = (one for one in found if one.reasons or (one.before is None) != (one.after is None))
    return sorted(differ, key=lambda one: (one.expected, -one.weight, one.clerk.clerk_no))


def _paid(lines: Lines, clerk: int) -> int | None:
    return sum(line.amount for line in lines[clerk]) if clerk in lines else None


def _stores(run: PayRun, compared: Comparison, clerks: Iterable[int]) -> dict[int, Store]:
    """The store on each payslip, the run's before the earlier one's."""
    places = dict(Payslip.objects.filter(month=compared.earlier).values_list("clerk", "store"))
    slips = PayRunSlip.objects.filter(run__month=run.month_id, run__lte=run.pk).order_by("run_id")
    places |= dict(slips.values_list("clerk", "store"))
    stores = Store.objects.in_bulk()
    return {clerk: stores[places[clerk]] for clerk in clerks}


# --- Reasons -----------------------------------------------------------------------------------------------------


class _Teller:
    """Says why a clerk's pay differs: what is needed for all clerks is read once."""

    def __init__(self, month: Month, compared: Comparison, clerks: list[int]) -> None:
        self.month, self.compared = month, compared
        self.raises: dict[int, list[tuple[dt.date, int, int]]] = defaultdict(list)
        last: dict[int, int] = {}
        salaries = Salary.objects.filter(clerk__in=clerks, valid_from__lte=month.ends_on).order_by("valid_from")
        for clerk, base, start in salaries.values_list("clerk", "monthly_base_amount", "valid_from"):
            if clerk in last and start > compared.earlier.starts_on:
                self.raises[clerk].append((start, last[clerk], base))
            last[clerk] = base
        self.adjusted: dict[int, list[Adjustment]] = defaultdict(list)
        approved = Adjustment.objects.approved().filter(clerk__in=clerks, month__in=[month, compared.earlier])
        for adjustment in approved.filter(decided_at__gt=compared.since) if compared.since else approved:
            self.adjusted[adjustment.clerk_id].append(adjustment)

    def reasons(self, clerk: int) -> list[Reason]:
        """By line, the largest first; they sum to the change."""
        before = {line.line_code: line for line in self.compared.before.get(clerk, ())}
        after = {line.line_code: line for line in self.compared.after.get(clerk, ())}
        found = []
        for code in LineCode:
            old = before.get(code, Earning(code, 0, 0))
            new = after.get(code, Earning(code, 0, 0))
            if old != new:
                found += self._line(clerk, code, old, new)
        return sorted(found, key=lambda reason: -abs(reason.amount))

    def _line(self, clerk: int, code: LineCode, old: Earning, new: Earning) -> list[Reason]:
        change = new.amount - old.amount
        if code == LineCode.ADJUSTMENT:
            listed = [
                Reason(
                    one.amount if one.month_id == self.month.pk else -one.amount,
                    (_("adjustment: %(reason)s") if one.month_id == self.month.pk else _("last month's: %(reason)s"))
                    % {"reason": one.reason},
                )
                for one in self.adjusted[clerk]
            ]
            if sum(reason.amount for reason in listed) == change:
                return listed
        if code == LineCode.BASE:
            return [] if change == 0 else [Reason(change, self._base(clerk, old.quantity, new.quantity))]
        if code in _WHAT:
            return [Reason(change, _counted(code, new.quantity - old.quantity, change))]
        return [Reason(change, str(code.label))]

    def _base(self, clerk: int, old_days: int, new_days: int) -> str:
        told = [
            (_("raise from %(day)s (%(old)s to %(new)s)") if old < new else _("base from %(day)s: %(old)s to %(new)s"))
            % {"day": start, "old": money_text(old), "new": money_text(new)}
            for start, old, new in self.raises[clerk]
            if old != new
        ]
        of_old, of_new = self.compared.earlier.days, self.month.days
        if old_days * of_new != new_days * of_old:
            told.append(
                _("base for %(new)d of %(of_new)d days, before for %(old)d of %(of_old)d")
                % {"new": new_days, "of_new": of_new, "old": old_days, "of_old": of_old}
            )
        return "; ".join(told) or _("base salary")


def _counted(code: LineCode, more: int, change: int) -> str:
    if more == 0:
        what = _WHAT[code] % 2
        told = _("%(what)s: as many, worth more") if change > 0 else _("%(what)s: as many, worth less")
        return told % {"what": what}
    what = _WHAT[code] % abs(more)
    told = (
        ngettext("%(count)d more %(what)s", "%(count)d more %(what)s", more)
        if more > 0
        else ngettext("%(count)d fewer %(what)s", "%(count)d fewer %(what)s", -more)
    )
    counted = told % {"count": abs(more), "what": what}
    # More returns take more; of everything else more brings more, as a rule.
    if change and (more * change < 0) == (code != LineCode.CLAWBACK):
        return (_("%(counted)s, worth more") if change > 0 else _("%(counted)s, worth less")) % {"counted": counted}
    return counted
