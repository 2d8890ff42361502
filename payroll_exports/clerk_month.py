"""A clerk's month in one look: what it has brought so far, where that came from, and how the portfolio moved.

An open month shows what the ledger holds now, a closed one the locked payslip. 42,050 of own members served, 9,000 of
covering and -1,000 taken back are 50,050 of commission in a bar of three parts.
"""

import datetime as dt
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from commission.templatetags.money import count, money_text, signed
from kpis.models import PortfolioMonth
from kpis.store_portfolios import portfolio_sizes
from payroll_exports.charts import Chart, Part, kind_bar, waterfall
from payroll_exports.earnings import COMMISSION_LINES, Earning, earnings
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Payslip
from portfolios.models import Clerk, Month

MARKS = {
    LineCode.BASE: "neutral",
    LineCode.OWN_SERVED: "own-served",
    LineCode.OWN_ABSENT: "own-absent",
    LineCode.COVERED: "covered",
    LineCode.UNOWNED: "others",
    LineCode.WALK_IN: "others",
}


@dataclass(frozen=True)
class PayLine:
    """An earning line with its name and the mark that it has in the bar."""

    code: str
    mark: str
    name: str
    quantity: int
    amount: int


@dataclass(frozen=True)
class ClerkMonth:
    """Minor units. `payslip` and `movement` are there once the month is closed."""

    commission: list[PayLine]
    other: list[PayLine]
    commission_amount: int
    total_amount: int
    bar: Chart | None
    members: int
    on: dt.date
    payslip: Payslip | None
    movement: PortfolioMonth | None
    charts: list[Chart]

    @property
    def key_members(self) -> int | None:
        """A and B members at closing."""
        return self.movement.tier_a + self.movement.tier_b if self.movement else None


def clerk_month(clerk: Clerk, month: Month, *, today: dt.date) -> ClerkMonth:
    """The clerk's earning lines, portfolio and payslip of the month."""
    lines = [_pay_line(line) for line in earnings(month, [clerk.pk]).get(clerk.pk, [])]
    commission = [line for line in lines if line.code in COMMISSION_LINES]
    payslip = Payslip.objects.filter(month=month, clerk=clerk).select_related("store").first()
    movement = PortfolioMonth.objects.filter(month=month, clerk=clerk).first()
    on = min(max(today, month.starts_on), month.ends_on)
    return ClerkMonth(
        commission=commission,
        other=[line for line in lines if line.code not in COMMISSION_LINES],
        commission_amount=sum(line.amount for line in commission),
        total_amount=sum(line.amount for line in lines),
        bar=_bar(commission),
        members=movement.closing if movement else portfolio_sizes([clerk.pk], on).get(clerk.pk, 0),
        on=month.ends_on if movement else on,
        payslip=payslip,
        movement=movement,
        charts=_movement_charts(movement) if movement else [],
    )


def _pay_line(line: Earning) -> PayLine:
    code = LineCode(line.line_code)
    mark = "loss" if line.amount < 0 else MARKS.get(code, "plain")
    return PayLine(code, mark, str(code.label), line.quantity, line.amount)


def _bar(lines: list[PayLine]) -> Chart | None:
    labels = {
        "own-served": pgettext("part of the pay", "Own, served"),
        "own-absent": pgettext("part of the pay", "Own, absent"),
        "covered": pgettext("part of the pay", "Covered"),
        "others": pgettext("part of the pay", "Walk-in, unowned"),
        "plain": pgettext("part of the pay", "Late and corrected"),
        "loss": pgettext("part of the pay", "Taken back"),
    }
    amounts = dict.fromkeys(labels, 0)
    for line in lines:
        amounts[line.mark] += line.amount
    parts = [Part(kind, label, amounts[kind], money_text(amounts[kind])) for kind, label in labels.items()]
    return kind_bar(id="pay", title=_("Where the commission came from"), desc=_listed(parts), parts=parts, width=372)


def _movement_charts(movement: PortfolioMonth) -> list[Chart]:
    """The two books of the month, all members and the active ones, each from opening to closing."""
    members = [
        ("neutral", pgettext("portfolio", "Opening"), movement.opening),
        ("own-served", pgettext("portfolio", "Enrolled"), movement.enrolled),
        ("own-absent", pgettext("portfolio", "Transferred in"), movement.transferred_in),
        ("loss", pgettext("portfolio", "Transferred out"), -movement.transferred_out),
        ("loss", pgettext("portfolio", "Closed"), -movement.closed),
        ("neutral", pgettext("portfolio", "Closing"), movement.closing),
    ]
    active = [
        ("neutral", pgettext("active members", "Opening"), movement.active_opening),
        ("own-served", pgettext("active members", "Newly active"), movement.newly_active),
        ("own-served", pgettext("active members", "Reactivated"), movement.reactivated),
        ("own-absent", pgettext("active members", "In"), movement.active_in),
        ("loss", pgettext("active members", "Out"), -movement.active_out),
        ("loss", pgettext("active members", "Lapsed"), -movement.lapsed),
        ("neutral", pgettext("active members", "Closing"), movement.active_closing),
    ]
    return [
        _waterfall("members", _("Members of the portfolio"), members),
        _waterfall("active", _("Active members of the portfolio"), active),
    ]


def _waterfall(id: str, title: str, rows: list[tuple[str, str, int]]) -> Chart:
    first, *between, last = rows
    opening, closing = (Part(kind, label, value, count(value)) for kind, label, value in (first, last))
    changes = [Part(kind, label, value, signed(value)) for kind, label, value in between]
    return waterfall(
        id=id,
        title=title,
        desc=_listed([opening, *changes, closing]),
        opening=opening,
        changes=changes,
        closing=closing,
        label_width=90,
        width=320,
    )


def _listed(parts: list[Part]) -> str:
    """A chart in words, for those who can't see it."""
    return "; ".join(f"{part.label} {part.figure}" for part in parts if part.value)
