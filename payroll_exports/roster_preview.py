"""What an import of roster files would do, cell by cell, worked out by doing it and taking it back.

A preview is lists (errors, and by file what is new and what changes) in pages of fifty lines, since a file may have a
hundred thousand rows. Its digest stands for all that would be written: two previews with one digest do the same.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from payroll_exports.applied_imports import AppliedRow
from payroll_exports.roster import RosterFile, RosterImport
from payroll_exports.roster_undo import UNDOABLE, written_rows
from portfolios.import_problems import ImportProblem, ImportProblems, ImportRefused
from portfolios.models import OPEN_END, User
from portfolios.months import first_open_day
from portfolios.resources import MemberResource
from portfolios.roster_files import RosterResource

LINES_PER_PAGE = 50
ERRORS = "errors"


@dataclass
class PreviewList:
    """The lines of one list, in pages of JSON text: a line is kept as little longer than a file has it."""

    name: str
    title: str
    headings: list[str]
    count: int = 0
    pages: list[str] = field(default_factory=list)
    _lines: list[Any] = field(default_factory=list)

    def add(self, line: Any) -> None:
        self.count += 1
        self._lines.append(line)
        if len(self._lines) == LINES_PER_PAGE:
            self.finish()

    def finish(self) -> None:
        if self._lines:
            self.pages.append(json.dumps(self._lines, ensure_ascii=False, separators=(",", ":")))
            self._lines = []


class _Errors(ImportProblems):
    """Problems that are listed in the preview, every one, and in no file."""

    def __init__(self, errors: PreviewList) -> None:
        super().__init__()
        self.errors = errors
        self.by_file: Counter[str] = Counter()

    def add(self, file: str, row: int, column: str, value: str, reason: str, remedy: str = "") -> None:
        self.count += 1
        self.by_file[file] += 1
        self.errors.add(ImportProblem(file, row, column, value[:200], reason, remedy))


@dataclass
class Preview:
    """`files` has a mapping for each file: name, roster_file, new, changed, unchanged, errors."""

    files: list[Mapping[str, Any]]
    lists: list[PreviewList]
    errors: int
    bound: int
    corrections: int
    notices: list[str]
    digest: str
    # What was written, to be kept with the import; None where a file is among the others that can't be taken back.
    written: list[AppliedRow] | None

    @property
    def summary(self) -> dict[str, Any]:
        """All but the lines, as a row of the database keeps it."""
        return {
            "files": self.files,
            "lists": [
                {"name": one.name, "title": one.title, "headings": one.headings, "count": one.count}
                for one in self.lists
                if one.count
            ],
            "errors": self.errors,
            "bound": self.bound,
            "corrections": self.corrections,
            "notices": self.notices,
        }


def run(files: Iterable[RosterFile], *, source: str, recorded_by: User) -> Preview:
    """Imports the files, and says what that did; whoever calls commits or takes it back, with errors always.

    The texts are in the active language; the digest is the same in every one.
    """
    errors = PreviewList(ERRORS, _("Errors"), [])
    problems = _Errors(errors)
    lists = [errors]
    member_files: list[MemberResource] = []
    written: list[AppliedRow] | None = []

    def watch(file: RosterFile, resource: RosterResource) -> None:
        stem = Path(resource.file_name).stem
        changed = PreviewList(f"{stem}.changed", _("%(file)s: changed") % {"file": file.path.name}, [])
        new = PreviewList(f"{stem}.new", _("%(file)s: new") % {"file": file.path.name}, list(resource.dataset.headers))
        for row in resource.rows:
            number = resource.row_numbers[row.number - 1]
            cells = resource.dataset[row.number - 1]
            if row.is_new:
                new.add([number, *cells])
            else:
                named = dict(zip(resource.dataset.headers, cells, strict=True))
                changed.add([number, " · ".join(named[name] for name in resource.key), resource.changes(row)])
        lists.extend([changed, new])
        nonlocal written
        if type(resource) not in UNDOABLE:
            written = None
        elif written is not None:
            written += written_rows(resource)
        if isinstance(resource, MemberResource):
            member_files.append(resource)

    importer = RosterImport(problems, source=source, recorded_by=recorded_by, watch=watch)
    with suppress(ImportRefused):
        importer.run(files)
    report = importer.report
    for resource in member_files:
        headings = ["member_no", "clerk_no", "valid_from", "valid_to"]
        bound = PreviewList("members.bound", _("Bound to the clerk who enrolled them"), headings)
        clerk_no = resource.fields["enrolled_by"].widget.number_of
        for binding in resource.enrolled:
            until = "" if binding.valid_to == OPEN_END else str(binding.valid_to)
            bound.add(["", binding.member.member_no, clerk_no(binding.clerk_id), str(binding.valid_from), until])
        lists.append(bound)
    for one in lists:
        one.finish()
    counted: list[Mapping[str, Any]] = [
        {
            "name": said.file,
            "new": said.new,
            "changed": said.changed,
            "unchanged": said.unchanged,
            "errors": problems.by_file[said.file],
        }
        for said in report.files
    ]
    facts = [counted, problems.count, report.corrections, str(first_open_day())]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for one in lists[1:]:
        for page in one.pages:
            digest.update(f"{one.name}\n{page}\n".encode())
    return Preview(
        counted,
        lists,
        problems.count,
        report.bound,
        report.corrections,
        report.notices,
        digest.hexdigest(),
        written,
    )
