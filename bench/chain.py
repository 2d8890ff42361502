"""A chain of any size, generated inside the database: stores, clerks, members with owners, a plan, and ticket parts.

What looks random is the row's number, mixed, so that every run makes the same rows.
"""

import datetime as dt

from django.db import connection, transaction

from commission.models import Category, Plan, PlanRate
from portfolios.models import OPEN_END, BindingBatch, Clerk, Store
from portfolios.months import month_days, open_months

MONTH = 202610
STORES, CLERKS, RATE_BP = 300, 2_000, 300
LONG_AGO = dt.date(2020, 1, 1)


def execute(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def series(count: int) -> str:
    """A relation `series(n)` with the numbers from 1 to `count`, on either database."""
    return (
        "(WITH RECURSIVE counting(n) AS "
        f"(SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM counting WHERE n < {count}) "
        "SELECT n FROM counting) AS series"
    )


def drawn(number: str, of: int, salt: int = 0) -> str:
    """SQL of a number from 0 up to, not including, `of`."""
    return f"((({number}) * 2654435761 + {salt * 40503}) % 4294967296 / 16 % {of})"


def date(day: dt.date) -> str:
    return f"CAST('{day}' AS date)" if connection.vendor == "postgresql" else f"'{day}'"


def owner(member: str) -> str:
    """SQL of the first owner of a member that has one."""
    return f"(1 + {drawn(member, CLERKS, 1)})"


@transaction.atomic
def make_chain(members: int) -> Plan:
    """Stores, clerks, a plan for the chain, and members: 23 of 25 have an owner, of whom 8% change on the 16th day."""
    Store.objects.bulk_create(Store(pk=n, store_no=f"S{n:04}", name=f"店{n}") for n in range(1, STORES + 1))
    Clerk.objects.bulk_create(
        Clerk(pk=n, clerk_no=f"C{n:05}", name=f"店员{n}", hired_on=LONG_AGO) for n in range(1, CLERKS + 1)
    )
    medicine = Category.objects.create(category="otc", name_en="OTC", name_zh="非处方药")
    prescription = Category.objects.create(category="rx", name_en="Rx", name_zh="处方药", excluded=True)
    plan = Plan.objects.create(plan_no="2026-A", valid_from=LONG_AGO, house_share_bp=2000)
    PlanRate.objects.create(plan=plan, category=medicine, rate_bp=RATE_BP)
    PlanRate.objects.create(plan=plan, category=prescription, excluded=True)
    batch = BindingBatch.objects.create(source="bench")
    open_months(MONTH, MONTH)
    start, end = date(LONG_AGO), date(OPEN_END)
    execute(
        "INSERT INTO portfolios_member (id, member_no, name, phone, gender, neighbourhood, store_id, enrolled_on, "
        "counted_from, counted_to, locked) SELECT n, 'M' || CAST(100000000 + n AS varchar(20)), '', '', '', '', "
        f"1 + {owner('n')} % {STORES}, {start}, {start}, {end}, false FROM {series(members)}"
    )
    changed_on = date(month_days(MONTH)[0] + dt.timedelta(days=15))
    changes = f"{drawn('n', 100, 3)} < 8"
    for clerk, valid_from, valid_to, which in (
        (owner("n"), start, f"CASE WHEN {changes} THEN {changed_on} ELSE {end} END", "1 = 1"),
        (f"1 + {owner('n')} % {CLERKS}", changed_on, end, changes),
    ):
        execute(
            "INSERT INTO portfolios_binding (member_id, clerk_id, valid_from, valid_to, reason, batch_id) "
            f"SELECT n, {clerk}, {valid_from}, {valid_to}, 'initial_split', {batch.pk} FROM {series(members)} "
            f"WHERE n % 25 > 1 AND {which}"
        )
    return plan


@transaction.atomic
def make_parts(count: int, members: int, plan: Plan) -> None:
    """A month's ticket parts, in booking order, without the tickets themselves, which attribution does not read.

    15% have no member, 1% no server; of the rest the owner served seven in ten. One part in fifty is a return that
    takes back half of an earlier sale; half of the originals that have one have two.
    """
    first_day, last_day = month_days(MONTH)
    days = (last_day - first_day).days + 1
    calendar = " UNION ALL ".join(
        f"SELECT {n} AS number, {date(first_day + dt.timedelta(days=n))} AS business_date" for n in range(days)
    )
    member = f"CASE WHEN {drawn('facts.sale', 100, 5)} < 15 THEN NULL ELSE 1 + {drawn('facts.sale', members, 6)} END"
    amount = f"(500 + {drawn('facts.sale', 40000, 7)})"
    amount = f"CASE WHEN facts.original IS NULL THEN {amount} ELSE -({amount} / 2) END"
    execute(
        "INSERT INTO commission_salepart (sale_id, number, store_id, business_date, month_number, member_id, "
        "server_id, original_id, plan_id, commissionable_amount, excluded_amount, commission_e4, settled) "
        f"SELECT n, 1, 1 + n % {STORES}, business_date, {MONTH}, member, "
        f"CASE WHEN {drawn('n', 100, 8)} = 0 THEN NULL "
        f"WHEN member IS NULL OR {drawn('n', 10, 9)} > 6 THEN 1 + {drawn('n', CLERKS, 10)} ELSE {owner('member')} END, "
        f"original, {plan.pk}, amount, CASE WHEN n % 9 = 0 AND original IS NULL THEN 1200 ELSE 0 END, "
        f"amount * {RATE_BP}, false "
        f"FROM (SELECT facts.n, facts.original, {member} AS member, {amount} AS amount FROM "
        "(SELECT n, CASE WHEN n % 100 = 50 THEN n - 25 WHEN n % 100 = 0 THEN n - 75 END AS original, "
        "CASE WHEN n % 100 = 50 THEN n - 25 WHEN n % 100 = 0 THEN n - 75 ELSE n END AS sale "
        f"FROM {series(count)}) AS facts) AS tickets "
        f"JOIN ({calendar}) AS calendar ON calendar.number = (n - 1) * {days} / {count} ORDER BY n"
    )
