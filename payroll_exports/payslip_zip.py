"""A month's payslips as one ZIP: a folder per store, and a manifest with the size and SHA-256 of each file.

The same files give the same ZIP, byte by byte. It is written payslip by payslip from the kept bytes, so that two
thousand take no more memory than twenty.
"""

import datetime as dt
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from payroll_exports.models import Payslip
from payroll_exports.payslip_files import MANIFEST, WrittenFile, kept_files, manifest_text
from portfolios.models import Month


def all_made(month: Month) -> bool:
    """Whether every payslip of the month is made as PDF."""
    payslips = Payslip.objects.filter(month=month)
    return payslips.exists() and not payslips.filter(file__isnull=True).exists()


def write_zip(month: Month, file: IO[bytes]) -> list[WrittenFile]:
    """Writes <month>/<store_no>/<clerk_no>.pdf of every payslip that is made, and the manifest, as `write_payslips`."""
    written = []
    # PDFs are compressed already.
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for path, content, sha256 in kept_files(month):
            archive.writestr(_entry(path.as_posix(), month), content)
            written.append(WrittenFile(path.as_posix(), len(content), sha256))
        archive.writestr(_entry(MANIFEST, month), manifest_text(written))
    return written


def _entry(path: str, month: Month) -> ZipInfo:
    # A ZIP knows no year before 1980; no clock is read, so that the same files are the same ZIP.
    day = max(month.ends_on, dt.date(1980, 1, 1))
    entry = ZipInfo(path, (day.year, day.month, day.day, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry
