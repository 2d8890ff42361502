"""Where each point of a month's checklist leads: the page that lists all that the point counts."""

from collections.abc import Iterable
from dataclasses import replace

from django.urls import reverse
from django.utils.http import urlencode

from payroll_exports.close_checklist import CloseCheck
from portfolios.models import Month


def linked(checks: Iterable[CloseCheck], month: Month) -> list[CloseCheck]:
    """The points of the month's checklist, each with the address of its list where it has one."""
    return [replace(check, address=_address(check, month)) for check in checks]


def _address(check: CloseCheck, month: Month) -> str:
    if check.code == "earlier_month":
        earlier = Month.objects.filter(closed_at__isnull=True, pk__lt=month.pk).order_by("pk").first()
        return reverse("month", args=[earlier.pk]) if earlier else ""
    if check.code == "unmatched_return":
        return f"{reverse('waiting_returns')}?{urlencode({'month': month.name})}"
    if check.code == "leavers_debt":
        return reverse("leavers_debts")
    if check.code == "waiting_correction":
        return reverse("corrections")
    if check.code == "waiting_inquiry":
        return f"{reverse('inquiries')}?{urlencode({'state': 'open'})}"
    lists = {
        "unattributed_ticket": "unattributed_tickets",
        "members_without_owner": "month_unassigned",
        "waiting_adjustment": "adjustments",
        "booked_since_draft": "pay_run",
    }
    return reverse(lists[check.code], args=[month.pk]) if check.code in lists else ""
