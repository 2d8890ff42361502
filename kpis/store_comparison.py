"""The stores of a chain side by side: the organic growth of active members, as bars from a common zero line.

A store with 40 newly active, 10 reactivated and 35 lapsed has grown by 15, whoever was transferred in or out.
"""

from collections.abc import Sequence

from django.utils.translation import gettext as _

from kpis.difference_bars import DifferenceChart, difference_bars
from kpis.models import StoreMonth


def store_bars(rows: Sequence[StoreMonth], *, id: str = "stores") -> DifferenceChart | None:
    """The stores with the largest growth and loss, by growth; None for fewer than two stores."""
    return difference_bars(
        [(row.store.name, row.store.store_no, row.organic_active_growth) for row in rows if row.store],
        id=id,
        title=_("Organic growth of active members, by store"),
    )
