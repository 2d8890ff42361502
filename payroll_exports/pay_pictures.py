"""Where the pay of a clerk's month came from, as a picture: the same on its page and on its payslip.

40,000 of own members served, 9,000 of covering and -1,000 taken back are a bar of three parts.
"""

from collections.abc import Iterable

from django.utils.translation import pgettext

from commission.templatetags.money import money_text
from kpis.charts import Chart, Part, kind_bar
from kpis.movement_pictures import listed
from payroll_exports.line_codes import LineCode

_MARK_OF_LINE = {
    LineCode.BASE: "neutral",
    LineCode.OWN_SERVED: "own-served",
    LineCode.OWN_ABSENT: "own-absent",
    LineCode.COVERED: "covered",
    LineCode.UNOWNED: "others",
    LineCode.WALK_IN: "others",
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
    return kind_bar(id="pay", title=title, desc=listed(parts), parts=parts, width=width)
