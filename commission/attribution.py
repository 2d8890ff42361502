"""Who is credited for a sale: one rule, one statement, for one ticket and for millions.

The owner of the member on the business date and the clerk who served share the commission of each part of a ticket
70/30 by the plan; who serves an own member gets the whole. 20,000 fen at 3% are 600: owner 420, server 180.
Of two parties one share is rounded and the other gets the rest, so that they always add up.
"""

from collections.abc import Mapping
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Case, Exists, F, FilteredRelation, Min, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Greatest

from commission.models import Attribution, Booking, SalePart
from commission.money import WHOLE_BP, RoundHalfAway
from portfolios.models import Month
from portfolios.months import open_months

Kind = Attribution.Kind
Reason = Attribution.Reason
PayLine = Attribution.PayLine

Columns = Mapping[str, Combinable]


def insert_select(model: type[models.Model], source: models.QuerySet[Any], columns: Columns) -> int:
    """INSERT INTO model (columns) SELECT their expressions FROM source; returns the number of rows."""
    names = {str(getattr(model._meta.get_field(name), "column")): f"to_{name}" for name in columns}  # noqa: B009
    rows = source.annotate(**{f"to_{name}": expression for name, expression in columns.items()})
    sql, params = rows.values_list(*names.values()).query.sql_with_params()
    into = ", ".join(map(connection.ops.quote_name, names))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {connection.ops.quote_name(model._meta.db_table)} ({into}) {sql}", params)
        return cursor.rowcount


def lock_ledger(opening: tuple[int, int] | None = None) -> Month:
    """Takes the ledger for writing until the transaction ends, and returns the first open month.

    Writers of attributions and the close of a month come one after the other: what one has read of the months and of
    what is booked stays true until it commits. `opening` names the first and last month of tickets that are coming;
    without it there has to be an open month.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {Booking._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")
    if opening:
        open_months(*opening)
    return Month.objects.select_for_update().filter(closed_at__isnull=True).order_by("pk")[:1].get()


def _case(*whens: When, default: Combinable | None = None) -> Combinable:
    return Case(*whens, default=Value(0) if default is None else default, output_field=models.BigIntegerField())


def _owner_part(total: Combinable) -> Combinable:
    """The owner's part of a total: all of what the owner served, else the share of it, rounded."""
    return _case(
        When(booked_kind=Kind.OWN_SERVED, then=total),
        When(booked_kind=Kind.SPLIT, then=_share(total)),
    )


def _server_part(total: Combinable) -> Combinable:
    """The server's part: the rest of a split or of an unowned member's sale, the share of a walk-in's.

    Nobody is named on an online order: then the server's part stays with the house.
    """
    return _case(
        When(Q(booked_kind=Kind.OWN_SERVED) | Q(booked_server__isnull=True), then=Value(0)),
        When(booked_kind=Kind.WALK_IN, then=_share(total)),
        When(booked_kind__in=[Kind.SPLIT, Kind.UNOWNED], then=total - _share(total)),
    )


def _house_part(total: Combinable) -> Combinable:
    return _case(
        When(booked_kind=Kind.OWN_SERVED, then=Value(0)),
        When(booked_kind=Kind.SPLIT, booked_server__isnull=False, then=Value(0)),
        When(booked_kind=Kind.UNOWNED, booked_server__isnull=True, then=total),
        When(booked_kind=Kind.UNOWNED, then=_share(total)),
        When(booked_kind=Kind.WALK_IN, booked_server__isnull=True, then=total),
        default=total - _share(total),
    )


def _share(total: Combinable) -> Combinable:
    return RoundHalfAway(F("booked_share_bp") * total, WHOLE_BP)


PARTIES = {"owner": _owner_part, "server": _server_part, "house": _house_part}


def own_sales(parts: models.QuerySet[SalePart]) -> models.QuerySet[SalePart]:
    """Parts that are no returns (or are returns that a manager settled), with the member's owner on the business date.

    Annotates booked_owner, booked_server, booked_kind and booked_share_bp: what an attribution of the part holds.
    """
    owned = Q(owning__clerk__isnull=False) & (
        Q(owning__clerk__left_on__isnull=True) | Q(owning__clerk__left_on__gte=F("business_date"))
    )
    return (
        parts.filter(original__isnull=True)
        .annotate(
            owning=FilteredRelation(
                "member__bindings",
                condition=Q(
                    member__bindings__valid_from__lte=F("business_date"),
                    member__bindings__valid_to__gt=F("business_date"),
                    member__bindings__voided_by=None,
                ),
            )
        )
        .annotate(
            booked_owner=Case(When(owned & Q(settled=False), then=F("owning__clerk"))),
            booked_server=F("server"),
        )
        .annotate(
            booked_kind=Case(
                When(member__isnull=True, then=Value(Kind.WALK_IN)),
                When(booked_owner__isnull=True, then=Value(Kind.UNOWNED)),
                When(server=F("booked_owner"), then=Value(Kind.OWN_SERVED)),
                default=Value(Kind.SPLIT),
                output_field=models.CharField(),
            ),
        )
        .annotate(
            booked_share_bp=Case(
                When(booked_kind=Kind.SPLIT, then=F("plan__owner_share_bp")),
                When(booked_kind=Kind.UNOWNED, then=F("plan__house_share_bp")),
                When(booked_kind=Kind.WALK_IN, then=F("plan__walk_in_share_bp")),
                default=Value(WHOLE_BP),
            ),
            booked_commission=RoundHalfAway("commission_e4", WHOLE_BP),
        )
    )


def returns(parts: models.QuerySet[SalePart]) -> models.QuerySet[SalePart]:
    """Return parts whose original is booked, beside that original's attribution as last corrected (`mirrored`).

    Annotates the same as `own_sales`, taken from the original, and what had come back of it before this part.
    """
    latest = (
        Attribution.objects.filter(part=OuterRef("original"), reverses=False)
        .values("part")
        .annotate(latest=models.Max("pk"))
        .values("latest")
    )

    def before(column: str) -> Combinable:
        earlier = (
            SalePart.objects.filter(original=OuterRef("original"), pk__lt=OuterRef("pk"))
            .values("original")
            .annotate(total=Cast(Sum(column), models.BigIntegerField()))
            .values("total")
        )
        return F(f"original__{column}") + Coalesce(Subquery(earlier), 0, output_field=models.BigIntegerField())

    first_month = (
        Attribution.objects.filter(part=OuterRef("original"))
        .values("part")
        .annotate(first=Min("month"))
        .values("first")
    )
    return (
        parts.filter(original__isnull=False, original__attributions__pk=Subquery(latest))
        .annotate(
            booked_owner=F("original__attributions__owner"),
            booked_server=F("original__attributions__server"),
            booked_kind=F("original__attributions__kind"),
            booked_share_bp=F("original__attributions__share_bp"),
            original_month=Subquery(first_month),
            credit_before=before("commissionable_amount"),
            e4_before=before("commission_e4"),
        )
        .annotate(
            credit_after=F("credit_before") + F("commissionable_amount"),
            commission_before=RoundHalfAway("e4_before", WHOLE_BP),
            commission_after=RoundHalfAway(F("e4_before") + F("commission_e4"), WHOLE_BP),
        )
        .annotate(booked_commission=F("commission_after") - F("commission_before"))
    )


def _facts(booking: Booking) -> dict[str, Combinable]:
    """The columns that every attribution takes over from its part as they are."""
    same = ["store", "business_date", "member", "plan", "commissionable_amount", "excluded_amount"]
    return {
        "part": F("pk"),
        "booking": Value(booking.pk),
        "kind": F("booked_kind"),
        "owner": F("booked_owner"),
        "server": F("booked_server"),
        "share_bp": F("booked_share_bp"),
        "commission_amount": F("booked_commission"),
        **{name: F(name) for name in same},
    }


def sale_columns(booking: Booking) -> dict[str, Combinable]:
    """The columns of a sale's attribution but for month, reason, payslip line and link, over `own_sales`."""
    columns = _facts(booking)
    for party, part_of in PARTIES.items():
        columns[f"{party}_credit_amount"] = part_of(F("commissionable_amount"))
        columns[f"{party}_commission_amount"] = part_of(F("booked_commission"))
    return columns


def return_columns(booking: Booking) -> dict[str, Combinable]:
    """The same for a return, over `returns`: what each is left with after it, less what each had before it."""
    columns = _facts(booking)
    for party, part_of in PARTIES.items():
        columns[f"{party}_credit_amount"] = part_of(F("credit_after")) - part_of(F("credit_before"))
        columns[f"{party}_commission_amount"] = part_of(F("commission_after")) - part_of(F("commission_before"))
    return columns


@transaction.atomic
def attribute(*, booking: Booking, parts: models.QuerySet[SalePart] | None = None) -> int:
    """Books every part (of `parts`, or at all) that has no attribution yet; returns the number of rows.

    A part is posted to the month of its business date, or to the first open month when that is closed. Returns come
    second: a return mirrors its original.
    """
    first_open = lock_ledger()
    unbooked = (SalePart.objects.all() if parts is None else parts).filter(
        ~Exists(Attribution.objects.filter(part=OuterRef("pk")))
    )
    month = Greatest(F("month_number"), Value(first_open.pk))
    untouched: dict[str, Combinable] = {
        "corrects": Value(None, output_field=models.BigIntegerField()),
        "reverses": Value(False),
    }
    late = Q(month_number__lt=first_open.pk)
    booked = insert_select(
        Attribution,
        own_sales(unbooked).order_by("pk"),
        {
            **sale_columns(booking),
            **untouched,
            "month": month,
            "reason": Case(
                When(settled=True, then=Value(Reason.RETURN)),
                When(late, then=Value(Reason.LATE)),
                default=Value(Reason.SALE),
                output_field=models.CharField(),
            ),
            "pay_line": Case(
                When(late & Q(settled=False), then=Value(PayLine.LATE)),
                default=Value(PayLine.KIND),
                output_field=models.CharField(),
            ),
        },
    )
    booked += insert_select(
        Attribution,
        returns(unbooked).order_by("pk"),
        {
            **return_columns(booking),
            **untouched,
            "month": month,
            "reason": Value(Reason.RETURN),
            "pay_line": Case(
                When(original_month__lt=month, then=Value(PayLine.CLAWBACK)),
                default=Value(PayLine.KIND),
                output_field=models.CharField(),
            ),
        },
    )
    return booked
