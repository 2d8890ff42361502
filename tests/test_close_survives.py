"""A close that is cut off anywhere leaves nothing, and the close after it is the one that would have been."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from commission.models import Attribution, Booking, SaleLine
from commission.settlement import settle_return, waiting_returns
from kpis.models import CohortMonth, MemberGroup, PortfolioMonth, StoreMonth
from payroll_exports.close_checklist import CloseRefused
from payroll_exports.models import EarningLine, Payslip, ProofBlock, Salary
from payroll_exports.pay_run import CloseReport, close_month
from payroll_exports.proof import verify
from payroll_exports.tie_out import tie_out
from portfolios.bindings import BindingError
from portfolios.models import Binding, Month
from portfolios.months import MonthError
from tests.builders import Till, bind, line, make_chain, ticket
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day
from tests.vendor import Vendor

WRITTEN = [Payslip, EarningLine, PortfolioMonth, StoreMonth, MemberGroup, CohortMonth, ProofBlock]


class KillAt:
    """Lets the first statements of a connection pass and cuts the next one off, before or after it was carried out."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.number, self.after, self.seen, self.sql = number, after, 0, ""

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen += 1
        if self.seen == self.number:
            self.sql = sql
            if self.after:
                execute(sql, params, many, context)
            raise OperationalError("the connection was lost")
        return execute(sql, params, many, context)


def build() -> Month:
    chain = SmallChain()
    own = chain.member("M1", chain.li)
    chain.member("M2", None)
    Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-12"))
    chain.sale("01-05", (chain.zhang, 20_000), member=own)
    chain.sale("01-06", (chain.li, 10_000), (chain.wang, 700, chain.rx), member=own)
    chain.sale("01-07", (chain.zhao, 5_000), store=chain.second)
    return chain.month(202601)


def outcome() -> dict[str, Any]:
    """What a close leaves, by what people know; equal for equal closes."""
    return {
        "months": list(Month.objects.order_by("pk").values_list("pk", "closed_by")),
        "slips": [
            {**slip.document, "store": slip.store_id, "paid": slip.paid_amount}
            for slip in Payslip.objects.order_by("clerk")
        ],
        "lines": list(
            EarningLine.objects.order_by("payslip__clerk", "line_code").values_list(
                "payslip__clerk", "month", "line_code", "quantity", "amount"
            )
        ),
        "books": list(PortfolioMonth.objects.order_by("clerk", "store").values_list("clerk", "store", "closing")),
        "sealed": list(ProofBlock.objects.order_by("table", "number").values_list("month", "table", "rows")),
    }


def nothing_is_left(month: Month) -> None:
    assert [model._default_manager.count() for model in WRITTEN] == [0] * len(WRITTEN)
    assert not Month.objects.filter(closed_at__isnull=False).exists()
    assert Month.objects.get(pk=month.pk).digest == ""
    assert not Month.objects.filter(pk__gt=month.pk).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_close_that_is_killed_at_any_statement(after: bool) -> None:
    month = build()
    with transaction.atomic():
        counting = KillAt(0, after=False)
        with connection.execute_wrapper(counting):
            close_month(month, approved_by="test")
        undisturbed = outcome()
        transaction.set_rollback(True)
    assert counting.seen > 40
    for number in range(1, counting.seen + 1):
        kill = KillAt(number, after=after)
        with pytest.raises(OperationalError), transaction.atomic(), connection.execute_wrapper(kill):
            close_month(month, approved_by="test")
        assert kill.seen >= number, kill.sql
        nothing_is_left(month)
    report = close_month(month, approved_by="test")
    assert not report.already_closed
    assert outcome() == undisturbed
    assert list(verify(Month.objects.filter(closed_at__isnull=False))) == []
    assert close_month(month, approved_by="test").already_closed


# --- On connections of their own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        "a_lost_connection",
        "settlements_and_imports_beside_a_close",
        "a_change_of_owner_beside_a_close",
        "many_closes_and_imports",
        "a_request_that_is_sent_many_times_at_once",
        "tickets_from_tills_beside_a_close",
    ],
)
def test_beside_others(scenario: str, shared_database: None, tmp_path: Path) -> None:
    (raised,) = at_once(lambda: globals()[scenario](tmp_path))
    if raised is not None:
        raise raised


def a_lost_connection(_directory: Path) -> None:
    """The server ends the connection in the middle of a close, at each of its steps."""
    month = build()
    if connection.vendor != "postgresql":
        # A file has no server that could go away: the process that holds it does, and its journal is rolled back.
        return
    for step in ("checking", "portfolios", "measures", "payslips", "tie-out", "digest"):

        def lose(told: str, step: str = step) -> None:
            if told == step:
                other = connections.create_connection("default")
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_backend_pid()")
                    (pid,) = cursor.fetchone()
                with other.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
                other.close()

        with pytest.raises(OperationalError):
            close_month(month, approved_by="test", progress=lose)
        connection.close()
        nothing_is_left(month)
    assert close_month(month, approved_by="test").payslips == 4
    assert list(verify(Month.objects.filter(closed_at__isnull=False))) == []


def proved() -> None:
    closed = list(Month.objects.filter(closed_at__isnull=False).order_by("pk"))
    assert closed
    assert list(verify(closed)) == []
    assert all(tie_out(month).ties for month in Month.objects.all())


def settlements_and_imports_beside_a_close(directory: Path) -> None:
    """A return is settled, tickets come and the month closes at once: each is in the month, or after it."""
    make_chain()
    till = Till(directory)
    till.load(
        *(ticket(f"W{n}", "01-09", line("-5.00", by="C3")) for n in range(4)),
        ticket("T1", "01-05", line("200.00", by="C3"), member="M1"),
    )
    files = [till.file(ticket(f"A{n}", "01-20", line("10.00", by="C3"), member="M1")) for n in range(4)]
    together = threading.Barrier(3)

    def settle() -> None:
        together.wait(10)
        for n in range(4):
            settle_return(store_no="S1", business_date=day("01-09"), ticket_no=f"W{n}", reason="old")

    def load() -> None:
        together.wait(10)
        for file in files:
            till.load_file(file)

    def close() -> CloseReport:
        together.wait(10)
        while True:
            try:
                return close_month(Month.objects.get(pk=202601), approved_by="test")
            except CloseRefused as refusal:
                if "Return lines wait" not in str(refusal):
                    raise
                time.sleep(0.01)

    outcomes = at_once(settle, load, close)

    assert [result for result in outcomes if isinstance(result, Exception)] == []
    assert not waiting_returns().exists()
    late = Attribution.objects.filter(month=202602)
    assert all(row.reason == "LATE" for row in late)
    assert Attribution.objects.filter(month=202601).count() + late.count() == 9
    # Settled before the close, or it would not have been.
    assert not late.filter(part__settled=True).exists()
    proved()


def a_change_of_owner_beside_a_close(directory: Path) -> None:
    """An owner's change within the month is in the month's pay, or is refused: never half of it."""
    from commission.rebinding import correct_since, hold_ledger
    from portfolios.months import require_open

    make_chain()
    Till(directory).load(*(ticket(f"T{n}", "01-15", line("100.00", by="C3"), member="M1") for n in range(5)))
    together = threading.Barrier(2)

    def rebind() -> None:
        together.wait(10)
        with transaction.atomic():
            hold_ledger()
            require_open(day("01-10"), "The change")
            bind("M1", "C2", since="01-10")
            correct_since(day("01-10"), source="test", recorded_by=None)

    def close() -> CloseReport:
        together.wait(10)
        return close_month(Month.objects.get(pk=202601), approved_by="test")

    change, report = at_once(rebind, close)

    assert isinstance(report, CloseReport), report
    owned = EarningLine.objects.get(line_code="OWN_ABSENT", amount__gt=0).payslip.clerk.clerk_no
    if change is None:
        assert (owned, Binding.objects.filter(clerk__clerk_no="C2").count()) == ("C2", 1)
    else:
        assert isinstance(change, MonthError | BindingError), change
        assert (owned, Binding.objects.filter(clerk__clerk_no="C2").count()) == ("C1", 0)
    proved()


def many_closes_and_imports(directory: Path) -> None:
    make_chain()
    till = Till(directory)
    till.load(ticket("T1", "01-05", line("200.00", by="C3"), member="M1"))
    till.load(ticket("T2", "02-05", line("200.00", by="C3"), member="M1"))
    files = [
        [till.file(ticket(f"{who}{n}", "01-20", line("10.00", by=who), member="M1")) for n in range(3)]
        for who in ("C1", "C2")
    ]
    together = threading.Barrier(4)

    def load(own: list[Path]) -> None:
        together.wait(10)
        for file in own:
            till.load_file(file)

    def close() -> list[bool]:
        together.wait(10)
        return [close_month(Month.objects.get(pk=n), approved_by="test").already_closed for n in (202601, 202602)]

    outcomes = at_once(lambda: load(files[0]), lambda: load(files[1]), close, close)

    assert [result for result in outcomes if isinstance(result, Exception)] == []
    for n in (0, 1):
        assert sorted(outcome[n] for outcome in outcomes[2:]) == [False, True]
    assert Attribution.objects.count() == 8
    assert SaleLine.objects.count() == 8
    assert Booking.objects.exists()
    proved()


def a_request_that_is_sent_many_times_at_once(_directory: Path) -> None:
    """Four impatient tills send the same two tickets, one of them a return: 4.20, 1.80, -1.05 and -0.45, once."""
    make_chain()
    vendor, together = Vendor(), threading.Barrier(4)
    sold = ticket("T1", "01-05", line("200.00", by="C3"), member="M1")
    back = ticket("T2", "01-06", line("-50.00", by="C3", of=("T1", "01-05", 1)), member="M1")

    def send() -> Any:
        together.wait(10)
        return vendor.post_until_heard(sold, back)

    answers = at_once(send, send, send, send)

    assert [answer.status_code for answer in answers] == [200] * 4
    assert sorted(answer.json()["booked"] for answer in answers) == [0, 0, 0, 2]
    assert Booking.objects.count() == 1
    parties = ("owner_commission_amount", "server_commission_amount")
    assert list(Attribution.objects.order_by("pk").values_list(*parties)) == [(420, 180), (-105, -45)]
    assert vendor.post(sold, back).json()["repeated"] == 2


def tickets_from_tills_beside_a_close(_directory: Path) -> None:
    """Three tills send January's tickets one by one, each twice, while January closes: each is in it, or late."""
    make_chain()
    first, second, chain = Vendor("S1"), Vendor("S2"), Vendor()
    assert first.post(ticket("T1", "01-05", line("200.00", by="C3"), member="M1")).status_code == 200
    together, some_are_in, closed = threading.Barrier(4), threading.Event(), threading.Event()

    def send(vendor: Vendor, name: str, store: str) -> list[dict[str, Any]]:
        together.wait(10)
        answers: list[dict[str, Any]] = []
        after = 0
        # Before the close, beside it, and three times after it.
        while after < 3:
            after += closed.is_set()
            sent = ticket(f"{name}{len(answers)}", "01-20", line("10.00", by="C3"), member="M1", store=store)
            answer, again = vendor.post_until_heard(sent), vendor.post_until_heard(sent)
            assert (answer.status_code, again.status_code) == (200, 200), answer.content + again.content
            assert (answer.json()["booked"], again.json()["booked"]) == (1, 0)
            answers.append(answer.json())
            if len(answers) == 2:
                some_are_in.set()
        return answers

    def close() -> CloseReport:
        together.wait(10)
        assert some_are_in.wait(60)
        try:
            return close_month(Month.objects.get(pk=202601), approved_by="test")
        finally:
            closed.set()

    *tills, report = at_once(
        lambda: send(first, "A", "S1"), lambda: send(second, "B", "S2"), lambda: send(chain, "C", "S1"), close
    )

    assert isinstance(report, CloseReport), report
    assert [till for till in tills if isinstance(till, Exception)] == []
    # What each till was told is what is in the books.
    told = [(*one["posted_months"], one["late_attributions"]) for till in tills for one in till]
    assert set(told) == {("2026-01", 0), ("2026-02", 1)}
    in_january, late = (Attribution.objects.filter(month=number) for number in (202601, 202602))
    assert (in_january.count() - 1, late.count()) == (told.count(("2026-01", 0)), told.count(("2026-02", 1)))
    assert set(late.values_list("reason", flat=True)) == {"LATE"}
    assert SaleLine.objects.count() == 1 + len(told)
    # And what was paid is what was in the month when it closed.
    paid = EarningLine.objects.filter(line_code__in=["OWN_ABSENT", "COVERED"])
    assert sum(paid.values_list("amount", flat=True)) == sum(in_january.values_list("commission_amount", flat=True))
    proved()
