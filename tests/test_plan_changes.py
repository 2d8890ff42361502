"""Plans that are issued, superseded, ended and taken back; the figures are worked out by hand."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from commission import ticket_import, ticket_staging
from commission.models import Attribution, Plan, PlanChange, Sale, SaleLine, SalePart
from commission.plan_changes import (
    PlanChanged,
    PlanRefused,
    apply_change,
    check_editable,
    discard,
    end_plan,
    preview,
    withdraw,
)
from commission.settlement import settle_return
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from portfolios.import_problems import ImportRefused
from portfolios.models import Clerk, Month, Posting, Store
from portfolios.months import MonthError
from tests.builders import (
    AMOUNTS,
    Till,
    booked,
    close,
    day,
    everything,
    facts,
    line,
    make_chain,
    make_plan,
    shares,
    ticket,
)
from tests.test_attribution import BigChain

pytestmark = pytest.mark.django_db


@pytest.fixture
def till(tmp_path: Path) -> Till:
    return Till(tmp_path)


def draft(plan_no: str = "2026-B", *, since: str = "02-01", **terms: Any) -> Plan:
    rates = terms.pop("rates", {"otc": 400, "device": 100, "care": 500})
    plan = make_plan("draft", rates=rates, since="1999-01-01", until="1999-01-02", **terms)
    Plan.objects.filter(pk=plan.pk).update(
        plan_no=plan_no, state=Plan.State.DRAFT, valid_from=day(since), valid_to=day("9999-12-31")
    )
    plan.refresh_from_db()
    return plan


def issue(plan: Plan, note: str = "agreed late") -> PlanChange:
    return apply_change(preview(plan, by=None, note=note), by=None)


def february(till: Till) -> None:
    """Tickets of every kind in an open February; January is closed."""
    till.load(ticket("T0", "01-10", line("100.00", by="C3"), member="M1"))
    close(202601)
    till.load(
        ticket("T1", "02-03", line("200.00", by="C3"), member="M1"),
        ticket("T2", "02-04", line("100.00", by="C1"), member="M1"),
        ticket("T3", "02-05", line("200.00", by="C2"), member="M0"),
        ticket("T4", "02-05", line("1.67", by="C2")),
        ticket("T5", "02-06", line("80.00", by="C3", product="UNIT", quantity="3"), member="M1"),
        ticket("T6", "02-07", line("80.00", by="C3", category="rx"), member="M1"),
        ticket("T7", "02-07", line("90.00", by="C3"), member="M1", store="S2"),
    )
    till.load(
        ticket("R1", "02-08", line("-50.00", by="C2", of=("T1", "02-03", 1))),
        ticket("R5", "02-08", line("-30.00", by="C2", of=("T5", "02-06", 1))),
        ticket("R0", "02-09", line("-50.00", by="C2", of=("T0", "01-10", 1))),
        ticket("W1", "02-10", line("-50.00", by="C2")),
        ticket("L1", "01-20", line("100.00", by="C3"), member="M1"),
    )
    settle_return(store_no="S1", business_date=day("02-10"), ticket_no="W1", reason="no receipt")


def new_terms() -> dict[str, Any]:
    return {
        "rates": {"otc": 400, "device": 100, "care": 500, "rx": 200},
        "units": {"UNIT": 200},
        "owner_share_bp": 6_000,
        "house_share_bp": 2_000,
        "walk_in_share_bp": 5_000,
    }


def standing_sums() -> dict[tuple[Any, ...], list[int]]:
    """What each ticket's parts have brought everyone by now, by what they were posted to."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(AMOUNTS))
    for row in booked():
        key = tuple(row[name] for name in ("store_no", "date", "ticket", "part__number", "posted"))
        key += (row["owner_no"], row["server_no"], row["kind"], row["pay_line"])
        for place, name in enumerate(AMOUNTS):
            sums[key][place] += row[name]
    return {key: amounts for key, amounts in sums.items() if any(amounts)}


OLD = {
    "T1": (420, 180, 0), "T2": (300, 0, 0), "T3": (0, 600, 0), "T4": (0, 5, 0), "T5": (315, 135, 0), "T6": (0, 0, 0),
    # 90.00 at 3%: 270.
    "T7": (189, 81, 0),
    # Of 450, 281 are left (281.25): 197 (196.7) and 84 of 315 and 135.
    "R1": (-105, -45, 0), "R5": (-118, -51, 0), "W1": (0, 0, -150),
}  # fmt: skip
NEW = {
    "T1": (480, 320, 0), "T2": (400, 0, 0), "T3": (0, 640, 160),
    # 6.68 is 7, of which the server has half (3.5).
    "T4": (0, 4, 3), "T5": (360, 240, 0), "T6": (96, 64, 0), "T7": (216, 144, 0),
    # Of 600, 375 are left: 225 and 150 of 360 and 240.
    "R1": (-120, -80, 0), "R5": (-135, -90, 0), "W1": (0, 0, -200),
}  # fmt: skip
# Of a closed month: the ticket itself, a return of it in February, and a ticket that came late.
UNTOUCHED = {"T0": (210, 90, 0), "R0": (-105, -45, 0), "L1": (210, 90, 0)}


def test_a_superseded_month_is_booked_anew_and_a_closed_one_stays(till: Till) -> None:
    make_chain()
    february(till)
    assert {number: shares(number)[0] for number in OLD} == OLD
    january = list(Attribution.objects.filter(month=202601).values())
    change = issue(draft(**new_terms()))

    negative = {number: tuple(-amount for amount in row) for number, row in OLD.items()}
    assert {number: shares(number) for number in OLD} == {
        number: [OLD[number], negative[number], NEW[number]] for number in OLD
    }
    assert {number: shares(number) for number in UNTOUCHED} == {number: [row] for number, row in UNTOUCHED.items()}
    assert list(Attribution.objects.filter(month=202601).values()) == january
    corrections = booked(reason="CORRECTION")
    assert {(row["posted"], row["plan_no"], row["reverses"]) for row in corrections} == {
        (202602, "2026-A", True),
        (202602, "2026-B", False),
    }
    assert len(corrections) == 2 * len(OLD)
    # The pay line of the month goes on; a late ticket and a clawback keep theirs.
    assert {row["pay_line"] for row in corrections} == {"KIND"}
    assert (Plan.objects.get(plan_no="2026-A").valid_to, Plan.objects.get(plan_no="2026-B").state) == (
        day("02-01"),
        "issued",
    )
    assert change.document["tickets"] == len(OLD)
    assert change.document["months"] == ["2026-02"]


def test_the_preview_shows_what_the_change_moves_and_writes_nothing(till: Till) -> None:
    make_chain()
    february(till)
    plan, before = draft(**new_terms()), everything()
    change = preview(plan, by=None, note="agreed late")
    after = everything()
    assert [row[0] for row in after.pop("commission.PlanChange")] == [change.pk]
    before.pop("commission.PlanChange")
    assert after == before
    # 李, in February with the clawback of January's return: 420 + 300 + 315 + 189 - 105 - 118 - 105 + 210 (late).
    assert change.document["clerks"] == [
        # 480 + 400 + 360 + 96 + 216 - 120 - 135 - 105 + 210.
        row("C1", 1_106, 1_402),
        # 600 + 5 for 王, then 640 + 4.
        row("C2", 605, 644),
        # 张: 180 + 135 + 81 - 45 - 51 - 45 + 90, then 320 + 240 + 64 + 144 - 80 - 90 - 45 + 90.
        row("C3", 345, 643),
    ]
    assert change.document["cost"] == [1_106 + 605 + 345, 1_402 + 644 + 643]
    assert change.document["house"] == [-150, 160 + 3 - 200]


def row(clerk_no: str, before: int, after: int) -> dict[str, Any]:
    pay = [before, after]
    return {"clerk_no": clerk_no, "name": f"店员{clerk_no}", "commission": pay, "accelerator": [0, 0], "together": pay}


def test_it_is_as_if_the_plan_had_been_there_from_the_start(till: Till) -> None:
    chain_plan = make_chain()
    with transaction.atomic():
        Plan.objects.filter(pk=chain_plan.pk).update(valid_to=day("02-01"))
        make_plan("2026-B", since="02-01", **new_terms())
        february(till)
        from_the_start = facts()["parts"], facts()["lines"], standing_sums()
        transaction.set_rollback(True)
    february(till)
    issue(draft(**new_terms()))
    assert (facts()["parts"], facts()["lines"], standing_sums()) == from_the_start
    # Nothing is left to correct, and what comes next is paid by the new plan.
    till.load(ticket("R6", "02-20", line("-50.00", by="C2", of=("T5", "02-06", 1))))
    assert shares("R6") == [(-225, -150, 0)]


def test_random_months_superseded_are_proved(tmp_path: Path) -> None:
    """The plans change thrice between two loads; then months close, and each row is worked out again."""
    chain, till = BigChain(seed=11), Till(tmp_path)
    Posting.objects.bulk_create(
        Posting(clerk=clerk, store=Store.objects.get(store_no="S1"), role="clerk", valid_from=day("2025-01-01"))
        for clerk in Clerk.objects.all()
    )
    tickets = list(chain.tickets(180))
    backs = list(chain.returns(tickets))
    chain.random.shuffle(backs)
    half = len(backs) // 2
    plans: list[dict[str, Any]] = [
        # A store that had the chain's, the chain's own plan, and the same again: each wins from its day on.
        {"plan_no": "N1", "since": "02-20", "store": Store.objects.get(store_no="S4"), **new_terms()},
        {"plan_no": "N2", "since": "02-10", **new_terms(), "owner_share_bp": 3_333},
        {"plan_no": "N3", "since": "03-01", **new_terms(), "products": {"SPECIAL": 1_111}, "units": {"A": 9}},
    ]
    with transaction.atomic():
        till.load(*tickets, *backs[:half])
        for plan in plans:
            issue(draft(**plan))
        till.load(*backs[half:])
        for number in (202601, 202602, 202603, 202604):
            close_month(Month.objects.get(pk=number), approved_by="test")
        assert list(verify(Month.objects.filter(closed_at__isnull=False).order_by("pk"))) == []
        assert Attribution.objects.filter(reason="CORRECTION", part__original__isnull=False).count() > 50
        one_after_the_other = standing_sums(), facts()["parts"], facts()["lines"]
        transaction.set_rollback(True)
    for plan in plans:
        issue(draft(**plan))
    till.load(*tickets, *backs[:half])
    till.load(*backs[half:])
    assert (standing_sums(), facts()["parts"], facts()["lines"]) == one_after_the_other


def test_a_store_s_new_plan_takes_over_from_the_chain_s(till: Till) -> None:
    make_chain()
    february(till)
    issue(draft(store=Store.objects.get(store_no="S2"), **new_terms()))
    # 90.00: 270 by the chain's, 360 by the store's.
    assert shares("T7") == [(189, 81, 0), (-189, -81, 0), (216, 144, 0)]
    assert shares("T1") == [(420, 180, 0)]
    assert Plan.objects.get(plan_no="2026-A").last_day is None


def test_a_plan_superseded_on_its_first_day_has_no_day_left(till: Till) -> None:
    make_chain()
    close(202601)
    issue(draft("2026-B"))
    till.load(ticket("T1", "02-03", line("200.00", by="C3"), member="M1"))
    issue(draft("2026-C", owner_share_bp=5_000))
    assert Plan.objects.get(plan_no="2026-B").state == "superseded"
    assert shares("T1") == [(560, 240, 0), (-560, -240, 0), (400, 400, 0)]
    with pytest.raises(PlanRefused, match="can't be edited"):
        check_editable(Plan.objects.get(plan_no="2026-B"))


def test_the_new_plan_lasts_until_the_next_one_begins() -> None:
    make_chain()
    issue(draft("2026-D", since="06-01"))
    issue(draft("2026-B"))
    assert [(p.plan_no, p.valid_from, p.valid_to) for p in Plan.objects.order_by("valid_from")] == [
        ("2026-A", day("2020-01-01"), day("02-01")),
        ("2026-B", day("02-01"), day("06-01")),
        ("2026-D", day("06-01"), day("9999-12-31")),
    ]


@pytest.mark.parametrize(
    ("terms", "since", "note", "error", "message"),
    [
        ({}, "01-31", "late", MonthError, "in a month that is closed"),
        ({"rates": {"otc": 400}}, "02-01", "late", PlanRefused, "no rate for: care, device"),
        ({}, "02-01", "", PlanRefused, "say why they are booked anew"),
        ({"units": {"UNIT": 10**13}}, "02-01", "late", PlanRefused, "product UNIT would pay beyond every measure"),
    ],
)
def test_what_a_plan_is_refused_for(
    till: Till, terms: dict[str, Any], since: str, note: str, error: type[Exception], message: str
) -> None:
    make_chain()
    february(till)
    plan, before = draft(since=since, **terms), everything()
    with pytest.raises(error, match=message):
        preview(plan, by=None, note=note)
    assert everything() == before


def test_verify_finds_a_closed_ticket_that_another_plan_would_have_won(till: Till) -> None:
    """No page and no file begins a plan in a closed month; whoever can write to the database might."""
    make_chain()
    till.load(ticket("T0", "01-10", line("100.00", by="C3"), member="M1"))
    january = Month.objects.get(pk=202601)
    close_month(january, approved_by="test")
    january.refresh_from_db()
    assert list(verify([january])) == []
    with transaction.atomic():
        make_plan("2026-S1", store=Store.objects.get(store_no="S1"), since="01-05", rates={"otc": 300})
        assert [(finding.what, finding.expected, finding.found) for finding in verify([january])] == [
            ("plan", "2026-S1", "2026-A")
        ]


def test_bands_begin_with_a_month_and_move_the_accelerator(till: Till) -> None:
    make_chain()
    for clerk_no in ("C1", "C2", "C3"):
        clerk, store = Clerk.objects.get(clerk_no=clerk_no), Store.objects.get(store_no="S1")
        Posting.objects.create(clerk=clerk, store=store, role="clerk", valid_from=day("01-01"))
    february(till)
    plan = draft(since="02-02")
    plan.bands.create(lower_amount=10_000, rate_bp=1_000)
    with pytest.raises(PlanRefused, match="Start it on a month's first day"):
        preview(plan, by=None, note="late")
    Plan.objects.filter(pk=plan.pk).update(valid_from=day("02-01"))
    change = preview(plan, by=None, note="late")
    # 王's credit: 200.00 and 1.67 of which 101.67 is above the band's bound, at 10%: 10.17 (10.167).
    moved = {clerk["clerk_no"]: clerk for clerk in change.document["clerks"]}
    assert moved["C2"]["commission"] == [605, 807]
    assert moved["C2"]["accelerator"] == [0, 1_017]
    assert moved["C2"]["together"] == [605, 1_824]


def test_what_was_shown_is_what_is_applied_or_nothing(till: Till) -> None:
    make_chain()
    february(till)
    plan = draft()
    change = preview(plan, by=None, note="late")
    plan.rates.filter(category__category="otc").update(rate_bp=500)
    with pytest.raises(PlanChanged, match="Nothing was applied"):
        apply_change(change, by=None)
    rows = Attribution.objects.count()
    again = preview(plan, by=None, note="late")
    assert Attribution.objects.count() == rows
    applied = apply_change(again, by=None)
    # It was worked out on copies, and is what the ledger has now.
    paid: dict[str, int] = defaultdict(int)
    for row in Attribution.objects.filter(month=202602).select_related("owner", "server"):
        for clerk, amount in ((row.owner, row.owner_commission_amount), (row.server, row.server_commission_amount)):
            if clerk:
                paid[clerk.clerk_no] += amount
    assert {row["clerk_no"]: row["commission"][1] for row in again.document["clerks"]} == paid
    rows = Attribution.objects.count()
    # Clicked twice: done once.
    assert apply_change(again, by=None).applied_at == applied.applied_at
    assert Attribution.objects.count() == rows
    assert shares("T1")[-1] == (700, 300, 0)


def test_a_file_that_was_read_by_the_plans_before_is_refused(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    make_chain()
    february(till)
    plan, stage = draft(), ticket_staging.stage

    def stage_and_change(*args: Any, **named: Any) -> Any:
        staged = stage(*args, **named)
        issue(plan)
        return staged

    monkeypatch.setattr(ticket_import, "stage", stage_and_change)
    with pytest.raises(ImportRefused) as refusal:
        till.load(ticket("T9", "02-11", line("10.00", by="C1")))
    assert [problem.reason for problem in refusal.value.problems.shown] == [
        "The plans were changed while the file was read."
    ]
    assert not Sale.objects.filter(ticket_no="T9").exists()


def test_a_plan_ends_after_its_last_ticket_and_in_open_months(till: Till) -> None:
    plan = make_chain()
    february(till)
    with pytest.raises(PlanRefused, match="Tickets up to 2026-02-10"):
        end_plan(plan, day("02-09"))
    with pytest.raises(MonthError, match="closed"):
        end_plan(plan, day("01-15"))
    end_plan(plan, day("02-10"))
    plan.refresh_from_db()
    assert plan.valid_to == day("02-11")
    later = draft(since="03-01")
    issue(later)
    with pytest.raises(PlanRefused, match="begins on 2026-03-01"):
        end_plan(plan, None)
    end_plan(plan, day("02-28"))


def test_an_issued_plan_is_taken_back_until_a_ticket_uses_it(till: Till) -> None:
    plan = make_chain()
    february(till)
    later = draft(since="03-01")
    issue(later)
    withdraw(later)
    plan.refresh_from_db()
    later.refresh_from_db()
    assert (plan.last_day, later.state) == (None, "draft")
    issue(later)
    till.load(ticket("T9", "03-01", line("10.00", by="C1")))
    with pytest.raises(PlanRefused, match="Tickets have used plan 2026-B"):
        withdraw(later)
    with pytest.raises(PlanRefused, match="only a draft is discarded"):
        discard(later)
    discard(spare := draft("2026-X", since="05-01"))
    assert not Plan.objects.filter(pk=spare.pk).exists()


def test_the_database_holds_plans_apart_and_parts_to_their_plan(till: Till) -> None:
    make_chain()
    february(till)
    with pytest.raises(IntegrityError), transaction.atomic():
        Plan.objects.create(plan_no="2026-Z", valid_from=day("03-01"))
    # A draft may lie beside it.
    Plan.objects.create(plan_no="2026-Z", valid_from=day("03-01"), state=Plan.State.DRAFT)
    change = issue(draft())
    february_part = SalePart.objects.get(sale__ticket_no="T1")
    january_part = SalePart.objects.get(sale__ticket_no="T0")
    for part, edit in (
        (february_part, {"commission_e4": 1}),
        (february_part, {"commission_e4": 1, "plan_change": change}),
        (february_part, {"server": None, "plan_change_id": change.pk + 1}),
        (january_part, {"commission_e4": 1, "plan_change": change}),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            SalePart.objects.filter(pk=part.pk).update(**edit)
    with pytest.raises(IntegrityError), transaction.atomic():
        SaleLine.objects.filter(sale__ticket_no="T1").update(rate_bp=1)


def test_a_chain_wide_month_is_superseded_in_few_statements(till: Till, django_assert_max_num_queries: Any) -> None:
    make_chain()
    february(till)
    till.load(*(ticket(f"X{number}", "02-12", line("10.00", by="C2"), member="M1") for number in range(30)))
    change = preview(draft(), by=None, note="late")
    with django_assert_max_num_queries(70):
        apply_change(change, by=None)
    assert shares("X29")[-1] == (28, 12, 0)
