"""A clerk questions a ticket, a binding or a line of the own pay; the other clerk answers to it, a manager decides.

王伟 says that he served the 200.00 of which 张敏 has 1.80. Before the month closes the manager grants it, and the
ticket is corrected, or refuses it. A close that comes first holds 1.80 of 张敏's payslip; the answer pays it back to
her or on to him. Nothing here edits what is booked.
"""

import datetime as dt
from collections.abc import Callable, Collection
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import DateTimeField, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from commission.contested import release, shifts
from commission.corrections import standing
from commission.explain import Grounds, person, sentences, why_not, with_parties
from commission.inquiry_models import Inquiry, InquiryComment, InquiryQuerySet, InquirySeen
from commission.models import Attribution, Sale, SalePart, TicketCorrection
from commission.rebinding import correct_since, hold_ledger
from commission.ticket_corrections import (
    CorrectionRefused,
    approve,
    ask_for_member,
    ask_for_server,
    check_correction,
    open_card,
)
from portfolios.bindings import BindingError, assign
from portfolios.models import Binding, BindingBatch, Clerk, Member, Month, Store, User
from portfolios.months import MonthError, first_open_day, first_open_month
from portfolios.ownership import owners_on

SOURCE = "inquiry"
TEXT_LENGTH = 1000

Claim = Inquiry.Claim
State = Inquiry.State

# A title, what the asker may read of what is on record, and the whole of it; in the active language.
Evidence = Callable[[], dict[str, Any]]


class InquiryRefused(ValueError):
    """An inquiry that cannot be asked, answered or withdrawn: why and what to do; `field` is of a form."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


# --- Who ---------------------------------------------------------------------------------------------------------


def may_answer(user: User, inquiry: Inquiry) -> bool:
    """HR and the managers of the inquiry's store answer it, but nobody whose own pay it is about."""
    if not user.is_active or user.pk == inquiry.asked_by_id:
        return False
    if user.clerk_id is not None and user.clerk_id in (inquiry.asker_id, inquiry.other_id):
        return False
    return user.is_hr or inquiry.store_id in user.managed_store_ids()


def may_comment(user: User, inquiry: Inquiry) -> bool:
    """Both clerks, and whoever may answer, add to an inquiry while it waits."""
    if inquiry.state != State.OPEN or not user.is_active:
        return False
    party = user.clerk_id is not None and user.clerk_id in (inquiry.asker_id, inquiry.other_id)
    return party or may_answer(user, inquiry)


# --- Asking ------------------------------------------------------------------------------------------------------


def ask_served(part: SalePart, *, text: str, asked_by: User) -> Inquiry:
    """Says that the asker served a part of a ticket.

    Raises InquiryRefused.
    """
    asker = _clerk(asked_by)
    row = _booked(part)
    if row.server_id == asker.pk:
        raise InquiryRefused(_("You are booked as the server of it already: nothing would change."))
    _check(TicketCorrection(sale=part.sale, what="server", part=part, new_server=asker, asked_by=asked_by))
    return _ask(
        Inquiry(claim=Claim.SERVED, part=part, month=row.month, store=part.store, other=row.server),
        text=text,
        asked_by=asked_by,
        evidence=lambda: _ticket_evidence(part, asker, asked_by),
    )


def ask_member(part: SalePart, *, card: str, text: str, asked_by: User) -> Inquiry:
    """Says that a ticket was the sale of a member of the asker's, given by card or phone number.

    Raises InquiryRefused.
    """
    asker = _clerk(asked_by)
    row = _booked(part)
    if not card.strip():
        raise InquiryRefused(_("Give the card or phone number of your member."), "card")
    try:
        member = open_card(card.strip(), part.business_date)
    except CorrectionRefused as refusal:
        raise InquiryRefused(str(refusal), refusal.field) from None
    owning = owners_on([member.pk], part.business_date).get(member.pk)
    if owning is None or owning.clerk_id != asker.pk:
        raise InquiryRefused(
            _("That card was not yours on %(day)s: where it should have been, question whose the member was.")
            % {"day": part.business_date},
            "card",
        )
    _check(TicketCorrection(sale=part.sale, what="member", new_member=member, asked_by=asked_by))
    other = row.owner or (row.server if row.server_id != asker.pk else None)
    return _ask(
        Inquiry(claim=Claim.MEMBER, part=part, new_member=member, month=row.month, store=part.store, other=other),
        text=text,
        asked_by=asked_by,
        evidence=lambda: _ticket_evidence(part, asker, asked_by, owning),
    )


def ask_owned(binding: Binding, *, text: str, asked_by: User, part: SalePart | None = None) -> Inquiry:
    """Says that a member was the asker's on the days of a binding, as far as they are open.

    `part` is of the ticket from which it is asked, by somebody who may not know whose card it was. Raises
    InquiryRefused.
    """
    asker = _clerk(asked_by)
    month = first_open_month()
    if binding.clerk_id == asker.pk:
        raise InquiryRefused(_("The member is bound to you on these days: nothing would change."))
    if month is None or binding.voided_by_id is not None or binding.valid_to <= month.starts_on:
        raise InquiryRefused(
            _("All days of this binding are in months that are closed, and those never change. Ask about your payslip.")
        )
    return _ask(
        Inquiry(
            claim=Claim.OWNED, binding=binding, part=part, month=month, store=binding.member.store, other=binding.clerk
        ),
        text=text,
        asked_by=asked_by,
        evidence=lambda: _binding_evidence(binding, asker, part),
    )


def ask_line(
    month: Month, line_code: str, *, store: Store, missing_amount: int, text: str, asked_by: User, evidence: Evidence
) -> Inquiry:
    """Questions a line of the asker's own pay, in which `missing_amount` (minor units) is not there.

    It takes from nobody: nothing is held for it. Raises InquiryRefused.
    """
    if missing_amount <= 0:
        raise InquiryRefused(_("Say what it should come to, which is more than it does."), "expected")
    inquiry = Inquiry(claim=Claim.LINE, line_code=line_code, month=month, store=store, contested_amount=missing_amount)
    return _ask(inquiry, text=text, asked_by=asked_by, evidence=evidence)


def _clerk(user: User) -> Clerk:
    if user.clerk is None:
        raise InquiryRefused(_("Only a clerk asks: HR and managers without a clerk number correct the ticket itself."))
    return user.clerk


def _booked(part: SalePart) -> Attribution:
    """The row by which a sale stands booked, in a month that is open.

    Raises InquiryRefused.
    """
    if part.original_id is not None or part.settled:
        raise InquiryRefused(_("A return is shared as its sale was: question the ticket of that sale."))
    row = standing().select_related("month", "owner", "server").filter(part=part).first()
    if row is None:
        raise InquiryRefused(_("Nothing of this ticket is booked yet."))
    if row.month.is_closed:
        raise InquiryRefused(
            _("Ticket %(ticket)s is in %(month)s, which is closed and never changes. Ask about your payslip's line.")
            % {"ticket": part.sale.ticket_no, "month": row.month}
        )
    return row


def _check(correction: TicketCorrection) -> None:
    try:
        check_correction(correction)
    except CorrectionRefused as refusal:
        raise InquiryRefused(str(refusal), refusal.field) from None


@transaction.atomic
def _ask(inquiry: Inquiry, *, text: str, asked_by: User, evidence: Evidence) -> Inquiry:
    hold_ledger()
    inquiry.text = text.strip()[:TEXT_LENGTH]
    if not inquiry.text:
        raise InquiryRefused(_("Say what is not right, and how you know."), "text")
    inquiry.asked_by, inquiry.asker = asked_by, _clerk(asked_by)
    if inquiry.claim != Claim.LINE:
        inquiry.contested_amount = sum(shift.gain_amount for shift in shifts([inquiry]))
    recorded = {}
    for language, _name in settings.LANGUAGES:
        with override(language):
            recorded[language] = evidence()
    inquiry.evidence = recorded
    try:
        with transaction.atomic():
            inquiry.save(force_insert=True)
    except IntegrityError:
        raise InquiryRefused(_("This is in question already. Once that is answered you can ask again.")) from None
    return inquiry


def askable_bindings(user: User) -> QuerySet[Binding]:
    """The bindings that a clerk may question: other clerks', of members with a page for the clerk, or once owned."""
    if user.clerk is None:
        return Binding.objects.none()
    members = Member.objects.for_user(user, timezone.localdate()).order_by().values("pk")
    owned = Binding.objects.valid().filter(clerk=user.clerk).order_by().values("member")
    others = Binding.objects.valid().exclude(clerk=user.clerk)
    return others.filter(Q(member__in=members) | Q(member__in=owned))


def questionable_bindings(member: Member, user: User) -> set[int]:
    """The keys of a member's bindings that the user may question and that have a day in an open month."""
    if user.clerk_id is None:
        return set()
    since = first_open_day() or dt.date.min
    others = member.bindings.filter(voided_by__isnull=True, valid_to__gt=since).exclude(clerk=user.clerk_id)
    return set(others.values_list("pk", flat=True))


def taken_over(members: Collection[int], clerk: Clerk, on: dt.date) -> dict[int, int]:
    """By which binding, with a day in an open month, each member went to another clerk after a date; keys of both."""
    others = Binding.objects.valid().filter(member__in=members, valid_from__gt=on).exclude(clerk=clerk)
    others = others.filter(valid_to__gt=first_open_day() or dt.date.min)
    return dict(others.order_by("-valid_from").values_list("member", "pk"))


# --- What was on record ------------------------------------------------------------------------------------------


def _ticket_evidence(part: SalePart, asker: Clerk, user: User, card: Binding | None = None) -> dict[str, Any]:
    """`card` is the binding by which the asker owned the member whose sale it is said to be."""
    rows = list(with_parties(standing().filter(Q(part=part) | Q(part__original=part)).order_by("pk")))
    grounds = Grounds(rows)
    whole = [sentence for row in rows for sentence in sentences(row, grounds)]
    seen = Sale.objects.for_user(user).filter(pk=part.sale_id).exists()
    title = _("Ticket %(ticket)s, %(store)s, %(day)s") % {
        "ticket": part.sale.ticket_no,
        "store": part.store.name,
        "day": part.business_date,
    }
    said = []
    if card is not None:
        said = [_("It is said to be a sale to the member with card %(card)s.") % {"card": card.member.member_no}]
        said.append(_binding_sentence(card))
    return {
        "title": title,
        "asker": said + (whole if seen else why_not(part.sale, asker)),
        "whole": said + whole,
    }


def _binding_evidence(binding: Binding, asker: Clerk, part: SalePart | None) -> dict[str, Any]:
    bound = binding.member.bindings.valid().select_related("clerk", "batch__recorded_by__clerk")
    whole = [_binding_sentence(one) for one in bound.order_by("valid_from")]
    if part is None:
        title = _("Member %(card)s, bound to %(name)s since %(since)s") % {
            "card": binding.member.member_no,
            "name": binding.clerk.name,
            "since": binding.valid_from,
        }
        return {"title": title, "asker": whole, "whole": whole}
    # The card is not the asker's to know.
    title = _("Whose the member of ticket %(ticket)s was on %(day)s") % {
        "ticket": part.sale.ticket_no,
        "day": part.business_date,
    }
    card = _("It is about the member with card %(card)s.") % {"card": binding.member.member_no}
    return {"title": title, "asker": why_not(part.sale, asker), "whole": [card, *whole]}


def _binding_sentence(binding: Binding) -> str:
    facts = {
        "name": binding.clerk.name,
        "since": binding.valid_from,
        "until": binding.valid_to - dt.timedelta(days=1),
        "reason": binding.get_reason_display(),
        "who": person(binding.batch.recorded_by) or binding.batch.origin,
        "day": timezone.localdate(binding.batch.recorded_at),
    }
    if binding.valid_to.year == dt.MAXYEAR:
        return _("Bound to %(name)s since %(since)s by %(reason)s, recorded by %(who)s on %(day)s.") % facts
    told = _("Bound to %(name)s from %(since)s to %(until)s by %(reason)s, recorded by %(who)s on %(day)s.")
    return told % facts


# --- Answering ---------------------------------------------------------------------------------------------------


@transaction.atomic
def comment(inquiry: Inquiry, *, text: str, by: User) -> InquiryComment:
    """Adds what somebody concerned has to say.

    Raises InquiryRefused.
    """
    inquiry = Inquiry.objects.select_for_update(of=("self",)).get(pk=inquiry.pk)
    if not may_comment(by, inquiry):
        raise InquiryRefused(_("This inquiry is answered: nothing more is added to it."))
    if not text.strip():
        raise InquiryRefused(_("Write what you have to say."), "text")
    return InquiryComment.objects.create(inquiry=inquiry, made_by=by, text=text.strip()[:TEXT_LENGTH])


@transaction.atomic
def refuse(inquiry: Inquiry, *, by: User, reason: str) -> Inquiry:
    """Leaves what is booked as it is; what was held is paid back in the first open month.

    Raises InquiryRefused.
    """
    inquiry = _to_answer(inquiry, by, reason)
    _give_back(inquiry)
    return _answered(inquiry, State.REFUSED, by, reason)


@transaction.atomic
def withdraw(inquiry: Inquiry, *, by: User) -> Inquiry:
    """Takes the question back; what was held is paid back in the first open month.

    Raises InquiryRefused.
    """
    inquiry = _locked(inquiry)
    if inquiry.asked_by_id != by.pk:
        raise InquiryRefused(_("Only whoever asked takes the question back."))
    _give_back(inquiry)
    return _answered(inquiry, State.WITHDRAWN, by, "")


@transaction.atomic
def grant(inquiry: Inquiry, *, by: User, reason: str) -> Inquiry:
    """Puts right what was questioned: corrects the ticket, or binds the member to the asker.

    The asker asked for the correction, whoever grants it approves. Where the month has closed meanwhile, its rows stay
    and the asker is paid what was held. Raises InquiryRefused.
    """
    inquiry = _to_answer(inquiry, by, reason)
    if inquiry.claim != Claim.LINE and inquiry.month.is_closed:
        release(inquiry, to=inquiry.asker_id, month=_open_month())
        inquiry.paid_from_held = True
    try:
        if inquiry.claim == Claim.OWNED:
            _bind(inquiry, by, reason)
        elif inquiry.claim != Claim.LINE and not inquiry.paid_from_held:
            _correct(inquiry, by, reason)
    except (CorrectionRefused, BindingError, MonthError) as refusal:
        raise InquiryRefused(str(refusal)) from None
    return _answered(inquiry, State.GRANTED, by, reason)


def _correct(inquiry: Inquiry, by: User, reason: str) -> None:
    part = inquiry.part
    assert part is not None
    if inquiry.claim == Claim.SERVED:
        correction = ask_for_server(part, server=inquiry.asker, reason=inquiry.text, asked_by=inquiry.asked_by)
    else:
        assert inquiry.new_member is not None
        card = inquiry.new_member.member_no
        correction = ask_for_member(part.sale, card=card, reason=inquiry.text, asked_by=inquiry.asked_by)
    inquiry.correction = approve(correction, by=by, note=reason)


def _bind(inquiry: Inquiry, by: User, reason: str) -> None:
    """Gives the asker the binding's days that are open; whoever owns the member after them goes on owning it."""
    binding = inquiry.binding
    assert binding is not None
    since = max(binding.valid_from, first_open_day() or binding.valid_from)
    if binding.voided_by_id is not None or binding.valid_to <= since:
        if inquiry.paid_from_held:
            return
        raise InquiryRefused(
            _("This binding was changed since it was questioned: look at the member's owners, and refuse this one.")
        )
    batch = BindingBatch.objects.create(source=f"{SOURCE} {inquiry.pk}", note=reason.strip()[:500], recorded_by=by)
    owner = {binding.member_id: inquiry.asker_id}
    changes = assign(owner, on=since, reason=Binding.Reason.REASSIGNMENT, batch=batch, keep_later=True)
    correct_since(changes.since, source=batch.source, recorded_by=by)
    inquiry.batch = batch


def _give_back(inquiry: Inquiry) -> None:
    if inquiry.other_id is not None and inquiry.month.is_closed:
        release(inquiry, to=inquiry.other_id, month=_open_month())


def _open_month() -> Month:
    month = first_open_month()
    assert month is not None, "a close opens the month after it"
    return month


def _locked(inquiry: Inquiry) -> Inquiry:
    hold_ledger()
    inquiry = (
        Inquiry.objects.select_for_update(of=("self",))
        .select_related("month", "part__sale", "binding__member", "new_member", "asker", "asked_by__clerk")
        .get(pk=inquiry.pk)
    )
    if inquiry.state != State.OPEN:
        raise InquiryRefused(_("This inquiry is answered already."))
    return inquiry


def _to_answer(inquiry: Inquiry, by: User, reason: str) -> Inquiry:
    inquiry = _locked(inquiry)
    if not may_answer(by, inquiry):
        raise InquiryRefused(_("A manager of the store or HR answers, and nobody whose own pay it is about."))
    if not reason.strip():
        raise InquiryRefused(_("Say why: both clerks read it."), "reason")
    return inquiry


def _answered(inquiry: Inquiry, state: State, by: User, reason: str) -> Inquiry:
    inquiry.state = state
    inquiry.answered_by, inquiry.answered_at = by, timezone.now()
    inquiry.answer = reason.strip()[:TEXT_LENGTH]
    inquiry.save(
        update_fields=["state", "answered_by", "answered_at", "answer", "correction", "batch", "paid_from_held"]
    )
    return inquiry


# --- Telling -----------------------------------------------------------------------------------------------------


def waiting_inquiries(month: Month) -> QuerySet[Inquiry]:
    """The inquiries about a month, or one before it, that nobody has answered, the oldest first."""
    return Inquiry.objects.unanswered().filter(month__lte=month.pk).order_by("pk")


def news(clerk: Clerk) -> InquiryQuerySet:
    """What a clerk is told: the inquiries that wait, and those answered since the clerk last looked; the latest first.

    Annotates `is_news`: something came that the clerk has not seen.
    """
    own = Inquiry.objects.filter(Q(asker=clerk) | Q(other=clerk))
    comments = InquiryComment.objects.filter(inquiry=OuterRef("pk")).order_by("-pk")
    seen = InquirySeen.objects.filter(inquiry=OuterRef("pk"), clerk=clerk)
    last = own.annotate(
        seen_at=Subquery(seen.values("seen_at")[:1], output_field=DateTimeField()),
        last_at=Greatest(
            Coalesce(F("answered_at"), F("asked_at")), Coalesce(Subquery(comments.values("made_at")[:1]), F("asked_at"))
        ),
    ).annotate(is_news=Q(seen_at__isnull=True) | Q(seen_at__lt=F("last_at")))
    return last.filter(Q(state=State.OPEN) | Q(is_news=True)).order_by("-last_at")


def mark_seen(inquiry: Inquiry, clerk: Clerk) -> None:
    """Keeps that a clerk whom it concerns has opened the inquiry."""
    if clerk.pk in (inquiry.asker_id, inquiry.other_id):
        InquirySeen.objects.update_or_create(inquiry=inquiry, clerk=clerk, defaults={"seen_at": timezone.now()})


def card_to_show(inquiry: Inquiry, user: User) -> Member | None:
    """The member that an inquiry is about, where the user may open the member's page."""
    member = inquiry.binding.member if inquiry.binding else inquiry.new_member
    if member is None:
        return None
    return member if Member.objects.for_user(user, timezone.localdate()).filter(pk=member.pk).exists() else None
