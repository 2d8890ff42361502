"""Compare the fair split with the usual ways to deal members: spread of spend, and seconds.

Run with `python bench/split.py`; it needs no database and nothing but the standard library. The members' spend is
lognormal with a fixed seed, the top 5% are A and the next 15% B. The three other ways ignore the tiers, which makes
their task easier; only the last line of each table also keeps A and B members within one per clerk.
"""

import heapq
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from portfolios.split import SplitClerk, SplitMember, split, spread, summarise

RUNS = 5
SEED = 20260401
Deal = Callable[[Sequence[SplitMember], Sequence[SplitClerk]], dict[str, str]]


def round_robin(members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> dict[str, str]:
    """One after the other, as the members are listed."""
    return {member.member_no: clerks[i % len(clerks)].clerk_no for i, member in enumerate(members)}


def snake(members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> dict[str, str]:
    """Largest first, to and fro: 1 2 3 3 2 1 1 2 3."""
    numbers = [clerk.clerk_no for clerk in clerks]
    lap = numbers + numbers[::-1]
    ordered = sorted(members, key=attrgetter("spend_amount"), reverse=True)
    return {member.member_no: lap[i % len(lap)] for i, member in enumerate(ordered)}


def capped_lpt(members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> dict[str, str]:
    """Largest first, each to the clerk with the least spend who still has room."""
    cap, extra = divmod(len(members), len(clerks))
    heap = [(0, i) for i in range(len(clerks))]
    counts = [0] * len(clerks)
    assignment = {}
    for member in sorted(members, key=attrgetter("spend_amount"), reverse=True):
        load, i = heapq.heappop(heap)
        assignment[member.member_no] = clerks[i].clerk_no
        counts[i] += 1
        if counts[i] < cap + (i < extra):
            heapq.heappush(heap, (load + member.spend_amount, i))
    return assignment


def lognormal_store(count: int, clerk_count: int) -> tuple[list[SplitMember], list[SplitClerk]]:
    draw = random.Random(SEED)
    amounts = [round(draw.lognormvariate(11, 1)) for _ in range(count)]
    ranked = sorted(amounts, reverse=True)
    least_a, least_b = ranked[count // 20 - 1], ranked[count // 5 - 1]
    members = [
        SplitMember(f"M{i:06}", amount, "A" if amount >= least_a else "B" if amount >= least_b else "C")
        for i, amount in enumerate(amounts)
    ]
    return members, [SplitClerk(f"C{i:03}") for i in range(clerk_count)]


def measure(deal: Deal, members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> tuple[float, float]:
    """The spread, and the median seconds of a few runs."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        assignment = deal(members, clerks)
        seconds.append(time.perf_counter() - start)
    return float(spread(summarise(assignment, members, clerks), clerks)), statistics.median(seconds)


def main() -> None:
    deals: dict[str, Deal] = {"round robin": round_robin, "snake": snake, "capped LPT": capped_lpt, "fair split": split}
    for count, clerk_count in ((1_000, 10), (100_000, 50)):
        members, clerks = lognormal_store(count, clerk_count)
        figures = {name: measure(deal, members, clerks) for name, deal in deals.items()}
        print(f"{count:,} members, {clerk_count} clerks, median of {RUNS} runs")
        print(f"{'':12} {'spread':>10} {'of LPT':>10} {'seconds':>10} {'of snake':>10}")
        for name, (uneven, seconds) in figures.items():
            of_lpt, of_snake = uneven / figures["capped LPT"][0], seconds / figures["snake"][1]
            print(f"{name:12} {uneven:10.1e} {of_lpt:10.4f} {seconds:10.4f} {of_snake:9.1f}x")
        print()


if __name__ == "__main__":
    main()
