"""A clerk's day on a phone: today's list and its two taps, a profile at the counter; the complaints of a manager."""

import re
from collections.abc import Iterator

import pytest
import time_machine
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from kpis.care import log_contact
from kpis.contact_results import refresh_contact_results
from kpis.models import CareContact, FiguresRefresh, MemberFigures, ProfileCheck
from portfolios.models import Member, PhoneRead
from tests.cast import Cast, one_cast
from tests.small_chain import day

pytestmark = pytest.mark.django_db
Kind, Outcome = CareContact.Kind, CareContact.Outcome


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture(autouse=True)
def in_february(cast: Cast) -> Iterator[None]:
    """M1 of 李: an A member, with a phone and a neighbourhood."""
    with time_machine.travel("2026-02-09 10:00 +0800", tick=False):
        Member.objects.filter(pk=cast.member.pk).update(
            name="王芳", phone="13812345678", neighbourhood="West Lake", birth_date=day("1980-02-09")
        )
        MemberFigures.objects.create(
            member=cast.member, tier="A", spend_amount=60_000, purchases=3, last_purchase_on=day("02-03")
        )
        FiguresRefresh.objects.create(as_of=day("02-09"))
        yield


def log(cast: Cast, on: str, kind: CareContact.Kind = Kind.FOLLOW_UP, note: str = "") -> CareContact:
    user = cast.users["clerk"]
    assert user
    return log_contact(cast.member, kind=kind, outcome=Outcome.REACHED, by=user, on=day(on), note=note)


def test_home_shows_the_day_and_a_call_is_logged_with_one_button(cast: Cast) -> None:
    client = cast.client("clerk")
    home = reverse("clerk_month", args=[202602, "C1"])
    text = client.get(home).content.decode()
    assert "Birthdays: 1" in text
    assert ">Birthday today.<" in text
    assert ">A member: no talk on record yet.<" in text
    # Nothing but the outcome is needed; it leads back home, where nobody waits any more.
    form = re.search(r'<form method="post" action="(/members/M1/care/)".*?</form>', text, re.S)
    assert form
    assert 'name="back" value="home"' in form[0]
    assert 'value="follow_up"' in re.findall(r"<input[^>]*checked[^>]*>", form[0])[0]
    page = client.post(form[1], {"kind": "follow_up", "outcome": "reached", "back": "home"}, follow=True)
    assert page.redirect_chain[-1][0] == home
    assert "王芳: the call is in the care log." in page.content.decode()
    assert "Nobody waits for a call today." in page.content.decode()
    # The closed month, and another's look at the page, have no list.
    assert "Nobody waits" not in client.get(reverse("clerk_month", args=[202601, "C1"])).content.decode()
    assert "Nobody waits" not in cast.client("manager").get(home).content.decode()


def test_todays_page_has_the_reason_and_the_last_talk_and_no_whole_number(cast: Cast) -> None:
    log(cast, "01-05", note="asked about the brace")
    MemberFigures.objects.filter(pk=cast.member.pk).update(at_risk_on=day("02-08"))
    # The page reads last night's figures, no tickets.
    cast.chain.sale("02-08", (cast.chain.li, 1_000), member=cast.member, book=False)
    text = cast.client("clerk").get(reverse("today")).content.decode()
    assert "At risk since 2026-02-08: last bought on 2026-02-03." in text
    assert "the next talk was due on 2026-02-04." in text
    assert "Last talk on 2026-01-05: follow-up, reached." in text
    assert "asked about the brace" in text
    assert "138****5678" in text
    assert "13812345678" not in text
    assert not PhoneRead.objects.exists()
    assert "Nobody waits for a call today." in cast.client("other_clerk").get(reverse("today")).content.decode()


def test_a_members_page_says_what_a_talk_was_followed_by(cast: Cast) -> None:
    """The cast's sales are of 01-05, 01-06 and 02-03; purchases are known until 02-08."""
    for on in ("01-05", "01-06", "01-25"):
        log(cast, on)
    refresh_contact_results(day("02-09"))
    text = cast.client("clerk").get(reverse("member", args=["M1"])).content.decode()
    assert "bought on 2026-01-06, 1 day later" in text
    assert "bought on 2026-02-03, 9 days later" in text
    # 01-06 + 14 days is over without a purchase; those of 02-09 count until 02-23.
    assert "nothing bought within 14 days" in text
    log(cast, "02-09")
    assert "one counts until 2026-02-23" in cast.client("clerk").get(reverse("member", args=["M1"])).content.decode()


def test_a_profile_is_confirmed_at_the_counter(cast: Cast) -> None:
    client = cast.client("clerk")
    assert "Never confirmed" in client.get(reverse("upkeep")).content.decode()
    found = client.get(reverse("upkeep"), {"q": "5678"}).content.decode()
    address = reverse("upkeep_member", args=["M1"])
    assert address in found
    assert address not in client.get(reverse("upkeep"), {"q": "1381"}).content.decode()
    page = client.get(address).content.decode()
    assert "138****5678" in page
    assert "13812345678" not in found + page
    done = client.post(address, {"right": "1"}, follow=True).content.decode()
    assert "王芳: thank you. Today 1 of 3." in done
    assert "Profiles today: 1 of 3" in done
    assert len(re.findall('class="ring-done"', done)) == 1
    assert ProfileCheck.objects.get().outcome == ProfileCheck.Outcome.CONFIRMED
    again = client.post(address, {"right": "1"})
    assert again.status_code == 422
    assert "This profile was confirmed on 2026-02-09" in again.content.decode()
    assert not PhoneRead.objects.exists()


def test_a_phone_of_another_card_is_said_to_be_whose(cast: Cast) -> None:
    Member.objects.filter(member_no="M2").update(phone="13900000009")
    client, address = cast.client("clerk"), reverse("upkeep_member", args=["M1"])
    wanted = {"phone": "139 0000 0009", "neighbourhood": "East Lake", "correct": "1"}
    refused = client.post(address, wanted)
    assert refused.status_code == 422
    text = refused.content.decode()
    assert "Another card has this phone: nothing was changed." in text
    assert "Member without an owner" in text
    client.post(address, wanted | {"another_person": "on"})
    cast.member.refresh_from_db()
    assert (cast.member.phone, cast.member.neighbourhood) == ("13900000009", "East Lake")


def test_complaints_wait_on_the_managers_page(cast: Cast) -> None:
    complaint = log(cast, "02-07", Kind.COMPLAINT, "the box was open")
    manager, page = cast.client("manager"), reverse("complaints")
    store = manager.get(reverse("store", args=[202602, "S1"])).content.decode()
    assert "1 complaint is open" in store
    text = manager.get(page).content.decode()
    assert "the box was open" in text
    assert "Logged on 2026-02-07 by 店员C1, open for 2 days." in text
    assert "the box was open" not in cast.client("other_manager").get(page).content.decode()
    closed = manager.post(reverse("complaint_close", args=[complaint.pk]), {"back": "complaints"}, follow=True)
    assert closed.redirect_chain[-1][0] == page
    assert "No complaint is open." in closed.content.decode()
    assert "the complaint is closed." in closed.content.decode()
