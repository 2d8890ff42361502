"""Payslips to print: an ordinary month, and the hardest one."""

from datetime import date

from payroll_exports.payslip_pdf import PayslipDocument, PayslipLine

MOVEMENT = {
    "opening": 118,
    "enrolled": 7,
    "transferred_in": 12,
    "transferred_out": 3,
    "closed": 1,
    "closing": 133,
    "active_opening": 81,
    "newly_active": 6,
    "reactivated": 4,
    "active_in": 8,
    "active_out": 2,
    "lapsed": 7,
    "active_closing": 90,
    "tier_a": 6,
    "tier_b": 19,
}
NO_MEMBERS = dict.fromkeys(MOVEMENT, 0)

LINES = (
    PayslipLine("BASE", 31, 480000),
    PayslipLine("OWN_SERVED", 214, 312455),
    PayslipLine("OWN_ABSENT", 63, 58721),
    PayslipLine("COVERED", 48, 21490),
    PayslipLine("UNOWNED", 5, 1890),
    PayslipLine("WALK_IN", 87, 40312),
    PayslipLine("BAND", 0, 36000),
    PayslipLine("CLAWBACK", 3, -4215),
)
LAST_MONTH = (
    PayslipLine("BASE", 30, 480000),
    PayslipLine("OWN_SERVED", 190, 268120),
    PayslipLine("OWN_ABSENT", 71, 66002),
    PayslipLine("COVERED", 44, 20110),
    PayslipLine("WALK_IN", 90, 41200),
    PayslipLine("BAND", 0, 28000),
)
# Ten months: what is not in this one, a correction in March, stands in the year's sums alone.
YEAR = (
    PayslipLine("BASE", 304, 4_800_000),
    PayslipLine("OWN_SERVED", 1_998, 2_911_043),
    PayslipLine("OWN_ABSENT", 655, 601_277),
    PayslipLine("COVERED", 431, 199_804),
    PayslipLine("UNOWNED", 38, 15_110),
    PayslipLine("WALK_IN", 902, 412_256),
    PayslipLine("BAND", 0, 290_500),
    PayslipLine("CLAWBACK", 21, -31_985),
    PayslipLine("CORRECTION", 1, -4_200),
)
# A bad month of a clerk who handed most members over: every line there is, and a debt carried forward.
HARD_LINES = (
    PayslipLine("BASE", 18, 278710),
    PayslipLine("OWN_SERVED", 2, -21300),
    PayslipLine("OWN_ABSENT", 4, 1204),
    PayslipLine("COVERED", 1, 35),
    PayslipLine("UNOWNED", 2, 77),
    PayslipLine("WALK_IN", 11, 2210),
    PayslipLine("BAND", 0, 120),
    PayslipLine("KPI", 0, 5000),
    PayslipLine("LATE", 2, 880),
    PayslipLine("CLAWBACK", 17, -84215),
    PayslipLine("CORRECTION", 1, -4200),
    PayslipLine("HELD", 1, -1260),
    PayslipLine("ADJUSTMENT", 0, 3000),
    PayslipLine("CARRIED_IN", 0, -12000),
    PayslipLine("CARRIED_OUT", 0, 110449),
)
LONG_STORE_NAME = "内蒙古自治区呼和浩特市新城区康宁大药房连锁有限责任公司成吉思汗东街第一旗舰店"


def payslip(language: str = "zh-hans", **changes: object) -> PayslipDocument:
    """A payslip of an ordinary month, with `changes`."""
    chinese = language == "zh-hans"
    fields: dict[str, object] = {
        "language": language,
        "month": "2026-10",
        "starts_on": date(2026, 10, 1),
        "ends_on": date(2026, 10, 31),
        "clerk_no": "C0017",
        "clerk_name": "李娜" if chinese else "Li Na",
        "store_no": "S03",
        "store_name": "康宁大药房 中山路店" if chinese else "Kangning Pharmacy, Zhongshan Road",
        "lines": LINES,
        "movement": MOVEMENT,
        "previous_lines": LAST_MONTH,
        "verification_code": "7F3K-9QXD-21MA",
        **changes,
    }
    paid_amount = sum(line.amount for line in fields["lines"])  # type: ignore[attr-defined]
    return PayslipDocument(**{"paid_amount": paid_amount, **fields})  # type: ignore[arg-type]


HARD = payslip(clerk_name="欧阳䶮㛃·阿卜杜热合曼", store_name=LONG_STORE_NAME, lines=HARD_LINES)
