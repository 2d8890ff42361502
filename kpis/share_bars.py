"""Shares of a whole as bars from zero, one or two for each name: 31% of the spend above 12% of the members.

The second bar is thinner and grey, so that the two are told apart in black and white. A row may lead somewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kpis.charts import shortened, text_width

_WIDTH, _LEFT, _RIGHT, _TOP = 340, 112, 44, 16
_FIRST, _SECOND, _GAP = 10, 6, 8


@dataclass(frozen=True)
class ShareRow:
    """`second` is None where the chart has one bar a row, or what it would show is not for the reader."""

    name: str
    first: float
    first_text: str
    second: float | None
    second_text: str
    url: str = ""


@dataclass(frozen=True)
class Bars:
    """The two bars of one name, and where each figure stands."""

    name: str
    url: str
    text_y: str
    first_y: str
    first_width: str
    first_text: str
    first_x: str
    second_y: str
    second_width: str
    second_text: str
    second_x: str
    second_text_y: str


@dataclass(frozen=True)
class ShareBars:
    """What `templates/charts/share_bars.svg` draws; `second_name` is empty where there is one bar a row."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    left_x: int
    first_name: str
    second_name: str
    second_name_x: str
    first_height: int
    second_height: int
    bars: list[Bars]


def share_bars(
    rows: Sequence[ShareRow], *, id: str, title: str, first_name: str, second_name: str = ""
) -> ShareBars | None:
    """The shares (0 to 1) of each row; None where there is no row."""
    if not rows:
        return None
    most = max([row.first for row in rows] + [row.second or 0 for row in rows] + [0.01])
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    step = _FIRST + _GAP + (_SECOND + 2 if second_name else 0)
    bars = []
    for place, row in enumerate(rows):
        y = _TOP + place * step + 4
        first, second = max(row.first, 0) * scale, max(row.second or 0, 0) * scale
        bars.append(
            Bars(
                name=shortened(row.name, _LEFT - 8),
                url=row.url,
                text_y=f"{y + 8.5:.1f}",
                first_y=f"{y}",
                first_width=f"{first:.1f}",
                first_text=row.first_text,
                first_x=f"{_LEFT + first + 5:.1f}",
                second_y=f"{y + _FIRST + 1}",
                second_width=f"{second:.1f}",
                second_text=row.second_text,
                second_x=f"{_LEFT + second + 5:.1f}",
                second_text_y=f"{y + _FIRST + 8:.1f}",
            )
        )
    return ShareBars(
        id=id,
        title=title,
        desc="; ".join(
            f"{row.name}: {row.first_text}" + (f" ({second_name} {row.second_text})" if row.second_text else "")
            for row in rows
        ),
        width=_WIDTH,
        height=_TOP + len(bars) * step + 4,
        left_x=_LEFT,
        first_name=first_name,
        second_name=second_name,
        second_name_x=f"{12 + text_width(first_name) + 16:.1f}",
        first_height=_FIRST,
        second_height=_SECOND,
        bars=bars,
    )
