"""A clerk enrols a member: the phone first, consent, whose it is from which day, twice sent, two clerks at once."""

import re
import threading
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commission.models import Attribution
from kpis.movement import movement
from portfolios.enrolment import EnrolmentRefused, KnownCard, PhoneKnown, enrol, find_by_phone, home_store, phone_number
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, User
from tests.builders import close
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day

PHONE = "13800138000"


@pytest.fixture
def chain(db: None) -> SmallChain:
    return SmallChain()


def login(clerk: Clerk) -> User:
    return User.objects.get_or_create(username=clerk.clerk_no, clerk=clerk)[0]


def enrol_by(clerk: Clerk, **asked: Any) -> Member:
    given: dict[str, Any] = {"phone": PHONE, "consent": True, "on": day("02-03"), "form_token": uuid.uuid4()}
    return enrol(recorded_by=login(clerk), **given | asked)


def counts() -> tuple[int, int, int]:
    return Member.objects.count(), Binding.objects.count(), BindingBatch.objects.count()


# --- Phone numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("13800138000", "13800138000"),
        (" 138 0013 8000 ", "13800138000"),
        ("138-0013-8000", "13800138000"),
        ("+86 138 0013 8000", "13800138000"),
        ("+8613800138000", "13800138000"),
        ("008613800138000", "13800138000"),
        ("8613800138000", "13800138000"),
        ("19912345678", "19912345678"),
        ("(0571) 8888 8888", "057188888888"),
        ("+86 571 88888888", "057188888888"),
        ("+86 10 8888 8888", "01088888888"),
        ("010-88888888", "01088888888"),
        ("88888888", "88888888"),
        ("8888888", "8888888"),
        ("+852 9123 4567", "+85291234567"),
        ("+1 202 555 0100", "+12025550100"),
    ],
)
def test_one_spelling_of_a_phone_number(written: str, number: str) -> None:
    assert phone_number(written) == number


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "Enter the phone number"),
        ("   ", "Enter the phone number"),
        ("１３８００１３８０００", "full-width or other characters"),
        ("138００138000", "full-width or other characters"),
        ("1380013800", "this has 10"),
        ("138001380001", "this has 12"),
        ("12345678901", "begins with 13 to 19"),
        ("+86 1380013800", "this has 10"),
        ("01380013800", "is no phone number"),
        ("1.38E+10", "write digits only"),
        ("138 0013 8OOO", "write digits only"),
        ("138****8000", "write digits only"),
        ("13800138000 / 13900139000", "write digits only"),
        ("++8613800138000", "write digits only"),
        ("123", "this has 3"),
        ("55555", "is no phone number"),
        ("057188", "is no phone number"),
    ],
)
def test_what_is_no_phone_number_is_refused_and_says_why(written: str, said: str) -> None:
    with pytest.raises(EnrolmentRefused, match=re.escape(said)) as refusal:
        phone_number(written)
    assert refusal.value.field == "phone"


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.sampled_from(["", " ", "-"]), st.sampled_from(["", "+86"]))
def test_however_it_is_grouped_it_is_the_same_number(number: str, mark: str, code: str) -> None:
    assert phone_number(code + mark.join((number[:3], number[3:7], number[7:]))) == number


@given(st.text(max_size=20))
def test_any_text_is_a_number_in_its_one_spelling_or_refused(text: str) -> None:
    try:
        number = phone_number(text)
    except EnrolmentRefused:
        return
    assert phone_number(number) == number


# --- Enrolling ---------------------------------------------------------------------------------------------------


def test_the_member_belongs_to_the_clerk_from_that_day(chain: SmallChain) -> None:
    user = login(chain.li)
    member = enrol_by(chain.li, name=" 周敏 ", phone="138 0013 8000", member_no="V-77")
    member.refresh_from_db()
    assert (member.member_no, member.name, member.phone, member.store) == ("V-77", "周敏", PHONE, chain.first)
    assert (member.enrolled_on, member.counted_from, member.consented_on) == (day("02-03"),) * 3
    assert (member.enrolled_by, member.closed_on) == (chain.li, None)
    binding = Binding.objects.get(member=member)
    assert (binding.clerk, binding.reason) == (chain.li, Binding.Reason.ENROLMENT)
    assert (binding.valid_from, binding.valid_to) == (day("02-03"), OPEN_END)
    assert (binding.batch.source, binding.batch.recorded_by) == ("enrolment", user)


def test_a_purchase_on_the_day_of_enrolment_is_the_owners(chain: SmallChain) -> None:
    member = enrol_by(chain.li)
    (part,) = chain.sale("02-03", (chain.zhang, 20_000), member=member)
    row = Attribution.objects.get(part=part)
    assert (row.owner, row.owner_commission_amount, row.server_commission_amount) == (chain.li, 420, 180)
    book = next(row for row in movement(chain.month(202602)) if row.clerk == chain.li)
    assert (book.opening, book.enrolled, book.closing, book.newly_active) == (0, 1, 1, 1)


def test_without_a_card_the_store_s_next_number_is_made(chain: SmallChain) -> None:
    phones = (f"138001380{n:02d}" for n in range(10))
    numbers = [enrol_by(chain.li, phone=next(phones)).member_no for _ in range(2)]
    assert numbers == ["S1-000001", "S1-000002"]
    # Of another store, and numbers that only look like the store's own.
    for taken in ("S1-9", "S1-00000A", "XS1-000500", "S1-0-000700", "s1-000900"):
        Member.objects.create(member_no=taken, store=chain.first, enrolled_on=day("01-01"), counted_from=day("01-01"))
    assert enrol_by(chain.zhao, phone=next(phones)).member_no == "S2-000001"
    assert enrol_by(chain.li, phone=next(phones)).member_no == "S1-000003"
    assert enrol_by(chain.li, phone=next(phones), member_no="S1-1000000").member_no == "S1-1000000"
    assert enrol_by(chain.li, phone=next(phones)).member_no == "S1-1000001"


def test_a_card_number_that_is_taken_is_refused(chain: SmallChain) -> None:
    chain.member("V-1", chain.wang)
    before = counts()
    with pytest.raises(EnrolmentRefused, match="Card number V-1 is another member's") as refusal:
        enrol_by(chain.li, member_no="V-1")
    assert refusal.value.field == "member_no"
    assert counts() == before


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"consent": False}, "consent", "Ask the person for consent"),
        ({"phone": "138"}, "phone", "this has 3"),
        ({"member_no": "6.90E+12"}, "member_no", "its digits are lost"),
        ({"member_no": "Ｖ７"}, "member_no", "full-width"),
        ({"member_no": "V" * 31}, "member_no", "longer than 30"),
        ({"name": "周\t敏"}, "name", "can't be seen"),
        ({"name": "周" * 101}, "name", "longer than 100"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_done(
    chain: SmallChain, asked: dict[str, Any], field: str, said: str
) -> None:
    before = counts()
    with pytest.raises(EnrolmentRefused, match=said) as refusal:
        enrol_by(chain.li, **asked)
    assert refusal.value.field == field
    assert counts() == before


def test_only_a_clerk_with_a_home_store_that_day_enrols(chain: SmallChain) -> None:
    manager = chain.clerk("C8", role="manager")
    ended = chain.clerk("C7", until=day("02-03"))
    left = chain.clerk("C6")
    Clerk.objects.filter(pk=left.pk).update(left_on=day("02-02"))
    left.refresh_from_db()
    for clerk in (manager, ended, left):
        assert home_store(clerk, day("02-03")) is None
        with pytest.raises(EnrolmentRefused, match="no home store on 2026-02-03"):
            enrol_by(clerk)
    Clerk.objects.filter(pk=left.pk).update(left_on=day("02-03"))
    left.refresh_from_db()
    assert enrol_by(left).store == chain.first
    office = User.objects.create(username="hr", office=User.Office.HR)
    with pytest.raises(EnrolmentRefused, match="no home store"):
        enrol(phone="13900139000", consent=True, on=day("02-03"), recorded_by=office, form_token=uuid.uuid4())


def test_on_a_day_of_a_closed_month_it_counts_from_the_first_open_day(chain: SmallChain) -> None:
    close(202602)
    member = enrol_by(chain.li)
    assert (member.enrolled_on, member.consented_on, member.counted_from) == (
        day("02-03"),
        day("02-03"),
        day("03-01"),
    )
    assert Binding.objects.get(member=member).valid_from == day("03-01")


# --- The same person again ---------------------------------------------------------------------------------------


def test_a_phone_with_an_open_card_is_shown_to_be_whose_and_nothing_is_bound(chain: SmallChain) -> None:
    enrol_by(chain.zhao)
    before = counts()
    with pytest.raises(PhoneKnown) as refusal:
        enrol_by(chain.li)
    assert refusal.value.cards == [KnownCard(chain.second, chain.zhao)]
    assert counts() == before


@pytest.mark.parametrize("stored", ["13800138000", "138 0013 8000", "138-0013-8000", "+8613800138000", "8613800138000"])
def test_a_card_from_a_roster_is_found_however_it_writes_the_phone(chain: SmallChain, stored: str) -> None:
    member = chain.member("M1", chain.wang)
    Member.objects.filter(pk=member.pk).update(phone=stored)
    assert find_by_phone(PHONE, on=day("02-03")) == [KnownCard(chain.first, chain.wang)]
    assert find_by_phone("13800138001", on=day("02-03")) == []


def test_whose_it_is_that_day_and_only_open_cards(chain: SmallChain) -> None:
    closed, left, unassigned = (chain.member(f"M{n}", None) for n in range(3))
    Member.objects.update(phone=PHONE)
    Member.objects.filter(pk=closed.pk).update(closed_on=day("02-03"), counted_to=day("02-03"))
    Binding.objects.create(
        member=left, clerk=chain.wang, valid_from=day("01-01"), reason="initial_split", batch=chain.batch
    )
    Clerk.objects.filter(pk=chain.wang.pk).update(left_on=day("02-02"))
    assert find_by_phone(PHONE, on=day("02-02")) == [
        KnownCard(chain.first, None),
        KnownCard(chain.first, chain.wang),
        KnownCard(chain.first, None),
    ]
    assert find_by_phone(PHONE, on=day("02-03")) == [KnownCard(chain.first, None)] * 2
    Member.objects.filter(pk__in=[left.pk, unassigned.pk]).update(closed_on=day("02-01"), counted_to=day("02-01"))
    assert enrol_by(chain.li).enrolled_by == chain.li


def test_a_different_person_with_the_same_phone_is_enrolled_on_saying_so(chain: SmallChain) -> None:
    first = enrol_by(chain.li)
    second = enrol_by(chain.zhang, another_person=True)
    assert first.phone == second.phone == PHONE
    assert first.member_no != second.member_no
    assert Binding.objects.get(member=second).clerk == chain.zhang


# --- Sent twice, and at once -------------------------------------------------------------------------------------


def test_a_form_sent_twice_enrols_once(chain: SmallChain) -> None:
    token = uuid.uuid4()
    first = enrol_by(chain.li, form_token=token)
    after = counts()
    assert enrol_by(chain.li, form_token=token, phone="138 0013 8000") == first
    assert counts() == after


def test_a_form_sent_again_for_somebody_else_is_not_taken_for_done(chain: SmallChain) -> None:
    token = uuid.uuid4()
    enrol_by(chain.li, form_token=token)
    after = counts()
    for clerk, phone in ((chain.li, "13900139000"), (chain.zhang, PHONE)):
        with pytest.raises(EnrolmentRefused, match="has enrolled somebody else already"):
            enrol_by(clerk, form_token=token, phone=phone)
    assert counts() == after


@pytest.mark.parametrize(
    "scenario", ["two_clerks_one_phone", "many_members_of_one_store", "one_form_sent_three_times", "beside_a_close"]
)
def test_at_once(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def two_clerks_one_phone() -> None:
    chain = SmallChain()
    users = [login(clerk) for clerk in (chain.li, chain.zhao)]
    together = threading.Barrier(2)

    def by(user: User) -> Member:
        together.wait(10)
        return enrol(phone=PHONE, consent=True, on=day("02-03"), recorded_by=user, form_token=uuid.uuid4())

    results = at_once(lambda: by(users[0]), lambda: by(users[1]))

    (member,) = [result for result in results if isinstance(result, Member)]
    (refusal,) = [result for result in results if not isinstance(result, Member)]
    assert isinstance(refusal, PhoneKnown), refusal
    assert refusal.cards == [KnownCard(member.store, member.enrolled_by)]
    assert Member.objects.get() == member
    assert Binding.objects.get().clerk == member.enrolled_by


def many_members_of_one_store() -> None:
    chain = SmallChain()
    users = [login(clerk) for clerk in (chain.li, chain.wang, chain.zhang)]
    together = threading.Barrier(3)

    def by(user: User, number: int) -> list[str]:
        together.wait(10)
        made = []
        for n in range(4):
            phone = f"1380000{number}{n:03d}"
            member = enrol(phone=phone, consent=True, on=day("02-03"), recorded_by=user, form_token=uuid.uuid4())
            made.append(member.member_no)
        return made

    made = at_once(*(lambda user=user, n=n: by(user, n) for n, user in enumerate(users)))

    assert sorted(number for numbers in made for number in numbers) == [f"S1-{n:06d}" for n in range(1, 13)]


def one_form_sent_three_times() -> None:
    chain = SmallChain()
    user, token = login(chain.li), uuid.uuid4()
    together = threading.Barrier(3)

    def send() -> Member:
        together.wait(10)
        return enrol(phone=PHONE, consent=True, on=day("02-03"), recorded_by=user, form_token=token)

    results = at_once(send, send, send)

    assert results == [Member.objects.get()] * 3
    assert Binding.objects.count() == 1


def beside_a_close() -> None:
    """Of a month that closes before its end: enrolled on a day of it, the card is in its books or in the next ones."""
    from payroll_exports.pay_run import close_month

    chain = SmallChain()
    chain.sale("02-01", (chain.zhang, 20_000))
    chain.sale("01-05", (chain.zhang, 20_000))
    close_month(chain.month(202601), approved_by="test")
    user = login(chain.li)
    month = chain.month(202602)
    together = threading.Barrier(2)

    def enrol_beside() -> list[Member]:
        together.wait(10)
        return [
            enrol(phone=f"138000000{n:02d}", consent=True, on=day("02-03"), recorded_by=user, form_token=uuid.uuid4())
            for n in range(20)
        ]

    def close_beside() -> None:
        together.wait(10)
        close_month(month, approved_by="test")

    members, closed = at_once(enrol_beside, close_beside)

    assert closed is None, closed
    assert len(members) == 20, members
    frozen = next(row for row in movement(chain.month(202602)) if row.clerk == chain.li)
    # Raises MovementError if a card came into February's books after they were frozen.
    following = next(row for row in movement(chain.month(202603)) if row.clerk == chain.li)
    assert (frozen.enrolled + following.enrolled, following.closing) == (20, 20)
