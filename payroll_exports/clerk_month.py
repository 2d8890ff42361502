"""A clerk's month in one look: what it has brought so far, where that came from, and how the portfolio moved.

An open month shows what the ledger holds now, a closed one the locked payslip. 42,050 of own members served, 9,000 of
covering and -1,000 taken back are 50,050 of commission in a bar of three parts.
"""

import datetime as dt
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from kpis.charts import Chart
from kpis.models import PortfolioMonth
from kpis.movement_pictures import MOVEMENT, book_pictures
from kpis.store_portfolios import portfolio_sizes
from payroll_exports.earnings import COMMISSION_LINES, Earning, earnings
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Payslip
from payroll_exports.pay_pictures import mark_of, pay_bar
from portfolios.models import Clerk, Month


@dataclass(frozen=True)
class PayLine:
    """An earning line with its name and the mark that it has in the bar."""

    code: str
    mark: str
    name: str
    quantity: int
    amount: int

    @property
    def has_tickets(self) -> bool:
        return self.code in COMMISSION_LINES


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
    charts: tuple[Chart, ...]

    @property
    def year_amount(self) -> int | None:
        """What the year's payslips pay up to and with this one."""
        lines = self.payslip.document.get("year_lines") if self.payslip else None
        return sum(line["amount"] for line in lines) if lines else None

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
    charts: tuple[Chart, ...] = ()
    if movement:
        columns = {name: getattr(movement, name) for name in MOVEMENT}
        charts = book_pictures(columns, width=320, label_width=90, figure_width=46)
    return ClerkMonth(
        commission=commission,
        other=[line for line in lines if line.code not in COMMISSION_LINES],
        commission_amount=sum(line.amount for line in commission),
        total_amount=sum(line.amount for line in lines),
        bar=pay_bar(
            ((line.code, line.amount) for line in commission),
            title=_("Where the commission came from"),
            plain=pgettext("part of the pay", "Late and corrected"),
            width=372,
        ),
        members=movement.closing if movement else portfolio_sizes([clerk.pk], on).get(clerk.pk, 0),
        on=month.ends_on if movement else on,
        payslip=payslip,
        movement=movement,
        charts=charts,
    )


def _pay_line(line: Earning) -> PayLine:
    code = LineCode(line.line_code)
    return PayLine(code, mark_of(code, line.amount), str(code.label), line.quantity, line.amount)
