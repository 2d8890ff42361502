"""How fast a month's ticket parts are attributed: against a hand-written statement, and against a plain COPY.

    .venv/bin/python bench/attribution.py [--scale 1] [--rounds 3] [--postgres URL]

3,000,000 parts on PostgreSQL, 300,000 on SQLite, with every constraint, trigger and index in place. All contenders
write the same rows, ids included, into the same empty table; they take turns, and the rows are compared. The COPY is
binary, of the finished rows: what it takes merely to store them.
"""

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import throwaway

PARTS = {"postgresql": 3_000_000, "sqlite": 300_000}

COLUMNS = """
    part_id, booking_id, month_id, kind, reason, pay_line, corrects_id, reverses, store_id, business_date, member_id,
    owner_id, server_id, plan_id, share_bp, commissionable_amount, excluded_amount, owner_credit_amount,
    server_credit_amount, house_credit_amount, commission_amount, owner_commission_amount, server_commission_amount,
    house_commission_amount
"""


def rounded(numerator: str) -> str:
    """SQL of numerator / 10,000, half away from zero."""
    return f"(({numerator}) * 2 + CASE WHEN ({numerator}) < 0 THEN -10000 ELSE 10000 END) / 20000"


def owners(total: str) -> str:
    return f"CASE kind WHEN 'OWN_SERVED' THEN {total} WHEN 'SPLIT' THEN {rounded('share_bp * ' + total)} ELSE 0 END"


def servers(total: str) -> str:
    share = rounded(f"share_bp * {total}")
    return (
        "CASE WHEN server_id IS NULL OR kind = 'OWN_SERVED' THEN 0 "
        f"WHEN kind = 'WALK_IN' THEN {share} ELSE {total} - {share} END"
    )


# By hand: each figure is worked out once, in the innermost SELECT that can.
SALES = f"""
INSERT INTO commission_attribution ({COLUMNS})
SELECT id, :booking, month_number, kind, 'SALE', 'KIND', NULL, false, store_id, business_date, member_id, owner_id,
    server_id, plan_id, share_bp, commissionable_amount, excluded_amount, owner_credit, server_credit,
    commissionable_amount - owner_credit - server_credit, commission, owner_commission, server_commission,
    commission - owner_commission - server_commission
FROM (
    SELECT shared.*, {owners("commissionable_amount")} AS owner_credit,
        {servers("commissionable_amount")} AS server_credit,
        {owners("commission")} AS owner_commission, {servers("commission")} AS server_commission
    FROM (
        SELECT kinds.*, {rounded("commission_e4")} AS commission,
            CASE kind WHEN 'SPLIT' THEN owner_share_bp WHEN 'UNOWNED' THEN house_share_bp
                WHEN 'WALK_IN' THEN walk_in_share_bp ELSE 10000 END AS share_bp
        FROM (
            SELECT owned.*, CASE WHEN member_id IS NULL THEN 'WALK_IN' WHEN owner_id IS NULL THEN 'UNOWNED'
                WHEN owner_id = server_id THEN 'OWN_SERVED' ELSE 'SPLIT' END AS kind
            FROM (
                SELECT p.*, plan.owner_share_bp, plan.house_share_bp, plan.walk_in_share_bp,
                    CASE WHEN c.left_on IS NULL OR c.left_on >= p.business_date THEN c.id END AS owner_id
                FROM commission_salepart p
                JOIN commission_plan plan ON plan.id = p.plan_id
                LEFT JOIN portfolios_binding b ON b.member_id = p.member_id AND b.valid_from <= p.business_date
                    AND b.valid_to > p.business_date AND b.voided_by_id IS NULL
                LEFT JOIN portfolios_clerk c ON c.id = b.clerk_id
                WHERE p.original_id IS NULL
                    AND NOT EXISTS (SELECT 1 FROM commission_attribution a WHERE a.part_id = p.id)
            ) AS owned :once
        ) AS kinds :once
    ) AS shared :once
) AS parts ORDER BY id
"""

RETURNS = f"""
INSERT INTO commission_attribution ({COLUMNS})
SELECT id, :booking, month_number, kind, 'RETURN', CASE WHEN sold_in < month_number THEN 'CLAWBACK' ELSE 'KIND' END,
    NULL, false, store_id, business_date, member_id, owner_id, server_id, plan_id, share_bp, commissionable_amount,
    excluded_amount, owner_credit, server_credit, commissionable_amount - owner_credit - server_credit, commission,
    owner_commission, server_commission, commission - owner_commission - server_commission
FROM (
    SELECT mirrored.*, after - before AS commission,
        {owners("credit_after")} - {owners("credit_before")} AS owner_credit,
        {servers("credit_after")} - {servers("credit_before")} AS server_credit,
        {owners("after")} - {owners("before")} AS owner_commission,
        {servers("after")} - {servers("before")} AS server_commission
    FROM (
        SELECT r.id, r.month_number, r.store_id, r.business_date, r.member_id, r.plan_id, r.commissionable_amount,
            r.excluded_amount, a.kind, a.owner_id, a.server_id, a.share_bp,
            (SELECT MIN(month_id) FROM commission_attribution f WHERE f.part_id = r.original_id) AS sold_in,
            o.commissionable_amount + r.returned - r.commissionable_amount AS credit_before,
            o.commissionable_amount + r.returned AS credit_after,
            {rounded("o.commission_e4 + r.returned_e4 - r.commission_e4")} AS before,
            {rounded("o.commission_e4 + r.returned_e4")} AS after
        FROM (
            SELECT p.*, CAST(SUM(commissionable_amount) OVER returned AS bigint) AS returned,
                CAST(SUM(commission_e4) OVER returned AS bigint) AS returned_e4
            FROM commission_salepart p WHERE original_id IS NOT NULL
            WINDOW returned AS (PARTITION BY original_id ORDER BY id)
        ) AS r
        JOIN commission_salepart o ON o.id = r.original_id
        JOIN commission_attribution a ON a.part_id = o.id
        WHERE a.id = (SELECT MAX(l.id) FROM commission_attribution l WHERE l.part_id = r.original_id AND NOT l.reverses)
            AND NOT EXISTS (SELECT 1 FROM commission_attribution b WHERE b.part_id = r.id) :once
    ) AS mirrored
) AS parts ORDER BY id
"""


def write(options: Namespace) -> None:
    """Inside the new database: makes the month, lets the contenders take turns, prints the table."""
    throwaway.make_tables()
    from chain import MONTH, execute, make_chain, make_parts
    from django.db import connection, transaction

    from commission.attribution import attribute
    from commission.models import Attribution, Booking

    postgresql = connection.vendor == "postgresql"
    count = int(PARTS[connection.vendor] * options.scale)
    make_parts(count, count // 6, make_chain(count // 6))
    booking = Booking.objects.create(source="bench")
    if postgresql:
        execute("VACUUM ANALYZE")
    print(f"{connection.vendor}: {count:,} parts of {MONTH}", flush=True)

    def by_hand() -> None:
        with transaction.atomic():
            for sql in (SALES, RETURNS):
                execute(sql.replace(":booking", str(booking.pk)).replace(":once", "OFFSET 0" if postgresql else ""))
                if postgresql:
                    # Without it the returns look for their originals in a table that is taken for empty.
                    execute("ANALYZE commission_attribution")

    def copy() -> None:
        into = "COPY commission_attribution FROM STDIN (FORMAT binary)"
        with transaction.atomic(), connection.cursor() as cursor, finished.open("rb") as rows, cursor.copy(into) as to:
            while block := rows.read(1 << 20):
                to.write(block)

    def digest() -> tuple:
        if postgresql:
            return execute("SELECT COUNT(*), SUM(hashtextextended(CAST(a AS text), 0)) FROM commission_attribution a")[
                0
            ]
        columns = [str(field.column) for field in Attribution._meta.local_concrete_fields]
        totals = ", ".join(f"SUM(id % 1000003 * {column})" for column in columns if column.endswith("_amount"))
        texts = "SUM(id % 1000003 * (UNICODE(kind) + UNICODE(reason) + UNICODE(pay_line) + IFNULL(owner_id, 0)))"
        return execute(f"SELECT COUNT(*), {texts}, {totals} FROM commission_attribution")[0]

    def empty() -> None:
        if postgresql:
            execute("SET session_replication_role = replica")
            execute("TRUNCATE commission_attribution RESTART IDENTITY")
            execute("SET session_replication_role = DEFAULT")
            execute("VACUUM ANALYZE commission_attribution")
            execute("CHECKPOINT")
            return
        with transaction.atomic():
            [(trigger,)] = execute("SELECT sql FROM sqlite_master WHERE name = 'attribution_stays_delete'")
            execute("DROP TRIGGER attribution_stays_delete")
            execute("DELETE FROM commission_attribution")
            execute("DELETE FROM sqlite_sequence WHERE name = 'commission_attribution'")
            execute(trigger)
        execute("PRAGMA wal_checkpoint(TRUNCATE)")

    contenders: dict[str, Callable[[], object]] = {
        "attribute()": lambda: attribute(booking=booking),
        "by hand": by_hand,
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        finished = Path(folder) / "attributions"
        if postgresql:
            contenders["binary COPY"] = copy
            by_hand()
            out_of = "COPY commission_attribution TO STDOUT (FORMAT binary)"
            with connection.cursor() as cursor, finished.open("wb") as rows, cursor.copy(out_of) as source:
                rows.writelines(source)
            empty()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        digests = {}
        memory = 0
        for turn in range(options.rounds):
            for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
                before = throwaway.peak_memory()
                times[name].append(throwaway.measured(contenders[name]))
                if name == "attribute()":
                    memory = max(memory, throwaway.peak_memory() - before)
                digests[name] = digest()
                empty()
    if len(set(digests.values())) != 1:
        sys.exit(f"The contenders wrote different rows: {digests}")
    print(f"every contender wrote the same {count:,} rows")
    throwaway.print_medians(times, "attribute()", {"by hand": 1.2 if postgresql else 1.3, "binary COPY": 2.5})
    print(f"memory that attribute() added to its process: {memory / 1e6:.1f} MB\n", flush=True)


def main() -> None:
    parser = throwaway.arguments(__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), help="one database instead of both")
    options = parser.parse_args()
    if options.inside:
        write(options)
        return
    for vendor in [options.only] if options.only else PARTS:
        throwaway.run_in(vendor, options)


if __name__ == "__main__":
    main()
