"""Each member of a month: its state at opening and at closing, and what it bought in the month, in one table.

Earlier tickets are read once, and the month's once: a member who bought for 30.00 in June and for 8.00 on two days
of July is, for July, one row with a spend of 38.00 in twelve months, 8.00 in the month, and 2 days with a purchase.
Members, bindings and purchases are all taken in the order of the members' keys and laid side by side: to look each
member up in a table of a million takes PostgreSQL three times as long.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.conf import settings
from django.db import connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import (
    BooleanField,
    Case,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Max,
    Min,
    OuterRef,
    Q,
    Subquery,
    Sum,
    When,
)
from django.db.models.functions import Cast

from commission.models import Attribution, SalePart
from kpis.activity import PURCHASE, member_activity, posted_activity
from kpis.measure_models import REPURCHASE_DAYS
from kpis.models import MemberGroup
from kpis.tiers import year_before
from portfolios.duplicates import surviving_cards_sql
from portfolios.models import Binding, Member, Month
from portfolios.months import next_number

# The tables that are there while a month is `classified`.
TABLE, SEVERAL, _EARLIER, _FURTHER = "classified_member", "several_parts", "earlier_purchases", "further_purchases"
# So many parts PostgreSQL finds sooner one by one than by reading the month.
_FEW = 250_000
_asked: ContextVar[tuple[int, dt.date] | None] = ContextVar("classified", default=None)


# --- What was bought ---------------------------------------------------------------------------------------------


def _earlier(month: Month, after: dt.date) -> models.QuerySet:
    """Every card with a ticket before the month: its last purchase, and what is of the year before each end."""
    year, opening_year = (Q(activity_date__gte=year_before(day)) for day in (after, month.starts_on))
    return (
        member_activity(before=month.starts_on)
        .filter(month__lt=month.pk)
        .values("member_id")
        .annotate(
            bought=Max("activity_date", filter=PURCHASE),
            # PostgreSQL sums bigints into numeric.
            opening_spend=Cast(Sum("net_amount", filter=opening_year), models.BigIntegerField()),
            spend=Cast(Sum("net_amount", filter=year), models.BigIntegerField()),
        )
    )


def earliest_purchase(month: Month) -> dt.date:
    """The business date of the earliest purchase that is posted to the month; the month's first day if none is late."""
    late = Attribution.objects.filter(month=month, reason__in=[Attribution.Reason.LATE, Attribution.Reason.CORRECTION])
    return min(late.aggregate(first=Min("business_date"))["first"] or month.starts_on, month.starts_on)


def measured_since(month: Month) -> dt.date:
    """The first day on which a new member of whom the month's measures tell may have enrolled.

    They are those of the last 90 days, and those for whom a late ticket may be the effective purchase.
    """
    return min(
        month.starts_on - dt.timedelta(days=max(REPURCHASE_DAYS)),
        earliest_purchase(month) - dt.timedelta(days=settings.EFFECTIVE_DAYS),
    )


def _parts_of_several(since: dt.date, last: dt.date) -> models.QuerySet:
    """The parts of every ticket of these days that has more than one part with a sale.

    Nearly every ticket has but one part, and is counted as that part; these few are looked up one by one.
    """
    sales = SalePart.objects.filter(number__gt=1, original__isnull=True, business_date__range=(since, last))
    return SalePart.objects.filter(sale__in=sales.values("sale")).values("id", "sale_id")


def _further(purchases: str) -> str:
    """SQL of the member of each of these purchases that is not the first one of its ticket."""
    return f"""
        SELECT member_id
        FROM (
            SELECT member_id,
                ROW_NUMBER() OVER (PARTITION BY member_id, sale_id, business_date ORDER BY part_id) AS place
            FROM {SEVERAL} AS several JOIN ({purchases}) AS part ON part.part_id = several.id
        ) AS placed
        WHERE place > 1"""


def _purchases(month: Month, after: dt.date) -> models.QuerySet:
    return (
        posted_activity(month, before=after)
        .annotate(bought_on=Case(When(PURCHASE, then=F("activity_date")), output_field=models.DateField(null=True)))
        .order_by("member_id")
        .values("member_id", "net_amount", "bought_on")
    )


# --- Who has the members -----------------------------------------------------------------------------------------


def _owners(month: Month, last: dt.date) -> models.QuerySet:
    """Every member: whether it counts at either end of the month, the first owner in it and the last one.

    Most have the same owner at both ends: only bindings that end in the month are looked at once more, and those of
    whoever was enrolled in it for one clerk and is another's at its end.
    """
    day_before = month.starts_on - dt.timedelta(days=1)
    enrolled_for = (
        Binding.objects.valid()
        .filter(member=OuterRef("pk"), valid_from__lte=last, valid_to__gt=OuterRef("counted_from"))
        .order_by("valid_from")
        .values("clerk")[:1]
    )
    enrolled = Q(counted_from__range=(month.starts_on, last))

    def said(condition: Q) -> ExpressionWrapper:
        return ExpressionWrapper(condition, output_field=BooleanField())

    return (
        Member.objects.order_by()
        .annotate(
            closing=FilteredRelation(
                "bindings",
                condition=Q(bindings__voided_by=None, bindings__valid_from__lte=last, bindings__valid_to__gt=last),
            ),
            ended=FilteredRelation(
                "bindings",
                condition=Q(
                    bindings__voided_by=None,
                    bindings__valid_from__lte=day_before,
                    bindings__valid_to__gt=day_before,
                    bindings__valid_to__lte=last,
                ),
            ),
            at_opening=said(Q(counted_from__lt=month.starts_on, counted_to__gte=month.starts_on)),
            enrolled=said(enrolled),
            at_closing=said(Q(counted_from__lte=last, counted_to__gt=last)),
            first_clerk=Case(
                When(enrolled & Q(closing__valid_from__lte=F("counted_from")), then=F("closing__clerk")),
                When(enrolled, then=Subquery(enrolled_for)),
                When(closing__valid_from__lte=day_before, then=F("closing__clerk")),
                default=F("ended__clerk"),
                output_field=models.BigIntegerField(),
            ),
            last_clerk=F("closing__clerk"),
        )
        .values("id", "store_id", "at_opening", "enrolled", "at_closing", "first_clerk", "last_clerk")
    )


def key_list_sql() -> tuple[str, str]:
    """SQL that takes `member_ids` of a group of members apart, as `keys`, and of each of them."""
    if connection.vendor == "postgresql":
        return "UNNEST(STRING_TO_ARRAY(member_ids, ','))", "CAST(keys AS bigint)"
    return "JSON_EACH('[' || member_ids || ']')", "CAST(keys.value AS bigint)"


def _waited() -> str:
    """SQL of (member_id, store_id): whose list a member was on at the end of a month (its number), as kept.

    A home store as it is known now may be another one.
    """
    keys, key = key_list_sql()
    return f"""
        SELECT {key} AS member_id, last_store_id AS store_id
        FROM {MemberGroup._meta.db_table} CROSS JOIN {keys} AS keys
        WHERE month_id = %s AND at_closing AND last_clerk_id IS NULL"""


# --- Both --------------------------------------------------------------------------------------------------------


def _groups(name: str, columns: str) -> str:
    """SQL of the cards that stand for one another at the end of a day (three times), and of their earlier purchases.

    Nearly every card is alone and in neither: what has a group takes its figures from there, the others their own.
    """
    return f"""
        {name}_merged AS ({surviving_cards_sql()}),
        {name}_card AS (
            SELECT card_id, survivor_id FROM {name}_merged
            UNION SELECT survivor_id, survivor_id FROM {name}_merged
        ),
        {name} AS (
            SELECT survivor_id, {columns}
            FROM {name}_card JOIN {_EARLIER} AS earlier ON earlier.member_id = card_id
            GROUP BY survivor_id
        )"""


def _day_sets(day: str) -> tuple[str, str, str]:
    """SQL of the days of a month as the bits of a number: of those in a group of `day`, of several sets, their count.

    So nothing has to be sorted to count the days, and the days of two cards can be taken together. The month's first
    day is the parameter of the first.
    """
    if connection.vendor == "postgresql":
        return f"BIT_OR(1 << ({day} - %s))", "BIT_OR({})", "BIT_COUNT(CAST({} AS bit(32)))"
    bits = range(31)
    return (
        f"SUM(DISTINCT 1 << CAST(JULIANDAY({day}) - JULIANDAY(%s) AS integer))",
        " + ".join(f"MAX({{0}} & {1 << bit})" for bit in bits),
        "(" + " + ".join(f"({{0}} >> {bit} & 1)" for bit in bits) + ")",
    )


def _statement(purchases: str, owners: str) -> str:
    days, all_days, days_counted = _day_sets("bought_on")
    return f"""
        CREATE TEMPORARY TABLE {TABLE} AS
        WITH bought AS (
            SELECT member_id,
                CAST(SUM(net_amount) AS bigint) AS spend,
                CAST(SUM(CASE WHEN bought_on IS NOT NULL THEN net_amount END) AS bigint) AS bought_amount,
                COUNT(bought_on) AS parts,
                {days} AS days,
                MAX(bought_on) AS bought
            FROM ({purchases}) AS part
            GROUP BY member_id
        ),
        waited AS ({_waited()}),
        {_groups("opened", "MAX(bought) AS bought, CAST(SUM(opening_spend) AS bigint) AS spend")},
        {_groups("closed", "MAX(bought) AS bought, CAST(SUM(spend) AS bigint) AS spend")},
        further AS (
            SELECT COALESCE(survivor_id, member_id) AS member_id, COUNT(*) AS parts
            FROM {_FURTHER} LEFT JOIN closed_merged ON card_id = member_id
            GROUP BY COALESCE(survivor_id, member_id)
        ),
        customer AS (
            SELECT survivor_id,
                CAST(SUM(spend) AS bigint) AS spend,
                CAST(SUM(bought_amount) AS bigint) AS bought_amount,
                CAST(SUM(parts) AS bigint) AS parts,
                {all_days.format("days")} AS days,
                MAX(bought) AS bought
            FROM closed_card JOIN (
                -- Asked row by row, purchases need not be put in order once more.
                SELECT * FROM bought WHERE (member_id IN (SELECT card_id FROM closed_card)) IS TRUE
            ) AS bought ON member_id = card_id
            GROUP BY survivor_id
        ),
        member AS (
            SELECT owned.id, owned.store_id, first_clerk, last_clerk, at_opening, at_closing,
                at_opening OR enrolled AS there,
                COALESCE(waited.store_id, owned.store_id) AS first_list,
                COALESCE(opened.bought, earlier.bought) AS bought_at_opening,
                COALESCE(closed.bought, earlier.bought) AS bought_before,
                COALESCE(customer.bought, bought.bought) AS bought,
                CASE WHEN owned.id NOT IN (SELECT card_id FROM opened_merged)
                    THEN COALESCE(opened.spend, earlier.opening_spend) END AS opening_spend,
                CASE WHEN owned.id NOT IN (SELECT card_id FROM closed_merged)
                    THEN COALESCE(closed.spend, earlier.spend, 0) + COALESCE(customer.spend, bought.spend, 0)
                    END AS spend,
                COALESCE(customer.spend, bought.spend) AS month_spend,
                COALESCE(customer.bought_amount, bought.bought_amount) AS bought_amount,
                COALESCE(customer.parts, bought.parts) - COALESCE(further.parts, 0) AS tickets,
                {days_counted.format("COALESCE(customer.days, bought.days)")} AS days
            FROM ({owners}) AS owned
            LEFT JOIN bought ON bought.member_id = owned.id
            LEFT JOIN further ON further.member_id = owned.id
            LEFT JOIN {_EARLIER} AS earlier ON earlier.member_id = owned.id
            LEFT JOIN opened ON opened.survivor_id = owned.id
            LEFT JOIN closed ON closed.survivor_id = owned.id
            LEFT JOIN customer ON customer.survivor_id = owned.id
            LEFT JOIN waited ON waited.member_id = owned.id
        ),
        state AS (
            SELECT member.*,
                at_opening AND COALESCE(bought_at_opening >= %s, FALSE) AS active_opening,
                at_closing AND (COALESCE(bought >= %s, FALSE) OR COALESCE(bought_before >= %s, FALSE)) AS active_closing
            FROM member
            WHERE there OR spend > 0 OR opening_spend > 0
        )
        SELECT id, store_id, there,
            first_clerk,
            CASE WHEN first_clerk IS NULL THEN first_list END AS first_list,
            CASE WHEN at_closing THEN last_clerk END AS last_clerk,
            CASE WHEN at_closing AND last_clerk IS NULL THEN store_id END AS last_list,
            at_opening, at_closing, active_opening, active_closing,
            active_closing AND NOT active_opening AND bought_before IS NOT NULL AS bought_before,
            opening_spend, spend, month_spend, bought_amount, tickets, days
        FROM state
    """


@contextmanager
def planning(cursor: CursorWrapper, **configuration: str) -> Iterator[None]:
    """PostgreSQL plans with these settings meanwhile, `enable_sort="off"` for one, within the transaction."""
    if connection.vendor != "postgresql":
        yield
        return
    for name, value in configuration.items():
        cursor.execute(f"SET LOCAL {name} = '{value}'")
    yield
    for name in configuration:
        cursor.execute(f"SET LOCAL {name} TO DEFAULT")


def _keep(cursor: CursorWrapper, table: str, query: models.QuerySet) -> None:
    sql, params = query.query.sql_with_params()
    cursor.execute(f"CREATE TEMPORARY TABLE {table} AS {sql}", params)


@contextmanager
def classified(month: Month, last: dt.date | None = None) -> Iterator[None]:
    """While it lasts there is a temporary table with each member and the way that it went in the month.

    With `last`, a day of the month, closing is the end of that day. Rows that are not `there` are of cards that count
    on no day of the month and are ranked nevertheless: somebody spent with them. Whoever asks for the same again while
    it lasts is given the same table. Beside it is a table with the parts (`id`) of tickets (`sale_id`) of several, as
    far back as `measured_since` the month's new members are.
    """
    last = last or month.ends_on
    if _asked.get() == (month.pk, last):
        yield
        return
    after = last + dt.timedelta(days=1)
    purchases, purchase_params = _purchases(month, after).query.sql_with_params()
    owners, owner_params = _owners(month, last).query.sql_with_params()
    posted = posted_activity(month, before=after).filter(PURCHASE).values("member_id", "part_id", "business_date")
    # A window of one day is that day alone.
    window = dt.timedelta(days=settings.ACTIVITY_WINDOW_DAYS - 1)
    day_before = month.starts_on - dt.timedelta(days=1)
    params = [
        month.starts_on, *purchase_params, next_number(month.pk, -1), *[day_before] * 3, *[last] * 3,
        *owner_params, day_before - window, *[last - window] * 2,
    ]  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It cannot estimate the rows behind grouped ones, and would spend more time compiling than the work takes.
            cursor.execute("SET LOCAL jit = off")
            # Sums by member and groups of members stay in memory; on disk they take twice as long.
            cursor.execute("SET LOCAL work_mem = '256MB'")
        _keep(cursor, _EARLIER, _earlier(month, after))
        # The few of them are near at hand, each by its index.
        with planning(cursor, random_page_cost="1.1"):
            _keep(cursor, SEVERAL, _parts_of_several(measured_since(month), last))
            few = cursor.rowcount < _FEW
            cursor.execute(f"ANALYZE {SEVERAL}")
        # Left to itself it reckons with the lists of corrected parts being made anew for each of them.
        with planning(cursor, **({"enable_hashjoin": "off", "enable_mergejoin": "off"} if few else {})):
            further, further_params = posted.query.sql_with_params()
            cursor.execute(f"CREATE TEMPORARY TABLE {_FURTHER} AS {_further(further)}", further_params)
        with planning(cursor, enable_hashjoin="off"):
            cursor.execute(_statement(purchases, owners), params)
        cursor.execute(f"DROP TABLE {_EARLIER}")
        cursor.execute(f"DROP TABLE {_FURTHER}")
        token = _asked.set((month.pk, last))
        try:
            yield
        finally:
            _asked.reset(token)
        cursor.execute(f"DROP TABLE {TABLE}")
        cursor.execute(f"DROP TABLE {SEVERAL}")
