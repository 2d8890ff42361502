"""The care log: what was said to a member, by whom, and the complaints that wait for a manager."""

from collections.abc import Iterator

import pytest
import time_machine
from django.db import DatabaseError, transaction
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from kpis.care import CareError, close_complaint, log_contact
from kpis.models import CareContact
from portfolios.models import User
from tests.cast import Cast, one_cast
from tests.small_chain import day

Kind, Outcome = CareContact.Kind, CareContact.Outcome
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture(autouse=True)
def in_february() -> Iterator[None]:
    with time_machine.travel("2026-02-09 10:00 +0800", tick=False):
        yield


def person(cast: Cast, name: str) -> User:
    user = cast.users[name]
    assert user is not None
    return user


def complaint(cast: Cast) -> CareContact:
    return log_contact(
        cast.member,
        kind=Kind.COMPLAINT,
        outcome=Outcome.REACHED,
        by=person(cast, "clerk"),
        on=day("02-09"),
        note="the box was open",
    )


def test_a_clerk_logs_a_call_with_the_own_member(cast: Cast) -> None:
    client = cast.client("clerk")
    data = {"kind": "follow_up", "outcome": "not_reached", "note": "rings off", "next_on": "2026-02-12"}
    page = client.post(reverse("member_care", args=["M1"]), data, follow=True)
    (contact,) = CareContact.objects.all()
    assert (contact.on, contact.next_on, contact.recorded_by) == (day("02-09"), day("02-12"), person(cast, "clerk"))
    text = page.content.decode()
    assert "M1: the call is in the care log." in text
    assert "rings off" in text
    assert "again on 2026-02-12" in text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "follow_up", "outcome": "reached", "next_on": "2026-02-09"}, "not after this one"),
        ({"kind": "complaint", "outcome": "reached"}, "what the complaint is about"),
        ({"kind": "gossip", "outcome": "reached"}, "gossip"),
        ({"kind": "follow_up"}, "required"),
    ],
)
def test_what_can_not_be_logged_is_said(cast: Cast, data: dict[str, str], message: str) -> None:
    page = cast.client("clerk").post(reverse("member_care", args=["M1"]), data, follow=True)
    assert message in page.content.decode()
    assert not CareContact.objects.exists()


def test_a_complaint_is_open_until_the_manager_closes_it(cast: Cast) -> None:
    contact = complaint(cast)
    address = reverse("complaint_close", args=[contact.pk])
    assert cast.client("other_manager").post(address).status_code == 404
    refused = cast.client("clerk").post(address, follow=True)
    assert "Only a manager of the member" in refused.content.decode()
    assert list(CareContact.objects.open_complaints()) == [contact]
    cast.client("manager").post(address)
    cast.client("hr").post(address)
    contact.refresh_from_db()
    assert contact.closed_by == person(cast, "manager")
    assert not CareContact.objects.open_complaints().exists()
    with pytest.raises(CareError):
        close_complaint(contact, by=person(cast, "other_clerk"))


def test_a_contact_is_never_edited(cast: Cast) -> None:
    contact = complaint(cast)
    for change in (
        lambda: CareContact.objects.filter(pk=contact.pk).update(note="nothing"),
        contact.delete,
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
