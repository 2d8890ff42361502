"""Leavers and movers: the last day, the alert, who waits for an owner, and what became of a hand-over."""

import datetime as dt
from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from commission.models import Attribution
from kpis.follow_up import follow_up
from kpis.leaving import Departure, LeavingError, departures, move, set_last_day
from kpis.models import Proposal
from kpis.proposals import Options, apply_proposal, draft, moves_of
from kpis.unassigned_list import waiting
from portfolios.bindings import end
from portfolios.models import Binding, Clerk, Member, Month, Posting, User
from portfolios.months import MonthError
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


@pytest.fixture
def tenth() -> Iterator[None]:
    with time_machine.travel("2026-01-10 10:00 +0800", tick=False):
        yield


def reread(clerk: Clerk) -> Clerk:
    return Clerk.objects.get(pk=clerk.pk)


def kinds(member: Member) -> list[tuple[str, str, int]]:
    rows = Attribution.objects.filter(member=member).order_by("pk")
    return [(row.kind, row.reason, row.commission_amount) for row in rows]


def test_sales_after_the_last_day_have_no_owner(chain: SmallChain) -> None:
    """王 sold 李's member 100.00 on 01-20 (3.00). With a last day of 01-15 it has no owner: reversed, booked anew."""
    member = chain.member("M1", chain.li)
    chain.sale("01-15", (chain.wang, 10_000), member=member)
    chain.sale("01-20", (chain.wang, 10_000), member=member)
    assert set_last_day(chain.li, day("01-15"), by=None) == 1
    assert kinds(member) == [
        ("SPLIT", "SALE", 300),
        ("SPLIT", "SALE", 300),
        ("SPLIT", "CORRECTION", -300),
        ("UNOWNED", "CORRECTION", 300),
    ]
    assert set_last_day(chain.li, day("01-15"), by=None) == 0
    assert set_last_day(reread(chain.li), None, by=None) == 1
    assert reread(chain.li).left_on is None
    assert sum(Attribution.objects.filter(owner=chain.li).values_list("owner_commission_amount", flat=True)) == 420


def test_a_last_day_that_cannot_be(chain: SmallChain) -> None:
    with pytest.raises(LeavingError, match="was hired on 2026-01-01: the last day can't be 2025-12-31"):
        set_last_day(chain.li, dt.date(2025, 12, 31), by=None)
    Month.objects.update(closed_at=timezone.now())
    with pytest.raises(MonthError, match="choose 2026-02-01 or later"):
        set_last_day(chain.li, day("01-30"), by=None)
    set_last_day(chain.li, day("01-31"), by=None)
    assert reread(chain.li).left_on == day("01-31")


def test_the_alert_stays_until_the_portfolio_is_handed_over(chain: SmallChain) -> None:
    for n in range(4):
        chain.member(f"M{n}", chain.li)
    set_last_day(chain.li, day("01-15"), by=None)
    li = reread(chain.li)
    assert departures(chain.first, today=day("01-10")) == [Departure(li, day("01-16"), 4, has_left=False)]
    assert departures(chain.first, today=day("02-10")) == [Departure(li, day("01-16"), 4, has_left=True)]
    assert departures(chain.second, today=day("02-10")) == []
    proposal = draft(
        Proposal.Kind.HAND_OVER, chain.first, clerk=li, on=day("01-16"), options=Options(takers=("C2", "C3"))
    )
    apply_proposal(proposal, by=None)
    assert departures(chain.first, today=day("02-10")) == []


def test_a_move_keeps_the_portfolio_and_the_weight(chain: SmallChain) -> None:
    member = chain.member("M1", chain.li)
    Posting.objects.filter(clerk=chain.li).update(weight_percent=50)
    move(chain.li, chain.second, day("02-01"))
    assert list(
        Posting.objects.filter(clerk=chain.li).values_list("store__store_no", "valid_from", "weight_percent")
    ) == [("S1", day("01-01"), 50), ("S2", day("02-01"), 50)]
    assert chain.li in Clerk.objects.posted_to(chain.second, day("02-01"))
    assert chain.li in Clerk.objects.posted_to(chain.first, day("01-31"))
    assert Binding.objects.valid().get(member=member).clerk == chain.li
    with pytest.raises(LeavingError, match="is to leave store S1 on 2026-02-01 already"):
        move(chain.li, chain.second, day("01-20"))
    with pytest.raises(LeavingError, match="works at store S2 already"):
        move(chain.li, chain.second, day("02-20"))
    Month.objects.update(closed_at=timezone.now())
    with pytest.raises(MonthError, match="2026-01-20, in a month that is closed"):
        move(chain.wang, chain.second, day("01-20"))


def test_who_waits_how_long_and_what_they_bought(chain: SmallChain) -> None:
    """M1 waits since its card, M2 since 李's last day, M3 since it was sent to the list. M2 bought 200.00 at 3% after
    that day, with a house share of 70%: 4.20 for the store, 1.80 for the server."""
    chain.plan.__class__.objects.filter(pk=chain.plan.pk).update(house_share_bp=7_000)
    chain.member("M1", None, "01-03")
    left = chain.member("M2", chain.li)
    ended = chain.member("M3", chain.wang)
    chain.member("M4", chain.wang)
    chain.sale("01-08", (chain.wang, 50_000), member=left)
    set_last_day(chain.li, day("01-10"), by=None)
    end([ended.pk], on=day("01-05"), batch=chain.batch)
    chain.sale("01-12", (chain.wang, 20_000), member=left)
    rows = {row.member.member_no: row for row in waiting(chain.first, day("01-20"))}
    assert [(no, row.since, row.days) for no, row in rows.items()] == [
        ("M1", day("01-03"), 17),
        ("M3", day("01-05"), 15),
        ("M2", day("01-11"), 9),
    ]
    row = rows["M2"]
    assert (row.net_amount, row.server_commission_amount, row.house_commission_amount) == (20_000, 180, 420)
    assert rows["M1"].net_amount == 0
    assert waiting(chain.second, day("01-20")) == []


def test_who_bought_again_under_the_new_owner(chain: SmallChain) -> None:
    """Of 李's five: M0 buys on the first day, M1 on the 30th, M2 on the 31st, M3 before the hand-over only, and M4
    after it went on to 张."""
    members = [chain.member(f"M{n}", chain.li) for n in range(5)]
    proposal = draft(
        Proposal.Kind.HAND_OVER, chain.first, clerk=chain.li, on=day("01-10"), options=Options(takers=("C2",))
    )
    apply_proposal(proposal, by=None)
    onward = Options(takers=("C3",), members=(members[4].pk,))
    apply_proposal(draft(Proposal.Kind.REASSIGNMENT, chain.first, on=day("01-20"), options=onward), by=None)
    for n, on in enumerate(["01-10", "02-08", "02-09", "01-09", "01-25"]):
        chain.sale(on, (chain.zhang, 1_000), member=members[n])
    (row,) = follow_up(moves_of(proposal), day("01-10"), today=day("02-20"))
    assert (row.clerk, row.members) == (chain.wang, 5)
    assert [(window.days, window.bought, window.complete) for window in row.windows] == [
        (30, 2, True),
        (60, 3, False),
        (90, 3, False),
    ]


def test_a_return_is_no_purchase(chain: SmallChain) -> None:
    member = chain.member("M1", chain.li)
    (sold,) = chain.sale("01-05", (chain.wang, 1_000), member=member)
    chosen = Options(takers=("C2",), members=(member.pk,))
    proposal = draft(Proposal.Kind.REASSIGNMENT, chain.first, on=day("01-10"), options=chosen)
    apply_proposal(proposal, by=None)
    chain.sale("01-12", (chain.wang, -1_000), returns=sold, member=member)
    (row,) = follow_up(moves_of(proposal), day("01-10"), today=day("02-20"))
    assert [window.bought for window in row.windows] == [0, 0, 0]


# --- The page, and the login -------------------------------------------------------------------------------------


def client_of(user: User) -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(user, backend="portfolios.access.StaffBackend")
    return client


@pytest.mark.usefixtures("tenth")
def test_from_the_last_day_to_the_hand_over(chain: SmallChain) -> None:
    chain.member("M1", chain.li)
    manager = client_of(
        User.objects.create(username="m", clerk=chain.clerk("C8", store=chain.first, role=Posting.Role.MANAGER))
    )
    address = reverse("leaving", args=["S1"])
    answer = manager.post(address, {"clerk": "C1", "last_day": "2026-01-15"})
    assert answer["Location"] == reverse("propose", args=["S1", "hand_over"]) + "?clerk=C1&on=2026-01-16"
    form = manager.get(answer["Location"]).context["form"]
    assert (form["clerk"].value(), str(form["on"].value())) == ("C1", "2026-01-16")
    assert "C1" not in form["takers"].value()
    assert "last day 2026-01-15" in manager.get(address).content.decode()
    assert "last day 2026-01-15" in manager.get(reverse("store", args=[202601, "S1"])).content.decode()

    assert manager.post(address, {"clerk": "C1"}).status_code == 302
    assert reread(chain.li).left_on is None
    assert manager.post(address, {"clerk": "C4", "last_day": "2026-01-15"}).status_code == 422
    assert manager.post(address, {"clerk": "C2", "to_store": "S2"}).status_code == 422
    assert manager.post(address, {"clerk": "C2", "to_store": "S2", "last_day": "2026-01-31"}).status_code == 302
    assert chain.wang in Clerk.objects.posted_to(chain.second, day("02-01"))


def test_access_ends_with_the_last_day(chain: SmallChain) -> None:
    user = User.objects.create_user(username="li", password="correct horse battery", clerk=chain.li)
    client = client_of(user)
    set_last_day(chain.li, day("01-15"), by=None)
    with time_machine.travel("2026-01-15 23:00 +0800", tick=False):
        assert client.get(reverse("payslips")).status_code == 200
    with time_machine.travel("2026-01-16 00:30 +0800", tick=False):
        assert client.get(reverse("payslips"))["Location"].startswith(reverse("login"))
        data = {"username": "li", "password": "correct horse battery"}
        assert Client().post(reverse("login"), data).status_code == 200
