"""The roster's files about rates: categories, plans, their rates by category and product, and their bands."""

import datetime as dt
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Max, Model, QuerySet
from django.utils.translation import gettext as _

from commission.models import Band, Category, Plan, PlanProduct, PlanRate
from commission.money import AmountError, amount_fault, format_amount, parse_amount
from commission.plans import booked_otherwise, last_use
from portfolios.models import Store
from portfolios.roster_files import (
    Cell,
    ChoiceCell,
    Column,
    DateCell,
    DatedResource,
    NumberCell,
    RatioCell,
    ReferenceCell,
    RosterResource,
    Row,
    RowProblem,
    TextCell,
    UntilCell,
    closed_month,
)

_EXCLUDED = "excluded"


class AmountCell(Cell):
    """An amount of 0 or more in currency units, "333.00"; stored in minor units, 33300."""

    def parse(self, text: str) -> int:
        try:
            amount = parse_amount(text)
        except AmountError:
            raise RowProblem(
                *amount_fault(text)
                or (
                    _("This is not written as an amount."),
                    _("Write ordinary digits with at most two decimals and no thousands separators, such as 1234.50."),
                )
            ) from None
        if amount < 0:
            raise RowProblem(_("The amount is below zero."), _("Write 0 or more, for example 1234.50."))
        return amount

    def render(self, value: int | None, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else format_amount(value)


class RateCell(RatioCell):
    """A percentage, or the word `excluded`."""

    def parse(self, text: str) -> Any:
        return _EXCLUDED if text == _EXCLUDED else super().parse(text)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return _EXCLUDED if value is None else super().render(value)


class CategoryResource(RosterResource):
    file_name = "categories.csv"
    key = ("category",)

    category = Column("category", TextCell(50))
    name_en = Column("name_en", TextCell(100))
    name_zh = Column("name_zh", TextCell(100))
    excluded = Column("excluded", ChoiceCell({"yes": True, "no": False}))

    class Meta:
        model = Category
        fields = ("category", "name_en", "name_zh", "excluded")


def _not_issued(plan: Plan) -> RowProblem:
    if plan.is_draft:
        return RowProblem(
            _("The plan is a draft on the page of plans."), _("Issue it there, or give this one another number.")
        )
    return RowProblem(_("Another plan has taken the place of this one."), _("Give the new plan a number of its own."))


def _in_use(last: dt.date) -> RowProblem:
    return RowProblem(
        _("The plan is used by tickets up to %(day)s and can't be edited any more.") % {"day": last},
        _("End it (valid_to, after that day) and add a new plan that follows."),
    )


class PlanResource(DatedResource):
    file_name = "plans.csv"
    key = ("plan_no",)

    plan_no = Column("plan_no", NumberCell(30))
    store_no = Column("store", ReferenceCell(Store, "store_no", required=False))
    valid_from = Column("valid_from", DateCell())
    valid_to = Column("valid_to", UntilCell())
    owner_share = Column("owner_share_bp", RatioCell())
    house_share = Column("house_share_bp", RatioCell(required=False, default=0))
    walk_in_share = Column("walk_in_share_bp", RatioCell(required=False, default=10_000))

    class Meta:
        model = Plan
        fields = ("plan_no", "store_no", "valid_from", "valid_to", "owner_share", "house_share", "walk_in_share")

    def export(self, queryset: QuerySet[Plan] | None = None, **kwargs: Any) -> Any:
        return super().export(Plan.objects.issued() if queryset is None else queryset, **kwargs)

    def scope(self, instance: Plan) -> tuple[int | None] | None:
        return (instance.store_id,) if instance.is_issued else None

    def check_closed_months(self, row: Row) -> None:
        plan = row.instance
        if not plan.is_issued:
            self.refuse(row, "plan_no", _not_issued(plan))
        elif not row.is_new and (last := last_use(plan)) and (problem := self._edits(row, last)):
            self.refuse(row, *problem)
        else:
            refused = len(self.result.invalid_rows)
            super().check_closed_months(row)
            if len(self.result.invalid_rows) == refused:
                self._check_booked(row)

    def _edits(self, row: Row, last: dt.date) -> tuple[str, RowProblem] | None:
        """What of a plan in use the row changes: anything but an end after its last use."""
        if edited := set(row.before) - {"valid_to"}:
            columns = {column.stored_as: name for name, column in self.columns}
            return columns[min(edited)], _in_use(last)
        return ("valid_to", _in_use(last)) if row.instance.valid_to <= last else None

    def _check_booked(self, row: Row) -> None:
        """A plan takes no ticket over from another one here: that changes pay, and is shown first on a page."""
        last = booked_otherwise(row.instance).aggregate(last=Max("business_date"))["last"]
        if last is not None:
            self.refuse(
                row,
                "valid_from",
                RowProblem(
                    _("Tickets up to %(day)s, which this plan would pay, are booked by another plan.") % {"day": last},
                    _("Begin it after that day, or issue it on the page of plans, which corrects what is booked."),
                ),
            )

    def write_changed(self, instances: list[Plan]) -> None:
        # One by one, those that end earlier first: what follows may begin where they used to be.
        ends = {row.instance.pk: row.before.get("valid_to", row.instance.valid_to) for row in self.rows}
        for plan in sorted(instances, key=lambda plan: plan.valid_to >= ends[plan.pk]):
            plan.save()


class _PlanPartResource(RosterResource):
    """Rows that belong to a plan, which no ticket may have used, nor any day of a closed month."""

    def export(self, queryset: QuerySet[Any] | None = None, **kwargs: Any) -> Any:
        model: type[Model] = self._meta.model
        issued = model._default_manager.filter(plan__state=Plan.State.ISSUED)
        return super().export(issued if queryset is None else queryset, **kwargs)

    def load(self) -> None:
        self.uses: dict[int, dt.date | None] = {}
        self.plans: dict[int, Plan] = Plan.objects.in_bulk()

    def check_rows(self) -> None:
        super().check_rows()
        for row in self.rows:
            plan = self.plans[row.instance.plan_id]
            if plan.pk not in self.uses:
                self.uses[plan.pk] = last_use(plan)
            if not plan.is_issued:
                self.refuse(row, "plan_no", _not_issued(plan))
            elif last := self.uses[plan.pk]:
                self.refuse(row, "plan_no", _in_use(last))
            elif self.first_open_day is not None and plan.valid_from < self.first_open_day:
                self.refuse(row, "plan_no", closed_month(self.first_open_day))


class PlanRateResource(_PlanPartResource):
    file_name = "plan_rates.csv"
    key = ("plan_no", "category")

    plan_no = Column("plan", ReferenceCell(Plan, "plan_no"))
    category = Column("category", ReferenceCell(Category, "category"))
    rate = Column("rate_bp", RateCell())

    class Meta:
        model = PlanRate
        fields = ("plan_no", "category", "rate")

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        values["excluded"] = values["rate_bp"] == _EXCLUDED
        if values["excluded"]:
            values["rate_bp"] = None

    def write_changed(self, instances: list[PlanRate]) -> None:
        PlanRate.objects.bulk_update(instances, ["rate_bp", "excluded"], batch_size=500)


class PlanProductResource(_PlanPartResource):
    file_name = "plan_products.csv"
    key = ("plan_no", "product_no")

    plan_no = Column("plan", ReferenceCell(Plan, "plan_no"))
    product_no = Column("product_no", NumberCell(50))
    rate = Column("rate_bp", RatioCell(required=False))
    amount_per_unit = Column("unit_amount", AmountCell(required=False))

    class Meta:
        model = PlanProduct
        fields = ("plan_no", "product_no", "rate", "amount_per_unit")

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        if (values["rate_bp"] is None) == (values["unit_amount"] is None):
            problems["rate"] = RowProblem(
                _("A product has either a rate or an amount per unit."), _("Fill one of the two cells.")
            )


class BandResource(_PlanPartResource):
    file_name = "bands.csv"
    key = ("plan_no", "lower_amount")

    plan_no = Column("plan", ReferenceCell(Plan, "plan_no"))
    lower_amount = Column("lower_amount", AmountCell())
    rate = Column("rate_bp", RatioCell())

    class Meta:
        model = Band
        fields = ("plan_no", "lower_amount", "rate")
