"""How fast a what-if of closed months is answered: of one month against its attribution, and of a chain's year.

    .venv/bin/python bench/what_if.py [--scale 1] [--rounds 3] [--postgres URL] [--only month|year]

The month has 3,000,000 ticket parts of 300 stores and 2,000 clerks, each with a line of one of 400 products; nine in
ten are of one category, the rest of another. It is attributed once, which is timed, and then asked about with another
owner share, another rate of either category or of one product, and the members of one clerk moved. The year is that of
200 stores with ten clerks each and some 100 tickets a store and day: 7,200,000 parts, nearly all sold by clerks of the
owner's store. Nothing is written by a what-if: the ledger is counted before and after. Processor time is that of this
process and its backend; PGOPTIONS="-c max_parallel_workers_per_gather=0" leaves no work to others.
"""

import dataclasses
import sys
from argparse import Namespace
from collections.abc import Callable

import throwaway

PARTS = {"month": 3_000_000, "year": 7_200_000}
YEAR_STORES, CLERKS_EACH = 200, 10


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import LONG_AGO, MONTH, RATE_BP, execute, make_chain, make_parts
    from django.utils import timezone

    from commission.attribution import attribute
    from commission.models import Attribution, Band, Booking, Category, PlanRate
    from commission.plan_book import Rate
    from commission.recount_terms import Move, Terms
    from commission.what_if import what_if
    from portfolios.models import Clerk, Month, Posting
    from portfolios.months import next_number, open_months

    count = int(PARTS[options.only] * options.scale)
    plan = make_chain(count // 6)
    first = MONTH
    if options.only == "year":
        first = next_number(MONTH, -11)
        open_months(first, MONTH)
        make_year(count, count // 6, first, plan.pk)
    else:
        make_parts(count, count // 6, plan)
    otc, care = Category.objects.get(category="otc").pk, Category.objects.create(category="care").pk
    PlanRate.objects.create(plan=plan, category_id=care, rate_bp=RATE_BP)
    make_lines(otc, care)
    clerks = Clerk.objects.order_by("pk")
    Posting.objects.bulk_create(
        Posting(clerk=clerk, store_id=1 + clerk.pk // CLERKS_EACH % YEAR_STORES, role="clerk", valid_from=LONG_AGO)
        for clerk in clerks
    )
    Band.objects.create(plan=plan, lower_amount=1_000_000, rate_bp=100)
    execute("VACUUM ANALYZE")
    booking = Booking.objects.create(source="bench")
    attributed = throwaway.measured(lambda: attribute(booking=booking))
    execute("VACUUM ANALYZE")
    Month.objects.update(closed_at=timezone.now())
    months = Month.objects.get(pk=first), Month.objects.get(pk=MONTH)
    print(f"{options.only}: {count:,} parts, {Attribution.objects.count():,} attributions", flush=True)

    now = Terms.of(plan)
    share = dataclasses.replace(now, owner_share_bp=6000)
    asked: dict[str, dict[str, object]] = {
        "owner share": {"terms": share},
        "all shares": {"terms": dataclasses.replace(share, house_share_bp=1000, walk_in_share_bp=9000)},
        "category rate": {"terms": dataclasses.replace(now, rates={otc: 350, care: RATE_BP})},
        "small category's": {"terms": dataclasses.replace(now, rates={otc: RATE_BP, care: 350})},
        "product rate": {"terms": dataclasses.replace(now, products={"P7": Rate(rate_bp=500)})},
        "members moved": {"move": Move(to=clerks[1], of=clerks[0])},
    }

    def ask(asked: dict[str, object]) -> Callable[[], object]:
        return lambda: what_if(*months, **asked)  # type: ignore[arg-type]

    before = digest()
    for name, change in asked.items():
        print(f"{name}: {what_if(*months, **change).rows:,} rows shared out anew", flush=True)  # type: ignore[arg-type]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for turn in range(options.rounds):
        for name in list(asked)[:: 1 if turn % 2 == 0 else -1]:
            times[name].append(throwaway.measured(ask(asked[name])))
    if digest() != before:
        sys.exit("A what-if has written to the ledger.")
    for name in asked:
        limit = {"attribute()": 2.0} if options.only == "month" else {}
        throwaway.print_medians({name: times[name], "attribute()": [attributed]}, name, limit)
    print(f"most memory of the process: {throwaway.peak_memory() / 1e6:.0f} MB\n", flush=True)


def digest() -> tuple:
    from chain import execute

    return execute("SELECT COUNT(*), MAX(id), SUM(owner_commission_amount) FROM commission_attribution")[0]


def make_lines(category: int, small_category: int) -> None:
    """A line for each part, with the part's number; that of a return names its original's."""
    from chain import RATE_BP, drawn, execute

    product = drawn("COALESCE(original_id, part.id)", 400, 11)
    execute(
        "INSERT INTO commission_saleline (id, sale_id, line_no, part_id, server_id, product_no, category_id, "
        "quantity_milli, net_amount, excluded, rate_bp, commission_e4, is_return, original_line_id) "
        f"SELECT part.id, sale_id, 1, part.id, server_id, 'P' || CAST({product} AS varchar(9)), "
        f"CASE WHEN {product} % 10 = 0 THEN {small_category} ELSE {category} END, "
        "CASE WHEN original_id IS NULL THEN 1000 ELSE -1000 END, "
        f"commissionable_amount, false, {RATE_BP}, commission_e4, original_id IS NOT NULL, original_id "
        "FROM commission_salepart part ORDER BY part.id"
    )


def make_year(count: int, members: int, first: int, plan: int) -> None:
    """Parts of twelve months in booking order; the owner serves seven in ten, else a clerk of the owner's store."""
    from chain import CLERKS, RATE_BP, date, drawn, execute, owner, series

    from portfolios.months import month_days, next_number

    number, each = first, count // 12
    for turn in range(12):
        starts_on, ends_on = month_days(number)
        of_owner = owner("member")
        # Clerks of one store have neighbouring numbers.
        colleague = f"(1 + ({of_owner} / {CLERKS_EACH} * {CLERKS_EACH} + {drawn('n', CLERKS_EACH, 10)}) % {CLERKS})"
        amount, walk_in = f"(500 + {drawn('n', 40000, 7)})", f"{drawn('n', 100, 5)} < 15"
        execute(
            "INSERT INTO commission_salepart (sale_id, number, store_id, business_date, month_number, member_id, "
            "server_id, plan_id, commissionable_amount, excluded_amount, commission_e4, settled) "
            f"SELECT n, 1, 1 + n % {YEAR_STORES}, {date(starts_on)} + CAST((n - {turn * each} - 1) * "
            f"{(ends_on - starts_on).days + 1} / {each} AS integer), {number}, member, CASE WHEN member IS NULL "
            f"THEN 1 + {drawn('n', CLERKS, 12)} WHEN {drawn('n', 10, 9)} > 6 THEN {colleague} "
            f"ELSE {of_owner} END, {plan}, {amount}, 0, {amount} * {RATE_BP}, false "
            f"FROM (SELECT n, CASE WHEN {walk_in} THEN NULL ELSE 1 + {drawn('n', members, 6)} END AS member "
            f"FROM (SELECT n + {turn * each} AS n FROM {series(each)}) AS numbers) AS tickets ORDER BY n"
        )
        number = next_number(number)


def main() -> None:
    parser = throwaway.arguments(__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), help="one of the two instead of both")
    options = parser.parse_args()
    if options.inside:
        measure(options)
        return
    asked = sys.argv
    for part in [options.only] if options.only else PARTS:
        sys.argv = [*asked, "--only", part]
        throwaway.run_in("postgresql", options)


if __name__ == "__main__":
    main()
