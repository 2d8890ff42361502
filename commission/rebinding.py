"""What changes bindings while sales are booked: it holds the ledger, and has the sales corrected afterwards.

A member who is bound back to 王伟 from 2026-06-01 has every booked sale since then checked; a date after the last
ticket has none.
"""

import datetime as dt

from django.db.models import Max

from commission.attribution import lock_ledger
from commission.corrections import correct
from commission.models import Booking, Sale
from portfolios.models import User
from portfolios.months import first_open_month


def hold_ledger() -> None:
    """Keeps tickets from being booked and months from closing until the transaction ends."""
    if first_open_month() is not None:
        lock_ledger()


def correct_since(since: dt.date | None, *, source: str, recorded_by: User | None) -> int:
    """Corrects the booked sales from a date on; nothing for None or a date after the last ticket.

    Returns the number of ticket parts that were corrected.
    """
    last = Sale.objects.aggregate(last=Max("business_date"))["last"]
    if since is None or last is None or since > last:
        return 0
    return correct(since=since, booking=Booking.objects.create(source=source, recorded_by=recorded_by))
