"""How long it takes to preview and to issue a plan over tickets that are booked, against their attribution.

    .venv/bin/python bench/plan_change.py [--scale 1] [--postgres URL]

100,000 tickets of some 220,000 lines in an open month of PostgreSQL, imported from a file in this run, and a plan with
other shares and rates for all of them: each is reversed and booked anew. What the preview shows must be what issuing
brings. `attribute()` of the same tickets is measured first.
"""

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import throwaway
from ticket_import import write_file

TICKETS, LINES_PER_TICKET = 100_000, 2.2


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import MONTH, execute, make_chain

    from commission.attribution import attribute
    from commission.models import Attribution, Booking, Plan, PlanRate
    from commission.plan_changes import apply_change, preview
    from commission.ticket_import import import_tickets
    from portfolios.months import month_days

    lines = int(TICKETS * LINES_PER_TICKET * options.scale)
    members = max(1, lines // 13)
    old = make_chain(members)
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
    plan = Plan.objects.create(
        plan_no="2026-B", valid_from=month_days(MONTH)[0], owner_share_bp=6000, state=Plan.State.DRAFT
    )
    for rate in old.rates.all():
        rate_bp = None if rate.rate_bp is None else rate.rate_bp + 100
        PlanRate.objects.create(plan=plan, category=rate.category, rate_bp=rate_bp, excluded=rate.excluded)
    times["preview"] = [throwaway.measured(lambda: preview(plan, by=None, note="bench"))]
    change = plan.changes.get()
    times["issue"] = [throwaway.measured(lambda: apply_change(change, by=None))]
    shown = sum(after for clerk in change.document["clerks"] for after in clerk["commission"][1:])
    rows = Attribution.objects.values_list("owner_commission_amount", "server_commission_amount")
    if shown != sum(map(sum, rows)):
        sys.exit("What was shown is not what the ledger has.")
    for name in ("preview", "issue"):
        throwaway.print_medians({name: times[name], "attribute()": times["attribute()"]}, name)


def main() -> None:
    options = throwaway.arguments(__doc__).parse_args()
    if options.inside:
        measure(options)
    else:
        throwaway.run_in("postgresql", options)


if __name__ == "__main__":
    main()
