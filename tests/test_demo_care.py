"""The care log of the demo: who calls whom, when, and that the same month made twice is the same."""

import datetime as dt
from collections import Counter

import pytest
from django.db import transaction
from django.utils import timezone

from commission.models import Sale
from kpis.models import CareContact, MemberGroup, ProfileCheck
from payroll_exports.demo_care import write_afterwards, write_month
from portfolios.models import Binding, Member, Posting, User
from portfolios.ownership import owners_on
from tests.small_chain import SmallChain

pytestmark = pytest.mark.django_db


def facts() -> list[tuple[object, ...]]:
    contacts = CareContact.objects.order_by("pk")
    checks = ProfileCheck.objects.order_by("pk").values_list("member", "clerk", "on")
    return [*contacts.values_list("member", "recorded_by__clerk", "on", "outcome", "note", "next_on"), *checks]


@pytest.fixture
def chain() -> SmallChain:
    """Ten members of 李 and of 张, two A and three B members among the ten; both sell on every day of February."""
    chain = SmallChain()
    chain.clerk("C8", role=Posting.Role.MANAGER)
    january = chain.month(202601)
    for place, clerk in enumerate((chain.li, chain.zhang)):
        keys = []
        for number in range(10):
            member = chain.member(f"M{place}{number}", clerk)
            Member.objects.filter(pk=member.pk).update(phone=f"1540000{place}{number:03d}", neighbourhood="滨江花园")
            keys.append(member.pk)
        for tier, own in (("A", keys[:2]), ("B", keys[2:5]), ("C", keys[5:])):
            MemberGroup.objects.create(
                month=january,
                last_clerk=clerk,
                last_store=chain.first,
                at_opening=True,
                at_closing=True,
                active_opening=True,
                active_closing=True,
                bought_before=False,
                closing_tier=tier,
                members=len(own),
                member_ids=",".join(map(str, own)),
            )
        for number in range(1, 29):
            chain.sale(f"02-{number:02d}", (clerk, 10_000))
    return chain


def test_a_month_of_care(chain: SmallChain) -> None:
    february = chain.month(202602)
    with transaction.atomic():
        write_month(february, place=3, months=4)
        once = facts()
        transaction.set_rollback(True)
    User.objects.all().delete()
    write_month(february, place=3, months=4)
    assert facts() == once
    write_month(february, place=3, months=4)
    assert facts() == once

    contacts = list(CareContact.objects.select_related("recorded_by", "member"))
    for contact in contacts:
        owner = owners_on([contact.member_id], contact.on)[contact.member_id]
        assert owner.clerk_id == contact.recorded_by.clerk_id
    calls = [contact for contact in contacts if contact.kind != CareContact.Kind.COMPLAINT]
    # Somebody calls on most days, and only the five key members of each.
    assert 28 < len(calls) < 2 * 2 * 28
    assert len({call.member_id for call in calls}) == 10
    assert {call.outcome for call in calls} >= {CareContact.Outcome.REACHED, CareContact.Outcome.NOT_REACHED}
    (waiting,) = CareContact.objects.open_complaints()
    assert waiting.note
    assert waiting.on.month == 2

    by_day = Counter(ProfileCheck.objects.values_list("clerk", "on"))
    assert max(by_day.values()) == 3
    assert ProfileCheck.objects.count() == 20
    assert not User.objects.filter(clerk=chain.li).get().has_usable_password()


def test_an_early_month_of_the_story_has_none(chain: SmallChain) -> None:
    write_month(chain.month(202602), place=0, months=5)
    assert facts() == []


def test_calls_go_on_after_the_last_ticket_until_the_day_before_today(chain: SmallChain) -> None:
    february = chain.month(202602)
    last = Sale.objects.latest("business_date").business_date
    write_afterwards(february, today=last + dt.timedelta(days=1))
    assert facts() == []
    write_afterwards(february, today=last + dt.timedelta(days=8))
    days = set(CareContact.objects.values_list("on", flat=True))
    assert min(days) > last
    assert max(days) <= last + dt.timedelta(days=7)
    assert not CareContact.objects.filter(closed_at__gt=timezone.now()).exists()
    assert Binding.objects.count() == 20
