"""A closed month's earning lines for HR's payroll: CSV, XLSX or JSON, one row per clerk and line.

Amounts are in currency units with two decimals: 42050 is written 420.50. In JSON that is the text "420.50", which no
reader turns into a binary fraction; in XLSX it is a number, and numbers of clerks and stores stay text.
"""

import csv
import json
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import xlsxwriter
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from xlsxwriter.exceptions import FileCreateError

from commission.money import format_amount
from payroll_exports.line_codes import LineCode, line_name
from payroll_exports.models import Payslip
from portfolios.models import Month
from portfolios.output_files import output_file, output_text, safe_text

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


def export_payroll(month: Month, *, format: str, path: str | Path, encoding: str = ENCODINGS[0]) -> ExportTotals:
    """Writes a closed month's earning lines in one of FORMATS; `encoding` (one of ENCODINGS) is that of CSV.

    Raises ExportRefused and OutputFileError.
    """
    rows = payroll_rows(month)
    if format == "csv":
        _write_csv(rows, path, encoding)
    elif format == "xlsx":
        _write_xlsx(rows, path, month)
    else:
        _write_json(rows, path)
    return ExportTotals(len(rows), len({row.clerk_no for row in rows}), sum(row.amount for row in rows))


def _write_csv(rows: list[PayrollRow], path: str | Path, encoding: str) -> None:
    with output_text(path, encoding) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            *texts, quantity, amount = row
            writer.writerow([*map(safe_text, texts), quantity, format_amount(amount)])


def _write_json(rows: list[PayrollRow], path: str | Path) -> None:
    with output_text(path) as file:
        objects = [row._asdict() | {"amount": format_amount(row.amount)} for row in rows]
        json.dump(objects, file, ensure_ascii=False, indent=1)
        file.write("\n")


def _write_xlsx(rows: list[PayrollRow], path: str | Path, month: Month) -> None:
    with output_file(path) as file:
        # Made whole before it is written: a ZIP file seeks, which a pipe cannot.
        whole = BytesIO()
        book = xlsxwriter.Workbook(whole, {"constant_memory": True})
        # The date of the close and not today's: the same month gives the same bytes.
        book.set_properties({"title": f"{month}", "created": month.closed_at})
        heading = book.add_format({"bold": True, "bottom": 1})
        money = book.add_format({"num_format": "#,##0.00"})
        sheet = book.add_worksheet(month.name)
        sheet.freeze_panes(1, 0)
        for column, (name, width) in enumerate(zip(COLUMNS, _WIDTHS, strict=True)):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, name, heading)
        for place, row in enumerate(rows, 1):
            *texts, quantity, amount = row
            for column, text in enumerate(texts):
                sheet.write_string(place, column, safe_text(text))
            sheet.write_number(place, len(texts), quantity)
            # The nearest binary number prints as exactly these two decimals up to ninety billion.
            sheet.write_number(place, len(texts) + 1, amount / 100, money)
        try:
            book.close()
        except FileCreateError as error:
            raise OSError(str(error)) from error
        file.write(whole.getvalue())
