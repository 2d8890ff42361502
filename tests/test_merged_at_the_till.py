"""A merged card that is shown at the till: whose the sale is, and that the same file is still a repeat."""

from pathlib import Path

import pytest

from commission.models import Sale, SalePart
from kpis.card_merges import apply_merge, preview_merge
from kpis.tiers import member_spend
from portfolios.models import Member
from tests.builders import Till, booked, line, make_chain, make_member, ticket
from tests.small_chain import day

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(tmp_path: Path) -> Till:
    """M1 is 王's (C2), M2 李's (C1); 张 (C3) serves. M2 is merged into M1 from 2026-02-10."""
    make_chain()
    make_member("V1", "C2"), make_member("V2", "C1")
    till = Till(tmp_path)
    till.load(ticket("T0", "02-01", line("200.00", by="C3"), member="V2"))
    survivor, card = (Member.objects.get(member_no=number) for number in ("V1", "V2"))
    basis = preview_merge(survivor, card, today=day("02-10")).basis
    apply_merge(survivor, card, today=day("02-10"), basis=basis)
    return till


def credited(ticket_no: str) -> list[tuple[str | None, str | None, int, int]]:
    """Member, owner, and the commission of owner and server of each row of the ticket."""
    return [
        (row["member_no"], row["owner_no"], row["owner_commission_amount"], row["server_commission_amount"])
        for row in booked(ticket=ticket_no)
    ]


def test_a_sale_from_the_merge_on_is_the_survivor_s(till: Till) -> None:
    """200.00 at 3% are 6.00: 4.20 for the owner, 1.80 for 张."""
    till.load(
        ticket("T1", "02-09", line("200.00", by="C3"), member="V2"),
        ticket("T2", "02-10", line("200.00", by="C3"), member="V2"),
        ticket("T3", "02-10", line("200.00", by="C3"), member="V1"),
        ticket("T4", "02-10", line("200.00", by="C2"), member="V2"),
    )
    assert credited("T1") == [("V2", "C1", 420, 180)]
    assert credited("T2") == [("V1", "C2", 420, 180)]
    assert credited("T3") == [("V1", "C2", 420, 180)]
    assert credited("T4") == [("V1", "C2", 600, 0)]
    # The ticket says what was printed.
    assert Sale.objects.filter(ticket_no="T2").values_list("member__member_no").get() == ("V2",)
    assert SalePart.objects.filter(sale__ticket_no="T2").values_list("member__member_no").get() == ("V1",)


def test_the_same_file_again_is_a_repeat_and_another_card_a_conflict(till: Till) -> None:
    path = till.file(ticket("T2", "02-10", line("200.00", by="C3"), member="V2"))
    assert till.load_file(path).tickets == 1
    assert till.load_file(path).repeated == 1
    (problem,) = till.refused(ticket("T2", "02-10", line("200.00", by="C3"), member="V1"))
    assert "its member is another" in problem.reason


def test_a_return_with_the_merged_card_takes_from_the_survivor_s_spend(till: Till) -> None:
    """T0's 200.00, sold for 李 before the merge, comes back after it: 李's commission, the survivor's spend."""
    spent = Member.objects.get(member_no="V1")
    assert member_spend(day("02-15")) == {spent.pk: 20_000}
    till.load(ticket("R1", "02-12", line("-50.00", by="C3", of=("T0", "02-01", 1)), member="V2"))
    assert credited("R1") == [("V1", "C1", -105, -45)]
    assert member_spend(day("02-15")) == {spent.pk: 15_000}


def test_an_exchange_with_the_merged_card(till: Till) -> None:
    till.load(
        ticket("X1", "02-12", line("-200.00", by="C3", of=("T0", "02-01", 1)), line("300.00", by="C3"), member="V2")
    )
    assert sorted(credited("X1")) == [("V1", "C1", -420, -180), ("V1", "C2", 630, 270)]
