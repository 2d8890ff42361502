"""What each clerk earns in a month: figures worked out by hand, from booked tickets to earning lines."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commission.corrections import correct
from commission.models import Attribution, Band, Booking, Plan
from payroll_exports.earnings import Earning, earnings
from payroll_exports.models import EarningLine, Payslip, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.tie_out import tie_out
from portfolios.models import Binding, BindingBatch, Clerk, Month, Posting
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


def lines_of(month: Month, clerk: Clerk) -> list[tuple[str, int, int]]:
    return [(line.line_code, line.quantity, line.amount) for line in earnings(month)[clerk.pk]]


def close(month: Month) -> None:
    close_month(month, approved_by="test")


def test_every_kind_goes_to_its_line(chain: SmallChain) -> None:
    own, online = chain.member("M1", chain.li), chain.member("M2", None)
    chain.sale("01-05", (chain.li, 20_000), member=own)  # 600, all his
    chain.sale("01-06", (chain.zhang, 20_000), member=own)  # 600: 420 and 180
    chain.sale("01-07", (None, 20_000), member=own)  # 600: 420, the rest stays with the house
    chain.sale("01-08", (chain.zhang, 10_000), member=online)  # 300
    chain.sale("01-08", (chain.zhang, 5_000))  # 150
    chain.sale("01-09", (chain.zhang, 8_000, chain.rx), member=own)  # excluded
    month = chain.month(202601)

    assert lines_of(month, chain.li) == [("OWN_SERVED", 1, 600), ("OWN_ABSENT", 3, 840)]
    assert lines_of(month, chain.zhang) == [("COVERED", 2, 180), ("UNOWNED", 1, 300), ("WALK_IN", 1, 150)]
    assert lines_of(month, chain.wang) == []
    figures = tie_out(month)
    assert (figures.pos_amount, figures.excluded_amount) == (83_000, 8_000)
    assert (figures.credits_amount, figures.house_credit_amount) == (69_000, 6_000)
    assert (figures.commission_amount, figures.payslip_amount, figures.house_commission_amount) == (2_070, 2_070, 180)
    assert figures.ties


def test_two_sellers_on_one_ticket_are_one_ticket_in_each_line(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.li, 1_000), (chain.zhang, 2_000), (chain.wang, 3_000), (chain.zhang, 0), member=own)
    month = chain.month(202601)

    assert lines_of(month, chain.li) == [("OWN_SERVED", 1, 30), ("OWN_ABSENT", 1, 42 + 63)]
    assert lines_of(month, chain.zhang) == [("COVERED", 1, 18)]


def test_returns_late_tickets_and_corrections(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    (january,) = chain.sale("01-05", (chain.zhang, 20_000), member=own)
    chain.sale("01-20", (chain.zhang, -5_000), member=own, returns=january)  # same month: -150, -105 and -45
    first = chain.month(202601)
    assert lines_of(first, chain.li) == [("OWN_ABSENT", 2, 420 - 105)]
    assert lines_of(first, chain.zhang) == [("COVERED", 2, 180 - 45)]
    close(first)

    chain.sale("02-03", (chain.zhang, -10_000), member=own, returns=january)  # earlier month: clawback of 210 and 90
    (late,) = chain.sale("01-31", (chain.li, 10_000), member=own)  # 300
    chain.sale("02-04", (chain.wang, 40_000), member=own)  # 1200: 840 and 360
    second = chain.month(202602)
    assert lines_of(second, chain.li) == [("OWN_ABSENT", 1, 840), ("LATE", 1, 300), ("CLAWBACK", 1, -210)]
    assert lines_of(second, chain.zhang) == [("CLAWBACK", 1, -90), ("CARRIED_OUT", 0, 90)]
    close(second)

    # The late sale and its return a month later: a clawback, although the sale itself is of January.
    chain.sale("01-31", (chain.li, -10_000), member=own, returns=late)
    third = chain.month(202603)
    assert lines_of(third, chain.li) == [("CLAWBACK", 1, -300), ("CARRIED_OUT", 0, 300)]
    assert tie_out(third).pos_amount == -10_000
    assert tie_out(third).ties


def test_a_new_owner_moves_the_lines_of_an_open_month(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), member=own)
    batch = BindingBatch.objects.create(source="reassignment")
    Binding.objects.update(voided_by=batch)
    Binding.objects.create(
        member=own, clerk=chain.wang, valid_from=day("01-01"), reason=Binding.Reason.REASSIGNMENT, batch=batch
    )
    correct(since=day("01-01"), booking=Booking.objects.create(source="reassignment"))
    month = chain.month(202601)

    assert Attribution.objects.count() == 3
    assert lines_of(month, chain.li) == [("OWN_ABSENT", 1, 0)]
    assert lines_of(month, chain.wang) == [("OWN_ABSENT", 1, 420)]
    assert lines_of(month, chain.zhang) == [("COVERED", 1, 180)]
    assert tie_out(month).pos_amount == 20_000
    assert tie_out(month).ties


def test_owner_and_server_swapped_by_a_correction_is_one_ticket(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), member=own)
    close(chain.month(202601))
    row = Attribution.objects.get()
    february = chain.month(202602)
    same = {name: getattr(row, name) for name in ("part", "store", "business_date", "member", "plan", "share_bp")} | {
        "kind": "SPLIT",
        "reason": "CORRECTION",
        "pay_line": "CORRECTION",
        "month": february,
        "corrects": row,
    }
    booking = Booking.objects.create(source="correction")
    for sign, owner, server in [(-1, chain.li, chain.zhang), (1, chain.zhang, chain.li)]:
        Attribution.objects.create(
            **same,
            booking=booking,
            reverses=sign < 0,
            owner=owner,
            server=server,
            commissionable_amount=sign * 20_000,
            excluded_amount=0,
            owner_credit_amount=sign * 14_000,
            server_credit_amount=sign * 6_000,
            house_credit_amount=0,
            commission_amount=sign * 600,
            owner_commission_amount=sign * 420,
            server_commission_amount=sign * 180,
            house_commission_amount=0,
        )

    assert lines_of(february, chain.zhang) == [("CORRECTION", 1, 240)]
    assert lines_of(february, chain.li) == [("CORRECTION", 1, -240), ("CARRIED_OUT", 0, 240)]
    assert tie_out(february).ties


def test_what_is_below_zero_is_carried_until_it_is_earned(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    Salary.objects.create(clerk=chain.li, monthly_base_amount=500_000, valid_from=day("01-01"))
    (january,) = chain.sale("01-05", (chain.li, 50_000), member=own)  # 1500
    close(chain.month(202601))
    chain.sale("02-05", (chain.li, -50_000), member=own, returns=january)  # -1500
    chain.sale("02-06", (chain.li, 20_000), member=own)  # 600
    second = chain.month(202602)
    assert lines_of(second, chain.li) == [
        ("BASE", 28, 500_000),
        ("OWN_SERVED", 1, 600),
        ("CLAWBACK", 1, -1_500),
        ("CARRIED_OUT", 0, 900),
    ]
    close(second)
    third = chain.month(202603)
    assert lines_of(third, chain.li) == [("BASE", 31, 500_000), ("CARRIED_IN", 0, -900), ("CARRIED_OUT", 0, 900)]
    close(third)
    chain.sale("04-06", (chain.li, 40_000), member=own)  # 1200
    fourth = chain.month(202604)
    assert lines_of(fourth, chain.li) == [("BASE", 30, 500_000), ("OWN_SERVED", 1, 1_200), ("CARRIED_IN", 0, -900)]
    close(fourth)

    paid = Payslip.objects.filter(clerk=chain.li).order_by("month").values_list("paid_amount", flat=True)
    assert list(paid) == [501_500, 500_000, 500_000, 500_300]


def test_a_leavers_debt_stays_on_the_books(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    (january,) = chain.sale("01-05", (chain.li, 50_000), member=own)
    close(chain.month(202601))
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=day("01-31"))
    chain.sale("02-05", (chain.wang, -50_000), member=own, returns=january)
    close(chain.month(202602))

    march = chain.month(202603)
    assert lines_of(march, chain.li) == [("CARRIED_IN", 0, -1_500), ("CARRIED_OUT", 0, 1_500)]
    close(march)
    payslip = Payslip.objects.get(clerk=chain.li, month=march)
    assert (payslip.paid_amount, payslip.store) == (0, chain.first)


@pytest.mark.parametrize(
    ("postings", "hired", "left", "salaries", "expected"),
    [
        # A whole month of 31 days.
        ([("01-01", None)], "01-01", None, [(500_000, "01-01", None)], (31, 500_000)),
        # Hired on the 12th: 20 of 31 days, 322580.6.
        ([("01-12", None)], "01-12", None, [(500_000, "01-12", None)], (20, 322_581)),
        # The posting begins before the first day at work.
        ([("01-01", None)], "01-12", None, [(500_000, "01-01", None)], (20, 322_581)),
        # A raise on the 16th: (15 x 500000 + 16 x 600000) / 31 = 551612.9, rounded once.
        ([("01-01", None)], "01-01", None, [(500_000, "01-01", "01-16"), (600_000, "01-16", None)], (31, 551_613)),
        # The last day worked is the 10th, though the posting runs on: 161290.3.
        ([("01-01", None)], "01-01", "01-10", [(500_000, "01-01", None)], (10, 161_290)),
        # Unpaid leave as a gap between two postings, the 11th to the 20th: 21 days, 338709.7.
        ([("01-01", "01-11"), ("01-21", None)], "01-01", None, [(500_000, "01-01", None)], (21, 338_710)),
        # Half of a fen is rounded away from zero: 31 / 2 x 1 / 31.
        ([("01-01", None)], "01-01", None, [(1, "01-01", "01-16"), (1, "01-16", None)], (31, 1)),
        # Posted, and without a salary.
        ([("01-01", None)], "01-01", None, [], None),
    ],
)
def test_base_salary_counts_the_days_posted(
    chain: SmallChain,
    postings: list[tuple[str, str | None]],
    hired: str,
    left: str | None,
    salaries: list[tuple[int, str, str | None]],
    expected: tuple[int, int] | None,
) -> None:
    clerk = Clerk.objects.create(clerk_no="C9", name="新人", hired_on=day(hired), left_on=left and day(left))
    for start, end in postings:
        dates = {"valid_from": day(start)} | ({"valid_to": day(end)} if end else {})
        Posting.objects.create(clerk=clerk, store=chain.first, role=Posting.Role.CLERK, **dates)
    for base, start, end in salaries:
        dates = {"valid_from": day(start)} | ({"valid_to": day(end)} if end else {})
        Salary.objects.create(clerk=clerk, monthly_base_amount=base, **dates)

    assert lines_of(chain.month(202601), clerk) == ([("BASE", *expected)] if expected else [])


def test_two_postings_on_a_day_are_one_day(chain: SmallChain) -> None:
    Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
    Posting.objects.create(
        clerk=chain.li, store=chain.second, role=Posting.Role.MANAGER, valid_from=day("01-01"), valid_to=day("01-11")
    )
    assert lines_of(chain.month(202601), chain.li) == [("BASE", 31, 310_000)]


def test_who_is_due_a_payslip(chain: SmallChain) -> None:
    gone = chain.clerk("C5", until=day("2026-01-01") + dt.timedelta(days=1))
    later = chain.clerk("C6", since="02-01")
    manager = chain.clerk("C7", role=Posting.Role.MANAGER)
    never = Clerk.objects.create(clerk_no="C8", name="无岗", hired_on=day("01-01"))
    left_before = chain.clerk("C9")
    Clerk.objects.filter(pk=left_before.pk).update(hired_on=day("2025-01-01"), left_on=day("2025-12-31"))
    chain.sale("01-05", (never, 10_000))

    due = earnings(chain.month(202601)).keys()

    assert {gone.pk, manager.pk, never.pk, chain.li.pk} <= due
    assert not {later.pk, left_before.pk} & due


def test_the_accelerator_follows_the_home_store_of_the_last_posted_day(chain: SmallChain) -> None:
    for lower, rate in [(0, 0), (3_000_000, 200), (6_000_000, 300)]:
        Band.objects.create(plan=chain.plan, lower_amount=lower, rate_bp=rate)
    own = Plan.objects.create(plan_no="S2-A", store=chain.second, valid_from=day("01-01"))
    Band.objects.create(plan=own, lower_amount=0, rate_bp=100)
    member = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.li, 5_000_000), member=member)
    chain.sale("01-06", (chain.zhang, 2_000_000), member=member)  # credit: 1,400,000 and 600,000
    chain.sale("01-07", (chain.li, 600_000))
    # Moved to the second store on the 20th.
    Posting.objects.filter(clerk=chain.zhang).update(valid_to=day("01-20"))
    Posting.objects.create(clerk=chain.zhang, store=chain.second, role=Posting.Role.CLERK, valid_from=day("01-20"))
    month = chain.month(202601)

    # 5,000,000 + 1,400,000 + 600,000 = 7,000,000
    assert ("BAND", 0, 90_000) in lines_of(month, chain.li)
    assert ("BAND", 0, 6_000) in lines_of(month, chain.zhang)
    assert tie_out(month).ties

    # Who has left in the middle of the month is paid by the plan of the last day.
    Clerk.objects.filter(pk=chain.zhang.pk).update(left_on=day("01-19"))
    assert "BAND" not in [code for code, *_ in lines_of(month, chain.zhang)]


def test_credit_taken_back_lowers_the_accelerator_of_the_month_it_is_posted_to(chain: SmallChain) -> None:
    Band.objects.create(plan=chain.plan, lower_amount=0, rate_bp=100)
    (part,) = chain.sale("01-05", (chain.li, 30_000))
    close(chain.month(202601))
    chain.sale("02-05", (chain.li, -30_000), returns=part)
    february = chain.month(202602)
    # The credit of the month is below zero: no accelerator, and none is taken back.
    assert lines_of(february, chain.li) == [("CLAWBACK", 1, -900), ("CARRIED_OUT", 0, 900)]
    chain.sale("02-06", (chain.li, 50_000))
    assert lines_of(february, chain.li) == [("WALK_IN", 1, 1_500), ("BAND", 0, 200), ("CLAWBACK", 1, -900)]


def test_one_clerks_month_is_the_same_as_in_everyones(chain: SmallChain) -> None:
    Band.objects.create(plan=chain.plan, lower_amount=0, rate_bp=100)
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), member=own)
    month = chain.month(202601)
    everyone = earnings(month)

    assert earnings(month, [chain.zhang.pk]) == {chain.zhang.pk: everyone[chain.zhang.pk]}
    assert everyone[chain.zhang.pk] == [Earning("COVERED", 1, 180), Earning("BAND", 0, 60)]
    assert earnings(month, []) == {}


def test_a_closed_months_lines_are_the_locked_ones(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.li, 20_000))
    month = chain.month(202601)
    before = earnings(month)
    close(month)
    Band.objects.create(plan=chain.plan, lower_amount=0, rate_bp=100)
    month.refresh_from_db()

    assert earnings(month) == before
    assert EarningLine.objects.count() == 1
    assert tie_out(month).payslip_amount == 600


def test_the_number_of_queries_does_not_grow_with_the_clerks(chain: SmallChain) -> None:
    Band.objects.create(plan=chain.plan, lower_amount=0, rate_bp=100)
    month = chain.month(202601)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            earnings(month)
        return len(captured)

    chain.sale("01-05", (chain.li, 20_000))
    few = queries()
    for number in range(10, 30):
        chain.sale("01-05", (chain.clerk(f"C{number}"), 20_000))
    assert queries() == few < 12
