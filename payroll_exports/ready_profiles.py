"""Ready profiles for common payroll systems: HR copies one, fills in what only the chain knows, and saves it.

What is theirs to fill in has a question mark: a company, the codes of the payroll system. Base salaries are left out
where that system holds them itself, so that nobody is paid twice; the control totals name what is left out.
"""

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from payroll_exports.line_codes import LineCode
from payroll_exports.models import ExportProfile
from payroll_exports.profile_rows import OPEN, Source
from portfolios.models import User

Layout, Rows, Sign = ExportProfile.Layout, ExportProfile.Rows, ExportProfile.Sign
Encoding, DateFormat = ExportProfile.Encoding, ExportProfile.DateFormat

_VARIABLE = [code for code in LineCode.values if code != LineCode.BASE]
_COMMISSION = [code for code in _VARIABLE if code not in (LineCode.KPI, LineCode.ADJUSTMENT)]


@dataclass(frozen=True)
class ReadyProfile:
    """A profile's fields under a key, with what it is for."""

    key: str
    title: str
    about: Promise
    fields: dict[str, Any]

    def copy(self, name: str, *, by: User) -> ExportProfile:
        """An own profile, not saved yet."""
        return ExportProfile(name=name, changed_by=by, **self.fields)


def _codes(commission: list[str], kpi: list[str], adjustment: list[str]) -> dict[str, list[str]]:
    return dict.fromkeys(_COMMISSION, commission) | {LineCode.KPI.value: kpi, LineCode.ADJUSTMENT.value: adjustment}


def _texts(*headings: str) -> list[tuple[str, str, str]]:
    """Columns that HR or the payroll system fills: empty in the file."""
    return [(heading, Source.TEXT.value, "") for heading in headings]


READY = (
    ReadyProfile(
        "frappe",
        "Frappe HR: Additional Salary",
        _(
            "Earnings and deductions as salary components, never negative: what is taken back on balance is a "
            "deduction. Amounts are added to the salary structure, which holds the base salary."
        ),
        {
            "layout": Layout.CSV,
            "encoding": Encoding.UTF_8,
            "rows": Rows.CODE,
            "sign": Sign.NEVER_NEGATIVE,
            "codes": _codes(
                ["Sales Commission", "Sales Commission Clawback"],
                ["KPI Bonus", "KPI Bonus Clawback"],
                ["Pay Adjustment", "Pay Adjustment Deduction"],
            ),
            "columns": [
                ("employee", Source.REFERENCE_OR_CLERK_NO, "employee"),
                ("employee_name", Source.CLERK_NAME, ""),
                ("company", Source.TEXT, OPEN),
                ("salary_component", Source.CODE, ""),
                ("amount", Source.AMOUNT, ""),
                ("currency", Source.TEXT, "CNY"),
                ("payroll_date", Source.PAY_DATE, ""),
                ("is_recurring", Source.TEXT, "0"),
                ("overwrite_salary_structure_amount", Source.TEXT, "0"),
            ],
        },
    ),
    ReadyProfile(
        "odoo",
        "Odoo / OCA: payslip inputs",
        _(
            "Inputs of payslips that are there already: each clerk's payslip and contract are numbers in the other "
            "system. The contract holds the base salary."
        ),
        {
            "layout": Layout.CSV,
            "encoding": Encoding.UTF_8,
            "rows": Rows.LINE,
            "sign": Sign.SIGNED,
            "codes": {code: [code, ""] for code in _VARIABLE},
            "columns": [
                ("name", Source.LINE_NAME, ""),
                ("payslip_id", Source.REFERENCE, "payslip_id"),
                ("sequence", Source.SEQUENCE, ""),
                ("code", Source.CODE, ""),
                ("amount", Source.AMOUNT, ""),
                ("contract_id", Source.REFERENCE, "contract_id"),
            ],
        },
    ),
    ReadyProfile(
        "adp",
        "ADP: paydata",
        _("Earnings by code, with ADP's file numbers; the codes are those of the company at ADP, which pays the base."),
        {
            "layout": Layout.CSV,
            "encoding": Encoding.UTF_8,
            "rows": Rows.CODE,
            "sign": Sign.SIGNED,
            "codes": _codes([OPEN, ""], [OPEN, ""], [OPEN, ""]),
            "columns": [
                ("Co Code", Source.TEXT, OPEN),
                ("Batch ID", Source.MONTH_DIGITS, ""),
                ("File #", Source.REFERENCE_OR_CLERK_NO, "File #"),
                *_texts("Reg Hours", "O/T Hours"),
                ("Earnings 3 Code", Source.CODE, ""),
                ("Earnings 3 Amount", Source.AMOUNT, ""),
            ],
        },
    ),
    ReadyProfile(
        "datev",
        "DATEV LODAS",
        _(
            "Transaction data by wage type, with personnel numbers of at most five digits; wage types, the processing "
            "key and the numbers of adviser and client come from the tax adviser. The master data holds the base."
        ),
        {
            "layout": Layout.LODAS,
            "encoding": Encoding.CP1252,
            "decimal_mark": ",",
            "date_format": DateFormat.GERMAN,
            "rows": Rows.CODE,
            "sign": Sign.SIGNED,
            "preamble": "[Allgemein]\nZiel=LODAS\nVersion_SST=1.0\nBeraterNr=?\nMandantenNr=?\n"
            "Datumsformat=TT.MM.JJJJ\nFeldtrennzeichen=;\nZahlenkomma=,",
            "codes": _codes([OPEN, ""], [OPEN, ""], [OPEN, ""]),
            "columns": [
                ("abrechnung_zeitraum#bwd", Source.MONTH_FIRST, ""),
                ("pnr#bwd", Source.REFERENCE_OR_CLERK_NO, "pnr"),
                ("la_eigene#bwd", Source.CODE, ""),
                ("bs_nr#bwd", Source.TEXT, OPEN),
                ("bs_wert_butab#bwd", Source.AMOUNT, ""),
            ],
        },
    ),
    ReadyProfile(
        "income_tax",
        "个人所得税：正常工资薪金收入",
        _(
            "The salary sheet of the individual income tax client, 24 columns: gross pay is filled in, deductions are "
            "HR's. Identity documents come from the roster."
        ),
        {
            "layout": Layout.XLSX,
            "rows": Rows.CLERK,
            "sign": Sign.SIGNED,
            "columns": [
                ("工号", Source.CLERK_NO, ""),
                ("*姓名", Source.CLERK_NAME, ""),
                ("*证件类型", Source.IDENTITY_TYPE, ""),
                ("*证件号码", Source.IDENTITY_NO, ""),
                ("本期收入", Source.AMOUNT, ""),
                *_texts(
                    "本期免税收入",
                    "基本养老保险费",
                    "基本医疗保险费",
                    "失业保险费",
                    "住房公积金",
                    "累计子女教育",
                    "累计继续教育",
                    "累计住房贷款利息",
                    "累计住房租金",
                    "累计赡养老人",
                    "累计3岁以下婴幼儿照护",
                    "累计个人养老金",
                    "企业(职业)年金",
                    "商业健康保险",
                    "税延养老保险",
                    "其他",
                    "准予扣除的捐赠额",
                    "减免税额",
                    "备注",
                ),
            ],
        },
    ),
    ReadyProfile(
        "wide_chinese",
        "用友 / 金蝶：工资数据",
        _("One wide row per clerk in Chinese, each kind of earning in its column, with totals in a last row."),
        {
            "layout": Layout.XLSX,
            "rows": Rows.CLERK,
            "sign": Sign.SIGNED,
            "trailer": True,
            "columns": [
                ("会计期间", Source.MONTH_DIGITS, ""),
                ("部门编码", Source.STORE_NO, ""),
                ("部门名称", Source.STORE_NAME, ""),
                ("人员编码", Source.CLERK_NO, ""),
                ("人员姓名", Source.CLERK_NAME, ""),
                ("发放日期", Source.MONTH_ENDS, ""),
                ("基本工资", Source.SUM, "BASE"),
                ("自有会员提成", Source.SUM, "OWN_SERVED OWN_ABSENT"),
                ("代服务提成", Source.SUM, "COVERED"),
                ("其他销售提成", Source.SUM, "UNOWNED WALK_IN"),
                ("阶梯提成", Source.SUM, "BAND"),
                ("绩效奖金", Source.SUM, "KPI"),
                ("补录与更正", Source.SUM, "LATE CORRECTION"),
                ("退货扣回", Source.SUM, "CLAWBACK"),
                ("争议暂扣", Source.SUM, "HELD"),
                ("调整", Source.SUM, "ADJUSTMENT"),
                ("结转", Source.SUM, "CARRIED_IN CARRIED_OUT"),
                ("应发合计", Source.AMOUNT, ""),
            ],
        },
    ),
)


def ready_profile(key: str) -> ReadyProfile | None:
    return next((one for one in READY if one.key == key), None)
