"""A clerk's or a store's portfolio on any date, to show and as a file.

A store's is the members whose owner had it as home store on that date, and its unassigned list. On 2026-05-31 李娜 (of
the store) owned 100 members and 3 waited unassigned: the store's portfolio has 103 rows, the 3 last.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db.models import Count
from django.utils.translation import gettext as _

from portfolios.models import Binding, Clerk, Member, Store
from portfolios.ownership import clerk_portfolio, store_portfolio, unassigned_list
from portfolios.table_files import table_file

COLUMNS = ("date", "store_no", "clerk_no", "clerk_name", "member_no", "name", "phone", "bound_since", "reason")
_WIDTHS = (12, 12, 14, 20, 20, 20, 16, 12, 18)


@dataclass(frozen=True)
class PortfolioRow:
    """A member of a portfolio; without a clerk: on the unassigned list."""

    member: Member
    clerk: Clerk | None = None
    since: dt.date | None = None
    reason: str = ""


class PortfolioOnDate:
    """The rows of a clerk's portfolio, or of a store's, on a date; read piece by piece, as a page or a file asks.

    `only` leaves of a store's those with an owner (OWNED), or of these those with another store's card.
    """

    OWNED, OTHERS_CARDS = "owned", "others-cards"

    def __init__(self, *, on: dt.date, clerk: Clerk | None = None, store: Store | None = None, only: str = "") -> None:
        if (clerk is None) == (store is None):
            raise TypeError("a portfolio is a clerk's or a store's")
        self.on = on
        self._bound = clerk_portfolio(clerk, on) if clerk else store_portfolio(store, on)  # type: ignore[arg-type]
        if store and only == self.OTHERS_CARDS:
            self._bound = self._bound.exclude(member__store=store)
        self._waiting = unassigned_list(store, on).select_related("store") if store else Member.objects.none()
        self.bound = self._bound.count()
        self.waiting = self._waiting.count() if store and not only else 0

    def __len__(self) -> int:
        return self.bound + self.waiting

    def __getitem__(self, part: slice) -> list[PortfolioRow]:
        start, stop, _step = part.indices(len(self))
        rows = [_row(binding) for binding in self._bound[start : min(stop, self.bound)]] if start < self.bound else []
        if stop > self.bound:
            waiting = self._waiting[max(0, start - self.bound) : stop - self.bound]
            rows += [PortfolioRow(member) for member in waiting]
        return rows

    def by_clerk(self) -> list[tuple[Clerk, int]]:
        """Each owner with the number of members, by clerk number."""
        counted = self._bound.order_by("clerk").values("clerk").annotate(members=Count("pk"))
        sizes = dict(counted.values_list("clerk", "members"))
        return [(clerk, sizes[clerk.pk]) for clerk in Clerk.objects.filter(pk__in=sizes)]


def _row(binding: Binding) -> PortfolioRow:
    return PortfolioRow(binding.member, binding.clerk, binding.valid_from, binding.get_reason_display())


def write_portfolio(rows: Collection[PortfolioRow], *, on: dt.date, phones: Mapping[int, str], format: str) -> bytes:
    """The bytes of a CSV or XLSX file of the rows; `phones` are the numbers to show, by member."""
    lines: list[tuple[str, ...]] = [
        (
            on.isoformat(),
            row.member.store.store_no,
            row.clerk.clerk_no if row.clerk else "",
            row.clerk.name if row.clerk else "",
            row.member.member_no,
            row.member.name,
            phones.get(row.member.pk, ""),
            row.since.isoformat() if row.since else "",
            row.reason or _("unassigned"),
        )
        for row in rows
    ]
    return table_file(COLUMNS, _WIDTHS, lines, sheet=on.isoformat(), format=format)
