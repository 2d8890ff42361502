"""The roster's file about salaries."""

from commission.resources import AmountCell
from payroll_exports.models import Salary
from portfolios.models import Clerk
from portfolios.roster_files import Column, DateCell, DatedResource, ReferenceCell, UntilCell


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
