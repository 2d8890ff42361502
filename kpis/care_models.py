"""What care leaves behind beside the log: profiles that were checked, and what the talks were followed by."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly
from portfolios.models import Clerk, Member, User


class ProfileCheck(models.Model):
    """That a clerk asked a member whether phone and neighbourhood are right: confirmed, or corrected at once.

    What was there before and after a correction is in the audit log.
    """

    class Outcome(models.TextChoices):
        CONFIRMED = "confirmed", _("confirmed")
        CORRECTED = "corrected", _("corrected")

    member = models.ForeignKey(Member, models.PROTECT, related_name="profile_checks", verbose_name=_("member"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=_("clerk"))
    on = models.DateField(_("date"), db_column="check_date")
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    recorded_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("recorded by"))
    recorded_at = models.DateTimeField(_("recorded at"), auto_now_add=True)

    class Meta:
        ordering = ["-on", "-id"]
        verbose_name = _("profile check")
        verbose_name_plural = _("profile checks")
        indexes = [models.Index(name="profile_check_by_day", fields=["on", "clerk", "member"])]
        constraints = [
            # Two taps on one button are one confirmation.
            models.UniqueConstraint(
                name="one_confirmation_a_day", fields=["member", "on"], condition=Q(outcome="confirmed")
            ),
            AppendOnly(name="profile_check_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.on} {self.outcome}"


class ContactResult(models.Model):
    """The first day on which a member bought after a talk, within the days that count. Made anew each night."""

    contact = models.OneToOneField(
        "kpis.CareContact", models.CASCADE, primary_key=True, related_name="result", verbose_name=_("care contact")
    )
    bought_on = models.DateField(_("bought on"))

    class Meta:
        verbose_name = _("result of a contact")
        verbose_name_plural = _("results of contacts")

    def __str__(self) -> str:
        return f"{self.contact_id} {self.bought_on}"
