"""A month's payslips as one ZIP: the files that are kept, a manifest, the same bytes each time, on record."""

import hashlib
import io
import json
import tracemalloc
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.core.management import call_command

from payroll_exports.models import FileRecord, Payslip, PayslipFile
from payroll_exports.pay_reports import month_reports
from payroll_exports.payslip_files import make_payslip_files, write_payslips
from payroll_exports.payslip_zip import write_zip
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return Cast()


def test_the_zip_holds_what_the_directory_holds_and_is_the_same_each_time(cast: Cast, tmp_path: Path) -> None:
    write_payslips(cast.january, tmp_path / "pay")
    said = io.StringIO()
    call_command("payslips", "2026-01", "--zip", str(tmp_path / "pay.zip"), stderr=said)
    assert "2026-01: 6 payslips (0 of them made now)" in said.getvalue()
    with ZipFile(tmp_path / "pay.zip") as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name) for name in archive.namelist()}
    outside = {
        path.relative_to(tmp_path / "pay").as_posix(): path.read_bytes()
        for path in (tmp_path / "pay").rglob("*")
        if path.is_file()
    }
    # Beside what the directory holds: each store's summary, and the register.
    reports = {name: inside.pop(name) for name in ("2026-01/S1.pdf", "2026-01/S2.pdf", "2026-01.pdf")}
    files = json.loads(inside.pop("manifest.json"))["files"]
    assert files[:-3] == json.loads(outside.pop("manifest.json"))["files"]
    assert inside == outside
    inside |= reports
    for entry in files:
        pdf = inside.pop(entry["path"])
        assert (entry["size"], entry["sha256"]) == (len(pdf), hashlib.sha256(pdf).hexdigest())
    assert inside == {}
    again = io.BytesIO()
    write_zip(cast.january, again, language="en")
    assert again.getvalue() == (tmp_path / "pay.zip").read_bytes()


def test_hr_takes_the_zip_once_every_payslip_is_made_and_that_is_on_record(cast: Cast) -> None:
    hr = cast.client("hr")
    page = hr.get("/months/2026-01/").content.decode()
    assert "Make what is missing" in page
    assert "payslips.zip" not in page
    assert hr.get("/months/2026-01/payslips.zip").status_code == 404

    make_payslip_files(cast.january)
    assert hr.get("/months/2026-01/payslips.zip").status_code == 404
    # The job makes the stores' summaries and the register too, in the language of whoever started it.
    assert len(list(month_reports(cast.january, language="zh-hans"))) == 3

    assert "/months/2026-01/payslips.zip" in hr.get("/months/2026-01/").content.decode()
    response = hr.get("/months/2026-01/payslips.zip")
    content = b"".join(response)
    record = FileRecord.objects.get()
    assert (record.recorded_by, record.name, record.rows, record.sha256) == (
        cast.users["hr"],
        "2026-01-payslips.zip",
        Payslip.objects.filter(month=cast.january).count() + 3,
        hashlib.sha256(content).hexdigest(),
    )


def test_the_memory_does_not_grow_with_the_number_of_payslips(cast: Cast, tmp_path: Path) -> None:
    """Sixty payslips of a megabyte each are written without holding more than a few."""
    for number in range(60):
        cast.chain.clerk(f"K{number}", store=cast.chain.first)
    call_command("close_month", "2026-02", stdout=io.StringIO(), stderr=io.StringIO())
    payslips = Payslip.objects.filter(month=cast.february)
    PayslipFile.objects.bulk_create(
        PayslipFile(payslip=payslip, language="en", pdf=bytes(1_000_000), sha256="0" * 64) for payslip in payslips
    )
    list(month_reports(cast.february, language="en"))
    with (tmp_path / "pay.zip").open("wb") as file:
        tracemalloc.start()
        try:
            write_zip(cast.february, file, language="en")
            _now, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "pay.zip").stat().st_size > 60_000_000
    assert most < 12_000_000
