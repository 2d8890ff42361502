"""The checklist of a month opens its lists; a waiting return is settled on its page, with a reason."""

from collections.abc import Iterator

import pytest
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from commission.models import Attribution, SaleLine
from tests.cast import Cast, one_cast, without_tokens
from tests.small_chain import day

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def waiting(cast: Cast, on: str = "02-05", *, store: int = 1, ticket_no: str = "", named: str = "") -> SaleLine:
    """A waiting return of 10.00; `named` is the number of the ticket that it names as its original."""
    chain = cast.chain
    (part,) = chain.sale(on, (chain.li, 0), store=chain.first if store == 1 else chain.second, ticket_no=ticket_no)
    of = {"original_store_no": "S1", "original_business_date": day("01-05"), "original_ticket_no": named}
    return SaleLine.objects.create(
        sale=part.sale, line_no=2, part=None, server=chain.li, product_no="P1", category=chain.otc,
        quantity_milli=-1000, net_amount=-1_000, is_return=True, **(of | {"original_line_no": 7} if named else {}),
    )  # fmt: skip


def text(cast: Cast, name: str, url: str) -> str:
    response = cast.client(name).get(url)
    assert response.status_code == 200
    return " ".join(without_tokens(response).split())


def test_each_point_leads_to_its_list(cast: Cast) -> None:
    waiting(cast, ticket_no="W1")
    (part,) = cast.chain.sale("02-06", (cast.chain.zhang, 4_400), ticket_no="U1", book=False)
    february = cast.month(202602)
    cast.month(202603)

    page = text(cast, "hr", reverse("month", args=[february.pk]))

    lists = {
        reverse("waiting_returns") + "?month=2026-02": "W1",
        reverse("unattributed_tickets", args=[february.pk]): "U1",
        reverse("month_unassigned", args=[february.pk]): reverse("unassigned", args=["S1"]),
    }
    for address, content in lists.items():
        assert f'href="{address}"' in page
        assert content in text(cast, "hr", address)
    assert reverse("ticket", args=[part.sale_id]) in text(cast, "hr", reverse("unattributed_tickets", args=[202602]))
    # March waits for February.
    assert f'href="{reverse("month", args=[202602])}"' in text(cast, "hr", reverse("month", args=[202603]))


def test_a_large_month_is_added_up_when_that_is_asked_for(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a month with millions of tickets each look at its page would take as long as the tie-out."""
    cast.chain.sale("02-05", (cast.chain.zhang, 1_000))
    cast.chain.sale("02-06", (cast.chain.zhang, 4_400), ticket_no="U1", book=False)
    url = reverse("month", args=[202602])
    unattributed = reverse("unattributed_tickets", args=[202602])
    whole = text(cast, "hr", url)
    monkeypatch.setattr("payroll_exports.views.ADDED_UP_AT_ONCE", 0)

    shown, asked = text(cast, "hr", url), text(cast, "hr", url + "?tie-out")

    assert "Tie out now" in shown
    assert not any(word in shown for word in ("Credited to clerks", unattributed))
    assert all(word in asked for word in ("Credited to clerks", unattributed))
    assert "Tie out now" not in whole
    assert "Credited to clerks" in whole


def test_an_auditor_reads_the_lists_and_settles_nothing(cast: Cast) -> None:
    line = waiting(cast, ticket_no="W1")
    page = text(cast, "auditor", reverse("waiting_returns"))
    settle = reverse("settle_waiting_return", args=[line.sale_id])
    assert "W1" in page
    assert settle not in page
    assert cast.client("auditor").post(settle, {"reason": "old"}).status_code == 404
    assert settle in text(cast, "hr", reverse("waiting_returns"))
    assert reverse("unassigned", args=["S1"]) not in text(cast, "auditor", reverse("month_unassigned", args=[202602]))


def test_a_manager_sees_and_settles_those_of_the_managed_stores_only(cast: Cast) -> None:
    first, second = waiting(cast, ticket_no="W1"), waiting(cast, store=2, ticket_no="W2")
    page = text(cast, "manager", reverse("waiting_returns"))
    assert ("W1" in page, "W2" in page) == (True, False)
    assert "1 return line waits for its original" in text(cast, "manager", reverse("store", args=[202602, "S1"]))
    client = cast.client("manager")
    other = client.post(reverse("settle_waiting_return", args=[second.sale_id]), {"reason": "old"})
    assert other.status_code == 404
    answer = client.post(reverse("settle_waiting_return", args=[first.sale_id]), {"reason": "before the system"})
    assert answer.status_code == 302
    row = Attribution.objects.get(part__sale=first.sale_id, part__settled=True)
    assert (row.house_credit_amount, row.house_commission_amount, row.owner, row.server) == (-1_000, -30, None, None)
    assert (row.booking.note, row.booking.recorded_by) == ("before the system", cast.users["manager"])
    assert SaleLine.objects.filter(part=None).get() == second
    assert "1 return line of ticket W1 is settled" in text(cast, "manager", reverse("waiting_returns")) or (
        "No return waits" in text(cast, "manager", reverse("waiting_returns"))
    )


def test_it_takes_a_reason(cast: Cast) -> None:
    line = waiting(cast)
    client = cast.client("hr")
    answer = client.post(reverse("settle_waiting_return", args=[line.sale_id]), {"reason": "  "}, follow=True)
    assert "Say why the return is settled" in answer.content.decode()
    assert SaleLine.objects.filter(part=None).count() == 1


def test_the_list_says_what_is_known_of_the_original(cast: Cast) -> None:
    there = cast.split_ticket
    waiting(cast, ticket_no="W1")
    waiting(cast, ticket_no="W2", named="T-unknown")
    waiting(cast, ticket_no="W3", named=there.ticket_no)
    page = text(cast, "hr", reverse("waiting_returns"))
    assert "It names no original." in page
    assert "ticket T-unknown, line 7: no such ticket has arrived yet" in page
    assert f"ticket {there.ticket_no}, line 7: the ticket is there, but it has no such line" in page
    assert reverse("ticket", args=[there.pk]) in page
    assert page.count("waits since") == 3


def test_the_list_of_a_month_holds_what_keeps_it_open(cast: Cast) -> None:
    waiting(cast, "02-05", ticket_no="W1")
    waiting(cast, "03-05", ticket_no="W2")
    page = text(cast, "hr", reverse("waiting_returns") + "?month=2026-02")
    assert ("W1" in page, "W2" in page) == (True, False)
    assert cast.client("hr").get(reverse("waiting_returns"), {"month": "2031-01"}).status_code == 404
    assert cast.client("hr").get(reverse("waiting_returns"), {"month": "soon"}).status_code == 404


def test_nothing_waits(cast: Cast) -> None:
    assert "No return waits for its original." in text(cast, "manager", reverse("waiting_returns"))
    assert "Every ticket has its attribution." in text(cast, "hr", reverse("unattributed_tickets", args=[202602]))
