"""What is wrong with a file that was handed in: file, row, column, value, reason, remedy.

The first thousand are kept to be shown; every one is written to a CSV file as it is found, so that a file with a
million errors costs no memory.
"""

import csv
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portfolios.sentences import joined

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
        return f"{place}{found}: {joined(self.reason, self.remedy)}"


class ImportRefused(ValueError):
    """The file counts for nothing. `problems` says why; its `path` is the CSV file that lists them all."""

    def __init__(self, problems: "ImportProblems") -> None:
        self.problems = problems
        if problems.unwritable:
            message = ngettext(
                "%(count)d error; nothing was imported. It cannot be listed in %(path)s: %(why)s.",
                "%(count)d errors; nothing was imported. They cannot be listed in %(path)s: %(why)s.",
                problems.count,
            )
        else:
            message = ngettext(
                "%(count)d error; nothing was imported. It is in %(path)s",
                "%(count)d errors; nothing was imported. All of them: %(path)s",
                problems.count,
            )
        super().__init__(message % {"count": problems.count, "path": problems.path, "why": problems.unwritable})


class ImportProblems:
    """Collects problems; a context manager that owns the CSV file, which is begun with the first of them.

    A disk that is full loses the list, never the refusal: `unwritable` says why. Where whoever asks is answered at
    once, nothing is `listed`.
    """

    def __init__(self, path: Path | None = None, *, listed: bool = True) -> None:
        self.path = path
        self.listed = listed
        self.count = 0
        self.shown: list[ImportProblem] = []
        self.unwritable = ""
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file, self._file = self._file, None
        if file:
            try:
                file.close()
            except OSError as failure:
                self._give_up(failure)

    def add(self, file: str, row: int, column: str, value: str, reason: str, remedy: str = "") -> None:
        problem = ImportProblem(file, row, column, value[:200], reason, remedy)
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(problem)
        if self.listed:
            self._try(partial(self._write, problem))

    def _write(self, problem: ImportProblem) -> None:
        if self._file is None:
            if self.path is None:
                descriptor, name = tempfile.mkstemp(prefix="import-errors-", suffix=".csv")
                os.close(descriptor)
                self.path = Path(name)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # With a BOM, so that Excel shows the Chinese.
            self._file = self.path.open("w", encoding="utf-8-sig", newline="")
            csv.writer(self._file).writerow(ImportProblem._fields)
        # The file is opened in a spreadsheet: no value may start a formula there.
        safe = [f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell for cell in problem]
        csv.writer(self._file).writerow(safe)

    def _try(self, write: Callable[[], object]) -> None:
        """Writes to the list, unless that has failed before: the first failure is kept, to be told."""
        if self.unwritable:
            return
        try:
            write()
        except OSError as failure:
            self._give_up(failure)

    def _give_up(self, failure: OSError) -> None:
        self.unwritable = self.unwritable or failure.strerror or str(failure)

    def refuse_if_any(self) -> None:
        """Raises ImportRefused if a problem was added."""
        if self.count:
            if self._file:
                self._try(self._file.flush)
            raise ImportRefused(self)
