"""Returns without a known original: they keep the month open until a manager settles them."""

import datetime as dt

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from commission.models import Attribution, Category, Plan, PlanRate, SaleLine
from commission.settlement import SettlementError, settle_return, waiting_returns
from commission.ticket_import import import_tickets
from portfolios.models import Binding, BindingBatch, Clerk, Member, Store

pytestmark = pytest.mark.django_db

DAY = dt.date(2026, 3, 10)


@pytest.fixture
def waiting(tmp_path):
    """A return of 50.00 at 3% and of 20.00 of excluded medicine, by a member of 李娜, whose original nobody has."""
    store = Store.objects.create(store_no="S1", name="One")
    clerk = Clerk.objects.create(clerk_no="C1", name="李娜", hired_on=DAY)
    supplements = Category.objects.create(category="supplements", name_en="Supplements", name_zh="保健品")
    Category.objects.create(category="rx", name_en="Prescription", name_zh="处方药", excluded=True)
    plan = Plan.objects.create(plan_no="P", valid_from=dt.date(2026, 1, 1))
    PlanRate.objects.create(plan=plan, category=supplements, rate_bp=300)
    member = Member.objects.create(member_no="M1", store=store, enrolled_on=DAY, counted_from=DAY)
    batch = BindingBatch.objects.create(source="test")
    Binding.objects.create(member=member, clerk=clerk, valid_from=DAY, reason="enrolment", batch=batch)
    file = tmp_path / "tickets.csv"
    file.write_text(
        "store_no,business_date,ticket_no,sold_at,clerk_no,member_no,line_no,product_no,category,quantity,net_amount,"
        "original_store_no,original_business_date,original_ticket_no,original_line_no\n"
        "S1,2026-03-10,T1,2026-03-10T10:00:00+08:00,C1,M1,1,P1,supplements,-1,-50.00,,,,\n"
        "S1,2026-03-10,T1,2026-03-10T10:00:00+08:00,C1,M1,2,P2,rx,-1,-20.00,,,,\n",
        encoding="utf-8",
    )
    import_tickets(file)


@pytest.mark.usefixtures("waiting")
class TestSettlement:
    def test_it_waits_without_being_booked(self):
        assert waiting_returns().count() == 2
        assert not Attribution.objects.exists()

    def test_settled_it_is_wholly_the_houses(self):
        assert settle_return(store_no="S1", business_date=DAY, ticket_no="T1", reason="older than the system") == 2
        row = Attribution.objects.get()
        assert (row.kind, row.reason, row.owner, row.server) == ("UNOWNED", "RETURN", None, None)
        assert (row.commissionable_amount, row.excluded_amount) == (-5000, -2000)
        assert (row.house_credit_amount, row.house_commission_amount) == (-5000, -150)
        assert row.booking.note == "older than the system"
        assert not SaleLine.objects.filter(part=None).exists()

    def test_a_second_time_there_is_nothing_to_settle(self):
        settle_return(store_no="S1", business_date=DAY, ticket_no="T1", reason="older than the system")
        with pytest.raises(SettlementError, match="no return that waits"):
            settle_return(store_no="S1", business_date=DAY, ticket_no="T1", reason="again")
        assert Attribution.objects.count() == 1

    def test_it_takes_a_reason(self):
        with pytest.raises(SettlementError, match="Say why"):
            settle_return(store_no="S1", business_date=DAY, ticket_no="T1", reason=" ")
        assert waiting_returns().count() == 2

    def test_the_command_tries_it_dry_and_refuses_what_is_not_there(self):
        call_command("settle_return", "S1", "2026-03-10", "T1", "--reason=old", "--dry-run")
        assert waiting_returns().count() == 2
        with pytest.raises(CommandError, match="Ticket T9"):
            call_command("settle_return", "S1", "2026-03-10", "T9", "--reason=old")


def test_before_the_first_ticket_there_is_nothing_to_settle():
    with pytest.raises(CommandError, match="Ticket T1 of store S1 on 2026-03-10 has no return"):
        call_command("settle_return", "S1", "2026-03-10", "T1", "--reason=old")
