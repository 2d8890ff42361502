"""Who the members are and what they buy: the sums beside other code's, the pages, what a clerk sees of the store."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags
from pytest_django import DjangoDbBlocker

from commission.ticket_corrections import approve, ask_for_member
from kpis.member_analysis import DIMENSIONS, OF_MEMBERS, Counted, Crowd, analyse, members_of
from kpis.member_states import member_states
from kpis.movement import freeze
from kpis.tiers import member_spend, member_tiers
from portfolios.models import BindingBatch, Member, Month, User
from tests.books import Chain, close, day
from tests.cast import Cast, one_cast
from tests.small_chain import SmallChain

pytestmark = pytest.mark.django_db


def frozen(number: int) -> Month:
    month = Month.objects.get(pk=number)
    freeze(member_states(month))
    close(month)
    return month


# --- The figures -------------------------------------------------------------------------------------------------


def test_spend_and_tiers_are_those_of_the_tiers() -> None:
    """A late ticket, a merged card and a return among them; by another way, member by member."""
    chain = Chain(202504, 202606)
    store, other = chain.store(), chain.store()
    clerk = chain.clerk(store)
    members = [chain.member(store) for _number in range(12)]
    for place, member in enumerate(members[:8]):
        chain.bind(member, clerk)
        part = chain.buy(member, "5-3", 1000 * place, excluded=50)
        if place == 3:
            chain.buy(member, "5-9", -400, original=part)
    # Sold a day too early, but posted to a month of the year; and one that is too old.
    chain.buy(members[1], "2025-5-31", 777, posted=202506)
    chain.buy(members[2], "2025-5-31", 888)
    chain.buy(members[9], "4-1", 999)
    chain.buy(chain.member(other), "5-5", 5000)
    batch = BindingBatch.objects.create(source="merge")
    Member.objects.filter(pk=members[9].pk).update(
        merged_into=members[10], merged_by=batch, closed_on=day("5-2"), counted_to=day("5-2")
    )
    month = frozen(202605)

    after = month.ends_on + timedelta(days=1)
    spend, tiers = member_spend(after), member_tiers(after, store=store)
    crowd = Crowd(month, store=store)
    buyers = {buyer.member_id: buyer for tier in "ABC" for buyer in members_of(crowd, "tier", tier)}
    assert set(buyers) == {member.pk for member in members} - {members[9].pk}
    for key, buyer in buyers.items():
        assert (buyer.spend_amount, buyer.tier) == (spend.get(key, 0), tiers.get(key, "C"))
    assert buyers[members[1].pk].spend_amount == 1000 + 50 + 777
    assert buyers[members[2].pk].spend_amount == 2000 + 50
    assert buyers[members[10].pk].spend_amount == 999

    found = analyse(crowd)
    everybody = found.whole["everybody", "all"]
    assert everybody.members == 11
    for dimension in OF_MEMBERS:
        together = Counter(dict.fromkeys(("members", "spend_amount"), 0))
        for (name, _band), counted in found.whole.items():
            if name == dimension:
                together.update(members=counted.members, spend_amount=counted.spend_amount)
        assert together == {"members": 11, "spend_amount": everybody.spend_amount}
    own = analyse(Crowd(month, store=store, clerk=clerk))
    assert own.whole == found.whole
    assert own.portfolios[clerk.pk]["everybody", "all"].members == 8


def test_categories_weekdays_and_parts_of_the_day() -> None:
    """Of a Monday's ticket of 200.00 and 50.00 for a prescription, and of a Tuesday's of 100.00, all at ten o'clock;
    40.00 of the first came back. The second is a ticket of two sellers, and counts once."""
    chain = SmallChain()
    member, other = chain.member("M1", chain.li), chain.member("M2", chain.li)
    first, _second = chain.sale("01-05", (chain.li, 20_000), (chain.li, 5_000, chain.rx), member=member)
    chain.sale("01-06", (chain.li, 6_000), (chain.wang, 4_000), member=member)
    chain.sale("01-07", (chain.li, -4_000), returns=first)
    chain.sale("01-06", (chain.li, 1_000), member=other)
    month = frozen(202601)
    found = analyse(Crowd(month, store=chain.first)).whole
    shown = {key: counted for key, counted in found.items() if key[0] in ("category", "weekday", "time_of_day")}
    assert shown == {
        ("category", str(chain.otc.pk)): Counted(2, 1, 20_000 + 10_000 - 4_000 + 1_000, 3),
        ("category", str(chain.rx.pk)): Counted(1, 1, 5_000, 1),
        ("weekday", "1"): Counted(1, 1, 25_000, 1),
        ("weekday", "2"): Counted(2, 1, 11_000, 2),
        ("time_of_day", "12"): Counted(2, 1, 36_000, 3),
    }
    assert found["everybody", "all"] == Counted(2, 1, 32_000, 3)
    bought_rx = members_of(Crowd(month, store=chain.first), "category", str(chain.rx.pk))
    assert [(buyer.member_id, buyer.spend_amount) for buyer in bought_rx] == [(member.pk, 31_000)]


def test_a_corrected_ticket_is_the_other_member_s() -> None:
    chain = SmallChain()
    member, other = chain.member("M1", chain.li), chain.member("M2", chain.wang)
    chain.sale("01-05", (chain.li, 20_000), member=member)
    (part,) = chain.sale("01-06", (chain.li, 3_000), member=member)
    asked_by, approver = (User.objects.create(username=name, office="hr") for name in ("a", "b"))
    approve(ask_for_member(part.sale, card=other.member_no, reason="wrong card", asked_by=asked_by), by=approver)
    month = frozen(202601)
    buyers = members_of(Crowd(month), "gender", "")
    assert {buyer.member_id: buyer.spend_amount for buyer in buyers} == {member.pk: 20_000, other.pk: 3_000}


# --- The pages ---------------------------------------------------------------------------------------------------

JANUARY = 202601


@pytest.fixture(autouse=True)
def nothing_kept(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "analysis"}}
    cache.clear()


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def get(cast: Cast, person: str, *of: Any) -> Any:
    response = cast.client(person).get(reverse("analysis", args=of))
    assert response.status_code == 200
    return response


def test_every_bar_opens_a_list_of_that_length(cast: Cast) -> None:
    seen = 0
    for person, kind, number in (("clerk", "clerk", "C1"), ("manager", "store", "S1"), ("hr", "chain", "all")):
        page = get(cast, person, JANUARY, kind, number).context["page"]
        assert [picture.key for picture in page.pictures] == list(DIMENSIONS)
        for row in [row for picture in page.pictures for row in picture.rows if row.url]:
            assert cast.client(person).get(row.url).context["count"] == row.counted.members
            seen += 1
    assert seen >= 20


def test_the_main_customers_and_the_pictures(cast: Cast) -> None:
    response = get(cast, "manager", JANUARY, "store", "S1")
    text = " ".join(strip_tags(response.content.decode()).split())
    # M1 spent all the 300.00 there were; M2 nothing.
    assert "Key members (A and B: 1, 50% of the members) make 100% of what members spend." in text
    drawn = response.content.decode().split('class="chart share-chart"')
    assert len(drawn) == 1 + len(DIMENSIONS)
    for chart in drawn[1:]:
        assert "<title" in chart
        assert "<desc" in chart


def test_a_clerk_sees_no_small_band_of_others_and_the_manager_does(cast: Cast) -> None:
    """李 has one of the store's two members: the other one is nobody's, and would follow from the store's shares."""
    own = get(cast, "clerk", JANUARY, "clerk", "C1").context["page"]
    assert {row.store for picture in own.pictures for row in picture.rows} == {""}
    assert not any("store" in sentence for sentence in own.sentences)
    managed = get(cast, "manager", JANUARY, "clerk", "C1").context["page"]
    tiers = next(picture for picture in managed.pictures if picture.key == "tier")
    assert {row.label: (row.share, row.store) for row in tiers.rows} == {"A": ("100%", "100%"), "C": ("0%", "0%")}
    assert managed.clerks == []


def test_a_store_s_page_has_its_portfolios(cast: Cast) -> None:
    rows = get(cast, "manager", JANUARY, "store", "S1").context["page"].clerks
    assert [(row.number, row.counted.members, row.share) for row in rows] == [("C1", 1, "100%"), ("", 1, "0%")]


def test_the_figures_as_a_file_are_on_record(cast: Cast) -> None:
    response = cast.client("clerk").get(reverse("analysis_file", args=[JANUARY, "clerk", "csv", "C1"]))
    lines = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    tiers = [line for line in lines if line["dimension"] == "Key members"]
    assert [(line["band"], line["spend"], line["share"], line["store_share"]) for line in tiers] == [
        ("A", "300.00", "100%", ""),
        ("C", "0.00", "0%", ""),
    ]
    assert "M1" not in response.content.decode()
    entry = LogEntry.objects.latest("pk")
    assert entry.additional_data == {"export": "2026-01-clerk-C1-analysis.csv"}


def test_an_open_month_and_a_chain_that_is_too_large_say_what_to_do(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = strip_tags(get(cast, "clerk", 202602, "clerk", "C1").content.decode())
    assert "there is one when the month is closed" in page
    monkeypatch.setattr("kpis.analysis_page.MOST_MEMBERS", 1)
    response = get(cast, "hr", JANUARY, "chain", "all")
    assert "choose a store" in response.content.decode()
    assert (
        cast.client("hr").get(reverse("analysis_members", args=[JANUARY, "chain", "gender", "all"])).status_code == 404
    )


def test_one_statement_reads_the_tickets(cast: Cast) -> None:
    client = cast.client("manager")
    with CaptureQueriesContext(connection) as queries:
        client.get(reverse("analysis", args=[JANUARY, "store", "S1"]))
    assert sum("commission_attribution" in query["sql"] for query in queries) == 1
    assert len(queries) <= 25
    # A clerk of the store asks next, and finds it read already.
    with CaptureQueriesContext(connection) as queries:
        get(cast, "clerk", JANUARY, "clerk", "C1")
    assert not any("commission_attribution" in query["sql"] for query in queries)
