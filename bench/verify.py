"""How long a closed month's proof takes, beside its attribution and its close, and how long a ticket's explanation.

    .venv/bin/python bench/verify.py [--scale 1] [--postgres URL]

3,000,000 tickets of some 6,600,000 lines on PostgreSQL, imported from a file in this run. `attribute()` of the month is
measured beside it on the same parts; then the month is closed, which writes its proof, and `manage.py verify`'s work is
done: the digest over every frozen row, the ledger by the rules, and the payslips. Last, a thousand tickets drawn from
the month are explained one by one, as a ticket's page does it: the rows, what they rest on, a sentence for each party.
"""

import random
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import throwaway
from ticket_import import write_file

TICKETS, LINES_PER_TICKET, EXPLAINED = 3_000_000, 2.2, 1_000


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import CLERKS, LONG_AGO, MONTH, STORES, date, execute, make_chain

    from commission.attribution import attribute
    from commission.models import Booking
    from commission.ticket_import import import_tickets
    from payroll_exports.pay_run import close_month
    from payroll_exports.proof import verify
    from portfolios.models import OPEN_END, Month

    lines = int(TICKETS * LINES_PER_TICKET * options.scale)
    members = max(1, lines // 13)
    make_chain(members)
    execute(
        "INSERT INTO portfolios_posting (clerk_id, store_id, role, valid_from, valid_to, weight_percent) "
        f"SELECT id, 1 + id % {STORES}, 'clerk', {date(LONG_AGO)}, {date(OPEN_END)}, 100 FROM portfolios_clerk "
        f"WHERE id <= {CLERKS}"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "tickets.csv"
        tickets = write_file(path, lines, members)
        import_tickets(path)
    print(f"{tickets:,} tickets of {lines:,} lines", flush=True)
    execute("SET session_replication_role = replica")
    execute("TRUNCATE commission_attribution RESTART IDENTITY")
    execute("SET session_replication_role = DEFAULT")
    execute("VACUUM ANALYZE")
    booking = Booking.objects.get()
    times = {"attribute()": [throwaway.measured(lambda: attribute(booking=booking))]}
    execute("VACUUM ANALYZE")
    month = Month.objects.get(pk=MONTH)
    times["close"] = [throwaway.measured(lambda: close_month(month, approved_by="bench"))]
    execute("VACUUM ANALYZE")
    before = throwaway.peak_memory()
    began = time.perf_counter()

    def tell(step: str) -> None:
        print(f"{time.perf_counter() - began:8.1f} s  {step}", flush=True)

    def prove() -> None:
        found = list(verify([Month.objects.get(pk=MONTH)], tell))
        if found:
            sys.exit(f"verify found {len(found)} differences, the first: {found[0]}")

    times["verify"] = [throwaway.measured(prove)]
    clock, processor = times["attribute()"][0]
    print(f"\n{'':16}{'seconds':>10}{'processor':>11}{'of attribute()':>16}{'of processor':>14}")
    for name, [(seconds, of_processor)] in times.items():
        print(f"{name:16}{seconds:10.1f}{of_processor:11.1f}{seconds / clock:15.2f}x{of_processor / processor:13.2f}x")
    print("verify: at most 4x attribute()")
    print(f"memory that verify added to its process: {(throwaway.peak_memory() - before) / 1e6:.0f} MB")
    print_explanations(tickets)


def print_explanations(tickets: int) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from commission.explain import Grounds, explain, sentences, with_parties
    from commission.models import Attribution, Sale

    def explain_ticket(sale: int) -> None:
        rows = list(with_parties(Attribution.objects.filter(part__sale=sale).order_by("pk")))
        grounds = Grounds(rows)
        for row in rows:
            explain(row)
            sentences(row, grounds)

    first = Sale.objects.order_by("pk").values_list("pk", flat=True)[0]
    draw = random.Random(20261031)
    sales = [first + draw.randrange(tickets) for _ in range(EXPLAINED)]
    with CaptureQueriesContext(connection) as queries:
        explain_ticket(sales[0])
    times = sorted(throwaway.measured(partial(explain_ticket, sale)) for sale in sales[1:])
    clock = [seconds * 1000 for seconds, _processor in times]
    # A backend's processor time is counted in hundredths of a second: only the mean of many says something.
    processor = statistics.mean(seconds for _clock, seconds in times) * 1000
    print(
        f"\na ticket explained: {statistics.median(clock):.1f} ms by the clock (95 of 100 within "
        f"{clock[len(clock) * 95 // 100]:.1f} ms), {processor:.1f} ms of processor time, {len(queries)} queries; "
        "at most 20 ms"
    )


if __name__ == "__main__":
    chosen = throwaway.arguments(__doc__).parse_args()
    if chosen.inside:
        measure(chosen)
    else:
        throwaway.run_in("postgresql", chosen)
