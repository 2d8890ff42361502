"""The fair split: hand-worked stores, the bounds that always hold, and how it compares with the usual ways."""

import heapq
import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolios.split import (
    Kept,
    SplitClerk,
    SplitError,
    SplitMember,
    SplitSummary,
    kept,
    quotas,
    split,
    spread,
    summarise,
)


def clerks_of(*weights: int) -> list[SplitClerk]:
    return [SplitClerk(f"C{index}", weight) for index, weight in enumerate(weights, 1)]


def members_of(tiers: str, amounts: list[int]) -> list[SplitMember]:
    return [
        SplitMember(f"M{index:04}", amount, tier)
        for index, (tier, amount) in enumerate(zip(tiers, amounts, strict=True), 1)
    ]


def lognormal_members(count: int, seed: int) -> list[SplitMember]:
    draw = random.Random(seed)
    amounts = sorted((round(draw.lognormvariate(11, 1)) for _ in range(count)), reverse=True)
    members = members_of("A" * (count // 20) + "B" * (count // 5 - count // 20) + "C" * (count - count // 5), amounts)
    draw.shuffle(members)
    return members


def books(assignment: dict[str, str], members: list[SplitMember]) -> dict[str, list[SplitMember]]:
    held: dict[str, list[SplitMember]] = {}
    for member in members:
        held.setdefault(assignment[member.member_no], []).append(member)
    return held


def range_of(numbers: list[int]) -> int:
    return max(numbers) - min(numbers)


# Quotas


@pytest.mark.parametrize(
    ("count", "weights", "expected"),
    [
        (1000, [100] * 10, [100] * 10),
        (10, [100, 100, 100], [4, 3, 3]),
        (2, [100, 100, 100], [1, 1, 0]),
        (0, [100, 50], [0, 0]),
        # A full post, a part-timer and a manager: 2/3 and 1/3 of 100 are 66.67 and 33.33.
        (100, [100, 50, 0], [67, 33, 0]),
        # 10 x 100/250 = 4, 10 x 70/250 = 2.8, 10 x 50/250 = 2, 10 x 30/250 = 1.2: the odd one goes to 2.8.
        (10, [100, 70, 50, 30], [4, 3, 2, 1]),
        (7, [0, 5], [0, 7]),
    ],
)
def test_quotas_follow_the_weights_by_largest_remainder(count, weights, expected):
    assert list(quotas(count, clerks_of(*weights)).values()) == expected


def test_quotas_give_the_odd_members_to_the_lower_clerk_numbers_in_any_order():
    assert quotas(5, list(reversed(clerks_of(100, 100, 100)))) == {"C1": 2, "C2": 2, "C3": 1}


@given(st.integers(0, 5000), st.lists(st.integers(0, 150), min_size=1, max_size=12).filter(any))
def test_quotas_add_up_and_stay_within_one_of_the_exact_share(count, weights):
    clerks = clerks_of(*weights)
    numbers = quotas(count, clerks)
    assert sum(numbers.values()) == count
    for clerk in clerks:
        assert abs(numbers[clerk.clerk_no] - Fraction(count * clerk.weight_percent, sum(weights))) < 1


# Stores worked by hand


def test_four_members_and_two_clerks_get_thirteen_each():
    members = members_of("CCCC", [10, 8, 5, 3])
    assert split(members, clerks_of(100, 100)) == {"M0001": "C1", "M0004": "C1", "M0002": "C2", "M0003": "C2"}


def test_a_swap_mends_what_dealing_leaves_uneven():
    # Three rounds of two, the widest first: 6 | 0, then 7 | 10 and 11 | 12: that is 24 and 22. The 11 and the 10 change
    # places: 23 each.
    members = members_of("CCCCCC", [12, 11, 10, 7, 6, 0])
    clerks = clerks_of(100, 100)
    rows = summarise(split(members, clerks), members, clerks)
    assert [(row.members, row.spend_amount) for row in rows] == [(3, 23), (3, 23)]


def test_a_part_timer_gets_half_the_members_and_half_the_spend():
    # Of 6 members who spent 15 in all the full post gets 4 and 10, the part-timer 2 and 5.
    members = members_of("CCCCCC", [4, 4, 2, 2, 2, 1])
    clerks = clerks_of(100, 50, 0)
    rows = summarise(split(members, clerks), members, clerks)
    assert rows == [SplitSummary("C1", 4, 0, 0, 10), SplitSummary("C2", 2, 0, 0, 5), SplitSummary("C3", 0, 0, 0, 0)]
    assert spread(rows, clerks) == 0


def test_the_odd_members_of_the_tiers_go_round():
    # 4 A, 4 B and 4 C among three: each tier leaves one over, and nobody gets two of the three.
    members = members_of("AAAABBBBCCCC", [100] * 4 + [50] * 4 + [10] * 4)
    rows = summarise(split(members, clerks_of(100, 100, 100)), members, clerks_of(100, 100, 100))
    assert sorted((row.a, row.b, row.members - row.a - row.b) for row in rows) == [(1, 1, 2), (1, 2, 1), (2, 1, 1)]


def test_fewer_members_than_clerks_give_one_to_some_and_none_to_others():
    members = members_of("AC", [500, 20])
    assert split(members, clerks_of(100, 100, 100)) == {"M0001": "C1", "M0002": "C2"}


def test_no_members_are_an_empty_split():
    assert split([], clerks_of(100)) == {}


def test_one_clerk_gets_everyone():
    members = members_of("ABCC", [9, 5, 0, -3])
    assert set(split(members, clerks_of(0, 30)).values()) == {"C2"}


def test_without_any_spend_the_counts_are_still_fair():
    members = members_of("C" * 11, [0] * 11)
    rows = summarise(split(members, clerks_of(100, 100, 100)), members, clerks_of(100, 100, 100))
    assert [row.members for row in rows] == [4, 4, 3]
    assert spread(rows, clerks_of(100, 100, 100)) == 0


def test_spend_below_zero_is_balanced_too():
    # -90 + 100 = 10 = 4 + 6.
    members = members_of("CCCC", [-90, 100, 4, 6])
    rows = summarise(split(members, clerks_of(100, 100)), members, clerks_of(100, 100))
    assert [row.spend_amount for row in rows] == [10, 10]


def test_one_giant_spender_gets_the_smallest_of_every_tier_for_company():
    clerks = clerks_of(*[100] * 10)
    members = lognormal_members(1000, seed=3)
    giant = max(members, key=lambda member: member.spend_amount)
    members = [replace(giant, spend_amount=10**11) if member == giant else member for member in members]
    held = books(split(members, clerks), members)

    giants_clerk = next(clerk_no for clerk_no, book in held.items() if giant.member_no in {m.member_no for m in book})
    book = held.pop(giants_clerk)
    for tier, number in (("A", 5), ("B", 15), ("C", 80)):
        ranked = sorted(member.spend_amount for member in members if member.tier == tier)
        mine = sorted(m.spend_amount for m in book if m.tier == tier and m.member_no != giant.member_no)
        assert mine == ranked[: number - (tier == "A")]
    others = [clerk for clerk in clerks if clerk.clerk_no != giants_clerk]
    rest = [member for member in members if member not in book]
    assert spread(summarise(split(rest, others), rest, others), others) <= Fraction(1, 100_000)
    assert range_of([sum(m.spend_amount for m in one) for one in held.values()]) * 100_000 <= sum(
        member.spend_amount for member in rest
    ) / len(others)


# Locked members


def test_locked_members_stay_and_count_towards_the_quota():
    # Three each: C1 keeps its locked 9 and gets two more, and 9 + 2 + 1 = 12 = 5 + 4 + 3.
    members = members_of("CCCCCC", [9, 5, 4, 3, 2, 1])
    members[0] = replace(members[0], owner="C1", locked=True)
    assignment = split(members, clerks_of(100, 100))
    assert {number for number, clerk_no in assignment.items() if clerk_no == "C1"} == {"M0001", "M0005", "M0006"}


def test_a_clerk_with_more_locked_members_than_the_quota_gets_no_others():
    # Nine members among three would be three each; C3 keeps its five, and the other four are shared two and two.
    members = members_of("C" * 9, [1] * 9)
    members = [replace(member, owner="C3", locked=index < 5) for index, member in enumerate(members)]
    assignment = split(members, clerks_of(100, 100, 100))
    assert Counter(assignment.values()) == {"C3": 5, "C1": 2, "C2": 2}
    assert {assignment[member.member_no] for member in members[:5]} == {"C3"}


def test_a_clerk_of_weight_0_keeps_locked_members_only():
    members = members_of("ACC", [10, 5, 5])
    members[0] = replace(members[0], owner="C2", locked=True)
    assert split(members, clerks_of(100, 0)) == {"M0001": "C2", "M0002": "C1", "M0003": "C1"}


def test_an_owner_without_a_lock_means_nothing():
    members = members_of("CCCC", [10, 8, 5, 3])
    owned = [replace(member, owner="C2") for member in members]
    assert split(owned, clerks_of(100, 100)) == split(members, clerks_of(100, 100))


# Keeping members with who served them most


def served(members: list[SplitMember], clerk_numbers: str) -> list[SplitMember]:
    """Each member with the clerk who served it most: "12-" are C1, C2 and nobody."""
    return [
        replace(member, served_by="" if number == "-" else f"C{number}")
        for member, number in zip(members, clerk_numbers, strict=True)
    ]


def test_members_stay_with_who_served_them_where_that_is_even():
    # 9 + 2 and 6 + 5 are both 11, and all four are kept; without that 9 + 2 would be C1's too, whoever served.
    members, clerks = served(members_of("CCCC", [9, 6, 5, 2]), "2112"), clerks_of(100, 100)
    assignment = split(members, clerks, keep_within_bp=0)
    assert assignment == {"M0001": "C2", "M0002": "C1", "M0003": "C1", "M0004": "C2"}
    assert kept(assignment, members, clerks) == Kept(4, 4)


def test_the_bound_decides_how_many_are_kept():
    # 9 + 6 and 5 + 2 as served: 15 and 7, 8 / 11 = 72.7%. Level are only 9 + 2 and 6 + 5, with two kept.
    members, clerks = served(members_of("CCCC", [9, 6, 5, 2]), "1122"), clerks_of(100, 100)
    assert kept(split(members, clerks, keep_within_bp=7273), members, clerks) == Kept(4, 4)
    assert kept(split(members, clerks, keep_within_bp=7272), members, clerks) == Kept(2, 4)
    rows = summarise(split(members, clerks, keep_within_bp=7272), members, clerks)
    assert spread(rows, clerks) <= Fraction(7272, 10_000)


def test_nobody_is_kept_beyond_a_clerks_places():
    # C1 served five of six and has three places.
    members, clerks = served(members_of("C" * 6, [1] * 6), "11111-"), clerks_of(100, 100)
    assignment = split(members, clerks, keep_within_bp=0)
    assert Counter(assignment.values()) == {"C1": 3, "C2": 3}
    assert kept(assignment, members, clerks) == Kept(3, 5)


def test_a_bound_that_no_split_reaches_keeps_whom_it_can_without_making_it_worse():
    # The giant makes 96 + 1 against 3 + 2 the best there is; who goes with it is open between the two of 1.
    members, clerks = served(members_of("CCCC", [96, 3, 1, 1]), "2-1-"), clerks_of(100, 100)
    best = spread(summarise(split(members, clerks), members, clerks), clerks)
    assignment = split(members, clerks, keep_within_bp=100)
    assert spread(summarise(assignment, members, clerks), clerks) == best
    assert kept(assignment, members, clerks) == Kept(2, 2)


def test_locked_members_stay_with_the_owner_whoever_served_them():
    members = served(members_of("CCCC", [5, 5, 5, 5]), "2222")
    members[0] = replace(members[0], owner="C1", locked=True)
    clerks = clerks_of(100, 100)
    assignment = split(members, clerks, keep_within_bp=0)
    assert assignment["M0001"] == "C1"
    assert kept(assignment, members, clerks) == Kept(2, 3)


def test_a_server_who_takes_no_members_keeps_none():
    members, clerks = served(members_of("CCC", [3, 2, 1]), "298"), clerks_of(100, 0)
    assignment = split(members, clerks, keep_within_bp=0)
    assert set(assignment.values()) == {"C1"}
    assert kept(assignment, members, clerks) == Kept(0, 0)


def test_a_bound_below_zero_is_refused():
    with pytest.raises(SplitError, match="A spread can't be -1 basis points: ask for 0 or more"):
        split(members_of("C", [1]), clerks_of(100), keep_within_bp=-1)


def test_a_thousand_members_are_mostly_kept_within_a_percent():
    draw = random.Random(5)
    clerks = clerks_of(*[100] * 10)
    members = [
        replace(member, served_by=f"C{draw.choice((1, 1, *range(1, 11)))}")
        for member in lognormal_members(1000, seed=5)
    ]
    plain, assignment = split(members, clerks), split(members, clerks, keep_within_bp=100)
    rows = summarise(assignment, members, clerks)
    assert {(row.members, row.a, row.b) for row in rows} == {(100, 5, 15)}
    assert spread(rows, clerks) <= Fraction(1, 100)
    # No split can keep more than there are places for, tier by tier.
    most = sum(
        min(places, sum(m.served_by == clerk.clerk_no and m.tier == tier for m in members))
        for clerk in clerks
        for tier, places in (("A", 5), ("B", 15), ("C", 80))
    )
    assert 100 * kept(assignment, members, clerks).kept >= 98 * most
    assert 4 * kept(plain, members, clerks).kept < most


# Summary and spread


def test_a_summary_of_today_leaves_out_members_of_nobody_and_of_others():
    members = members_of("ABCC", [40, 30, 20, 10])
    today = {"M0001": "C2", "M0002": "C2", "M0003": "C9", "M0004": ""}
    assert summarise(today, members, clerks_of(100, 100)) == [
        SplitSummary("C1", 0, 0, 0, 0),
        SplitSummary("C2", 2, 1, 1, 70),
    ]


def test_spread_is_per_weight():
    # 300 at 100% and 200 at 50% are 3 and 4 per percent: (4 - 3) / 3.5.
    rows = [SplitSummary("C1", 3, 0, 0, 300), SplitSummary("C2", 2, 0, 0, 200), SplitSummary("C3", 1, 0, 0, 999)]
    assert spread(rows, clerks_of(100, 50, 0)) == Fraction(2, 7)


def test_spread_has_a_figure_when_spend_cancels_out():
    rows = [SplitSummary("C1", 1, 0, 0, 100), SplitSummary("C2", 1, 0, 0, -100)]
    assert spread(rows, clerks_of(100, 100)) == 2


# Errors


@pytest.mark.parametrize("clerks", [[], clerks_of(0), clerks_of(0, 0, 0)])
def test_nobody_to_take_members_is_refused(clerks):
    members = members_of("C", [1])
    for attempt in (lambda: split(members, clerks), lambda: quotas(1, clerks), lambda: spread([], clerks)):
        with pytest.raises(SplitError, match=rf"none of the {len(clerks)} clerks has a weight above 0.*Choose"):
            attempt()


@pytest.mark.parametrize(
    ("members", "clerks", "message"),
    [
        (members_of("C", [1]) * 2, clerks_of(100), "Member M0001 is listed twice"),
        (members_of("C", [1]), clerks_of(100) * 2, "Clerk C1 is listed twice"),
        (members_of("C", [1]), clerks_of(100, -5), "Clerk C2 has the weight -5%"),
        (members_of("D", [1]), clerks_of(100), "Member M0001 has the tier 'D'"),
        ([SplitMember("M1", 1, "C", owner="C8", locked=True)], clerks_of(100), "Member M1 is locked to clerk C8"),
        ([SplitMember("M1", 1, "C", locked=True)], clerks_of(100), "Member M1 is locked and has no owner"),
    ],
)
def test_input_that_contradicts_itself_is_refused_by_number(members, clerks, message):
    with pytest.raises(SplitError, match=message):
        split(members, clerks)


# What always holds

amounts = st.one_of(st.integers(-50, 300), st.integers(-(10**6), 10**7), st.just(0))
weights = st.lists(st.sampled_from([0, 30, 50, 70, 100]), min_size=1, max_size=7).filter(any)


@st.composite
def stores(draw, weights=weights, locks=True):
    clerks = clerks_of(*draw(weights))
    rows = draw(st.lists(st.tuples(amounts, st.sampled_from("AABBCCCC"), st.integers(0, 3)), max_size=70))
    members = []
    for index, (amount, tier, lock) in enumerate(rows):
        locked = locks and lock == 3
        owner = draw(st.sampled_from(clerks)).clerk_no if locked else ""
        members.append(SplitMember(f"M{index:04}", amount, tier, owner, locked))
    return members, clerks


@given(stores(), st.randoms(use_true_random=False))
def test_the_order_of_the_lists_changes_nothing(store, shuffler):
    members, clerks = store
    expected = split(members, clerks)
    shuffler.shuffle(members)
    shuffler.shuffle(clerks)
    assert split(members, clerks) == expected


@given(stores())
def test_everyone_has_one_clerk_and_locked_members_keep_theirs(store):
    members, clerks = store
    assignment = split(members, clerks)
    working = {clerk.clerk_no for clerk in clerks if clerk.weight_percent}
    assert assignment.keys() == {member.member_no for member in members}
    for member in members:
        clerk_no = assignment[member.member_no]
        assert clerk_no == member.owner if member.locked else clerk_no in working


@given(stores(weights=st.lists(st.just(100), min_size=1, max_size=7), locks=False))
def test_equal_weights_differ_by_at_most_one_in_all_and_in_each_tier(store):
    members, clerks = store
    rows = summarise(split(members, clerks), members, clerks)
    assert range_of([row.members for row in rows]) <= 1
    assert range_of([row.a for row in rows]) <= 1
    assert range_of([row.b for row in rows]) <= 1
    assert range_of([row.members - row.a - row.b for row in rows]) <= 1


@given(stores(locks=False))
def test_other_weights_follow_the_quotas_in_all(store):
    members, clerks = store
    rows = summarise(split(members, clerks), members, clerks)
    assert {row.clerk_no: row.members for row in rows} == quotas(len(members), clerks)


@given(stores(locks=False))
def test_key_members_are_within_one_of_each_weights_share_where_everyone_has_c_members_too(store):
    members, clerks = store
    total = sum(clerk.weight_percent for clerk in clerks)
    # Four C members for the least weight leave no clerk without any, so that the totals never stand in the way.
    least = min(clerk.weight_percent for clerk in clerks if clerk.weight_percent)
    members += [SplitMember(f"N{index:04}", index, "C") for index in range(4 * total // least + 1)]
    for row, clerk in zip(summarise(split(members, clerks), members, clerks), clerks, strict=True):
        for number, tier in ((row.a, "A"), (row.b, "B")):
            share = Fraction(sum(member.tier == tier for member in members) * clerk.weight_percent, total)
            assert abs(number - share) < 1


@given(stores(weights=st.lists(st.just(100), min_size=1, max_size=7)))
def test_with_locks_only_a_clerk_who_got_nobody_may_hold_more_than_one_above_another(store):
    members, clerks = store
    assignment = split(members, clerks)
    counts = Counter(assignment.values())
    for one, other in combinations([clerk.clerk_no for clerk in clerks], 2):
        for more, fewer in ((one, other), (other, one)):
            if counts[more] > counts[fewer] + 1:
                assert all(m.locked for m in members if assignment[m.member_no] == more)


@given(stores())
def test_no_swap_is_left_that_would_bring_two_clerks_closer(store):
    members, clerks = store
    held = books(split(members, clerks), members)
    level = {
        clerk.clerk_no: Fraction(sum(m.spend_amount for m in held.get(clerk.clerk_no, [])), clerk.weight_percent)
        for clerk in clerks
        if clerk.weight_percent
    }
    weight = {clerk.clerk_no: clerk.weight_percent for clerk in clerks}
    for heavy in level:
        for light in level:
            gap = level[heavy] - level[light]
            least = min(weight[heavy], weight[light])
            for given_up in held.get(heavy, []):
                for taken in held.get(light, []):
                    if given_up.tier == taken.tier and not given_up.locked and not taken.locked:
                        moved = given_up.spend_amount - taken.spend_amount
                        assert not 0 < Fraction(moved, least) < gap


@given(stores(), st.lists(st.integers(1, 8), min_size=70, max_size=70), st.sampled_from([0, 100, 1000]))
@settings(max_examples=40, deadline=None)
def test_keeping_changes_no_count_and_no_lock_and_stays_within_the_bound(store, servers, bound):
    members, clerks = store
    members = [replace(member, served_by=f"C{number}") for member, number in zip(members, servers, strict=False)]
    plain, assignment = split(members, clerks), split(members, clerks, keep_within_bp=bound)
    before, after = summarise(plain, members, clerks), summarise(assignment, members, clerks)
    assert [(row.members, row.a, row.b) for row in after] == [(row.members, row.a, row.b) for row in before]
    assert spread(after, clerks) <= max(Fraction(bound, 10_000), spread(before, clerks))
    assert all(assignment[member.member_no] == member.owner for member in members if member.locked)
    assert kept(assignment, members, clerks).kept >= kept(plain, members, clerks).kept
    assert split(list(reversed(members)), list(reversed(clerks)), keep_within_bp=bound) == assignment


# Against the usual ways


def capped_lpt_amounts(members: list[SplitMember], clerk_count: int) -> list[int]:
    """Largest first, each to the clerk with the least spend who still has room: an independent yardstick."""
    heap = [(0, index, 0) for index in range(clerk_count)]
    full = []
    for amount in sorted((member.spend_amount for member in members), reverse=True):
        load, index, count = heapq.heappop(heap)
        row = (load + amount, index, count + 1)
        if count + 1 < len(members) // clerk_count:
            heapq.heappush(heap, row)
        else:
            full.append(row)
    return [load for load, _, _ in full]


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_members_among_ten_clerks_are_even_to_a_hundred_thousandth(seed):
    members, clerks = lognormal_members(1000, seed), clerks_of(*[100] * 10)
    rows = summarise(split(members, clerks), members, clerks)
    assert {(row.members, row.a, row.b) for row in rows} == {(100, 5, 15)}
    assert spread(rows, clerks) <= Fraction(1, 100_000)
    assert range_of([row.spend_amount for row in rows]) * 100 <= range_of(capped_lpt_amounts(members, 10))


def test_part_timers_are_even_per_weight_to_a_hundred_thousandth():
    members, clerks = lognormal_members(1000, seed=11), clerks_of(100, 100, 50, 70, 100, 30, 0, 100)
    rows = summarise(split(members, clerks), members, clerks)
    assert spread(rows, clerks) <= Fraction(1, 100_000)
