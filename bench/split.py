"""Compare the fair split with the usual ways to deal members, and time the rebalance.

    .venv/bin/python bench/split.py [--svg docs/fair-split.svg]

It needs no database, and seconds are the processor's. prtpy's ways are measured where it is installed
(requirements-bench.txt). The members' spend is lognormal with a fixed seed, the top 5% are A and the next 15% B. The
other ways ignore the tiers, prtpy's the counts too, which makes their task easier: the table says how many members, A
and B the clerks are apart. For the rebalance each clerk's members have come to spend up to 30% more or less since they
were shared fairly.
"""

import argparse
import heapq
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from portfolios.rebalance import rebalance
from portfolios.split import SplitClerk, SplitMember, split, spread, summarise

try:
    import prtpy
except ImportError:
    prtpy = None

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


def prtpy_greedy(members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> dict[str, str]:
    """prtpy's longest processing time: as capped LPT, without the cap."""
    return _by_prtpy(prtpy.partitioning.greedy, members, clerks)


def karmarkar_karp(members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> dict[str, str]:
    """prtpy's Karmarkar-Karp: the largest differences first."""
    return _by_prtpy(prtpy.partitioning.kk, members, clerks)


def _by_prtpy(way: Callable, members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> dict[str, str]:
    items = {member.member_no: member.spend_amount for member in members}
    bins = prtpy.partition(way, numbins=len(clerks), items=items)
    return {member_no: clerk.clerk_no for clerk, book in zip(clerks, bins, strict=True) for member_no in book}


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


def drifted_store(count: int, clerk_count: int) -> tuple[list[SplitMember], list[SplitClerk]]:
    """A store some time after its fair split."""
    members, clerks = lognormal_store(count, clerk_count)
    owners = split(members, clerks)
    draw = random.Random(SEED)
    growth = {clerk.clerk_no: draw.uniform(0.7, 1.3) for clerk in clerks}
    return [
        replace(
            member,
            owner=owners[member.member_no],
            spend_amount=round(member.spend_amount * growth[owners[member.member_no]]),
        )
        for member in members
    ], clerks


@dataclass(frozen=True)
class Figures:
    """What one way of dealing came to: the spread, how far the clerks' counts are apart, median processor seconds."""

    uneven: float
    apart: tuple[int, int, int]
    seconds: float


def measure(deal: Deal, members: Sequence[SplitMember], clerks: Sequence[SplitClerk]) -> Figures:
    seconds = []
    for _ in range(RUNS if len(members) <= 1_000 or deal in (snake, split) else 1):
        start = time.process_time()
        assignment = deal(members, clerks)
        seconds.append(time.process_time() - start)
    rows = summarise(assignment, members, clerks)
    counts = ([row.members for row in rows], [row.a for row in rows], [row.b for row in rows])
    apart = [max(numbers) - min(numbers) for numbers in counts]
    return Figures(float(spread(rows, clerks)), (apart[0], apart[1], apart[2]), statistics.median(seconds))


def print_table(title: str, figures: dict[str, Figures]) -> None:
    print(title)
    print(f"{'':22} {'spread':>10} {'of LPT':>10} {'members':>8} {'A':>4} {'B':>4} {'seconds':>10} {'of snake':>10}")
    for name, row in figures.items():
        of_lpt, of_snake = row.uneven / figures["capped LPT"].uneven, row.seconds / figures["snake"].seconds
        apart = f"{row.apart[0]:8} {row.apart[1]:4} {row.apart[2]:4}"
        print(f"{name:22} {row.uneven:10.1e} {of_lpt:10.4f} {apart} {row.seconds:10.4f} {of_snake:9.1f}x")
    print()


def print_rebalance(count: int, clerk_count: int) -> None:
    members, clerks = drifted_store(count, clerk_count)
    print(f"rebalance of {count:,} members, {clerk_count} clerks")
    print(f"{'asked':>8} {'spread':>8} {'moves':>6} {'no fewer than':>14} {'seconds':>8}")
    for spread_bp in (1000, 500, 200, 50):
        start = time.process_time()
        found = rebalance(members, clerks, spread_bp=spread_bp)
        seconds = time.process_time() - start
        print(
            f"{spread_bp / 100:7.1f}% {float(100 * found.spread):7.2f}% {len(found.moves):6} {found.at_least:14} "
            f"{seconds:8.2f}"
        )
    print(f"before: {float(100 * found.spread_before):.1f}%\n")


def ten_to(power: int) -> str:
    return "1" if power == 0 else "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def picture(panels: dict[str, dict[str, Figures]]) -> str:
    """The spreads on a logarithmic scale as an SVG that stands by itself; whatever is marked is written out too."""
    left, right, row_height = 190, 520, 24
    least, most = -9, 1

    def x(value: float) -> float:
        return round(left + (right - left) * (math.log10(value) - least) / (most - least), 1)

    marks, y = [], 62
    for title, figures in panels.items():
        marks.append(f'<text x="16" y="{y}" font-weight="600">{escape(title)}</text>')
        y += 12
        top, bottom = y, y + row_height * len(figures)
        for power in range(least, most + 1, 2):
            at = x(10**power)
            marks.append(f'<path d="M{at},{top}V{bottom}" stroke="#e4e6e1"/>')
            marks.append(f'<text x="{at}" y="{bottom + 14}" text-anchor="middle" fill="#52605a">{ten_to(power)}</text>')
        for name, row in figures.items():
            middle, ours = y + row_height // 2, name == "fair split"
            marks.append(f'<text x="{left - 12}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>')
            at, fill = x(row.uneven), "#0b6b57" if ours else "#fbfbf8"
            marks.append(
                f'<path d="M{left},{middle}H{at}" stroke-width="2" stroke="{"#0b6b57" if ours else "#94a3b8"}"/>'
            )
            marks.append(
                f'<rect x="{at - 5}" y="{middle - 5}" width="10" height="10" fill="{fill}" stroke="#0b6b57"/>'
                if ours
                else f'<circle cx="{at}" cy="{middle}" r="5" fill="{fill}" stroke="#64748b" stroke-width="1.5"/>'
            )
            members, a, b = row.apart
            digits, exponent = f"{row.uneven:.1e}".split("e")
            note = f"{digits} × {ten_to(int(exponent))}" if int(exponent) < -1 else f"{row.uneven:.2g}"
            marks.append(
                f'<text x="{right + 16}" y="{middle + 4}">{note}</text>'
                f'<text x="{right + 96}" y="{middle + 4}">{members}, {a}, {b}</text>'
            )
            y += row_height
        y += 46
    described = "; ".join(
        f"{title}: " + ", ".join(f"{name} {row.uneven:.1e}" for name, row in figures.items())
        for title, figures in panels.items()
    )
    height = y - 16
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 {height}" width="780" height="{height}" '
            "font-family=\"system-ui, 'Noto Sans SC', 'PingFang SC', 'Microsoft YaHei', sans-serif\" "
            'font-size="13" fill="#1c2421" role="img" aria-labelledby="title desc">',
            '<title id="title">How uneven the clerks\' spend is, by way of dealing</title>',
            f'<desc id="desc">(max - min) / mean of the 12-month spend. {escape(described)}.</desc>',
            f'<rect width="780" height="{height}" fill="#fbfbf8"/>',
            '<text x="16" y="28" font-size="16" font-weight="600">How uneven the clerks\' spend is, by way of dealing'
            "</text>",
            f'<text x="{right + 16}" y="48" fill="#52605a">spread</text>'
            f'<text x="{right + 96}" y="48" fill="#52605a">members, A, B apart</text>'
            f'<text x="{left}" y="48" fill="#52605a">(max - min) / mean of 12-month spend</text>',
            *marks,
            "</svg>",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, help="where to write the picture")
    options = parser.parse_args()
    deals: dict[str, Deal] = {"round robin": round_robin, "snake": snake, "capped LPT": capped_lpt}
    if prtpy:
        deals |= {"prtpy greedy": prtpy_greedy, "prtpy Karmarkar-Karp": karmarkar_karp}
    else:
        print("prtpy is not installed: .venv/bin/pip install --require-hashes -r requirements-bench.txt\n")
    deals["fair split"] = split
    panels = {}
    for count, clerk_count in ((1_000, 10), (100_000, 50)):
        members, clerks = lognormal_store(count, clerk_count)
        # Karmarkar-Karp takes minutes for so many.
        ways = {name: deal for name, deal in deals.items() if count <= 1_000 or deal is not karmarkar_karp}
        title = f"{count:,} members, {clerk_count} clerks"
        panels[title] = {name: measure(deal, members, clerks) for name, deal in ways.items()}
        print_table(title, panels[title])
    if options.svg:
        options.svg.write_text(picture(panels), encoding="utf-8")
    for count, clerk_count in ((1_000, 10), (10_000, 50)):
        print_rebalance(count, clerk_count)


if __name__ == "__main__":
    main()
