"""The chain's roster from files, CSV or XLSX: any of the thirteen that is there, all or nothing.

HR's pages and the command go through here alike. Every error of every file is listed; a row that only refers to what
an earlier, refused file holds is not blamed for it. The same files again change nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import tablib
from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.models import Category, Plan
from commission.plans import lacking_rates, misdated_band_plans, running_plans
from commission.rebinding import correct_since, hold_ledger
from commission.resources import (
    BandResource,
    CategoryResource,
    PlanProductResource,
    PlanRateResource,
    PlanResource,
)
from payroll_exports.resources import AdjustmentResource, IdentityDocumentResource, SalaryResource
from portfolios.import_problems import ImportProblems
from portfolios.input_files import read_header, read_rows
from portfolios.models import BindingBatch, Clerk, Member, Store, User
from portfolios.months import first_open_day
from portfolios.output_files import plain_text
from portfolios.resources import BindingResource, ClerkResource, MemberResource, PostingResource, StoreResource
from portfolios.roster_files import RosterResource, RowProblem
from portfolios.workbooks import Workbook, WorkbookError, is_workbook

# In this order: each file may name what the files before it hold.
RESOURCES: tuple[type[RosterResource], ...] = (
    StoreResource,
    CategoryResource,
    ClerkResource,
    PostingResource,
    SalaryResource,
    AdjustmentResource,
    IdentityDocumentResource,
    MemberResource,
    BindingResource,
    PlanResource,
    PlanRateResource,
    PlanProductResource,
    BandResource,
)
FILE_NAMES = tuple(resource.file_name for resource in RESOURCES)
SUFFIXES = (".csv", ".xlsx")
_NUMBERED: tuple[type[Model], ...] = (Store, Category, Clerk, Member, Plan)


class RosterError(ValueError):
    """Files that are no roster; the message says why and what to do."""


@dataclass(frozen=True)
class RosterFile:
    """A file, and which of the thirteen it is."""

    resource: type[RosterResource]
    path: Path


@dataclass(frozen=True)
class FileReport:
    file: str
    new: int
    changed: int
    unchanged: int


@dataclass
class RosterReport:
    """What an import did: rows by file, members bound by their enrolment, parts of tickets corrected, notices."""

    files: list[FileReport] = field(default_factory=list)
    bound: int = 0
    corrections: int = 0
    notices: list[str] = field(default_factory=list)


# Called with a file's name, the rows done and the rows in all.
Progress = Callable[[str, int, int], None]
# Called with each file whose rows have been checked, before they are forgotten.
Watch = Callable[[RosterFile, RosterResource], None]


class _OneFile(ImportProblems):
    """The problems of one file, told to those of the whole import: one bad file must not hide the next one's."""

    def __init__(self, whole: ImportProblems) -> None:
        super().__init__(whole.path)
        self.whole = whole

    def add(self, file: str, row: int, column: str, value: str, reason: str, remedy: str = "") -> None:
        self.whole.add(file, row, column, value, reason, remedy)
        self.count += 1


@dataclass
class _File:
    resource: RosterResource
    path: Path
    dataset: tablib.Dataset
    row_numbers: list[int]
    damaged: dict[tuple[int, str], RowProblem]
    readable: bool


def recognised(path: Path) -> RosterFile:
    """Which of the thirteen a file is: by its name, or else by its columns.

    Raises RosterError where neither tells.
    """
    for resource in RESOURCES:
        if Path(resource.file_name).stem == path.stem.lower():
            return RosterFile(resource, path)
    try:
        header = set(Workbook(path).header if is_workbook(path) else read_header(path))
    except WorkbookError as error:
        raise RosterError(f"{path.name}: {error}") from error
    for resource in RESOURCES:
        if set(resource.required_columns()) <= header <= {*resource.required_columns(), *resource.optional}:
            return RosterFile(resource, path)
    raise RosterError(
        _(
            "%(file)s is no roster file by its name or its columns (%(columns)s). Correct the header row, or name the "
            "file after what it holds, and it is said what is wrong: %(names)s."
        )
        % {"file": path.name, "columns": ", ".join(sorted(header))[:200] or _("none"), "names": ", ".join(FILE_NAMES)}
    )


def in_order(files: Iterable[RosterFile]) -> list[RosterFile]:
    """The files in the order in which they build on each other. Raises RosterError where two are the same one."""
    ordered = sorted(files, key=lambda file: RESOURCES.index(file.resource))
    for one, other in pairwise(ordered):
        if one.resource is other.resource:
            raise RosterError(
                _("%(one)s and %(other)s are both %(file)s. Keep one of them.")
                % {"one": one.path.name, "other": other.path.name, "file": Path(one.resource.file_name).stem}
            )
    return ordered


def roster_files(directory: Path) -> list[RosterFile]:
    """The roster's files in a directory, in their order.

    Raises RosterError where there is none, one is there twice, or a CSV file or workbook is neither one of them nor
    one of tickets.
    """
    if not directory.is_dir():
        raise RosterError(
            _("%(path)s is not a directory. Name the directory that holds the roster's CSV files.")
            % {"path": directory}
        )
    names = ", ".join(FILE_NAMES)
    known = {
        str(Path(resource.file_name).with_suffix(suffix)): resource for resource in RESOURCES for suffix in SUFFIXES
    }
    strange = sorted(
        path.name
        for path in directory.iterdir()
        if path.suffix.lower() in SUFFIXES and path.name not in known and not path.name.startswith(("tickets", "~$"))
    )
    if strange:
        raise RosterError(
            _(
                "%(path)s holds files that are no roster files: %(strange)s. Rename or remove them; "
                "the names are %(names)s."
            )
            % {"path": directory, "strange": ", ".join(strange), "names": names}
        )
    found = [RosterFile(resource, directory / name) for name, resource in known.items() if (directory / name).exists()]
    if not found:
        raise RosterError(
            _("%(path)s holds no roster file. The names are %(names)s.") % {"path": directory, "names": names}
        )
    return in_order(found)


def import_roster(
    directory: Path,
    *,
    recorded_by: User | None = None,
    dry_run: bool = False,
    errors_path: Path | None = None,
    progress: Progress | None = None,
) -> RosterReport:
    """Imports the roster's files of a directory in one transaction, which a dry run rolls back.

    Raises RosterError for a directory without a roster and ImportRefused for files with errors; nothing has changed
    then.
    """
    files = roster_files(directory)
    if errors_path is None:
        errors_path = settings.VAR_DIR / "errors" / f"import_roster-{timezone.localtime():%Y%m%d-%H%M%S-%f}.csv"
    with ImportProblems(errors_path) as problems, transaction.atomic():
        report = RosterImport(
            problems, source=f"import_roster {directory}", recorded_by=recorded_by, progress=progress
        ).run(files)
        transaction.set_rollback(dry_run)
    return report


class RosterImport:
    """One import; `source` and `recorded_by` are what its batch of bindings and its corrections say of it."""

    def __init__(
        self,
        problems: ImportProblems,
        *,
        source: str,
        recorded_by: User | None,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.problems = problems
        self.source = source = source[:200]
        self.recorded_by = recorded_by
        self.progress = progress
        self.watch = watch
        self.report = RosterReport()
        # By the name of the thirteen, whatever the file's own name is.
        self.files: dict[str, _File] = {}
        # The numbers of refused files by the table that they would be in; None where rows could not even be read.
        self.refused: dict[type[Model], frozenset[str] | None] = {}
        # Made when the first binding changes: an import that changes none leaves no batch behind.
        self.batch = cache(lambda: BindingBatch.objects.create(source=source, recorded_by=recorded_by))

    def run(self, files: Iterable[RosterFile]) -> RosterReport:
        """Imports the files, in their order, within the transaction of whoever calls.

        Raises ImportRefused where there are errors; `report` has the rows by file then, too.
        """
        report = self.report
        hold_ledger()
        for given in files:
            file = self._read(given)
            self.files[given.resource.file_name] = file
            report.files.append(self._import(file, given))
            if not file.row_numbers:
                file.resource.notices.append(_("%(file)s has a header and no rows.") % {"file": given.path.name})
        self._check_plans()
        self.problems.refuse_if_any()
        if members := self.files.get(MemberResource.file_name):
            assert isinstance(members.resource, MemberResource)
            report.bound = members.resource.enrol()
        for file in self.files.values():
            report.notices += file.resource.notices
        report.corrections = self._correct()
        return report

    def _read(self, given: RosterFile) -> _File:
        problems = _OneFile(self.problems)
        try:
            if not is_workbook(given.path):
                return self._read_csv(given, given.path, problems, {})
            with TemporaryDirectory() as folder:
                # Under its own name, by which errors call it.
                path = Path(folder) / given.path.name
                with path.open("w", encoding="utf-8", newline="") as file:
                    cells = {name: column.widget for name, column in given.resource.fields.items()}
                    damaged = Workbook(given.path).write_csv(file, cells)
                return self._read_csv(given, path, problems, damaged)
        except WorkbookError as error:
            problems.add(given.path.name, 0, "", "", error.reason, error.remedy)
            headers = [*given.resource.required_columns(), *given.resource.optional]
            return _File(given.resource(), given.path, tablib.Dataset(headers=headers), [], {}, readable=False)

    def _read_csv(
        self, given: RosterFile, path: Path, problems: _OneFile, damaged: dict[tuple[int, str], RowProblem]
    ) -> _File:
        resource = given.resource()
        required = resource.required_columns()
        row_numbers, rows = [], []
        for number, cells in read_rows(path, required, problems, resource.optional):
            row_numbers.append(number)
            rows.append(cells)
        headers = [*required, *resource.optional]
        if rows and resource.optional:
            # read_rows() fills an absent column with "", which is not the same as an empty cell: it changes nothing.
            with path.open("rb") as file:
                header = file.readline()
            there = [name not in resource.optional or name.encode() in header for name in headers]
            if not all(there):
                rows = [[cell for cell, kept in zip(cells, there, strict=True) if kept] for cells in rows]
                headers = [name for name, kept in zip(headers, there, strict=True) if kept]
        dataset = tablib.Dataset(*rows, headers=headers)
        return _File(resource, given.path, dataset, row_numbers, damaged, readable=not problems.count)

    def _import(self, file: _File, given: RosterFile) -> FileReport:
        resource, dataset, name = file.resource, file.dataset, given.path.name
        total = len(file.row_numbers)

        def show(done: int) -> None:
            if self.progress and (done % 500 == 0 or done == total):
                self.progress(name, done, total)

        result = resource.import_data(
            dataset,
            use_transactions=False,
            row_numbers=file.row_numbers,
            refused=self.refused,
            damaged=file.damaged,
            batch=self.batch,
            show=show,
            recorded_by=self.recorded_by,
        )
        for error in result.base_errors:
            raise error.error
        for row in result.error_rows:
            raise row.errors[0].error
        columns = {name: place for place, name in enumerate(dataset.headers)}
        for invalid in sorted(result.invalid_rows, key=lambda invalid: invalid.number):
            for column, errors in getattr(invalid.error, "error_dict", {}).items():
                for problem in errors:
                    assert isinstance(problem, RowProblem)
                    self.problems.add(
                        name,
                        file.row_numbers[invalid.number - 1],
                        column,
                        dataset[invalid.number - 1][columns[column]],
                        problem.reason,
                        problem.remedy,
                    )
        if (result.invalid_rows or not file.readable) and resource._meta.model in _NUMBERED:
            place = columns[resource.key[0]]
            numbers = frozenset(plain_text(cells[place]) for cells in dataset)
            self.refused[resource._meta.model] = numbers if file.readable else None
        result.rows.clear()
        if self.watch:
            self.watch(given, resource)
        if "plan_no" not in resource.key:
            # What a chain's members and bindings take up is not needed twice.
            dataset.wipe()
        return FileReport(name, result.totals["new"], result.totals["update"], result.totals["skip"])

    def _check_plans(self) -> None:
        """Refuses plans that the files, taken together, leave incomplete."""
        names = {resource.file_name for resource in RESOURCES if resource.__module__ == "commission.resources"}
        if self.problems.count or not names & self.files.keys():
            return
        touched = {number for name in names - {"categories.csv"} for number in self._plan_rows(name)}
        plans = {plan.plan_no: plan for plan in running_plans(first_open_day())}
        plans |= {plan.plan_no: plan for plan in Plan.objects.filter(plan_no__in=touched)}
        for plan_no, categories in lacking_rates(list(plans.values())).items():
            self._refuse_plan(
                plan_no,
                _("The plan has no rate for: %(categories)s.") % {"categories": ", ".join(categories)},
                _("Add the rates to plan_rates.csv (or `excluded`), or exclude the categories by default."),
            )
        for plan in misdated_band_plans(list(plans.values())):
            self._refuse_plan(
                plan.plan_no,
                _("The plan has bands, and starts on %(day)s, in the middle of a month.") % {"day": plan.valid_from},
                _("Start it on a month's first day, or remove its bands."),
            )

    def _plan_rows(self, name: str) -> dict[str, int]:
        """By plan number, the first row of a file that names it."""
        rows: dict[str, int] = {}
        if file := self.files.get(name):
            place = file.dataset.headers.index("plan_no")
            for number, cells in zip(file.row_numbers, file.dataset, strict=True):
                rows.setdefault(plain_text(cells[place]), number)
        return rows

    def _refuse_plan(self, plan_no: str, reason: str, remedy: str) -> None:
        for name in ("plans.csv", "plan_rates.csv", "bands.csv", "plan_products.csv"):
            if row := self._plan_rows(name).get(plan_no):
                self.problems.add(self.files[name].path.name, row, "plan_no", plan_no, reason, remedy)
                return
        file = self.files.get("categories.csv") or next(iter(self.files.values()))
        self.problems.add(file.path.name, 0, "category", plan_no, reason, remedy)

    def _correct(self) -> int:
        """Rebooks the sales whose owner may have changed."""
        since = min((day for file in self.files.values() if (day := file.resource.changed_since)), default=None)
        return correct_since(since, source=self.source, recorded_by=self.recorded_by)
