"""Whether a payslip or a pay report is one of ours: by what is printed on it, or by the bytes of its file.

Whoever holds one types its number, month, code and amount; they must all be those of one payslip or report. Of a
file only its SHA-256 is compared with those of the files that are kept. "K5QX-2MBA-7RNE-ZC4U", "k5qx 2mba 7rne zc4u"
and a zero typed for an O are the same code; "5,420.50" and "5420.5" the same amount.
"""

import hashlib
from dataclasses import dataclass

from django.core.cache import cache
from django.utils.crypto import constant_time_compare

from commission.money import AmountError, format_amount, parse_amount
from payroll_exports.models import PayReport, Payslip, PayslipFile
from portfolios.months import MonthError, parse_month

# Wrong answers for one number from one address, and the seconds to wait after them: as for a login.
WRONG_ANSWERS = 5
WAIT_SECONDS = 15 * 60

# The code has the letters and the figures 2 to 7; what is taken for one of them is read as it.
_LOOKALIKES = str.maketrans({"0": "O", "1": "I", "8": "B", "-": "", "–": "", "−": "", " ": ""})


class TooManyWrong(Exception):
    """So many wrong answers for this number came from this address that it has to wait."""


@dataclass(frozen=True)
class Printed:
    """What stands on a payslip or report, as somebody typed it; a register has no number."""

    number: str
    month: str
    code: str
    amount: str


def plain_code(code: str) -> str:
    """A code without the dashes and slips of whoever typed it."""
    return code.upper().translate(_LOOKALIKES)


def is_ours(printed: Printed, *, address: str) -> bool:
    """Whether a payslip or a report says just that.

    Raises TooManyWrong after five wrong answers for a number from one address.
    """
    key = "verify:" + hashlib.sha256(f"{address} {printed.number}".encode()).hexdigest()
    wrong = cache.get(key, 0)
    if wrong >= WRONG_ANSWERS:
        raise TooManyWrong
    if _says_that(printed):
        return True
    cache.set(key, wrong + 1, WAIT_SECONDS)
    return False


def _says_that(printed: Printed) -> bool:
    try:
        month = parse_month(printed.month.strip())
        amount = parse_amount(printed.amount.replace(" ", "").replace(",", "").replace("，", "").replace("−", "-"))
    except (MonthError, AmountError):
        return False
    number, code = printed.number.strip(), plain_code(printed.code)
    known = list(PayReport.objects.filter(month=month, number=number).values_list("verification_code", "paid_amount"))
    for payslip in Payslip.objects.filter(month=month, clerk__clerk_no=number):
        known.append((payslip.document["verification_code"], payslip.paid_amount))
    return any(constant_time_compare(plain_code(made), code) and paid == amount for made, paid in known)


def kept_file(content: bytes) -> str:
    """What the kept file with just these bytes is; empty where there is none."""
    sha256 = hashlib.sha256(content).hexdigest()
    file = PayslipFile.objects.filter(sha256=sha256).select_related("payslip__clerk", "payslip__month").first()
    report = PayReport.objects.filter(sha256=sha256).select_related("month").first()
    return str(file or report or "")


def with_code(codes: set[str]) -> str:
    """What has one of these codes, and what it pays; empty where nothing has."""
    report = PayReport.objects.filter(verification_code__in=codes).select_related("month").first()
    payslip = Payslip.objects.filter(document__verification_code__in=codes).select_related("clerk", "month").first()
    found = payslip or report
    return f"{found}, {format_amount(found.paid_amount)}" if found else ""
