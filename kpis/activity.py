"""What members bought and when it counts: the one reading of the ledger behind activity, spend and tiers.

A ticket counts on its business date. A late one, whose month had closed when it came, counts from the first day of
the month that it was posted to, so that nothing moves in a frozen month: a purchase of 2026-03-28 that is booked
after March has closed counts on 2026-04-01.
"""

import datetime as dt

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Greatest

from commission.models import Attribution, SalePart

# Returns are no purchases; a return stays one when it is late, settled without its original, or the other member's
# after a correction.
PURCHASE = Q(reason__in=[Attribution.Reason.SALE, Attribution.Reason.LATE]) | Q(
    reason=Attribution.Reason.CORRECTION, commissionable_amount__gte=0, excluded_amount__gte=0
)

# Of all lines, whatever their category.
NET_AMOUNT = F("commissionable_amount") + F("excluded_amount")


def member_activity(*, before: dt.date, since: dt.date | None = None) -> models.QuerySet[Attribution]:
    """The booked parts of members' tickets in [since, before), each once, with `activity_date` and `net_amount`.

    The net amount (minor units) is that of all lines, whatever their category. Corrections after a change of owner move
    credit between clerks and are left out: what the member bought is what was booked first. A ticket whose member or
    server was corrected counts as it stands: a card that was forgotten did buy.
    """
    # The months say the same as the activity date, more roughly: they spare reading the others.
    within = Q(month__starts_on__lt=before, activity_date__lt=before)
    if since is not None:
        within &= Q(month__ends_on__gte=since, activity_date__gte=since)
    # Posted to the month of its business date, a part is dated within it; posted later, before it.
    activity_date = Greatest(F("business_date"), F("month__starts_on"))
    return Attribution.objects.annotate(activity_date=activity_date, net_amount=NET_AMOUNT).filter(of_members(), within)


def of_members() -> Q:
    """Which rows tell what a member bought: each part of its tickets once, as it was booked first or as it stands."""
    # Two lists, worked out once: there are few. To ask row by row whether it is reversed is never done, but reckoned
    # with, and every index would seem cheaper than to read the ledger as it lies.
    corrected = Q(part__in=SalePart.objects.filter(correction__isnull=False).values("pk"))
    reversed_rows = Attribution.objects.filter(reverses=True, corrects__isnull=False).values("corrects")
    booked_first = ~corrected & ~Q(reason=Attribution.Reason.CORRECTION)
    as_it_stands = corrected & Q(reverses=False) & ~Q(pk__in=reversed_rows)
    return Q(member__isnull=False) & (booked_first | as_it_stands)
