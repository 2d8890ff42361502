"""Reading an XLSX workbook that was handed in, as the CSV file that it stands for; one sheet, row for row.

A cell means what it shows, or it is an error. A card number in a number cell has lost its leading zeros and whatever
lies behind the fifteenth digit, so 88 where 0088 was typed is refused, not guessed; 70% is kept by Excel as 0.7 and
would pass for 0.7 percent, so it is refused too. A real date is a date; a formula may be out of date and is refused.
"""

import csv
import datetime as dt
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from django.utils.translation import gettext as _
from python_calamine import CalamineError, CalamineWorkbook

from portfolios.roster_files import Cell, NumberCell, RatioCell, RowProblem, TextCell
from portfolios.sentences import joined

# What a workbook may unpack to, and hold: a sheet is held in memory, with every cell up to its farthest one.
MAX_UNPACKED_BYTES = 200_000_000
MAX_ROWS = 300_000
MAX_COLUMNS = 50
# A double keeps this many digits of any whole number.
_WHOLE_DIGITS = 15
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

# A cell that is not empty: its attributes, and the formula that it begins with.
_CELL = re.compile(rb"<(?:\w+:)?c\s([^>]*[^>/])>(\s*<(?:\w+:)?f[\s/>])?")
_PLACE = re.compile(rb'(?:^|\s)r="([A-Z]+)([0-9]+)"')
_STYLE = re.compile(rb'(?:^|\s)s="([0-9]+)"')
_IS_ERROR = re.compile(rb'(?:^|\s)t="e"')
_STYLES = re.compile(rb"<(?:\w+:)?cellXfs\b.*?</(?:\w+:)?cellXfs>", re.DOTALL)
_FORMAT_OF_STYLE = re.compile(rb"<(?:\w+:)?xf\b([^>]*)>")
_FORMAT = re.compile(rb'<(?:\w+:)?numFmt\s[^>]*?formatCode="[^"]*%[^"]*"[^>]*>')
_FORMAT_NUMBER = re.compile(rb'numFmtId="([0-9]+)"')
# The two percentages that every workbook knows without saying so.
_PERCENT_FORMATS = {b"9", b"10"}

# By row and column, both from 1: what is wrong with a cell before its text is looked at.
Damage = dict[tuple[int, int], RowProblem]


class WorkbookError(ValueError):
    """A workbook that cannot be read as a whole: the reason, and the remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(joined(reason, remedy))
        self.reason = reason
        self.remedy = remedy


def is_workbook(path: Path) -> bool:
    """Whether a file is one of Excel's, by its first bytes: its name may say anything. False where it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (_ZIP, _OLD_EXCEL)
    except OSError:
        return False


class Workbook:
    """The one sheet of a workbook that has content. Raises WorkbookError."""

    def __init__(self, path: Path) -> None:
        self._damage: Damage = {}
        self._percent_cells: set[tuple[int, int]] = set()
        try:
            self._scan(path)
            with CalamineWorkbook.from_path(path) as book:
                self._rows = self._only_sheet(book)
        except (CalamineError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError) as error:
            raise WorkbookError(_("The workbook cannot be read."), _save_again()) from error

    @property
    def header(self) -> list[str]:
        row = [_shown(value).strip() for value in self._rows[0]] if self._rows else []
        while row and not row[-1]:
            row.pop()
        return row

    def write_csv(self, file: TextIO, cells: Mapping[str, Cell]) -> dict[tuple[int, str], RowProblem]:
        """Writes the sheet as CSV, each row at its own number, with `cells` as the grammar of the columns.

        Returns what is wrong with cells by row and column name; such a cell is written as it shows.
        """
        header = self.header
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        damaged = {}
        for row, values in enumerate(self._rows[1:], start=2):
            texts = []
            for place, value in enumerate(values):
                name = header[place] if place < len(header) else ""
                problem = self._problem(row, place + 1, value, cells.get(name))
                if problem:
                    damaged[row, name] = problem
                texts.append(_shown(value) or ("?" if problem else ""))
            while len(texts) > len(header) and not texts[-1]:
                texts.pop()
            writer.writerow(texts)
        return damaged

    def _problem(self, row: int, column: int, value: Any, cell: Cell | None) -> RowProblem | None:
        if found := self._damage.get((row, column)):
            return found
        if value == "" or cell is None or isinstance(value, str):
            return None
        if isinstance(cell, RatioCell) and (row, column) in self._percent_cells:
            return RowProblem(
                _("The cell is formatted as a percentage, of which a spreadsheet keeps the hundredth part."),
                _("Format it as a number and write 70 for 70%."),
            )
        if isinstance(cell, TextCell) and isinstance(value, dt.date | dt.time | dt.timedelta):
            return RowProblem(
                _("A spreadsheet turned the cell into a date."), _("Format the column as text and write it again.")
            )
        if isinstance(cell, NumberCell) and isinstance(value, int | float):
            return RowProblem(
                _("The cell holds an amount and no text: leading zeros and digits after the fifteenth are lost."),
                _("Format the column as text and enter the number again."),
            )
        return None

    def _only_sheet(self, book: CalamineWorkbook) -> list[list[Any]]:
        sheets = [sheet for name in book.sheet_names if (sheet := book.get_sheet_by_name(name)).start is not None]
        if len(sheets) > 1:
            raise WorkbookError(
                _("The workbook has more than one sheet with content: %(sheets)s.")
                % {"sheets": ", ".join(sheet.name for sheet in sheets)},
                _("Keep one sheet in the file."),
            )
        return sheets[0].to_python(skip_empty_area=False) if sheets else []

    def _scan(self, path: Path) -> None:
        """Looks at what the reader of values does not tell: formulas, error values, percentages, far-off cells."""
        if path.read_bytes()[:4] == _OLD_EXCEL:
            raise WorkbookError(_("The workbook is of Excel's old form (.xls), or has a password."), _save_again())
        with zipfile.ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > MAX_UNPACKED_BYTES:
                raise WorkbookError(_("The workbook is too large."), _("Save it as CSV UTF-8, or divide it."))
            names = parts.namelist()
            styles = parts.read("xl/styles.xml") if "xl/styles.xml" in names else b""
            percent = _percent_styles(styles)
            for name in names:
                if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                    self._scan_sheet(parts.read(name), percent)

    def _scan_sheet(self, xml: bytes, percent: set[bytes]) -> None:
        for attributes, formula in _CELL.findall(xml):
            if not (found := _PLACE.search(attributes)):
                raise WorkbookError(_("The workbook cannot be read."), _save_again())
            row, column = int(found[2]), _column_number(found[1])
            if row > MAX_ROWS or column > MAX_COLUMNS:
                raise WorkbookError(
                    _("Cell %(cell)s is not empty, and a file has at most %(rows)d rows and %(columns)d columns.")
                    % {"cell": f"{found[1].decode()}{row}", "rows": MAX_ROWS, "columns": MAX_COLUMNS},
                    _("Delete the cells beyond the table, or divide the file."),
                )
            if formula:
                self._damage[row, column] = RowProblem(
                    _("The cell holds a formula, whose result may be out of date."),
                    _("Copy the column and paste it as values."),
                )
            elif _IS_ERROR.search(attributes):
                self._damage[row, column] = RowProblem(
                    _("The cell holds an error of the spreadsheet (such as #N/A)."), _("Write the value itself.")
                )
            elif percent and (style := _STYLE.search(attributes)) and style[1] in percent:
                self._percent_cells.add((row, column))


def _save_again() -> str:
    return _("Save it in Excel as a workbook (.xlsx) without a password, or as CSV UTF-8.")


def _percent_styles(styles: bytes) -> set[bytes]:
    """The numbers of the cell styles that show percentages."""
    formats = set(_PERCENT_FORMATS)
    for definition in _FORMAT.findall(styles):
        formats.update(_FORMAT_NUMBER.findall(definition))
    section = _STYLES.search(styles)
    found = _FORMAT_OF_STYLE.findall(section[0]) if section else []
    return {
        str(number).encode()
        for number, attributes in enumerate(found)
        if (format := _FORMAT_NUMBER.search(attributes)) and format[1] in formats
    }


def _column_number(letters: bytes) -> int:
    """28 for AB."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _shown(value: Any) -> str:
    """The text that a file would have for a cell's value: 4300.5 for the number, 2026-03-01 for the date."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        whole = int(value) if abs(value) < 10**_WHOLE_DIGITS else None
        return str(whole) if whole == value else repr(value)
    return str(value)
