"""A clerk who leaves or moves to another store: the last day, and whose portfolio still waits to be handed over.

From the day after the last day nobody owns a leaver's members until they are handed over: with a last day of
2026-03-31 a sale of 2026-04-01 to one of them has no owner. A clerk who moves keeps the portfolio until it is handed
over.
"""

import datetime as dt
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count
from django.utils.translation import gettext as _

from commission.rebinding import correct_since
from kpis.proposals import hold_bindings
from portfolios.models import OPEN_END, Binding, Clerk, Posting, Store, User, on_date
from portfolios.months import require_open

DAY = dt.timedelta(days=1)


class LeavingError(ValueError):
    """A last day or a move that cannot be; the message says why and what to do."""


@dataclass(frozen=True)
class Departure:
    """A clerk with a last day whose members are not handed over: how many have no owner from `since` on."""

    clerk: Clerk
    since: dt.date
    members: int
    has_left: bool


def set_last_day(clerk: Clerk, last_day: dt.date | None, *, by: User | None) -> int:
    """Sets a clerk's last day worked, or takes it back (None); corrects sales booked since whose owner this changes.

    Returns how many parts of tickets were corrected. Raises LeavingError for a day before the clerk was hired,
    MonthError where days of a closed month would change.
    """
    if last_day is not None and last_day < clerk.hired_on:
        raise LeavingError(
            _("%(name)s was hired on %(hired)s: the last day can't be %(day)s. Choose a later one.")
            % {"name": clerk.name, "hired": clerk.hired_on, "day": last_day}
        )
    with transaction.atomic():
        hold_bindings()
        clerk = Clerk.objects.select_for_update().get(pk=clerk.pk)
        if clerk.left_on == last_day:
            return 0
        since = min(day for day in (clerk.left_on, last_day) if day is not None) + DAY
        require_open(since, _("A change of the last day"))
        clerk.left_on = last_day
        clerk.save(update_fields=["left_on"])
        return correct_since(since, source=f"last day of {clerk.clerk_no}"[:200], recorded_by=by)


def move(clerk: Clerk, store: Store, on: dt.date) -> None:
    """Makes `store` the clerk's home store from a date on; the weight stays, and so does the portfolio.

    Raises LeavingError where the clerk has no home store then, has that one already, or moves on later; MonthError for
    a date in a closed month.
    """
    require_open(on, _("The move"))
    with transaction.atomic():
        hold_bindings()
        postings = Posting.objects.clerk_postings().select_for_update().filter(clerk=clerk)
        current = postings.filter(on_date(on)).first()
        if current is None or current.valid_from == on:
            raise LeavingError(
                _("%(name)s has no home store that ends on %(day)s: put the posting right in the roster.")
                % {"name": clerk.name, "day": on}
            )
        if current.store_id == store.pk:
            raise LeavingError(
                _("%(name)s works at store %(store)s already: choose another store.")
                % {"name": clerk.name, "store": store.store_no}
            )
        if current.valid_to != OPEN_END:
            raise LeavingError(
                _("%(name)s is to leave store %(store)s on %(day)s already: put the posting right in the roster.")
                % {"name": clerk.name, "store": current.store.store_no, "day": current.valid_to}
            )
        postings.filter(pk=current.pk).update(valid_to=on)
        Posting.objects.create(
            clerk=clerk, store=store, role=current.role, valid_from=on, weight_percent=current.weight_percent
        )


def home_clerks(store: Store, on: dt.date) -> list[int]:
    """The clerks whose home store on a date is this one, or was it last."""
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=on).order_by("valid_from")
    home = dict(postings.values_list("clerk", "store"))
    return [clerk for clerk, home_store in home.items() if home_store == store.pk]


def departures(store: Store, *, today: dt.date) -> list[Departure]:
    """The leavers of a store, gone or to come, with members that still are theirs the day after; who left first comes
    first."""
    leavers = Clerk.objects.filter(pk__in=home_clerks(store, today), left_on__isnull=False).order_by("left_on")
    found = []
    for clerk in leavers:
        assert clerk.left_on is not None
        since = clerk.left_on + DAY
        waiting = Binding.objects.valid().filter(
            on_date(max(today, since)), clerk=clerk, member__counted_to__gt=max(today, since)
        )
        members = waiting.aggregate(members=Count("pk"))["members"]
        if members:
            found.append(Departure(clerk, since, members, clerk.left_on < today))
    return found
