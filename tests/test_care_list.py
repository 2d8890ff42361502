"""Today's list of a clerk, and what talks were followed by, with dates worked out by hand."""

import datetime as dt

import pytest
from django.test import override_settings

from kpis.care import log_contact
from kpis.care_list import Known, Reason, Why, care_list, next_birthday, reasons
from kpis.contact_results import Calls, calls_between, refresh_contact_results
from kpis.member_figures import refresh_member_figures
from kpis.models import CareContact, ContactResult, ProfileCheck
from portfolios.models import BindingBatch, Member, User
from tests.small_chain import SmallChain, day

Kind, Outcome = CareContact.Kind, CareContact.Outcome
TODAY = day("11-22")


def contact(on: str, outcome: str = Outcome.REACHED, next_on: str = "") -> CareContact:
    return CareContact(on=day(on), outcome=outcome, next_on=day(next_on) if next_on else None)


def known(tier: str = "C", **facts: object) -> Known:
    """`last` is a talk where it reached or was refused."""
    last = facts.get("last")
    if isinstance(last, CareContact) and last.outcome in (Outcome.REACHED, Outcome.REFUSED):
        facts.setdefault("talked_on", last.on)
    return Known(tier=tier, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        # An A member every 30 days: 10-23 + 30 is 11-22. A B member every 60: 09-23 + 60 is 11-22.
        (known("A", last=contact("10-23")), [(Why.DUE, "11-22")]),
        (known("A", last=contact("10-24")), []),
        (known("B", last=contact("09-23")), [(Why.DUE, "11-22")]),
        (known("B", last=contact("09-24")), []),
        (known("B"), [(Why.DUE, "")]),
        (known("C"), []),
        # Who refused was talked to.
        (known("A", last=contact("11-01", Outcome.REFUSED)), []),
        # Not reached: again on the third day after. 11-19 + 3 is 11-22.
        (known("A", last=contact("11-19", Outcome.NOT_REACHED)), [(Why.DUE, "")]),
        (known("A", last=contact("11-20", Outcome.NOT_REACHED)), []),
        # The agreed date counts in the place of the tier's, for C members too.
        (known("C", last=contact("11-01", next_on="11-22")), [(Why.AGREED, "11-22")]),
        (known("A", last=contact("10-01", next_on="11-23")), []),
        (known("A", last=contact("11-21", Outcome.NOT_REACHED, next_on="11-22")), [(Why.AGREED, "11-22")]),
        # At risk comes first; a talk since then answers it, one before does not.
        (known("C", at_risk_on=day("11-10")), [(Why.AT_RISK, "11-10")]),
        (known("A", at_risk_on=day("11-10")), [(Why.AT_RISK, "11-10"), (Why.DUE, "")]),
        (known("C", at_risk_on=day("11-10"), last=contact("11-09")), [(Why.AT_RISK, "11-10")]),
        (known("C", at_risk_on=day("11-10"), last=contact("11-10")), []),
        (known("C", at_risk_on=day("11-10"), last=contact("11-21", Outcome.NOT_REACHED)), []),
        # A wrong number is not called again before the profile was checked.
        (known("A", at_risk_on=day("11-10"), last=contact("10-01", Outcome.WRONG_NUMBER)), []),
        (known("A", last=contact("10-01", Outcome.WRONG_NUMBER), checked_on=day("10-02")), [(Why.DUE, "")]),
        # Birthdays from today to seven days ahead, until somebody talked to the member in those days.
        (known(birth_date=day("1980-11-22")), [(Why.BIRTHDAY, "11-22")]),
        (known(birth_date=day("1980-11-29")), [(Why.BIRTHDAY, "11-29")]),
        (known(birth_date=day("1980-11-30")), []),
        (known(birth_date=day("1980-11-21")), []),
        (known(birth_date=day("1980-11-25"), last=contact("11-17")), [(Why.BIRTHDAY, "11-25")]),
        (known(birth_date=day("1980-11-25"), last=contact("11-18")), []),
        (known(birth_date=day("1980-11-25"), last=contact("11-22", Outcome.NOT_REACHED)), []),
        (known(birth_date=day("1980-11-25"), last=contact("11-21", Outcome.NOT_REACHED)), [(Why.BIRTHDAY, "11-25")]),
    ],
)
def test_who_is_on_the_list_and_why(of: Known, expected: list[tuple[Why, str]]) -> None:
    assert reasons(of, TODAY) == [Reason(why, day(on) if on else None) for why, on in expected]


def test_the_days_between_talks_are_settings() -> None:
    with override_settings(CARE_A_DAYS=10):
        assert reasons(known("A", last=contact("11-12")), TODAY) == [Reason(Why.DUE, TODAY)]


def test_a_birthday_on_29_february() -> None:
    born = dt.date(2000, 2, 29)
    assert next_birthday(born, day("2027-02-20")) == day("2027-02-28")
    assert next_birthday(born, day("2028-02-20")) == day("2028-02-29")
    assert next_birthday(born, day("2026-03-01")) == day("2027-02-28")


@pytest.mark.django_db
def test_the_list_of_a_clerk() -> None:
    """M1 bought every 20 days until 03-10: at risk from 04-20. M2, who spent most, is A and due. M3 is another's."""
    chain = SmallChain()
    m1, m2 = (chain.member(number, chain.li) for number in ("M1", "M2"))
    chain.member("M3", chain.wang)
    m4 = chain.member("M4", chain.li)
    Member.objects.filter(pk=m4.pk).update(birth_date=day("1990-05-03"))
    for on in ("01-29", "02-18", "03-10"):
        chain.sale(on, (chain.li, 1_000), member=m1)
    chain.sale("04-20", (chain.li, 90_000), member=m2)
    user = User.objects.create(username="li", clerk=chain.li)
    log_contact(m2, kind=Kind.FOLLOW_UP, outcome=Outcome.REACHED, by=user, on=day("03-31"), note="likes tea")
    refresh_member_figures(day("04-30"))
    found = care_list(chain.li, day("04-30"))
    assert [(why, [call.member.member_no for call in calls]) for why, calls in found.groups] == [
        (Why.AT_RISK, ["M1"]),
        (Why.BIRTHDAY, ["M4"]),
        (Why.DUE, ["M2"]),
    ]
    (due,) = found.groups[2][1]
    assert due.reasons == [Reason(Why.DUE, day("04-30"))]
    assert due.last_talk
    assert due.last_talk.note == "likes tea"


@pytest.mark.django_db
def test_what_talks_were_followed_by() -> None:
    """Talks of 02-01: within 14 days is 02-02 to 02-15. A return is no purchase; of a merged card the survivor's is."""
    chain = SmallChain()
    li = User.objects.create(username="li", clerk=chain.li)
    bought = {
        "first day": "02-02",
        "last day": "02-15",
        "too late": "02-16",
        "same day": "02-01",
        "not reached": "02-05",
        "never": "",
    }
    for number, on in bought.items():
        member = chain.member(number, chain.li)
        outcome = Outcome.NOT_REACHED if number == "not reached" else Outcome.REACHED
        log_contact(member, kind=Kind.FOLLOW_UP, outcome=outcome, by=li, on=day("02-01"))
        if on:
            chain.sale(on, (chain.li, 1_000), member=member)
    (sold,) = chain.sale("01-15", (chain.li, 5_000), member=Member.objects.get(member_no="never"))
    chain.sale("02-03", (chain.li, -5_000), returns=sold, member=sold.member)
    old, survivor = chain.member("old", chain.li), chain.member("survivor", chain.li)
    log_contact(old, kind=Kind.FOLLOW_UP, outcome=Outcome.REACHED, by=li, on=day("02-01"))
    Member.objects.filter(pk=old.pk).update(
        merged_into=survivor,
        merged_by=BindingBatch.objects.create(source="merge"),
        closed_on=day("02-03"),
        counted_to=day("02-03"),
    )
    chain.sale("02-10", (chain.li, 1_000), member=survivor)

    def results() -> dict[str, dt.date]:
        return dict(ContactResult.objects.values_list("contact__member__member_no", "bought_on"))

    assert refresh_contact_results(day("02-15")) == 2
    assert results() == {"first day": day("02-02"), "old": day("02-10")}
    assert refresh_contact_results(day("03-01")) == 3
    assert results() == {"first day": day("02-02"), "last day": day("02-15"), "old": day("02-10")}
    # 7 contacts, 6 of them reached, 3 of those bought: 6 / 7 is 85.71%.
    (calls,) = calls_between(day("02-01"), day("02-28"))
    assert calls == Calls(chain.li.pk, contacts=7, reached=6, bought=3)
    assert calls.reached_bp == 8571
    # 04-02 is 60 days after: still looked at. From 04-03 on, it stays as it is.
    ContactResult.objects.all().delete()
    assert refresh_contact_results(day("04-03")) == 0
    assert refresh_contact_results(day("04-02")) == 3


@pytest.mark.django_db
def test_a_wrong_number_is_called_again_once_the_profile_was_checked() -> None:
    chain = SmallChain()
    member, li = chain.member("M1", chain.li), User.objects.create(username="li", clerk=chain.li)
    log_contact(member, kind=Kind.FOLLOW_UP, outcome=Outcome.WRONG_NUMBER, by=li, on=day("02-01"))
    Member.objects.filter(pk=member.pk).update(birth_date=day("1990-02-10"))
    assert not care_list(chain.li, day("02-05")).groups
    ProfileCheck.objects.create(
        member=member, clerk=chain.li, on=day("02-04"), outcome=ProfileCheck.Outcome.CORRECTED, recorded_by=li
    )
    assert care_list(chain.li, day("02-05")).counts == [(Why.BIRTHDAY, 1)]
