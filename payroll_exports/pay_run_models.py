"""A pay run: what a month would pay, kept as rows; drafted, reviewed, approved by another, locked by the close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from payroll_exports.line_codes import LineCode
from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Clerk, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class PayRunQuerySet(models.QuerySet["PayRun"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The pay runs the user may see: HR and auditors all; a manager too, and of each the own stores' payslips."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self if user.office or user.managed_store_ids() else self.none()

    def in_force(self) -> Self:
        return self.exclude(state=PayRun.State.REPLACED)


class PayRun(models.Model):
    class State(models.TextChoices):
        DRAFT = "draft", pgettext_lazy("pay run", "draft")
        REVIEWED = "reviewed", pgettext_lazy("pay run", "reviewed")
        APPROVED = "approved", pgettext_lazy("pay run", "approved")
        LOCKED = "locked", pgettext_lazy("pay run", "locked with the month")
        REPLACED = "replaced", pgettext_lazy("pay run", "replaced")

    month = models.ForeignKey(Month, models.PROTECT, related_name="pay_runs", verbose_name=_("month"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    paid_amount = models.BigIntegerField(_("to be paid"))
    # The ledger's last row when the run was last compared with it: at the draft, and again at the approval.
    last_booked = models.BigIntegerField(_("last row of the ledger"))
    drafted_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("drafted by"))
    drafted_at = models.DateTimeField(_("drafted at"), auto_now_add=True)
    reviewed_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("reviewed by")
    )
    reviewed_at = models.DateTimeField(_("reviewed at"), null=True, blank=True)
    approved_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("approved by")
    )
    approved_at = models.DateTimeField(_("approved at"), null=True, blank=True)

    objects = PayRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("pay run")
        verbose_name_plural = _("pay runs")
        constraints = [
            models.UniqueConstraint(name="one_pay_run_in_force", fields=["month"], condition=~Q(state="replaced")),
            models.CheckConstraint(
                name="pay_run_by_two_people", condition=Q(approved_by=None) | ~Q(approved_by=F("drafted_by"))
            ),
            models.CheckConstraint(
                name="pay_run_steps_in_order",
                condition=Q(state="replaced")
                | Q(state="draft", reviewed_by=None, reviewed_at=None, approved_by=None, approved_at=None)
                | Q(
                    state="reviewed",
                    reviewed_by__isnull=False,
                    reviewed_at__isnull=False,
                    approved_by=None,
                    approved_at=None,
                )
                | Q(
                    state__in=["approved", "locked"],
                    reviewed_by__isnull=False,
                    reviewed_at__isnull=False,
                    approved_by__isnull=False,
                    approved_at__isnull=False,
                ),
            ),
            AppendOnly(
                name="pay_run_goes_forward",
                mutable=["state", "last_booked", "reviewed_by_id", "reviewed_at", "approved_by_id", "approved_at"],
                allow=(
                    "(OLD.state = 'draft' AND NEW.state IN ('reviewed', 'replaced'))"
                    " OR (OLD.state = 'reviewed' AND NEW.state IN ('approved', 'replaced'))"
                    " OR (OLD.state = 'approved' AND NEW.state IN ('locked', 'replaced'))"
                ),
            ),
            OpenMonthOnly(name="pay_run_of_open_month", edits=True),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.state}"


class PayRunSlipQuerySet(models.QuerySet["PayRunSlip"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The payslips the user may see: all for HR and auditors, those of the managed stores' clerks for a manager."""
        if isinstance(user, User) and user.is_active and user.office:
            return self
        return self.filter(store__in=Store.objects.for_user(user), clerk__in=Clerk.objects.for_user(user))


class PayRunSlip(models.Model):
    """What a pay run would pay one clerk."""

    run = models.ForeignKey(PayRun, models.PROTECT, related_name="slips", verbose_name=_("pay run"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=_("clerk"))
    store = models.ForeignKey(Store, models.PROTECT, related_name="+", verbose_name=_("store"))
    paid_amount = models.BigIntegerField(_("to be paid"))

    objects = PayRunSlipQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name = _("payslip of a pay run")
        verbose_name_plural = _("payslips of a pay run")
        constraints = [
            models.UniqueConstraint(name="one_slip_per_clerk_and_pay_run", fields=["run", "clerk"]),
            AppendOnly(name="pay_run_slip_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.clerk_id}"


class PayRunLine(models.Model):
    slip = models.ForeignKey(PayRunSlip, models.PROTECT, related_name="lines", verbose_name=_("payslip of a pay run"))
    line_code = models.CharField(_("line"), max_length=20, choices=LineCode)
    quantity = models.PositiveIntegerField(_("quantity"))
    amount = models.BigIntegerField(_("amount"))

    class Meta:
        ordering = ["id"]
        verbose_name = _("line of a pay run")
        verbose_name_plural = _("lines of a pay run")
        constraints = [
            models.UniqueConstraint(name="one_pay_run_line_per_code", fields=["slip", "line_code"]),
            AppendOnly(name="pay_run_line_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.slip_id} {self.line_code}"
