"""Files for HR opened in a real spreadsheet program: texts stay texts, numbers numbers, and nothing is a formula.

It needs LibreOffice, which is no part of the set-up: `apt-get install libreoffice-calc`, then
`bin/test -m libreoffice`. Without LibreOffice the test fails; it is left out of the ordinary run by its marker.
"""

import csv
import shutil
import subprocess
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from payroll_exports.models import ExportProfile, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.profile_files import run_profile
from payroll_exports.roster import import_roster
from payroll_exports.roster_export import roster_export
from portfolios.models import Clerk, Month, User
from tests.identity import identify_everyone, resident_id
from tests.small_chain import SmallChain, day

pytestmark = [pytest.mark.django_db, pytest.mark.libreoffice]

FORMULAS = ["=1+1", "+86", "-5", "@x", "\tx"]
# Of LibreOffice's filter for CSV: a comma, a double quote, the encoding, from the first line on.
UTF_8, GB18030 = "44,34,76,1", "44,34,85,1"


def saved_again(path: Path, form: str, *options: str) -> bytes:
    """The file as LibreOffice opens it and saves it in another form."""
    program = shutil.which("soffice")
    assert program, "LibreOffice is not there: apt-get install libreoffice-calc"
    target = path.parent / "opened"
    command = [program, f"-env:UserInstallation=file://{path.parent}/profile", "--headless", *options]
    subprocess.run([*command, "--convert-to", form, "--outdir", target, path], check=True, timeout=120)
    return (target / f"{path.stem}.{form.partition(':')[0]}").read_bytes()


def opened(path: Path, *options: str) -> list[list[Any]]:
    """The first sheet's cells as LibreOffice saves them again."""
    book = openpyxl.load_workbook(BytesIO(saved_again(path, "xlsx", *options)))
    return [list(row) for row in book.worksheets[0].iter_rows()]


def csv_rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(StringIO(content.decode("utf-8-sig"), newline="")))


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
        ["identity", "identity_no", ""],
        ["day", "month_ends", ""],
        ["base", "sum", "BASE"],
        ["back", "sum", "CLAWBACK"],
    ]
    identify_everyone()
    return ExportProfile.objects.create(
        name="test",
        layout=layout,
        columns=[*columns, *texts],
        changed_by=User.objects.create(username="hr", office=User.Office.HR),
    )


def test_a_workbook_in_libreoffice(february: Month, tmp_path: Path) -> None:
    path = tmp_path / "pay.xlsx"
    path.write_bytes(run_profile(profile("xlsx"), february).files[0].content)
    first = opened(path)[1]
    assert [cell.value for cell in first[:2]] == ["007", resident_id(1)]
    assert {cell.data_type for cell in (*first[:2], *first[5:])} == {"s"}
    assert first[2].value.date() == february.ends_on
    assert [(cell.value, cell.data_type) for cell in first[3:5]] == [(5123.45, "n"), (-7, "n")]
    assert [cell.value for cell in first[5:]] == [f"'{text}" for text in FORMULAS]


def test_a_csv_file_in_libreoffice(february: Month, tmp_path: Path) -> None:
    path = tmp_path / "pay.csv"
    path.write_bytes(run_profile(profile("csv"), february).files[0].content)
    rows = opened(path, f"--infilter=CSV:{UTF_8}")
    assert "f" not in {cell.data_type for row in rows for cell in row}
    assert [(cell.value, cell.data_type) for cell in rows[1][3:5]] == [(5123.45, "n"), (-7, "n")]
    assert {cell.data_type for cell in rows[1][5:]} == {"s"}


@pytest.fixture
def people() -> None:
    """Clerks whose numbers and names a spreadsheet likes to change."""
    names = {"007": "=1+1", "0012": "䶮", "110105199001010029": "李娜", "3E5": "-5", "2026-01": "王, 伟"}
    for number, name in names.items():
        Clerk.objects.create(clerk_no=number, name=name, hired_on=day("01-01"))
    identify_everyone()


@pytest.mark.parametrize("name", ["clerks", "identity_documents"])
def test_a_workbook_that_libreoffice_saves_as_csv_is_the_csv_file(people: None, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.xlsx"
    path.write_bytes(roster_export(name, format="xlsx").content)
    saved = saved_again(path, f"csv:Text - txt - csv (StarCalc):{UTF_8}")
    rows = csv_rows(saved)
    assert rows == csv_rows(roster_export(name, format="csv").content)
    assert len(rows) == 6


def test_what_libreoffice_saved_comes_in_unchanged(people: None, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("clerks", "identity_documents"):
        path = tmp_path / f"{name}.xlsx"
        path.write_bytes(roster_export(name, format="xlsx").content)
        (folder / path.name).write_bytes(saved_again(path, "xlsx"))
    report = import_roster(folder, errors_path=tmp_path / "errors.csv")
    assert [(file.new, file.changed, file.unchanged) for file in report.files] == [(0, 0, 5), (0, 0, 5)]


def test_chinese_in_gb18030_opens_right(people: None, tmp_path: Path) -> None:
    path = tmp_path / "clerks.csv"
    path.write_bytes(roster_export("clerks", format="csv", encoding="gb18030").content)
    # The first column as text, as whoever opens it must say of any CSV file.
    rows = opened(path, f"--infilter=CSV:{GB18030},1/2")
    assert {row[0].value: row[1].value for row in rows[1:]} == {
        "007": "'=1+1",
        "0012": "䶮",
        "110105199001010029": "李娜",
        "3E5": "'-5",
        "2026-01": "王, 伟",
    }
    assert "f" not in {cell.data_type for row in rows for cell in row}
