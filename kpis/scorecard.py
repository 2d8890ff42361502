"""Scores: a clerk's or a manager's measures of a month held against the targets of a scorecard, and what that pays.

Attainment = value / target (target / value where lower is better), cut at the cap; a score is the sum of weight x
attainment, and the bonus the scorecard's amount x score, for the days posted, rounded once. Of 300.00: 40% x 85% +
60% x 120% are 34 + 72 = 106 points, 318.00. A measure of too small a sample, or of nothing, is left out, and its
weight shared among the others: with the 40% left out it is 72 of 60, 120 points, 360.00.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import Prefetch, Q

from commission.money import WHOLE_BP, round_half_away
from kpis.measure_models import SUMS, MeasureMonth
from kpis.measure_page import MEASURES, Measure, Sums, add_up, is_small, known
from kpis.measures import measured
from kpis.models import Scorecard, ScorecardMeasure, ScoreLine, ScoreMonth
from kpis.scorecard_models import Direction, score_bp
from portfolios.models import Month, Posting
from portfolios.postings import Posted, postings_in

LeftOut = ScoreLine.LeftOut

# What a scorecard can count: the measures of the month, and what changed in the book and was done for it.
SCORED = (
    *MEASURES,
    Measure("growth_share", "organic_growth", "opening", sample="opening"),
    Measure("active_growth_share", "organic_active_growth", "active_opening", sample="active_opening"),
    Measure("lapsed_share", "lapsed", "active_opening", sample="active_opening"),
    Measure("upkeep", "profiles_done", "profiles_due"),
    Measure("calls_reached", "contacts_reached", "contacts", sample="contacts"),
)
BY_KEY: Mapping[str, Measure] = {measure.key: measure for measure in SCORED}
LOWER_IS_BETTER = frozenset({"lapsed_share"})
# What a target of each unit is counted in: basis points, minor units, hundredths of a time, members.
SCALES = {"percent": WHOLE_BP, "amount": 1, "times": 100, "count": 1}


def attainment_bp(top: int, bottom: int, *, scale: int, target: int, direction: str, cap_bp: int) -> int:
    """How far the target is reached by the value top / bottom, in basis points from 0 to the cap.

    `scale` is what the target is counted in; `bottom` is positive. A value below zero reaches nothing, or where lower
    is better as much as the cap, as zero does. A target of zero is reached (100%) or not (0).
    """
    lower = direction == Direction.LOWER
    if target == 0:
        reached = top <= 0 if lower else top >= 0
        return WHOLE_BP if reached else 0
    if top <= 0:
        return cap_bp if lower else 0
    value, wanted = top * scale, target * bottom
    part, whole = (wanted, value) if lower else (value, wanted)
    return min(round_half_away(part * WHOLE_BP, whole), cap_bp)


@dataclass(frozen=True)
class ScoredMeasure:
    """A measure of a score: its value top / bottom, the terms, and what it gives; `left_out` says why it doesn't."""

    measure: Measure
    weight_bp: int
    target: int
    cap_bp: int
    direction: str
    top: int
    bottom: int
    left_out: str
    attainment_bp: int

    @property
    def points(self) -> int:
        """In ten-thousandths of basis points: 1,000,000 are one point of 100."""
        return self.weight_bp * self.attainment_bp


@dataclass(frozen=True)
class Score:
    """A clerk's score of a month by a scorecard; `days` of `of_days` were posted. Amounts in minor units."""

    clerk_id: int
    scorecard: Scorecard
    lines: tuple[ScoredMeasure, ...]
    days: int
    of_days: int

    @property
    def points(self) -> int:
        return sum(line.points for line in self.lines)

    @property
    def counted_bp(self) -> int:
        return sum(line.weight_bp for line in self.lines if not line.left_out)

    @property
    def score_bp(self) -> int | None:
        return score_bp(self.points, self.counted_bp)

    @property
    def bonus_amount(self) -> int:
        if not self.counted_bp:
            return 0
        earned = self.scorecard.full_amount * self.points * self.days
        return round_half_away(earned, self.counted_bp * WHOLE_BP * self.of_days)


def scored_measure(terms: ScorecardMeasure, sums: Sums) -> ScoredMeasure:
    """What these sums give by the terms of one measure."""
    measure = BY_KEY[terms.measure]
    top, bottom = sums[measure.top], sums[measure.bottom] if measure.bottom else 1
    left_out, attained = "", 0
    if not known(measure, sums):
        left_out = LeftOut.UNKNOWN.value
    elif is_small(measure, sums):
        left_out = LeftOut.SMALL.value
    else:
        attained = attainment_bp(
            top,
            bottom,
            scale=SCALES[measure.unit],
            target=terms.target,
            direction=terms.direction,
            cap_bp=terms.cap_bp,
        )
    return ScoredMeasure(
        measure, terms.weight_bp, terms.target, terms.cap_bp, terms.direction, top, bottom, left_out, attained
    )


# --- Who is scored by what -----------------------------------------------------------------------------------------


def cards_in(month: Month) -> list[Scorecard]:
    """The scorecards that cover the month, with their measures."""
    ordered = Prefetch("measures", ScorecardMeasure.objects.order_by("pk"))
    return list(Scorecard.objects.in_month(month).prefetch_related(ordered))


def managed_stores(month: Month, posted: Mapping[int, Posted]) -> dict[int, list[int]]:
    """The stores that each of these people manages on the last day posted in the month; only who manages any."""
    last = {clerk: max(places.days) for clerk, places in posted.items()}
    stores: dict[int, list[int]] = defaultdict(list)
    postings = Posting.objects.filter(
        role=Posting.Role.MANAGER, clerk__in=last, valid_from__lte=month.ends_on, valid_to__gt=month.starts_on
    )
    columns = ("clerk", "store", "valid_from", "valid_to")
    for clerk, store, valid_from, valid_to in postings.order_by("store").values_list(*columns):
        if valid_from <= last[clerk] < valid_to:
            stores[clerk].append(store)
    return dict(stores)


@dataclass(frozen=True)
class Scope:
    """By what a person is scored, and whose figures count: the own, or those of the stores that are managed."""

    scorecard: Scorecard
    stores: tuple[int, ...] = ()


def scopes(month: Month, cards: Iterable[Scorecard], posted: Mapping[int, Posted]) -> dict[int, Scope]:
    """The scorecard of each person, by clerk id: one a month.

    Who manages a store on the last day posted is scored by the managers' scorecard, where there is one: of several
    stores by the chain's. Everybody else with a home store, by that of its clerks. A store's wins over the chain's.
    """
    by_scope = {(card.role, card.store_id): card for card in cards}
    managed = managed_stores(month, posted) if any(role == Posting.Role.MANAGER for role, _ in by_scope) else {}
    found = {}
    for clerk, places in posted.items():
        stores = managed.get(clerk, [])
        card = by_scope.get((Posting.Role.MANAGER, stores[0])) if len(stores) == 1 else None
        if stores and (card := card or by_scope.get((Posting.Role.MANAGER, None))):
            found[clerk] = Scope(card, tuple(stores))
        elif places.home:
            own = by_scope.get((Posting.Role.CLERK, places.home[1])) or by_scope.get((Posting.Role.CLERK, None))
            if own:
                found[clerk] = Scope(own)
    return found


def scores(
    month: Month,
    clerks: list[int] | None = None,
    *,
    cards: Iterable[Scorecard] | None = None,
    sums: models.QuerySet[Any] | None = None,
) -> list[Score]:
    """The scores of a month (or of these clerks), by clerk, from the sums that were written down for it last.

    `cards` are those in force unless others are given. Nobody is scored before the first sums of a month are there.
    """
    cards = cards_in(month) if cards is None else list(cards)
    if not cards:
        return []
    posted = postings_in(month, clerks)
    found = scopes(month, cards, posted)
    stores = {store for scope in found.values() for store in scope.stores}
    written = measured(month) if sums is None else sums
    rows = list(written.filter(Q(clerk__in=found) | Q(store__in=stores)))
    if not rows:
        return []
    nothing = dict.fromkeys(SUMS, 0)
    by_clerk = {row.clerk_id: row for row in rows if row.clerk_id}
    by_store: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        by_store[row.store_id].append(row)
    made = []
    for clerk, scope in sorted(found.items()):
        if scope.stores:
            own = add_up(row for store in scope.stores for row in by_store[store])
        else:
            own = add_up([by_clerk[clerk]]) if clerk in by_clerk else None
        lines = tuple(scored_measure(terms, own or nothing) for terms in scope.scorecard.measures.all())
        made.append(Score(clerk, scope.scorecard, lines, len(posted[clerk].days), month.days))
    return made


# --- Frozen --------------------------------------------------------------------------------------------------------


def freeze_scores(month: Month) -> None:
    """Writes down the scores of a month for good; called within the transaction of the close, after the measures'."""
    made = scores(month, sums=MeasureMonth.objects.filter(month=month))
    kept = ScoreMonth.objects.bulk_create(
        [
            ScoreMonth(
                month=month,
                clerk_id=score.clerk_id,
                scorecard=score.scorecard,
                points=score.points,
                counted_bp=score.counted_bp,
                days=score.days,
                bonus_amount=score.bonus_amount,
            )
            for score in made
        ],
        batch_size=500,
    )
    ScoreLine.objects.bulk_create(
        [
            ScoreLine(
                month=month,
                score=row,
                measure=line.measure.key,
                weight_bp=line.weight_bp,
                target=line.target,
                cap_bp=line.cap_bp,
                direction=line.direction,
                top=line.top,
                bottom=line.bottom,
                left_out=line.left_out,
                attainment_bp=line.attainment_bp,
                points=line.points,
            )
            for row, score in zip(kept, made, strict=True)
            for line in score.lines
        ],
        batch_size=500,
    )


def bonuses(month: Month, clerks: list[int] | None = None) -> dict[int, int]:
    """The bonus of each clerk in a month, in minor units: as frozen, or as the measures stand."""
    cards = cards_in(month)
    if not cards:
        return {}
    rows = ScoreMonth.objects.filter(month=month)
    frozen = dict((rows if clerks is None else rows.filter(clerk__in=clerks)).values_list("clerk", "bonus_amount"))
    return frozen or {score.clerk_id: score.bonus_amount for score in scores(month, clerks, cards=cards)}


def scores_of(month: Month, clerks: list[int] | None = None) -> list[Score]:
    """The scores of a month (or of these clerks), by clerk: as frozen, or as the measures of an open one stand."""
    if not month.is_closed:
        return scores(month, clerks)
    rows = ScoreMonth.objects.filter(month=month).select_related("scorecard__store").prefetch_related("lines")
    if clerks is not None:
        rows = rows.filter(clerk__in=clerks)
    return [_frozen(row, month) for row in rows.order_by("clerk")]


def _frozen(row: ScoreMonth, month: Month) -> Score:
    lines = tuple(
        ScoredMeasure(
            BY_KEY[line.measure],
            line.weight_bp,
            line.target,
            line.cap_bp,
            line.direction,
            line.top,
            line.bottom,
            line.left_out,
            line.attainment_bp,
        )
        for line in sorted(row.lines.all(), key=lambda line: line.pk)
    )
    return Score(row.clerk_id, row.scorecard, lines, row.days, month.days)
