"""Changes of bindings: what is ended, voided and made, and that no day is without its one owner."""

import datetime as dt

import pytest
from django.utils import timezone
from django.utils.translation import override
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portfolios.bindings import BindingError, assign, end, end_with_cards, enrolments, undo
from portfolios.models import OPEN_END, Binding, BindingBatch, Member, Month
from portfolios.months import MonthError
from tests.small_chain import SmallChain, day

Reason = Binding.Reason
pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


@pytest.fixture
def batch() -> BindingBatch:
    return BindingBatch.objects.create(source="test of bindings")


def history(member: Member) -> list[tuple[str, str, str, bool]]:
    """(clerk, from, to, voided) of every binding of a member."""
    rows = Binding.objects.filter(member=member).order_by("pk").select_related("clerk")
    return [
        (
            row.clerk.clerk_no,
            f"{row.valid_from}",
            "" if row.valid_to == OPEN_END else f"{row.valid_to}",
            row.voided_by_id is not None,
        )
        for row in rows
    ]


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("import_roster /srv/in/2026-02/roster", "roster import"),
        ("roster, bindings.csv", "roster import"),
        ("hand_over S02", "hand-over S02"),
        ("undo split S02", "undo split S02"),
        ("inquiry 7", "inquiry 7"),
        ("enrolment", "enrolment"),
        ("something else", "something else"),
    ],
)
def test_a_batch_says_in_the_reader_s_words_where_it_came_from(source: str, origin: str) -> None:
    batch = BindingBatch(source=source)
    assert batch.origin == origin
    with override("zh-hans"):
        assert not {"import_roster", "hand_over", "undo"} & set(batch.origin.split())


def test_a_transfer_ends_the_one_and_begins_the_other(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "03-01")
    changes = assign({member.pk: chain.wang.pk}, on=day("06-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assert history(member) == [("C1", "2026-03-01", "2026-06-01", False), ("C2", "2026-06-01", "", False)]
    ended, made = Binding.objects.filter(member=member).order_by("pk")
    assert (ended.ended_by, made.batch, made.reason) == (batch, batch, Reason.REASSIGNMENT)
    assert (changes.made, changes.ended, changes.voided, changes.since) == (1, 1, 0, day("06-01"))


def test_a_transfer_on_the_first_day_voids(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "03-01")
    changes = assign({member.pk: chain.wang.pk}, on=day("03-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assert history(member) == [("C1", "2026-03-01", "", True), ("C2", "2026-03-01", "", False)]
    assert (changes.made, changes.ended, changes.voided) == (1, 0, 1)


def test_a_backdated_transfer_voids_what_begins_later(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "03-01")
    assign({member.pk: chain.wang.pk}, on=day("06-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assign({member.pk: chain.zhang.pk}, on=day("05-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assert history(member) == [
        ("C1", "2026-03-01", "2026-05-01", False),
        ("C2", "2026-06-01", "", True),
        ("C3", "2026-05-01", "", False),
    ]


def test_what_begins_later_can_be_kept(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", None, "03-01")
    assign({member.pk: chain.wang.pk}, on=day("06-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assign({member.pk: chain.zhang.pk}, on=day("05-01"), reason=Reason.INITIAL_SPLIT, batch=batch, keep_later=True)
    assert history(member) == [("C2", "2026-06-01", "", False), ("C3", "2026-05-01", "2026-06-01", False)]


def test_the_same_owner_again_changes_nothing(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "03-01")
    changes = assign({member.pk: chain.li.pk}, on=day("06-01"), reason=Reason.REBALANCE, batch=batch)
    assert (changes.made, changes.since) == (0, None)
    assert history(member) == [("C1", "2026-03-01", "", False)]


def test_a_member_is_bound_from_the_day_it_counts_until_its_card_closes(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", None, "03-10")
    Member.objects.filter(pk=member.pk).update(closed_on=day("08-01"), counted_to=day("08-01"))
    assign({member.pk: chain.li.pk}, on=day("03-01"), reason=Reason.INITIAL_SPLIT, batch=batch)
    assert history(member) == [("C1", "2026-03-10", "2026-08-01", False)]
    with pytest.raises(BindingError, match="M1 is closed since 2026-08-01"):
        assign({member.pk: chain.wang.pk}, on=day("08-01"), reason=Reason.REASSIGNMENT, batch=batch)


def valid(member: Member) -> list[tuple[str, str, str]]:
    """(clerk, from, to) of the bindings that count."""
    return [tuple(row[:3]) for row in history(member) if not row[3]]  # type: ignore[misc]


def test_the_end_of_a_binding_sends_to_the_unassigned_list(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "03-01")
    end([member.pk], on=day("06-01"), batch=batch)
    assert history(member) == [("C1", "2026-03-01", "2026-06-01", False)]
    assert list(Member.objects.unassigned(day("06-01"))) == [member]
    assert not Member.objects.unassigned(day("05-31")).exists()


def test_a_closing_card_ends_its_binding(chain: SmallChain, batch: BindingBatch) -> None:
    closing, staying = chain.member("M1", chain.li, "03-01"), chain.member("M2", chain.li, "03-01")
    Member.objects.filter(pk=closing.pk).update(closed_on=day("07-15"), counted_to=day("07-15"))
    end_with_cards([closing.pk, staying.pk], batch=batch)
    assert history(closing) == [("C1", "2026-03-01", "2026-07-15", False)]
    assert history(staying) == [("C1", "2026-03-01", "", False)]


def test_undo_binds_again_as_it_was(chain: SmallChain, batch: BindingBatch) -> None:
    """李娜 from 03-01, 王伟 from 09-01; the batch gives the member to 张敏 from 06-01, and is taken back."""
    member, free = chain.member("M1", chain.li, "03-01"), chain.member("M2", None, "03-01")
    assign({member.pk: chain.wang.pk}, on=day("09-01"), reason=Reason.REASSIGNMENT, batch=chain.batch)
    owners = {member.pk: chain.zhang.pk, free.pk: chain.zhang.pk}
    assign(owners, on=day("06-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assert valid(member) == [("C1", "2026-03-01", "2026-06-01"), ("C3", "2026-06-01", "")]
    back = BindingBatch(source="undo", undoes=batch)
    changes = undo(batch, back)
    assert (changes.since, changes.voided, changes.made) == (day("06-01"), 2, 2)
    assert valid(member) == [
        ("C1", "2026-03-01", "2026-06-01"),
        ("C1", "2026-06-01", "2026-09-01"),
        ("C2", "2026-09-01", ""),
    ]
    assert valid(free) == []
    assert set(back.made.values_list("reason", flat=True)) == {Reason.UNDO}


def test_undo_of_an_undo_is_a_redo(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "03-01")
    assign({member.pk: chain.wang.pk}, on=day("06-01"), reason=Reason.REASSIGNMENT, batch=batch)
    back, again = BindingBatch(source="undo", undoes=batch), BindingBatch(source="redo")
    undo(batch, back)
    again.undoes = back
    undo(back, again)
    assert valid(member)[-1] == ("C2", "2026-06-01", "")


def test_undo_ends_where_something_built_on_it(chain: SmallChain, batch: BindingBatch) -> None:
    members = [chain.member(f"M{n}", chain.li, "03-01") for n in range(3)]
    owners = {member.pk: chain.wang.pk for member in members}
    assign(owners, on=day("06-01"), reason=Reason.REASSIGNMENT, batch=batch)
    later = BindingBatch.objects.create(source="later")
    end([members[1].pk], on=day("08-01"), batch=later)
    with pytest.raises(BindingError, match=r"1 of its members were changed again afterwards, M1 among them"):
        undo(batch, BindingBatch(source="undo", undoes=batch))
    assert valid(members[0])[-1] == ("C2", "2026-06-01", "")
    with pytest.raises(BindingError, match="nothing to take back"):
        undo(BindingBatch.objects.create(source="empty"), BindingBatch(source="undo"))


def test_undo_stops_at_a_closed_month(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "01-01")
    assign({member.pk: chain.wang.pk}, on=day("01-15"), reason=Reason.REASSIGNMENT, batch=batch)
    Month.objects.update(closed_at=timezone.now())
    with pytest.raises(MonthError, match="2026-01-15, in a month that is closed"):
        undo(batch, BindingBatch(source="undo", undoes=batch))


def test_enrolment_binds_once(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", None, "03-01")
    member.enrolled_by = chain.li
    bound = chain.member("M2", chain.wang, "03-01")
    assert enrolments([member, bound]).carry_out(batch).made == 1
    assert enrolments([member, bound]).carry_out(batch).made == 0
    assert history(member) == [("C1", "2026-03-01", "", False)]
    assert history(bound) == [("C2", "2026-03-01", "", False)]


def test_a_closed_month_refuses_every_change(chain: SmallChain, batch: BindingBatch) -> None:
    member = chain.member("M1", chain.li, "01-01")
    Month.objects.update(closed_at=timezone.now())
    for change in (
        lambda: assign({member.pk: chain.wang.pk}, on=day("01-31"), reason=Reason.REASSIGNMENT, batch=batch),
        lambda: end([member.pk], on=day("01-31"), batch=batch),
    ):
        with pytest.raises(MonthError, match=r"2026-01-31, in a month that is closed.*2026-02-01 or later"):
            change()
    assign({member.pk: chain.wang.pk}, on=day("02-01"), reason=Reason.REASSIGNMENT, batch=batch)
    assert history(member) == [("C1", "2026-01-01", "2026-02-01", False), ("C2", "2026-02-01", "", False)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 1, 2, None])), max_size=12))
def test_after_any_moves_each_day_has_the_owner_of_the_last_move_to_reach_it(
    chain: SmallChain, batch: BindingBatch, moves: list[tuple[int, int | None]]
) -> None:
    first = day("03-01")
    member = chain.member(f"M{Member.objects.count()}", None, "03-01")
    clerks = [chain.li.pk, chain.wang.pk, chain.zhang.pk]
    expected: list[int | None] = [None] * 60
    for offset, choice in moves:
        on = first + dt.timedelta(days=offset)
        owner = None if choice is None else clerks[choice]
        if owner is None:
            end([member.pk], on=on, batch=batch)
        else:
            assign({member.pk: owner}, on=on, reason=Reason.REASSIGNMENT, batch=batch)
        expected[offset:] = [owner] * (60 - offset)
    actual: list[int | None] = [None] * 60
    for binding in Binding.objects.valid().filter(member=member):
        for offset in range(60):
            if binding.valid_from <= first + dt.timedelta(days=offset) < binding.valid_to:
                assert actual[offset] is None
                actual[offset] = binding.clerk_id
    assert actual == expected
