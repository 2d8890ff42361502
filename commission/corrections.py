"""What a change of bindings, of a ticket's member or server, or of plans, does to the sales that were already booked.

Corrections are new rows, never edits: where owner, server, member, kind or plan changes, the old row is reversed and
the new target booked, and the returns of that sale follow it. A split of 600 (李娜 420, 张敏 180) whose member is
bound back to 王伟 becomes -600 (-420, -180) and +600 (王伟 420, 张敏 180).
"""

import datetime as dt

from django.db import models, transaction
from django.db.models import Case, Exists, F, FilteredRelation, OuterRef, Q, Subquery, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest
from django.db.models.lookups import Exact

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
    return insert_select(Attribution, rows.order_by("pk"), columns).run()


def _differs_from_its_part(who: str) -> Q:
    """That a row was booked with another member, server or plan than its part has by now."""
    return ~Q(Exact(Coalesce(F(who), 0), Coalesce(F(f"part__{who}"), 0)))


@transaction.atomic
def correct(*, booking: Booking, since: dt.date | None = None, parts: models.QuerySet[SalePart] | None = None) -> int:
    """Rebooks the sales whose owner, server, member, kind or plan differs from what is booked.

    It looks at the sales from `since` on, or at `parts`, and returns how many parts of sales were rebooked. Only open
    months have such sales: bindings and plans of closed months cannot change, nor can their tickets be corrected. What
    a manager has settled is nobody's: of it only the plan can differ.
    """
    first_open = lock_ledger().pk
    among = Q() if since is None else Q(business_date__gte=since)
    of_parts = Q() if parts is None else Q(part__in=parts.order_by().values("pk"))
    due = own_sales(SalePart.objects.filter(among, pk=OuterRef("part"), settled=False))
    stale = (
        standing()
        .filter(among, of_parts, part__original__isnull=True)
        .annotate(
            due_kind=Subquery(due.values("booked_kind")[:1]),  # type: ignore[misc] # an annotation
            due_owner=Coalesce(Subquery(due.values("booked_owner")[:1]), 0),  # type: ignore[misc] # an annotation
        )
        .filter(
            # First, as it is the cheapest to tell.
            _differs_from_its_part("plan")
            | Q(part__settled=False)
            & (
                ~Q(due_kind=F("kind"), due_owner=Coalesce(F("owner"), 0))
                | _differs_from_its_part("member")
                | _differs_from_its_part("server")
            )
        )
    )
    corrected = _reverse(stale, booking, first_open)
    # That they correct something says what their flag does, and has an index.
    reversed_here = Attribution.objects.filter(booking=booking, reverses=True, corrects__isnull=False)
    follow_sale = Exists(reversed_here.filter(part=OuterRef("part__original")))
    if parts is None:
        if not corrected:
            return 0
        followers = Q(follow_sale)
    else:
        # A return on the ticket keeps the shares of its original, but is the other member's too.
        followers = Q(follow_sale) | (of_parts & _differs_from_its_part("member"))
    followed = _reverse(standing().filter(followers, part__original__isnull=False), booking, first_open)
    if not corrected and not followed:
        return 0
    # A part has one row in force, so that it has one reversal here.
    again = SalePart.objects.annotate(
        reversal=FilteredRelation("attributions", condition=Q(attributions__booking=booking.pk))
    ).filter(reversal__reverses=True, reversal__corrects__isnull=False)
    follow: dict[str, Combinable] = {
        "month": F("reversal__month"),
        "pay_line": F("reversal__pay_line"),
        "corrects": F("reversal__corrects"),
        "reason": Value(Reason.CORRECTION),
        "reverses": Value(False),
    }
    insert_select(
        Attribution, own_sales(again).order_by("pk"), {**facts(Value(booking.pk)), **follow}, SALE_SHARES
    ).run()
    insert_select(
        Attribution, returns(again).order_by("pk"), {**facts(Value(booking.pk)), **follow}, RETURN_SHARES
    ).run()
    return corrected
