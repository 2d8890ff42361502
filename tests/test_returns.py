"""Returns mirror their original as last corrected: what is booked is the target less what is booked already."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commission.models import Attribution, Plan, SaleLine
from commission.money import format_amount
from portfolios.models import Clerk
from tests.builders import AMOUNTS, Row, Till, bind, booked, close, day, line, make_chain, make_plan, shares, ticket

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(tmp_path: Path) -> Till:
    make_chain()
    return Till(tmp_path)


# --- Whose it is --------------------------------------------------------------------------------------------------


def test_a_return_takes_from_the_old_owner_after_the_member_was_rebound(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    bind("M1", "C2", since="04-01")
    till.load(ticket("R1", "04-05", line("-200.00", by="C3", of=("T1", "03-05", 1)), member="M1"))
    (row,) = booked(ticket="R1")
    assert (row["owner_no"], row["server_no"], row["kind"], row["posted"]) == ("C1", "C3", "SPLIT", 202604)
    assert shares("R1") == [(-420, -180, 0)]


def test_a_return_is_the_old_servers_whoever_takes_it_back(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    till.load(ticket("R1", "03-06", line("-200.00", by="C2", of=("T1", "03-05", 1))))
    (row,) = booked(ticket="R1")
    assert (row["owner_no"], row["server_no"], row["owner_commission_amount"]) == ("C1", "C3", -420)


def test_a_return_needs_no_rate_in_the_plan_of_its_own_date(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3", category="care"), member="M1"))
    Plan.objects.update(valid_to=day("04-01"))
    make_plan("P2", rates={"otc": 300}, since=day("04-01").isoformat())
    till.load(ticket("R1", "04-05", line("-200.00", by="C3", category="care", of=("T1", "03-05", 1)), member="M1"))
    assert shares("R1") == [(-700, -300, 0)]  # 5% of 200.00, as it was sold
    assert "no rate for this category" in str(till.refused(ticket("T2", "04-05", line("1.00", category="care"))))


def test_a_return_takes_from_an_owner_who_has_left(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    Clerk.objects.filter(clerk_no="C1").update(left_on=day("03-31"))
    till.load(ticket("R1", "04-05", line("-200.00", by="C3", of=("T1", "03-05", 1)), member="M1"))
    assert [row["owner_no"] for row in booked(ticket="R1")] == ["C1"]


def test_a_return_at_another_store_mirrors_the_sale_of_the_first(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    till.load(ticket("T1", "03-05", line("-200.00", by="C2", of=("T1", "03-05", 1)), store="S2", at="11:00:00"))
    (row,) = booked(ticket="T1", store_no="S2")
    assert (row["owner_no"], row["server_no"], row["commission_amount"]) == ("C1", "C3", -600)


def test_the_lines_of_a_return_are_parts_by_their_original(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("200.00", by="C3"), line("100.00"), member="M1"),
        ticket("T2", "03-06", line("50.00"), member="M1"),
    )
    till.load(
        ticket(
            "R1",
            "03-07",
            line("-20.00", by="C2", of=("T1", "03-05", 1)),
            line("-10.00", by="C2", of=("T1", "03-05", 2)),
            line("-5.00", by="C2", of=("T2", "03-06", 1)),
            line("-80.00", by="C2", of=("T1", "03-05", 1)),
        )
    )
    rows = [(row["part__number"], row["server_no"], row["commissionable_amount"]) for row in booked(ticket="R1")]
    assert rows == [(1, "C3", -10_000), (2, "C1", -1_000), (3, "C1", -500)]


def test_a_return_of_an_online_order_leaves_the_house(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by=""), member="M1"))
    till.load(ticket("R1", "03-06", line("-200.00", of=("T1", "03-05", 1))))
    assert (*shares("T1"), *shares("R1")) == ((420, 0, 180), (-420, 0, -180))


# --- How much -----------------------------------------------------------------------------------------------------


def test_rates_are_those_of_the_sale_whatever_the_return_says(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00", category="care"), line("80.00", category="rx"), member="M1"))
    till.load(
        ticket("R1", "03-06", line("-100.00", category="otc", of=("T1", "03-05", 1)), member="M1"),
        ticket("R2", "03-06", line("-80.00", category="otc", of=("T1", "03-05", 2)), member="M1"),
    )
    assert (*shares("R1"), *shares("R2")) == ((-500, 0, 0), (0, 0, 0))
    (excluded,) = booked(ticket="R2")
    assert (excluded["commissionable_amount"], excluded["excluded_amount"]) == (0, -8_000)


def test_an_amount_per_unit_shrinks_with_what_is_returned(till: Till) -> None:
    """Three pieces of 100.00 pay 4.50; after 100.00 came back 3.00 is left, after 50.00 more 2.25."""
    till.load(ticket("T1", "03-05", line("300.00", product="UNIT", quantity="3"), member="M1"))
    for number, (net, quantity) in enumerate([("-100.00", "-1"), ("-50.00", "-1"), ("-150.00", "-9")], 1):
        back = line(net, product="UNIT", quantity=quantity, of=("T1", "03-05", 1))
        till.load(ticket(f"R{number}", "03-06", back))
    assert [shares(f"R{number}")[0][0] for number in (1, 2, 3)] == [-150, -75, -225]


def test_a_line_that_nothing_was_paid_for_can_come_back(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("0.00", product="UNIT"), line("10.00"), member="M1"))
    till.load(ticket("R1", "03-06", line("0.00", quantity="-1", product="UNIT", of=("T1", "03-05", 1))))
    (row,) = booked(ticket="R1")
    assert (row["commissionable_amount"], row["commission_amount"]) == (0, 0)
    assert SaleLine.objects.filter(part=None).count() == 0


def test_more_than_is_left_is_refused(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00"), line("500.00"), member="M1"))
    till.load(ticket("R1", "03-06", line("-60.00", of=("T1", "03-05", 1))))
    (problem,) = till.refused(ticket("R2", "03-07", line("-40.01", of=("T1", "03-05", 1))))
    assert (problem.row, problem.column, problem.value) == (2, "net_amount", "R2 / 1: -40.01")
    assert "It returns 40.01, and only 40.00 of its original is left." in problem.reason
    till.load(ticket("R2", "03-07", line("-40.00", of=("T1", "03-05", 1))))
    assert Attribution.objects.aggregate(total=Sum("commissionable_amount"))["total"] == 50_000


def test_more_than_is_left_is_refused_within_one_file_too(till: Till) -> None:
    problems = till.refused(
        [
            *ticket("T1", "03-05", line("100.00"), member="M1"),
            *ticket("R1", "03-06", line("-60.00", of=("T1", "03-05", 1))),
            *ticket("R2", "03-07", line("-60.00", of=("T1", "03-05", 1))),
        ]
    )
    assert [(problem.row, problem.value) for problem in problems] == [(4, "R2 / 1: -60.00")]


def test_a_return_of_a_return_is_refused(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00"), member="M1"))
    till.load(ticket("R1", "03-06", line("-60.00", of=("T1", "03-05", 1))))
    (problem,) = till.refused(ticket("R2", "03-07", line("-10.00", of=("R1", "03-06", 1))))
    assert "It returns a return" in problem.reason


def test_a_return_of_a_line_that_its_sale_does_not_have_is_refused(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00"), member="M1"))
    (problem,) = till.refused(ticket("R1", "03-07", line("-10.00", of=("T1", "03-05", 2))))
    assert "Its original has no such line" in problem.reason


# --- Returns that come before their sale --------------------------------------------------------------------------


def test_a_return_waits_for_its_sale(till: Till) -> None:
    sale = ticket("T1", "03-05", line("200.00", by="C3"), member="M1")
    back = ticket("R1", "03-06", line("-200.00", by="C3", of=("T1", "03-05", 1)), member="M1")
    report = till.load(back)
    assert (report.tickets, report.waiting, report.attributions) == (1, 1, 0)
    assert booked() == []
    report = till.load(sale)
    assert (report.tickets, report.waiting, report.attributions) == (1, 0, 2)
    assert (*shares("T1"), *shares("R1")) == ((420, 180, 0), (-420, -180, 0))


def test_a_waiting_return_that_takes_too_much_goes_on_waiting(till: Till) -> None:
    till.load(
        ticket("R1", "03-06", line("-60.00", of=("T1", "03-05", 1))),
        ticket("R2", "03-06", line("-60.00", of=("T1", "03-05", 1)), at="11:00:00"),
    )
    till.load(ticket("T1", "03-05", line("100.00"), member="M1"))
    assert len(shares("R1")) == 1
    assert list(SaleLine.objects.filter(part=None).values_list("sale__ticket_no", flat=True)) == ["R2"]


def test_a_return_without_an_original_waits(till: Till) -> None:
    report = till.load(ticket("R1", "03-06", line("-60.00"), line("20.00")))
    assert (report.waiting, report.attributions) == (1, 1)
    assert till.load(ticket("T1", "03-05", line("60.00"))).waiting == 0
    assert len(booked(ticket="R1")) == 1


# --- When ---------------------------------------------------------------------------------------------------------


def posting(ticket_no: str) -> list[tuple[int, str, str]]:
    return [(row["posted"], row["reason"], row["pay_line"]) for row in booked(ticket=ticket_no)]


def test_a_return_of_the_same_month_reduces_the_line_of_its_kind(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00")), ticket("R1", "03-31", line("-50.00", of=("T1", "03-05", 1))))
    assert posting("R1") == [(202603, "RETURN", "KIND")]


def test_a_return_of_an_earlier_months_sale_is_a_clawback(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00")), ticket("R1", "04-01", line("-50.00", of=("T1", "03-05", 1))))
    assert posting("R1") == [(202604, "RETURN", "CLAWBACK")]


def test_a_late_sale_goes_to_the_first_open_month(till: Till) -> None:
    till.load(ticket("T0", "03-01", line("1.00")))
    bind("M1", "C2", since="04-01")
    close(202603)
    report = till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    assert (report.late, report.months) == (1, ["2026-04"])
    assert posting("T1") == [(202604, "LATE", "LATE")]
    (row,) = booked(ticket="T1")
    assert (row["date"], row["owner_no"], row["owner_commission_amount"]) == (day("03-05"), "C1", 420)


def test_a_late_return_of_an_earlier_months_sale_is_a_clawback(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00")))
    close(202603)
    till.load(ticket("R1", "03-06", line("-50.00", of=("T1", "03-05", 1))))
    assert posting("R1") == [(202604, "RETURN", "CLAWBACK")]


def test_a_late_sale_and_its_return_are_posted_together(till: Till) -> None:
    till.load(ticket("T0", "03-01", line("1.00")))
    close(202603)
    till.load(ticket("T1", "03-05", line("200.00")), ticket("R1", "03-06", line("-50.00", of=("T1", "03-05", 1))))
    assert posting("T1") == [(202604, "LATE", "LATE")]
    assert posting("R1") == [(202604, "RETURN", "KIND")]


def test_the_first_open_month_is_opened_where_all_are_closed(till: Till) -> None:
    till.load(ticket("T0", "12-01", line("1.00")))
    close(202612)
    till.load(ticket("T1", "11-05", line("200.00")))
    assert posting("T1") == [(202701, "LATE", "LATE")]


# --- Properties ---------------------------------------------------------------------------------------------------

ticket_numbers = count(1)
ROUNDS = 4


@dataclass
class ReturnedSale:
    """A sale, and (round of import, lines with what comes back of them) until all of it is back."""

    member: str
    lines: list[Row]
    backs: list[tuple[int, list[tuple[int, int]]]]


@st.composite
def returned_sales(draw: st.DrawFn) -> ReturnedSale:
    nets = draw(st.lists(st.integers(1, 50_000), min_size=1, max_size=3))
    lines = [
        line(
            format_amount(net),
            by=draw(st.sampled_from(["C1", "C3", ""])),
            category=draw(st.sampled_from(["otc", "device", "care", "rx"])),
            product=draw(st.sampled_from(["P1", "UNIT"])),
            quantity=draw(st.sampled_from(["1", "3", "0.333"])),
        )
        for net in nets
    ]
    pieces = []
    for line_no, net in enumerate(nets, 1):
        cuts = sorted(draw(st.sets(st.integers(1, net - 1), max_size=3))) if net > 1 else []
        pieces += [(line_no, end - start) for start, end in zip([0, *cuts], [*cuts, net], strict=True)]
    pieces = draw(st.permutations(pieces))
    backs, start = [], 0
    while start < len(pieces):
        size = draw(st.integers(1, 3))
        backs.append((draw(st.integers(0, ROUNDS - 1)), pieces[start : start + size]))
        start += size
    return ReturnedSale(draw(st.sampled_from(["M1", "M0", ""])), lines, backs)


@pytest.fixture
def odd_till(tmp_path: Path) -> Till:
    make_chain(owner_share_bp=6_667, house_share_bp=3_333, walk_in_share_bp=5_000)
    return Till(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(cases=st.lists(returned_sales(), min_size=1, max_size=15))
def test_what_comes_back_whole_leaves_nothing(odd_till: Till, cases: list[ReturnedSale]) -> None:
    """Each example is imported in rounds: some returns come with their sale, others in files of their own."""
    files: list[list[list[Row]]] = [[] for _round in range(ROUNDS)]
    numbers = []
    for case in cases:
        numbers.append(number := f"T{next(ticket_numbers)}")
        files[0].append(ticket(number, "03-05", *case.lines, member=case.member))
        for place, (round_no, pieces) in enumerate(case.backs, 1):
            back = [
                line(f"-{format_amount(amount)}", by="C2", product="UNIT", of=(number, "03-05", line_no))
                for line_no, amount in pieces
            ]
            files[round_no].append(ticket(f"{number}-{place}", "03-06", *back, at=f"10:{place:02d}:00"))
    for tickets in filter(None, files):
        odd_till.load(*tickets)

    rows = Attribution.objects.filter(part__sale__business_date__year=2026).order_by("pk")
    history = defaultdict(list)
    for row in rows.select_related("part__sale", "part__original__sale"):
        original = row.part.original or row.part
        history[original.sale.ticket_no, original.number].append(row)
    for number, case in zip(numbers, cases, strict=True):
        assert sum(ticket_no == number for ticket_no, _part in history) == len({row["clerk_no"] for row in case.lines})
        for (ticket_no, _part), booked_rows in history.items():
            if ticket_no == number:
                check_history(case, booked_rows)


def check_history(case: ReturnedSale, rows: list[Attribution]) -> None:
    for amount in AMOUNTS:
        left = list(accumulate(getattr(row, amount) for row in rows))
        assert left[-1] == 0, amount
        # On the way there nobody's part is overdrawn.
        assert min(left) >= 0, amount
    for row in rows:
        assert sum(getattr(row, f"{who}_credit_amount") for who in WHO) == row.commissionable_amount
        assert sum(getattr(row, f"{who}_commission_amount") for who in WHO) == row.commission_amount
        assert (row.owner_id is None) == (case.member != "M1")
        assert row.share_bp == SHARES[row.kind]


WHO = ("owner", "server", "house")
SHARES = {"OWN_SERVED": 10_000, "SPLIT": 6_667, "UNOWNED": 3_333, "WALK_IN": 5_000}
