"""Files for HR opened in a real spreadsheet program: texts stay texts, numbers numbers, and nothing is a formula.

It needs LibreOffice, which is no part of the set-up: `apt-get install libreoffice-calc`, then
`bin/test -m libreoffice`. Without LibreOffice the test fails; it is left out of the ordinary run by its marker.
"""

import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from payroll_exports.models import ExportProfile, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.profile_files import run_profile
from portfolios.models import Clerk, Month, User
from tests.small_chain import SmallChain, day

pytestmark = [pytest.mark.django_db, pytest.mark.libreoffice]

FORMULAS = ["=1+1", "+86", "-5", "@x", "\tx"]
IDENTITY_NO = "110105199001010001"


def opened(path: Path, *options: str) -> list[list[Any]]:
    """The first sheet's cells as LibreOffice saves them again."""
    program = shutil.which("soffice")
    assert program, "LibreOffice is not there: apt-get install libreoffice-calc"
    target = path.parent / "opened"
    command = [program, f"-env:UserInstallation=file://{path.parent}/profile", "--headless", *options]
    subprocess.run([*command, "--convert-to", "xlsx", "--outdir", target, path], check=True, timeout=120)
    book = openpyxl.load_workbook(BytesIO((target / f"{path.stem}.xlsx").read_bytes()))
    return [list(row) for row in book.worksheets[0].iter_rows()]


@pytest.fixture
def february() -> Month:
    """李, number 007, has a base of 5,123.45 and 7.00 taken back of January."""
    chain = SmallChain()
    Clerk.objects.filter(pk=chain.li.pk).update(clerk_no="007")
    own = chain.member("M1", chain.li)
    Salary.objects.create(clerk=chain.li, monthly_base_amount=512_345, valid_from=day("02-01"))
    (january,) = chain.sale("01-05", (chain.li, 23_333), member=own)
    close_month(chain.month(202601), approved_by="test")
    chain.sale("02-05", (chain.li, -23_333), member=own, returns=january)
    close_month(chain.month(202602), approved_by="test")
    return Month.objects.get(pk=202602)


def profile(layout: str) -> ExportProfile:
    texts = [[f"H{place}", "text", text] for place, text in enumerate(FORMULAS)]
    columns = [
        ["no", "clerk_no", ""],
        ["identity", "reference", "identity"],
        ["day", "month_ends", ""],
        ["base", "sum", "BASE"],
        ["back", "sum", "CLAWBACK"],
    ]
    return ExportProfile.objects.create(
        name="test",
        layout=layout,
        columns=[*columns, *texts],
        references={no: {"identity": IDENTITY_NO} for no in Clerk.objects.values_list("clerk_no", flat=True)},
        changed_by=User.objects.create(username="hr", office=User.Office.HR),
    )


def test_a_workbook_in_libreoffice(february: Month, tmp_path: Path) -> None:
    path = tmp_path / "pay.xlsx"
    path.write_bytes(run_profile(profile("xlsx"), february).files[0].content)
    first = opened(path)[1]
    assert [cell.value for cell in first[:2]] == ["007", IDENTITY_NO]
    assert {cell.data_type for cell in (*first[:2], *first[5:])} == {"s"}
    assert first[2].value.date() == february.ends_on
    assert [(cell.value, cell.data_type) for cell in first[3:5]] == [(5123.45, "n"), (-7, "n")]
    assert [cell.value for cell in first[5:]] == [f"'{text}" for text in FORMULAS]


def test_a_csv_file_in_libreoffice(february: Month, tmp_path: Path) -> None:
    path = tmp_path / "pay.csv"
    path.write_bytes(run_profile(profile("csv"), february).files[0].content)
    # Comma, double quote, UTF-8, from the first line on.
    rows = opened(path, "--infilter=CSV:44,34,76,1")
    assert "f" not in {cell.data_type for row in rows for cell in row}
    assert [(cell.value, cell.data_type) for cell in rows[1][3:5]] == [(5123.45, "n"), (-7, "n")]
    assert {cell.data_type for cell in rows[1][5:]} == {"s"}
