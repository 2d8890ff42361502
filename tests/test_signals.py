"""Signals: each kind once as it fires and once just below, what is behind it, and that it was looked at."""

import datetime as dt
from collections.abc import Callable

import pytest
import time_machine
from auditlog.models import LogEntry
from django.core.management import call_command
from django.urls import reverse

from commission.models import SalePart
from commission.ticket_corrections import approve, ask_for_server
from kpis.gaming_signals import known_period, refresh_signals
from kpis.models import Signal, SignalReview
from kpis.signal_evidence import evidence
from kpis.signal_reviews import ReviewRefused, review
from kpis.signal_texts import percent, rule, sentence, yardstick
from portfolios.models import Binding, BindingBatch, Clerk, Member, Month, Posting, User
from tests.cast import Cast
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db

Kind = Signal.Kind


@pytest.fixture
def chain() -> SmallChain:
    chain = SmallChain()
    chain.month(202602)
    return chain


@pytest.fixture
def hr() -> User:
    return User.objects.create(username="hr", office=User.Office.HR)


def found(kind: str, month: int = 202602, as_of: str = "03-01") -> list[tuple[str, int, int | None, int]]:
    """The month's signals of a kind, worked out anew: clerk, number, of, length of the evidence."""
    refresh_signals(Month.objects.get(pk=month), as_of=day(as_of))
    rows = Signal.objects.filter(kind=kind, month=month).select_related("clerk")
    return [(row.clerk.clerk_no, row.hits, row.total, len(row.evidence)) for row in rows]


def members(chain: SmallChain, clerk: Clerk, count: int, since: str = "02-03", **fields: str) -> list[Member]:
    start = Member.objects.count()
    made = [chain.member(f"M{start + n}", clerk, since) for n in range(count)]
    for member in made:
        for name, value in fields.items():
            setattr(member, name, value)
        member.save()
    return made


# --- The kinds ---------------------------------------------------------------------------------------------------


def large_first(chain: SmallChain, li: int, wang: int) -> None:
    for clerk, large in ((chain.li, li), (chain.wang, wang)):
        for place, member in enumerate(members(chain, clerk, 4)):
            chain.sale("02-03", (clerk, 30_000 if place < large else 29_999), member=member)


def not_again(chain: SmallChain, li: int, wang: int) -> None:
    """60 days after 2025-12-30 are over on 2026-02-28."""
    for clerk, quiet in ((chain.li, li), (chain.wang, wang)):
        for place, member in enumerate(members(chain, clerk, 4, "2025-12-30")):
            if place >= quiet:
                chain.sale("02-28", (clerk, 1_000), member=member)
    # Sixty days are not over.
    members(chain, chain.li, 9, "2025-12-31")


def walk_in(chain: SmallChain, li: int, wang: int) -> None:
    member = chain.member("M", chain.zhang)
    for clerk, without in ((chain.li, li), (chain.wang, wang)):
        for place in range(4):
            chain.sale("02-03", (clerk, 1_000), member=None if place < without else member)
    # Of another store: not the rest of this one.
    chain.sale("02-03", (chain.zhao, 1_000), store=chain.second, member=member)


def after_month_end(chain: SmallChain, li: int, wang: int) -> None:
    for clerk, back in ((chain.li, li), (chain.wang, wang)):
        for place in range(4):
            (sold,) = chain.sale("01-31", (clerk, 1_000))
            # On the seventh day, or on the eighth.
            chain.sale("02-07" if place < back else "02-08", (clerk, -1_000), returns=sold)


@pytest.mark.parametrize("counts", [large_first, not_again, walk_in, after_month_end])
def test_a_rate_twice_that_of_the_rest_of_the_store(
    chain: SmallChain, counts: Callable[[SmallChain, int, int], None]
) -> None:
    """3 of 4 (75%) against 1 of 4 (25%) is three times as much, so is 3 of 4 against none."""
    counts(chain, 3, 1)
    assert found(counts.__name__) == [("C1", 3, 4, 3)]
    (signal,) = Signal.objects.all()
    assert (signal.others_hits, signal.others_total, signal.level, signal.small) == (1, 4, 75, True)


@pytest.mark.parametrize("counts", [large_first, not_again, walk_in, after_month_end])
@pytest.mark.parametrize(("li", "wang"), [(3, 2), (2, 0)])
def test_a_rate_less_than_twice_that_of_the_rest_or_fewer_than_three(
    chain: SmallChain, counts: Callable[[SmallChain, int, int], None], li: int, wang: int
) -> None:
    """75% against 50% is one and a half times as much; 2 are too few."""
    counts(chain, li, wang)
    assert found(counts.__name__) == []


def test_a_sample_is_small_below_twenty(chain: SmallChain) -> None:
    member = chain.member("M", chain.zhang)
    for n in range(20):
        chain.sale("02-03", (chain.li, 1_000), member=None if n < 4 else member)
        chain.sale("02-03", (chain.wang, 1_000), member=None if n < 2 else member)
    # 20% against 10%.
    assert found(Kind.WALK_IN) == [("C1", 4, 20, 4)]
    (signal,) = Signal.objects.all()
    assert not signal.small
    assert (percent(4, 20), percent(1, 3)) == ("20.0", "33.3")
    assert yardstick(signal) == "Rest of the store: 2 of 20 (10.0%)."


def test_an_enrolment_whose_time_is_known_counts_tickets_until_a_quarter_of_an_hour_later(chain: SmallChain) -> None:
    """Tickets are of 10:00: of an enrolment at 09:50 the purchase was under way, of one at 09:44 it was not."""
    for at in ("09:50", "09:45", "10:20", "09:44"):
        with time_machine.travel(f"2026-02-03 {at} +0800", tick=False):
            chain.batch = BindingBatch.objects.create(source="enrolment")
        (member,) = members(chain, chain.li, 1)
        chain.sale("02-03", (chain.li, 30_000), member=member)
    assert found(Kind.LARGE_FIRST) == [("C1", 3, 4, 3)]


def test_a_ticket_that_is_named_is_opened_by_who_may_see_it(chain: SmallChain, hr: User) -> None:
    """The third member bought in another store than the manager's."""
    for member, store in zip(members(chain, chain.li, 3), (chain.first, chain.first, chain.second), strict=True):
        chain.sale("02-03", (chain.li, 30_000), member=member, store=store)
    found(Kind.LARGE_FIRST)
    signal = Signal.objects.get()
    tickets = [SalePart.objects.get(sale__member=key).sale for key in signal.evidence]
    links = [f'10:00 · <a href="/tickets/{sale.pk}/">{sale.ticket_no}</a> · 300.00' for sale in tickets]
    manager = User.objects.create(
        username="manager", clerk=chain.clerk("C8", store=chain.first, role=Posting.Role.MANAGER)
    )
    assert [line.what for line in evidence(signal, hr, signal.evidence)] == links
    seen = [line.what for line in evidence(signal, manager, signal.evidence)]
    assert seen == [*links[:2], f"10:00 · {tickets[2].ticket_no}"]


@pytest.mark.parametrize(("count", "fires"), [(3, True), (2, False)])
def test_the_same_phone_again(chain: SmallChain, count: int, fires: bool) -> None:
    members(chain, chain.wang, 1, "01-05", phone="13800138000")
    members(chain, chain.li, count, phone="13800138000")
    members(chain, chain.li, 5)
    assert found(Kind.SAME_PHONE) == ([("C1", 3, None, 3)] if fires else [])


@pytest.mark.parametrize(("elsewhere", "fires"), [(3, True), (4, False)])
def test_one_neighbourhood(chain: SmallChain, elsewhere: int, fires: bool) -> None:
    """3 of 6 are half, and twice 1 of 4; 3 of 7 are less than half."""
    members(chain, chain.li, 3, neighbourhood="江畔")
    for n in range(elsewhere):
        members(chain, chain.li, 1, neighbourhood=f"里{n}")
    members(chain, chain.wang, 1, neighbourhood="江畔")
    members(chain, chain.wang, 3, neighbourhood="南苑")
    # 南苑 is three of 王's four, and none of 李's.
    signals = {"C2": ("C2", 3, 4, 3)} | ({"C1": ("C1", 3, 6, 3)} if fires else {})
    assert {row[0]: row for row in found(Kind.NEIGHBOURHOOD)} == signals
    assert Signal.objects.get(clerk=chain.wang).detail == "南苑"


@pytest.mark.parametrize(("count", "fires"), [(3, True), (2, False)])
def test_purchases_under_the_clerk_s_own_name_in_the_own_portfolio(chain: SmallChain, count: int, fires: bool) -> None:
    own, of_wang = members(chain, chain.li, 1, "01-05", name=chain.li.name), members(chain, chain.wang, 1, "01-05")
    Member.objects.filter(pk=of_wang[0].pk).update(name=chain.li.name)
    for _n in range(count):
        chain.sale("02-04", (chain.zhang, 1_000), (chain.li, 500), member=own[0])
        chain.sale("02-04", (chain.li, 1_000), member=of_wang[0])
    assert found(Kind.OWN_NAME) == ([("C1", 3, None, 3)] if fires else [])


def test_another_server_within_the_shift(chain: SmallChain, hr: User) -> None:
    """Taken back and sold again by another, for the same amount; or corrected within the shift."""
    member = chain.member("M", chain.li)

    def swap(again: Clerk, amount: int = 1_000) -> None:
        (sold,) = chain.sale("02-04", (chain.zhang, 1_000), member=member)
        chain.sale("02-04", (chain.zhang, -1_000), returns=sold, member=member)
        chain.sale("02-04", (again, amount), member=member)

    swap(chain.li)
    swap(chain.zhang)
    (sold,) = chain.sale("02-05", (chain.zhang, 1_000), member=member)
    chain.sale("02-05", (chain.zhang, -1_000), returns=sold, member=member)
    chain.sale("02-05", (chain.li, 1_001), member=member)
    chain.sale("02-06", (chain.li, 1_000), member=member)
    (wrong,) = chain.sale("02-07", (chain.zhang, 1_000), member=member)
    asker = User.objects.create(username="li", clerk=chain.li)
    with time_machine.travel("2026-02-07 18:00 +0800", tick=False):
        asked = ask_for_server(SalePart.objects.get(pk=wrong.pk), server=chain.li, reason="login", asked_by=asker)
    approve(asked, by=hr)
    assert found(Kind.SERVER_SWAP) == []
    (sold,) = chain.sale("02-08", (chain.zhang, 1_000))
    chain.sale("02-08", (chain.zhang, -1_000), returns=sold)
    chain.sale("02-08", (chain.li, 1_000))
    assert found(Kind.SERVER_SWAP) == [("C1", 3, None, 3)]


@pytest.mark.parametrize(("without", "fires"), [(3, True), (4, False)])
def test_reassigned_after_large_purchases(chain: SmallChain, hr: User, without: int, fires: bool) -> None:
    """3 of 6 had bought for 300.00 from 30 days before the change until it was recorded; 3 of 7 are less than half."""
    moved = [chain.member(f"M{n}", None) for n in range(3 + without)]
    chain.sale("01-09", (chain.li, 30_000), member=moved[0])
    chain.sale("01-20", (chain.li, 20_000), member=moved[1])
    chain.sale("02-09", (chain.li, 10_000), member=moved[1])
    chain.sale("02-08", (chain.li, 30_000), member=moved[2])
    # Too early, too late, too little.
    chain.sale("01-08", (chain.li, 30_000), member=moved[3])
    chain.sale("02-10", (chain.li, 30_000), member=moved[4])
    chain.sale("02-09", (chain.li, 29_999), member=moved[5])
    with time_machine.travel("2026-02-09 18:00 +0800", tick=False):
        batch = BindingBatch.objects.create(source="page", recorded_by=hr)
    for member in moved:
        Binding.objects.create(
            member=member, clerk=chain.wang, valid_from=day("02-08"), reason=Binding.Reason.REASSIGNMENT, batch=batch
        )
    assert found(Kind.AFTER_INCOME) == ([("C2", 3, 6, 3)] if fires else [])


# --- What is said ------------------------------------------------------------------------------------------------


def test_sentences_state_what_was_counted(chain: SmallChain) -> None:
    not_again(chain, 3, 1)
    found(Kind.NOT_AGAIN)
    signal, period = Signal.objects.get(), known_period(Month.objects.get(pk=202602))
    assert period is not None
    assert sentence(signal, period) == (
        "3 of 4 members enrolled from 2025-12-03 to 2025-12-30 have not bought since the day of enrolment."
    )
    for kind in Kind:
        signal.kind = kind
        assert sentence(signal, period)
        assert "Shown from 3 on" in rule(kind, period.limits)


def test_the_evidence_is_as_long_as_the_figure_and_leads_where_one_may_go(chain: SmallChain, hr: User) -> None:
    walk_in(chain, 3, 0)
    large_first(chain, 3, 0)
    members(chain, chain.wang, 3, phone="13800138001")
    members(chain, chain.wang, 1, phone="13800138001")
    refresh_signals(Month.objects.get(pk=202602), as_of=day("03-01"))
    kinds = set()
    for signal in Signal.objects.all():
        kinds.add(signal.kind)
        lines = evidence(signal, hr, signal.evidence)
        assert len(lines) == signal.hits
        assert all(line.address for line in lines)
        assert not any(line.address for line in evidence(signal, User(username="nobody"), signal.evidence))
    assert kinds == {Kind.WALK_IN, Kind.LARGE_FIRST, Kind.SAME_PHONE}
    phones = Signal.objects.get(kind=Kind.SAME_PHONE)
    assert evidence(phones, hr, phones.evidence)[0].what == "same phone as a card of 店1, enrolled on 2026-02-03"


# --- Looked at ---------------------------------------------------------------------------------------------------


def test_looked_at_it_comes_up_again_only_if_its_figure_rises(chain: SmallChain, hr: User) -> None:
    """21 of 28 are 75%; 22 of 29 are 75.8% and no more, 24 of 31 are 77%."""
    member = chain.member("M", chain.zhang)
    for n in range(28):
        chain.sale("02-03", (chain.li, 1_000), member=None if n < 21 else member)
        chain.sale("02-03", (chain.wang, 1_000), member=member)
    found(Kind.WALK_IN)
    review(Signal.objects.to_look_at().get(), note=" till was broken ", by=hr)
    assert Signal.objects.to_look_at().count() == 0
    chain.sale("02-04", (chain.li, 1_000))
    assert found(Kind.WALK_IN) == [("C1", 22, 29, 22)]
    assert Signal.objects.to_look_at().count() == 0
    chain.sale("02-04", (chain.li, 1_000))
    chain.sale("02-04", (chain.li, 1_000))
    assert found(Kind.WALK_IN) == [("C1", 24, 31, 24)]
    assert Signal.objects.to_look_at().count() == 1
    kept = SignalReview.objects.get()
    assert (kept.note, kept.looked_at_by, kept.level) == ("till was broken", hr, 75)
    assert LogEntry.objects.get_for_object(kept).exists()


def test_nobody_looks_at_what_is_about_oneself_nor_without_a_note(chain: SmallChain, hr: User) -> None:
    walk_in(chain, 3, 1)
    found(Kind.WALK_IN)
    signal = Signal.objects.get()
    with pytest.raises(ReviewRefused, match="about yourself"):
        review(signal, note="fine", by=User.objects.create(username="li", clerk=chain.li))
    with pytest.raises(ReviewRefused, match="what you found"):
        review(signal, note=" ", by=hr)
    batch = BindingBatch.objects.create(source="page", recorded_by=hr)
    moved = Binding.objects.create(
        member=chain.member("X", None), clerk=chain.li, valid_from=day("02-08"), reason="reassignment", batch=batch
    )
    signal.kind, signal.evidence = Kind.AFTER_INCOME, [moved.pk]
    with pytest.raises(ReviewRefused, match="whom you reassigned"):
        review(signal, note="fine", by=hr)


def test_the_command_makes_open_months_anew(chain: SmallChain, capsys: pytest.CaptureFixture[str]) -> None:
    walk_in(chain, 3, 1)
    call_command("refresh_signals", "--on", "2026-03-01")
    assert capsys.readouterr().out.splitlines() == ["2026-01: 0 signals.", "2026-02: 1 signals."]
    period = known_period(Month.objects.get(pk=202602))
    assert period is not None
    assert period.until == dt.date(2026, 2, 28)


def test_a_manager_opens_the_own_store_s_signal_and_sets_it_as_looked_at() -> None:
    cast = Cast()
    walk_in(cast.chain, 3, 0)
    assert len(found(Kind.WALK_IN)) == 1
    manager, other = cast.client("manager"), cast.client("other_manager")
    of_month = reverse("signals", args=[202602])
    of_signal, look = (reverse(name, args=[202602, Kind.WALK_IN, "C1"]) for name in ("signal", "look_at_signal"))
    # 李's three of four, and the 300.00 with the card that the cast sold.
    said = "3 of 5 sales in 2026-02 were rung up without a member&#x27;s card."
    assert said in manager.get(of_month).content.decode()
    assert said not in other.get(of_month).content.decode()
    opened = manager.get(of_signal)
    assert [line.amount for line in opened.context["lines"]] == [1_000] * 3
    assert cast.client("hr").get(of_signal).status_code == 200
    people = ("clerk", "other_manager", "auditor")
    assert [cast.client(name).get(of_signal).status_code for name in people] == [404] * 3
    assert [cast.client(name).post(look, {"note": "x"}).status_code for name in people] == [404] * 3
    assert manager.post(look, {"note": "many tourists"}).status_code == 302
    assert "many tourists" in manager.get(of_month).content.decode()
