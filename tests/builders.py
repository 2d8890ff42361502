"""Builds a small chain and the ticket files of its tills, and reads back what was booked by its own numbers.

`till.load(ticket("T1", "03-05", line("100.00", by="C1"), member="M1"))` writes a POS file and imports it. Dates
without a year are of 2026; amounts are in currency units, as in the files.
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from commission.models import Attribution, Category, Plan, PlanProduct, PlanRate, Sale, SaleLine, SalePart
from commission.ticket_import import TicketReport, import_tickets
from commission.ticket_lines import COLUMNS
from portfolios.import_problems import ImportProblem, ImportRefused
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, Month, Store
from portfolios.months import open_months

Row = dict[str, str]


def day(text: str) -> dt.date:
    """2026-10-05, from "10-05" or in full."""
    return dt.date.fromisoformat(text if len(text) == 10 else f"2026-{text}")


# --- People, stores and plans -------------------------------------------------------------------------------------


def make_store(store_no: str = "S1") -> Store:
    return Store.objects.create(store_no=store_no, name=f"店{store_no}")


def make_clerk(clerk_no: str, *, left_on: str = "") -> Clerk:
    return Clerk.objects.create(
        clerk_no=clerk_no,
        name=f"店员{clerk_no}",
        hired_on=dt.date(2020, 1, 1),
        left_on=day(left_on) if left_on else None,
    )


def make_member(member_no: str, owner: str = "", *, since: str = "2025-01-01") -> Member:
    """A member of the first store, bound to the clerk with the number `owner` from that date on."""
    member = Member.objects.create(
        member_no=member_no, store=Store.objects.earliest("pk"), enrolled_on=day(since), counted_from=day(since)
    )
    if owner:
        bind(member_no, owner, since=since)
    return member


def bind(member_no: str, clerk_no: str, *, since: str, until: str = "", voided: bool = False) -> Binding:
    """Binds a member to a clerk; a binding that runs on that date ends, one that would begin on it is voided."""
    batch = BindingBatch.objects.create(source="test")
    start = day(since)
    running = Binding.objects.valid().filter(member__member_no=member_no, valid_to__gt=start)
    if not voided:
        running.filter(valid_from__gte=start).update(voided_by=batch)
        running.update(valid_to=start, ended_by=batch)
    return Binding.objects.create(
        member=Member.objects.get(member_no=member_no),
        clerk=Clerk.objects.get(clerk_no=clerk_no),
        valid_from=start,
        valid_to=day(until) if until else OPEN_END,
        reason=Binding.Reason.REASSIGNMENT,
        batch=batch,
        voided_by=batch if voided else None,
    )


def make_category(category: str, *, excluded: bool = False) -> Category:
    return Category.objects.create(category=category, name_en=category, name_zh=category, excluded=excluded)


def make_plan(
    plan_no: str = "2026-A",
    *,
    rates: dict[str, int | None],
    units: dict[str, int] | None = None,
    products: dict[str, int] | None = None,
    store: Store | None = None,
    since: str = "2020-01-01",
    until: str = "",
    **shares: int,
) -> Plan:
    """A plan with rates in basis points by category (None: excluded) and by product, and amounts per unit in fen."""
    plan = Plan.objects.create(
        plan_no=plan_no, store=store, valid_from=day(since), valid_to=day(until) if until else OPEN_END, **shares
    )
    for category, rate_bp in rates.items():
        PlanRate.objects.create(
            plan=plan,
            category=Category.objects.get(category=category),
            rate_bp=rate_bp,
            excluded=rate_bp is None,
        )
    for product_no, unit_amount in (units or {}).items():
        PlanProduct.objects.create(plan=plan, product_no=product_no, unit_amount=unit_amount)
    for product_no, rate_bp in (products or {}).items():
        PlanProduct.objects.create(plan=plan, product_no=product_no, rate_bp=rate_bp)
    return plan


def make_chain(**shares: Any) -> Plan:
    """Stores S1 and S2; clerks 李 C1, 王 C2, 张 C3; member M1 of 李, M0 of nobody; rates of 1, 3 and 5%, none for rx.

    The product UNIT pays 1.50 for each piece. `shares` are the plan's, in basis points.
    """
    make_store("S1"), make_store("S2")
    for clerk_no in ("C1", "C2", "C3"):
        make_clerk(clerk_no)
    make_member("M1", "C1"), make_member("M0")
    for category in ("otc", "device", "care"):
        make_category(category)
    make_category("rx", excluded=True)
    return make_plan(rates={"otc": 300, "device": 100, "care": 500}, units={"UNIT": 150}, **shares)


def close(number: int) -> None:
    """Marks a month as closed, and opens the next: what the close leaves behind for an import to find."""
    open_months(number, number)
    Month.objects.filter(pk=number).update(closed_at=timezone.now())


# --- Ticket files -------------------------------------------------------------------------------------------------


def line(
    net: str,
    *,
    by: str = "C1",
    category: str = "otc",
    product: str = "P1",
    quantity: str = "",
    of: tuple[str, str, int] | tuple[str, str, int, str] | None = None,
) -> Row:
    """A ticket line; `of` makes it the return of (ticket number, date, line, store S1)."""
    row = {
        "clerk_no": by,
        "product_no": product,
        "category": category,
        "quantity": quantity or ("-1" if net.startswith("-") else "1"),
        "net_amount": net,
    }
    if of:
        ticket_no, on, line_no, *store = of
        row["original_store_no"] = store[0] if store else "S1"
        row["original_business_date"] = day(on).isoformat()
        row["original_ticket_no"] = ticket_no
        row["original_line_no"] = str(line_no)
    return row


def ticket(
    ticket_no: str, on: str, *lines: Row, member: str = "", store: str = "S1", at: str = "10:00:00", first: int = 1
) -> list[Row]:
    """The rows of one ticket; its lines are counted from `first`."""
    head = {
        "store_no": store,
        "business_date": day(on).isoformat(),
        "ticket_no": ticket_no,
        "sold_at": f"{day(on)}T{at}+08:00",
        "member_no": member,
    }
    return [{**head, "line_no": str(number), **cells} for number, cells in enumerate(lines, first)]


def as_csv(rows: Iterable[Row], columns: Iterable[str] = COLUMNS) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Till:
    """Writes ticket files to a directory and imports them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.numbers = count(1)

    def file(self, *tickets: list[Row]) -> Path:
        path = self.directory / f"tickets-{next(self.numbers)}.csv"
        path.write_text(as_csv(row for rows in tickets for row in rows), encoding="utf-8")
        return path

    def load(self, *tickets: list[Row]) -> TicketReport:
        return self.load_file(self.file(*tickets))

    def load_file(self, path: Path) -> TicketReport:
        return import_tickets(path, errors_path=self.directory / "errors.csv")

    def refused(self, source: Path | list[Row]) -> list[ImportProblem]:
        """The problems of a file that has to be refused and to change nothing."""
        path = source if isinstance(source, Path) else self.file(source)
        before = everything()
        try:
            report = self.load_file(path)
        except ImportRefused as refusal:
            assert everything() == before
            return refusal.problems.shown
        raise AssertionError(f"imported: {report}")


# --- What is there ------------------------------------------------------------------------------------------------


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of the four apps."""
    models = [
        model
        for app in ("portfolios", "commission", "kpis", "payroll_exports")
        for model in apps.get_app_config(app).get_models()
    ]
    return {model._meta.label: list(model._default_manager.order_by("pk").values_list()) for model in models}


def _ticket(prefix: str) -> list[str]:
    return [f"{prefix}{name}" for name in ("store__store_no", "business_date", "ticket_no")]


AMOUNTS = [
    "commissionable_amount", "excluded_amount", "owner_credit_amount", "server_credit_amount", "house_credit_amount",
    "commission_amount", "owner_commission_amount", "server_commission_amount", "house_commission_amount",
]  # fmt: skip


def booked(**where: Any) -> list[dict[str, Any]]:
    """Attributions by ticket and in the order of booking, each with its `sequence` within the ticket."""
    rows = (
        Attribution.objects.annotate(
            sequence=Window(RowNumber(), partition_by="part__sale", order_by=[F("booking"), F("part__number"), F("pk")])
        )
        .order_by(*_ticket("part__sale__"), "booking", "part__number", "pk")
        .values(
            "part__number",
            "kind",
            "reason",
            "pay_line",
            "reverses",
            "share_bp",
            "sequence",
            *AMOUNTS,
            store_no=F("part__sale__store__store_no"),
            date=F("part__sale__business_date"),
            ticket=F("part__sale__ticket_no"),
            posted=F("month"),
            owner_no=F("owner__clerk_no"),
            server_no=F("server__clerk_no"),
            member_no=F("member__member_no"),
            plan_no=F("plan__plan_no"),
            corrects_part=F("corrects__part__number"),
            corrects_posted=F("corrects__month"),
        )
    )
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def shares(ticket_no: str) -> list[tuple[int, int, int]]:
    """The commission of owner, server and house in each row of a ticket, in booking order."""
    return [
        (row["owner_commission_amount"], row["server_commission_amount"], row["house_commission_amount"])
        for row in booked(ticket=ticket_no)
    ]


def facts() -> dict[str, list[Any]]:
    """All that imports store, by the numbers that the world outside knows: equal for equal databases."""
    sales = Sale.objects.order_by(*_ticket("")).values_list(
        *_ticket(""), "month_number", "sold_at", "member__member_no"
    )
    parts = SalePart.objects.order_by(*_ticket("sale__"), "number").values_list(
        *_ticket("sale__"), "number", "store__store_no", "business_date", "month_number", "member__member_no",
        "server__clerk_no", *_ticket("original__sale__"), "original__number", "plan__plan_no",
        "commissionable_amount", "excluded_amount", "commission_e4", "settled",
    )  # fmt: skip
    lines = SaleLine.objects.order_by(*_ticket("sale__"), "line_no").values_list(
        *_ticket("sale__"), "line_no", "part__number", "server__clerk_no", "product_no", "category__category",
        "quantity_milli", "net_amount", "excluded", "rate_bp", "unit_amount", "commission_e4", "is_return",
        "original_store_no", "original_business_date", "original_ticket_no", "original_line_no",
        *_ticket("original_line__sale__"), "original_line__line_no",
    )  # fmt: skip
    months = Month.objects.order_by("pk").values_list("pk", "starts_on", "ends_on", "closed_at")
    return {
        "sales": list(sales), "parts": list(parts), "lines": list(lines), "months": list(months), "booked": booked(),
    }  # fmt: skip
