"""What grew and what shrank, as bars from a common zero line: +15 to its right, -6 hatched to its left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from commission.templatetags.money import signed
from kpis.charts import shortened

SHOWN = 12
_WIDTH, _LEFT, _ROW = 340, 112, 18


@dataclass(frozen=True)
class DifferenceBar:
    """One bar; `strokes` are the hatching over a loss."""

    name: str
    number: str
    figure: str
    x: str
    y: str
    text_y: str
    width: str
    colour: str
    strokes: str


@dataclass(frozen=True)
class DifferenceChart:
    """What `templates/charts/differences.svg` draws; `left_out` smaller differences are in the table alone."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    bar_height: int
    figure_x: int
    zero_x: str
    note_y: str
    bars: list[DifferenceBar]
    left_out: int


def difference_bars(
    rows: Sequence[tuple[str, str, int]],
    *,
    id: str,
    title: str,
    figure: Callable[[int], str] = signed,
    figure_width: int = 44,
    by_size: bool = True,
) -> DifferenceChart | None:
    """Name, number and difference of each row: the dozen largest, by size or as they come; None for fewer than two."""
    if len(rows) < 2:
        return None
    most = sorted(rows, key=lambda row: -abs(row[2]))[:SHOWN]
    shown = sorted(most, key=lambda row: -row[2]) if by_size else [row for row in rows if row in most]
    low, high = min(0, *(row[2] for row in shown)), max(0, *(row[2] for row in shown))
    scale = (_WIDTH - _LEFT - figure_width) / ((high - low) or 1)
    zero = _LEFT - low * scale
    bars = []
    for place, (name, number, value) in enumerate(shown):
        length, y = abs(value) * scale, place * _ROW + 3
        x = zero - length if value < 0 else zero
        bars.append(
            DifferenceBar(
                name=shortened(name, _LEFT - 8),
                number=number,
                figure=figure(value),
                x=f"{x:.1f}",
                y=f"{y:.1f}",
                text_y=f"{y + 9.5:.1f}",
                # A change of one beside one of a thousand is still a visible stroke.
                width=f"{max(length, 1.0) if value else 0:.1f}",
                colour="#b4412f" if value < 0 else "#0b6b57",
                strokes=_hatching(x, y, length, 12) if value < 0 else "",
            )
        )
    left_out = len(rows) - len(shown)
    height = len(bars) * _ROW + (16 if left_out else 0)
    return DifferenceChart(
        id=id,
        title=title,
        desc="; ".join(f"{bar.name} {bar.number}: {bar.figure}" for bar in bars),
        width=_WIDTH,
        height=height,
        bar_height=12,
        figure_x=_WIDTH,
        zero_x=f"{zero:.1f}",
        note_y=f"{height - 4}",
        bars=bars,
        left_out=left_out,
    )


def _hatching(x: float, y: float, width: float, height: float) -> str:
    """Rising diagonals inside a rectangle, as a path."""
    lines, offset = "", 4.0
    while offset < width + height:
        left, right = max(0.0, offset - height), min(width, offset)
        lines += f"M{x + left:.1f},{y + offset - left:.1f}L{x + right:.1f},{y + offset - right:.1f}"
        offset += 5
    return lines
