"""How long a till waits for the ticket API: one ticket, and more at once, beside a file with one ticket.

    .venv/bin/python bench/ticket_api.py [--scale 1] [--rounds 20] [--postgres URL]

The books of a chain with 200,000 members hold 200,000 ticket lines before. Requests go through every layer but the web
server, on a connection that is open; a ticket has three lines.
"""

import datetime as dt
import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import throwaway
from ticket_import import write_file

LINES, BATCHES = 200_000, (1, 100, 1_000)


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import CLERKS, STORES, execute, make_chain
    from django.conf import settings
    from django.test import Client

    from commission.models import ApiToken
    from commission.ticket_import import import_tickets
    from commission.ticket_lines import COLUMNS

    settings.ALLOWED_HOSTS = ["testserver"]
    members = int(LINES * options.scale)
    make_chain(members)
    _token, text = ApiToken.objects.issue(name="bench", store=None, created_by="bench", expires_on=dt.date(2099, 1, 1))
    client = Client(headers={"Authorization": f"Bearer {text}"})
    numbers = count(1)

    def ticket() -> dict:
        n = next(numbers)
        return {
            "store_no": f"S{1 + n % STORES:04}",
            "business_date": "2026-10-05",
            "ticket_no": f"A{n:07}",
            "sold_at": "2026-10-05T12:00:00+08:00",
            "member_no": f"M{100000001 + n % members}",
            "lines": [
                {
                    "line_no": line,
                    "clerk_no": f"C{1 + n % CLERKS:05}",
                    "product_no": f"P{line}",
                    "category": "otc",
                    "quantity": "1",
                    "net_amount": f"{9 + line}.00",
                }
                for line in (1, 2, 3)
            ],
        }

    def post(tickets: list[dict]) -> None:
        answer = client.post("/api/v1/tickets", json.dumps({"tickets": tickets}), content_type="application/json")
        assert answer.status_code == 200, answer.content

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "tickets.csv"
        write_file(path, members, members)
        import_tickets(path)
        execute("VACUUM ANALYZE")

        def by_file(tickets: list[dict]) -> None:
            rows = [tickets[0] | line for line in tickets[0]["lines"]]
            lines = [",".join(str(row.get(column, "")) for column in COLUMNS) for row in rows]
            path.write_text("\n".join([",".join(COLUMNS), *lines, ""]))
            import_tickets(path)

        contenders: dict[str, tuple[Callable[[list[dict]], None], int]] = {
            "one ticket": (post, 1),
            "one ticket, in a file": (by_file, 1),
            **{f"{size:,} tickets": (post, size) for size in BATCHES[1:]},
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in [*contenders, "the one again"]}
        for turn in range(options.rounds + 1):
            for name, (work, size) in contenders.items():
                tickets = [ticket() for _ in range(size)]
                took = [(name, throwaway.measured(partial(work, tickets)))]
                if name == "one ticket":
                    took.append(("the one again", throwaway.measured(partial(post, tickets))))
                # The first composes the statements.
                for what, seconds in took if turn else ():
                    times[what].append(seconds)
    throwaway.print_medians(times, "one ticket")
    print(f"load {os.getloadavg()[0]:.0f}")


def main() -> None:
    parser = throwaway.arguments(__doc__)
    parser.set_defaults(rounds=20)
    options = parser.parse_args()
    if options.inside:
        measure(options)
    else:
        throwaway.run_in("postgresql", options)


if __name__ == "__main__":
    main()
