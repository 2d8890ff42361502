"""Roster files that HR uploads: kept, previewed, and then applied exactly as they were previewed, or not at all.

The files wait in the database for a day, for whoever uploaded them. If the data has changed by the time they are
confirmed, so that the import would do something else, nothing is imported and the new preview is shown.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from payroll_exports.models import FileRecord, RosterPreviewPage, RosterUpload, RosterUploadFile
from payroll_exports.roster import RosterError, RosterFile, in_order, recognised
from payroll_exports.roster_preview import Preview, run
from payroll_exports.roster_undo import keep as keep_import
from portfolios.models import User

# What one upload may hold: some hundred thousand members, whose preview takes less than a web server's patience. A
# chain's first import goes by the command.
MAX_BYTES = 10_000_000
MAX_FILES = 20
KEPT_FOR = dt.timedelta(days=1)
_NAME_LENGTH = 80


def receive(files: Sequence[UploadedFile], *, by: User) -> RosterUpload:
    """Keeps the files and previews them.

    Raises RosterError where there are none, too many or too large ones, or one that is no roster file.
    """
    RosterUpload.objects.filter(expires_at__lt=timezone.now()).delete()
    if not files:
        raise RosterError(_("No file was chosen. Choose one or several, CSV or XLSX."))
    if len(files) > MAX_FILES:
        raise RosterError(
            _("These are %(count)d files; at most %(most)d go in at once.") % {"count": len(files), "most": MAX_FILES}
        )
    names = [_kept_name(file.name or "") for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RosterError(_("Two of the files are named %(name)s. Rename one of them.") % {"name": twice})
    size = sum(file.size or 0 for file in files)
    if size > MAX_BYTES:
        raise RosterError(
            _(
                "The files have %(size)s MB together, and at most %(most)d MB go through a page. Choose fewer, divide "
                "them, or have the operator import them (manage.py import_roster)."
            )
            % {"size": f"{size / 1_000_000:.1f}", "most": MAX_BYTES // 1_000_000}
        )
    with transaction.atomic():
        upload = RosterUpload.objects.create(uploaded_by=by, expires_at=timezone.now() + KEPT_FOR)
        for name, file in zip(names, files, strict=True):
            content = file.read()
            RosterUploadFile.objects.create(
                upload=upload,
                name=name,
                content=content,
                sha256=hashlib.sha256(content).hexdigest(),
            )
        look_again(upload)
    return upload


def _kept_name(name: str) -> str:
    """The file's name, short enough for any disk."""
    path = Path(Path(name).name or "file")
    return f"{path.stem[:_NAME_LENGTH]}{path.suffix[:10]}"


def look_again(upload: RosterUpload) -> None:
    """Works the preview out anew, as of now. Raises RosterError for files that are no roster."""
    with _as_files(upload) as files, transaction.atomic():
        preview = run(files, source=_source(upload), recorded_by=upload.uploaded_by)
        transaction.set_rollback(True)
    _keep(upload, preview)


def apply(upload: RosterUpload) -> bool:
    """Imports an upload's files exactly as they were previewed, and forgets them; who did so stays on record.

    False where the import would now do something else: then nothing is imported, and the preview is a new one.
    """
    try:
        with transaction.atomic():
            # Two clicks: the second waits here, and finds nothing left to do.
            upload = RosterUpload.objects.select_for_update().get(pk=upload.pk)
            with _as_files(upload) as files, transaction.atomic():
                preview = run(files, source=_source(upload), recorded_by=upload.uploaded_by)
                same = not preview.errors and preview.digest == upload.digest
                transaction.set_rollback(not same)
            if not same:
                _keep(upload, preview)
                return False
            rows = {said["name"]: said["new"] + said["changed"] + said["unchanged"] for said in preview.files}
            for file in upload.files.defer("content"):
                FileRecord.objects.create(
                    recorded_by=upload.uploaded_by,
                    direction=FileRecord.Direction.IN,
                    name=file.name,
                    rows=rows[file.name],
                    sha256=file.sha256,
                )
            if preview.written:
                keep_import(preview.written, preview.files, by=upload.uploaded_by)
            upload.delete()
    except IntegrityError:
        # Somebody else wrote the same rows at the same moment.
        look_again(upload)
        return False
    return True


def _source(upload: RosterUpload) -> str:
    return ", ".join(["roster", *upload.files.values_list("name", flat=True)])


@contextmanager
def _as_files(upload: RosterUpload) -> Iterator[list[RosterFile]]:
    """The upload's files on disk, under their own names, in the order in which they build on each other."""
    with TemporaryDirectory() as folder:
        paths = []
        for number, file in enumerate(upload.files.all()):
            path = Path(folder) / str(number) / file.name
            path.parent.mkdir()
            path.write_bytes(file.content)
            paths.append(path)
        yield in_order([recognised(path) for path in paths])


def _keep(upload: RosterUpload, preview: Preview) -> None:
    upload.summary = preview.summary
    upload.digest = preview.digest
    upload.save()
    upload.pages.all().delete()
    RosterPreviewPage.objects.bulk_create(
        [
            RosterPreviewPage(upload=upload, list=one.name, number=number, lines=lines)
            for one in preview.lists
            for number, lines in enumerate(one.pages, start=1)
        ],
        batch_size=200,
    )
