"""Where a clerk has payslips mailed to, and which payslips were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from portfolios.database_rules import AppendOnly
from portfolios.models import Clerk, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class PayslipAddressQuerySet(models.QuerySet["PayslipAddress"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """One's own address; nobody else's, in HR neither."""
        return self.filter(clerk=user.clerk_id) if isinstance(user, User) and user.is_active else self.none()


class PayslipAddress(models.Model):
    """A clerk's own e-mail address; nothing of pay is sent there before the clerk has confirmed it."""

    clerk = models.OneToOneField(Clerk, models.PROTECT, related_name="payslip_address", verbose_name=_("clerk"))
    email = models.EmailField(_("e-mail address"))
    typed_at = models.DateTimeField(_("typed at"))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)

    objects = PayslipAddressQuerySet.as_manager()

    class Meta:
        verbose_name = _("address for payslips")
        verbose_name_plural = _("addresses for payslips")
        constraints = [
            # Another address is confirmed anew.
            models.CheckConstraint(
                name="address_confirmed_after_it_was_typed",
                condition=Q(confirmed_at=None) | Q(confirmed_at__gte=F("typed_at")),
            )
        ]

    def __str__(self) -> str:
        return str(self.clerk)


class MailedPayslipQuerySet(models.QuerySet["MailedPayslip"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The mailings the user may see: all for HR and auditors, one's own for everybody else."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self if user.office else self.filter(payslip__clerk=user.clerk_id)


class MailedPayslip(models.Model):
    """That a payslip was mailed, or may have been: written before it is sent, and marked after."""

    class State(models.TextChoices):
        SENDING = "sending", pgettext_lazy("mail", "being sent")
        SENT = "sent", pgettext_lazy("mail", "sent")
        FAILED = "failed", pgettext_lazy("mail", "refused")
        AGAIN = "again", pgettext_lazy("mail", "to be sent again")

    payslip = models.OneToOneField(
        "payroll_exports.Payslip", models.PROTECT, related_name="mailed", verbose_name=_("payslip")
    )
    email = models.EmailField(_("e-mail address"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.SENDING)
    reason = models.TextField(_("reason"), blank=True, help_text=_("What the mail server said, without the address."))
    begun_at = models.DateTimeField(_("begun at"))
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)

    objects = MailedPayslipQuerySet.as_manager()

    class Meta:
        ordering = ["-begun_at", "id"]
        verbose_name = _("mailed payslip")
        verbose_name_plural = _("mailed payslips")
        constraints = [
            models.CheckConstraint(
                name="mailed_payslips_have_their_time",
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at=None)),
            ),
            # What is sent stays sent; what may have been is begun again only after somebody has said so.
            AppendOnly(
                name="mailed_payslip_goes_forward",
                mutable=["email", "state", "reason", "begun_at", "sent_at"],
                allow=(
                    "(OLD.state = 'sending' AND NEW.state IN ('sent', 'failed', 'again'))"
                    " OR (OLD.state = 'sending' AND NEW.state = 'sending' AND NEW.begun_at = OLD.begun_at)"
                    " OR (OLD.state IN ('failed', 'again') AND NEW.state = 'sending')"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.payslip_id} {self.state}"
