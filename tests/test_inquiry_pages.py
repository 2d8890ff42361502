"""Asking, reading and answering an inquiry on the pages: what each person is told. Figures: tests.cast."""

from collections.abc import Iterator
from html import unescape

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from commission.models import Inquiry, Sale
from payroll_exports.checklist_links import linked
from payroll_exports.close_checklist import close_checklist
from payroll_exports.pay_run import close_month
from portfolios.bindings import assign
from portfolios.models import Binding, BindingBatch, Month
from tests.cast import Cast, one_cast
from tests.small_chain import day
from tests.test_pages import text as escaped_text

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture
def sale(cast: Cast) -> Sale:
    """In February 张 sold 李's member 200.00: 4.20 and 1.80."""
    (part,) = cast.chain.sale("02-04", (cast.chain.zhang, 20_000), member=cast.member, ticket_no="Q1")
    return part.sale


@pytest.fixture
def wang(cast: Cast) -> Client:
    """王, of the first store, who has a part in no ticket."""
    cast.users["wang"] = cast.user("wang", clerk=cast.chain.wang)
    return cast.client("wang")


@pytest.fixture
def zhang(cast: Cast) -> Client:
    cast.users["zhang"] = cast.user("zhang", clerk=cast.chain.zhang)
    return cast.client("zhang")


def text(response: object) -> str:
    return unescape(escaped_text(response))


def main(response: object) -> str:
    """The page without the sidebar."""
    content = response.content.decode()  # type: ignore[attr-defined]
    response.content = content[content.index("<main") :].encode()  # type: ignore[attr-defined]
    return text(response)


def ask(client: Client, sale: Sale, **values: str) -> object:
    return client.post(reverse("question_ticket", args=[sale.pk]), values, follow=True)


def asked(client: Client, sale: Sale, claim: str = "served") -> str:
    part = sale.parts.get()
    ask(client, sale, part=str(part.pk), claim=claim, text="I was at the till")
    return reverse("inquiry", args=[Inquiry.objects.get(claim=claim).pk])


def test_from_the_question_to_the_answer(cast: Cast, wang: Client, zhang: Client, sale: Sale) -> None:
    found = wang.get(reverse("find_ticket"), {"store": "S1", "date": "2026-02-04", "ticket_no": "Q1"})
    assert reverse("question_ticket", args=[sale.pk]) in found.content.decode()
    page = asked(wang, sale)

    # 王 has no part in the ticket: no amount, and not whose card it was.
    asker = main(wang.get(page))
    assert "I was at the till" in asker
    assert "Its member was 店员C1's on 2026-02-04" in asker
    assert not any(figure in asker for figure in ("1.80", "4.20", "200.00", "M1"))
    # 张 is told on the first page, and sees what is in question of the own pay.
    home = main(zhang.get(reverse("my_month"), follow=True))
    assert "Ticket Q1, 店1, 2026-02-04 waits for an answer new" in home
    assert "Held while in question 1 inquiry −1.80" in home
    other = main(zhang.get(page))
    assert "Of your pay, as of now 1.80" in other
    assert "店员C3: 1.80, the rest." in other
    zhang.post(reverse("comment_on_inquiry", args=[Inquiry.objects.get().pk]), {"text": "No, I was"})
    # 李, whose member it was, has no such page; nor has anybody elsewhere.
    assert [cast.client(name).get(page).status_code for name in ("clerk", "other_clerk")] == [404, 404]
    assert "Nobody" not in main(cast.client("clerk").get(reverse("inquiries")))
    assert "Q1" not in main(cast.client("clerk").get(reverse("inquiries")))

    manager = cast.client("manager")
    assert "1 inquiry waits for an answer" in main(manager.get(reverse("store", args=[202602, "S1"])))
    shown = main(manager.get(page))
    assert "In question when it was asked 1.80" in shown
    assert "“No, I was”" in shown
    url = reverse("answer_inquiry", args=[Inquiry.objects.get().pk])
    assert "Say why: both clerks read it." in main(manager.post(url, {"grant": "1"}))
    answered = main(manager.post(url, {"grant": "1", "reason": "seen on camera"}, follow=True))
    assert "Answered. Both clerks are told." in answered
    assert "The ticket was corrected." in answered
    for client in (wang, zhang):
        assert "granted new" in main(client.get(reverse("my_month"), follow=True))
        assert "“seen on camera”" in main(client.get(page))
        assert "seen on camera" not in main(client.get(reverse("my_month"), follow=True))
    # It is 王's own now.
    assert "In question when it was asked 1.80" in main(wang.get(page))


def test_held_at_the_close_each_reads_the_own(cast: Cast, wang: Client, zhang: Client, sale: Sale) -> None:
    page = asked(wang, sale)
    (check,) = [one for one in linked(close_checklist(cast.february), cast.february) if one.code == "waiting_inquiry"]
    assert check.address == f"{reverse('inquiries')}?state=open"
    assert "Q1" in main(cast.client("hr").get(check.address))
    close_month(cast.february, approved_by="test")
    assert "1.80 held of the payslip of 2026-02" in main(zhang.get(page))
    assert "1.80" not in main(wang.get(page))
    hr = cast.client("hr")
    assert "2026-02 is closed, and its tickets stay as they are." in main(hr.get(page))
    hr.post(reverse("answer_inquiry", args=[Inquiry.objects.get().pk]), {"refuse": "1", "reason": "no"})
    # Not the word for a member who wants no calls, who is "refused" in English too.
    assert "未采纳" in main(cast.client("hr", "zh-hans").get(page))
    assert "1.80 paid with the payslip of 2026-03" in main(zhang.get(page))
    assert "1.80" not in main(wang.get(page))


def test_whose_the_member_was_is_questioned_from_the_ticket_or_the_member(cast: Cast, wang: Client, sale: Sale) -> None:
    page = asked(wang, sale, claim="owned")
    inquiry = Inquiry.objects.get()
    assert inquiry.other == cast.chain.li
    assert "M1" not in main(wang.get(page))
    # 9.00 of a sale that 李 served: 6.30; and 4.20.
    assert "Of your pay, as of now 10.50" in main(cast.client("clerk").get(page))
    assert "about the member with card M1" in main(cast.client("manager").get(page))
    taken_back = main(wang.post(reverse("withdraw_inquiry", args=[inquiry.pk]), follow=True))
    assert "The question is taken back." in taken_back

    manager = cast.client("manager")
    binding = cast.member.bindings.get()
    link = reverse("question_binding", args=[binding.pk])
    assert link in manager.get(reverse("member", args=["M1"])).content.decode()
    assert link not in cast.client("clerk").get(reverse("member", args=["M1"])).content.decode()
    shown = main(manager.post(link, {"text": "my enrolment"}, follow=True))
    assert "Member M1, bound to 店员C1 since 2026-01-01" in shown
    # A manager answers no question of the own.
    assert "Refuse" not in shown


def test_a_forgotten_card_is_named_to_who_decides(cast: Cast) -> None:
    (part,) = cast.chain.sale("02-04", (cast.chain.zhang, 20_000))
    client, sale = cast.client("clerk"), part.sale
    ask(client, sale, part=str(part.pk), claim="member", card="M1", text="left at home")
    page = reverse("inquiry", args=[Inquiry.objects.get().pk])
    shown = main(cast.client("manager").get(page))
    assert "It is said to be a sale to the member with card M1." in shown
    assert "Bound to 店员C1 since 2026-01-01 by enrolment" in shown
    assert "In question when it was asked 4.20" in shown
    # 李 has no part in the walk-in yet.
    assert "4.20" not in main(client.get(page))


def test_a_line_is_questioned_from_the_month(cast: Cast) -> None:
    client = cast.client("clerk")
    link = reverse("question_line", args=[202601, "C1"])
    assert link in client.get(reverse("clerk_month", args=[202601, "C1"])).content.decode()
    assert f"{link}?line=OWN_ABSENT" in client.get(
        reverse("line_tickets", args=[202601, "C1", "OWN_ABSENT"])
    ).content.decode()  # fmt: skip
    asked = {"line": "OWN_ABSENT", "expected": "4.20", "text": "two tickets are missing"}
    assert "more than it does" in main(client.post(link, asked, follow=True))
    assert "Write an amount such as 1234.50" in main(client.post(link, asked | {"expected": "1e3"}, follow=True))
    page = main(client.post(link, asked | {"expected": "7.00"}, follow=True))
    assert "Own members, served by another of 2026-01: 4.20 as of now, and 7.00 expected." in page
    assert "In question when it was asked 2.80" in page
    inquiry = Inquiry.objects.get()
    assert (inquiry.contested_amount, inquiry.other, inquiry.store, inquiry.month) == (
        280, None, cast.first, Month.objects.get(pk=202601),
    )  # fmt: skip


def test_what_is_filled_in_wrong_is_said_where_it_is(cast: Cast, wang: Client, sale: Sale) -> None:
    part = str(sale.parts.get().pk)
    assert "Say what is not right, and how you know." in main(ask(wang, sale, part=part, claim="served"))
    assert "Give the card or phone number of your member." in main(ask(wang, sale, part=part, claim="member", text="x"))
    assert "Fill in “What do you say?”: it may not be empty." in main(ask(wang, sale, part=part, text="x"))
    closed = main(ask(wang, cast.split_ticket, part=str(cast.split_ticket.parts.get().pk), claim="served", text="x"))
    assert "is in 2026-01, which is closed and never changes" in closed
    assert not Inquiry.objects.exists()


def test_a_refused_comment_is_read_in_the_other_language_at_the_inquiry(cast: Cast, wang: Client, sale: Sale) -> None:
    ask(wang, sale, part=str(sale.parts.get().pk), claim="served", text="x")
    asked = Inquiry.objects.get()
    refused = wang.post(reverse("comment_on_inquiry", args=[asked.pk]), {"text": ""})
    assert refused.status_code == 422
    assert f'name="next" value="{reverse("inquiry", args=[asked.pk])}"' in refused.content.decode()


def test_the_list_goes_on_another_page(cast: Cast, wang: Client) -> None:
    clerk = cast.users["wang"]
    assert clerk is not None
    Inquiry.objects.bulk_create(
        Inquiry(
            claim="line", line_code=f"L{n}", month=cast.february, store=cast.first, asked_by=clerk,
            asker=cast.chain.wang, text="x", contested_amount=1,
            evidence={"en": {"title": f"Line {n}", "asker": [], "whole": []}},
        )
        for n in range(51)
    )  # fmt: skip
    page = main(wang.get(reverse("inquiries")))
    assert "Page 1 of 2" in page
    assert "Line 50" in page
    assert "Line 0 waits" in main(wang.get(reverse("inquiries"), {"page": 2}))


def test_a_member_who_went_to_another_clerk_is_questioned_from_the_past_portfolio(cast: Cast) -> None:
    batch = BindingBatch.objects.create(source="test")
    assign({cast.member.pk: cast.chain.wang.pk}, on=day("02-10"), reason=Binding.Reason.REASSIGNMENT, batch=batch)
    (sold,) = cast.chain.sale("02-12", (cast.chain.zhang, 20_000), member=cast.member)
    client = cast.client("clerk")
    link = reverse("question_binding", args=[Binding.objects.get(batch=batch).pk])
    with time_machine.travel("2026-02-20", tick=False):
        portfolio = client.get(reverse("clerk_portfolio", args=["C1"]), {"on": "2026-02-05"})
        assert link in portfolio.content.decode()
        assert link not in cast.client("manager").get(portfolio.wsgi_request.get_full_path()).content.decode()
        assert "Bound to 店员C2 since 2026-02-10: reassignment." in main(client.get(link))
        page = main(client.post(link, {"text": "she asked for me"}, follow=True))
        assert "Bound to 店员C2 since 2026-02-10 by reassignment" in page
        assert cast.client("other_clerk").get(link).status_code == 404
        inquiry = Inquiry.objects.get()
        assert (inquiry.contested_amount, inquiry.other) == (420, cast.chain.wang)
        manager = cast.client("manager")
        manager.post(reverse("answer_inquiry", args=[inquiry.pk]), {"grant": "1", "reason": "she says so"})
    assert [(row.owner, row.owner_commission_amount) for row in sold.attributions.order_by("pk")] == [
        (cast.chain.wang, 420), (cast.chain.wang, -420), (cast.chain.li, 420),
    ]  # fmt: skip
