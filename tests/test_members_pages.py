"""The members table and a member's page: who finds whom, in which order, and what is shown of them."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from commission.models import Sale
from kpis.member_figures import refresh_member_figures
from kpis.member_filters import FilterError, matching
from kpis.member_list import PER_PAGE, keys_in_order, member_page
from kpis.models import FiguresRefresh, MemberFigures
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, PhoneRead, User
from tests.cast import Cast, one_cast
from tests.small_chain import day

pytestmark = pytest.mark.django_db

TODAY = dt.date(2026, 2, 20)


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """With a few members more: see `people`."""
    with time_machine.travel(TODAY):
        yield from one_cast(django_db_blocker)


@pytest.fixture
def people(cast: Cast) -> dict[str, Member]:
    """李 has M1 (bought 02-03 for 300.00, in January 300.00) and M3 (bought once, 2025-11-01: at risk), 王 has M4, who
    never bought, and 赵, of the second store, M5, a member of it. M2 is unassigned. M6's card is closed."""
    chain = cast.chain
    named = {"M1": "王伟", "M2": "李娜", "M3": "李明", "M4": "张敏", "M5": "李强", "M6": "李秀"}
    owners = {"M3": chain.li, "M4": chain.wang, "M5": chain.zhao, "M6": chain.li}
    for member_no, owner in owners.items():
        chain.member(member_no, owner)
    for place, (member_no, name) in enumerate(named.items()):
        Member.objects.filter(member_no=member_no).update(name=name, phone=f"1380000{place}{place}{place}{place}")
    Member.objects.filter(member_no="M5").update(store=chain.second)
    Member.objects.filter(member_no="M6").update(closed_on=day("02-01"), counted_to=day("02-01"))
    refresh_member_figures(TODAY)
    MemberFigures.objects.filter(member__member_no="M3").update(
        tier="B", spend_amount=5_000, purchases=1, last_purchase_on=day("2025-12-20"), at_risk_on=TODAY
    )
    MemberFigures.objects.filter(member__member_no="M5").delete()
    return {member.member_no: member for member in Member.objects.all()}


def who(cast: Cast, name: str) -> User:
    user = cast.users[name]
    assert user is not None
    return user


def found(cast: Cast, person: str, query: str) -> list[str]:
    return sorted(matching(who(cast, person), QueryDict(query), TODAY).values_list("member_no", flat=True))


# --- Who finds whom ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_everyone_finds_the_members_one_may_see(cast: Cast) -> None:
    assert {person: found(cast, person, "") for person in cast.PEOPLE[1:]} == {
        "clerk": ["M1", "M3"],
        "other_clerk": ["M5"],
        "manager": ["M1", "M2", "M3", "M4"],
        "other_manager": ["M5"],
        "hr": ["M1", "M2", "M3", "M4", "M5"],
        "auditor": [],
    }


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=李", ["M2", "M3", "M5"]),
        ("q=李明", ["M3"]),
        # A name is found by how it begins, and a card too.
        ("q=明", []),
        ("q=M", ["M1", "M2", "M3", "M4", "M5"]),
        ("q=M4", ["M4"]),
        # M3's phone ends on 2222; three digits of it find nothing.
        ("q=2222", ["M3"]),
        ("q=222", []),
        ("q=%25", []),
        ("store=S1", ["M1", "M2", "M3", "M4"]),
        ("store=S2", ["M5"]),
        ("store=S9", []),
        ("owner=C1", ["M1", "M3"]),
        ("owner=C9", []),
        ("unassigned=on", ["M2"]),
        ("tier=A", ["M1"]),
        ("tier=B", ["M3"]),
        ("bought_from=2026-02-03", ["M1"]),
        ("bought_to=2026-02-02", ["M3"]),
        ("bought_from=2025-12-20&bought_to=2026-02-03", ["M1", "M3"]),
        ("at_risk=on", ["M3"]),
        ("at_risk=on&tier=A", []),
        # What belongs to the page is no filter.
        ("sort=name&page=7&check=1", ["M1", "M2", "M3", "M4", "M5"]),
    ],
)
def test_hr_finds(cast: Cast, query: str, expected: list[str]) -> None:
    assert found(cast, "hr", query) == expected


@pytest.mark.usefixtures("people")
def test_a_filter_never_reaches_beyond_what_one_may_see(cast: Cast) -> None:
    queries = ["", "q=M", "store=S1", "store=S2", "owner=C4", "unassigned=on", "at_risk=on", "tier=C"]
    for person in cast.PEOPLE[1:]:
        visible = set(Member.objects.for_user(who(cast, person), TODAY).values_list("member_no", flat=True))
        for query in queries:
            assert set(found(cast, person, query)) <= visible, (person, query)
    # A store that one does not manage is not there.
    assert found(cast, "manager", "store=S2") == found(cast, "clerk", "store=S1") == []
    assert cast.client("manager").get(reverse("members"), {"store": "S2"}).status_code == 404
    assert cast.client("clerk").get(reverse("members"), {"store": "S1"}).status_code == 404


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("query", "part"), [("tier=D", "Tier: "), ("bought_from=02/31", "Last purchase from: "), ("q=" + "x" * 101, "Name")]
)
def test_a_filter_that_cannot_be_read_finds_nobody_and_says_so(cast: Cast, query: str, part: str) -> None:
    with pytest.raises(FilterError, match=part):
        matching(who(cast, "hr"), QueryDict(query), TODAY)
    response = cast.client("hr").get(f"{reverse('members')}?{query}")
    assert response.status_code == 400
    page = response.content.decode()
    assert "The filter can't be read, so nothing is shown." in page.replace("&#x27;", "'")
    assert part in page
    assert not response.context["table"].rows


# --- Orders and pages --------------------------------------------------------------------------------------------


def order_by_hand(members: list[tuple[int, str, int | None, dt.date | None]], order: str) -> list[int]:
    place = {"name": 1, "spend": 2, "bought": 3}[order.removeprefix("-")]
    having: list[Any] = [member for member in members if member[place] is not None]
    rest = sorted(member[0] for member in members if member[place] is None)
    ranked = sorted(having, key=lambda member: (member[place], member[0]), reverse=order.startswith("-"))
    return [member[0] for member in ranked] + rest


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 2)), st.one_of(st.none(), st.integers(1, 3))
        ),
        max_size=12,
    ),
    st.integers(0, 13),
    st.integers(1, 5),
    st.sampled_from(["name", "-name", "spend", "-spend", "bought", "-bought"]),
)
@settings(max_examples=60, deadline=None)
def test_every_piece_of_every_order_is_that_of_the_whole(
    cast: Cast, made: list[tuple[str, int | None, int | None]], start: int, length: int, order: str
) -> None:
    Member.objects.filter(member_no__startswith="X").delete()
    rows = []
    for place, (name, spend, bought) in enumerate(made):
        member = Member.objects.create(
            member_no=f"X{place}", name=name, store=cast.first, enrolled_on=TODAY, counted_from=TODAY
        )
        on = day(f"02-0{bought}") if bought and spend is not None else None
        if spend is not None:
            MemberFigures.objects.create(member=member, tier="C", spend_amount=spend, purchases=0, last_purchase_on=on)
        rows.append((member.pk, name, spend, on))
    members = Member.objects.filter(member_no__startswith="X")
    expected = order_by_hand(rows, order)[start : start + length]
    assert keys_in_order(members, order, start, length) == expected


@pytest.mark.usefixtures("people")
def test_the_table_by_spend_by_name_and_by_last_purchase(cast: Cast) -> None:
    def listed(person: str, **query: str) -> list[str]:
        table = cast.client(person).get(reverse("members"), query).context["table"]
        return [row.record.member.member_no for row in table.rows]

    assert listed("hr")[:2] == ["M1", "M3"]
    # M5 has no figures yet and comes last, whichever way.
    assert listed("hr", sort="-spend")[-1] == listed("hr", sort="spend")[-1] == "M5"
    assert listed("hr", sort="bought") == ["M3", "M1", "M2", "M4", "M5"]
    assert listed("hr", sort="-bought")[:2] == ["M1", "M3"]
    assert listed("hr", sort="-card") == ["M5", "M4", "M3", "M2", "M1"]
    assert listed("manager", sort="card") == ["M1", "M2", "M3", "M4"]
    # Neither a name that is no order nor a page that is none breaks it.
    assert listed("hr", sort="phone", page="x") == listed("hr")
    assert listed("hr", page="99") == []


def test_pages_and_counts(cast: Cast) -> None:
    for place in range(PER_PAGE + 5):
        cast.chain.member(f"N{place:03}", cast.chain.li)
    members = matching(who(cast, "hr"), QueryDict("q=N"), TODAY)

    def page(number: int, **how: Any) -> Any:
        return member_page(members, order="card", number=number, on=TODAY, as_of=None, **how)

    first, second = page(1, exact=True), page(2, exact=True)
    assert (len(first.rows), len(second.rows)) == (PER_PAGE, 5)
    assert (first.has_next, first.has_previous, second.has_next, second.has_previous) == (True, False, False, True)
    assert first.count == second.count == PER_PAGE + 5
    assert {row.owner.clerk for row in first.rows} == {cast.chain.li}
    assert (first.rows[0].figures, first.rows[0].at_risk) == (None, False)


def test_many_are_not_counted_out(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(6):
        cast.chain.member(f"N{place}", cast.chain.li)
    monkeypatch.setattr("kpis.member_list.COUNTED", 5)
    monkeypatch.setattr("kpis.member_views.COUNTED", 5)
    whole = cast.client("hr").get(reverse("members"))
    assert whole.context["page"].count is None
    assert "more than 5 members" in whole.content.decode()
    # Within a store they are, and all of them can be reassigned.
    assert cast.client("hr").get(reverse("members"), {"store": "S1"}).context["page"].count == 8


@pytest.mark.usefixtures("people")
def test_a_page_of_many_asks_no_more_than_a_page_of_few(cast: Cast) -> None:
    def queries(person: str) -> int:
        client = cast.client(person)
        client.get(reverse("members"))
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("members"))
        return len(captured)

    few = {person: queries(person) for person in ("clerk", "manager", "hr")}
    for place in range(40):
        member = cast.chain.member(f"N{place:03}", (cast.chain.li, cast.chain.wang, None)[place % 3])
        MemberFigures.objects.create(member=member, tier="C", spend_amount=place, purchases=1, last_purchase_on=TODAY)
    assert {person: queries(person) for person in few} == few
    assert max(few.values()) <= 20


# --- Choosing ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_members_of_one_store_are_chosen_to_be_reassigned(cast: Cast) -> None:
    url = reverse("members")
    page = cast.client("hr").get(url, {"store": "S1", "tier": "C", "q": "李"}).content.decode()
    assert f'action="{reverse("propose", args=["S1", "reassignment"])}"' in page
    assert 'name="query" value="store=S1&amp;q=%E6%9D%8E&amp;tier=C"' in page
    assert "Reassign the one that matches" in page
    assert page.count('name="member"') == 1
    assert " checked" not in page
    assert " checked>" in cast.client("manager").get(url, {"check": "1"}).content.decode()
    # Neither a clerk nor HR without a store chooses.
    for response in (cast.client("clerk").get(url), cast.client("hr").get(url)):
        assert 'name="member"' not in response.content.decode()
        assert "Reassign" not in response.content.decode()


@pytest.mark.usefixtures("people")
def test_the_table_shows_phones_masked_to_everyone(cast: Cast) -> None:
    for person in ("clerk", "manager", "hr"):
        page = cast.client(person).get(reverse("members"), {"q": "M1", "store": ""}).content.decode()
        assert "138****0000" in page
        assert "13800000000" not in page
    assert not PhoneRead.objects.exists()


# --- A member's page ---------------------------------------------------------------------------------------------


def move(cast: Cast, member: Member, clerk: Clerk, on: str) -> BindingBatch:
    batch = BindingBatch.objects.create(source="page", recorded_by=who(cast, "hr"), note="moves away")
    Binding.objects.filter(member=member, valid_to=OPEN_END).update(valid_to=day(on), ended_by=batch)
    Binding.objects.create(member=member, clerk=clerk, valid_from=day(on), reason="reassignment", batch=batch)
    return batch


def words(response: Any) -> str:
    import re

    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_a_member_s_page(cast: Cast, people: dict[str, Member]) -> None:
    batch = move(cast, people["M1"], cast.chain.wang, "02-10")
    url = reverse("member", args=["M1"])
    page = words(cast.client("manager").get(url))
    assert "Owner 店员C2 since 2026-02-10" in page
    assert f"since 2026-02-10 店员C2 C2 now reassignment · batch {batch.pk}, hr, page, 2026-" in page
    assert "2026-01-01 – 2026-02-09 店员C1 C1 enrolment · batch" in page
    assert f"Ended by batch {batch.pk}, hr, page" in page
    assert ": moves away" in page
    # 200.00 and 100.00 in January, 300.00 in February.
    assert "12 months (CNY) 600.00 3 days with a purchase" in page
    assert "2026-02-03 店1 300.00 2026-01-06 店1 100.00 2026-01-05 店1 200.00" in page
    assert "On 2026-02-09: C1 店员C1, bound since 2026-01-01 (enrolment)." in words(
        cast.client("manager").get(url, {"on": "2026-02-09"})
    )
    assert "On 2025-12-31 the card did not count" in words(cast.client("manager").get(url, {"on": "2025-12-31"}))
    assert "On 2026-02-20: no owner." in words(
        cast.client("manager").get(reverse("member", args=["M2"]), {"on": "2026-02-20"})
    )


def test_a_number_is_called_with_a_tap(cast: Cast, people: dict[str, Member]) -> None:
    assert '<a href="tel:13800000000">13800000000</a>' in cast.client("clerk").get("/members/M1/").content.decode()
    assert "tel:" not in cast.client("hr").get("/members/M1/").content.decode()


def test_a_store_s_portfolio_says_why_a_name_opens_nothing(cast: Cast, people: dict[str, Member]) -> None:
    page, note = reverse("store_portfolio", args=["S1"]), "A name that opens nothing is of a card"
    assert note not in words(cast.client("manager").get(page))
    Member.objects.filter(member_no="M3").update(store=cast.chain.second)
    assert note in words(cast.client("manager").get(page))
    assert note not in words(cast.client("hr").get(page))


def test_a_former_member_is_no_longer_there(cast: Cast, people: dict[str, Member]) -> None:
    client = cast.client("clerk")
    assert client.get(reverse("member", args=["M1"])).status_code == 200
    move(cast, people["M1"], cast.chain.wang, "02-10")
    assert client.get(reverse("member", args=["M1"])).status_code == 404


def test_amounts_only_of_tickets_that_one_may_see(cast: Cast, people: dict[str, Member]) -> None:
    """M1 is 王's now: 王 sees that there were tickets, but not what they came to; 李's part in them is not 王's."""
    move(cast, people["M1"], cast.chain.wang, "02-10")
    cast.users["wang"] = cast.user("wang", clerk=cast.chain.wang)
    response = cast.client("wang").get(reverse("member", args=["M1"]))
    assert [(purchase.sale.business_date, purchase.net_amount) for purchase in response.context["purchases"]] == [
        (day("02-03"), None),
        (day("01-06"), None),
        (day("01-05"), None),
    ]
    assert "/tickets/" not in response.content.decode().replace(f'"{reverse("my_tickets")}"', "")


def test_who_reads_a_phone_number_is_on_record(cast: Cast, people: dict[str, Member]) -> None:
    url = reverse("member", args=["M1"])
    shown = {person: "13800000000" in words(cast.client(person).get(url)) for person in ("clerk", "manager", "hr")}
    assert shown == {"clerk": True, "manager": True, "hr": False}
    reads = PhoneRead.objects.order_by("pk").values_list("user__username", "member__member_no", "members", "page")
    assert list(reads) == [("li", "M1", 1, url), ("manager", "M1", 1, url)]
    who(cast, "hr").user_permissions.add(Permission.objects.get(codename="see_phones"))
    assert "13800000000" in words(cast.client("hr").get(url))
    assert reads.last() == ("hr", "M1", 1, url)


def test_a_lock_is_set_taken_away_and_on_record(cast: Cast, people: dict[str, Member]) -> None:
    url = reverse("member_lock", args=["M1"])
    client = cast.client("manager")
    for wanted, locked in (("on", True), ("on", True), ("off", False)):
        assert client.post(url, {"lock": wanted}).status_code == 302
        assert Member.objects.get(member_no="M1").locked is locked
    entries = LogEntry.objects.get_for_object(people["M1"]).order_by("pk")
    assert [(entry.actor.username, entry.changes) for entry in entries] == [
        ("manager", {"locked": ["False", "True"]}),
        ("manager", {"locked": ["True", "False"]}),
    ]
    assert cast.client("clerk").post(url, {"lock": "on"}).status_code == 404


def test_a_member_with_many_tickets_and_owners_asks_no_more(cast: Cast, people: dict[str, Member]) -> None:
    def queries() -> int:
        client = cast.client("manager")
        client.get(reverse("member", args=["M1"]))
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("member", args=["M1"]))
        return len(captured)

    few = queries()
    for place in range(25):
        cast.chain.sale("02-11", (cast.chain.zhang, 100 + place), member=people["M1"])
    for place in range(6):
        move(cast, people["M1"], (cast.chain.wang, cast.chain.li)[place % 2], f"02-{12 + place}")
    assert queries() == few
    response = cast.client("manager").get(reverse("member", args=["M1"]), {"page": 2})
    assert len(response.context["purchases"]) == Sale.objects.filter(member=people["M1"]).count() - 20


def test_without_figures_the_page_and_the_table_have_blanks(cast: Cast, people: dict[str, Member]) -> None:
    MemberFigures.objects.all().delete()
    FiguresRefresh.objects.all().delete()
    assert "12 months (CNY)" not in words(cast.client("manager").get(reverse("member", args=["M1"])))
    table = words(cast.client("manager").get(reverse("members")))
    assert "Tier, purchases and spend appear after the first night." in table
    assert "4 members" in table
    assert found(cast, "hr", "at_risk=on") == []
