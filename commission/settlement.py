"""Returns whose original nobody knows: a manager settles them, with a reason, and they are wholly the house's.

A return of 50.00 that came without an original, or whose ticket is from before the system, waits and keeps its month
open. Settled, it takes 50.00 off the house's credit at the rate of its own date, and nobody's pay changes.
"""

import datetime as dt

from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from commission.attribution import attribute
from commission.models import Booking, Sale, SaleLine, SalePart
from commission.plan_book import PlanBook
from commission.rebinding import hold_ledger
from portfolios.duplicates import surviving_cards
from portfolios.models import Store, User


class SettlementError(ValueError):
    """A return that cannot be settled; the message says why and what to do."""


def waiting_returns() -> QuerySet[SaleLine]:
    """Return lines without a known original that nobody has settled."""
    return SaleLine.objects.filter(part__isnull=True)


def waiting_for(user: User | AnonymousUser) -> QuerySet[SaleLine]:
    """The waiting return lines that the user may see: those of the managed stores, or all."""
    waiting = waiting_returns()
    if not isinstance(user, User) or not user.is_active:
        return waiting.none()
    return waiting if user.office else waiting.filter(sale__store__in=user.managed_store_ids())


def original_of(line: SaleLine) -> Sale | None:
    """The ticket that a waiting line names as its original, where it has arrived."""
    if line.original_business_date is None:
        return None
    return Sale.objects.filter(
        store__store_no=line.original_store_no,
        business_date=line.original_business_date,
        ticket_no=line.original_ticket_no,
    ).first()


@transaction.atomic
def settle_return(
    *, store_no: str, business_date: dt.date, ticket_no: str, reason: str, recorded_by: User | None = None
) -> int:
    """Settles the waiting return lines of a ticket; returns how many there were.

    They are posted to the month of their date, or to the first open month. Raises SettlementError.
    """
    if not reason.strip():
        raise SettlementError(_("Say why the return is settled: the reason is kept with it."))
    hold_ledger()
    store = Store.objects.filter(store_no=store_no).first()
    sale = Sale.objects.filter(store=store, business_date=business_date, ticket_no=ticket_no).first()
    lines = list(waiting_returns().filter(sale=sale).select_related("category")) if sale else []
    if sale is None or not lines:
        raise SettlementError(
            _("Ticket %(ticket)s of store %(store)s on %(day)s has no return that waits for its original.")
            % {"ticket": ticket_no, "store": store_no, "day": business_date}
        )
    booking = Booking.objects.create(source="settle_return", note=reason.strip()[:500], recorded_by=recorded_by)
    plans = PlanBook()
    plan = plans.plan_on(sale.store_id, business_date)
    if plan is None:
        raise SettlementError(
            _("No plan covers store %(store)s on %(day)s.") % {"store": store_no, "day": business_date}
        )
    commissionable = excluded = commission_e4 = 0
    for line in lines:
        rate = plans.rate(plan.pk, line.category, line.product_no)
        if rate is None:
            raise SettlementError(
                _("Plan %(plan)s has no rate for category %(category)s.")
                % {"plan": plan, "category": line.category.category}
            )
        line.excluded, line.rate_bp, line.unit_amount = rate.excluded, rate.rate_bp, rate.unit_amount
        line.commission_e4 = rate.commission_e4(line.net_amount, line.quantity_milli)
        commission_e4 += line.commission_e4
        excluded += line.net_amount if rate.excluded else 0
        commissionable += 0 if rate.excluded else line.net_amount
    part = SalePart.objects.create(
        sale=sale,
        number=min(line.line_no for line in lines),
        store_id=sale.store_id,
        business_date=business_date,
        month_number=sale.month_number,
        # A card that was merged by then is the surviving one's.
        member_id=surviving_cards(business_date).get(sale.member_id or 0, sale.member_id),
        plan=plan,
        commissionable_amount=commissionable,
        excluded_amount=excluded,
        commission_e4=commission_e4,
        settled=True,
    )
    for line in lines:
        line.part = part
        line.save(update_fields=["part", "excluded", "rate_bp", "unit_amount", "commission_e4"])
    # The newest part of all, while the ledger is held.
    attribute(booking=booking, after=part.pk - 1)
    return len(lines)
