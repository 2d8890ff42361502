"""The API for tills: tickets in, and what became of them out. docs/api.md tells vendors how to use it.

Every operation takes a token (`Authorization: Bearer ...`). What a token may not see is not found, as on the pages: to
a token of store S1 a ticket of S2 is 404.
"""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any, cast

from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, URLResolver
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from ninja import NinjaAPI, Path
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from ninja.security import HttpBearer

from commission.api_schemas import (
    MOST_TICKETS,
    BookedTickets,
    Problem,
    Refusal,
    StoreDay,
    StoredTicket,
    TakenTickets,
)
from commission.models import ApiToken, Sale
from commission.sent_tickets import PlansChanged, TicketsRefused, book_tickets
from commission.stored_tickets import store_day, stored
from commission.ticket_lines import read_date
from portfolios.import_problems import SHOWN
from portfolios.views import reader

# After so many seconds a request that met another writer is worth sending again.
_RETRY_AFTER = "2"


class Bearer(HttpBearer):
    """The token that `Authorization: Bearer` names."""

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:
        return ApiToken.objects.valid(token)


class NotJson(ValueError):
    """The body is no JSON text, or names a field twice."""


class StrictParser(Parser):
    """JSON in UTF-8, in which no name is there twice: of two amounts neither is taken for the right one."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return json.loads(request.body.decode("utf-8"), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise NotJson(str(error)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise NotJson("a name is there twice")
    return named


def _for_the_office(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The description is for HR and auditors, who hand it to the vendor; the login itself is asked for before."""

    def answer(request: HttpRequest, **options: Any) -> HttpResponse:
        if not reader(request).office:
            raise Http404
        return view(request, **options)

    return answer


api = NinjaAPI(
    title="One-to-One",
    version="1",
    description="Tickets from tills. Whole requests count or nothing of them; sending one again is always safe.",
    urls_namespace="api",
    auth=Bearer(),
    parser=StrictParser(),
    docs_decorator=_for_the_office,
)


# --- Operations ---------------------------------------------------------------------------------------------------

_REFUSED = {401: Refusal, 503: Refusal}


@api.post(
    "/tickets",
    url_name="tickets",
    summary="Send tickets",
    tags=["Tickets"],
    response={200: BookedTickets, 400: Refusal, 409: Refusal, 413: Refusal, 422: Refusal, **_REFUSED},
)
def post_tickets(request: HttpRequest, sent: TakenTickets) -> BookedTickets:
    """Book tickets, all of them or none. A ticket that is stored with the same content is a repeat and changes nothing;
    with other content it is a conflict."""
    return book_tickets(sent, token=_token(request))


@api.get(
    "/tickets/{store_no}/{business_date}/{path:ticket_no}",
    url_name="stored_ticket",
    summary="What became of a ticket",
    tags=["Tickets"],
    response={200: StoredTicket, 404: Refusal, **_REFUSED},
)
def get_ticket(
    request: HttpRequest, store_no: Path[str], business_date: Path[str], ticket_no: Path[str]
) -> StoredTicket:
    """What is stored of a ticket, and who is credited for it."""
    sales = Sale.objects.filter(
        store__in=_token(request).stores().filter(store_no=_number(store_no)),
        business_date=_day(business_date),
        ticket_no=_number(ticket_no),
    )
    if found := stored(sales):
        return found[0][1]
    raise Http404


@api.get(
    "/stores/{store_no}/days/{business_date}",
    url_name="store_day",
    summary="A store's day",
    tags=["Tickets"],
    response={200: StoreDay, 404: Refusal, **_REFUSED},
)
def get_store_day(request: HttpRequest, store_no: Path[str], business_date: Path[str]) -> StoreDay:
    """How many tickets of a store's day are stored, and their net total: for the comparison at the end of a day."""
    store = get_object_or_404(_token(request).stores(), store_no=_number(store_no))
    return store_day(store, _day(business_date))


def _token(request: HttpRequest) -> ApiToken:
    return cast(ApiToken, request.auth)  # type: ignore[attr-defined]


def _number(text: str) -> str:
    if "\0" in text:
        # No number holds one, and PostgreSQL takes none in a text.
        raise Http404
    return text


def _day(text: str) -> dt.date:
    day = read_date(text)
    if day is None:
        raise Http404
    return day


# --- Refusals -----------------------------------------------------------------------------------------------------


def _refuse(request: HttpRequest, status: int, code: str, message: str, **more: Any) -> HttpResponse:
    refusal = Refusal(code=code, message=message, **more)  # type: ignore[arg-type]
    response = api.create_response(request, refusal.model_dump(), status=status)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if status == 503:
        response["Retry-After"] = _RETRY_AFTER
    return response


@api.exception_handler(AuthenticationError)
def unauthorized(request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
    message = _("No valid token: send 'Authorization: Bearer ...' with one that has neither expired nor been revoked.")
    return _refuse(request, 401, "unauthorized", message)


@api.exception_handler(Http404)
def not_found(request: HttpRequest, _error: Http404) -> HttpResponse:
    return _refuse(request, 404, "not_found", _("There is nothing here for this token."))


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, _error: RequestDataTooBig) -> HttpResponse:
    message = _("The request is too large; nothing was booked. Send fewer tickets at once.")
    return _refuse(request, 413, "too_large", message)


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, _error: HttpError) -> HttpResponse:
    """Whatever the parser raises comes as this."""
    message = _("The body is no JSON in UTF-8, or names a field twice; nothing was booked.")
    return _refuse(request, 400, "not_json", message)


@api.exception_handler(ValidationError)
def misshapen(request: HttpRequest, error: ValidationError) -> HttpResponse:
    problems = [_shape(found) for found in error.errors[:SHOWN]]
    return _refuse(request, 422, "refused", _nothing_booked(len(error.errors)), problems=problems)


@api.exception_handler(TicketsRefused)
def refused(request: HttpRequest, error: TicketsRefused) -> HttpResponse:
    status, code = (409, "conflict") if error.only_conflicts else (422, "refused")
    message = _nothing_booked(error.count)
    return _refuse(request, status, code, message, problems=error.problems, conflicts=error.conflicts)


@api.exception_handler(PlansChanged)
@api.exception_handler(OperationalError)
def busy(request: HttpRequest, _error: Exception) -> HttpResponse:
    """Whether the connection was lost before or after the commit: sending it again is safe."""
    return _refuse(request, 503, "busy", _("The books are busy: send the same request again in a moment."))


def _nothing_booked(count: int) -> str:
    told = ngettext("%(count)d error; nothing was booked.", "%(count)d errors; nothing was booked.", count)
    return told % {"count": count}


def _shape(found: dict[str, Any]) -> Problem:
    """A fault in the shape of the request, told as one in its content is."""
    # ("body", "sent", "tickets", 3, "lines", 0, "net_amount")
    place = [*found["loc"][2:], None, None, None, None, None][:5]
    ticket, line = place[1], place[3] if place[2] == "lines" else None
    names = [part for part in found["loc"][2:] if isinstance(part, str)]
    reason, remedy = _fault(found["type"])
    value = found.get("input")
    return Problem(
        ticket=ticket,
        line=line,
        field=names[-1] if names else None,
        value=str(value)[:200] if isinstance(value, str | int | float) and found["type"] != "missing" else None,
        reason=reason,
        remedy=remedy,
    )


def _fault(kind: str) -> tuple[str, str]:
    faults = {
        "missing": (_("The field is missing."), _("Send it; only those that may be null may be left out.")),
        "extra_forbidden": (_("The field is not known."), _("Leave it out; the API's description lists the fields.")),
        "string_type": (_("It is no text."), _("Write it between quotation marks, amounts and quantities too.")),
        "string_unicode": (_("It is no text."), _("Send it in UTF-8.")),
        "string_too_short": (_("It is empty."), _("Leave the field out, or send null, where there is none.")),
        "string_too_long": (_("It is too long."), _("At most %(longest)d printable characters.") % {"longest": 60}),
        "int_type": (_("It is no whole number."), _("Write it without quotation marks and decimals.")),
        "blanks": (_("There are blanks around it."), _("Send it without.")),
        "control": (_("It holds a control character."), _("Send it without.")),
        "lost_text": (
            _("It holds the replacement character U+FFFD: text was lost before it came here."),
            _("Send it in UTF-8."),
        ),
        "too_short": (_("There is none."), _("Send at least one.")),
        "too_long": (
            _("There are more than %(most)d tickets.") % {"most": MOST_TICKETS},
            _("Send them in several requests."),
        ),
    }
    return faults.get(kind, (_("It has another form."), _("Send it as the API's description shows.")))


def open_to_tokens() -> list[URLPattern | URLResolver]:
    """The API's addresses. Operations take a token and no login; what describes them takes a login."""
    patterns: list[URLPattern | URLResolver] = api.urls[0]
    for pattern in patterns:
        if isinstance(pattern, URLPattern) and pattern.name not in ("openapi-json", "openapi-view", "api-root"):
            pattern.callback.login_required = False  # type: ignore[attr-defined]
    return patterns
