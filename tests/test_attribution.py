"""Who is credited for a sale: the worked figures, and the statement against a plain reference over many cases."""

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from commission.attribution import attribute
from commission.corrections import correct
from commission.models import Attribution, Booking, Plan
from commission.money import format_amount
from portfolios.models import OPEN_END, Store
from tests.builders import (
    AMOUNTS,
    Row,
    Till,
    bind,
    booked,
    close,
    day,
    line,
    make_category,
    make_chain,
    make_clerk,
    make_member,
    make_plan,
    make_store,
    shares,
    ticket,
)

pytestmark = pytest.mark.django_db


# --- The worked figures -------------------------------------------------------------------------------------------
# 李 is C1 and owns M1, 王 is C2, 张 is C3, M0 belongs to nobody. otc pays 3%, device 1%, care 5%, rx nothing.


@dataclass
class Worked:
    """A sale on 2026-03-05 and what owner, server and house have of its commission, in fen."""

    case: str
    lines: list[Row]
    kind: str
    parts: tuple[int, int, int]
    member: str = "M1"
    plan: dict[str, int] = field(default_factory=dict)


WORKED = [
    Worked("split", [line("200.00", by="C3")], "SPLIT", (420, 180, 0)),
    Worked("split, odd", [line("3.33", by="C3", category="care")], "SPLIT", (12, 5, 0)),
    Worked("split, 1 fen", [line("0.33", by="C3")], "SPLIT", (1, 0, 0)),
    Worked("owner served", [line("200.00")], "OWN_SERVED", (600, 0, 0)),
    Worked(
        "two lines at 3% and 1%, split",
        [line("100.00", by="C3"), line("50.00", by="C3", category="device")],
        "SPLIT",
        (245, 105, 0),
    ),
    Worked("excluded line only", [line("80.00", by="C3", category="rx")], "SPLIT", (0, 0, 0)),
    Worked("unowned, house share 70%", [line("1.67", by="C3")], "UNOWNED", (0, 1, 4), "M0", {"house_share_bp": 7_000}),
    Worked("unowned, house share 0", [line("200.00", by="C3")], "UNOWNED", (0, 600, 0), "M0"),
    Worked("walk-in share 100%", [line("200.00", by="C3")], "WALK_IN", (0, 600, 0), ""),
    Worked("walk-in share 50%", [line("1.67", by="C3")], "WALK_IN", (0, 3, 2), "", {"walk_in_share_bp": 5_000}),
    # What else the rules say of who is credited.
    Worked("owner's part of an online order", [line("200.00", by="")], "SPLIT", (420, 0, 180)),
    Worked("unowned online order", [line("200.00", by="")], "UNOWNED", (0, 0, 600), "M0"),
    Worked("online order without a member", [line("200.00", by="")], "WALK_IN", (0, 0, 600), ""),
    Worked("excluded and counted lines", [line("80.00", category="rx"), line("100.00")], "OWN_SERVED", (300, 0, 0)),
    Worked("three pieces at 1.50", [line("80.00", by="C3", product="UNIT", quantity="3")], "SPLIT", (315, 135, 0)),
    Worked("half a piece at 1.50", [line("80.00", product="UNIT", quantity="0.5")], "OWN_SERVED", (75, 0, 0)),
    Worked("a piece of an excluded category", [line("80.00", product="UNIT", category="rx")], "OWN_SERVED", (0, 0, 0)),
    Worked("given away", [line("0.00", by="C3", product="UNIT")], "SPLIT", (0, 0, 0)),
]


@pytest.mark.parametrize("worked", WORKED, ids=lambda worked: worked.case)
def test_worked_figures(worked: Worked, tmp_path: Path) -> None:
    make_chain(**worked.plan)
    Till(tmp_path).load(ticket("T1", "03-05", *worked.lines, member=worked.member))
    (row,) = booked()
    assert (row["kind"], shares("T1")) == (worked.kind, [worked.parts])
    assert row["commission_amount"] == sum(worked.parts)
    assert row["commissionable_amount"] + row["excluded_amount"] == sum(
        round(Decimal(cells["net_amount"]) * 100) for cells in worked.lines
    )


@pytest.fixture
def till(tmp_path: Path) -> Till:
    make_chain()
    return Till(tmp_path)


def test_worked_figure_return_of_one_line_after_the_member_was_rebound(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00", by="C3"), line("50.00", by="C3", category="device"), member="M1"))
    bind("M1", "C2", since="04-01")
    till.load(ticket("R1", "04-05", line("-50.00", by="C3", of=("T1", "03-05", 2)), member="M1"))
    assert shares("T1") == [(245, 105, 0)]
    assert shares("R1") == [(-35, -15, 0)]
    assert [row["owner_no"] for row in booked(ticket="R1")] == ["C1"]


def test_worked_figure_return_in_two_parts(till: Till) -> None:
    """1.00 at 5% are 5 (owner 4, server 1); 0.60 is left after part one: 3 (owner 2, server 1)."""
    till.load(ticket("T1", "03-05", line("1.00", by="C3", category="care"), member="M1"))
    till.load(ticket("R1", "03-06", line("-0.40", by="C3", of=("T1", "03-05", 1)), member="M1"))
    till.load(ticket("R2", "03-07", line("-0.60", by="C3", of=("T1", "03-05", 1)), member="M1"))
    assert shares("T1") == [(4, 1, 0)]
    assert shares("R1") == [(-2, 0, 0)]
    assert shares("R2") == [(-2, -1, 0)]
    assert [row["commission_amount"] for row in booked()] == [5, -2, -3]


def test_worked_figure_exchange(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("100.00", by="C3"), member="M1"))
    bind("M1", "C2", since="04-01")
    till.load(
        ticket("X1", "04-05", line("-100.00", by="C3", of=("T1", "03-05", 1)), line("120.00", by="C3"), member="M1")
    )
    back, sale = booked(ticket="X1")
    assert (back["sequence"], back["reason"], back["owner_no"], back["server_no"]) == (1, "RETURN", "C1", "C3")
    assert (sale["sequence"], sale["reason"], sale["owner_no"], sale["server_no"]) == (2, "SALE", "C2", "C3")
    assert (back["commission_amount"], sale["commission_amount"]) == (-300, 360)
    assert shares("X1") == [(-210, -90, 0), (252, 108, 0)]


def test_worked_figure_correction(till: Till) -> None:
    """A split of 600 (李 420, 张 180) whose member is bound back to 王."""
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1"))
    bind("M1", "C2", since="03-01")
    assert correct(since=day("03-01"), booking=Booking.objects.create(source="test")) == 1
    _first, reversal, new = booked()
    assert (reversal["owner_no"], reversal["commission_amount"]) == ("C1", -600)
    assert (new["owner_no"], new["commission_amount"]) == ("C2", 600)
    assert shares("T1") == [(420, 180, 0), (-420, -180, 0), (420, 180, 0)]


# --- Owners, servers, plans ---------------------------------------------------------------------------------------


def test_two_sellers_on_a_ticket_are_two_parts(till: Till) -> None:
    till.load(
        ticket("T1", "03-05", line("1.00"), line("2.00", by="C3"), line("4.00"), line("8.00", by=""), member="M1")
    )
    rows = [(row["part__number"], row["kind"], row["server_no"], row["commissionable_amount"]) for row in booked()]
    assert rows == [(1, "OWN_SERVED", "C1", 500), (2, "SPLIT", "C3", 200), (4, "SPLIT", None, 800)]


def test_an_owner_is_whoever_holds_the_binding_on_the_business_date(till: Till) -> None:
    make_member("M2", "C1", since="03-05")
    bind("M2", "C2", since="03-10", until="03-20")
    bind("M2", "C3", since="03-01", until="12-31", voided=True)
    days = ["03-04", "03-05", "03-09", "03-10", "03-19", "03-20"]
    till.load(*(ticket(f"T{on}", on, line("10.00", by="C3"), member="M2") for on in days))
    assert [row["owner_no"] for row in booked()] == [None, "C1", "C1", "C2", "C2", None]


def test_an_owner_who_has_left_owns_nothing_after_the_last_day(till: Till) -> None:
    make_clerk("C9", left_on="03-05")
    make_member("M9", "C9")
    till.load(
        *(ticket(f"T{on}", on, line("10.00", by=by), member="M9") for on, by in [("03-05", "C9"), ("03-06", "C3")])
    )
    assert [(row["owner_no"], row["kind"]) for row in booked()] == [("C9", "OWN_SERVED"), (None, "UNOWNED")]


def test_a_members_owner_is_credited_in_another_store_too(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("200.00", by="C3"), member="M1", store="S2"))
    assert shares("T1") == [(420, 180, 0)]


def test_a_stores_plan_wins_and_each_has_its_dates(till: Till) -> None:
    Plan.objects.update(valid_to=day("04-01"))
    make_plan("2026-B", rates={"otc": 400}, since="04-01", owner_share_bp=6_000)
    make_plan("S2-A", rates={"otc": 1_000}, store=Store.objects.get(store_no="S2"), since="03-10", until="03-20")
    for number, (store, on) in enumerate(
        [("S1", "03-31"), ("S1", "04-01"), ("S2", "03-09"), ("S2", "03-10"), ("S2", "03-19"), ("S2", "03-20")]
    ):
        till.load(ticket(f"T{number}", on, line("100.00", by="C3"), member="M1", store=store))
    rows = sorted((row["ticket"], row["plan_no"], row["commission_amount"], row["share_bp"]) for row in booked())
    assert rows == [
        ("T0", "2026-A", 300, 7_000),
        ("T1", "2026-B", 400, 6_000),
        ("T2", "2026-A", 300, 7_000),
        ("T3", "S2-A", 1_000, 7_000),
        ("T4", "S2-A", 1_000, 7_000),
        ("T5", "2026-A", 300, 7_000),
    ]


def test_a_products_rate_wins_over_its_categorys(tmp_path: Path) -> None:
    make_chain()
    Plan.objects.update(valid_to=day("03-01"))
    make_plan("2026-B", rates={"otc": 300, "rx": 200}, products={"P9": 1_000, "P0": 0}, since="03-01")
    lines = [line("100.00", product=product) for product in ("P1", "P9", "P0")]
    Till(tmp_path).load(
        *(ticket(f"T{number}", "03-05", cells, member="M1") for number, cells in enumerate(lines)),
        # Excluded by default, and yet this plan has a rate for it.
        ticket("T3", "03-05", line("100.00", category="rx"), member="M1"),
    )
    assert [row["commission_amount"] for row in booked()] == [300, 1_000, 0, 200]


def test_nothing_is_attributed_twice(till: Till) -> None:
    till.load(ticket("T1", "03-05", line("1.00"), member="M1"))
    assert attribute(booking=Booking.objects.create(source="again")) == 0
    assert Attribution.objects.count() == 1


# --- Against a plain reference ------------------------------------------------------------------------------------


def half_up(number: Decimal) -> int:
    return int(number.quantize(Decimal(1), ROUND_HALF_UP))


def reference(total: int, kind: str, share_bp: int, served: bool) -> tuple[int, int, int]:
    """Owner's, server's and house's part of a total: one share is rounded, the other party gets the rest."""
    share = half_up(Decimal(total) * share_bp / 10_000)
    owner, server, house = {
        "OWN_SERVED": (total, 0, 0),
        "SPLIT": (share, total - share, 0),
        "UNOWNED": (0, total - share, share),
        "WALK_IN": (0, share, total - share),
    }[kind]
    return (owner, server, house) if served else (owner, 0, server + house)


@dataclass
class Standing:
    """What the reference knows of a booked part: how it was attributed, and what is left of it."""

    kind: str
    owner: str | None
    server: str | None
    plan: str
    share_bp: int
    month: int
    credit: int
    commission_e4: int


class BigChain:
    """A random chain with everything that makes an attribution differ, as plain Python and in the database."""

    STORES = ("S1", "S2", "S3", "S4")
    CATEGORIES = ("otc", "device", "care", "rx")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.first_day = dt.date(2026, 1, 1)
        for number in self.STORES:
            make_store(number)
        self.left_on: dict[str, dt.date | None] = {}
        for place in range(14):
            leaves = self.random.random() < 0.4
            on = self.day() if leaves else None
            self.left_on[f"C{place}"] = on
            make_clerk(f"C{place}", left_on=on.isoformat() if on else "")
        for category in self.CATEGORIES:
            make_category(category, excluded=category == "rx")
        self.plans: list[tuple[str | None, dt.date, dt.date, Plan]] = []
        self.rates: dict[str, dict[str, int | None]] = {}
        for at, (store, since, until) in enumerate(
            [(None, "2026-01-01", "2026-02-10"), (None, "2026-02-10", ""), ("S1", "2026-01-01", "2026-03-01"),
             ("S2", "2026-02-01", ""), ("S3", "2026-01-15", "2026-01-31")]
        ):  # fmt: skip
            rates = {category: self.random.choice([100, 333, 500, 1_250]) for category in ("otc", "device", "care")}
            self.rates[f"P{at}"] = {**rates, "rx": 200 if at == 3 else None}
            plan = make_plan(
                f"P{at}",
                rates={category: rate for category, rate in self.rates[f"P{at}"].items() if rate is not None},
                units={"UNIT": self.random.choice([1, 37, 150])},
                products={"SPECIAL": 777},
                store=Store.objects.get(store_no=store) if store else None,
                since=since,
                until=until,
                owner_share_bp=self.random.choice([0, 5_000, 6_667, 7_000, 10_000]),
                house_share_bp=self.random.choice([0, 1, 3_333, 7_000, 10_000]),
                walk_in_share_bp=self.random.choice([0, 1, 5_000, 9_999, 10_000]),
            )
            self.plans.append((store, plan.valid_from, plan.valid_to, plan))
        self.units: dict[str, Any] = dict(
            Plan.objects.filter(products__product_no="UNIT").values_list("plan_no", "products__unit_amount")
        )
        self.bindings: dict[str, list[tuple[str, dt.date, dt.date]]] = defaultdict(list)
        for member in range(120):
            self.member(f"M{member}")

    def day(self) -> dt.date:
        return self.first_day + dt.timedelta(days=self.random.randrange(100))

    def member(self, number: str) -> None:
        """A member with up to three owners one after the other, with gaps, and one binding that was voided."""
        make_member(number)
        days = sorted({self.day() for _n in range(self.random.randrange(6))})
        for start, end in zip(days[::2], [*days[1::2], OPEN_END], strict=False):
            clerk = self.random.choice(list(self.left_on))
            self.bindings[number].append((clerk, start, end))
            bind(number, clerk, since=start.isoformat(), until=end.isoformat())
        bind(number, "C0", since="2026-01-20", until="2026-03-20", voided=True)

    def owner(self, member: str, on: dt.date) -> str | None:
        for clerk, start, end in self.bindings[member]:
            left = self.left_on[clerk]
            if start <= on < end and (left is None or on <= left):
                return clerk
        return None

    def plan(self, store: str, on: dt.date) -> Plan:
        fitting = [
            (scope, plan) for scope, start, end, plan in self.plans if scope in (store, None) and start <= on < end
        ]
        return max(fitting, key=lambda found: found[0] is not None)[1]

    def tickets(self, number: int) -> Iterator[list[Row]]:
        for place in range(number):
            on = self.day()
            store = self.random.choice(self.STORES)
            member = self.random.choice(["", *[f"M{self.random.randrange(120)}" for _n in range(4)]])
            lines = [
                line(
                    format_amount(self.random.choice([0, 1, 17, 33, 333, self.random.randrange(100_000)])),
                    by=self.random.choice(["", *[f"C{self.random.randrange(14)}" for _n in range(5)]]),
                    category=self.random.choice(self.CATEGORIES),
                    product=self.random.choice(["A", "A", "UNIT", "SPECIAL"]),
                    quantity=self.random.choice(["1", "2", "0.5", "3.333"]),
                )
                for _line in range(self.random.choice([1, 2, 3, 4]))
            ]
            at = f"{self.random.randrange(8, 20):02d}:{self.random.randrange(60):02d}:00"
            yield ticket(f"T{place}", on.isoformat(), *lines, member=member, store=store, at=at)

    def returns(self, tickets: list[list[Row]]) -> Iterator[list[Row]]:
        """Parts of many sales come back in up to four steps, at any store, sometimes in an exchange."""
        for place, rows in enumerate(tickets):
            lines = [row for row in rows if row["net_amount"] != "0.00" and self.random.random() < 0.5]
            left = {row["line_no"]: round(Decimal(row["net_amount"]) * 100) for row in lines}
            on = dt.date.fromisoformat(rows[0]["business_date"])
            steps = self.random.randrange(1, 5)
            for step in range(1, steps + 1):
                on += dt.timedelta(days=self.random.randrange(25))
                backs = []
                for row in lines:
                    there = left[row["line_no"]]
                    net = there if step == steps and self.random.random() < 0.7 else self.random.randrange(there + 1)
                    if net:
                        left[row["line_no"]] -= net
                        of = (rows[0]["ticket_no"], rows[0]["business_date"], int(row["line_no"]), rows[0]["store_no"])
                        backs.append(line(f"-{format_amount(net)}", by=row["clerk_no"], product="UNIT", of=of))
                if backs:
                    if self.random.random() < 0.2:
                        backs.append(line("12.34", by="C1"))
                    store = self.random.choice(self.STORES)
                    yield ticket(f"R{place}-{step}", on.isoformat(), *backs, member=rows[0]["member_no"], store=store)


class Reference:
    """Attributes the rows of ticket files one by one, in plain Python."""

    def __init__(self, chain: BigChain) -> None:
        self.chain = chain
        self.first_open = 0
        self.known: dict[tuple[str, str, str, int], Standing] = {}
        self.of_line: dict[tuple[str, str, str, str], tuple[Standing, dict[str, int]]] = {}
        self.rows: dict[tuple[str, str, str, int], tuple[object, ...]] = {}

    def month(self, on: str) -> int:
        return max(int(on[:4]) * 100 + int(on[5:7]), self.first_open)

    def load(self, tickets: list[list[Row]]) -> None:
        def order(rows: list[Row]) -> tuple[str, ...]:
            return tuple(rows[0][name] for name in ("business_date", "sold_at", "store_no", "ticket_no"))

        for rows in sorted(tickets, key=order):
            self.sales([row for row in rows if not row.get("original_ticket_no")])
        for rows in sorted(tickets, key=order):
            self.returns([row for row in rows if row.get("original_ticket_no")])

    def sales(self, rows: list[Row]) -> None:
        for server in dict.fromkeys(row["clerk_no"] for row in rows):
            part = [row for row in rows if row["clerk_no"] == server]
            on = dt.date.fromisoformat(part[0]["business_date"])
            plan = self.chain.plan(part[0]["store_no"], on)
            member = part[0]["member_no"]
            owner = self.chain.owner(member, on) if member else None
            kind = "WALK_IN" if not member else "UNOWNED" if not owner else "OWN_SERVED" if owner == server else "SPLIT"
            share_bp = {
                "OWN_SERVED": 10_000, "SPLIT": plan.owner_share_bp, "UNOWNED": plan.house_share_bp,
                "WALK_IN": plan.walk_in_share_bp,
            }[kind]  # fmt: skip
            posted = self.month(part[0]["business_date"])
            it = Standing(kind, owner, server or None, plan.plan_no, share_bp, posted, 0, 0)
            excluded_amount = 0
            for row in part:
                net = round(Decimal(row["net_amount"]) * 100)
                rate = self.chain.rates[plan.plan_no][row["category"]]
                if rate is None:
                    excluded_amount += net
                    e4 = 0
                elif net == 0:
                    e4 = 0
                elif row["product_no"] == "UNIT":
                    e4 = int(Decimal(row["quantity"]) * self.chain.units[plan.plan_no] * 10_000)
                else:
                    e4 = net * (777 if row["product_no"] == "SPECIAL" else rate)
                it.credit += 0 if rate is None else net
                it.commission_e4 += e4
                key = (row["store_no"], row["business_date"], row["ticket_no"], row["line_no"])
                facts = {
                    "net": net,
                    "left": net,
                    "e4": e4,
                    "excluded": rate is None,
                    "unit": row["product_no"] == "UNIT",
                }
                self.of_line[key] = (it, facts)
            late = posted > int(part[0]["business_date"][:4]) * 100 + int(part[0]["business_date"][5:7])
            self.book(part[0], it, (0, 0), excluded_amount, "LATE" if late else "SALE", "LATE" if late else "KIND")

    def returns(self, rows: list[Row]) -> None:
        parts: dict[int, list[tuple[Row, Standing, dict[str, int]]]] = {}
        for row in rows:
            of_store, of_day = row["original_store_no"], row["original_business_date"]
            it, original = self.of_line[of_store, of_day, row["original_ticket_no"], row["original_line_no"]]
            parts.setdefault(id(it), []).append((row, it, original))
        for part in parts.values():
            row, it, _original = part[0]
            before = (it.credit, it.commission_e4)
            excluded_amount = 0
            for cells, _it, original in part:
                net = round(Decimal(cells["net_amount"]) * 100)
                left = original["left"] + net
                if original["excluded"]:
                    excluded_amount += net
                else:
                    it.credit += net
                    if original["unit"]:
                        then, now = (
                            half_up(Decimal(original["e4"]) * amount / original["net"])
                            for amount in (original["left"], left)
                        )
                        it.commission_e4 += now - then
                    else:
                        it.commission_e4 += original["e4"] // original["net"] * net
                original["left"] = left
            claw = it.month < self.month(row["business_date"])
            self.book(row, it, before, excluded_amount, "RETURN", "CLAWBACK" if claw else "KIND")

    def book(
        self, row: Row, it: Standing, before: tuple[int, int], excluded_amount: int, reason: str, pay_line: str
    ) -> None:
        def parts(credit: int, e4: int) -> list[int]:
            commission = half_up(Decimal(e4) / 10_000)
            credits = reference(credit, it.kind, it.share_bp, it.server is not None)
            commissions = reference(commission, it.kind, it.share_bp, it.server is not None)
            return [credit, *credits, commission, *commissions]

        amounts = [now - then for now, then in zip(parts(it.credit, it.commission_e4), parts(*before), strict=True)]
        amounts.insert(1, excluded_amount)
        key = (row["store_no"], row["business_date"], row["ticket_no"], int(row["line_no"]))
        assert key not in self.rows
        posted = self.month(row["business_date"])
        self.rows[key] = (it.kind, it.owner, it.server, it.plan, it.share_bp, posted, reason, pay_line, *amounts)


COMPARED = ["kind", "owner_no", "server_no", "plan_no", "share_bp", "posted", "reason", "pay_line", *AMOUNTS]


def test_the_statement_agrees_with_a_plain_reference(tmp_path: Path) -> None:
    """More than 10,000 parts: sales on time and late, returns in several steps, on time and late."""
    chain, till = BigChain(seed=70_30), Till(tmp_path)
    plain = Reference(chain)
    tickets = list(chain.tickets(4_200))
    backs = list(chain.returns(tickets))
    chain.random.shuffle(tickets)
    january = [rows for rows in tickets if rows[0]["business_date"] < "2026-02"]
    files = [tickets[:3_600], [], tickets[3_600:]]
    there = {(rows[0]["store_no"], rows[0]["business_date"], rows[0]["ticket_no"]) for rows in files[0]}
    assert january
    for rows in sorted(backs, key=lambda rows: rows[0]["business_date"]):
        originals = {
            (row["original_store_no"], row["original_business_date"], row["original_ticket_no"])
            for row in rows
            if row.get("original_ticket_no")
        }
        files[2 if not originals <= there else chain.random.randrange(3)].append(rows)
    for place, content in enumerate(files):
        chain.random.shuffle(content)
        report = till.load(*content)
        assert report.waiting == 0
        plain.load(content)
        if place == 1:
            close(202601)
            plain.first_open = 202602

    found = {
        (row["store_no"], row["date"].isoformat(), row["ticket"], row["part__number"]): tuple(
            row[column] for column in COMPARED
        )
        for row in booked()
    }
    assert len(found) >= 10_000
    different = [(key, found.get(key), row) for key, row in plain.rows.items() if found.get(key) != row]
    assert different[:3] == []
    assert found.keys() == plain.rows.keys()
