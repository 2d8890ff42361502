"""A small chain for tests that need money: two stores, four clerks, one plan, and tickets booked as the import does.

Everything sells at 3%; the plan's owner share is 70%.
"""

import datetime as dt
from itertools import count
from zoneinfo import ZoneInfo

from commission.attribution import attribute
from commission.models import Booking, Category, Plan, PlanRate, Sale, SaleLine, SalePart
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, Month, Posting, Store
from portfolios.months import month_number, open_months

SHANGHAI = ZoneInfo("Asia/Shanghai")
RATE_BP = 300


def day(text: str) -> dt.date:
    """2026-10-05, from "10-05" or in full."""
    return dt.date.fromisoformat(text if len(text) == 10 else f"2026-{text}")


class SmallChain:
    def __init__(self, *, opened: bool = True) -> None:
        self.first, self.second = (Store.objects.create(store_no=f"S{n}", name=f"店{n}") for n in (1, 2))
        self.plan = Plan.objects.create(plan_no="2026-A", valid_from=day("01-01"))
        self.otc = Category.objects.create(category="otc", name_en="OTC", name_zh="非处方药")
        self.rx = Category.objects.create(category="rx", name_en="Prescription", name_zh="处方药", excluded=True)
        PlanRate.objects.create(plan=self.plan, category=self.otc, rate_bp=RATE_BP)
        PlanRate.objects.create(plan=self.plan, category=self.rx, excluded=True)
        self.li, self.wang, self.zhang = (self.clerk(no) for no in ("C1", "C2", "C3"))
        self.zhao = self.clerk("C4", store=self.second)
        self.batch = BindingBatch.objects.create(source="test")
        self.numbers = count(1)
        if opened:
            open_months(202601, 202601)

    def clerk(
        self,
        clerk_no: str,
        *,
        store: Store | None = None,
        since: str = "01-01",
        until: dt.date = OPEN_END,
        role: str = Posting.Role.CLERK,
    ) -> Clerk:
        clerk = Clerk.objects.create(clerk_no=clerk_no, name=f"店员{clerk_no}", hired_on=day("01-01"))
        Posting.objects.create(clerk=clerk, store=store or self.first, role=role, valid_from=day(since), valid_to=until)
        return clerk

    def member(self, member_no: str, owner: Clerk | None, since: str = "01-01") -> Member:
        start = day(since)
        member = Member.objects.create(
            member_no=member_no, store=self.first, enrolled_on=start, counted_from=start, enrolled_by=owner
        )
        if owner:
            Binding.objects.create(
                member=member, clerk=owner, valid_from=start, reason=Binding.Reason.ENROLMENT, batch=self.batch
            )
        return member

    def month(self, number: int) -> Month:
        open_months(number, number)
        return Month.objects.get(pk=number)

    def sale(
        self,
        on: str,
        *lines: tuple[Clerk | None, int] | tuple[Clerk | None, int, Category],
        member: Member | None = None,
        store: Store | None = None,
        returns: SalePart | None = None,
        ticket_no: str = "",
        book: bool = True,
    ) -> list[SalePart]:
        """A ticket with one part per line (server, net amount, category), booked at once."""
        on_day, store, number = day(on), store or self.first, next(self.numbers)
        open_months(month_number(on_day), month_number(on_day))
        booking = Booking.objects.create(source=f"file {number}")
        sale = Sale.objects.create(
            store=store,
            business_date=on_day,
            month_number=month_number(on_day),
            ticket_no=ticket_no or f"T{number:04d}",
            sold_at=dt.datetime.combine(on_day, dt.time(10), SHANGHAI),
            member=member,
            booking=booking,
        )
        parts = []
        for line_no, (server, net_amount, *rest) in enumerate(lines, 1):
            category = rest[0] if rest else self.otc
            earns = 0 if category == self.rx else net_amount
            part = SalePart.objects.create(
                sale=sale,
                number=line_no,
                store=store,
                business_date=on_day,
                month_number=month_number(on_day),
                member=returns.member if returns else member,
                server=server,
                original=returns,
                plan=self.plan,
                commissionable_amount=earns,
                excluded_amount=net_amount - earns,
                commission_e4=earns * RATE_BP,
            )
            SaleLine.objects.create(
                sale=sale,
                line_no=line_no,
                part=part,
                server=server,
                product_no="P1",
                category=category,
                quantity_milli=1000,
                net_amount=net_amount,
                excluded=category == self.rx,
                rate_bp=None if category == self.rx else RATE_BP,
                commission_e4=earns * RATE_BP,
                is_return=returns is not None,
            )
            parts.append(part)
        if book:
            attribute(booking=booking)
        return parts

    def unmatched_return(self, on: str, net_amount: int) -> SaleLine:
        """A return line that waits for its original."""
        (part,) = self.sale(on, (self.li, 0))
        return SaleLine.objects.create(
            sale=part.sale,
            line_no=2,
            part=None,
            server=self.li,
            product_no="P1",
            category=self.otc,
            quantity_milli=-1000,
            net_amount=net_amount,
            is_return=True,
        )
