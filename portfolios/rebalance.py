"""Make the clerks' spend even with few moves: no more members change clerk than a given spread takes.

The members stay with their owners where they can, locked ones always. A move takes one member to another clerk, so a
swap is two. Counts stay fair meanwhile: in all, of A and of B members, nobody gets further from the fair split's quota
than today, or than one member; or everyone comes within a given part of it, where the caller asks for that.
Worked figure: of 10 + 6 + 2 and 4 + 3 + 1 the 6 and the 1 change places, and both have 13: two moves.

Members without a clerk are dealt first, as the fair split would deal them with all others staying; that is no move.
Nothing here knows the database. Amounts are in the currency's minor unit; the same input gives the same moves.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import attrgetter

from django.utils.translation import gettext as _

from portfolios.fewest_moves import ALL, NO_HOME, Books, Case, Plan, fewest, least_cost
from portfolios.split import TIERS, SplitClerk, SplitError, SplitMember, level_factors, split, spread, summarise

# The spreads that a curve asks for, in basis points: 50% down to 0.1%.
CURVE_BP = (5000, 4000, 3000, 2500, 2000, 1500, 1200, 1000, 800, 600, 500, 400, 300, 200, 100, 50, 10)


@dataclass(frozen=True, slots=True)
class Move:
    """A member who changes clerk. `from_clerk` is empty for one who had none of the clerks."""

    member_no: str
    from_clerk: str
    to_clerk: str


@dataclass(frozen=True, slots=True)
class Rebalance:
    """What to move, and what comes of it.

    `assignment` has every member's clerk afterwards; `moves` those who change clerk and `dealt` those who had none,
    both by member number. The spreads are as `spread()` gives them: of today's owners, and afterwards. No plan that
    reaches the spread has fewer than `at_least` moves. Where the spread asked for is not `reachable`, `spread` is the
    least that was found, and `notice` says what stands in the way and what to do.
    """

    assignment: dict[str, str]
    moves: tuple[Move, ...]
    dealt: tuple[Move, ...]
    spread_before: Fraction
    spread: Fraction
    reachable: bool
    at_least: int
    notice: str = ""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A plan to choose: `rebalance()` for `spread_bp` makes so many moves, and leaves this spread."""

    spread_bp: int
    moves: int
    spread: Fraction


def rebalance(
    members: Iterable[SplitMember],
    clerks: Iterable[SplitClerk],
    *,
    spread_bp: int,
    counts_within_bp: int | None = None,
) -> Rebalance:
    """The moves that bring the spread to at most `spread_bp` basis points: the fewest that were found.

    Where there are few plans to try, they are the fewest there are; `at_least` says how many fewer there might be.
    Without `counts_within_bp` no count (all, A, B) gets further from its quota than it is, or than one member. With it
    every count ends within that part of the quota, or one member, whatever that takes: for a clerk who is new. The
    quotas are the fair split's, so they follow the weights and make room for locked members. A clerk of weight 0 gets
    nobody, may be relieved of members, and counts for no spread.
    Raises SplitError as `split` does, and where a part of them is below zero.
    """
    store = _Store(list(members), list(clerks), counts_within_bp)
    return store.rebalanced(spread_bp)


def rebalance_curve(
    members: Iterable[SplitMember],
    clerks: Iterable[SplitClerk],
    *,
    counts_within_bp: int | None = None,
    spreads_bp: Sequence[int] = CURVE_BP,
) -> list[CurvePoint]:
    """What spread so many moves buy, from the fewest moves on: more of them always leave less.

    The first point is the least that can be done: deal who has no clerk, and bring the counts in where that was asked.
    Each further one is the rebalance for one of `spreads_bp`, as far as they can be reached; the last one may be the
    best there is. Raises SplitError as `rebalance` does.
    """
    store = _Store(list(members), list(clerks), counts_within_bp)
    points: list[CurvePoint] = []
    for spread_bp in (store.widest_bp(), *sorted(set(spreads_bp), reverse=True)):
        if points and points[-1].spread <= Fraction(spread_bp, 10_000):
            continue
        found, asked = store.rebalanced(spread_bp), spread_bp
        if not found.reachable:
            # The point is the plan that whoever asks for its spread will get.
            asked = math.ceil(found.spread * 10_000)
            found = store.rebalanced(asked)
        if not points or found.spread < points[-1].spread:
            while points and points[-1].moves >= len(found.moves):
                points.pop()
            points.append(CurvePoint(asked, len(found.moves), found.spread))
        if asked != spread_bp:
            break
    return points


class _Store:
    """The members and clerks as the search wants them: everybody dealt, in numbers, with the bounds of the counts."""

    def __init__(self, members: list[SplitMember], clerks: list[SplitClerk], counts_within_bp: int | None) -> None:
        if counts_within_bp is not None and counts_within_bp < 0:
            raise SplitError(
                _("Counts can't be within %(bp)d basis points of the quota: ask for 0 or more.")
                % {"bp": counts_within_bp}
            )
        self.clerks = sorted(clerks, key=attrgetter("clerk_no"))
        self.numbers = [clerk.clerk_no for clerk in self.clerks]
        place = {number: index for index, number in enumerate(self.numbers)}
        self.members = sorted(members, key=attrgetter("member_no"))
        # As split() deals those without a clerk where everyone else is locked.
        self.dealt = split(
            [replace(member, locked=member.locked or member.owner in place) for member in self.members], self.clerks
        )
        self.movable = [member for member in self.members if not member.locked]
        self.start = [place[self.dealt[member.member_no]] for member in self.movable]
        fair = split(self.members, self.clerks)
        self.fair = [place[fair[member.member_no]] for member in self.movable]
        self.case = self._case(place, counts_within_bp)

    def _case(self, place: dict[str, int], counts_within_bp: int | None) -> Case:
        factors = level_factors(self.clerks)
        base = [0] * len(self.clerks)
        locked = [[0] * len(self.clerks) for _ in range(ALL + 1)]
        for member in self.members:
            if member.locked:
                clerk = place[member.owner]
                base[clerk] += member.spend_amount * factors[clerk]
                for row in (TIERS.index(member.tier), ALL):
                    locked[row][clerk] += 1
        tier = [TIERS.index(member.tier) for member in self.movable]
        now = _counts(tier, self.start, len(self.clerks))
        quota = _counts(tier, self.fair, len(self.clerks))
        lowest = [[0] * len(self.clerks) for _ in range(ALL + 1)]
        highest = [[len(self.movable)] * len(self.clerks) for _ in range(ALL + 1)]
        for row in (0, 1, ALL):
            for clerk, factor in enumerate(factors):
                has, fair = now[row][clerk], quota[row][clerk]
                if not factor:
                    highest[row][clerk] = has
                elif counts_within_bp is None:
                    lowest[row][clerk], highest[row][clerk] = max(0, min(has, fair - 1)), max(has, fair + 1)
                else:
                    room = max(1, (fair + locked[row][clerk]) * counts_within_bp // 10_000)
                    lowest[row][clerk], highest[row][clerk] = max(0, fair - room), fair + room
        return Case(
            spend=[member.spend_amount for member in self.movable],
            tier=tier,
            home=[place.get(member.owner, NO_HOME) for member in self.movable],
            factors=factors,
            base=base,
            lowest=lowest,
            highest=highest,
        )

    def widest_bp(self) -> int:
        """A spread that is there without a move for its sake."""
        return math.ceil(Books(self.case, self.start).spread() * 10_000)

    def rebalanced(self, spread_bp: int) -> Rebalance:
        if spread_bp < 0:
            raise SplitError(_("A spread can't be %(bp)d basis points: ask for 0 or more.") % {"bp": spread_bp})
        limit = Fraction(spread_bp, 10_000)
        plan = fewest(self.case, self.start, limit, self.fair)
        assignment = {member.member_no: member.owner for member in self.members}
        for member, clerk in zip(self.movable, plan.at, strict=True):
            assignment[member.member_no] = self.numbers[clerk]
        today = {member.member_no: member.owner for member in self.members}
        changes = [
            Move(member.member_no, member.owner if member.owner in self.numbers else "", assignment[member.member_no])
            for member in self.movable
            if member.owner != assignment[member.member_no]
        ]
        return Rebalance(
            assignment=assignment,
            moves=tuple(move for move in changes if move.from_clerk),
            dealt=tuple(move for move in changes if not move.from_clerk),
            spread_before=spread(summarise(today, self.members, self.clerks), self.clerks),
            spread=plan.spread,
            reachable=plan.spread <= limit,
            at_least=least_cost(self.case, max(limit, plan.spread), plan),
            notice="" if plan.spread <= limit else self._obstacle(plan),
        )

    def _obstacle(self, plan: Plan) -> str:
        """What keeps the spread from falling further: locked members, one big spender, or the counts."""
        case, levels = self.case, Books(self.case, plan.at).levels
        average = Fraction(sum(abs(levels[c]) for c, f in enumerate(case.factors) if f), sum(map(bool, case.factors)))
        heaviest = max((c for c, factor in enumerate(case.factors) if factor), key=lambda c: (levels[c], -c))
        reached = _percent(plan.spread)
        biggest = max(
            (m for m, clerk in enumerate(plan.at) if clerk == heaviest), key=lambda m: (case.spend[m], -m), default=None
        )
        if case.base[heaviest] > average:
            return _(
                "A spread of %(spread)s%% is the best that was found: the locked members of clerk %(clerk)s alone "
                "spent %(part)s%% of what a clerk's members spend on average. Unlock some of them, or ask for that "
                "spread."
            ) % {
                "spread": reached,
                "clerk": self.numbers[heaviest],
                "part": _percent(case.base[heaviest] / average),
            }
        if biggest is not None and case.spend[biggest] * case.factors[heaviest] > average:
            return _(
                "A spread of %(spread)s%% is the best that was found: member %(member)s alone spent %(part)s%% of what "
                "a clerk's members spend on average. Ask for that spread."
            ) % {
                "spread": reached,
                "member": self.movable[biggest].member_no,
                "part": _percent(case.spend[biggest] * case.factors[heaviest] / average),
            }
        return _(
            "A spread of %(spread)s%% is the best that was found: locked members and fair counts leave no better "
            "exchange. Ask for that spread, unlock members, or let the counts differ more."
        ) % {"spread": reached}


def _counts(tier: Sequence[int], at: Sequence[int], clerks: int) -> list[list[int]]:
    counts = [[0] * clerks for _ in range(ALL + 1)]
    for row, clerk in zip(tier, at, strict=True):
        counts[row][clerk] += 1
        counts[ALL][clerk] += 1
    return counts


def _percent(part: Fraction) -> str:
    """In percent with two decimals, rounded up: a spread so stated can be asked for."""
    return f"{math.ceil(part * 10_000) / 100:.2f}"
