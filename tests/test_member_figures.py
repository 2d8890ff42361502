"""The figures of the members table: worked by hand, against the rules they share, and made anew without a trace."""

import datetime as dt
from collections.abc import Iterable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from kpis.member_figures import COLUMNS, figures_as_of, refresh_member_figures
from kpis.models import MemberFigures
from kpis.tiers import member_spend, tiers_of
from portfolios.models import Member
from tests.books import Chain, day

pytestmark = pytest.mark.django_db


def figures(member: Member) -> tuple[object, ...]:
    """Tier, spend, purchases, last purchase, at risk from."""
    found = MemberFigures.objects.get(member=member)
    return tuple(getattr(found, name) for name in COLUMNS)


def at_risk_by_hand(bought: Iterable[dt.date], on: dt.date, window: int = 90) -> dt.date | None:
    """The rule of docs/rules.md, day by day."""
    days = sorted({date for date in bought if date < on})
    if not days or (on - days[-1]).days > window:
        return None
    # Twelve months back from the dates that the tests use.
    year = [date for date in days if date >= on.replace(year=on.year - 1)]
    rest = window * 2 // 3
    if len(year) > 1:
        rhythm = 2 * (year[-1] - year[0]).days // (len(year) - 1)
        rest = min(rest, max(14, rhythm))
    return days[-1] + dt.timedelta(days=rest + 1)


@pytest.mark.parametrize(
    ("bought", "on", "expected"),
    [
        # Every 20 days: at risk after 40 days without a purchase, 03-11 to 04-19.
        (["2026-1-29", "2026-2-18", "2026-3-10"], "2026-4-1", "2026-4-20"),
        # Twice every 3 days is less than 14 days: 03-11 to 03-24.
        (["2026-3-4", "2026-3-7", "2026-3-10"], "2026-4-1", "2026-3-25"),
        # Twice 35 days is more than two thirds of the window: 60 days, 03-11 to 05-09.
        (["2026-2-3", "2026-3-10"], "2026-4-1", "2026-5-10"),
        # No rhythm in one purchase.
        (["2026-3-10"], "2026-4-1", "2026-5-10"),
        # Two tickets on a day are one visit: no rhythm of 0 days.
        (["2026-3-10", "2026-3-10"], "2026-4-1", "2026-5-10"),
        # The last day of the window: 03-10 is the first of the 90 days up to 06-07.
        (["2026-3-10"], "2026-6-8", "2026-5-10"),
        # Lapsed.
        (["2026-3-10"], "2026-6-9", None),
        # What was bought more than a year ago makes no rhythm.
        (["2025-3-9", "2026-3-10"], "2026-4-1", "2026-5-10"),
        # A purchase of the day itself does not count yet.
        (["2026-4-1"], "2026-4-1", None),
    ],
)
def test_at_risk_from(bought: list[str], on: str, expected: str | None) -> None:
    chain = Chain(202503, 202606)
    member = chain.member(chain.store())
    for date in bought:
        chain.buy(member, date)
    refresh_member_figures(day(on))
    assert figures(member)[-1] == (day(expected) if expected else None)
    assert at_risk_by_hand(map(day, bought), day(on)) == (day(expected) if expected else None)


def test_a_member_s_year() -> None:
    """Spend is net and of every category; a return is no purchase, and neither is what is older than twelve months."""
    chain = Chain(202503, 202606)
    store = chain.store()
    member, quiet, other = chain.member(store), chain.member(store), chain.member(store)
    chain.buy(member, "2025-3-31", 7_000)
    chain.buy(member, "2025-4-1", 1_000)
    sold = chain.buy(member, "2026-2-1", 2_000, excluded=300)
    chain.buy(member, "2026-3-1", -500, original=sold)
    chain.buy(other, "2025-3-31", 9_000)
    refresh_member_figures(day("2026-4-1"))
    # Two purchases 306 days apart: two thirds of the window. Of one ranked member, one is A.
    assert figures(member) == ("A", 2_800, 2, day("2026-2-1"), day("2026-4-3"))
    assert figures(quiet) == ("C", 0, 0, None, None)
    assert figures(other) == ("C", 0, 0, day("2025-3-31"), None)
    assert figures_as_of() == day("2026-4-1")


def test_a_late_ticket_counts_from_the_month_it_was_posted_to() -> None:
    chain = Chain()
    member = chain.member(chain.store())
    chain.buy(member, "2026-1-10", posted=202603)
    refresh_member_figures(day("2026-3-1"))
    assert figures(member)[3] is None
    refresh_member_figures(day("2026-3-2"))
    assert figures(member)[3] == day("2026-3-1")


def test_tiers_within_the_store_where_they_are_ranked_there(settings: Settings) -> None:
    chain = Chain()
    rich, poor = chain.store(), chain.store()
    first, second, third = chain.member(rich), chain.member(rich), chain.member(poor)
    for member, amount in ((first, 900), (second, 800), (third, 10)):
        chain.buy(member, "2026-1-10", amount)
    refresh_member_figures(day("2026-2-1"))
    assert [figures(member)[0] for member in (first, second, third)] == ["A", "C", "C"]
    settings.TIER_SCOPE = "store"
    refresh_member_figures(day("2026-2-1"))
    assert [figures(member)[0] for member in (first, second, third)] == ["A", "C", "A"]


def test_a_refresh_writes_what_has_changed_and_a_second_one_nothing() -> None:
    chain = Chain()
    store = chain.store()
    members = [chain.member(store) for _ in range(3)]
    chain.buy(members[0], "2026-1-10")
    assert refresh_member_figures(day("2026-2-1")) == 3
    assert refresh_member_figures(day("2026-2-1")) == 0
    chain.buy(members[1], "2026-2-1")
    newcomer = chain.member(store)
    # The newcomer's, and those of the one who bought: both spent 1.00, so both are A.
    assert refresh_member_figures(day("2026-2-2")) == 2
    assert figures(newcomer) == ("C", 0, 0, None, None)
    # Back to the day before: the purchase is taken out again.
    assert refresh_member_figures(day("2026-2-1")) == 1
    assert figures(members[1]) == ("C", 0, 0, None, None)


def test_the_card_that_survives_a_merge_counts_both() -> None:
    """From the merge on; both cards bought, 10 days apart, so that there is a rhythm."""
    chain = Chain()
    store = chain.store()
    survivor, card = chain.member(store), chain.member(store, until="2026-2-1")
    Member.objects.filter(pk=card.pk).update(merged_into=survivor, merged_by=chain.batch)
    chain.buy(survivor, "2026-1-10", 100)
    chain.buy(card, "2026-1-20", 50)
    refresh_member_figures(day("2026-2-1"))
    assert figures(survivor)[1:4] == (100, 1, day("2026-1-10"))
    assert figures(card)[1:4] == (50, 1, day("2026-1-20"))
    refresh_member_figures(day("2026-2-2"))
    assert figures(survivor) == ("A", 150, 2, day("2026-1-20"), day("2026-2-10"))
    assert figures(card) == ("C", 0, 0, None, None)


PURCHASES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 450), st.integers(1, 500)), max_size=25)


@given(PURCHASES)
@hypothesis_settings(max_examples=25, deadline=None)
def test_any_ledger_gives_what_the_rules_say(purchases: list[tuple[int, int, int]]) -> None:
    on = day("2026-6-1")
    with transaction.atomic():
        chain = Chain(202503, 202606)
        store = chain.store()
        members = [chain.member(store, "2025-1-1") for _ in range(5)]
        bought: dict[int, list[dt.date]] = {member.pk: [] for member in members}
        for place, ago, amount in purchases:
            date = on - dt.timedelta(days=ago)
            bought[members[place].pk].append(date)
            chain.buy(members[place], date.isoformat(), amount)
        refresh_member_figures(on)
        spend = member_spend(on)
        tiers = tiers_of(spend)
        year = day("2025-6-1")
        for member in members:
            counted = {date for date in bought[member.pk] if date < on}
            assert figures(member) == (
                tiers.get(member.pk, "C"),
                spend.get(member.pk, 0),
                len({date for date in counted if date >= year}),
                max(counted, default=None),
                at_risk_by_hand(counted, on),
            )
        transaction.set_rollback(True)


def test_the_command() -> None:
    chain = Chain()
    chain.member(chain.store())
    out = StringIO()
    call_command("refresh_members", "--on", "2026-02-01", stdout=out)
    assert out.getvalue() == "The members' figures are as of 2026-02-01; those of 1 members have changed.\n"
    assert figures_as_of() == day("2026-2-1")
    with pytest.raises(CommandError, match=r"'1\.2\.2026' is not a date: write it as YYYY-MM-DD"):
        call_command("refresh_members", "--on", "1.2.2026")
