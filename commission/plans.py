"""What is true of a plan: whether it is complete, whether tickets use it, and which of them it does not pay yet.

Of a chain's plan 2026-A from 1 January on and a store's 2026-S2 from 1 March on, a ticket of that store on 2 March is
the store plan's: booked by 2026-A before 2026-S2 was there, it is booked otherwise.
"""

import datetime as dt
from collections.abc import Iterable, Mapping

from django.db.models import Max, Q, QuerySet

from commission.models import Attribution, Band, Category, Plan, PlanChange, PlanRate, SalePart
from portfolios.months import month_days, month_number


def last_use(plan: Plan) -> dt.date | None:
    """The last business date of which an attribution or a ticket stands on the plan."""
    used = [
        model.objects.filter(plan=plan).aggregate(last=Max("business_date"))["last"]
        for model in (SalePart, Attribution)
    ]
    return max((day for day in used if day), default=None)


def is_used(plan: Plan) -> bool:
    """Whether a ticket uses the plan, or has used it until another one took its place."""
    if plan.is_draft:
        return False
    return (
        not plan.is_issued
        or PlanChange.objects.filter(replaces=plan, booking__isnull=False).exists()
        or SalePart.objects.filter(_on_its_days(plan), plan=plan).exists()
    )


def _on_its_days(plan: Plan) -> Q:
    # By the ticket: there is an index on its date.
    days = Q(sale__business_date__gte=plan.valid_from, sale__business_date__lt=plan.valid_to)
    return days & Q(sale__store=plan.store_id) if plan.store_id else days


def booked_otherwise(plan: Plan) -> QuerySet[SalePart]:
    """The parts of sales that the plan pays on its days, as far as they are booked by another one.

    A store's plan wins over the chain's; a return has the plan of its sale, whatever its own date.
    """
    parts = SalePart.objects.filter(_on_its_days(plan), original__isnull=True)
    if plan.store_id is None:
        parts = parts.filter(plan__store__isnull=True)
    return parts.exclude(plan=plan.pk) if plan.pk else parts


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
    plans = Plan.objects.issued().order_by("plan_no")
    return list(plans.filter(valid_to__gt=on) if on else plans)
