"""Store summaries, the chain's register and annual statements: they add up to the payslips, and stay as first made."""

import json
from io import BytesIO

import pikepdf
import pypdfium2
import pytest
from django.db import IntegrityError, transaction
from django.db.models import Sum

from payroll_exports.models import EarningLine, FileRecord, PayReport, Payslip
from payroll_exports.pay_reports import annual_statement, chain_register, month_reports, store_summary
from payroll_exports.pay_run import close_month
from payroll_exports.payslip_pdf import PayslipError, PayslipLine
from payroll_exports.report_pdf import ReportDocument, ReportRow, ReportSection, render_report
from portfolios.models import Clerk, Store
from tests.cast import Cast
from tests.payslips import HARD_LINES, LAST_MONTH, LINES
from tests.small_chain import day

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return Cast()


def text_of(pdf: bytes | memoryview) -> str:
    """The text of all pages with single spaces."""
    pages = pypdfium2.PdfDocument(BytesIO(bytes(pdf)))
    return " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in pages)


def test_a_register_has_every_payslip_and_adds_up_to_the_ledger(cast: Cast) -> None:
    report = chain_register(cast.january, language="en")
    text = text_of(report.pdf)
    # 李: 3,100.00 base, 3.00 served and 4.20 absent; 张 covered 1.80; 赵 walk-in 1.50.
    assert "店员C1 C1 3,100.00 7.20 – – – – 3,107.20" in text
    assert "店员C3 C3 – – 1.80 – – – 1.80" in text
    assert "店员C4 C4 – – – 1.50 – – 1.50" in text
    ledger = EarningLine.objects.filter(month=cast.january).aggregate(total=Sum("amount"))["total"]
    assert report.paid_amount == ledger == 311_050
    assert "Chain 3,100.00 7.20 1.80 1.50 – – 3,110.50" in text
    assert report.verification_code in text
    assert "Page 1 of" in text


def test_a_report_has_every_line_as_data_inside(cast: Cast) -> None:
    with pikepdf.open(BytesIO(chain_register(cast.january, language="en").pdf)) as pdf:
        data = json.loads(pdf.attachments["lines.json"].get_file().read_bytes())
    assert data["paid_amount"] == "3110.50"
    assert [(line["clerk_no"], line["line_code"], line["amount"]) for line in data["lines"]] == [
        ("C1", "BASE", "3100.00"),
        ("C1", "OWN_SERVED", "3.00"),
        ("C1", "OWN_ABSENT", "4.20"),
        ("C3", "COVERED", "1.80"),
        ("C4", "WALK_IN", "1.50"),
    ]


def test_the_summaries_of_the_stores_add_up_to_the_register(cast: Cast) -> None:
    *stores, register = month_reports(cast.january, language="zh-hans")
    assert [(report.number, report.kind) for report in stores] == [("S1", "store_summary"), ("S2", "store_summary")]
    assert sum(report.paid_amount for report in stores) == register.paid_amount
    assert (register.number, register.kind) == ("", "register")


def test_a_report_stays_as_it_was_first_made(cast: Cast) -> None:
    first = store_summary(cast.january, cast.first, language="en")
    Store.objects.filter(pk=cast.first.pk).update(name="another name")
    again = store_summary(cast.january, Store.objects.get(pk=cast.first.pk), language="en")
    assert (again.pk, bytes(again.pdf)) == (first.pk, bytes(first.pdf))
    with pytest.raises(IntegrityError), transaction.atomic():
        PayReport.objects.update(paid_amount=1)


def test_a_year_grows_month_by_month_and_each_statement_stays(cast: Cast) -> None:
    li = cast.chain.li
    january = annual_statement(li, 2026)
    assert january.paid_amount == 310_720
    close_month(cast.february, approved_by="test")
    Clerk.objects.filter(pk=li.pk).update(language="en")
    february = annual_statement(Clerk.objects.get(pk=li.pk), 2026)
    assert february.pk != january.pk
    # 3,107.20 and, in February, 3,100.00 + 9.00.
    assert (
        february.paid_amount == 621_620 == sum(Payslip.objects.filter(clerk=li).values_list("paid_amount", flat=True))
    )
    text = text_of(february.pdf)
    assert "Annual statement · 2026" in text
    assert "2026-01 S1 3,100.00 7.20 – – – – 3,107.20" in text
    assert "2026-02 S1 3,100.00 9.00 – – – – 3,109.00" in text
    assert "Page 1 of 1" in text
    with pytest.raises(Payslip.DoesNotExist):
        annual_statement(li, 2025)


def test_figures_that_disagree_with_the_payslips_are_refused() -> None:
    with pytest.raises(PayslipError, match="the lines sum to 946653 but the payslips to 1"):
        document(paid_amount=1)


def document(language: str = "en", **changes: object) -> ReportDocument:
    rows = (
        ReportRow("C0017", "李娜", LINES, sum(line.amount for line in LAST_MONTH)),
        ReportRow("C0018", "欧阳䶮㛃", HARD_LINES, 900_000),
        ReportRow("C0019", "new", (PayslipLine("BASE", 3, 50_000),)),
    )
    values = {
        "kind": PayReport.Kind.STORE_SUMMARY,
        "language": language,
        "month": "2026-10",
        "starts_on": day("10-01"),
        "ends_on": day("10-31"),
        "number": "S03",
        "name": "康宁大药房 中山路店",
        "sections": (ReportSection("", "", rows if not changes else rows[:1]),),
        "paid_amount": 946_653 + 278_710 + 50_000,
        "currency": "CNY",
        **changes,
    }
    return ReportDocument(**values)  # type: ignore[arg-type]


def test_a_summary_shows_who_changed_most_and_how_far() -> None:
    text = text_of(render_report(document()))
    assert "To be paid, gross (CNY)" in text
    assert "Biggest changes against last month" in text
    # In the picture and in the table.
    assert [text.count(change) for change in ("+432.21", "−6,212.90")] == [2, 2]
    # The new clerk has no last month: the sum of changes leaves that one out.
    assert "new C0019 500.00 – – – – – 500.00" in text
    assert text_of(render_report(document("zh-hans"))).count("李娜") == 2
    assert render_report(document()) == render_report(document())


def test_who_takes_a_register_or_a_summary_is_on_record(cast: Cast) -> None:
    assert cast.client("hr").get("/months/2026-01/register.pdf").content.startswith(b"%PDF")
    assert cast.client("manager").get("/months/2026-01/stores/S1.pdf").content.startswith(b"%PDF")
    taken = FileRecord.objects.order_by("pk").values_list("recorded_by__username", "name", "sha256")
    made = PayReport.objects.order_by("pk").values_list("sha256", flat=True)
    assert list(taken) == [("hr", "2026-01.pdf", made[0]), ("manager", "2026-01-S1.pdf", made[1])]


def test_a_clerks_year_is_on_a_page(cast: Cast) -> None:
    page = cast.client("clerk").get("/payslips/2026/C1/")
    assert page.context["paid_amount"] == 310_720
    assert [(line["code"], line["amount"]) for line in page.context["lines"]] == [
        ("BASE", 310_000),
        ("OWN_SERVED", 300),
        ("OWN_ABSENT", 420),
    ]
    assert "/payslips/2026/C1/" in cast.client("clerk").get("/payslips/").content.decode()
    assert "3,107.20 in the year to date" in cast.client("clerk").get("/clerks/2026-01/C1/").content.decode()
