"""The worked tables of the page "How is this counted?", built and counted: what the page says is what happens."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from commission.models import Attribution, SalePart
from commission.money import format_amount, format_bp
from kpis.analysis_bands import band_label
from kpis.analysis_page import hidden_bands, main_customers
from kpis.analysis_page import share as share_text
from kpis.definitions import (
    EFFECTIVE,
    GROUPS,
    GROWTH,
    HIDDEN,
    KEY,
    LEFT_OUT,
    MAIN,
    MOVED,
    PAY,
    PURCHASES,
    PURCHASES_RESULT,
    REPURCHASE,
    RETENTION,
    SCORE,
    WHO,
    Example,
    definition_text,
)
from kpis.measure_models import SUMS, MeasureMonth
from kpis.measure_page import MEASURES, figure_text
from kpis.measures import freeze_measures
from kpis.member_analysis import OF_MEMBERS, Counted, Crowd, analyse, members_of
from kpis.member_states import member_states
from kpis.models import PortfolioMonth, Scorecard, ScorecardMeasure, StoreMonth
from kpis.movement import freeze
from kpis.score_page import points_text, target_text, value_text
from kpis.scorecard import LOWER_IS_BETTER, Score, ScoredMeasure, scored_measure
from kpis.tiers import tiers_of
from portfolios.models import Clerk, Member, Month, Store
from tests.books import Chain, close, day

pytestmark = pytest.mark.django_db

MONTHS = (202601, 202602, 202603, 202604, 202605, 202606)
NAMES = {row[0]: row[0] for row in MOVED.rows}


@pytest.fixture
def chain() -> Chain:
    return Chain()


def run(*numbers: int) -> None:
    for month in Month.objects.filter(pk__in=numbers).order_by("pk"):
        states = member_states(month)
        freeze_measures(states, freeze(states))
        close(month)


def fen(text: str) -> int:
    return round(float(text) * 100)


def sums(month: int, **where: Any) -> Counter[str]:
    total: Counter[str] = Counter()
    for row in MeasureMonth.objects.filter(month=month, **where):
        total.update({name: getattr(row, name) for name in SUMS})
    return total


def enrolled_by(chain: Chain, store: Store, clerk: Clerk, on: str) -> Member:
    member = chain.member(store, since=on)
    Member.objects.filter(pk=member.pk).update(enrolled_by=clerk)
    chain.bind(member, clerk, since=on)
    return member


def purchases(text: str) -> list[tuple[str, int]]:
    return [(one.split()[0], fen(one.split()[1])) for one in text.split(", ") if one]


def test_effective_new_members(chain: Chain) -> None:
    """Each row of the table is a clerk with one new member."""
    store = chain.store()
    for enrolled, bought, _counted in EFFECTIVE.rows:
        clerk = chain.clerk(store)
        member = enrolled_by(chain, store, clerk, str(enrolled))
        for on, amount in purchases(str(bought)):
            chain.buy(member, on, amount)
    run(*MONTHS)
    for place, (*_given, counted) in enumerate(EFFECTIVE.rows, 1):
        found = MeasureMonth.objects.filter(clerk__clerk_no=f"C{place}", effective_new__gt=0)
        months = [(Month.objects.get(pk=row.month_id).name, row.effective_new) for row in found]
        assert months == ([] if counted == "–" else [(counted, 1)]), EFFECTIVE.rows[place - 1]


def test_repurchase(chain: Chain) -> None:
    store = chain.store()
    for enrolled, bought, *_counted in REPURCHASE.rows:
        member = enrolled_by(chain, store, chain.clerk(store), str(enrolled))
        for on in filter(None, str(bought).split(", ")):
            chain.buy(member, on, 1000)
    run(*MONTHS)
    for place, (_enrolled, _bought, *counted) in enumerate(REPURCHASE.rows, 1):
        for days, text in zip((30, 60, 90), counted, strict=True):
            found = [
                f"{Month.objects.get(pk=row.month_id)}: {getattr(row, f'again_{days}')} / {getattr(row, f'new_{days}')}"
                for row in MeasureMonth.objects.filter(clerk__clerk_no=f"C{place}", **{f"new_{days}__gt": 0})
            ]
            assert found == [text], (REPURCHASE.rows[place - 1], days)


def test_retention(chain: Chain) -> None:
    """All spent the same in 12 months, so all are A. What was bought on 1 March is 92 days old at the end of May."""
    store = chain.store()
    for key, kept, _share in RETENTION.rows:
        clerk = chain.clerk(store)
        for number in range(int(str(key))):
            member = chain.member(store)
            chain.bind(member, clerk)
            chain.buy(member, "3-3" if number < int(str(kept)) else "3-2", 1000)
    run(*MONTHS)
    retention = next(measure for measure in MEASURES if measure.key == "retention")
    for place, (_key, _kept, share) in enumerate(RETENTION.rows, 1):
        row = sums(202605, clerk__clerk_no=f"C{place}")
        assert (figure_text(retention, row) or "–") == share


def test_spend_basket_and_frequency(chain: Chain) -> None:
    store = chain.store()
    clerk = chain.clerk(store)
    for _name, tickets, *_counted in PURCHASES.rows:
        member = chain.member(store)
        chain.bind(member, clerk)
        original: SalePart | None = None
        for on, amount in purchases(str(tickets)):
            part = chain.buy(member, on, amount, original=original if amount < 0 else None)
            original = original or part
    run(*MONTHS)
    row = sums(202605, clerk=clerk)
    counted = [tuple(map(str, cells[2:])) for cells in PURCHASES.rows if cells[2] != "–"]
    assert row["active_members"] == len(counted)
    assert row["spend_amount"] == sum(fen(spend) for spend, _tickets, _days in counted)
    assert row["tickets"] == sum(int(tickets) for _spend, tickets, _days in counted)
    assert row["purchase_days"] == sum(int(days) for _spend, _tickets, days in counted)
    shown = {measure.key: figure_text(measure, row) for measure in MEASURES}
    assert {key: shown[key] for key in PURCHASES_RESULT} == PURCHASES_RESULT


def test_member_share_of_pay(chain: Chain) -> None:
    store = chain.store()
    clerk = chain.clerk(store)
    kinds = (
        ("OWN_SERVED", "KIND", "owner"),
        ("SPLIT", "KIND", "owner"),
        ("SPLIT", "KIND", "server"),
        ("WALK_IN", "KIND", "server"),
        ("OWN_SERVED", "LATE", "owner"),
        ("OWN_SERVED", "CLAWBACK", "owner"),
    )
    for (_line, amount, _own), (kind, pay_line, side) in zip(PAY.rows, kinds, strict=False):
        part = chain.buy(None, "5-3", 0)
        Attribution.objects.create(
            part=part, booking=chain.booking, month_id=202605, kind=kind, reason="SALE", pay_line=pay_line,
            store=store, business_date=day("5-3"), plan=chain.plan, share_bp=0, commissionable_amount=0,
            excluded_amount=0, owner_credit_amount=0, server_credit_amount=0, house_credit_amount=0,
            house_commission_amount=0, commission_amount=fen(str(amount)),
            owner_commission_amount=fen(str(amount)) if side == "owner" else 0,
            server_commission_amount=fen(str(amount)) if side == "server" else 0, **{side: clerk},
        )  # fmt: skip
    run(*MONTHS)
    row = sums(202605, clerk=clerk)
    _together, variable, own = PAY.rows[-2]
    assert (row["variable_pay_amount"], row["member_pay_amount"]) == (fen(str(variable)), fen(str(own)))
    share = next(measure for measure in MEASURES if measure.key == "member_pay")
    assert figure_text(share, row) == PAY.rows[-1][2]


def test_movement(chain: Chain) -> None:
    """One active member goes from 李 to 王, one from 李 to 张; 李 enrols one who buys."""
    first, second = chain.store(), chain.store()
    li, wang, zhang = chain.clerk(first), chain.clerk(first), chain.clerk(second)
    for to in (wang, zhang):
        member = chain.member(first)
        chain.bind(member, li, until="2-10")
        chain.bind(member, to, since="2-10")
        chain.buy(member, "1-20")
    chain.buy(enrolled_by(chain, first, li, "2-5"), "2-5")
    run(202601, 202602)
    books: list[PortfolioMonth | StoreMonth] = [
        *(PortfolioMonth.objects.get(month=202602, clerk=clerk) for clerk in (li, wang, zhang)),
        *(StoreMonth.objects.get(month=202602, store=store) for store in (first, second, None)),
    ]
    names = (
        "transferred_out", "transferred_in", "enrolled", "newly_active", "organic_growth", "organic_active_growth",
    )  # fmt: skip
    for book, (_name, *figures) in zip(books, MOVED.rows, strict=True):
        assert [str(getattr(book, name)) for name in names] == list(figures)


def test_growth_as_a_part_of_what_there_was(chain: Chain) -> None:
    """Of four members one closes its card, and so lapses; two are enrolled and buy."""
    store = chain.store()
    clerk = chain.clerk(store)
    for until in ("5-20", "", "", ""):
        member = chain.member(store, until=until)
        chain.bind(member, clerk, until=until)
        chain.buy(member, "4-20")
    for on in ("5-5", "5-6"):
        chain.buy(enrolled_by(chain, store, clerk, on), on)
    run(*MONTHS)
    (*given, growth, active_growth, lapsed) = GROWTH.rows[0]
    book = PortfolioMonth.objects.get(month=202605, clerk=clerk)
    names = ("opening", "enrolled", "closed", "active_opening", "newly_active", "lapsed")
    assert [str(getattr(book, name)) for name in names] == given
    row = sums(202605, clerk=clerk)
    found = [scored(key, 1_000, 0, row) for key in ("growth_share", "active_growth_share", "lapsed_share")]
    assert [value_text(replace(line, left_out="")) for line in found] == [growth, active_growth, lapsed]


def scored(key: str, weight_bp: int, target: int, values: dict[str, int]) -> ScoredMeasure:
    direction = "lower" if key in LOWER_IS_BETTER else "higher"
    terms = ScorecardMeasure(measure=key, weight_bp=weight_bp, target=target, cap_bp=12_000, direction=direction)
    return scored_measure(terms, {**dict.fromkeys(SUMS, 0), **values})


@pytest.mark.parametrize(("lapsed", "active", "example"), [(8, 100, SCORE), (1, 19, LEFT_OUT)])
def test_score_and_bonus(lapsed: int, active: int, example: Example) -> None:
    values = {"member_pay_amount": 70, "variable_pay_amount": 100, "effective_new": 9}
    values |= {"lapsed": lapsed, "active_opening": active}
    terms = (("member_pay", 4_000, 8_000), ("effective_new", 3_000, 6), ("lapsed_share", 3_000, 600))
    score = Score(1, Scorecard(full_amount=30_000), tuple(scored(*one, values) for one in terms), 31, 31)
    shown = [line for line in score.lines if not line.left_out]
    *rows, together, bonus = example.rows
    of_value = [[value_text(line), target_text(line.measure, line.target)] for line in shown]
    assert [list(map(str, row)) for row in rows] == [
        [
            str(line.measure.name),
            f"{format_bp(line.weight_bp)}%",
            *(of if example is SCORE else []),
            f"{format_bp(line.attainment_bp)}%",
            points_text(line.points),
        ]
        for line, of in zip(shown, of_value, strict=True)
    ]
    assert (together[1], together[-1]) == (f"{format_bp(score.counted_bp)}%", points_text(score.points))
    assert bonus[-1] == format_amount(score.bonus_amount)


@pytest.mark.parametrize("row", KEY.example.rows if KEY.example else ())
def test_tiers(row: tuple[str, str]) -> None:
    spend = dict(enumerate(map(int, row[0].split())))
    assert " ".join(tiers_of(spend)[place] for place in spend) == row[1]


def test_who_the_members_are() -> None:
    chain = Chain(202505)
    store = chain.store()
    members = []
    for born, neighbourhood, tickets, *_counted in WHO.rows:
        member = chain.member(store)
        member.birth_date = day(str(born)) if born else None
        member.neighbourhood = str(neighbourhood)
        member.save()
        members.append(member)
        original: SalePart | None = None
        for on, amount in purchases(str(tickets)):
            part = chain.buy(member, on, amount, original=original if amount < 0 else None)
            original = original or part
    run(202605)
    crowd = Crowd(Month.objects.get(pk=202605), store=store)
    found: dict[int, dict[str, str]] = {member.pk: {} for member in members}
    for dimension, band in analyse(crowd).whole:
        for buyer in members_of(crowd, dimension, band) if dimension in OF_MEMBERS else ():
            found[buyer.member_id] |= {
                dimension: band_label(dimension, band),
                "spend": f"{buyer.spend_amount / 100:.2f}",
            }
    for member, (_born, neighbourhood, _tickets, *counted) in zip(members, WHO.rows, strict=True):
        assert [found[member.pk][name] for name in ("age", "spend", "last_bought")] == counted
        assert found[member.pk]["neighbourhood"] == (neighbourhood or "unknown")


def test_main_customers() -> None:
    genders, ages = {"women": "f", "men": "m"}, {"60 to 69": "60", "70 to 79": "70"}
    bands = {("everybody", "all"): Counted(spend_amount=1_000_000)}
    for who, members, spend, _named in MAIN.rows:
        gender, age, place = str(who).split(", ")
        profile = f"{genders[gender]}|{ages[age]}|{place.removeprefix('from ')}"
        bands["profile", profile] = Counted(int(str(members)), int(str(members)), fen(str(spend)), 0)
    found = main_customers(bands)
    assert found is not None
    assert [(found[0], share_text(found[1].spend_amount, 1_000_000))] == [
        (who, named) for who, *_figures, named in MAIN.rows if named != "–"
    ]


@pytest.mark.parametrize("row", HIDDEN.rows)
def test_what_a_clerk_sees_of_the_store(row: tuple[str, str, str]) -> None:
    whole, own = (
        {str(place): Counted(int(members)) for place, members in enumerate(column.split(), 1)} for column in row[:2]
    )
    shown = sorted(set(whole) - hidden_bands(own, whole))
    assert row[2] == ("all" if shown == sorted(whole) else " ".join(shown))


def test_every_text_reads_with_its_settings() -> None:
    texts = [definition_text(group) for group in GROUPS]
    for text in texts + [definition_text(one) for group in GROUPS for one in group.definitions]:
        assert text.endswith(".")
        assert "%(" not in text
        assert "%%" not in text
