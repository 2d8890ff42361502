"""The pages of duplicate cards: the list of a store, the preview, the merge, taking it back, and who may."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from portfolios.models import Member
from tests.cast import Cast, one_cast
from tests.small_chain import day

PHONE = "13800138000"


@pytest.fixture(scope="module")
def module_cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture
def cast(module_cast: Cast, db: None) -> Iterator[Cast]:
    Member.objects.filter(pk__in=[module_cast.member.pk, module_cast.unassigned.pk]).update(phone=PHONE, name="周敏")
    with time_machine.travel("2026-02-10 09:00+08:00"):
        yield module_cast


def text(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_from_the_store_to_the_list_to_the_preview_to_the_merge_and_back(cast: Cast) -> None:
    client = cast.client("manager")
    store = client.get(reverse("store", args=[202602, "S1"]))
    assert "1 phone with more than one card" in text(store)
    listed = client.get(reverse("duplicates"), {"store": "S1"})
    assert "138****8000 M1 周敏 店员C1" in text(listed)
    assert PHONE not in text(listed)
    url = reverse("merge_cards", args=[cast.member.pk, cast.unassigned.pk])
    assert url in listed.content.decode()
    shown = client.get(url)
    assert "Card M1 stays with 店员C1." in text(shown)
    assert "What happens from 2026-02-10 on" in text(shown)
    swapped = reverse("merge_cards", args=[cast.unassigned.pk, cast.member.pk])
    assert swapped in shown.content.decode()
    assert "Card M2 stays unassigned" in text(client.get(swapped))
    basis = shown.context["merge"].basis
    stale = client.post(url, {"basis": "something else"}, follow=True)
    assert "have changed since they were shown" in text(stale)
    done = client.post(url, {"basis": basis}, follow=True)
    assert "Card M2 is merged into M1." in text(done)
    card = Member.objects.get(member_no="M2")
    assert card.merged_by is not None
    assert card.merged_by.recorded_by == cast.users["manager"]
    assert "was merged into M1 already" in text(client.post(url, {"basis": basis}, follow=True))
    undo = reverse("undo_merge", args=[card.merged_by_id])
    for person, answer in (("clerk", 404), ("other_manager", 404), ("auditor", 404)):
        assert cast.client(person).post(undo).status_code == answer
    assert "Card M2 is open again" in text(client.post(undo, follow=True))
    assert Member.objects.get(member_no="M2").merged_into is None


def test_a_card_of_another_store_is_shown_without_its_person_and_left_to_hr(cast: Cast) -> None:
    Member.objects.filter(pk=cast.unassigned.pk).update(store=cast.chain.second, name="别人")
    page = cast.client("manager").get(reverse("duplicates"))
    assert "M2" in text(page)
    assert "别人" not in text(page)
    assert "店2 HR merges" in text(page)
    url = reverse("merge_cards", args=[cast.member.pk, cast.unassigned.pk])
    assert url not in page.content.decode()
    for person, answer in (("manager", 404), ("other_manager", 404), ("hr", 200)):
        assert cast.client(person).get(url).status_code == answer
    assert url in cast.client("hr").get(reverse("duplicates")).content.decode()
    assert cast.client("manager").get(reverse("duplicates"), {"store": "S2"}).status_code == 404


def test_the_auditor_reads_no_duplicates(cast: Cast) -> None:
    assert "more than one card" not in text(cast.client("auditor").get(reverse("store", args=[202602, "S1"])))
    assert cast.client("auditor").get(reverse("duplicates")).status_code == 404


def test_nothing_to_merge_says_so(cast: Cast) -> None:
    Member.objects.filter(pk=cast.unassigned.pk).update(phone="")
    assert "every phone has one card" in text(cast.client("manager").get(reverse("duplicates")))


def test_the_list_takes_as_many_queries_for_many_phones_as_for_one(cast: Cast, django_assert_num_queries: Any) -> None:
    client = cast.client("hr")
    with CaptureQueriesContext(connection) as one:
        client.get(reverse("duplicates"))
    for n in range(20):
        for twin in "ab":
            Member.objects.create(
                member_no=f"X{n}{twin}",
                phone=f"139000000{n:02d}",
                store=cast.chain.first,
                enrolled_on=day("01-01"),
                counted_from=day("01-01"),
            )
    with django_assert_num_queries(len(one)):
        assert len(client.get(reverse("duplicates")).context["groups"]) == 21
