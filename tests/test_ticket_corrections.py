"""A forgotten card and a wrong login: asked for by one, decided by another, booked as a correction."""

from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Count, Sum

from commission.models import Attribution, Sale, SalePart, TicketCorrection
from commission.ticket_corrections import (
    CorrectionRefused,
    approve,
    ask_for_member,
    ask_for_server,
    askable_tickets,
    correction_counts,
    may_decide,
    reject,
    waiting_corrections,
)
from commission.verify import ClerkTotals, verify_ledger
from kpis.activity import PURCHASE, member_activity
from kpis.member_purchases import purchases
from portfolios.models import Clerk, Member, Month, Posting, Store, User
from tests.builders import Till, bind, booked, close, day, line, make_chain, make_clerk, make_member, ticket
from tests.test_corrections import correct_from

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(tmp_path: Path) -> Till:
    make_chain()
    for clerk in Clerk.objects.all():
        post(clerk.clerk_no)
    return Till(tmp_path)


def post(clerk_no: str, store_no: str = "S1", *, role: str = "clerk", since: str = "2020-01-01") -> None:
    Posting.objects.create(
        clerk=Clerk.objects.get(clerk_no=clerk_no),
        store=Store.objects.get(store_no=store_no),
        role=role,
        valid_from=day(since),
    )


def login(clerk_no: str) -> User:
    clerk = Clerk.objects.get(clerk_no=clerk_no)
    return User.objects.get_or_create(username=clerk_no, defaults={"clerk": clerk})[0]


def manager(clerk_no: str = "C8", store_no: str = "S1") -> User:
    make_clerk(clerk_no)
    post(clerk_no, store_no, role="manager")
    return login(clerk_no)


def hr(name: str = "hr") -> User:
    return User.objects.get_or_create(username=name, defaults={"office": User.Office.HR})[0]


def sale(ticket_no: str) -> Sale:
    return Sale.objects.get(ticket_no=ticket_no)


def part(ticket_no: str, number: int = 1) -> SalePart:
    return SalePart.objects.get(sale__ticket_no=ticket_no, number=number)


def other_member(ticket_no: str, card: str) -> TicketCorrection:
    """The member corrected, by 张 asking and HR approving."""
    asked = ask_for_member(sale(ticket_no), card=card, reason="card forgotten", asked_by=login("C3"))
    return approve(asked, by=hr())


def other_server(ticket_no: str, clerk_no: str | None, number: int = 1) -> TicketCorrection:
    server = Clerk.objects.get(clerk_no=clerk_no) if clerk_no else None
    asked = ask_for_server(part(ticket_no, number), server=server, reason="wrong login", asked_by=login("C3"))
    return approve(asked, by=hr())


def rows(ticket_no: str) -> list[tuple[Any, ...]]:
    """Kind, whether it takes back, member, and the commission of owner and server, in booking order."""
    return [
        (
            row["kind"],
            row["reverses"],
            row["member_no"],
            *((row[f"{party}_no"], row[f"{party}_commission_amount"]) for party in ("owner", "server")),
        )
        for row in booked(ticket=ticket_no)
    ]


def totals(*ticket_nos: str) -> dict[str, int]:
    """What the tickets come to in commission, by clerk."""
    sums: dict[str, int] = {}
    for ticket_no in ticket_nos:
        for row in booked(ticket=ticket_no):
            for party in ("owner", "server"):
                sums[row[f"{party}_no"]] = sums.get(row[f"{party}_no"], 0) + row[f"{party}_commission_amount"]
    return {name: total for name, total in sums.items() if total}


# --- Figures -----------------------------------------------------------------------------------------------------


def test_a_forgotten_card_makes_a_walk_in_the_owner_s(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    correction = other_member("T1", "M1")
    # 200.00 at 3% are 6.00: all 张's as a walk-in, then 70% of it 李's.
    assert rows("T1") == [
        ("WALK_IN", False, None, (None, 0), ("C3", 600)),
        ("WALK_IN", True, None, (None, 0), ("C3", -600)),
        ("SPLIT", False, "M1", ("C1", 420), ("C3", 180)),
    ]
    first, reversal, new = Attribution.objects.order_by("pk")
    assert (reversal.corrects, new.corrects) == (first, first)
    assert {reversal.booking, new.booking} == {correction.booking}
    assert {row.reason for row in (reversal, new)} == {"CORRECTION"}
    assert {(row.month_id, row.pay_line) for row in (first, reversal, new)} == {(202603, "KIND")}
    assert correction.booking is not None
    assert (correction.booking.note, correction.booking.recorded_by) == ("card forgotten", hr())
    # What the till printed stays.
    assert sale("T1").member is None
    assert (part("T1").member, part("T1").correction) == (Member.objects.get(member_no="M1"), correction)


@pytest.mark.parametrize(
    ("printed", "served", "card", "after"),
    [
        ("", "C1", "M1", {"C1": 600}),
        ("M1", "C3", "M2", {"C2": 420, "C3": 180}),
        ("M1", "C3", "M0", {"C3": 600}),
        ("M1", "C3", "", {"C3": 600}),
        ("M1", "C2", "M2", {"C2": 600}),
        ("", "", "M1", {"C1": 420}),
    ],
    ids=["own card", "wrong card", "card of nobody's", "no card after all", "the server's member", "online order"],
)
def test_the_target_is_that_of_the_right_card(
    till: Till, printed: str, served: str, card: str, after: dict[str, int]
) -> None:
    make_member("M2", "C2")
    till.load(ticket("T1", "03-05", line("200.00", by=served), member=printed))
    other_member("T1", card)
    assert totals("T1") == after


@pytest.mark.parametrize(
    ("member", "served", "server", "after"),
    [
        ("M1", "C3", "C2", {"C1": 420, "C2": 180}),
        ("M1", "C3", "C1", {"C1": 600}),
        ("M1", "C1", "C3", {"C1": 420, "C3": 180}),
        ("M0", "C3", "C2", {"C2": 600}),
        ("", "C3", "C2", {"C2": 600}),
        ("", "C3", None, {}),
        ("", "", "C2", {"C2": 600}),
    ],
)
def test_the_target_is_that_of_the_right_login(
    till: Till, member: str, served: str, server: str | None, after: dict[str, int]
) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by=served), member=member))
    other_server("T1", server)
    assert totals("T1") == after
    assert (Sale.objects.get().lines.get().server is None) == (served == "")


def test_one_part_of_a_ticket_gets_another_server_and_stays_a_part_of_its_own(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), line("100.00", by="C2"), member="M1"))
    other_server("T1", "C2", number=1)
    # 6.00 and 3.00: 李 4.20 + 2.10; 王 now 1.80 + 0.90.
    assert totals("T1") == {"C1": 630, "C2": 270}
    assert sale("T1").parts.count() == 2
    assert Attribution.objects.filter(part=part("T1", 2)).count() == 1


def test_returns_follow_their_sale_and_sum_to_zero(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    till.load(ticket("R1", "03-08", line("-50.00", by="C2", of=("T1", "03-05", 1))))
    other_member("T1", "M1")
    # 1.50 comes back: 1.05 of 李's 4.20, 0.45 of 张's 1.80.
    assert totals("R1") == {"C1": -105, "C3": -45}
    assert part("R1").member == Member.objects.get(member_no="M1")
    till.load(ticket("R2", "03-09", line("-150.00", by="C2", of=("T1", "03-05", 1))))
    assert totals("T1", "R1", "R2") == {}
    other_server("T1", "C2")
    assert totals("T1") == {"C1": 420, "C2": 180}
    assert totals("T1", "R1", "R2") == {}


def test_a_return_with_a_card_of_its_own_keeps_it(till: Till) -> None:
    make_member("M2", "C2")
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    till.load(ticket("R1", "03-08", line("-50.00", of=("T1", "03-05", 1)), member="M0"))
    other_member("T1", "M2")
    assert part("R1").member == Member.objects.get(member_no="M0")
    assert totals("R1") == {"C2": -105, "C3": -45}


def test_an_exchange_is_the_other_member_s_and_its_return_stays_shared_as_it_was(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00", by="C3"), member="M1"))
    till.load(ticket("T2", "03-08", line("-100.00", by="C3", of=("T1", "03-05", 1)), line("120.00", by="C3")))
    other_member("T2", "M1")
    assert totals("T1") == {"C1": 210, "C3": 90}
    # The return -2.10 and -0.90, the sale of 120.00 at 3% +2.52 and +1.08.
    assert totals("T2") == {"C1": 42, "C3": 18}
    last = [row["member_no"] for row in booked(ticket="T2") if not row["reverses"] and row["reason"] == "CORRECTION"]
    assert last == ["M1", "M1"]


def test_a_correction_after_a_correction_and_after_another_owner(till: Till) -> None:
    make_member("M2", "C2")
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    other_member("T1", "M1")
    bind("M1", "C2", since="03-01")
    assert correct_from("03-01") == 1
    assert totals("T1") == {"C2": 420, "C3": 180}
    other_server("T1", "C1")
    assert totals("T1") == {"C1": 180, "C2": 420}
    other_member("T1", "")
    assert totals("T1") == {"C1": 600}
    # A second run finds nothing to do.
    assert correct_from("03-01") == 0


def test_the_same_file_again_is_still_a_repeat(till: Till) -> None:
    rows = ticket("T1", "03-05", line("200.00", by="C3"))
    till.load(rows)
    other_member("T1", "M1")
    other_server("T1", "C2")
    assert till.load(rows).repeated == 1
    assert totals("T1") == {"C1": 420, "C2": 180}


def test_a_late_ticket_is_corrected_in_the_month_it_is_posted_to_and_stays_late(till: Till) -> None:
    till.load(ticket("T0", "02-05", line("10.00")))
    close(202602)
    till.load(ticket("T1", "02-20", line("200.00", by="C3")), ticket("T2", "03-02", line("10.00")))
    other_member("T1", "M1")
    assert totals("T1") == {"C1": 420, "C3": 180}
    assert {(row["posted"], row["pay_line"]) for row in booked(ticket="T1")} == {(202603, "LATE")}


def test_a_corrected_ledger_is_worked_out_again_the_same(till: Till) -> None:
    make_member("M2", "C2")
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    till.load(ticket("R1", "03-08", line("-50.00", by="C2", of=("T1", "03-05", 1))))
    other_member("T1", "M1")
    other_server("T1", "C2")
    other_member("T1", "M2")
    till.load(ticket("R2", "03-09", line("-30.00", by="C2", of=("T1", "03-05", 1)), member="M1"))
    other_member("R2", "")
    assert list(verify_ledger(Month.objects.get(pk=202603), ClerkTotals())) == []
    # 王 owns and serves: 6.00, less 1.50 and 0.90.
    assert totals("T1", "R1", "R2") == {"C2": 360}


# --- What is refused ---------------------------------------------------------------------------------------------


def refused(*, match: str, card: str = "M1", ticket_no: str = "T1", reason: str = "card forgotten") -> None:
    with pytest.raises(CorrectionRefused, match=match):
        ask_for_member(sale(ticket_no), card=card, reason=reason, asked_by=login("C3"))
    assert not TicketCorrection.objects.waiting().exists()


def test_what_cannot_be_asked_for(till: Till) -> None:
    Member.objects.filter(member_no="M0").update(closed_on=day("03-01"), counted_to=day("03-01"))
    make_member("M9", "C2", since="03-20")
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    refused(match="nothing would change")
    refused(match="Say what happened", card="", reason="  ")
    refused(match="No open card has the number or phone 'M77'", card="M77")
    refused(match="Card M0 is closed since 2026-03-01", card="M0")
    refused(match="Card M9 counts from 2026-03-20 only", card="M9")
    with pytest.raises(CorrectionRefused, match="was not at 店S1"):
        ask_for_server(part("T1"), server=make_clerk("C7"), reason="x", asked_by=login("C3"))
    close(202603)
    refused(match="is in 2026-03, which is closed", card="")


def test_a_phone_finds_the_card_if_it_is_the_only_one(till: Till) -> None:
    Member.objects.filter(member_no="M1").update(phone="13800138000")
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    asked = ask_for_member(sale("T1"), card="138-0013 8000", reason="forgotten", asked_by=login("C3"))
    assert asked.new_member == Member.objects.get(member_no="M1")
    reject(asked, by=hr(), note="no")
    Member.objects.filter(member_no="M0").update(phone="13800138000")
    refused(match="Several cards have this phone", card="13800138000")


def test_the_server_of_a_return_is_its_sale_s(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    till.load(ticket("R1", "03-08", line("-50.00", of=("T1", "03-05", 1))))
    with pytest.raises(CorrectionRefused, match="correct the server of that ticket"):
        ask_for_server(part("R1"), server=None, reason="x", asked_by=login("C3"))


def test_a_request_waits_once(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    ask_for_member(sale("T1"), card="M1", reason="forgotten", asked_by=login("C3"))
    with pytest.raises(CorrectionRefused, match="waits already"):
        ask_for_member(sale("T1"), card="M0", reason="forgotten", asked_by=login("C2"))
    assert ask_for_server(part("T1"), server=None, reason="x", asked_by=login("C3")).approved is None


def test_a_month_that_closes_meanwhile_keeps_its_ticket(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    asked = ask_for_member(sale("T1"), card="M1", reason="forgotten", asked_by=login("C3"))
    close(202603)
    with pytest.raises(CorrectionRefused, match="is closed and never changes"):
        approve(asked, by=hr())
    asked.refresh_from_db()
    assert asked.approved is None
    assert reject(asked, by=hr(), note="too late").approved is False
    assert totals("T1") == {"C3": 600}


# --- Two people --------------------------------------------------------------------------------------------------


def test_who_decides(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    boss, second, elsewhere = manager(), manager("C9"), manager("C6", "S2")
    auditor = User.objects.create(username="auditor", office=User.Office.AUDITOR)
    asked = ask_for_member(sale("T1"), card="M1", reason="forgotten", asked_by=boss)
    people = (boss, second, elsewhere, login("C1"), login("C3"), auditor, hr())
    assert [may_decide(user, asked) for user in people] == [False, True, False, False, False, False, True]
    for user in people:
        if not may_decide(user, asked):
            for decide in (approve, reject):
                with pytest.raises(CorrectionRefused, match=r"another person|Only a manager"):
                    decide(asked, by=user, note="x")
    assert totals("T1") == {"C3": 600}
    approve(asked, by=second)
    with pytest.raises(CorrectionRefused, match="decided already"):
        approve(asked, by=hr())
    with pytest.raises(CorrectionRefused, match="decided already"):
        reject(asked, by=hr(), note="x")
    assert totals("T1") == {"C1": 420, "C3": 180}


def test_a_rejection_says_why_and_changes_nothing(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    asked = ask_for_member(sale("T1"), card="M1", reason="forgotten", asked_by=login("C3"))
    with pytest.raises(CorrectionRefused, match="Say why"):
        reject(asked, by=hr(), note=" ")
    reject(asked, by=hr(), note="the camera shows somebody else")
    assert totals("T1") == {"C3": 600}
    assert part("T1").correction is None


def test_the_database_holds_the_two_people_and_the_parts(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    asked = ask_for_member(sale("T1"), card="M1", reason="forgotten", asked_by=login("C3"))

    def refuses(rule: str, **values: Any) -> None:
        with pytest.raises(IntegrityError, match=rule), transaction.atomic():
            TicketCorrection.objects.filter(pk=asked.pk).update(**values)

    refuses("correction_by_two_people", approved=False, decided_by=login("C3"), decided_at=asked.asked_at)
    refuses("correction_is_decided_whole", approved=True, decided_by=hr(), decided_at=asked.asked_at)
    refuses("ticket_correction_stays", reason="another")
    refuses("ticket_correction_stays", new_member=None)
    member = Member.objects.get(member_no="M0")
    for values in ({"member": member}, {"server": None}, {"commissionable_amount": 1, "correction": asked}):
        with pytest.raises(IntegrityError, match="sale_part_stays"), transaction.atomic():
            SalePart.objects.filter(pk=part("T1").pk).update(**values)
    approve(asked, by=hr())
    refuses("ticket_correction_stays", decision_note="later")
    # The same correction changes a part once.
    with pytest.raises(IntegrityError, match="sale_part_stays"), transaction.atomic():
        SalePart.objects.filter(pk=part("T1").pk).update(member=member, correction=asked)


# --- Who may ask -------------------------------------------------------------------------------------------------


def test_whose_tickets_one_may_ask_about(till: Till) -> None:
    make_clerk("C4")
    post("C4", "S2")
    make_clerk("C5")
    post("C5", since="2026-03-06")
    boss = manager()
    till.load(
        ticket("T1", "03-05", line("200.00", by="C3"), member="M1"),
        ticket("T2", "03-05", line("200.00", by="C4"), store="S2"),
        ticket("T3", "03-07", line("200.00", by="C1"), store="S2"),
    )

    def askable(user: User) -> set[str]:
        return set(askable_tickets(user).values_list("ticket_no", flat=True))

    assert askable(login("C1")) == {"T1", "T3"}
    # 王 has no part, and worked in the store.
    assert askable(login("C2")) == {"T1"}
    assert askable(login("C4")) == {"T2", "T3"}
    assert askable(login("C5")) == set()
    assert askable(boss) == {"T1"}
    assert askable(hr()) == {"T1", "T2", "T3"}
    assert askable(User.objects.create(username="auditor", office=User.Office.AUDITOR)) == set()
    assert askable(User.objects.create(username="nobody")) == set()


def test_requests_are_counted_per_clerk_and_month(till: Till) -> None:
    till.load(*[ticket(f"T{n}", "03-05", line("10.00", by="C3"), at=f"10:00:0{n}") for n in range(4)])
    other_member("T0", "M1")
    other_member("T1", "M1")
    other_server("T1", "C2")
    reject(ask_for_member(sale("T2"), card="M1", reason="x", asked_by=login("C3")), by=hr(), note="no")
    waits = ask_for_member(sale("T3"), card="M1", reason="x", asked_by=login("C2"))
    march = Month.objects.get(pk=202603)
    by_number = {clerk.pk: clerk.clerk_no for clerk in Clerk.objects.all()}
    counts = [(by_number[row["clerk"]], row["what"], row["asked"], row["approved"]) for row in correction_counts(march)]
    assert sorted(counts) == [("C2", "member", 1, 0), ("C3", "member", 3, 2), ("C3", "server", 1, 1)]
    assert list(waiting_corrections(march)) == [waits]


# --- What the member bought --------------------------------------------------------------------------------------


def spend(card: str) -> tuple[int, int]:
    """A card's spend in fen and its purchases, as the figures of members read them."""
    rows = member_activity(before=day("2026-04-01")).filter(member__member_no=card)
    found = rows.aggregate(spent=Sum("net_amount", default=0), bought=Count("pk", filter=PURCHASE))
    return found["spent"], found["bought"]


def test_a_forgotten_card_did_buy_and_a_wrong_one_did_not(till: Till) -> None:
    make_member("M2", "C2")
    till.load(ticket("T1", "03-05", line("200.00", by="C3")))
    till.load(ticket("T2", "03-06", line("100.00", by="C3"), member="M1"))
    till.load(ticket("R1", "03-08", line("-50.00", of=("T1", "03-05", 1))))
    assert (spend("M1"), spend("M2")) == ((10_000, 1), (0, 0))
    other_member("T1", "M1")
    assert spend("M1") == (25_000, 2)
    other_server("T1", "C2")
    assert spend("M1") == (25_000, 2)
    other_member("T2", "M2")
    assert (spend("M1"), spend("M2")) == ((15_000, 1), (10_000, 1))
    # Another owner moves credit, and changes nothing of what was bought.
    bind("M1", "C3", since="03-01")
    correct_from("03-01")
    assert spend("M1") == (15_000, 1)
    assert {card: tickets_of(card) for card in ("M1", "M2")} == {"M1": {"T1", "R1"}, "M2": {"T2"}}


def test_what_comes_back_after_the_correction_comes_back_with_the_right_card(till: Till) -> None:
    """T1 of 200.00 was rung up with M1's card; it is M2's. 50.00 and 30.00 of it come back with M1's and with none."""
    make_member("M2", "C2")
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    other_member("T1", "M2")
    till.load(ticket("R1", "03-08", line("-50.00", of=("T1", "03-05", 1)), member="M1"))
    till.load(ticket("R2", "03-09", line("-30.00", of=("T1", "03-05", 1))))
    assert (spend("M1")[0], spend("M2")[0]) == (0, 15_000)
    assert {card: tickets_of(card) for card in ("M1", "M2")} == {"M1": set(), "M2": {"T1", "R1"}}
    assert list(verify_ledger(Month.objects.get(pk=202603), ClerkTotals())) == []


def tickets_of(card: str) -> set[str]:
    _page, shown = purchases(Member.objects.get(member_no=card), user=hr(), number=1)
    return {purchase.sale.ticket_no for purchase in shown}
