"""Share a store's members among its clerks, so that everyone gets as many and as good ones.

The counts follow the clerks' weights by largest remainder, in all and for the A and the B members by themselves; with
the counts fixed, members of one tier change places until the clerks' 12-month spend is level.
Worked figure: four C members who spent 10, 8, 5 and 3 give two clerks 10 + 3 and 8 + 5, so 13 each.

Nothing here knows the database: members and clerks come in as values, and numbers go out. Amounts are integers in the
currency's minor unit, weights are percentages of a full post. The same input gives the same split, in whatever order
its members and clerks are listed.
"""

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from operator import attrgetter

from django.utils.translation import gettext as _

from portfolios.fewest_moves import NO_HOME, Books, Case, fewest

TIERS = ("A", "B", "C")


class SplitError(ValueError):
    """The members can't be shared as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SplitMember:
    """A member as the split sees it. `spend_amount` is the net spend of the last 12 months, and may be below zero.

    `owner` is the clerk of today, `served_by` the one who served the member most; both are empty for nobody.
    """

    member_no: str
    spend_amount: int
    tier: str
    owner: str = ""
    locked: bool = False
    served_by: str = ""


@dataclass(frozen=True, slots=True)
class SplitClerk:
    """A clerk and the share of a full post that counts: 100 in full, 50 part-time, 0 takes no members."""

    clerk_no: str
    weight_percent: int = 100


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What one clerk holds: members in all, A and B members among them, and their 12-month spend."""

    clerk_no: str
    members: int
    a: int
    b: int
    spend_amount: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Of the members who are not locked: how many one of the clerks served most, and how many of these stay there."""

    kept: int
    served: int


def quotas(count: int, clerks: Iterable[SplitClerk]) -> dict[str, int]:
    """How many of `count` members each clerk gets: in proportion to the weights, by the largest remainder.

    Equal weights differ by at most one; where remainders tie, the lower clerk number gets the member.
    Raises SplitError where no clerk has a weight above 0. Source: Hamilton's method of apportionment.
    """
    ordered = _checked_clerks(clerks)
    none, everyone = [0] * len(ordered), [count] * len(ordered)
    counts = _apportion(count, [clerk.weight_percent for clerk in ordered], none, everyone, none)
    return {clerk.clerk_no: number for clerk, number in zip(ordered, counts, strict=True)}


def split(
    members: Iterable[SplitMember], clerks: Iterable[SplitClerk], *, keep_within_bp: int | None = None
) -> dict[str, str]:
    """The clerk number for each member number, fair in count, in A and B members and in spend.

    Locked members stay with their owner and count towards that clerk's quota. A clerk who holds more locked members
    than a fair quota gets no others, and the rest share what is left by their weights.
    With `keep_within_bp` members go to the clerk who served them most, as many as can: the counts stay the same, and
    the spread at most so many basis points, or at most what it is without keeping anyone where that is more.
    Raises SplitError where no clerk has a weight above 0, a number occurs twice, a weight is negative, a tier is not
    A, B or C, a locked member's owner is not among the clerks, or `keep_within_bp` is below zero.
    """
    if keep_within_bp is not None and keep_within_bp < 0:
        raise SplitError(_("A spread can't be %(bp)d basis points: ask for 0 or more.") % {"bp": keep_within_bp})
    ordered_clerks = _checked_clerks(clerks)
    place = {clerk.clerk_no: index for index, clerk in enumerate(ordered_clerks)}
    ordered_members = _checked_members(members, place)

    weights = [clerk.weight_percent for clerk in ordered_clerks]
    factors = level_factors(ordered_clerks)

    assignment = {member.member_no: member.owner for member in ordered_members}
    locked = {tier: [0] * len(weights) for tier in TIERS}
    loads = [0] * len(weights)
    ranked: dict[str, list[SplitMember]] = {tier: [] for tier in TIERS}
    for member in sorted(ordered_members, key=attrgetter("spend_amount")):
        if member.locked:
            index = place[member.owner]
            locked[member.tier][index] += 1
            loads[index] += member.spend_amount * factors[index]
        else:
            ranked[member.tier].append(member)

    open_places = _open_places({tier: len(ranked[tier]) for tier in TIERS}, weights, locked)
    base = list(loads)
    books = [_TierBook(ranked[tier], open_places[tier]) for tier in TIERS]
    _deal(books, loads, factors)
    _level(books, loads, factors)

    fair = [rank_at for book in books for rank_at in book.clerks()]
    if keep_within_bp is not None:
        fair = _keep(books, fair, base, factors, place, Fraction(keep_within_bp, 10_000))
    for member, index in zip((member for book in books for member in book.members), fair, strict=True):
        assignment[member.member_no] = ordered_clerks[index].clerk_no
    return assignment


def kept(assignment: Mapping[str, str], members: Iterable[SplitMember], clerks: Iterable[SplitClerk]) -> Kept:
    """How many members the assignment leaves with the clerk who served them most. A clerk of weight 0 takes none."""
    taking = {clerk.clerk_no for clerk in clerks if clerk.weight_percent}
    served = [member for member in members if not member.locked and member.served_by in taking]
    return Kept(sum(assignment.get(member.member_no) == member.served_by for member in served), len(served))


def level_factors(clerks: Iterable[SplitClerk]) -> list[int]:
    """What turns each clerk's spend into spend per weight, in whole numbers; 0 where the weight is 0."""
    weights = [clerk.weight_percent for clerk in clerks]
    common = math.lcm(*(weight for weight in weights if weight))
    return [common // weight if weight else 0 for weight in weights]


def summarise(
    assignment: Mapping[str, str], members: Iterable[SplitMember], clerks: Iterable[SplitClerk]
) -> list[SplitSummary]:
    """What each of the clerks holds under the assignment, by clerk number.

    Members with nobody, or with a clerk who is not in the list, count for none of them: so the owners of today can be
    summarised as the state before a split.
    """
    counts: dict[str, Counter[str]] = {clerk.clerk_no: Counter() for clerk in clerks}
    spend: Counter[str] = Counter()
    for member in members:
        clerk_no = assignment.get(member.member_no, "")
        if clerk_no in counts:
            counts[clerk_no][member.tier] += 1
            spend[clerk_no] += member.spend_amount
    return [
        SplitSummary(clerk_no, tiers.total(), tiers["A"], tiers["B"], spend[clerk_no])
        for clerk_no, tiers in sorted(counts.items())
    ]


def spread(summaries: Iterable[SplitSummary], clerks: Iterable[SplitClerk]) -> Fraction:
    """How uneven the spend is: (max - min) / mean of the clerks' spend per weight; 0 is perfectly even.

    The mean is taken of the absolute figures, so that spend below zero can't make it vanish or turn the sign. Clerks of
    weight 0 are left out. Raises SplitError where no clerk has a weight above 0.
    """
    weights = {clerk.clerk_no: clerk.weight_percent for clerk in _checked_clerks(clerks)}
    levels = [Fraction(row.spend_amount, weights[row.clerk_no]) for row in summaries if weights[row.clerk_no]]
    total = sum(map(abs, levels))
    return (max(levels) - min(levels)) * len(levels) / total if total else Fraction(0)


def _checked_clerks(clerks: Iterable[SplitClerk]) -> list[SplitClerk]:
    ordered = sorted(clerks, key=attrgetter("clerk_no"))
    if repeat := _repeated([clerk.clerk_no for clerk in ordered]):
        raise SplitError(
            _("Clerk %(number)s is listed twice, so it is unclear which row counts. List it once.") % {"number": repeat}
        )
    for clerk in ordered:
        if clerk.weight_percent < 0:
            raise SplitError(
                _(
                    "Clerk %(clerk)s has the weight %(weight)d%%: a weight can't be negative. "
                    "Set it to 0 for a clerk who takes no members."
                )
                % {"clerk": clerk.clerk_no, "weight": clerk.weight_percent}
            )
    if not any(clerk.weight_percent for clerk in ordered):
        raise SplitError(
            _(
                "Nobody can take members: none of the %(count)d clerks has a weight above 0. "
                "Choose at least one clerk, or raise the weight in a clerk's posting."
            )
            % {"count": len(ordered)}
        )
    return ordered


def _checked_members(members: Iterable[SplitMember], place: Mapping[str, int]) -> list[SplitMember]:
    ordered = sorted(members, key=attrgetter("member_no"))
    if repeat := _repeated([member.member_no for member in ordered]):
        raise SplitError(
            _("Member %(number)s is listed twice, so it is unclear which row counts. List it once.")
            % {"number": repeat}
        )
    for member in ordered:
        if member.tier not in TIERS:
            raise SplitError(
                _(
                    "Member %(member)s has the tier '%(tier)s': only A, B and C can be balanced. "
                    "Give the member one of them (C without purchases)."
                )
                % {"member": member.member_no, "tier": member.tier}
            )
        if member.locked and member.owner not in place:
            raise SplitError(
                _(
                    "Member %(member)s is locked to clerk %(clerk)s, who is not among the clerks that share the "
                    "members. Unlock the member, or add that clerk."
                )
                % {"member": member.member_no, "clerk": member.owner}
                if member.owner
                else _("Member %(member)s is locked and has no owner to stay with. Unlock the member.")
                % {"member": member.member_no}
            )
    return ordered


def _repeated(numbers: Sequence[str]) -> str | None:
    """`numbers` are in order, so a repeat stands beside its first."""
    return next((one for one, other in pairwise(numbers) if one == other), None)


def _apportion(
    count: int, weights: Sequence[int], lowest: Sequence[int], highest: Sequence[int], owed: Sequence[int]
) -> list[int]:
    """Whole numbers that add up to `count` and follow the weights by largest remainder, each within its bounds.

    Whoever's fair share lies outside the bounds is fixed at the bound, and the rest share what is left; where bounds of
    both kinds bind, the kind that bends more is fixed first, as the other may no longer bind afterwards. Equal
    remainders go to whom most is owed. A weight of 0 stays at its lower bound.
    """
    counts = list(lowest)
    free = [index for index, weight in enumerate(weights) if weight]
    rest = count - sum(low for low, weight in zip(lowest, weights, strict=True) if not weight)
    total = sum(weights)
    while True:
        low = [index for index in free if rest * weights[index] < lowest[index] * total]
        high = [index for index in free if rest * weights[index] > highest[index] * total]
        if not low and not high:
            break
        lack = sum(lowest[index] * total - rest * weights[index] for index in low)
        excess = sum(rest * weights[index] - highest[index] * total for index in high)
        for indexes, bounds, binds in ((low, lowest, lack >= excess), (high, highest, excess >= lack)):
            for index in indexes if binds else ():
                counts[index] = bounds[index]
                rest -= bounds[index]
                total -= weights[index]
                free.remove(index)
    remainders = {}
    for index in free:
        counts[index], remainders[index] = divmod(rest * weights[index], total)
    left = rest - sum(counts[index] for index in free)
    for index in sorted(free, key=lambda index: (-remainders[index], -owed[index], index))[:left]:
        counts[index] += 1
    return counts


def _open_places(
    unlocked: Mapping[str, int], weights: Sequence[int], locked: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """For each tier, how many members each clerk takes beside the locked ones.

    The total is settled first, then A, then B; C fills up. Among equals the odd A or B goes to the clerk with most
    still to come: with equal weights and no locks all three tiers and the total so stay within one. With unequal
    weights A and B stay within one of their exact shares as long as every clerk has room for them: a clerk whose quota
    is a single member can't take one of each.
    """
    held = [sum(column) for column in zip(*locked.values(), strict=True)]
    count = sum(unlocked.values()) + sum(held)
    to_come = _apportion(count, weights, held, [count] * len(weights), [0] * len(weights))
    to_lock = held
    places = {}
    for tier in TIERS:
        to_lock = [rest - here for rest, here in zip(to_lock, locked[tier], strict=True)]
        highest = [rest - later for rest, later in zip(to_come, to_lock, strict=True)]
        counts = _apportion(unlocked[tier] + sum(locked[tier]), weights, locked[tier], highest, to_come)
        to_come = [rest - number for rest, number in zip(to_come, counts, strict=True)]
        places[tier] = [number - here for number, here in zip(counts, locked[tier], strict=True)]
    return places


class _TierBook:
    """The unlocked members of one tier, ranked by spend from below, and the ranks that each clerk holds."""

    def __init__(self, members: list[SplitMember], places: list[int]) -> None:
        self.members = members
        self.places = places
        self.spend = [member.spend_amount for member in members]
        self.ranks: list[list[int]] = [[] for _ in places]
        self.held: list[list[int]] = [[] for _ in places]

    def rounds(self) -> Iterable[tuple[int, int, list[int]]]:
        """Rounds from the biggest spender down: the ranks [start, end) and the clerks who take one of them each.

        A clerk with half the places sits out every other round; one with a place less sits out the last.
        """
        number = max(self.places)
        end = len(self.members)
        for turn in range(number):
            takers = [
                index
                for index, places in enumerate(self.places)
                if -(-(turn + 1) * places // number) > -(-turn * places // number)
            ]
            yield end - len(takers), end, takers
            end -= len(takers)

    def clerks(self) -> list[int]:
        """The clerk of each member, by rank."""
        holders = [0] * len(self.members)
        for index, ranks in enumerate(self.ranks):
            for rank in ranks:
                holders[rank] = index
        return holders

    def settle(self) -> None:
        for index, ranks in enumerate(self.ranks):
            ranks.sort()
            self.held[index] = [self.spend[rank] for rank in ranks]

    def exchange(self, heavy: int, light: int, heavy_at: int, light_at: int) -> int:
        """Swap two members, given by their positions in the two clerks' books; returns the spend that moved."""
        given, taken = self.ranks[heavy].pop(heavy_at), self.ranks[light].pop(light_at)
        del self.held[heavy][heavy_at], self.held[light][light_at]
        for index, rank in ((heavy, taken), (light, given)):
            insort(self.ranks[index], rank)
            insort(self.held[index], self.spend[rank])
        return self.spend[given] - self.spend[taken]


def _deal(books: Sequence[_TierBook], loads: list[int], factors: Sequence[int]) -> None:
    """Hand out every tier in rounds, the biggest spender of a round to the clerk with the least spend per weight.

    The rounds with the widest spend come first, whatever their tier: the later, narrower ones then even out what the
    earlier ones left.
    """
    rounds = []
    for book in books:
        full = sum(places > 0 for places in book.places)
        for start, end, takers in book.rounds():
            low, high = book.spend[start], book.spend[end - 1]
            # Whoever sits a round out gets 0 in it.
            width = high - low if len(takers) == full else max(high, 0) - min(low, 0)
            rounds.append((width, book, start, end, takers))
    rounds.sort(key=lambda row: -row[0])
    for _width, book, start, end, takers in rounds:
        takers.sort(key=loads.__getitem__)
        for rank, index in zip(range(end - 1, start - 1, -1), takers, strict=True):
            book.ranks[index].append(rank)
            loads[index] += book.spend[rank] * factors[index]
    for book in books:
        book.settle()


def _keep(
    books: Sequence[_TierBook],
    fair: list[int],
    base: list[int],
    factors: Sequence[int],
    place: Mapping[str, int],
    bound: Fraction,
) -> list[int]:
    """The clerk of each member, tier by tier and by rank, where most are with who served them most.

    Everyone sets out with as many of their own as they have places, taken evenly from big and small spenders, and the
    rest is dealt and levelled; then as few as can be give way until the spread is within the bound. `fair` is the split
    that keeps nobody.
    """
    taking = {clerk_no: index for clerk_no, index in place.items() if factors[index]}
    home = [taking.get(member.served_by, NO_HOME) for book in books for member in book.members]
    start = [NO_HOME] * len(home)
    loads = list(base)
    rests = []
    offset = 0
    for book in books:
        places = list(book.places)
        for index, room in enumerate(book.places):
            own = [rank for rank in range(len(book.members)) if home[offset + rank] == index]
            stay = min(room, len(own))
            for turn in range(stay):
                rank = own[(2 * turn + 1) * len(own) // (2 * stay)]
                start[offset + rank] = index
                loads[index] += book.spend[rank] * factors[index]
            places[index] -= stay
        others = [rank for rank in range(len(book.members)) if start[offset + rank] == NO_HOME]
        rests.append((_TierBook([book.members[rank] for rank in others], places), [offset + rank for rank in others]))
        offset += len(book.members)
    _deal([rest for rest, _ranks in rests], loads, factors)
    _level([rest for rest, _ranks in rests], loads, factors)
    for rest, ranks in rests:
        for rank, index in zip(ranks, rest.clerks(), strict=True):
            start[rank] = index

    places_by_tier = [book.places for book in books]
    exactly = [*places_by_tier, [sum(column) for column in zip(*places_by_tier, strict=True)]]
    case = Case(
        spend=[amount for book in books for amount in book.spend],
        tier=[tier for tier, book in enumerate(books) for _member in book.members],
        home=home,
        factors=factors,
        base=base,
        lowest=exactly,
        highest=exactly,
    )
    limit = max(bound, Books(case, fair).spread())
    return list(fewest(case, start, limit, fair).at)


def _level(books: Sequence[_TierBook], loads: list[int], factors: Sequence[int]) -> None:
    """Swap members of one tier between a heavier and a lighter clerk while that brings the two closer together.

    Both stay between their former loads, so no swap widens the spread and the search ends; the heaviest and the
    lightest clerk come first. A budget of comparisons, a fixed sum and some for each member, keeps odd figures quick.
    """
    clerks = [index for index, factor in enumerate(factors) if factor]
    # No swap moves less than the unit in which the members' spend differs (ten fen, say).
    unit = math.gcd(*(spend for book in books for spend in book.spend))
    budget = 500_000 + 5 * sum(len(book.members) for book in books)
    exchanges = [0] * len(loads)
    # A pair without a useful swap stays so until one of the two books changes.
    tried: dict[tuple[int, int], tuple[int, int]] = {}

    def swap_one() -> bool:
        nonlocal budget
        clerks.sort(key=lambda index: (loads[index], index))
        budget -= len(clerks)
        for heavy in reversed(clerks):
            for light in clerks:
                gap = loads[heavy] - loads[light]
                if gap <= 0 or budget <= 0:
                    break
                budget -= 1
                state = exchanges[heavy], exchanges[light]
                if gap <= unit * max(factors[heavy], factors[light]) or tried.get((heavy, light)) == state:
                    continue
                found, effort = _best_swap(books, heavy, light, gap, factors)
                budget -= effort
                if found:
                    book, heavy_at, light_at = found
                    moved = book.exchange(heavy, light, heavy_at, light_at)
                    loads[heavy] -= moved * factors[heavy]
                    loads[light] += moved * factors[light]
                    exchanges[heavy] += 1
                    exchanges[light] += 1
                    return True
                tried[heavy, light] = state
        return False

    while swap_one():
        pass


def _best_swap(
    books: Sequence[_TierBook], heavy: int, light: int, gap: int, factors: Sequence[int]
) -> tuple[tuple[_TierBook, int, int] | None, int]:
    """The swap that brings the two loads closest, as book and positions, and the comparisons it took to find."""
    most = (gap - 1) // max(factors[heavy], factors[light])
    want = max(1, min(most, gap // (factors[heavy] + factors[light])))
    best, found, effort = most, None, 0
    for book in reversed(books):
        ours, theirs = book.held[heavy], book.held[light]
        if not ours or not theirs or ours[-1] <= theirs[0]:
            continue
        if ours[-1] - theirs[0] <= want:
            # Even the widest swap is not too much: so it is this tier's best, without a search.
            effort += 1
            miss = want - (ours[-1] - theirs[0])
            if miss < best:
                best, found = miss, (book, len(ours) - 1, 0)
            continue
        for at in range(bisect_left(ours, theirs[0] + 1), len(ours)):
            effort += 1
            mine = ours[at]
            above = bisect_left(theirs, mine - want)
            if above < len(theirs) and theirs[above] < mine and want - mine + theirs[above] < best:
                best, found = want - mine + theirs[above], (book, at, above)
            if above and mine - theirs[above - 1] <= most and mine - theirs[above - 1] - want < best:
                best, found = mine - theirs[above - 1] - want, (book, at, above - 1)
            if not best:
                return found, effort
    return found, effort
