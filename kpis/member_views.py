"""Members: the table, a member's page, and the portfolio of a clerk or a store on any date."""

import datetime as dt
from typing import Any

from auditlog.models import LogEntry
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.http import content_disposition_header, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from commission.inquiries import questionable_bindings, taken_over
from commission.tables import in_currency
from commission.templatetags.money import currency
from kpis.care import may_close_complaints
from kpis.care_views import CareForm, may_log
from kpis.contact_results import contact_log
from kpis.member_figures import figures_as_of
from kpis.member_filters import FilterError, MemberFilter
from kpis.member_list import COUNTED, MemberPage, known_order, member_page, page_number
from kpis.member_purchases import purchases
from kpis.member_tables import MemberTable, PortfolioTable
from kpis.models import CareContact
from kpis.portfolio_on_date import PortfolioOnDate, PortfolioRow, write_portfolio
from portfolios.models import Clerk, Member, Posting, Store, User
from portfolios.ownership import history, owners_on
from portfolios.phone_reads import record_phone_read, sees_whole_phones, shown_phones
from portfolios.roster_files import calendar_date
from portfolios.table_files import FORMATS
from portfolios.views import Choice, reader

ROWS_PER_PAGE = 100
CARE_SHOWN = 20
FILTERS = ("q", "owner", "tier", "bought_from", "bought_to", "at_risk", "unassigned")


def _today() -> dt.date:
    return timezone.localdate()


# --- The table ---------------------------------------------------------------------------------------------------


@require_GET
def members(request: HttpRequest) -> HttpResponse:
    """The members that one may see, found, sorted and chosen."""
    user, on = reader(request), _today()
    if not (user.is_hr or user.clerk_id):
        raise Http404
    stores = _stores(user)
    data = request.GET.copy()
    if "store" not in data and stores and not user.is_hr:
        data["store"] = stores[0].store_no
    store = get_object_or_404(stores, store_no=data["store"]) if data.get("store") else None
    order, as_of = known_order(data.get("sort", "")), figures_as_of()
    found = MemberFilter(data, user=user, on=on)
    problem = ""
    page = MemberPage([], 1, 0, False)
    try:
        page = member_page(
            found.found(),
            order=order,
            number=page_number(data.get("page", "")),
            on=on,
            as_of=as_of,
            exact=store is not None or not stores,
        )
    except FilterError as error:
        problem = str(error)
    query = urlencode({name: str(data[name]) for name in ("store", *FILTERS) if data.get(name)})
    change_url = _change_url(store) if store else ""
    table = MemberTable(
        page,
        choosable=bool(change_url),
        checked="check" in data,
        hidden=(() if stores and not store else ("store",)) + (() if stores else ("owner",)),
        order_by=order,
        request=request,
    )
    context = {
        "here": "members",
        "table": table,
        "page": page,
        "counted": COUNTED,
        "filter": found,
        "problem": problem,
        "filtered": any(data.get(name) for name in FILTERS),
        "query": query,
        "sort": order,
        "as_of": as_of,
        "on": on,
        "store": store,
        "change_url": change_url,
        "owners": _owner_choices(store, on) if store else None,
        "scoped": bool(stores),
        "portfolio_url": _portfolio_url(store, user),
        "stores": [Choice("?store=", _("all stores"), "", store is None)]
        + [
            Choice(f"?{urlencode({'store': other.store_no})}", other.name, other.store_no, other == store)
            for other in stores
        ],
    }
    return render(request, "kpis/members.html", context, status=400 if problem else 200)


def _stores(user: User) -> Any:
    """The stores whose members the user may look through; an auditor sees no members' details."""
    stores = Store.objects.for_user(user)
    return stores if user.is_hr or not user.office else stores.none()


def _portfolio_url(store: Store | None, user: User) -> str:
    """Where the shown members' portfolio is, on any date."""
    if store:
        return reverse("store_portfolio", args=[store.store_no])
    return reverse("clerk_portfolio", args=[user.clerk.clerk_no]) if user.clerk else ""


def _change_url(store: Store) -> str:
    """Where the chosen members are reassigned."""
    try:
        return reverse("propose", args=[store.store_no, "reassignment"])
    except NoReverseMatch:
        return ""


def _owner_choices(store: Store, on: dt.date) -> list[Clerk]:
    """The clerks who may own members of the store: its own, and whoever owns one of them."""
    own = Clerk.objects.posted_to(store, on).values_list("pk", flat=True)
    bound = Clerk.objects.filter(
        bindings__member__store=store, bindings__voided_by=None, bindings__valid_from__lte=on, bindings__valid_to__gt=on
    )
    return list(Clerk.objects.filter(pk__in={*own, *bound.values_list("pk", flat=True)}))


# --- One member --------------------------------------------------------------------------------------------------


@require_GET
def member(request: HttpRequest, member_no: str) -> HttpResponse:
    """A member: the owner, now and on any date, the whole history, figures and purchases."""
    user, today = reader(request), _today()
    shown = get_object_or_404(
        Member.objects.for_user(user, today).select_related("store", "figures", "merged_into", "enrolled_by"),
        member_no=member_no,
    )
    phone = shown_phones(user, [shown], today)[shown.pk]
    if phone and sees_whole_phones(user):
        record_phone_read(user, page=request.path, member=shown)
    asked, on = request.GET.get("on", ""), None
    if asked:
        on = calendar_date(asked)
    page, tickets = purchases(shown, user=user, number=request.GET.get("page"))
    figures, as_of = getattr(shown, "figures", None), figures_as_of()
    merged_into = shown.merged_into
    if merged_into and not Member.objects.for_user(user, today).filter(pk=merged_into.pk).exists():
        merged_into = None
    context = {
        "here": "members",
        "member": shown,
        "phone": phone,
        "whole_phone": sees_whole_phones(user),
        "owner": owners_on([shown.pk], today).get(shown.pk),
        "asked": asked,
        "on": on,
        "owner_on": owners_on([shown.pk], on).get(shown.pk) if on else None,
        "counts_on": bool(on and shown.counted_from <= on < shown.counted_to),
        "figures": figures,
        "as_of": as_of,
        "at_risk": bool(figures and figures.at_risk_on and as_of and figures.at_risk_on <= as_of),
        "history": history(shown, today=today),
        "questionable": questionable_bindings(shown, user),
        "page": page,
        "purchases": tickets,
        "currency": currency(),
        "amount_heading": in_currency(_("Amount")),
        "may_lock": _may_lock(user, shown) and shown.closed_on is None,
        "merged_into": merged_into,
        "merged": list(shown.merged.all()),
        "care": contact_log(shown, as_of=as_of, length=CARE_SHOWN),
        "care_form": CareForm() if may_log(user) and shown.closed_on is None else None,
        "outcomes": CareContact.Outcome.choices,
        "may_close": may_close_complaints(user, shown),
    }
    return render(request, "kpis/member.html", context, status=400 if asked and on is None else 200)


def _may_lock(user: User, member: Member) -> bool:
    return user.is_hr or member.store_id in user.managed_store_ids()


@require_POST
def member_lock(request: HttpRequest, member_no: str) -> HttpResponse:
    """Locks a member to its owner, or takes the lock away; who did it is on record."""
    user = reader(request)
    shown = get_object_or_404(Member.objects.for_user(user, _today()), member_no=member_no)
    if not _may_lock(user, shown):
        raise Http404
    wanted = request.POST.get("lock") == "on"
    if shown.locked != wanted:
        shown.locked = wanted
        shown.save(update_fields=["locked"])
        LogEntry.objects.log_create(
            shown, action=LogEntry.Action.UPDATE, changes={"locked": [str(not wanted), str(wanted)]}
        )
    messages.success(
        request,
        _("%(member)s stays with its owner: no split or rebalance moves it.") % {"member": shown}
        if wanted
        else _("%(member)s may be moved by a split or a rebalance again.") % {"member": shown},
    )
    return redirect("member", member_no)


# --- A portfolio on any date -------------------------------------------------------------------------------------


@require_GET
def clerk_portfolio(request: HttpRequest, clerk_no: str) -> HttpResponse:
    """A clerk's portfolio on a date, today by default."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    return _portfolio_page(request, title=clerk.name, number=clerk_no, clerk=clerk)


@require_GET
def store_portfolio(request: HttpRequest, store_no: str) -> HttpResponse:
    """The portfolio of a store's clerks on a date, today by default, and who was unassigned."""
    store = get_object_or_404(Store.objects.for_user(request.user), store_no=store_no)
    return _portfolio_page(request, title=store.name, number=store_no, store=store)


@require_GET
def clerk_portfolio_file(request: HttpRequest, clerk_no: str, format: str) -> HttpResponse:
    """A clerk's portfolio on a date as a file."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    return _portfolio_file(request, clerk_no, format, clerk=clerk)


@require_GET
def store_portfolio_file(request: HttpRequest, store_no: str, format: str) -> HttpResponse:
    """A store's portfolio on a date as a file."""
    store = get_object_or_404(Store.objects.for_user(request.user), store_no=store_no)
    return _portfolio_file(request, store_no, format, store=store)


def _asked_date(request: HttpRequest) -> dt.date | None:
    """The date in the address, today without one; None for what is no date."""
    asked = request.GET.get("on", "")
    return calendar_date(asked) if asked else _today()


def _portfolio(request: HttpRequest, on: dt.date, clerk: Clerk | None, store: Store | None) -> PortfolioOnDate:
    """The portfolio, or the part of a store's that the address names."""
    only = request.GET.get("only", "")
    if only and not (store and only in (PortfolioOnDate.OWNED, PortfolioOnDate.OTHERS_CARDS)):
        raise Http404
    return PortfolioOnDate(on=on, clerk=clerk, store=store, only=only)


def _portfolio_page(
    request: HttpRequest, *, title: str, number: str, clerk: Clerk | None = None, store: Store | None = None
) -> HttpResponse:
    user, on = reader(request), _asked_date(request)
    kind, only = "clerk" if clerk else "store", request.GET.get("only", "")
    context: dict[str, Any] = {
        "here": "members" if clerk and clerk.pk == user.clerk_id else "stores",
        "title": title,
        "number": number,
        "clerk": clerk,
        "store": store,
        "asked": request.GET.get("on", ""),
        "on": on,
        "only": only,
        "stores": _switch(request, store) if store else [],
    }
    if on is None:
        return render(request, "kpis/portfolio.html", context, status=400)
    portfolio = _portfolio(request, on, clerk, store)
    page: Page[PortfolioRow] = Paginator(portfolio, ROWS_PER_PAGE).get_page(request.GET.get("page"))  # type: ignore[arg-type]
    rows = list(page.object_list)
    keys = [row.member.pk for row in rows]
    linked = set(Member.objects.for_user(user, _today()).filter(pk__in=keys).values_list("pk", flat=True))
    hidden = ["clerk"] if clerk else []
    if not linked:
        hidden.append("phone")
    address = reverse(f"{kind}_portfolio_file", args=[number, "csv"])
    query = urlencode({"on": on.isoformat()} | ({"only": only} if only else {}))
    context |= {
        "portfolio": portfolio,
        "page": page,
        "others_cards": bool(linked) and len(linked) < len(keys),
        "table": PortfolioTable(
            rows,
            linked=linked,
            taken_over=taken_over(keys, clerk, on) if clerk and clerk.pk == user.clerk_id else {},
            exclude=hidden,
        ),
        "by_clerk": portfolio.by_clerk() if store else [],
        "left": clerk is not None and clerk.left_on is not None and clerk.left_on < on,
        "home": _home(clerk, on) if clerk else None,
        "files": [(format.upper(), f"{address.removesuffix('csv')}{format}?{query}") for format in FORMATS],
    }
    return render(request, "kpis/portfolio.html", context)


def _switch(request: HttpRequest, store: Store) -> list[Choice]:
    asked = f"?{urlencode({'on': request.GET['on']})}" if request.GET.get("on") else ""
    return [
        Choice(reverse("store_portfolio", args=[other.store_no]) + asked, other.name, other.store_no, other == store)
        for other in Store.objects.for_user(request.user)
    ]


def _home(clerk: Clerk, on: dt.date) -> Store | None:
    posting = (
        Posting.objects.clerk_postings()
        .filter(clerk=clerk, valid_from__lte=on)
        .select_related("store")
        .order_by("valid_from")
        .last()
    )
    return posting.store if posting else None


def _portfolio_file(
    request: HttpRequest, number: str, format: str, *, clerk: Clerk | None = None, store: Store | None = None
) -> HttpResponse:
    """The file, with the phones that the reader may see today; that it was taken is on record."""
    user, on = reader(request), _asked_date(request)
    if format not in FORMATS or on is None:
        raise Http404
    portfolio = _portfolio(request, on, clerk, store)
    rows = portfolio[:]
    phones = shown_phones(user, [row.member for row in rows], _today())
    whole = sum(1 for phone in phones.values() if phone) if sees_whole_phones(user) else 0
    content = write_portfolio(rows, on=on, phones=phones, format=format)
    name = f"portfolio-{number}-{on}.{format}".replace("/", "-")
    if whole:
        record_phone_read(user, page=request.get_full_path(), members=whole)
    LogEntry.objects.log_create(
        clerk or store, force_log=True, action=LogEntry.Action.ACCESS, additional_data={"export": name}
    )
    return HttpResponse(
        content,
        content_type=FORMATS[format],
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or "",
            "Cache-Control": "private",
        },
    )
