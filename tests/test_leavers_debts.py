"""What leavers owe: who is listed, and how it is written off by two people, after which nothing is carried."""

import pytest
from django.urls import reverse

from payroll_exports.adjustments import AdjustmentRefused, approve, refuse
from payroll_exports.close_checklist import close_checklist
from payroll_exports.earnings import earnings
from payroll_exports.journal import journals
from payroll_exports.leavers_debts import ask_write_off, leavers_debts
from payroll_exports.models import Adjustment
from payroll_exports.pay_run import close_month
from payroll_exports.proof import verify
from portfolios.models import Clerk, Month, User
from tests.cast import Cast
from tests.small_chain import SmallChain, day
from tests.test_pages import text

pytestmark = pytest.mark.django_db


def indebted(chain: SmallChain) -> None:
    """李 has left in January; in February 15.00 of commission came back. 王, who stays, owes 3.00."""
    (li,) = chain.sale("01-05", (chain.li, 50_000))
    (wang,) = chain.sale("01-06", (chain.wang, 10_000))
    close_month(chain.month(202601), approved_by="test")
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=day("01-31"))
    chain.sale("02-05", (chain.li, -50_000), returns=li)
    chain.sale("02-06", (chain.wang, -10_000), returns=wang)
    close_month(chain.month(202602), approved_by="test")


def test_from_the_debt_to_its_write_off() -> None:
    chain = SmallChain()
    fang, guo = (User.objects.create(username=name, office=User.Office.HR) for name in ("fang", "guo"))
    indebted(chain)
    march = chain.month(202603)
    (debt,) = leavers_debts(march)
    assert (debt.clerk, debt.store, debt.amount, debt.write_off) == (chain.li, chain.first, 1_500, None)
    (check,) = [one for one in close_checklist(march, day("2026-04-01")) if one.code == "leavers_debt"]
    assert (check.blocks, check.count, check.examples) == (False, 1, ["店员C1: 15.00 CNY"])

    with pytest.raises(AdjustmentRefused, match="owes nothing"):
        ask_write_off(chain.wang, reason="left", asked_by=fang)
    refuse(ask_write_off(chain.li, reason="left", asked_by=fang), by=guo, note="ask once more")
    asked = ask_write_off(chain.li, reason="cannot be found", asked_by=fang)
    with pytest.raises(AdjustmentRefused, match="already"):
        ask_write_off(chain.li, reason="again", asked_by=guo)
    with pytest.raises(AdjustmentRefused, match="yourself"):
        approve(asked, by=fang)
    assert [one.write_off for one in leavers_debts(march)] == [asked]
    approve(asked, by=guo)

    assert leavers_debts(march) == []
    assert earnings(march)[chain.li.pk] == [("ADJUSTMENT", 1, 1_500), ("CARRIED_IN", 0, -1_500)]
    close_month(march, approved_by="test")
    journal, _second = journals(Month.objects.get(pk=202603))
    # 王's 3.00 are carried from February into March and on: nothing moves on the account for them.
    assert [entry[:3] for entry in journal.entries] == [("WRITE_OFF", 1_500, 0), ("CARRIED", 0, 1_500)]
    april = chain.month(202604)
    assert chain.li.pk not in earnings(april)
    assert leavers_debts(april) == []
    assert list(verify([Month.objects.get(pk=202603)])) == []


def test_who_comes_back_owes_it_again() -> None:
    chain = SmallChain()
    indebted(chain)
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=None)
    assert leavers_debts(chain.month(202603)) == []


def test_the_page() -> None:
    cast = Cast()
    cast.chain.sale("02-05", (cast.chain.zhao, -5_000), store=cast.chain.second, returns=None)
    close_month(cast.february, approved_by="test")
    Clerk.objects.filter(pk=cast.chain.zhao.pk).update(left_on=day("02-28"))
    page = reverse("leavers_debts")
    assert "店员C4 C4 · 店2 · left on 2026-02-28 1.50" in text(cast.client("hr").get(page))
    cast.client("hr").post(reverse("write_off", args=["C4"]), {"reason": ""})
    assert not Adjustment.objects.exists()
    cast.client("hr").post(reverse("write_off", args=["C4"]), {"reason": "cannot be found"})
    adjustment = Adjustment.objects.get()
    assert "waits for a decision" in text(cast.client("auditor").get(page))
    cast.client("second_hr").post(reverse("decide_adjustment", args=[adjustment.pk]), {"approve": ""})
    seen = text(cast.client("auditor").get(page))
    assert "Nobody does." in seen
    assert "cannot be found" in seen
