"""A ticket's member or server was not who the till printed: one person asks, another decides, the ledger follows.

A member of 李娜 forgot the card, and 张敏 sold 200.00 at 3%: booked as a walk-in, 张敏 got 6.00. 张敏 asks, the manager
approves: -6.00 (张敏), then +4.20 (李娜) and +1.80 (张敏). The ticket keeps what was printed; its parts take the member
or server by which they are booked. Only a ticket of an open month is corrected.
"""

import datetime as dt
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.corrections import correct
from commission.models import Attribution, Booking, Sale, SalePart, TicketCorrection
from commission.rebinding import hold_ledger
from portfolios.enrolment import EnrolmentRefused, phone_number
from portfolios.models import Clerk, Member, Month, Posting, Store, User, on_date

SOURCE = "correct_ticket"

What = TicketCorrection.What


class CorrectionRefused(ValueError):
    """A correction that cannot be asked for or booked: the message says why and what to do; `field` is of a form."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


# --- Who ---------------------------------------------------------------------------------------------------------


def worked_at(clerk: Clerk | None, store: Store, on: dt.date) -> bool:
    """Whether the clerk was posted to the store on that date, and had not left."""
    return (
        clerk is not None
        and (clerk.left_on is None or clerk.left_on >= on)
        and Posting.objects.filter(on_date(on), clerk=clerk, store=store).exists()
    )


def askable_tickets(user: User) -> QuerySet[Sale]:
    """The tickets that the user may ask a correction of: those seen whole, and one's own store's of days one worked."""
    if user.office == User.Office.AUDITOR or not user.is_active:
        return Sale.objects.none()
    if user.clerk is None:
        return Sale.objects.for_user(user)
    worked = Posting.objects.filter(
        clerk=user.clerk,
        store=OuterRef("store"),
        valid_from__lte=OuterRef("business_date"),
        valid_to__gt=OuterRef("business_date"),
    )
    in_time = Q() if user.clerk.left_on is None else Q(business_date__lte=user.clerk.left_on)
    return Sale.objects.for_user(user) | Sale.objects.filter(in_time, Exists(worked))


def may_decide(user: User, correction: TicketCorrection) -> bool:
    """HR and the managers of the ticket's store decide what somebody else asked for."""
    if user.pk == correction.asked_by_id or not user.is_active:
        return False
    return user.is_hr or correction.sale.store_id in user.managed_store_ids()


def may_have_served(store: Store, on: dt.date) -> QuerySet[Clerk]:
    """The clerks who may have served there on that date: posted to the store, or with a ticket of it."""
    posted = Posting.objects.filter(on_date(on), store=store)
    served = SalePart.objects.filter(store=store, business_date=on, server__isnull=False)
    return Clerk.objects.filter(
        Q(left_on__isnull=True) | Q(left_on__gte=on),
        Q(pk__in=posted.values("clerk")) | Q(pk__in=served.values("server")),
    )


# --- Asking ------------------------------------------------------------------------------------------------------


def ask_for_member(sale: Sale, *, card: str, reason: str, asked_by: User) -> TicketCorrection:
    """Asks that the ticket counts as the sale of another member, by card or phone number; "" is no member at all.

    Raises CorrectionRefused.
    """
    member = open_card(card.strip(), sale.business_date) if card.strip() else None
    return _ask(TicketCorrection(sale=sale, what=What.MEMBER, new_member=member, reason=reason, asked_by=asked_by))


def ask_for_server(part: SalePart, *, server: Clerk | None, reason: str, asked_by: User) -> TicketCorrection:
    """Asks that a part of a ticket was served by another clerk, or (None) by nobody.

    Raises CorrectionRefused.
    """
    return _ask(
        TicketCorrection(
            sale=part.sale, what=What.SERVER, part=part, new_server=server, reason=reason, asked_by=asked_by
        )
    )


def open_card(number: str, on: dt.date) -> Member:
    """The card that counts on a date, by its number or by a phone that it alone has; raises CorrectionRefused."""
    member = Member.objects.filter(member_no=number).select_related("merged_into").first()
    if member is None:
        try:
            found = list(Member.objects.counting(on).filter(phone=phone_number(number))[:2])
        except EnrolmentRefused:
            found = []
        if len(found) > 1:
            raise CorrectionRefused(_("Several cards have this phone: give the number of the right one."), "card")
        member = found[0] if found else None
    if member is None:
        raise CorrectionRefused(
            _("No open card has the number or phone '%(number)s': check it with the member, or enrol first.")
            % {"number": number},
            "card",
        )
    if not member.counted_from <= on < member.counted_to:
        raise CorrectionRefused(_closed_card(member, on), "card")
    return member


def _closed_card(member: Member, on: dt.date) -> str:
    if on < member.counted_from:
        return _("Card %(card)s counts from %(since)s only, after the sale of %(day)s: it can't have been used.") % {
            "card": member.member_no,
            "since": member.counted_from,
            "day": on,
        }
    if member.merged_into:
        return _("Card %(card)s was merged: use the surviving card, %(survivor)s.") % {
            "card": member.member_no,
            "survivor": member.merged_into.member_no,
        }
    return _("Card %(card)s is closed since %(since)s, before the sale of %(day)s: it can't have been used.") % {
        "card": member.member_no,
        "since": member.counted_to,
        "day": on,
    }


def _ask(correction: TicketCorrection) -> TicketCorrection:
    correction.reason = correction.reason.strip()[:500]
    if not correction.reason:
        raise CorrectionRefused(_("Say what happened: whoever approves it goes by that."), "reason")
    check_correction(correction)
    try:
        with transaction.atomic():
            correction.save(force_insert=True)
    except IntegrityError:
        raise CorrectionRefused(
            _("Such a correction of this ticket waits already: once it is decided you can ask for another.")
        ) from None
    return correction


def check_correction(correction: TicketCorrection) -> None:
    """Raises CorrectionRefused where the correction cannot be booked, or would change nothing."""
    sale, part = correction.sale, correction.part
    of_sale = SalePart.objects.filter(sale=sale, settled=False)
    if part is not None and (part.original_id is not None or part.settled):
        raise CorrectionRefused(
            _("A return takes its server from the sale that it returns: correct the server of that ticket."), "part"
        )
    due = _due(correction)
    if not due.exists():
        if of_sale.exists():
            raise CorrectionRefused(_("The ticket is booked like that already: nothing would change."))
        raise CorrectionRefused(
            _("Nothing of this ticket is booked yet: its returns wait for their original. Settle or match them first.")
        )
    booked = Attribution.objects.filter(part__sale=sale).select_related("month").order_by("month")
    closed = booked.filter(month__closed_at__isnull=False).first()
    if closed is not None:
        raise CorrectionRefused(
            _(
                "Ticket %(ticket)s is in %(month)s, which is closed and never changes. Where the sale has to be "
                "put right, take it back at the till and sell it again with the right card and login."
            )
            % {"ticket": sale.ticket_no, "month": closed.month}
        )
    member, server = correction.new_member, correction.new_server
    if member is not None and not member.counted_from <= sale.business_date < member.counted_to:
        raise CorrectionRefused(_closed_card(member, sale.business_date), "card")
    if server is not None and not may_have_served(sale.store, sale.business_date).filter(pk=server.pk).exists():
        raise CorrectionRefused(
            _("%(name)s was not at %(store)s on %(day)s: choose a clerk who was posted or served there that day.")
            % {"name": server.name, "store": sale.store.name, "day": sale.business_date},
            "server",
        )


def _due(correction: TicketCorrection) -> QuerySet[SalePart]:
    """The parts that the correction changes; returns of a sale are changed with it."""
    if correction.what == What.SERVER:
        assert correction.part_id is not None
        return SalePart.objects.filter(pk=correction.part_id).exclude(_is("server", correction.new_server_id))
    parts = SalePart.objects.filter(sale=correction.sale_id, settled=False)
    return parts.exclude(_is("member", correction.new_member_id))


def _is(who: str, pk: int | None) -> Q:
    return Q(**{f"{who}__isnull": True}) if pk is None else Q(**{f"{who}__isnull": False, who: pk})


# --- Deciding ----------------------------------------------------------------------------------------------------


@transaction.atomic
def approve(correction: TicketCorrection, *, by: User, note: str = "") -> TicketCorrection:
    """Books the correction; everything is checked again as it is now.

    Raises CorrectionRefused.
    """
    hold_ledger()
    correction = _to_decide(correction, by)
    check_correction(correction)
    correction.booking = Booking.objects.create(source=SOURCE, note=correction.reason, recorded_by=by)
    _decide(correction, approved=True, by=by, note=note)
    due = list(_due(correction).values_list("pk", "member"))
    parts = SalePart.objects.filter(pk__in=[pk for pk, _member in due])
    if correction.what == What.SERVER:
        parts.update(server=correction.new_server, correction=correction)
    else:
        # What came back with the card of the sale came back with the wrong one too.
        returned = SalePart.objects.filter(original__in=[pk for pk, _member in due], settled=False).filter(
            Q(member=F("original__member")) | Q(member__isnull=True, original__member__isnull=True)
        )
        changed = {pk for pk, _member in due} | set(returned.values_list("pk", flat=True))
        parts = SalePart.objects.filter(pk__in=changed)
        parts.update(member=correction.new_member, correction=correction)
    correct(booking=correction.booking, parts=parts)
    return correction


@transaction.atomic
def reject(correction: TicketCorrection, *, by: User, note: str) -> TicketCorrection:
    """Leaves the ticket as it is, and says why.

    Raises CorrectionRefused.
    """
    correction = _to_decide(correction, by)
    if not note.strip():
        raise CorrectionRefused(_("Say why it is not approved: whoever asked reads it."), "note")
    _decide(correction, approved=False, by=by, note=note)
    return correction


def _to_decide(correction: TicketCorrection, by: User) -> TicketCorrection:
    correction = (
        TicketCorrection.objects.select_for_update(of=("self",))
        .select_related("sale__store", "part__sale", "new_member__merged_into", "new_server")
        .get(pk=correction.pk)
    )
    if correction.approved is not None:
        raise CorrectionRefused(_("This correction is decided already."))
    if correction.asked_by_id == by.pk:
        raise CorrectionRefused(_("You have asked for this correction yourself: another person must decide."))
    if not may_decide(by, correction):
        raise CorrectionRefused(_("Only a manager of the ticket's store, or HR, decides on this correction."))
    return correction


def _decide(correction: TicketCorrection, *, approved: bool, by: User, note: str) -> None:
    correction.approved = approved
    correction.decided_by = by
    correction.decided_at = timezone.now()
    correction.decision_note = note.strip()[:500]
    correction.save(update_fields=["approved", "decided_by", "decided_at", "decision_note", "booking"])


# --- Counting ----------------------------------------------------------------------------------------------------


def waiting_corrections(month: Month | None = None) -> QuerySet[TicketCorrection]:
    """The requests that nobody has decided on, the oldest first; of the tickets dated up to the month's end."""
    waiting = TicketCorrection.objects.waiting().order_by("pk")
    return waiting if month is None else waiting.filter(sale__business_date__lte=month.ends_on)


def correction_counts(month: Month) -> QuerySet[TicketCorrection, Any]:
    """How often each clerk asked for a correction of the month's tickets: clerk, what, asked, approved.

    A clerk who often has the card forgotten, or a login mixed up, is worth a look.
    """
    asked = TicketCorrection.objects.filter(sale__month_number=month.pk, asked_by__clerk__isnull=False)
    return (
        asked.order_by()
        .values("what", clerk=F("asked_by__clerk"))
        .annotate(asked=Count("pk"), approved=Count("pk", filter=Q(approved=True)))
        .order_by("clerk", "what")
    )
