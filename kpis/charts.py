"""Where the marks of a chart go: plain numbers in, positions for the templates in `templates/charts/` out.

The templates hold no arithmetic, so a page and a PDF draw the same picture. Lengths are in the units of the viewBox
(CSS pixels where the chart is shown at its own width). A bar of 6,000 and 2,000 on a width of 400 is 300 and 100 long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

FONT_FAMILY = '"Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif'

# The colour of each kind of part, and the strokes over it, so that black and white print loses nothing.
_COLOURS = {
    "own-served": "#0b6b57",
    "own-absent": "#6fb8a5",
    "covered": "#c98a1b",
    "others": "#64748b",
    "loss": "#b4412f",
    "neutral": "#94a3b8",
    "plain": "#ffffff",
}
_STROKES = {"own-absent": "#0b6b57", "covered": "#ffffff", "others": "#ffffff", "loss": "#ffffff"}

# Text in a chart is 10.5 units high; a Chinese character is as wide as that, a Latin letter or a figure about 5.7.
_EM = 10.5
_LETTER = 5.7

# Between two labels beside each other.
_GAP = 12.0


@dataclass(frozen=True)
class Part:
    """One part of a whole.

    `kind` is one of own-served, own-absent, covered, others, loss, neutral, plain; `figure` is `value` as it is read.
    """

    kind: str
    label: str
    value: int
    figure: str


@dataclass(frozen=True)
class Mark:
    """A rectangle of a chart with its label.

    `pattern` is the path of the strokes over it, in the colour `strokes`; both are empty for a solid one. Positions are
    strings, so that no locale changes their decimal point.
    """

    colour: str
    strokes: str
    pattern: str
    label: str
    figure: str
    x: str
    y: str
    width: str
    label_x: str
    text_y: str = ""
    label_y: str = ""
    figure_y: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Chart:
    """What a template in `templates/charts/` draws.

    `id` is unique on its page; `lines` is the path of the thin lines that lead to labels or from bar to bar.
    """

    id: str
    title: str
    desc: str
    width: str
    height: str
    zero_x: str
    marks: list[Mark]
    lines: str
    font_family: str = FONT_FAMILY


def _n(value: float) -> str:
    return f"{value:.1f}"


def text_width(text: str) -> float:
    """About how long a text is in a chart."""
    return sum(_EM if ord(character) > 0x2E7F else _LETTER for character in text)


def shortened(name: str, width: float) -> str:
    """As much of a name as is so wide in a chart."""
    while text_width(name) > width:
        name = name[: -2 if name.endswith("…") else -1] + "…"
    return name


def _pattern(kind: str, x: float, y: float, width: float, height: float) -> str:
    """The strokes of a kind inside a rectangle, as a path: diagonals, a cross-hatch, dots or level lines.

    A path, not an SVG <pattern>: that needs an id that is unique on the page, and in a PDF each use is drawn anew.
    """
    if kind == "others":
        return "".join(f"M{_n(x)},{_n(y + level)}h{_n(width)}" for level in _steps(2.5, height, 4))
    if kind == "covered":
        return "".join(
            f"M{_n(x + across)},{_n(y + down)}h1v1h-1z"
            for row, down in enumerate(_steps(2, height - 2, 5))
            for across in _steps(5.5 if row % 2 else 2, width - 2, 7)
        )
    lines = ""
    if kind in ("own-absent", "loss"):
        # Rising diagonals: from (x + offset - height, bottom) to (x + offset, top), cut at both ends.
        for offset in _steps(4, width + height, 6):
            left, right = max(0.0, offset - height), min(width, offset)
            lines += f"M{_n(x + left)},{_n(y + offset - left)}L{_n(x + right)},{_n(y + offset - right)}"
            if kind == "loss":
                top = y + height - offset
                lines += f"M{_n(x + left)},{_n(top + left)}L{_n(x + right)},{_n(top + right)}"
    return lines


def _steps(start: float, end: float, step: float) -> list[float]:
    return [start + step * place for place in range(max(0, ceil((end - start) / step)))]


def _spread(starts: Sequence[float], widths: Sequence[float], rows: Sequence[int], limit: float) -> list[float]:
    """Starts moved as little as keeps labels _GAP apart and inside 0..limit, left to right.

    The thin line to a label of the lower row (1) passes the upper one (0), so it keeps clear of the labels there: three
    labels of 100 take 324 of a width in one row, and 212 where the second is in the lower one.
    """

    def apart(left: int, right: int) -> float:
        if rows[left] <= rows[right]:
            return widths[left] + (_GAP if rows[left] == rows[right] else _GAP / 2)
        return _GAP / 2

    placed: list[float] = []
    for place, start in enumerate(starts):
        placed.append(max([start, *(placed[left] + apart(left, place) for left in range(place))]))
    for place in reversed(range(len(placed))):
        rights = (placed[right] - apart(place, right) for right in range(place + 1, len(placed)))
        placed[place] = min([placed[place], limit - widths[place], *rights])
    return placed


def _rows(widths: Sequence[float], limit: float) -> list[int]:
    """One row for labels that fit beside each other; else every other one a row lower, the wider half there."""
    if sum(widths) + _GAP * (len(widths) - 1) <= limit:
        return [0] * len(widths)
    first = int(sum(widths[0::2]) > sum(widths[1::2]))
    return [(place + first) % 2 for place in range(len(widths))]


def kind_bar(
    *, id: str, title: str, desc: str, parts: Sequence[Part], width: float = 672, font_family: str = FONT_FAMILY
) -> Chart | None:
    """One stacked bar: positive parts to the right of the zero line in their order, negative ones to its left.

    Parts of 0 are left out; None where nothing is left to draw.
    """
    below = [part for part in reversed(parts) if part.value < 0]
    above = [part for part in parts if part.value > 0]
    total = sum(abs(part.value) for part in below + above)
    if not total:
        return None
    scale = width / total
    zero = -sum(part.value for part in below) * scale
    bar_y, bar_height, row_height = 3.0, 22.0, 30
    left, spans = 0.0, []
    for part in below + above:
        spans.append((left, abs(part.value) * scale))
        left += spans[-1][1]
    # Labels start at their tick, so that nobody has to know how wide a reader's font sets them.
    ticks = [start + min(length / 2, 8) for start, length in spans]
    label_widths = [4 + max(text_width(part.label), text_width(part.figure)) for part in below + above]
    bottom = bar_y + bar_height
    rows = _rows(label_widths, width)
    starts = _spread(ticks, label_widths, rows, width)
    marks = [
        Mark(
            colour=_COLOURS[part.kind],
            strokes=_STROKES.get(part.kind, ""),
            pattern=_pattern(part.kind, start, bar_y, length, bar_height),
            label=part.label,
            figure=part.figure,
            x=_n(start),
            y=_n(bar_y),
            width=_n(length),
            label_x=_n(label_x + 4),
            label_y=f"{46 + row * row_height}",
            figure_y=f"{60 + row * row_height}",
        )
        for part, (start, length), label_x, row in zip(below + above, spans, starts, rows, strict=True)
    ]
    return Chart(
        id=id,
        title=title,
        desc=desc,
        width=_n(width),
        height=_n(bottom + 37 + max(rows) * row_height),
        zero_x=_n(zero),
        marks=marks,
        lines="".join(
            f"M{_n(tick)},{_n(bottom)}v3L{_n(start)},{_n(bottom + 11)}v{25 + row * row_height}"
            for tick, start, row in zip(ticks, starts, rows, strict=True)
        ),
        font_family=font_family,
    )


def waterfall(
    *,
    id: str,
    title: str,
    desc: str,
    opening: Part,
    changes: Sequence[Part],
    closing: Part,
    width: float,
    label_width: float,
    figure_width: float,
    font_family: str = FONT_FAMILY,
) -> Chart:
    """Opening, each change from where the one before ended, closing: one row each, lying, from a common zero line.

    Labels stand before the bars, figures behind each bar; where a page sets them beside the chart itself (`bare` in the
    template), both widths are 0. Changes of 0 are left out. The caller sees to it that opening + changes = closing.
    """
    shown = [part for part in changes if part.value]
    levels = [opening.value]
    for part in shown:
        levels.append(levels[-1] + part.value)
    row_height, bar_height = 16.0, 10.0
    # Half of the zero line's own width.
    zero = max(label_width, 0.5)
    scale = (width - zero - figure_width) / max(*levels, closing.value, 1)
    spans = [(0, opening.value)]
    spans += [(min(before, after), abs(after - before)) for before, after in pairwise(levels)]
    spans += [(0, closing.value)]
    marks = [
        Mark(
            colour=_COLOURS[part.kind],
            strokes=_STROKES.get(part.kind, ""),
            pattern=_pattern(part.kind, zero + start * scale, row * row_height + 3, length * scale, bar_height),
            label=part.label,
            figure=part.figure,
            x=_n(zero + start * scale),
            y=_n(row * row_height + 3),
            # A change of one member in a book of a thousand is still a visible stroke.
            width=_n(max(length * scale, 1.0) if part.value else 0),
            label_x=_n(zero + (start + length) * scale + 5),
            text_y=_n(row * row_height + 11.8),
            strong=part in (opening, closing),
        )
        for row, (part, (start, length)) in enumerate(zip([opening, *shown, closing], spans, strict=True))
    ]
    lines = "".join(
        f"M{_n(zero + level * scale)},{_n(row * row_height + 3 + bar_height)}v{_n(row_height - bar_height)}"
        for row, level in enumerate(levels)
    )
    return Chart(
        id=id,
        title=title,
        desc=desc,
        width=_n(width),
        height=_n(row_height * len(marks)),
        zero_x=_n(zero),
        marks=marks,
        lines=lines,
        font_family=font_family,
    )
