"""The PDFs of payslips: made once and kept, written under safe names, listed in a manifest."""

import hashlib
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from payroll_exports import payslip_files
from payroll_exports.models import Payslip, PayslipFile
from payroll_exports.pay_run import close_month
from payroll_exports.payslip_files import make_payslip_files, payslip_pdf, write_payslips
from payroll_exports.payslip_pdf import PayslipDocument, render_payslip
from portfolios.models import Clerk, Month, Store
from portfolios.output_files import OutputFileError
from tests.small_chain import SmallChain


@pytest.fixture
def chain(db: None) -> SmallChain:
    chain = SmallChain()
    chain.sale("01-05", (chain.zhang, 20_000), member=chain.member("M1", chain.li))
    return chain


def close(month: Month) -> Month:
    return close_month(month, approved_by="test").month


def test_bytes_and_language_are_fixed_when_a_file_is_first_made(chain: SmallChain) -> None:
    close(chain.month(202601))
    payslip = Payslip.objects.get(clerk=chain.li)

    first = payslip_pdf(payslip)
    Clerk.objects.filter(pk=chain.li.pk).update(language="en", name="另一个名字")
    again = payslip_pdf(Payslip.objects.get(clerk=chain.li))

    assert bytes(first.pdf).startswith(b"%PDF-1.7")
    assert (again.pk, bytes(again.pdf), again.language) == (first.pk, bytes(first.pdf), "zh-hans")
    assert first.sha256 == hashlib.sha256(first.pdf).hexdigest()
    with pytest.raises(IntegrityError), transaction.atomic():
        PayslipFile.objects.update(pdf=b"")


def test_of_two_that_make_it_at_once_the_first_is_kept(chain: SmallChain, monkeypatch: pytest.MonkeyPatch) -> None:
    close(chain.month(202601))
    payslip = Payslip.objects.get(clerk=chain.li)

    def slowly(document: object) -> bytes:
        # While this one is laid out, another process has made and kept the same payslip's file.
        monkeypatch.setattr(payslip_files, "render_payslip", render_payslip)
        payslip_pdf(payslip)
        return b"later"

    monkeypatch.setattr(payslip_files, "render_payslip", slowly)

    kept = payslip_pdf(payslip)

    assert PayslipFile.objects.get() == kept
    assert bytes(kept.pdf).startswith(b"%PDF")


def test_what_was_interrupted_goes_on_where_it_stopped(chain: SmallChain) -> None:
    month = close(chain.month(202601))
    told: list[tuple[int, int]] = []

    def interrupt(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_payslip_files(month, processes=1, progress=interrupt)
    kept = dict(PayslipFile.objects.values_list("payslip", "sha256"))
    assert told == [(1, 4), (2, 4)]
    assert len(kept) == 2

    assert make_payslip_files(month, processes=2) == 2
    assert make_payslip_files(month) == 0

    assert kept.items() <= dict(PayslipFile.objects.values_list("payslip", "sha256")).items()
    for payslip in Payslip.objects.select_related("file"):
        again = render_payslip(PayslipDocument.from_dict(payslip.document))
        assert payslip.file.sha256 == hashlib.sha256(again).hexdigest()


def test_files_are_written_by_month_and_store_with_a_manifest(chain: SmallChain, tmp_path: Path) -> None:
    close(chain.month(202601))
    close(chain.month(202602))
    said = StringIO()
    call_command("payslips", "2026-01", "--out", str(tmp_path / "pay"), stderr=said)
    call_command("payslips", "2026-02", "--out", str(tmp_path / "pay"), "--processes", "1", stderr=said)

    root = tmp_path / "pay"
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    numbers = ["S1/C1", "S1/C2", "S1/C3", "S2/C4"]
    written = [f"{month}/{number}.pdf" for month in ("2026-01", "2026-02") for number in numbers]
    assert found == [*written, "manifest.json"]
    files = json.loads((root / "manifest.json").read_text())["files"]
    assert [entry["path"] for entry in files] == written
    for entry in files:
        pdf = (root / entry["path"]).read_bytes()
        assert (len(pdf), hashlib.sha256(pdf).hexdigest()) == (entry["size"], entry["sha256"])
        assert pdf.startswith(b"%PDF")
    assert "2026-01: 4 payslips (4 of them made now)" in said.getvalue()

    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    call_command("payslips", "2026-01", "--out", str(root), stderr=said)
    assert "2026-01: 4 payslips (0 of them made now)" in said.getvalue()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("store_no", "clerk_no", "path"),
    [
        ("..", "../../etc/x", "%2E%2E/%2E.%2F..%2Fetc%2Fx.pdf"),
        ("/", "C:\\1", "%2F/C%3A%5C1.pdf"),
        ("店 1", "王.", "店 1/王%2E.pdf"),
        ("100%", ".hidden", "100%25/%2Ehidden.pdf"),
    ],
)
def test_a_number_cannot_lead_out_of_the_directory(
    chain: SmallChain, tmp_path: Path, store_no: str, clerk_no: str, path: str
) -> None:
    Store.objects.filter(pk=chain.second.pk).update(store_no=store_no)
    Clerk.objects.filter(pk=chain.zhao.pk).update(clerk_no=clerk_no)
    month = close(chain.month(202601))

    written = write_payslips(month, tmp_path / "pay")

    assert f"2026-01/{path}" in [entry.path for entry in written]
    assert (tmp_path / "pay" / "2026-01" / path).is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pay"]
    assert len({entry.path for entry in written}) == 4


def test_an_open_month_has_no_payslips(chain: SmallChain, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"2026-01 is open.*close_month 2026-01"):
        call_command("payslips", "2026-01", "--out", str(tmp_path / "pay"))
    assert not (tmp_path / "pay").exists()


def test_places_that_cannot_be_written_to(chain: SmallChain, tmp_path: Path) -> None:
    month = close(chain.month(202601))
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be made: File exists"):
        call_command("payslips", "2026-01", "--out", str(tmp_path / "file"))
    (tmp_path / "pay").mkdir()
    (tmp_path / "pay" / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(OutputFileError, match="cannot be read as a manifest"):
        write_payslips(month, tmp_path / "pay")
    assert [entry.name for entry in (tmp_path / "pay").iterdir()] == ["manifest.json"]
