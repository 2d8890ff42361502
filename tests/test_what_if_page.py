"""The what-if on a page: who may ask, what is shown of whom, what is filled in wrong, and the file.

Figures are those of tests.cast.
"""

import re
from collections.abc import Iterator

import pytest
from auditlog.models import LogEntry
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from commission.models import Band, Plan, PlanProduct
from portfolios.models import Posting, User
from tests.builders import everything
from tests.cast import Cast, one_cast
from tests.small_chain import day
from tests.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def asked(cast: Cast, **changes: str) -> dict[str, str]:
    return {"ask": "1", "first": "202601", "last": "202601", "plan": str(cast.chain.plan.pk), **changes}


def page(cast: Cast, person: str, **changes: str) -> str:
    response = cast.client(person).get(reverse("what_if"), asked(cast, **changes))
    assert response.status_code == 200
    return text(response)


def test_from_the_choice_to_winners_and_losers(cast: Cast) -> None:
    client = cast.client("hr")
    assert reverse("what_if") in client.get(reverse("months")).content.decode()
    store = reverse("store", args=[202601, "S1"])
    assert f"{reverse('what_if')}?first=202601&amp;last=202601&amp;store=S1" in client.get(store).content.decode()
    first = client.get(reverse("what_if"))
    assert 'placeholder="70"' in first.content.decode()
    assert "Who wins" not in text(first)
    before = everything()
    answer = client.get(reverse("what_if"), asked(cast, owner_share="60"))
    shown = text(answer)
    # 6.00 at 60%: 李 3.60 of it (4.20) with 3.00 of her own, 张 2.40 (1.80); 赵 keeps 1.50.
    assert "Clerks would have been paid the same, together (CNY) 0.00" in shown
    assert "Commission and accelerator 10.50" in shown
    assert "Clerks who win 1 Clerks who lose 1 Clerks for whom nothing changes 1" in shown
    assert "店员C3 C3 +0.60 店员C1 C1 −0.60" in shown
    assert "店员C3 C3 店1 + 0.60 1.80 → 2.40 0.00 1.80 → 2.40" in shown
    assert "店1 S1 2 0.00 9.00" in shown
    # On a phone a row is a block, and each figure says what it is.
    for label in ("Difference", "Commission", "Accelerator", "Together", "Commission and accelerator"):
        assert f'data-label="{label}"' in answer.content.decode()
    assert everything() == before


def test_the_plan_that_was_in_force_is_chosen_first(cast: Cast) -> None:
    own = Plan.objects.create(plan_no="OWN", store=cast.first, valid_from=day("01-31"), owner_share_bp=8000)

    def shown(person: str, **query: str) -> str:
        content = cast.client(person).get(reverse("what_if"), query).content.decode()
        chosen = re.search(r'<option value="\d+" selected>(OWN|2026-A)', content)
        assert chosen is not None
        share = re.search(r'name="owner_share"[^>]* placeholder="(\d+)"', content)
        assert share is not None
        return f"{chosen[1]} {share[1]}"

    assert shown("hr") == "2026-A 70"
    assert shown("manager", store="S1") == "OWN 80"
    assert shown("hr", plan=str(own.pk)) == "OWN 80"
    assert "OWN" not in text(cast.client("other_manager").get(reverse("what_if")))


def test_rates_products_and_bands_are_read_as_they_are_written(cast: Cast) -> None:
    # 9.00 at 3% becomes 12.00 at 4%, and 赵's 1.50 becomes 2.00.
    assert "paid more, together (CNY) 3.50" in page(cast, "hr", rate_otc="4")
    # One piece of each ticket: 2.50 apiece is 2.50 x 3 against 10.50.
    assert "paid less, together (CNY) −3.00" in page(cast, "hr", products="P1  2.50")
    assert "paid more, together (CNY) 3.50" in page(cast, "hr", products=" P1 4%")
    # Credits of 李 240.00, 张 60.00, 赵 50.00: 10% above 50.00 is 19.00 and 1.00.
    assert "paid more, together (CNY) 20.00" in page(cast, "hr", bands="50 10%")
    Band.objects.create(plan=cast.chain.plan, lower_amount=5_000, rate_bp=1000)
    assert "Nothing would be different yet" in page(cast, "hr", bands="50.00 10")
    PlanProduct.objects.create(plan=cast.chain.plan, product_no="P1", rate_bp=400)
    assert "Nothing would be different yet" in page(cast, "hr", products="P1 4%")


def test_members_moved_by_clerk_or_by_card(cast: Cast) -> None:
    by_clerk = page(cast, "hr", of="C1", to="C2")
    # 王 would have owned M1: 4.20, and 2.10 of what 李 sold it, who keeps 0.90.
    assert "店员C2 C2 +6.30 店员C1 C1 −6.30" in by_clerk
    assert "店员C2 C2 +6.30" in page(cast, "hr", cards="M1", to="C2")
    assert "There is no member with the card number M7: check the list." in page(cast, "hr", cards="M1\nM7", to="C2")
    assert "Give the clerk&#x27;s number." in page(cast, "hr", cards="M1")
    assert "Give either a clerk whose members move, or card numbers." in page(cast, "hr", cards="M1", of="C1", to="C2")
    assert "There is no clerk with this number." in page(cast, "hr", of="C77", to="C2")


def test_a_manager_sees_the_own_store_s_staff_and_no_other(cast: Cast) -> None:
    cast.chain.sale("02-05", (cast.chain.zhao, 20_000), member=cast.member)
    assert "Fill in “Store”: it may not be empty." in page(cast, "manager", owner_share="60")
    shown = page(cast, "manager", owner_share="60", store="S1")
    assert "店员C3 C3 +0.60 店员C1 C1 −0.60" in shown
    assert "店员C4" not in shown
    assert "kept by the stores" not in shown
    assert "Select a valid choice" in page(cast, "manager", owner_share="60", store="S2")
    assert "There is no clerk with this number." in page(cast, "manager", of="C1", to="C4", store="S1")
    other = page(cast, "other_manager", rate_otc="4", store="S2")
    assert "店员C4 C4 +0.50" in other
    assert "C1" not in other
    assert "There is no member with the card number M1" in page(cast, "other_manager", cards="M1", to="C4", store="S2")
    # A manager who serves in both stores has two.
    manager = cast.users["manager"]
    assert isinstance(manager, User)
    assert manager.clerk is not None
    Posting.objects.create(
        clerk=manager.clerk, store=cast.chain.second, role=Posting.Role.MANAGER, valid_from=day("01-01")
    )
    assert "店员C4 C4 +0.50" in page(cast, "manager", rate_otc="4", store="S2")


def test_what_is_filled_in_wrong_is_said_where_it_is(cast: Cast) -> None:
    wrong = {
        "Write a percentage from 0 to 100": {"owner_share": "101"},
        "Line 1: It has one word where two are needed.": {"products": "P1"},
        "Line 1: This is not written as a ratio": {"products": "P1 x%"},
        "Line 1: This is not written as an amount": {"products": "P1 x"},
        "Line 2: It is there twice.": {"bands": "50 1%\n50.00 2%"},
        "Nothing would be different yet": {"owner_share": "70", "rate_otc": "3"},
        "Select a valid choice": {"last": "202602", "owner_share": "60"},
    }
    for message, changes in wrong.items():
        shown = page(cast, "hr", **changes)
        assert message in shown
        assert "Who wins" not in shown


def test_the_file_has_everybody_and_is_on_record(cast: Cast) -> None:
    address = reverse("what_if_file")
    response = cast.client("hr").get(address, asked(cast, owner_share="60"))
    assert response["Content-Disposition"] == 'attachment; filename="what-if-2026-01-2026-01.csv"'
    assert response.content.decode("utf-8-sig").splitlines()[1:] == [
        "C3,店员C3,S1,1.80,2.40,0.00,0.00,1.80,2.40,0.60",
        "C4,店员C4,S2,1.50,1.50,0.00,0.00,1.50,1.50,0.00",
        "C1,店员C1,S1,7.20,6.60,0.00,0.00,7.20,6.60,-0.60",
    ]
    taken = LogEntry.objects.get_for_model(Plan).latest("pk")
    assert taken.action == LogEntry.Action.ACCESS
    assert taken.additional_data["export"] == "what-if-2026-01-2026-01.csv"
    mine = cast.client("manager").get(address, asked(cast, owner_share="60", store="S1")).content.decode("utf-8-sig")
    assert [line[:2] for line in mine.splitlines()[1:]] == ["C3", "C1"]
    for person in ("clerk", "other_clerk"):
        assert cast.client(person).get(address, asked(cast, owner_share="60")).status_code == 404


def test_the_picture_says_its_figures_in_words(cast: Cast) -> None:
    content = cast.client("auditor").get(reverse("what_if"), asked(cast, owner_share="60")).content.decode()
    picture = re.search(r"<svg[^>]*what-if-chart.*?</svg>", content, re.DOTALL)
    assert picture is not None
    assert "<desc" in picture[0]
    assert re.search(r"店员C3 C3: \+0\.60; 店员C1 C1: −0\.60", picture[0])
    # The loss is hatched; the style stays outside.
    assert picture[0].count("<rect") == 2
    assert picture[0].count('stroke="#ffffff"') == 1
    assert "style=" not in content
