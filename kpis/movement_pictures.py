"""The picture of a movement, the same on pages and on payslips: a book from its opening to its closing.

118 members of whom 3 left and to whom 18 came are a waterfall from 118 to 133.
"""

from collections.abc import Iterable, Mapping

from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from commission.templatetags.money import count, signed
from kpis.charts import Chart, Part, waterfall

# The columns of a movement: what each does to its book (0: the closing, and what is counted beside the books).
MOVEMENT = {
    "opening": 1,
    "enrolled": 1,
    "transferred_in": 1,
    "transferred_out": -1,
    "closed": -1,
    "closing": 0,
    "active_opening": 1,
    "newly_active": 1,
    "reactivated": 1,
    "active_in": 1,
    "active_out": -1,
    "lapsed": -1,
    "active_closing": 0,
    "tier_a": 0,
    "tier_b": 0,
}
PORTFOLIO = ("opening", "enrolled", "transferred_in", "transferred_out", "closed", "closing")
ACTIVE_MEMBERS = (
    "active_opening",
    "newly_active",
    "reactivated",
    "active_in",
    "active_out",
    "lapsed",
    "active_closing",
)

LABELS = {
    "opening": pgettext_lazy("portfolio", "Opening"),
    "enrolled": pgettext_lazy("portfolio", "Enrolled"),
    "transferred_in": pgettext_lazy("portfolio", "Transferred in"),
    "transferred_out": pgettext_lazy("portfolio", "Transferred out"),
    "closed": pgettext_lazy("portfolio", "Closed"),
    "closing": pgettext_lazy("portfolio", "Closing"),
    "active_opening": pgettext_lazy("active members", "Opening"),
    "newly_active": pgettext_lazy("active members", "Newly active"),
    "reactivated": pgettext_lazy("active members", "Reactivated"),
    "active_in": pgettext_lazy("active members", "In"),
    "active_out": pgettext_lazy("active members", "Out"),
    "lapsed": pgettext_lazy("active members", "Lapsed"),
    "active_closing": pgettext_lazy("active members", "Closing"),
}

_MARK_OF_CHANGE = {
    "enrolled": "own-served",
    "transferred_in": "own-absent",
    "transferred_out": "loss",
    "closed": "loss",
    "newly_active": "own-served",
    "reactivated": "own-served",
    "active_in": "own-absent",
    "active_out": "loss",
    "lapsed": "loss",
}


def book_pictures(
    movement: Mapping[str, int], *, width: float, label_width: float, figure_width: float
) -> tuple[Chart, Chart]:
    """The two books of a month, all members and the active ones, each from opening to closing.

    `movement` has the columns of `MOVEMENT`; the widths are those of `waterfall`.
    """
    parts = {}
    for name, lazy_label in LABELS.items():
        label = str(lazy_label)
        if name in _MARK_OF_CHANGE:
            change = MOVEMENT[name] * movement[name]
            parts[name] = Part(_MARK_OF_CHANGE[name], label, change, signed(change))
        else:
            parts[name] = Part("neutral", label, movement[name], count(movement[name]))

    def picture(id: str, title: str, book: tuple[str, ...]) -> Chart:
        opening, *changes, closing = (parts[name] for name in book)
        return waterfall(
            id=id,
            title=title,
            desc=listed([opening, *changes, closing]),
            opening=opening,
            changes=changes,
            closing=closing,
            width=width,
            label_width=label_width,
            figure_width=figure_width,
        )

    return (
        picture("members", _("Members of the portfolio"), PORTFOLIO),
        picture("active", _("Active members of the portfolio"), ACTIVE_MEMBERS),
    )


def listed(parts: Iterable[Part]) -> str:
    """A chart in words, for those who can't see it."""
    return "; ".join(f"{part.label} {part.figure}" for part in parts if part.value)
