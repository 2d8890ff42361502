"""The roster's files about pay: salaries, adjustments, and clerks' identity documents."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.money import AmountError, amount_fault, parse_amount
from commission.resources import AmountCell
from payroll_exports.adjustment_models import Adjustment
from payroll_exports.adjustments import AdjustmentRefused, check_adjustment
from payroll_exports.identity_documents import TAX_WORDS, IdentityDocument, number_fault
from payroll_exports.models import Salary
from portfolios.models import OPEN_END, Clerk, Month
from portfolios.months import MonthError, get_month
from portfolios.phones import masked
from portfolios.roster_files import (
    Cell,
    ChoiceCell,
    Column,
    DateCell,
    DatedResource,
    NumberCell,
    ReferenceCell,
    RosterResource,
    Row,
    RowProblem,
    TextCell,
    UntilCell,
)


class SalaryResource(DatedResource):
    file_name = "salaries.csv"
    key = ("clerk_no", "valid_from")

    clerk_no = Column("clerk", ReferenceCell(Clerk, "clerk_no"))
    monthly_base = Column("monthly_base_amount", AmountCell())
    valid_from = Column("valid_from", DateCell())
    valid_to = Column("valid_to", UntilCell())

    class Meta:
        model = Salary
        fields = ("clerk_no", "monthly_base", "valid_from", "valid_to")

    def scope(self, instance: Salary) -> int:
        return instance.clerk_id


class SignedAmountCell(AmountCell):
    """An amount in currency units that may be below zero, "-50.00"; stored in minor units, -5000."""

    def parse(self, text: str) -> int:
        try:
            return parse_amount(text)
        except AmountError:
            raise RowProblem(
                *amount_fault(text)
                or (
                    _("This is not written as an amount."),
                    _("Write ordinary digits with at most two decimals, with a minus where it takes: 50 or -50.00."),
                )
            ) from None


class MonthCell(Cell):
    """A month, "2026-10"; stored by its number, 202610."""

    def parse(self, text: str) -> int:
        try:
            return get_month(text).pk
        except MonthError as error:
            raise RowProblem(str(error)) from None

    def render(self, value: int | None, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else f"{value // 100:04d}-{value % 100:02d}"


class AdjustmentResource(RosterResource):
    """Each row asks for an adjustment, which another person approves, as if it had been typed.

    What is there already, waiting or approved, is not asked for again.
    """

    file_name = "adjustments.csv"
    key = ("clerk_no", "month", "amount", "reason")

    clerk_no = Column("clerk", ReferenceCell(Clerk, "clerk_no"))
    month = Column("month_id", MonthCell())
    amount = Column("amount", SignedAmountCell())
    reason = Column("reason", TextCell(500))

    class Meta:
        model = Adjustment
        fields = ("clerk_no", "month", "amount", "reason")

    def get_queryset(self) -> Any:
        return Adjustment.objects.exclude(approved=False)

    def load(self) -> None:
        self.clerks = Clerk.objects.in_bulk()
        self.months = Month.objects.in_bulk()

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        if self.key_of(values) in self.stored:
            return
        clerk, month = self.clerks[values["clerk_id"]], self.months[values["month_id"]]
        try:
            check_adjustment(clerk, month, amount=values["amount"], reason=values["reason"])
        except AdjustmentRefused as refusal:
            problems["clerk_no" if refusal.field == "clerk" else refusal.field] = RowProblem(str(refusal))

    def save_instance(self, instance: Adjustment, is_create: bool, row: Mapping[str, str], **kwargs: Any) -> None:
        instance.asked_by = self.recorded_by
        super().save_instance(instance, is_create, row, **kwargs)


class IdentityDocumentResource(RosterResource):
    """One document each; a number belongs to one person, who may come back under another clerk number."""

    file_name = "identity_documents.csv"
    key = ("clerk_no",)

    clerk_no = Column("clerk", ReferenceCell(Clerk, "clerk_no"))
    # The tax office's words are read as well; the last word of a kind is the one that is written.
    document_type = Column(
        "kind",
        ChoiceCell({word: kind.value for kind, word in TAX_WORDS.items()} | {k.value: k.value for k in TAX_WORDS}),
    )
    document_no = Column("number", NumberCell(30))

    class Meta:
        model = IdentityDocument
        fields = ("clerk_no", "document_type", "document_no")

    def load(self) -> None:
        self.employed: dict[int, tuple[str, dt.date, dt.date]] = {
            pk: (clerk_no, hired_on, left_on or OPEN_END)
            for pk, clerk_no, hired_on, left_on in Clerk.objects.values_list("pk", "clerk_no", "hired_on", "left_on")
        }

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        if fault := number_fault(values["kind"], values["number"], today=timezone.localdate()):
            problems["document_no"] = RowProblem(
                _("This is no number of such a document: %(fault)s") % {"fault": fault},
                _("Compare it with the document."),
            )

    def check_rows(self) -> None:
        by_number: dict[tuple[str, str], set[int]] = defaultdict(set)
        for document in (*self.stored.values(), *(row.instance for row in self.rows)):
            by_number[document.kind, document.number].add(document.clerk_id)
        for row in self.rows:
            clerk_no, hired_on, left_on = self.employed[row.instance.clerk_id]
            others = [self.employed[pk] for pk in by_number[row.instance.kind, row.instance.number]]
            for other_no, hired, left in others:
                if other_no != clerk_no and hired <= left_on and hired_on <= left:
                    problem = RowProblem(
                        _("Clerk %(clerk)s, employed at the same time, has this document.") % {"clerk": other_no},
                        _("Compare both with their documents."),
                    )
                    self.refuse(row, "document_no", problem)
                    break

    def changes(self, row: Row) -> list[tuple[str, str, str]]:
        """As for every file, but for the number that is stored: it is masked on pages."""
        return [(name, masked(old) if name == "document_no" else old, new) for name, old, new in super().changes(row)]
