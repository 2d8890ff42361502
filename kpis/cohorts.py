"""How a month's newcomers hold: of the cards enrolled in a month, the share that is active each month since.

Of 20 cards enrolled in January of which 20, 17 and 15 are active at the end of January, February and March, the row of
January is 100, 85 and 75 percent. Who is counted was written down by each close.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Sum
from django.utils.translation import gettext as _

from kpis.member_states import COHORT_MONTHS
from kpis.models import CohortMonth
from kpis.movement_members import Scope
from portfolios.months import next_number


@dataclass(frozen=True)
class CohortShare:
    """`active` of `members` at one month's end."""

    members: int
    active: int

    @property
    def percent(self) -> int:
        """Rounded half up; only all of them are 100, and only none of them 0."""
        if not self.members or self.active in (0, self.members):
            return 100 if self.members and self.active else 0
        return min(99, max(1, (200 * self.active + self.members) // (2 * self.members)))


@dataclass(frozen=True)
class Cohort:
    """The cards enrolled in a month (202601); `shares` by months since, None where that month's close is not there."""

    month: int
    members: int
    shares: list[CohortShare | None]

    @property
    def name(self) -> str:
        return f"{self.month // 100}-{self.month % 100:02}"


def cohorts(scope: Scope) -> list[Cohort]:
    """The cohorts of the last months, oldest first: of a clerk those the clerk enrolled, of a store its members."""
    rows = CohortMonth.objects.filter(
        month__gt=next_number(scope.month.pk, -COHORT_MONTHS), month__lte=scope.month.pk
    ).filter(enrolled_month__gt=next_number(scope.month.pk, -COHORT_MONTHS))
    if scope.clerk:
        rows = rows.filter(clerk=scope.clerk)
    elif scope.store:
        rows = rows.filter(store=scope.store)
    found: dict[int, dict[int, CohortShare]] = defaultdict(dict)
    sums = rows.order_by().values("enrolled_month", "month").annotate(all=Sum("members"), still=Sum("active"))
    for row in sums:
        found[row["enrolled_month"]][row["month"]] = CohortShare(row["all"], row["still"])
    listed = []
    for enrolled in sorted(found):
        months = [next_number(enrolled, since) for since in range(COHORT_MONTHS)]
        shares = [found[enrolled].get(month) for month in months if month <= scope.month.pk]
        latest = found[enrolled][max(found[enrolled])]
        listed.append(Cohort(enrolled, latest.members, shares))
    return listed


# --- The picture -------------------------------------------------------------------------------------------------

_LEFT, _TOP, _CELL_WIDTH, _CELL_HEIGHT = 50, 34, 24, 20
# From few to nearly all; the figure is in each cell, so nothing is lost in black and white.
_SHADES = ("#eef5f2", "#cfe5dd", "#93c7b6", "#3f7f6d", "#0b6b57")
_DARK = 3


@dataclass(frozen=True)
class Cell:
    x: int
    y: int
    text_x: str
    text_y: str
    fill: str
    ink: str
    figure: str


@dataclass(frozen=True)
class HeatMap:
    """What `templates/charts/cohorts.svg` draws; `rows` are (y, month), `columns` (x, months since)."""

    id: str
    title: str
    desc: str
    width: int
    height: int
    cell_width: int
    cell_height: int
    cells: list[Cell]
    rows: list[tuple[str, str]]
    columns: list[tuple[str, str]]
    left_x: int


def heat_map(rows: Sequence[Cohort], *, id: str = "cohorts") -> HeatMap | None:
    """The shares as a field of shaded cells, each with its percentage; None where there is no cohort."""
    if not rows:
        return None
    cells, spoken = [], []
    for place, cohort in enumerate(rows):
        y, told = _TOP + place * _CELL_HEIGHT, []
        for since, share in enumerate(cohort.shares):
            if share is None:
                continue
            x, shade = _LEFT + since * _CELL_WIDTH, min(share.percent // 20, len(_SHADES) - 1)
            cells.append(
                Cell(
                    x=x,
                    y=y,
                    text_x=f"{x + _CELL_WIDTH / 2:.1f}",
                    text_y=f"{y + _CELL_HEIGHT / 2 + 3.5:.1f}",
                    fill=_SHADES[shade],
                    ink="#ffffff" if shade >= _DARK else "#1c2421",
                    figure=str(share.percent),
                )
            )
            told.append(f"{share.percent}%")
        spoken.append(_("enrolled in %(month)s: %(shares)s") % {"month": cohort.name, "shares": ", ".join(told)})
    width = max(len(cohort.shares) for cohort in rows)
    return HeatMap(
        id=id,
        title=_("Still active, by month of enrolment"),
        desc="; ".join(spoken),
        width=_LEFT + COHORT_MONTHS * _CELL_WIDTH + 2,
        height=_TOP + len(rows) * _CELL_HEIGHT + 2,
        cell_width=_CELL_WIDTH,
        cell_height=_CELL_HEIGHT,
        cells=cells,
        rows=[
            (f"{_TOP + place * _CELL_HEIGHT + _CELL_HEIGHT / 2 + 3.5:.1f}", cohort.name)
            for place, cohort in enumerate(rows)
        ],
        columns=[(f"{_LEFT + (since + 0.5) * _CELL_WIDTH:.1f}", str(since)) for since in range(width)],
        left_x=_LEFT,
    )
