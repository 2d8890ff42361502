"""The ring of a clerk's day: an arc for each profile that is due, thick where it was checked, thin where it waits.

Plain numbers in, positions for the template out, as strings so that no locale changes their decimal point.
"""

from dataclasses import dataclass
from math import cos, radians, sin

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kpis.upkeep import Progress

SIZE, RADIUS, GAP_DEGREES = 72, 29, 18


@dataclass(frozen=True)
class Ring:
    """`arcs` are (path, done), clockwise from the top."""

    size: int
    arcs: list[tuple[str, bool]]
    figure: str
    title: str
    desc: str


def ring(progress: Progress) -> Ring:
    step = 360 / progress.per_day
    arcs = [
        (_arc(number * step + GAP_DEGREES / 2, (number + 1) * step - GAP_DEGREES / 2), number < progress.done)
        for number in range(progress.per_day)
    ]
    return Ring(
        SIZE,
        arcs,
        f"{progress.done}/{progress.per_day}",
        _("Profiles today: %(done)d of %(due)d") % {"done": progress.done, "due": progress.per_day},
        ngettext(
            "All profiles were done on %(days)d working day in a row.",
            "All profiles were done on %(days)d working days in a row.",
            progress.streak,
        )
        % {"days": progress.streak},
    )


def _arc(start: float, end: float) -> str:
    def place(degrees: float) -> str:
        angle = radians(degrees)
        return f"{SIZE / 2 + RADIUS * sin(angle):.2f},{SIZE / 2 - RADIUS * cos(angle):.2f}"

    return f"M{place(start)}A{RADIUS},{RADIUS} 0 0 1 {place(end)}"
