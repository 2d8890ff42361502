"""The ledger worked out again in plain Python, over random months."""

from pathlib import Path

import pytest

from commission.corrections import correct
from commission.models import Attribution, Booking
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from portfolios.models import Clerk, Month, Posting, Store
from tests.builders import Till, bind, day
from tests.test_attribution import BigChain


@pytest.mark.django_db
def test_random_months_are_proved(tmp_path: Path) -> None:
    """Sales and returns of every sort, in any order, late ones too: what is booked is what the rules give."""
    chain, till = BigChain(seed=38), Till(tmp_path)
    tickets = list(chain.tickets(450))
    backs = list(chain.returns(tickets))
    chain.random.shuffle(tickets)
    till.load(*tickets)
    early = [rows for rows in backs if chain.random.random() < 0.4]
    till.load(*early)
    Posting.objects.bulk_create(
        Posting(clerk=clerk, store=Store.objects.get(store_no="S1"), role="clerk", valid_from=day("2025-01-01"))
        for clerk in Clerk.objects.all()
    )
    close_month(Month.objects.get(pk=202601), approved_by="test")
    till.load(*(rows for rows in backs if rows not in early))
    for member in range(0, 120, 7):
        bind(f"M{member}", "C1", since="2026-02-15")
    assert correct(since=day("02-15"), booking=Booking.objects.create(source="test")) > 0
    for number in (202602, 202603, 202604):
        close_month(Month.objects.get(pk=number), approved_by="test")
    assert Attribution.objects.filter(reason="CORRECTION", part__original__isnull=False).exists()
    assert Attribution.objects.filter(pay_line="CLAWBACK", reason="RETURN").count() > 100
    assert list(verify(Month.objects.filter(closed_at__isnull=False).order_by("pk"))) == []
