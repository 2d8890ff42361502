"""A small chain written straight into the tables: who is bound to whom, and what the members bought."""

import datetime as dt
from itertools import count

from django.utils import timezone

from commission.models import Attribution, Booking, Plan, Sale, SalePart
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, Month, Posting, Store
from portfolios.months import month_number, open_months

Reason = Attribution.Reason


def day(text: str) -> dt.date:
    """2026-03-05 for "3-5": the year is 2026 unless it is said."""
    parts = [int(part) for part in text.split("-")]
    return dt.date(*parts) if len(parts) == 3 else dt.date(2026, *parts)


class Chain:
    """Numbers are given as they come: the first clerk is C1, the first ticket T1."""

    def __init__(self, first_month: int = 202601, last_month: int = 202606) -> None:
        open_months(first_month, last_month)
        self.plan = Plan.objects.create(plan_no="P", valid_from=dt.date(1990, 1, 1))
        self.booking = Booking.objects.create(source="test")
        self.batch = BindingBatch.objects.create(source="test")
        self.numbers = count(1)

    def store(self) -> Store:
        number = Store.objects.count() + 1
        return Store.objects.create(store_no=f"S{number}", name=f"Store {number}")

    def clerk(self, store: Store | None = None, since: str = "2020-1-1", until: dt.date = OPEN_END) -> Clerk:
        number = Clerk.objects.count() + 1
        clerk = Clerk.objects.create(clerk_no=f"C{number}", name=f"Clerk {number}", hired_on=day("2020-1-1"))
        if store:
            Posting.objects.create(clerk=clerk, store=store, role="clerk", valid_from=day(since), valid_to=until)
        return clerk

    def member(self, store: Store, since: str = "2025-1-1", until: str = "") -> Member:
        return Member.objects.create(
            member_no=f"M{next(self.numbers)}",
            store=store,
            enrolled_on=day(since),
            counted_from=day(since),
            closed_on=day(until) if until else None,
            counted_to=day(until) if until else OPEN_END,
        )

    def bind(
        self, member: Member, clerk: Clerk, since: str = "2025-1-1", until: str = "", voided: bool = False
    ) -> None:
        Binding.objects.create(
            member=member,
            clerk=clerk,
            valid_from=day(since),
            valid_to=day(until) if until else OPEN_END,
            reason=Binding.Reason.REASSIGNMENT,
            batch=self.batch,
            voided_by=self.batch if voided else None,
        )

    def buy(
        self,
        member: Member | None,
        on: str,
        amount: int = 100,
        *,
        excluded: int = 0,
        posted: int = 0,
        original: SalePart | None = None,
        settled: bool = False,
        beside: SalePart | None = None,
        server: Clerk | None = None,
    ) -> SalePart:
        """A ticket of one part, posted to its own month or to a later one (`posted`); a return has an original.

        With `beside` it is a further part of the same ticket.
        """
        on_day = day(on)
        number = month_number(on_day)
        store = Store.objects.earliest("pk")
        ticket_no = f"T{next(self.numbers)}"
        if beside:
            sale = beside.sale
        else:
            sale = Sale.objects.create(
                store=store,
                business_date=on_day,
                month_number=number,
                ticket_no=ticket_no,
                sold_at=timezone.now(),
                member=member,
                booking=self.booking,
            )
        part = SalePart.objects.create(
            sale=sale,
            number=beside.number + 1 if beside else 1,
            store=store,
            business_date=on_day,
            month_number=number,
            member=member,
            server=server,
            original=original,
            settled=settled,
            plan=self.plan,
            commissionable_amount=amount,
            excluded_amount=excluded,
            commission_e4=0,
        )
        if original or settled:
            reason = Reason.RETURN
        else:
            reason = Reason.LATE if posted else Reason.SALE
        self.attribute(part, month=posted or number, reason=reason, member=member)
        return part

    def attribute(
        self,
        part: SalePart,
        *,
        month: int,
        reason: str,
        member: Member | None,
        sign: int = 1,
        corrects: Attribution | None = None,
    ) -> None:
        Attribution.objects.create(
            part=part,
            booking=self.booking,
            month_id=month,
            kind=Attribution.Kind.UNOWNED,
            reason=reason,
            pay_line=Attribution.PayLine.KIND,
            reverses=sign < 0,
            corrects=corrects,
            store_id=part.store_id,
            business_date=part.business_date,
            member=member,
            server=part.server,
            plan=self.plan,
            share_bp=10000,
            commissionable_amount=sign * part.commissionable_amount,
            excluded_amount=sign * part.excluded_amount,
            owner_credit_amount=0,
            server_credit_amount=0,
            house_credit_amount=sign * part.commissionable_amount,
            commission_amount=0,
            owner_commission_amount=0,
            server_commission_amount=0,
            house_commission_amount=0,
        )


def close(month: Month) -> None:
    month.closed_at = timezone.now()
    month.save()
