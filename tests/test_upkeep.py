"""Profile upkeep: three members a working day, whose phone and neighbourhood are confirmed or put right."""

import pytest
from auditlog.models import LogEntry
from django.db import DatabaseError, transaction

from kpis.care import log_contact
from kpis.models import CareContact, ProfileCheck
from kpis.upkeep import (
    MonthUpkeep,
    PhoneTaken,
    Profile,
    ProfileError,
    Stale,
    confirm,
    correct,
    month_upkeep,
    profiles,
    progress,
)
from portfolios.models import Clerk, Member, Month, User
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db
Outcome = ProfileCheck.Outcome


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


def login(clerk: Clerk) -> User:
    return User.objects.get_or_create(username=clerk.clerk_no, clerk=clerk)[0]


def member(chain: SmallChain, number: str, owner: Clerk | None = None, phone: str = "13800000001") -> Member:
    made = chain.member(number, owner or chain.li)
    made.phone, made.neighbourhood = phone, "West Lake"
    made.save(update_fields=["phone", "neighbourhood"])
    return made


def check(clerk: Clerk, number: str, on: str) -> None:
    ProfileCheck.objects.create(
        member=Member.objects.get(member_no=number),
        clerk=clerk,
        on=day(on),
        outcome=Outcome.CORRECTED,
        recorded_by=login(clerk),
    )


def of(found: list[Profile]) -> list[tuple[str, Stale | None]]:
    return [(profile.member.member_no, profile.stale) for profile in found]


# --- The month's rate -------------------------------------------------------------------------------------------------


def test_three_of_each_working_day_count(chain: SmallChain) -> None:
    """李 served on 01-05, 06, 07 and 08 and checked 3, 5, 1 and 0: 3 + 3 + 1 + 0 = 7 of 12, 58.33%."""
    for number in range(1, 13):
        chain.member(f"M{number}", chain.li)
    for on in ("01-05", "01-06", "01-07", "01-08"):
        chain.sale(on, (chain.li, 1_000))
    # A second ticket makes no second working day, a return no working day at all, nor does another's ticket.
    (sold,) = chain.sale("01-05", (chain.li, 2_000))
    chain.sale("01-09", (chain.li, -2_000), returns=sold)
    chain.sale("01-10", (chain.wang, 1_000))
    checked = {"01-05": (1, 2, 3), "01-06": (4, 5, 6, 7, 8), "01-07": (9,), "01-11": (10, 11)}
    for on, numbers in checked.items():
        for number in numbers:
            check(chain.li, f"M{number}", on)
    # M1 and M4 were checked before in this month.
    check(chain.li, "M1", "01-08")
    check(chain.li, "M4", "01-07")
    # In another month, and by another clerk on a day on which 李 worked.
    check(chain.li, "M12", "02-01")
    check(chain.wang, "M12", "01-05")
    january = Month.objects.get(pk=202601)
    found = month_upkeep(january)
    assert found == [
        MonthUpkeep(chain.li.pk, working_days=4, done=7, full_days=2),
        MonthUpkeep(chain.wang.pk, working_days=1, done=0, full_days=0),
    ]
    assert (found[0].due, found[0].rate_bp, found[1].rate_bp) == (12, 5833, 0)
    assert month_upkeep(january, clerk=chain.li) == found[:1]
    assert month_upkeep(january, clerk=chain.zhang) == []


def test_a_late_ticket_makes_no_working_day_of_the_month_that_it_comes_in(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.li, 1_000))
    chain.sale("02-03", (chain.li, 1_000))
    Month.objects.filter(pk=202601).update(closed_at="2026-02-05T00:00Z")
    chain.sale("01-06", (chain.li, 1_000))
    assert [row.working_days for row in month_upkeep(chain.month(202601))] == [1]
    assert [row.working_days for row in month_upkeep(chain.month(202602))] == [1]


def test_the_streak_counts_working_days_over_a_month_end(chain: SmallChain) -> None:
    """Worked on 01-29, 30, 31 and 02-02; three each from 01-30 on. A day off between them does not break it."""
    for number in range(1, 13):
        chain.member(f"M{number}", chain.li)
    for on in ("01-29", "01-30", "01-31", "02-02"):
        chain.sale(on, (chain.li, 1_000))
    for on, numbers in {"01-30": (1, 2, 3), "01-31": (4, 5, 6), "02-02": (7, 8, 9)}.items():
        for number in numbers:
            check(chain.li, f"M{number}", on)
    assert (progress(chain.li, day("02-03")).streak, progress(chain.li, day("02-03")).done) == (3, 0)
    # Today breaks nothing before it is over, and counts once its three are done.
    check(chain.li, "M10", "02-03")
    check(chain.li, "M11", "02-03")
    two = progress(chain.li, day("02-03"))
    assert (two.done, two.left, two.streak) == (2, 1, 3)
    check(chain.li, "M12", "02-03")
    three = progress(chain.li, day("02-03"))
    assert (three.done, three.left, three.streak) == (3, 0, 4)
    # Worked on the 4th without a check: broken on the 5th.
    chain.sale("02-04", (chain.li, 1_000))
    assert progress(chain.li, day("02-05")).streak == 0
    assert progress(chain.wang, day("02-05")).streak == 0


# --- Which profiles are asked for -------------------------------------------------------------------------------------


def test_stale_profiles_come_first(chain: SmallChain) -> None:
    """Of 180 days: checked on 01-10, it is asked for again from 07-09 on."""
    for number in ("fresh", "old", "older", "never", "incomplete", "wrong"):
        member(chain, number)
    member(chain, "another's", chain.wang)
    Member.objects.filter(member_no="incomplete").update(neighbourhood="")
    check(chain.li, "old", "01-10")
    check(chain.li, "older", "01-09")
    check(chain.li, "fresh", "01-11")
    check(chain.li, "wrong", "07-01")
    log_contact(
        Member.objects.get(member_no="wrong"),
        kind=CareContact.Kind.FOLLOW_UP,
        outcome=CareContact.Outcome.WRONG_NUMBER,
        by=login(chain.li),
        on=day("07-02"),
    )
    assert of(profiles(chain.li, day("07-09"))) == [
        ("wrong", Stale.WRONG_NUMBER),
        ("incomplete", Stale.INCOMPLETE),
        ("never", Stale.NEVER),
        ("older", Stale.OLD),
        ("old", Stale.OLD),
        ("fresh", None),
    ]


# --- Confirming and putting right -------------------------------------------------------------------------------------


def test_a_profile_is_confirmed_once(chain: SmallChain) -> None:
    one, li = member(chain, "M1"), login(chain.li)
    made = confirm(one, by=li, on=day("02-03"))
    assert (made.clerk, made.outcome) == (chain.li, Outcome.CONFIRMED)
    with pytest.raises(ProfileError, match="2026-02-03: it is asked for again from 2026-08-02 on"):
        confirm(one, by=li, on=day("02-04"))
    assert confirm(one, by=li, on=day("08-02")).on == day("08-02")
    with pytest.raises(DatabaseError), transaction.atomic():
        ProfileCheck.objects.update(on=day("02-04"))


def test_only_the_owner_checks_a_profile(chain: SmallChain) -> None:
    one = member(chain, "M1")
    for by in (login(chain.wang), User.objects.create(username="hr", office=User.Office.HR)):
        with pytest.raises(ProfileError, match="is not your member"):
            confirm(one, by=by, on=day("02-03"))
        with pytest.raises(ProfileError, match="is not your member"):
            correct(one, by=by, on=day("02-03"), phone="13900000009", neighbourhood="East Lake")
    assert not ProfileCheck.objects.exists()


def test_a_correction_is_on_record_with_what_was_there(chain: SmallChain) -> None:
    one, li = member(chain, "M1"), login(chain.li)
    made = correct(one, by=li, on=day("02-03"), phone="139-0000 0009", neighbourhood=" East Lake ")
    one.refresh_from_db()
    assert (one.phone, one.neighbourhood, made.outcome) == ("13900000009", "East Lake", Outcome.CORRECTED)
    (entry,) = LogEntry.objects.get_for_object(one)
    assert entry.changes == {"phone": ["13800000001", "13900000009"], "neighbourhood": ["West Lake", "East Lake"]}
    assert entry.actor == li
    # Nothing different is a confirmation, which is not due so soon.
    with pytest.raises(ProfileError, match="was confirmed on 2026-02-03"):
        correct(one, by=li, on=day("02-04"), phone="", neighbourhood="East Lake")
    assert correct(one, by=li, on=day("08-02"), phone="", neighbourhood="East Lake").outcome == Outcome.CONFIRMED


@pytest.mark.parametrize(
    ("phone", "neighbourhood", "field"),
    [("1380000", "West Lake", "phone"), ("", " ", "neighbourhood"), ("", "x" * 101, "neighbourhood")],
)
def test_what_is_wrong_is_said_and_nothing_changed(
    chain: SmallChain, phone: str, neighbourhood: str, field: str
) -> None:
    one = member(chain, "M1")
    with pytest.raises(ProfileError) as refused:
        correct(one, by=login(chain.li), on=day("02-03"), phone=phone, neighbourhood=neighbourhood)
    assert refused.value.field == field
    one.refresh_from_db()
    assert (one.phone, one.neighbourhood) == ("13800000001", "West Lake")
    assert not ProfileCheck.objects.exists()


def test_a_phone_that_another_card_has_is_refused_with_whose_it_is(chain: SmallChain) -> None:
    one, li = member(chain, "M1"), login(chain.li)
    member(chain, "M2", chain.wang, phone="139 0000 0009")
    with pytest.raises(PhoneTaken) as refused:
        correct(one, by=li, on=day("02-03"), phone="13900000009", neighbourhood="West Lake")
    assert [(card.owner, card.store) for card in refused.value.cards] == [(chain.wang, chain.first)]
    assert Member.objects.get(pk=one.pk).phone == "13800000001"
    correct(one, by=li, on=day("02-03"), phone="13900000009", neighbourhood="West Lake", another_person=True)
    assert Member.objects.get(pk=one.pk).phone == "13900000009"


def test_what_is_missing_is_completed_before_it_is_confirmed(chain: SmallChain) -> None:
    one, li = member(chain, "M1", phone=""), login(chain.li)
    with pytest.raises(ProfileError, match="ask for what is missing"):
        confirm(one, by=li, on=day("02-03"))
    with pytest.raises(ProfileError, match="Enter the phone number"):
        correct(one, by=li, on=day("02-03"), phone="", neighbourhood="West Lake")
    assert correct(one, by=li, on=day("02-03"), phone="13900000009", neighbourhood="West Lake").outcome == "corrected"


def test_a_wrong_number_is_put_right_or_given_once_more(chain: SmallChain) -> None:
    one, li = member(chain, "M1"), login(chain.li)
    wrong = {"kind": CareContact.Kind.FOLLOW_UP, "outcome": CareContact.Outcome.WRONG_NUMBER, "by": li}
    log_contact(one, on=day("02-03"), **wrong)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match="found a wrong number"):
        confirm(one, by=li, on=day("02-04"))
    with pytest.raises(ProfileError, match="found a wrong number"):
        correct(one, by=li, on=day("02-04"), phone="", neighbourhood="East Lake")
    again = correct(one, by=li, on=day("02-04"), phone="13800000001", neighbourhood="West Lake")
    assert again.outcome == Outcome.CONFIRMED
    assert of(profiles(chain.li, day("02-05"))) == [("M1", None)]
