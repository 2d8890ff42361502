"""Adjustments by file: asked for by whoever imports them, checked row by row, and withdrawn when it is taken back."""

from io import BytesIO
from typing import Any

import openpyxl
import pytest
from django.test import Client

from payroll_exports.adjustments import approve, withdraw
from payroll_exports.applied_imports import AppliedImport
from payroll_exports.earnings import earnings
from payroll_exports.models import Adjustment
from payroll_exports.roster_export import roster_export
from portfolios.models import Clerk, Month, User
from tests.small_chain import SmallChain
from tests.test_import_undo import undo
from tests.test_roster_pages import confirm, counts, logged_in, problems, upload, workbook

pytestmark = pytest.mark.django_db

HEADER = "clerk_no,month,amount,reason\n"
# 李 gets 50.00, 王 gives 12.30.
FILE = HEADER + "C1,2026-01,50,=盘点加班\nC2,2026-01,-12.3,till short\n"


@pytest.fixture
def chain() -> SmallChain:
    chain = SmallChain()
    chain.sale("01-05", (chain.wang, 100_000))
    return chain


@pytest.fixture
def hr() -> Client:
    return logged_in("hr", User.Office.HR)


def imported(hr: Client, text: str) -> AppliedImport:
    upload(hr, {"adjustments.csv": text})
    confirm(hr)
    return AppliedImport.objects.latest("pk")


def paid(chain: SmallChain) -> dict[str, int]:
    """What January would pay each clerk, in fen."""
    found = earnings(Month.objects.get(pk=202601))
    return {Clerk.objects.get(pk=pk).clerk_no: sum(line.amount for line in lines) for pk, lines in found.items()}


def test_a_file_asks_and_another_person_approves(chain: SmallChain, hr: Client) -> None:
    before = paid(chain)
    imported(hr, FILE)
    first, second = Adjustment.objects.order_by("pk")
    assert (first.amount, first.reason, second.amount, second.reason) == (5_000, "=盘点加班", -1_230, "till short")
    assert first.asked_by == second.asked_by == User.objects.get(username="hr")
    assert first.approved is second.approved is None
    assert paid(chain) == before
    for asked in (first, second):
        approve(asked, by=User.objects.create(username=f"hr{asked.pk}", office=User.Office.HR))
    assert paid(chain) == before | {"C1": before["C1"] + 5_000, "C2": before["C2"] - 1_230}
    # What is there already is not asked for again.
    assert counts(upload(hr, {"adjustments.csv": FILE})) == [("adjustments.csv", 0, 0, 2, 0)]


def test_each_error_has_its_row_and_column(chain: SmallChain, hr: Client) -> None:
    rows = ["C1,2026-01,50,a", "C1,2026-13,50,a", "C1,2026-09,50,a", "C9,2026-01,50,a", "C1,2026-01,0,a"]
    rows += ["C1,2026-01,1.234,a", "C1,2026-01,50,", "C1,2026-01,50,a"]
    page = upload(hr, {"adjustments.csv": HEADER + "\n".join(rows) + "\n"})
    found = problems(page)
    assert [(row, column) for _file, row, column, _reason in found] == [
        *((3, "month"), (4, "month"), (5, "clerk_no"), (6, "amount"), (7, "amount"), (8, "reason"), (9, "clerk_no")),
    ]
    assert "Row 2 has the same key" in found[-1][3]
    assert found[4][3] == "The amount has more than two decimals."
    assert not Adjustment.objects.exists()


def test_a_closed_month_takes_none(chain: SmallChain, hr: Client) -> None:
    chain.month(202602)
    Month.objects.filter(pk=202601).update(closed_at="2026-02-02T00:00Z")
    ((_file, row, column, reason),) = problems(upload(hr, {"adjustments.csv": HEADER + "C1,2026-01,50,a\n"}))
    assert (row, column) == (2, "month")
    assert "is closed" in reason


def test_a_workbook_out_and_in_again(chain: SmallChain, hr: Client) -> None:
    rows = [HEADER.strip().split(","), ["C1", "2026-01", 50, "a"], ["C2", "2026-01", -12.3, "b"]]
    upload(hr, {"adjustments.xlsx": workbook(rows)})
    confirm(hr)
    content = roster_export("adjustments", format="xlsx").content
    sheet: Any = openpyxl.load_workbook(BytesIO(content)).worksheets[0]
    assert [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)] == [
        ["C1", "2026-01", 50, "a"],
        ["C2", "2026-01", -12.3, "b"],
    ]
    assert counts(upload(hr, {"adjustments.xlsx": content})) == [("adjustments.xlsx", 0, 0, 2, 0)]


def test_what_waits_is_withdrawn_by_whoever_asked(chain: SmallChain, hr: Client) -> None:
    applied = imported(hr, FILE)
    assert "is taken back" in undo(hr, applied)
    withdrawn = Adjustment.objects.order_by("pk")
    assert [(one.approved, one.decision_note) for one in withdrawn] == [(False, "The import was taken back.")] * 2
    # It may be asked for anew.
    imported(hr, FILE)
    assert Adjustment.objects.waiting().count() == 2


def test_what_its_asker_withdrew_does_not_stand_in_the_way(chain: SmallChain, hr: Client) -> None:
    applied = imported(hr, FILE)
    first = Adjustment.objects.get(amount=5_000)
    withdraw(first, by=User.objects.get(username="hr"))
    assert "is taken back" in undo(hr, applied)
    first.refresh_from_db()
    assert (first.decision_note, Adjustment.objects.waiting().count()) == ("", 0)


def test_what_is_approved_stands_in_the_way(chain: SmallChain, hr: Client) -> None:
    applied = imported(hr, FILE)
    second = Adjustment.objects.get(amount=-1_230)
    approve(second, by=User.objects.create(username="hr2", office=User.Office.HR))
    said = undo(hr, applied)
    assert "adjustments C2 · 2026-01 · -12.30 · till short: This adjustment is decided already." in said
    assert list(Adjustment.objects.order_by("pk").values_list("approved", flat=True)) == [None, True]
