"""The ledger worked out again, all at once and one by one, over random months and after every sort of change."""

from pathlib import Path
from typing import Any

import pytest
from django.db.models import Model

from commission.corrections import correct
from commission.models import (
    Attribution,
    Booking,
    Category,
    Plan,
    PlanProduct,
    PlanRate,
    Sale,
    SaleLine,
    SalePart,
)
from commission.plain_rows import plain_rows
from commission.verify import ClerkTotals, Finding, verify_ledger
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from portfolios.models import Binding, BindingBatch, Clerk, Member, Month, Posting, Store
from portfolios.months import open_months
from tests.builders import Till, bind, day, line, make_chain, make_member, ticket
from tests.tampering import behind_the_rules
from tests.test_attribution import BigChain

pytestmark = pytest.mark.django_db


def both_ways(month: Month) -> list[Finding]:
    """What is found, plain rows all at once or every row by itself: the same, and the same comes to each clerk."""
    at_once, one_by_one = ClerkTotals(), ClerkTotals()
    found = list(verify_ledger(month, at_once))
    assert found == list(verify_ledger(month, one_by_one, one_by_one=True))
    assert at_once == one_by_one
    return found


def left_over(month: Month) -> set[str]:
    """The tickets of which a row is not proved all at once."""
    with plain_rows(month) as plain:
        assert plain is not None
        keys = {sale for sale, _part, _row in plain.others()}
    return set(Sale.objects.filter(pk__in=keys).values_list("ticket_no", flat=True))


def test_random_months_are_proved(tmp_path: Path) -> None:
    """Sales and returns of every sort, in any order, late ones too: what is booked is what the rules give."""
    chain, till = BigChain(seed=38), Till(tmp_path)
    tickets = list(chain.tickets(450))
    backs = list(chain.returns(tickets))
    chain.random.shuffle(tickets)
    till.load(*tickets)
    early = [rows for rows in backs if chain.random.random() < 0.4]
    till.load(*early)
    Posting.objects.bulk_create(
        Posting(clerk=clerk, store=Store.objects.get(store_no="S1"), role="clerk", valid_from=day("2025-01-01"))
        for clerk in Clerk.objects.all()
    )
    close_month(Month.objects.get(pk=202601), approved_by="test")
    till.load(*(rows for rows in backs if rows not in early))
    for member in range(0, 120, 7):
        bind(f"M{member}", "C1", since="2026-02-15")
    assert correct(since=day("02-15"), booking=Booking.objects.create(source="test")) > 0
    for number in (202602, 202603, 202604):
        close_month(Month.objects.get(pk=number), approved_by="test")
    assert Attribution.objects.filter(reason="CORRECTION", part__original__isnull=False).exists()
    assert Attribution.objects.filter(pay_line="CLAWBACK", reason="RETURN").count() > 100
    assert list(verify(Month.objects.filter(closed_at__isnull=False).order_by("pk"))) == []
    shown = 0
    for month in Month.objects.filter(closed_at__isnull=False):
        assert both_ways(month) == []
        left = left_over(month)
        shown += Attribution.objects.filter(month=month).exclude(part__sale__ticket_no__in=left).count()
        # Only tickets with returns or corrections are left.
        others = Attribution.objects.filter(month=month, part__sale__ticket_no__in=left)
        unusual = others.exclude(part__original=None, reason__in=("SALE", "LATE"), corrected_by=None)
        assert left == set(unusual.values_list("part__sale__ticket_no", flat=True))
    assert shown > 400

    # Any figure of any row, and both ways still find the same: a ticket with one part that is wrong counts once.
    february = Month.objects.get(pk=202602)
    rows = list(Attribution.objects.filter(month=february).order_by("pk"))
    for row in chain.random.sample(rows, 8):
        column = chain.random.choice(["owner_commission_amount", "server_credit_amount", "share_bp", "excluded_amount"])
        with behind_the_rules(Attribution):
            Attribution.objects.filter(pk=row.pk).update(**{column: getattr(row, column) + 1})
            assert any(f"attribution {row.pk}" in finding.where for finding in both_ways(february)), column


@pytest.fixture
def march(tmp_path: Path) -> Month:
    """Four plain tickets: a split, an own member served beside another clerk, a walk-in per piece, an unowned one."""
    make_chain(house_share_bp=2_000, walk_in_share_bp=9_000)
    make_member("M2", "C2")
    PlanProduct.objects.create(plan=Plan.objects.get(), product_no="P9", rate_bp=800)
    Till(tmp_path).load(
        ticket("T1", "03-05", line("200.00", by="C3"), line("50.00", by="C3", product="P9"), member="M1"),
        ticket("T2", "03-06", line("100.00"), line("80.00", by="C2"), line("60.00", category="rx"), member="M1"),
        ticket("T3", "03-07", line("80.00", by="C2", product="UNIT", quantity="3")),
        ticket("T4", "03-08", line("1.67", by="C3"), member="M0"),
    )
    open_months(202604, 202604)
    return Month.objects.get(pk=202603)


def clerk(clerk_no: str) -> int:
    return Clerk.objects.get(clerk_no=clerk_no).pk


def test_plain_rows_are_proved_all_at_once(march: Month) -> None:
    totals = ClerkTotals()
    assert (list(verify_ledger(march, totals)), left_over(march)) == ([], set())
    # T1: 6.00 + 4.00, of it 7.00 李's. T2: 3.00 served by 李 herself, and 1.68 of the 2.40 that 王 served.
    # T3: 4.50 for three pieces, 4.05 of it 王's. T4: 0.05, the house 0.01, 张 0.04.
    assert {(key, tuple(line)) for key, line in totals.lines.items()} == {
        ((clerk("C1"), "OWN_ABSENT"), (2, 868)),
        ((clerk("C1"), "OWN_SERVED"), (1, 300)),
        ((clerk("C2"), "COVERED"), (1, 72)),
        ((clerk("C2"), "WALK_IN"), (1, 405)),
        ((clerk("C3"), "COVERED"), (1, 300)),
        ((clerk("C3"), "UNOWNED"), (1, 4)),
    }
    assert totals.rows == 5
    assert both_ways(march) == []


ROW_COLUMNS = [
    "part_id", "kind", "reason", "pay_line", "corrects_id", "reverses", "store_id", "business_date", "member_id",
    "owner_id", "server_id", "plan_id", "share_bp", "commissionable_amount", "excluded_amount", "owner_credit_amount",
    "server_credit_amount", "house_credit_amount", "commission_amount", "owner_commission_amount",
    "server_commission_amount", "house_commission_amount",
]  # fmt: skip
PART_COLUMNS = [
    "store_id", "business_date", "month_number", "member_id", "server_id", "original_id", "plan_id",
    "commissionable_amount", "excluded_amount", "commission_e4",
]  # fmt: skip
OTHERS = {"kind": "SPLIT", "reason": "LATE", "pay_line": "LATE", "reverses": True}


@pytest.mark.parametrize("ticket_no", ["T1", "T2", "T3", "T4"])
def test_no_changed_figure_of_a_plain_row_passes(march: Month, ticket_no: str) -> None:
    """Each column that the rules speak of, one after the other, a little other than it was."""
    places = {
        Attribution: (Attribution.objects.filter(part__sale__ticket_no=ticket_no), ROW_COLUMNS),
        SalePart: (SalePart.objects.filter(sale__ticket_no=ticket_no), PART_COLUMNS),
        SaleLine: (SaleLine.objects.filter(sale__ticket_no=ticket_no), ["net_amount", "server_id"]),
        Sale: (Sale.objects.filter(ticket_no=ticket_no), ["store_id", "business_date", "member_id"]),
    }
    for model, (rows, columns) in places.items():
        row = rows.order_by("pk")[0]
        for column in columns:
            value = getattr(row, column)
            other = another(value, column)
            with behind_the_rules(model):
                model._default_manager.filter(pk=row.pk).update(**{column: other})
                found = list(verify_ledger(march, ClerkTotals()))
                assert any(f"ticket {ticket_no}" in finding.where for finding in found), (model, column, found)


def another(value: Any, column: str) -> Any:
    if column in OTHERS:
        return OTHERS[column] if value != OTHERS[column] else "WALK_IN"
    if column == "business_date":
        return value.replace(day=value.day + 1)
    return 202604 if column == "month_number" else (value or 0) + 1


def test_what_a_plain_row_follows_from_is_proved_too(march: Month) -> None:
    """Rates, shares, bindings, a clerk's last day, a merged card, a line's category, product and quantity."""
    device, member = Category.objects.get(category="device").pk, Member.objects.get(member_no="M1").pk
    other = Member.objects.get(member_no="M2").pk
    batch = BindingBatch.objects.get(made__member=member).pk
    merged = {"merged_into": other, "merged_by": batch, "counted_to": day("03-01"), "closed_on": day("03-01")}
    ends = {"valid_to": day("03-06")}
    changes: list[tuple[type[Model], dict[str, Any], dict[str, Any], str]] = [
        (PlanRate, {"category__category": "otc"}, {"rate_bp": 301}, "T1"),
        (PlanRate, {"category__category": "otc"}, {"rate_bp": None, "excluded": True}, "T4"),
        (PlanProduct, {"product_no": "P9"}, {"rate_bp": 801}, "T1"),
        (PlanProduct, {"product_no": "UNIT"}, {"unit_amount": 151}, "T3"),
        (Plan, {}, {"owner_share_bp": 7_001}, "T1"),
        (Plan, {}, {"house_share_bp": 2_001}, "T4"),
        (Plan, {}, {"walk_in_share_bp": 9_001}, "T3"),
        (Plan, {}, {"state": Plan.State.DRAFT}, "T2"),
        (Plan, {}, {"valid_from": day("03-06")}, "T1"),
        (Binding, {"member": member}, {"clerk": clerk("C2")}, "T1"),
        (Binding, {"member": member}, ends, "T2"),
        (Binding, {"member": member}, {"voided_by": batch}, "T1"),
        (Clerk, {"clerk_no": "C1"}, {"left_on": day("03-05")}, "T2"),
        (Member, {"pk": member}, merged, "T1"),
        (SaleLine, {"sale__ticket_no": "T1"}, {"category": device}, "T1"),
        (SaleLine, {"sale__ticket_no": "T1"}, {"product_no": "UNIT"}, "T1"),
        (SaleLine, {"category__category": "rx"}, {"category": device}, "T2"),
        (SaleLine, {"sale__ticket_no": "T3"}, {"quantity_milli": 2_999}, "T3"),
        (SaleLine, {"sale__ticket_no": "T4"}, {"net_amount": 9 * 10**18}, "T4"),
    ]
    for model, which, values, ticket_no in changes:
        with behind_the_rules(model):
            assert model._default_manager.filter(**which).update(**values)
            places = [finding.where for finding in both_ways(march)]
            assert any(f"ticket {ticket_no}" in place for place in places), (model, values, places)


def test_a_merged_card_stands_for_the_surviving_one(march: Month, tmp_path: Path) -> None:
    member, other = Member.objects.get(member_no="M1"), Member.objects.get(member_no="M2")
    batch = BindingBatch.objects.get(made__member=member)
    closed = {"counted_to": day("03-10"), "closed_on": day("03-10")}
    Member.objects.filter(pk=member.pk).update(merged_into=other, merged_by=batch, **closed)
    Till(tmp_path).load(
        ticket("T8", "03-09", line("10.00"), member="M1"), ticket("T9", "03-10", line("10.00"), member="M1")
    )
    assert list(SalePart.objects.filter(sale__ticket_no__in=("T8", "T9")).order_by("pk").values_list("member")) == [
        (member.pk,),
        (other.pk,),
    ]
    assert (both_ways(march), left_over(march)) == ([], set())
