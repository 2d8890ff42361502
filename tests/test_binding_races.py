"""Several people change owners at once, on connections of their own: one clear winner, one clear message, no gap."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction

from commission.models import Attribution
from kpis.leaving import set_last_day
from kpis.models import Proposal
from kpis.proposals import Options, StoreChanged, apply_proposal, draft, undo_batch
from portfolios.bindings import BindingError
from portfolios.models import Binding, BindingBatch, Member
from tests.concurrency import apart, at_once
from tests.small_chain import SmallChain, day

Kind = Proposal.Kind
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_database")]


def with_members(count: int = 6) -> tuple[SmallChain, list[Member]]:
    chain = SmallChain()
    return chain, [chain.member(f"M{n}", chain.li) for n in range(count)]


def reassignment(chain: SmallChain, members: list[Member], to: str) -> Proposal:
    chosen = Options(takers=(to,), members=tuple(member.pk for member in members))
    return draft(Kind.REASSIGNMENT, chain.first, on=day("01-20"), options=chosen)


def each_day_has_one_owner(members: list[Member]) -> bool:
    """Without an overlap and without a gap, from the first day to the open end."""
    for member in members:
        rows = list(Binding.objects.valid().filter(member=member).order_by("valid_from"))
        meets = all(one.valid_to == other.valid_from for one, other in pairwise(rows))
        if not meets or rows[0].valid_from != day("01-01") or rows[-1].valid_to.year != 9999:
            return False
    return True


def split_by_kind(results: list[Any]) -> tuple[list[BindingBatch], list[Exception]]:
    return [one for one in results if isinstance(one, BindingBatch)], [
        one for one in results if isinstance(one, Exception)
    ]


@apart
def test_two_managers_moving_the_same_members() -> None:
    chain, members = with_members()
    first, second = reassignment(chain, members[:4], "C2"), reassignment(chain, members[2:], "C3")
    done, refused = split_by_kind(at_once(*(partial(apply_proposal, one, by=None) for one in (first, second))))
    assert len(done) == 1
    assert [type(error) for error in refused] == [StoreChanged]
    assert "Nothing was applied" in str(refused[0])
    assert each_day_has_one_owner(members)
    moved = Binding.objects.filter(batch=done[0])
    assert set(moved.values_list("member", flat=True)) == {row[0] for row in done[0].proposal.document["moves"]}


@apart
def test_a_double_click_on_apply() -> None:
    chain, members = with_members()
    proposal = reassignment(chain, members, "C2")
    results = at_once(*[partial(apply_proposal, proposal, by=None)] * 4)
    done, refused = split_by_kind(results)
    assert refused == []
    assert len({batch.pk for batch in done}) == 1
    assert Binding.objects.filter(batch=done[0]).count() == 6
    assert each_day_has_one_owner(members)


@pytest.mark.parametrize("delayed", ["sale", "hand-over"])
@apart
def test_a_sale_that_arrives_during_a_hand_over(delayed: str) -> None:
    """Whichever comes first, the sales from the day of the hand-over on are the new owners', those before are not."""
    chain, members = with_members()
    chain.month(202601)
    proposal = draft(Kind.HAND_OVER, chain.first, clerk=chain.li, on=day("01-10"), options=Options(takers=("C2",)))

    def sell() -> None:
        for on in ("01-09", "01-10"):
            with transaction.atomic():
                chain.sale(on, (chain.zhang, 10_000), member=members[0])

    tasks: list[Callable[[], Any]] = [sell, partial(apply_proposal, proposal, by=None)]
    results = at_once(*(tasks if delayed == "sale" else reversed(tasks)))
    assert split_by_kind(results)[1] == []
    owned: dict[tuple[str, str], int] = {}
    for row in Attribution.objects.select_related("owner"):
        assert row.owner is not None
        key = (f"{row.business_date:%m-%d}", row.owner.clerk_no)
        owned[key] = owned.get(key, 0) + row.owner_commission_amount
    assert {key: amount for key, amount in owned.items() if amount} == {("01-09", "C1"): 210, ("01-10", "C2"): 210}
    assert each_day_has_one_owner(members)


@apart
def test_two_first_splits_before_any_ticket() -> None:
    chain = SmallChain(opened=False)
    for n in range(9):
        chain.member(f"M{n}", None)
    proposals = [draft(Kind.SPLIT, chain.first, on=day("01-01"), options=Options()) for _manager in range(2)]
    done, refused = split_by_kind(at_once(*(partial(apply_proposal, one, by=None) for one in proposals)))
    assert len(done) == 1
    assert [type(error) for error in refused] == [StoreChanged]
    assert Binding.objects.valid().count() == 9


@apart
def test_an_undo_beside_a_further_change() -> None:
    chain, members = with_members()
    batch = apply_proposal(reassignment(chain, members, "C2"), by=None)
    onward = reassignment(chain, members[:1], "C3")
    results = at_once(partial(undo_batch, batch, by=None), partial(apply_proposal, onward, by=None))
    done, refused = split_by_kind(results)
    assert len(done) == 1
    assert isinstance(refused[0], BindingError | StoreChanged)
    assert each_day_has_one_owner(members)


@apart
def test_two_undos_of_one_batch() -> None:
    chain, members = with_members()
    batch = apply_proposal(reassignment(chain, members, "C2"), by=None)
    done, refused = split_by_kind(at_once(*[partial(undo_batch, batch, by=None)] * 3))
    assert refused == []
    assert len({back.pk for back in done}) == 1
    assert each_day_has_one_owner(members)


@apart
def test_a_last_day_beside_a_hand_over_and_a_sale() -> None:
    """No order of the three deadlocks, and no sale after the last day is left with the leaver."""
    chain, members = with_members()
    proposal = draft(Kind.HAND_OVER, chain.first, clerk=chain.li, on=day("01-16"), options=Options(takers=("C2",)))

    def sell() -> None:
        with transaction.atomic():
            chain.sale("01-20", (chain.zhang, 10_000), member=members[0])

    results = at_once(
        sell, partial(set_last_day, chain.li, day("01-15"), by=None), partial(apply_proposal, proposal, by=None)
    )
    assert {type(error) for error in split_by_kind(results)[1]} <= {StoreChanged}
    kept = Attribution.objects.filter(owner=chain.li).values_list("owner_commission_amount", flat=True)
    assert sum(kept) == 0
