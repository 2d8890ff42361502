"""The codes of earning lines and their names, the same on a payslip, in an export and on a page.

A code says where money came from; its name is in the reader's language. OWN_ABSENT is the owner's part of a sale that
another clerk served: "Own members, served by another".
"""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override


class LineCode(TextChoices):
    """Every kind of earning line, in the order of a payslip."""

    BASE = "BASE", _("Base salary")
    OWN_SERVED = "OWN_SERVED", _("Own members, served")
    OWN_ABSENT = "OWN_ABSENT", _("Own members, served by another")
    COVERED = "COVERED", _("Covered for another clerk")
    UNOWNED = "UNOWNED", _("Members without an owner")
    WALK_IN = "WALK_IN", _("Walk-ins")
    BAND = "BAND", _("Accelerator")
    KPI = "KPI", _("KPI bonus")
    LATE = "LATE", _("Late tickets")
    CLAWBACK = "CLAWBACK", _("Clawback for returns")
    CORRECTION = "CORRECTION", _("Corrections of earlier months")
    HELD = "HELD", _("Held while in question")
    ADJUSTMENT = "ADJUSTMENT", _("Adjustments")
    CARRIED_IN = "CARRIED_IN", _("Carried from last month")
    CARRIED_OUT = "CARRIED_OUT", _("Carried to next month")


def line_name(line_code: str, language: str) -> str:
    """The name of a line code in `language` ("zh-hans" or "en"); ValueError for a code that there is none of."""
    with override(language):
        return str(LineCode(line_code).label)
