"""Whole tickets that a till's software sends: booked together by the import of ticket files, or not at all.

Sent again with the same content a ticket is a repeat and changes nothing, so whoever got no answer sends the request
once more: a ticket of 200.00 that comes twice, or at the same moment twice, is in the books once.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from commission.api_schemas import (
    BookedTickets,
    Conflict,
    Problem,
    TakenLine,
    TakenTicket,
    TakenTickets,
    TicketOutcome,
)
from commission.models import ApiToken, Sale
from commission.money import format_amount
from commission.plan_book import Named
from commission.stored_tickets import stored
from commission.ticket_import import import_rows
from commission.ticket_lines import FIRST_DAY, read_date
from portfolios.import_problems import ImportProblem, ImportProblems, ImportRefused

# The cells of a ticket file that a whole ticket shares.
_OF_TICKET = frozenset({"store_no", "business_date", "ticket_no", "sold_at", "member_no"})

Key = tuple[str, str, str]


class TicketsRefused(ValueError):
    """None of the tickets was booked. `problems` are the first thousand reasons of `count`."""

    def __init__(self, count: int, problems: list[Problem], conflicts: list[Conflict]) -> None:
        super().__init__(count)
        self.count, self.problems, self.conflicts = count, problems, conflicts

    @property
    def only_conflicts(self) -> bool:
        return {problem.ticket for problem in self.problems} <= {conflict.ticket for conflict in self.conflicts}


class PlansChanged(Exception):
    """The plans were changed while the tickets were read; sent again, they are paid by the new ones."""


class _Place(NamedTuple):
    """Where a row of the import comes from."""

    ticket_index: int
    ticket: TakenTicket
    line_index: int
    line: TakenLine


def book_tickets(sent: TakenTickets, *, token: ApiToken) -> BookedTickets:
    """Books what is new of the tickets, on the record with the token's name. Raises TicketsRefused, PlansChanged."""
    problems = ImportProblems(listed=False)
    places: dict[int, _Place] = {}
    rows: list[tuple[int, list[str]]] = []
    first: dict[Key, tuple[int, TakenTicket]] = {}
    for index, ticket in enumerate(sent.tickets):
        before, known = first.setdefault(_key(ticket), (index, ticket))
        if before != index and known == ticket:
            continue
        numbers: set[int] = set()
        for line_index, line in enumerate(ticket.lines):
            row = len(places) + 1
            place = places[row] = _Place(index, ticket, line_index, line)
            if before != index:
                reason = _("Ticket %(index)d of this request has the same key and other content.") % {"index": before}
                problems.add("", row, "ticket_no", ticket.ticket_no, reason, _("Send each ticket once, and whole."))
                break
            if line.line_no in numbers:
                reason = _("The ticket has this line number twice.")
                remedy = _("Give each line of a ticket its own number.")
                problems.add("", row, "line_no", str(line.line_no), reason, remedy)
            else:
                rows.append((row, _cells(place)))
            numbers.add(line.line_no)
    try:
        report = import_rows(
            rows,
            name="",
            source=f"POST /api/v1/tickets, token {token}",
            problems=problems,
            named=_named(sent, token),
        )
    except ImportRefused as refusal:
        raise _refused(refusal.problems, places, token) from None
    # What another request has booked meanwhile, and what is twice in this one, is a repeat.
    booked = set(_keys(report.sales))
    outcomes = [
        TicketOutcome(
            index=index,
            store_no=ticket.store_no,
            business_date=ticket.business_date,
            ticket_no=ticket.ticket_no,
            status="booked" if _key(ticket) in booked and first[_key(ticket)][0] == index else "repeat",
        )
        for index, ticket in enumerate(sent.tickets)
    ]
    return BookedTickets(
        booked=report.tickets,
        repeated=len(outcomes) - report.tickets,
        lines=report.lines,
        net_amount=format_amount(report.net_amount),
        waiting_lines=report.waiting,
        late_attributions=report.late,
        posted_months=report.months,
        tickets=outcomes,
    )


def _key(ticket: TakenTicket) -> Key:
    return ticket.store_no, ticket.business_date, ticket.ticket_no


def _keys(sales: QuerySet[Sale]) -> Iterator[Key]:
    for store_no, day, ticket_no in sales.values_list("store__store_no", "business_date", "ticket_no"):
        yield store_no, day.isoformat(), ticket_no


def _outcome(
    index: int, ticket: TakenTicket, first: dict[Key, tuple[int, TakenTicket]], booked: set[Key]
) -> TicketOutcome:
    key = _key(ticket)
    return TicketOutcome(
        index=index,
        store_no=ticket.store_no,
        business_date=ticket.business_date,
        ticket_no=ticket.ticket_no,
        status="booked" if key in booked and first[key][0] == index else "repeat",
    )


def _cells(place: _Place) -> list[str]:
    """The cells of COLUMNS."""
    ticket, line = place.ticket, place.line
    original_line_no = "" if line.original_line_no is None else str(line.original_line_no)
    return [
        ticket.store_no, ticket.business_date, ticket.ticket_no, ticket.sold_at, line.clerk_no or "",
        ticket.member_no or "", str(line.line_no), line.product_no, line.category, line.quantity, line.net_amount,
        line.original_store_no or "", line.original_business_date or "", line.original_ticket_no or "",
        original_line_no,
    ]  # fmt: skip


def _named(sent: TakenTickets, token: ApiToken) -> Named:
    """What the tickets name. To a store's token there is no other store to sell in; it may take back another's sale."""
    lines = [line for ticket in sent.tickets for line in ticket.lines]
    days = [day for ticket in sent.tickets if (day := read_date(ticket.business_date))] or [FIRST_DAY]
    stores = {ticket.store_no for ticket in sent.tickets}
    return Named(
        stores=frozenset(stores & {token.store.store_no} if token.store else stores),
        original_stores=frozenset(line.original_store_no for line in lines if line.original_store_no),
        clerks=frozenset(line.clerk_no for line in lines if line.clerk_no),
        products=frozenset(line.product_no for line in lines),
        first_day=min(days),
        last_day=max(days),
    )


def _refused(found: ImportProblems, places: dict[int, _Place], token: ApiToken) -> Exception:
    if any(not problem.row for problem in found.shown):
        return PlansChanged()
    fields: dict[int, set[str]] = defaultdict(set)
    for problem in found.shown:
        fields[places[problem.row].ticket_index].add(problem.column)
    # Other content than what is stored is told of the ticket's number; a ticket with other faults is no conflict yet.
    suspects = {
        place.ticket_index: place.ticket for place in places.values() if fields[place.ticket_index] == {"ticket_no"}
    }
    wanted = {_key(ticket): index for index, ticket in suspects.items()}
    candidates = Sale.objects.filter(
        store__in=token.stores(),
        store__store_no__in={key[0] for key in wanted},
        business_date__in={day for key in wanted if (day := read_date(key[1]))},
        ticket_no__in={key[2] for key in wanted},
    )
    conflicts = [
        Conflict(ticket=wanted[key], sent=suspects[wanted[key]], stored=document)
        for sale, document in stored(candidates)
        if (key := (sale.store.store_no, sale.business_date.isoformat(), sale.ticket_no)) in wanted
    ]
    problems = [_told(problem, places[problem.row], token) for problem in found.shown]
    return TicketsRefused(found.count, problems, sorted(conflicts, key=lambda conflict: conflict.ticket))


def _told(problem: ImportProblem, place: _Place, token: ApiToken) -> Problem:
    line, reason, remedy = place.line, problem.reason, problem.remedy
    elsewhere = token.store and line.original_store_no not in (None, token.store.store_no)
    if elsewhere and problem.column == "net_amount" and problem.value != line.net_amount:
        # What is left of another store's ticket is not for this token to know.
        reason, remedy = (
            _("That ticket has no such line, or less of it is left."),
            _("Check the original and the amount."),
        )
    return Problem(
        ticket=place.ticket_index,
        line=None if problem.column in _OF_TICKET else place.line_index,
        field=problem.column or None,
        value=problem.value or None,
        reason=reason,
        remedy=remedy,
    )
