"""The PDFs of locked payslips: made once, kept as they are, and written out with a manifest.

A payslip's bytes and language are fixed when its PDF is first made; whoever asks later gets the same file. Those of
2026-10 are written as 2026-10/S01/C0007.pdf beside manifest.json, which holds the size and SHA-256 of each.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from payroll_exports.models import Payslip, PayslipFile
from payroll_exports.payslip_pdf import PayslipDocument, render_payslip, render_payslips
from portfolios.models import Month
from portfolios.output_files import OutputFileError, output_directory, output_file, output_text

# Told after each file: how many are done, of how many.
Progress = Callable[[int, int], None]

MANIFEST = "manifest.json"
_BATCH = 200
# What a file name may not hold on one system or another; % because it begins an escape.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]|^\.|[. ]$')


class WrittenFile(NamedTuple):
    """A file of the manifest: its path from the manifest's directory, its bytes, and their SHA-256."""

    path: str
    size: int
    sha256: str


def manifest_text(files: Iterable[WrittenFile]) -> str:
    """What the manifest says of these files."""
    return json.dumps({"files": [file._asdict() for file in files]}, ensure_ascii=False, indent=1) + "\n"


def payslip_pdf(payslip: Payslip) -> PayslipFile:
    """The payslip's file, made now if it is asked for the first time.

    Of two processes that make it at once the first one's is kept, and both return that.
    """
    kept = PayslipFile.objects.filter(payslip=payslip).first()
    return kept or _keep(payslip, render_payslip(PayslipDocument.from_dict(payslip.document)))


def make_payslip_files(month: Month, *, processes: int = 0, progress: Progress | None = None) -> int:
    """Makes the files that the month's payslips still lack; returns how many.

    Each is kept as soon as it is made: what was interrupted goes on where it stopped. `processes` = 0 takes one per
    core.
    """
    lacking = Payslip.objects.filter(month=month, file__isnull=True)
    total = lacking.count()
    waiting: dict[int, Payslip] = {}

    def documents() -> Iterator[PayslipDocument]:
        for place, payslip in enumerate(_in_batches(lacking)):
            waiting[place] = payslip
            yield PayslipDocument.from_dict(payslip.document)

    made = 0
    for place, pdf in render_payslips(documents(), processes):
        _keep(waiting.pop(place), pdf)
        made += 1
        if progress:
            progress(made, total)
    return made


def write_payslips(month: Month, directory: Path, *, progress: Progress | None = None) -> list[WrittenFile]:
    """Writes <month>/<store_no>/<clerk_no>.pdf for every payslip of the month, and the manifest, into `directory`.

    The manifest lies beside the months and lists every month written there; what it says of other months stays. A
    character of a number that no file name can hold is written as %2F and the like. Raises OutputFileError.
    """
    total = Payslip.objects.filter(month=month).count()
    output_directory(directory)
    others = [entry for entry in _manifest(directory) if not entry.path.startswith(f"{month.name}/")]
    written = []
    for path, content, sha256 in kept_files(month):
        output_directory((directory / path).parent)
        with output_file(directory / path) as file:
            file.write(content)
        written.append(WrittenFile(path.as_posix(), len(content), sha256))
        if progress:
            progress(len(written), total)
    with output_text(directory / MANIFEST) as file:
        file.write(manifest_text(sorted([*others, *written])))
    return written


def kept_files(month: Month) -> Iterator[tuple[PurePosixPath, bytes, str]]:
    """Path, bytes and SHA-256 of each payslip of the month, a few in memory at a time; what lacks one gets it now."""
    for payslip in _in_batches(Payslip.objects.filter(month=month)):
        kept = payslip_pdf(payslip)
        name = f"{file_name(payslip.clerk.clerk_no)}.pdf"
        path = PurePosixPath(month.name, file_name(payslip.store.store_no), name)
        yield path, bytes(kept.pdf), kept.sha256


def _keep(payslip: Payslip, pdf: bytes) -> PayslipFile:
    # The unique payslip decides between two at once: the later one reads what the first has kept.
    kept, _made = PayslipFile.objects.get_or_create(
        payslip=payslip,
        defaults={
            "language": payslip.document["language"],
            "pdf": pdf,
            "sha256": hashlib.sha256(pdf).hexdigest(),
        },
    )
    return kept


def _in_batches(payslips: QuerySet[Payslip]) -> Iterator[Payslip]:
    """The payslips by number of store and clerk, without holding their documents, or a cursor while files are kept."""
    places = payslips.values_list("store__store_no", "clerk__clerk_no", "pk")
    keys = [pk for *_numbers, pk in sorted(places)]
    for start in range(0, len(keys), _BATCH):
        rows = Payslip.objects.select_related("store", "clerk").in_bulk(keys[start : start + _BATCH])
        yield from (rows[pk] for pk in keys[start : start + _BATCH])


def file_name(number: str) -> str:
    """A number as a file may be called on any system."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", number)


def _manifest(directory: Path) -> list[WrittenFile]:
    path = directory / MANIFEST
    try:
        return [WrittenFile(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["files"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OutputFileError(
            _("%(path)s cannot be read as a manifest of payslips: move it away, or name another directory.")
            % {"path": path}
        ) from error
