"""The accounting journal of a closed month: one per store, balanced, from its payslips and the ledger.

What staff earned is debited to the account of its kind, what is to be paid is credited to payables. A clerk with a base
of 3,100.00, 420.00 of commission as owner, 80.00 taken back and 50.00 held:

    debit  base salary 3,100.00, own members served by another 420.00
    credit clawback 80.00, held 50.00, payable to staff 3,390.00

Each line has one side, and no side is below zero. What is carried forward is owed by the clerk: debited in the month
in which it goes out, credited in the next. A leaver's 15.00 that are written off are no wage: the adjustment is debited
to the loss, against the 15.00 that are carried in. The house's part of commission is paid to nobody: a memo pair
beside.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import F, QuerySet, Sum
from django.utils.translation import gettext as _

from commission.models import Attribution
from payroll_exports.exports import ExportRefused
from payroll_exports.journal_accounts import ACCOUNT_OF_LINE, Account, JournalAccount
from payroll_exports.models import Adjustment, EarningLine, Payslip
from portfolios.models import Month, Store


class JournalEntry(NamedTuple):
    """A line of a journal: `debit` and `credit` in minor units, one of them 0; a memo moves no money."""

    account: str
    debit: int
    credit: int
    memo: bool = False


@dataclass(frozen=True)
class StoreJournal:
    """One store's entries for a month: debits equal credits, those of the memo apart."""

    store_no: str
    store_name: str
    date: dt.date
    entries: list[JournalEntry]

    @property
    def debit(self) -> int:
        """The sum of the debits, without the memo."""
        return sum(entry.debit for entry in self.entries if not entry.memo)

    @property
    def credit(self) -> int:
        return sum(entry.credit for entry in self.entries if not entry.memo)

    @property
    def memo(self) -> int:
        """The commission that the store keeps; below zero where returns take more back than sales brought."""
        return sum(entry.debit - entry.credit for entry in self.entries if entry.account == Account.HOUSE)


class Unbalanced(ValueError):
    """Earning lines that do not add up to what is paid."""


def entries(lines: Mapping[str, int], *, paid: int, house: int, written_off: int = 0) -> list[JournalEntry]:
    """The entries of a store: `lines` are its earning lines' sums by code, `paid` what its payslips pay, `house` the
    commission that the store keeps, `written_off` the adjustments among the lines that write leavers' debts off; all in
    minor units.

    Raises Unbalanced where the lines are not what is paid.
    """
    if sum(lines.values()) != paid:
        raise Unbalanced(f"{sum(lines.values())} on the lines, {paid} to be paid")
    sums: dict[str, int] = defaultdict(int)
    for code, amount in lines.items():
        sums[ACCOUNT_OF_LINE[code]] += amount
    sums[Account.ADJUSTMENT] -= written_off
    sums[Account.WRITE_OFF] = written_off
    sums[Account.PAYABLE] = -paid
    found = [
        JournalEntry(account.value, max(sums[account], 0), max(-sums[account], 0))
        for account in Account
        if sums.get(account)
    ]
    if house:
        found += [
            JournalEntry(Account.HOUSE.value, max(house, 0), max(-house, 0), memo=True),
            JournalEntry(Account.HOUSE_CONTRA.value, max(-house, 0), max(house, 0), memo=True),
        ]
    return found


def journals(month: Month) -> list[StoreJournal]:
    """A closed month's journals, by store number: each store with payslips, or with commission that it keeps.

    Raises ExportRefused while the month is open.
    """
    if not month.is_closed:
        raise ExportRefused(
            _("Month %(month)s is open: its journal is there once it is closed (manage.py close_month %(month)s).")
            % {"month": month}
        )
    lines: dict[int, dict[str, int]] = defaultdict(dict)
    earned = EarningLine.objects.filter(month=month).order_by().values("payslip__store", "line_code")
    for store, code, amount in earned.annotate(amount=Sum("amount")).values_list(
        "payslip__store", "line_code", "amount"
    ):
        lines[store][code] = amount
    paid = _by_store(Payslip.objects.filter(month=month), "paid_amount")
    write_offs = Adjustment.objects.approved().filter(month=month, write_off=True, clerk__payslips__month=month)
    written_off = _by_store(write_offs.annotate(store=F("clerk__payslips__store")), "amount")
    house = _by_store(Attribution.objects.filter(month=month), "house_commission_amount")
    stores = Store.objects.filter(pk__in={*paid, *(store for store, amount in house.items() if amount)})
    return [
        StoreJournal(
            store.store_no,
            store.name,
            month.ends_on,
            entries(
                lines[store.pk],
                paid=paid.get(store.pk, 0),
                house=house.get(store.pk, 0),
                written_off=written_off.get(store.pk, 0),
            ),
        )
        for store in stores.order_by("store_no")
    ]


def account_codes() -> dict[str, str]:
    """The chain's code of each account: HR's, or else the ready one."""
    return {account.value: account.ready_code for account in Account} | dict(
        JournalAccount.objects.values_list("account", "code")
    )


def _by_store(rows: QuerySet[Any], column: str) -> dict[int, int]:
    return dict(rows.order_by().values("store").annotate(amount=Sum(column)).values_list("store", "amount"))
