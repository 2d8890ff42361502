"""Pictures of a change of owners: each clerk's book before and after, and what a rebalance's moves buy.

Plain numbers in, positions for the templates out, as strings so that no locale changes their decimal point. A bar of
6,000 beside one of 3,000 is drawn twice as long; both begin at the zero line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from portfolios.rebalance import CurvePoint

BAR_WIDTH = 140


@dataclass(frozen=True)
class BeforeAfter:
    """Two bars from one zero line, in the units of a viewBox BAR_WIDTH wide: what was, and what will be."""

    zero_x: str
    before_x: str
    before_width: str
    after_x: str
    after_width: str


def before_after(pairs: Sequence[tuple[int, int]]) -> list[BeforeAfter]:
    """A pair of bars for each row, all on one scale."""
    values = [value for pair in pairs for value in pair]
    low, high = min([0, *values]), max([0, *values])
    scale = BAR_WIDTH / ((high - low) or 1)
    zero = -low * scale

    def bar(value: int) -> tuple[str, str]:
        length = abs(value) * scale
        return f"{zero - length if value < 0 else zero:.1f}", f"{length:.1f}"

    return [BeforeAfter(f"{zero:.1f}", *bar(before), *bar(after)) for before, after in pairs]


@dataclass(frozen=True)
class CurveMark:
    x: str
    y: str
    label_y: str
    moves: int
    percent: str
    labelled: bool


@dataclass(frozen=True)
class Curve:
    """Spread in percent over moves, as a falling line; `ticks` are (y, percent) of its horizontal rules."""

    width: int
    height: int
    line: str
    marks: list[CurveMark]
    ticks: list[tuple[str, str]]
    base_y: str
    right_x: str


def moves_curve(points: Sequence[CurvePoint]) -> Curve:
    """What so many moves buy. The first point is the widest spread, and the line falls to the right."""
    width, height, left, top, bottom = 520, 200, 44, 16, 34
    most_moves = max((point.moves for point in points), default=0) or 1
    widest = max((float(point.spread) * 100 for point in points), default=0) or 1
    across, down = width - left - 24, height - top - bottom

    def place(point: CurvePoint) -> tuple[float, float]:
        return left + across * point.moves / most_moves, top + down * (1 - float(point.spread) * 100 / widest)

    marks, last_x = [], -100.0
    for index, point in enumerate(points):
        x, y = place(point)
        # Labels that would run into the one before are left to the table; the last one is always said.
        labelled = x - last_x >= 56 or index == len(points) - 1
        last_x = x if labelled else last_x
        marks.append(
            CurveMark(f"{x:.1f}", f"{y:.1f}", f"{y - 8:.1f}", point.moves, percent_text(point.spread), labelled)
        )
    ticks = [(f"{top + down * (1 - part):.1f}", f"{widest * part:.0f}%") for part in (0, 0.5, 1)]
    line = " ".join(f"{'M' if index == 0 else 'L'}{mark.x},{mark.y}" for index, mark in enumerate(marks))
    return Curve(width, height, line, marks, ticks, f"{top + down:.1f}", f"{width - 24}")


def percent_text(ratio: object) -> str:
    """A ratio as a percentage, with more decimals the closer it is to zero: 0.1234 -> "12.3%", 0.00041 -> "0.041%"."""
    percent = float(ratio) * 100  # type: ignore[arg-type] # a float or a Fraction
    if percent == 0:
        return "0%"
    if percent < 0.001:
        return "< 0.001%"
    return f"{percent:.1f}%" if percent >= 1 else f"{percent:.2g}%" if percent >= 0.1 else f"{percent:.3f}%"
