"""Inquiries: what is in question, what an answer does before and after the close, and who may what.

Everything sells at 3%, owner and server 70/30. 李 (C1), 王 (C2), 张 (C3) of the first store, 赵 (C4) of the second.
"""

import threading

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Sum

from commission.contested import held_amounts, shifts
from commission.inquiries import (
    InquiryRefused,
    ask_line,
    ask_member,
    ask_owned,
    ask_served,
    comment,
    grant,
    mark_seen,
    may_answer,
    may_comment,
    news,
    refuse,
    withdraw,
)
from commission.models import Attribution, HeldAmount, Inquiry, Plan, SalePart
from payroll_exports.close_checklist import close_checklist
from payroll_exports.earnings import earnings
from payroll_exports.models import EarningLine, Payslip
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from payroll_exports.tie_out import tie_out
from portfolios.models import Binding, Clerk, Month, Posting, User
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day
from tests.tampering import behind_the_rules

pytestmark = pytest.mark.django_db


class People(SmallChain):
    """The small chain with logins, a manager for each store, and HR."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = self.login(self.clerk("C8", role=Posting.Role.MANAGER))
        self.other_manager = self.login(self.clerk("C9", store=self.second, role=Posting.Role.MANAGER))
        self.hr = User.objects.create(username="hr", office=User.Office.HR)
        self.own = self.member("M1", self.li)

    @staticmethod
    def login(clerk: Clerk) -> User:
        return User.objects.get_or_create(username=clerk.clerk_no, defaults={"clerk": clerk})[0]

    def split(self, on: str = "01-05", amount: int = 20_000) -> SalePart:
        """A sale of 张 to 李's member."""
        return self.sale(on, (self.zhang, amount), member=self.own)[0]

    def says_he_served(self, part: SalePart) -> Inquiry:
        return ask_served(part, text="I was at the till", asked_by=self.login(self.wang))

    def says_the_member_was_his(self, binding: Binding | None = None) -> Inquiry:
        asked = binding or Binding.objects.get(member=self.own)
        return ask_owned(asked, text="enrolled at my counter", asked_by=self.login(self.wang))

    def close(self, number: int) -> None:
        month = self.month(number)
        report = close_month(month, approved_by="test")
        assert report.tie_out is not None
        assert report.tie_out.ties
        # The small chain's returns name no line, which the proof would find.
        if not SalePart.objects.filter(original__isnull=False).exists():
            assert [str(finding) for finding in verify([Month.objects.get(pk=number)])] == []

    def lines(self, number: int) -> dict[str, dict[str, int]]:
        """Each clerk's lines of a month that is closed, or as they would be."""
        names = dict(Clerk.objects.values_list("pk", "clerk_no"))
        found = earnings(Month.objects.get(pk=number))
        return {names[clerk]: {line.line_code: line.amount for line in own} for clerk, own in found.items() if own}


@pytest.fixture
def chain(db: None) -> People:
    return People()


# --- What is in question -----------------------------------------------------------------------------------------


def moved(inquiry: Inquiry) -> tuple[int, int]:
    """What the asker would have more, and the other clerk less."""
    found = shifts([inquiry])
    return sum(shift.gain_amount for shift in found), sum(shift.loss_amount for shift in found)


def test_what_is_in_question_is_what_the_rule_would_move(chain: People) -> None:
    """Figures by hand: 600 of commission is 420 and 180; 张's own sale 600; a walk-in 600; 17 (16.65) is 12 and 5."""
    wang, li = chain.login(chain.wang), chain.login(chain.li)
    split = chain.split()
    (own,) = chain.sale("01-06", (chain.li, 20_000), member=chain.own)
    (walk_in,) = chain.sale("01-07", (chain.zhang, 20_000))
    (odd,) = chain.sale("01-08", (chain.zhang, 555), member=chain.own)
    (online,) = chain.sale("01-09", (None, 20_000), member=chain.own)

    cases = {
        "the server's part": (ask_served(split, text="x", asked_by=wang), (180, 180), chain.zhang),
        "the owner served, says 王 not": (ask_served(own, text="x", asked_by=wang), (180, 180), chain.li),
        "the owner says that he served": (ask_served(odd, text="x", asked_by=li), (5, 5), chain.zhang),
        "nobody served": (ask_served(online, text="x", asked_by=wang), (180, 0), None),
        "a card was forgotten": (ask_member(walk_in, card="M1", text="x", asked_by=li), (420, 420), chain.zhang),
        # 420 of the split, 420 of 600 that 李 served herself, 12, and 420 of what nobody served.
        "the member": (chain.says_the_member_was_his(), (1_272, 1_272), chain.li),
    }
    for name, (inquiry, expected, other) in cases.items():
        assert (name, moved(inquiry), inquiry.other) == (name, expected, other)
        assert inquiry.contested_amount == expected[0]


def test_a_card_is_the_whole_tickets(chain: People) -> None:
    """李's part of 600 becomes 李's own, 张's of 300 is shared: 210 for 李."""
    own, other = chain.sale("01-05", (chain.li, 20_000), (chain.zhang, 10_000))
    inquiry = ask_member(other, card="M1", text="x", asked_by=chain.login(chain.li))
    assert (moved(inquiry), inquiry.other) == ((210, 210), chain.zhang)
    of_wang = chain.member("M2", chain.wang)
    second = ask_member(own, card=of_wang.member_no, text="x", asked_by=chain.login(chain.wang))
    assert (moved(second), second.other) == ((630, 420), chain.li)


def earned(chain: People) -> dict[str, int]:
    """What each clerk has of the ledger."""
    return {
        clerk.clerk_no: sum(
            Attribution.objects.filter(**{side: clerk}).aggregate(t=Sum(f"{side}_commission_amount", default=0))["t"]
            for side in ("owner", "server")
        )
        for clerk in (chain.li, chain.wang, chain.zhang)
    }


@pytest.mark.parametrize("claim", ["served", "member", "owned"])
def test_what_is_in_question_is_what_a_grant_moves(chain: People, claim: str) -> None:
    """To the fen, with amounts that don't divide, shares that leave the house some, and goods that come back."""
    Plan.objects.update(owner_share_bp=6_667, house_share_bp=5_000, walk_in_share_bp=5_000)
    nobodys, of_wang = chain.member("M0", None), chain.member("M2", chain.wang)
    sold = [
        chain.sale("01-05", (server, amount), member=member)[0]
        for amount in (333, 20_017)
        for server in (chain.zhang, chain.li, None)
        for member in (chain.own, nobodys, None)
    ]
    for part in sold[::2]:
        chain.sale("01-06", (chain.zhang, -part.commissionable_amount // 3), returns=part, member=part.member)
    before = earned(chain)
    if claim == "owned":
        asked = [chain.says_the_member_was_his()]
    elif claim == "served":
        asked = [chain.says_he_served(part) for part in sold]
    else:
        wang = chain.login(chain.wang)
        asked = [ask_member(part, card=of_wang.member_no, text="x", asked_by=wang) for part in sold]
    gain, lost = 0, dict.fromkeys(before, 0)
    for shift in shifts(asked):
        gain += shift.gain_amount
        if shift.inquiry.other:
            lost[shift.inquiry.other.clerk_no] += shift.loss_amount
    assert gain >= sum(lost.values()) > 0

    for inquiry in asked:
        grant(inquiry, by=chain.hr, reason="yes")

    expected = {clerk: amount - lost[clerk] for clerk, amount in before.items()} | {"C2": before["C2"] + gain}
    assert earned(chain) == expected


def test_no_fen_is_in_question_twice(chain: People) -> None:
    part = chain.split()
    chain.says_he_served(part)
    with pytest.raises(InquiryRefused, match="in question already"):
        ask_member(part, card=chain.member("M2", chain.wang).member_no, text="x", asked_by=chain.login(chain.wang))
    chain.says_the_member_was_his()
    with pytest.raises(InquiryRefused, match="in question already"):
        ask_owned(Binding.objects.get(member=chain.own), text="x", asked_by=chain.login(chain.zhang))

    # The card was another's, says one; the member was his, says the other: 420 of 李 is all there is.
    (second,) = chain.sale("01-06", (chain.zhang, 20_000), member=chain.own)
    ask_member(second, card="M2", text="x", asked_by=chain.login(chain.wang))
    of_li = held_amounts(chain.month(202601))[chain.li.pk]
    assert sum(held.amount for held in of_li) == -840  # 420 of each of the two tickets


def test_what_cannot_be_granted_is_not_asked(chain: People) -> None:
    part, wang = chain.split(), chain.login(chain.wang)
    with pytest.raises(InquiryRefused, match="server of it already"):
        ask_served(part, text="x", asked_by=chain.login(chain.zhang))
    with pytest.raises(InquiryRefused, match="Say what is not right"):
        ask_served(part, text="  ", asked_by=wang)
    with pytest.raises(InquiryRefused, match="was not at 店1 on 2026-01-05"):
        ask_served(part, text="x", asked_by=chain.login(chain.zhao))
    with pytest.raises(InquiryRefused, match="not yours on 2026-01-05"):
        ask_member(chain.sale("01-05", (chain.zhang, 1))[0], card="M1", text="x", asked_by=wang)
    (back,) = chain.sale("01-06", (chain.zhang, -5_000), returns=part, member=chain.own)
    with pytest.raises(InquiryRefused, match="question the ticket of that sale"):
        ask_served(back, text="x", asked_by=wang)
    with pytest.raises(InquiryRefused, match="Only a clerk asks"):
        ask_served(part, text="x", asked_by=chain.hr)
    chain.close(202601)
    with pytest.raises(InquiryRefused, match="2026-01, which is closed"):
        ask_served(part, text="x", asked_by=wang)


# --- Answered before the close -----------------------------------------------------------------------------------


def test_granted_before_the_close_is_a_correction_and_nothing_is_held(chain: People) -> None:
    part = chain.split()
    inquiry = chain.says_he_served(part)
    assert chain.lines(202601) == {"C1": {"OWN_ABSENT": 420}, "C3": {"COVERED": 180, "HELD": -180}}

    granted = grant(inquiry, by=chain.manager, reason="seen on camera")

    assert granted.correction is not None
    assert (granted.correction.asked_by, granted.correction.decided_by) == (chain.login(chain.wang), chain.manager)
    # 张's line is there with its ticket, and comes to nothing.
    chain.close(202601)
    assert chain.lines(202601) == {"C1": {"OWN_ABSENT": 420}, "C2": {"COVERED": 180}, "C3": {"COVERED": 0}}
    assert not HeldAmount.objects.exists()
    with pytest.raises(InquiryRefused, match="answered already"):
        refuse(inquiry, by=chain.hr, reason="no")


def test_a_granted_binding_is_changed_as_far_as_it_is_open_and_the_sales_follow(chain: People) -> None:
    chain.split("01-05")
    chain.close(202601)
    (sale,) = chain.sale("02-05", (chain.zhang, 30_000), member=chain.own)
    chain.sale("02-06", (chain.zhang, -10_000), returns=sale, member=chain.own)
    inquiry = chain.says_the_member_was_his()
    # 630 less 210; January is closed and not in question.
    assert inquiry.contested_amount == 420

    granted = grant(inquiry, by=chain.manager, reason="the form is his")

    kept, given = Binding.objects.filter(member=chain.own).order_by("valid_from")
    assert (kept.clerk, kept.valid_to, given.clerk, given.valid_from) == (
        chain.li, day("02-01"), chain.wang, day("02-01"),
    )  # fmt: skip
    assert granted.batch == given.batch
    assert chain.lines(202602) == {"C1": {"OWN_ABSENT": 0}, "C2": {"OWN_ABSENT": 420}, "C3": {"COVERED": 180}}
    chain.close(202602)


def test_a_forgotten_card_is_granted_as_a_correction_of_the_member(chain: People) -> None:
    (walk_in,) = chain.sale("01-05", (chain.zhang, 20_000))
    inquiry = ask_member(walk_in, card="M1", text="she forgot it", asked_by=chain.login(chain.li))
    grant(inquiry, by=chain.hr, reason="her phone is on the invoice")
    assert chain.lines(202601) == {
        "C1": {"OWN_ABSENT": 420}, "C3": {"COVERED": 180, "WALK_IN": 0},
    }  # fmt: skip


# --- Over the close ----------------------------------------------------------------------------------------------


def test_a_close_holds_exactly_what_is_in_question_and_the_refusal_pays_it_back(chain: People) -> None:
    chain.split("01-04", 10_000)
    inquiry = chain.says_he_served(chain.split())
    waits = {check.code: check for check in close_checklist(chain.month(202601))}["waiting_inquiry"]
    assert (waits.blocks, waits.count, waits.examples) == (
        False, 1, ["Ticket T0002, 店1, 2026-01-05 (asked by 店员C2)"],
    )  # fmt: skip

    chain.close(202601)

    # 90 + 180 of covering, of which 180 is in question; the commission lines stay, and tie out.
    assert chain.lines(202601) == {"C1": {"OWN_ABSENT": 630}, "C3": {"COVERED": 270, "HELD": -180}}
    assert Payslip.objects.get(clerk=chain.zhang).paid_amount == 90
    assert tie_out(Month.objects.get(pk=202601)).payslip_amount == 900
    assert EarningLine.objects.get(line_code="HELD").quantity == 1

    refuse(inquiry, by=chain.manager, reason="the roster says 张")
    assert chain.lines(202602) == {"C3": {"HELD": 180}}
    chain.close(202602)
    assert chain.lines(202602) == {"C3": {"HELD": 180}}
    chain.close(202603)
    assert chain.lines(202603) == {}
    assert HeldAmount.objects.aggregate(total=Sum("amount"))["total"] == 0


def test_granted_after_the_close_the_held_amount_goes_to_the_asker_once(chain: People) -> None:
    inquiry = chain.says_he_served(chain.split())
    chain.close(202601)
    booked = Attribution.objects.count()

    granted = grant(inquiry, by=chain.hr, reason="seen on camera")

    assert (granted.paid_from_held, granted.correction, Attribution.objects.count()) == (True, None, booked)
    chain.close(202602)
    chain.close(202603)
    assert [chain.lines(month) for month in (202601, 202602, 202603)] == [
        {"C1": {"OWN_ABSENT": 420}, "C3": {"COVERED": 180, "HELD": -180}},
        {"C2": {"HELD": 180}},
        {},
    ]
    paid = {no: Payslip.objects.filter(clerk__clerk_no=no).aggregate(t=Sum("paid_amount"))["t"] for no in ("C2", "C3")}
    assert paid == {"C2": 180, "C3": 0}


def test_what_comes_back_later_goes_the_way_of_the_sale(chain: People) -> None:
    """Half of it comes back in February while it waits, the rest in March after it was granted."""
    part = chain.split()
    inquiry = chain.says_he_served(part)
    chain.close(202601)
    chain.sale("02-05", (chain.zhang, -10_000), returns=part, member=chain.own)
    chain.close(202602)
    assert chain.lines(202602) == {"C1": {"CLAWBACK": -210, "CARRIED_OUT": 210}, "C3": {"CLAWBACK": -90, "HELD": 90}}

    grant(inquiry, by=chain.hr, reason="seen on camera")
    chain.sale("03-05", (chain.zhang, -10_000), returns=part, member=chain.own)
    chain.close(202603)

    # What is held by then, 90, goes to 王, and the return takes it from him again.
    assert chain.lines(202603)["C3"] == {"CLAWBACK": -90, "HELD": 90}
    assert chain.lines(202603).get("C2") == {"HELD": 0}
    for clerk in (chain.wang, chain.zhang):
        assert Payslip.objects.filter(clerk=clerk).aggregate(t=Sum("paid_amount"))["t"] == 0


def test_a_binding_granted_after_the_close_pays_what_was_held_and_changes_the_open_days(chain: People) -> None:
    chain.split("01-05")
    inquiry = chain.says_the_member_was_his()
    chain.close(202601)
    chain.split("02-05", 10_000)
    assert chain.lines(202602)["C1"] == {"OWN_ABSENT": 210, "HELD": -210}

    grant(inquiry, by=chain.manager, reason="the form is his")

    chain.close(202602)
    assert chain.lines(202601)["C1"] == {"OWN_ABSENT": 420, "HELD": -420}
    assert chain.lines(202602) == {
        "C1": {"OWN_ABSENT": 0}, "C2": {"OWN_ABSENT": 210, "HELD": 420}, "C3": {"COVERED": 90},
    }  # fmt: skip
    chain.close(202603)
    assert chain.lines(202603) == {}


def test_a_held_amount_that_was_changed_is_found(chain: People) -> None:
    chain.says_he_served(chain.split())
    chain.close(202601)
    with behind_the_rules(HeldAmount):
        HeldAmount.objects.update(amount=-170)
        found = {(finding.what, finding.expected, finding.found) for finding in verify([chain.month(202601)])}
    assert ("line HELD", "-1.70 (1)", "-1.80 (1)") in found
    assert ("frozen row", "as at the close", "changed") in found


def test_withdrawn_after_the_close_is_paid_back(chain: People) -> None:
    inquiry = chain.says_he_served(chain.split())
    chain.close(202601)
    with pytest.raises(InquiryRefused, match="Only whoever asked"):
        withdraw(inquiry, by=chain.login(chain.zhang))
    withdraw(inquiry, by=chain.login(chain.wang))
    assert chain.lines(202602) == {"C3": {"HELD": 180}}
    assert not close_checklist(chain.month(202602), day("2027-01-01"))


def test_what_is_held_never_makes_a_payslip_negative(chain: People) -> None:
    inquiry = chain.says_he_served(chain.split("01-05", 40_000))
    (sold,) = chain.sale("01-06", (chain.zhang, 10_000))
    assert sold.commission_e4 == 3_000_000
    chain.close(202601)
    chain.sale("02-05", (chain.zhang, -10_000), returns=sold)
    # February: 300 is taken back; he has 660 - 360 in January.
    chain.close(202602)
    assert chain.lines(202601)["C3"] == {"COVERED": 360, "WALK_IN": 300, "HELD": -360}
    assert chain.lines(202602)["C3"] == {"CLAWBACK": -300, "CARRIED_OUT": 300}
    refuse(inquiry, by=chain.hr, reason="no")
    assert chain.lines(202603)["C3"] == {"HELD": 360, "CARRIED_IN": -300}


def test_a_line_takes_from_nobody(chain: People) -> None:
    chain.split()
    zhang = chain.login(chain.zhang)
    told = {"title": "Covered", "asker": ["Covered: 1.80."], "whole": ["Covered: 1.80."]}

    def ask(missing_amount: int) -> Inquiry:
        return ask_line(
            chain.month(202601), "COVERED", store=chain.first, missing_amount=missing_amount, text="one is missing",
            asked_by=zhang, evidence=lambda: told,
        )  # fmt: skip

    with pytest.raises(InquiryRefused, match="more than it does"):
        ask(0)
    inquiry = ask(90)
    with pytest.raises(InquiryRefused, match="in question already"):
        ask(100)
    chain.close(202601)
    assert chain.lines(202601)["C3"] == {"COVERED": 180}
    assert [check.code for check in close_checklist(chain.month(202602), day("2027-01-01"))] == ["waiting_inquiry"]
    assert grant(inquiry, by=chain.manager, reason="HR adjusts it").state == Inquiry.State.GRANTED
    assert chain.lines(202602) == {}


# --- Who ---------------------------------------------------------------------------------------------------------


def test_who_sees_comments_and_answers(chain: People) -> None:
    inquiry = chain.says_he_served(chain.split())
    wang, li, zhang, zhao = (chain.login(clerk) for clerk in (chain.wang, chain.li, chain.zhang, chain.zhao))
    auditor = User.objects.create(username="auditor", office=User.Office.AUDITOR)
    everyone = {
        "asker": wang, "other": zhang, "third": li, "elsewhere": zhao, "manager": chain.manager,
        "other manager": chain.other_manager, "hr": chain.hr, "auditor": auditor,
    }  # fmt: skip
    sees = {name for name, user in everyone.items() if Inquiry.objects.for_user(user).exists()}
    assert sees == {"asker", "other", "manager", "hr", "auditor"}
    assert {name for name, user in everyone.items() if may_answer(user, inquiry)} == {"manager", "hr"}
    assert {name for name, user in everyone.items() if may_comment(user, inquiry)} == {
        "asker", "other", "manager", "hr",
    }  # fmt: skip
    for user in (wang, zhang, chain.other_manager, auditor):
        with pytest.raises(InquiryRefused, match="nobody whose own pay"):
            grant(inquiry, by=user, reason="mine")
    with pytest.raises(InquiryRefused, match="Say why"):
        refuse(inquiry, by=chain.manager, reason=" ")
    comment(inquiry, text="I rang it up myself", by=zhang)
    refuse(inquiry, by=chain.manager, reason="the roster says 张")
    with pytest.raises(InquiryRefused, match="nothing more is added"):
        comment(inquiry, text="once more", by=wang)


def test_a_manager_whose_pay_it_is_about_does_not_answer(chain: People) -> None:
    zhang = chain.login(chain.zhang)
    Posting.objects.create(clerk=chain.zhang, store=chain.first, role=Posting.Role.MANAGER, valid_from=day("01-01"))
    inquiry = chain.says_he_served(chain.split())
    assert not may_answer(zhang, inquiry)
    assert may_comment(zhang, inquiry)


def test_both_are_told_until_they_have_looked(chain: People) -> None:
    inquiry = chain.says_he_served(chain.split())

    def told(clerk: Clerk) -> list[tuple[str, bool]]:
        return [(one.state, one.is_news) for one in news(clerk)]  # type: ignore[attr-defined]

    for clerk in (chain.wang, chain.zhang, chain.li):
        mark_seen(inquiry, clerk)
    assert [told(clerk) for clerk in (chain.wang, chain.zhang, chain.li)] == [[("open", False)], [("open", False)], []]
    comment(inquiry, text="I rang it up myself", by=chain.login(chain.zhang))
    assert told(chain.wang) == [("open", True)]
    refuse(inquiry, by=chain.hr, reason="no")
    assert told(chain.wang) == told(chain.zhang) == [("refused", True)]
    mark_seen(inquiry, chain.wang)
    assert (told(chain.wang), told(chain.zhang)) == ([], [("refused", True)])


def test_the_evidence_is_what_was_on_record_when_it_was_asked(chain: People) -> None:
    inquiry = chain.says_he_served(chain.split())
    grant(inquiry, by=chain.manager, reason="seen on camera")
    evidence = Inquiry.objects.get().evidence
    assert set(evidence) == {"en", "zh-hans"}
    # 王 has no part in the ticket: no amount is told to him.
    assert "4.20" in " ".join(evidence["en"]["whole"])
    assert "店员C3: 1.80, the rest. 店员C3 served." in evidence["en"]["whole"]
    for language in evidence.values():
        assert not any("4.20" in told or "1.80" in told or "6.00" in told for told in language["asker"])


# --- The database, and several at once ---------------------------------------------------------------------------


def test_an_answer_stays(chain: People) -> None:
    inquiry = refuse(chain.says_he_served(chain.split()), by=chain.hr, reason="no")
    for change in ({"state": "open"}, {"answer": "yes"}, {"text": "another"}, {"contested_amount": 1}):
        with pytest.raises(IntegrityError, match="inquiry_stays"), transaction.atomic():
            Inquiry.objects.filter(pk=inquiry.pk).update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        HeldAmount.objects.create(inquiry=inquiry, clerk=chain.zhang, month=chain.month(202601), amount=0)


@pytest.mark.parametrize("scenario", ["two_answers_are_one", "an_answer_beside_the_close"])
def test_at_once(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def two_answers_are_one() -> None:
    chain = People()
    inquiry = chain.says_he_served(chain.split())
    chain.close(202601)
    together = threading.Barrier(2)

    def granted() -> Inquiry:
        together.wait(10)
        return grant(inquiry, by=chain.manager, reason="yes")

    def refused() -> Inquiry:
        together.wait(10)
        return refuse(inquiry, by=chain.hr, reason="no")

    answers = at_once(granted, refused)
    assert sorted(type(answer).__name__ for answer in answers) == ["Inquiry", "InquiryRefused"]
    assert HeldAmount.objects.aggregate(total=Sum("amount"))["total"] == 0


def an_answer_beside_the_close() -> None:
    """Whichever comes first: 张 and 王 have 180 between them, each of them all of it or none, once."""
    chain = People()
    inquiry = chain.says_he_served(chain.split())
    together = threading.Barrier(2)

    def granted() -> Inquiry:
        together.wait(10)
        return grant(inquiry, by=chain.hr, reason="yes")

    def closed() -> None:
        together.wait(10)
        close_month(chain.month(202601), approved_by="test")

    raised = [one for one in at_once(granted, closed) if isinstance(one, Exception)]
    assert raised == []
    close_month(chain.month(202602), approved_by="test")
    paid = {no: Payslip.objects.filter(clerk__clerk_no=no).aggregate(t=Sum("paid_amount"))["t"] for no in ("C2", "C3")}
    assert paid == {"C2": 180, "C3": 0}
