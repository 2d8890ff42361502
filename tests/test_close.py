"""Closing a month: what stands in the way, who may, what it leaves, and what happens beside it."""

import datetime as dt
import threading
import time
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from commission.attribution import attribute
from commission.models import Attribution, Booking, SaleLine
from kpis.models import PortfolioMonth
from payroll_exports.close_checklist import CloseRefused, close_checklist
from payroll_exports.models import EarningLine, Payslip
from payroll_exports.pay_run import CloseReport, close_month
from payroll_exports.payslip_lock import verification_code
from payroll_exports.payslip_pdf import PayslipDocument
from payroll_exports.tie_out import tie_out
from portfolios.models import Clerk, Month
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day


@pytest.fixture
def chain(db: None) -> SmallChain:
    return SmallChain()


def close(month: Month, **options: Any) -> CloseReport:
    return close_month(month, approved_by="test", **options)


def codes(month: Month, today: str = "2027-01-01") -> list[tuple[str, int]]:
    return [(check.code, check.count) for check in close_checklist(month, dt.date.fromisoformat(today))]


# --- What it leaves ----------------------------------------------------------------------------------------------


def test_a_close_leaves_payslips_snapshots_and_an_open_month(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), member=own)
    steps: list[str] = []

    report = close(chain.month(202601), progress=steps.append)

    assert (report.already_closed, report.payslips, report.paid_amount) == (False, 4, 600)
    assert report.tie_out is not None
    assert report.tie_out.ties
    assert len(steps) == 7
    month = Month.objects.get(pk=202601)
    assert (month.is_closed, month.closed_by) == (True, "test")
    assert not Month.objects.get(pk=202602).is_closed
    assert PortfolioMonth.objects.get(month=month, clerk=chain.li).closing == 1
    lines = EarningLine.objects.order_by("pk").values_list(
        "payslip__clerk__clerk_no", "line_code", "quantity", "amount"
    )
    assert list(lines) == [("C1", "OWN_ABSENT", 1, 420), ("C3", "COVERED", 1, 180)]
    payslip = Payslip.objects.get(clerk=chain.li)
    assert (payslip.store, payslip.paid_amount) == (chain.first, 420)


def test_a_payslips_document_says_what_the_ledger_and_the_portfolio_say(chain: SmallChain) -> None:
    Clerk.objects.filter(pk=chain.zhang.pk).update(language=Clerk.Language.ENGLISH)
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), member=own)
    close(chain.month(202601))
    chain.sale("02-05", (chain.zhang, 40_000), member=own)
    close(chain.month(202602))

    document = PayslipDocument.from_dict(Payslip.objects.get(month=202602, clerk=chain.zhang).document)

    assert (document.language, document.month, document.store_no) == ("en", "2026-02", "S1")
    assert (document.starts_on, document.ends_on) == (day("02-01"), day("02-28"))
    assert [(line.line_code, line.quantity, line.amount) for line in document.lines] == [("COVERED", 1, 360)]
    assert document.previous_lines is not None
    assert [line.amount for line in document.previous_lines] == [180]
    assert document.paid_amount == 360
    # The year to date: 180 of January and 360 of February, two tickets.
    assert [(line.line_code, line.quantity, line.amount) for line in document.year_lines] == [("COVERED", 2, 540)]
    of_li = PayslipDocument.from_dict(Payslip.objects.get(month=202601, clerk=chain.li).document)
    assert (of_li.movement["enrolled"], of_li.movement["closing"], of_li.previous_lines) == (1, 1, None)


def test_the_verification_code_is_this_documents_and_this_installations(chain: SmallChain, settings: Any) -> None:
    chain.sale("01-05", (chain.zhang, 20_000))
    close(chain.month(202601))
    document = Payslip.objects.get(clerk=chain.zhang).document
    code = document["verification_code"]

    assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
    assert verification_code(document) == code
    assert verification_code(PayslipDocument.from_dict(document).to_dict()) == code
    assert verification_code({**document, "clerk_name": "别人"}) != code
    settings.SECRET_KEY = "another installation's key"
    assert verification_code(document) != code


def test_a_second_close_changes_nothing(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.zhang, 20_000))
    month = chain.month(202601)
    close(month)
    closed_at = Month.objects.get(pk=202601).closed_at

    report = close_month(month, approved_by="somebody else")

    assert report.already_closed
    assert (report.payslips, report.paid_amount, report.tie_out) == (4, 600, None)
    month.refresh_from_db()
    assert (month.closed_at, month.closed_by) == (closed_at, "test")
    assert Payslip.objects.count() == 4


def test_a_dry_run_shows_the_result_and_leaves_nothing(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.zhang, 20_000))

    report = close(chain.month(202601), dry_run=True)

    assert (report.payslips, report.paid_amount) == (4, 600)
    assert not report.month.is_closed
    assert [rows.objects.count() for rows in (Payslip, EarningLine, PortfolioMonth)] == [0, 0, 0]
    assert not Month.objects.filter(pk=202602).exists()
    assert close(chain.month(202601)).payslips == 4


def test_a_close_that_breaks_off_leaves_nothing(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.zhang, 20_000))
    month = chain.month(202601)

    def interrupt(step: str) -> None:
        if step == "tie-out":
            assert Payslip.objects.count() == 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        close(month, progress=interrupt)

    assert [rows.objects.count() for rows in (Payslip, EarningLine, PortfolioMonth)] == [0, 0, 0]
    assert not Month.objects.get(pk=202601).is_closed


def test_nothing_is_posted_to_a_closed_month(chain: SmallChain) -> None:
    (part,) = chain.sale("01-05", (chain.zhang, 20_000))
    month = chain.month(202601)
    close(month)
    row = Attribution.objects.get(part=part)
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        EarningLine.objects.bulk_create(
            [EarningLine(payslip=Payslip.objects.all()[0], month=month, line_code="BASE", quantity=0, amount=1)]
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        Month.objects.filter(pk=202601).update(closed_at=None)


# --- What stands in the way --------------------------------------------------------------------------------------


def test_months_close_in_order(chain: SmallChain) -> None:
    chain.month(202603)
    assert codes(chain.month(202603)) == [("earlier_month", 2)]
    with pytest.raises(CloseRefused, match=r"(?s)2026-03 cannot be closed.*2026-01; 2026-02"):
        close(chain.month(202603))
    close(chain.month(202601))
    close(chain.month(202602))
    assert codes(chain.month(202603)) == []
    close(chain.month(202603))


def test_an_unmatched_return_stands_in_the_way_from_its_month_on(chain: SmallChain) -> None:
    chain.month(202602)
    line = chain.unmatched_return("02-05", -1_000)
    assert codes(chain.month(202601)) == []
    close(chain.month(202601))
    february = chain.month(202602)
    (check,) = [check for check in close_checklist(february) if check.blocks]
    assert (check.code, check.count) == ("unmatched_return", 1)
    assert check.examples == [f"store S1, 2026-02-05, ticket {line.sale.ticket_no}, line 2"]
    with pytest.raises(CloseRefused, match=line.sale.ticket_no):
        close(february)
    assert not Payslip.objects.filter(month=202602).exists()


def test_an_unattributed_ticket_stands_in_the_way(chain: SmallChain) -> None:
    (part,) = chain.sale("01-05", (chain.zhang, 20_000), book=False)
    month = chain.month(202601)
    assert codes(month) == [("unattributed_ticket", 1)]
    with pytest.raises(CloseRefused, match=part.sale.ticket_no):
        close(month)
    attribute(booking=Booking.objects.create(source="again"))
    assert codes(month) == []


def test_what_is_worth_knowing_does_not_stand_in_the_way(chain: SmallChain) -> None:
    chain.member("M1", None)
    chain.member("M2", chain.li)
    month = chain.month(202601)
    assert codes(month, "2026-01-30") == [("month_not_over", 2), ("members_without_owner", 1)]
    assert codes(month, "2026-01-31") == [("month_not_over", 1), ("members_without_owner", 1)]
    assert codes(month, "2026-02-01") == [("members_without_owner", 1)]
    assert not any(check.blocks for check in close_checklist(month, day("01-30")))
    assert [check.code for check in close(month).warnings][-1] == "members_without_owner"


def test_a_ledger_that_does_not_tie_out_is_refused_with_its_figures(chain: SmallChain) -> None:
    (part,) = chain.sale("01-05", (chain.zhang, 20_000))
    # A line that came into the part behind the ledger's back.
    SaleLine.objects.create(
        sale=part.sale,
        line_no=2,
        part=part,
        product_no="P2",
        category=chain.otc,
        quantity_milli=1000,
        net_amount=5,
        is_return=False,
    )
    month = chain.month(202601)
    figures = tie_out(month)
    assert (figures.pos_amount, figures.attributed_amount, figures.ties) == (20_005, 20_000, False)
    with pytest.raises(CloseRefused, match=r"200\.05.*200\.00"):
        close(month)
    assert [rows.objects.count() for rows in (Payslip, EarningLine, PortfolioMonth)] == [0, 0, 0]


def test_a_part_that_was_booked_twice_does_not_tie_out(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.zhang, 20_000))
    row = Attribution.objects.get()
    row.pk = None
    row.save(force_insert=True)

    figures = tie_out(chain.month(202601))

    assert (figures.pos_amount, figures.attributed_amount, figures.ties) == (20_000, 40_000, False)


# --- The command -------------------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_command_checks_rehearses_and_closes(chain: SmallChain) -> None:
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), (chain.zhang, 1_000, chain.rx), member=own)
    assert "Nothing stands in the way of closing 2026-01" in run("close_month", "2026-01", "--check")
    rehearsed = run("close_month", "2026-01", "--dry-run")
    assert "Dry run, nothing changed: 2026-01 would close, 4 payslips, 6.00 to be paid" in rehearsed
    assert not Month.objects.get(pk=202601).is_closed
    closed = run("close_month", "2026-01")
    assert "2026-01 is closed: 4 payslips, 6.00 to be paid" in closed
    amounts = [line.split()[0] for line in closed.splitlines() if line.startswith("   ")]
    assert amounts == ["210.00", "200.00", "0.00", "10.00", "210.00", "6.00", "6.00", "0.00"]
    assert Month.objects.get(pk=202601).closed_by.endswith("on the command line")
    at = timezone.localtime(Month.objects.get(pk=202601).closed_at)
    assert f"2026-01 is closed already, since {at:%Y-%m-%d %H:%M} by " in run("close_month", "2026-01")
    assert "2026-01 is closed already" in run("close_month", "2026-01", "--check")


def test_the_command_says_what_stands_in_the_way(chain: SmallChain) -> None:
    line = chain.unmatched_return("01-05", -1_000)
    out = StringIO()
    with pytest.raises(CommandError, match="cannot be closed yet"):
        call_command("close_month", "2026-01", "--check", stdout=out)
    assert line.sale.ticket_no in out.getvalue()
    with pytest.raises(CommandError, match="Return lines wait"):
        run("close_month", "2026-01")
    with pytest.raises(CommandError, match="write it as YYYY-MM"):
        run("close_month", "202601")
    with pytest.raises(CommandError, match="not known"):
        run("close_month", "2031-01")


# --- Beside others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario", ["two_closes_are_one", "a_sale_is_counted_or_refused", "an_import_runs_beside_the_close"]
)
def test_a_close_beside(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def two_closes_are_one() -> None:
    chain = SmallChain()
    chain.sale("01-05", (chain.zhang, 20_000), member=chain.member("M1", chain.li))
    month = chain.month(202601)
    together = threading.Barrier(3)

    def close_together() -> CloseReport:
        together.wait(10)
        return close(month)

    reports = at_once(close_together, close_together, close_together)

    assert sorted(report.already_closed for report in reports) == [False, True, True]
    assert {(report.payslips, report.paid_amount) for report in reports} == {(4, 600)}
    assert Payslip.objects.count() == 4
    assert EarningLine.objects.count() == 2


def an_import_runs_beside_the_close() -> None:
    chain = SmallChain()
    for _ in range(5):
        chain.sale("01-05", (chain.zhang, 20_000))
    month = chain.month(202601)
    for _ in range(20):
        chain.sale("01-06", (chain.zhang, 10_000), book=False)
    together, posted_all = threading.Barrier(2), threading.Event()

    def post() -> int:
        together.wait(10)
        try:
            return attribute(booking=Booking.objects.create(source="beside"))
        finally:
            posted_all.set()

    def close_when_all_is_attributed() -> CloseReport:
        together.wait(10)
        while not posted_all.is_set():
            try:
                return close(month)
            except CloseRefused as refusal:
                if "but not attributed" not in str(refusal):
                    raise
                time.sleep(0.02)
        return close(month)

    posted, report = at_once(post, close_when_all_is_attributed)

    assert posted == 20
    assert isinstance(report, CloseReport), report
    assert report.paid_amount == 9_000
    month.refresh_from_db()
    assert tie_out(month).ties


def a_sale_is_counted_or_refused() -> None:
    """A writer holds a row uncommitted while the close starts; a second one comes while the close runs."""
    chain = SmallChain()
    chain.sale("01-05", (chain.zhang, 20_000))
    (waiting,) = chain.sale("01-06", (chain.zhang, 10_000), book=False)
    month = chain.month(202601)
    booked = Attribution.objects.get()
    written, closing_began, locked = threading.Event(), threading.Event(), threading.Event()

    def write_half_of_it() -> None:
        columns = {field.attname: getattr(booked, field.attname) for field in Attribution._meta.concrete_fields}
        halves = {name: columns[name] // 2 for name in columns if name.endswith("_amount")}
        Attribution(**(columns | halves | {"id": None, "part_id": waiting.pk})).save(force_insert=True)

    def first_writer() -> None:
        with transaction.atomic():
            write_half_of_it()
            written.set()
            assert closing_began.wait(10)
            # Long enough for the close to run into what this transaction holds.
            time.sleep(0.5)

    def closer() -> CloseReport:
        assert written.wait(10)
        closing_began.set()
        return close(month, progress=lambda step: locked.set() if step == "payslips" else None)

    def second_writer() -> None:
        assert locked.wait(10)
        write_half_of_it()

    _none, report, refusal = at_once(first_writer, closer, second_writer)

    assert isinstance(report, CloseReport), report
    assert report.paid_amount == 900
    assert isinstance(refusal, IntegrityError)
    assert "not open" in str(refusal)
    assert Attribution.objects.filter(month=202601).count() == 2
    assert tie_out(Month.objects.get(pk=202601)).ties
