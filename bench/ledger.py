"""How fast one clerk's month, and every clerk's, come out of a ledger of 16 million attributions on PostgreSQL.

    .venv/bin/python bench/ledger.py [--scale 1] [--rounds 3] [--postgres URL]

Sixteen months of a million rows and 2,000 clerks. One clerk's month is the credit that the pages show
(`clerk_credits`: two sums, as owner and as server), beside two look-ups of a row by its primary key. The month's
totals for all clerks are the same sums grouped by clerk, kind and payslip line; beside them the same on a table with
that month alone and the same indexes. `earnings`, which counts distinct tickets and adds all that is no commission,
is printed too.
"""

import random
from argparse import Namespace

import throwaway

ROWS, MONTHS, LOOKUPS = 16_000_000, 16, 200


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import CLERKS, MONTH, STORES, date, drawn, execute, make_chain, series

    from commission.credit import clerk_credits
    from commission.models import Attribution, Booking
    from payroll_exports.earnings import earnings
    from portfolios.models import Month
    from portfolios.months import month_days, next_number, open_months

    each = int(ROWS / MONTHS * options.scale)
    plan = make_chain(1)
    first = next_number(MONTH, 1 - MONTHS)
    open_months(first, MONTH)
    booking = Booking.objects.create(source="bench")
    execute("SET session_replication_role = replica")
    number = first
    for turn in range(MONTHS):
        starts_on = date(month_days(number)[0])
        owner, server = (f"1 + {drawn(f'n + {turn * each}', CLERKS, salt)}" for salt in (1, 2))
        execute(
            "INSERT INTO commission_attribution (part_id, booking_id, month_id, kind, reason, pay_line, reverses, "
            "store_id, business_date, owner_id, server_id, plan_id, share_bp, commissionable_amount, excluded_amount, "
            "owner_credit_amount, server_credit_amount, house_credit_amount, commission_amount, "
            "owner_commission_amount, server_commission_amount, house_commission_amount) "
            f"SELECT n + {turn * each}, {booking.pk}, {number}, "
            "CASE WHEN n % 3 = 0 THEN 'SPLIT' ELSE 'OWN_SERVED' END, "
            f"'SALE', 'KIND', false, 1 + n % {STORES}, {starts_on} + CAST(n * 28 / {each} AS integer), {owner}, "
            f"CASE WHEN n % 3 = 0 THEN {server} ELSE {owner} END, {plan.pk}, "
            "CASE WHEN n % 3 = 0 THEN 7000 ELSE 10000 END, 10000, 0, CASE WHEN n % 3 = 0 THEN 7000 ELSE 10000 END, "
            "CASE WHEN n % 3 = 0 THEN 3000 ELSE 0 END, 0, 300, CASE WHEN n % 3 = 0 THEN 210 ELSE 300 END, "
            f"CASE WHEN n % 3 = 0 THEN 90 ELSE 0 END, 0 FROM {series(each)}"
        )
        number = next_number(number)
    # The parts, for the tickets that a payslip counts: one of each, in the month that is read.
    month = next_number(first, MONTHS // 2)
    execute(
        "INSERT INTO commission_salepart (id, sale_id, number, store_id, business_date, month_number, plan_id, "
        "commissionable_amount, excluded_amount, commission_e4, settled) SELECT part_id, part_id, 1, store_id, "
        "business_date, month_id, plan_id, 10000, 0, 3000000, false FROM commission_attribution "
        f"WHERE month_id = {month}"
    )
    execute("SET session_replication_role = DEFAULT")
    execute("CREATE TABLE one_month (LIKE commission_attribution INCLUDING INDEXES)")
    execute(f"INSERT INTO one_month SELECT * FROM commission_attribution WHERE month_id = {month} ORDER BY id")
    execute("VACUUM ANALYZE")
    print(f"{each * MONTHS:,} attributions of {MONTHS} months, {CLERKS:,} clerks", flush=True)

    the_month = Month.objects.get(pk=month)
    draw = random.Random(20260401)
    clerks = [draw.randint(1, CLERKS) for _ in range(LOOKUPS)]
    keys = [(draw.randint(1, each * MONTHS), draw.randint(1, each * MONTHS)) for _ in range(LOOKUPS)]

    def by_key() -> None:
        for pair in keys:
            for key in pair:
                list(Attribution.objects.filter(pk=key).values_list("owner", "owner_credit_amount"))

    def one_clerk() -> None:
        for clerk in clerks:
            clerk_credits(the_month, [clerk])

    def payslip() -> None:
        for clerk in clerks:
            earnings(the_month, [clerk])

    def totals(table: str) -> list[tuple]:
        rows = []
        for side in ("owner", "server"):
            rows += execute(
                f"SELECT {side}_id, kind, pay_line, COUNT(*), SUM({side}_credit_amount), "
                f"SUM({side}_commission_amount) FROM {table} WHERE month_id = {month} "
                f"GROUP BY {side}_id, kind, pay_line"
            )
        return rows

    contenders = {
        "one clerk's month": one_clerk,
        "the same by key": by_key,
        "a clerk's earnings": payslip,
        "all clerks, 16 months": lambda: totals("commission_attribution"),
        "all clerks, one month": lambda: totals("one_month"),
    }
    if sorted(totals("commission_attribution")) != sorted(totals("one_month")):
        raise SystemExit("The two tables have different totals.")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(options.rounds):
        for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
            clock, processor = throwaway.measured(contenders[name])
            count = 1 if name.startswith("all") else LOOKUPS
            times[name].append((clock / count, processor / count))
    throwaway.print_medians(
        {name: times[name] for name in list(contenders)[:3]}, "one clerk's month", {"the same by key": 6}
    )
    throwaway.print_medians(
        {name: times[name] for name in list(contenders)[3:]}, "all clerks, 16 months", {"all clerks, one month": 1.2}
    )


def main() -> None:
    options = throwaway.arguments(__doc__).parse_args()
    if options.inside:
        measure(options)
    else:
        throwaway.run_in("postgresql", options)


if __name__ == "__main__":
    main()
