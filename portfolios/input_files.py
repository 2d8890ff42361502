"""Reading a CSV file that was handed in: encoding, header, rows; one row at a time.

UTF-8 with or without BOM, else GB18030 (the rare name 䶮 is in it, and not in GBK). A file with NUL bytes, a
replacement character or a line of more than 64 KiB is refused as a whole, before any row is read.
"""

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.utils.translation import gettext as _

from portfolios.import_problems import ImportProblems

MAX_LINE_BYTES = 65_536
_BLOCK_BYTES = 1_048_576
# Without them (and in ASCII) a cell is what stands between two commas, with nothing to strip.
_QUOTES_AND_BLANKS = '" \t\v\f\x1c\x1d\x1e\x1f'


def _scan(path: Path, encoding: str) -> tuple[str | None, bool]:
    """Why the file cannot be read with that encoding, or None; and whether commas alone tell its cells."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    run = 0
    plain = True
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if b"\0" in block:
                return _("The file holds NUL bytes: it is not text."), False
            lines = block.replace(b"\r", b"\n").split(b"\n")
            longest = max(run + len(lines[0]), max(map(len, lines[1:]), default=0))
            if longest > MAX_LINE_BYTES:
                return _("A line is longer than %(bytes)d bytes.") % {"bytes": MAX_LINE_BYTES}, False
            run = len(lines[-1]) + (run if len(lines) == 1 else 0)
            text = decoder.decode(block)
            if "\ufffd" in text:
                return _("The file holds the replacement character U+FFFD: text was lost before it came here."), False
            plain = plain and text.isascii() and not any(map(text.__contains__, _QUOTES_AND_BLANKS))
    decoder.decode(b"", final=True)
    return None, plain


def _encoding(path: Path) -> tuple[str, str | None, bool]:
    """The encoding of the file, and what `_scan` says of it."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return encoding, *_scan(path, encoding)
        except UnicodeDecodeError:
            continue
    return "", _("The file is neither UTF-8 nor GB18030 text."), False


def read_header(path: Path) -> list[str]:
    """The names in the first row of a CSV file; none where it cannot be read."""
    encoding, refusal, _plain = _encoding(path)
    if refusal:
        return []
    with path.open(encoding=encoding, newline="") as file:
        try:
            return [cell.strip() for cell in next(csv.reader(file, strict=True), [])]
        except csv.Error:
            return []


def read_rows(
    path: Path, columns: Sequence[str], problems: ImportProblems, optional: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Yields (row number, cells in the order of `columns` + `optional`); an absent optional column is "".

    What is wrong with the file or a row's shape goes to `problems`; a file that cannot be read yields nothing. Empty
    rows are passed over. Cells are stripped of surrounding blanks.
    """
    name = path.name
    try:
        encoding, refusal, plain = _encoding(path)
    except OSError as error:
        problems.add(
            name,
            0,
            "",
            str(path),
            _("The file cannot be read: %(why)s.") % {"why": error.strerror},
            _("Name a readable CSV file."),
        )
        return
    if refusal:
        problems.add(name, 0, "", "", refusal, _("Save it again as CSV UTF-8 and import that."))
        return
    wanted = [*columns, *optional]
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if not header:
                problems.add(
                    name,
                    0,
                    "",
                    "",
                    _("The file is empty."),
                    _("It begins with a header row: %(columns)s.") % {"columns": ", ".join(columns)},
                )
                return
            for column in columns:
                if column not in header:
                    problems.add(name, 1, column, "", _("The column is missing."), _("Add it to the header row."))
            for column in header:
                if column not in wanted:
                    problems.add(
                        name,
                        1,
                        column,
                        "",
                        _("The column is not known."),
                        _("Remove it; the columns are: %(columns)s.") % {"columns": ", ".join(wanted)},
                    )
                elif header.count(column) > 1:
                    problems.add(name, 1, column, "", _("The column is there twice."), _("Keep one of them."))
            if problems.count:
                return
            width = len(header)
            order = [header.index(column) if column in header else -1 for column in wanted]
            straight = order == list(range(width))
            rows: Iterator[list[str]] = (list(map(str.strip, cells)) for cells in reader)
            if plain:
                # The same in less time.
                rows = (line.rstrip("\r\n").split(",") for line in file)
            for row, cells in enumerate(rows, start=2):
                if len(cells) != width:
                    if any(cells):
                        problems.add(
                            name,
                            row,
                            "",
                            "",
                            _("The row has %(cells)d cells, the header has %(width)d.")
                            % {"cells": len(cells), "width": width},
                            _("Check for a missing or an unquoted comma."),
                        )
                    continue
                if not any(cells):
                    continue
                yield row, cells if straight else [cells[place] if place >= 0 else "" for place in order]
        except csv.Error as error:
            problems.add(
                name,
                reader.line_num,
                "",
                "",
                _("The line cannot be read as CSV: %(why)s.") % {"why": error},
                _("Check its quotation marks."),
            )
