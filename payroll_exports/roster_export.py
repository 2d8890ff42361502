"""The roster as files to take out: the thirteen that an import reads, as CSV or XLSX; what goes out comes in unchanged.

The same data gives the same bytes. Members' phone numbers are whole, masked (138****5678), or left out with their
column; a masked one that comes back changes nothing. Identity numbers are for HR alone.
"""

import csv
import datetime as dt
import hashlib
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import NamedTuple

import tablib
import xlsxwriter
from django.utils.translation import gettext as _

from commission.resources import AmountCell
from payroll_exports.exports import ENCODINGS, ExportRefused
from payroll_exports.models import FileRecord
from payroll_exports.resources import IdentityDocumentResource
from payroll_exports.roster import RESOURCES
from portfolios.models import User
from portfolios.output_files import output_file
from portfolios.phones import SEE_PHONES
from portfolios.resources import MemberResource
from portfolios.roster_files import DateCell, RatioCell, RosterResource, WeightCell, calendar_date

Phones = FileRecord.Phones
FORMATS = ("csv", "xlsx")
_NUMBERS = (AmountCell, RatioCell, WeightCell)
# Excel counts a 29 February 1900 that never was; a date before it stays text.
_FIRST_DATE = dt.date(1900, 3, 1)
# Of every workbook, so that the same data gives the same bytes.
_CREATED = dt.datetime(2026, 1, 1)


class RosterExport(NamedTuple):
    """A file as it goes out: its name, its bytes, its rows, and what it shows of phone numbers ("" where none are)."""

    name: str
    content: bytes
    rows: int
    phones: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def roster_names() -> list[str]:
    """stores, categories ... in the order in which they build on each other."""
    return [Path(resource.file_name).stem for resource in RESOURCES]


def roster_names_for(user: User) -> list[str]:
    """The files that a person may take: an auditor all but the one of identity documents."""
    return [
        Path(resource.file_name).stem
        for resource in RESOURCES
        if user.is_hr or resource is not IdentityDocumentResource
    ]


def phones_for(user: User) -> Phones:
    """What a person gets of phone numbers: HR masked ones, unless given the right on record; an auditor none."""
    if not user.is_hr:
        return Phones.LEFT_OUT
    return Phones.WHOLE if user.has_perm(SEE_PHONES) else Phones.MASKED


def roster_export(
    name: str, *, format: str, encoding: str = ENCODINGS[0], phones: Phones = Phones.WHOLE
) -> RosterExport:
    """One of roster_names() in one of FORMATS; `encoding` (one of ENCODINGS) is that of CSV.

    Raises ExportRefused where GB18030 could be taken for UTF-8.
    """
    resource = next(resource for resource in RESOURCES if Path(resource.file_name).stem == name)()
    fields, shown = list(resource._meta.fields), ""
    if isinstance(resource, MemberResource):
        shown = phones
        if phones is Phones.MASKED:
            resource.mask_phones()
        elif phones is Phones.LEFT_OUT:
            fields.remove("phone")
    dataset = resource.export(export_fields=fields)
    content = _csv(dataset, encoding) if format == "csv" else _xlsx(dataset, resource, name)
    return RosterExport(f"{name}.{format}", content, len(dataset), shown)


def export_roster(directory: Path, *, format: str, encoding: str = ENCODINGS[0]) -> Iterator[RosterExport]:
    """Writes all thirteen files, whole, into a directory, one after the other; that they were taken is on record.

    Raises ExportRefused and OutputFileError.
    """
    for name in roster_names():
        export = roster_export(name, format=format, encoding=encoding)
        with output_file(directory / export.name) as file:
            file.write(export.content)
        record(export, by=None)
        yield export


def record(export: RosterExport, *, by: User | None) -> None:
    """Keeps on record who took an export; None is the operator's command."""
    FileRecord.objects.create(
        recorded_by=by,
        direction=FileRecord.Direction.OUT,
        name=export.name,
        phones=export.phones,
        rows=export.rows,
        sha256=export.sha256,
    )


def _csv(dataset: tablib.Dataset, encoding: str) -> bytes:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(dataset.headers)
    writer.writerows(dataset)
    content = text.getvalue().encode(encoding)
    if encoding == "gb18030" and not content.isascii():
        # Nothing in a file tells its encoding. A few short names may be right in both, and mean other things.
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            raise ExportRefused(
                _("In GB18030 the names in this file could be taken for other ones in UTF-8. Take UTF-8 or XLSX.")
            )
    return content


def _xlsx(dataset: tablib.Dataset, resource: RosterResource, name: str) -> bytes:
    whole = BytesIO()
    book = xlsxwriter.Workbook(whole, {"constant_memory": True})
    book.set_properties({"title": name, "created": _CREATED})
    heading = book.add_format({"bold": True, "bottom": 1})
    date = book.add_format({"num_format": "yyyy-mm-dd"})
    # As text, so that what HR adds by hand below keeps its leading zeros.
    text = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    cells = [resource.fields[column].widget for column in dataset.headers]
    for column, header in enumerate(dataset.headers):
        plain = isinstance(cells[column], (*_NUMBERS, DateCell))
        sheet.set_column(column, column, 16, None if plain else text)
        sheet.write_string(0, column, header, heading)
    for place, row in enumerate(dataset, start=1):
        for column, (cell, value) in enumerate(zip(cells, row, strict=True)):
            if value == "":
                continue
            if isinstance(cell, _NUMBERS) and value.lstrip("-")[0].isdigit():
                sheet.write_number(place, column, float(value))
            elif isinstance(cell, DateCell) and (day := calendar_date(value)) and day >= _FIRST_DATE:
                sheet.write_datetime(place, column, dt.datetime.combine(day, dt.time()), date)
            else:
                sheet.write_string(place, column, value, text)
    book.close()
    return whole.getvalue()
