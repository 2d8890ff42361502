"""The three-way tie-out of a month: tickets, ledger and payslips, to the fen.

The POS total of a month is what its clerks, its stores and the excluded categories share (20,000 = 14,000 + 6,000
credited + 0 + 0), and the commission of the ledger is the commission on the payslips, or nothing closes.
"""

from dataclasses import dataclass

from django.db.models import F, Sum

from commission.models import Attribution, SalePart
from payroll_exports.earnings import COMMISSION_LINES, earnings
from payroll_exports.models import EarningLine
from portfolios.models import Month


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
        return tie_out_against(month, locked_commission(month))
    lines = (line for own in earnings(month).values() for line in own)
    return tie_out_against(month, sum(line.amount for line in lines if line.line_code in COMMISSION_LINES))


def locked_commission(month: Month) -> int:
    """The commission on the month's locked payslips, in minor units."""
    lines = EarningLine.objects.filter(month=month, line_code__in=COMMISSION_LINES)
    return lines.aggregate(total=Sum("amount", default=0))["total"]


def tie_out_against(month: Month, payslip_amount: int) -> TieOut:
    """The month's figures, with this much commission on its payslips."""
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
