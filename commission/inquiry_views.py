"""Inquiries on pages: asked where a ticket or a binding is shown, listed, read as a timeline, answered."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, Value, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.contested import shifts
from commission.corrections import standing
from commission.explain import Grounds, person, returned_sales, with_parties
from commission.forms import BindingQuestionForm, TicketQuestionForm
from commission.inquiries import (
    InquiryRefused,
    ask_member,
    ask_owned,
    ask_served,
    askable_bindings,
    card_to_show,
    comment,
    grant,
    mark_seen,
    may_answer,
    may_comment,
    refuse,
    withdraw,
)
from commission.inquiry_models import Inquiry, InquiryQuerySet
from commission.models import Sale, SalePart
from commission.templatetags.money import currency, money_text
from commission.ticket_corrections import askable_tickets
from portfolios.models import Member, User
from portfolios.views import reader

PER_PAGE = 50

Claim = Inquiry.Claim


class Turn(NamedTuple):
    """One line of an inquiry's history."""

    at: datetime
    who: str
    what: str
    text: str = ""


def _here(user: User) -> str:
    return "stores" if user.office or user.managed_store_ids() else "my_month"


# --- Asking ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
def question_ticket(request: HttpRequest, pk: int) -> HttpResponse:
    """A clerk says that a ticket is not credited as it should be."""
    user = reader(request)
    if user.clerk is None:
        raise Http404
    sale = get_object_or_404(askable_tickets(user).select_related("store"), pk=pk)
    visible = Sale.objects.for_user(user).filter(pk=pk).exists()
    form = TicketQuestionForm(request.POST or None, sale=sale, named=visible)
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            inquiry = _ask_about(asked["part"], asked, user, visible)
        except InquiryRefused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        else:
            return _asked(request, inquiry)
    context = {
        "here": "my_tickets",
        "sale": sale,
        "visible": visible,
        "originals": returned_sales(sale, user),
        "form": form,
    }
    return render(request, "commission/question_ticket.html", context, status=422 if request.method == "POST" else 200)


def _ask_about(part: SalePart, asked: dict[str, Any], user: User, visible: bool) -> Inquiry:
    if asked["claim"] == Claim.SERVED:
        return ask_served(part, text=asked["text"], asked_by=user)
    if asked["claim"] == Claim.MEMBER:
        return ask_member(part, card=asked["card"], text=asked["text"], asked_by=user)
    row = with_parties(standing().filter(part=part)).first()
    binding = Grounds([row]).binding(row) if row else None
    if binding is None:
        raise InquiryRefused(
            _("No member of anybody's is on this ticket: where it was your member's, give the card."), "claim"
        )
    return ask_owned(binding, text=asked["text"], asked_by=user, part=None if visible else part)


@require_http_methods(["GET", "POST"])
def question_binding(request: HttpRequest, pk: int) -> HttpResponse:
    """A clerk says that a member belonged to the asker on the days of somebody else's binding."""
    user = reader(request)
    if user.clerk is None:
        raise Http404
    binding = get_object_or_404(askable_bindings(user).select_related("member__store", "clerk"), pk=pk)
    form = BindingQuestionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            inquiry = ask_owned(binding, text=form.cleaned_data["text"], asked_by=user)
        except InquiryRefused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        else:
            return _asked(request, inquiry)
    context = {
        "here": "members",
        "binding": binding,
        "visible": Member.objects.for_user(user, timezone.localdate()).filter(pk=binding.member_id).exists(),
        "form": form,
    }
    return render(request, "commission/question_binding.html", context, status=422 if request.method == "POST" else 200)


def _asked(request: HttpRequest, inquiry: Inquiry) -> HttpResponse:
    messages.success(request, _("Asked. The manager of the store or HR answers; you are told on your first page."))
    return redirect("inquiry", inquiry.pk)


# --- Reading -----------------------------------------------------------------------------------------------------


def _seen(user: User) -> InquiryQuerySet:
    return Inquiry.objects.for_user(user).select_related(
        "asker", "other", "store", "month", "asked_by__clerk", "answered_by__clerk", "part__sale", "new_member",
        "binding__member", "binding__clerk", "correction", "batch",
    )  # fmt: skip


@require_GET
def inquiries(request: HttpRequest) -> HttpResponse:
    """The inquiries that one may see: those that wait first, then the latest; `state=open` leaves out the others."""
    user = reader(request)
    if not (user.office or user.clerk_id):
        raise Http404
    listed = _seen(user)
    only_open = request.GET.get("state") == Inquiry.State.OPEN
    if only_open:
        listed = listed.unanswered()
    waits_first = Case(When(state=Inquiry.State.OPEN, then=Value(0)), default=Value(1))
    page = Paginator(listed.order_by(waits_first, "-pk"), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "commission/inquiries.html", {"here": _here(user), "page": page, "only_open": only_open})


@require_GET
def inquiry(request: HttpRequest, pk: int) -> HttpResponse:
    """An inquiry as a timeline: what was asked, what was on record, what both said, what was held, the answer."""
    user = reader(request)
    shown = get_object_or_404(_seen(user), pk=pk)
    if user.clerk:
        mark_seen(shown, user.clerk)
    return _page(request, shown)


def _page(request: HttpRequest, shown: Inquiry, *, status: int = 200, refusal: str = "") -> HttpResponse:
    user = reader(request)
    reads_all = bool(user.office) or shown.store_id in user.managed_store_ids()
    sale = shown.part.sale if shown.part else None
    own = shown.asker_id == user.clerk_id
    context = {
        "here": _here(user),
        # A refused answer is shown at an address that can't be read again, as the switch of languages would.
        "read_at": reverse("inquiry", args=[shown.pk]),
        "inquiry": shown,
        "evidence": shown.recorded("asker" if own and not reads_all else "whole"),
        "amounts": _amounts(shown, user, reads_all),
        "currency": currency(),
        "turns": _turns(shown, None if reads_all else user.clerk_id),
        "sale": sale if sale and Sale.objects.for_user(user).filter(pk=sale.pk).exists() else None,
        "card": card_to_show(shown, user),
        "may_answer": shown.state == Inquiry.State.OPEN and may_answer(user, shown),
        "may_comment": may_comment(user, shown),
        "may_withdraw": shown.state == Inquiry.State.OPEN and shown.asked_by_id == user.pk,
        "refusal": refusal,
        "sent": request.POST,
    }
    return render(request, "commission/inquiry.html", context, status=status)


def _amounts(inquiry: Inquiry, user: User, reads_all: bool) -> list[tuple[str, int]]:
    """What the reader may know of the money, by its name: a clerk what is the clerk's own."""
    found = []
    # Who has no part in the ticket is not told what it brings; once it is granted it is the asker's own.
    known = inquiry.claim == Claim.LINE or inquiry.state == Inquiry.State.GRANTED
    if inquiry.claim in (Claim.SERVED, Claim.MEMBER):
        known = known or inquiry.recorded("asker") == inquiry.recorded("whole")
    if reads_all or (inquiry.asker_id == user.clerk_id and known):
        found.append((_("In question when it was asked"), inquiry.contested_amount))
    if inquiry.state == Inquiry.State.OPEN and inquiry.other_id and (reads_all or inquiry.other_id == user.clerk_id):
        name = _("Of %(name)s's pay, as of now") % {"name": inquiry.other.name} if inquiry.other else ""
        if inquiry.other_id == user.clerk_id:
            name = _("Of your pay, as of now")
        found.append((name, sum(shift.loss_amount for shift in shifts([inquiry]))))
    return found


def _turns(inquiry: Inquiry, clerk: int | None) -> list[Turn]:
    """What happened, in order; of what was held and paid only the clerk's own, unless `clerk` is None."""
    turns = [Turn(inquiry.asked_at, inquiry.asker.name, _("asked"), inquiry.text)]
    for said in inquiry.comments.select_related("made_by__clerk"):
        turns.append(Turn(said.made_at, person(said.made_by), _("added"), said.text))
    for held in inquiry.held.select_related("clerk", "month"):
        if clerk is None or held.clerk_id == clerk:
            facts = {"amount": money_text(abs(held.amount)), "month": held.month}
            told = _("%(amount)s held of the payslip of %(month)s") if held.amount < 0 else _(
                "%(amount)s paid with the payslip of %(month)s"
            )  # fmt: skip
            turns.append(Turn(held.recorded_at, held.clerk.name, told % facts))
    if inquiry.answered_at:
        turns.append(
            Turn(inquiry.answered_at, person(inquiry.answered_by), inquiry.get_state_display(), inquiry.answer)
        )
    return sorted(turns, key=lambda turn: turn.at)


# --- Answering ---------------------------------------------------------------------------------------------------


@require_POST
def comment_on_inquiry(request: HttpRequest, pk: int) -> HttpResponse:
    """One of the people concerned adds something."""
    user = reader(request)
    shown = get_object_or_404(_seen(user), pk=pk)
    if not may_comment(user, shown) and shown.state == Inquiry.State.OPEN:
        raise Http404
    try:
        comment(shown, text=request.POST.get("text", ""), by=user)
    except InquiryRefused as refusal:
        return _page(request, shown, status=422, refusal=str(refusal))
    return redirect("inquiry", pk)


@require_POST
def answer_inquiry(request: HttpRequest, pk: int) -> HttpResponse:
    """The manager or HR grants or refuses, with a reason that both clerks read."""
    user = reader(request)
    shown = get_object_or_404(_seen(user), pk=pk)
    if not may_answer(user, shown):
        raise Http404
    decide = grant if "grant" in request.POST else refuse
    try:
        decide(shown, by=user, reason=request.POST.get("reason", ""))
    except InquiryRefused as refusal:
        return _page(request, shown, status=422, refusal=str(refusal))
    messages.success(request, _("Answered. Both clerks are told."))
    return redirect("inquiry", pk)


@require_POST
def withdraw_inquiry(request: HttpRequest, pk: int) -> HttpResponse:
    """Whoever asked takes the question back."""
    user = reader(request)
    shown = get_object_or_404(_seen(user).filter(asked_by=user), pk=pk)
    try:
        withdraw(shown, by=user)
    except InquiryRefused as refusal:
        return _page(request, shown, status=422, refusal=str(refusal))
    messages.success(request, _("The question is taken back."))
    return redirect("inquiry", pk)
