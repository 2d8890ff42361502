"""A change of owner within open months corrects what is booked: new rows, the old one reversed, never an edit."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commission.corrections import correct
from commission.models import Attribution, Booking, Category, Plan, PlanRate, SalePart
from portfolios.models import Clerk, Posting, Store
from tests.builders import AMOUNTS, Till, bind, booked, close, day, line, make_chain, make_member, shares, ticket

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(tmp_path: Path) -> Till:
    make_chain()
    return Till(tmp_path)


def correct_from(on: str) -> int:
    return correct(since=day(on), booking=Booking.objects.create(source="test"))


def standing(ticket_no: str) -> dict[str, int]:
    """What the rows of a ticket come to, by clerk (HOUSE: the house), in fen of commission."""
    totals: dict[str, int] = {}
    for row in booked(ticket=ticket_no):
        for name, party in ((row["owner_no"], "owner"), (row["server_no"], "server"), ("HOUSE", "house")):
            amount = row[f"{party}_commission_amount"]
            if amount:
                totals[name] = totals.get(name, 0) + amount
    return {name: total for name, total in totals.items() if total}


def rows_of(ticket_no: str) -> list[tuple[Any, ...]]:
    return [
        (row["sequence"], row["kind"], row["reason"], row["reverses"], row["owner_no"], row["commission_amount"])
        for row in booked(ticket=ticket_no)
    ]


# --- One correction -----------------------------------------------------------------------------------------------


def test_a_member_who_is_bound_back_takes_the_sale_along(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    bind("M1", "C2", since="03-01")
    assert correct_from("03-01") == 1
    assert rows_of("T1") == [
        (1, "SPLIT", "SALE", False, "C1", 600),
        (2, "SPLIT", "CORRECTION", True, "C1", -600),
        (3, "SPLIT", "CORRECTION", False, "C2", 600),
    ]
    first, reversal, new = Attribution.objects.order_by("pk")
    assert (reversal.corrects, new.corrects) == (first, first)
    assert {row.month_id for row in (first, reversal, new)} == {202603}
    assert {row.pay_line for row in (first, reversal, new)} == {"KIND"}
    assert standing("T1") == {"C2": 420, "C3": 180}


@pytest.mark.parametrize(
    ("member", "server", "new_owner", "before", "after"),
    [
        ("M1", "C2", "C2", {"C1": 420, "C2": 180}, {"C2": 600}),
        ("M1", "C1", "C2", {"C1": 600}, {"C1": 180, "C2": 420}),
        ("M0", "C3", "C2", {"C3": 600}, {"C2": 420, "C3": 180}),
        ("M0", "C3", "C3", {"C3": 600}, {"C3": 600}),
        ("M1", "", "C2", {"C1": 420, "HOUSE": 180}, {"C2": 420, "HOUSE": 180}),
    ],
    ids=["split to own", "own to split", "unowned to split", "unowned to own", "online order"],
)
def test_the_kind_follows_the_owner(
    till: Till, member: str, server: str, new_owner: str, before: dict[str, int], after: dict[str, int]
) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by=server), member=member))
    assert standing("T1") == before
    bind(member, new_owner, since="03-01")
    assert correct_from("03-01") == 1
    assert standing("T1") == after


def test_only_sales_from_the_date_on_and_of_that_member_are_corrected(till: Till) -> None:
    make_member("M2", "C1")
    till.load(
        ticket("T1", "03-04", line("200.00"), member="M1"),
        ticket("T2", "03-05", line("200.00"), member="M1"),
        ticket("T3", "03-05", line("200.00"), member="M2"),
        ticket("T4", "03-05", line("200.00")),
    )
    bind("M1", "C2", since="03-05")
    assert correct_from("03-01") == 1
    assert [len(rows_of(number)) for number in ("T1", "T2", "T3", "T4")] == [1, 3, 1, 1]


def test_an_owner_who_leaves_in_the_past_loses_the_sales_since(till: Till) -> None:
    till.load(*(ticket(f"T{on}", on, line("200.00", by="C3"), member="M1") for on in ("03-05", "03-06")))
    Clerk.objects.filter(clerk_no="C1").update(left_on=day("03-05"))
    assert correct_from("03-06") == 1
    assert standing("T03-05") == {"C1": 420, "C3": 180}
    assert standing("T03-06") == {"C3": 600}


def test_sellers_of_one_ticket_are_corrected_each(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00"), line("100.00", by="C2"), line("50.00", by="C3"), member="M1"))
    bind("M1", "C2", since="03-01")
    assert correct_from("03-01") == 3
    assert standing("T1") == {"C1": 180, "C2": 420 + 300 + 105, "C3": 45}


# --- Returns follow -----------------------------------------------------------------------------------------------


def test_the_returns_of_a_sale_follow_it(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("1.00", by="C3", category="care"), member="M1"),
        ticket("R1", "03-06", line("-0.40", by="C3", of=("T1", "03-05", 1)), member="M1"),
        ticket("R2", "03-07", line("-0.30", by="C3", of=("T1", "03-05", 1)), member="M1"),
    )
    bind("M1", "C2", since="03-01")
    assert correct_from("03-01") == 1
    assert shares("R1") == [(-2, 0, 0), (2, 0, 0), (-2, 0, 0)]
    assert [row["owner_no"] for row in booked(ticket="R1")] == ["C1", "C1", "C2"]
    assert {row["reason"] for row in booked(ticket="R1")[1:]} == {"CORRECTION"}
    till.load(ticket("R3", "03-08", line("-0.30", by="C3", of=("T1", "03-05", 1)), member="M1"))
    totals = Attribution.objects.aggregate(**{name: Sum(name) for name in AMOUNTS})
    assert set(totals.values()) == {0}
    for clerk_no in ("C1", "C2", "C3"):
        assert sum(standing(number).get(clerk_no, 0) for number in ("T1", "R1", "R2", "R3")) == 0


def test_a_return_alone_is_never_corrected_for_its_own_members_owner(till: Till) -> None:
    """The return has a date after the rebinding, but its sale has not."""
    till.load(
        ticket("T1", "03-05", line("200.00", by="C3"), member="M1"),
        ticket("R1", "03-20", line("-200.00", by="C3", of=("T1", "03-05", 1)), member="M1"),
    )
    bind("M1", "C2", since="03-10")
    assert correct_from("03-10") == 0
    assert len(booked()) == 2


def test_a_clawback_stays_one_in_its_own_month(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("200.00", by="C3"), member="M1"),
        ticket("R1", "04-02", line("-200.00", by="C3", of=("T1", "03-05", 1)), member="M1"),
    )
    bind("M1", "C2", since="03-01")
    assert correct_from("03-01") == 1
    rows = [(row["posted"], row["pay_line"], row["owner_no"], row["commission_amount"]) for row in booked(ticket="R1")]
    assert rows == [
        (202604, "CLAWBACK", "C1", -600),
        (202604, "CLAWBACK", "C1", 600),
        (202604, "CLAWBACK", "C2", -600),
    ]


def test_an_exchange_keeps_its_return_and_corrects_its_sale(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("100.00", by="C3"), member="M1"),
        ticket("X1", "03-20", line("-100.00", by="C3", of=("T1", "03-05", 1)), line("120.00", by="C3"), member="M1"),
    )
    bind("M1", "C2", since="03-10")
    assert correct_from("03-10") == 1
    assert rows_of("X1") == [
        (1, "SPLIT", "RETURN", False, "C1", -300),
        (2, "SPLIT", "SALE", False, "C1", 360),
        (3, "SPLIT", "CORRECTION", True, "C1", -360),
        (4, "SPLIT", "CORRECTION", False, "C2", 360),
    ]


# --- Months and repetitions ---------------------------------------------------------------------------------------


def test_each_open_month_is_corrected_in_itself(till: Till) -> None:
    till.load(*(ticket(f"T{on}", on, line("200.00", by="C3"), member="M1") for on in ("03-05", "04-05")))
    bind("M1", "C2", since="03-01")
    assert correct_from("03-01") == 2
    assert [row["posted"] for row in booked(ticket="T03-05")] == [202603] * 3
    assert [row["posted"] for row in booked(ticket="T04-05")] == [202604] * 3


def test_a_closed_month_stays_as_it_is(till: Till) -> None:
    till.load(*(ticket(f"T{on}", on, line("200.00", by="C3"), member="M1") for on in ("03-05", "04-05")))
    close(202603)
    before = booked(posted=202603)
    bind("M1", "C2", since="04-01")
    assert correct_from("04-01") == 1
    assert booked(posted=202603) == before
    assert standing("T04-05") == {"C2": 420, "C3": 180}


def test_a_late_sale_is_left_to_the_owner_of_its_date(till: Till) -> None:
    """Its date lies in a closed month, whose bindings cannot change: nothing is corrected, whatever it is posted to."""
    till.load(ticket("T0", "03-01", line("1.00")))
    close(202603)
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    bind("M1", "C2", since="04-01")
    assert correct_from("04-01") == 0
    assert standing("T1") == {"C1": 420, "C3": 180}


def test_a_second_run_finds_nothing(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    bind("M1", "C2", since="03-01")
    assert (correct_from("03-01"), correct_from("03-01"), correct_from("01-01")) == (1, 0, 0)
    assert len(booked()) == 3


def test_back_and_forth(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("200.00", by="C3"), member="M1"),
        ticket("R1", "03-06", line("-50.00", by="C3", of=("T1", "03-05", 1)), member="M1"),
    )
    for owner, length in (("C2", 3), ("C1", 5), ("C3", 7)):
        bind("M1", owner, since="03-01")
        assert correct_from("03-01") == 1
        assert len(rows_of("T1")) == len(rows_of("R1")) == length
    assert standing("T1") == {"C3": 600}
    assert standing("R1") == {"C3": -150}
    # Each correction reverses the row that stood, not the first one.
    links = list(Attribution.objects.filter(part__original=None).order_by("pk").values_list("pk", "corrects"))
    assert [corrects for _pk, corrects in links[1:]] == [
        links[0][0], links[0][0], links[2][0], links[2][0], links[4][0], links[4][0],
    ]  # fmt: skip


# --- Frozen facts -------------------------------------------------------------------------------------------------


def test_what_changes_later_changes_no_booked_row(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("200.00", by="C3"), line("80.00", category="rx"), member="M1"),
        ticket("T2", "03-05", line("1.67", by="C3")),
    )
    before = booked(), list(SalePart.objects.values())
    Posting.objects.create(
        clerk=Clerk.objects.get(clerk_no="C3"), store=Store.objects.get(store_no="S2"), role="clerk",
        valid_from=day("03-01"),
    )  # fmt: skip
    Category.objects.update(excluded=True)
    PlanRate.objects.filter(excluded=False).update(rate_bp=9_999)
    Plan.objects.update(valid_to=day("03-10"))
    bind("M1", "C2", since="04-01")
    assert correct_from("03-01") == 0
    assert (booked(), list(SalePart.objects.values())) == before
    # A return still finds the rates of its sale.
    till.load(ticket("R0", "03-06", line("-200.00", by="C3", of=("T1", "03-05", 1)), member="M1"))
    assert shares("R0") == [(-420, -180, 0)]


# --- Property -----------------------------------------------------------------------------------------------------

members = (f"P{number}" for number in count(1))
rebindings = st.lists(st.tuples(st.sampled_from(["C1", "C2", "C3"]), st.integers(1, 28)), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(
    servers=st.lists(st.sampled_from(["C1", "C2", "C3", ""]), min_size=1, max_size=3),
    sold_on=st.integers(1, 28),
    returned=st.lists(st.integers(1, 333), max_size=2),
    rebound=rebindings,
)
def test_corrected_is_as_if_it_had_been_so_from_the_start(
    till: Till, servers: list[str], sold_on: int, returned: list[int], rebound: list[tuple[str, int]]
) -> None:
    """Two members buy and bring back the same; one is rebound afterwards, the other had been so before."""
    after, before = next(members), next(members)
    make_member(after, "C1"), make_member(before, "C1")
    date = f"03-{sold_on:02d}"

    def tickets(member: str) -> list[list[dict[str, str]]]:
        sale = ticket(f"{member}-T", date, *(line("9.99", by=by) for by in servers), member=member)
        backs = [
            ticket(f"{member}-R{n}", "03-28", line(f"-{net / 100:.2f}", of=(f"{member}-T", date, 1)), at=f"2{n}:00:00")
            for n, net in enumerate(returned)
        ]
        return [sale, *backs]

    till.load(*tickets(after))
    for owner, on in rebound:
        bind(after, owner, since=f"03-{on:02d}")
        correct_from(f"03-{on:02d}")
        bind(before, owner, since=f"03-{on:02d}")
    assert correct_from("01-01") == 0
    till.load(*tickets(before))
    for suffix in ("T", *(f"R{n}" for n in range(len(returned)))):
        assert standing(f"{after}-{suffix}") == standing(f"{before}-{suffix}")
    for part in SalePart.objects.filter(sale__ticket_no__startswith=f"{after}-"):
        totals = part.attributions.aggregate(net=Sum("commissionable_amount"), commission=Sum("commission_amount"))
        first = part.attributions.earliest("pk")
        assert (totals["net"], totals["commission"]) == (first.commissionable_amount, first.commission_amount)
        assert part.attributions.filter(reverses=False).count() == part.attributions.filter(reverses=True).count() + 1
