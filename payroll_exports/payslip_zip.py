"""A month's payslips as one ZIP: a folder and a summary per store, the register, and a manifest of their SHA-256 sums.

The same files give the same ZIP, byte by byte. It is written payslip by payslip from the kept bytes, so that two
thousand take no more memory than twenty.
"""

import datetime as dt
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from payroll_exports.models import PayReport, Payslip
from payroll_exports.pay_reports import month_reports
from payroll_exports.payslip_files import MANIFEST, WrittenFile, file_name, kept_files, manifest_text
from portfolios.models import Clerk, Month


def ready_language(month: Month, wanted: str) -> str | None:
    """The language in which all of a month's files are made, `wanted` if it is one of them; None until they are."""
    payslips = Payslip.objects.filter(month=month)
    if payslips.filter(file__isnull=True).exists():
        return None
    reports = PayReport.objects.filter(month=month, kind__in=[PayReport.Kind.STORE_SUMMARY, PayReport.Kind.REGISTER])
    expected = payslips.values("store").distinct().count() + 1
    for language in sorted(Clerk.Language.values, key=lambda language: language != wanted):
        if reports.filter(language=language).count() == expected:
            return language
    return None


def write_zip(month: Month, file: IO[bytes], *, language: str) -> list[WrittenFile]:
    """Writes <month>/<store_no>/<clerk_no>.pdf of every payslip, as `write_payslips`, and what is made of them.

    <month>/<store_no>.pdf is a store's summary, <month>.pdf the register, both in `language`; manifest.json lists all.
    """
    written = []
    # PDFs are compressed already.
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for path, content, sha256 in chain(kept_files(month), _reports(month, language)):
            archive.writestr(_entry(path.as_posix(), month), content)
            written.append(WrittenFile(path.as_posix(), len(content), sha256))
        archive.writestr(_entry(MANIFEST, month), manifest_text(written))
    return written


def _reports(month: Month, language: str) -> Iterator[tuple[PurePosixPath, bytes, str]]:
    for report in month_reports(month, language=language):
        path = PurePosixPath(month.name, file_name(report.number)) if report.store else PurePosixPath(month.name)
        yield path.with_name(f"{path.name}.pdf"), bytes(report.pdf), report.sha256


def _entry(path: str, month: Month) -> ZipInfo:
    # A ZIP knows no year before 1980; no clock is read, so that the same files are the same ZIP.
    day = max(month.ends_on, dt.date(1980, 1, 1))
    entry = ZipInfo(path, (day.year, day.month, day.day, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    return entry
