"""Who the members of a store are at a month's end, and what they bought in the 12 months up to it, by bands.

The members are those that the close counted at closing, the twelve months those of the tiers: whole tickets, every
category, less returns. Of 40 members, 6 of them women of 60 to 69 who spent 900.00 of 3,000.00, the band has 6
members and 30% of the spend. One statement reads a store's tickets once, by its members' cards, however long the chain.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import ExtractHour, ExtractIsoWeekDay

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
    """The bands of a whole, and of the own part of it: of a store, and of one clerk in it."""

    whole: Bands
    own: Bands


@dataclass(frozen=True)
class Crowd:
    """The members that are analysed: a store's or the chain's, with those of one clerk as its own."""

    month: Month
    store: Store | None = None
    clerk: Clerk | None = None

    @classmethod
    def of(cls, scope: Scope) -> "Crowd":
        """A clerk's stands within the home store at closing; the clerk's alone, where there was none."""
        if scope.clerk is None:
            return cls(scope.month, store=scope.store)
        book = PortfolioMonth.objects.select_related("store").filter(month=scope.month, clerk=scope.clerk).first()
        return cls(scope.month, store=book.store if book else None, clerk=scope.clerk)

    @property
    def groups(self) -> Q:
        counted = Q(month=self.month, at_closing=True)
        if self.store:
            return counted & Q(last_store=self.store)
        return counted & Q(last_clerk=self.clerk) if self.clerk else counted


def analyse(crowd: Crowd) -> Found:
    """The bands of a closed month's members."""
    selects = [*map(_of_members, (*OF_MEMBERS, "clerk", "everybody")), _profiles(), *_of_purchases()]
    whole: dict[tuple[str, str], Counted] = {}
    own: dict[tuple[str, str], Counted] = {}
    for dimension, band, is_own, *figures in _run(crowd, " UNION ALL ".join(selects)):
        counted = Counted(*(int(figure or 0) for figure in figures))
        key = (dimension, str(band))
        whole[key] = whole.get(key, Counted()) + counted
        if is_own:
            own[key] = own.get(key, Counted()) + counted
    return Found(whole, own)


@dataclass(frozen=True)
class Buyer:
    """A member of a band, with what it bought in the twelve months: the last day is None for who bought nothing."""

    member_id: int
    tier: str
    spend_amount: int
    tickets: int
    last_bought_on: dt.date | None


def members_of(crowd: Crowd, dimension: str, band: str) -> list[Buyer]:
    """The members of a band, those first who spend most; of the clerk, where the crowd is one's.

    Raises KeyError for what is none of DIMENSIONS.
    """
    if dimension in OF_MEMBERS:
        condition = f"{dimension} = %s"
    else:
        bought = {"category": "line WHERE net > 0 AND", "time_of_day": "part WHERE bought = 1 AND"}
        bought["weekday"] = bought["time_of_day"]
        condition = f"person.member_id IN (SELECT member_id FROM {bought[dimension]} {dimension} = %s)"
    if crowd.clerk:
        condition += " AND own = 1"
    rows = _run(
        crowd,
        f"""
        SELECT person.member_id, tier, spend, tickets, last_on FROM person WHERE {condition}
        ORDER BY spend DESC, person.member_id""",
        [band],
    )
    return [Buyer(key, tier, int(spend), int(tickets), _date(last)) for key, tier, spend, tickets, last in rows]


def _date(value: dt.date | str | None) -> dt.date | None:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value


# --- The statement -----------------------------------------------------------------------------------------------


def _of_members(name: str) -> str:
    return f"""
        SELECT '{name}', {name}, own, COUNT(*), SUM(CASE WHEN tier <> 'C' THEN 1 ELSE 0 END), SUM(spend), SUM(tickets)
        FROM person GROUP BY {name}, own"""


def _profiles() -> str:
    """The A and B members by gender, age and neighbourhood, where all three are known."""
    profile = f"gender || '{SEPARATOR}' || age || '{SEPARATOR}' || neighbourhood"
    return f"""
        SELECT 'profile', {profile}, own, COUNT(*), COUNT(*), SUM(spend), SUM(tickets)
        FROM person WHERE tier <> 'C' AND gender <> '' AND age <> '' AND neighbourhood <> ''
        GROUP BY {profile}, own"""


def _of_purchases() -> list[str]:
    by_ticket = [
        f"""
        SELECT '{name}', {name}, own, COUNT(DISTINCT member_id),
            COUNT(DISTINCT CASE WHEN tier <> 'C' THEN member_id END), SUM(net), COUNT(DISTINCT sale_id)
        FROM part WHERE bought = 1 GROUP BY {name}, own"""
        for name in ("time_of_day", "weekday")
    ]
    by_line = """
        SELECT 'category', category, own, COUNT(DISTINCT CASE WHEN net > 0 THEN member_id END),
            COUNT(DISTINCT CASE WHEN net > 0 AND tier <> 'C' THEN member_id END),
            SUM(net), COUNT(DISTINCT CASE WHEN net > 0 THEN sale_id END)
        FROM line GROUP BY category, own"""
    return [*by_ticket, by_line]


def _parts(month: Month, *, corrected: bool) -> models.QuerySet[Any, Any]:
    """The parts of the members' tickets, with the card by which they are found: as printed, or as corrected since."""
    after = month.ends_on + dt.timedelta(days=1)
    hours = [When(hour__lt=hour, then=Value(f"{hour:02d}")) for hour in HOURS]
    return (
        member_activity(since=year_before(after), before=after)
        # Tickets are found by card and date.
        .filter(part__correction__isnull=not corrected, part__sale__business_date__lt=after)
        .annotate(
            card=F("member_id") if corrected else F("part__sale__member"),
            hour=ExtractHour("part__sale__sold_at"),
            weekday=ExtractIsoWeekDay("business_date"),
            time_of_day=Case(*hours, default=Value("24"), output_field=models.CharField()),
            bought=Case(When(PURCHASE, then=1), default=0, output_field=models.IntegerField()),
        )
        .order_by()
        .values_list("card", "part__sale", "part", "activity_date", "time_of_day", "weekday", "bought", "net_amount")
    )


def _run(crowd: Crowd, select: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a SELECT from `person` (each member), `part` (each part of a ticket) and `line` (each line of it)."""
    month = crowd.month
    own = Case(When(last_clerk=crowd.clerk, then=1), default=0) if crowd.clerk else Value(0)
    groups = MemberGroup.objects.filter(crowd.groups).order_by().annotate(own=own)
    group, group_params = groups.values_list("member_ids", "closing_tier", "last_clerk", "own").query.sql_with_params()
    printed, printed_params = _parts(month, corrected=False).query.sql_with_params()
    corrected, corrected_params = _parts(month, corrected=True).query.sql_with_params()
    keys, key = (
        ("UNNEST(STRING_TO_ARRAY(member_ids, ','))", "keys")
        if connection.vendor == "postgresql"
        else ("JSON_EACH('[' || member_ids || ']')", "keys.value")
    )
    ages = " ".join(f"WHEN birth_date <= %s THEN '{age}'" for age in reversed(AGES))
    born = [_years_before(month.ends_on, age) for age in reversed(AGES)]
    last = " ".join(f"WHEN last_on >= %s THEN '{days}'" for days in LAST_BOUGHT)
    since = [month.ends_on - dt.timedelta(days=days - 1) for days in LAST_BOUGHT]
    columns = "card_id, sale_id, part_id, activity_date, time_of_day, weekday, bought, net"
    statement = f"""
        WITH grouped (member_ids, tier, clerk_id, own) AS ({group}),
        chosen AS (
            SELECT CAST({key} AS bigint) AS member_id, tier, clerk_id, own FROM grouped CROSS JOIN {keys} AS keys
        ),
        merged AS ({surviving_cards_sql()}),
        card AS (
            SELECT member_id AS card_id, member_id, tier, own FROM chosen
            UNION ALL
            SELECT merged.card_id, member_id, tier, own FROM merged JOIN chosen ON member_id = survivor_id
        ),
        printed ({columns}) AS ({printed}),
        corrected ({columns}) AS ({corrected}),
        part AS (
            SELECT member_id, tier, own, sale_id, part_id, activity_date, time_of_day, CAST(weekday AS varchar(1)) AS
                weekday, bought, net
            FROM card JOIN printed ON printed.card_id = card.card_id
            UNION ALL
            SELECT member_id, tier, own, sale_id, part_id, activity_date, time_of_day, CAST(weekday AS varchar(1)),
                bought, net
            FROM card JOIN corrected ON corrected.card_id = card.card_id
        ),
        line AS (
            SELECT member_id, tier, own, line.sale_id, net_amount AS net,
                CAST(line.category_id AS varchar(20)) AS category
            FROM part JOIN {SaleLine._meta.db_table} AS line
                ON line.sale_id = part.sale_id AND line.part_id = part.part_id
        ),
        customer AS (
            SELECT member_id, SUM(net) AS spend, MAX(CASE WHEN bought = 1 THEN activity_date END) AS last_on,
                COUNT(DISTINCT CASE WHEN bought = 1 THEN sale_id END) AS tickets
            FROM part GROUP BY member_id
        ),
        person AS (
            SELECT chosen.member_id, tier, own, 'all' AS everybody, gender, neighbourhood,
                CAST(COALESCE(clerk_id, 0) AS varchar(20)) AS clerk,
                CASE WHEN birth_date IS NULL THEN '' {ages} ELSE '0' END AS age,
                CASE WHEN last_on IS NULL THEN '0' {last} ELSE '365' END AS last_bought,
                COALESCE(spend, 0) AS spend, COALESCE(tickets, 0) AS tickets, last_on
            FROM chosen
            JOIN {Member._meta.db_table} AS member ON member.id = chosen.member_id
            LEFT JOIN customer ON customer.member_id = chosen.member_id
        )
        {select}"""
    given = [
        *group_params, *[month.ends_on] * 3, *printed_params, *corrected_params, *born, *since, *params,
    ]  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It cannot estimate how many members there are, and would compile longer than the work takes.
            cursor.execute("SET LOCAL jit = off")
            cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(statement, given)
        return cursor.fetchall()


def _years_before(day: dt.date, years: int) -> dt.date:
    """Who was born on that day or before is so many years old on `day`."""
    year = day.year - years
    return day.replace(year=year, day=28 if (day.month, day.day) == (2, 29) else day.day)
