"""Files of an export profile: written as CSV, XLSX, JSON or DATEV LODAS, read back, and put beside their totals.

No file is handed out before it was read again and every cell, row and sum agrees: 420.50 and -7.00 in the rows are
413.50 in the totals, or there is no file. The same month and profile give the same bytes.
"""

import csv
import datetime as dt
import hashlib
import json
import re
import zipfile
from io import BytesIO, StringIO
from itertools import islice
from typing import Any, NamedTuple

import xlsxwriter
from django.utils.translation import gettext as _
from python_calamine import CalamineWorkbook

from commission.money import format_amount
from payroll_exports.exports import ExportRefused
from payroll_exports.models import ExportProfile, FileRecord
from payroll_exports.profile_rows import Cell, Column, Money, ProfileTable, Source, profile_tables
from portfolios.models import Month, User
from portfolios.output_files import safe_text
from portfolios.phones import masked

Layout = ExportProfile.Layout
_SUFFIXES = {Layout.LODAS: "txt"}
_EXCEL_DATES = {"%Y-%m-%d": "yyyy-mm-dd", "%d.%m.%Y": "dd.mm.yyyy", "%m/%d/%Y": "mm/dd/yyyy"}
_SHEET_NAME = re.compile(r"[\[\]:*?/\\']")
# Of a LODAS file: what stands in these columns has so many digits at most, and does not begin with a zero.
_LODAS_DIGITS = {"pnr#bwd": 5, "la_eigene#bwd": 4}
# So many of the values that do not fit are named.
_NAMED = 10
_LODAS_RECORD = "u_lod_bwd_buchung_standard"
TOTALS_NAME = "control-totals.json"


class ProfileFile(NamedTuple):
    """A file as it goes out, with the table that it holds."""

    name: str
    content: bytes
    table: ProfileTable

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class ProfileRun(NamedTuple):
    """A profile's files for a month, and the control totals that go beside them."""

    profile: ExportProfile
    month: Month
    files: list[ProfileFile]

    def control_totals(self) -> dict[str, Any]:
        """Amounts in currency units; per file, the payslips' sum is what is exported and what is left out."""
        return {
            "profile": self.profile.name,
            "month": self.month.name,
            "files": [
                {
                    "name": file.name,
                    "sha256": file.sha256,
                    "store_no": file.table.store_no,
                    "rows": len(file.table.rows),
                    "clerks": file.table.clerks,
                    "payslips_amount": format_amount(file.table.ledger_amount),
                    "exported_amount": format_amount(file.table.exported_amount),
                    "left_out": {code: format_amount(amount) for code, amount in sorted(file.table.left_out.items())},
                    "columns": {
                        file.table.columns[place].heading: format_amount(total)
                        for place, total in file.table.column_totals().items()
                    },
                }
                for file in self.files
            ],
        }

    def archive(self) -> bytes:
        """All files and their control totals as one ZIP; the same run gives the same bytes."""
        whole = BytesIO()
        totals = json.dumps(self.control_totals(), ensure_ascii=False, indent=1) + "\n"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in [*((file.name, file.content) for file in self.files), (TOTALS_NAME, totals.encode())]:
                archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
        return whole.getvalue()


def run_profile(profile: ExportProfile, month: Month) -> ProfileRun:
    """Makes a profile's files for a closed month and reads each back. Raises ExportRefused."""
    files = []
    tables = profile_tables(profile, month)
    if profile.layout == Layout.LODAS:
        _refuse_what_lodas_cannot_hold(tables, profile)
    for table in tables:
        content = _WRITERS[Layout(profile.layout)](table, profile, month)
        _check(content, table, profile)
        parts = [month.name, profile.name, *filter(None, [table.store_no])]
        suffix = _SUFFIXES.get(Layout(profile.layout), profile.layout)
        stem = re.sub(r"[^\w.-]+", "-", "-".join(parts))
        files.append(ProfileFile(f"{stem}.{suffix}", content, table))
    if len({file.name for file in files}) < len(files):
        raise ExportRefused(_("Two stores' files would have the same name: take one file for the chain."))
    return ProfileRun(profile, month, files)


def record(run: ProfileRun, *, by: User | None) -> None:
    """Keeps on record who took a run's files, each by its own digest; None is the operator's command."""
    for file in run.files:
        parts = [run.month.name, run.profile.name, file.table.store_no]
        FileRecord.objects.create(
            recorded_by=by,
            direction=FileRecord.Direction.OUT,
            name=file.name[-255:],
            filter=" · ".join(filter(None, parts)),
            rows=len(file.table.rows),
            sha256=file.sha256,
        )


def preview_rows(run: ProfileRun, limit: int, *, with_references: bool) -> list[list[tuple[str, bool]]]:
    """The first rows of a run as texts, each with whether it is an amount.

    Clerks' numbers in the other system are masked where they are not to be seen, identity numbers always.
    """

    def shown(cell: Cell, column: Column) -> str:
        if column.source == Source.IDENTITY_NO:
            return masked(str(cell)) if with_references else "•••"
        hidden = not with_references and column.source in (Source.REFERENCE, Source.REFERENCE_OR_CLERK_NO)
        return "•••" if hidden else _text(cell, run.profile)

    rows = (row for file in run.files for row in file.table.rows)
    return [
        [
            (shown(cell, column), isinstance(cell, Money))
            for cell, column in zip(row, run.files[0].table.columns, strict=True)
        ]
        for row in islice(rows, limit)
    ]


# --- Writing -----------------------------------------------------------------------------------------------------


def _text(cell: Cell, profile: ExportProfile) -> str:
    """A cell as text; what a person wrote is not made safe here."""
    if isinstance(cell, Money):
        return format_amount(cell.amount).replace(".", profile.decimal_mark)
    if isinstance(cell, dt.date):
        return cell.strftime(profile.date_format)
    return str(cell)


def _safe(cell: Cell, profile: ExportProfile) -> str:
    return safe_text(cell) if isinstance(cell, str) else _text(cell, profile)


def _trailer(table: ProfileTable) -> list[Cell]:
    """The last row: the totals below the amounts, and what they are in the first column that has none."""
    totals = table.column_totals()
    row: list[Cell] = [Money(totals[place]) if place in totals else "" for place in range(len(table.columns))]
    if "" in row:
        row[row.index("")] = _("Total")
    return row


def _all_rows(table: ProfileTable, profile: ExportProfile) -> list[list[Cell]]:
    return [*table.rows, _trailer(table)] if profile.trailer else table.rows


def _encoded(text: str, profile: ExportProfile) -> bytes:
    try:
        return text.encode(profile.encoding)
    except UnicodeEncodeError as error:
        raise ExportRefused(
            _(
                "%(text)s cannot be written as %(encoding)s: choose another encoding in the profile's form. UTF-8 and "
                "GB18030 have every character."
            )
            % {"text": text[error.start : error.end], "encoding": profile.get_encoding_display()}
        ) from error


def _csv(table: ProfileTable, profile: ExportProfile, month: Month) -> bytes:
    text = StringIO()
    text.writelines(f"{line}\r\n" for line in profile.preamble.splitlines())
    writer = csv.writer(text, delimiter=profile.delimiter, lineterminator="\r\n")
    writer.writerow([safe_text(column.heading) for column in table.columns])
    writer.writerows([_safe(cell, profile) for cell in row] for row in _all_rows(table, profile))
    return _encoded(text.getvalue(), profile)


def _json(table: ProfileTable, profile: ExportProfile, month: Month) -> bytes:
    headings = [column.heading for column in table.columns]
    objects = [
        dict(zip(headings, (cell if isinstance(cell, int) else _text(cell, profile) for cell in row), strict=True))
        for row in table.rows
    ]
    return (json.dumps(objects, ensure_ascii=False, indent=1) + "\n").encode()


def _refuse_what_lodas_cannot_hold(tables: list[ProfileTable], profile: ExportProfile) -> None:
    """Raises ExportRefused with all that does not fit, so that whoever puts it right does it once."""
    problems = []
    for place, column in enumerate(tables[0].columns if tables else []):
        digits = _LODAS_DIGITS.get(column.heading)
        # Each once, in the order of the rows.
        cells = dict.fromkeys(_text(row[place], profile) for table in tables for row in table.rows)
        unfit = [cell for cell in cells if digits and not re.fullmatch(rf"[1-9][0-9]{{0,{digits - 1}}}", cell)]
        if unfit:
            problems.append(
                _(
                    "%(heading)s for LODAS has at most %(digits)d digits and no leading 0, which is not so of: "
                    "%(values)s. Give others in the profile's form, for clerks under the numbers in the other system."
                )
                % {"heading": column.heading, "digits": digits, "values": _first_of(unfit)}
            )
        broken = [cell for cell in cells if re.search(r"[;\r\n]", cell)]
        if broken:
            problems.append(
                _("LODAS cannot hold a semicolon or a line end, which column %(heading)s has in: %(values)s.")
                % {"heading": column.heading, "values": _first_of([" ".join(cell.splitlines()) for cell in broken])}
            )
    if problems:
        raise ExportRefused("\n".join(problems))


def _first_of(values: list[str]) -> str:
    named, more = ", ".join(values[:_NAMED]), len(values) - _NAMED
    return _("%(named)s and %(count)d more") % {"named": named, "count": more} if more > 0 else named


def _lodas(table: ProfileTable, profile: ExportProfile, month: Month) -> bytes:
    headings = [column.heading for column in table.columns]
    lines = [
        *profile.preamble.splitlines(),
        "[Satzbeschreibung]",
        f"1;{_LODAS_RECORD};{';'.join(headings)};",
        "[Bewegungsdaten]",
    ]
    lines += [f"1;{';'.join(_text(cell, profile) for cell in row)};" for row in table.rows]
    return _encoded("\r\n".join([*lines, ""]), profile)


def _width(text: str) -> int:
    """Of a column that shows the whole text, a Chinese character as two places: 14 with its rim for 禾安堂药房南."""
    return sum(2 if ord(character) > 0x2E7F else 1 for character in text) + 2


def _xlsx(table: ProfileTable, profile: ExportProfile, month: Month) -> bytes:
    whole = BytesIO()
    book = xlsxwriter.Workbook(whole, {"constant_memory": True})
    # The date of the close and not today's: the same month gives the same bytes.
    book.set_properties({"title": profile.name, "created": month.closed_at})
    heading = book.add_format({"bold": True, "bottom": 1})
    plain = {
        # As text, so that long numbers and leading zeros stay when somebody edits the cell.
        "text": book.add_format({"num_format": "@"}),
        "money": book.add_format({"num_format": "#,##0.00"}),
        "date": book.add_format({"num_format": _EXCEL_DATES[profile.date_format]}),
        "number": book.add_format({"num_format": "0"}),
    }
    bold = {"bold": True, "top": 1}
    total = {"text": book.add_format(bold), "money": book.add_format({**bold, "num_format": "#,##0.00"})}
    sheet = book.add_worksheet(_SHEET_NAME.sub(" ", f"{month.name} {profile.name}")[:31].strip())
    sheet.freeze_panes(1, 0)
    for place, column in enumerate(table.columns):
        texts = [cell for cell in (row[place] for row in table.rows) if isinstance(cell, str)]
        sheet.set_column(place, place, min(40, max(12, *map(_width, [column.heading, *texts]))))
        sheet.write_string(0, place, safe_text(column.heading), heading)
    for number, row in enumerate(_all_rows(table, profile), 1):
        formats = plain if number <= len(table.rows) else total
        for place, cell in enumerate(row):
            if isinstance(cell, Money):
                # The nearest binary number prints as exactly these two decimals up to ninety billion.
                sheet.write_number(number, place, cell.amount / 100, formats["money"])
            elif isinstance(cell, dt.date):
                sheet.write_datetime(number, place, dt.datetime.combine(cell, dt.time()), formats["date"])
            elif isinstance(cell, int):
                sheet.write_number(number, place, cell, formats["number"])
            elif not cell:
                sheet.write_blank(number, place, None, formats["text"])
            else:
                sheet.write_string(number, place, safe_text(cell), formats["text"])
    book.close()
    return whole.getvalue()


_WRITERS = {Layout.CSV: _csv, Layout.XLSX: _xlsx, Layout.JSON: _json, Layout.LODAS: _lodas}


# --- Reading back ------------------------------------------------------------------------------------------------


def _check(content: bytes, table: ProfileTable, profile: ExportProfile) -> None:
    """Reads a file again and compares its headings and every cell with the table. Raises ExportRefused."""
    layout = Layout(profile.layout)
    spreadsheet = layout in (Layout.CSV, Layout.XLSX)
    written = [
        [_safe(cell, profile) if spreadsheet else _text(cell, profile) for cell in row]
        for row in _all_rows(table, profile)
    ]
    headings = [safe_text(column.heading) if spreadsheet else column.heading for column in table.columns]
    # Without rows, a list of JSON objects names no columns.
    expected = written if layout == Layout.JSON else [headings, *written]
    if _READERS[layout](content, table.columns, profile) != expected:
        raise ExportRefused(_("The file reads back other than it was written, so it is not handed out."))


def _read_csv(content: bytes, columns: list[Column], profile: ExportProfile) -> list[list[str]]:
    text = content.decode(profile.encoding)
    for _line in profile.preamble.splitlines():
        text = text.partition("\r\n")[2]
    return list(csv.reader(StringIO(text, newline=""), delimiter=profile.delimiter))


def _read_json(content: bytes, columns: list[Column], profile: ExportProfile) -> list[list[str]]:
    return [[str(one[column.heading]) for column in columns] for one in json.loads(content)]


def _read_lodas(content: bytes, columns: list[Column], profile: ExportProfile) -> list[list[str]]:
    lines = content.decode(profile.encoding).split("\r\n")
    start = lines.index("[Satzbeschreibung]")
    record, data = lines[start + 1], lines[lines.index("[Bewegungsdaten]") + 1 : -1]
    return [record.split(";")[2:-1], *(line.split(";")[1:-1] for line in data)]


def _read_xlsx(content: bytes, columns: list[Column], profile: ExportProfile) -> list[list[str]]:
    rows = CalamineWorkbook.from_filelike(BytesIO(content)).get_sheet_by_index(0).to_python(skip_empty_area=False)

    def shown(value: Any, place: int) -> str:
        if isinstance(value, dt.date):
            return value.strftime(profile.date_format)
        if isinstance(value, int | float):
            amount = columns[place].source in ("amount", "sum")
            return _text(Money(round(value * 100)) if amount else round(value), profile)
        return str(value)

    return [[shown(value, place) for place, value in enumerate(row)] for row in rows]


_READERS = {Layout.CSV: _read_csv, Layout.XLSX: _read_xlsx, Layout.JSON: _read_json, Layout.LODAS: _read_lodas}
