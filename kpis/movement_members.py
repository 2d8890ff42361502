"""Who is behind each figure of a closed month: of a clerk's book, an unassigned list, a store, or the chain.

The close keeps every member by the way it went, so a figure and its list are the same rows, counted and listed: of 12
enrolled the list names 12, also when a card has moved or closed since.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from django.db.models import F, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from kpis.models import MemberGroup, PortfolioMonth, StoreMonth
from kpis.movement import FIGURES
from portfolios.models import Clerk, Member, Month, Store
from portfolios.table_files import table_file

# Who is in a better or a worse tier than at the end of the month before.
RISEN, FALLEN = "risen", "fallen"
MEMBER_FIGURES = (*FIGURES, RISEN, FALLEN)

_NOBODY = Q(pk__in=())
_RISES = Q(opening_tier="C", closing_tier__in=("A", "B")) | Q(opening_tier="B", closing_tier="A")
_FALLS = Q(opening_tier="A", closing_tier__in=("B", "C")) | Q(opening_tier="B", closing_tier="C")

COLUMNS = (
    "month",
    "figure",
    "member_no",
    "name",
    "enrolled_on",
    "first_clerk_no",
    "first_store_no",
    "last_clerk_no",
    "last_store_no",
    "active_opening",
    "active_closing",
    "tier_opening",
    "tier_closing",
)
# A file of a million members is read in pieces of so many.
PIECE = 5_000
_WIDTHS = (10, 18, 20, 20, 12, 14, 14, 14, 14, 14, 14, 12, 12)


@dataclass(frozen=True)
class Scope:
    """Whose movement: a clerk's, a store's unassigned list's (`unassigned`), a whole store's, or the chain's."""

    month: Month
    clerk: Clerk | None = None
    store: Store | None = None
    unassigned: bool = False

    @property
    def _first(self) -> Q:
        return self._is("first")

    @property
    def _last(self) -> Q:
        return Q(at_closing=True) & self._is("last")

    def _is(self, end: str) -> Q:
        if self.clerk:
            return Q(**{f"{end}_clerk": self.clerk})
        if self.store and self.unassigned:
            return Q(**{f"{end}_clerk": None, f"{end}_store": self.store})
        return Q(**{f"{end}_store": self.store}) if self.store else Q()

    def groups(self, figure: str) -> QuerySet[MemberGroup]:
        """The groups of members that make up one of MEMBER_FIGURES."""
        return MemberGroup.objects.filter(self.condition(figure), month=self.month)

    def condition(self, figure: str) -> Q:
        """Which groups count for a figure: the same rules as `kpis.movement.classify`, read backwards.

        Raises KeyError for what is none of MEMBER_FIGURES.
        """
        first, last = self._first, self._last
        if self.clerk or self.store:
            left, came = first & Q(at_closing=True) & ~self._is("last"), last & ~first
        else:
            left = came = _NOBODY
        stayed_active = Q(active_opening=True, active_closing=True)
        turned_active = last & Q(active_opening=False, active_closing=True)
        return {
            "opening": first & Q(at_opening=True),
            "enrolled": first & Q(at_opening=False),
            "transferred_in": came,
            "transferred_out": left,
            "closed": first & Q(at_closing=False),
            "closing": last,
            "active_opening": first & Q(active_opening=True),
            "newly_active": turned_active & Q(bought_before=False),
            "reactivated": turned_active & Q(bought_before=True),
            "active_in": came & stayed_active,
            "active_out": left & stayed_active,
            "lapsed": first & Q(active_opening=True, active_closing=False),
            "active_closing": last & Q(active_closing=True),
            "tier_a": last & Q(closing_tier="A"),
            "tier_b": last & Q(closing_tier="B"),
            RISEN: last & _RISES,
            FALLEN: last & _FALLS,
        }[figure]

    def frozen(self) -> PortfolioMonth | StoreMonth | None:
        """The figures as the close froze them; None while the month is open, or where there was no such book."""
        if self.clerk:
            return PortfolioMonth.objects.filter(month=self.month, clerk=self.clerk).first()
        if self.unassigned:
            return PortfolioMonth.objects.filter(month=self.month, clerk=None, store=self.store).first()
        return StoreMonth.objects.filter(month=self.month, store=self.store).first()

    def tier_changes(self) -> dict[str, int]:
        """How many members rose and how many fell, by RISEN and FALLEN."""
        sums = {name: Sum("members", filter=self.condition(name), default=0) for name in (RISEN, FALLEN)}
        found = MemberGroup.objects.filter(self._last, month=self.month).aggregate(**sums)
        return {name: found[name] for name in sums}


def tier_changes_by(scope: Scope, end: str) -> dict[int | None, dict[str, int]]:
    """The same by `end`: "last_clerk" for a store's clerks (None: its unassigned list), "last_store" for stores."""
    sums = {name: Sum("members", filter=scope.condition(name), default=0) for name in (RISEN, FALLEN)}
    groups = MemberGroup.objects.filter(scope.condition("closing"), month=scope.month).order_by()
    return {row.pop(end): row for row in groups.values(end).annotate(**sums)}


@dataclass(frozen=True)
class MemberMove:
    """One member behind a figure, with what the close kept of it."""

    member: Member
    group: MemberGroup


class FigureMembers(Sequence[MemberMove]):
    """The members behind one figure; read piece by piece, as a page or a file asks."""

    def __init__(self, scope: Scope, figure: str) -> None:
        self.scope, self.figure = scope, figure
        # By what a group is, not by its key: databases number the groups of a close in any order.
        order = (
            F("last_clerk__clerk_no").asc(nulls_last=True),
            F("first_clerk__clerk_no").asc(nulls_last=True),
            *("opening_tier", "closing_tier", "active_opening", "active_closing", "bought_before"),
            *("last_store", "first_store", "at_opening", "at_closing"),
        )
        self._groups = list(scope.groups(figure).order_by(*order).values_list("pk", "members"))

    def __len__(self) -> int:
        return sum(members for _pk, members in self._groups)

    @overload
    def __getitem__(self, part: int) -> MemberMove: ...

    @overload
    def __getitem__(self, part: slice) -> list[MemberMove]: ...

    def __getitem__(self, part: int | slice) -> MemberMove | list[MemberMove]:
        if isinstance(part, int):
            return self[part : part + 1][0]
        start, stop, _step = part.indices(len(self))
        wanted, before = [], 0
        for pk, size in self._groups:
            if before < stop and before + size > start:
                wanted.append((pk, max(start - before, 0), min(stop - before, size)))
            before += size
        related = ("first_clerk", "last_clerk", "first_store", "last_store")
        groups = MemberGroup.objects.select_related(*related).in_bulk([pk for pk, _since, _until in wanted])
        found = [(key, groups[pk]) for pk, since, until in wanted for key in groups[pk].keys[since:until]]
        members = Member.objects.select_related("store").in_bulk([key for key, _group in found])
        return [MemberMove(members[key], group) for key, group in found]

    def __iter__(self) -> Iterator[MemberMove]:
        for start in range(0, len(self), PIECE):
            yield from self[start : start + PIECE]


def write_members(members: FigureMembers, format: str) -> bytes:
    """The bytes of a CSV or XLSX file of the members behind a figure; no phone numbers are in it."""
    month = members.scope.month.name

    def line(move: MemberMove) -> tuple[str, ...]:
        group = move.group
        return (
            month,
            members.figure,
            move.member.member_no,
            move.member.name,
            move.member.enrolled_on.isoformat(),
            group.first_clerk.clerk_no if group.first_clerk else "",
            group.first_store.store_no if group.first_store else "",
            group.last_clerk.clerk_no if group.last_clerk else "",
            group.last_store.store_no if group.last_store else "",
            _yes(group.active_opening),
            _yes(group.active_closing),
            group.opening_tier,
            group.closing_tier,
        )

    return table_file(COLUMNS, _WIDTHS, map(line, members), sheet=month, format=format)


def _yes(true: bool) -> str:
    return _("yes") if true else _("no")
