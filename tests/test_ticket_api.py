"""Tickets by the API: booked as those of a file are, safe to send again, refused with every reason."""

import datetime as dt
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commission.models import ApiToken, Booking, Sale
from commission.settlement import waiting_returns
from portfolios.models import Store, User
from tests.builders import (
    Till,
    bind,
    booked,
    close,
    everything,
    facts,
    line,
    make_chain,
    make_clerk,
    make_plan,
    shares,
    ticket,
)
from tests.vendor import Vendor, whole

pytestmark = pytest.mark.django_db

SPLIT = ticket("T1", "01-05", line("200.00", by="C3"), member="M1")


@pytest.fixture
def vendor() -> Vendor:
    make_chain()
    return Vendor()


def problems(answer: Any) -> list[tuple[int | None, int | None, str | None, str]]:
    return [(one["ticket"], one["line"], one["field"], one["reason"]) for one in answer.json()["problems"]]


# --- Booked -------------------------------------------------------------------------------------------------------


def test_a_split_ticket_is_booked_and_told(vendor: Vendor) -> None:
    """200.00 at 3% are 6.00: 4.20 for 李, who owns the member, 1.80 for 张, who served."""
    answer = vendor.post(SPLIT)
    assert answer.status_code == 200
    assert answer.json() == {
        "booked": 1,
        "repeated": 0,
        "lines": 1,
        "net_amount": "200.00",
        "waiting_lines": 0,
        "late_attributions": 0,
        "posted_months": ["2026-01"],
        "tickets": [
            {"index": 0, "store_no": "S1", "business_date": "2026-01-05", "ticket_no": "T1", "status": "booked"}
        ],
    }
    assert shares("T1") == [(420, 180, 0)]
    booking = Booking.objects.get()
    assert booking.source == f"POST /api/v1/tickets, token Till & Co ({vendor.token.mark})"

    told = vendor.get("tickets/S1/2026-01-05/T1").json()
    assert told.pop("received_at").startswith(timezone.localtime(booking.recorded_at).isoformat()[:19])
    assert told == {
        "store_no": "S1",
        "business_date": "2026-01-05",
        "ticket_no": "T1",
        "sold_at": "2026-01-05T10:00:00+08:00",
        "member_no": "M1",
        "net_amount": "200.00",
        "lines": [
            {
                "line_no": 1, "clerk_no": "C3", "product_no": "P1", "category": "otc", "quantity": "1",
                "net_amount": "200.00", "excluded": False, "waits": False, "original_store_no": None,
                "original_business_date": None, "original_ticket_no": None, "original_line_no": None,
            }
        ],
        "attributions": [
            {
                "sequence": 1, "posted_month": "2026-01", "kind": "SPLIT", "reason": "SALE", "member_no": "M1",
                "owner_no": "C1", "server_no": "C3", "plan_no": "2026-A", "commissionable_amount": "200.00",
                "excluded_amount": "0.00", "owner_credit": "140.00", "server_credit": "60.00", "house_credit": "0.00",
                "commission": "6.00", "owner_commission": "4.20", "server_commission": "1.80",
                "house_commission": "0.00",
            }
        ],
    }  # fmt: skip


def test_it_books_what_a_file_with_the_same_tickets_books(vendor: Vendor, tmp_path: Path) -> None:
    """Every kind, two sellers, an exchange, an excluded line, an amount per unit, an online order, a late return."""
    first = [
        SPLIT,
        ticket("T2", "01-06", line("100.00"), line("7.00", by="C2", category="rx"), member="M1", at="09:30:00.25"),
        ticket("T3", "01-06", line("30.00", by="", quantity="0.5"), member="M0"),
        ticket("T4", "01-07", line("9.90", by="C2", product="UNIT", quantity="3"), store="S2"),
    ]
    later = [
        ticket("T5", "02-03", line("-50.00", by="C2", of=("T1", "01-05", 1)), line("80.00", by="C2"), member="M1"),
        ticket("T6", "02-03", line("-3.30", quantity="-1", of=("T4", "01-07", 1, "S2"))),
        ticket("T7", "01-20", line("-5.00", of=("T0", "2025-12-30", 1)), line("1.00")),
    ]
    make_plan("2026-S2", rates={"otc": 400}, store=Store.objects.get(store_no="S2"))

    def book(by_file: bool) -> dict[str, list[Any]]:
        for tickets in (first, later):
            if by_file:
                Till(tmp_path).load(*tickets)
            else:
                assert vendor.post(*tickets).status_code == 200
            if tickets is first:
                close(202601)
                bind("M1", "C2", since="02-01")
        return {name: rows for name, rows in facts().items() if name != "months"}

    outcomes = []
    for by_file in (True, False):
        with transaction.atomic():
            outcomes.append(book(by_file))
            transaction.set_rollback(True)
    assert outcomes[0] == outcomes[1]
    assert [len(outcomes[1][name]) for name in ("sales", "lines", "booked")] == [7, 10, 9]


def test_returns_take_from_the_sale_or_wait_for_it(vendor: Vendor) -> None:
    """A return of 50.00 of T1 takes 1.50 back, 1.05 and 0.45; one that comes before its sale waits for it."""
    answer = vendor.post(SPLIT, ticket("R1", "01-08", line("-50.00", by="C3", of=("T1", "01-05", 1)), member="M1"))
    assert answer.json()["booked"] == 2
    assert shares("R1") == [(-105, -45, 0)]

    waiting = ticket("R2", "01-09", line("-10.00", of=("T9", "01-04", 1)))
    assert vendor.post(waiting).json()["waiting_lines"] == 1
    assert vendor.get("stores/S1/days/2026-01-09").json()["waiting_lines"] == 1
    told = vendor.get("tickets/S1/2026-01-09/R2").json()
    assert (told["lines"][0]["waits"], told["attributions"]) == (True, [])
    assert vendor.post(ticket("T9", "01-04", line("10.00"))).json()["waiting_lines"] == 0
    assert not waiting_returns().exists()
    assert vendor.get("tickets/S1/2026-01-09/R2").json()["attributions"][0]["commission"] == "-0.30"

    refused = vendor.post(ticket("R3", "01-10", line("1.00"), line("-150.01", of=("T1", "01-05", 1))))
    assert refused.status_code == 422
    assert problems(refused) == [(0, 1, "net_amount", "It returns 150.01, and only 150.00 of its original is left.")]


def test_a_late_ticket_goes_to_the_first_open_month(vendor: Vendor) -> None:
    vendor.post(SPLIT)
    close(202601)
    answer = vendor.post(ticket("T2", "01-06", line("100.00"))).json()
    assert (answer["posted_months"], answer["late_attributions"]) == (["2026-02"], 1)
    told = vendor.get("tickets/S1/2026-01-06/T2").json()["attributions"][0]
    assert (told["reason"], told["posted_month"]) == ("LATE", "2026-02")


def test_the_day_of_a_store_for_the_tills_comparison(vendor: Vendor) -> None:
    vendor.post(
        SPLIT,
        ticket("T2", "01-05", line("60.00"), line("-10.00", of=("T1", "01-05", 1))),
        ticket("T3", "01-05", line("9.00"), store="S2"),
        ticket("T4", "01-06", line("9.00")),
    )
    assert vendor.get("stores/S1/days/2026-01-05").json() == {
        "store_no": "S1",
        "business_date": "2026-01-05",
        "tickets": 2,
        "lines": 3,
        "net_amount": "250.00",
        "waiting_lines": 0,
    }
    assert vendor.get("stores/S1/days/2026-01-09").json()["net_amount"] == "0.00"


def test_a_ticket_number_may_hold_a_slash(vendor: Vendor) -> None:
    vendor.post(ticket("01/05 A", "01-05", line("1.00")))
    assert vendor.get("tickets/S1/2026-01-05/01/05%20A").json()["net_amount"] == "1.00"


# --- Sent again ---------------------------------------------------------------------------------------------------


def test_a_request_that_is_sent_again_changes_nothing(vendor: Vendor) -> None:
    second = ticket("T2", "01-06", line("100.00"))
    vendor.post(SPLIT, second)
    before = everything()
    again = vendor.post(SPLIT, second).json()
    assert (again["booked"], again["repeated"], again["net_amount"]) == (0, 2, "0.00")
    assert [one["status"] for one in again["tickets"]] == ["repeat", "repeat"]
    assert everything() == before
    # Written in another way it is the same: the content counts.
    other = whole(SPLIT) | {"sold_at": "2026-01-05T02:00:00Z"}
    other["lines"] = [other["lines"][0] | {"net_amount": "200", "quantity": "1.000"}]
    third = vendor.send({"tickets": [other, whole(ticket("T3", "01-06", line("1.00")))]}).json()
    assert [one["status"] for one in third["tickets"]] == ["repeat", "booked"]


def test_other_content_is_a_conflict_and_both_are_shown(vendor: Vendor) -> None:
    vendor.post(SPLIT)
    before = everything()
    changed = ticket("T1", "01-05", line("210.00", by="C3"), member="M1")
    answer = vendor.post(ticket("T2", "01-06", line("5.00")), changed)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    (conflict,) = answer.json()["conflicts"]
    assert (conflict["ticket"], conflict["sent"]["lines"][0]["net_amount"]) == (1, "210.00")
    assert conflict["stored"]["lines"][0]["net_amount"] == "200.00"
    (problem,) = answer.json()["problems"]
    assert problem["reason"] == "This ticket is stored with other content: its line 1 is 200.00."
    assert everything() == before
    # A ticket whose rows are wrong is no conflict yet: both are told.
    wrong = vendor.post(changed, ticket("T3", "01-06", line("5.00", by="C99")))
    assert (wrong.status_code, wrong.json()["code"], len(wrong.json()["conflicts"])) == (422, "refused", 1)


def test_a_ticket_that_is_twice_in_a_request(vendor: Vendor) -> None:
    answer = vendor.post(SPLIT, SPLIT).json()
    assert [one["status"] for one in answer["tickets"]] == ["booked", "repeat"]
    assert Sale.objects.count() == 1
    one, other = ticket("T2", "01-05", line("1.00")), ticket("T2", "01-05", line("2.00"), first=2)
    refused = vendor.post(one, other)
    assert problems(refused) == [
        (1, None, "ticket_no", "Ticket 0 of this request has the same key and other content."),
    ]
    numbers = ticket("T3", "01-05", line("1.00")) + ticket("T3", "01-05", line("1.00"))
    assert problems(vendor.post(numbers)) == [(0, 1, "line_no", "The ticket has this line number twice.")]
    assert Sale.objects.count() == 1


# --- Refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_ticket", "of_line", "field", "reason"),
    [
        ({"store_no": "S9"}, {}, "store_no", "There is no store with this number."),
        ({"business_date": "2026-1-5"}, {}, "business_date", "It is no date."),
        ({"business_date": "2019-12-31"}, {}, "business_date", "No plan covers this store and date."),
        ({"sold_at": "2026-01-05 10:00:00"}, {}, "sold_at", "It is no time with an offset."),
        ({"ticket_no": "1.2E+10"}, {}, "ticket_no", "A spreadsheet has damaged this number."),
        ({"member_no": "M9"}, {}, "member_no", "There is no member with this card number."),
        ({}, {"clerk_no": "C9"}, "clerk_no", "There is no clerk with this number."),
        ({}, {"category": "toys"}, "category", "There is no such category."),
        ({}, {"net_amount": "1,000.00"}, "net_amount", "The amount has thousands separators."),
        ({}, {"net_amount": "１.00"}, "net_amount", "It is no amount."),
        ({}, {"net_amount": "0.001"}, "net_amount", "The amount has more than two decimals."),
        ({}, {"net_amount": "NaN"}, "net_amount", "It is no amount."),
        ({}, {"quantity": "-1"}, "quantity", "Quantity and amount have different signs."),
        ({}, {"line_no": 0}, "line_no", "It is no line number."),
        ({}, {"original_ticket_no": "T0"}, "original_ticket_no", "Only a return names an original."),
        # The shape.
        ({"sold_at": 0}, {}, "sold_at", "It is no text."),
        ({"member_no": 88000001}, {}, "member_no", "It is no text."),
        ({"member_no": ""}, {}, "member_no", "It is empty."),
        ({"ticket_no": "T1 "}, {}, "ticket_no", "There are blanks around it."),
        ({"ticket_no": "T\x001"}, {}, "ticket_no", "It holds a control character."),
        ({"ticket_no": "\ud800"}, {}, "ticket_no", "It is no text."),
        ({"store_no": None}, {}, "store_no", "It is no text."),
        ({"till": "3"}, {}, "till", "The field is not known."),
        ({"lines": []}, {}, "lines", "There is none."),
        ({}, {"net_amount": 200.0}, "net_amount", "It is no text."),
        ({}, {"line_no": "1"}, "line_no", "It is no whole number."),
        ({}, {"line_no": True}, "line_no", "It is no whole number."),
        ({}, {"line_no": 1.0}, "line_no", "It is no whole number."),
        ({}, {"price": "1.00"}, "price", "The field is not known."),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    vendor: Vendor, of_ticket: dict[str, Any], of_line: dict[str, Any], field: str, reason: str
) -> None:
    before = everything()
    good = whole(SPLIT)
    bad = {**good, "ticket_no": "T2", "lines": [good["lines"][0], good["lines"][0] | {"line_no": 2} | of_line]}
    answer = vendor.send({"tickets": [good, bad | of_ticket]})
    assert answer.status_code == 422
    told = problems(answer)
    assert (1, 1 if of_line else None, field, reason) in told
    assert len({one[3] for one in told}) == 1
    assert all(one["remedy"] for one in answer.json()["problems"])
    assert everything() == before


def test_a_field_that_is_missing(vendor: Vendor) -> None:
    sent = whole(SPLIT)
    del sent["sold_at"], sent["lines"][0]["net_amount"]
    reason = "The field is missing."
    assert problems(vendor.send({"tickets": [sent]})) == [
        (0, None, "sold_at", reason),
        (0, 0, "net_amount", reason),
    ]
    assert problems(vendor.send({})) == [(None, None, "tickets", reason)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 422, "refused"),
        ("{", 400, "not_json"),
        ('{"tickets": [], "tickets": []}', 400, "not_json"),
        (b'{"tickets": "\xff"}', 400, "not_json"),
        ("[" * 100_000, 400, "not_json"),
        ("9" * 5_000, 400, "not_json"),
        ("[]", 422, "refused"),
        ("null", 422, "refused"),
        ('{"tickets": []}', 422, "refused"),
        ('{"tickets": {"0": 1}}', 422, "refused"),
        ('{"tickets": [Infinity]}', 422, "refused"),
        (json.dumps({"tickets": [whole(SPLIT)] * 1_001}), 422, "refused"),
        (" " * 2_700_000, 413, "too_large"),
    ],
)
def test_a_body_that_is_no_batch_of_tickets(vendor: Vendor, body: str | bytes, status: int, code: str) -> None:
    answer = vendor.send_text(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Sale.objects.exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*whole(SPLIT), *whole(SPLIT)["lines"][0], "original_store_no", "original_line_no", "nonsense"]


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_is_answered(vendor: Vendor, data: st.DataObject) -> None:
    sent: Any = whole(SPLIT)
    for name in data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2)):
        where = data.draw(st.sampled_from([sent, sent["lines"][0]]))
        where[name] = data.draw(JSON)
        if not (isinstance(sent["lines"], list) and sent["lines"] and isinstance(sent["lines"][0], dict)):
            break
    with transaction.atomic():
        answer = vendor.send({"tickets": [sent]})
        assert answer.status_code in (200, 422)
        transaction.set_rollback(True)


def test_it_speaks_the_language_that_is_asked_for() -> None:
    make_chain()
    (problem,) = Vendor(language="zh-hans").post(ticket("T1", "01-05", line("1.00"), store="S9")).json()["problems"]
    assert (problem["reason"], problem["field"]) == ("没有这个编号的门店。", "store_no")


# --- Tokens -------------------------------------------------------------------------------------------------------


def test_without_a_valid_token_there_is_no_answer(vendor: Vendor) -> None:
    def status(text: str) -> int:
        vendor.headers["Authorization"] = text
        answer = vendor.get("stores/S1/days/2026-01-05")
        assert (answer.status_code == 401) == ("WWW-Authenticate" in answer)
        return answer.status_code

    mark, _dot, secret = vendor.text.partition(".")
    assert status(f"Bearer {vendor.text}") == 200
    for text in ("", "Bearer", f"Basic {vendor.text}", f"Bearer {secret}", f"Bearer {mark}.", f"Bearer {mark}.x"):
        assert status(text) == 401
    assert status(f"Bearer {Vendor(until='2020-01-01').text}") == 401
    ApiToken.objects.filter(pk=vendor.token.pk).update(revoked_at=timezone.now())
    assert status(f"Bearer {vendor.text}") == 401
    # Neither taken back nor deleted: bookings name it.
    for change in (lambda: ApiToken.objects.update(revoked_at=None), ApiToken.objects.get(pk=vendor.token.pk).delete):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()


def test_a_stores_token_knows_no_other_store(vendor: Vendor) -> None:
    vendor.post(SPLIT)
    other = Vendor("S2")
    for path in ("tickets/S1/2026-01-05/T1", "tickets/S9/2026-01-05/T1", "stores/S1/days/2026-01-05"):
        assert (other.get(path).status_code, other.get(path).json()["code"]) == (404, "not_found")
    assert other.get("stores/S2/days/2026-01-05").json()["tickets"] == 0
    # Another store's number is refused as one that is not there, also where its ticket is stored.
    hidden, missing = (
        other.post(SPLIT),
        other.post(ticket("T1", "01-05", line("200.00", by="C3"), member="M1", store="S9")),
    )
    assert hidden.json() == json.loads(missing.content.decode().replace("S9", "S1"))
    assert hidden.status_code == 422


def test_a_store_takes_back_what_another_has_sold_and_learns_nothing_of_it(vendor: Vendor) -> None:
    vendor.post(SPLIT)
    other = Vendor("S2")
    too_much = other.post(ticket("R1", "01-08", line("-300.00", of=("T1", "01-05", 1)), store="S2"))
    assert problems(too_much) == [(0, 0, "net_amount", "That ticket has no such line, or less of it is left.")]
    assert "200" not in too_much.content.decode()
    assert other.post(ticket("R1", "01-08", line("-200.00", of=("T1", "01-05", 1)), store="S2")).status_code == 200
    assert booked(ticket="R1")[0]["owner_no"] == "C1"


def test_the_secret_is_shown_once_and_not_kept() -> None:
    make_chain()
    run = StringIO()
    call_command("api_token", "add", "Till & Co", "--store", "S2", stdout=run)
    text = run.getvalue().splitlines()[-1]
    token = ApiToken.objects.get()
    assert text.partition(".")[0] == token.mark
    assert text.partition(".")[2] not in str(ApiToken.objects.values_list().get())
    assert (token.store and token.store.store_no, token.last_used_at) == ("S2", None)
    assert token.expires_on == timezone.localdate() + dt.timedelta(days=365)
    headers = {"Authorization": f"Bearer {text}"}
    assert Client(headers=headers).get("/api/v1/stores/S2/days/2026-01-05").status_code == 200
    token.refresh_from_db()
    assert token.last_used_at
    call_command("api_token", "revoke", token.mark, stdout=run)
    call_command("api_token", "list", stdout=run)
    assert run.getvalue().splitlines()[-1].startswith(f"{token.mark}  Till & Co; store S2; made by ")
    assert "revoked on" in run.getvalue().splitlines()[-1]
    assert Client(headers=headers).get("/api/v1/stores/S2/days/2026-01-05").status_code == 401


@pytest.mark.parametrize(
    "arguments",
    [("add", "x", "--store", "S9"), ("add", "x", "--chain", "--until", "2020-01-01"), ("add", " ", "--chain"),
     ("revoke", "nonsense")],
)  # fmt: skip
def test_a_token_that_cannot_be_made_or_found(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("api_token", *arguments)
    assert not ApiToken.objects.exists()


# --- The description ----------------------------------------------------------------------------------------------


def test_the_description_is_the_offices_and_asks_nobody_else() -> None:
    def client(name: str, **facts: Any) -> Client:
        browser = Client()
        browser.force_login(User.objects.create(username=name, **facts), backend="portfolios.access.StaffBackend")
        return browser

    hr = client("hr", office="hr")
    clerk = client("li", clerk=make_clerk("C1"))
    for path in ("/api/v1/docs", "/api/v1/openapi.json"):
        assert [Client().get(path).status_code, clerk.get(path).status_code, hr.get(path).status_code] == [
            302,
            404,
            200,
        ]
    page = hr.get("/api/v1/docs")
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert "http" not in page.content.decode().replace("http-equiv", "")
    description = hr.get("/api/v1/openapi.json").json()
    operations = [one for path in description["paths"].values() for one in path.values()]
    assert len(operations) == 3
    assert all(one["security"] == [{"Bearer": []}] for one in operations)
