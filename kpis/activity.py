"""What members bought and when it counts: the one reading of the ledger behind activity, spend and tiers.

A ticket counts on its business date. A late one, whose month had closed when it came, counts from the first day of
the month that it was posted to, so that nothing moves in a frozen month: a purchase of 2026-03-28 that is booked
after March has closed counts on 2026-04-01.
"""

import datetime as dt

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Greatest

from commission.models import Attribution, SalePart
from portfolios.models import Month

# Returns are no purchases; a return stays one when it is late, settled without its original, or the other member's
# after a correction.
PURCHASE = Q(reason__in=[Attribution.Reason.SALE, Attribution.Reason.LATE]) | Q(
    reason=Attribution.Reason.CORRECTION, commissionable_amount__gte=0, excluded_amount__gte=0
)


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
    return _counted(Greatest(F("business_date"), F("month__starts_on"))).filter(within)


def posted_activity(month: Month, *, before: dt.date) -> models.QuerySet[Attribution]:
    """The same of one month alone, as far as it counts before a day of it or the day after it."""
    counted = _counted(Greatest(F("business_date"), Value(month.starts_on)))
    return counted.filter(month=month, business_date__lt=before)


def lately_posted(month: Month, *, since: dt.date, before: dt.date) -> models.QuerySet[Attribution]:
    """What counts before a day of the month and may count since a day before it, read without looking up months.

    What is posted to an earlier month has its business date as `activity_date`, also where it was late.
    """
    first = Month.objects.filter(ends_on__gte=since).order_by("pk").values_list("pk", flat=True).first()
    own = Greatest(F("business_date"), Value(month.starts_on))
    counted = _counted(Case(When(month=month, then=own), default=F("business_date")))
    return counted.filter(month__gte=first, month__lte=month.pk, business_date__lt=before)


def _counted(activity_date: Greatest | Case) -> models.QuerySet[Attribution]:
    # Two lists, worked out once: there are few. To ask row by row whether it is reversed is never done, but reckoned
    # with, and every index would seem cheaper than to read the ledger as it lies.
    corrected = Q(part__in=SalePart.objects.filter(correction__isnull=False).values("pk"))
    reversed_rows = Attribution.objects.filter(reverses=True, corrects__isnull=False).values("corrects")
    booked_first = ~corrected & ~Q(reason=Attribution.Reason.CORRECTION)
    as_it_stands = corrected & Q(reverses=False) & ~Q(pk__in=reversed_rows)
    return (
        Attribution.objects.filter(member__isnull=False)
        .filter(booked_first | as_it_stands)
        .annotate(activity_date=activity_date, net_amount=F("commissionable_amount") + F("excluded_amount"))
    )
