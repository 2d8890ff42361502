"""The pages: a clerk's month, a store's portfolios, HR's months. Figures are those of `tests.cast`."""

import hashlib
import json
import re
from collections.abc import Iterator

import pytest
import time_machine
from auditlog.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from commission.explain import explain, with_parties
from commission.models import Attribution, Band
from commission.templatetags.money import count, money, money_text, signed
from kpis.models import PortfolioMonth
from payroll_exports.models import FileRecord, PayRun, Payslip, PayslipFile
from portfolios.models import Month, Posting
from tests.cast import Cast, one_cast
from tests.small_chain import day

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def text(response: object) -> str:
    """What a person reads on a page: without tags, white space as one blank."""
    content = response.content.decode()  # type: ignore[attr-defined]
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


# --- Figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0.00"), (5, "0.05"), (-5, "−0.05"), (123_450, "1,234.50"), (-123_456_789, "−1,234,567.89"), (None, "")],
)
def test_money_has_two_decimals_and_a_true_minus_sign(amount: int | None, shown: str) -> None:
    assert money_text(amount) == shown


def test_a_loss_is_marked() -> None:
    assert money(-1) == '<span class="money less">−0.01</span>'
    assert money(1) == '<span class="money">0.01</span>'
    assert (count(-1234), signed(12), signed(-12), signed(0)) == ("−1,234", "+12", "−12", "0")


# --- What every page keeps to ------------------------------------------------------------------------------------


def test_home_is_where_one_s_work_begins(cast: Cast) -> None:
    first_pages = {person: cast.client(person).get("/", follow=True).request["PATH_INFO"] for person in cast.PEOPLE[1:]}
    assert first_pages == {
        "clerk": "/clerks/2026-02/C1/",
        "other_clerk": "/clerks/2026-02/C4/",
        "manager": "/stores/2026-02/S1/",
        "other_manager": "/stores/2026-02/S2/",
        "hr": "/months/",
        "auditor": "/months/",
    }


def test_no_page_holds_script_or_style_of_its_own(cast: Cast) -> None:
    pages = {
        "anonymous": ["/login/", "/no/such/page/"],
        "clerk": ["/clerks/2026-02/C1/", "/clerks/2026-01/C1/", "/clerks/2026-02/C1/tickets/", "/payslips/"],
        "manager": ["/stores/2026-01/S1/", f"/tickets/{cast.split_ticket.pk}/", "/password/"],
        "hr": ["/months/", "/months/2026-01/", "/months/2026-02/"],
    }
    for person, urls in pages.items():
        client = cast.client(person)
        for url in urls:
            response = client.get(url)
            page = response.content.decode()
            policy = response["Content-Security-Policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page), url
            assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page)), url
            assert not re.search(r'(src|href)="(https?:)?//', page), url
            config = re.search(r"name=\"htmx-config\" content='([^']+)'", page)
            assert config is not None
            assert json.loads(config[1]) == {"includeIndicatorStyles": False, "allowEval": False}


# --- A clerk -----------------------------------------------------------------------------------------------------


def test_a_clerk_s_month_so_far(cast: Cast) -> None:
    page = text(cast.client("clerk").get("/clerks/2026-02/C1/"))
    assert "Commission so far (CNY) 9.00" in page
    assert "Own members, served 1 9.00" in page
    assert "Base salary 28 days 3,100.00" in page
    assert "Together as of now 3,109.00" in page
    assert "Members in the portfolio 1" in page
    assert "Member of 店员C1, 店员C1 served: 100% to 店员C1." in page
    assert "PDF" not in page


def test_the_accelerator_says_on_what_credit_and_by_which_plan(cast: Cast) -> None:
    """李's credit of February is 300.00: 3.00 more at 1%."""
    client = cast.client("clerk")
    assert "Accelerator" not in text(client.get("/clerks/2026-02/C1/"))
    Band.objects.create(plan=cast.chain.plan, lower_amount=0, rate_bp=100)
    page = text(client.get("/clerks/2026-02/C1/"))
    assert "Accelerator 3.00" in page
    assert "Accelerator: on a credit of 300.00, by plan 2026-A" in page


def test_a_closed_month_shows_the_locked_payslip(cast: Cast) -> None:
    client = cast.client("clerk")
    page = text(client.get("/clerks/2026-01/C1/"))
    assert "To be paid, gross (CNY) 3,107.20" in page
    assert "Own members, served by another 1 4.20" in page
    assert "Key members" in page
    first = client.get("/payslips/2026-01/C1.pdf")
    assert first["Content-Type"] == "application/pdf"
    assert first.content.startswith(b"%PDF-")
    assert first.content == client.get("/payslips/2026-01/C1.pdf").content
    assert bytes(PayslipFile.objects.get(payslip=cast.payslip).pdf) == first.content


def test_a_month_of_the_other_language(cast: Cast) -> None:
    page = text(cast.client("clerk", "zh-hans").get("/clerks/2026-02/C1/"))
    assert "本月提成（元） 9.00" in page
    assert "店员C1的会员，店员C1服务：店员C1 100%。" in page


def test_the_list_of_tickets_shows_one_s_own_part_of_each(cast: Cast) -> None:
    entries = cast.client("clerk").get("/clerks/2026-01/C1/tickets/").context["entries"]
    assert [(entry["name"], entry["row"].own_commission_amount) for entry in entries] == [
        ("Own member, served", 300),
        ("Own member, served by another", 420),
    ]
    covered = cast.client("manager").get("/clerks/2026-01/C3/tickets/").context["entries"]
    assert [(entry["name"], entry["row"].own_commission_amount) for entry in covered] == [
        ("Covered for another clerk", 180)
    ]


def test_a_long_list_of_tickets_has_pages_and_as_many_queries_as_a_short_one(cast: Cast) -> None:
    client = cast.client("clerk")
    with CaptureQueriesContext(connection) as short:
        client.get("/clerks/2026-02/C1/tickets/")
    cast.chain.sale("02-04", *[(cast.chain.li, 100)] * 60, member=cast.member)
    with CaptureQueriesContext(connection) as long:
        page = text(client.get("/clerks/2026-02/C1/tickets/"))
    assert "Page 1 of 2 Older" in page
    assert len(long) == len(short)


def test_a_ticket_says_who_gets_what_and_why(cast: Cast) -> None:
    page = text(cast.client("clerk").get(f"/tickets/{cast.split_ticket.pk}/"))
    assert "Member of 店员C1, 店员C3 served: 70% to 店员C1, 30% to 店员C3." in page
    assert "Owner · 店员C1 140.00 4.20" in page
    assert "Server · 店员C3 60.00 1.80" in page
    assert "Together 200.00 6.00" in page
    assert "OTC" in page


def test_a_ticket_of_excluded_categories_says_so(cast: Cast) -> None:
    (part,) = cast.chain.sale("02-05", (cast.chain.li, 26_380, cast.chain.rx), member=cast.member)
    client = cast.client("clerk")
    assert "Excluded categories alone, which earn no commission." in text(client.get("/clerks/2026-02/C1/tickets/"))
    assert "Prescription P1 店员C1 1 excluded 263.80" in text(client.get(f"/tickets/{part.sale_id}/"))


def test_a_return_leads_to_the_sale_that_came_back(cast: Cast) -> None:
    chain = cast.chain
    (sold,) = chain.sale("02-05", (chain.li, 1_000), member=cast.member)
    (returned,) = chain.sale("02-06", (chain.li, -1_000), returns=sold)
    way = f'<a href="/tickets/{sold.sale_id}/">The sale that came back'
    for address in (f"/tickets/{returned.sale_id}/", f"/tickets/{returned.sale_id}/question/"):
        assert way in cast.client("clerk").get(address).content.decode()
    assert way not in cast.client("clerk").get(f"/tickets/{sold.sale_id}/").content.decode()


def test_every_kind_of_sale_is_explained(cast: Cast) -> None:
    chain = cast.chain
    online = chain.sale("02-05", (None, 1_000), member=cast.member)
    unowned = chain.sale("02-05", (chain.zhang, 1_000), member=cast.unassigned)
    walk_in = chain.sale("02-05", (chain.zhang, 1_000))
    returned = chain.sale("02-06", (chain.zhang, -1_000), returns=walk_in[0])
    late = chain.sale("01-20", (chain.zhang, 1_000))
    parts = [part for (part,) in (online, unowned, walk_in, returned, late)]
    rows = {row.part_id: row for row in with_parties(Attribution.objects.filter(part__in=parts))}
    assert [explain(rows[part.pk]) for part in parts] == [
        "Member of 店员C1, no clerk served: 70% to 店员C1, 30% to the store.",
        "Member without an owner, 店员C3 served: 100% to 店员C3.",
        "No member, 店员C3 served: 100% to 店员C3.",
        "Return, shared as the sale was: No member, 店员C3 served: 100% to 店员C3.",
        "Late, its own month was closed: No member, 店员C3 served: 100% to 店员C3.",
    ]


# --- A store -----------------------------------------------------------------------------------------------------


def test_a_store_s_portfolios_begin_with_who_has_no_owner(cast: Cast) -> None:
    response = cast.client("manager").get("/stores/2026-02/S1/")
    page = text(response)
    assert page.index("1 member of this store has no owner.") < page.index("Commission (CNY)")
    rows = {row.record.clerk.clerk_no: row.record for row in response.context["table"].rows}
    assert set(rows) == {"C1", "C2", "C3"}
    assert (rows["C1"].members, rows["C2"].members) == (1, 0)
    assert rows["C1"].credit == (30_000, 900)
    assert rows["C1"].movement == PortfolioMonth.objects.get(month=202601, clerk=cast.chain.li)
    assert "Store 1 " in page
    assert "300.00 9.00" in page


def test_who_leaves_or_moves_in_a_month_stays_in_its_table(cast: Cast) -> None:
    chain = cast.chain
    chain.wang.left_on = day("02-10")
    chain.wang.save()
    chain.zhang.postings.update(valid_to=day("02-11"))
    Posting.objects.create(clerk=chain.zhang, store=chain.second, role="clerk", valid_from=day("02-11"))

    def clerks(url: str) -> list[str]:
        table = cast.client("hr").get(f"{url}?sort=clerk").context["table"]
        return [row.record.clerk.clerk_no for row in table.rows]

    assert clerks("/stores/2026-02/S1/") == ["C1", "C2"]
    assert clerks("/stores/2026-02/S2/") == ["C3", "C4"]
    assert clerks("/stores/2026-01/S1/") == ["C1", "C2", "C3"]


def test_the_table_of_portfolios_is_sorted_as_asked(cast: Cast) -> None:
    client = cast.client("manager")

    def order(query: str) -> list[str]:
        table = client.get(f"/stores/2026-01/S1/{query}").context["table"]
        return [row.record.clerk.clerk_no for row in table.rows]

    # January: 李 7.20, 张 1.80, 王 nothing.
    assert order("") == ["C1", "C3", "C2"]
    assert order("?sort=commission_amount") == ["C2", "C3", "C1"]
    assert order("?sort=-clerk") == ["C3", "C2", "C1"]
    assert order("?sort=no_such_column") == ["C1", "C3", "C2"]


# --- HR's months -------------------------------------------------------------------------------------------------


def test_the_months_with_what_they_paid(cast: Cast) -> None:
    page = text(cast.client("hr").get("/months/"))
    paid = sum(Payslip.objects.values_list("paid_amount", flat=True))
    assert paid == 310_000 + 720 + 180 + 150
    assert "2026-01 2026-01-01 2026-01-31 closed 6 3,110.50" in page
    assert "2026-02 2026-02-01 2026-02-28 open" in page


def test_the_tie_out_of_a_month(cast: Cast) -> None:
    page = text(cast.client("auditor").get("/months/2026-01/"))
    assert "agrees to the fen" in page
    assert "Attributed 350.00 Tickets of the POS 350.00" in page
    assert "Commission in the ledger, owners and servers 10.50 Commission on the payslips 10.50" in page
    assert "店1 S1 4 9.00 3,109.00" in page
    assert "Draft the pay run" not in text(cast.client("auditor").get("/months/2026-02/"))


def test_a_month_is_closed_by_two_people(cast: Cast) -> None:
    first, second = cast.client("hr"), cast.client("second_hr")
    assert "Draft the pay run" in text(first.get("/months/2026-02/"))
    refused = text(first.post("/months/2026-02/close/", follow=True))
    assert "No pay run of 2026-02 is approved: one person drafts it, another approves it." in refused
    drafted = text(cast.drafted_on_page("hr", cast.february))
    assert "Drafted by hr" in drafted
    run = PayRun.objects.get()
    first.post(f"/pay-runs/{run.pk}/review/")
    assert "You drafted it: another person in HR approves it." in text(first.get("/months/2026-02/"))
    refused = text(first.post(f"/pay-runs/{run.pk}/approve/", follow=True))
    assert "You have drafted this pay run yourself: another person must approve it." in refused

    assert "Approve the pay run" in text(second.get("/months/2026-02/pay-run/"))
    approved = text(second.post(f"/pay-runs/{run.pk}/approve/", follow=True))
    assert "Approved: the month can be closed on it." in approved
    closed = text(first.post("/months/2026-02/close/", follow=True))
    assert "2026-02 is closed, with 6 payslips." in closed
    assert Month.objects.get(pk=202602).closed_by == "second_hr"
    run.refresh_from_db()
    assert run.state == "locked"
    # February's page is now one of a closed month, and March has begun.
    assert "approved by second_hr" in text(first.get("/months/2026-02/"))
    assert Month.objects.filter(pk=202603, closed_at=None).exists()


def test_what_stands_in_the_way_of_a_close(cast: Cast) -> None:
    cast.chain.unmatched_return("02-10", -500)
    page = text(cast.client("hr").get("/months/2026-02/"))
    assert "Return lines wait for the ticket that they return" in page
    cast.drafted_on_page("hr", cast.february)
    run = PayRun.objects.get()
    cast.client("hr").post(f"/pay-runs/{run.pk}/review/")
    refused = text(cast.client("second_hr").post(f"/pay-runs/{run.pk}/approve/", follow=True))
    assert "Month 2026-02 cannot be closed." in refused
    run.refresh_from_db()
    assert run.state == "reviewed"
    assert not Month.objects.get(pk=202602).is_closed


def test_a_month_that_runs_still_warns(cast: Cast) -> None:
    with time_machine.travel("2026-02-10 12:00:00 +0800"):
        page = text(cast.client("hr").get("/months/2026-02/"))
    assert "The month runs until 2026-02-28" in page
    assert "Draft the pay run" in page


def test_the_files_of_a_closed_month_and_who_took_them(cast: Cast) -> None:
    begins = {
        "payroll.csv": b"\xef\xbb\xbfmonth,clerk_no,",
        "payroll.xlsx": b"PK",
        "payroll.json": b"[",
        "attributions.csv": b"store_no,",
        "movement.csv": b"month,clerk_no,",
    }
    client = cast.client("hr")
    for file, start in begins.items():
        response = client.get(f"/months/2026-01/exports/{file}")
        assert response["Content-Disposition"] == f'attachment; filename="2026-01-{file}"'
        content = b"".join(response)
        assert content.startswith(start)
        record = FileRecord.objects.latest("pk")
        assert (record.direction, record.recorded_by, record.name) == ("out", cast.users["hr"], f"2026-01-{file}")
        assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_there_is_no_other_file_and_no_other_month(cast: Cast) -> None:
    client = cast.client("hr")
    before = FileRecord.objects.count()
    for file in ("payroll.pdf", "attributions.json", "salaries.csv"):
        assert client.get(f"/months/2026-01/exports/{file}").status_code == 404
    for url in ("/months/2026-13/", "/months/2026-1/", "/clerks/0000-00/C1/", "/months/2030-01/"):
        assert client.get(url).status_code == 404
    assert FileRecord.objects.count() == before


def test_a_clerk_chooses_the_language_of_coming_payslips(cast: Cast) -> None:
    client = cast.client("clerk")
    page = client.get(reverse("payslips")).content.decode()
    assert "Language of my payslips" in page
    client.post(reverse("payslip_language"), {"language": "en"})
    cast.chain.li.refresh_from_db()
    assert cast.chain.li.language == "en"
    assert client.post(reverse("payslip_language"), {"language": "fr"}).status_code == 404
    cast.chain.li.refresh_from_db()
    assert cast.chain.li.language == "en"
    client.post(reverse("payslip_language"), {"language": "zh-hans"})


def test_hr_has_no_payslips_of_its_own_to_choose_for(cast: Cast) -> None:
    assert "Language of my payslips" not in cast.client("hr").get(reverse("payslips")).content.decode()


def test_who_changed_a_clerks_record_is_on_record(cast: Cast) -> None:
    cast.client("clerk").post(reverse("payslip_language"), {"language": "en"})
    entry = LogEntry.objects.get_for_object(cast.chain.li).latest()
    assert (entry.actor, entry.changes_dict["language"]) == (cast.users["clerk"], ["zh-hans", "en"])
    cast.client("clerk").post(reverse("payslip_language"), {"language": "zh-hans"})
