"""Bring the clerks' spend together while as few members as can be found leave their home.

The search that the fair split (members stay with who served them) and the rebalance (members stay with their owner)
share: it knows numbers only, clerks and members by their index. A *level* is a clerk's spend per weight, a *window* the
range in which all levels must end, and a member costs 1 where it is not at its home (0 where it has none).
Worked figure: levels of 18 (10 + 6 + 2) and 8 (4 + 3 + 1) both come to 13 when the 6 and the 1 change places, for 2.

The search takes the move or swap that brings most levels into the window for its cost, from several windows, and then
takes back what proves needless. Where the plans that cost less are few, all of them are tried; otherwise `least_cost`
says below which cost there is none. Not every move to and fro is tried, so a better plan may be missed.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, combinations, islice, pairwise, product

# The rows of a case's bounds: the three tiers, then all members.
ALL = 3
# Where in a window the average may lie, as a part of its width from below: one in the middle serves many members as
# well as several do, and few members get two more chances.
WINDOWS = (Fraction(1, 2), Fraction(0), Fraction(1))
MANY_MEMBERS = 500
# How many plans are tried one by one at most, and how many pairs of moves for a single one in their place.
FEW_PLANS = 7_000
FEW_PAIRS = 5_000
NO_HOME = -1


@dataclass(frozen=True, slots=True)
class Case:
    """What the search is given; the lists of members and of clerks run in parallel.

    `base` are the levels of what can't move, `factors` turn spend into levels (0: a clerk without a level, who takes
    nobody). `lowest` and `highest` bound each clerk's number of members that can move: three tiers, then all.
    """

    spend: Sequence[int]
    tier: Sequence[int]
    home: Sequence[int]
    factors: Sequence[int]
    base: Sequence[int]
    lowest: Sequence[Sequence[int]]
    highest: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where each member goes, what that costs, and the spread to which it leads."""

    at: tuple[int, ...]
    cost: int
    spread: Fraction


class Books:
    """Who has whom while the search goes on: levels, counts, and each clerk's members by tier, ranked by spend."""

    def __init__(self, case: Case, at: Sequence[int]) -> None:
        self.case = case
        self.at = list(at)
        self.levels = list(case.base)
        clerks = len(case.factors)
        self.clerks = [index for index, factor in enumerate(case.factors) if factor]
        self.counts = [[0] * clerks for _ in range(ALL + 1)]
        # For each clerk and tier two lists: 0 whom it costs nothing to move on, 1 who is at home.
        self.held: list[list[tuple[list[tuple[int, int]], list[tuple[int, int]]]]] = [
            [([], []) for _ in range(ALL)] for _ in range(clerks)
        ]
        for member, clerk in enumerate(at):
            tier, spend = case.tier[member], case.spend[member]
            self.levels[clerk] += spend * case.factors[clerk]
            self.counts[tier][clerk] += 1
            self.counts[ALL][clerk] += 1
            self.held[clerk][tier][case.home[member] == clerk].append((spend, member))
        for book in self.held:
            for lists in book:
                for ranked in lists:
                    ranked.sort()

    def plan(self) -> Plan:
        return Plan(tuple(self.at), self.cost(), self.spread())

    def cost(self) -> int:
        return sum(home not in (NO_HOME, at) for home, at in zip(self.case.home, self.at, strict=True))

    def spread(self) -> Fraction:
        levels = [self.levels[clerk] for clerk in self.clerks]
        total = sum(map(abs, levels))
        return Fraction((max(levels) - min(levels)) * len(levels), total) if total else Fraction(0)

    def move(self, member: int, clerk: int) -> None:
        case, was = self.case, self.at[member]
        tier, spend, home = case.tier[member], case.spend[member], case.home[member]
        ranked = self.held[was][tier][home == was]
        del ranked[bisect_left(ranked, (spend, member))]
        insort(self.held[clerk][tier][home == clerk], (spend, member))
        self.levels[was] -= spend * case.factors[was]
        self.levels[clerk] += spend * case.factors[clerk]
        for row in (tier, ALL):
            self.counts[row][was] -= 1
            self.counts[row][clerk] += 1
        self.at[member] = clerk

    def may_give(self, clerk: int, row: int) -> bool:
        return self.counts[row][clerk] > self.case.lowest[row][clerk]

    def may_take(self, clerk: int, row: int) -> bool:
        return self.counts[row][clerk] < self.case.highest[row][clerk]

    def may_move(self, giver: int, taker: int, tier: int) -> bool:
        return (
            self.may_give(giver, tier)
            and self.may_take(taker, tier)
            and self.may_give(giver, ALL)
            and self.may_take(taker, ALL)
        )

    def may_swap(self, one: int, other: int, tier: int, for_tier: int) -> bool:
        return tier == for_tier or (
            self.may_give(one, tier)
            and self.may_take(one, for_tier)
            and self.may_give(other, for_tier)
            and self.may_take(other, tier)
        )

    def miscounts(self) -> int:
        return _miscounts(self.case, self.counts)


def _miscounts(case: Case, counts: Sequence[Sequence[int]]) -> int:
    """By how many members the counts are out of their bounds."""
    return sum(
        max(0, low - count, count - high)
        for row in range(ALL + 1)
        for low, count, high in zip(case.lowest[row], counts[row], case.highest[row], strict=True)
    )


class _Step:
    """One move, or a swap of two: what it brings, for its cost, and whom it takes where."""

    __slots__ = ("gain", "moves", "worth")

    def __init__(self, gain: int, cost: int, moves: tuple[tuple[int, int], ...]) -> None:
        self.gain, self.moves = gain, moves
        # What costs nothing comes before nearly everything.
        self.worth = 64 * gain // (64 * cost + 1)


NOTHING = _Step(0, 1, ())


def _worth(step: _Step) -> int:
    return step.worth


def _most_worth(row: tuple[tuple[int, int], _Step]) -> tuple[int, tuple[int, int]]:
    return -row[1].worth, row[0]


Ranked = tuple[int, int]


class _Way:
    """The way into one window, step by step; every step brings the levels and the counts nearer to their bounds."""

    def __init__(self, books: Books, low: int, high: int) -> None:
        self.books, self.low, self.high = books, low, high
        # What one member too many or too few counts for beside the levels: an average member's level.
        self.unit = max(1, sum(map(abs, books.levels)) // max(1, len(books.at)))
        # For each pair of a giver and a taker that could bring something: its best move, the most that a swap could
        # bring, and the best swap once it is known.
        self.moves: dict[tuple[int, int], _Step] = {}
        self.most: dict[tuple[int, int], _Step] = {}
        self.swaps: dict[tuple[int, int], _Step] = {}

    def run(self) -> None:
        clerks = range(len(self.books.case.factors))
        self._look_at((giver, taker) for giver in clerks for taker in self.books.clerks)
        while (step := self._best()).gain > 0:
            touched = {clerk for _member, clerk in step.moves} | {self.books.at[member] for member, _to in step.moves}
            for member, clerk in step.moves:
                self.books.move(member, clerk)
            self._look_at(
                (giver, taker)
                for giver in clerks
                for taker in (self.books.clerks if giver in touched else touched & set(self.books.clerks))
            )

    def _look_at(self, pairs: Iterable[tuple[int, int]]) -> None:
        books, case = self.books, self.books.case
        miscounted = [
            any(
                not case.lowest[row][clerk] <= books.counts[row][clerk] <= case.highest[row][clerk]
                for row in range(ALL + 1)
            )
            for clerk in range(len(case.factors))
        ]
        outside = [self._outside(clerk, level) > 0 for clerk, level in enumerate(books.levels)]
        for pair in pairs:
            giver, taker = pair
            self.swaps.pop(pair, None)
            self.moves.pop(pair, None)
            self.most.pop(pair, None)
            downhill = not case.factors[giver] or books.levels[giver] > books.levels[taker]
            counts = miscounted[giver] or miscounted[taker]
            if giver == taker or not (counts or (downhill and (outside[giver] or outside[taker]))):
                continue
            least, most = self._best_range(giver, taker)
            self.moves[pair] = self._best_move(giver, taker, least, most)
            if case.factors[giver]:
                gain = self._gain(giver, taker, min(least, self._widest(giver, taker)))
                gain += 2 * self.unit if counts else 0
                self.most[pair] = _Step(gain, self._least_cost(giver, taker), ())

    def _widest(self, giver: int, taker: int) -> int:
        """The most spend that a swap can bring over: the giver's biggest spender for the taker's smallest."""
        held = self.books.held
        biggest = [max((ranked[-1][0] for ranked in lists if ranked), default=None) for lists in held[giver]]
        smallest = [min((ranked[0][0] for ranked in lists if ranked), default=None) for lists in held[taker]]
        return max(
            (
                big - small
                for tier, big in enumerate(biggest)
                for for_tier, small in enumerate(smallest)
                if big is not None and small is not None and self.books.may_swap(giver, taker, tier, for_tier)
            ),
            default=0,
        )

    def _best(self) -> _Step:
        best = max(self.moves.values(), key=_worth, default=NOTHING)
        # Swaps take longer to find, so those that can bring most are looked at first, and only while they can win.
        for pair, most in sorted(self.most.items(), key=_most_worth):
            if most.worth <= best.worth:
                break
            if pair not in self.swaps:
                self.swaps[pair] = self._best_swap(*pair)
            best = max(best, self.swaps[pair], key=_worth)
        return best

    def _outside(self, clerk: int, level: int) -> int:
        return max(0, level - self.high, self.low - level) if self.books.case.factors[clerk] else 0

    def _gain(self, giver: int, taker: int, amount: int) -> int:
        """How much nearer to the window the two levels come when so much spend goes over."""
        books, factors = self.books, self.books.case.factors
        mine, theirs = books.levels[giver], books.levels[taker]
        return (
            self._outside(giver, mine)
            - self._outside(giver, mine - amount * factors[giver])
            + self._outside(taker, theirs)
            - self._outside(taker, theirs + amount * factors[taker])
        )

    def _best_range(self, giver: int, taker: int) -> tuple[int, int]:
        """The least and the most spend that brings the two levels equally near: the gain falls off on both sides."""
        books, factors = self.books, self.books.case.factors
        points = []
        if factors[giver]:
            points += [
                -((self.high - books.levels[giver]) // factors[giver]),
                (books.levels[giver] - self.low) // factors[giver],
            ]
        points += [
            -((books.levels[taker] - self.low) // factors[taker]),
            (self.high - books.levels[taker]) // factors[taker],
        ]
        points.sort()
        return (points[1], points[2]) if len(points) == 4 else (points[0], points[1])

    def _least_cost(self, giver: int, taker: int) -> int:
        held = self.books.held
        return all(not lists[0] for lists in held[giver]) + all(not lists[0] for lists in held[taker])

    def _counted(self, giver: int, taker: int, tier: int) -> int:
        case, counts = self.books.case, self.books.counts
        return sum(
            (counts[row][giver] > case.highest[row][giver]) + (counts[row][taker] < case.lowest[row][taker])
            for row in (tier, ALL)
        )

    def _best_move(self, giver: int, taker: int, least: int, most: int) -> _Step:
        books, best = self.books, NOTHING
        for tier in range(ALL):
            if not books.may_move(giver, taker, tier):
                continue
            counted = self._counted(giver, taker, tier) * self.unit
            for cost, ranked in enumerate(books.held[giver][tier]):
                for at in _nearest(ranked, least, most):
                    spend, member = ranked[at]
                    step = _Step(self._gain(giver, taker, spend) + counted, cost, ((member, taker),))
                    if step.worth > best.worth:
                        best = step
        return best

    def _best_swap(self, one: int, other: int) -> _Step:
        books, best = self.books, NOTHING
        least, most = self._best_range(one, other)
        at_most = self._gain(one, other, least)
        for tier in range(ALL):
            for for_tier in (tier, *(row for row in range(ALL) if row != tier)):
                if not books.may_swap(one, other, tier, for_tier):
                    continue
                counted = 0
                if tier != for_tier:
                    counted = self.unit * (
                        self._counted(one, other, tier)
                        + self._counted(other, one, for_tier)
                        - self._counted(one, other, ALL)
                        - self._counted(other, one, ALL)
                    )
                for my_cost, mine in enumerate(books.held[one][tier]):
                    for their_cost, theirs in enumerate(books.held[other][for_tier]):
                        if (
                            not mine
                            or not theirs
                            or _Step(at_most + counted, my_cost + their_cost, ()).worth <= best.worth
                        ):
                            continue
                        for (spend, member), (for_spend, for_member) in _differing(mine, theirs, least, most):
                            step = _Step(
                                self._gain(one, other, spend - for_spend) + counted,
                                my_cost + their_cost,
                                ((member, other), (for_member, one)),
                            )
                            if step.worth > best.worth:
                                best = step
        return best


def _nearest(ranked: Sequence[Ranked], least: int, most: int) -> Iterator[int]:
    """Where in the ranking stand the members in and next to a range: the highest in it, and one on either side."""
    first, after = bisect_left(ranked, (least, 0)), bisect_left(ranked, (most + 1, 0))
    if first < after:
        yield after - 1
        return
    if first:
        yield first - 1
    if after < len(ranked):
        yield after


def _differing(
    mine: Sequence[Ranked], theirs: Sequence[Ranked], least: int, most: int
) -> Iterator[tuple[Ranked, Ranked]]:
    """The pair whose difference in spend lies in the range, or else the nearest below and above it."""
    if not mine or not theirs:
        return
    if mine[-1][0] - theirs[0][0] <= least:
        yield mine[-1], theirs[0]
        return
    below: tuple[int, Ranked, Ranked] | None = None
    above: tuple[int, Ranked, Ranked] | None = None
    for row in reversed(mine):
        at = bisect_left(theirs, (row[0] - least + 1, 0))
        if at:
            other = theirs[at - 1]
            miss = row[0] - other[0] - most
            if miss <= 0:
                yield row, other
                return
            if above is None or miss < above[0]:
                above = miss, row, other
        if at < len(theirs):
            other = theirs[at]
            miss = least - row[0] + other[0]
            if below is None or miss < below[0]:
                below = miss, row, other
        if row[0] - theirs[0][0] < least:
            break
    for found in (below, above):
        if found:
            yield found[1:]


def fewest(case: Case, start: Sequence[int], limit: Fraction, fair: Sequence[int]) -> Plan:
    """The cheapest plan found whose spread is at most `limit`; out of its reach, the one with the least spread found.

    The search sets out from `start`. `fair` is a plan that keeps all bounds, taken where nothing else leads there.
    Where all plans, or all that cost less than the best one found, are few, it is the cheapest there is.
    """
    tried = _few_plans(case, len(case.spend) + 1, limit)
    if tried is not None:
        reached = [plan for plan in tried if plan.spread <= limit]
        return min(reached, key=_by_cost) if reached else min(tried, key=_by_spread)
    plans = [plan for low, high in _windows(case, start, limit) if (plan := _way_into(case, start, low, high, limit))]
    reached = [plan for plan in plans if plan.spread <= limit]
    if not reached:
        nearest = min([Books(case, fair).plan(), *plans], key=_by_spread)
        if nearest.spread > limit:
            # As near as can be, then: the same once more, with that for a limit.
            limit = nearest.spread
            levels = [level for clerk, level in enumerate(Books(case, nearest.at).levels) if case.factors[clerk]]
            again = _way_into(case, start, min(levels), max(levels), limit)
            reached = [again] if again and again.spread <= limit else []
        reached.append(_taken_home(case, nearest, limit))
    best = _one_for_two_each(case, min(reached, key=_by_cost), limit)
    fewer = _few_plans(case, best.cost, limit) or []
    return min([*(plan for plan in fewer if plan.spread <= limit), best], key=_by_cost)


def _by_cost(plan: Plan) -> tuple[int, Fraction]:
    return plan.cost, plan.spread


def _by_spread(plan: Plan) -> tuple[Fraction, int]:
    return plan.spread, plan.cost


def _average(case: Case, at: Sequence[int]) -> Fraction:
    """The level at which all would be equal."""
    levels = Books(case, at).levels
    weights = [Fraction(1, factor) if factor else Fraction(0) for factor in case.factors]
    return sum((level * weight for level, weight in zip(levels, weights, strict=True)), Fraction(0)) / sum(weights)


def _windows(case: Case, start: Sequence[int], limit: Fraction) -> list[tuple[int, int]]:
    """The ranges in which all levels may end; the average lies in each of them."""
    average = abs(_average(case, start))
    even = len({factor for factor in case.factors if factor}) == 1
    windows = []
    for below in WINDOWS if len(case.spend) < MANY_MEMBERS else WINDOWS[:1]:
        # With uneven weights the mean may lie anywhere in the window: the limit must hold at its foot too.
        width = limit * average / (1 if even else 1 + below * limit)
        low = math.ceil(_average(case, start) - below * width)
        windows.append((low, low + math.floor(width)))
    return list(dict.fromkeys(windows))


def _way_into(case: Case, start: Sequence[int], low: int, high: int, limit: Fraction) -> Plan | None:
    books = Books(case, start)
    _Way(books, low, high).run()
    if books.miscounts():
        return None
    plan = books.plan()
    return _taken_home(case, plan, limit) if plan.spread <= limit else plan


def _taken_home(case: Case, plan: Plan, limit: Fraction) -> Plan:
    """The plan without the moves that the limit and the counts can do without."""
    books = Books(case, plan.at)
    while _send_home(books, limit) or _swap_home(books, limit):
        pass
    return books.plan()


def _one_for_two_each(case: Case, plan: Plan, limit: Fraction) -> Plan:
    """The plan with one move in place of two wherever that will do."""
    books = Books(case, plan.at)
    tries = FEW_PAIRS
    while tries := _one_for_two(books, limit, tries):
        while _send_home(books, limit) or _swap_home(books, limit):
            pass
    return books.plan()


def _away(books: Books) -> list[int]:
    """Who is not at home, the biggest spender first."""
    case = books.case
    return sorted(
        (member for member, home in enumerate(case.home) if home not in (NO_HOME, books.at[member])),
        key=lambda member: (-case.spend[member], member),
    )


def _holds(books: Books, limit: Fraction) -> bool:
    return books.spread() <= limit and not books.miscounts()


def _send_home(books: Books, limit: Fraction) -> bool:
    sent = False
    for member in _away(books):
        was, home = books.at[member], books.case.home[member]
        if not books.may_move(was, home, books.case.tier[member]):
            continue
        books.move(member, home)
        if _holds(books, limit):
            sent = True
        else:
            books.move(member, was)
    return sent


def _swap_home(books: Books, limit: Fraction) -> bool:
    """Send a member home for one who is not at home there: of its tier, and nearest to it in spend."""
    swapped = False
    case = books.case
    for member in _away(books):
        was, home, tier = books.at[member], case.home[member], case.tier[member]
        if was == home:
            continue
        others = books.held[home][tier][0]
        at = bisect_left(others, (case.spend[member], member))
        for _, other in others[max(0, at - 2) : at + 2]:
            books.move(member, home)
            books.move(other, was)
            if _holds(books, limit):
                swapped = True
                break
            books.move(other, home)
            books.move(member, was)
    return swapped


def _one_for_two(books: Books, limit: Fraction, tries: int) -> int:
    """Send two members home and move one other in their place; returns how many tries are left, 0 without success."""
    case = books.case
    levels = books.levels
    active = books.clerks
    width = math.floor(limit * sum(abs(levels[clerk]) for clerk in active) / len(active))
    floor, top = min(levels[clerk] for clerk in active), max(levels[clerk] for clerk in active)
    # Any range of the width that holds all levels will do; the middle one is looked at.
    low = floor - (width - (top - floor)) // 2
    high = low + width
    for one, other in islice(combinations(_away(books), 2), tries):
        tries -= 1
        changed: dict[int, int] = {}
        for member in (one, other):
            for clerk, sign in ((books.at[member], -1), (case.home[member], 1)):
                changed[clerk] = changed.get(clerk, levels[clerk]) + sign * case.spend[member] * case.factors[clerk]
        over = [clerk for clerk, level in changed.items() if case.factors[clerk] and level > high]
        under = [clerk for clerk, level in changed.items() if case.factors[clerk] and level < low]
        if len(over) > 1 or len(under) > 1 or not (over or under):
            continue
        for giver in over or active:
            for taker in under or active:
                if giver == taker:
                    continue
                mine, theirs = changed.get(giver, levels[giver]), changed.get(taker, levels[taker])
                least = max(
                    -((high - mine) // case.factors[giver]),
                    -((theirs - low) // case.factors[taker]),
                )
                most = min((mine - low) // case.factors[giver], (high - theirs) // case.factors[taker])
                if least > most:
                    continue
                for tier in range(ALL):
                    ranked = books.held[giver][tier][1]
                    first = bisect_left(ranked, (least, 0))
                    if first == len(ranked) or ranked[first][0] > most:
                        continue
                    member = ranked[first][1]
                    moves = (one, case.home[one]), (other, case.home[other]), (member, taker)
                    if not _counts_hold(books, moves):
                        continue
                    before = [(member, books.at[member]) for member, _to in moves]
                    for member, clerk in moves:
                        books.move(member, clerk)
                    if books.spread() <= limit:
                        return tries
                    for member, clerk in before:
                        books.move(member, clerk)
    return 0


def _counts_hold(books: Books, moves: Iterable[tuple[int, int]]) -> bool:
    """Whether the counts, now within their bounds, are so after the moves."""
    case = books.case
    change: dict[tuple[int, int], int] = {}
    for member, clerk in moves:
        for row in (case.tier[member], ALL):
            for key, sign in (((row, books.at[member]), -1), ((row, clerk), 1)):
                change[key] = change.get(key, 0) + sign
    return all(
        case.lowest[row][clerk] <= books.counts[row][clerk] + sign <= case.highest[row][clerk]
        for (row, clerk), sign in change.items()
    )


def _are_few(case: Case, below: int) -> bool:
    """Whether the plans that cost less, be they within the bounds or not, can be tried one by one."""
    takers = sum(map(bool, case.factors))
    free = case.home.count(NO_HOME)
    settled = len(case.home) - free
    # Who is with a clerk that takes nobody has one way more to go.
    elsewhere = takers - all(home == NO_HOME or case.factors[home] for home in case.home)
    plans = 0
    for cost in range(min(below, settled + 1)):
        plans += math.comb(settled, cost) * elsewhere**cost * takers**free
        if plans > FEW_PLANS:
            return False
    return True


def _few_plans(case: Case, below: int, limit: Fraction) -> list[Plan] | None:
    """Of the plans within the bounds that cost less, the best of each cost, up to the first within the limit.

    None where they are too many to try.
    """
    if not _are_few(case, below):
        return None
    takers = [clerk for clerk, factor in enumerate(case.factors) if factor]
    settled = [member for member, home in enumerate(case.home) if home != NO_HOME]
    free = [member for member, home in enumerate(case.home) if home == NO_HOME]
    levels_at_home = list(case.base)
    counts_at_home = [[0] * len(case.factors) for _ in range(ALL + 1)]
    for member in settled:
        home = case.home[member]
        levels_at_home[home] += case.spend[member] * case.factors[home]
        for row in (case.tier[member], ALL):
            counts_at_home[row][home] += 1
    best = []
    for cost in range(min(below, len(settled) + 1)):
        # The spread as (most - least, sum); the clerks' number is the same for all.
        cheapest: tuple[int, int] | None = None
        at: list[int] = []
        for away in combinations(settled, cost):
            members = (*away, *free)
            ways = ([clerk for clerk in takers if clerk != case.home[member]] for member in members)
            for to in product(*ways):
                levels = list(levels_at_home)
                for member, clerk in zip(members, to, strict=True):
                    home = case.home[member]
                    if home != NO_HOME:
                        levels[home] -= case.spend[member] * case.factors[home]
                    levels[clerk] += case.spend[member] * case.factors[clerk]
                mine = [levels[clerk] for clerk in takers]
                gap, total = max(mine) - min(mine), sum(map(abs, mine)) or 1
                if cheapest and gap * cheapest[1] >= cheapest[0] * total:
                    continue
                # By what changes alone: the books of a thousand members anew for each plan would take seconds.
                counts = [list(row) for row in counts_at_home]
                for member, clerk in zip(members, to, strict=True):
                    for row in (case.tier[member], ALL):
                        counts[row][clerk] += 1
                        if case.home[member] != NO_HOME:
                            counts[row][case.home[member]] -= 1
                if _miscounts(case, counts):
                    continue
                cheapest, at = (gap, total), list(case.home)
                for member, clerk in zip(members, to, strict=True):
                    at[member] = clerk
        if cheapest:
            best.append(Plan(tuple(at), cost, Books(case, at).spread()))
            if best[-1].spread <= limit:
                break
    return best


def least_cost(case: Case, limit: Fraction, plan: Plan) -> int:
    """A cost below which there is no plan within the limit; that of `plan`, which `fewest` found, where it is proved.

    In each window a clerk above it must give at least its biggest spenders up, and one below it take the biggest of all
    others; where the count may not follow, the smallest go the other way. The window that asks least sets the bound.
    With spend below zero, or under a limit that allows a clerk nothing, only staying at home is ruled out.
    """
    if not plan.cost or _are_few(case, plan.cost):
        return plan.cost
    certain = 0 if NO_HOME in case.home else 1
    if limit >= 1 or min(case.spend, default=0) < 0 or min(case.base) < 0:
        return certain
    average = _average(case, [max(home, 0) for home in case.home])
    even = len({factor for factor in case.factors if factor}) == 1
    width = math.floor(limit * average / (1 if even else 1 - limit)) + 1
    sides = [_Side(case, clerk) for clerk, factor in enumerate(case.factors) if factor]
    first, last = math.floor(average) - width, math.ceil(average)
    edges = {first, last} | {first + (last - first) * part // 64 for part in range(64)}
    for side in sides:
        edges |= {low for low in side.edges(first, last, width) if first <= low <= last}
    # Between two edges nobody needs to give less than at the upper, nor to take less than at the lower one.
    return max(certain, min(_least_moves(sides, low, high + width) for low, high in pairwise(sorted(edges))))


def _least_moves(sides: Sequence["_Side"], low: int, high: int) -> int:
    given = taken = touched = 0
    for side in sides:
        out, back = side.least_given(high)
        got, returned = side.least_taken(low)
        given += out
        taken += got
        touched += max(out + back, got + returned)
    return max(given, taken, -(-touched // 2))


class _Side:
    """What one clerk must give up or take, at least, to come into a window; members without a home come for free."""

    def __init__(self, case: Case, clerk: int) -> None:
        factor = case.factors[clerk]
        mine: list[int] = []
        others: list[int] = []
        free: list[int] = []
        for spend, home in zip(case.spend, case.home, strict=True):
            (mine if home == clerk else free if home == NO_HOME else others).append(spend * factor)
        self.level = case.base[clerk] + sum(mine)
        self.level_with_free = self.level + sum(free)
        mine.sort()
        others.sort()
        self.my_smallest, self.my_biggest = _sums(mine), _sums(reversed(mine))
        self.smallest, self.biggest = _sums(others), _sums(reversed(others))
        self.must_give = max(0, len(mine) - case.highest[ALL][clerk])
        self.must_take = max(0, case.lowest[ALL][clerk] - len(mine) - len(free))
        self.may_lose = len(mine) + len(free) - case.lowest[ALL][clerk]
        self.may_gain = case.highest[ALL][clerk] - len(mine)

    def edges(self, first: int, last: int, width: int) -> Iterator[int]:
        for amount in self.my_biggest:
            if self.level - amount < first:
                break
            yield self.level - amount - width
        for amount in self.biggest:
            if self.level_with_free + amount > last:
                break
            yield self.level_with_free + amount

    def least_given(self, high: int) -> tuple[int, int]:
        """How many must go so that the level is no higher, and how many must come in return."""
        return _least(self.level - high, self.must_give, self.my_biggest, self.smallest, self.may_lose)

    def least_taken(self, low: int) -> tuple[int, int]:
        """How many must come so that the level is no lower, and how many must go in return."""
        return _least(low - self.level_with_free, self.must_take, self.biggest, self.my_smallest, self.may_gain)


def _sums(amounts: Iterable[int]) -> list[int]:
    return [0, *accumulate(amounts)]


def _least(amount: int, number: int, gone: Sequence[int], come: Sequence[int], slack: int) -> tuple[int, int]:
    """The fewest that make up the amount, with the fewest in return so that the count changes by no more than slack.

    Where even all of them don't make it up, as many as there are: the window is out of reach.
    """
    if amount <= 0 and not number:
        return 0, 0
    for there in range(max(number, bisect_left(gone, amount)), len(gone)):
        back = max(0, there - slack)
        if back < len(come) and gone[there] - come[back] >= amount:
            return there, back
    return max(number, len(gone) - 1), 0
