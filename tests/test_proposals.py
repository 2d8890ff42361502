"""Preview, apply, undo: what a proposal shows is what applying it does, and it is done once."""

import pytest
from django.utils import timezone

from commission.models import Attribution
from kpis.models import Proposal
from kpis.proposals import Options, ProposalError, StoreChanged, apply_proposal, curve, draft, redraft, undo_batch
from portfolios.bindings import BindingError, assign
from portfolios.models import Binding, BindingBatch, Clerk, Member, Month, Posting
from portfolios.months import MonthError
from portfolios.split import SplitError
from tests.small_chain import SmallChain, day

Kind = Proposal.Kind
pytestmark = pytest.mark.django_db


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


def owners(chain: SmallChain, on: str) -> dict[str, str]:
    bound = Binding.objects.valid().filter(valid_from__lte=day(on), valid_to__gt=day(on))
    return dict(bound.order_by("member__member_no").values_list("member__member_no", "clerk__clerk_no"))


def rows(proposal: Proposal) -> dict[str, tuple[int, int]]:
    """Members before and after, by clerk number."""
    return {row["clerk_no"]: (row["before"]["members"], row["after"]["members"]) for row in proposal.document["clerks"]}


def paid(clerk: Clerk) -> int:
    return sum(Attribution.objects.filter(owner=clerk).values_list("owner_commission_amount", flat=True)) + sum(
        Attribution.objects.filter(server=clerk).values_list("server_commission_amount", flat=True)
    )


def six_of_li(chain: SmallChain) -> list[Member]:
    """M0 to M5 are 李's, who spent 600.00, 500.00, ... 100.00 on 01-10, served by 王 (M0) and by 李 (the others)."""
    members = [chain.member(f"M{n}", chain.li) for n in range(6)]
    for n, member in enumerate(members):
        chain.sale("01-10", (chain.wang if n == 0 else chain.li, 60_000 - n * 10_000), member=member)
    return members


def test_a_draft_writes_nothing_but_itself(chain: SmallChain) -> None:
    six_of_li(chain)
    counts = [model.objects.count() for model in (Binding, BindingBatch, Attribution)]
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-05"), options=Options())
    assert [model.objects.count() for model in (Binding, BindingBatch, Attribution)] == counts
    assert rows(proposal) == {"C1": (6, 2), "C2": (0, 2), "C3": (0, 2)}
    assert proposal.document["pay"]


def test_what_a_portfolio_is_expected_to_earn(chain: SmallChain) -> None:
    """M0 brings 18.00 in commission a year, served by 王: to 李 it is worth 70% of it / 12 = 1.05 a month, to 王 1.50.
    M1 to M5 bring 45.00, all served by 李: 3.75 a month to her, and 70% of it to another, 2.625.
    """
    members = six_of_li(chain)
    proposal = draft(
        Kind.REASSIGNMENT,
        chain.first,
        on=day("01-20"),
        options=Options(takers=("C2",), members=tuple(member.pk for member in members)),
    )
    expected = {
        row["clerk_no"]: (row["before"]["expected_amount"], row["after"]["expected_amount"])
        for row in proposal.document["clerks"]
    }
    assert expected == {"C1": (480, 0), "C2": (0, 413), "C3": (0, 0)}


def test_applied_as_shown_and_undone_as_a_whole(chain: SmallChain) -> None:
    six_of_li(chain)
    before = owners(chain, "01-20")
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options(), note="fair at last")
    batch = apply_proposal(proposal, by=None)
    after = owners(chain, "01-20")
    shown = {member: clerk for member, _from, clerk in proposal.document["moves"]}
    keys = dict(Clerk.objects.values_list("clerk_no", "pk"))
    changed = {no: keys[clerk] for no, clerk in after.items() if clerk != before[no]}
    assert changed == {Member.objects.get(pk=pk).member_no: clerk for pk, clerk in shown.items()}
    assert sorted(after.values()) == ["C1", "C1", "C2", "C2", "C3", "C3"]
    assert batch.note == "fair at last"
    assert owners(chain, "01-19") == before
    back = undo_batch(batch, by=None)
    assert owners(chain, "01-20") == before
    assert undo_batch(batch, by=None) == back


def test_a_second_apply_is_the_first_one(chain: SmallChain) -> None:
    six_of_li(chain)
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options())
    batch = apply_proposal(proposal, by=None)
    count = Binding.objects.count()
    assert apply_proposal(proposal, by=None) == batch
    assert Binding.objects.count() == count


@pytest.mark.parametrize("change", ["reassigned", "enrolled", "locked", "weight"])
def test_a_store_that_changed_meanwhile_is_previewed_again(chain: SmallChain, change: str) -> None:
    members = six_of_li(chain)
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options())
    if change == "reassigned":
        batch = BindingBatch.objects.create(source="another manager")
        reason = Binding.Reason.REASSIGNMENT
        assign({members[5].pk: chain.zhang.pk}, on=day("01-20"), reason=reason, batch=batch)
    elif change == "enrolled":
        chain.member("M9", chain.wang, "01-15")
    elif change == "locked":
        Member.objects.filter(pk=members[5].pk).update(locked=True)
    else:
        Posting.objects.filter(clerk=chain.zhang).update(weight_percent=50)
    there = owners(chain, "01-20")
    with pytest.raises(StoreChanged, match="Nothing was applied"):
        apply_proposal(proposal, by=None)
    assert owners(chain, "01-20") == there
    anew = redraft(proposal, by=None)
    apply_proposal(anew, by=None)
    assert owners(chain, "01-20") != there


def test_a_sale_meanwhile_leaves_the_preview_valid(chain: SmallChain) -> None:
    members = six_of_li(chain)
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options())
    chain.sale("01-21", (chain.zhang, 1_000), member=members[0])
    batch = apply_proposal(proposal, by=None)
    assert batch.made.count() == len(proposal.document["moves"])


def test_dated_back_it_says_whose_pay_moves_and_moves_just_that(chain: SmallChain) -> None:
    """M0's 600.00 of 01-10 was a split: 李 12.60, 王 5.40. Bound to 王 from 01-05 he has the whole 18.00."""
    member = six_of_li(chain)[0]
    before = {clerk.clerk_no: paid(clerk) for clerk in (chain.li, chain.wang, chain.zhang)}
    proposal = draft(
        Kind.REASSIGNMENT, chain.first, on=day("01-05"), options=Options(takers=("C2",), members=(member.pk,))
    )
    assert proposal.document["corrected"] == 1
    shown = {row["clerk_no"]: row["amount"] for row in proposal.document["pay"]}
    assert shown == {"C1": -1_260, "C2": 1_260}
    batch = apply_proposal(proposal, by=None)
    after = {clerk.clerk_no: paid(clerk) for clerk in (chain.li, chain.wang, chain.zhang)}
    assert {no: after[no] - before[no] for no in after if after[no] != before[no]} == shown
    undo_batch(batch, by=None)
    assert {clerk.clerk_no: paid(clerk) for clerk in (chain.li, chain.wang, chain.zhang)} == before


def test_a_date_in_a_closed_month_is_refused(chain: SmallChain) -> None:
    six_of_li(chain)
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options())
    Month.objects.update(closed_at=timezone.now())
    for attempt in (
        lambda: draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options()),
        lambda: apply_proposal(proposal, by=None),
    ):
        with pytest.raises(MonthError, match="2026-01-20, in a month that is closed"):
            attempt()


def test_a_leaver_s_members_go_to_who_served_them(chain: SmallChain) -> None:
    """李's six: two each would be 3 and 3 for 王 and 张; 王 served M0, 张 served M5, so they get these."""
    members = six_of_li(chain)
    chain.sale("01-11", (chain.zhang, 1_000), member=members[5])
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=day("01-31"))
    proposal = draft(
        Kind.HAND_OVER,
        chain.first,
        clerk=Clerk.objects.get(pk=chain.li.pk),
        on=day("02-01"),
        options=Options(keep_within_bp=10_000),
    )
    assert rows(proposal) == {"C1": (6, 0), "C2": (0, 3), "C3": (0, 3)}
    apply_proposal(proposal, by=None)
    after = owners(chain, "02-01")
    assert (after["M0"], after["M5"]) == ("C2", "C3")
    assert sorted(after.values()) == ["C2"] * 3 + ["C3"] * 3
    assert set(owners(chain, "01-31").values()) == {"C1"}
    made = Binding.objects.filter(valid_from=day("02-01"))
    assert set(made.values_list("reason", flat=True)) == {Binding.Reason.LEAVER}


def test_a_leaver_s_members_to_the_unassigned_list(chain: SmallChain) -> None:
    six_of_li(chain)
    proposal = draft(Kind.HAND_OVER, chain.first, clerk=chain.li, on=day("02-01"), options=Options(to_list=True))
    assert (proposal.document["unassigned"]["before"]["members"], rows(proposal)["C1"]) == (0, (6, 0))
    assert proposal.document["unassigned"]["after"]["members"] == 6
    apply_proposal(proposal, by=None)
    assert owners(chain, "02-01") == {}
    assert Member.objects.unassigned(day("02-01")).count() == 6


def test_the_unassigned_are_dealt_and_nobody_else_moves(chain: SmallChain) -> None:
    mine = six_of_li(chain)
    for n in range(6, 12):
        chain.member(f"N{n}", None)
    proposal = draft(Kind.UNASSIGNED, chain.first, on=day("01-20"), options=Options())
    assert rows(proposal) == {"C1": (6, 6), "C2": (0, 3), "C3": (0, 3)}
    assert proposal.document["unassigned"]["before"]["members"] == 6
    apply_proposal(proposal, by=None)
    assert {owners(chain, "01-20")[member.member_no] for member in mine} == {"C1"}
    with pytest.raises(ProposalError, match="Every member of this store has an owner"):
        draft(Kind.UNASSIGNED, chain.first, on=day("01-20"), options=Options())


def test_rebalance_moves_few_and_no_locked_member(chain: SmallChain) -> None:
    """李 holds 600 + 500 + 400 + 300 + 200 + 100 = 2100.00 and the others nothing; M0 and M1 are locked."""
    members = six_of_li(chain)
    Member.objects.filter(pk__in=[members[0].pk, members[1].pk]).update(locked=True)
    points = curve(chain.first, on=day("01-20"), options=Options())
    assert points[0].moves == 0
    assert [point.spread for point in points] == sorted((point.spread for point in points), reverse=True)
    chosen = points[-1]
    proposal = draft(Kind.REBALANCE, chain.first, on=day("01-20"), options=Options(spread_bp=chosen.spread_bp))
    assert len(proposal.document["moves"]) == chosen.moves
    assert proposal.document["spread_bp"]["after"] == pytest.approx(float(chosen.spread * 10_000))
    apply_proposal(proposal, by=None)
    after = owners(chain, "01-20")
    assert (after["M0"], after["M1"]) == ("C1", "C1")


def test_locked_members_stay_in_a_split(chain: SmallChain) -> None:
    members = six_of_li(chain)
    Member.objects.filter(pk__in=[member.pk for member in members[:4]]).update(locked=True)
    proposal = draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options())
    assert rows(proposal) == {"C1": (6, 4), "C2": (0, 1), "C3": (0, 1)}


def test_who_can_not_take_members_is_refused(chain: SmallChain) -> None:
    members = six_of_li(chain)
    with pytest.raises(ProposalError, match="Clerk C4 has no posting as a clerk at store S1 on 2026-01-20"):
        draft(
            Kind.REASSIGNMENT,
            chain.first,
            on=day("01-20"),
            options=Options(takers=("C4",), members=(members[0].pk,)),
        )
    Posting.objects.update(weight_percent=0)
    with pytest.raises(ProposalError, match="No clerk of store S1 can take members"):
        draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options())
    with pytest.raises(SplitError):
        draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options(takers=("C1", "C2")))
    with pytest.raises(ProposalError, match="nothing to hand over"):
        draft(Kind.HAND_OVER, chain.first, clerk=chain.wang, on=day("01-20"), options=Options())


def test_a_part_timer_takes_half(chain: SmallChain) -> None:
    for n in range(10):
        chain.member(f"M{n}", None)
    Posting.objects.filter(clerk=chain.zhang).update(weight_percent=50)
    proposal = draft(Kind.UNASSIGNED, chain.first, on=day("01-20"), options=Options())
    assert rows(proposal) == {"C1": (0, 4), "C2": (0, 4), "C3": (0, 2)}


def test_an_undo_that_something_built_on_is_refused(chain: SmallChain) -> None:
    members = six_of_li(chain)
    batch = apply_proposal(draft(Kind.SPLIT, chain.first, on=day("01-20"), options=Options()), by=None)
    moved = batch.made.first()
    assert moved is not None
    chosen = Options(takers=("C1",), members=(moved.member_id,))
    apply_proposal(draft(Kind.REASSIGNMENT, chain.first, on=day("01-25"), options=chosen), by=None)
    with pytest.raises(BindingError, match="1 of its members were changed again afterwards"):
        undo_batch(batch, by=None)
    assert len(members) == 6
