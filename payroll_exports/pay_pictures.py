"""The pictures of a clerk's month, the same on its page and on its payslip: where pay came from, how the books moved.

40,000 of own members served, 9,000 of covering and -1,000 taken back are a bar of three parts; 118 members of whom 3
left and to whom 18 came are a waterfall from 118 to 133.
"""

from collections.abc import Iterable, Mapping

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from commission.templatetags.money import count, money_text, signed
from payroll_exports.charts import Chart, Part, kind_bar, waterfall
from payroll_exports.line_codes import LineCode

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

_MARK_OF_LINE = {
    LineCode.BASE: "neutral",
    LineCode.OWN_SERVED: "own-served",
    LineCode.OWN_ABSENT: "own-absent",
    LineCode.COVERED: "covered",
    LineCode.UNOWNED: "others",
    LineCode.WALK_IN: "others",
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


def mark_of(line_code: str, amount: int) -> str:
    """The mark of an earning line: its kind's as long as it adds to the pay, that of a loss where it takes."""
    return "loss" if amount < 0 else _MARK_OF_LINE.get(LineCode(line_code), "plain")


def pay_bar(lines: Iterable[tuple[str, int]], *, title: str, plain: str, width: float) -> Chart | None:
    """Line codes and amounts (minor units) as one bar; None where there is nothing to draw.

    `plain` is the label of what has no mark of its own. The base is left out: it is the same every month, and beside
    it what differs could not be seen. What takes away is one part, less what is carried on to next month.
    """
    labels = {
        "own-served": pgettext("part of the pay", "Own, served"),
        "own-absent": pgettext("part of the pay", "Own, absent"),
        "covered": pgettext("part of the pay", "Covered"),
        "others": pgettext("part of the pay", "Walk-in, unowned"),
        "plain": plain,
        "loss": pgettext("part of the pay", "Taken back"),
    }
    amounts = dict.fromkeys(labels, 0)
    for line_code, amount in lines:
        if line_code != LineCode.BASE:
            amounts["loss" if line_code == LineCode.CARRIED_OUT else mark_of(line_code, amount)] += amount
    parts = [Part(mark, label, amounts[mark], money_text(amounts[mark])) for mark, label in labels.items()]
    return kind_bar(id="pay", title=title, desc=_listed(parts), parts=parts, width=width)


def book_pictures(
    movement: Mapping[str, int], *, width: float, label_width: float, figure_width: float
) -> tuple[Chart, Chart]:
    """The two books of a month, all members and the active ones, each from opening to closing.

    `movement` has the columns of `MOVEMENT`; the widths are those of `waterfall`.
    """
    labels = {
        "opening": pgettext("portfolio", "Opening"),
        "enrolled": pgettext("portfolio", "Enrolled"),
        "transferred_in": pgettext("portfolio", "Transferred in"),
        "transferred_out": pgettext("portfolio", "Transferred out"),
        "closed": pgettext("portfolio", "Closed"),
        "closing": pgettext("portfolio", "Closing"),
        "active_opening": pgettext("active members", "Opening"),
        "newly_active": pgettext("active members", "Newly active"),
        "reactivated": pgettext("active members", "Reactivated"),
        "active_in": pgettext("active members", "In"),
        "active_out": pgettext("active members", "Out"),
        "lapsed": pgettext("active members", "Lapsed"),
        "active_closing": pgettext("active members", "Closing"),
    }
    parts = {}
    for name, label in labels.items():
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
            desc=_listed([opening, *changes, closing]),
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


def _listed(parts: Iterable[Part]) -> str:
    """A chart in words, for those who can't see it."""
    return "; ".join(f"{part.label} {part.figure}" for part in parts if part.value)
