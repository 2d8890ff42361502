"""The accelerator: a clerk's credit of a month earns more, step by step.

Each step's rate counts for the credit that lies within it. With 0% from 0, 2% from 3,000,000 and 3% from 6,000,000, a
credit of 7,000,000 earns 3,000,000 x 2% + 1,000,000 x 3% = 90,000.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from itertools import pairwise

from commission.models import Band, Plan
from commission.money import WHOLE_BP, round_half_away
from portfolios.models import Month
from portfolios.postings import Posted, postings_in


def accelerator(credit_amount: int, bands: Iterable[Band]) -> int:
    """What a month's credit earns on top, in minor units, rounded once.

    A band holds the credit from its lower bound up to the next one's; a credit on a bound lies in the band that
    begins there. Credit below zero, or below the lowest bound, earns nothing.
    """
    steps = sorted((band.lower_amount, band.rate_bp) for band in bands)
    earned_e4 = 0
    for (lower, rate_bp), (upper, _rate) in pairwise([*steps, (max(credit_amount, 0), 0)]):
        earned_e4 += max(min(credit_amount, upper) - lower, 0) * rate_bp
    return round_half_away(earned_e4, WHOLE_BP)


def plans_in(month: Month) -> list[Plan]:
    """The plans that are in force on any day of the month, with their bands."""
    plans = Plan.objects.issued().filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
    return list(plans.prefetch_related("bands"))


def accelerators(month: Month, credits: Mapping[int, int], posted: Mapping[int, Posted]) -> dict[int, int]:
    """What each clerk's credit of the month earns on top, by the plan of the home store on the last day posted to one.

    Minor units by clerk, both ways. `posted` says where each was posted in the month (portfolios.postings); a clerk
    without a home store, or whose store has no plan then, is left out.
    """
    plans = plans_in(month)
    earned = {}
    for clerk, credit_amount in credits.items():
        home = posted[clerk].home if clerk in posted else None
        plan = plan_of_store(plans, home[1], home[0]) if home else None
        if plan:
            earned[clerk] = accelerator(credit_amount, plan.bands.all())
    return earned


def band_plan(clerk: int, month: Month) -> Plan | None:
    """The plan by whose bands a clerk's credit of the month earns more."""
    posted = postings_in(month, [clerk]).get(clerk)
    return plan_of_store(plans_in(month), posted.home[1], posted.home[0]) if posted and posted.home else None


def plan_of_store(plans: Iterable[Plan], store_id: int, on: dt.date) -> Plan | None:
    """The plan in force at a store on a date: the store's own, else the chain's; None where there is neither."""
    in_force = {plan.store_id: plan for plan in plans if plan.valid_from <= on < plan.valid_to}
    return in_force.get(store_id) or in_force.get(None)
