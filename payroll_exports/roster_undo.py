"""Taking an import of clerks, postings, salaries, adjustments and identity documents back, as a whole or not at all.

What it changed gets its former cells again and what it added is deleted (an adjustment that waits is withdrawn), as
long as nothing was built on it: no row of it was changed since, no closed month used it, and nothing refers to what was
added. An import that raised a base from
4,300.50 to 4,600.00 and added a clerk leaves 4,300.50 and no clerk; once the clerk has a member, it stays as it is.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import transaction
from django.db.models import Model, ProtectedError
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.rebinding import hold_ledger
from payroll_exports.adjustment_models import Adjustment
from payroll_exports.adjustments import AdjustmentRefused, withdraw
from payroll_exports.applied_imports import AppliedImport, AppliedRow
from payroll_exports.resources import AdjustmentResource, IdentityDocumentResource, SalaryResource
from payroll_exports.roster import RosterFile, RosterImport
from portfolios.import_problems import ImportProblems, ImportRefused
from portfolios.models import User
from portfolios.months import first_open_day
from portfolios.output_files import safe_text
from portfolios.resources import ClerkResource, PostingResource
from portfolios.roster_files import DatedResource, ReferenceCell, RosterResource, TextCell, closed_month
from portfolios.sentences import joined

# In the order in which they build on each other.
UNDOABLE: tuple[type[RosterResource], ...] = (
    ClerkResource,
    PostingResource,
    SalaryResource,
    AdjustmentResource,
    IdentityDocumentResource,
)
_SHOWN_PROBLEMS = 10


class UndoRefused(ValueError):
    """An import that can't be taken back; the message says what was built on it."""


def written_rows(resource: RosterResource) -> list[AppliedRow]:
    """The rows that a resource has just written, to be kept with their import; none where they can't be undone."""
    if type(resource) not in UNDOABLE:
        return []
    return [
        AppliedRow(
            roster_file=Path(resource.file_name).stem,
            number=resource.row_numbers[row.number - 1],
            record_key=row.instance.pk,
            is_new=row.is_new,
            # Not as a page shows them: identity numbers whole.
            before={} if row.is_new else {name: old for name, old, _new in RosterResource.changes(resource, row)},
            after=_cells(resource, row.instance),
        )
        for row in resource.rows
        # Of a file with errors nothing is written.
        if row.instance.pk
    ]


def keep(rows: Sequence[AppliedRow], files: Iterable[Mapping[str, Any]], *, by: User) -> AppliedImport:
    """Records an import with its rows; `files` says the name, new and changed rows of each."""
    named = [{name: file[name] for name in ("name", "new", "changed")} for file in files]
    applied = AppliedImport.objects.create(applied_by=by, files=named)
    for row in rows:
        row.applied_import = applied
    AppliedRow.objects.bulk_create(rows, batch_size=500)
    return applied


def undo(applied: AppliedImport, *, by: User) -> None:
    """Takes an import back as a whole; who did so is on record. Raises UndoRefused, having changed nothing."""
    with transaction.atomic():
        applied = AppliedImport.objects.select_for_update().get(pk=applied.pk)
        if applied.undone_at:
            raise UndoRefused(_("This import is taken back already."))
        hold_ledger()
        rows: dict[str, list[AppliedRow]] = {Path(resource.file_name).stem: [] for resource in UNDOABLE}
        for row in applied.rows.all():
            rows[row.roster_file].append(row)
        problems: list[str] = []
        for resource in reversed(UNDOABLE):
            _take_back_new(resource, rows[Path(resource.file_name).stem], problems, by=by)
        _refuse(problems)
        _restore(rows, source=f"undo of import {applied.pk}", by=by)
        applied.undone_by, applied.undone_at = by, timezone.now()
        applied.save(update_fields=["undone_by", "undone_at"])


def _cells(resource: RosterResource, instance: Model) -> dict[str, str]:
    columns = ((name, resource.fields[name]) for name in resource._meta.fields)
    return {name: resource.text(column, getattr(instance, column.stored_as)) for name, column in columns}


def _take_back_new(kind: type[RosterResource], rows: list[AppliedRow], problems: list[str], *, by: User) -> None:
    """Deletes what an import added, and looks whether every row of the file is as the import left it."""
    resource, first = kind(), first_open_day()
    for column in resource.fields.values():
        if isinstance(column.widget, ReferenceCell):
            column.widget.prepare()
    stored = resource._meta.model._default_manager.in_bulk([row.record_key for row in rows])
    for row in rows:
        which = f"{row.roster_file} {' · '.join(row.after[name] for name in resource.key)}"
        instance = stored.get(row.record_key)
        if instance is None or _cells(resource, instance) != row.after:
            problems.append(_("%(which)s was changed since.") % {"which": which})
        elif not row.is_new:
            continue
        elif issubclass(kind, DatedResource) and first and instance.valid_from < first:
            problems.append(f"{which}: {closed_month(first).reason}")
        elif isinstance(instance, Adjustment):
            if instance.is_withdrawn:
                continue
            try:
                withdraw(instance, by=by, note=_("The import was taken back."))
            except AdjustmentRefused as refusal:
                problems.append(f"{which}: {refusal}")
        else:
            try:
                with transaction.atomic():
                    instance.delete()
            except ProtectedError as error:
                what = {str(one._meta.verbose_name_plural) for one in error.protected_objects}
                problems.append(_("%(which)s is in use: %(what)s.") % {"which": which, "what": ", ".join(sorted(what))})


def _restore(rows: dict[str, list[AppliedRow]], *, source: str, by: User) -> None:
    """Imports what changed as it was before: with every check of an import, and its corrections."""
    with TemporaryDirectory() as folder, ImportProblems(Path(folder) / "errors.csv") as problems:
        files = []
        for resource in UNDOABLE:
            path = Path(folder) / resource.file_name
            changed = [row.after | row.before for row in rows[path.stem] if not row.is_new]
            if changed:
                _write(path, resource(), changed)
                files.append(RosterFile(resource, path))
        try:
            RosterImport(problems, source=source, recorded_by=by).run(files)
        except ImportRefused as refusal:
            _refuse([str(problem) for problem in refusal.problems.shown])


def _write(path: Path, resource: RosterResource, rows: Iterable[dict[str, str]]) -> None:
    names = list(resource._meta.fields)
    texts = [isinstance(resource.fields[name].widget, TextCell) for name in names]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            writer.writerow(
                safe_text(row[name]) if is_text else row[name] for name, is_text in zip(names, texts, strict=True)
            )


def _refuse(problems: list[str]) -> None:
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = [*problems[:_SHOWN_PROBLEMS], *([_("And %(count)d more.") % {"count": more}] if more > 0 else [])]
        raise UndoRefused(_("Nothing was taken back. %(why)s") % {"why": joined(*shown)})
