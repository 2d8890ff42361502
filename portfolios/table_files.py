"""A list of texts as a file to download: CSV with a byte order mark, or a workbook of one sheet.

A cell is text: as a number a card would lose its zeros, and a long one its digits. "=1+1" starts no formula. Only a
Decimal is a number, with two places: -4.20 for Decimal("-4.20"), and nothing for None.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

import xlsxwriter

from portfolios.output_files import safe_text

Cell = str | Decimal | None
FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# The rows of a sheet, less its heading.
MOST_ROWS = {"csv": None, "xlsx": 1_048_575}


def file_formats(rows: int) -> list[str]:
    """The formats of FORMATS that so many rows fit into: a workbook ends where a sheet does."""
    return [name for name, most in MOST_ROWS.items() if most is None or rows <= most]


def table_file(
    columns: Sequence[str], widths: Sequence[int], lines: Iterable[Sequence[Cell]], *, sheet: str, format: str
) -> bytes:
    """The bytes of the file; `format` is one of FORMATS, `sheet` names a workbook's sheet, `widths` are in letters."""
    return _csv(columns, lines) if format == "csv" else _xlsx(columns, widths, lines, sheet)


def _csv(columns: Sequence[str], lines: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_text(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
    # Excel knows UTF-8 by its byte order mark.
    return text.getvalue().encode("utf-8-sig")


def _xlsx(columns: Sequence[str], widths: Sequence[int], lines: Iterable[Sequence[Cell]], sheet_name: str) -> bytes:
    whole = io.BytesIO()
    book = xlsxwriter.Workbook(whole, {"in_memory": True})
    heading = book.add_format({"bold": True, "bottom": 1})
    amount = book.add_format({"num_format": "0.00"})
    sheet = book.add_worksheet(sheet_name)
    sheet.freeze_panes(1, 0)
    for column, (name, width) in enumerate(zip(columns, widths, strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, name, heading)
    for place, line in enumerate(lines, 1):
        for column, cell in enumerate(line):
            if isinstance(cell, str):
                sheet.write_string(place, column, safe_text(cell))
            elif cell is not None:
                sheet.write_number(place, column, cell, amount)
    book.close()
    return whole.getvalue()
