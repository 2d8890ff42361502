"""Key members: the tiers A, B and C by what each member spent in twelve months.

Of n members with a positive net spend, A are those who spent at least as much as the one in place ceil(0.05 n), B the
further ones who spent at least as much as the one in place ceil(0.20 n); everyone else is C. Of 40 members who spent
40, 39, ... 1, A are 40 and 39, B are 38 to 33. Ties share the better tier: were the third to spend 39 too, A had three.
"""

import datetime as dt
from collections.abc import Mapping

import numpy as np
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, models
from django.db.models import Q, Sum
from django.db.models.functions import Cast

from kpis.activity import member_activity
from kpis.bulk_rows import Numbers
from portfolios.duplicates import surviving_cards
from portfolios.models import Member, Store

A_PERCENT = 5
B_PERCENT = 20


def year_before(day: dt.date) -> dt.date:
    """The same day a year earlier; 28 February for a 29th."""
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


def ranked_in_store() -> bool:
    """Whether members are ranked within their home store (TIER_SCOPE "store") or chain-wide ("chain").

    Raises ImproperlyConfigured for any other setting.
    """
    if settings.TIER_SCOPE not in ("chain", "store"):
        raise ImproperlyConfigured(
            f'TIER_SCOPE is "{settings.TIER_SCOPE}": set it to "chain" to rank members across the chain, '
            'or to "store" to rank them within their home store.'
        )
    return bool(settings.TIER_SCOPE == "store")


def member_spend(on: dt.date, *, store: Store | None = None) -> dict[int, int]:
    """Net spend by member in the 12 months before `on`, in minor units, of all members or of those of a home store.

    Whole tickets, every category, less returns; that of a card that was merged by then is the surviving card's.
    Members without a ticket in that time are not there.
    """
    year = member_activity(since=year_before(on), before=on)
    if store is not None:
        year = year.filter(Q(member__store=store) | Q(member__merged_into__isnull=False))
    sums = year.values("member").annotate(spend=Cast(Sum("net_amount"), models.BigIntegerField()))
    spent = dict(sums.values_list("member", "spend"))
    survivors = surviving_cards(on)
    merged = {card: spent.pop(card) for card in survivors if card in spent}
    for card, spend in merged.items():
        spent[survivors[card]] = spent.get(survivors[card], 0) + spend
    if store is not None and spent:
        # A card of another store was merged into one of this store, or the other way round.
        strange = Member.objects.filter(Q(merged__isnull=False) | Q(merged_into__isnull=False)).exclude(store=store)
        for card in strange.values_list("pk", flat=True):
            spent.pop(card, None)
    return spent


def tier_bounds(spend: Mapping[int, int]) -> tuple[int, int] | None:
    """What it takes to be A, and B, among these members, in minor units; None where nobody spent anything."""
    ranked = sorted((amount for amount in spend.values() if amount > 0), reverse=True)
    if not ranked:
        return None
    a_place, b_place = _last_places(len(ranked))
    return ranked[a_place - 1], ranked[b_place - 1]


def _last_places(ranked: int) -> tuple[int, int]:
    """Of so many who spent something, the last place that is A, and the last that is B."""
    a_place, b_place = (-(-percent * ranked // 100) for percent in (A_PERCENT, B_PERCENT))
    return a_place, b_place


def tier_numbers(spend: Numbers) -> Numbers:
    """The same tiers as `tiers_of` gives, of an array of spends: 3 for A, 2 for B, 1 for C."""
    ranked = spend[spend > 0]
    tiers = np.ones(len(spend), dtype=np.int64)
    if len(ranked):
        for place in _last_places(len(ranked)):
            bound = np.partition(ranked, len(ranked) - place)[len(ranked) - place]
            tiers += spend >= bound
    return tiers


def tiers_of(spend: Mapping[int, int]) -> dict[int, str]:
    """The tier of each of these members, ranked among themselves."""
    bounds = tier_bounds(spend)
    if bounds is None:
        return dict.fromkeys(spend, "C")
    a_bound, b_bound = bounds
    return {member: "A" if amount >= a_bound else "B" if amount >= b_bound else "C" for member, amount in spend.items()}


def member_tiers(on: dt.date, *, store: Store) -> dict[int, str]:
    """The tiers at the start of `on` that hold for the members of a store: ranked chain-wide or there (TIER_SCOPE)."""
    return tiers_of(member_spend(on, store=store if ranked_in_store() else None))


# SQL for the tier of a row with its `spend` and the bounds of its scope.
TIER = "CASE WHEN spend >= a_bound THEN 'A' WHEN spend >= b_bound THEN 'B' ELSE 'C' END"


def bounds_of(customers: str) -> tuple[str, str]:
    """SQL for `tier_bounds` over a relation (member_id, spend) of any size, and the condition to join its rows on.

    There is one row (a_bound, b_bound) for the chain, or one per home store, joined to a member's `store_id`. Places
    k <= ceil(p n) are those with k - 1 < p n: so it stays with integers.
    """
    in_store = ranked_in_store()
    home, in_home = ("home_id,", "GROUP BY home_id") if in_store else ("", "")
    ranked = f"""
        SELECT spend {", store_id AS home_id" if in_store else ""}
        FROM {customers} {f"JOIN portfolios_member ON id = {customers}.member_id" if in_store else ""}
        WHERE spend > 0"""
    if connection.vendor == "postgresql":
        # In a list alone they are sorted in a third of the time that it takes to number rows. OFFSET keeps PostgreSQL
        # from joining every member with the list, and looking up the bounds there, in place of the two bounds.
        statement = f"""
            SELECT {home}
                spends[({A_PERCENT} * places + 99) / 100] AS a_bound,
                spends[({B_PERCENT} * places + 99) / 100] AS b_bound
            FROM (
                SELECT {"home_id," if in_store else ""}
                    ARRAY_AGG(spend ORDER BY spend DESC) AS spends, COUNT(*) AS places
                FROM ({ranked}) AS ranked {in_home}
            ) AS list
            OFFSET 0"""
    else:
        statement = f"""
            SELECT {home}
                MIN(CASE WHEN 100 * (place - 1) < {A_PERCENT} * places THEN spend END) AS a_bound,
                MIN(CASE WHEN 100 * (place - 1) < {B_PERCENT} * places THEN spend END) AS b_bound
            FROM (
                SELECT ranked.*, ROW_NUMBER() OVER (own ORDER BY spend DESC) AS place, COUNT(*) OVER own AS places
                FROM ({ranked}) AS ranked
                WINDOW own AS ({"PARTITION BY home_id" if in_store else ""})
            ) AS placed
            {in_home}"""
    return statement, "home_id = store_id" if in_store else "TRUE"
