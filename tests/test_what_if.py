"""What clerks would have been paid in closed months: figures by hand, and the same as if it had been so all along."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from commission.corrections import correct
from commission.models import Attribution, Band, Booking, Plan, PlanProduct, PlanRate
from commission.plan_book import Rate
from commission.recount import recount
from commission.recount_terms import Recount, Terms
from commission.what_if import Move, WhatIf, WhatIfError, moved_members, what_if
from portfolios.models import Clerk, Member, Month, Posting, Store
from portfolios.months import open_months
from tests.builders import Till, bind, close, day, everything, line, make_chain, make_member, ticket

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(tmp_path: Path) -> Till:
    return Till(tmp_path)


def changed(plan: Plan, **terms: Any) -> Terms:
    return dataclasses.replace(Terms.of(plan), **terms)


def rates(plan: Plan, **bp: int) -> dict[int, int]:
    """The plan's rates, with those of these categories in their place."""
    now = {rate.category.category: rate for rate in PlanRate.objects.filter(plan=plan).select_related("category")}
    kept = {rate.category_id: rate.rate_bp for rate in now.values() if rate.rate_bp is not None}
    return kept | {now[category].category_id: rate_bp for category, rate_bp in bp.items()}


def ask(number: int = 202603, last: int = 0, **asked: Any) -> WhatIf:
    return what_if(Month.objects.get(pk=number), Month.objects.get(pk=last or number), **asked)


def clerk(clerk_no: str) -> Clerk:
    return Clerk.objects.get(clerk_no=clerk_no)


def pay(result: WhatIf) -> dict[str, tuple[int, int]]:
    """Each clerk's commission before and after."""
    return {row.clerk.clerk_no: (row.commission_before, row.commission_after) for row in result.clerks}


# --- By hand -----------------------------------------------------------------------------------------------------


def test_another_owner_share_moves_pay_between_owner_and_server(till: Till) -> None:
    plan = make_chain()
    till.load(
        ticket("T1", "03-05", line("200.00", by="C2"), member="M1"),
        ticket("T2", "03-05", line("3.33", by="C3", category="care"), member="M1"),
        ticket("T3", "03-06", line("200.00", by="C1"), member="M1"),
        ticket("T4", "03-06", line("200.00", by="C3")),
    )
    close(202603)
    result = ask(terms=changed(plan, owner_share_bp=6000))
    # 600 at 60%: 360 and 240 (420 and 180); 17 at 60%: 10 (10.2) and 7 (12 and 5). T3 and T4 are not touched.
    assert pay(result) == {"C1": (1032, 970), "C2": (180, 240), "C3": (605, 607)}
    assert [row.clerk.clerk_no for row in result.clerks] == ["C2", "C3", "C1"]
    assert (result.rows, result.house_amount) == (2, 0)


def test_house_and_walk_in_shares_are_rounded_on_the_side_that_the_rule_says(till: Till) -> None:
    plan = make_chain()
    till.load(
        ticket("T1", "03-05", line("1.67", by="C2"), member="M0"),
        ticket("T2", "03-05", line("1.67", by="C3")),
        ticket("T3", "03-05", line("200.00", by="")),
    )
    close(202603)
    result = ask(terms=changed(plan, house_share_bp=7000, walk_in_share_bp=5000))
    # 5 without an owner: the house 4 (3.5), the server 1. 5 of a walk-in: the server 3 (2.5), the house 2. Nobody
    # served T3: its 600 stay the house's.
    assert pay(result) == {"C2": (5, 1), "C3": (5, 3)}
    assert (result.rows, result.house_amount) == (3, 6)


def test_another_rate_is_rounded_anew_part_by_part_and_its_returns_mirror_it(till: Till) -> None:
    plan = make_chain()
    till.load(
        ticket("T1", "03-05", line("100.00", by="C2"), line("50.00", by="C2", category="device"), member="M1"),
        ticket("T2", "03-06", line("-50.00", by="C3", category="device", of=("T1", "03-05", 2)), member="M1"),
        ticket("T3", "03-06", line("0.33", by="C3", category="device")),
        ticket("T4", "03-06", line("0.33", by="C3", category="device"), line("0.33", by="C3", category="device")),
        ticket("T5", "03-06", line("80.00", by="C3", category="rx"), line("10.00", by="C3")),
    )
    close(202603)
    result = ask(terms=changed(plan, rates=rates(plan, device=200)))
    # 350 becomes 300 + 100: 280 and 120 (245 and 105); of the return 100 comes off: 70 and 30 (35 and 15).
    # 0.33 at 2% is 1 (0.66; it was 0.33: 0); two of them 1 (1.32; 0.66: 1). The 30 at 3% stay.
    assert pay(result) == {"C1": (210, 210), "C2": (90, 90), "C3": (31, 32)}
    # Without the return, what it gave back: 280 and 120 for T1 alone.
    assert result.rows == 4
    back = Attribution.objects.get(part__sale__ticket_no="T2")
    assert (back.owner_commission_amount, back.server_commission_amount) == (-35, -15)


def test_product_rates_in_percent_and_by_unit(till: Till) -> None:
    plan = make_chain()
    PlanProduct.objects.create(plan=plan, product_no="PCT", rate_bp=1000)
    till.load(
        ticket("T1", "03-05", line("80.00", by="C2", product="UNIT", quantity="3"), member="M1"),
        ticket("T2", "03-05", line("10.00", by="C1", product="PCT")),
        ticket("T3", "03-05", line("10.00", by="C3", product="P1"), line("10.00", by="C3", product="P2")),
        # Two of the three pieces, and then half of the third.
        ticket("T4", "03-06", line("-53.33", by="C3", product="UNIT", quantity="-2", of=("T1", "03-05", 1))),
        ticket("T5", "03-07", line("-13.33", by="C3", product="UNIT", quantity="-1", of=("T1", "03-05", 1))),
    )
    close(202603)
    now = Terms.of(plan).products
    asked = {"UNIT": Rate(unit_amount=200), "PCT": Rate(rate_bp=500), "P1": Rate(rate_bp=400)}
    result = ask(terms=changed(plan, products={**now, **asked}))
    # T1 600 and 200 is left of it by T4: 600 x 26.67 / 80 = 200.025; after T5 100.05. So 420 - 280 - 70 = 70 for 李
    # (315 - 210 - 52 = 53: 450, 150, 75, of which 70% are 315, 105, 53), and 180 - 120 - 30 = 30 for 王 (22).
    # T2: 100 becomes 50. T3: 30 + 30 becomes 40 + 30.
    assert pay(result) == {"C1": (153, 120), "C2": (22, 30), "C3": (60, 70)}
    # A product with a rate of its own is not touched by its category's.
    assert pay(ask(terms=changed(plan, rates=rates(plan, otc=600)))) == {
        "C1": (153, 153),
        "C2": (22, 22),
        "C3": (60, 120),
    }


def test_bands_are_the_home_store_s_and_count_the_credit_as_it_would_have_been(till: Till) -> None:
    plan = make_chain()
    Band.objects.create(plan=plan, lower_amount=10_000, rate_bp=200)
    for clerk_no in ("C1", "C2"):
        Posting.objects.create(
            clerk=clerk(clerk_no), store=Store.objects.get(store_no="S1"), role="clerk", valid_from=day("01-01")
        )
    till.load(ticket("T1", "03-05", line("500.00", by="C2"), member="M1"))
    close(202603)

    def accelerators(**terms: Any) -> dict[str, tuple[int, int]]:
        result = ask(terms=changed(plan, **terms))
        return {row.clerk.clerk_no: (row.accelerator_before, row.accelerator_after) for row in result.clerks}

    # Credit 35,000 and 15,000: 2% of 25,000 is 500, of 5,000 is 100.
    assert accelerators(bands=((20_000, 300),)) == {"C1": (500, 450), "C2": (100, 0)}
    # At 50% each has 25,000.
    assert accelerators(owner_share_bp=5000) == {"C1": (500, 300), "C2": (100, 300)}
    # 1050 + 500 and 450 + 100 before.
    assert [(row.before, row.after) for row in ask(terms=changed(plan, owner_share_bp=5000)).clerks] == [
        (550, 1050),
        (1550, 1050),
    ]
    # The bands of the other store's clerks are not these.
    other = ask(terms=changed(plan, bands=()), store=Store.objects.get(store_no="S2"))
    assert [row.difference for row in other.clerks] == [0, 0]


def test_moved_members_bring_their_sales_and_the_returns_of_them(till: Till) -> None:
    make_chain()
    make_member("M2", "C3")
    till.load(
        ticket("T1", "03-05", line("200.00", by="C2"), member="M1"),
        ticket("T2", "03-06", line("100.00", by="C1"), member="M1"),
        ticket("T3", "03-07", line("-50.00", by="C3", of=("T1", "03-05", 1))),
        ticket("T4", "03-08", line("100.00", by="C2"), member="M0"),
        ticket("T5", "03-08", line("100.00", by="C2"), member="M2"),
    )
    close(202603)
    # 李 has 420 + 300 - 105, 王 180 - 45 + 300 + 90, 张 210.
    before = {"C1": 615, "C2": 525, "C3": 210}
    li, wang = clerk("C1"), clerk("C2")
    # T1 is 王's own sale then, 600 less 150 of the return; of T2 王 gets 210 as the owner, 李 90.
    assert pay(ask(move=Move(to=wang, of=li))) == {"C1": (615, 90), "C2": (525, 1050), "C3": (210, 210)}
    # M0, whom nobody owned, and M2 to 李: of T4 and T5 210 each, 王 keeps 90 of each.
    cards = tuple(Member.objects.filter(member_no__in=["M0", "M2"]).values_list("pk", flat=True))
    assert pay(ask(move=Move(to=li, members=cards))) == {"C1": (615, 1035), "C2": (525, 315), "C3": (210, 0)}
    # 王's last day is the 5th: T1 is 王's own, of T2 of the 6th nobody is the owner; the return mirrors T1.
    Clerk.objects.filter(pk=wang.pk).update(left_on=day("03-05"))
    wang.refresh_from_db()
    assert pay(ask(move=Move(to=wang, of=li)))["C1"] == (615, 300)
    assert {clerk_no: amount for clerk_no, (amount, _after) in pay(ask()).items()} == before


def test_a_share_and_a_move_together(till: Till) -> None:
    plan = make_chain()
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    close(202603)
    result = ask(terms=changed(plan, owner_share_bp=5000), move=Move(to=clerk("C2"), of=clerk("C1")))
    assert pay(result) == {"C1": (420, 0), "C2": (0, 300), "C3": (180, 300)}
    # 600 stay 600: nobody's gain costs the chain anything.
    assert sum(row.difference for row in result.clerks) == 0


def test_terms_for_one_store_are_those_of_its_tickets(till: Till) -> None:
    plan = make_chain()
    till.load(
        ticket("T1", "03-05", line("200.00", by="C2"), member="M1"),
        ticket("T1", "03-05", line("200.00", by="C2"), member="M1", store="S2"),
        # Brought back to the other store.
        ticket("T2", "03-06", line("-100.00", by="C3", of=("T1", "03-05", 1)), store="S2"),
    )
    close(202603)
    first = Store.objects.get(store_no="S1")
    result = ask(terms=changed(plan, owner_share_bp=6000), store=first)
    assert pay(result) == {"C1": (630, 600), "C2": (270, 300)}
    result = ask(terms=changed(plan, rates=rates(plan, otc=400)), store=first)
    # 800 less 400, and the 600 of the other store: 560 - 280 + 420.
    assert pay(result) == {"C1": (630, 700), "C2": (270, 300)}


# --- Months ------------------------------------------------------------------------------------------------------


def test_a_row_counts_in_the_month_that_it_is_posted_to(till: Till) -> None:
    plan = make_chain()
    till.load(ticket("T1", "03-05", line("200.00", by="C2"), member="M1"))
    close(202603)
    till.load(
        ticket("T2", "03-09", line("200.00", by="C3"), member="M1"),
        ticket("T3", "04-02", line("-100.00", by="C3", of=("T1", "03-05", 1))),
        ticket("T4", "04-02", line("-100.00", by="C3", of=("T2", "03-09", 1))),
    )
    close(202604)
    terms = changed(plan, owner_share_bp=6000)
    assert pay(ask(202603, terms=terms)) == {"C1": (420, 360), "C2": (180, 240)}
    # In April the late T2 and its return; what comes back of March's T1 was paid at 70/30, and goes back so.
    assert pay(ask(202604, terms=terms)) == {"C1": (0, -30), "C2": (-90, -90), "C3": (90, 120)}
    # With March, T1's return is at 60/40 too.
    both = ask(202603, 202604, terms=terms)
    assert pay(both) == {"C1": (420, 360), "C2": (90, 120), "C3": (90, 120)}
    dearer = changed(plan, rates=rates(plan, otc=600))
    assert pay(ask(202604, terms=dearer)) == {"C1": (0, 210), "C2": (-90, -90), "C3": (90, 180)}


def test_what_a_correction_took_back_is_not_counted_twice(till: Till) -> None:
    plan = make_chain()
    till.load(
        ticket("T1", "03-05", line("200.00", by="C2"), member="M1"),
        ticket("T2", "03-06", line("-100.00", by="C2", of=("T1", "03-05", 1))),
    )
    bind("M1", "C3", since="03-01")
    correct(booking=Booking.objects.create(source="test"), since=day("03-01"))
    close(202603)
    assert pay(ask(terms=changed(plan, owner_share_bp=6000))) == {"C1": (0, 0), "C2": (90, 120), "C3": (210, 180)}
    assert pay(ask(terms=changed(plan, rates=rates(plan, otc=600)))) == {
        "C1": (0, 0),
        "C2": (90, 180),
        "C3": (210, 420),
    }
    assert pay(ask(move=Move(to=clerk("C2"), of=clerk("C3")))) == {"C1": (0, 0), "C2": (90, 300), "C3": (210, 0)}


def test_open_months_and_unknown_cards_are_refused(till: Till) -> None:
    make_chain()
    till.load(ticket("T1", "03-05", line("200.00", by="C2"), member="M1"))
    close(202603)
    open_months(202604, 202604)
    with pytest.raises(WhatIfError, match="2026-04 is not closed"):
        ask(202603, 202604)
    with pytest.raises(WhatIfError, match="end before they begin"):
        ask(202604, 202603)
    with pytest.raises(WhatIfError, match="no member with the card number M7, M8"):
        moved_members(["M1", "M7", "M8"], Member.objects.all())
    assert moved_members(["M1", "M1"], Member.objects.all()) == (Member.objects.get(member_no="M1").pk,)
    gone = clerk("C2")
    gone.left_on = day("02-01")
    with pytest.raises(WhatIfError, match="had left before these months"):
        ask(move=Move(to=gone, of=clerk("C1")))


# --- Against the ledger ------------------------------------------------------------------------------------------


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some forty tickets of two months for each statement, so that returns lie in other ones than their originals."""
    monkeypatch.setattr("commission.recount.STRETCH", 40)


OTHER_SHARES = {"owner_share_bp": 5500, "house_share_bp": 3300, "walk_in_share_bp": 8100}
OTHER_RATES = {"otc": 350, "device": 155, "care": 475}
OTHER_PRODUCTS = {"UNIT": Rate(unit_amount=133), "P2": Rate(rate_bp=777)}


def two_months(till: Till, seed: int, *, instead: str = "C1") -> None:
    """February and March closed, with sales of every kind, exchanges and returns across both, and a member rebound.

    `instead` owns whoever else 李 (C1) would.
    """
    draw = random.Random(seed)
    bind("M1", instead, since="2025-01-01")
    for number in range(2, 7):
        owner = f"C{number % 3 + 1}" if number < 6 else ""
        make_member(f"M{number}", instead if owner == "C1" else owner)
    sold: list[tuple[str, str, int, int, str]] = []
    for month in ("02", "03"):
        tickets = []
        for number in range(60):
            on = f"{month}-{1 + number * 27 // 60:02}"
            cells = []
            for _line in range(draw.randint(1, 3)):
                product = draw.choice(["P1", "P2", "UNIT"])
                category = draw.choice(["otc", "device", "care", "rx"])
                by = draw.choice(["C1", "C2", "C3", ""])
                if sold and draw.random() < 0.3:
                    place = draw.randrange(len(sold))
                    ticket_no, sold_on, line_no, left, product = sold[place]
                    back = draw.randint(1, left)
                    sold[place] = (ticket_no, sold_on, line_no, left - back, product)
                    if left == back:
                        del sold[place]
                    of = (ticket_no, sold_on, line_no)
                    cells.append(
                        line(f"-{back // 100}.{back % 100:02}", by=by, product=product, category=category, of=of)
                    )
                else:
                    net = draw.randint(1, 9_999)
                    quantity = str(draw.randint(1, 3))
                    amount = f"{net // 100}.{net % 100:02}"
                    cells.append(line(amount, by=by, product=product, category=category, quantity=quantity))
            member = draw.choice(["", "M0", "M1", "M2", "M3", "M4", "M5", "M6"])
            tickets.append((f"T{month}{number}", on, cells, member))
            for line_no, cell in enumerate(cells, 1):
                net = round(float(cell["net_amount"]) * 100)
                if net > 0:
                    sold.append((f"T{month}{number}", on, line_no, net, cell["product_no"]))
        till.load(*(ticket(no, on, *cells, member=member) for no, on, cells, member in tickets))
        if month == "02":
            bind("M1", "C2", since="02-10")
            bind("M6", "C3", since="02-20")
            correct(booking=Booking.objects.create(source="test"), since=day("02-10"))
        close(int(f"2026{month}"))


def ledger() -> dict[str, tuple[int, int]]:
    totals: dict[str, list[int]] = {clerk_no: [0, 0] for clerk_no in ("C1", "C2", "C3")}
    for row in Attribution.objects.select_related("owner", "server"):
        for party, who in (("owner", row.owner), ("server", row.server)):
            if who:
                totals[who.clerk_no][0] += getattr(row, f"{party}_credit_amount")
                totals[who.clerk_no][1] += getattr(row, f"{party}_commission_amount")
    return {clerk_no: (credit, commission) for clerk_no, (credit, commission) in totals.items()}


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_what_the_plan_would_have_booked(till: Till, seed: int) -> None:
    with transaction.atomic():
        plan = make_chain(**OTHER_SHARES)
        for category, rate_bp in OTHER_RATES.items():
            PlanRate.objects.filter(plan=plan, category__category=category).update(rate_bp=rate_bp)
        PlanProduct.objects.filter(plan=plan, product_no="UNIT").update(unit_amount=133)
        PlanProduct.objects.create(plan=plan, product_no="P2", rate_bp=777)
        two_months(till, seed)
        expected = ledger()
        transaction.set_rollback(True)
    plan = make_chain()
    two_months(till, seed)
    terms = changed(
        plan, **OTHER_SHARES, rates=rates(plan, **OTHER_RATES), products={**Terms.of(plan).products, **OTHER_PRODUCTS}
    )
    before = everything()
    asked = Recount.of(terms, None, None)
    moved = recount(Month.objects.get(pk=202602), Month.objects.get(pk=202603), asked)
    after = {name: list(amounts) for name, amounts in ledger().items()}
    for (_month, pk), (credit, commission) in moved.clerks.items():
        after[Clerk.objects.get(pk=pk).clerk_no][0] += credit
        after[Clerk.objects.get(pk=pk).clerk_no][1] += commission
    assert {name: tuple(amounts) for name, amounts in after.items()} == expected
    result = ask(202602, 202603, terms=terms)
    assert {name: after for name, (_before, after) in pay(result).items()} == {
        name: commission for name, (_credit, commission) in expected.items()
    }
    # Nothing is written.
    assert everything() == before


@pytest.mark.parametrize("seed", [6, 7])
def test_moved_members_bring_what_the_other_would_have_been_booked(till: Till, seed: int) -> None:
    with transaction.atomic():
        make_chain(house_share_bp=2000)
        two_months(till, seed, instead="C3")
        expected = ledger()
        transaction.set_rollback(True)
    make_chain(house_share_bp=2000)
    two_months(till, seed)
    result = ask(202602, 202603, move=Move(to=clerk("C3"), of=clerk("C1")))
    assert {name: after for name, (_before, after) in pay(result).items()} == {
        name: commission for name, (_credit, commission) in expected.items()
    }


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("seed", [4, 5])
def test_with_nothing_changed_it_is_the_ledger_to_the_fen(till: Till, seed: int) -> None:
    plan = make_chain(owner_share_bp=6667, house_share_bp=1500, walk_in_share_bp=9000)
    two_months(till, seed)
    now = Terms.of(plan)
    # Every row is shared out anew, from its lines, with every share and rate as it is.
    asked = Recount(now, frozenset(str(kind) for kind in Attribution.Kind), now.rates, now.products)
    moved = recount(Month.objects.get(pk=202602), Month.objects.get(pk=202603), asked)
    assert moved.rows == Attribution.objects.count()
    assert moved.house_amount == 0
    assert {amount for amounts in moved.clerks.values() for amount in amounts} == {0}
    assert len(moved.clerks) == 6
    result = ask(202602, 202603, terms=now)
    assert {name: after for name, (_before, after) in pay(result).items()} == {
        name: commission for name, (_credit, commission) in ledger().items()
    }
    # Members moved to whom they belong anyway.
    li = clerk("C1")
    assert {row.difference for row in ask(202602, 202603, move=Move(to=li, of=li)).clerks} == {0}
