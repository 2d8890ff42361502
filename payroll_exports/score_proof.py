"""The scores of a closed month worked out again from the sums that it froze, and compared with what it paid.

A second writing of the rules: whole fractions in place of integers, and who is scored by what from the postings
themselves. A line of 40% at 85% that was changed to 86% is named, with the clerk, and so is a bonus that it moved.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from commission.money import format_amount
from commission.verify import Finding
from kpis.models import MeasureMonth, Scorecard, ScorecardMeasure, ScoreLine, ScoreMonth
from portfolios.models import Month, Posting

# By measure: the sum, what it is divided by (nothing: a count), what a target of 1 is worth, what must be 20 or more.
_AGAIN = {f"repurchase_{days}": (f"again_{days}", f"new_{days}", 10_000, f"new_{days}") for days in (30, 60, 90)}
_VALUES: dict[str, tuple[str, str, int, str]] = {
    "effective_new": ("effective_new", "", 1, ""),
    **_AGAIN,
    "retention": ("key_kept", "key_opening", 10_000, "key_opening"),
    "member_pay": ("member_pay_amount", "variable_pay_amount", 10_000, ""),
    "spend": ("spend_amount", "active_members", 1, "active_members"),
    "basket": ("bought_amount", "tickets", 1, "tickets"),
    "frequency": ("purchase_days", "active_members", 100, "active_members"),
    "growth_share": ("organic_growth", "opening", 10_000, "opening"),
    "active_growth_share": ("organic_active_growth", "active_opening", 10_000, "active_opening"),
    "lapsed_share": ("lapsed", "active_opening", 10_000, "active_opening"),
    "upkeep": ("profiles_done", "profiles_due", 10_000, ""),
    "calls_reached": ("contacts_reached", "contacts", 10_000, "contacts"),
}


def verify_scores(month: Month, bonuses: dict[int, int]) -> Iterator[Finding]:
    """What of the month's scores the rules don't give; `bonuses` takes up what they do give each clerk."""
    remedy = _("Compare the score with its measures and its scorecard in a backup: one of them was changed.")
    kept = {row.clerk_id: row for row in ScoreMonth.objects.filter(month=month).select_related("clerk", "scorecard")}
    lines: dict[int, dict[str, ScoreLine]] = defaultdict(dict)
    for line in ScoreLine.objects.filter(month=month):
        lines[line.score_id][line.measure] = line
    numbers = dict(Posting.objects.order_by().values_list("clerk", "clerk__clerk_no").distinct())

    def finding(clerk: int, what: str, expected: Any, found: Any) -> Finding:
        where = _("score of clerk %(clerk)s") % {"clerk": numbers.get(clerk, clerk)}
        return Finding(month.name, what, where, str(expected), str(found), remedy)

    due = _due(month)
    for clerk in sorted(due.keys() | kept.keys()):
        if clerk not in due or clerk not in kept:
            yield finding(clerk, _("score"), *((_("one"), _("none")) if clerk in due else (_("none"), _("one"))))
            if clerk not in due:
                continue
        card, sums, days = due[clerk]
        row = kept.get(clerk)
        points, counted = Fraction(0), 0
        terms = ScorecardMeasure.objects.filter(scorecard=card)
        for one in terms:
            attained = _attainment(one, sums)
            if attained is not None:
                points += Fraction(one.weight_bp * attained, 10_000)
                counted += one.weight_bp
            if row:
                kept_line = lines[row.pk].pop(one.measure, None)
                found = _("none") if kept_line is None else _bp(kept_line)
                if found != _attained(attained):
                    yield finding(clerk, one.measure, _attained(attained), found)
        earned = Fraction(card.full_amount * days, month.days) * points / counted if counted else Fraction(0)
        bonuses[clerk] = int(earned + Fraction(1, 2))
        if row:
            if row.scorecard_id != card.pk:
                yield finding(clerk, _("scorecard"), card, row.scorecard)
            if (row.days, row.counted_bp, row.points) != (days, counted, int(points * 10_000)):
                yield finding(clerk, _("points"), points / 10_000, Fraction(row.points, 100_000_000))
            if row.bonus_amount != bonuses[clerk]:
                yield finding(clerk, _("bonus"), format_amount(bonuses[clerk]), format_amount(row.bonus_amount))
            for measure in lines[row.pk]:
                yield finding(clerk, measure, _("none"), _("one"))


def _bp(line: ScoreLine) -> str:
    return _attained(None if line.left_out else line.attainment_bp)


def _attained(attained: int | None) -> str:
    return _("left out") if attained is None else f"{attained / 100:.2f}%"


def _attainment(terms: ScorecardMeasure, sums: Counter[str]) -> int | None:
    """Basis points of the target, to the nearest; None for a measure that does not count."""
    top, bottom, worth, sample = _VALUES[terms.measure]
    if (bottom and sums[bottom] <= 0) or (sample and sums[sample] < settings.MEASURE_SMALL_SAMPLE):
        return None
    value = Fraction(sums[top] * worth, sums[bottom] if bottom else 1)
    better_below = terms.direction == "lower"
    if terms.target == 0:
        return 10_000 if (value <= 0 if better_below else value >= 0) else 0
    if value <= 0:
        return terms.cap_bp if better_below else 0
    reached = terms.target / value if better_below else value / terms.target
    return min(terms.cap_bp, int(reached * 10_000 + Fraction(1, 2)))


def _due(month: Month) -> dict[int, tuple[Scorecard, Counter[str], int]]:
    """Who is scored in the month: by which scorecard, from which sums, for how many days."""
    days: dict[int, set[dt.date]] = defaultdict(set)
    home: dict[int, tuple[dt.date, int]] = {}
    managing: dict[int, dict[dt.date, set[int]]] = defaultdict(lambda: defaultdict(set))
    postings = Posting.objects.filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
    for posting in postings.select_related("clerk"):
        clerk = posting.clerk
        on = max(posting.valid_from, month.starts_on)
        while on < posting.valid_to and on <= month.ends_on:
            if clerk.hired_on <= on and (clerk.left_on is None or on <= clerk.left_on):
                days[clerk.pk].add(on)
                if posting.role == Posting.Role.MANAGER:
                    managing[clerk.pk][on].add(posting.store_id)
                elif clerk.pk not in home or home[clerk.pk][0] < on:
                    home[clerk.pk] = (on, posting.store_id)
            on += dt.timedelta(days=1)
    cards = {
        (card.role, card.store_id): card
        for card in Scorecard.objects.filter(
            state="issued", valid_from__lte=month.starts_on, valid_to__gt=month.starts_on
        )
    }
    of_clerk: dict[int, Counter[str]] = {}
    of_store: dict[int | None, Counter[str]] = defaultdict(Counter)
    names = [field.name for field in MeasureMonth._meta.concrete_fields if not field.is_relation and field.name != "id"]
    for row in MeasureMonth.objects.filter(month=month):
        sums = Counter({name: getattr(row, name) for name in names})
        of_store[row.store_id].update(sums)
        if row.clerk_id:
            of_clerk[row.clerk_id] = sums
    due = {}
    for key, own in days.items():
        stores = managing[key][max(own)]
        card = cards.get(("manager", next(iter(stores)))) if len(stores) == 1 else None
        card = (card or cards.get(("manager", None))) if stores else None
        if card:
            together: Counter[str] = Counter()
            for store in stores:
                together.update(of_store[store])
            due[key] = (card, together, len(own))
        elif key in home:
            card = cards.get(("clerk", home[key][1])) or cards.get(("clerk", None))
            if card:
                due[key] = (card, of_clerk.get(key, Counter()), len(own))
    return due
