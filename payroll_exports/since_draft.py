"""What was booked for a month since its pay run was drafted or approved, told without working the pay out again.

Five rows of the ledger and an adjustment came after the draft: whether anybody's pay is another by them only a new
draft can say. Base salaries, postings and scores leave no such sign; approval and close compare them too.
"""

from django.db.models import Count, Max, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commission.inquiry_models import Inquiry
from commission.models import Attribution
from payroll_exports.models import Adjustment, PayRun


def last_booked() -> int:
    """The key of the ledger's last row; while the ledger is held, every row that comes later has a higher one."""
    return Attribution.objects.aggregate(last=Max("pk"))["last"] or 0


def booked_since(run: PayRun) -> list[tuple[int, str]]:
    """What came for the run's month since it was drafted, or since it was approved and so compared: how many, of what.

    Reads the rows that were booked since, of whichever month, and no others.
    """
    month, since = run.month, run.approved_at or run.drafted_at
    # With the month among the conditions a database would rather read all of the month's rows.
    rows = Attribution.objects.filter(pk__gt=run.last_booked).aggregate(of_month=Count("pk", filter=Q(month=month)))
    adjustments = Adjustment.objects.approved().filter(month=month, decided_at__gt=since).count()
    inquiries = (
        Inquiry.objects.filter(
            Q(month=month, asked_at__gt=since)
            | Q(month=month, answered_at__gt=since)
            | Q(held__month=month, held__recorded_at__gt=since)
        )
        .distinct()
        .count()
    )
    found = [
        (rows["of_month"], ngettext("%(count)d row of the ledger", "%(count)d rows of the ledger", rows["of_month"])),
        (adjustments, ngettext("%(count)d approved adjustment", "%(count)d approved adjustments", adjustments)),
        (
            inquiries,
            ngettext("%(count)d inquiry asked or answered", "%(count)d inquiries asked or answered", inquiries),
        ),
    ]
    return [(count, text % {"count": count}) for count, text in found if count]


def booked_since_text(run: PayRun) -> str:
    if run.approved_at:
        return _(
            "Something was booked for the month since its pay run was approved. If pay differs by it, nothing closes: "
            "draft again to see."
        )
    return _(
        "Something was booked for the month since its pay run was drafted: draft again to see whether pay changes."
    )
