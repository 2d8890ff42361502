"""The pages of plans: who reads which, and HR's way from a draft to a plan that tickets are booked anew by."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from commission.models import Attribution, Category, Plan, PlanChange, PlanRate
from payroll_exports.jobs import run_job, run_on_worker
from payroll_exports.models import SILENCE, Job
from portfolios.models import Month
from tests.cast import Cast, one_cast
from tests.small_chain import day

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def terms(**changed: Any) -> dict[str, Any]:
    """The form of a plan, filled in as the chain's plan is."""
    otc, rx = (Category.objects.get(category=name).pk for name in ("otc", "rx"))
    filled = {
        "plan_no": "2026-B", "store": "", "valid_from": "2026-02-01", "last_day": "", "owner_share": "70",
        "house_share": "0", "walk_in_share": "100", f"rate_{otc}": "3", f"excluded_{rx}": "on", "products": "",
        "bands": "",
    }  # fmt: skip
    return filled | changed


def write(client: Client, **changed: Any) -> Plan:
    response = client.post(reverse("new_plan"), terms(**changed))
    assert response.status_code == 302, response.context["form"].errors
    return Plan.objects.latest("pk")


def carried_out(client: Client, name: str, pk: int, **sent: str) -> Any:
    """The page that the button leads to, once the job is done; in a test nothing runs beside the answer."""
    page = client.post(reverse(name, args=[pk]), sent)["Location"]
    run_on_worker(Job.objects.unfinished().get().pk, "en")
    return client.get(page)


def test_hr_supersedes_the_chain_s_plan_from_the_first_open_day(cast: Cast) -> None:
    hr, clerk = cast.client("hr"), cast.client("clerk")
    otc = Category.objects.get(category="otc").pk
    copy = hr.get(reverse("new_plan"), {"copy": cast.chain.plan.pk})
    assert "a copy of 2026-A" in text(copy)
    products = "P100 3.5%\nP 101\t2.00\n"
    plan = write(hr, **{f"rate_{otc}": "4", "products": products, "bands": "0 0%\n30000, 2%"}, owner_share="60")
    page = text(hr.get(reverse("plan", args=[plan.pk])))
    assert "6 differences to plan 2026-A, each marked with what it was before." in page
    assert "The owner gets 60%, the server 40%." in page
    assert "Before: The owner gets 70%, the server 30%." in page
    assert '<span class="was">3%</span> <span class="arrow" aria-label="→">→</span> <span>4%</span>' in page
    assert "2.00 per unit" in page
    # A draft is nobody's plan yet.
    assert clerk.get(reverse("plan", args=[plan.pk])).status_code == 404

    # A reason is needed, as a ticket of February is booked by the plan before.
    refused = carried_out(hr, "preview_plan", plan.pk)
    assert "Preview of a plan: Tickets are booked on the days of this plan: say why they are booked anew." in text(
        refused
    )
    assert "Preview what issuing it does" in text(refused)
    assert "Issue it" not in text(refused)
    shown = carried_out(hr, "preview_plan", plan.pk, note="agreed in March")
    assert "Plan 2026-A ends on the day before." in text(shown)
    assert "1 ticket of 2026-02 is taken back and booked anew; closed months stay as they are." in text(shown)
    # 300.00 of 李's: 9.00, then 12.00.
    pay = [900, 1_200]
    assert shown.context["document"]["clerks"] == [
        {"clerk_no": "C1", "name": "店员C1", "commission": pay, "accelerator": [0, 0], "together": pay}
    ]
    assert Attribution.objects.filter(reason="CORRECTION").count() == 0
    change = PlanChange.objects.filter(plan=plan)[0]
    assert text(hr.get(reverse("plan", args=[plan.pk]))).count(reverse("plan_change", args=[change.pk])) == 1
    done = carried_out(hr, "apply_plan_change", change.pk)
    assert re.search(r"Issued 20\d\d-\d\d-\d\d \d\d:\d\d by hr\.", text(done))
    assert "Issue it" not in text(done)
    rows = Attribution.objects.filter(month=202602).order_by("pk").values_list("plan__plan_no", "commission_amount")
    assert list(rows) == [("2026-A", 900), ("2026-A", -900), ("2026-B", 1_200)]

    # From now on it is the plan that pays 李, who reads it, and the one before it.
    listed = text(clerk.get(reverse("plans")))
    assert "2026-A" in listed
    assert "2026-B" in listed
    page = text(clerk.get(reverse("ticket", args=[Attribution.objects.get(plan=plan).part.sale_id])))
    assert f'href="{reverse("plan", args=[plan.pk])}">Read plan 2026-B' in page
    assert page.count("Since plan 2026-B is in force from 2026-02-01 on: agreed in March") == 2


def test_who_reads_which_plan(cast: Cast) -> None:
    """The chain's plan pays everyone; the second store has its own from March on, and an old one that paid nobody."""
    second = cast.chain.second
    own = Plan.objects.create(plan_no="S2-NEW", store=second, valid_from=day("2026-03-01"))
    old = Plan.objects.create(plan_no="S2-OLD", store=second, valid_from=day("2025-01-01"), valid_to=day("2025-02-01"))
    draft = cast.next_plan()
    listed = {}
    for person in cast.PEOPLE[1:]:
        page = text(cast.client(person).get(reverse("plans")))
        listed[person] = [plan.plan_no for plan in (cast.chain.plan, own, old, draft) if f">{plan.plan_no}<" in page]
    # 赵 (C4) works in the second store, whose plan is in force today.
    assert listed == {
        "clerk": ["2026-A"],
        "other_clerk": ["2026-A", "S2-NEW"],
        "manager": ["2026-A"],
        "other_manager": ["2026-A", "S2-NEW", "S2-OLD"],
        "hr": ["2026-A", "S2-NEW", "S2-OLD", "2026-B"],
        "auditor": ["2026-A", "S2-NEW", "S2-OLD", "2026-B"],
    }
    hidden = cast.client("clerk").get(reverse("plan", args=[own.pk]))
    assert hidden.status_code == 404
    # The auditor reads, and has nothing to press.
    page = text(cast.client("auditor").get(reverse("plan", args=[draft.pk])))
    assert "What you can do" not in page
    assert "No rate yet" not in page


def test_a_store_s_first_plan_is_read_beside_the_chain_s(cast: Cast) -> None:
    hr = cast.client("hr")
    plan = write(hr, store=cast.chain.second.pk, plan_no="S2-A", owner_share="65", valid_from="2026-05-01")
    assert "1 difference to plan 2026-A" in text(hr.get(reverse("plan", args=[plan.pk])))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("plan_no", "2026-A", "There is a plan with this number"),
        ("owner_share", "70.555", "This is not written as a ratio"),
        ("owner_share", "120", "The ratio is too large"),
        ("owner_share", "", "Fill in “Owner&#x27;s share where another clerk serves (%)”: it may not be empty."),
        ("last_day", "2026-01-31", "It is before the first day"),
        ("products", "P1 3%\nP2\nP1 4%\n1.2E+10 3%", "Line 2: It has one word where two are needed."),
        ("products", "P1 3%\nP1 4%", "Line 2: It is there twice."),
        ("products", "1.2E+10 3%", "Line 1: A spreadsheet turned the number into scientific notation"),
        (
            "products",
            "P1 2.005",
            "Line 1: The amount has more than two decimals. Write at most two",
        ),
        ("bands", "30,000 2%", "Line 1: The amount has thousands separators"),
    ],
)
def test_what_the_form_refuses(cast: Cast, field: str, value: str, message: str) -> None:
    response = cast.client("hr").post(reverse("new_plan"), terms(**{field: value}))
    assert response.status_code == 422
    assert message in text(response)
    assert not Plan.objects.filter(plan_no="2026-B").exists()


def test_a_draft_without_a_rate_is_kept_and_not_issued(cast: Cast) -> None:
    hr = cast.client("hr")
    otc = Category.objects.get(category="otc").pk
    plan = write(hr, **{f"rate_{otc}": ""})
    assert "No rate yet for: otc." in text(hr.get(reverse("plan", args=[plan.pk])))
    refused = hr.post(reverse("preview_plan", args=[plan.pk]), {"note": "late"}, follow=True)
    assert not Job.objects.filter(plan_change__plan=plan).exists()
    assert "The plan has no rate for: otc." in text(refused)
    both = hr.post(reverse("edit_plan", args=[plan.pk]), terms(**{f"rate_{otc}": "3", f"excluded_{otc}": "on"}))
    assert "Either a rate, or excluded." in text(both)


def test_an_issued_plan_is_edited_until_a_ticket_uses_it(cast: Cast) -> None:
    hr = cast.client("hr")
    otc = Category.objects.get(category="otc").pk
    plan = write(hr, valid_from="2026-03-01")
    carried_out(hr, "preview_plan", plan.pk)
    carried_out(hr, "apply_plan_change", plan.changes.get().pk)
    page = hr.get(reverse("edit_plan", args=[plan.pk]))
    assert "plan_no" not in page.context["form"].fields
    hr.post(reverse("edit_plan", args=[plan.pk]), terms(**{f"rate_{otc}": "4.5", "plan_no": "other"}))
    plan.refresh_from_db()
    assert (plan.plan_no, PlanRate.objects.get(plan=plan, category=otc).rate_bp) == ("2026-B", 450)
    incomplete = hr.post(reverse("edit_plan", args=[plan.pk]), terms(**{f"rate_{otc}": ""}))
    assert "The plan has no rate for: otc." in text(incomplete)
    assert PlanRate.objects.get(plan=plan, category=otc).rate_bp == 450

    ended = hr.post(reverse("end_plan", args=[plan.pk]), {"last_day": "2026-06-30"}, follow=True)
    assert "has its last day set" in text(ended)
    assert "From 2026-07-01 on the chain has no plan." in text(hr.get(reverse("plans")))
    assert "as 2026-10-31" in text(hr.post(reverse("end_plan", args=[plan.pk]), {"last_day": "30.6."}, follow=True))
    hr.post(reverse("withdraw_plan", args=[plan.pk]))
    plan.refresh_from_db()
    cast.chain.plan.refresh_from_db()
    assert (plan.state, cast.chain.plan.last_day) == ("draft", None)
    log = LogEntry.objects.get_for_object(plan).filter(changes__has_key="state").order_by("timestamp")
    assert [(entry.actor, entry.changes["state"]) for entry in log if entry.action == LogEntry.Action.UPDATE] == [
        (cast.users["hr"], ["draft", "issued"]),
        (cast.users["hr"], ["issued", "draft"]),
    ]
    hr.post(reverse("discard_plan", args=[plan.pk]))
    assert not Plan.objects.filter(pk=plan.pk).exists()
    refused = hr.get(reverse("edit_plan", args=[cast.chain.plan.pk]), follow=True)
    assert "Tickets have used plan 2026-A" in text(refused)


def test_a_preview_that_was_overtaken_is_made_anew(cast: Cast) -> None:
    hr = cast.client("hr")
    plan = write(hr, owner_share="60")
    carried_out(hr, "preview_plan", plan.pk, note="late")
    first = plan.changes.get()
    hr.post(reverse("edit_plan", args=[plan.pk]), terms(owner_share="50"))
    refused = carried_out(hr, "apply_plan_change", first.pk)
    assert "Issue of a plan: The plan, or one that it follows, was changed after this preview." in text(refused)
    assert "Issue it" not in text(refused)
    # The reason is still there.
    assert 'name="note" value="late"' in text(refused)
    again = carried_out(hr, "preview_plan", plan.pk, note="late")
    assert again.context["issuing"].pk != first.pk
    assert "Issue it" in text(again)
    plan.refresh_from_db()
    assert plan.is_draft


def shown(cast: Cast, language: str = "en") -> PlanChange:
    """The preview of 60/40 in place of 70/30 from February on, with nothing done yet."""
    plan = write(cast.client("hr", language), owner_share="60")
    carried_out(cast.client("hr", language), "preview_plan", plan.pk, note="late")
    return plan.changes.get()


def test_who_looks_while_a_plan_is_issued_sees_it_and_takes_no_step(
    cast: Cast, django_capture_on_commit_callbacks: Any
) -> None:
    change = shown(cast)
    page, press = reverse("plan_change", args=[change.pk]), reverse("apply_plan_change", args=[change.pk])
    with django_capture_on_commit_callbacks() as callbacks:
        cast.client("hr").post(press)
        second = text(cast.client("second_hr").post(press, follow=True))
        # Nor is it previewed meanwhile.
        assert cast.client("second_hr").post(reverse("preview_plan", args=[change.plan_id]))["Location"] == page
    assert len(callbacks) == 1
    assert "Issue of a plan: waiting, started by hr" in second
    assert "Issue it" not in second
    job = Job.objects.unfinished().get()
    assert "Issue of a plan: waiting" in text(cast.client("auditor").get(page))
    run_job(job, language="en")
    assert cast.client("auditor").get(reverse("job", args=[job.pk]))["HX-Refresh"] == "true"
    change.refresh_from_db()
    assert change.applied_by == cast.users["hr"]
    # Whoever comes back to the old page finds it done.
    assert cast.client("hr").post(press)["Location"] == page
    assert not Job.objects.unfinished().exists()


def test_a_preview_under_way_is_found_by_whoever_asks_for_it_again(cast: Cast) -> None:
    hr = cast.client("hr")
    plan = write(hr, owner_share="60")
    pages = [
        cast.client(name).post(reverse("preview_plan", args=[plan.pk]), {"note": "late"})["Location"]
        for name in ("hr", "second_hr")
    ]
    assert pages == [reverse("plan_change", args=[plan.changes.get().pk])] * 2
    assert "Preview of a plan: waiting, started by hr" in text(hr.get(pages[0]))
    # Its process died: it goes on.
    job = Job.objects.unfinished().get()
    Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING, heard_at=timezone.now() - SILENCE * 2)
    assert "Go on" in text(hr.get(pages[0]))
    assert "Issue it" in text(carried_out(hr, "preview_plan", plan.pk))
    job.refresh_from_db()
    assert job.state == Job.State.DONE


def test_an_issue_that_is_cancelled_leaves_the_draft_as_it_was(cast: Cast) -> None:
    change, hr = shown(cast), cast.client("hr")
    hr.post(reverse("apply_plan_change", args=[change.pk]))
    job = Job.objects.unfinished().get()
    page = text(hr.post(reverse("cancel_job", args=[job.pk]), follow=True))
    assert "Issue of a plan: Cancelled. The plan was not issued." in page
    run_job(job, language="en")
    assert Plan.objects.get(pk=change.plan_id).is_draft
    assert "Issue it" in page
    assert "Issued 20" in text(carried_out(hr, "apply_plan_change", change.pk))


def test_what_refuses_a_plan_is_told_in_the_language_of_whoever_issues_it(cast: Cast) -> None:
    """February closes while the preview is looked at; 李's 300.00 stay as they are."""
    change, hr = shown(cast), cast.client("hr", "zh-hans")
    page = hr.post(reverse("apply_plan_change", args=[change.pk]))["Location"]
    Month.objects.filter(pk=202602).update(closed_at=timezone.now(), closed_by="test")
    run_job(Job.objects.unfinished().get(), language="zh-hans")
    assert "发布提成方案：方案 2026-B的生效日期 2026-02-01 在已结账的月份内。" in text(hr.get(page))
    assert list(Attribution.objects.filter(month=202602).values_list("commission_amount", flat=True)) == [900]
