"""A closed month's earning lines for HR's payroll: CSV, XLSX or JSON, one row per clerk and line.

Amounts are in currency units with two decimals: 42050 is written 420.50. In JSON that is the text "420.50", which no
reader turns into a binary fraction, and `payroll.schema.json` says so; in XLSX it is a number, and numbers of clerks
and stores stay text. A second sheet has the totals. Who took a file is on record, the operator's command too.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from io import BufferedIOBase, BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO

import xlsxwriter
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook

from commission.money import format_amount
from payroll_exports.line_codes import LineCode, line_name
from payroll_exports.models import FileRecord, Payslip
from portfolios.models import Month, User
from portfolios.output_files import output_file, safe_text

COLUMNS = ("month", "clerk_no", "clerk_name", "store_no", "line_code", "line_name", "quantity", "amount")
# Excel knows UTF-8 by its byte order mark; older payroll systems in China read GB18030.
ENCODINGS = ("utf-8-sig", "gb18030")
FORMATS = ("csv", "xlsx", "json")
_WIDTHS = (10, 14, 20, 12, 14, 30, 10, 16)


class ExportRefused(ValueError):
    """A month that cannot be exported; the message says why and what to do."""


class PayrollRow(NamedTuple):
    """One earning line of one clerk; `amount` in minor units."""

    month: str
    clerk_no: str
    clerk_name: str
    store_no: str
    line_code: str
    line_name: str
    quantity: int
    amount: int


class ExportTotals(NamedTuple):
    """What was written, to be compared with what was read: rows, clerks, and the sum of the amounts (minor units)."""

    rows: int
    clerks: int
    amount: int


def payroll_rows(month: Month) -> list[PayrollRow]:
    """The month's locked earning lines, by clerk number and in the payslip's order; names in the active language.

    Raises ExportRefused while the month is open.
    """
    if not month.is_closed:
        raise ExportRefused(
            _("Month %(month)s is open: pay is exported once it is closed (manage.py close_month %(month)s).")
            % {"month": month}
        )
    language = get_language() or "en"
    names = {code: line_name(code, language) for code in LineCode.values}
    payslips = Payslip.objects.filter(month=month).prefetch_related("lines")
    # What the payslip says, as it was when it was locked.
    found = sorted(((slip.document["clerk_no"], slip) for slip in payslips), key=lambda pair: pair[0])
    return [
        PayrollRow(
            month.name,
            clerk_no,
            slip.document["clerk_name"],
            slip.document["store_no"],
            line.line_code,
            names[line.line_code],
            line.quantity,
            line.amount,
        )
        for clerk_no, slip in found
        for line in slip.lines.all()
    ]


def export_payroll(
    month: Month, *, format: str, path: str | Path, encoding: str = ENCODINGS[0], by: User | None
) -> ExportTotals:
    """Writes a closed month's earning lines in one of FORMATS; `encoding` (one of ENCODINGS) is that of CSV.

    That it was taken is on record; `by` None is the operator's command. Raises ExportRefused and OutputFileError.
    """
    rows = payroll_rows(month)
    if format == "csv":
        content = _csv(rows, encoding)
    elif format == "xlsx":
        content = _xlsx(rows, month)
    else:
        content = _json(rows)
    with output_file(path) as file:
        file.write(content)
    digest = hashlib.sha256(content).hexdigest()
    record_export(f"{month}-payroll.{format}", month, rows=len(rows), sha256=digest, by=by)
    return ExportTotals(len(rows), len({row.clerk_no for row in rows}), sum(row.amount for row in rows))


def record_export(name: str, month: Month, *, rows: int, sha256: str, by: User | None) -> None:
    """Keeps on record who took a file of a month; None is the operator's command."""
    FileRecord.objects.create(
        recorded_by=by,
        direction=FileRecord.Direction.OUT,
        name=name,
        filter=month.name,
        rows=rows,
        sha256=sha256,
    )


def export_text(name: str, month: Month, path: str | Path, *, by: User | None, write: Callable[[TextIO], int]) -> int:
    """Writes a file of a month as UTF-8 by `write`, which returns its rows; that it was taken is on record.

    Raises OutputFileError.
    """
    with output_file(path) as file:
        digesting = _Digesting(file)
        text = TextIOWrapper(digesting, encoding="utf-8", newline="")  # type: ignore[type-var]
        rows = write(text)
        # Left attached, the wrapper would close the file before its last byte is safe.
        text.detach()
    record_export(name, month, rows=rows, sha256=digesting.sha256.hexdigest(), by=by)
    return rows


class _Digesting(BufferedIOBase):
    """Passes bytes on to a file, and adds them to a digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        return self.file.write(content)


def _csv(rows: list[PayrollRow], encoding: str) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        *texts, quantity, amount = row
        writer.writerow([*map(safe_text, texts), quantity, format_amount(amount)])
    return text.getvalue().encode(encoding)


def _json(rows: list[PayrollRow]) -> bytes:
    objects = [row._asdict() | {"amount": format_amount(row.amount)} for row in rows]
    return (json.dumps(objects, ensure_ascii=False, indent=1) + "\n").encode()


def _xlsx(rows: list[PayrollRow], month: Month) -> bytes:
    # Made whole before it is written: a ZIP file seeks, which a pipe cannot.
    whole = BytesIO()
    book = xlsxwriter.Workbook(whole, {"constant_memory": True})
    # The date of the close and not today's: the same month gives the same bytes.
    book.set_properties({"title": f"{month}", "created": month.closed_at})
    heading = book.add_format({"bold": True, "bottom": 1})
    money = book.add_format({"num_format": "#,##0.00"})
    # As text, so that long numbers and leading zeros stay when somebody edits the cell.
    text_cell = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet(month.name)
    sheet.freeze_panes(1, 0)
    for column, (name, width) in enumerate(zip(COLUMNS, _WIDTHS, strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, name, heading)
    for place, row in enumerate(rows, 1):
        *texts, quantity, amount = row
        for column, text in enumerate(texts):
            sheet.write_string(place, column, safe_text(text), text_cell)
        sheet.write_number(place, len(texts), quantity)
        # The nearest binary number prints as exactly these two decimals up to ninety billion.
        sheet.write_number(place, len(texts) + 1, amount / 100, money)
    _totals_sheet(book, rows, heading, money)
    try:
        book.close()
    except FileCreateError as error:
        raise OSError(str(error)) from error
    return whole.getvalue()


def _totals_sheet(book: Workbook, rows: list[PayrollRow], heading: Format, money: Format) -> None:
    """The control totals on a sheet of their own: rows and sum of each earning line, and of all."""
    sheet = book.add_worksheet("totals")
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, 0, 14)
    sheet.set_column(1, 1, 30)
    sheet.set_column(2, 3, 16)
    for column, name in enumerate(("line_code", "line_name", "rows", "amount")):
        sheet.write_string(0, column, name, heading)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        groups[row.line_code, row.line_name].append(row.amount)
    ordered = sorted(groups.items(), key=lambda group: LineCode.values.index(group[0][0]))
    everything: tuple[tuple[str, str], list[int]] = (("", _("Total")), [row.amount for row in rows])
    for place, ((line_code, name), amounts) in enumerate([*ordered, everything], 1):
        sheet.write_string(place, 0, line_code)
        sheet.write_string(place, 1, name)
        sheet.write_number(place, 2, len(amounts))
        sheet.write_number(place, 3, sum(amounts) / 100, money)
