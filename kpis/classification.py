"""Each member of a month by its state at opening and its state at closing: in whose book, how active, in which tier.

One pass over bindings and ledger, in the database. Members who went the same way are counted together: of 40 who stay
with 李娜, active and C at both ends, there is one row of 40. A close keeps these rows with the members' keys.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.conf import settings
from django.db import connection, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Cast

from kpis.activity import PURCHASE, member_activity
from kpis.models import CohortMonth, MemberGroup, PortfolioMonth
from kpis.tiers import bounds_of, tier_sql, year_before
from portfolios.duplicates import surviving_cards_sql
from portfolios.models import Binding, Member, Month, Posting
from portfolios.months import month_days, next_number

# How many months of enrolment a cohort is followed for, its own one included.
COHORT_MONTHS = 12

_TABLE = "classified_member"
# What members who went the same way have in common.
_WAY = (
    "first_clerk_id",
    "first_store_id",
    "last_clerk_id",
    "last_store_id",
    "at_opening",
    "at_closing",
    "active_opening",
    "active_closing",
    "bought_before",
    "opening_tier",
    "closing_tier",
)


class Transition(NamedTuple):
    """How many members went the same way: from the first book of the month to the last, how active, and their tiers.

    Without a clerk a book is the unassigned list of its store; a clerk's store is the home store at that end of the
    month, None where there was none. A member that is not there at opening is enrolled in the month, and one that is
    not there at closing is closed in it.
    """

    first_clerk_id: int | None
    first_store_id: int | None
    last_clerk_id: int | None
    last_store_id: int | None
    at_opening: bool
    at_closing: bool
    active_opening: bool
    active_closing: bool
    bought_before: bool
    opening_tier: str
    closing_tier: str
    members: int


def _customers(month: Month) -> models.QuerySet:
    """Every card with a ticket up to the month's end: last purchase before the month and at all; each end's spend."""
    after = month.ends_on + dt.timedelta(days=1)
    year = Q(activity_date__gte=year_before(after))
    opening_year = Q(activity_date__gte=year_before(month.starts_on), activity_date__lt=month.starts_on)
    return (
        member_activity(before=after)
        .values("member_id")
        .annotate(
            bought_before=Max("activity_date", filter=PURCHASE & Q(activity_date__lt=month.starts_on)),
            bought=Max("activity_date", filter=PURCHASE),
            # PostgreSQL sums bigints into numeric.
            opening_spend=Cast(Sum("net_amount", filter=opening_year), models.BigIntegerField()),
            spend=Cast(Sum("net_amount", filter=year), models.BigIntegerField()),
        )
    )


def _groups(name: str, columns: str) -> str:
    """SQL of the cards that stand for one another at the end of a day (three times), and of these sums over each group.

    Nearly every card is alone and in neither: what has a group takes its figures from there, the others their own.
    """
    return f"""
        {name}_merged AS ({surviving_cards_sql()}),
        {name}_cards AS (
            SELECT card_id, survivor_id FROM {name}_merged UNION SELECT survivor_id, survivor_id FROM {name}_merged
        ),
        {name} AS (
            SELECT survivor_id, {columns} FROM {name}_cards JOIN card ON card.member_id = card_id GROUP BY survivor_id
        )"""


def _bound_on(day: dt.date) -> FilteredRelation:
    return FilteredRelation(
        "bindings",
        condition=Q(bindings__voided_by=None, bindings__valid_from__lte=day, bindings__valid_to__gt=day),
    )


def _owners(month: Month) -> models.QuerySet:
    """Every member that counts on some day of the month or closes in it: the first owner, and the owner at closing."""
    enrolled_for = (
        Binding.objects.valid()
        .filter(member=OuterRef("pk"), valid_from__lte=month.ends_on, valid_to__gt=OuterRef("counted_from"))
        .order_by("valid_from")
        .values("clerk")[:1]
    )
    members = Member.objects.order_by().annotate(
        at_closing=ExpressionWrapper(Q(counted_to__gt=month.ends_on), output_field=BooleanField()),
        closing=_bound_on(month.ends_on),
        last_clerk=F("closing__clerk"),
    )
    there = members.filter(counted_from__lt=month.starts_on, counted_to__gte=month.starts_on).annotate(
        opening=_bound_on(month.starts_on - dt.timedelta(days=1)),
        first_clerk=F("opening__clerk"),
        at_opening=Value(True),
    )
    enrolled = members.filter(counted_from__range=(month.starts_on, month.ends_on)).annotate(
        first_clerk=Subquery(enrolled_for), at_opening=Value(False)
    )
    columns = ("id", "store_id", "at_opening", "at_closing", "first_clerk", "last_clerk")
    return there.values(*columns).union(enrolled.values(*columns), all=True)


def _waited() -> str:
    """SQL of (member_id, store_id): whose list a member was on at the end of a month (its number), as kept.

    A home store as it is known now may be another one.
    """
    keys = (
        "UNNEST(STRING_TO_ARRAY(member_ids, ','))"
        if connection.vendor == "postgresql"
        else "JSON_EACH('[' || member_ids || ']')"
    )
    value = "keys" if connection.vendor == "postgresql" else "keys.value"
    return f"""
        SELECT CAST({value} AS bigint) AS member_id, last_store_id AS store_id
        FROM {MemberGroup._meta.db_table} CROSS JOIN {keys} AS keys
        WHERE month_id = %s AND at_closing AND last_clerk_id IS NULL"""


def _homes(name: str) -> str:
    """SQL of each clerk's home store on a day (its parameter), or the last one before it."""
    return f"""
        {name} AS (
            SELECT clerk_id, store_id FROM (
                SELECT clerk_id, store_id,
                    ROW_NUMBER() OVER (PARTITION BY clerk_id ORDER BY valid_from DESC) AS place
                FROM {Posting._meta.db_table} WHERE role = '{Posting.Role.CLERK}' AND valid_from <= %s
            ) AS posting
            WHERE place = 1
        )"""


@contextmanager
def classified(month: Month) -> Iterator[None]:
    """While it lasts there is a temporary table with each member of the month and the way that it went."""
    cards, card_params = _customers(month).query.sql_with_params()
    owners, owner_params = _owners(month).query.sql_with_params()
    bounds, same_scope = bounds_of("customer")
    opening_bounds, same_opening_scope = bounds_of("opening_customer", "opening_")
    # A window of one day is that day alone.
    window = dt.timedelta(days=settings.ACTIVITY_WINDOW_DAYS - 1)
    day_before = month.starts_on - dt.timedelta(days=1)
    opened = "MAX(bought_before) AS bought, CAST(SUM(opening_spend) AS bigint) AS spend"
    closed = "MAX(bought_before) AS bought_before, MAX(bought) AS bought, CAST(SUM(spend) AS bigint) AS spend"
    statement = f"""
        CREATE TEMPORARY TABLE {_TABLE} AS
        WITH card AS ({cards}),
        {_groups("opened", opened)},
        {_groups("closed", closed)},
        customer AS (
            SELECT member_id, spend FROM card WHERE member_id NOT IN (SELECT card_id FROM closed_cards)
            UNION ALL SELECT survivor_id, spend FROM closed
        ),
        opening_customer AS (
            SELECT member_id, opening_spend AS spend FROM card WHERE member_id NOT IN (SELECT card_id FROM opened_cards)
            UNION ALL SELECT survivor_id, spend FROM opened
        ),
        bounds AS ({bounds}),
        opening_bounds AS ({opening_bounds}),
        waited AS ({_waited()}),
        owned AS ({owners}),
        member AS (
            SELECT owned.id, first_clerk, last_clerk, owned.store_id, at_opening, at_closing,
                COALESCE(waited.store_id, owned.store_id) AS first_list,
                COALESCE(opened.bought, card.bought_before) AS bought_at_opening,
                COALESCE(closed.bought, card.bought) AS bought_at_closing,
                COALESCE(closed.bought_before, card.bought_before) AS bought_before,
                COALESCE(opened.spend, card.opening_spend) AS opening_spend,
                COALESCE(closed.spend, card.spend) AS spend
            FROM owned
            LEFT JOIN card ON card.member_id = owned.id
            LEFT JOIN opened ON opened.survivor_id = owned.id
            LEFT JOIN closed ON closed.survivor_id = owned.id
            LEFT JOIN waited ON waited.member_id = owned.id
        ),
        state AS (
            SELECT id, first_clerk, last_clerk, store_id, at_opening, at_closing, bought_before, first_list,
                at_opening AND COALESCE(bought_at_opening >= %s, FALSE) AS active_opening,
                at_closing AND COALESCE(bought_at_closing >= %s, FALSE) AS active_closing,
                CASE WHEN at_opening THEN {tier_sql("opening_")} ELSE '' END AS opening_tier,
                CASE WHEN at_closing THEN {tier_sql()} ELSE '' END AS closing_tier
            FROM member
            LEFT JOIN bounds ON {same_scope}
            LEFT JOIN opening_bounds ON {same_opening_scope}
        )
        SELECT id,
            first_clerk,
            CASE WHEN first_clerk IS NULL THEN first_list END AS first_list,
            CASE WHEN at_closing THEN last_clerk END AS last_clerk,
            CASE WHEN at_closing AND last_clerk IS NULL THEN store_id END AS last_list,
            at_opening, at_closing, active_opening, active_closing,
            active_closing AND NOT active_opening AND bought_before IS NOT NULL AS bought_before,
            opening_tier, closing_tier
        FROM state
    """
    merged = [day_before] * 3 + [month.ends_on] * 3
    active_since = [day_before - window, month.ends_on - window]
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It cannot estimate the rows behind `customer`, and would spend more time compiling than the work takes.
            cursor.execute("SET LOCAL jit = off")
            # Sums by member and groups of members stay in memory; on disk they take twice as long.
            cursor.execute("SET LOCAL work_mem = '256MB'")
        before = next_number(month.pk, -1)
        cursor.execute(statement, [*card_params, *merged, before, *owner_params, *active_since])
        yield
        cursor.execute(f"DROP TABLE {_TABLE}")


def _ways(month: Month, keys: str = "") -> tuple[str, list[dt.date | int]]:
    """SQL of the members of the table by the way that they went, and its parameters.

    A clerk's home store at opening is the one that the month before was closed with. With `keys` (SQL of the members'
    keys in order) they are named too.
    """
    # SQLite has no order within an aggregate, and keeps that of what it reads.
    member = _TABLE if connection.vendor == "postgresql" or not keys else f"(SELECT * FROM {_TABLE} ORDER BY id)"
    named = f", {keys} AS member_ids" if keys else ""
    statement = f"""
        WITH {_homes("opening_home")},
        {_homes("closing_home")},
        way AS (
            SELECT first_clerk, first_list, last_clerk, last_list, at_opening, at_closing, active_opening,
                active_closing, bought_before, opening_tier, closing_tier, COUNT(*) AS members{named}
            FROM {member} AS member
            GROUP BY first_clerk, first_list, last_clerk, last_list, at_opening, at_closing, active_opening,
                active_closing, bought_before, opening_tier, closing_tier
        )
        SELECT first_clerk AS first_clerk_id,
            CASE
                WHEN first_clerk IS NULL THEN first_list
                WHEN NOT at_opening THEN enrolled_at.store_id
                WHEN frozen.id IS NOT NULL THEN frozen.store_id
                ELSE opening_home.store_id
            END AS first_store_id,
            last_clerk AS last_clerk_id,
            CASE WHEN last_clerk IS NULL THEN last_list ELSE closing_home.store_id END AS last_store_id,
            at_opening, at_closing, way.active_opening, way.active_closing, bought_before, opening_tier, closing_tier,
            members{", member_ids" if keys else ""}
        FROM way
        LEFT JOIN closing_home ON closing_home.clerk_id = last_clerk
        LEFT JOIN closing_home AS enrolled_at ON enrolled_at.clerk_id = first_clerk
        LEFT JOIN opening_home ON opening_home.clerk_id = first_clerk
        LEFT JOIN {PortfolioMonth._meta.db_table} AS frozen ON frozen.clerk_id = first_clerk AND frozen.month_id = %s"""
    day_before = month.starts_on - dt.timedelta(days=1)
    return statement, [day_before, month.ends_on, next_number(month.pk, -1)]


def transitions(month: Month) -> list[Transition]:
    """The members of the month by what became of them, counted; nothing is kept."""
    with classified(month), connection.cursor() as cursor:
        cursor.execute(*_ways(month))
        return [_transition(row) for row in cursor.fetchall()]


def _transition(row: tuple) -> Transition:
    return Transition(*row[:4], *map(bool, row[4:9]), *row[9:])


def keep(month: Month) -> list[Transition]:
    """Writes down for good who went which way, and how each month's newcomers hold; returns the members, counted.

    Groups and the keys in them are written in order, so that the same month made twice has the same digest.
    """
    key_list = (
        "STRING_AGG(CAST(id AS text), ',' ORDER BY id)"
        if connection.vendor == "postgresql"
        else "GROUP_CONCAT(id, ',')"
    )
    with classified(month), connection.cursor() as cursor:
        ways, params = _ways(month, key_list)
        columns = ", ".join((*_WAY, "members"))
        table = MemberGroup._meta.db_table
        cursor.execute(
            f"""
            INSERT INTO {table} (month_id, {columns}, member_ids)
            SELECT %s, ways.* FROM ({ways}) AS ways ORDER BY {", ".join(_WAY)}""",
            [month.pk, *params],
        )
        _keep_cohorts(month, cursor)
        cursor.execute(f"SELECT {columns} FROM {table} WHERE month_id = %s", [month.pk])
        return [_transition(row) for row in cursor.fetchall()]


def _keep_cohorts(month: Month, cursor: CursorWrapper) -> None:
    """Of the cards enrolled in each of the last months, how many there are and how many of them are active.

    Cards that were merged into another one are left out: the surviving card stands for them.
    """
    numbers = [next_number(month.pk, -steps) for steps in range(COHORT_MONTHS)]
    days = [month_days(number) for number in numbers]
    cohort = " ".join(f"WHEN enrolled_on >= %s THEN {number}" for number in numbers)
    cursor.execute(
        f"""
        INSERT INTO {CohortMonth._meta.db_table} (month_id, enrolled_month, store_id, clerk_id, members, active)
        SELECT %s, enrolled_month, store_id, enrolled_by_id, COUNT(*), COUNT(CASE WHEN active_closing THEN 1 END)
        FROM (
            SELECT id, store_id, enrolled_by_id, CASE {cohort} END AS enrolled_month
            FROM {Member._meta.db_table}
            WHERE enrolled_on BETWEEN %s AND %s AND (merged_into_id IS NULL OR counted_to > %s)
        ) AS newcomer
        LEFT JOIN {_TABLE} AS classified ON classified.id = newcomer.id
        GROUP BY enrolled_month, store_id, enrolled_by_id""",
        [month.pk, *(starts_on for starts_on, _ends_on in days), days[-1][0], month.ends_on, month.ends_on],
    )
