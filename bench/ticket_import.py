"""How fast a ticket file is imported, with every check: against a bare COPY, and against django-import-export.

    .venv/bin/python bench/ticket_import.py [--scale 1] [--rounds 3] [--postgres URL]

A file of 1,000,000 lines on PostgreSQL, through `manage.py import_tickets` in a process of its own, whose memory is
measured too. The COPY puts the same file into a table with the file's columns: no checks, no tickets, no attribution.
django-import-export's default import writes the first 2,500 lines (or fewer) into one table with a unique key, whose
store, clerk, member and category are references that it looks up, and is extrapolated to the whole file. "Without
references" is the same into a table that keeps the four numbers as text, so without a check of any.
"""

import csv
import datetime as dt
import math
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from itertools import islice
from pathlib import Path

import throwaway

REFERENCES = ("store_no", "clerk_no", "member_no", "category")
LINES, SAMPLE = 1_000_000, 2_500


def mixed(number: int, of: int, salt: int) -> int:
    """A number from 0 up to, not including, `of` that looks random."""
    return (number * 2654435761 + salt * 40503) % 4294967296 // 16 % of


def write_file(path: Path, lines: int, members: int) -> int:
    """Writes a month of tickets of two or three lines each; returns how many.

    15% of the tickets have no member and 1% no server; one in fifty takes back a line of an earlier one.
    """
    from chain import CLERKS, MONTH, STORES

    from commission.ticket_lines import COLUMNS
    from portfolios.months import month_days

    first_day, last_day = month_days(MONTH)
    days = (last_day - first_day).days + 1

    def day(ticket: int) -> str:
        return (first_day + dt.timedelta(days=min(days - 1, ticket * days * 9 // (lines * 4)))).isoformat()

    def net(ticket: int, line: int) -> str:
        return f"{5 + mixed(ticket, 300, 10 + line)}.{mixed(ticket, 100, 20 + line):02d}"

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        written = ticket = 0
        while written < lines:
            ticket += 1
            sold = ticket - 25 if ticket % 50 == 0 else ticket
            member = "" if mixed(sold, 100, 1) < 15 else f"M{100000001 + mixed(sold, members, 2)}"
            clerk = "" if mixed(ticket, 100, 3) == 0 else f"C{1 + mixed(ticket, CLERKS, 4):05}"
            clock = f"{day(ticket)}T{9 + mixed(ticket, 12, 5):02}:{mixed(ticket, 60, 6):02}:00+08:00"
            ticket_cells = [f"S{1 + ticket % STORES:04}", day(ticket), f"T{ticket:08}", clock, clerk, member]
            for line in range(1, 2 if sold != ticket else 4 if ticket % 9 < 2 else 3):
                product = mixed(sold, 5_000, 30 + line)
                goods = [f"P{product:05}", "rx" if product % 5 == 0 else "otc"]
                if sold == ticket:
                    amounts = ["1", net(sold, line), "", "", "", ""]
                else:
                    amounts = ["-1", f"-{net(sold, line)}", f"S{1 + sold % STORES:04}", day(sold), f"T{sold:08}", "1"]
                writer.writerow([*ticket_cells, line, *goods, *amounts])
                written += 1
    return ticket


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    from chain import execute, make_chain
    from django.db import connection, models
    from import_export import fields as columns
    from import_export.resources import ModelResource
    from import_export.widgets import ForeignKeyWidget
    from tablib import Dataset

    from commission.models import Category
    from commission.ticket_lines import COLUMNS
    from portfolios.models import Clerk, Member, Store

    lines = int(LINES * options.scale)
    members = lines // 5
    make_chain(members)
    execute("VACUUM ANALYZE")

    class PosLine(models.Model):
        store_no = models.CharField(max_length=20)
        business_date = models.DateField()
        ticket_no = models.CharField(max_length=40)
        sold_at = models.DateTimeField()
        clerk_no = models.CharField(max_length=20, blank=True)
        member_no = models.CharField(max_length=40, blank=True)
        line_no = models.IntegerField()
        product_no = models.CharField(max_length=50)
        category = models.CharField(max_length=50)
        quantity = models.DecimalField(max_digits=12, decimal_places=3)
        net_amount = models.DecimalField(max_digits=14, decimal_places=2)
        original_store_no = models.CharField(max_length=20, blank=True)
        original_business_date = models.DateField(null=True, blank=True)
        original_ticket_no = models.CharField(max_length=40, blank=True)
        original_line_no = models.IntegerField(null=True, blank=True)

        class Meta:
            app_label = "commission"
            constraints = [
                models.UniqueConstraint(
                    name="pos_line_key", fields=["store_no", "business_date", "ticket_no", "line_no"]
                )
            ]

        def __str__(self) -> str:
            return f"{self.ticket_no}/{self.line_no}"

    class PosLineResource(ModelResource):
        class Meta:
            model = PosLine
            fields = COLUMNS
            import_id_fields = ["store_no", "business_date", "ticket_no", "line_no"]

    class TicketLine(models.Model):
        store = models.ForeignKey(Store, models.PROTECT, related_name="+")
        business_date = models.DateField()
        ticket_no = models.CharField(max_length=40)
        sold_at = models.DateTimeField()
        clerk = models.ForeignKey(Clerk, models.PROTECT, null=True, related_name="+")
        member = models.ForeignKey(Member, models.PROTECT, null=True, related_name="+")
        line_no = models.IntegerField()
        product_no = models.CharField(max_length=50)
        category = models.ForeignKey(Category, models.PROTECT, related_name="+")
        quantity = models.DecimalField(max_digits=12, decimal_places=3)
        net_amount = models.DecimalField(max_digits=14, decimal_places=2)
        original_store_no = models.CharField(max_length=20, blank=True)
        original_business_date = models.DateField(null=True, blank=True)
        original_ticket_no = models.CharField(max_length=40, blank=True)
        original_line_no = models.IntegerField(null=True, blank=True)

        class Meta:
            app_label = "commission"
            constraints = [
                models.UniqueConstraint(
                    name="ticket_line_key", fields=["store", "business_date", "ticket_no", "line_no"]
                )
            ]

        def __str__(self) -> str:
            return f"{self.ticket_no}/{self.line_no}"

    def reference(model: type[models.Model], column: str) -> columns.Field:
        attribute = column.removesuffix("_no")
        return columns.Field(attribute=attribute, column_name=column, widget=ForeignKeyWidget(model, column))

    class TicketLineResource(ModelResource):
        store = reference(Store, "store_no")
        clerk = reference(Clerk, "clerk_no")
        member = reference(Member, "member_no")
        category = reference(Category, "category")

        class Meta:
            model = TicketLine
            fields = [column.removesuffix("_no") if column in REFERENCES else column for column in COLUMNS]
            import_id_fields = ["store", "business_date", "ticket_no", "line_no"]

    def copy() -> None:
        into = f"COPY pos_copy ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv, HEADER)"
        with connection.cursor() as cursor, path.open("rb") as file, cursor.copy(into) as to:
            while block := file.read(1 << 20):
                to.write(block)

    peaks: list[int] = []

    def import_file() -> None:
        command = [sys.executable, str(throwaway.ROOT / "manage.py"), "import_tickets", str(path)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _pid, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(child.returncode)
        peaks.append(usage.ru_maxrss * 1024)

    def empty() -> None:
        execute("SET session_replication_role = replica")
        execute(
            "TRUNCATE commission_attribution, commission_saleline, commission_salepart, commission_sale, "
            "commission_booking RESTART IDENTITY CASCADE"
        )
        execute("SET session_replication_role = DEFAULT")
        execute("TRUNCATE pos_copy")
        execute("VACUUM ANALYZE")
        execute("CHECKPOINT")

    with connection.schema_editor() as editor:
        editor.create_model(PosLine)
        editor.create_model(TicketLine)
    # The same columns for the COPY, without key or index.
    execute("CREATE TABLE pos_copy AS SELECT * FROM commission_posline WITH NO DATA")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "tickets.csv"
        tickets = write_file(path, lines, members)
        print(f"{lines:,} lines of {tickets:,} tickets, {path.stat().st_size / 1e6:.0f} MB", flush=True)
        contenders = {"import_tickets": import_file, "bare COPY": copy}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for turn in range(options.rounds):
            for name in list(contenders)[:: 1 if turn % 2 == 0 else -1]:
                # The importing process has a backend of its own: its processor time is not to be had.
                times[name].append((throwaway.measured(contenders[name])[0], math.nan))
                empty()
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            sample = Dataset(headers=COLUMNS)
            for row in islice(rows, 1, SAMPLE + 1):
                # It reads no time with an offset.
                sample.append([*row[:3], row[3][:19].replace("T", " "), *row[4:]])

    def import_export(resource: type[ModelResource]) -> float:
        def run() -> None:
            result = resource().import_data(sample, raise_errors=True)
            if result.totals["new"] != len(sample):
                sys.exit(f"django-import-export made {result.totals}")

        clock, _processor = throwaway.measured(run)
        return clock * lines / len(sample)

    for name, resource in (("django-import-export", TicketLineResource), ("- without references", PosLineResource)):
        times[name] = [(import_export(resource), math.nan)]
    throwaway.print_medians(times, "import_tickets", {"bare COPY": 15, "django-import-export": 0.01})
    print(f"most memory of the importing process: {max(peaks) / 1e6:.0f} MB (at most 200)")


def main() -> None:
    options = throwaway.arguments(__doc__).parse_args()
    if options.inside:
        measure(options)
    else:
        throwaway.run_in("postgresql", options)


if __name__ == "__main__":
    main()
