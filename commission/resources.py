"""The roster's files about rates: categories, plans, their rates by category and product, and their bands."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Max
from django.utils.translation import gettext as _

from commission.models import Attribution, Band, Category, Plan, PlanProduct, PlanRate, SalePart
from commission.money import AmountError, format_amount, parse_amount
from portfolios.models import Store
from portfolios.months import month_days, month_number
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
)

_EXCLUDED = "excluded"


class AmountCell(Cell):
    """An amount of 0 or more in currency units, "333.00"; stored in minor units, 33300."""

    def parse(self, text: str) -> int:
        try:
            amount = parse_amount(text)
        except AmountError:
            amount = -1
        if amount < 0:
            raise RowProblem(
                _("This is not an amount as the file must write it."),
                _("Write ordinary digits with at most two decimals and no thousands separators, such as 1234.50."),
            )
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


def last_use(plan: Plan) -> dt.date | None:
    """The last business date of which an attribution or a ticket stands on the plan."""
    used = [
        model.objects.filter(plan=plan).aggregate(last=Max("business_date"))["last"]
        for model in (SalePart, Attribution)
    ]
    return max((day for day in used if day), default=None)


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

    def scope(self, instance: Plan) -> tuple[int | None]:
        return (instance.store_id,)

    def check_closed_months(self, row: Row) -> None:
        """What has used a plan says more than a closed month does."""
        if row.is_new or (last := last_use(row.instance)) is None:
            return
        if set(row.before) - {"valid_to"}:
            columns = {column.stored_as: name for name, column in self.columns}
            self.refuse(row, columns[min(set(row.before) - {"valid_to"})], _in_use(last))
        elif row.instance.valid_to <= last:
            self.refuse(row, "valid_to", _in_use(last))

    def write_changed(self, instances: list[Plan]) -> None:
        # One by one, those that end earlier first: what follows may begin where they used to be.
        ends = {row.instance.pk: row.before.get("valid_to", row.instance.valid_to) for row in self.rows}
        for plan in sorted(instances, key=lambda plan: plan.valid_to >= ends[plan.pk]):
            plan.save()


class _PlanPartResource(RosterResource):
    """Rows that belong to a plan, which no ticket may have used."""

    def load(self) -> None:
        self.uses: dict[int, dt.date | None] = {}
        self.plans: dict[int, Plan] = Plan.objects.in_bulk()

    def check_rows(self) -> None:
        super().check_rows()
        for row in self.rows:
            plan = row.instance.plan_id
            if plan not in self.uses:
                self.uses[plan] = last_use(self.plans[plan])
            if last := self.uses[plan]:
                self.refuse(row, "plan_no", _in_use(last))


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


def lacking_rates(plans: Iterable[Plan]) -> Mapping[str, list[str]]:
    """By plan number, the categories that a plan neither rates nor excludes, and that aren't excluded by default."""
    wanted = set(Category.objects.filter(excluded=False).values_list("category", flat=True))
    rated: dict[int, set[str]] = {plan.pk: set() for plan in plans}
    for plan, category in PlanRate.objects.filter(plan__in=rated).values_list("plan", "category__category"):
        rated[plan].add(category)
    return {plan.plan_no: sorted(wanted - rated[plan.pk]) for plan in plans if wanted - rated[plan.pk]}


def misdated_band_plans(plans: Iterable[Plan]) -> list[Plan]:
    """Plans with bands that don't start on a month's first day: half a month has no accelerator."""
    banded = set(Band.objects.filter(plan__in=plans).values_list("plan", flat=True))
    return [
        plan for plan in plans if plan.pk in banded and plan.valid_from != month_days(month_number(plan.valid_from))[0]
    ]


def running_plans(on: dt.date | None) -> list[Plan]:
    """The plans that a ticket from `on` (any day, if None) may still use."""
    plans = Plan.objects.order_by("plan_no")
    return list(plans.filter(valid_to__gt=on) if on else plans)
