"""The accounting journal as files: CSV, XLSX and JSON with the same entries, and their control totals beside.

Codes of accounts and stores are text and amounts numbers; the side that an entry does not have is 0.00, so that every
line reads alike. The same month gives the same bytes.
"""

import csv
import hashlib
import json
import zipfile
from io import BytesIO, StringIO
from typing import Any, NamedTuple

import xlsxwriter

from commission.money import format_amount
from payroll_exports.exports import record_export
from payroll_exports.journal import StoreJournal, account_codes, journals
from payroll_exports.journal_accounts import Account
from portfolios.models import Month, User
from portfolios.output_files import safe_text

COLUMNS = (
    *("month", "date", "store_no", "store_name", "entry", "account", "entry_code", "entry_name"),
    *("debit", "credit", "memo"),
)
_TEXTS, _ENTRY, _AMOUNTS = (0, 1, 2, 3, 5, 6, 7, 10), 4, (8, 9)
_WIDTHS = (10, 12, 12, 20, 8, 14, 16, 40, 16, 16, 8)
TOTALS_NAME = "control-totals.json"


class JournalFile(NamedTuple):
    name: str
    content: bytes
    rows: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def journal_files(month: Month) -> list[JournalFile]:
    """The journal of a closed month in its three formats, and last the control totals; names in the active language.

    Raises ExportRefused while the month is open.
    """
    of_stores = journals(month)
    rows = _rows(month, of_stores)
    files = [
        JournalFile(f"{month}-journal.{suffix}", content, len(rows))
        for suffix, content in (("csv", _csv(rows)), ("xlsx", _xlsx(rows, of_stores, month)), ("json", _json(rows)))
    ]
    totals = {
        "month": month.name,
        "stores": [_totals(journal) for journal in of_stores],
        "debit": format_amount(sum(journal.debit for journal in of_stores)),
        "credit": format_amount(sum(journal.credit for journal in of_stores)),
        "files": [{"name": file.name, "rows": file.rows, "sha256": file.sha256} for file in files],
    }
    return [*files, JournalFile(TOTALS_NAME, _text(totals), len(of_stores))]


def archive(files: list[JournalFile]) -> bytes:
    """The files as one ZIP; the same files give the same bytes."""
    whole = BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in files:
            packed.writestr(zipfile.ZipInfo(file.name, (1980, 1, 1, 0, 0, 0)), file.content, zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def record(files: list[JournalFile], month: Month, *, by: User | None) -> None:
    """Keeps on record who took the files; None is the operator's command."""
    for file in files:
        record_export(file.name, month, rows=file.rows, sha256=file.sha256, by=by)


def _rows(month: Month, of_stores: list[StoreJournal]) -> list[list[Any]]:
    codes = account_codes()
    return [
        [
            *(month.name, journal.date.isoformat(), journal.store_no, journal.store_name, number),
            *(codes[entry.account], entry.account, str(Account(entry.account).label)),
            *(entry.debit, entry.credit, "yes" if entry.memo else "no"),
        ]
        for journal in of_stores
        for number, entry in enumerate(journal.entries, 1)
    ]


def _totals(journal: StoreJournal) -> dict[str, Any]:
    return {
        "store_no": journal.store_no,
        "entries": len(journal.entries),
        "debit": format_amount(journal.debit),
        "credit": format_amount(journal.credit),
        "memo": format_amount(journal.memo),
    }


def _text(found: Any) -> bytes:
    return (json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode()


def _csv(rows: list[list[Any]]) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            format_amount(cell) if place in _AMOUNTS else safe_text(cell) if place in _TEXTS else cell
            for place, cell in enumerate(row)
        )
    # Excel knows UTF-8 by its byte order mark.
    return text.getvalue().encode("utf-8-sig")


def _json(rows: list[list[Any]]) -> bytes:
    return _text(
        [
            {
                name: format_amount(cell) if place in _AMOUNTS else cell
                for place, (name, cell) in enumerate(zip(COLUMNS, row, strict=True))
            }
            for row in rows
        ]
    )


def _xlsx(rows: list[list[Any]], of_stores: list[StoreJournal], month: Month) -> bytes:
    whole = BytesIO()
    book = xlsxwriter.Workbook(whole, {"constant_memory": True})
    # The date of the close and not today's: the same month gives the same bytes.
    book.set_properties({"title": f"{month}", "created": month.closed_at})
    heading = book.add_format({"bold": True, "bottom": 1})
    money, text = book.add_format({"num_format": "#,##0.00"}), book.add_format({"num_format": "@"})
    sheet = book.add_worksheet(month.name)
    sheet.freeze_panes(1, 0)
    for column, (name, width) in enumerate(zip(COLUMNS, _WIDTHS, strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, name, heading)
    for place, row in enumerate(rows, 1):
        for column, cell in enumerate(row):
            if column in _AMOUNTS:
                # The nearest binary number prints as exactly these two decimals up to ninety billion.
                sheet.write_number(place, column, cell / 100, money)
            elif column == _ENTRY:
                sheet.write_number(place, column, cell)
            else:
                sheet.write_string(place, column, safe_text(cell), text)
    totals = book.add_worksheet("totals")
    for column, name in enumerate(("store_no", "entries", "debit", "credit", "memo")):
        totals.write_string(0, column, name, heading)
    for place, journal in enumerate(of_stores, 1):
        totals.write_string(place, 0, safe_text(journal.store_no), text)
        totals.write_number(place, 1, len(journal.entries))
        for column, amount in enumerate((journal.debit, journal.credit, journal.memo), 2):
            totals.write_number(place, column, amount / 100, money)
    book.close()
    return whole.getvalue()
