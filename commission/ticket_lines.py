"""The grammar of a ticket file, row by row: text in, checked values out.

A row is one ticket line. Its rate comes from the plan of its store and date: the product's if the plan has one, else
its category's; 10000 fen at 3% are 3,000,000 ten-thousandths of commission (`commission_e4`), rounded only later.
"""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from django.utils.translation import gettext as _

from commission.models import Category, Plan
from commission.money import MAX_AMOUNT, WHOLE_BP, AmountError, parse_amount
from portfolios.models import Clerk, Store
from portfolios.months import month_number

COLUMNS = (
    "store_no", "business_date", "ticket_no", "sold_at", "clerk_no", "member_no", "line_no", "product_no", "category",
    "quantity", "net_amount", "original_store_no", "original_business_date", "original_ticket_no", "original_line_no",
)  # fmt: skip

FIRST_DAY, LAST_DAY = dt.date(1970, 1, 1), dt.date(2199, 12, 31)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SOLD_AT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})", re.ASCII
)
_FIRST_NUMBERS = frozenset(map(str, range(1, 100)))
_WHOLE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_QUANTITY = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,3})?", re.ASCII)
# What Excel makes of a long number, or of one that it took for a decimal.
_DAMAGED = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+[0-9]+|[0-9]+\.0+", re.ASCII)
# Most numbers, which can be neither.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class StagedLine(NamedTuple):
    """A checked row as it is staged; identifiers of members stay text until all rows are there."""

    row_no: int
    store_id: int
    business_date: str
    month_number: int
    ticket_no: str
    sold_at: dt.datetime
    server_id: int | None
    member_no: str | None
    line_no: int
    product_no: str
    category_id: int
    quantity_milli: int
    net_amount: int
    is_return: bool
    plan_id: int
    excluded: bool | None
    rate_bp: int | None
    unit_amount: int | None
    commission_e4: int | None
    original_store_no: str | None
    original_business_date: str | None
    original_ticket_no: str | None
    original_line_no: int | None


@dataclass(frozen=True, slots=True)
class Rate:
    """What a plan pays for a product or category; `excluded` counts nothing."""

    excluded: bool = False
    rate_bp: int | None = None
    unit_amount: int | None = None

    def commission_e4(self, net_amount: int, quantity_milli: int) -> int:
        """The line's commission before rounding, in ten-thousandths of the minor unit.

        A line that nothing was paid for earns nothing, at whatever rate.
        """
        if self.excluded or net_amount == 0:
            return 0
        if self.unit_amount is not None:
            return quantity_milli * self.unit_amount * 10
        return net_amount * (self.rate_bp or 0)


class PlanBook:
    """All plans, looked up by store and date; kept for the length of one import."""

    def __init__(self) -> None:
        self._plans: dict[int | None, list[Plan]] = {}
        self._rates: dict[int, dict[int, Rate]] = {}
        self._products: dict[int, dict[str, Rate]] = {}
        for plan in Plan.objects.prefetch_related("rates", "products"):
            self._plans.setdefault(plan.store_id, []).append(plan)
            self._rates[plan.id] = {r.category_id: Rate(r.excluded, r.rate_bp) for r in plan.rates.all()}
            self._products[plan.id] = {
                p.product_no: Rate(rate_bp=p.rate_bp, unit_amount=p.unit_amount) for p in plan.products.all()
            }

    def plan_on(self, store_id: int, on: dt.date) -> Plan | None:
        """The plan of a store on a date: its own, else the chain's."""
        for scope in (store_id, None):
            for plan in self._plans.get(scope, ()):
                if plan.valid_from <= on < plan.valid_to:
                    return plan
        return None

    def rate(self, plan_id: int, category: Category, product_no: str) -> Rate | None:
        """What the plan pays for a line; None where it has no rate for a category that is not excluded.

        What the plan or the category excludes stays excluded, whatever the product's own rate.
        """
        rate = self._rates[plan_id].get(category.id)
        if rate is None and category.excluded:
            rate = Rate(excluded=True)
        if rate is not None and rate.excluded:
            return rate
        return self._products[plan_id].get(product_no) or rate


class LineReader:
    """Turns the cells of a row into a StagedLine, reporting every cell that is wrong."""

    def __init__(self, report: Callable[[int, str, str, str, str], None]) -> None:
        self._report = report
        self._stores: dict[str, int] = dict(Store.objects.values_list("store_no", "pk"))
        self._clerks: dict[str, int] = dict(Clerk.objects.values_list("clerk_no", "pk"))
        self._categories = {category.category: category for category in Category.objects.all()}
        self._plan_book = PlanBook()
        self._dates: dict[str, tuple[dt.date, int]] = {}
        self._plan_of: dict[tuple[int, str], Plan | None] = {}
        # The lines of a ticket come one after the other: what they share is checked once.
        self._last_ticket: tuple[str, str, str, str, str] | None = None
        self._last_facts: tuple[int, tuple[dt.date, int], dt.datetime, Plan] | None = None
        self._quantities: dict[str, int] = {}

    def read(self, row: int, cells: list[str]) -> StagedLine | None:
        """The checked row, or None when something in it was reported."""
        (
            store_no, day, ticket_no, sold, clerk_no, member_no, line, product_no, category_no, quantity, net,
            original_store, original_day, original_ticket, original_line,
        ) = cells  # fmt: skip
        wrong = False

        def report(column: str, value: str, reason: str, remedy: str) -> None:
            nonlocal wrong
            wrong = True
            self._report(row, column, value, reason, remedy)

        def check_number(column: str, value: str, longest: int = 40) -> None:
            if _PLAIN.fullmatch(value):
                return
            if not value:
                report(column, value, _("It is empty."), _("Every line needs it."))
            elif _DAMAGED.fullmatch(value):
                report(
                    column,
                    value,
                    _("A spreadsheet has damaged this number."),
                    _("Format the column as text and export it again."),
                )
            elif len(value) > longest or _CONTROL.search(value):
                report(
                    column,
                    value,
                    _("It is no number of this kind."),
                    _("At most %(longest)d printable characters.") % {"longest": longest},
                )

        ticket = (store_no, day, ticket_no, sold, member_no)
        store_id: int | None
        business_date: tuple[dt.date, int] | None
        sold_at: dt.datetime | None
        plan: Plan | None = None
        if self._last_facts is not None and ticket == self._last_ticket:
            store_id, business_date, sold_at, plan = self._last_facts
        else:
            store_id = self._stores.get(store_no)
            if store_id is None:
                report("store_no", store_no, _("There is no store with this number."), _("Import stores.csv first."))
            business_date = self._date(day)
            if business_date is None:
                report("business_date", day, _("It is no date."), _("Write it as YYYY-MM-DD, for example 2026-10-31."))
            check_number("ticket_no", ticket_no)
            sold_at = self._time(sold)
            if sold_at is None:
                report(
                    "sold_at",
                    sold,
                    _("It is no time with an offset."),
                    _("Write it as 2026-10-31T18:05:00+08:00."),
                )
            if member_no:
                check_number("member_no", member_no)
            self._last_facts = None
            if store_id is not None and business_date is not None:
                plan = self._plan(store_id, day, business_date[0])
                if plan is None:
                    report(
                        "business_date",
                        day,
                        _("No plan covers this store and date."),
                        _("Import a plan that is valid on it, for the store or for the chain."),
                    )
                elif sold_at is not None and not wrong:
                    self._last_ticket, self._last_facts = ticket, (store_id, business_date, sold_at, plan)
        server_id = self._clerks.get(clerk_no) if clerk_no else None
        if clerk_no and server_id is None:
            report("clerk_no", clerk_no, _("There is no clerk with this number."), _("Import clerks.csv first."))
        if line not in _FIRST_NUMBERS and not _WHOLE.fullmatch(line):
            report("line_no", line, _("It is no line number."), _("Count the lines of a ticket from 1."))
        check_number("product_no", product_no, longest=50)
        category = self._categories.get(category_no)
        if category is None:
            report("category", category_no, _("There is no such category."), _("Import categories.csv first."))
        quantity_milli = self._quantity(quantity)
        if quantity_milli is None:
            report("quantity", quantity, _("It is no quantity."), _("At most three decimals, for example 2 or 0.5."))
        try:
            net_amount = parse_amount(net)
        except AmountError:
            net_amount = None
            report(
                "net_amount",
                net,
                _("It is no amount."),
                _("Digits with at most two decimals and no separators, for example 1234.50 or -50."),
            )
        is_return = False
        if quantity_milli is not None and net_amount is not None:
            is_return = net_amount < 0 or quantity_milli < 0
            if is_return and (quantity_milli >= 0 or net_amount > 0):
                report(
                    "quantity",
                    quantity,
                    _("Quantity and amount have different signs."),
                    _("A return has both negative, a sale neither."),
                )
        original = (original_store, original_day, original_ticket, original_line)
        if any(original):
            if not is_return:
                report(
                    "original_ticket_no",
                    original_ticket,
                    _("Only a return names an original."),
                    _("Leave the four original columns empty on a sale."),
                )
            elif not all(original):
                report(
                    "original_ticket_no",
                    original_ticket,
                    _("The original is named in part."),
                    _("Fill in all four original columns, or none when the original is not known."),
                )
            else:
                sold_on = self._date(original_day)
                if sold_on is None:
                    report(
                        "original_business_date",
                        original_day,
                        _("It is no date."),
                        _("Write it as YYYY-MM-DD, for example 2026-10-31."),
                    )
                elif business_date is not None and sold_on[0] > business_date[0]:
                    report(
                        "original_business_date",
                        original_day,
                        _("The return is dated before its sale."),
                        _("Check both dates."),
                    )
                if original_store not in self._stores:
                    report(
                        "original_store_no",
                        original_store,
                        _("There is no store with this number."),
                        _("Import stores.csv first."),
                    )
                check_number("original_ticket_no", original_ticket)
                if not _WHOLE.fullmatch(original_line):
                    report(
                        "original_line_no",
                        original_line,
                        _("It is no line number."),
                        _("Count the lines of a ticket from 1."),
                    )
        if (
            wrong
            or store_id is None
            or business_date is None
            or sold_at is None
            or plan is None
            or category is None
            or quantity_milli is None
            or net_amount is None
        ):
            return None
        # A return takes rate and exclusion from its original, once that is known.
        rate = None if is_return else self._plan_book.rate(plan.id, category, product_no)
        if rate is None and not is_return:
            report(
                "category",
                category_no,
                _("Plan %(plan)s has no rate for this category.") % {"plan": plan.plan_no},
                _("Give it a rate, or exclude it, in a plan of its own date."),
            )
            return None
        commission_e4 = rate.commission_e4(net_amount, quantity_milli) if rate else None
        if commission_e4 is not None and commission_e4 > MAX_AMOUNT * WHOLE_BP:
            report(
                "quantity",
                quantity,
                _("The commission of this line would be beyond every measure."),
                _("Check the quantity, and what plan %(plan)s pays for the product.") % {"plan": plan.plan_no},
            )
            return None
        return StagedLine(
            row, store_id, day, business_date[1], ticket_no, sold_at, server_id, member_no or None, int(line),
            product_no, category.id, quantity_milli, net_amount, is_return, plan.id,
            rate.excluded if rate else None, rate.rate_bp if rate else None, rate.unit_amount if rate else None,
            commission_e4,
            original_store or None, original_day or None, original_ticket or None,
            int(original_line) if original_line else None,
        )  # fmt: skip

    def _date(self, text: str) -> tuple[dt.date, int] | None:
        if text not in self._dates:
            if not _DATE.fullmatch(text):
                return None
            try:
                day = dt.date.fromisoformat(text)
            except ValueError:
                return None
            if not FIRST_DAY <= day <= LAST_DAY:
                return None
            self._dates[text] = (day, month_number(day))
        return self._dates[text]

    @staticmethod
    def _time(text: str) -> dt.datetime | None:
        if not _SOLD_AT.fullmatch(text):
            return None
        try:
            time = dt.datetime.fromisoformat(text)
        except ValueError:
            return None
        return time if FIRST_DAY <= time.date() <= LAST_DAY else None

    def _quantity(self, text: str) -> int | None:
        known = self._quantities.get(text)
        if known is not None:
            return known
        if not _QUANTITY.fullmatch(text):
            return None
        whole, _dot, decimals = text.lstrip("-").partition(".")
        milli = int(whole) * 1000 + int(decimals.ljust(3, "0") or 0)
        if milli > MAX_AMOUNT:
            return None
        milli = -milli if text[0] == "-" else milli
        if len(self._quantities) < 1_000:
            self._quantities[text] = milli
        return milli

    def _plan(self, store_id: int, day: str, on: dt.date) -> Plan | None:
        key = (store_id, day)
        if key not in self._plan_of:
            self._plan_of[key] = self._plan_book.plan_on(store_id, on)
        return self._plan_of[key]
