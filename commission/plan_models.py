"""Plans: dated sets of rates, shares and bands, for the chain or for one store; and what put each of them in force.

A plan is a draft until it is issued. Once a ticket has used it, it is only ended, or superseded by another one, which
corrects what the open months have booked by it (commission/plan_changes.py).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import NoOverlap
from portfolios.models import OPEN_END, Posting, Store, User, on_date

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class Category(models.Model):
    category = models.CharField(_("category"), max_length=50, unique=True)
    name_en = models.CharField(_("English name"), max_length=100)
    name_zh = models.CharField(_("Chinese name"), max_length=100)
    excluded = models.BooleanField(
        _("excluded"), default=False, help_text=_("Earns no commission unless a plan gives it a rate.")
    )

    class Meta:
        ordering = ["category"]
        verbose_name = _("category")
        verbose_name_plural = _("categories")

    def __str__(self) -> str:
        return self.name_zh if (get_language() or "").startswith("zh") else self.name_en


class PlanQuerySet(models.QuerySet["Plan"]):
    def issued(self) -> Self:
        """The plans that tickets are attributed by on the days that they cover."""
        return self.filter(state=Plan.State.ISSUED)

    def in_force(self, store_id: int, on: dt.date) -> Plan | None:
        """The plan of a store on a date: its own, else the chain's."""
        found = self.issued().filter(on_date(on), Q(store=store_id) | Q(store=None))
        return found.order_by(F("store").asc(nulls_last=True)).first()

    def for_user(self, user: User | AnonymousUser) -> Self:
        """The plans that the user may read: those that pay oneself, the managed stores' and the chain's, or all.

        A draft is the office's alone.
        """
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        if not user.clerk_id:
            return self.none()
        readable = Q(pk__in=plans_that_pay(user.clerk_id))
        if managed := user.managed_store_ids():
            readable |= Q(store=None) | Q(store__in=managed)
        return self.filter(readable).exclude(state=Plan.State.DRAFT)


def plans_that_pay(clerk_id: int) -> set[int]:
    """The plans by which a clerk's tickets were attributed, and the one in force at the home store today."""
    from commission.models import Attribution
    from portfolios.models import Month

    # By month: the ledger has no index by clerk alone.
    months = list(Month.objects.values_list("pk", flat=True))
    paid: set[int] = set()
    for party in ("owner", "server"):
        rows = Attribution.objects.filter(month__in=months, **{party: clerk_id})
        paid |= set(rows.order_by().values_list("plan", flat=True).distinct())
    today = timezone.localdate()
    home = Posting.objects.clerk_postings().filter(on_date(today), clerk=clerk_id).first()
    plan = Plan.objects.in_force(home.store_id, today) if home else None
    return paid | ({plan.pk} if plan else set())


class Plan(models.Model):
    """A dated set of rates, shares and bands, for the chain (no store) or for one store, whose plan wins."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        ISSUED = "issued", _("issued")
        # Another plan took its place on every day that it had.
        SUPERSEDED = "superseded", _("superseded")

    plan_no = models.CharField(_("plan number"), max_length=30, unique=True)
    store = models.ForeignKey(Store, models.PROTECT, null=True, blank=True, verbose_name=_("store"))
    valid_from = models.DateField(_("from"))
    valid_to = models.DateField(_("until"), default=OPEN_END)
    owner_share_bp = models.PositiveIntegerField(_("owner share"), default=7000)
    house_share_bp = models.PositiveIntegerField(_("house share"), default=0)
    walk_in_share_bp = models.PositiveIntegerField(_("walk-in share"), default=10000)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.ISSUED)

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering = ["plan_no"]
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        constraints = [
            models.CheckConstraint(name="plan_not_empty", condition=Q(valid_from__lt=F("valid_to"))),
            models.CheckConstraint(
                name="plan_shares_at_most_whole",
                condition=Q(owner_share_bp__lte=10000, house_share_bp__lte=10000, walk_in_share_bp__lte=10000),
            ),
            NoOverlap(name="one_plan_at_a_time", key=["store"], where={"state": "issued"}),
        ]

    def __str__(self) -> str:
        return self.plan_no

    @property
    def last_day(self) -> dt.date | None:
        """The last day that it covers; None where it has no end."""
        return None if self.valid_to == OPEN_END else self.valid_to - dt.timedelta(days=1)

    @property
    def is_draft(self) -> bool:
        return self.state == Plan.State.DRAFT

    @property
    def is_issued(self) -> bool:
        return self.state == Plan.State.ISSUED


class PlanRate(models.Model):
    """A plan's rate for a category, or that the plan excludes it."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="rates", verbose_name=_("plan"))
    category = models.ForeignKey(Category, models.PROTECT, related_name="+", verbose_name=_("category"))
    rate_bp = models.PositiveIntegerField(_("rate"), null=True, blank=True)
    excluded = models.BooleanField(_("excluded"), default=False)

    class Meta:
        ordering = ["plan", "category"]
        verbose_name = _("plan rate")
        verbose_name_plural = _("plan rates")
        constraints = [
            models.UniqueConstraint(name="one_rate_per_category", fields=["plan", "category"]),
            models.CheckConstraint(
                name="rate_or_excluded",
                condition=Q(excluded=True, rate_bp__isnull=True) | Q(excluded=False, rate_bp__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} {self.category}"


class PlanProduct(models.Model):
    """A plan's rate for one product: a percentage, or an amount per unit sold."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="products", verbose_name=_("plan"))
    product_no = models.CharField(_("product number"), max_length=50)
    rate_bp = models.PositiveIntegerField(_("rate"), null=True, blank=True)
    unit_amount = models.PositiveBigIntegerField(_("amount per unit"), null=True, blank=True)

    class Meta:
        ordering = ["plan", "product_no"]
        verbose_name = _("product rate")
        verbose_name_plural = _("product rates")
        constraints = [
            models.UniqueConstraint(name="one_rate_per_product", fields=["plan", "product_no"]),
            models.CheckConstraint(
                name="rate_or_amount_per_unit",
                condition=Q(rate_bp__isnull=True, unit_amount__isnull=False)
                | Q(rate_bp__isnull=False, unit_amount__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} {self.product_no}"


class Band(models.Model):
    """A step of a plan's monthly accelerator: from `lower_amount` of credit on, up to the next step's."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="bands", verbose_name=_("plan"))
    lower_amount = models.PositiveBigIntegerField(_("from credit"))
    rate_bp = models.PositiveIntegerField(_("rate"))

    class Meta:
        ordering = ["plan", "lower_amount"]
        verbose_name = _("band")
        verbose_name_plural = _("bands")
        constraints = [models.UniqueConstraint(name="one_band_per_bound", fields=["plan", "lower_amount"])]

    def __str__(self) -> str:
        return f"{self.plan} {self.lower_amount}"


class PlanChangeQuerySet(models.QuerySet["PlanChange"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The changes of plans that the user may see: they show everyone's pay, and are the office's."""
        if not isinstance(user, User) or not user.is_active or not user.office:
            return self.none()
        return self


class PlanChange(models.Model):
    """That a draft is issued: shown first, then done so or not at all.

    It ends the plan before it in the same scope, and what the open months have booked by another plan on the days of
    the new one is corrected. `basis` is the digest of what it was worked out from.
    """

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="changes", verbose_name=_("plan"))
    # The plan of the same scope that was in force on its first day, and until when it was then.
    replaces = models.ForeignKey(
        Plan, models.PROTECT, null=True, blank=True, related_name="replaced_by", verbose_name=_("takes the place of")
    )
    former_valid_to = models.DateField(_("until, before it was ended"), null=True, blank=True)
    note = models.CharField(_("note"), max_length=500, blank=True)
    document = models.JSONField(_("document"), help_text=_("What it moves: the pay of each clerk, before and after."))
    basis = models.CharField(_("basis"), max_length=64)
    drafted_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", verbose_name=_("drafted by"))
    drafted_at = models.DateTimeField(_("drafted at"), auto_now_add=True)
    applied_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("applied by")
    )
    applied_at = models.DateTimeField(_("applied at"), null=True, blank=True)
    # What wrote the corrections; none where no ticket was booked yet.
    booking = models.OneToOneField(
        "commission.Booking",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="plan_change",
        verbose_name=_("booking"),
    )

    objects = PlanChangeQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("change of plans")
        verbose_name_plural = _("changes of plans")
        constraints = [
            models.CheckConstraint(
                name="plan_change_corrects_once_applied",
                condition=Q(booking__isnull=True) | Q(applied_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} {self.drafted_at:%Y-%m-%d %H:%M}"
