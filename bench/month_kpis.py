"""How long all KPIs of a month take for a million members and three million tickets, against summing them by member.

    .venv/bin/python bench/month_kpis.py [--scale 1] [--rounds 3] [--postgres URL]

What is measured is what a close does for the portfolios (`freeze`): every member classified at both ends of the month,
tiers of both month ends, the movement of books, stores and the chain, the lists behind the figures, and the cohorts;
written, with every constraint and index, and taken back. Beside it the plain aggregate over the same rows: each
member's tickets, net spend and last purchase. `transitions` is the same classification, counted and not written.
`measures` is what the close does for the measures (`freeze_measures`).
"""

from argparse import Namespace

import throwaway

MEMBERS, PARTS = 1_000_000, 3_000_000

PLAIN = """
    SELECT COUNT(*), SUM(spend) FROM (
        SELECT member_id, COUNT(*) AS tickets, SUM(commissionable_amount + excluded_amount) AS spend,
            MAX(business_date) AS bought
        FROM commission_attribution WHERE member_id IS NOT NULL GROUP BY member_id
    ) AS by_member
"""


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import MONTH, execute, make_chain, make_parts
    from django.db import transaction

    from commission.attribution import attribute
    from commission.models import Booking
    from kpis.classification import transitions
    from kpis.measures import freeze_measures
    from kpis.models import MemberGroup
    from kpis.movement import freeze
    from portfolios.models import Month

    members, parts = (max(1, int(size * options.scale)) for size in (MEMBERS, PARTS))
    make_parts(parts, members, make_chain(members))
    attribute(booking=Booking.objects.create(source="bench"))
    execute("VACUUM ANALYZE")
    month = Month.objects.get(pk=MONTH)
    print(f"{members:,} members, {parts:,} tickets", flush=True)
    groups = []

    def whole() -> None:
        with transaction.atomic():
            freeze(month)
            groups.append(MemberGroup.objects.count())
            transaction.set_rollback(True)

    def measures() -> None:
        with transaction.atomic():
            freeze_measures(month)
            transaction.set_rollback(True)

    contenders = {
        "all KPIs": whole,
        "transitions": lambda: transitions(month),
        "measures": measures,
        "plain sums": lambda: execute(PLAIN),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _round in range(options.rounds):
        for name, work in contenders.items():
            times[name].append(throwaway.measured(work))
    print(f"{groups[0]:,} groups of members")
    throwaway.print_medians(times, "all KPIs", {"plain sums": 3})


if __name__ == "__main__":
    parsed = throwaway.arguments(__doc__).parse_args()
    if parsed.inside:
        measure(parsed)
    else:
        throwaway.run_in("postgresql", parsed)
