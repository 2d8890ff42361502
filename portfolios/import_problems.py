"""What is wrong with a file that was handed in: file, row, column, value, reason, remedy.

The first thousand are kept to be shown; every one is written to a CSV file as it is found, so that a file with a
million errors costs no memory.
"""

import csv
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from django.utils.translation import gettext as _

SHOWN = 1_000


class ImportProblem(NamedTuple):
    """One reason why a file is refused. `row` counts the header as 1; 0 is the file as a whole."""

    file: str
    row: int
    column: str
    value: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        place = self.file
        if self.row:
            place += _(", row %(row)d") % {"row": self.row}
        if self.column:
            place += _(", column %(column)s") % {"column": self.column}
        found = f" [{self.value}]" if self.value else ""
        return f"{place}{found}: {self.reason} {self.remedy}".rstrip()


class ImportRefused(ValueError):
    """The file counts for nothing. `problems` says why; `path` is the CSV file that lists them all."""

    def __init__(self, problems: "ImportProblems") -> None:
        self.problems = problems
        super().__init__(
            _("%(count)d errors; nothing was imported. All of them: %(path)s")
            % {"count": problems.count, "path": problems.path}
        )


class ImportProblems:
    """Collects problems; a context manager that owns the CSV file and deletes it if there was none."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.count = 0
        self.shown: list[ImportProblem] = []
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def add(self, file: str, row: int, column: str, value: str, reason: str, remedy: str = "") -> None:
        problem = ImportProblem(file, row, column, value[:200], reason, remedy)
        if self._file is None:
            if self.path is None:
                self.path = Path(tempfile.mkstemp(prefix="import-errors-", suffix=".csv")[1])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # With a BOM, so that Excel shows the Chinese.
            self._file = self.path.open("w", encoding="utf-8-sig", newline="")
            csv.writer(self._file).writerow(ImportProblem._fields)
        # The file is opened in a spreadsheet: no value may start a formula there.
        safe = [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in problem]
        csv.writer(self._file).writerow(safe)
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(problem)

    def refuse_if_any(self) -> None:
        """Raises ImportRefused if a problem was added."""
        if self.count:
            if self._file:
                self._file.flush()
            raise ImportRefused(self)
