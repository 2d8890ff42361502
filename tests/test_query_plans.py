"""One clerk's month, and every clerk's, come from an index that holds all they need: the plan chosen says so."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, F, QuerySet, Sum
from django.test.utils import CaptureQueriesContext

from commission.credit import Credit, clerk_credits
from commission.models import Attribution, Booking, Plan
from portfolios.models import Clerk, Month, Store
from portfolios.months import open_months

# VACUUM, which index-only scans live on, runs outside transactions alone.
pytestmark = pytest.mark.django_db(transaction=True)

MONTHS, CLERKS, TICKETS = range(202601, 202613), 40, 9_600


@pytest.fixture(autouse=True)
def ledger() -> None:
    """A year of sales, all of them split between an owner and a server."""
    open_months(MONTHS[0], MONTHS[-1])
    store = Store.objects.create(store_no="S1", name="店1")
    plan = Plan.objects.create(plan_no="2026-A", valid_from=dt.date(2026, 1, 1))
    booking = Booking.objects.create(source="test")
    clerks = Clerk.objects.bulk_create(
        Clerk(clerk_no=f"C{n}", name=f"店员{n}", hired_on=dt.date(2026, 1, 1)) for n in range(CLERKS)
    )
    Attribution.objects.bulk_create(
        Attribution(
            part_id=n + 1,
            booking=booking,
            month_id=MONTHS[n * len(MONTHS) // TICKETS],
            kind=Attribution.Kind.SPLIT,
            reason=Attribution.Reason.SALE,
            pay_line=Attribution.PayLine.KIND,
            store=store,
            business_date=dt.date(2026, 1, 1),
            owner=clerks[n % CLERKS],
            server=clerks[(n + 1) % CLERKS],
            plan=plan,
            share_bp=7000,
            commissionable_amount=20_000,
            excluded_amount=0,
            owner_credit_amount=14_000,
            server_credit_amount=6_000,
            house_credit_amount=0,
            commission_amount=600,
            owner_commission_amount=420,
            server_commission_amount=180,
            house_commission_amount=0,
        )
        for n in range(TICKETS)
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE commission_attribution" if connection.vendor == "postgresql" else "ANALYZE")


def totals(rows: QuerySet[Attribution], side: str) -> QuerySet[Attribution, Any]:
    """The ledger's part of a month's earnings and credits: by clerk, kind and line of the payslip."""
    return (
        rows.values(side, "kind", "pay_line")
        .annotate(rows=Count("*"), credit=Sum(f"{side}_credit_amount"), commission=Sum(F(f"{side}_commission_amount")))
        .order_by()
    )


@pytest.mark.parametrize("side", ["owner", "server"])
def test_a_month_comes_from_its_index(side: str) -> None:
    year = Attribution.objects.all()
    clerk = Clerk.objects.get(clerk_no="C7")
    one = totals(year.filter(month=202609, **{side: clerk}), side)
    every = totals(year.filter(month=202609), side)
    for rows, groups in ((one, 1), (every, CLERKS)):
        assert f"attribution_{side}_month" in rows.explain()
        assert [row["rows"] for row in rows] == [TICKETS // len(MONTHS) // CLERKS] * groups
    if connection.vendor == "postgresql":
        assert "Index Only Scan" in one.explain()
        assert "Index Only Scan" in every.explain()


def test_the_credit_that_pages_show_is_one_query_that_reads_no_row_of_the_table() -> None:
    clerk, month = Clerk.objects.get(clerk_no="C7"), Month.objects.get(pk=202609)
    with CaptureQueriesContext(connection) as queries:
        credits = clerk_credits(month, [clerk.pk])
    # 20 tickets as owner at 14,000 and 420, and 20 as server at 6,000 and 180.
    assert credits == {clerk.pk: Credit(400_000, 12_000)}
    (sums,) = (query["sql"] for query in queries)
    with connection.cursor() as cursor:
        cursor.execute(("EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN ") + sums)
        plan = "\n".join(str(row) for row in cursor.fetchall())
    for side in ("owner", "server"):
        assert f"attribution_{side}_month" in plan
    if connection.vendor == "postgresql":
        assert plan.count("Index Only Scan") == 2


# SQLite has no vacuum that a scan waits for.
if connection.vendor == "postgresql":

    def test_the_ledger_is_vacuumed_soon_after_an_import() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT unnest(reloptions) FROM pg_class WHERE relname = 'commission_attribution'")
            options = {option for (option,) in cursor.fetchall()}
        assert options == {"autovacuum_vacuum_insert_scale_factor=0", "autovacuum_vacuum_insert_threshold=10000"}
