"""What a change of bindings within open months does to the sales that were already booked.

Corrections are new rows, never edits: where owner or kind changes, the old row is reversed and the new target booked,
and the returns of that sale follow it. A split of 600 (李娜 420, 张敏 180) whose member is bound back to 王伟 becomes
-600 (-420, -180) and +600 (王伟 420, 张敏 180).
"""

import datetime as dt

from django.db import models, transaction
from django.db.models import Case, Exists, F, OuterRef, Subquery, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest

from commission.attribution import (
    PARTIES,
    RETURN_SHARES,
    SALE_SHARES,
    PayLine,
    Reason,
    facts,
    insert_select,
    lock_ledger,
    own_sales,
    returns,
)
from commission.models import Attribution, Booking, SalePart


def standing() -> models.QuerySet[Attribution]:
    """The attributions that are in force: neither a reversal nor reversed."""
    reversals = Attribution.objects.filter(corrects=OuterRef("pk"), reverses=True)
    return Attribution.objects.filter(~Exists(reversals), reverses=False)


def _reverse(rows: models.QuerySet[Attribution], booking: Booking, first_open: int) -> int:
    """Books the opposite of each row, in its own month or, where that is closed, in the first open one."""
    same = ["part", "kind", "store", "business_date", "member", "owner", "server", "plan", "share_bp"]
    amounts = ["commissionable_amount", "excluded_amount", "commission_amount"]
    amounts += [f"{party}_{what}_amount" for party in PARTIES for what in ("credit", "commission")]
    columns: dict[str, Combinable] = {
        **{name: F(name) for name in same},
        **{name: F(name) * -1 for name in amounts},
        "booking": Value(booking.pk),
        "month": Greatest(F("month_id"), Value(first_open)),
        "reason": Value(Reason.CORRECTION),
        "pay_line": Case(
            When(month__lt=first_open, then=Value(PayLine.CORRECTION)),
            default=F("pay_line"),
            output_field=models.CharField(),
        ),
        "corrects": F("pk"),
        "reverses": Value(True),
    }
    return insert_select(Attribution, rows.order_by("pk"), columns)


def _reversal(column: str) -> Subquery:
    """A column of the reversal that this booking made of the part's attribution."""
    rows = Attribution.objects.filter(part=OuterRef("pk"), booking=OuterRef("this_booking"), reverses=True)
    return Subquery(rows.values(column)[:1])


@transaction.atomic
def correct(*, since: dt.date, booking: Booking) -> int:
    """Rebooks the sales from `since` on whose owner or kind differs from what is booked; returns how many parts.

    Only open months have such sales: bindings of closed months cannot change.
    """
    first_open = lock_ledger().pk
    due = own_sales(SalePart.objects.filter(pk=OuterRef("part"), settled=False, business_date__gte=since))
    stale = (
        standing()
        .filter(business_date__gte=since, part__original__isnull=True, part__settled=False)
        .annotate(
            due_kind=Subquery(due.values("booked_kind")[:1]),  # type: ignore[misc] # an annotation
            due_owner=Coalesce(Subquery(due.values("booked_owner")[:1]), 0),  # type: ignore[misc] # an annotation
        )
        .exclude(due_kind=F("kind"), due_owner=Coalesce(F("owner"), 0))
    )
    corrected = _reverse(stale, booking, first_open)
    if not corrected:
        return 0
    reversed_here = Attribution.objects.filter(booking=booking, reverses=True)
    _reverse(standing().filter(Exists(reversed_here.filter(part=OuterRef("part__original")))), booking, first_open)
    again = SalePart.objects.filter(Exists(reversed_here.filter(part=OuterRef("pk")))).annotate(
        this_booking=Value(booking.pk)
    )
    follow: dict[str, Combinable] = {
        "month": _reversal("month"),
        "pay_line": _reversal("pay_line"),
        "corrects": _reversal("corrects"),
        "reason": Value(Reason.CORRECTION),
        "reverses": Value(False),
    }
    insert_select(Attribution, own_sales(again).order_by("pk"), {**facts(booking), **follow}, SALE_SHARES)
    insert_select(Attribution, returns(again).order_by("pk"), {**facts(booking), **follow}, RETURN_SHARES)
    return corrected
