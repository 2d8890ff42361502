"""Each member of a month by its state at opening and its state at closing: in whose book, how active, in which tier.

Members who went the same way are counted together: of 40 who stay with 李娜, active and C at both ends, there is one
row of 40. A close keeps these rows with the members' keys.
"""

import datetime as dt
from typing import NamedTuple

from django.db import connection
from django.db.backends.utils import CursorWrapper

from kpis.member_states import TABLE, classified, planning
from kpis.models import CohortMonth, MemberGroup, PortfolioMonth
from kpis.tiers import bounds_of, ranked_in_store, tier_sql
from portfolios.models import Member, Month, Posting
from portfolios.months import month_days, next_number

# How many months of enrolment a cohort is followed for, its own one included.
COHORT_MONTHS = 12

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


# Members are grouped by one number for all of their states, which takes PostgreSQL a third less time: a bit for each of
# these, and above them two bits for each tier.
_STATES = ("at_opening", "at_closing", "active_opening", "active_closing", "bought_before")
_OPENING_TIER, _CLOSING_TIER = 1 << len(_STATES), 4 << len(_STATES)
_PLACES = ("3", "2", "1")


def _tier_in_state(of: int) -> str:
    a_place, b_place, c_place = _PLACES
    return (
        f"CASE (state / {of}) & 3 WHEN {a_place} THEN 'A' WHEN {b_place} THEN 'B' WHEN {c_place} THEN 'C' ELSE '' END"
    )


def _ways(month: Month, *, named: bool = False) -> tuple[str, list[dt.date | int]]:
    """SQL of the members of the table by the way that they went, and its parameters; `named` adds their keys, in order.

    A clerk's home store at opening is the one that the month before was closed with.
    """
    member_ids, keys, members = "", "", TABLE
    if named and connection.vendor == "postgresql":
        # Put in order group by group: to read a million in the order of their groups takes twice as long.
        member_ids, keys = ", ARRAY_TO_STRING(ARRAY(SELECT UNNEST(keys) ORDER BY 1), ',')", ", ARRAY_AGG(id) AS keys"
    elif named:
        # SQLite has no order within an aggregate, and keeps that of what it reads.
        member_ids, keys, members = ", keys", ", GROUP_CONCAT(id, ',') AS keys", f"(SELECT * FROM {TABLE} ORDER BY id)"
    bounds, same_scope = bounds_of("customer")
    opening_bounds, same_opening_scope = bounds_of("opening_customer", "opening_")
    if ranked_in_store():
        scopes = f"LEFT JOIN bounds ON {same_scope} LEFT JOIN opening_bounds ON {same_opening_scope}"
        opening_tier, closing_tier = tier_sql("opening_", tiers=_PLACES), tier_sql(tiers=_PLACES)
    else:
        scopes = ""
        opening_tier = tier_sql("opening_", chain_bounds="opening_bounds", tiers=_PLACES)
        closing_tier = tier_sql(chain_bounds="bounds", tiers=_PLACES)
    states = " + ".join(
        [
            f"CASE WHEN at_opening THEN ({opening_tier}) * {_OPENING_TIER} ELSE 0 END",
            f"CASE WHEN at_closing THEN ({closing_tier}) * {_CLOSING_TIER} ELSE 0 END",
            *(f"CASE WHEN {state} THEN {1 << bit} ELSE 0 END" for bit, state in enumerate(_STATES)),
        ]
    )
    statement = f"""
        WITH {_homes("opening_home")},
        {_homes("closing_home")},
        customer AS (SELECT id AS member_id, spend FROM {TABLE}),
        opening_customer AS (SELECT id AS member_id, opening_spend AS spend FROM {TABLE}),
        bounds AS ({bounds}),
        opening_bounds AS ({opening_bounds}),
        member AS (
            SELECT id, first_clerk, first_list, last_clerk, last_list, {states} AS state
            FROM {members} AS member {scopes}
            WHERE there
        ),
        coded AS (
            SELECT first_clerk, first_list, last_clerk, last_list, state, COUNT(*) AS members{keys}
            FROM member
            GROUP BY first_clerk, first_list, last_clerk, last_list, state
        ),
        way AS (
            SELECT coded.*,
                {", ".join(f"(state & {1 << bit}) <> 0 AS {state}" for bit, state in enumerate(_STATES))},
                {_tier_in_state(_OPENING_TIER)} AS opening_tier,
                {_tier_in_state(_CLOSING_TIER)} AS closing_tier
            FROM coded
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
            members{member_ids}
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

    Called while the month is `classified`. Groups and the keys in them are written in order, so that the same month
    made twice has the same digest.
    """
    with connection.cursor() as cursor:
        ways, params = _ways(month, named=True)
        columns = ", ".join((*_WAY, "members"))
        table = MemberGroup._meta.db_table
        with planning(cursor, enable_sort="off"):
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
        SELECT %s, enrolled_month, newcomer.store_id, enrolled_by_id,
            COUNT(*), COUNT(CASE WHEN active_closing THEN 1 END)
        FROM (
            SELECT id, store_id, enrolled_by_id, CASE {cohort} END AS enrolled_month
            FROM {Member._meta.db_table}
            WHERE enrolled_on BETWEEN %s AND %s AND (merged_into_id IS NULL OR counted_to > %s)
        ) AS newcomer
        LEFT JOIN {TABLE} AS classified ON classified.id = newcomer.id
        GROUP BY enrolled_month, newcomer.store_id, enrolled_by_id""",
        [month.pk, *(starts_on for starts_on, _ends_on in days), days[-1][0], month.ends_on, month.ends_on],
    )
