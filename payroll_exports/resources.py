"""The roster's files about pay: salaries, and clerks' identity documents."""

import datetime as dt
from collections import defaultdict
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.resources import AmountCell
from payroll_exports.identity_documents import TAX_WORDS, IdentityDocument, number_fault
from payroll_exports.models import Salary
from portfolios.models import OPEN_END, Clerk
from portfolios.phones import masked
from portfolios.roster_files import (
    ChoiceCell,
    Column,
    DateCell,
    DatedResource,
    NumberCell,
    ReferenceCell,
    RosterResource,
    Row,
    RowProblem,
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
