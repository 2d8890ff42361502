"""What each member bought, as of one day, for the members table: tier, spend, purchases, last purchase, at risk from.

Purchases before the day count. A member is at risk from the day after nothing was bought for twice its own rhythm (the
mean of the days between its purchases of twelve months; at least 14 days), or for two thirds of the activity window,
whichever comes first: bought every 20 days and last on 2026-03-10, it is at risk from 2026-04-20, after 40 days.
"""

import datetime as dt

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Count, Max, Min, Q, Sum
from django.db.models.functions import Cast

from kpis.activity import PURCHASE, member_activity
from kpis.models import FiguresRefresh
from kpis.tiers import TIER, bounds_of, year_before
from portfolios.duplicates import surviving_cards_sql

# Whoever buys every other day is not at risk after four.
SHORTEST_REST_DAYS = 14
COLUMNS = ("tier", "spend_amount", "purchases", "last_purchase_on", "at_risk_on")


def longest_rest_days() -> int:
    """After so many days without a purchase anyone is at risk: two thirds of the activity window, 60 of 90."""
    return int(settings.ACTIVITY_WINDOW_DAYS) * 2 // 3


def _customers(on: dt.date) -> models.QuerySet:
    """Every card with a ticket before the day. A purchase is a day with one: two tickets on a day are one visit."""
    year = Q(activity_date__gte=year_before(on))
    return (
        member_activity(before=on)
        .values("member_id")
        .annotate(
            # PostgreSQL sums bigints into numeric.
            spend=Cast(Sum("net_amount", filter=year, default=0), models.BigIntegerField()),
            purchases=Count("activity_date", filter=PURCHASE & year, distinct=True),
            first=Min("activity_date", filter=PURCHASE & year),
            bought=Max("activity_date", filter=PURCHASE),
        )
    )


def refresh_member_figures(on: dt.date) -> int:
    """Makes every member's figures as of the start of a day; returns how many members' have changed.

    The card that survives a merge counts both cards' purchases. One statement, which writes only what differs from what
    is there: on an ordinary night that is few.
    """
    cards, params = _customers(on).query.sql_with_params()
    bounds, same_scope = bounds_of("customer")
    if connection.vendor == "postgresql":
        days_between, day_after, differs = "bought - first", "bought + 1 + CAST(rest AS integer)", "IS DISTINCT FROM"
    else:
        days_between = "CAST(julianday(bought) - julianday(first) AS integer)"
        day_after, differs = "date(bought, '+' || (1 + rest) || ' days')", "IS NOT"
    longest = longest_rest_days()
    shortest = min(SHORTEST_REST_DAYS, longest)
    names = ", ".join(COLUMNS)
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    statement = f"""
        INSERT INTO kpis_memberfigures (member_id, {names})
        WITH card AS ({cards}),
        customer AS (
            SELECT COALESCE(survivor_id, member_id) AS member_id,
                CAST(SUM(spend) AS bigint) AS spend,
                CAST(SUM(purchases) AS bigint) AS purchases,
                MIN(first) AS first,
                MAX(bought) AS bought
            FROM card LEFT JOIN ({surviving_cards_sql()}) AS merged ON merged.card_id = card.member_id
            GROUP BY COALESCE(survivor_id, member_id)
        ),
        bounds AS ({bounds}),
        rhythm AS (
            SELECT customer.*,
                CASE
                    WHEN purchases < 2 OR 2 * ({days_between}) >= {longest} * (purchases - 1) THEN {longest}
                    WHEN 2 * ({days_between}) <= {shortest} * (purchases - 1) THEN {shortest}
                    ELSE 2 * ({days_between}) / (purchases - 1)
                END AS rest
            FROM customer
        ),
        fresh AS (
            SELECT id,
                {TIER} AS tier,
                COALESCE(spend, 0) AS spend_amount,
                COALESCE(purchases, 0) AS purchases,
                bought AS last_purchase_on,
                CASE WHEN bought >= %s THEN {day_after} END AS at_risk_on
            FROM portfolios_member
            LEFT JOIN rhythm ON rhythm.member_id = id
            LEFT JOIN bounds ON {same_scope}
        )
        SELECT id, {", ".join(f"fresh.{name}" for name in COLUMNS)}
        FROM fresh
        LEFT JOIN kpis_memberfigures AS known ON known.member_id = id
        WHERE known.member_id IS NULL
            OR ({", ".join(f"fresh.{name}" for name in COLUMNS)}) {differs} ({", ".join(f"known.{n}" for n in COLUMNS)})
        ON CONFLICT (member_id) DO UPDATE SET {changes}
    """
    # Active at the start of the day, as a closing before it would count.
    active_since = on - dt.timedelta(days=settings.ACTIVITY_WINDOW_DAYS)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It cannot estimate the rows behind `customer`, and would spend more time compiling than the work takes.
            cursor.execute("SET LOCAL jit = off")
            # What a million members bought is added up in memory.
            cursor.execute("SET LOCAL work_mem = '256MB'")
        cursor.execute(statement, [*params, *[on - dt.timedelta(days=1)] * 3, active_since])
        changed: int = cursor.rowcount
        FiguresRefresh.objects.create(as_of=on)
    return changed


def figures_as_of() -> dt.date | None:
    """The day as of which the figures are; None before the first refresh."""
    latest = FiguresRefresh.objects.order_by("-pk").first()
    return latest.as_of if latest else None
