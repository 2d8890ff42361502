"""How fast one clerk's month, and every clerk's, come out of a ledger of 16 million attributions on PostgreSQL.

    .venv/bin/python bench/ledger.py [--scale 1] [--rounds 3] [--postgres URL]

Sixteen months of a million rows and 2,000 clerks: of 100 rows 55 are of own members served, 24 splits, 6 of members
without an owner, 15 walk-ins; one in a hundred is a clawback. So a clerk has some 400 rows as owner in a month, and
500 as server. One clerk's month is the credit that the pages show (`clerk_credits`: two sums, as owner and as server),
beside the look-up of one row by its primary key. The month's totals for all clerks are the same sums grouped by clerk,
kind and payslip line; beside them the same on a table with that month alone and the same indexes. `earnings`, which
counts distinct tickets and adds all that is no commission, is printed too, for one clerk and for the close. Takes 8 GB
of disk and, before it measures, a quarter of an hour.
"""

import random
from argparse import Namespace

import throwaway

ROWS, MONTHS, LOOKUPS = 16_000_000, 16, 200


def mixed(number: str, of: int, salt: int) -> str:
    """SQL of a number from 0 up to, not including, `of`; two salts have nothing to do with each other."""
    return f"(hashint8extended({number}, {salt}) & 2147483647) % {of}"


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import CLERKS, MONTH, STORES, date, execute, make_chain, series

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
        row = f"n + {turn * each}"
        execute(
            "INSERT INTO commission_attribution (part_id, booking_id, month_id, kind, reason, pay_line, reverses, "
            "store_id, business_date, member_id, owner_id, server_id, plan_id, share_bp, commissionable_amount, "
            "excluded_amount, owner_credit_amount, server_credit_amount, house_credit_amount, commission_amount, "
            "owner_commission_amount, server_commission_amount, house_commission_amount) "
            f"SELECT {row}, {booking.pk}, {number}, kind, 'SALE', "
            f"CASE WHEN {mixed(row, 100, 5)} = 0 THEN 'CLAWBACK' ELSE 'KIND' END, false, 1 + owner % {STORES}, "
            f"{starts_on} + CAST(n * 28 / {each} AS integer), CASE WHEN kind <> 'WALK_IN' THEN 1 + n % 90000 END, "
            "CASE WHEN kind IN ('OWN_SERVED', 'SPLIT') THEN owner END, "
            f"CASE WHEN kind = 'OWN_SERVED' THEN owner ELSE server END, {plan.pk}, 7000, amount, 0, owner_part, "
            "amount - owner_part, 0, amount * 3 / 100, owner_part * 3 / 100, "
            "amount * 3 / 100 - owner_part * 3 / 100, 0 FROM (SELECT *, "
            "CASE kind WHEN 'OWN_SERVED' THEN amount WHEN 'SPLIT' THEN amount * 7 / 10 ELSE 0 END AS owner_part "
            f"FROM (SELECT n, 1 + {mixed(row, CLERKS, 1)} AS owner, 1 + {mixed(row, CLERKS, 2)} AS server, "
            f"1000 + {mixed(row, 30000, 3)} AS amount, CASE WHEN {mixed(row, 100, 4)} < 55 THEN 'OWN_SERVED' "
            f"WHEN {mixed(row, 100, 4)} < 79 THEN 'SPLIT' WHEN {mixed(row, 100, 4)} < 85 THEN 'UNOWNED' "
            f"ELSE 'WALK_IN' END AS kind FROM {series(each)}) AS drawn) AS shared"
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
    keys = [draw.randint(1, each * MONTHS) for _ in range(LOOKUPS)]

    def by_key() -> None:
        for key in keys:
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
                f"SUM({side}_commission_amount) FROM {table} WHERE month_id = {month} AND {side}_id IS NOT NULL "
                f"GROUP BY {side}_id, kind, pay_line"
            )
        return rows

    contenders = {
        "one clerk's month": one_clerk,
        "one row by its key": by_key,
        "a clerk's earnings": payslip,
        "all clerks, 16 months": lambda: totals("commission_attribution"),
        "all clerks, one month": lambda: totals("one_month"),
        "all clerks' earnings": lambda: earnings(the_month),
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
        {name: times[name] for name in list(contenders)[:3]}, "one clerk's month", {"one row by its key": 6}
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
