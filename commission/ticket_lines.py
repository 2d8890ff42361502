"""The grammar of a ticket file, row by row: text in, checked values out.

A row is one ticket line. Its rate comes from the plan of its store and date: the product's if the plan has one, else
its category's; 10000 fen at 3% are 3,000,000 ten-thousandths of commission (`commission_e4`), rounded only later.
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from commission.models import Category, Plan
from commission.money import MAX_AMOUNT, WHOLE_BP, AmountError, amount_fault, parse_amount
from commission.plan_book import Named, PlanBook, Rate
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
_SECONDS = frozenset(f"{second:02}" for second in range(60))
_FIRST_NUMBERS = {str(number): number for number in range(1, 100)}
_WHOLE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_QUANTITY = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,3})?", re.ASCII)
# What Excel makes of a long number, or of one that it took for a decimal.
_DAMAGED = re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+[0-9]+|[0-9]+\.0+", re.ASCII)
# Most numbers, which can be neither.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


# The columns that a row is staged in. Lines of one ticket and server that follow each other with rising numbers are a
# run. Only the first line of a run carries what its lines share and what they add up to, so that most lines are staged
# without a ticket's cells; and no line is twice in a run.
LINE_COLUMNS = (
    "line_no", "product_no", "category_id", "is_return", "excluded", "rate_bp", "unit_amount", "quantity_milli",
    "net_amount", "commission_e4", "original_store_no", "original_business_date", "original_ticket_no",
    "original_line_no",
)  # fmt: skip
RUN_COLUMNS = (
    "store_id", "business_date", "month_number", "ticket_no", "sold_at", "server_id", "member_no", "plan_id",
)  # fmt: skip
# Of the run's sale lines: the number of the first, and their totals; what comes back waits for its original.
TOTAL_COLUMNS = ("number", "commissionable_amount", "excluded_amount", "total_e4")
STAGED_COLUMNS = ("row_no", "first_row", *LINE_COLUMNS, *RUN_COLUMNS, *TOTAL_COLUMNS)

# A checked row as it is staged: the text of STAGED_COLUMNS between tabs, "" for what is absent, 1 and 0 for a bool. No
# cell of a ticket file holds a control character.
StagedLine = str

# What a further line of a run is staged with in the place of what its first one carries.
_NO_RUN = "\t" * len((*RUN_COLUMNS, *TOTAL_COLUMNS))
# A run is held until it ends, so it ends after so many further lines.
_MOST_FURTHER = 100
# So many texts of a kind are kept beside what they mean.
_KEPT = 50_000
# The most that a line may earn, in ten-thousandths of the minor unit.
_MOST_E4 = MAX_AMOUNT * WHOLE_BP


# What the lines of a run share: the plan that pays for them, and the text of RUN_COLUMNS.
Run = tuple[int, str]


def _keep(kept: dict[Any, Any], text: Any, meaning: Any) -> None:
    if len(kept) == _KEPT:
        kept.clear()
    kept[text] = meaning


def _number_fault(value: str, longest: int = 40) -> tuple[str, str] | None:
    """Why a text is no number of a ticket, card or product, and what to do; None when it is one."""
    if _PLAIN.fullmatch(value):
        return None
    if not value:
        return _("It is empty."), _("Every line needs it.")
    if _DAMAGED.fullmatch(value):
        return _("A spreadsheet has damaged this number."), _("Format the column as text and export it again.")
    if len(value) > longest or _CONTROL.search(value):
        return (
            _("It is no number of this kind."),
            _("At most %(longest)d printable characters.") % {"longest": longest},
        )
    return None


def read_date(text: str) -> dt.date | None:
    """The date that a text is; None if it is none, or beyond every measure."""
    if not _DATE.fullmatch(text):
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_DAY <= day <= LAST_DAY else None


class LineReader:
    """Turns the cells of rows into StagedLines, reporting every cell that is wrong.

    A million lines have a few thousand products, quantities and amounts: what a text means is kept once it has passed
    every check, and a sale all of whose texts are known is not examined again. Where the lines are few, `named` says
    what they name, and nothing else is looked up.
    """

    def __init__(self, report: Callable[[int, str, str, str, str], None], named: Named | None = None) -> None:
        self._report = report
        stores, clerks = Store.objects.all(), Clerk.objects.all()
        if named:
            stores, clerks = stores.filter(store_no__in=named.stores), clerks.filter(clerk_no__in=named.clerks)
        self._stores: dict[str, int] = dict(stores.values_list("store_no", "pk"))
        self._original_stores = set(self._stores)
        if named and not named.original_stores <= self._original_stores:
            originals = Store.objects.filter(store_no__in=named.original_stores)
            self._original_stores |= set(originals.values_list("store_no", flat=True))
        # An online order names none.
        self._servers: dict[str, int | str] = {"": "", **dict(clerks.values_list("clerk_no", "pk"))}
        self._categories = {category.category: category for category in Category.objects.all()}
        self.plan_book = self._plan_book = PlanBook(named)
        self._dates: dict[str, tuple[dt.date, int]] = {}
        self._plan_of: dict[tuple[int, str], Plan | None] = {}
        # By store and date: the plan, and the text of the store and the date.
        self._places: dict[tuple[str, str], tuple[int, str]] = {}
        self._quantities: dict[str, int] = {}
        self._amounts: dict[str, int] = {}
        # By plan, category and product: the rate, and what their sales are staged with, product_no to unit_amount.
        self._goods: dict[tuple[int, str, str], tuple[Rate, str]] = {}
        # By the time without its seconds: what comes before them in UTC, and after.
        self._minutes: dict[str, tuple[str, str]] = {}
        # The lines of the runs that have ended.
        self._staged: list[StagedLine] = []
        # The run that is being read: its cells in the file, what they mean, its first row (0 before there is one) and
        # that row's line, its further lines, the number of the last, and its totals.
        self._run_cells: list[str] = []
        self._run: Run | None = None
        self._first_row = 0
        self._first_line = ""
        self._further: list[StagedLine] = []
        self._last_line = 0
        self._number = self._commissionable = self._excluded = self._commission_e4 = 0

    def read(self, row: int, cells: list[str]) -> None:
        """Takes in a row, unless something in it is wrong."""
        run_cells = cells[:6]
        run = self._run if run_cells == self._run_cells else self._understood(run_cells)
        line, product_no, category_no, quantity, net, store, day, ticket, original_line = cells[6:]
        if run is not None and not (store or day or ticket or original_line):
            line_no = _FIRST_NUMBERS.get(line)
            known = self._goods.get((run[0], category_no, product_no))
            quantity_milli = self._quantities.get(quantity, -1)
            net_amount = self._amounts.get(net, -1)
            if line_no and known and quantity_milli >= 0 and net_amount >= 0:
                rate, goods = known
                commission_e4 = rate.commission_e4(net_amount, quantity_milli)
                if commission_e4 <= _MOST_E4:
                    line = f"{line}\t{goods}\t{quantity_milli}\t{net_amount}\t{commission_e4}\t\t\t\t"
                    self._take_in(row, run_cells, run, line_no, line, rate, net_amount, commission_e4)
                    return
        self._examine(row, cells, run)

    def staged(self, *, last: bool = False) -> list[StagedLine]:
        """The lines read since the last call, up to the run that is being read; with `last` that too."""
        if last:
            self._end_run()
        staged, self._staged = self._staged, []
        return staged

    def _take_in(
        self, row: int, run_cells: list[str], run: Run, line_no: int, line: str, rate: Rate | None, net: int, e4: int
    ) -> None:
        """Puts a line, the text of LINE_COLUMNS, into its run: that which is being read, or a new one.

        A sale, which has a rate, counts in the totals of its run.
        """
        if run is self._run and line_no > self._last_line and self._first_row and len(self._further) < _MOST_FURTHER:
            self._further.append(f"{row}\t{self._first_row}\t{line}{_NO_RUN}")
        else:
            self._end_run()
            self._run_cells, self._run, self._first_row = run_cells, run, row
            self._first_line = f"{row}\t{row}\t{line}"
        self._last_line = line_no
        if rate:
            self._commission_e4 += e4
            if rate.excluded:
                self._excluded += net
            else:
                self._commissionable += net
            if not self._number:
                self._number = line_no

    def _end_run(self) -> None:
        if self._first_row and self._run:
            totals = f"{self._number or ''}\t{self._commissionable}\t{self._excluded}\t{self._commission_e4}"
            self._staged.append(f"{self._first_line}\t{self._run[1]}\t{totals}")
            if self._further:
                self._staged += self._further
                self._further.clear()
        self._first_row = self._number = self._commissionable = self._excluded = self._commission_e4 = 0

    def _understood(self, run_cells: list[str]) -> Run | None:
        """What the cells that a run shares mean; None when one of them is wrong."""
        store_no, day, ticket_no, sold, clerk_no, member_no = run_cells
        place = self._places.get((store_no, day)) or self._place(store_no, day)
        sold_at = self._time(sold)
        server_id = self._servers.get(clerk_no)
        if place is None or sold_at is None or server_id is None:
            return None
        # Most numbers are plain and short: two of them are looked at as one.
        if not (ticket_no and _PLAIN.fullmatch(ticket_no + member_no)) and (
            _number_fault(ticket_no) or (member_no and _number_fault(member_no))
        ):
            return None
        plan_id, store_and_date = place
        return plan_id, f"{store_and_date}\t{ticket_no}\t{sold_at}\t{server_id}\t{member_no}\t{plan_id}"

    def _place(self, store_no: str, day: str) -> tuple[int, str] | None:
        """The plan of a store on a date, and the text of the two; None when there is none."""
        store_id, business_date = self._stores.get(store_no), self._date(day)
        if store_id is None or business_date is None:
            return None
        plan = self._plan(store_id, day, business_date[0])
        if plan is None:
            return None
        place = self._places[store_no, day] = (plan.id, f"{store_id}\t{day}\t{business_date[1]}")
        return place

    def _examine(self, row: int, cells: list[str], run: Run | None) -> None:
        """Takes in the row, each of whose cells is looked at and told if it is wrong."""
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
            if fault := _number_fault(value, longest):
                report(column, value, *fault)

        business_date = self._date(day)
        if run is None:
            store_id = self._stores.get(store_no)
            if store_id is None:
                report("store_no", store_no, _("There is no store with this number."), _("Import stores.csv first."))
            if business_date is None:
                report("business_date", day, _("It is no date."), _("Write it as YYYY-MM-DD, for example 2026-10-31."))
            check_number("ticket_no", ticket_no)
            if self._time(sold) is None:
                report(
                    "sold_at",
                    sold,
                    _("It is no time with an offset."),
                    _("Write it as 2026-10-31T18:05:00+08:00."),
                )
            if member_no:
                check_number("member_no", member_no)
            if store_id and business_date and self._plan(store_id, day, business_date[0]) is None:
                report(
                    "business_date",
                    day,
                    _("No plan covers this store and date."),
                    _("Import a plan that is valid on it, for the store or for the chain."),
                )
            if clerk_no not in self._servers:
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
        net_amount = self._amount(net)
        if net_amount is None:
            fault = amount_fault(net) or (
                _("It is no amount."),
                _("Digits with at most two decimals and no separators, for example 1234.50 or -50."),
            )
            report("net_amount", net, *fault)
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
                if original_store not in self._original_stores:
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
        if wrong or run is None or category is None or quantity_milli is None or net_amount is None:
            return
        # A return takes rate and exclusion from its original, once that is known.
        rate = None if is_return else self._plan_book.rate(run[0], category, product_no)
        if rate is None and not is_return:
            report(
                "category",
                category_no,
                _("Plan %(plan)s has no rate for this category.") % {"plan": self._plan_book.plan_no(run[0])},
                _("Give it a rate, or exclude it, in a plan of its own date."),
            )
            return
        commission_e4 = rate.commission_e4(net_amount, quantity_milli) if rate else None
        if commission_e4 is not None and commission_e4 > _MOST_E4:
            report(
                "quantity",
                quantity,
                _("The commission of this line would be beyond every measure."),
                _("Check the quantity, and what plan %(plan)s pays for the product.")
                % {"plan": self._plan_book.plan_no(run[0])},
            )
            return
        staged_rate = rate.staged() if rate else "\t\t"
        goods = f"{product_no}\t{category.id}\t{int(is_return)}\t{staged_rate}"
        if rate:
            _keep(self._goods, (run[0], category_no, product_no), (rate, goods))
        staged = (
            f"{line}\t{goods}\t{quantity_milli}\t{net_amount}\t{'' if commission_e4 is None else commission_e4}\t"
            f"{original_store}\t{original_day}\t{original_ticket}\t{original_line}"
        )
        self._take_in(row, cells[:6], run, int(line), staged, rate, net_amount, commission_e4 or 0)

    def _date(self, text: str) -> tuple[dt.date, int] | None:
        if text not in self._dates:
            day = read_date(text)
            if day is None:
                return None
            self._dates[text] = (day, month_number(day))
        return self._dates[text]

    def _time(self, text: str) -> str | None:
        """The time in UTC, as the database writes it; None if it is none."""
        # Seconds are the same in every zone: the minute is worked out once.
        minute, second = text[:17] + text[19:], text[17:19]
        known = self._minutes.get(minute)
        if known is not None and second in _SECONDS:
            return f"{known[0]}{second}{known[1]}"
        if not _SOLD_AT.fullmatch(text):
            return None
        try:
            time = dt.datetime.fromisoformat(text)
        except ValueError:
            return None
        if not FIRST_DAY <= time.date() <= LAST_DAY:
            return None
        staged = str(connection.ops.adapt_datetimefield_value(time.astimezone(dt.UTC)))
        if text[16] == ":" and not time.microsecond:
            _keep(self._minutes, minute, (staged[:17], staged[19:]))
        return staged

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
        _keep(self._quantities, text, milli)
        return milli

    def _amount(self, text: str) -> int | None:
        known = self._amounts.get(text)
        if known is not None:
            return known
        try:
            amount = parse_amount(text)
        except AmountError:
            return None
        _keep(self._amounts, text, amount)
        return amount

    def _plan(self, store_id: int, day: str, on: dt.date) -> Plan | None:
        key = (store_id, day)
        if key not in self._plan_of:
            self._plan_of[key] = self._plan_book.plan_on(store_id, on)
        return self._plan_of[key]
