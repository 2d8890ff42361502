"""The measures of a clerk's, a store's or the chain's month, beside last month's, last year's and the store's.

All of it comes from the sums that closes and nights wrote down: no ticket is read. 9 of 12 key members still active are
75%; with fewer than 20 of them it is marked as a small sample, and has no rank.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commission.money import round_half_away
from commission.templatetags.money import count, money_text
from kpis.definitions import GROUPS
from kpis.goal_bars import GoalBars, goal_bars
from kpis.measure_models import SUMS, MeasureSums
from kpis.measures import measured
from kpis.movement_members import Scope
from portfolios.models import Month
from portfolios.months import next_number

Sums = Mapping[str, int]


@dataclass(frozen=True)
class Measure:
    """`top` by `bottom` (both of SUMS), as "percent", "amount" (minor units) or "times"; a count has no bottom.

    `sample` names the sum that has to be large enough for the figure to say something; none for sums of money.
    """

    key: str
    top: str
    bottom: str = ""
    unit: str = "percent"
    sample: str = ""

    @property
    def name(self) -> Promise | str:
        return next(one.name for group in GROUPS for one in group.definitions if one.key == self.key)


MEASURES = (
    Measure("effective_new", "effective_new", unit="count"),
    *(Measure(f"repurchase_{days}", f"again_{days}", f"new_{days}", sample=f"new_{days}") for days in (30, 60, 90)),
    Measure("retention", "key_kept", "key_opening", sample="key_opening"),
    Measure("member_pay", "member_pay_amount", "variable_pay_amount"),
    Measure("spend", "spend_amount", "active_members", "amount", sample="active_members"),
    Measure("basket", "bought_amount", "tickets", "amount", sample="tickets"),
    Measure("frequency", "purchase_days", "active_members", "times", sample="active_members"),
)
_BY_KEY = {measure.key: measure for measure in MEASURES}


def is_small(measure: Measure, sums: Sums) -> bool:
    return bool(measure.sample) and sums[measure.sample] < settings.MEASURE_SMALL_SAMPLE


def known(measure: Measure, sums: Sums | None) -> bool:
    """Whether there is anything to divide by."""
    return sums is not None and (not measure.bottom or sums[measure.bottom] > 0)


def figure_text(measure: Measure, sums: Sums | None) -> str:
    """The measure as it is read: "75%", "56.67", "12"; nothing where there is nothing to divide by."""
    if sums is None or not known(measure, sums):
        return ""
    top = sums[measure.top]
    if not measure.bottom:
        return count(top)
    bottom = sums[measure.bottom]
    if measure.unit == "amount":
        return money_text(round_half_away(top, bottom))
    if measure.unit == "times":
        return money_text(round_half_away(100 * top, bottom))
    return f"{count(percent(top, bottom))}%"


def percent(part: int, whole: int) -> int:
    """Rounded half away from zero; only the whole is 100, and only nothing 0."""
    rounded = round_half_away(100 * part, whole)
    if 0 < part < whole:
        return min(99, max(1, rounded))
    return rounded


def add_up(rows: Iterable[MeasureSums]) -> Sums | None:
    """The sums of these books together; None where there are none."""
    total: Counter[str] | None = None
    for row in rows:
        total = total or Counter(dict.fromkeys(SUMS, 0))
        for name in SUMS:
            total[name] += getattr(row, name)
    return total


# --- Rank --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rank:
    """Place 2 of 6 clerks, and an index: 112 is 12% above the whole. Nothing of any other clerk is in it."""

    place: int
    of: int
    index: int | None


def rank(measure: Measure, own: Sums, rows: Sequence[MeasureSums], whole: Sums) -> Rank | None:
    """The clerk's place among clerks whose sample is no small one, the best first; ties share the better place."""
    if is_small(measure, own) or not known(measure, own):
        return None
    others = [{name: getattr(row, name) for name in SUMS} for row in rows]
    ranked = [sums for sums in others if known(measure, sums) and not is_small(measure, sums)]
    top, bottom = own[measure.top], _bottom(measure, own)
    better = sum(sums[measure.top] * bottom > top * _bottom(measure, sums) for sums in ranked)
    whole_top = whole[measure.top]
    whole_bottom = whole[measure.bottom] if measure.bottom else len(rows)
    index = (
        round_half_away(100 * top * whole_bottom, bottom * whole_top) if whole_top > 0 and whole_bottom > 0 else None
    )
    return Rank(better + 1, len(ranked), index)


def _bottom(measure: Measure, sums: Sums) -> int:
    return sums[measure.bottom] if measure.bottom else 1


# --- The page ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    text: str
    small: bool = False


@dataclass(frozen=True)
class Line:
    """One measure: this month, last month, the same month last year, and what it is compared with."""

    key: str
    name: str
    cells: list[Cell]
    in_store: Rank | None = None
    in_chain: Rank | None = None


@dataclass(frozen=True)
class Row:
    """A clerk of a store, or a store of the chain, with all measures."""

    name: str
    number: str
    cells: list[Cell]


@dataclass(frozen=True)
class MeasuresPage:
    headings: list[str]
    lines: list[Line]
    chart: GoalBars | None
    rows: list[Row]
    names: list[tuple[str, str]]
    as_of: Any


def _scope_filter(scope: Scope) -> Q:
    if scope.clerk:
        return Q(clerk=scope.clerk)
    return Q(store=scope.store) if scope.store else Q()


def _cell(measure: Measure, sums: Sums | None) -> Cell:
    text = figure_text(measure, sums)
    return Cell(text or "–", bool(text) and sums is not None and is_small(measure, sums))


def _mean_cell(measure: Measure, sums: Sums | None, clerks: int) -> Cell:
    """What a clerk's figure is compared with: of a count the mean of the clerks, to one decimal."""
    if measure.bottom or sums is None or not clerks:
        return _cell(measure, sums)
    tenths = round_half_away(10 * sums[measure.top], clerks)
    return Cell(f"{tenths // 10}.{tenths % 10}")


def measures_page(scope: Scope) -> MeasuresPage | None:
    """The page of a clerk, a store or the chain; None where nothing of the month was worked out yet."""
    rows = list(measured(scope.month).filter(_scope_filter(scope)).select_related("clerk", "store"))
    now = add_up(rows)
    if now is None:
        return None
    months = Month.objects.in_bulk([next_number(scope.month.pk, -1), scope.month.pk - 100])
    before, year_before = (
        add_up(measured(months[number]).filter(_scope_filter(scope))) if number in months else None
        for number in (next_number(scope.month.pk, -1), scope.month.pk - 100)
    )
    headings = [_("This month"), _("Last month"), _("Last year")]
    columns: list[Sums | None] = [now, before, year_before]
    store = rows[0].store if scope.clerk else None
    # A clerk is compared with the store, a store with the chain; both from sums.
    whole_rows: list[Any] = []
    if scope.clerk:
        whole_rows = list(measured(scope.month).filter(store=store)) if store else []
        headings.append(_("Store"))
    elif scope.store:
        whole_rows = list(measured(scope.month))
        headings.append(_("Chain"))
    whole = add_up(whole_rows)
    clerks = [row for row in whole_rows if row.clerk_id]
    chain_rows = list(measured(scope.month).filter(clerk__isnull=False)) if scope.clerk else []
    chain = add_up(measured(scope.month)) if scope.clerk else None
    lines = []
    for measure in MEASURES:
        cells = [_cell(measure, sums) for sums in columns]
        if scope.clerk:
            cells.append(_mean_cell(measure, whole, len(clerks)))
        elif scope.store:
            stores = len({row.store_id for row in whole_rows if row.store_id})
            cells.append(_mean_cell(measure, whole, stores))
        lines.append(
            Line(
                measure.key,
                str(measure.name),
                cells,
                rank(measure, now, clerks, whole) if scope.clerk and whole else None,
                rank(measure, now, chain_rows, chain) if chain else None,
            )
        )
    parts = _parts(scope, rows)
    share = _BY_KEY["member_pay"]
    if scope.clerk:
        shown = list(zip(headings, [*columns, whole], strict=True))
        chart = goal_bars([(name, _share(share, sums)) for name, sums in shown])
    else:
        chart = goal_bars([(name, _share(share, sums)) for name, _number, sums in parts], sort=True)
    return MeasuresPage(
        headings=headings,
        lines=lines,
        chart=chart,
        rows=[Row(name, number, [_cell(measure, sums) for measure in MEASURES]) for name, number, sums in parts],
        names=[(measure.key, str(measure.name)) for measure in MEASURES],
        as_of=getattr(rows[0], "as_of", None),
    )


def _share(measure: Measure, sums: Sums | None) -> int | None:
    if sums is None or not known(measure, sums):
        return None
    return percent(sums[measure.top], sums[measure.bottom])


def _parts(scope: Scope, rows: list[Any]) -> list[tuple[str, str, Sums | None]]:
    """The clerks of a store and what is nobody's there, or the stores of the chain; nothing for a clerk."""
    if scope.clerk:
        return []
    if scope.store:
        ordered = sorted(rows, key=lambda row: (row.clerk is None, row.clerk.clerk_no if row.clerk else ""))
        return [
            (row.clerk.name, row.clerk.clerk_no, add_up([row]))
            if row.clerk
            else (str(_WITHOUT_OWNER), "", add_up([row]))
            for row in ordered
        ]
    stores: dict[int, list[Any]] = {}
    for row in rows:
        if row.store_id:
            stores.setdefault(row.store_id, []).append(row)
    ordered_stores = sorted(stores.values(), key=lambda own: own[0].store.store_no)
    return [(own[0].store.name, own[0].store.store_no, add_up(own)) for own in ordered_stores]


_WITHOUT_OWNER = gettext_lazy("Without an owner")
