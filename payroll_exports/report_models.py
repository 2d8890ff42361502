"""What is made of many payslips: a store's summary, the chain's register, a clerk's annual statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly
from portfolios.models import Clerk, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class PayReportQuerySet(models.QuerySet["PayReport"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The reports the user may see: one's own statements, those of the managed stores, or all."""
        if isinstance(user, User) and user.is_active and user.office:
            return self
        clerks, stores = Clerk.objects.for_user(user).values("pk"), Store.objects.for_user(user).values("pk")
        return self.filter(Q(clerk__in=clerks) | Q(store__in=stores))


class PayReport(models.Model):
    """A PDF of locked payslips, up to a closed month: its bytes are fixed when it is first made in a language."""

    class Kind(models.TextChoices):
        STORE_SUMMARY = "store_summary", _("store summary")
        REGISTER = "register", _("chain register")
        STATEMENT = "statement", _("annual statement")

    kind = models.CharField(_("report"), max_length=20, choices=Kind)
    month = models.ForeignKey(Month, models.PROTECT, related_name="pay_reports", verbose_name=_("month"))
    store = models.ForeignKey(
        Store, models.PROTECT, related_name="pay_reports", null=True, blank=True, verbose_name=_("store")
    )
    clerk = models.ForeignKey(
        Clerk, models.PROTECT, related_name="pay_reports", null=True, blank=True, verbose_name=_("clerk")
    )
    number = models.CharField(_("number"), max_length=40, blank=True, help_text=_("The store's or the clerk's."))
    language = models.CharField(_("language"), max_length=10, choices=Clerk.Language)
    paid_amount = models.BigIntegerField(_("to be paid"))
    verification_code = models.CharField(_("verification code"), max_length=19)
    pdf = models.BinaryField(_("PDF"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    made_at = models.DateTimeField(_("made at"), auto_now_add=True)

    objects = PayReportQuerySet.as_manager()

    class Meta:
        ordering = ["month", "kind", "number"]
        verbose_name = _("pay report")
        verbose_name_plural = _("pay reports")
        constraints = [
            models.UniqueConstraint(name="one_pay_report", fields=["month", "kind", "number", "language"]),
            models.CheckConstraint(
                name="pay_report_is_of_somebody",
                condition=Q(kind="store_summary", store__isnull=False, clerk__isnull=True)
                | Q(kind="register", store__isnull=True, clerk__isnull=True)
                | Q(kind="statement", store__isnull=True, clerk__isnull=False),
            ),
            AppendOnly(name="pay_report_stays"),
        ]

    def __str__(self) -> str:
        return " ".join(filter(None, [self.get_kind_display(), self.month.name, self.number]))
