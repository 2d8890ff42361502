"""Who owned whom on any date: against a plain walk over the bindings, on the page and as a file."""

import csv
import datetime as dt
import io
from collections.abc import Iterator

import pytest
import time_machine
from auditlog.models import LogEntry
from django.db import transaction
from django.test import Client
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, DjangoDbBlocker
from python_calamine import CalamineWorkbook

from kpis.portfolio_on_date import PortfolioOnDate
from portfolios.models import Binding, BindingBatch, Clerk, Member, PhoneRead, Posting, Store
from portfolios.ownership import history, owners_on
from tests.books import Chain
from tests.cast import Cast, one_cast
from tests.small_chain import day

pytestmark = pytest.mark.django_db

TODAY = "2026-02-20"


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


# --- Against the bindings ----------------------------------------------------------------------------------------

FIRST = dt.date(2026, 1, 1)
DAYS = 60


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[int, int, list[tuple[int, int, int, bool]]]]:
    """Members: enrolled on a day, closed on a later one, and bindings (clerk, from, to, voided) that do not overlap."""
    members = []
    for _ in range(draw(st.integers(1, 5))):
        enrolled = draw(st.integers(0, 20))
        closed = draw(st.one_of(st.just(DAYS * 9), st.integers(enrolled + 1, DAYS)))
        cuts = sorted(draw(st.sets(st.integers(enrolled, DAYS), min_size=0, max_size=6)))
        bindings = [
            (draw(st.integers(0, 2)), start, end, draw(st.booleans()))
            for start, end in zip(cuts[::2], cuts[1::2], strict=False)
        ]
        members.append((enrolled, closed, bindings))
    return members


def on_day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


@given(lives(), st.lists(st.integers(0, DAYS), min_size=3, max_size=3), st.one_of(st.none(), st.integers(0, DAYS)))
@settings(max_examples=30, deadline=None)
def test_a_portfolio_is_what_the_bindings_say(
    members: list[tuple[int, int, list[tuple[int, int, int, bool]]]], asked: list[int], last_day: int | None
) -> None:
    with transaction.atomic():
        chain = Chain()
        stores = [chain.store(), chain.store()]
        clerks = [chain.clerk(stores[0]), chain.clerk(stores[0]), chain.clerk(stores[1])]
        if last_day is not None:
            Clerk.objects.filter(pk=clerks[0].pk).update(left_on=on_day(last_day))
        lived = []
        for place, (enrolled, closed, bindings) in enumerate(members):
            member = chain.member(stores[place % 2], on_day(enrolled).isoformat(), on_day(closed).isoformat())
            for clerk, start, end, voided in bindings:
                chain.bind(member, clerks[clerk], on_day(start).isoformat(), on_day(end).isoformat(), voided=voided)
            lived.append((member, enrolled, closed, [binding for binding in bindings if not binding[3]]))
        for number in asked:
            on = on_day(number)
            there = {member for member, enrolled, closed, _ in lived if enrolled <= number < closed}
            bound = {
                member: clerks[clerk]
                for member, _, _, bindings in lived
                for clerk, start, end, _ in bindings
                if start <= number < end
            }
            has_left = {clerks[0]} if last_day is not None and last_day < number else set()
            owned = {member: clerk for member, clerk in bound.items() if clerk not in has_left}
            for whose in clerks:
                rows = PortfolioOnDate(on=on, clerk=whose)[:]
                assert {row.member for row in rows} == {m for m in there if bound.get(m) == whose}
            found = owners_on([member.pk for member, *_ in lived], on)
            assert {pk: binding.clerk for pk, binding in found.items()} == {m.pk: c for m, c in owned.items()}
            # Over all stores, each member that counts is there once: with its owner, or waiting in its home store.
            everywhere = [(store, row) for store in stores for row in PortfolioOnDate(on=on, store=store)[:]]
            assert sorted(row.member.pk for _, row in everywhere) == sorted(member.pk for member in there)
            for store, row in everywhere:
                assert row.clerk == owned.get(row.member)
                assert store == (row.clerk.postings.get().store if row.clerk else row.member.store)
        for member, _, _, _ in lived:
            turns = [turn for turn in history(member, today=on_day(DAYS)) if not turn.voided_by]
            for number in asked:
                current = [t for t in turns if t.since <= on_day(number) <= (t.last_day or on_day(DAYS * 9))]
                bound_by = found_by_hand(member, on_day(number))
                assert [turn.clerk for turn in current if turn.clerk] == bound_by
        transaction.set_rollback(True)


def found_by_hand(member: Member, on: dt.date) -> list[Clerk]:
    return [
        binding.clerk
        for binding in Binding.objects.filter(member=member, voided_by=None)
        if binding.valid_from <= on < binding.valid_to
    ]


# --- A member's history ------------------------------------------------------------------------------------------


def test_a_history_tells_gaps_ends_and_what_was_voided() -> None:
    chain = Chain()
    store = chain.store()
    li, wang = chain.clerk(store), chain.clerk(store)
    member = chain.member(store, "2026-1-5")
    chain.bind(member, li, "2026-1-10", "2026-2-1")
    chain.bind(member, wang, "2026-2-1", voided=True)
    chain.bind(member, wang, "2026-3-1")
    told = [
        (
            turn.clerk,
            f"{turn.since:%m-%d}",
            turn.last_day and f"{turn.last_day:%m-%d}",
            turn.current,
            bool(turn.voided_by),
        )
        for turn in history(member, today=day("03-05"))
    ]
    assert told == [
        (wang, "03-01", None, True, False),
        (None, "02-01", "02-28", False, False),
        (wang, "02-01", None, False, True),
        (li, "01-10", "01-31", False, False),
        (None, "01-05", "01-09", False, False),
    ]


def test_after_the_owner_s_last_day_there_is_none() -> None:
    chain = Chain()
    store = chain.store()
    li = chain.clerk(store)
    member = chain.member(store, "2026-1-5")
    chain.bind(member, li, "2026-1-5")
    Clerk.objects.filter(pk=li.pk).update(left_on="2026-02-10")
    told = [(turn.clerk, turn.since, turn.current) for turn in history(member, today=day("02-11"))]
    assert told == [(None, day("02-11"), True), (li, day("01-05"), False)]


def test_a_clerk_between_two_postings_keeps_the_last_store() -> None:
    chain = Chain()
    first, second = chain.store(), chain.store()
    clerk = chain.clerk(first, "2026-1-1", day("02-01"))
    Posting.objects.create(clerk=clerk, store=second, role="clerk", valid_from=day("03-01"))
    member = chain.member(second, "2026-1-1")
    chain.bind(member, clerk, "2026-1-1")

    def listed(on: str) -> list[Store]:
        return [store for store in (first, second) if len(PortfolioOnDate(on=day(on), store=store))]

    assert (listed("02-15"), listed("03-01")) == ([first], [second])


# --- The page and the file ---------------------------------------------------------------------------------------


def read_csv(content: bytes) -> list[dict[str, str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def move(cast: Cast, on: str) -> None:
    """M1 goes from 李 to 王."""
    batch = BindingBatch.objects.create(source="test", recorded_by=cast.users["hr"])
    Binding.objects.filter(member=cast.member).update(valid_to=day(on), ended_by=batch)
    Binding.objects.create(
        member=cast.member, clerk=cast.chain.wang, valid_from=day(on), reason="reassignment", batch=batch
    )


@time_machine.travel(TODAY)
def test_a_store_on_two_dates(cast: Cast) -> None:
    Member.objects.filter(pk=cast.member.pk).update(name="=1+1", phone="13812345678")
    move(cast, "02-10")
    client = cast.client("manager")
    files = {}
    for on in ("2026-02-09", "2026-02-10"):
        url = reverse("store_portfolio_file", args=["S1", "csv"])
        files[on] = read_csv(client.get(url, {"on": on}).content)
        page = client.get(reverse("store_portfolio", args=["S1"]), {"on": on}).content.decode()
        assert "138****5678" in page
        assert "13812345678" not in page
    assert files["2026-02-09"] == [
        {
            "date": "2026-02-09", "store_no": "S1", "clerk_no": "C1", "clerk_name": "店员C1", "member_no": "M1",
            "name": "'=1+1", "phone": "13812345678", "bound_since": "2026-01-01", "reason": "enrolment",
        },
        {
            "date": "2026-02-09", "store_no": "S1", "clerk_no": "", "clerk_name": "", "member_no": "M2", "name": "",
            "phone": "", "bound_since": "", "reason": "unassigned",
        },
    ]  # fmt: skip
    moved = files["2026-02-10"][0]
    assert (moved["clerk_no"], moved["bound_since"], moved["reason"]) == ("C2", "2026-02-10", "reassignment")


@time_machine.travel(TODAY)
def test_the_file_shows_phones_to_whom_they_belong_and_says_who_read_them(cast: Cast) -> None:
    Member.objects.filter(pk=cast.member.pk).update(phone="13812345678")
    shown = {}
    for person in ("clerk", "manager", "hr", "auditor"):
        response = cast.client(person).get(reverse("clerk_portfolio_file", args=["C1", "xlsx"]))
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(response.content)).get_sheet_by_index(0).to_python()
        shown[person] = sheet[1][sheet[0].index("phone")]
    assert shown == {"clerk": "13812345678", "manager": "13812345678", "hr": "138****5678", "auditor": ""}
    assert list(PhoneRead.objects.order_by("pk").values_list("user__username", "members", "page")) == [
        ("li", 1, "/portfolios/clerks/C1/file.xlsx"),
        ("manager", 1, "/portfolios/clerks/C1/file.xlsx"),
    ]
    taken = LogEntry.objects.filter(action=LogEntry.Action.ACCESS, additional_data__export__startswith="portfolio-C1")
    assert taken.count() == 4


@time_machine.travel(TODAY)
def test_a_former_member_s_phone_is_not_the_clerk_s_any_more(cast: Cast) -> None:
    Member.objects.filter(pk=cast.member.pk).update(phone="13812345678", name="韩梅")
    move(cast, "02-10")
    client = cast.client("clerk")
    page = client.get(reverse("clerk_portfolio", args=["C1"]), {"on": "2026-02-09"}).content.decode()
    assert "韩梅" in page
    assert "5678" not in page
    assert reverse("member", args=["M1"]) not in page
    rows = read_csv(client.get(reverse("clerk_portfolio_file", args=["C1", "csv"]), {"on": "2026-02-09"}).content)
    assert [(row["member_no"], row["phone"]) for row in rows] == [("M1", "")]
    assert not PhoneRead.objects.exists()


@time_machine.travel(TODAY)
def test_a_leaver_s_book_stays_until_it_is_handed_over(cast: Cast) -> None:
    Clerk.objects.filter(pk=cast.chain.li.pk).update(left_on=day("02-10"))
    client = cast.client("hr")
    page = client.get(reverse("clerk_portfolio", args=["C1"]), {"on": "2026-02-11"}).content.decode()
    assert "The last day worked was 2026-02-10" in page
    assert "M1" in page
    store = PortfolioOnDate(on=day("02-11"), store=cast.first)
    assert [(row.member.member_no, row.clerk) for row in store[:]] == [("M1", None), ("M2", None)]


@time_machine.travel(TODAY)
@pytest.mark.parametrize("text", ["2026-02-30", "02/01/2026", "２０２６-02-01", "tomorrow"])
def test_what_is_no_date_is_said(cast: Cast, text: str) -> None:
    for url in (reverse("store_portfolio", args=["S1"]), reverse("member", args=["M1"])):
        response = cast.client("manager").get(url, {"on": text})
        assert response.status_code == 400
        assert f'"{text}" is no date: write it as 2026-03-01.' in response.content.decode().replace("&quot;", '"')
    file = reverse("store_portfolio_file", args=["S1", "csv"])
    assert cast.client("manager").get(file, {"on": text}).status_code == 404


@time_machine.travel(TODAY)
def test_a_large_portfolio_asks_no_more_than_a_small_one(
    cast: Cast, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(130):
        cast.chain.member(f"N{number:03}", cast.chain.li)
    client = cast.client("manager")
    with django_assert_max_num_queries(25):
        page = client.get(reverse("store_portfolio", args=["S1"]), {"page": 2})
    assert [row.record.member.member_no for row in page.context["table"].rows] == [
        *(f"N{number:03}" for number in range(99, 130)),
        "M2",
    ]


def numbers_behind(client: Client, link: str) -> list[str]:
    return [row.record.member.member_no for row in client.get(link).context["table"].rows]


@time_machine.travel(TODAY)
def test_each_number_of_members_on_a_store_s_page_opens_those_counted(cast: Cast) -> None:
    """Of S1's clerks 李 owns M1 and M3, a card of S2; 王, who owned M5, has left. 赵 of S2 owns M4, a card of S1."""
    chain = cast.chain
    for member_no, owner in (("M3", chain.li), ("M4", chain.zhao), ("M5", chain.wang)):
        chain.member(member_no, owner)
    Member.objects.filter(member_no="M3").update(store=chain.second)
    Member.objects.filter(member_no="M4").update(store=chain.first)
    Clerk.objects.filter(pk=chain.wang.pk).update(left_on=day("02-15"))
    client = cast.client("manager")
    page = client.get(reverse("store", args=[202602, "S1"]))
    shown = page.content.decode()
    assert page.context["portfolios"].unassigned == 2
    for link, number in {
        "/portfolios/stores/S1/?on=2026-02-20&amp;only=owned": "2",
        "/portfolios/stores/S1/?on=2026-02-20&amp;only=others-cards": "1 of them has another store&#x27;s card.",
        "/portfolios/clerks/C1/?on=2026-02-20": "2",
    }.items():
        assert f'<a href="{link}">{number}</a>' in shown.replace("'", "&#x27;")
    assert "/portfolios/clerks/C2/" not in shown
    portfolio = "/portfolios/stores/S1/?on=2026-02-20"
    assert numbers_behind(client, f"{portfolio}&only=owned") == ["M1", "M3"]
    assert numbers_behind(client, f"{portfolio}&only=others-cards") == ["M3"]
    assert numbers_behind(client, portfolio) == ["M1", "M3", "M2", "M5"]
    assert numbers_behind(client, "/portfolios/clerks/C1/?on=2026-02-20") == ["M1", "M3"]
    members = client.get("/members/?store=S1&sort=card").context["page"].rows
    assert [row.member.member_no for row in members] == ["M1", "M2", "M4", "M5"]
    file = reverse("store_portfolio_file", args=["S1", "csv"])
    rows = read_csv(client.get(file, {"on": "2026-02-20", "only": "others-cards"}).content)
    assert [row["member_no"] for row in rows] == ["M3"]
    assert client.get(f"{portfolio}&only=mine").status_code == 404
