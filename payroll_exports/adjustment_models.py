"""Adjustments: an amount beside the ledger for one clerk and month, with its reason, asked for and approved by two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Clerk, Month, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class AdjustmentQuerySet(models.QuerySet["Adjustment"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The adjustments the user may see: all for HR and auditors, the staff's for a manager, one's own approved."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        seen = self.filter(clerk__in=Clerk.objects.for_user(user).values("pk"))
        return seen.filter(~Q(clerk=user.clerk_id) | Q(approved=True))

    def waiting(self) -> Self:
        return self.filter(approved=None)

    def approved(self) -> Self:
        return self.filter(approved=True)


class Adjustment(models.Model):
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="adjustments", verbose_name=_("clerk"))
    month = models.ForeignKey(Month, models.PROTECT, related_name="adjustments", verbose_name=_("month"))
    amount = models.BigIntegerField(_("amount"))
    reason = models.CharField(_("reason"), max_length=500)
    # What a leaver owes is written off: the payslip's ADJUSTMENT takes back what was carried in.
    write_off = models.BooleanField(_("write-off of a leaver's debt"), default=False)
    asked_by = models.ForeignKey(
        User,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("asked for by"),
        help_text=_("Empty: a command of the operator."),
    )
    asked_at = models.DateTimeField(_("asked for at"), auto_now_add=True)
    # None while it waits; for good, where the month closed before a decision.
    approved = models.BooleanField(_("approved"), null=True, blank=True)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decision_note = models.CharField(_("note on the decision"), max_length=500, blank=True)

    objects = AdjustmentQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name = _("adjustment")
        verbose_name_plural = _("adjustments")
        constraints = [
            models.CheckConstraint(name="adjustment_is_not_nothing", condition=~Q(amount=0)),
            models.CheckConstraint(name="write_off_gives", condition=Q(write_off=False) | Q(amount__gt=0)),
            models.CheckConstraint(name="adjustment_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(
                name="adjustment_by_two_people",
                # Whoever asked may withdraw it, which is no approval.
                condition=Q(asked_by=None) | Q(decided_by=None) | Q(approved=False) | ~Q(decided_by=F("asked_by")),
            ),
            models.CheckConstraint(
                name="adjustment_is_decided_whole",
                condition=Q(approved=None, decided_by=None, decided_at=None, decision_note="")
                | Q(approved__isnull=False, decided_by__isnull=False, decided_at__isnull=False),
            ),
            # A second click, or the same file once more, asks for nothing new.
            models.UniqueConstraint(
                name="one_adjustment_for_a_reason",
                fields=["clerk", "month", "amount", "reason"],
                condition=Q(approved=None) | Q(approved=True),
            ),
            AppendOnly(
                name="adjustment_stays",
                mutable=["approved", "decided_by_id", "decided_at", "decision_note"],
                allow="OLD.approved IS NULL",
            ),
            OpenMonthOnly(name="adjustment_to_open_month", edits=True),
        ]

    def __str__(self) -> str:
        return f"{self.clerk_id} {self.month_id} {self.amount}"

    @property
    def is_withdrawn(self) -> bool:
        """Taken back by whoever asked, who may decide nothing else about it."""
        return self.approved is False and self.decided_by_id == self.asked_by_id
