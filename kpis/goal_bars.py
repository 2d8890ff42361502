"""The member share of variable pay as bars from zero, with the goal as a line: 80% and 64% beside a goal of 70%."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _

from kpis.charts import shortened

SHOWN = 12
_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 340, 104, 44, 18, 16


@dataclass(frozen=True)
class GoalBar:
    """One bar; a share below the goal is hatched."""

    name: str
    figure: str
    y: str
    text_y: str
    width: str
    below: bool
    strokes: str


@dataclass(frozen=True)
class GoalBars:
    """What `templates/charts/goal_bars.svg` draws; `left_out` higher shares are in the table alone."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    left_x: int
    bar_height: int
    goal_x: str
    goal: str
    note_y: int
    bars: list[GoalBar]
    left_out: int


def goal_bars(shares: Iterable[tuple[str, int | None]], *, sort: bool = False, id: str = "goal") -> GoalBars | None:
    """Percentages by name; where there are more than a dozen, the lowest ones. None where no share is known."""
    known = [(name, share) for name, share in shares if share is not None]
    if not known:
        return None
    if sort:
        known.sort(key=lambda one: one[1])
    shown, left_out = known[:SHOWN], max(len(known) - SHOWN, 0)
    goal = settings.MEMBER_PAY_GOAL_PERCENT
    scale = (_WIDTH - _LEFT - _RIGHT) / max(100, *(share for _name, share in shown))
    bars = []
    for place, (name, share) in enumerate(shown):
        y, length = _TOP + place * _ROW + 3, max(share, 0) * scale
        bars.append(
            GoalBar(
                name=shortened(name, _LEFT - 8),
                figure=f"{share}%",
                y=f"{y}",
                text_y=f"{y + 9.5:.1f}",
                width=f"{length:.1f}",
                below=share < goal,
                strokes=_diagonals(_LEFT, y, length, 12) if share < goal else "",
            )
        )
    height = _TOP + len(bars) * _ROW + (16 if left_out else 2)
    return GoalBars(
        id=id,
        title=_("Member share of variable pay, and the goal"),
        desc="; ".join([*(f"{bar.name}: {bar.figure}" for bar in bars), _("goal: %(goal)d%%") % {"goal": goal}]),
        width=_WIDTH,
        height=height,
        left_x=_LEFT,
        bar_height=12,
        goal_x=f"{_LEFT + goal * scale:.1f}",
        goal=_("goal %(goal)d%%") % {"goal": goal},
        note_y=height - 4,
        bars=bars,
        left_out=left_out,
    )


def _diagonals(x: float, y: float, width: float, height: float) -> str:
    """Rising diagonals inside a rectangle, as a path."""
    lines, offset = "", 4.0
    while offset < width + height:
        left, right = max(0.0, offset - height), min(width, offset)
        lines += f"M{x + left:.1f},{y + offset - left:.1f}L{x + right:.1f},{y + offset - right:.1f}"
        offset += 5
    return lines
