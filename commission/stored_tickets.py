"""What is stored of a ticket and how it was attributed, and the totals of a store's day, as the API tells them.

A till compares its own day with the totals: tickets 2, net 250.00. Names and rows are those of the file of attributions
(attribution_export.py).
"""

import datetime as dt
from collections import defaultdict

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from commission.api_schemas import StoredAttribution, StoreDay, StoredLine, StoredTicket
from commission.attribution_export import ATTRIBUTED, BOOKING_ORDER
from commission.models import Attribution, Sale, SaleLine
from commission.money import format_amount
from portfolios.models import Month, Store


def stored(sales: QuerySet[Sale]) -> list[tuple[Sale, StoredTicket]]:
    """Tickets, each with what is stored of it."""
    found = list(sales.select_related("store", "member", "booking"))
    lines: dict[int, list[SaleLine]] = defaultdict(list)
    of_them = SaleLine.objects.filter(sale__in=found).select_related("server", "category")
    for line in of_them.order_by("sale", "line_no"):
        lines[line.sale_id].append(line)
    rows: dict[int, list[StoredAttribution]] = defaultdict(list)
    attributions = Attribution.objects.filter(part__sale__in=found).order_by("part__sale", *BOOKING_ORDER)
    for sale_id, month, *facts in attributions.values_list("part__sale", "month", *ATTRIBUTED.values()):
        row = dict(zip(ATTRIBUTED, map(_told, facts), strict=True))
        counted = {"sequence": len(rows[sale_id]) + 1, "posted_month": Month(pk=month).name}
        rows[sale_id].append(StoredAttribution.model_validate(counted | row))
    return [
        (
            sale,
            StoredTicket(
                store_no=sale.store.store_no,
                business_date=sale.business_date.isoformat(),
                ticket_no=sale.ticket_no,
                sold_at=timezone.localtime(sale.sold_at).isoformat(),
                member_no=sale.member.member_no if sale.member else None,
                net_amount=format_amount(sum(line.net_amount for line in lines[sale.pk])),
                received_at=timezone.localtime(sale.booking.recorded_at).isoformat(),
                lines=list(map(_line, lines[sale.pk])),
                attributions=rows[sale.pk],
            ),
        )
        for sale in found
    ]


def _told(fact: str | int | None) -> str | None:
    """An amount in currency units; a number, a code or nothing as it is."""
    return format_amount(fact) if isinstance(fact, int) else fact


def _line(line: SaleLine) -> StoredLine:
    original_date = line.original_business_date
    return StoredLine(
        line_no=line.line_no,
        clerk_no=line.server.clerk_no if line.server else None,
        product_no=line.product_no,
        category=line.category.category,
        quantity=_quantity(line.quantity_milli),
        net_amount=format_amount(line.net_amount),
        excluded=line.excluded,
        waits=line.part_id is None,
        original_store_no=line.original_store_no,
        original_business_date=original_date.isoformat() if original_date else None,
        original_ticket_no=line.original_ticket_no,
        original_line_no=line.original_line_no,
    )


def _quantity(milli: int) -> str:
    """The files' form of a quantity, without needless zeros: 1500 -> "1.5"."""
    whole, rest = divmod(abs(milli), 1000)
    return f"{'-' if milli < 0 else ''}{whole}.{rest:03}".rstrip("0").rstrip(".")


def store_day(store: Store, day: dt.date) -> StoreDay:
    """How many tickets of a store's day are stored, and their net total."""
    sales = Sale.objects.filter(store=store, business_date=day)
    totals = SaleLine.objects.filter(sale__in=sales).aggregate(
        lines=Count("pk"), net=Sum("net_amount"), waiting=Count("pk", filter=Q(part=None))
    )
    return StoreDay(
        store_no=store.store_no,
        business_date=day.isoformat(),
        tickets=sales.count(),
        lines=totals["lines"],
        net_amount=format_amount(int(totals["net"] or 0)),
        waiting_lines=totals["waiting"],
    )
