"""The accounts of the accounting journal: which earning line goes to which, and the chain's codes for them.

The ready codes follow the Chinese accounting standards for enterprises: 6601 selling expenses, 6702 credit losses, 2211
wages payable, 1221 and 2241 other receivables and payables. HR writes the chain's own in their place.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _

from payroll_exports.line_codes import LineCode
from portfolios.models import User


class Account(models.TextChoices):
    """Every account of a journal, in the order of its entries."""

    BASE = "BASE", LineCode.BASE.label
    OWN_SERVED = "OWN_SERVED", LineCode.OWN_SERVED.label
    OWN_ABSENT = "OWN_ABSENT", LineCode.OWN_ABSENT.label
    COVERED = "COVERED", LineCode.COVERED.label
    UNOWNED = "UNOWNED", LineCode.UNOWNED.label
    WALK_IN = "WALK_IN", LineCode.WALK_IN.label
    BAND = "BAND", LineCode.BAND.label
    KPI = "KPI", LineCode.KPI.label
    LATE = "LATE", LineCode.LATE.label
    CLAWBACK = "CLAWBACK", LineCode.CLAWBACK.label
    CORRECTION = "CORRECTION", LineCode.CORRECTION.label
    ADJUSTMENT = "ADJUSTMENT", LineCode.ADJUSTMENT.label
    WRITE_OFF = "WRITE_OFF", _("Leavers' debts written off")
    CARRIED = "CARRIED", _("Carried: owed by staff")
    HELD = "HELD", LineCode.HELD.label
    PAYABLE = "PAYABLE", _("Payable to staff")
    HOUSE = "HOUSE", _("Commission kept by the store (memo)")
    HOUSE_CONTRA = "HOUSE_CONTRA", _("Commission kept by the store, contra (memo)")

    @property
    def ready_code(self) -> str:
        return _READY_CODES.get(self.value, "660102")


_READY_CODES = {
    "BASE": "660101",
    "BAND": "660103",
    "KPI": "660104",
    "ADJUSTMENT": "660105",
    "WRITE_OFF": "6702",
    "CARRIED": "122101",
    "HELD": "224101",
    "PAYABLE": "221101",
    "HOUSE": "9001",
    "HOUSE_CONTRA": "9002",
}
_CARRIED = (LineCode.CARRIED_IN, LineCode.CARRIED_OUT)
ACCOUNT_OF_LINE = {code.value: "CARRIED" if code in _CARRIED else code.value for code in LineCode}


class JournalAccount(models.Model):
    """The chain's code of an account, where HR has written one."""

    account = models.CharField(_("account"), max_length=20, choices=Account, unique=True)
    code = models.CharField(_("account code"), max_length=30)
    changed_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("changed by"))
    changed_at = models.DateTimeField(_("changed at"), auto_now=True)

    class Meta:
        ordering = ["account"]
        verbose_name = _("account of the journal")
        verbose_name_plural = _("accounts of the journal")

    def __str__(self) -> str:
        return f"{self.account} {self.code}"
