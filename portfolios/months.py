"""The accounting month, the product's only calendar.

A month begins on the chain's cut-off day and bears the name of the calendar month in which it ends: with a cut-off
on the 26th, 2026-10 runs from 2026-09-26 to 2026-10-25. Months close in order; the first is the earliest ticket's.
"""

import calendar
import datetime as dt
import re

from django.conf import settings
from django.utils.translation import gettext as _

from portfolios.models import Month


class MonthError(ValueError):
    """A month that cannot be used as asked; the message says which, why and what to do."""


def month_number(day: dt.date, cut_off_day: int | None = None) -> int:
    """The number (202610) of the month that a business date belongs to."""
    cut_off = settings.CUT_OFF_DAY if cut_off_day is None else cut_off_day
    number = day.year * 100 + day.month
    return next_number(number) if cut_off > 1 and day.day >= cut_off else number


def next_number(number: int, steps: int = 1) -> int:
    """The month `steps` later (earlier if negative)."""
    year, month = divmod(number // 100 * 12 + number % 100 - 1 + steps, 12)
    return year * 100 + month + 1


def month_days(number: int, cut_off_day: int | None = None) -> tuple[dt.date, dt.date]:
    """First and last day of a month."""
    cut_off = settings.CUT_OFF_DAY if cut_off_day is None else cut_off_day
    year, month = divmod(number, 100)
    if cut_off == 1:
        return dt.date(year, month, 1), dt.date(year, month, calendar.monthrange(year, month)[1])
    previous = next_number(number, -1)
    return dt.date(previous // 100, previous % 100, cut_off), dt.date(year, month, cut_off - 1)


def parse_month(text: str) -> int:
    """202610 for "2026-10".

    Raises MonthError for anything else.
    """
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text):
        raise MonthError(_("'%(text)s' is not a month: write it as YYYY-MM, for example 2026-10.") % {"text": text})
    return int(text[:4]) * 100 + int(text[5:])


def get_month(text: str) -> Month:
    """The month of that name.

    Raises MonthError where no ticket has opened it yet.
    """
    month = Month.objects.filter(pk=parse_month(text)).first()
    if month is None:
        known = Month.objects.order_by("pk")
        first, last = known.first(), known.last()
        if first is None:
            raise MonthError(_("Month %(text)s is not known: import tickets first.") % {"text": text})
        raise MonthError(
            _("Month %(text)s is not known: a month begins with its first ticket, and there are %(first)s to %(last)s.")
            % {"text": text, "first": first, "last": last}
        )
    return month


def open_months(first: int, last: int) -> None:
    """Makes the months from `first` to `last`, and whatever lies between them and those that are there."""
    numbers = list(Month.objects.order_by("pk").values_list("pk", flat=True))
    closed = Month.objects.filter(closed_at__isnull=False).exists()
    # Before the first closed month there is nothing to open: what is dated earlier is late.
    start = numbers[0] if closed else min([first, *numbers[:1]])
    # A late ticket needs an open month to be posted to.
    end = max([last, *numbers[-1:]])
    if closed and first_open_month() is None:
        end = max(end, next_number(numbers[-1]))
    wanted = []
    number = start
    while number <= end:
        if number not in numbers:
            starts_on, ends_on = month_days(number)
            wanted.append(Month(pk=number, starts_on=starts_on, ends_on=ends_on))
        number = next_number(number)
    Month.objects.bulk_create(wanted)


def first_open_month() -> Month | None:
    """The earliest month that is not closed, to which late tickets are posted; None before the first ticket."""
    return Month.objects.filter(closed_at__isnull=True).order_by("pk").first()


def first_open_day() -> dt.date | None:
    """The day after the last closed month; None while no month is closed."""
    last_closed = Month.objects.filter(closed_at__isnull=False).order_by("pk").last()
    return last_closed.ends_on + dt.timedelta(days=1) if last_closed else None


def require_open(day: dt.date, what: str) -> None:
    """Raises MonthError where `day` lies in a closed month; `what` begins the sentence."""
    first = first_open_day()
    if first is not None and day < first:
        raise MonthError(
            _(
                "%(what)s takes effect on %(day)s, in a month that is closed. Closed months never change: choose "
                "%(first)s or later."
            )
            % {"what": what, "day": day, "first": first}
        )
