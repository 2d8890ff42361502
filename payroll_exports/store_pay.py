"""What a closed month pays, by store: its payslips, their commission, and what is to be paid."""

from dataclasses import dataclass

from django.db.models import Count, Sum

from payroll_exports.earnings import COMMISSION_LINES
from payroll_exports.models import EarningLine, Payslip
from portfolios.models import Month, Store


@dataclass(frozen=True)
class StorePay:
    """Minor units; the commission is the ledger's, before bands, KPI, held and carried amounts."""

    store: Store
    payslips: int
    commission_amount: int
    paid_amount: int


def store_pay(month: Month) -> list[StorePay]:
    """The stores with payslips in the month, by number."""
    paid = Payslip.objects.filter(month=month).values("store").annotate(payslips=Count("pk"), paid=Sum("paid_amount"))
    commission = dict(
        EarningLine.objects.filter(month=month, line_code__in=COMMISSION_LINES)
        .values("payslip__store")
        .annotate(amount=Sum("amount"))
        .order_by()
        .values_list("payslip__store", "amount")
    )
    by_store = {row["store"]: row for row in paid.order_by()}
    return [
        StorePay(store, by_store[store.pk]["payslips"], commission.get(store.pk, 0), by_store[store.pk]["paid"])
        for store in Store.objects.filter(pk__in=by_store)
    ]
