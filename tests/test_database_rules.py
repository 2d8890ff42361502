"""The database refuses what may not be, whoever writes: save, bulk_create, update, delete, raw SQL."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction
from django.utils import timezone

from commission.models import Attribution, Booking, Plan, Sale, SaleLine, SalePart
from payroll_exports.models import EarningLine, Payslip, Salary
from payroll_exports.pay_run import close_month
from portfolios.models import Binding, BindingBatch, Clerk, Member, Month, Posting
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


def refused(act: Callable[[], Any], rule: str) -> None:
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        act()


def column(row: models.Model, name: str) -> Any:
    return row._meta.get_field(name)


def execute(sql: str, values: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def insert(row: models.Model, *, verb: str = "INSERT") -> None:
    """The row by hand-written SQL."""
    fields: list[Any] = [field for field in row._meta.local_concrete_fields if not field.primary_key or row.pk]
    columns = ", ".join(field.column for field in fields)
    marks = ", ".join("%s" for _field in fields)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    execute(f"{verb} INTO {row._meta.db_table} ({columns}) VALUES ({marks})", values)


def refused_however_written(row: models.Model, rule: str) -> None:
    """A new row that each way of writing it must refuse."""
    manager = type(row)._default_manager
    for write in (
        lambda: row.save(force_insert=True),
        lambda: manager.bulk_create([row]),
        lambda: insert(row),
    ):
        row.pk = None
        refused(write, rule)


def refused_to_change(row: models.Model, rule: str, **changed: Any) -> None:
    """Each way of editing or deleting a row that must refuse it."""
    manager = type(row)._default_manager
    rows = manager.filter(pk=row.pk)
    table = row._meta.db_table
    for name, value in changed.items():
        field = column(row, name)
        edited = rows.get()
        setattr(edited, field.attname, value)
        refused(edited.save, rule)
        refused(partial(manager.bulk_update, [edited], [name]), rule)
        refused(partial(rows.update, **{name: value}), rule)
        stored = field.get_db_prep_save(value, connection)
        refused(partial(execute, f"UPDATE {table} SET {field.column} = %s WHERE id = %s", [stored, row.pk]), rule)
        if connection.vendor == "sqlite":
            refused(partial(insert, edited, verb="INSERT OR REPLACE"), rule)
            refused(partial(insert, edited, verb="REPLACE"), rule)
    refused(partial(execute, f"DELETE FROM {table} WHERE id = %s", [row.pk]), rule)
    refused(partial(rows._raw_delete, rows.db), rule)
    if connection.vendor == "postgresql":
        # Foreign keys that wait for the end of the transaction would stand in the way first.
        execute("SET CONSTRAINTS ALL IMMEDIATE", [])
        refused(partial(execute, f"TRUNCATE {table} CASCADE", []), f"stay|{rule}")


def binding(member: Member, clerk: Clerk, start: str, end: str, batch: BindingBatch) -> Binding:
    return Binding(
        member=member, clerk=clerk, valid_from=day(start), valid_to=day(end), reason="enrolment", batch=batch
    )


# --- Bindings -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("start", "end"),
    [("03-01", "04-01"), ("02-01", "03-02"), ("03-31", "05-01"), ("02-01", "05-01"), ("03-10", "03-11")],
)
def test_a_member_has_one_owner_at_a_time(chain: SmallChain, start: str, end: str) -> None:
    member = chain.member("M1", None)
    binding(member, chain.li, "03-01", "04-01", chain.batch).save()
    refused_however_written(binding(member, chain.wang, start, end, chain.batch), "one_owner_at_a_time")


def test_neighbouring_and_voided_bindings_are_no_overlap(chain: SmallChain) -> None:
    member, other = chain.member("M1", None), chain.member("M2", None)
    voided = binding(member, chain.li, "03-01", "05-01", chain.batch)
    voided.voided_by = chain.batch
    rows = [
        voided,
        binding(member, chain.li, "03-01", "04-01", chain.batch),
        binding(member, chain.wang, "04-01", "05-01", chain.batch),
        binding(member, chain.wang, "02-01", "03-01", chain.batch),
        binding(other, chain.wang, "03-01", "04-01", chain.batch),
    ]
    Binding.objects.bulk_create(rows)
    assert Binding.objects.count() == 5


def test_one_statement_with_two_owners(chain: SmallChain) -> None:
    member = chain.member("M1", None)
    rows = [binding(member, clerk, "03-01", "04-01", chain.batch) for clerk in (chain.li, chain.wang)]
    refused(lambda: Binding.objects.bulk_create(rows), "one_owner_at_a_time")


@pytest.mark.parametrize(("start", "end"), [("03-01", "03-01"), ("03-02", "03-01")])
def test_a_binding_has_a_day(chain: SmallChain, start: str, end: str) -> None:
    # PostgreSQL's date range refuses a negative one before the check does.
    row = binding(chain.member("M1", None), chain.li, start, end, chain.batch)
    for write in (row.save, lambda: Binding.objects.bulk_create([row]), lambda: insert(row)):
        row.pk = None
        with (
            pytest.raises((IntegrityError, DataError), match=r"binding_not_empty|range lower bound"),
            transaction.atomic(),
        ):
            write()
    assert not Binding.objects.exists()


def test_a_binding_is_never_edited_or_deleted(chain: SmallChain) -> None:
    member = chain.member("M1", chain.li, "03-01")
    row = Binding.objects.get(member=member)
    Binding.objects.filter(pk=row.pk).update(valid_to=day("06-01"), ended_by=chain.batch)
    other = chain.member("M2", None)
    refused_to_change(
        row,
        "binding_history_stays",
        clerk=chain.wang.pk,
        member=other.pk,
        valid_from=day("02-01"),
        valid_to=day("07-01"),
        reason="undo",
    )


def test_a_voided_binding_rests(chain: SmallChain) -> None:
    row = Binding.objects.get(member=chain.member("M1", chain.li, "03-01"))
    Binding.objects.filter(pk=row.pk).update(voided_by=chain.batch)
    refused_to_change(row, "binding_history_stays", voided_by=None, valid_to=day("06-01"))


def test_a_batch_stays(chain: SmallChain) -> None:
    refused_to_change(chain.batch, "binding_batch_stays", note="another", source="nobody")


# --- Other dated rows -----------------------------------------------------------------------------------------------
def test_one_home_store_at_a_time(chain: SmallChain) -> None:
    row = Posting(clerk=chain.li, store=chain.second, role="clerk", valid_from=day("05-01"))
    refused_however_written(row, "one_home_store")
    managed = [
        Posting(clerk=chain.li, store=store, role="manager", valid_from=day("05-01"))
        for store in (chain.first, chain.second)
    ]
    Posting.objects.bulk_create(managed)
    refused_however_written(
        Posting(clerk=chain.li, store=chain.first, role="manager", valid_from=day("06-01")), "one_posting_per_role"
    )
    refused(lambda: Posting.objects.filter(role="manager").update(store=chain.first), "one_posting_per_role")


def test_one_plan_at_a_time_for_a_scope(chain: SmallChain) -> None:
    refused_however_written(Plan(plan_no="2026-B", valid_from=day("07-01")), "one_plan_at_a_time")
    store_plans = [
        Plan(plan_no=f"2026-{store.store_no}", store=store, valid_from=day("07-01"))
        for store in (chain.first, chain.second)
    ]
    Plan.objects.bulk_create(store_plans)
    refused_however_written(
        Plan(plan_no="2026-C", store=chain.first, valid_from=day("08-01"), valid_to=day("09-01")), "one_plan_at_a_time"
    )
    refused(lambda: Plan.objects.filter(plan_no="2026-S2").update(store=chain.first), "one_plan_at_a_time")


def test_one_salary_at_a_time(chain: SmallChain) -> None:
    first = Salary.objects.create(clerk=chain.li, monthly_base_amount=1, valid_from=day("01-01"), valid_to=day("03-01"))
    Salary.objects.create(clerk=chain.li, monthly_base_amount=2, valid_from=day("03-01"))
    refused_however_written(
        Salary(clerk=chain.li, monthly_base_amount=3, valid_from=day("02-28"), valid_to=day("03-01")),
        "one_salary_at_a_time",
    )
    refused(lambda: Salary.objects.filter(pk=first.pk).update(valid_to=day("03-02")), "one_salary_at_a_time")


def test_a_salary_stays_for_the_days_of_closed_months(chain: SmallChain) -> None:
    """January is closed: 李's 3,100.00 of it stay, 王's row that ended in it too, and February may be another."""
    rule = "salary_paid_stays"
    paid = Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
    ended = Salary.objects.create(
        clerk=chain.wang, monthly_base_amount=1, valid_from=day("01-01"), valid_to=day("01-16")
    )
    later = Salary.objects.create(clerk=chain.wang, monthly_base_amount=2, valid_from=day("02-01"))
    chain.sale("01-05", (chain.li, 10_000))
    close_month(chain.month(202601), approved_by="test")

    # A row that is put in the place of another one overlaps it as well.
    refused_to_change(
        paid, f"{rule}|one_salary_at_a_time", monthly_base_amount=310_001, clerk=chain.zhang.pk, valid_from=day("01-02")
    )
    refused_however_written(
        Salary(clerk=chain.zhang, monthly_base_amount=3, valid_from=day("01-31"), valid_to=day("02-01")), rule
    )
    # The 31st was paid by the row, and the 16th by none.
    rows = Salary.objects.all()
    refused(lambda: rows.filter(pk=paid.pk).update(valid_to=day("01-31")), rule)
    refused(lambda: rows.filter(pk=ended.pk).update(valid_to=day("01-17")), rule)
    refused(lambda: rows.filter(pk=later.pk).update(valid_from=day("01-31")), rule)

    rows.filter(pk=paid.pk).update(valid_to=day("02-01"))
    rows.filter(pk=paid.pk).update(valid_to=day("02-11"))
    later.monthly_base_amount = 4
    later.valid_from = day("02-03")
    later.save()
    later.delete()
    Salary.objects.create(clerk=chain.zhang, monthly_base_amount=3, valid_from=day("02-01"))
    assert Salary.objects.count() == 3


# --- Tickets and attributions ---------------------------------------------------------------------------------------
@pytest.fixture
def booked(chain: SmallChain) -> Attribution:
    (part,) = chain.sale("01-10", (chain.zhang, 200_00), member=chain.member("M1", chain.li))
    return Attribution.objects.get(part=part)


def test_attributions_are_never_edited_or_deleted(chain: SmallChain, booked: Attribution) -> None:
    refused_to_change(
        booked,
        "attribution_stays",
        owner=chain.wang.pk,
        server=None,
        kind=Attribution.Kind.WALK_IN,
        reason=Attribution.Reason.CORRECTION,
        share_bp=1,
        business_date=day("01-11"),
    )


def test_tickets_are_never_edited_or_deleted(chain: SmallChain, booked: Attribution) -> None:
    part = booked.part
    refused_to_change(part.sale, "sale_stays", ticket_no="T9", member=None)
    refused_to_change(part, "sale_part_stays", commissionable_amount=1, server=None)
    refused_to_change(SaleLine.objects.get(part=part), "sale_line_stays", net_amount=1, rate_bp=1)
    refused_to_change(booked.booking, "booking_stays", note="another")


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        *((f"{party}_credit_amount", "credit_adds_up") for party in ("owner", "server", "house")),
        ("commissionable_amount", "credit_adds_up"),
        *((f"{party}_commission_amount", "commission_adds_up") for party in ("owner", "server", "house")),
        ("commission_amount", "commission_adds_up"),
    ],
)
def test_attributions_add_up(booked: Attribution, column: str, rule: str) -> None:
    setattr(booked, column, getattr(booked, column) + 1)
    refused_however_written(booked, rule)


def test_nothing_is_posted_to_a_closed_month(chain: SmallChain, booked: Attribution) -> None:
    Month.objects.filter(pk=booked.month_id).update(closed_at=timezone.now())
    refused_however_written(booked, "attribution_to_open_month")


def test_nothing_is_posted_to_a_month_that_is_not_there(booked: Attribution) -> None:
    booked.month_id = 209901
    refused_however_written(booked, "attribution_to_open_month")


def test_one_bad_row_refuses_the_statement(chain: SmallChain, booked: Attribution) -> None:
    chain.month(202602)
    Month.objects.filter(pk=202601).update(closed_at=timezone.now())
    rows = []
    for month in (202602, 202601):
        row = Attribution.objects.get(pk=booked.pk)
        row.pk, row.month_id = None, month
        rows.append(row)
    refused(lambda: Attribution.objects.bulk_create(rows), "attribution_to_open_month")
    assert Attribution.objects.count() == 1


def test_a_closed_month_stays_closed(chain: SmallChain) -> None:
    month = chain.month(202601)
    Month.objects.filter(pk=month.pk).update(closed_at=timezone.now(), closed_by="hr")
    refused_to_change(month, "month_stays_closed", closed_at=None, closed_by="", ends_on=day("02-15"))


def test_an_open_month_keeps_its_days(chain: SmallChain) -> None:
    refused_to_change(chain.month(202601), "month_stays_closed", starts_on=day("01-02"), ends_on=day("02-15"))


# --- Payslips -------------------------------------------------------------------------------------------------------
@pytest.fixture
def payslip(chain: SmallChain) -> Payslip:
    return Payslip.objects.create(
        month_id=202601, clerk=chain.li, store=chain.first, paid_amount=100, document={"lines": []}
    )


def test_one_payslip_for_a_clerk_and_month(chain: SmallChain, payslip: Payslip) -> None:
    again = Payslip(month_id=202601, clerk=chain.li, store=chain.second, paid_amount=200, document={})
    refused_however_written(
        again, r"one_payslip_per_clerk_and_month|payslip\.month_id, payroll_exports_payslip\.clerk_id"
    )


def test_payslips_and_their_lines_are_never_edited_or_deleted(chain: SmallChain, payslip: Payslip) -> None:
    line = EarningLine.objects.create(payslip=payslip, month_id=202601, line_code="BASE", quantity=31, amount=100)
    refused_to_change(payslip, "payslip_stays", paid_amount=200, clerk=chain.wang.pk, document={"lines": [1]})
    refused_to_change(line, "earning_line_stays", amount=200, quantity=30, line_code="KPI")


def test_no_payslip_or_line_for_a_closed_month(chain: SmallChain, payslip: Payslip) -> None:
    Month.objects.filter(pk=202601).update(closed_at=timezone.now())
    refused_however_written(
        EarningLine(payslip=payslip, month_id=202601, line_code="KPI", quantity=1, amount=1),
        "earning_line_to_open_month",
    )
    refused_however_written(
        Payslip(month_id=202601, clerk=chain.wang, store=chain.first, paid_amount=1, document={}),
        "payslip_to_open_month",
    )


def test_the_rules_hold_for_every_table_of_the_ledger() -> None:
    """What must never be edited or deleted has its rule."""
    ledger = (Binding, BindingBatch, Booking, Sale, SalePart, SaleLine, Attribution, Payslip, EarningLine, Month)
    for model in ledger:
        assert any(type(rule).__name__ == "AppendOnly" for rule in model._meta.constraints), model
