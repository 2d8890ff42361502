"""What the ticket API takes and gives, as JSON: its names are those of a ticket file, its amounts and quantities texts.

Here only the shape is looked at, strictly: a number where a text belongs (`"sold_at": 0`, `"net_amount": 200.0`), an
unknown field or a text with blanks around it is an error. What the texts say has the grammar of the files
(commission/ticket_lines.py), in which "200.00" is 20000 fen.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

MOST_TICKETS = 1_000


def _whole_text(text: str) -> str:
    if text != text.strip():
        raise PydanticCustomError("blanks", "blanks around a text")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise PydanticCustomError("control", "a control character")
    if "\ufffd" in text:
        raise PydanticCustomError("lost_text", "a replacement character")
    return text


Text = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_whole_text)]


def _like(example: str | int, description: str = "", **schema: Any) -> Any:
    """A field that must be there, with an example of what it holds."""
    return Field(description=description or None, examples=[example], json_schema_extra=schema or None)


def _perhaps(example: str | int, description: str = "", **schema: Any) -> Any:
    """A field that may be left out."""
    return Field(None, description=description or None, examples=[example], json_schema_extra=schema or None)


class _Taken(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TakenLine(_Taken):
    """A line of a ticket. A return has quantity and amount below zero; its four `original_` fields name the line that
    it takes back, or are all left out where that is not known."""

    line_no: int = _like(1, "From 1, each once in a ticket.", minimum=1)
    clerk_no: Text | None = _perhaps("C01", "The clerk who served, not the cashier; left out where nobody did.")
    product_no: Text = _like("6901234567890")
    category: Text = _like("OTC")
    quantity: Text = _like("1", "At most three decimals.", pattern=r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?$")
    net_amount: Text = _like(
        "200.00",
        "What was paid, in currency units, at most two decimals.",
        pattern=r"^-?(0|[1-9][0-9]{0,10})(\.[0-9]{1,2})?$",
    )
    original_store_no: Text | None = _perhaps("S01")
    original_business_date: Text | None = _perhaps("2026-01-05", format="date")
    original_ticket_no: Text | None = _perhaps("T0001")
    original_line_no: int | None = _perhaps(1, minimum=1)


class TakenTicket(_Taken):
    """A whole ticket: all its lines, always."""

    store_no: Text = _like("S01")
    business_date: Text = _like("2026-01-05", "The store's date of the sale.", format="date")
    ticket_no: Text = _like("T0001", "With store and business date the key of the ticket.")
    sold_at: Text = _like("2026-01-05T18:05:00+08:00", "ISO 8601 with an offset.", format="date-time")
    member_no: Text | None = _perhaps("88000001", "The card; left out at a sale without one.")
    lines: list[TakenLine] = Field(min_length=1)


_EXAMPLE: JsonDict = {
    "store_no": "S01",
    "business_date": "2026-01-05",
    "ticket_no": "T0001",
    "sold_at": "2026-01-05T18:05:00+08:00",
    "member_no": "88000001",
    "lines": [
        {
            "line_no": 1,
            "clerk_no": "C02",
            "product_no": "6901234567890",
            "category": "OTC",
            "quantity": "1",
            "net_amount": "200.00",
        }
    ],
}


class TakenTickets(_Taken):
    model_config = ConfigDict(json_schema_extra={"example": {"tickets": [_EXAMPLE]}})

    tickets: list[TakenTicket] = Field(min_length=1, max_length=MOST_TICKETS)


# --- Answers ------------------------------------------------------------------------------------------------------


class StoredLine(BaseModel):
    line_no: int
    clerk_no: str | None
    product_no: str
    category: str
    quantity: str
    net_amount: str
    excluded: bool | None = Field(description="Whether it earns nothing; null while a return waits for its original.")
    waits: bool = Field(description="A return whose original is not known yet: it counts for nobody so far.")
    original_store_no: str | None
    original_business_date: str | None
    original_ticket_no: str | None
    original_line_no: int | None


class StoredAttribution(BaseModel):
    """Who is credited for a part of the ticket; a correction adds rows and never edits one."""

    sequence: int
    posted_month: str = Field(examples=["2026-01"])
    kind: Literal["OWN_SERVED", "SPLIT", "UNOWNED", "WALK_IN"]
    reason: Literal["SALE", "RETURN", "LATE", "CORRECTION"]
    member_no: str | None
    owner_no: str | None
    server_no: str | None
    plan_no: str
    commissionable_amount: str
    excluded_amount: str
    owner_credit: str
    server_credit: str
    house_credit: str
    commission: str
    owner_commission: str
    server_commission: str
    house_commission: str


class StoredTicket(BaseModel):
    store_no: str
    business_date: str
    ticket_no: str
    sold_at: str
    member_no: str | None
    net_amount: str
    received_at: str
    lines: list[StoredLine]
    attributions: list[StoredAttribution]


class StoreDay(BaseModel):
    store_no: str
    business_date: str
    tickets: int
    lines: int
    net_amount: str
    waiting_lines: int = Field(description="Return lines whose original is not known yet.")


class TicketOutcome(BaseModel):
    index: int = Field(description="Its place in the request, from 0.")
    store_no: str
    business_date: str
    ticket_no: str
    status: Literal["booked", "repeat"] = Field(
        description="booked: it is in the books by this request. repeat: it was there already, the same."
    )


class BookedTickets(BaseModel):
    booked: int
    repeated: int
    lines: int = Field(description="The lines of the tickets that were booked.")
    net_amount: str = Field(description="Their net total.")
    waiting_lines: int = Field(description="Their return lines whose original is not known yet.")
    late_attributions: int = Field(description="Attributions posted to a later month, since their own is closed.")
    posted_months: list[str]
    tickets: list[TicketOutcome]


class Problem(BaseModel):
    """What is wrong, where, why, and what to do, in the language of Accept-Language."""

    ticket: int | None = Field(description="The ticket's place in the request, from 0; null: the request as a whole.")
    line: int | None = Field(description="The line's place in the ticket, from 0; null: the ticket as a whole.")
    field: str | None
    value: str | None
    reason: str
    remedy: str


class Conflict(BaseModel):
    """A ticket that is stored already with other content."""

    ticket: int
    sent: TakenTicket
    stored: StoredTicket


class Refusal(BaseModel):
    """Why a request came to nothing. `code` is for programs, the rest for people."""

    code: Literal["unauthorized", "not_found", "not_json", "too_large", "refused", "conflict", "busy"]
    message: str = Field(description="In the language of Accept-Language.")
    problems: list[Problem] = []
    conflicts: list[Conflict] = []
