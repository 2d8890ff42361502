"""The picture of a what-if: who wins and who loses most, as bars to both sides of one zero line.

Plain numbers in, positions for the template out, as strings so that no locale changes their decimal point. Beside a
clerk who wins 60.00 a clerk who loses 30.00 has a bar of half the length, to the other side, and hatched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from commission.what_if import ClerkPay

WIDTH, LABEL_WIDTH, FIGURE_WIDTH = 420.0, 120.0, 80.0
_ROW, _BAR, _EACH = 18.0, 12.0, 10


@dataclass(frozen=True)
class Bar:
    """A clerk's bar; `hatching` is the path of the strokes over a loss."""

    name: str
    clerk_no: str
    difference: int
    x: str
    y: str
    width: str
    hatching: str
    text_y: str


@dataclass(frozen=True)
class Picture:
    """`left_out` clerks lie between the winners and the losers that are drawn; `gap_y` is where that is said."""

    bars: list[Bar]
    width: str
    height: str
    zero_x: str
    figure_x: str
    left_out: int
    gap_y: str


def picture(rows: Sequence[ClerkPay]) -> Picture | None:
    """The ten who win and the ten who lose most, of clerks by who wins most; None where nobody's pay changes."""
    changed = [row for row in rows if row.difference]
    if not changed:
        return None
    winners = [row for row in changed if row.difference > 0][:_EACH]
    losers = [row for row in changed if row.difference < 0][-_EACH:]
    left_out = len(changed) - len(winners) - len(losers)
    low = min([0, *(row.difference for row in losers)])
    high = max([0, *(row.difference for row in winners)])
    scale = (WIDTH - LABEL_WIDTH - FIGURE_WIDTH) / (high - low)
    zero = LABEL_WIDTH - low * scale
    bars = []
    y = 2.0
    for row in (*winners, *losers):
        if left_out and losers and row is losers[0]:
            y += _ROW
        # A fen beside a thousand is still a visible stroke.
        length = max(abs(row.difference) * scale, 1.0)
        x = zero - length if row.difference < 0 else zero
        hatching = _hatching(x, y, length) if row.difference < 0 else ""
        bars.append(
            Bar(
                row.clerk.name,
                row.clerk.clerk_no,
                row.difference,
                f"{x:.1f}",
                f"{y:.1f}",
                f"{length:.1f}",
                hatching,
                f"{y + _BAR - 2.5:.1f}",
            )
        )
        y += _ROW
    gap = 2.0 + _ROW * len(winners) + _BAR - 2.5 if losers else y + _BAR - 2.5
    height = y if losers or not left_out else y + _ROW
    return Picture(bars, f"{WIDTH:.0f}", f"{height:.1f}", f"{zero:.1f}", f"{WIDTH:.0f}", left_out, f"{gap:.1f}")


def _hatching(x: float, y: float, width: float) -> str:
    """Diagonals both ways inside a bar, cut at its ends."""
    strokes, offset = "", 4.0
    while offset < width + _BAR:
        left, right = max(0.0, offset - _BAR), min(width, offset)
        strokes += f"M{x + left:.1f},{y + offset - left:.1f}L{x + right:.1f},{y + offset - right:.1f}"
        top = y + _BAR - offset
        strokes += f"M{x + left:.1f},{top + left:.1f}L{x + right:.1f},{top + right:.1f}"
        offset += 6.0
    return strokes
