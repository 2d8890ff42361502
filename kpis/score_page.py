"""What the pages of a score show: each measure's value, target, attainment and points, and the sum in figures.

40% x 87.5% is 35, and 35 + 30 = 65 points; 300.00 x 65 / 100 = 195.00. Where a measure is left out, the points are of
the weight that is left: 72 of 60 are 120.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.urls import reverse
from django.utils.translation import gettext as _

from commission.money import format_bp, round_half_away
from commission.templatetags.money import MINUS, count, money_text
from kpis.measure_page import Measure
from kpis.scorecard import LeftOut, Score, ScoredMeasure
from kpis.scorecard_models import Direction, ScorecardMeasure
from portfolios.models import Clerk, Month, Store


def target_text(measure: Measure, target: int) -> str:
    """A target as it is read: "70%", "56.00", "0.67", "12"."""
    if measure.unit == "percent":
        return f"{format_bp(target)}%"
    return count(target) if measure.unit == "count" else money_text(target)


def value_text(line: ScoredMeasure) -> str:
    """The value of a measure as finely as targets are; nothing where there is nothing to measure."""
    if line.left_out == LeftOut.UNKNOWN:
        return ""
    measure = line.measure
    if measure.unit == "percent":
        bp = round_half_away(10_000 * line.top, line.bottom)
        return f"{MINUS if bp < 0 else ''}{format_bp(abs(bp))}%"
    if measure.unit == "count":
        return count(line.top)
    return money_text(round_half_away((100 if measure.unit == "times" else 1) * line.top, line.bottom))


def of_text(line: ScoredMeasure) -> str:
    """What a share is a part of: "14 of 20"; of amounts, and of what is no share, nothing."""
    if line.measure.unit != "percent":
        return ""
    top, bottom = line.top, line.bottom
    if line.measure.key == "member_pay":
        return _("%(part)s of %(whole)s") % {"part": money_text(top), "whole": money_text(bottom)}
    return _("%(part)s of %(whole)s") % {"part": count(top), "whole": count(bottom)}


def points_text(points: int) -> str:
    """Points as they are, to the last digit: 33,332,000 -> "33.332"."""
    return f"{(Decimal(points) / 1_000_000).normalize():f}"


@dataclass(frozen=True)
class TermsLine:
    """A measure of a scorecard as it is read."""

    key: str
    name: str
    weight: str
    target: str
    cap: str
    lower: bool


def terms_line(measure: Measure, terms: ScoredMeasure | ScorecardMeasure) -> TermsLine:
    return TermsLine(
        measure.key,
        str(measure.name),
        f"{format_bp(terms.weight_bp)}%",
        target_text(measure, terms.target),
        f"{format_bp(terms.cap_bp)}%",
        terms.direction == Direction.LOWER,
    )


@dataclass(frozen=True)
class ScoreLineShown:
    """A measure of a score; `bar` and `bar_end` are its attainment and its cap on a bar where the target is at 100."""

    terms: TermsLine
    value: str
    of: str
    left_out: str
    attainment: str
    capped: bool
    points: str
    bar: str
    bar_end: str
    url: str


@dataclass(frozen=True)
class ScorePage:
    """A score in figures; `sum` is "35 + 30 = 65", `counted` the weight that counts, 100 where none is left out."""

    lines: list[ScoreLineShown]
    sum: str
    points: str
    counted: str
    whole: bool
    score_bp: int | None
    full_amount: int
    days: int
    of_days: int
    bonus_amount: int


def score_page(score: Score, month: Month, clerk: Clerk, stores: list[Store], *, own: bool) -> ScorePage:
    """The score of a clerk, or of the manager of `stores`, with the addresses of what is behind the measures.

    `own` is true where the clerk reads it.
    """
    lines = [_shown(line, _behind(line.measure, month, clerk, stores, own=own)) for line in score.lines]
    given = [line.points for line in lines if not line.left_out]
    points = points_text(score.points)
    return ScorePage(
        lines,
        f"{' + '.join(given)} = {points}" if len(given) > 1 else points,
        points,
        format_bp(score.counted_bp),
        score.counted_bp == sum(line.weight_bp for line in score.lines),
        score.score_bp,
        score.scorecard.full_amount,
        score.days,
        score.of_days,
        score.bonus_amount,
    )


def _shown(line: ScoredMeasure, url: str) -> ScoreLineShown:
    return ScoreLineShown(
        terms=terms_line(line.measure, line),
        value=value_text(line),
        of=of_text(line) if line.left_out != LeftOut.UNKNOWN else "",
        left_out=line.left_out,
        attainment=f"{format_bp(line.attainment_bp)}%",
        capped=line.attainment_bp == line.cap_bp,
        points=points_text(line.points),
        bar=f"{line.attainment_bp / 100:.1f}",
        bar_end=f"{line.cap_bp / 100:.1f}",
        url=url,
    )


# The list of members behind a measure, in a closed month.
_MEMBERS: Mapping[str, str] = {
    "lapsed_share": "lapsed",
    **dict.fromkeys(("spend", "basket", "frequency"), "active_closing"),
}
_OF_THE_DAY: Mapping[str, str] = {"upkeep": "upkeep", "calls_reached": "today"}


def _behind(measure: Measure, month: Month, clerk: Clerk, stores: list[Store], *, own: bool) -> str:
    """The page behind a measure; of a manager of several stores that of the first."""
    if measure.key in _OF_THE_DAY:
        return reverse(_OF_THE_DAY[measure.key]) if own and not month.is_closed else ""
    kind, number = ("store", stores[0].store_no) if stores else ("clerk", clerk.clerk_no)
    if measure.key in _MEMBERS and month.is_closed:
        return reverse("movement_members", args=[month.pk, kind, _MEMBERS[measure.key], number])
    page = "movement" if measure.key in ("growth_share", "active_growth_share") else "measures"
    return reverse(page, args=[month.pk, kind, number])
