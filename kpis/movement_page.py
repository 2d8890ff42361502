"""What a movement page shows of a closed month: figures that open their members, and the pictures of them.

All of it was written down by closes: no ticket is read. A page of a clerk with 500 members reads some hundred rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from kpis.charts import Chart
from kpis.cohorts import Cohort, HeatMap, cohorts, heat_map
from kpis.difference_bars import DifferenceChart
from kpis.models import PortfolioMonth, StoreMonth
from kpis.month_lines import LinesChart, MonthEnd, month_ends, month_lines
from kpis.movement import FIGURES
from kpis.movement_members import FALLEN, RISEN, Scope, tier_changes_by
from kpis.movement_pictures import LABELS, MOVEMENT, book_pictures
from kpis.store_comparison import store_bars
from portfolios.models import Store

# What each list of members is called.
TITLES: Mapping[str, Promise | str] = {
    "opening": gettext_lazy("Members at opening"),
    "enrolled": gettext_lazy("Enrolled members"),
    "transferred_in": gettext_lazy("Members transferred in"),
    "transferred_out": gettext_lazy("Members transferred out"),
    "closed": gettext_lazy("Closed cards"),
    "closing": gettext_lazy("Members at closing"),
    "active_opening": gettext_lazy("Active members at opening"),
    "newly_active": gettext_lazy("Newly active members"),
    "reactivated": gettext_lazy("Reactivated members"),
    "active_in": gettext_lazy("Active members transferred in"),
    "active_out": gettext_lazy("Active members transferred out"),
    "lapsed": gettext_lazy("Lapsed members"),
    "active_closing": gettext_lazy("Active members at closing"),
    "tier_a": gettext_lazy("A members"),
    "tier_b": gettext_lazy("B members"),
    RISEN: gettext_lazy("Members who rose to a better tier"),
    FALLEN: gettext_lazy("Members who fell to a lower tier"),
}
_HEADINGS: Mapping[str, Promise | str] = {
    **LABELS,
    "tier_a": pgettext_lazy("tier", "A"),
    "tier_b": pgettext_lazy("tier", "B"),
    RISEN: pgettext_lazy("tier", "Rose"),
    FALLEN: pgettext_lazy("tier", "Fell"),
}
# Organic changes first, then transfers.
_MEMBERS = ("opening", "enrolled", "closed", "transferred_in", "transferred_out", "closing")
_ACTIVE = (
    "active_opening",
    "newly_active",
    "reactivated",
    "lapsed",
    "active_in",
    "active_out",
    "active_closing",
)
_TIERS = ("tier_a", "tier_b", RISEN, FALLEN)
_TAKES_AWAY = {name for name, effect in MOVEMENT.items() if effect < 0}

Figures = PortfolioMonth | StoreMonth


@dataclass(frozen=True)
class Figure:
    """A number with the list of its members; without an address where it is 0."""

    name: str
    label: str
    value: int
    url: str

    @property
    def signed(self) -> int:
        """The value as it changes its book."""
        return -self.value if self.name in _TAKES_AWAY else self.value


@dataclass(frozen=True)
class Row:
    """A clerk, an unassigned list or a store, with its figures; `url` leads to its own page."""

    name: str
    number: str
    url: str
    figures: list[Figure]


@dataclass(frozen=True)
class Table:
    """Figures side by side, and their totals: transfers inside the whole are in the rows, not in the total.

    The headings are the figures' keys and names.
    """

    title: str
    headings: list[tuple[str, str]]
    rows: list[Row]
    total: list[Figure]


@dataclass(frozen=True)
class MovementPage:
    figures: Figures
    members: list[Figure]
    active: list[Figure]
    tiers: list[Figure]
    charts: tuple[Chart, ...]
    ends: list[MonthEnd]
    lines: LinesChart | None
    cohorts: list[Cohort]
    heat_map: HeatMap | None
    tables: list[Table] = field(default_factory=list)
    stores: DifferenceChart | None = None


def address(scope: Scope, name: str = "movement", *more: str) -> str:
    """The address of a page or a file of a scope's movement."""
    kind, number = "chain", "all"
    if scope.clerk:
        kind, number = "clerk", scope.clerk.clerk_no
    elif scope.store:
        kind, number = "unassigned" if scope.unassigned else "store", scope.store.store_no
    return reverse(name, args=[scope.month.pk, kind, *more, number])


def movement_page(scope: Scope) -> MovementPage | None:
    """The page of a scope; None while its month is open, or where there was no such book."""
    frozen = scope.frozen()
    if frozen is None:
        return None
    rises = scope.tier_changes()
    columns = {name: getattr(frozen, name) for name in MOVEMENT}
    ends, held = month_ends(scope), cohorts(scope) if not scope.unassigned else []
    tables: list[Table] = []
    stores = None
    if scope.clerk is None and not scope.unassigned:
        if scope.store:
            parts = _books(scope, scope.store)
        else:
            rows = list(StoreMonth.objects.filter(month=scope.month, store__isnull=False).select_related("store"))
            rows.sort(key=lambda row: row.store.store_no if row.store else "")
            parts = [(Scope(scope.month, store=row.store), row) for row in rows]
            stores = store_bars(rows)
        tables = _tables(scope, frozen, rises, parts)
    return MovementPage(
        figures=frozen,
        members=_figures(scope, _MEMBERS, frozen, rises),
        active=_figures(scope, _ACTIVE, frozen, rises),
        tiers=_figures(scope, _TIERS, frozen, rises),
        charts=book_pictures(columns, width=320, label_width=90, figure_width=46),
        ends=ends,
        lines=month_lines(ends),
        cohorts=held,
        heat_map=heat_map(held),
        tables=tables,
        stores=stores,
    )


def _books(scope: Scope, store: Store) -> list[tuple[Scope, Figures]]:
    """The clerks of a store by number, and its unassigned list."""
    rows = PortfolioMonth.objects.filter(month=scope.month, store=store).select_related("clerk", "store")
    ordered = sorted(rows, key=lambda row: (row.clerk is None, row.clerk.clerk_no if row.clerk else ""))
    return [
        (Scope(scope.month, clerk=row.clerk) if row.clerk else Scope(scope.month, store=store, unassigned=True), row)
        for row in ordered
    ]


def _figures(scope: Scope, names: Iterable[str], frozen: Figures, rises: Mapping[str, int]) -> list[Figure]:
    return [
        Figure(
            name,
            str(_HEADINGS[name]),
            value := getattr(frozen, name) if name in FIGURES else rises.get(name, 0),
            address(scope, "movement_members", name) if value else "",
        )
        for name in names
    ]


def _tables(
    scope: Scope, whole: Figures, rises: Mapping[str, int], parts: Sequence[tuple[Scope, Figures]]
) -> list[Table]:
    changes = tier_changes_by(scope, "last_clerk" if scope.store else "last_store")
    titles = {_MEMBERS: _("Members"), _ACTIVE: _("Active members"), _TIERS: _("Key members")}
    tables = []
    for names, title in titles.items():
        rows = []
        for part, frozen in parts:
            key = frozen.store_id if isinstance(frozen, StoreMonth) else frozen.clerk_id
            name, number = _called(part)
            rows.append(Row(name, number, address(part), _figures(part, names, frozen, changes.get(key, {}))))
        headings = [(name, str(_HEADINGS[name])) for name in names]
        tables.append(Table(title, headings, rows, _figures(scope, names, whole, rises)))
    return tables


def _called(scope: Scope) -> tuple[str, str]:
    if scope.clerk:
        return scope.clerk.name, scope.clerk.clerk_no
    if scope.unassigned:
        return _("Without an owner"), ""
    return (scope.store.name, scope.store.store_no) if scope.store else (_("Chain"), "")
