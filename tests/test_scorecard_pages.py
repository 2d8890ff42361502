"""Scorecards on the pages: written, looked at, issued, ended; and who sees whose score."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from kpis.measures import measure_as_closed
from kpis.models import Scorecard, ScorecardMeasure
from kpis.scorecard import SCORED
from kpis.scorecard_changes import ScorecardRefused, end, issue
from payroll_exports.models import Payslip
from payroll_exports.pay_run import close_month
from portfolios.months import MonthError
from tests.cast import Cast, one_cast
from tests.scorecards import scorecard
from tests.small_chain import day


@pytest.fixture(scope="module")
def module_cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture
def cast(module_cast: Cast, db: None) -> Cast:
    """The cast with a clerks' scorecard from February on: 李's 9.00 of variable pay are all from the own member."""
    scorecard("K1", 30_000, since="02-01", member_pay=(4_000, 8_000), effective_new=(6_000, 2))
    measure_as_closed(module_cast.february)
    return module_cast


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def form(**changes: Any) -> dict[str, Any]:
    """What HR sends: 40% of member share towards 80%, 60% of new members towards 2."""
    sent: dict[str, Any] = {
        "scorecard_no": "K2",
        "role": "clerk",
        "store": "",
        "first_month": "2026-03",
        "last_month": "",
        "full_amount": "300.00",
    }
    for measure in SCORED:
        sent |= {f"cap_{measure.key}": "120", f"direction_{measure.key}": "higher"}
    sent |= {"weight_member_pay": "40", "target_member_pay": "80"}
    sent |= {"weight_effective_new": "60", "target_effective_new": "2"}
    return sent | changes


def test_hr_writes_a_draft_and_issues_it_in_the_place_of_the_one_before(cast: Cast) -> None:
    hr = cast.client("hr")
    response = hr.post(reverse("new_scorecard"), form())
    made = Scorecard.objects.get(scorecard_no="K2")
    assert response["Location"] == reverse("scorecard", args=[made.pk])
    terms = list(made.measures.values_list("measure", "weight_bp", "target", "cap_bp", "direction"))
    assert terms == [("effective_new", 6_000, 2, 12_000, "higher"), ("member_pay", 4_000, 8_000, 12_000, "higher")]
    assert (made.full_amount, made.valid_from, made.is_draft) == (30_000, day("03-01"), True)
    assert "in the place of scorecard K1" not in text(hr.get(reverse("scorecard", args=[made.pk])))
    hr.post(reverse("issue_scorecard", args=[made.pk]))
    made.refresh_from_db()
    assert made.is_issued
    assert Scorecard.objects.get(scorecard_no="K1").valid_to == day("03-01")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weight_member_pay": "30"}, "The weights come to 90%, and not to 100%."),
        ({"target_member_pay": ""}, "A measure that counts has a target."),
        ({"cap_member_pay": "90"}, "The cap is 100 or more."),
        ({"target_member_pay": "80.123"}, "with at most two decimals."),
        ({"first_month": "2026-13"}, "is not a month"),
        ({"last_month": "2026-02"}, "It is before the first month."),
        ({"scorecard_no": "K1"}, "There is a scorecard with this number"),
        ({"full_amount": "1,000"}, "with at most two decimals."),
    ],
)
def test_a_form_says_what_is_wrong(cast: Cast, changes: dict[str, Any], said: str) -> None:
    response = cast.client("hr").post(reverse("new_scorecard"), form(**changes))
    assert response.status_code == 422
    assert said in text(response)
    assert Scorecard.objects.count() == 1


def test_a_copy_has_the_same_terms(cast: Cast) -> None:
    first = Scorecard.objects.get()
    page = cast.client("hr").get(reverse("new_scorecard"), {"copy": first.pk})
    shown = page.context["form"]
    assert (shown["weight_member_pay"].value(), shown["target_member_pay"].value()) == (40, "80")
    assert shown["full_amount"].value() == "300.00"
    assert shown["scorecard_no"].value() == ""


def test_what_is_issued_begins_and_ends_in_open_months(cast: Cast) -> None:
    past = scorecard("PAST", store=cast.first, state="draft", since="01-01", upkeep=(10_000, 9_000))
    with pytest.raises(MonthError, match="in a month that is closed"):
        issue(past)
    light = scorecard("LIGHT", store=cast.first, state="draft", since="02-01", upkeep=(9_000, 9_000))
    with pytest.raises(ScorecardRefused, match="The weights come to 90%"):
        issue(light)
    same = scorecard("SAME", state="draft", since="02-01", upkeep=(10_000, 9_000))
    with pytest.raises(ScorecardRefused, match="Scorecard K1 is for the same people from 2026-02-01 on"):
        issue(same)
    first = Scorecard.objects.get(scorecard_no="K1")
    with pytest.raises(ScorecardRefused, match="its last month is no earlier"):
        end(first, 202601)
    close_month(cast.february, approved_by="test")
    assert end(first, 202602).valid_to == day("03-01")
    assert end(first, None).last_day is None


def test_a_scorecard_that_a_close_used_is_not_withdrawn_or_edited(cast: Cast) -> None:
    card, hr = Scorecard.objects.get(), cast.client("hr")
    close_month(cast.february, approved_by="test")
    page = hr.post(reverse("withdraw_scorecard", args=[card.pk]), follow=True)
    assert "A month was closed by scorecard K1, so it stays as it is" in text(page)
    page = hr.get(reverse("edit_scorecard", args=[card.pk]), follow=True)
    assert "only a draft is edited" in text(page)
    card.refresh_from_db()
    assert card.is_issued


def test_a_draft_is_edited_and_thrown_away(cast: Cast) -> None:
    hr, card = cast.client("hr"), Scorecard.objects.get()
    hr.post(reverse("withdraw_scorecard", args=[card.pk]))
    hr.post(reverse("edit_scorecard", args=[card.pk]), form(scorecard_no="K1", full_amount="500"))
    card.refresh_from_db()
    assert (card.full_amount, card.is_draft) == (50_000, True)
    hr.post(reverse("discard_scorecard", args=[card.pk]))
    assert not Scorecard.objects.exists()
    assert not ScorecardMeasure.objects.exists()


def test_the_preview_is_what_the_close_then_pays(cast: Cast) -> None:
    """李: 100% of 80% is 125%, at most 120%: 40 x 120% = 48 points, and no new member: 144.00. The others nothing."""
    card = Scorecard.objects.get()
    page = cast.client("hr").get(reverse("preview_scorecard", args=[card.pk, 202602]))
    shown = {clerk.clerk_no: score.bonus_amount for clerk, _store, score in page.context["rows"]}
    assert (page.context["total"], shown["C1"]) == (14_400, 14_400)
    assert "How the scores spread" in text(page)
    close_month(cast.february, approved_by="test")
    paid = {
        slip.clerk.clerk_no: sum(line.amount for line in slip.lines.filter(line_code="KPI"))
        for slip in Payslip.objects.filter(month=202602).select_related("clerk")
    }
    assert {number: paid[number] for number in shown} == shown


def test_a_draft_is_looked_at_in_a_closed_month(cast: Cast) -> None:
    """January: 7.20 of variable pay, all of it from the own member, and one effective new member of 2."""
    draft = scorecard("D", 10_000, state="draft", since="03-01", member_pay=(5_000, 8_000), effective_new=(5_000, 2))
    page = cast.client("auditor").get(reverse("preview_scorecard", args=[draft.pk, 202601]))
    shown = {clerk.clerk_no: score.bonus_amount for clerk, _store, score in page.context["rows"]}
    # 50 x 120% + 50 x 50% = 85 points of 100.00.
    assert shown["C1"] == 8_500
    assert "They were paid 0.00 of KPI bonus in that month." in text(page)


def test_a_clerk_reads_the_own_score_with_its_sum(cast: Cast) -> None:
    page = text(cast.client("clerk").get(reverse("score", args=[202602, "C1"])))
    assert "48.00 of 100 points" in page
    assert "40% x 120% = 48 points" in page
    assert "300.00 x 48 / 100, rounded once." in page
    assert reverse("measures", args=[202602, "clerk", "C1"]) in page
    # The scorecard's page is not a clerk's.
    assert reverse("scorecard", args=[Scorecard.objects.get().pk]) not in page
    month = text(cast.client("clerk").get(reverse("clerk_month", args=[202602, "C1"])))
    assert f'<a href="{reverse("score", args=[202602, "C1"])}">KPI bonus</a>' in month


def test_a_manager_reads_the_scores_of_the_own_store(cast: Cast) -> None:
    page = cast.client("manager").get(reverse("store_scores", args=[202602, "S1"]))
    assert {clerk.clerk_no for clerk, _score in page.context["rows"]} == {"C1", "C2", "C3"}
    assert page.context["total"] == 14_400
    listed = text(cast.client("manager").get(reverse("scorecards")))
    assert "K1" in listed
    assert "Write a new scorecard" not in listed


def test_where_no_scorecard_holds_the_page_says_so(cast: Cast) -> None:
    assert "No scorecard held in this month." in text(cast.client("clerk").get(reverse("score", args=[202601, "C1"])))
