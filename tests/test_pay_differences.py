"""Whose pay differs from last month's or the last draft's, by how much, and why; who stands out comes first."""

import csv

import pytest
from django.urls import reverse

from payroll_exports.adjustments import approve as approve_adjustment
from payroll_exports.adjustments import ask_adjustment
from payroll_exports.models import FileRecord, PayRun, PayRunSlip, Salary
from payroll_exports.pay_differences import Comparison, Difference, against_last_draft, against_last_month, differences
from payroll_exports.pay_run import close_month
from payroll_exports.pay_run_steps import draft
from portfolios.models import Clerk, Posting, User
from tests.cast import Cast
from tests.small_chain import SmallChain, day
from tests.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def hr() -> list[User]:
    return [User.objects.create(username=name, office=User.Office.HR) for name in ("fang", "guo")]


def told(run: PayRun, compared: Comparison | None) -> list[tuple[str, int, list[tuple[int, str]]]]:
    assert compared is not None
    return [
        (one.clerk.clerk_no, one.change, [(reason.amount, reason.text) for reason in one.reasons])
        for one in differences(run, compared)
    ]


def test_beside_last_month(hr: list[User]) -> None:
    chain = SmallChain()
    Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"), valid_to=day("02-15"))
    Salary.objects.create(clerk=chain.li, monthly_base_amount=340_000, valid_from=day("02-15"))
    own = chain.member("M1", chain.li)
    for number in range(2):
        chain.sale(f"01-0{number + 1}", (chain.zhang, 20_000), member=own)  # 4.20 and 1.80
    chain.sale("01-05", (chain.wang, 10_000))  # 3.00
    close_month(chain.month(202601), approved_by="test")
    for number in range(5):
        chain.sale(f"02-0{number + 1}", (chain.zhang, 20_000), member=own)
    chain.sale("02-05", (chain.wang, 20_000))  # 6.00
    new = chain.clerk("C5", since="02-10")
    Clerk.objects.filter(pk=new.pk).update(hired_on=day("02-10"))
    Salary.objects.create(clerk=new, monthly_base_amount=280_000, valid_from=day("02-10"))
    february = chain.month(202602)
    bonus = ask_adjustment(chain.zhang, february, amount=5_000, reason="stocktaking", asked_by=hr[0])
    approve_adjustment(bonus, by=hr[1])

    run = draft(february, by=hr[0])
    found = told(run, against_last_month(run))

    assert found == [
        # 5,000 + 3 x 180 on 360: 5,540 of 5,900.
        ("C3", 5_540, [(5_000, "adjustment: stocktaking"), (540, "3 more covered sales")]),
        # 14 x 310,000 and 14 x 340,000 of 28 days are 325,000; and 3 x 420.
        (
            "C1",
            16_260,
            [
                (15_000, "raise from 2026-02-15 (3,100.00 to 3,400.00)"),
                (1_260, "3 more own members' sales by others"),
            ],
        ),
        ("C2", 300, [(300, "walk-ins: as many, worth more")]),
        # 19 of 28 days of 280,000; a first month comes last, however much it is.
        ("C5", 190_000, [(190_000, "base for 19 of 28 days, before for 0 of 31")]),
    ]
    compared = against_last_month(run)
    assert compared is not None
    new_clerk = differences(run, compared)[-1]
    assert (new_clerk.before, new_clerk.after, new_clerk.first_month) == (None, 190_000, True)


def test_beside_the_last_draft(hr: list[User]) -> None:
    chain = SmallChain()
    month = chain.month(202601)
    old = ask_adjustment(chain.zhang, month, amount=700, reason="old", asked_by=hr[0])
    approve_adjustment(old, by=hr[1])
    (part,) = chain.sale("01-05", (chain.zhang, 20_000))
    first = draft(month, by=hr[0])
    assert against_last_draft(first) is None
    assert against_last_month(first) is None

    fresh = ask_adjustment(chain.zhang, month, amount=-100, reason="till short", asked_by=hr[0])
    approve_adjustment(fresh, by=hr[1])
    chain.sale("01-06", (chain.zhang, -20_000), returns=part)
    chain.sale("01-07", (chain.wang, 10_000))
    second = draft(month, by=hr[0])

    assert told(second, against_last_draft(second)) == [
        # The return of the same month is a walk-in of its own, of -6.00: 13.00 have become 6.00.
        ("C3", -700, [(-600, "1 more walk-in, worth less"), (-100, "adjustment: till short")]),
        ("C2", 300, [(300, "1 more walk-in")]),
    ]


def test_a_last_month_is_marked_and_comes_last(hr: list[User]) -> None:
    chain = SmallChain()
    Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
    close_month(chain.month(202601), approved_by="test")
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=day("02-14"))
    chain.sale("02-05", (chain.wang, 10_000))
    run = draft(chain.month(202602), by=hr[0])
    compared = against_last_month(run)
    assert compared is not None

    wang, li = differences(run, compared)

    # 14 of 28 days.
    assert (li.change, li.last_month, li.reasons[0].text) == (
        -155_000,
        True,
        "base for 14 of 28 days, before for 31 of 31",
    )
    assert (wang.change, wang.expected) == (300, False)


def test_who_stands_out_counts_both_ways() -> None:
    def difference(before: int, after: int) -> Difference:
        return Difference(Clerk(), None, before, after, (), False, False)  # type: ignore[arg-type]

    assert round(difference(100_000, 130_000).weight) == 6_923
    assert round(difference(1_000_000, 1_050_000).weight) == 2_381
    assert difference(0, 0).weight == 0


def test_the_page_and_its_file() -> None:
    cast = Cast()
    empty = text(cast.client("hr").get(reverse("pay_run", args=[202602])))
    assert "Draft the pay run" in empty
    page = text(cast.drafted_on_page("hr", cast.february))
    # 李: 7.20 in January, 9.00 of own sales in February, and the same base.
    assert "+ 1.80 + 6.00 sales to own members: as many, worth more −4.20 1 fewer own member" in page
    assert "Beside last month" in page
    assert "It is the first draft of this month." in text(
        cast.client("auditor").get(reverse("pay_run", args=[202602]), {"beside": "draft"})
    )
    assert cast.client("hr").get(reverse("pay_run", args=[202602]), {"beside": "nonsense"}).status_code == 404

    file = cast.client("auditor").get(reverse("pay_run_file", args=[202602, "csv"])).content.decode("utf-8-sig")

    rows = list(csv.reader(file.splitlines()))
    assert rows[0] == "clerk_no clerk_name store_no before after change reason_amount reason".split()
    assert [row[3:] for row in rows if row[0] == "C1"] == [
        ["3107.20", "3109.00", "1.80", "6.00", "sales to own members: as many, worth more"],
        ["3107.20", "3109.00", "1.80", "-4.20", "1 fewer own member's sale by another clerk"],
    ]
    record = FileRecord.objects.first()
    assert record is not None
    assert (record.recorded_by, record.rows) == (cast.users["auditor"], len(rows) - 1)


def test_the_page_says_what_was_booked_since_the_draft() -> None:
    cast = Cast()
    address, checklist = reverse("pay_run", args=[202602]), reverse("month", args=[202602])
    said = "since its pay run was drafted: draft again to see whether pay changes. 1 row of the ledger"
    assert "since its pay run" not in text(cast.drafted_on_page("hr", cast.february))
    assert "since its pay run" not in text(cast.client("hr").get(checklist))
    cast.chain.sale("02-04", (cast.chain.zhao, 20_000), store=cast.chain.second)
    assert said in text(cast.client("hr").get(address))
    assert said in text(cast.client("auditor").get(address))
    # A manager drafts nothing, and reads the own stores' part.
    assert "since its pay run" not in text(cast.client("manager").get(address))
    page = cast.client("hr").get(checklist)
    assert "since its pay run was drafted" in text(page)
    assert f'href="{address}">Something was booked' in page.content.decode()


def test_a_manager_reads_the_own_stores_part() -> None:
    cast = Cast()
    chain, february = cast.chain, cast.february
    chain.sale("02-04", (chain.zhao, 20_000), store=chain.second)  # 6.00; January's was 1.50
    hr, manager = cast.users["hr"], cast.users["manager"]
    assert hr is not None
    assert manager is not None
    run = draft(february, by=hr)
    # 李: 3,100.00 and 9.00 in February, 3,107.20 in January; 张: 1.80 in January. 赵 is the second store's.
    assert PayRunSlip.objects.for_user(hr).filter(run=run).count() == 6
    page = cast.client("manager").get(reverse("pay_run", args=[202602]))
    shown = text(page)
    assert (page.context["clerks"], page.context["before_amount"], page.context["paid_amount"]) == (4, 310_900, 310_900)
    assert [row.clerk.clerk_no for row, _bar in page.context["rows"]] == ["C3", "C1"]
    assert "C4" not in shown
    assert "3,115.00" not in shown
    assert "Draft again" not in shown
    assert b'method="post" action="/pay' not in page.content
    other = cast.client("other_manager").get(reverse("pay_run", args=[202602]))
    assert [row.clerk.clerk_no for row, _bar in other.context["rows"]] == ["C4"]
    assert cast.client("manager").get(reverse("pay_run", args=[202602]), {"store": "S2"}).status_code == 404

    file = cast.client("other_manager").get(reverse("pay_run_file", args=[202602, "csv"]))
    rows = list(csv.DictReader(file.content.decode("utf-8-sig").splitlines()))
    assert {(row["clerk_no"], row["change"]) for row in rows} == {("C4", "4.50")}
    assert FileRecord.objects.get().rows == 1

    # Who has moved to the first store is the first's, the pay before with it; the latest draft says where.
    chain.zhao.postings.update(valid_to=day("02-10"))
    Posting.objects.create(clerk=chain.zhao, store=chain.first, role=Posting.Role.CLERK, valid_from=day("02-10"))
    draft(february, by=hr)
    moved = cast.client("manager").get(reverse("pay_run", args=[202602]), {"beside": "month"})
    assert [row.clerk.clerk_no for row, _bar in moved.context["rows"]] == ["C4", "C3", "C1"]
    assert cast.client("other_manager").get(reverse("pay_run", args=[202602])).context["rows"] == []
