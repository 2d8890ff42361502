"""Scorecards: the formula by hand, who is scored by what, what a close freezes and pays, and what the database refuses.

The tables are those of docs/rules.md.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from kpis.measure_models import SUMS
from kpis.measures import measure_as_closed
from kpis.models import MeasureMonth, Scorecard, ScorecardMeasure, ScoreLine, ScoreMonth
from kpis.scorecard import BY_KEY, SCALES, SCORED, Score, attainment_bp, bonuses, scored_measure, scores, scores_of
from kpis.scorecard_models import Direction
from payroll_exports.demo_scorecard import issue_scorecard
from payroll_exports.earnings import COMMISSION_LINES, earnings
from payroll_exports.models import EarningLine, Payslip
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from payroll_exports.tie_out import tie_out
from portfolios.models import Clerk, Month, Posting
from tests.scorecards import scorecard
from tests.small_chain import SmallChain, day
from tests.tampering import behind_the_rules

HIGHER, LOWER = Direction.HIGHER, Direction.LOWER

# --- The formula ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "bottom", "scale", "target", "direction", "attained"),
    [
        # 14 of 20 are 70%, of a target of 80% 87.5%.
        (14, 20, 10_000, 8_000, HIGHER, 8_750),
        # 1 of 3 of a target of 40%: 83.333..%; 2 of 3 of 65%: 102.564..%.
        (1, 3, 10_000, 4_000, HIGHER, 8_333),
        (2, 3, 10_000, 6_500, HIGHER, 10_256),
        # A half basis point goes up: 1 of 8 of 80% is 15.625%.
        (1, 8, 10_000, 8_000, HIGHER, 1_563),
        # 9 members of 6: 150%, cut at the cap.
        (9, 1, 1, 6, HIGHER, 12_000),
        # 170.00 of three members, of a target of 60.00 each.
        (17_000, 3, 1, 6_000, HIGHER, 9_444),
        # 2 days of 3 members, of a target of 0.80.
        (2, 3, 100, 80, HIGHER, 8_333),
        # Below zero there is nothing.
        (-3, 100, 10_000, 200, HIGHER, 0),
        (0, 20, 10_000, 8_000, HIGHER, 0),
        # Lower is better: 8% lapsed of at most 6%; 5% is more than reached, nobody as much as the cap.
        (8, 100, 10_000, 600, LOWER, 7_500),
        (5, 100, 10_000, 600, LOWER, 12_000),
        (0, 100, 10_000, 600, LOWER, 12_000),
        (-1, 100, 10_000, 600, LOWER, 12_000),
        # A target of zero is reached or not.
        (0, 100, 10_000, 0, HIGHER, 10_000),
        (50, 100, 10_000, 0, HIGHER, 10_000),
        (-1, 100, 10_000, 0, HIGHER, 0),
        (0, 100, 10_000, 0, LOWER, 10_000),
        (1, 100, 10_000, 0, LOWER, 0),
    ],
)
def test_attainment(top: int, bottom: int, scale: int, target: int, direction: str, attained: int) -> None:
    found = attainment_bp(top, bottom, scale=scale, target=target, direction=direction, cap_bp=12_000)
    assert found == attained


def by_hand(full_amount: int, sums: dict[str, int], *terms: tuple[str, int, int], days: int = 31) -> Score:
    """A score of January from these sums; the rest of them are zero. Of each measure: weight and target."""
    lines = tuple(
        scored_measure(
            ScorecardMeasure(measure=key, weight_bp=weight, target=target, cap_bp=12_000, direction=HIGHER),
            {**dict.fromkeys(SUMS, 0), **sums},
        )
        for key, weight, target in terms
    )
    return Score(1, Scorecard(full_amount=full_amount), lines, days, 31)


PAY = ("member_pay", 4_000, 8_000)
NEW = ("effective_new", 6_000, 10)


@pytest.mark.parametrize(
    ("full_amount", "sums", "days", "attained", "score", "bonus"),
    [
        # 40 x 85% + 60 x 120% = 34 + 72 = 106 points of 300.00.
        (30_000, {"member_pay_amount": 68, "variable_pay_amount": 100, "effective_new": 12}, 31, [8_500, 12_000],
         10_600, 31_800),
        # The same for 20 of 31 days: 205.16 (205.161..).
        (30_000, {"member_pay_amount": 68, "variable_pay_amount": 100, "effective_new": 12}, 20, [8_500, 12_000],
         10_600, 20_516),
        # 40 x 83.33% + 60 x 50% = 33.332 + 30 = 63.332 points: 63.33, and of 300.00 exactly 189.996, 190.00.
        (30_000, {"member_pay_amount": 2, "variable_pay_amount": 3, "effective_new": 5}, 31, [8_333, 5_000],
         6_333, 19_000),
        # Half a fen goes up: 40 x 100% + 60 x 10% = 46 points of 0.75 are 34.5 fen.
        (75, {"member_pay_amount": 8, "variable_pay_amount": 10, "effective_new": 1}, 31, [10_000, 1_000], 4_600, 35),
        # No variable pay: the weight of 40 is left out, and 60 x 120% of 60 are 120 points.
        (30_000, {"variable_pay_amount": 0, "effective_new": 12}, 31, [0, 12_000], 12_000, 36_000),
        # Nothing reached.
        (30_000, {"variable_pay_amount": 5}, 31, [0, 0], 0, 0),
    ],
)  # fmt: skip
def test_score_and_bonus(
    full_amount: int, sums: dict[str, int], days: int, attained: list[int], score: int, bonus: int
) -> None:
    found = by_hand(full_amount, sums, PAY, NEW, days=days)
    assert [line.attainment_bp for line in found.lines] == attained
    assert (found.score_bp, found.bonus_amount) == (score, bonus)


def test_a_small_sample_shares_its_weight_among_the_others() -> None:
    """19 key members are too few: 60 x 50% of 60 are 50 points. With 20 they count: 40 x 100% + 60 x 50% are 70."""
    terms = (("retention", 4_000, 8_000), NEW)
    few = by_hand(10_000, {"key_opening": 19, "key_kept": 19, "effective_new": 5}, *terms)
    assert [line.left_out for line in few.lines] == ["small", ""]
    assert (few.score_bp, few.bonus_amount) == (5_000, 5_000)
    enough = by_hand(10_000, {"key_opening": 20, "key_kept": 16, "effective_new": 5}, *terms)
    assert [line.left_out for line in enough.lines] == ["", ""]
    assert (enough.score_bp, enough.bonus_amount) == (7_000, 7_000)


def test_where_nothing_counts_there_is_no_score() -> None:
    found = by_hand(10_000, {}, ("retention", 4_000, 8_000), ("upkeep", 6_000, 9_000))
    assert [line.left_out for line in found.lines] == ["unknown", "unknown"]
    assert (found.score_bp, found.bonus_amount) == (None, 0)


@st.composite
def two_cases(draw: st.DrawFn) -> tuple[int, list[tuple[ScorecardMeasure, int, int]], int, int]:
    """A full amount, some measures with a value each (of samples that are large enough), and which grows by what."""
    keys = draw(st.lists(st.sampled_from([measure.key for measure in SCORED]), min_size=1, max_size=5, unique=True))
    measures = [
        (
            ScorecardMeasure(
                measure=key,
                weight_bp=draw(st.integers(1, 10_000)),
                target=draw(st.integers(0, 20_000)),
                cap_bp=draw(st.integers(10_000, 50_000)),
                direction=draw(st.sampled_from([HIGHER, LOWER])),
            ),
            draw(st.integers(-200, 500)),
            draw(st.integers(20, 300)),
        )
        for key in keys
    ]
    return draw(st.integers(0, 10**7)), measures, draw(st.integers(0, len(keys) - 1)), draw(st.integers(1, 400))


def worked_out(full_amount: int, measures: list[tuple[ScorecardMeasure, int, int]]) -> Score:
    lines = []
    for terms, top, bottom in measures:
        measure = BY_KEY[terms.measure]
        sums = {**dict.fromkeys(SUMS, 20), measure.top: top}
        if measure.bottom:
            sums[measure.bottom] = bottom
        lines.append(scored_measure(terms, sums))
    return Score(1, Scorecard(full_amount=full_amount), tuple(lines), 31, 31)


@given(two_cases())
def test_a_bonus_is_bounded_and_grows_as_a_measure_gets_better(
    case: tuple[int, list[tuple[ScorecardMeasure, int, int]], int, int],
) -> None:
    full_amount, measures, place, by = case
    before = worked_out(full_amount, measures)
    assert not any(line.left_out for line in before.lines)
    weight = sum(terms.weight_bp for terms, _top, _bottom in measures)
    most = sum(terms.weight_bp * terms.cap_bp for terms, _top, _bottom in measures)
    assert 0 <= before.bonus_amount <= (full_amount * most + weight * 5_000) // (weight * 10_000)
    terms, top, bottom = measures[place]
    measures[place] = (terms, top + by, bottom)
    after = worked_out(full_amount, measures).bonus_amount
    assert after >= before.bonus_amount if terms.direction == HIGHER else after <= before.bonus_amount


def test_every_measure_has_a_scale() -> None:
    assert {measure.unit for measure in SCORED} <= set(SCALES)
    assert len(BY_KEY) == len(SCORED)


# --- A month --------------------------------------------------------------------------------------------------------


@pytest.fixture
def chain(db: None) -> SmallChain:
    """李 has 6.00 of variable pay in January, 4.20 of it from an own new member: 70%, and one effective new member."""
    chain = SmallChain()
    chain.sale("01-05", (chain.zhang, 20_000), member=chain.member("M1", chain.li))
    chain.sale("01-06", (chain.li, 6_000))
    return chain


TERMS: dict[str, Any] = {"member_pay": (4_000, 8_000), "effective_new": (6_000, 2)}


def kpi(month: int) -> dict[str, int]:
    """The KPI line of each clerk's month."""
    numbers = dict(Clerk.objects.values_list("pk", "clerk_no"))
    found = earnings(Month.objects.get(pk=month))
    return {numbers[clerk]: line.amount for clerk, lines in found.items() for line in lines if line.line_code == "KPI"}


def test_what_an_open_month_shows_is_what_the_close_pays(chain: SmallChain) -> None:
    """李: 40 x 87.5% + 60 x 50% = 35 + 30 = 65 points of 300.00, 195.00; 张 0 of 40 and 0 of 60."""
    scorecard(**TERMS)
    january = chain.month(202601)
    assert kpi(202601) == {}
    measure_as_closed(january)
    assert kpi(202601) == {"C1": 19_500}
    before = [(score.clerk_id, score.points, score.counted_bp, score.bonus_amount) for score in scores(january)]
    tied = tie_out(january)

    close_month(january, approved_by="test")
    january.refresh_from_db()
    assert kpi(202601) == {"C1": 19_500}
    frozen = ScoreMonth.objects.order_by("clerk").values_list("clerk", "points", "counted_bp", "bonus_amount")
    assert list(frozen) == before
    kept = scores_of(january, [chain.li.pk])[0]
    assert [(line.measure.key, line.attainment_bp, line.points) for line in kept.lines] == [
        ("member_pay", 8_750, 35_000_000),
        ("effective_new", 5_000, 30_000_000),
    ]
    assert (kept.score_bp, kept.bonus_amount) == (6_500, 19_500)
    # The payslip is the ledger and the bonus; the tie-out is of the ledger alone.
    payslip = Payslip.objects.get(month=202601, clerk=chain.li)
    commission = EarningLine.objects.filter(payslip=payslip, line_code__in=COMMISSION_LINES)
    assert payslip.paid_amount == sum(line.amount for line in commission) + 19_500 == 600 + 19_500
    assert tie_out(january) == tied
    assert list(verify([january])) == []


def test_who_was_there_for_part_of_the_month_gets_that_part(chain: SmallChain) -> None:
    """From the 12th on, 20 of 31 days: 195.00 x 20 / 31 = 125.81 (125.806)."""
    scorecard(**TERMS)
    Posting.objects.filter(clerk=chain.li).update(valid_from=day("01-12"))
    close_month(chain.month(202601), approved_by="test")
    assert kpi(202601) == {"C1": 12_581}
    assert list(verify(Month.objects.filter(pk=202601))) == []


def test_a_bonus_is_variable_pay(chain: SmallChain) -> None:
    """What 李 served comes back in February: -1.80, and with a bonus of 0.50 there is 1.30 left to carry."""
    scorecard("K1", 50, since="02-01", effective_new=(10_000, 0))
    (walk_in,) = chain.sale("01-07", (chain.li, 6_000))
    close_month(chain.month(202601), approved_by="test")
    chain.sale("02-05", (chain.li, -6_000), returns=walk_in)
    measure_as_closed(chain.month(202602))
    lines = earnings(chain.month(202602))[chain.li.pk]
    assert {line.line_code: line.amount for line in lines} == {"CLAWBACK": -180, "KPI": 50, "CARRIED_OUT": 130}


# --- Who is scored by what ------------------------------------------------------------------------------------------


def by_card(month: int) -> dict[str, str]:
    numbers = dict(Clerk.objects.values_list("pk", "clerk_no"))
    return {numbers[one.clerk_id]: one.scorecard.scorecard_no for one in scores(Month.objects.get(pk=month))}


def test_a_stores_scorecard_wins_and_a_manager_has_the_managers(chain: SmallChain) -> None:
    manager = chain.clerk("C8", role=Posting.Role.MANAGER)
    Posting.objects.create(clerk=manager, store=chain.second, role="manager", valid_from=day("01-10"))
    other = chain.clerk("C9", store=chain.second, role=Posting.Role.MANAGER)
    selling = chain.clerk("C7", store=chain.first)
    Posting.objects.create(
        clerk=selling, store=chain.first, role="manager", valid_from=day("01-01"), valid_to=day("01-20")
    )
    terms: dict[str, Any] = {"effective_new": (10_000, 1)}
    scorecard("CLERKS", **terms)
    scorecard("SECOND", store=chain.second, **terms)
    scorecard("MANAGERS", role="manager", **terms)
    scorecard("SECOND-M", role="manager", store=chain.second, **terms)
    measure_as_closed(chain.month(202601))
    assert by_card(202601) == {
        "C1": "CLERKS", "C2": "CLERKS", "C3": "CLERKS", "C4": "SECOND",
        # Two stores: the chain's. Managing no more on the last day: as a clerk.
        "C8": "MANAGERS", "C9": "SECOND-M", "C7": "CLERKS",
    }  # fmt: skip
    # The one new member is of the first store: C8 manages both, C9 the other.
    found = {score.clerk_id: score.lines[0].top for score in scores(chain.month(202601))}
    assert (found[manager.pk], found[other.pk]) == (1, 0)
    close_month(chain.month(202601), approved_by="test")
    assert list(verify(Month.objects.filter(pk=202601))) == []


def test_a_scorecard_counts_in_the_months_that_it_covers(chain: SmallChain) -> None:
    scorecard("JAN", until="02-01", effective_new=(10_000, 1))
    scorecard("FEB", since="02-01", effective_new=(10_000, 1))
    scorecard("DRAFT", since="02-01", state="draft", store=chain.first, effective_new=(10_000, 1))
    february = chain.month(202602)
    for month in (chain.month(202601), february):
        measure_as_closed(month)
    assert by_card(202601)["C1"] == "JAN"
    assert by_card(202602)["C1"] == "FEB"


def test_the_sums_of_a_score_are_those_of_book_and_work(chain: SmallChain, settings: Settings) -> None:
    """In January 李 enrolled one who bought, and served on one day: 3 profiles were due, and none was done."""
    settings.MEASURE_SMALL_SAMPLE = 1
    close_month(chain.month(202601), approved_by="test")
    row = MeasureMonth.objects.get(month=202601, clerk=chain.li)
    names = ("opening", "organic_growth", "active_opening", "organic_active_growth", "lapsed", "profiles_due")
    assert [getattr(row, name) for name in names] == [0, 1, 0, 1, 0, 3]
    chain.sale("06-05", (chain.li, 6_000))
    for number in (202602, 202603, 202604):
        close_month(Month.objects.get(pk=number), approved_by="test")
    # Bought on 5 January: active until 4 April.
    april = MeasureMonth.objects.get(month=202604, clerk=chain.li)
    assert [getattr(april, name) for name in names] == [1, 0, 1, -1, 1, 0]


def test_the_demos_scorecard_is_issued_once(chain: SmallChain) -> None:
    card = issue_scorecard(chain.month(202601))
    assert issue_scorecard(chain.month(202601)) == card
    assert sum(card.measures.values_list("weight_bp", flat=True)) == 10_000
    assert {terms.measure for terms in card.measures.all()} <= set(BY_KEY)
    assert card.is_issued


# --- What the database refuses, and what verify finds ----------------------------------------------------------------


def refused(write: Callable[[], Any], rule: str) -> None:
    with pytest.raises(DatabaseError, match=rule), transaction.atomic():
        write()


def test_two_scorecards_of_a_scope_do_not_overlap(chain: SmallChain) -> None:
    scorecard("A", until="04-01")
    for store in (None, chain.first):
        scorecard(f"B{store}", since="04-01", store=store)
    scorecard("M", role="manager")
    scorecard("D", state="draft")
    refused(lambda: scorecard("C", since="03-01", until="05-01"), "one_scorecard_at_a_time")
    refused(lambda: Scorecard.objects.filter(scorecard_no="D").update(state="issued"), "one_scorecard_at_a_time")


def test_a_scorecard_that_a_close_has_used_is_only_ended(chain: SmallChain) -> None:
    card = scorecard(**TERMS)
    rows, terms = Scorecard.objects.filter(pk=card.pk), ScorecardMeasure.objects.filter(scorecard=card)
    rows.update(full_amount=30_001)
    rows.update(full_amount=30_000)
    close_month(chain.month(202601), approved_by="test")
    refused(lambda: rows.update(full_amount=1), "scorecard_stays")
    refused(lambda: rows.update(state="draft"), "scorecard_stays")
    refused(lambda: rows.update(valid_to=day("01-31")), "scorecard_stays")
    refused(lambda: terms.update(target=1), "scorecard_measure_stays")
    refused(lambda: terms[0].delete(), "scorecard_measure_stays")
    refused(
        lambda: ScorecardMeasure.objects.create(scorecard=card, measure="upkeep", weight_bp=1, target=1),
        "scorecard_measure_stays",
    )
    rows.update(valid_to=day("02-01"))


def test_scores_are_never_edited_and_closed_months_get_none(chain: SmallChain) -> None:
    card = scorecard(**TERMS)
    close_month(chain.month(202601), approved_by="test")
    score = ScoreMonth.objects.get(clerk=chain.li)
    refused(lambda: ScoreMonth.objects.filter(pk=score.pk).update(bonus_amount=1), "score_month_stays")
    refused(lambda: ScoreLine.objects.filter(score=score).update(top=9), "score_line_stays")
    refused(lambda: ScoreLine.objects.filter(score=score).first().delete(), "score_line_stays")  # type: ignore[union-attr]
    late = ScoreMonth(month_id=202601, clerk=chain.clerk("C6"), scorecard=card, points=0, counted_bp=0, days=1)
    late.bonus_amount = 0
    refused(late.save, "score_month_to_open_month")


def test_points_are_weight_by_attainment_up_to_the_cap(chain: SmallChain) -> None:
    card = scorecard(**TERMS)
    unsound: dict[str, Any] = {"measure": "spend", "weight_bp": 1, "target": 1, "cap_bp": 9_999}
    refused(lambda: ScorecardMeasure.objects.create(scorecard=card, **unsound), "scorecard_terms_are_sound")
    chain.month(202602)
    score = ScoreMonth.objects.create(
        month_id=202602, clerk=chain.li, scorecard=card, points=0, counted_bp=0, days=1, bonus_amount=0
    )
    terms: dict[str, Any] = {"measure": "upkeep", "weight_bp": 5_000, "target": 1, "cap_bp": 12_000, "top": 1}

    def line(**values: Any) -> Callable[[], Any]:
        return lambda: ScoreLine.objects.create(score=score, month_id=202602, bottom=1, **{**terms, **values})

    refused(line(attainment_bp=9_000, points=45_000_001), "points_are_weight_by_attainment")
    refused(line(attainment_bp=9_000, points=45_000_000, left_out="small"), "points_are_weight_by_attainment")
    refused(line(attainment_bp=12_001, points=60_005_000), "attainment_is_capped")
    line(attainment_bp=9_000, points=45_000_000)()


def test_a_score_that_was_changed_is_found(chain: SmallChain) -> None:
    card = scorecard(**TERMS)
    close_month(chain.month(202601), approved_by="test")
    january = Month.objects.get(pk=202601)
    score = ScoreMonth.objects.get(clerk=chain.li)
    changes: list[tuple[Any, int, dict[str, Any], str]] = [
        (ScoreMonth, score.pk, {"bonus_amount": 19_501}, "bonus"),
        (ScoreMonth, score.pk, {"days": 30}, "points"),
        (ScoreLine, score.lines.get(measure="member_pay").pk, {"attainment_bp": 8_751}, "member_pay"),
        (Scorecard, card.pk, {"full_amount": 30_100}, "line KPI"),
        (ScorecardMeasure, card.measures.get(measure="effective_new").pk, {"target": 1}, "effective_new"),
    ]
    for model, key, values, what in changes:
        with behind_the_rules(model):
            model.objects.filter(pk=key).update(**values)
            assert what in {finding.what for finding in verify([january])}, values
    assert list(verify([january])) == []
    assert bonuses(january) == {chain.li.pk: 19_500, chain.wang.pk: 0, chain.zhang.pk: 0, chain.zhao.pk: 0}
