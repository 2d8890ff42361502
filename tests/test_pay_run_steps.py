"""The steps of a pay run: drafted, reviewed, approved by another, locked with the month; and what happens beside."""

import threading
import time
from functools import partial

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from commission.attribution import attribute
from commission.models import Booking
from payroll_exports.adjustments import approve as approve_adjustment
from payroll_exports.adjustments import ask_adjustment
from payroll_exports.close_checklist import CloseCheck, CloseRefused, close_checklist
from payroll_exports.models import PayRun, PayRunLine, PayRunSlip, Payslip
from payroll_exports.pay_run import CloseReport, close_month
from payroll_exports.pay_run_steps import PayRunRefused, approve, approved_run, draft, review, run_lines
from payroll_exports.proof import verify
from payroll_exports.since_draft import booked_since
from portfolios.models import Month, User
from tests.concurrency import at_once
from tests.scorecards import scorecard
from tests.small_chain import SmallChain, day
from tests.test_database_rules import refused_however_written, refused_to_change


class Office:
    """方 and 郭 in HR; 张 sold 200.00 (6.00) to 李's member in January: 4.20 and 1.80."""

    def __init__(self) -> None:
        self.chain = SmallChain()
        self.fang, self.guo = (User.objects.create(username=name, office=User.Office.HR) for name in ("fang", "guo"))
        self.member = self.chain.member("M1", self.chain.li)
        self.chain.sale("01-05", (self.chain.zhang, 20_000), member=self.member)
        self.month = self.chain.month(202601)

    def approved(self) -> PayRun:
        return approve(review(draft(self.month, by=self.fang), by=self.fang), by=self.guo)

    def amounts(self, run: PayRun) -> dict[str, int]:
        return dict(run.slips.values_list("clerk__clerk_no", "paid_amount"))


@pytest.fixture
def office(db: None) -> Office:
    return Office()


def test_from_the_draft_to_the_locked_month(office: Office) -> None:
    run = draft(office.month, by=office.fang)
    assert (run.state, run.paid_amount) == ("draft", 600)
    assert office.amounts(run) == {"C1": 420, "C2": 0, "C3": 180, "C4": 0}
    lines = PayRunLine.objects.values_list(
        "slip__clerk__clerk_no", "slip__store__store_no", "line_code", "quantity", "amount"
    )
    assert list(lines) == [("C1", "S1", "OWN_ABSENT", 1, 420), ("C3", "S1", "COVERED", 1, 180)]
    with pytest.raises(PayRunRefused, match="draft by now"):
        approve(run, by=office.guo)
    review(run, by=office.fang)
    with pytest.raises(PayRunRefused, match="drafted this pay run yourself"):
        approve(run, by=office.fang)
    with pytest.raises(CloseRefused, match="No pay run of 2026-01 is approved"):
        approved_run(office.month)
    approve(run, by=office.guo)
    assert approved_run(office.month) == run

    report = close_month(office.month, approved_by="guo", run=run)

    assert (report.payslips, report.paid_amount) == (4, 600)
    run.refresh_from_db()
    assert (run.state, run.drafted_by, run.approved_by) == ("locked", office.fang, office.guo)
    assert dict(Payslip.objects.values_list("clerk__clerk_no", "paid_amount")) == office.amounts(run)
    assert list(verify([Month.objects.get(pk=202601)])) == []
    with pytest.raises(PayRunRefused, match="closed already"):
        draft(office.month, by=office.fang)


def test_a_draft_is_replaced_as_a_whole(office: Office) -> None:
    first = draft(office.month, by=office.fang)
    office.chain.sale("01-06", (office.chain.wang, 10_000))  # 300
    second = draft(office.month, by=office.guo)

    first.refresh_from_db()
    assert (first.state, second.state, second.paid_amount) == ("replaced", "draft", 900)
    assert office.amounts(second) == {"C1": 420, "C2": 300, "C3": 180, "C4": 0}
    assert office.amounts(first) == {"C1": 420, "C2": 0, "C3": 180, "C4": 0}
    assert list(PayRun.objects.in_force()) == [second]
    with pytest.raises(PayRunRefused, match="replaced by now"):
        review(first, by=office.fang)
    # The second was drafted by 郭, so it is 方 who approves it.
    review(second, by=office.guo)
    with pytest.raises(PayRunRefused, match="yourself"):
        approve(second, by=office.guo)
    approve(second, by=office.fang)


def test_pay_that_changed_is_not_approved(office: Office) -> None:
    run = review(draft(office.month, by=office.fang), by=office.fang)
    office.chain.sale("01-06", (office.chain.wang, 10_000))
    with pytest.raises(PayRunRefused, match=r"since the draft.*: 店员C2 \(C2\): 0\.00 in the pay run, 3\.00 now"):
        approve(run, by=office.guo)
    run.refresh_from_db()
    assert run.state == "reviewed"


def test_what_was_booked_since_the_draft_is_counted_without_working_pay_out(office: Office) -> None:
    run = draft(office.month, by=office.fang)
    assert booked_since(run) == []
    # Of another month, and an adjustment that nobody has approved.
    office.chain.sale("02-03", (office.chain.wang, 10_000))
    asked = ask_adjustment(office.chain.zhang, office.month, amount=5_000, reason="bonus", asked_by=office.fang)
    assert booked_since(run) == []
    assert since_draft_check(office.month) is None

    office.chain.sale("01-06", (office.chain.wang, 10_000))
    office.chain.sale("01-07", (office.chain.wang, 10_000))
    approve_adjustment(asked, by=office.guo)
    assert booked_since(run) == [(2, "2 rows of the ledger"), (1, "1 approved adjustment")]
    check = since_draft_check(office.month)
    assert check is not None
    assert (check.blocks, check.count, check.examples) == (False, 3, ["2 rows of the ledger", "1 approved adjustment"])
    assert "since its pay run was drafted" in check.message
    # What is drafted anew has it.
    draft(office.month, by=office.fang)
    assert since_draft_check(office.month) is None


def test_what_the_approval_has_compared_is_not_counted_again(office: Office) -> None:
    run = review(draft(office.month, by=office.fang), by=office.fang)
    # Served by nobody, to nobody's member: the house's, so that it is approved as drafted.
    office.chain.sale("01-06", (None, 10_000))
    assert booked_since(run) == [(1, "1 row of the ledger")]
    run = approve(run, by=office.guo)
    assert booked_since(run) == []
    office.chain.sale("01-07", (office.chain.wang, 10_000))
    assert booked_since(run) == [(1, "1 row of the ledger")]
    check = since_draft_check(office.month)
    assert check is not None
    assert "since its pay run was approved" in check.message


def since_draft_check(month: Month) -> CloseCheck | None:
    found = [one for one in close_checklist(month, day("02-01")) if one.code == "booked_since_draft"]
    return found[0] if found else None


def test_what_stands_in_the_way_of_the_close_is_not_approved(office: Office) -> None:
    line = office.chain.unmatched_return("01-07", -1_000)
    run = review(draft(office.month, by=office.fang), by=office.fang)
    with pytest.raises(PayRunRefused, match=line.sale.ticket_no):
        approve(run, by=office.guo)


def test_a_close_that_would_pay_something_else_names_the_clerks(office: Office) -> None:
    run = office.approved()
    adjustment = ask_adjustment(office.chain.zhang, office.month, amount=5_000, reason="bonus", asked_by=office.fang)
    approve_adjustment(adjustment, by=office.guo)

    with pytest.raises(CloseRefused, match=r"something else.*: 店员C3 \(C3\): 1\.80 in the pay run, 51\.80 now"):
        close_month(office.month, approved_by="guo", run=run)
    assert not Month.objects.get(pk=202601).is_closed
    assert not Payslip.objects.exists()
    # The command line is held to it too.
    with pytest.raises(CloseRefused, match="something else"):
        close_month(office.month, approved_by="operator")

    again = office.approved()
    with pytest.raises(CloseRefused, match="replaced by a new draft"):
        close_month(office.month, approved_by="guo", run=run)
    assert close_month(office.month, approved_by="guo", run=again).paid_amount == 5_600


def test_the_same_sum_from_other_lines_is_another_pay(office: Office) -> None:
    run = review(draft(office.month, by=office.fang), by=office.fang)
    (part,) = office.chain.sale("01-06", (office.chain.wang, 10_000))
    office.chain.sale("01-07", (office.chain.wang, -10_000), returns=part)
    assert run_lines(run)[office.chain.wang.pk] == []
    with pytest.raises(PayRunRefused, match=r"0\.00 in the pay run, 0\.00 now"):
        approve(run, by=office.guo)


def test_a_scored_month_pays_what_was_drafted(office: Office) -> None:
    """One new member who took on is all that is asked for: 100 points of 300.00 for 李, who enrolled it."""
    scorecard("K1", 30_000, effective_new=(10_000, 1))
    run = office.approved()
    assert PayRunLine.objects.get(slip__clerk=office.chain.li, line_code="KPI").amount == 30_000
    assert close_month(office.month, approved_by="guo", run=run).paid_amount == run.paid_amount == 30_600


def test_a_close_from_the_command_line_needs_no_run(office: Office) -> None:
    draft(office.month, by=office.fang)
    assert close_month(office.month, approved_by="operator").paid_amount == 600
    assert PayRun.objects.get().state == "draft"


def test_what_the_database_refuses(office: Office) -> None:
    now = timezone.now()
    run = draft(office.month, by=office.fang)
    people = {"reviewed_by": office.guo, "reviewed_at": now, "approved_by": office.guo, "approved_at": now}

    def row(**values: object) -> PayRun:
        return PayRun(
            **({"month": office.month, "drafted_by": office.fang, "paid_amount": 1, "last_booked": 0} | values)
        )

    refused_however_written(row(), r"one_pay_run_in_force|payroll_exports_payrun\.month_id")
    refused_however_written(row(state="approved"), "pay_run_steps_in_order")
    refused_however_written(row(state="approved", **people | {"approved_by": office.fang}), "pay_run_by_two_people")
    refused_to_change(run, "pay_run_goes_forward", paid_amount=2, drafted_by=office.guo.pk, state="approved")
    refused_to_change(PayRunSlip.objects.all()[0], "pay_run_slip_stays", paid_amount=2)
    refused_to_change(PayRunLine.objects.all()[0], "pay_run_line_stays", amount=2, quantity=7)
    approve(review(run, by=office.fang), by=office.guo)
    run.refresh_from_db()
    refused_to_change(run, "pay_run_goes_forward", state="reviewed")
    close_month(office.month, approved_by="guo")
    refused_however_written(row(state="replaced"), "pay_run_of_open_month")
    with pytest.raises(IntegrityError, match="pay_run"), transaction.atomic():
        PayRun.objects.update(state="replaced")


# --- Beside others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario", ["two_drafts_are_one_after_the_other", "a_draft_beside_an_import", "an_approval_beside_the_close"]
)
def test_a_step_beside(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def two_drafts_are_one_after_the_other() -> None:
    office = Office()
    together = threading.Barrier(3)

    def draft_together(by: User) -> PayRun:
        together.wait(10)
        return draft(office.month, by=by)

    runs = at_once(*(partial(draft_together, by) for by in (office.fang, office.guo, office.fang)))

    assert all(isinstance(run, PayRun) for run in runs), runs
    assert sorted(PayRun.objects.values_list("state", flat=True)) == ["draft", "replaced", "replaced"]
    assert PayRunSlip.objects.count() == 12


def a_draft_beside_an_import() -> None:
    """The import holds what it booked, uncommitted; the draft waits for it, and has the whole of it."""
    office = Office()
    for _ in range(5):
        office.chain.sale("01-06", (office.chain.wang, 10_000), book=False)
    booked, drafting = threading.Event(), threading.Event()

    def post() -> None:
        with transaction.atomic():
            attribute(booking=Booking.objects.create(source="beside"))
            booked.set()
            assert drafting.wait(10)
            time.sleep(0.5)

    def draft_meanwhile() -> PayRun:
        assert booked.wait(10)
        drafting.set()
        return draft(office.month, by=office.fang)

    _none, run = at_once(post, draft_meanwhile)

    assert isinstance(run, PayRun), run
    assert run.paid_amount == 600 + 5 * 300


def an_approval_beside_the_close() -> None:
    """The operator closes from the command line while somebody approves: the approval comes before it or not at all."""
    office = Office()
    run = review(draft(office.month, by=office.fang), by=office.fang)
    closing = threading.Event()

    def close() -> CloseReport:
        return close_month(
            office.month, approved_by="operator", progress=lambda step: closing.set() if step == "payslips" else None
        )

    def approve_meanwhile() -> PayRun:
        assert closing.wait(10)
        return approve(run, by=office.guo)

    report, refusal = at_once(close, approve_meanwhile)

    assert isinstance(report, CloseReport), report
    assert isinstance(refusal, PayRunRefused), refusal
    assert "closed already" in str(refusal)
    run.refresh_from_db()
    assert run.state == "reviewed"
