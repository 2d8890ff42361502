"""The pages of an enrolment: two steps on a phone, whose a known phone is, what is wrong beside its field."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from portfolios.models import Member
from tests.cast import Cast, one_cast

PHONE = "13800138000"


@pytest.fixture(scope="module")
def module_cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture
def cast(module_cast: Cast, db: None) -> Iterator[Cast]:
    with time_machine.travel("2026-02-03 09:00+08:00"):
        yield module_cast


def text(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def token_of(response: Any) -> str:
    (token,) = set(re.findall(r'name="form_token" value="([^"]+)"', response.content.decode()))
    return str(token)


def check(client: Client, phone: str) -> Any:
    return client.post(reverse("enrol"), {"phone": phone, "form_token": str(uuid.uuid4()), "check": ""})


def test_two_steps_on_a_phone(cast: Cast) -> None:
    client = cast.client("clerk")
    assert reverse("enrol") in client.get(reverse("my_month"), follow=True).content.decode()
    first = client.get(reverse("enrol")).content.decode()
    assert 'type="tel"' in first
    assert 'autocomplete="off"' in first
    second = check(client, "138 0013 8000")
    assert "No card has this number yet 13800138000" in text(second)
    sent = {"phone": PHONE, "name": "周敏", "consent": "on", "form_token": token_of(second), "enrol": ""}
    done = client.post(reverse("enrol"), sent)
    member = Member.objects.get(phone=PHONE)
    assert done["Location"] == reverse("enrolled", args=[member.member_no])
    page = text(client.get(done["Location"]))
    assert "Card number S1-000001" in page
    assert "周敏 is your member from 2026-02-03 on." in page
    # Sent twice, it shows the same card.
    assert client.post(reverse("enrol"), sent)["Location"] == done["Location"]
    assert Member.objects.filter(phone=PHONE).count() == 1
    # It is nobody else's page.
    assert cast.client("other_clerk").get(done["Location"]).status_code == 404


def test_the_page_says_whose_the_phone_is_and_no_more(cast: Cast) -> None:
    Member.objects.filter(pk=cast.member.pk).update(phone=PHONE, name="周敏", neighbourhood="西湖")
    page = check(cast.client("other_clerk"), PHONE)
    assert "13800138000 has a card already. Nobody was enrolled." in text(page)
    assert "Member of 店员C1 店1" in text(page)
    for detail in ("周敏", "西湖", "M1"):
        assert detail not in text(page)
    assert "Your own member 店1" in text(check(cast.client("clerk"), PHONE))
    # Without the tick nothing is done; with it a different person is enrolled.
    client = cast.client("other_clerk")
    sent = {"phone": PHONE, "name": "周小敏", "consent": "on", "form_token": token_of(page), "enrol": ""}
    refused = client.post(reverse("enrol"), sent)
    assert "has a card already" in text(refused)
    assert Member.objects.filter(phone=PHONE).count() == 1
    sent |= {"another_person": "on", "form_token": token_of(refused)}
    assert client.post(reverse("enrol"), sent).status_code == 302
    assert Member.objects.filter(phone=PHONE).count() == 2


def test_what_is_wrong_is_said_beside_its_field_and_kept(cast: Cast) -> None:
    client = cast.client("clerk")
    assert "this has 10" in text(check(client, "1380013800"))
    assert "Has the person a card already?" in text(check(client, "１３８"))
    sent = {"phone": PHONE, "name": "周敏", "form_token": str(uuid.uuid4()), "enrol": ""}
    page = client.post(reverse("enrol"), sent)
    assert "tick that it was given" in text(page)
    assert 'value="周敏"' in page.content.decode()
    assert token_of(page) != sent["form_token"]
    broken = client.post(reverse("enrol"), {"phone": PHONE, "consent": "on", "form_token": "x", "enrol": ""})
    assert broken.status_code == 200
    assert not Member.objects.filter(phone=PHONE).exists()
    uuid.UUID(token_of(broken))


def test_a_manager_without_a_home_store_reads_what_to_do(cast: Cast) -> None:
    assert "Ask HR to enter your posting" in text(cast.client("manager").get(reverse("enrol")))
    refused = cast.client("manager").post(
        reverse("enrol"), {"phone": PHONE, "consent": "on", "form_token": str(uuid.uuid4()), "enrol": ""}
    )
    assert "no home store" in text(refused)
    assert not Member.objects.filter(phone=PHONE).exists()
