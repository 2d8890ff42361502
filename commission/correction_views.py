"""Finding a ticket and why it is not one's own; asking that its member or server is corrected, and deciding on it."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from commission.explain import why_not
from commission.forms import FindTicketForm, MemberCorrectionForm, ServerCorrectionForm
from commission.models import Sale, TicketCorrection, TicketCorrectionQuerySet
from commission.ticket_corrections import (
    CorrectionRefused,
    approve,
    ask_for_member,
    ask_for_server,
    askable_tickets,
    may_decide,
    reject,
)
from portfolios.enrolment import home_store
from portfolios.models import User
from portfolios.ownership import owners_on
from portfolios.views import reader

PER_PAGE = 50


def _here(user: User) -> str:
    return "my_tickets" if user.clerk_id else "months"


@require_GET
def find_ticket(request: HttpRequest) -> HttpResponse:
    """A ticket by its number: the ticket where one may see it, else why it is not one's own."""
    user = reader(request)
    if not (user.office or user.clerk_id):
        raise Http404
    today = timezone.localdate()
    context: dict[str, Any] = {"here": _here(user)}
    if "ticket_no" not in request.GET:
        store = home_store(user.clerk, today) if user.clerk else None
        first = {"store": store.store_no if store else None, "date": today}
        return render(request, "commission/find_ticket.html", context | {"form": FindTicketForm(initial=first)})
    form = context["form"] = FindTicketForm(request.GET)
    if form.is_valid():
        store, day, number = (form.cleaned_data[name] for name in ("store", "date", "ticket_no"))
        tickets = {"store": store, "business_date": day, "ticket_no": number.strip()}
        sale = Sale.objects.for_user(user).filter(**tickets).first()
        if sale:
            return redirect("ticket", sale.pk)
        sale = askable_tickets(user).filter(**tickets).first()
        if sale and user.clerk:
            context |= {"sale": sale, "told": why_not(sale, user.clerk)}
        else:
            form.add_error(
                None,
                _(
                    "There is no such ticket among those that you may ask about: your own, and your store's of the "
                    "days on which you worked there. Check store, date and number; a ticket of today comes in with "
                    "the store's file."
                ),
            )
    return render(request, "commission/find_ticket.html", context)


@require_http_methods(["GET", "POST"])
def correct_ticket(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks that a ticket's member, or the server of its lines, is corrected."""
    user = reader(request)
    sale = get_object_or_404(askable_tickets(user).select_related("store"), pk=pk)
    visible = Sale.objects.for_user(user).filter(pk=pk).exists()
    sent = request.POST if request.method == "POST" else None
    member = MemberCorrectionForm(sent if sent and "ask_member" in sent else None)
    server = ServerCorrectionForm(sent if sent and "ask_server" in sent else None, sale=sale, named=visible)
    for form in (member, server):
        if not (form.is_bound and form.is_valid()):
            continue
        asked = form.cleaned_data
        try:
            if form is member:
                ask_for_member(sale, card=asked["card"], reason=asked["reason"], asked_by=user)
            else:
                ask_for_server(asked["part"], server=asked["server"], reason=asked["reason"], asked_by=user)
        except CorrectionRefused as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, str(refusal))
        else:
            messages.success(request, _("Asked for. Another person, a manager of the store or HR, decides on it."))
            return redirect("corrections")
    context = {"here": _here(user), "sale": sale, "visible": visible, "member": member, "server": server}
    return render(request, "commission/correct_ticket.html", context, status=422 if sent is not None else 200)


def _seen(request: HttpRequest) -> TicketCorrectionQuerySet:
    return TicketCorrection.objects.for_user(request.user).select_related(
        "sale__store",
        "sale__member",
        "part__server",
        "new_member",
        "new_server",
        "asked_by__clerk",
        "decided_by__clerk",
    )


@require_GET
def corrections(request: HttpRequest) -> HttpResponse:
    """The requests that one may see: those that wait first, the oldest at the top, then what was decided."""
    user = reader(request)
    if not (user.office or user.clerk_id):
        raise Http404
    seen = _seen(request)
    page = Paginator(seen.filter(approved__isnull=False).order_by("-decided_at"), PER_PAGE).get_page(
        request.GET.get("page")
    )
    waiting = list(seen.waiting().order_by("pk"))
    both = [*waiting, *page]
    visible = set(Sale.objects.for_user(user).filter(pk__in=[one.sale_id for one in both]).values_list("pk", flat=True))
    rows = [{"correction": one, "visible": one.sale_id in visible, "may_decide": False} for one in both]
    for row in rows[: len(waiting)]:
        one = row["correction"]
        assert isinstance(one, TicketCorrection)
        row["may_decide"] = may_decide(user, one)
        if one.new_member_id and row["visible"]:
            owning = owners_on([one.new_member_id], one.sale.business_date).get(one.new_member_id)
            row["owner"] = owning.clerk if owning else None
    context = {
        "here": "stores" if user.managed_store_ids() or user.office else "my_tickets",
        "waiting": rows[: len(waiting)],
        "decided": rows[len(waiting) :],
        "page": page,
    }
    return render(request, "commission/corrections.html", context)


@require_POST
def decide_correction(request: HttpRequest, pk: int) -> HttpResponse:
    """Approves or rejects what somebody else asked for."""
    user = reader(request)
    decides = Q() if user.is_hr else Q(sale__store__in=user.managed_store_ids())
    correction = get_object_or_404(_seen(request).filter(decides), pk=pk)
    note = request.POST.get("note", "")
    try:
        if "approve" in request.POST:
            approve(correction, by=user, note=note)
            messages.success(request, _("Ticket %(ticket)s is corrected.") % {"ticket": correction.sale.ticket_no})
        else:
            reject(correction, by=user, note=note)
            messages.success(request, _("Ticket %(ticket)s stays as it is.") % {"ticket": correction.sale.ticket_no})
    except CorrectionRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("corrections")
