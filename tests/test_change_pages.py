"""Changing owners on the pages: choose, preview, apply, take back. The people are those of `tests.cast`."""

import re
from collections.abc import Iterator

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from kpis.change_charts import before_after, moves_curve, percent_text
from kpis.models import Proposal
from portfolios.models import Binding, BindingBatch, Member, Posting
from portfolios.rebalance import CurvePoint
from tests.cast import Cast, one_cast
from tests.small_chain import day

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_february")]


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture
def in_february() -> Iterator[None]:
    with time_machine.travel("2026-02-09 10:00 +0800", tick=False):
        yield


@pytest.fixture
def manager(cast: Cast) -> Client:
    return cast.client("manager")


def text(response: object) -> str:
    """What a person reads on a page: without tags, white space as one blank."""
    content = response.content.decode()  # type: ignore[attr-defined]
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


def url(kind: str) -> str:
    return reverse("propose", args=["S1", kind])


def owner(member: Member, on: str) -> str:
    bound = Binding.objects.valid().filter(member=member, valid_from__lte=day(on), valid_to__gt=day(on)).first()
    return bound.clerk.clerk_no if bound else ""


def reassign(client: Client, cast: Cast, **more: str) -> Proposal:
    """李's member goes to 张 from 2026-02-10."""
    data = {"member": str(cast.member.pk), "on": "2026-02-10", "takers": ["C3"], "note": "lives next door"} | more
    response = client.post(url("reassignment"), data)
    assert response.status_code == 302, text(response)
    proposal = Proposal.objects.latest("pk")
    assert response["Location"] == reverse("proposal", args=[proposal.pk])
    return proposal


def test_a_reassignment_from_choice_to_undo(cast: Cast, manager: Client) -> None:
    chosen = manager.post(url("reassignment"), {"member": str(cast.member.pk)})
    assert chosen.status_code == 200
    assert "1 member is chosen." in text(chosen)
    assert chosen.context["form"]["on"].initial == day("02-10")

    proposal = reassign(manager, cast)
    page = text(manager.get(reverse("proposal", args=[proposal.pk])))
    assert "Members who change owner 1" in page
    assert "lives next door" in page
    assert owner(cast.member, "02-10") == "C1"

    applied = manager.post(reverse("apply_proposal", args=[proposal.pk]), follow=True)
    assert "1 member has a new owner." in text(applied)
    assert (owner(cast.member, "02-09"), owner(cast.member, "02-10")) == ("C1", "C3")
    assert BindingBatch.objects.get(proposal=proposal).recorded_by == cast.users["manager"]
    assert "店员C8 2026-02-09 10:00 lives next door" in text(manager.get(reverse("changes", args=["S1"])))

    undone = manager.post(reverse("undo_proposal", args=[proposal.pk]), follow=True)
    assert "every member is with whom it was before" in text(undone)
    assert owner(cast.member, "02-10") == "C1"
    assert "Taken back 2026-02-09 10:00 by 店员C8." in text(undone)


def test_the_page_applies_through_htmx_and_is_sent_on(cast: Cast, manager: Client) -> None:
    """A plain form would be cancelled by the progress that listens to it."""
    proposal = reassign(manager, cast)
    page = manager.get(reverse("proposal", args=[proposal.pk])).content.decode()
    address = reverse("apply_proposal", args=[proposal.pk])
    assert f'hx-post="{address}"' in page
    answer = manager.post(address, headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (200, reverse("proposal", args=[proposal.pk]))
    assert owner(cast.member, "02-10") == "C3"


def test_a_double_click_applies_once(cast: Cast, manager: Client) -> None:
    proposal = reassign(manager, cast)
    address = reverse("apply_proposal", args=[proposal.pk])
    pages = [text(manager.post(address, follow=True)) for _click in range(2)]
    assert all("1 member has a new owner." in page for page in pages)
    assert Binding.objects.filter(batch__proposal=proposal).count() == 1


def test_a_preview_that_is_no_longer_true_is_made_anew(cast: Cast, manager: Client) -> None:
    first, second = reassign(manager, cast), reassign(manager, cast, takers="C2")
    manager.post(reverse("apply_proposal", args=[second.pk]))
    answer = manager.post(reverse("apply_proposal", args=[first.pk]), follow=True)
    assert "Nothing was applied: look at the new preview." in text(answer)
    assert answer.redirect_chain[-1][0] == reverse("proposal", args=[Proposal.objects.latest("pk").pk])
    assert owner(cast.member, "02-10") == "C2"


def test_dates_are_filled_in_whatever_the_language(cast: Cast) -> None:
    page = cast.client("manager", "zh-hans").get(url("split")).content.decode()
    assert 'value="2026-02-10"' in page


def test_the_unassigned_are_shared_out_in_two_clicks(cast: Cast, manager: Client) -> None:
    store = manager.get(reverse("store", args=[202602, "S1"]))
    assert 'name="quick"' in store.content.decode()
    preview = manager.post(url("unassigned"), {"quick": "1"}, follow=True)
    assert "Members who change owner 1 Takes effect on 2026-02-09" in text(preview)
    proposal = preview.context["proposal"]
    manager.post(reverse("apply_proposal", args=[proposal.pk]))
    assert owner(cast.unassigned, "02-09") in {"C2", "C3"}


def test_dated_back_the_preview_says_whose_pay_moves(cast: Cast, manager: Client) -> None:
    """李 sold the member 300.00 on 02-03 (9.00 for her). Bound to 张 from 02-01, 70% of it are his: 6.30."""
    proposal = reassign(manager, cast, on="2026-02-01")
    page = text(manager.get(reverse("proposal", args=[proposal.pk])))
    assert "店员C1 C1 −6.30" in page
    assert "店员C3 C3 6.30" in page
    assert "Booked sales that are corrected 1" in page


def test_a_closed_month_is_refused_in_the_form(cast: Cast, manager: Client) -> None:
    data = {"member": str(cast.member.pk), "on": "2026-01-31", "takers": ["C3"]}
    refused = manager.post(url("reassignment"), data)
    assert refused.status_code == 422
    assert "2026-01-31, in a month that is closed" in text(refused)
    assert "choose 2026-02-01 or later" in text(refused)


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("reassignment", {}, "Choose who takes the members"),
        ("reassignment", {"takers": "C3", "to_list": "on"}, "Choose clerks or the unassigned list, not both."),
        ("reassignment", {"takers": "C3"}, "No members are chosen"),
        ("reassignment", {"takers": "C4"}, "C4 does not serve in this store on that day: choose another day"),
        ("hand_over", {"clerk": "C1", "takers": "C1"}, "Who hands over can"),
        ("hand_over", {"clerk": "C2", "takers": "C3"}, "C2"),
        ("rebalance", {"spread": "much"}, "number"),
        ("split", {"on": "soon", "takers": "C1"}, "date"),
    ],
)
def test_what_can_not_be_is_said_and_nothing_is_drafted(
    cast: Cast, manager: Client, kind: str, data: dict[str, str], message: str
) -> None:
    count = Proposal.objects.count()
    refused = manager.post(url(kind), {"on": "2026-02-10"} | data)
    assert refused.status_code == 422
    assert message in text(refused)
    assert Proposal.objects.count() == count


def test_a_hand_over_names_the_leaver(cast: Cast, manager: Client) -> None:
    form = manager.get(url("hand_over"), {"clerk": "C1"}).context["form"]
    assert form["clerk"].value() == "C1"
    answer = manager.post(
        url("hand_over"), {"clerk": "C1", "on": "2026-02-15", "takers": ["C2", "C3"], "keep_within": "5"}, follow=True
    )
    assert "Hand-over · 店员C1" in text(answer)
    manager.post(reverse("apply_proposal", args=[answer.context["proposal"].pk]))
    assert (owner(cast.member, "02-14"), owner(cast.member, "02-15")) == ("C1", "C2")


def test_members_of_another_store_are_not_for_this_manager(cast: Cast) -> None:
    other = cast.client("other_manager")
    data = {"member": str(cast.member.pk), "on": "2026-02-10", "takers": ["C4"]}
    refused = other.post(reverse("propose", args=["S2", "reassignment"]), data)
    assert refused.status_code == 422
    assert "No members are chosen" in text(refused)


def test_all_that_match_a_search(cast: Cast, manager: Client) -> None:
    answer = manager.post(url("reassignment"), {"all": "1", "query": "store=S1&unassigned=on"})
    assert answer.status_code == 200
    assert [member.member_no for member in answer.context["members"]] == ["M2"]


def test_rebalance_shows_what_moves_buy(cast: Cast, manager: Client) -> None:
    page = manager.get(url("rebalance"))
    assert page.context["points"][0][0].moves == 0
    assert "What so many moves buy" in text(page)
    Posting.objects.filter(store__store_no="S1").update(weight_percent=0)
    assert manager.get(url("rebalance")).status_code == 200


def test_bars_share_one_scale_and_one_zero_line() -> None:
    first, second = before_after([(6_000, 3_000), (-1_000, 0)])
    assert (first.zero_x, first.before_x, first.before_width) == ("20.0", "20.0", "120.0")
    assert (first.after_width, second.before_x, second.before_width) == ("60.0", "0.0", "20.0")
    assert before_after([(0, 0)])[0].after_width == "0.0"


def test_the_curve_falls_from_left_to_right() -> None:
    curve = moves_curve([CurvePoint(1_000, 0, 0.2), CurvePoint(100, 10, 0.1)])  # type: ignore[arg-type]
    assert curve.line == "M44.0,16.0 L496.0,91.0"
    assert [mark.percent for mark in curve.marks] == ["20.0%", "10.0%"]
    assert moves_curve([]).line == ""


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(0, "0%"), (0.1234, "12.3%"), (0.0044, "0.44%"), (0.00041, "0.041%"), (0.000001, "< 0.001%"), (1.5, "150.0%")],
)
def test_percentages(ratio: float, shown: str) -> None:
    assert percent_text(ratio) == shown
