"""Base salaries in time: a raise ends the one before, closed months keep theirs; the minimum wage warns."""

import datetime as dt
import threading
import time

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from payroll_exports.earnings import earnings
from payroll_exports.minimum_wage import under_minimum_wage
from payroll_exports.models import Salary
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from payroll_exports.salaries import SalaryRefused, set_salary
from portfolios.models import OPEN_END, Clerk, Month, Posting, Store
from tests.cast import Cast
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day
from tests.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


def on_record(clerk: Clerk) -> list[tuple[dt.date, dt.date, int]]:
    rows = Salary.objects.filter(clerk=clerk).order_by("valid_from")
    return list(rows.values_list("valid_from", "valid_to", "monthly_base_amount"))


def base(chain: SmallChain, number: int) -> tuple[int, int]:
    (line,) = earnings(chain.month(number), [chain.li.pk])[chain.li.pk]
    return line.quantity, line.amount


def test_a_raise_in_the_middle_of_a_month(chain: SmallChain) -> None:
    set_salary(chain.li, monthly_base_amount=500_000, valid_from=day("01-01"))
    set_salary(chain.li, monthly_base_amount=600_000, valid_from=day("01-16"))

    assert on_record(chain.li) == [
        (day("01-01"), day("01-16"), 500_000),
        (day("01-16"), OPEN_END, 600_000),
    ]
    # 15 x 500,000 and 16 x 600,000 of 31: 551,612.9.
    assert base(chain, 202601) == (31, 551_613)


def test_hired_on_leave_and_raised_in_one_month(chain: SmallChain) -> None:
    Clerk.objects.filter(pk=chain.li.pk).update(hired_on=day("01-06"))
    # Unpaid leave from the 11th to the 15th is a gap between two postings.
    Posting.objects.filter(clerk=chain.li).update(valid_to=day("01-11"))
    Posting.objects.create(clerk=chain.li, store=chain.first, role=Posting.Role.CLERK, valid_from=day("01-16"))
    set_salary(chain.li, monthly_base_amount=310_000, valid_from=day("01-06"))
    set_salary(chain.li, monthly_base_amount=341_000, valid_from=day("01-22"))
    # The 6th to the 10th and the 16th to the 21st: 11 x 10,000; the 22nd to the 31st: 10 x 11,000.
    assert base(chain, 202601) == (21, 220_000)


def test_closed_months_keep_theirs(chain: SmallChain) -> None:
    set_salary(chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
    close_month(chain.month(202601), approved_by="test")
    chain.month(202602)
    with pytest.raises(SalaryRefused, match="closed") as refusal:
        set_salary(chain.li, monthly_base_amount=400_000, valid_from=day("01-31"))
    assert refusal.value.field == "valid_from"
    set_salary(chain.li, monthly_base_amount=400_000, valid_from=day("02-01"))
    # A typing mistake in an open month is put right on its row.
    set_salary(chain.li, monthly_base_amount=420_000, valid_from=day("02-01"))

    assert on_record(chain.li) == [
        (day("01-01"), day("02-01"), 310_000),
        (day("02-01"), OPEN_END, 420_000),
    ]
    assert base(chain, 202601) == (31, 310_000)
    assert base(chain, 202602) == (28, 420_000)
    assert list(verify([Month.objects.get(pk=202601)])) == []


def test_what_is_on_record_for_later_stays(chain: SmallChain) -> None:
    set_salary(chain.li, monthly_base_amount=500_000, valid_from=day("03-01"))
    set_salary(chain.li, monthly_base_amount=300_000, valid_from=day("01-01"))
    set_salary(chain.li, monthly_base_amount=400_000, valid_from=day("02-01"))
    assert [row[::2] for row in on_record(chain.li)] == [
        (day("01-01"), 300_000),
        (day("02-01"), 400_000),
        (day("03-01"), 500_000),
    ]
    assert on_record(chain.li)[1][1] == day("03-01")


def test_what_is_refused(chain: SmallChain) -> None:
    set_salary(chain.li, monthly_base_amount=500_000, valid_from=day("01-01"))
    Clerk.objects.filter(pk=chain.wang.pk).update(left_on=day("01-10"))
    chain.wang.refresh_from_db()
    for clerk, amount, start, why in [
        (chain.li, 500_000, "01-20", "already"),
        (chain.li, -1, "01-20", "zero or more"),
        (chain.wang, 500_000, "01-11", "has left"),
    ]:
        with pytest.raises(SalaryRefused, match=why):
            set_salary(clerk, monthly_base_amount=amount, valid_from=day(start))


def test_who_is_under_the_minimum_wage(chain: SmallChain) -> None:
    Store.objects.filter(pk=chain.first.pk).update(minimum_wage_amount=310_000)
    Clerk.objects.filter(pk=chain.zhang.pk).update(hired_on=day("01-12"))
    month, store, other = chain.month(202601), chain.first.pk, chain.second.pk
    # 20 of 31 days: 200,000. The second store has no minimum.
    pay = [
        (chain.li.pk, store, 309_999),
        (chain.wang.pk, store, 310_000),
        (chain.zhang.pk, store, 150_000),
        (chain.zhao.pk, other, 0),
    ]
    assert under_minimum_wage(month, pay) == [(chain.zhang.pk, 150_000, 200_000), (chain.li.pk, 309_999, 310_000)]


def test_a_part_timer_is_due_a_part_of_the_minimum_wage(chain: SmallChain) -> None:
    Store.objects.filter(pk=chain.first.pk).update(minimum_wage_amount=310_000)
    month, store = chain.month(202601), chain.first.pk
    # Half time for 20 of 31 days: 100,000.
    Clerk.objects.filter(pk=chain.zhang.pk).update(hired_on=day("01-12"))
    Posting.objects.filter(clerk=chain.zhang).update(weight_percent=50)
    # Full time until the 10th, then a quarter of the time: 10 and 5.25 days, 152,500.
    Posting.objects.filter(clerk=chain.wang).update(valid_to=day("01-11"))
    Posting.objects.create(
        clerk=chain.wang, store=chain.first, role=Posting.Role.CLERK, valid_from=day("01-11"), weight_percent=25
    )
    # On probation; and half a portfolio beside the managing of a store from the 17th on: 16 x 0.5 and 15 days, 230,000.
    Posting.objects.filter(clerk=chain.li).update(weight_percent=0)
    both = chain.clerk("C5")
    Posting.objects.filter(clerk=both).update(weight_percent=50)
    Posting.objects.create(clerk=both, store=chain.second, role=Posting.Role.MANAGER, valid_from=day("01-17"))
    due = {chain.zhang.pk: 100_000, chain.wang.pk: 152_500, chain.li.pk: 310_000, both.pk: 230_000}

    assert under_minimum_wage(month, [(clerk, store, amount) for clerk, amount in due.items()]) == []
    under = under_minimum_wage(month, [(clerk, store, amount - 1) for clerk, amount in due.items()])
    assert {one.clerk_id: one.minimum_amount for one in under} == due


def test_the_pages() -> None:
    cast = Cast()
    page = reverse("salaries", args=["C1"])
    refused = cast.client("hr").post(page, {"amount": "3500", "valid_from": "2026-01-15"})
    assert refused.status_code == 422
    assert "in a month that is closed" in text(refused)
    assert cast.client("hr").post(page, {"amount": "3360", "valid_from": "2026-02-15"}).status_code == 302
    # 14 x 3,100.00 and 14 x 3,360.00 of 28.
    assert "2026-02 as of now: 3,230.00 for 28 days posted." in text(cast.client("auditor").get(page))

    wages = reverse("minimum_wages")
    sent = {f"store-{store.pk}": "" for store in Store.objects.all()}
    assert cast.client("hr").post(wages, sent | {f"store-{cast.first.pk}": "x"}).status_code == 422
    cast.client("hr").post(wages, sent | {f"store-{cast.first.pk}": "4000"})
    assert list(Store.objects.values_list("minimum_wage_amount", flat=True)) == [400_000, None]
    drafted = text(cast.drafted_on_page("hr", cast.february))
    assert "店员C1 C1 3,239.00 4,000.00" in drafted
    # January was closed without a pay run, and is warned of all the same; not on its page while it is open.
    assert "店员C1 C1 3,107.20 4,000.00" in text(cast.client("auditor").get(reverse("month", args=[202601])))
    assert "Under the minimum wage" not in text(cast.client("hr").get(reverse("month", args=[202602])))
    assert "店员C1 C1 3,239.00 4,000.00" in text(cast.client("manager").get(reverse("pay_run", args=[202602])))


def test_a_hand_at_the_salaries_beside_the_close(shared_database: None) -> None:
    (raised,) = at_once(_beside_the_close)
    if raised is not None:
        raise raised


def _beside_the_close() -> None:
    """Written before it, uncommitted, January pays it; written while it runs, it waits and is refused."""
    chain = SmallChain()
    salary = Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
    chain.sale("01-05", (chain.zhang, 10_000))
    month = chain.month(202601)
    written, closing = threading.Event(), threading.Event()

    def write(amount: int) -> None:
        Salary.objects.filter(pk=salary.pk).update(monthly_base_amount=amount)

    def write_before() -> None:
        with transaction.atomic():
            write(320_000)
            written.set()
            time.sleep(0.5)

    def close() -> None:
        assert written.wait(10)
        close_month(month, approved_by="test", progress=lambda step: closing.set() if step == "payslips" else None)

    def write_meanwhile() -> None:
        assert closing.wait(20)
        write(330_000)

    before, closed, meanwhile = at_once(write_before, close, write_meanwhile)

    assert (before, closed) == (None, None)
    assert isinstance(meanwhile, IntegrityError), meanwhile
    assert "salary_paid_stays" in str(meanwhile)
    assert on_record(chain.li) == [(day("01-01"), OPEN_END, 320_000)]
    assert base(chain, 202601) == (31, 320_000)
