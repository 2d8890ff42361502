"""Adjustments of pay: asked for by one person, decided by another, on the payslip with their reasons; races."""

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from payroll_exports.adjustments import AdjustmentRefused, approve, ask_adjustment, refuse, withdraw
from payroll_exports.close_checklist import close_checklist
from payroll_exports.earnings import earnings
from payroll_exports.models import Adjustment, EarningLine, Payslip
from payroll_exports.pay_run import CloseReport, close_month
from payroll_exports.proof import verify
from portfolios.models import Clerk, Month, User
from tests.cast import Cast
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day
from tests.test_database_rules import refused_however_written, refused_to_change
from tests.test_pages import text


def hr(name: str, clerk: Clerk | None = None) -> User:
    return User.objects.create(username=name, office=User.Office.HR, clerk=clerk)


class Desk:
    """Two people in HR, and 李 with 15.00 of commission in January."""

    def __init__(self) -> None:
        self.chain = SmallChain()
        self.fang, self.guo = hr("fang"), hr("guo")
        self.chain.sale("01-05", (self.chain.li, 50_000))
        self.january = self.chain.month(202601)

    def ask(self, amount: int, reason: str = "stocktaking", clerk: Clerk | None = None) -> Adjustment:
        return ask_adjustment(clerk or self.chain.li, self.january, amount=amount, reason=reason, asked_by=self.fang)

    def lines(self, clerk: Clerk | None = None, month: int = 202601) -> list[tuple[str, int, int]]:
        who = clerk or self.chain.li
        of_month = earnings(Month.objects.get(pk=month), [who.pk]).get(who.pk, [])
        return [(line.line_code, line.quantity, line.amount) for line in of_month]


@pytest.fixture
def desk(db: None) -> Desk:
    return Desk()


def test_what_is_approved_is_paid(desk: Desk) -> None:
    bonus, cash, waiting = desk.ask(5_000), desk.ask(-800, "cash difference"), desk.ask(99_900, "not decided")
    refuse(desk.ask(7_000, "a favour"), by=desk.guo, note="no such rule")
    assert desk.lines() == [("WALK_IN", 1, 1_500)]

    approve(bonus, by=desk.guo)
    approve(cash, by=desk.guo, note="counted twice")

    # 1,500 + 5,000 - 800
    assert desk.lines() == [("WALK_IN", 1, 1_500), ("ADJUSTMENT", 2, 4_200)]
    (check,) = [one for one in close_checklist(desk.january, day("02-01")) if one.code == "waiting_adjustment"]
    assert (check.blocks, check.count, check.examples) == (False, 1, ["店员C1: 999.00 CNY, not decided"])
    close_month(desk.january, approved_by="test")
    assert Payslip.objects.get(clerk=desk.chain.li).paid_amount == 5_700
    assert list(verify([Month.objects.get(pk=202601)])) == []
    with pytest.raises(AdjustmentRefused, match="closed and never changes"):
        approve(waiting, by=desk.guo)
    with pytest.raises(AdjustmentRefused, match="closed and never changes"):
        desk.ask(1)


def test_an_adjustment_is_variable_pay(desk: Desk) -> None:
    approve(desk.ask(-2_000, "till short"), by=desk.guo)
    assert desk.lines() == [("WALK_IN", 1, 1_500), ("ADJUSTMENT", 1, -2_000), ("CARRIED_OUT", 0, 500)]
    close_month(desk.january, approved_by="test")
    assert desk.lines(month=202602) == [("CARRIED_IN", 0, -500), ("CARRIED_OUT", 0, 500)]


def test_two_that_come_to_nothing_are_still_two(desk: Desk) -> None:
    for amount in (300, -300):
        approve(desk.ask(amount), by=desk.guo)
    assert desk.lines()[1] == ("ADJUSTMENT", 2, 0)


def test_who_has_left_gets_a_payslip_for_it(desk: Desk) -> None:
    gone = desk.chain.clerk("C9")
    Clerk.objects.filter(pk=gone.pk).update(left_on=day("01-02"))
    close_month(desk.january, approved_by="test")
    february = desk.chain.month(202602)
    assert desk.lines(gone, 202602) == []
    approve(ask_adjustment(gone, february, amount=100, reason="late", asked_by=desk.fang), by=desk.guo)
    close_month(february, approved_by="test")
    payslip = Payslip.objects.get(month=february, clerk=gone)
    assert (payslip.store, payslip.paid_amount) == (desk.chain.first, 100)


def test_nobody_decides_alone(desk: Desk) -> None:
    asked = desk.ask(5_000)
    own = ask_adjustment(desk.chain.wang, desk.january, amount=1, reason="own", asked_by=desk.fang)
    with pytest.raises(AdjustmentRefused, match="yourself"):
        approve(asked, by=desk.fang)
    with pytest.raises(AdjustmentRefused, match="nobody on the own pay"):
        approve(own, by=hr("wang", desk.chain.wang))
    with pytest.raises(AdjustmentRefused, match="HR decides"):
        approve(asked, by=User.objects.create(username="auditor", office=User.Office.AUDITOR))
    with pytest.raises(AdjustmentRefused, match="Say why"):
        refuse(asked, by=desk.guo, note=" ")
    approve(asked, by=desk.guo)
    with pytest.raises(AdjustmentRefused, match="decided already"):
        refuse(asked, by=desk.guo, note="too late")


@pytest.mark.parametrize(
    ("amount", "reason", "field"), [(0, "nothing", "amount"), (10**12 + 1, "much", "amount"), (1, "  ", "reason")]
)
def test_what_cannot_be_asked_for(desk: Desk, amount: int, reason: str, field: str) -> None:
    with pytest.raises(AdjustmentRefused) as refusal:
        desk.ask(amount, reason)
    assert refusal.value.field == field


def test_the_same_is_not_asked_for_twice(desk: Desk) -> None:
    first = desk.ask(5_000)
    with pytest.raises(AdjustmentRefused, match="there already"):
        desk.ask(5_000)
    refuse(first, by=desk.guo, note="not now")
    desk.ask(5_000)
    with pytest.raises(AdjustmentRefused, match="posted to no store"):
        desk.ask(5_000, clerk=Clerk.objects.create(clerk_no="C77", name="无岗", hired_on=day("01-01")))


def test_who_asked_withdraws_it_and_it_stays_on_record(desk: Desk) -> None:
    asked, refused, approved = desk.ask(50_000), desk.ask(1, "no"), desk.ask(2, "yes")
    refuse(refused, by=desk.guo, note="no such rule")
    approve(approved, by=desk.guo)
    before = timezone.now()
    withdraw(asked, by=desk.fang)

    on_record = Adjustment.objects.get(pk=asked.pk)
    assert (on_record.amount, on_record.approved, on_record.decided_by) == (50_000, False, desk.fang)
    assert on_record.decided_at is not None
    assert on_record.decided_at >= before
    assert [one.is_withdrawn for one in Adjustment.objects.order_by("pk")] == [True, False, False]
    for act in (partial(approve, by=desk.guo), partial(withdraw, by=desk.fang)):
        with pytest.raises(AdjustmentRefused, match="decided already"):
            act(asked)
    with pytest.raises(AdjustmentRefused, match="decided already"):
        withdraw(approved, by=desk.fang)
    refused_to_change(on_record, "adjustment_stays", approved=True, decided_by=desk.guo.pk)
    # What was typed wrongly is asked for anew: 1,500 + 2 + 5,000.
    approve(desk.ask(5_000), by=desk.guo)
    assert desk.lines() == [("WALK_IN", 1, 1_500), ("ADJUSTMENT", 2, 5_002)]
    late = desk.ask(3, "late")
    close_month(desk.january, approved_by="test")
    with pytest.raises(AdjustmentRefused, match="closed and never changes"):
        withdraw(late, by=desk.fang)


def test_what_the_database_refuses(desk: Desk) -> None:
    decision = {"decided_by": desk.guo, "decided_at": timezone.now()}

    def row(**values: object) -> Adjustment:
        own = {"clerk": desk.chain.li, "month": desk.january, "amount": 1, "reason": "x", "asked_by": desk.fang}
        return Adjustment(**(own | values))

    refused_however_written(row(amount=0), "adjustment_is_not_nothing")
    refused_however_written(row(reason=""), "adjustment_has_a_reason")
    refused_however_written(row(approved=True), "adjustment_is_decided_whole")
    refused_however_written(row(approved=True, **decision | {"decided_by": desk.fang}), "adjustment_by_two_people")
    row(asked_by=None, approved=True, **decision).save()
    asked = desk.ask(5_000)
    refused_to_change(asked, "adjustment_stays", amount=1, reason="other", clerk=desk.chain.wang.pk)
    approve(asked, by=desk.guo)
    refused_to_change(asked, "adjustment_stays", approved=False, decided_by=desk.fang.pk)
    waiting = desk.ask(7)
    close_month(desk.january, approved_by="test")
    refused_however_written(row(reason="late"), "adjustment_to_open_month")
    with pytest.raises(IntegrityError, match="adjustment_to_open_month"), transaction.atomic():
        Adjustment.objects.filter(pk=waiting.pk).update(approved=True, **decision)


# --- Pages -------------------------------------------------------------------------------------------------------


def test_from_asking_to_the_payslip(db: None) -> None:
    cast = Cast()
    page = reverse("adjustments", args=[202602])
    asked = {"clerk": "C1", "amount": "-12.50", "reason": "cash difference on 3 February"}
    assert cast.client("hr").post(page, asked | {"amount": "12,5"}).status_code == 422
    assert cast.client("hr").post(page, asked | {"clerk": "C999"}).status_code == 422
    assert cast.client("hr").post(page, asked).status_code == 302
    adjustment = Adjustment.objects.get()
    assert (adjustment.amount, adjustment.asked_by) == (-1_250, cast.users["hr"])
    decide = reverse("decide_adjustment", args=[adjustment.pk])
    line = reverse("line_adjustments", args=[202602, "C1"])

    assert "another person decides" in text(cast.client("hr").get(page))
    assert decide not in cast.client("hr").get(page).content.decode()
    assert decide not in cast.client("auditor").get(page).content.decode()
    assert decide in cast.client("second_hr").get(page).content.decode()
    assert "on 3 February" in text(cast.client("manager").get(page))
    assert "on 3 February" not in text(cast.client("other_manager").get(page))
    assert "on 3 February" not in text(cast.client("clerk").get(line))
    assert "Adjustments wait for a decision" in text(cast.client("hr").get(reverse("month", args=[202602])))

    cast.client("hr").post(decide, {"approve": ""})
    adjustment.refresh_from_db()
    assert adjustment.approved is None
    cast.client("second_hr").post(decide, {"approve": ""})

    shown = text(cast.client("clerk").get(line))
    assert "cash difference on 3 February" in shown
    assert "−12.50" in shown
    assert line in cast.client("clerk").get(reverse("clerk_month", args=[202602, "C1"])).content.decode()


def test_only_who_asked_is_offered_to_withdraw(db: None) -> None:
    cast = Cast()
    page = reverse("adjustments", args=[202602])
    cast.client("hr").post(page, {"clerk": "C1", "amount": "1250", "reason": "typed wrongly"})
    adjustment = Adjustment.objects.get()
    withdrawal = reverse("withdraw_adjustment", args=[adjustment.pk])

    offered = [who for who in ("hr", "second_hr", "auditor", "manager") if withdrawal in html(cast, who, page)]
    assert offered == ["hr"]
    assert cast.client("second_hr").post(withdrawal).status_code == 404
    assert "Withdrawn: the pay of 店员C1 stays" in text(cast.client("hr").post(withdrawal, follow=True))
    shown = text(cast.client("second_hr").get(page))
    assert "withdrawn" in shown
    assert "not approved" not in shown
    assert "decided already" in text(cast.client("hr").post(withdrawal, follow=True))


def html(cast: Cast, who: str, page: str) -> str:
    return cast.client(who).get(page).content.decode()


# --- Beside others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario", ["of_two_decisions_one_counts", "of_approval_and_withdrawal_one_counts", "an_approval_beside_the_close"]
)
def test_a_decision_beside(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def of_two_decisions_one_counts() -> None:
    desk = Desk()
    asked, third = desk.ask(5_000), hr("third")
    together = threading.Barrier(2)

    def decide(act: Callable[[], Adjustment]) -> Adjustment:
        together.wait(10)
        return act()

    results = at_once(
        partial(decide, partial(approve, asked, by=desk.guo)),
        partial(decide, partial(refuse, asked, by=third, note="no")),
    )

    (lost,) = [one for one in results if isinstance(one, Exception)]
    assert "decided already" in str(lost)
    (won,) = [one for one in results if isinstance(one, Adjustment)]
    assert Adjustment.objects.get().approved == won.approved


def of_approval_and_withdrawal_one_counts() -> None:
    desk = Desk()
    asked = desk.ask(5_000)
    together = threading.Barrier(2)

    def act(what: Callable[[], object]) -> str:
        together.wait(10)
        try:
            what()
        except AdjustmentRefused as refusal:
            return str(refusal)
        return ""

    said = at_once(
        partial(act, partial(approve, asked, by=desk.guo)), partial(act, partial(withdraw, asked, by=desk.fang))
    )

    assert sorted(said) == ["", "This adjustment is decided already."]
    assert Adjustment.objects.get().approved == (said[0] == "")


def an_approval_beside_the_close() -> None:
    """One approval is not committed when the close starts, another comes while it runs."""
    desk = Desk()
    first, second = desk.ask(5_000), desk.ask(300, "another")
    approved, closing, paid = threading.Event(), threading.Event(), threading.Event()

    def before() -> None:
        with transaction.atomic():
            approve(first, by=desk.guo)
            approved.set()
            assert closing.wait(10)
            time.sleep(0.5)

    def close() -> CloseReport:
        assert approved.wait(10)
        closing.set()
        return close_month(
            desk.january, approved_by="test", progress=lambda step: paid.set() if step == "tie-out" else None
        )

    def during() -> Adjustment:
        assert paid.wait(10)
        return approve(second, by=desk.guo)

    _none, report, refusal = at_once(before, close, during)

    assert isinstance(report, CloseReport), report
    assert isinstance(refusal, AdjustmentRefused), refusal
    assert EarningLine.objects.get(line_code="ADJUSTMENT").amount == 5_000
    assert Payslip.objects.get(clerk=desk.chain.li).paid_amount == 6_500
    assert Adjustment.objects.get(pk=second.pk).approved is None
