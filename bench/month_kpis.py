"""How long all KPIs of a month take for a million members and three million tickets, against summing them by member.

    .venv/bin/python bench/month_kpis.py [--scale 1] [--earlier 0.2] [--rounds 3] [--postgres URL]

"All KPIs" is what a close freezes of them, written with every constraint and index, and taken back: every member
classified at both ends of the month, tiers of both month ends, the movement of books, stores and the chain held against
the month before, the lists behind the figures, the cohorts, and the measures of every clerk. "Movement" is the same
without the measures.

They are compared with each member's tickets, net spend and last purchase, in plain SQL, over the rows of the ledger
that the KPIs read: strictly over the month's 3,000,000 tickets alone, and over those and the tickets of the twelve
months before, without which there is neither a tier nor an opening. Of these there are `--earlier` times as many as in
the month, and all were booked day by day. Of the members one in fifteen enrolled within the last four months, of the
tickets one in fifty was served by two and one in a thousand is late; the month before is closed. "Plain sums of lines"
are the same figures from the month's tickets as they were sold, 6,700,000 lines, which is where they come from where
there is no ledger.

They are measured twice: as PostgreSQL is set, where it may have parallel helpers scan the ledger, and without helpers,
whose processor time could not be counted.
"""

import datetime as dt
from argparse import Namespace

import throwaway

MEMBERS, TICKETS = 1_000_000, 3_000_000

PLAIN = """
    SELECT COUNT(*), SUM(spend) FROM (
        SELECT member_id, COUNT(*) AS tickets, SUM(commissionable_amount + excluded_amount) AS spend,
            MAX(business_date) AS bought
        FROM commission_attribution WHERE member_id IS NOT NULL {} GROUP BY member_id
    ) AS by_member
"""
PLAIN_LINES = """
    SELECT COUNT(*), SUM(spend) FROM (
        SELECT member_id, COUNT(DISTINCT sale.id) AS tickets, SUM(net_amount) AS spend, MAX(business_date) AS bought
        FROM commission_sale AS sale JOIN commission_saleline AS line ON line.sale_id = sale.id
        WHERE member_id IS NOT NULL AND month_number = {} GROUP BY member_id
    ) AS by_member
"""
COLUMNS = """
    sale_id, number, store_id, business_date, month_number, member_id, server_id, original_id, plan_id,
    commissionable_amount, excluded_amount, commission_e4, settled
"""


def make(tickets: int, earlier: int, members: int) -> None:
    """The chain, the tickets of a year and their ledger, and the month before, closed."""
    from chain import CLERKS, MONTH, date, drawn, execute, make_chain, make_parts, owner, series
    from django.utils import timezone

    from commission.attribution import attribute
    from commission.models import Booking
    from kpis.measures import freeze_measures
    from kpis.member_states import member_states
    from kpis.movement import freeze
    from portfolios.models import Month
    from portfolios.months import month_days, next_number, open_months

    plan = make_chain(members)
    before = next_number(MONTH, -1)
    open_months(next_number(MONTH, -12), before)
    starts_on, ends_on = month_days(MONTH)
    # SQL of a day in the last four months.
    enrolled = f"{date(ends_on)} - CAST({drawn('id', 120, 11)} AS integer)"
    execute(
        f"UPDATE portfolios_member SET enrolled_on = {enrolled}, counted_from = {enrolled}, "
        f"enrolled_by_id = {owner('id')} WHERE id % 15 = 3"
    )

    def add(first: int, count: int, days: dt.date, of: int) -> None:
        """Tickets of one part, numbered from `first`, over `of` days from one on."""
        on = f"{date(days)} + CAST({drawn('n', of, 12)} AS integer)"
        execute(
            f"INSERT INTO commission_salepart ({COLUMNS}) SELECT n + {first}, 1, 1 + n % 300, bought_on, "
            f"CAST(TO_CHAR(bought_on, 'YYYYMM') AS integer), 1 + {drawn('n', members, 13)}, 1 + n % {CLERKS}, NULL, "
            f"{plan.pk}, 500 + n % 9000, 0, 0, false FROM (SELECT n, {on} AS bought_on FROM {series(count)}) AS sold "
            "ORDER BY bought_on"
        )

    # The month's first, since a return knows its original by number.
    make_parts(tickets, members, plan)
    execute(
        f"INSERT INTO commission_salepart ({COLUMNS}) SELECT sale_id, 2, store_id, business_date, month_number, "
        f"member_id, 1 + id % {CLERKS}, NULL, plan_id, 700, 0, 0, false FROM commission_salepart "
        "WHERE id % 50 = 7 AND original_id IS NULL"
    )
    year = (starts_on - month_days(next_number(MONTH, -12))[0]).days
    add(2 * tickets, earlier, starts_on - dt.timedelta(days=year), year)
    booking = Booking.objects.create(source="bench")
    attribute(booking=booking)
    # The parts of a ticket are booked together, and so they lie.
    execute("CLUSTER commission_salepart USING one_part_per_number")
    execute("VACUUM ANALYZE")
    month = Month.objects.get(pk=before)
    states = member_states(month)
    freeze_measures(states, freeze(states))
    Month.objects.filter(pk__lte=before).update(closed_at=timezone.now(), closed_by="bench")
    execute(
        "INSERT INTO commission_sale (id, store_id, business_date, month_number, ticket_no, sold_at, member_id, "
        "booking_id) SELECT sale_id, store_id, business_date, month_number, 'T' || sale_id, business_date, member_id, "
        f"{booking.pk} FROM commission_salepart WHERE number = 1 AND month_number = {MONTH} ORDER BY sale_id"
    )
    # Two lines a part, and three of every fifth; the first has what the others leave.
    net, of = "(commissionable_amount + excluded_amount)", "(CASE WHEN id % 5 = 0 THEN 3 ELSE 2 END)"
    category = "(SELECT MIN(id) FROM commission_category)"
    execute(
        "INSERT INTO commission_saleline (sale_id, line_no, part_id, server_id, product_no, category_id, "
        "quantity_milli, net_amount, excluded, rate_bp, commission_e4, is_return) "
        f"SELECT sale_id, 3 * number + place, id, server_id, 'P' || id % 5000, {category}, 1000, "
        f"CASE WHEN place = 0 THEN {net} - ({of} - 1) * ({net} / {of}) ELSE {net} / {of} END, "
        "false, 300, 0, original_id IS NOT NULL FROM commission_salepart "
        f"JOIN GENERATE_SERIES(0, 2) AS place ON place < {of} WHERE month_number = {MONTH} ORDER BY sale_id, number"
    )
    add(3 * tickets, tickets // 1000, starts_on - dt.timedelta(days=20), 20)
    attribute(booking=booking)
    execute("VACUUM ANALYZE")


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import MONTH, execute
    from django.db import transaction

    from kpis.measures import freeze_measures
    from kpis.member_states import member_states
    from kpis.models import MemberGroup
    from kpis.movement import freeze
    from portfolios.models import Month

    members, tickets = (max(1, int(size * options.scale)) for size in (MEMBERS, TICKETS))
    earlier = int(tickets * options.earlier)
    make(tickets, earlier, members)
    month = Month.objects.get(pk=MONTH)
    print(f"{members:,} members, {tickets:,} tickets of the month, {earlier:,} of the year before", flush=True)
    groups = []

    def movement() -> None:
        with transaction.atomic():
            freeze(member_states(month))
            transaction.set_rollback(True)

    def whole() -> None:
        with transaction.atomic():
            states = member_states(month)
            freeze_measures(states, freeze(states))
            groups.append(MemberGroup.objects.filter(month=month).count())
            execute("SET CONSTRAINTS ALL IMMEDIATE")
            transaction.set_rollback(True)

    contenders = {
        "all KPIs": whole,
        "movement": movement,
        "plain sums": lambda: execute(PLAIN.format(f"AND month_id = {MONTH}")),
        "plain sums of all read": lambda: execute(PLAIN.format("")),
        "plain sums of lines": lambda: execute(PLAIN_LINES.format(MONTH)),
    }
    for setting, title in (("DEFAULT", "With PostgreSQL's helpers"), ("0", "Without helpers")):
        execute(f"SET max_parallel_workers_per_gather TO {setting}")
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _round in range(options.rounds):
            for name, work in contenders.items():
                # What was taken back leaves dead rows, which a close never meets.
                execute("VACUUM kpis_membergroup, kpis_cohortmonth")
                times[name].append(throwaway.measured(work))
        print(f"{title}, {groups[0]:,} groups of members")
        throwaway.print_medians(times, "all KPIs", {"plain sums": 3})


if __name__ == "__main__":
    parser = throwaway.arguments(__doc__)
    parser.add_argument(
        "--earlier", type=float, default=0.2, help="tickets of the year before, of the month's (default %(default)s)"
    )
    parsed = parser.parse_args()
    if parsed.inside:
        measure(parsed)
    else:
        throwaway.run_in("postgresql", parsed)
