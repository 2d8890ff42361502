"""Who the members of a store are at a month's end, and what they bought in the 12 months up to it, by bands.

The members are those that the close counted at closing, the twelve months those of the tiers: whole tickets, every
category, less returns. Of 40 members, 6 of them women of 60 to 69 who spent 900.00 of 3,000.00, the band has 6
members and 30% of the spend. A store's tickets are read once, by its members' cards, however long the chain.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from django.core.cache import cache
from django.db import connection, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Cast, Coalesce, ExtractHour, ExtractIsoWeekDay, Substr

from commission.models import SaleLine
from kpis.activity import PURCHASE, member_activity
from kpis.models import MemberGroup, PortfolioMonth
from kpis.movement_members import Scope
from kpis.tiers import year_before
from portfolios.duplicates import surviving_cards_sql
from portfolios.models import Clerk, Member, Month, Store

# The lowest age of each band but the first, whose members are younger; ages are those of the month's last day.
AGES = (30, 40, 50, 60, 70, 80)
# The first hour of each part of the day but the first, in the time of the settings.
HOURS = (9, 12, 15, 18, 21)
# Up to so many days before the month's last day, its own day included.
LAST_BOUGHT = (30, 90, 180)

# What a member is (one band each), and what was bought when (a member may be in several).
OF_MEMBERS = ("tier", "age", "gender", "neighbourhood", "last_bought")
OF_PURCHASES = ("category", "time_of_day", "weekday")
DIMENSIONS = (*OF_MEMBERS, *OF_PURCHASES)
# Without a birth date, gender or neighbourhood.
UNKNOWN = ""
KEPT_SECONDS = 6 * 60 * 60
# Between gender, age and neighbourhood, in the band of a profile.
SEPARATOR = "|"


@dataclass(frozen=True)
class Counted:
    """A band's members, the A and B members of them, what they spent (minor units), and their tickets with a purchase.

    Of purchases it is what was spent and bought within the band.
    """

    members: int = 0
    key_members: int = 0
    spend_amount: int = 0
    tickets: int = 0

    def __add__(self, other: "Counted") -> "Counted":
        return Counted(
            self.members + other.members,
            self.key_members + other.key_members,
            self.spend_amount + other.spend_amount,
            self.tickets + other.tickets,
        )

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted(
            self.members - other.members,
            self.key_members - other.key_members,
            self.spend_amount - other.spend_amount,
            self.tickets - other.tickets,
        )


# By dimension and band.
Bands = Mapping[tuple[str, str], Counted]


@dataclass(frozen=True)
class Found:
    """The bands of a whole, and of each portfolio in it by the clerk's key (0: nobody's)."""

    whole: Bands
    portfolios: Mapping[int, Bands]


@dataclass(frozen=True)
class Crowd:
    """The members that are analysed: a store's or the chain's, and of them one clerk's where there is a clerk."""

    month: Month
    store: Store | None = None
    clerk: Clerk | None = None

    @classmethod
    def of(cls, scope: Scope) -> "Crowd":
        """A clerk's stand within the home store at closing, if there was one."""
        if scope.clerk is None:
            return cls(scope.month, store=scope.store)
        book = PortfolioMonth.objects.select_related("store").filter(month=scope.month, clerk=scope.clerk).first()
        return cls(scope.month, store=book.store if book else None, clerk=scope.clerk)

    @property
    def groups(self) -> Q:
        counted = Q(month=self.month, at_closing=True)
        if self.clerk:
            return counted & Q(last_clerk=self.clerk)
        return counted & Q(last_store=self.store) if self.store else counted


def analyse(crowd: Crowd) -> Found:
    """The bands of a closed month's members: of all the store's, where the crowd is one clerk's in it."""
    if crowd.store and crowd.clerk:
        crowd = Crowd(crowd.month, store=crowd.store)
    whole: dict[tuple[str, str], Counted] = {}
    portfolios: dict[int, dict[tuple[str, str], Counted]] = {}
    for dimension, band, clerk, *figures in _counted(crowd):
        counted = Counted(*(int(figure or 0) for figure in figures))
        key = (dimension, str(band))
        whole[key] = whole.get(key, Counted()) + counted
        portfolios.setdefault(int(clerk), {})[key] = counted
    return Found(whole, portfolios)


def _counted(crowd: Crowd) -> list[tuple[Any, ...]]:
    """The rows (dimension, band, clerk, figures), kept for a while: one reading serves a store and all its clerks.

    What a closed month has changes only where a member's details are put right.
    """
    month, store, clerk = crowd.month, crowd.store, crowd.clerk
    key = f"member-analysis-{month.pk}-{month.digest}-{store.pk if store else ''}-{clerk.pk if clerk else ''}"
    rows: list[tuple[Any, ...]] | None = cache.get(key) if month.digest else None
    if rows is None:
        selects = [*map(_of_members, (*OF_MEMBERS, "everybody")), _profiles(), *_of_purchases()]
        rows = _run(crowd, " UNION ALL ".join(selects))
        if month.digest:
            cache.set(key, rows, KEPT_SECONDS)
    return rows


@dataclass(frozen=True)
class Buyer:
    """A member of a band, with what it bought in the twelve months: the last day is None for who bought nothing."""

    member_id: int
    tier: str
    spend_amount: int
    tickets: int
    last_bought_on: dt.date | None


def members_of(crowd: Crowd, dimension: str, band: str) -> list[Buyer]:
    """The members of a band, those first who spend most.

    Raises KeyError for what is none of DIMENSIONS.
    """
    if dimension in OF_MEMBERS:
        condition = f"{dimension} = %s"
    else:
        bought = {"category": "line WHERE net > 0 AND", "time_of_day": "part WHERE bought = 1 AND"}
        bought["weekday"] = bought["time_of_day"]
        condition = f"member_id IN (SELECT member_id FROM {bought[dimension]} {dimension} = %s)"
    rows = _run(
        crowd,
        f"SELECT member_id, tier, spend, tickets, last_on FROM person WHERE {condition} ORDER BY spend DESC, member_id",
        [band],
        # Nobody else's tickets need to be read.
        only=dimension if dimension in _KNOWN_BEFORE else "",
    )
    return [Buyer(key, tier, int(spend), int(tickets), _date(last)) for key, tier, spend, tickets, last in rows]


def _date(value: dt.date | str | None) -> dt.date | None:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


# --- The statement -----------------------------------------------------------------------------------------------


def _of_members(name: str) -> str:
    return f"""
        SELECT '{name}', {name}, clerk_id, COUNT(*), SUM(CASE WHEN tier <> 'C' THEN 1 ELSE 0 END), SUM(spend),
            SUM(tickets)
        FROM person GROUP BY {name}, clerk_id"""


def _profiles() -> str:
    """The A and B members by gender, age and neighbourhood, where all three are known."""
    profile = f"gender || '{SEPARATOR}' || age || '{SEPARATOR}' || neighbourhood"
    return f"""
        SELECT 'profile', {profile}, clerk_id, COUNT(*), COUNT(*), SUM(spend), SUM(tickets)
        FROM person WHERE tier <> 'C' AND gender <> '' AND age <> '' AND neighbourhood <> ''
        GROUP BY {profile}, clerk_id"""


def _of_purchases() -> list[str]:
    by_ticket = [
        f"""
        SELECT '{name}', {name}, clerk_id, COUNT(DISTINCT member_id),
            COUNT(DISTINCT CASE WHEN tier <> 'C' THEN member_id END), SUM(net), COUNT(DISTINCT sale_id)
        FROM part WHERE bought = 1 GROUP BY {name}, clerk_id"""
        for name in ("time_of_day", "weekday")
    ]
    by_line = """
        SELECT 'category', category, clerk_id, COUNT(DISTINCT CASE WHEN net > 0 THEN member_id END),
            COUNT(DISTINCT CASE WHEN net > 0 AND tier <> 'C' THEN member_id END),
            SUM(net), COUNT(DISTINCT CASE WHEN net > 0 THEN sale_id END)
        FROM line GROUP BY category, clerk_id"""
    return [*by_ticket, by_line]


# Which parts are found by which card: sales by the card on the ticket, and returns, which may have none, by that of
# their original. What was corrected, and what came back of it, is looked through whole: there is little of it.
_FOUND_BY = (
    (Q(part__correction=None, part__original=None), "part__sale__member"),
    (
        Q(part__correction=None, part__original__isnull=False, part__original__correction=None),
        "part__original__sale__member",
    ),
    (Q(part__correction__isnull=False), "member_id"),
    (Q(part__correction=None, part__original__correction__isnull=False), "member_id"),
)


# The bands of the 24 hours, two letters each: an hour is worked out once for each part, which SQLite takes long for.
_BAND_OF_HOUR = "".join(next((f"{until:02d}" for until in HOURS if hour < until), "24") for hour in range(24))


def _parts(month: Month, which: Q, card: str) -> models.QuerySet[Any, Any]:
    """Some of the parts that count in the twelve months, with the card by which they are found."""
    after = month.ends_on + dt.timedelta(days=1)
    hour = Cast(ExtractHour("part__sale__sold_at"), models.IntegerField())
    return (
        member_activity(since=year_before(after), before=after)
        .filter(which)
        .annotate(
            card=F(card),
            weekday=ExtractIsoWeekDay("business_date"),
            time_of_day=Substr(Value(_BAND_OF_HOUR), hour * 2 + 1, 2),
            bought=Case(When(PURCHASE, then=1), default=0, output_field=models.IntegerField()),
        )
        .order_by()
        .values_list("card", "part__sale", "part", "activity_date", "time_of_day", "weekday", "bought", "net_amount")
    )


_TABLE = "analysed_member"
# What is known of a member without reading a ticket.
_KNOWN_BEFORE = ("tier", "age", "gender", "neighbourhood")


def _members(crowd: Crowd, only: str) -> tuple[str, list[Any]]:
    """SQL of the crowd's members with what is known of them; with `only`, of one band of it (the last parameter)."""
    # The chain's are not told apart by clerk.
    clerk = Coalesce("last_clerk", Value(0)) if crowd.store or crowd.clerk else Value(0)
    groups = MemberGroup.objects.filter(crowd.groups).order_by().annotate(clerk=clerk)
    group, params = groups.values_list("member_ids", "closing_tier", "clerk").query.sql_with_params()
    keys, key = (
        ("UNNEST(STRING_TO_ARRAY(member_ids, ','))", "keys")
        if connection.vendor == "postgresql"
        else ("JSON_EACH('[' || member_ids || ']')", "keys.value")
    )
    ages = " ".join(f"WHEN birth_date <= %s THEN '{age}'" for age in reversed(AGES))
    born = [_years_before(crowd.month.ends_on, age) for age in reversed(AGES)]
    statement = f"""
        WITH grouped (member_ids, tier, clerk_id) AS ({group}),
        chosen AS (
            SELECT CAST({key} AS bigint) AS member_id, tier, clerk_id FROM grouped CROSS JOIN {keys} AS keys
        ),
        known AS (
            SELECT member_id, tier, clerk_id, gender, neighbourhood,
                CASE WHEN birth_date IS NULL THEN '' {ages} ELSE '0' END AS age
            FROM chosen JOIN {Member._meta.db_table} AS member ON member.id = member_id
        )
        SELECT * FROM known {f"WHERE {only} = %s" if only else ""}"""
    return statement, [*params, *born]


def _run(crowd: Crowd, select: str, params: Sequence[str] = (), *, only: str = "") -> list[tuple[Any, ...]]:
    """The rows of a SELECT from `person` (each member), `part` (each part of a ticket) and `line` (each line of it).

    `only` is one of _KNOWN_BEFORE: of the members of one band alone, the one that `params` begins with.
    """
    month = crowd.month
    members, members_params = _members(crowd, only)
    found = [_parts(month, which, card).query.sql_with_params() for which, card in _FOUND_BY]
    last = " ".join(f"WHEN last_on >= %s THEN '{days}'" for days in LAST_BOUGHT)
    since = [month.ends_on - dt.timedelta(days=days - 1) for days in LAST_BOUGHT]
    columns = "card_id, sale_id, part_id, activity_date, time_of_day, weekday, bought, net"
    by_card = ", ".join(f"found_{place} ({columns}) AS ({sql})" for place, (sql, _params) in enumerate(found))
    parts = " UNION ALL ".join(
        f"""
        SELECT member_id, tier, clerk_id, sale_id, part_id, activity_date, time_of_day,
            CAST(weekday AS varchar(1)) AS weekday, bought, net
        FROM card JOIN found_{place} AS found ON found.card_id = card.card_id"""
        for place in range(len(found))
    )
    statement = f"""
        WITH merged AS ({surviving_cards_sql()}),
        card AS (
            SELECT member_id AS card_id, member_id, tier, clerk_id FROM {_TABLE}
            UNION ALL
            SELECT merged.card_id, member_id, tier, clerk_id FROM merged JOIN {_TABLE} ON member_id = survivor_id
        ),
        {by_card},
        part AS ({parts}),
        line AS (
            SELECT member_id, tier, clerk_id, line.sale_id, net_amount AS net,
                CAST(line.category_id AS varchar(20)) AS category
            FROM part JOIN {SaleLine._meta.db_table} AS line
                ON line.sale_id = part.sale_id AND line.part_id = part.part_id
        ),
        customer AS MATERIALIZED (
            SELECT member_id, SUM(net) AS spend, MAX(CASE WHEN bought = 1 THEN activity_date END) AS last_on,
                COUNT(DISTINCT CASE WHEN bought = 1 THEN sale_id END) AS tickets
            FROM part GROUP BY member_id
        ),
        person AS MATERIALIZED (
            SELECT member.member_id, tier, clerk_id, 'all' AS everybody, gender, neighbourhood, age,
                CASE WHEN last_on IS NULL THEN '0' {last} ELSE '365' END AS last_bought,
                COALESCE(spend, 0) AS spend, COALESCE(tickets, 0) AS tickets, last_on
            FROM {_TABLE} AS member LEFT JOIN customer ON customer.member_id = member.member_id
        )
        {select}"""
    given = [*[month.ends_on] * 3, *chain.from_iterable(given for _sql, given in found), *since, *params]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {_TABLE} AS {members}", [*members_params, *params[: bool(only)]])
        if connection.vendor == "postgresql":
            # How many members there are decides how their tickets are best found.
            cursor.execute(f"ANALYZE {_TABLE}")
            cursor.execute("SET LOCAL jit = off")
            cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(statement, given)
        rows = cursor.fetchall()
        cursor.execute(f"DROP TABLE {_TABLE}")
    return rows


def _years_before(day: dt.date, years: int) -> dt.date:
    """Who was born on that day or before is so many years old on `day`."""
    year = day.year - years
    return day.replace(year=year, day=28 if (day.month, day.day) == (2, 29) else day.day)
