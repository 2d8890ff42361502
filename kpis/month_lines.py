"""Members, active members and key members at the end of each of the last twelve closed months, as lines.

The figures are the closings that each close froze: 118, 133 and 140 members of three months are a line of three points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from commission.templatetags.money import count
from kpis.models import PortfolioMonth, StoreMonth
from kpis.movement_members import Scope
from portfolios.models import Month

MONTHS = 12


@dataclass(frozen=True)
class MonthEnd:
    month: Month
    members: int
    active: int
    key_members: int


def month_ends(scope: Scope) -> list[MonthEnd]:
    """The closings up to the scope's month, oldest first; months without such a book are not there."""
    closed = Month.objects.filter(closed_at__isnull=False, pk__lte=scope.month.pk).order_by("-pk")[:MONTHS]
    if scope.clerk or scope.unassigned:
        books = PortfolioMonth.objects.filter(clerk=scope.clerk)
        books = books if scope.clerk else books.filter(store=scope.store)
        rows = {row.month_id: row for row in books.filter(month__in=list(closed))}
    else:
        stores = StoreMonth.objects.filter(store=scope.store, month__in=list(closed))
        rows = {row.month_id: row for row in stores}  # type: ignore[misc] # both have the figures of a movement
    return [
        MonthEnd(month, row.closing, row.active_closing, row.key_members)
        for month in sorted(closed, key=lambda month: month.pk)
        if (row := rows.get(month.pk))
    ]


# --- The picture -------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 340, 190, 34, 92, 10, 30
_LABEL_STEP = 14.0


@dataclass(frozen=True)
class Series:
    """One line: its path, its points (as paths of little marks), and the label at its end.

    Lines differ by dashes and by marks, so that they are told apart in black and white.
    """

    label: str
    figure: str
    path: str
    marks: str
    dashes: str
    label_y: str


@dataclass(frozen=True)
class LinesChart:
    """What `templates/charts/month_lines.svg` draws; `ticks` are (y, text), `months` (x, month, year or nothing)."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    left_x: int
    right_x: int
    label_x: int
    base_y: str
    series: list[Series]
    ticks: list[tuple[str, str]]
    months: list[tuple[str, str, str]]
    month_y: int
    year_y: int


def month_lines(ends: Sequence[MonthEnd], *, id: str = "lines") -> LinesChart | None:
    """The three lines of these month ends over a common zero; None for fewer than two, which are no line."""
    if len(ends) < 2:
        return None
    named = [
        (pgettext("month ends", "Members"), [end.members for end in ends], "", _disc),
        (pgettext("month ends", "Active"), [end.active for end in ends], "5 3", _square),
        (pgettext("month ends", "Key"), [end.key_members for end in ends], "1.5 2.5", _triangle),
    ]
    top = _round_up(max(max(values) for _label, values, _dashes, _mark in named))
    right, base = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(place: int) -> float:
        return _LEFT + (right - _LEFT) * place / (len(ends) - 1)

    def y(value: float) -> float:
        return base - (base - _TOP) * value / top

    label_ys = _apart([y(values[-1]) for _label, values, _dashes, _mark in named])
    series = []
    for (label, values, dashes, mark), label_y in zip(named, label_ys, strict=True):
        points = [(x(place), y(value)) for place, value in enumerate(values)]
        path = " ".join(f"{'L' if place else 'M'}{px:.1f},{py:.1f}" for place, (px, py) in enumerate(points))
        marks = "".join(mark(px, py) for px, py in points)
        series.append(Series(label, count(values[-1]), path, marks, dashes, f"{label_y + 3.5:.1f}"))
    years = {place: str(end.month.pk // 100) for place, end in enumerate(ends) if not place or end.month.pk % 100 == 1}
    return LinesChart(
        id=id,
        title=_("Members, active and key members at each month's end"),
        desc="; ".join(
            _("%(month)s: %(members)s members, %(active)s active, %(key)s key")
            % {
                "month": end.month,
                "members": count(end.members),
                "active": count(end.active),
                "key": count(end.key_members),
            }
            for end in ends
        ),
        width=_WIDTH,
        height=_HEIGHT,
        left_x=_LEFT,
        right_x=right,
        label_x=right + 8,
        base_y=f"{base:.1f}",
        series=series,
        ticks=[(f"{y(top * part):.1f}", count(int(top * part))) for part in (0, 0.5, 1)],
        months=[
            (f"{x(place):.1f}", f"{end.month.pk % 100:02}", years.get(place, "")) for place, end in enumerate(ends)
        ],
        month_y=base + 13,
        year_y=base + 25,
    )


def _round_up(most: int) -> int:
    """An even number of two digits and zeros, so that its half is whole: 1234 -> 1400, 7 -> 8."""
    if most < 10:
        return max(2, most + most % 2)
    step = 10 ** (len(str(most)) - 1) // 5 or 1
    step = max(step, 2)
    return -(-most // step) * step


def _apart(ys: Sequence[float]) -> list[float]:
    """Heights of labels that lie at least one line apart, each as near to its own as that allows."""
    placed = {}
    below = -_LABEL_STEP
    for place in sorted(range(len(ys)), key=lambda place: ys[place]):
        placed[place] = max(ys[place], below + _LABEL_STEP)
        below = placed[place]
    return [placed[place] for place in range(len(ys))]


def _disc(x: float, y: float) -> str:
    return f"M{x - 2.4:.1f},{y:.1f}a2.4,2.4 0 1 0 4.8,0a2.4,2.4 0 1 0 -4.8,0z"


def _square(x: float, y: float) -> str:
    return f"M{x - 2.2:.1f},{y - 2.2:.1f}h4.4v4.4h-4.4z"


def _triangle(x: float, y: float) -> str:
    return f"M{x:.1f},{y - 3:.1f}l2.9,5.2h-5.8z"
