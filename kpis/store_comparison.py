"""The stores of a chain side by side: the organic growth of active members, as bars from a common zero line.

A store with 40 newly active, 10 reactivated and 35 lapsed has grown by 15, whoever was transferred in or out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from commission.templatetags.money import signed
from kpis.charts import text_width
from kpis.models import StoreMonth

SHOWN = 12
_WIDTH, _LEFT, _RIGHT, _ROW = 340, 112, 44, 18


@dataclass(frozen=True)
class StoreBar:
    """One store's bar; `strokes` are the hatching over a loss."""

    name: str
    store_no: str
    figure: str
    x: str
    y: str
    text_y: str
    width: str
    colour: str
    strokes: str


@dataclass(frozen=True)
class StoresChart:
    """What `templates/charts/stores.svg` draws; `left_out` stores with smaller changes are in the table alone."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    bar_height: int
    figure_x: int
    zero_x: str
    note_y: str
    bars: list[StoreBar]
    left_out: int


def store_bars(rows: Sequence[StoreMonth], *, id: str = "stores") -> StoresChart | None:
    """The stores with the largest growth and loss, by growth; None for fewer than two stores."""
    known = [row for row in rows if row.store]
    if len(known) < 2:
        return None
    most = sorted(known, key=lambda row: -abs(row.organic_active_growth))[:SHOWN]
    shown = sorted(most, key=lambda row: -row.organic_active_growth)
    growth = [row.organic_active_growth for row in shown]
    low, high = min(0, *growth), max(0, *growth)
    scale = (_WIDTH - _LEFT - _RIGHT) / ((high - low) or 1)
    zero = _LEFT - low * scale
    bars = []
    for place, (row, value) in enumerate(zip(shown, growth, strict=True)):
        assert row.store is not None
        length, y = abs(value) * scale, place * _ROW + 3
        x = zero - length if value < 0 else zero
        bars.append(
            StoreBar(
                name=_shortened(row.store.name),
                store_no=row.store.store_no,
                figure=signed(value),
                x=f"{x:.1f}",
                y=f"{y:.1f}",
                text_y=f"{y + 9.5:.1f}",
                # A change of one member beside one of a thousand is still a visible stroke.
                width=f"{max(length, 1.0) if value else 0:.1f}",
                colour="#b4412f" if value < 0 else "#0b6b57",
                strokes=_hatching(x, y, length, 12) if value < 0 else "",
            )
        )
    left_out = len(known) - len(shown)
    height = len(bars) * _ROW + (16 if left_out else 0)
    return StoresChart(
        id=id,
        title=_("Organic growth of active members, by store"),
        desc="; ".join(f"{bar.name} {bar.store_no}: {bar.figure}" for bar in bars),
        width=_WIDTH,
        height=height,
        bar_height=12,
        figure_x=_WIDTH,
        zero_x=f"{zero:.1f}",
        note_y=f"{height - 4}",
        bars=bars,
        left_out=left_out,
    )


def _shortened(name: str) -> str:
    """As much of a name as stands before the bars."""
    while text_width(name) > _LEFT - 8:
        name = name[: -2 if name.endswith("…") else -1] + "…"
    return name


def _hatching(x: float, y: float, width: float, height: float) -> str:
    """Rising diagonals inside a rectangle, as a path."""
    lines, offset = "", 4.0
    while offset < width + height:
        left, right = max(0.0, offset - height), min(width, offset)
        lines += f"M{x + left:.1f},{y + offset - left:.1f}L{x + right:.1f},{y + offset - right:.1f}"
        offset += 5
    return lines
