"""Finding a ticket, asking for a correction, deciding on it: what each person reads and may do. Figures: tests.cast."""

import re
from collections.abc import Iterator
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from commission.models import Attribution, Sale, TicketCorrection
from commission.ticket_corrections import ask_for_member
from payroll_exports.close_checklist import close_checklist
from portfolios.models import Month
from tests.cast import Cast, one_cast
from tests.test_pages import text as escaped_text

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture
def wang(cast: Cast) -> Client:
    """王, of the first store, who has a part in no ticket."""
    cast.users["wang"] = cast.user("wang", clerk=cast.chain.wang)
    return cast.client("wang")


@pytest.fixture
def walk_in(cast: Cast) -> Sale:
    """张 sold 200.00 in February without a card: 6.00."""
    (part,) = cast.chain.sale("02-04", (cast.chain.zhang, 20_000), ticket_no="W1")
    return part.sale


def text(response: object) -> str:
    return unescape(escaped_text(response))


def ask(client: Client, sale: Sale, **values: str) -> object:
    return client.post(reverse("correct_ticket", args=[sale.pk]), values, follow=True)


def find(client: Client, sale: Sale) -> object:
    query = {"store": sale.store.store_no, "date": str(sale.business_date), "ticket_no": sale.ticket_no}
    return client.get(reverse("find_ticket"), query)


# --- Finding -----------------------------------------------------------------------------------------------------


def test_a_ticket_of_one_s_own_opens(cast: Cast) -> None:
    for person in ("clerk", "manager", "hr", "auditor"):
        response = find(cast.client(person), cast.split_ticket)
        assert response["Location"] == reverse("ticket", args=[cast.split_ticket.pk])  # type: ignore[index]


def test_a_colleague_s_ticket_says_why_it_is_not_mine_and_no_more(cast: Cast, wang: Client) -> None:
    page = text(find(wang, cast.split_ticket))
    assert "Its member was 店员C1's on 2026-01-05: bound since 2026-01-01 by enrolment, recorded by test." in page
    assert "You are not named as the server on any of its lines." in page
    assert "owner and server 70/30" in page
    main = page[page.index("Why it is not yours") :]
    # Neither the net amount nor a part of it, nor the member, nor who served.
    assert not re.search(r"200\.00|140\.00|60\.00|6\.00|4\.20|1\.80|M1|C3", main)


def test_a_ticket_elsewhere_answers_as_one_that_is_not_there(cast: Cast) -> None:
    other = cast.client("other_clerk")
    hidden = text(find(other, cast.split_ticket))
    missing = text(other.get(reverse("find_ticket"), {"store": "S1", "date": "2026-01-05", "ticket_no": "T777"}))
    assert "There is no such ticket among those that you may ask about" in hidden
    assert hidden.replace(cast.split_ticket.ticket_no, "") == missing.replace("T777", "")


def test_only_who_sees_a_part_of_the_tickets_is_told_so(cast: Cast, wang: Client) -> None:
    told = "A ticket in which you have a part opens whole."
    assert told in text(wang.get(reverse("find_ticket")))
    assert told not in text(cast.client("hr").get(reverse("find_ticket")))


def test_what_is_no_date_is_said(wang: Client) -> None:
    page = text(wang.get(reverse("find_ticket"), {"store": "S1", "date": "5.1.", "ticket_no": ""}))
    assert '"5.1." is no date: write it as 2026-03-01.' in page
    assert "Fill in “Ticket number”: it may not be empty." in page


# --- Asking and deciding -----------------------------------------------------------------------------------------


def test_from_asking_to_the_corrected_ticket(cast: Cast, wang: Client, walk_in: Sale) -> None:
    asked = text(ask(wang, walk_in, **{"ask_member": "1", "member-card": "M1", "member-reason": "left at home"}))
    assert "Asked for. Another person, a manager of the store or HR, decides on it." in asked
    # 王 sees what was asked for, not whose card it is.
    assert "Another member waits for a decision" in asked
    assert "M1" not in asked
    store = reverse("store", args=[202602, "S1"])
    assert "1 correction of a ticket waits for a decision" in text(cast.client("manager").get(store))

    manager = cast.client("manager")
    page = text(manager.get(reverse("corrections")))
    assert "Member M1 of 店员C1 on that day" in page
    assert "“left at home” 店员C2" in page
    correction = TicketCorrection.objects.get()
    url = reverse("decide_correction", args=[correction.pk])
    done = text(manager.post(url, {"approve": "1", "note": "seen on camera"}, follow=True))
    assert "Ticket W1 is corrected." in done
    ticket = text(manager.get(reverse("ticket", args=[walk_in.pk])))
    assert "店员C1: 4.20, 70% of 6.00. The member is bound to 店员C1 since 2026-01-01 by enrolment." in ticket
    assert "店员C3: 1.80, the rest. 店员C3 served." in ticket
    assert "Takes back what was booked before" in ticket
    assert "“seen on camera”" in ticket
    assert "Member M1 M1" in ticket
    assert "waits for a decision" not in text(manager.get(store))
    assert "Ticket W1 is corrected." not in text(manager.post(url, {"approve": "1"}, follow=True))
    assert Attribution.objects.filter(part__sale=walk_in).count() == 3


def test_the_wrong_login_is_asked_for_part_by_part(cast: Cast) -> None:
    chain = cast.chain
    parts = chain.sale("02-04", (chain.zhang, 20_000), (chain.wang, 10_000), ticket_no="W2")
    sale = parts[0].sale
    manager = cast.client("manager")
    form = text(manager.get(reverse("correct_ticket", args=[sale.pk])))
    assert "from line 1 · 店员C3 from line 2 · 店员C2" in form
    asked = {"ask_server": "1", "server-part": str(parts[1].pk), "server-server": str(chain.zhang.pk)}
    assert "Say what happened" in text(ask(manager, sale, **asked))
    page = text(ask(manager, sale, **asked, **{"server-reason": "logged in as 王"}))
    assert "Served by 店员C3 (from line 2) instead of 店员C2 waits for a decision" in page
    assert "You asked for it: another person decides." in page
    # The manager can't decide on it; 张 and the other store's manager have no such page.
    correction = TicketCorrection.objects.get()
    url = reverse("decide_correction", args=[correction.pk])
    own = text(manager.post(url, {"approve": "1"}, follow=True))
    assert "You have asked for this correction yourself: another person must decide." in own
    assert cast.client("other_manager").post(url, {"approve": "1"}).status_code == 404
    refused = text(cast.client("hr").post(url, {"reject": "1"}, follow=True))
    assert "Say why it is not approved: whoever asked reads it." in refused
    left = text(cast.client("hr").post(url, {"reject": "1", "note": "the roster says 王"}, follow=True))
    assert "Ticket W2 stays as it is." in left
    assert "not approved" in left
    assert "“the roster says 王”" in text(manager.get(reverse("corrections")))


def test_what_is_filled_in_wrong_is_said_where_it_is(cast: Cast, wang: Client, walk_in: Sale) -> None:
    both = {"ask_member": "1", "member-card": "M1", "member-no_card": "on", "member-reason": "x"}
    assert "Give a card or phone number, or tick that the sale had no member." in text(ask(wang, walk_in, **both))
    none = {"ask_member": "1", "member-card": "", "member-reason": "x"}
    assert "Give a card or phone number" in text(ask(wang, walk_in, **none))
    unknown = {"ask_member": "1", "member-card": "M77", "member-reason": "x"}
    assert "No open card has the number or phone 'M77'" in text(ask(wang, walk_in, **unknown))
    closed = {"ask_member": "1", "member-no_card": "on", "member-reason": "x"}
    assert "is in 2026-01, which is closed" in text(ask(wang, cast.split_ticket, **closed))
    assert not TicketCorrection.objects.exists()


def test_whoever_has_no_part_is_not_told_who_served(cast: Cast, wang: Client) -> None:
    chain = cast.chain
    parts = chain.sale("02-04", (chain.zhang, 20_000), (chain.li, 10_000), ticket_no="W3")
    page = wang.get(reverse("correct_ticket", args=[parts[0].sale_id])).content.decode()
    labels = re.findall(r"<option[^>]*>(from line[^<]*)</option>", page)
    assert labels == ["from line 1", "from line 2"]


def test_a_request_is_worth_knowing_before_the_close_and_stops_nothing(cast: Cast, walk_in: Sale) -> None:
    clerk = cast.users["clerk"]
    assert clerk is not None
    ask_for_member(walk_in, card="M1", reason="forgotten", asked_by=clerk)
    checks = {check.code: check for check in close_checklist(Month.objects.get(pk=202602))}
    waiting = checks["waiting_correction"]
    assert (waiting.blocks, waiting.count, waiting.examples) == (False, 1, ["store S1, 2026-02-04, ticket W1"])


# --- A line's tickets --------------------------------------------------------------------------------------------


def test_a_line_of_the_month_opens_its_tickets(cast: Cast) -> None:
    client = cast.client("clerk")
    month = client.get(reverse("clerk_month", args=[202601, "C1"])).content.decode()
    address = reverse("line_tickets", args=[202601, "C1", "OWN_ABSENT"])
    assert f'href="{address}"' in month
    page = text(client.get(address))
    assert "Own members, served by another" in page
    assert cast.split_ticket.ticket_no in page
    assert "Credit (CNY) 140.00 Sum of the line, 1 ticket 4.20" in page
    assert "/lines/BASE/" not in month


def test_a_late_ticket_is_a_line_of_its_own(cast: Cast) -> None:
    cast.chain.sale("01-20", (cast.chain.li, 20_000), member=cast.member, ticket_no="L1")
    client = cast.client("clerk")
    month = text(client.get(reverse("clerk_month", args=[202602, "C1"])))
    assert "Late tickets 1 6.00" in month
    page = text(client.get(reverse("line_tickets", args=[202602, "C1", "LATE"])))
    assert "6.00 2026-01-20 · L1 Late, its own month was closed: Member of 店员C1" in page
    assert "Sum of the line, 1 ticket 6.00" in page
    assert "L1" not in text(client.get(reverse("line_tickets", args=[202602, "C1", "OWN_SERVED"])))
