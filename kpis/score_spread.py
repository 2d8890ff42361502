"""How scores spread: as many people as lie in each step of ten points, as bars; the mean is a line.

Scores of 62, 68 and 95 are a bar of two from 60 to 70 and one of one from 90 to 100, with the mean at 75.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commission.money import round_half_away

STEP_BP = 1_000
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420.0, 150.0, 6.0, 22.0, 30.0


@dataclass(frozen=True)
class Step:
    """A bar of `people` whose scores lie from `lower` points up to the next step."""

    lower: int
    people: int
    x: str
    y: str
    width: str
    height: str
    middle: str
    label_y: str


@dataclass(frozen=True)
class Spread:
    title: str
    desc: str
    width: str
    height: str
    base: str
    steps: list[Step]
    ticks: list[tuple[str, int]]
    mean_x: str
    mean: str


def spread(scores_bp: Iterable[int]) -> Spread | None:
    """The picture of scores in basis points of 100 points; None where there is none."""
    found = list(scores_bp)
    if not found:
        return None
    people = Counter(score // STEP_BP for score in found)
    first, last = min(*people, 9), max(*people, 9) + 1
    each = (_WIDTH - 2 * _LEFT) / (last - first)
    base, most = _HEIGHT - _BOTTOM, max(people.values())
    steps = []
    for place in range(first, last):
        if not people[place]:
            continue
        height = (base - _TOP) * people[place] / most
        x = _LEFT + (place - first) * each
        steps.append(
            Step(
                place * 10,
                people[place],
                f"{x + 1:.1f}",
                f"{base - height:.1f}",
                f"{each - 2:.1f}",
                f"{height:.1f}",
                f"{x + each / 2:.1f}",
                f"{base - height - 3:.1f}",
            )
        )
    mean = round_half_away(sum(found), len(found))
    ticks = [(f"{_LEFT + (place - first) * each:.1f}", place * 10) for place in range(first, last + 1)]
    said = [
        ngettext("%(people)d from %(lower)d points on", "%(people)d from %(lower)d points on", step.people)
        % {"people": step.people, "lower": step.lower}
        for step in steps
    ]
    mean_text = f"{mean / 100:.2f}".rstrip("0").rstrip(".")
    return Spread(
        title=_("How the scores spread"),
        desc="; ".join([*said, _("mean: %(mean)s") % {"mean": mean_text}]),
        width=f"{_WIDTH:.0f}",
        height=f"{_HEIGHT:.0f}",
        base=f"{base:.1f}",
        steps=steps,
        ticks=ticks,
        mean_x=f"{_LEFT + (mean / STEP_BP - first) * each:.1f}",
        mean=_("mean %(mean)s") % {"mean": mean_text},
    )
