"""The month's attributions as a file: one row for each booked row, with who is credited and by which plan.

`sequence` counts a ticket's rows from 1 in booking order, over all months: a ticket of January with one part that is
corrected in February has sequence 1 in January's file, and 2 (the reversal) and 3 (the new row) in February's.
"""

import csv
from collections.abc import Iterator
from typing import TextIO

from django.db import connection
from django.db.models.functions import Collate

from commission.models import Attribution
from commission.money import format_amount
from portfolios.models import Month
from portfolios.output_files import safe_text

# What is told of an attribution beside its ticket, sequence and month: the name, and where it is found.
ATTRIBUTED = {
    "kind": "kind",
    "reason": "reason",
    "member_no": "member__member_no",
    "owner_no": "owner__clerk_no",
    "server_no": "server__clerk_no",
    "plan_no": "plan__plan_no",
    "commissionable_amount": "commissionable_amount",
    "excluded_amount": "excluded_amount",
    "owner_credit": "owner_credit_amount",
    "server_credit": "server_credit_amount",
    "house_credit": "house_credit_amount",
    "commission": "commission_amount",
    "owner_commission": "owner_commission_amount",
    "server_commission": "server_commission_amount",
    "house_commission": "house_commission_amount",
}
COLUMNS = ("store_no", "business_date", "ticket_no", "sequence", "posted_month", *ATTRIBUTED)
# The order of a ticket's attributions, by which they are counted.
BOOKING_ORDER = ("booking_id", "part__number", "pk")
_CHUNK = 5_000


def attribution_rows(month: Month) -> Iterator[list[str]]:
    """The file's rows by store, date, ticket and sequence, as they are written."""
    posted = Attribution.objects.filter(month=month)
    # A ticket's rows of other months are read too, to be counted.
    rows = (
        Attribution.objects.filter(part__sale__in=posted.values("part__sale"))
        .order_by(
            _by_bytes("store__store_no"),
            "business_date",
            _by_bytes("part__sale__ticket_no"),
            *BOOKING_ORDER,
        )
        .values_list(
            "part__sale",
            "month",
            "store__store_no",
            "business_date",
            "part__sale__ticket_no",
            *ATTRIBUTED.values(),
        )
    )
    ticket, sequence = None, 0
    for sale, number, store_no, business_date, ticket_no, kind, reason, *rest in rows.iterator(chunk_size=_CHUNK):
        sequence = sequence + 1 if sale == ticket else 1
        ticket = sale
        if number == month.pk:
            yield [
                safe_text(store_no),
                business_date.isoformat(),
                safe_text(ticket_no),
                str(sequence),
                month.name,
                kind,
                reason,
                *(safe_text(text or "") for text in rest[:4]),
                *map(format_amount, rest[4:]),
            ]


def _by_bytes(column: str) -> Collate:
    """The column in an order that is the same on every database, whatever language that was set up for."""
    return Collate(column, "C" if connection.vendor == "postgresql" else "BINARY")


def write_attributions(month: Month, file: TextIO) -> int:
    """Writes the month's attributions as CSV; returns the number of rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for count, row in enumerate(attribution_rows(month), 1):  # noqa: B007 - the last number is the result
        writer.writerow(row)
    return count
