"""What talks with members were followed by: a purchase within 14 days; and each clerk's calls of a month.

Reached on 2026-11-01, bought on 2026-11-15: within. A purchase on the day of the talk itself, or on 2026-11-16, is
not. Each result is made anew every night until 60 days after the talk, so that late tickets count.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet

from commission.money import round_half_away
from kpis.activity import PURCHASE, member_activity
from kpis.models import CareContact, ContactResult
from portfolios.duplicates import surviving_cards_sql
from portfolios.models import Clerk, Member

RESULT_DAYS = 14
# After so many days a result stays as it is.
LOOKED_AT_DAYS = 60


def refresh_contact_results(on: dt.date) -> int:
    """Makes the results of the last days' talks anew, by the purchases before a day; returns how many there are.

    The surviving card of a merge stands for both.
    """
    since = on - dt.timedelta(days=LOOKED_AT_DAYS)
    bought: QuerySet[Any, Any] = member_activity(before=on, since=since).filter(PURCHASE)
    days = bought.order_by().values_list("member_id", "activity_date").distinct()
    activity, params = days.query.sql_with_params()
    last_day = (
        f"contact_date + {RESULT_DAYS}"
        if connection.vendor == "postgresql"
        else f"date(contact_date, '+{RESULT_DAYS} days')"
    )
    day_before = on - dt.timedelta(days=1)
    statement = f"""
        INSERT INTO {ContactResult._meta.db_table} (contact_id, bought_on)
        WITH bought(member_id, bought_on) AS ({activity}),
        merged AS ({surviving_cards_sql()}),
        purchase AS (
            SELECT COALESCE(survivor_id, member_id) AS customer_id, bought_on
            FROM bought LEFT JOIN merged ON card_id = member_id
        ),
        talk AS (
            SELECT id, contact_date, COALESCE(survivor_id, member_id) AS customer_id
            FROM {CareContact._meta.db_table} LEFT JOIN merged ON card_id = member_id
            WHERE outcome = %s AND contact_date >= %s
        )
        SELECT talk.id, MIN(bought_on) FROM talk
        JOIN purchase ON purchase.customer_id = talk.customer_id
            AND bought_on > contact_date AND bought_on <= {last_day}
        GROUP BY talk.id
    """
    with transaction.atomic(), connection.cursor() as cursor:
        ContactResult.objects.filter(contact__on__gte=since).delete()
        cursor.execute(statement, [*params, *[day_before] * 3, CareContact.Outcome.REACHED, since])
        return int(cursor.rowcount)


@dataclass(frozen=True)
class LoggedContact:
    """A contact as its member's log shows it: with the purchase that followed a talk, or until when one would count.

    Both are None for who was not reached, and where the days have passed without a purchase.
    """

    contact: CareContact
    bought_on: dt.date | None
    counts_until: dt.date | None

    @property
    def days_later(self) -> int:
        return (self.bought_on - self.contact.on).days if self.bought_on else 0

    @property
    def nothing_bought(self) -> bool:
        return self.contact.outcome == CareContact.Outcome.REACHED and not (self.bought_on or self.counts_until)


def contact_log(member: Member, *, as_of: dt.date | None, length: int) -> list[LoggedContact]:
    """A member's latest contacts, the last one first. `as_of` is the day before which purchases are known."""
    contacts = member.care.select_related("recorded_by__clerk", "closed_by__clerk", "result")[:length]
    return [_logged(contact, as_of) for contact in contacts]


def _logged(contact: CareContact, as_of: dt.date | None) -> LoggedContact:
    result: ContactResult | None = getattr(contact, "result", None)
    if result is not None:
        return LoggedContact(contact, result.bought_on, None)
    last_day = contact.on + dt.timedelta(days=RESULT_DAYS)
    open_still = contact.outcome == CareContact.Outcome.REACHED and (as_of is None or last_day >= as_of)
    return LoggedContact(contact, None, last_day if open_still else None)


@dataclass(frozen=True)
class Calls:
    """A clerk's contacts of some days: how many, how many reached the member, and how many of those bought after."""

    clerk_id: int
    contacts: int
    reached: int
    bought: int

    @property
    def reached_bp(self) -> int:
        """The share that reached the member, in basis points."""
        return round_half_away(self.reached * 10_000, self.contacts)


def calls_between(first: dt.date, last: dt.date, *, clerk: Clerk | None = None) -> list[Calls]:
    """Every clerk's contacts (or the one clerk's) of the days from first to last; whoever logged none is not there."""
    whose = Q(recorded_by__clerk=clerk) if clerk else Q(recorded_by__clerk__isnull=False)
    logged = (
        CareContact.objects.filter(whose, on__range=(first, last))
        .order_by()
        .values("recorded_by__clerk")
        .annotate(
            contacts=Count("pk"),
            reached=Count("pk", filter=Q(outcome=CareContact.Outcome.REACHED)),
            bought=Count("result"),
        )
    )
    rows = logged.order_by("recorded_by__clerk").values_list("recorded_by__clerk", "contacts", "reached", "bought")
    return [Calls(*row) for row in rows]
