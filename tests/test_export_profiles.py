"""Export profiles: each ready one makes a file that is read back here and compared with the payslips, to the fen."""

import csv
import datetime as dt
import hashlib
import json
import zipfile
from io import BytesIO, StringIO
from typing import Any

import openpyxl
import pytest

from payroll_exports.exports import ExportRefused
from payroll_exports.models import EarningLine, ExportProfile, FileRecord, Payslip, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.profile_files import ProfileRun, record, run_profile
from payroll_exports.profile_rows import OPEN
from payroll_exports.ready_profiles import READY, ready_profile
from portfolios.models import Clerk, Month, User
from tests.identity import identify_everyone, resident_id
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db


@pytest.fixture
def february() -> Month:
    """李 (C1) of S1: base 5,123.45, 0.01 of an own member that 赵 served, 7.00 taken back, 6.99 carried; 张 (C3): 3.00
    taken back and carried, 1.52 of walk-ins; 王 (C2) has a payslip without a line; 赵 (C4) of S2 covered for 0.00.
    """
    chain = SmallChain()
    own = chain.member("M1", chain.li)
    Salary.objects.create(clerk=chain.li, monthly_base_amount=512_345, valid_from=day("02-01"))
    (january,) = chain.sale("01-05", (chain.zhang, 33_333), member=own)
    close_month(chain.month(202601), approved_by="test")
    chain.sale("02-05", (chain.zhang, -33_333), member=own, returns=january)
    chain.sale("02-06", (chain.zhao, 33), member=own)
    chain.sale("02-07", (chain.zhang, 5_050))
    close_month(chain.month(202602), approved_by="test")
    return Month.objects.get(pk=202602)


@pytest.fixture
def hr() -> User:
    return User.objects.create(username="hr", office=User.Office.HR)


def filled_in(key: str, by: User, **changes: Any) -> ExportProfile:
    """A ready profile with every question mark replaced, as HR does it."""
    ready = ready_profile(key)
    assert ready is not None
    profile = ready.copy(f"my {key}", by=by)
    profile.columns = [[h, s, "ACME" if d == OPEN else d] for h, s, d in profile.columns]
    profile.codes = {
        code: [f"{9000 if first == OPEN else first}", second] for code, (first, second) in profile.codes.items()
    }
    profile.preamble = profile.preamble.replace(f"={OPEN}", "=1234")
    for name, value in changes.items():
        setattr(profile, name, value)
    profile.save()
    return ExportProfile.objects.get(pk=profile.pk)


def csv_rows(run: ProfileRun, delimiter: str = ",") -> list[dict[str, str]]:
    (file,) = run.files
    return list(csv.DictReader(StringIO(file.content.decode(run.profile.encoding)), delimiter=delimiter))


def fen(text: str) -> int:
    whole, cents = text.replace(",", ".").split(".")
    return int(whole + cents)


def variable_pay() -> dict[str, int]:
    """What each payslip of February pays besides the base, from the ledger's lines."""
    found: dict[str, int] = {}
    for no, code, amount in EarningLine.objects.filter(month=202602).values_list(
        "payslip__clerk__clerk_no", "line_code", "amount"
    ):
        found[no] = found.get(no, 0) + (amount if code != "BASE" else 0)
    return found


def test_frappe_has_earnings_and_deductions_and_nothing_below_zero(february: Month, hr: User) -> None:
    profile = filled_in("frappe", hr)
    # Carried pay stays out, so that what is taken back is a net deduction.
    del profile.codes["CARRIED_OUT"]
    rows = csv_rows(run_profile(profile, february))
    assert list(rows[0]) == [
        "employee",
        "employee_name",
        "company",
        "salary_component",
        "amount",
        "currency",
        "payroll_date",
        "is_recurring",
        "overwrite_salary_structure_amount",
    ]
    # 李: 0.01 - 7.00; 张: 1.52 - 3.00, both on balance taken back.
    assert [(row["employee"], row["salary_component"], row["amount"]) for row in rows] == [
        ("C1", "Sales Commission Clawback", "6.99"),
        ("C3", "Sales Commission Clawback", "1.48"),
    ]
    assert {(row["company"], row["payroll_date"]) for row in rows} == {("ACME", "2026-02-28")}
    assert {row["overwrite_salary_structure_amount"] for row in rows} == {"0"}


def test_frappe_adds_up_to_the_payslips_without_the_base(february: Month, hr: User) -> None:
    run = run_profile(filled_in("frappe", hr), february)
    signs = {"Sales Commission": 1, "Sales Commission Clawback": -1}
    paid = {"C1": 0, "C2": 0, "C3": 0, "C4": 0}
    for row in csv_rows(run):
        paid[row["employee"]] += signs[row["salary_component"]] * fen(row["amount"])
    # Carried forward, nobody's variable pay is below zero: 0.01 - 7.00 + 6.99 and 1.52 - 3.00 + 1.48.
    assert paid == {"C1": 0, "C2": 0, "C3": 0, "C4": 0}
    assert {no: amount for no, amount in paid.items() if no in variable_pay()} == variable_pay()
    (totals,) = run.control_totals()["files"]
    assert totals["payslips_amount"] == "5123.45"
    assert totals["exported_amount"] == "0.00"
    assert totals["left_out"] == {"BASE": "5123.45"}


def test_a_leavers_additional_salary_is_dated_before_he_left(february: Month, hr: User) -> None:
    Clerk.objects.filter(clerk_no="C3").update(left_on=day("02-20"))
    profile = filled_in("frappe", hr)
    del profile.codes["CARRIED_OUT"]
    assert {row["employee"]: row["payroll_date"] for row in csv_rows(run_profile(profile, february))} == {
        "C1": "2026-02-28",
        "C3": "2026-02-20",
    }


def test_odoo_inputs_name_their_payslips_and_contracts(february: Month, hr: User) -> None:
    profile = filled_in("odoo", hr)
    with pytest.raises(ExportRefused, match="Clerk C1 店员C1 has no payslip_id"):
        run_profile(profile, february)
    profile.references = {
        no: {"payslip_id": f"slip_{no}", "contract_id": f"contract_{no}"} for no in ("C1", "C2", "C3", "C4")
    }
    rows = csv_rows(run_profile(profile, february))
    assert list(rows[0]) == ["name", "payslip_id", "sequence", "code", "amount", "contract_id"]
    written = [(row["payslip_id"], row["contract_id"], row["code"], fen(row["amount"])) for row in rows]
    lines = EarningLine.objects.filter(month=202602).exclude(line_code="BASE")
    assert written == [
        (f"slip_{no}", f"contract_{no}", code, amount)
        for no, code, amount in lines.order_by("payslip__clerk__clerk_no", "pk").values_list(
            "payslip__clerk__clerk_no", "line_code", "amount"
        )
    ]
    assert [row["sequence"] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    assert ("slip_C1", "contract_C1", "CLAWBACK", -700) in written


def test_adp_paydata(february: Month, hr: User) -> None:
    profile = filled_in("adp", hr, references={"C1": {"File #": "000101"}})
    del profile.codes["CARRIED_OUT"]
    rows = csv_rows(run_profile(profile, february))
    assert list(rows[0])[:3] == ["Co Code", "Batch ID", "File #"]
    assert [tuple(row.values()) for row in rows] == [
        ("ACME", "202602", "000101", "", "", "9000", "-6.99"),
        ("ACME", "202602", "C3", "", "", "9000", "-1.48"),
    ]


def test_datev_lodas(february: Month, hr: User) -> None:
    profile = filled_in("datev", hr)
    profile.codes["BASE"] = ["1000", ""]
    with pytest.raises(ExportRefused) as refused:
        run_profile(profile, february)
    assert str(refused.value) == (
        "pnr#bwd for LODAS has at most 5 digits and no leading 0, which is not so of: C1. Give others in the profile's "
        "form, for clerks under the numbers in the other system."
    )
    # C1 has three rows and C3 two, now that what they carry on is under another code than what was taken back.
    profile.references = {"C1": {"pnr": "012345"}}
    profile.codes["OWN_ABSENT"] = profile.codes["CLAWBACK"] = ["90000", ""]
    with pytest.raises(ExportRefused) as refused:
        run_profile(profile, february)
    assert [problem.split(". Give")[0] for problem in str(refused.value).splitlines()] == [
        "pnr#bwd for LODAS has at most 5 digits and no leading 0, which is not so of: 012345, C3",
        "la_eigene#bwd for LODAS has at most 4 digits and no leading 0, which is not so of: 90000",
    ]
    profile.codes["OWN_ABSENT"] = profile.codes["CLAWBACK"] = ["9000", ""]
    profile.references = {f"C{number}": {"pnr": str(100 + number)} for number in range(1, 5)}
    (file,) = run_profile(profile, february).files
    assert file.name == "2026-02-my-datev.txt"
    # 5,123.45 under 1000; the variable lines cancel each other out.
    assert file.content.decode("cp1252") == "\r\n".join(
        [
            "[Allgemein]",
            "Ziel=LODAS",
            "Version_SST=1.0",
            "BeraterNr=1234",
            "MandantenNr=1234",
            "Datumsformat=TT.MM.JJJJ",
            "Feldtrennzeichen=;",
            "Zahlenkomma=,",
            "[Satzbeschreibung]",
            "1;u_lod_bwd_buchung_standard;abrechnung_zeitraum#bwd;pnr#bwd;la_eigene#bwd;bs_nr#bwd;bs_wert_butab#bwd;",
            "[Bewegungsdaten]",
            "1;01.02.2026;101;1000;ACME;5123,45;",
            "",
        ]
    )


def test_of_many_numbers_that_do_not_fit_ten_are_named(hr: User) -> None:
    chain = SmallChain()
    for number in range(13):
        clerk = chain.clerk(f"N{number:02}")
        Salary.objects.create(clerk=clerk, monthly_base_amount=100_000, valid_from=day("01-01"))
    close_month(chain.month(202601), approved_by="test")
    profile = filled_in("datev", hr)
    profile.codes["BASE"] = ["1000", ""]
    with pytest.raises(ExportRefused, match="not so of: N00, N01, N02, N03, N04, N05, N06, N07, N08, N09 and 3 more"):
        run_profile(profile, Month.objects.get(pk=202601))


def test_the_income_tax_sheet_has_its_24_columns_and_every_clerk(february: Month, hr: User) -> None:
    profile = filled_in("income_tax", hr)
    with pytest.raises(ExportRefused, match="Clerk C1 店员C1 has no identity document"):
        run_profile(profile, february)
    identify_everyone()
    run = run_profile(profile, february)
    sheet: Any = openpyxl.load_workbook(BytesIO(run.files[0].content)).worksheets[0]
    head, *rows = sheet.iter_rows()
    assert len(head) == 24
    assert [cell.value for cell in head[:5]] == ["工号", "*姓名", "*证件类型", "*证件号码", "本期收入"]
    assert head[-1].value == "备注"
    assert sheet.freeze_panes == "A2"
    paid = dict(Payslip.objects.filter(month=202602).values_list("clerk__clerk_no", "paid_amount"))
    assert {row[0].value: round(row[4].value * 100) for row in rows} == paid
    assert paid == {"C1": 512_345, "C2": 0, "C3": 0, "C4": 0}
    assert {row[3].data_type for row in rows} == {"s"}
    assert [cell.value for cell in rows[0][:4]] == ["C1", "店员C1", "居民身份证", resident_id(1)]
    assert sheet.column_dimensions["D"].width > len(resident_id(1))
    assert {(cell.value, cell.data_type) for row in rows for cell in row[5:]} == {(None, "n")}


def test_the_wide_chinese_sheet_has_totals_and_real_dates(february: Month, hr: User) -> None:
    run = run_profile(filled_in("wide_chinese", hr), february)
    sheet: Any = openpyxl.load_workbook(BytesIO(run.files[0].content)).worksheets[0]
    head, *rows, total = sheet.iter_rows(values_only=True)
    li = dict(zip(head, rows[0], strict=True))
    assert (li["人员编码"], li["部门编码"], li["发放日期"]) == ("C1", "S1", dt.datetime(2026, 2, 28))
    assert (li["基本工资"], li["自有会员提成"], li["退货扣回"], li["结转"], li["应发合计"]) == (
        5123.45,
        0.01,
        -7.0,
        6.99,
        5123.45,
    )
    sums = dict(zip(head, total, strict=True))
    assert sums["会计期间"] == "Total"
    paid = sum(Payslip.objects.filter(month=202602).values_list("paid_amount", flat=True))
    assert round(sums["应发合计"] * 100) == paid == 512_345
    assert round(sums["退货扣回"] * 100) == -1_000
    assert len(rows) == 4


def test_gb18030_reversed_signs_german_numbers_and_a_file_per_store(february: Month, hr: User) -> None:
    Clerk.objects.filter(clerk_no="C1").update(name="=1+1")
    columns = [["姓名", "clerk_name", ""], ["日期", "month_ends", ""], ["金额", "amount", ""], ["笔数", "quantity", ""]]
    profile = filled_in(
        "odoo",
        hr,
        columns=columns,
        scope="store",
        sign="reversed",
        encoding="gb18030",
        delimiter=";",
        decimal_mark=",",
        date_format="%d.%m.%Y",
        trailer=True,
    )
    run = run_profile(profile, february)
    assert [file.name for file in run.files] == ["2026-02-my-odoo-S1.csv", "2026-02-my-odoo-S2.csv"]
    first = list(csv.reader(StringIO(run.files[0].content.decode("gb18030")), delimiter=";"))
    assert first[:2] == [["姓名", "日期", "金额", "笔数"], ["店员C1", "28.02.2026", "-5123,45", "28"]]
    assert first[-1] == ["Total", "", "-5123,45", ""]
    totals = run.control_totals()["files"]
    assert [(one["store_no"], one["clerks"], one["payslips_amount"]) for one in totals] == [
        ("S1", 2, "5123.45"),
        ("S2", 1, "0.00"),
    ]


@pytest.mark.parametrize("layout", ["csv", "xlsx", "json"])
def test_texts_that_would_be_formulas_are_safe_and_numbers_stay_numbers(february: Month, hr: User, layout: str) -> None:
    texts = ["=1+1", "+86", "-5", "@x", "\tx", "\rx"]
    columns = [[f"H{place}", "text", text] for place, text in enumerate(texts)]
    profile = filled_in("odoo", hr, columns=[*columns, ["amount", "amount", ""]], layout=layout)
    content = run_profile(profile, february).files[0].content
    if layout == "csv":
        _head, row, *_rest = csv.reader(StringIO(content.decode(), newline=""))
        assert row == [*(f"'{text}" for text in texts), "5123.45"]
    elif layout == "xlsx":
        cells = list(openpyxl.load_workbook(BytesIO(content)).worksheets[0][2])
        # openpyxl takes a carriage return for a line end.
        assert [cell.value for cell in cells[:5]] == [f"'{text}" for text in texts[:5]]
        assert {cell.data_type for cell in cells[:-1]} == {"s"}
        assert (cells[-1].value, cells[-1].data_type) == (5123.45, "n")
    else:
        assert json.loads(content)[0]["H0"] == "=1+1"


def test_the_archive_holds_files_and_totals_and_is_the_same_each_time(february: Month, hr: User) -> None:
    profile = filled_in("wide_chinese", hr)
    run = run_profile(profile, february)
    assert run.archive() == run_profile(profile, february).archive()
    archive = zipfile.ZipFile(BytesIO(run.archive()))
    totals = json.loads(archive.read("control-totals.json"))
    (one,) = totals["files"]
    assert one["sha256"] == hashlib.sha256(archive.read(one["name"])).hexdigest()
    assert (one["rows"], one["clerks"], one["exported_amount"]) == (4, 4, "5123.45")
    assert one["columns"]["应发合计"] == "5123.45"
    record(run, by=hr)
    kept = FileRecord.objects.get()
    assert (kept.recorded_by, kept.filter, kept.rows, kept.sha256) == (
        hr,
        "2026-02 · my wide_chinese",
        4,
        one["sha256"],
    )


def test_what_is_not_filled_in_or_does_not_fit_is_refused(february: Month, hr: User) -> None:
    def refusal(**changes: Any) -> str:
        profile = filled_in("frappe", hr, **changes)
        profile.delete()
        with pytest.raises(ExportRefused) as refused:
            run_profile(profile, february)
        return str(refused.value)

    columns = filled_in("adp", hr).columns
    assert "no column with an amount" in refusal(columns=columns[:-1])
    assert "Two columns have the same heading" in refusal(columns=[*columns, columns[0]])
    assert "needs the codes of the lines" in refusal(rows="clerk", columns=[["A", "sum", "BASIS"]])
    assert "never negative need a column with the code" in refusal(rows="line", columns=[["A", "amount", ""]])
    assert "question mark: Co Code" in refusal(columns=[["Co Code", "text", OPEN], *columns[1:]])
    assert "which has no code for deductions" in refusal(rows="line", codes={"CLAWBACK": ["X", ""]})
    chinese = [["A", "clerk_name", ""], *columns[-2:]]
    assert "cannot be written as Windows-1252" in refusal(
        columns=chinese, encoding="cp1252", rows="line", codes={"BASE": ["X", ""]}
    )


def test_an_open_month_is_refused(february: Month, hr: User) -> None:
    with pytest.raises(ExportRefused, match="2026-03 is open"):
        run_profile(filled_in("wide_chinese", hr), Month.objects.get(pk=202603))


def test_every_ready_profile_is_complete_but_for_its_question_marks(february: Month, hr: User) -> None:
    identify_everyone()
    for ready in READY:
        profile = filled_in(ready.key, hr)
        references = {"payslip_id": "1", "contract_id": "1"}
        profile.references = {f"C{number}": references | {"pnr": "1"} for number in range(1, 5)}
        for table in (file.table for file in run_profile(profile, february).files):
            assert table.ledger_amount == table.exported_amount + sum(table.left_out.values()) == 512_345
