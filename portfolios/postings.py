"""Where each clerk was posted in a month, and which store was the home at its end.

A clerk posted to the first store until 2026-03-20 and to the second from 2026-03-21 has 31 days in March, and the
second store as home on the 31st; one who left on the 25th has 25 days, and the home of that day.
"""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field

from django.db.models import Q

from portfolios.models import Month, Posting


@dataclass
class Posted:
    """Where a clerk was posted in a month, within the employment.

    `home` is the last day of the month with a home store, and that store; `last` the same for a posting of any role.
    """

    days: set[dt.date] = field(default_factory=set)
    home: tuple[dt.date, int] | None = None
    last: tuple[dt.date, int] | None = None


def postings_in(month: Month, clerks: list[int] | None = None) -> dict[int, Posted]:
    """The clerks who were posted on a day of the month between their first and their last day at work."""
    postings = Posting.objects.filter(
        Q() if clerks is None else Q(clerk__in=clerks), valid_from__lte=month.ends_on, valid_to__gt=month.starts_on
    ).order_by("clerk", "store")
    days = [month.starts_on + dt.timedelta(days=n) for n in range(month.days)]
    found: dict[int, Posted] = defaultdict(Posted)
    columns = ("clerk", "clerk__hired_on", "clerk__left_on", "store", "role", "valid_from", "valid_to")
    for clerk, hired_on, left_on, store, role, valid_from, valid_to in postings.values_list(*columns):
        first = max(valid_from, hired_on, month.starts_on)
        last = min(valid_to - dt.timedelta(days=1), left_on or month.ends_on, month.ends_on)
        if first > last:
            continue
        posted = found[clerk]
        posted.days.update(days[(first - month.starts_on).days : (last - month.starts_on).days + 1])
        place = (last, store)
        posted.last = max(posted.last or place, place)
        if role == Posting.Role.CLERK:
            posted.home = max(posted.home or place, place)
    return found
