"""One month's pay, read back from everywhere to the fen: ledger, payslip, its PDF, each export, and the journal.

Every file is parsed here by readers that know nothing of what wrote it. The ordinary run does so for two months of a
small chain; `bin/test -m slow -k demo` for every clerk and closed month of the demo's year.
"""

import csv
import json
import re
from collections import defaultdict
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import openpyxl
import pypdfium2
import pytest
from django.core.management import call_command

from commission.models import Attribution, Plan
from payroll_exports.adjustments import approve, ask_adjustment
from payroll_exports.demo import run_demo
from payroll_exports.models import EarningLine, Payslip, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.payslip_files import payslip_pdf
from payroll_exports.profile_files import ProfileRun, run_profile
from portfolios.models import Clerk, Month, User
from tests.identity import identify_everyone
from tests.small_chain import SmallChain, day
from tests.test_export_profiles import filled_in

pytestmark = pytest.mark.django_db

# By clerk number and line code, in fen.
Pay = dict[str, dict[str, int]]
NAMES = {
    "BASE": ("Base salary", "基本工资"),
    "OWN_SERVED": ("Own members, served", "自有会员·本人服务"),
    "OWN_ABSENT": ("Own members, served by another", "自有会员·他人服务"),
    "COVERED": ("Covered for another clerk", "代他人服务"),
    "UNOWNED": ("Members without an owner", "无归属会员"),
    "WALK_IN": ("Walk-ins", "非会员"),
    "BAND": ("Accelerator", "阶梯提成"),
    "KPI": ("KPI bonus", "绩效奖金"),
    "LATE": ("Late tickets", "补录小票"),
    "CLAWBACK": ("Clawback for returns", "退货扣回"),
    "CORRECTION": ("Corrections of earlier months", "往月更正"),
    "HELD": ("Held while in question", "异议暂扣"),
    "ADJUSTMENT": ("Adjustments", "调整"),
    "CARRIED_IN": ("Carried from last month", "上月结转"),
    "CARRIED_OUT": ("Carried to next month", "结转下月"),
}
CODES = {name: code for code, names in NAMES.items() for name in names}
COMMISSION = ("OWN_SERVED", "OWN_ABSENT", "COVERED", "UNOWNED", "WALK_IN", "LATE", "CLAWBACK", "CORRECTION")
AMOUNT = r"(?:▼ )?−?[\d,]+\.\d\d"
# On a payslip's page: where the table begins and ends (what is to be paid, this year's sum); and a line: its name,
# tickets or days, and what stands behind them: this month's amount, the group's sum, this year's amount.
TABLE = re.compile(rf"(?:Sum \(CNY\)|小计（元）)(.*?)(?:To be paid|应发) ({AMOUNT})( {AMOUNT})?")
LINE = re.compile(
    rf"({'|'.join(sorted(CODES, key=len, reverse=True))}) (?:[\d,]+(?: days?| 天)? )?({AMOUNT}(?: {AMOUNT})*)"
)
WIDE = {
    "基本工资": ("BASE",),
    "自有会员提成": ("OWN_SERVED", "OWN_ABSENT"),
    "代服务提成": ("COVERED",),
    "其他销售提成": ("UNOWNED", "WALK_IN"),
    "阶梯提成": ("BAND",),
    "绩效奖金": ("KPI",),
    "补录与更正": ("LATE", "CORRECTION"),
    "退货扣回": ("CLAWBACK",),
    "争议暂扣": ("HELD",),
    "调整": ("ADJUSTMENT",),
    "结转": ("CARRIED_IN", "CARRIED_OUT"),
}


def fen(text: str) -> int:
    """-1,234.50 with either minus, and with a point or a comma before the cents."""
    found = re.fullmatch(r"([-−]?)([\d,]*\d)[.,](\d\d)", text)
    assert found, text
    amount = int(found[2].replace(",", "")) * 100 + int(found[3])
    return -amount if found[1] else amount


def summed(found: list[tuple[str, str, int]]) -> Pay:
    """Clerk, code and amount added up; what comes to nothing is left out."""
    pay: Pay = defaultdict(lambda: defaultdict(int))
    for clerk_no, code, amount in found:
        pay[clerk_no][code] += amount
    return {no: kept for no, lines in pay.items() if (kept := {code: n for code, n in lines.items() if n})}


def without_nothing(pay: Pay) -> Pay:
    return summed([(no, code, amount) for no, lines in pay.items() for code, amount in lines.items()])


# --- Readers --------------------------------------------------------------------------------------------------------


def from_lines(month: Month) -> Pay:
    rows = EarningLine.objects.filter(month=month).values_list("payslip__clerk__clerk_no", "line_code", "amount")
    return summed(list(rows))


def from_ledger(month: Month) -> Pay:
    """Commission from the attributions, row by row."""
    found = []
    for row in Attribution.objects.filter(month=month).select_related("owner", "server"):
        late = row.pay_line if row.pay_line != "KIND" else ""
        if row.owner:
            code = late or {"OWN_SERVED": "OWN_SERVED", "SPLIT": "OWN_ABSENT"}[row.kind]
            found.append((row.owner.clerk_no, code, row.owner_commission_amount))
        if row.server and row.kind != "OWN_SERVED":
            code = late or {"SPLIT": "COVERED", "UNOWNED": "UNOWNED", "WALK_IN": "WALK_IN"}[row.kind]
            found.append((row.server.clerk_no, code, row.server_commission_amount))
    return summed(found)


def from_documents(month: Month) -> Pay:
    found = []
    for slip in Payslip.objects.filter(month=month):
        lines = slip.document["lines"]
        assert sum(line["amount"] for line in lines) == slip.document["paid_amount"] == slip.paid_amount
        found += [(slip.document["clerk_no"], line["line_code"], line["amount"]) for line in lines]
    return summed(found)


def from_pdfs(month: Month) -> Pay:
    found = []
    for slip in Payslip.objects.filter(month=month).select_related("clerk", "store"):
        document = pypdfium2.PdfDocument(bytes(payslip_pdf(slip).pdf))
        text = " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in document)
        document.close()
        table = TABLE.search(text)
        assert table, text
        lines = []
        for line in LINE.finditer(table[1]):
            amounts = re.findall(AMOUNT.removeprefix("(?:▼ )?"), line[2])
            if table[3]:
                # The year's, which a line of an earlier month has without one of its own.
                amounts.pop()
            if not LINE.match(table[1], line.end() + 1):
                # The group's, on its last line: what follows is the next group's name.
                amounts.pop()
            if amounts:
                lines.append((CODES[line[1]], fen(amounts[0])))
        assert sum(amount for _code, amount in lines) == fen(table[2].removeprefix("▼ ")), text
        found += [(slip.clerk.clerk_no, code, amount) for code, amount in lines]
    return summed(found)


def csv_rows(content: bytes, encoding: str = "utf-8-sig") -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(content.decode(encoding), newline="")))


def sheet_rows(content: bytes) -> list[dict[str, Any]]:
    sheet: Any = openpyxl.load_workbook(BytesIO(content)).worksheets[0]
    head, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(head, row, strict=True)) for row in rows]


def from_payroll(month: Month, folder: Path, format: str, *options: str) -> Pay:
    path = folder / f"{month}.{format}"
    with StringIO() as nowhere:
        call_command("export_payroll", month.name, "--format", format, "--out", path, *options, stderr=nowhere)
    content = path.read_bytes()
    if format == "xlsx":
        return summed([(row["clerk_no"], row["line_code"], round(row["amount"] * 100)) for row in sheet_rows(content)])
    rows = json.loads(content) if format == "json" else csv_rows(content, options[-1] if options else "utf-8-sig")
    return summed([(row["clerk_no"], row["line_code"], fen(row["amount"])) for row in rows])


# --- The check ------------------------------------------------------------------------------------------------------


def check_month(month: Month, folder: Path) -> None:
    pay = from_lines(month)
    commission = {no: {code: n for code, n in lines.items() if code in COMMISSION} for no, lines in pay.items()}
    assert from_ledger(month) == without_nothing(commission)
    assert from_documents(month) == pay
    assert from_pdfs(month) == pay
    assert from_payroll(month, folder, "csv") == pay
    assert from_payroll(month, folder, "csv", "--encoding", "gb18030") == pay
    assert from_payroll(month, folder, "xlsx") == pay
    assert from_payroll(month, folder, "json") == pay
    check_profiles(month, pay)
    check_journal(month, folder, pay)


def check_profiles(month: Month, pay: Pay) -> None:
    hr, _new = User.objects.get_or_create(username="exports", office=User.Office.HR)
    clerks = list(Clerk.objects.order_by("clerk_no").values_list("clerk_no", flat=True))
    numbers = {no: str(number) for number, no in enumerate(clerks, 1)}
    clerk_of = {number: no for no, number in numbers.items()}
    variable = {
        no: rest for no, lines in pay.items() if (rest := sum(n for code, n in lines.items() if code != "BASE"))
    }
    everything = {no: total for no, lines in pay.items() if (total := sum(lines.values()))}

    def run(key: str, **changes: Any) -> bytes:
        profile = filled_in(key, hr, **changes)
        found: ProfileRun = run_profile(profile, month)
        profile.delete()
        (file,) = found.files
        return file.content

    def totals(found: list[tuple[str, int]]) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for no, amount in found:
            sums[no] += amount
        return {no: amount for no, amount in sums.items() if amount}

    rows = csv_rows(run("frappe"))
    assert all(fen(row["amount"]) > 0 for row in rows)
    signed = [
        (row["employee"], fen(row["amount"]) * (-1 if re.search("Clawback|Deduction", row["salary_component"]) else 1))
        for row in rows
    ]
    assert totals(signed) == variable

    references = {no: {"payslip_id": no, "contract_id": no} for no in clerks}
    odoo = csv_rows(run("odoo", references=references))
    by_code = {no: {code: n for code, n in lines.items() if code != "BASE"} for no, lines in pay.items()}
    assert summed([(row["payslip_id"], row["code"], fen(row["amount"])) for row in odoo]) == without_nothing(by_code)

    adp = csv_rows(run("adp"))
    assert totals([(row["File #"], fen(row["Earnings 3 Amount"])) for row in adp]) == variable

    lodas = run("datev", references={no: {"pnr": number} for no, number in numbers.items()}).decode("cp1252")
    data = [line.split(";") for line in lodas.partition("[Bewegungsdaten]\r\n")[2].splitlines()]
    assert totals([(clerk_of[cells[2]], fen(cells[5])) for cells in data]) == variable

    tax = sheet_rows(run("income_tax"))
    assert {len(row["*证件号码"]) for row in tax} == {18}
    assert totals([(row["工号"], round(row["本期收入"] * 100)) for row in tax]) == everything

    *wide, last = sheet_rows(run("wide_chinese"))
    for heading, codes in WIDE.items():
        column = [(row["人员编码"], round(row[heading] * 100)) for row in wide]
        assert totals(column) == totals([(no, lines.get(code, 0)) for no, lines in pay.items() for code in codes])
        assert round(last[heading] * 100) == sum(amount for _no, amount in column)
    assert totals([(row["人员编码"], round(row["应发合计"] * 100)) for row in wide]) == everything


def check_journal(month: Month, folder: Path, pay: Pay) -> None:
    """Debit less credit of each store and account is what its payslips say; the memo is what the store keeps."""
    with StringIO() as nowhere:
        call_command("export_journal", month.name, "--out", folder, stderr=nowhere)
    rows = csv_rows((folder / f"{month}-journal.csv").read_bytes())
    sheet = sheet_rows((folder / f"{month}-journal.xlsx").read_bytes())
    for other in (json.loads((folder / f"{month}-journal.json").read_bytes()), sheet):
        amounts = [
            [fen(cell) if isinstance(cell, str) else round(cell * 100) for cell in (row["debit"], row["credit"])]
            for row in other
        ]
        assert amounts == [[fen(row["debit"]), fen(row["credit"])] for row in rows]
    store_of = dict(Payslip.objects.filter(month=month).values_list("clerk__clerk_no", "store__store_no"))
    expected: list[tuple[str, str, int]] = []
    for no, lines in pay.items():
        for code, amount in lines.items():
            expected.append((store_of[no], "CARRIED" if code.startswith("CARRIED") else code, amount))
            expected.append((store_of[no], "PAYABLE", -amount))
    for row in Attribution.objects.filter(month=month).select_related("store"):
        expected.append((row.store.store_no, "HOUSE", row.house_commission_amount))
        expected.append((row.store.store_no, "HOUSE_CONTRA", -row.house_commission_amount))
    assert summed([(r["store_no"], r["entry_code"], fen(r["debit"]) - fen(r["credit"])) for r in rows]) == summed(
        expected
    )
    totals = json.loads((folder / "control-totals.json").read_bytes())
    assert totals["debit"] == totals["credit"]
    assert fen(totals["debit"]) == sum(fen(row["debit"]) for row in rows if row["memo"] == "no")


# --- The months -----------------------------------------------------------------------------------------------------


def test_two_months_of_a_small_chain(tmp_path: Path) -> None:
    """January has every kind of sale and the house's part of an unowned one; February takes back and carries."""
    chain = SmallChain()
    Plan.objects.update(house_share_bp=7_000)
    Clerk.objects.filter(pk=chain.zhang.pk).update(language=Clerk.Language.ENGLISH)
    first, second = (User.objects.create(username=name, office=User.Office.HR) for name in ("hr", "hr2"))
    Salary.objects.create(clerk=chain.li, monthly_base_amount=512_345, valid_from=day("01-01"))
    Salary.objects.create(clerk=chain.zhang, monthly_base_amount=400_000, valid_from=day("01-11"))
    own, unowned = chain.member("M1", chain.li), chain.member("M2", None)
    chain.sale("01-04", (chain.li, 1_234_567), member=own)
    (split,) = chain.sale("01-05", (chain.zhang, 33_333), member=own)
    chain.sale("01-06", (chain.zhao, 16_700), member=unowned, store=chain.second)
    chain.sale("01-07", (chain.wang, 5_050))
    close_month(chain.month(202601), approved_by="test")
    chain.sale("02-05", (chain.zhang, -33_333), member=own, returns=split)
    chain.sale("02-06", (chain.zhao, 33), member=own)
    chain.sale("01-20", (chain.wang, 7_777))
    february = chain.month(202602)
    for clerk, amount in ((chain.wang, 5_000), (chain.zhang, -20_000)):
        approve(ask_adjustment(clerk, february, amount=amount, reason="stocktaking", asked_by=first), by=second)
    close_month(february, approved_by="test")
    identify_everyone()
    codes = set()
    for month in Month.objects.filter(closed_at__isnull=False):
        check_month(month, tmp_path)
        codes |= {code for lines in from_lines(month).values() for code in lines}
    assert codes == {*NAMES} - {"BAND", "KPI", "CORRECTION", "HELD", "CARRIED_IN"}


@pytest.mark.slow
def test_every_clerk_of_the_demo_year(tmp_path: Path) -> None:
    run_demo(tmp_path / "demo", progress=lambda what, done, total: None)
    closed = Month.objects.filter(closed_at__isnull=False)
    assert len(closed) == 12
    for month in closed:
        check_month(month, tmp_path)
