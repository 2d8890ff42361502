"""Who is credited for a sale: one rule, one statement, for one ticket and for millions.

The owner of the member on the business date and the clerk who served share the commission of each part of a ticket
70/30 by the plan; who serves an own member gets the whole. 20,000 fen at 3% are 600: owner 420, server 180.
Of two parties one share is rounded and the other gets the rest, so that they always add up.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from django.db import connection, models, transaction
from django.db.models import Case, Exists, F, FilteredRelation, Min, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Cast, Coalesce, Greatest
from django.db.models.sql import Query

from commission.models import Attribution, Booking, SalePart
from commission.money import WHOLE_BP, RoundHalfAway
from portfolios.models import Month
from portfolios.months import open_months

Kind = Attribution.Kind
Reason = Attribution.Reason
PayLine = Attribution.PayLine

Columns = Mapping[str, Combinable]


class Given(Value):
    """A whole number that a statement is given only when it runs, by name: so it need be composed only once."""

    def __init__(self, name: str) -> None:
        super().__init__(name, output_field=models.IntegerField())

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        return "%s", [self]


class Statement(NamedTuple):
    """A composed statement; `params` may hold Givens."""

    sql: str
    params: tuple[Any, ...]

    def run(self, **given: int) -> int:
        """Carries it out; returns the number of rows."""
        params = [given[param.value] if isinstance(param, Given) else param for param in self.params]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, params)
            return cursor.rowcount


def insert_select(
    model: type[models.Model], source: models.QuerySet[Any], columns: Columns, shares: Columns | None = None
) -> Statement:
    """INSERT INTO model (columns and shares) SELECT their expressions FROM source.

    `shares` are expressions over the columns, by name, and over what else `source` annotates. They are worked out
    around an ordered subquery, so that PostgreSQL computes each column once: it would copy the expression of a column
    into every place that uses it, and a month of tickets took half as long again.
    """
    names = {name: f"to_{name}" for name in columns}
    rows = source.annotate(**{names[name]: expression for name, expression in columns.items()})
    taken = {expression.name for expression in columns.values() if isinstance(expression, F)}  # type: ignore[attr-defined]
    carried = [name for name in source.query.annotations if name not in taken] if shares else []
    sql, params = rows.values_list(*names.values(), *carried).query.sql_with_params()
    if shares:
        known = {name: names.get(name, name) for name in [*names, *carried]}
        fields = {name: rows.query.annotations[column].output_field for name, column in known.items()}
        outer_sql, outer_params = select_shares(
            {name: (known[name], field) for name, field in fields.items()}, names, shares
        )
        sql, params = f"{outer_sql} FROM ({sql}) AS booked", (*outer_params, *params)
    quote = connection.ops.quote_name
    into = ", ".join(quote(model._meta.get_field(name).column) for name in [*columns, *(shares or ())])  # type: ignore[union-attr,arg-type]
    return Statement(f"INSERT INTO {quote(model._meta.db_table)} ({into}) {sql}", params)


def select_shares(
    known: Mapping[str, tuple[str, "models.Field[Any, Any]"]], kept: Iterable[str], shares: Columns
) -> tuple[str, tuple[Any, ...]]:
    """SELECT the `kept` names and the `shares`, each AS to_name, still without a FROM.

    `known` are the names that the shares may use, each with its column of what is selected from, and its field.
    """
    outer = Query(None)
    for name, (column, field) in known.items():
        raw = RawSQL(connection.ops.quote_name(column), (), getattr(field, "target_field", field))
        outer.add_annotation(raw, name, select=False)
    for name in kept:
        outer.add_annotation(F(name), f"to_{name}")
    for name, expression in shares.items():
        outer.add_annotation(expression, f"to_{name}")
    return outer.sql_with_params()


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
        When(kind=Kind.OWN_SERVED, then=total),
        When(kind=Kind.SPLIT, then=_share(total)),
    )


def _server_part(total: Combinable) -> Combinable:
    """The server's part: the rest of a split or of an unowned member's sale, the share of a walk-in's.

    Nobody is named on an online order: then the server's part stays with the house.
    """
    return _case(
        When(Q(kind=Kind.OWN_SERVED) | Q(server__isnull=True), then=Value(0)),
        When(kind=Kind.WALK_IN, then=_share(total)),
        When(kind__in=[Kind.SPLIT, Kind.UNOWNED], then=total - _share(total)),
    )


def _house_part(total: Combinable) -> Combinable:
    return _case(
        When(kind=Kind.OWN_SERVED, then=Value(0)),
        When(kind=Kind.SPLIT, server__isnull=False, then=Value(0)),
        When(kind=Kind.UNOWNED, server__isnull=True, then=total),
        When(kind=Kind.UNOWNED, then=_share(total)),
        When(kind=Kind.WALK_IN, server__isnull=True, then=total),
        default=total - _share(total),
    )


def _share(total: Combinable) -> Combinable:
    return RoundHalfAway(F("share_bp") * total, WHOLE_BP)


PARTIES = {"owner": _owner_part, "server": _server_part, "house": _house_part}


def own_sales(parts: models.QuerySet[SalePart]) -> models.QuerySet[SalePart]:
    """Parts that are no returns (or are returns that a manager settled), with the member's owner on the business date.

    Annotates booked_owner, booked_server, booked_kind and booked_share_bp, what an attribution of the part holds, and
    the commission, which is to be shared.
    """
    owned = Q(owning__clerk__isnull=False) & (
        Q(owning__clerk__left_on__isnull=True) | Q(owning__clerk__left_on__gte=F("business_date"))
    )
    return (
        parts.filter(original__isnull=True)
        .annotate(
            owning=FilteredRelation(
                "bindings",
                condition=Q(
                    bindings__valid_from__lte=F("business_date"),
                    bindings__valid_to__gt=F("business_date"),
                    bindings__voided_by=None,
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

    Annotates the same as `own_sales`, taken from the original, and instead of the commission what was left of the
    original before this part.
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
    return parts.filter(original__isnull=False, original__attributions__pk=Subquery(latest)).annotate(
        booked_owner=F("original__attributions__owner"),
        booked_server=F("original__attributions__server"),
        booked_kind=F("original__attributions__kind"),
        booked_share_bp=F("original__attributions__share_bp"),
        original_month=Subquery(first_month),
        credit_before=before("commissionable_amount"),
        e4_before=before("commission_e4"),
        e4=F("commission_e4"),
    )


def facts(booking: Combinable) -> dict[str, Combinable]:
    """The columns that an attribution takes from `own_sales` or `returns`; its amounts are shares of them."""
    same = ["store", "business_date", "member", "plan", "commissionable_amount", "excluded_amount"]
    return {
        "part": F("pk"),
        "booking": booking,
        "kind": F("booked_kind"),
        "owner": F("booked_owner"),
        "server": F("booked_server"),
        "share_bp": F("booked_share_bp"),
        **{name: F(name) for name in same},
    }


def _sale_shares() -> Columns:
    """The amounts of a sale, over its facts."""
    commission = F("booked_commission")
    shares: dict[str, Combinable] = {"commission_amount": commission}
    for party, part_of in PARTIES.items():
        shares[f"{party}_credit_amount"] = part_of(F("commissionable_amount"))
        shares[f"{party}_commission_amount"] = part_of(commission)
    return shares


def _return_shares() -> Columns:
    """The amounts of a return: what each party is left with after it, less what each had before it."""
    credit_before, credit_after = F("credit_before"), F("credit_before") + F("commissionable_amount")
    before = RoundHalfAway("e4_before", WHOLE_BP)
    after = RoundHalfAway(F("e4_before") + F("e4"), WHOLE_BP)
    shares: dict[str, Combinable] = {"commission_amount": after - before}
    for party, part_of in PARTIES.items():
        shares[f"{party}_credit_amount"] = part_of(credit_after) - part_of(credit_before)
        shares[f"{party}_commission_amount"] = part_of(after) - part_of(before)
    return shares


SALE_SHARES, RETURN_SHARES = _sale_shares(), _return_shares()


@transaction.atomic
def attribute(*, booking: Booking, after: int | None = None) -> int:
    """Books every part that has no attribution yet, of those numbered after `after` or at all; returns how many rows.

    A part is posted to the month of its business date, or to the first open month when that is closed. Returns come
    second: a return mirrors its original.
    """
    first_open = lock_ledger()
    if connection.vendor == "postgresql":
        # Until the transaction ends. PostgreSQL takes members to come again and again, and would look up the bindings
        # of each in turn, keeping what it found: three times as slow as to read all of them at once.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_memoize = off; SET LOCAL work_mem = '128MB'")
    given = {"booking": booking.pk, "first_open": first_open.pk, "after": after or 0}
    sales, mirrored = _statements(connection.vendor, after is None)
    booked = sales.run(**given)
    if SalePart.objects.filter(original__isnull=False, pk__gt=after or 0).exists():
        booked += mirrored.run(**given)
    return booked


@cache
def _statements(_vendor: str, every_part: bool) -> tuple[Statement, Statement]:
    """What books sales, and what books returns; to compose them takes longer than to book a ticket."""
    parts = SalePart.objects.all() if every_part else SalePart.objects.filter(pk__gt=Given("after"))
    unbooked = parts.filter(~Exists(Attribution.objects.filter(part=OuterRef("pk"))))
    month = Greatest(F("month_number"), Given("first_open"))
    late = Q(month_number__lt=Given("first_open"))
    booked = {**facts(Given("booking")), "reverses": Value(False), "month": month}
    sales = insert_select(
        Attribution,
        own_sales(unbooked).order_by("pk"),
        {
            **booked,
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
        SALE_SHARES,
    )
    mirrored = insert_select(
        Attribution,
        returns(unbooked).order_by("pk"),
        {
            **booked,
            "reason": Value(Reason.RETURN),
            "pay_line": Case(
                When(original_month__lt=month, then=Value(PayLine.CLAWBACK)),
                default=Value(PayLine.KIND),
                output_field=models.CharField(),
            ),
        },
        RETURN_SHARES,
    )
    return sales, mirrored
