"""Issuing a plan: preview, then apply; ending one, and taking back one that no ticket has used.

A new plan ends the one before it in its scope. Where the open months have tickets on its days that are booked by
another plan, it supersedes that one: each is reversed and booked anew, so that the ledger is what it would be had the
new plan been there from the start. 200.00 at 3% split 70/30, superseded by 4% and 60/40: -4.20 and -1.80, then +4.80
and +3.20. Closed months never change.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.attribution import lock_ledger
from commission.bands import accelerators
from commission.corrections import correct
from commission.ledger_copies import copy_ledger
from commission.models import Attribution, Band, Booking, Plan, PlanChange, PlanProduct, PlanRate, SalePart
from commission.plan_terms import PlanTerms, write_terms
from commission.plans import booked_otherwise, is_used, lacking_rates, misdated_band_plans
from commission.rebinding import hold_ledger
from commission.repricing import BeyondMeasure, reprice
from portfolios.models import OPEN_END, Clerk, Month, User, on_date
from portfolios.months import first_open_day, require_open
from portfolios.postings import postings_in

SOURCE = "plan"
DAY = dt.timedelta(days=1)


class PlanRefused(ValueError):
    """A plan that cannot be changed as asked; the message says why and what to do."""


class PlanChanged(PlanRefused):
    """The plans are not as the preview found them: it must be made anew."""


# --- Issuing -----------------------------------------------------------------------------------------------------


def preview(plan: Plan, *, by: User | None, note: str = "") -> PlanChange:
    """Shows what issuing the draft would do. Raises as `ask_preview` and `work_out` do, and then leaves nothing."""
    with transaction.atomic():
        return work_out(ask_preview(plan, by=by, note=note))


def ask_preview(plan: Plan, *, by: User | None, note: str = "") -> PlanChange:
    """The draft's change with nothing in it yet: `work_out` takes long where many tickets are booked.

    Raises PlanRefused, or MonthError where the plan begins in a closed month.
    """
    plan = Plan.objects.get(pk=plan.pk)
    _check(plan)
    return PlanChange.objects.create(plan=plan, note=note.strip()[:500], drafted_by=by, document={})


def work_out(change: PlanChange) -> PlanChange:
    """Carries out what issuing the draft would do on a copy, rolls it back, and records it as it would be.

    Tickets are booked meanwhile. Raises PlanRefused, or MonthError where the plan begins in a closed month.
    """
    with transaction.atomic():
        plan = Plan.objects.select_for_update(of=("self",)).get(pk=change.plan_id)
        _check(plan)
        basis, document = _basis(plan), _facts(plan)
        sums = _sums(Attribution.objects.all())
        before = _pay(sums)
        with transaction.atomic():
            tried = PlanChange.objects.get(pk=change.pk)
            parts = _put_in_force(tried, change.drafted_by)
            if parts.exists():
                copy_ledger(parts)
                _book_anew(tried, parts, change.drafted_by)
            document |= _moved(tried.booking, sums, before)
            transaction.set_rollback(True)
        change.basis, change.document = basis, document
        change.save(update_fields=["basis", "document"])
        return change


def apply_change(change: PlanChange, *, by: User | None) -> PlanChange:
    """Issues the draft as it was shown. Applied twice it is done once.

    Raises PlanChanged where the plans are not as they were shown, PlanRefused and MonthError as `preview` does.
    """
    with transaction.atomic():
        hold_ledger()
        change = PlanChange.objects.select_for_update(of=("self",)).select_related("plan").get(pk=change.pk)
        if change.applied_at:
            return change
        if _basis(change.plan) != change.basis:
            raise PlanChanged(
                _("The plan, or one that it follows, was changed after this preview. Nothing was applied: look again.")
            )
        _check(change.plan)
        parts = _put_in_force(change, by)
        if parts.exists():
            _book_anew(change, parts, by)
        return change


def _check(plan: Plan) -> None:
    if not plan.is_draft:
        raise PlanRefused(_("Plan %(plan)s is issued already.") % {"plan": plan})
    require_open(plan.valid_from, _("Plan %(plan)s") % {"plan": plan})
    check_complete(plan)


def check_complete(plan: Plan) -> None:
    """Raises PlanRefused for a plan that lacks a rate, or has bands and begins in the middle of a month."""
    if lacking := lacking_rates([plan]).get(plan.plan_no):
        raise PlanRefused(
            _("The plan has no rate for: %(categories)s. Give each a rate, or exclude it.")
            % {"categories": ", ".join(lacking)}
        )
    if misdated_band_plans([plan]):
        raise PlanRefused(
            _("The plan has bands, and starts on %(day)s. Start it on a month's first day, or remove its bands.")
            % {"day": plan.valid_from}
        )


def _same_scope(plan: Plan) -> Any:
    scope = Q(store=plan.store_id) if plan.store_id else Q(store=None)
    return Plan.objects.issued().filter(scope).exclude(pk=plan.pk)


def predecessor(plan: Plan) -> Plan | None:
    """The plan that is in force in the same scope on the plan's first day."""
    found: Plan | None = _same_scope(plan).filter(valid_from__lte=plan.valid_from, valid_to__gt=plan.valid_from).first()
    return found


def compared_with(plan: Plan) -> Plan | None:
    """The plan that people knew before this one: the one it took the place of or follows, else the chain's."""
    change = plan.changes.filter(applied_at__isnull=False).select_related("replaces").first()
    if change and change.replaces:
        return change.replaces
    found: Plan | None = predecessor(plan)
    found = found or _same_scope(plan).filter(valid_from__lt=plan.valid_from).order_by("valid_from").last()
    if found is None and plan.store_id:
        return Plan.objects.issued().filter(on_date(plan.valid_from), store=None).first()
    return found


def _next(plan: Plan) -> Plan | None:
    found: Plan | None = _same_scope(plan).filter(valid_from__gt=plan.valid_from).order_by("valid_from").first()
    return found


def _until(plan: Plan) -> dt.date:
    """Until when the plan will be valid: at most until the next one of its scope begins."""
    following = _next(plan)
    return min(plan.valid_to, following.valid_from) if following else plan.valid_to


def _basis(plan: Plan) -> str:
    """A digest of the plan's terms, and of what it follows and precedes."""
    facts: list[Any] = [plan.plan_no, plan.store_id, plan.state, plan.valid_from, plan.valid_to]
    facts += [plan.owner_share_bp, plan.house_share_bp, plan.walk_in_share_bp]
    facts += PlanRate.objects.filter(plan=plan).order_by("category").values_list("category", "rate_bp", "excluded")
    products = PlanProduct.objects.filter(plan=plan).order_by("product_no")
    facts += products.values_list("product_no", "rate_bp", "unit_amount")
    facts += Band.objects.filter(plan=plan).order_by("lower_amount").values_list("lower_amount", "rate_bp")
    for other in (predecessor(plan), _next(plan)):
        facts.append((other.pk, other.valid_from, other.valid_to) if other else None)
    return hashlib.sha256(ascii(facts).encode()).hexdigest()


def _facts(plan: Plan) -> dict[str, Any]:
    """What of other plans the change touches."""
    old, until = predecessor(plan), _until(plan)
    return {
        "replaces": old.plan_no if old else "",
        "whole": old is not None and old.valid_from == plan.valid_from,
        "last_day": "" if until == OPEN_END else (until - DAY).isoformat(),
        "shortened": until < plan.valid_to,
    }


def _put_in_force(change: PlanChange, by: User | None) -> QuerySet[SalePart]:
    """Ends the plan before and puts the new one in force; returns what is booked by another one on its days."""
    plan = change.plan
    old, plan.valid_to = predecessor(plan), _until(plan)
    if old:
        _refuse_remainder(plan, old)
        change.replaces, change.former_valid_to = old, old.valid_to
        if old.valid_from == plan.valid_from:
            old.state = Plan.State.SUPERSEDED
        else:
            old.valid_to = plan.valid_from
        old.save(update_fields=["state", "valid_to"])
    plan.state = Plan.State.ISSUED
    plan.save(update_fields=["state", "valid_to"])
    change.applied_at, change.applied_by = timezone.now(), by
    change.save(update_fields=["replaces", "former_valid_to", "applied_at", "applied_by"])
    return booked_otherwise(plan)


def _book_anew(change: PlanChange, parts: QuerySet[SalePart], by: User | None) -> None:
    """Corrects what is booked of these parts of sales: by the change's plan."""
    if not change.note:
        raise PlanRefused(_("Tickets are booked on the days of this plan: say why they are booked anew."))
    lock_ledger()
    source = f"{SOURCE} {change.plan.plan_no}"
    change.booking = Booking.objects.create(source=source, note=change.note, recorded_by=by)
    change.save(update_fields=["booking"])
    try:
        repriced = reprice(parts, change)
    except BeyondMeasure as error:
        raise PlanRefused(
            _("At its amount per unit, product %(product)s would pay beyond every measure for a ticket: lower it.")
            % {"product": error}
        ) from error
    correct(booking=change.booking, parts=repriced)


def _refuse_remainder(plan: Plan, old: Plan) -> None:
    """The old plan does not come back once the new one ends."""
    left = SalePart.objects.filter(plan=old, original__isnull=True, sale__business_date__gte=plan.valid_to)
    last = left.aggregate(last=Max("business_date"))["last"]
    if last is not None:
        raise PlanRefused(
            _("Tickets up to %(last)s are booked by plan %(old)s: let the new plan last until then at least.")
            % {"last": last, "old": old}
        )


# --- What it moves -----------------------------------------------------------------------------------------------

# By clerk (None: what the stores keep), the commission and the accelerator, in minor units.
Pay = dict[int | None, list[int]]


# By month and clerk (None: what the stores keep), the credit and the commission.
Sums = dict[tuple[int, int | None], list[int]]


def _sums(rows: QuerySet[Attribution]) -> Sums:
    """What these rows have brought each clerk in the open months."""
    sums: Sums = defaultdict(lambda: [0, 0])
    for month in Month.objects.filter(closed_at__isnull=True).values_list("pk", flat=True):
        of_month = rows.filter(month=month).order_by()
        for party in ("owner", "server"):
            brought = of_month.filter(**{f"{party}__isnull": False}).values_list(party)
            for clerk, *amounts in brought.annotate(Sum(f"{party}_credit_amount"), Sum(f"{party}_commission_amount")):
                _add(sums, (month, clerk), amounts)
        _add(sums, (month, None), [0, of_month.aggregate(house=Sum("house_commission_amount"))["house"] or 0])
    return sums


def _add(sums: Sums, key: tuple[int, int | None], amounts: list[int]) -> None:
    sums[key] = [have + more for have, more in zip(sums[key], amounts, strict=True)]


def _pay(sums: Sums) -> Pay:
    """The pay that the sums come to, with the accelerator by the plans that are in force by now."""
    pay: Pay = defaultdict(lambda: [0, 0])
    credits: dict[int, dict[int, int]] = defaultdict(dict)
    for (number, clerk), (credit, commission) in sums.items():
        pay[clerk][0] += commission
        if clerk is not None:
            credits[number][clerk] = credit
    for month in Month.objects.filter(pk__in=credits):
        for clerk, amount in accelerators(month, credits[month.pk], postings_in(month)).items():
            pay[clerk][1] += amount
    return pay


def _moved(booking: Booking | None, sums: Sums, before: Pay) -> dict[str, Any]:
    """What the change has just moved: how many tickets, in which months, and everyone's pay before and after."""
    rows = Attribution.objects.filter(booking=booking) if booking else Attribution.objects.none()
    for key, amounts in _sums(rows).items():
        _add(sums, key, amounts)
    after = _pay(sums)
    rows = rows.filter(reverses=True)
    counts = rows.aggregate(tickets=Count("part__sale", distinct=True), rows=Count("pk"))
    clerks: dict[int | None, Clerk] = dict(Clerk.objects.in_bulk([pk for pk in before | after if pk is not None]))
    moved = [
        {
            "clerk_no": clerks[pk].clerk_no,
            "name": clerks[pk].name,
            "commission": [before[pk][0], after[pk][0]],
            "accelerator": [before[pk][1], after[pk][1]],
            "together": [sum(before[pk]), sum(after[pk])],
        }
        for pk in clerks
        if before[pk] != after[pk]
    ]
    months = Month.objects.filter(pk__in=rows.order_by().values("month")).order_by("pk")
    return {
        **counts,
        "months": [month.name for month in months],
        "clerks": sorted(moved, key=lambda row: str(row["clerk_no"])),
        "cost": [sum(sum(amounts) for pk, amounts in pay.items() if pk is not None) for pay in (before, after)],
        "house": [before[None][0], after[None][0]],
    }


# --- Ending, taking back, discarding -----------------------------------------------------------------------------


def end_plan(plan: Plan, last_day: dt.date | None) -> None:
    """Sets the last day that an issued plan covers; None is no end. Only days that no month has closed change.

    Raises PlanRefused, or MonthError for a day of a closed month.
    """
    with transaction.atomic():
        hold_ledger()
        plan = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        until = last_day + DAY if last_day else OPEN_END
        if not plan.is_issued:
            raise PlanRefused(_("Plan %(plan)s is not in force: only a plan that is issued ends.") % {"plan": plan})
        if until <= plan.valid_from:
            raise PlanRefused(_("The plan begins on %(day)s: its last day is no earlier.") % {"day": plan.valid_from})
        require_open(min(until, plan.valid_to), _("The end of plan %(plan)s") % {"plan": plan})
        if following := _same_scope(plan).filter(valid_from__gt=plan.valid_from, valid_from__lt=until).first():
            raise PlanRefused(
                _("Plan %(plan)s begins on %(day)s: this one ends before it.")
                % {"plan": following, "day": following.valid_from}
            )
        used = SalePart.objects.filter(plan=plan, original__isnull=True, sale__business_date__gte=until)
        last = used.aggregate(last=Max("business_date"))["last"]
        if last is not None:
            raise PlanRefused(
                _(
                    "Tickets up to %(last)s are booked by this plan: it ends on that day or later. To pay them by "
                    "another one, make a copy that begins earlier."
                )
                % {"last": last}
            )
        plan.valid_to = until
        if booked_otherwise(plan).exists():
            raise PlanRefused(
                _("Tickets of those days are booked by another plan. Issue a copy of this one: it corrects them.")
            )
        plan.save(update_fields=["valid_to"])


def withdraw(plan: Plan) -> None:
    """Makes an issued plan that no ticket has used a draft again; the plan that it ended goes on as before.

    Raises PlanRefused, or MonthError where it begins in a closed month.
    """
    with transaction.atomic():
        hold_ledger()
        plan = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        check_editable(plan)
        if plan.is_draft:
            return
        plan.state = Plan.State.DRAFT
        plan.save(update_fields=["state"])
        change = plan.changes.filter(applied_at__isnull=False).select_related("replaces").first()
        old = change.replaces if change else None
        if change and old and change.former_valid_to and plan_ended_by(old) == plan.valid_from:
            old.state, old.valid_to = Plan.State.ISSUED, change.former_valid_to
            old.valid_to = _until(old)
            old.save(update_fields=["state", "valid_to"])
        plan.changes.all().delete()


def plan_ended_by(old: Plan) -> dt.date:
    """The first day on which a plan that another took the place of no longer counts."""
    return old.valid_from if old.state == Plan.State.SUPERSEDED else old.valid_to


def discard(plan: Plan) -> None:
    """Deletes a draft. Raises PlanRefused for any other plan."""
    with transaction.atomic():
        plan = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        if not plan.is_draft:
            raise PlanRefused(_("Plan %(plan)s is issued: only a draft is discarded.") % {"plan": plan})
        plan.delete()


def change_terms(plan: Plan, terms: PlanTerms) -> None:
    """Writes other terms of a plan that no ticket has used, on the days that it has.

    Raises PlanRefused, or MonthError where it begins in a closed month.
    """
    with transaction.atomic():
        hold_ledger()
        plan = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        check_editable(plan)
        write_terms(plan, terms)
        if not plan.is_draft:
            check_complete(plan)


def check_editable(plan: Plan) -> None:
    """Raises PlanRefused for a plan that a ticket has used, MonthError for one that begins in a closed month."""
    if is_used(plan):
        raise PlanRefused(
            _(
                "Tickets have used plan %(plan)s, so it can't be edited any more. Make a copy: from the day that you "
                "choose it takes this one's place, and corrects what the open months have booked."
            )
            % {"plan": plan}
        )
    if not plan.is_draft:
        require_open(plan.valid_from, _("Plan %(plan)s") % {"plan": plan})


def is_editable(plan: Plan) -> bool:
    """Whether the plan's terms may still be changed."""
    first = first_open_day()
    return plan.is_draft or (not is_used(plan) and (first is None or plan.valid_from >= first))
