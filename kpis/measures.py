"""The measures of every clerk's month, for the whole chain at once: how new members take on, who stays, what is spent.

What members spent is added up from the table that the movement is made from; only the tickets of new members are read
once more. A clerk with 40 active members who spent 6,000.00 in 60 tickets has 150.00 a member and 100.00 a ticket. An
open month's are those of the last night.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Case, Count, F, Q, Sum, When
from django.db.models.functions import Cast

from commission.bands import accelerators
from commission.models import Attribution
from kpis.activity import PURCHASE, lately_posted
from kpis.contact_results import calls_between
from kpis.measure_models import REPURCHASE_DAYS, SUMS, MeasureMonth, MeasuresSoFar, MeasureSums
from kpis.member_states import SEVERAL, TABLE, classified, key_list_sql, measured_since
from kpis.models import MemberGroup, PortfolioMonth
from kpis.movement import movement_so_far
from kpis.upkeep import month_upkeep, worked_in
from portfolios.duplicates import surviving_cards_sql
from portfolios.models import Member, Month, Posting, Store
from portfolios.months import next_number
from portfolios.postings import postings_in

Book = tuple[int | None, int | None]


def freeze_measures(month: Month) -> None:
    """Writes down the sums of a month for good; called within the transaction of the close, after the movement's.

    The movement of the month before has to be frozen, if there was such a month: its key members are those at opening.
    """
    MeasuresSoFar.objects.filter(month=month).delete()
    MeasureMonth.objects.bulk_create(
        [
            MeasureMonth(month=month, **row)
            for row in _books(month, month.ends_on, PortfolioMonth.objects.filter(month=month))
        ],
        batch_size=500,
    )


def measure_as_closed(month: Month) -> None:
    """Makes the sums of an open month anew as its close would freeze them now: of all its days, of what is known."""
    with transaction.atomic():
        MeasuresSoFar.objects.filter(month=month).delete()
        _write_so_far(month, month.ends_on)


def _write_so_far(month: Month, last: dt.date) -> int:
    after = last + dt.timedelta(days=1)
    with classified(month, last):
        books = _books(month, last, movement_so_far(month, last))
    rows = [MeasuresSoFar(month=month, as_of=after, **row) for row in books]
    return len(MeasuresSoFar.objects.bulk_create(rows, batch_size=500))


def refresh_measures(on: dt.date) -> int:
    """Makes the sums of every open month anew as of the start of a day; returns how many books they are of."""
    written = 0
    with transaction.atomic():
        MeasuresSoFar.objects.all().delete()
        for month in Month.objects.filter(closed_at__isnull=True, starts_on__lt=on):
            last = min(month.ends_on, on - dt.timedelta(days=1))
            written += _write_so_far(month, last)
    return written


def measured(month: Month) -> models.QuerySet[Any]:
    """The sums of every book of a month: as frozen, or as of the last night where the month is open."""
    rows: type[MeasureSums] = MeasureMonth if month.is_closed else MeasuresSoFar
    return rows._default_manager.filter(month=month)


def measured_as_of(month: Month) -> dt.date | None:
    """Of an open month, the day before which what was bought counts; None where nothing is measured so far."""
    return MeasuresSoFar.objects.filter(month=month).values_list("as_of", flat=True).first()


def _books(month: Month, last: dt.date, movements: Iterable[PortfolioMonth]) -> list[dict[str, Any]]:
    """The sums of each book up to a day of the month: of every clerk posted in it, and of whoever has any.

    `movements` are those of the books up to that day. A clerk's store is the home store on that day, or the last one
    before. Without a clerk it is what is nobody's.
    """
    found: dict[Book, dict[str, int]] = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for clerk, store, *sums in _member_sums(month, last):
        book = found[clerk, None if clerk else store]
        for name, value in zip(_MEMBER_SUMS, sums, strict=True):
            book[name] = int(value)
    served = _served(month)
    for clerk, (member_pay, variable_pay) in _pay(month, served).items():
        found[clerk, None] |= {"member_pay_amount": member_pay, "variable_pay_amount": variable_pay}
    for row in movements:
        names = ("opening", "organic_growth", "active_opening", "organic_active_growth", "lapsed")
        if any(values := {name: getattr(row, name) for name in names}):
            found[row.clerk_id, None if row.clerk_id else row.store_id] |= values
    for own in month_upkeep(month, working=[(day.clerk_id, day.on) for day in served if day.sold]):
        found[own.clerk_id, None] |= {"profiles_due": own.due, "profiles_done": own.done}
    for calls in calls_between(month.starts_on, last):
        found[calls.clerk_id, None] |= {"contacts": calls.contacts, "contacts_reached": calls.reached}
    postings = Posting.objects.clerk_postings().filter(valid_from__lte=last)
    posted = postings.filter(valid_to__gt=month.starts_on).exclude(clerk__left_on__lt=month.starts_on)
    for clerk in posted.values_list("clerk", flat=True):
        found[clerk, None]
    for store in Store.objects.values_list("pk", flat=True):
        found[None, store]
    home = dict(postings.order_by("valid_from").values_list("clerk", "store"))
    return [
        {"clerk_id": clerk, "store_id": home.get(clerk) if clerk else store, **found[clerk, store]}
        for clerk, store in sorted(found, key=lambda book: (book[0] or 0, book[1] or 0))
    ]


class _Served(NamedTuple):
    """What a clerk served on a day: the server's commission and credit of it, and how many sales as they stand."""

    clerk_id: int
    on: dt.date
    commission_amount: int
    credit_amount: int
    sold: int


def _served(month: Month) -> list[_Served]:
    amounts = [Cast(Sum(f"server_{what}_amount"), models.BigIntegerField()) for what in ("commission", "credit")]
    rows = (
        Attribution.objects.filter(month=month, server__isnull=False)
        .order_by()
        .values_list("server", "business_date")
        .annotate(commission=amounts[0], credit=amounts[1], sold=Count("pk", filter=worked_in(month.pk)))
    )
    return [_Served(*row) for row in rows]


def _pay(month: Month, served: Iterable[_Served]) -> dict[int, tuple[int, int]]:
    """By clerk: what own members brought (served, and served by another), and the variable pay of it all.

    As on the payslip before held, carried and adjusted amounts: the ledger's commission, and the accelerator.
    """
    own: dict[int, int] = {}
    variable: dict[int, int] = defaultdict(int)
    credits: dict[int, int] = defaultdict(int)
    owned = (
        Attribution.objects.filter(month=month, owner__isnull=False)
        .order_by()
        .values_list("owner")
        .annotate(
            commission=Sum("owner_commission_amount"),
            own=Sum("owner_commission_amount", filter=Q(pay_line=Attribution.PayLine.KIND), default=0),
            credit=Sum("owner_credit_amount"),
        )
    )
    for clerk, commission, from_own, credit in owned:
        own[clerk], variable[clerk], credits[clerk] = int(from_own), int(commission), int(credit)
    for day in served:
        variable[day.clerk_id] += day.commission_amount
        credits[day.clerk_id] += day.credit_amount
    for clerk, amount in accelerators(month, credits, postings_in(month)).items():
        variable[clerk] += amount
    return {clerk: (own.get(clerk, 0), amount) for clerk, amount in variable.items()}


# --- The statement -----------------------------------------------------------------------------------------------

_MEMBER_SUMS = SUMS[: SUMS.index("member_pay_amount")]


def _days_after(column: str, days: int) -> str:
    return f"{column} + {days}" if connection.vendor == "postgresql" else f"date({column}, '+{days} days')"


def _newcomer_parts(month: Month, since: dt.date, last: dt.date) -> models.QuerySet[Any]:
    """The tickets' parts, up to the day, of the cards enrolled since, and of the merged cards."""
    enrolled = Q(member__enrolled_on__range=(since, last))
    merged = Q(member__merged_into__isnull=False, member__counted_to__lte=last)
    # A return is no purchase, and an exchange is a purchase of what was taken home.
    return (
        lately_posted(month, since=since, before=last + dt.timedelta(days=1))
        .filter(enrolled | merged)
        .annotate(bought_amount=Case(When(PURCHASE, then=F("net_amount")), output_field=models.BigIntegerField()))
        .values("part_id", "member_id", "month_id", "activity_date", "business_date", "bought_amount")
    )


def _member_sums(month: Month, last: dt.date) -> list[tuple[Any, ...]]:
    """(clerk, store, sums) of each book at the end of a day of the month; a row without a clerk has its store.

    New members count for who enrolled them, key members for their owner at opening, spend for the owner on the day.
    """
    since = measured_since(month)
    parts, part_params = _newcomer_parts(month, since, last).query.sql_with_params()
    asked = [f"{_days_after('enrolled_on', days)} BETWEEN %s AND %s" for days in REPURCHASE_DAYS]
    keys, key = key_list_sql()
    within = ", ".join(
        f"MAX(CASE WHEN bought IS NOT NULL AND ticket.business_date <= {_days_after('enrolled_on', days)} "
        f"THEN ticket.business_date END) AS bought_{days}"
        for days in REPURCHASE_DAYS
    )
    repurchases = ", ".join(
        f"COUNT(CASE WHEN {condition} THEN 1 END), "
        f"COUNT(CASE WHEN bought_{days} > bought_first AND {condition} THEN 1 END)"
        for days, condition in zip(REPURCHASE_DAYS, asked, strict=True)
    )
    effective_until = _days_after("enrolled_on", settings.EFFECTIVE_DAYS)
    member = Member._meta.db_table
    statement = f"""
        WITH part AS ({parts}),
        merged AS ({surviving_cards_sql()}),
        ticket AS (
            SELECT COALESCE(survivor_id, member_id) AS member_id, activity_date, business_date,
                SUM(bought_amount) AS bought
            FROM part
            LEFT JOIN merged ON card_id = member_id
            LEFT JOIN {SEVERAL} AS several ON several.id = part.part_id
            GROUP BY COALESCE(survivor_id, member_id), COALESCE(sale_id, -part_id), part.month_id, activity_date,
                business_date
        ),
        newcomer AS (
            SELECT id, enrolled_by_id, store_id, enrolled_on, {within},
                MIN(CASE WHEN bought IS NOT NULL THEN ticket.business_date END) AS bought_first,
                MIN(CASE WHEN bought >= %s AND ticket.business_date <= {effective_until} THEN activity_date END)
                    AS effective_on
            FROM {member} LEFT JOIN ticket ON member_id = id AND ticket.business_date >= enrolled_on
            WHERE enrolled_on BETWEEN %s AND %s AND (merged_into_id IS NULL OR counted_to > %s)
            GROUP BY id, enrolled_by_id, store_id, enrolled_on
        ),
        key_member AS (
            SELECT {key} AS member_id, last_clerk_id, last_store_id
            FROM {MemberGroup._meta.db_table} CROSS JOIN {keys} AS keys
            WHERE month_id = %s AND at_closing AND closing_tier IN ('A', 'B')
        ),
        book (clerk_id, store_id, {", ".join(_MEMBER_SUMS)}) AS (
            SELECT enrolled_by_id, CASE WHEN enrolled_by_id IS NULL THEN store_id END,
                COUNT(CASE WHEN effective_on >= %s THEN 1 END), {repurchases},
                0, 0, 0, 0, 0, 0, 0
            FROM newcomer
            GROUP BY enrolled_by_id, CASE WHEN enrolled_by_id IS NULL THEN store_id END
            UNION ALL
            SELECT last_clerk_id, CASE WHEN last_clerk_id IS NULL THEN last_store_id END, 0, 0, 0, 0, 0, 0, 0,
                COUNT(*), COUNT(active.id), 0, 0, 0, 0, 0
            FROM key_member
            LEFT JOIN merged ON card_id = key_member.member_id
            LEFT JOIN {TABLE} AS active
                ON active.id = COALESCE(survivor_id, key_member.member_id) AND active.active_closing
            GROUP BY last_clerk_id, CASE WHEN last_clerk_id IS NULL THEN last_store_id END
            UNION ALL
            SELECT last_clerk, last_list, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                COUNT(*), SUM(month_spend), SUM(bought_amount), SUM(tickets), SUM(days)
            FROM {TABLE}
            WHERE active_closing
            GROUP BY last_clerk, last_list
        )
        SELECT clerk_id, store_id, {", ".join(f"COALESCE(SUM({name}), 0)" for name in _MEMBER_SUMS)}
        FROM book GROUP BY clerk_id, store_id"""
    first = month.starts_on
    params = [
        *part_params, *[last] * 3,
        settings.EFFECTIVE_PURCHASE_AMOUNT, since, last, last,
        next_number(month.pk, -1),
        first, *[first, last] * (2 * len(REPURCHASE_DAYS)),
    ]  # fmt: skip
    with classified(month, last), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()
