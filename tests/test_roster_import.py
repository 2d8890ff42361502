"""import_roster: the thirteen files, what they do, and how each kind of bad input is refused."""

import csv
import datetime as dt
import io
import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from django.utils import timezone

from commission.models import Attribution, Band, Category, Plan, PlanProduct, PlanRate
from payroll_exports.models import Adjustment, IdentityDocument, Salary
from payroll_exports.roster import RESOURCES, RosterError, RosterReport, import_roster
from portfolios.import_problems import ImportProblem, ImportRefused
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, Month, Posting, Store
from portfolios.months import open_months
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db

ROSTER = {
    "stores.csv": "store_no,name\nS01,人民路店\nS02,Station\n",
    "categories.csv": "category,name_en,name_zh,excluded\nrx,Prescription,处方药,yes\notc,OTC,非处方药,no\n",
    "clerks.csv": (
        "clerk_no,name,hired_on,left_on\n001,李娜,2024-01-01,\n002,王伟,2024-01-01,2026-05-31\n003,䶮,2025-01-01,\n"
    ),
    "postings.csv": (
        "clerk_no,store_no,role,valid_from,valid_to,weight\n001,S01,clerk,2025-01-01,,1\n"
        "002,S01,clerk,2025-01-01,2026-06-01,0.5\n003,S01,manager,2025-01-01,,\n003,S02,manager,2025-01-01,,\n"
        "003,S02,clerk,2025-01-01,,\n"
    ),
    "salaries.csv": (
        "clerk_no,monthly_base,valid_from,valid_to\n001,4200,2025-01-01,2026-01-01\n001,4300.50,2026-01-01,\n"
    ),
    "identity_documents.csv": (
        "clerk_no,document_type,document_no\n001,resident_id,11010519491231002X\n002,居民身份证,440524188001010014\n"
        "003,foreign_passport,E0012345\n"
    ),
    "members.csv": (
        "member_no,name,phone,gender,birth_date,neighbourhood,store_no,enrolled_on,enrolled_by,closed_on\n"
        "0088,张三,13800000000,m,1980-02-29,东湖,S01,2026-01-10,001,\n"
        "0089,,,,,,S01,2026-01-11,,\n"
        '0090,"O, Neil",021-555,f,,,S02,2026-01-12,002,2026-03-01\n'
        "0091,李四,,f,,,S02,2026-01-12,003,\n"
    ),
    "bindings.csv": "member_no,clerk_no,valid_from,valid_to,reason\n0091,001,2026-02-01,2026-04-01,reassignment\n",
    "plans.csv": (
        "plan_no,store_no,valid_from,valid_to,owner_share,house_share,walk_in_share\n"
        "2026-A,,2026-01-01,,70,,\n2026-S2,S02,2026-01-01,2027-01-01,62.5,5,99.99\n"
    ),
    "plan_rates.csv": "plan_no,category,rate\n2026-A,otc,3.5\n2026-A,rx,excluded\n2026-S2,otc,0\n",
    "plan_products.csv": "plan_no,product_no,rate,amount_per_unit\n2026-A,P1,,2.50\n2026-A,P2,12,\n",
    "bands.csv": "plan_no,lower_amount,rate\n2026-A,0,0\n2026-A,30000.00,2\n",
}


def write(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    return write(tmp_path / "roster", ROSTER)


def load(directory: Path, **options: object) -> RosterReport:
    return import_roster(directory, errors_path=directory.parent / "errors.csv", **options)  # type: ignore[arg-type]


def refused(directory: Path) -> list[ImportProblem]:
    """The problems of a roster that must be refused, having changed nothing."""
    before = contents()
    with pytest.raises(ImportRefused) as caught:
        load(directory)
    assert contents() == before
    return caught.value.problems.shown


def contents() -> dict[str, list[dict[str, object]]]:
    tables: list[type[models.Model]] = [
        *(Store, Clerk, Posting, Member, Binding, BindingBatch),
        *(Category, Plan, PlanRate, PlanProduct, Band, Salary, Adjustment, IdentityDocument),
    ]
    return {table.__name__: list(table.objects.order_by("pk").values()) for table in tables}  # type: ignore[attr-defined]


def replace(directory: Path, name: str, old: str, new: str) -> None:
    text = (directory / name).read_text(encoding="utf-8")
    assert old in text
    (directory / name).write_text(text.replace(old, new), encoding="utf-8")


def close_until(number: int) -> None:
    """Months from 2026-01 on, closed up to and with this one."""
    open_months(202601, number + 1)
    Month.objects.filter(pk__lte=number).update(closed_at=timezone.now())


def bindings() -> list[tuple[str, str, str, str]]:
    rows = Binding.objects.valid().order_by("member__member_no", "valid_from")
    return [
        (m, c, f"{start}", "" if end == OPEN_END else f"{end}")
        for m, c, start, end in rows.values_list("member__member_no", "clerk__clerk_no", "valid_from", "valid_to")
    ]


# --- What it does ---------------------------------------------------------------------------------------------------
def test_every_file_arrives(roster: Path) -> None:
    report = load(roster)
    assert [(file.file, file.new) for file in report.files] == list(
        zip(ROSTER, [2, 2, 3, 5, 2, 3, 4, 1, 2, 3, 2, 2], strict=True)
    )
    assert report.bound == 2
    wang = Clerk.objects.get(clerk_no="002")
    assert (wang.name, wang.hired_on, wang.left_on) == ("王伟", day("2024-01-01"), day("05-31"))
    weights = Posting.objects.order_by("clerk__clerk_no", "role", "store").values_list("role", "weight_percent")
    assert list(weights) == [("clerk", 100), ("clerk", 50), ("clerk", 100), ("manager", 0), ("manager", 0)]
    assert list(Salary.objects.values_list("monthly_base_amount", flat=True)) == [420_000, 430_050]
    assert list(Plan.objects.values_list("owner_share_bp", "house_share_bp", "walk_in_share_bp")) == [
        (7000, 0, 10000),
        (6250, 500, 9999),
    ]
    assert set(PlanRate.objects.values_list("plan__plan_no", "category__category", "rate_bp", "excluded")) == {
        ("2026-A", "otc", 350, False),
        ("2026-A", "rx", None, True),
        ("2026-S2", "otc", 0, False),
    }
    assert set(PlanProduct.objects.values_list("product_no", "rate_bp", "unit_amount")) == {
        ("P1", None, 250),
        ("P2", 1200, None),
    }
    assert list(Band.objects.values_list("lower_amount", "rate_bp")) == [(0, 0), (3_000_000, 200)]


def test_enrolment_binds_unless_a_binding_says_otherwise(roster: Path) -> None:
    load(roster)
    assert bindings() == [
        ("0088", "001", "2026-01-10", ""),
        ("0090", "002", "2026-01-12", "2026-03-01"),
        ("0091", "001", "2026-02-01", "2026-04-01"),
    ]
    assert Binding.objects.get(member__member_no="0088").reason == Binding.Reason.ENROLMENT
    assert BindingBatch.objects.count() == 1


def test_the_same_directory_again_changes_nothing(roster: Path) -> None:
    load(roster)
    before = contents()
    report = load(roster)
    assert contents() == before
    assert all(file.new == file.changed == 0 for file in report.files)
    assert (report.bound, report.corrections) == (0, 0)


def test_the_export_is_what_was_imported(roster: Path) -> None:
    load(roster)
    exported = roster.parent / "exported"
    exported.mkdir()
    for resource in RESOURCES:
        (exported / resource.file_name).write_text(resource().export().csv, encoding="utf-8")
    for path in roster.iterdir():
        with path.open(encoding="utf-8") as file, (exported / path.name).open(encoding="utf-8") as again:
            assert next(csv.reader(again)) == next(csv.reader(file))
    # Adjustments belong to a month, and this roster comes before the first one.
    assert {path.name for path in exported.iterdir()} - {path.name for path in roster.iterdir()} == {"adjustments.csv"}
    before = contents()
    report = load(exported)
    assert contents() == before
    assert all(file.new == file.changed == 0 for file in report.files)
    with (exported / "bands.csv").open(encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["plan_no", "lower_amount", "rate"],
            ["2026-A", "0.00", "0"],
            ["2026-A", "30000.00", "2"],
        ]


def test_a_dry_run_counts_and_changes_nothing(roster: Path) -> None:
    before = contents()
    assert load(roster, dry_run=True).bound == 2
    assert contents() == before


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_encodings(roster: Path, encoding: str) -> None:
    for path in roster.iterdir():
        path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    load(roster)
    assert Clerk.objects.get(clerk_no="003").name == "䶮"


def test_columns_in_any_order_and_optional_ones_absent(roster: Path) -> None:
    load(roster)
    write(
        roster,
        {
            "postings.csv": "valid_from,store_no,role,clerk_no,valid_to\n2025-01-01,S01,clerk,002,2026-06-01\n",
            "members.csv": (
                "store_no,member_no,enrolled_on,enrolled_by,name,phone,gender,birth_date,neighbourhood\n"
                'S02,0090,2026-01-12,002,"O, Neil",021-556,f,,\n'
            ),
        },
    )
    load(roster)
    assert Posting.objects.get(clerk__clerk_no="002").weight_percent == 50
    member = Member.objects.get(member_no="0090")
    assert (member.phone, member.closed_on) == ("021-556", day("03-01"))


def test_changes_are_upserts(roster: Path) -> None:
    load(roster)
    replace(roster, "stores.csv", "Station", "车站店")
    replace(roster, "members.csv", "张三,13800000000", "张三丰,13900000000")
    replace(roster, "plans.csv", "62.5", "65")
    replace(roster, "salaries.csv", "4300.50", "4400")
    report = load(roster)
    assert {file.file: file.changed for file in report.files if file.changed} == {
        "stores.csv": 1,
        "members.csv": 1,
        "plans.csv": 1,
        "salaries.csv": 1,
    }
    assert Store.objects.get(store_no="S02").name == "车站店"
    assert Member.objects.get(member_no="0088").phone == "13900000000"


def test_a_card_that_closes_ends_its_binding(roster: Path) -> None:
    load(roster)
    replace(roster, "members.csv", "S01,2026-01-10,001,", "S01,2026-01-10,001,2026-05-01")
    load(roster)
    assert bindings()[0] == ("0088", "001", "2026-01-10", "2026-05-01")
    assert Binding.objects.get(member__member_no="0088").ended_by is not None


def test_a_binding_with_another_end_or_clerk(roster: Path) -> None:
    load(roster)
    replace(roster, "bindings.csv", "2026-04-01", "2026-03-01")
    load(roster)
    assert Binding.objects.filter(member__member_no="0091").count() == 1
    replace(roster, "bindings.csv", "2026-03-01", "")
    load(roster)
    replace(roster, "bindings.csv", "0091,001", "0091,003")
    load(roster)
    rows = Binding.objects.filter(member__member_no="0091").order_by("pk")
    assert [(row.clerk.clerk_no, f"{row.valid_to}", row.voided_by_id is None) for row in rows] == [
        ("001", "2026-03-01", False),
        ("001", "9999-12-31", False),
        ("003", "9999-12-31", True),
    ]


def test_an_open_binding_that_was_taken_over_stays_ended(roster: Path) -> None:
    replace(roster, "bindings.csv", "2026-04-01", "")
    load(roster)
    batch = BindingBatch.objects.create(source="page")
    old = Binding.objects.get(member__member_no="0091")
    Binding.objects.filter(pk=old.pk).update(valid_to=day("06-01"), ended_by=batch)
    Binding.objects.create(
        member=old.member,
        clerk=Clerk.objects.get(clerk_no="003"),
        valid_from=day("06-01"),
        batch=batch,
        reason="rebalance",
    )
    before = contents()
    load(roster)
    assert contents() == before


def test_booked_sales_are_corrected(tmp_path: Path) -> None:
    chain = SmallChain()
    member = chain.member("M1", chain.li)
    chain.sale("01-10", (chain.zhang, 200_00), member=member)
    directory = write(
        tmp_path / "roster",
        {
            "bindings.csv": (
                "member_no,clerk_no,valid_from,valid_to,reason\nM1,C1,2026-01-01,2026-01-05,enrolment\n"
                "M1,C2,2026-01-05,,reassignment\n"
            )
        },
    )
    assert load(directory).corrections == 1
    assert list(Attribution.objects.order_by("pk").values_list("owner__clerk_no", "owner_commission_amount")) == [
        ("C1", 420),
        ("C1", -420),
        ("C2", 420),
    ]


def test_a_clerk_who_has_left_no_longer_owns_booked_sales(tmp_path: Path) -> None:
    chain = SmallChain()
    chain.sale("01-10", (chain.zhang, 200_00), member=chain.member("M1", chain.li))
    directory = write(
        tmp_path / "roster", {"clerks.csv": "clerk_no,name,hired_on,left_on\nC1,店员C1,2026-01-01,2026-01-09\n"}
    )
    assert load(directory).corrections == 1
    assert Attribution.objects.order_by("pk").last().kind == Attribution.Kind.UNOWNED  # type: ignore[union-attr]


# --- Closed months --------------------------------------------------------------------------------------------------
def test_a_card_of_a_closed_month_counts_from_the_first_open_day(roster: Path) -> None:
    load(roster)
    close_until(202603)
    write(
        roster,
        {"members.csv": ROSTER["members.csv"] + "0092,,,,,,S01,2026-02-01,001,\n0093,,,,,,S01,2026-04-15,001,\n"},
    )
    report = load(roster)
    assert [(row[0], row[2]) for row in bindings()[-2:]] == [("0092", "2026-04-01"), ("0093", "2026-04-15")]
    assert report.notices == [
        "1 new cards were enrolled in a closed month: they count, and are bound, from 2026-04-01."
    ]
    before = contents()
    load(roster)
    assert contents() == before


def test_an_enrolment_that_is_told_late_starts_on_the_first_open_day(roster: Path) -> None:
    load(roster)
    close_until(202603)
    replace(roster, "members.csv", "S01,2026-01-11,,", "S01,2026-01-11,003,")
    report = load(roster)
    assert bindings()[1] == ("0089", "003", "2026-04-01", "")
    assert (report.bound, report.notices) == (
        1,
        ["1 cards known before were enrolled in a closed month: they are bound from 2026-04-01."],
    )


def test_closed_months_keep_what_they_used(roster: Path) -> None:
    load(roster)
    close_until(202603)
    replace(roster, "clerks.csv", "2026-05-31", "2026-03-30")
    replace(roster, "postings.csv", "001,S01,clerk,2025-01-01,,1", "001,S02,clerk,2025-01-01,,1")
    replace(roster, "salaries.csv", "4300.50", "4400")
    replace(roster, "members.csv", "001,\n", "001,\n0094,,,,,,S01,2026-04-02,,\n")
    replace(roster, "members.csv", "2026-03-01", "2026-05-01")
    replace(roster, "bindings.csv", "2026-04-01", "2026-03-31")
    found = refused(roster)
    assert [(problem.file, problem.row, problem.column, problem.value) for problem in found] == [
        ("clerks.csv", 3, "left_on", "2026-03-30"),
        ("postings.csv", 2, "valid_from", "2025-01-01"),
        ("salaries.csv", 3, "valid_from", "2026-01-01"),
        ("members.csv", 5, "closed_on", "2026-05-01"),
        ("bindings.csv", 2, "valid_to", "2026-03-31"),
    ]
    assert all("closed month" in problem.reason and "2026-04-01" in problem.remedy for problem in found)


def test_what_is_open_may_end_after_closed_months(roster: Path) -> None:
    load(roster)
    close_until(202603)
    replace(roster, "postings.csv", "001,S01,clerk,2025-01-01,,1", "001,S01,clerk,2025-01-01,2026-04-01,1")
    replace(roster, "salaries.csv", "2026-01-01,\n", "2026-01-01,2026-05-01\n001,5000,2026-05-01,\n")
    report = load(roster)
    assert {file.file: (file.new, file.changed) for file in report.files if file.new or file.changed} == {
        "postings.csv": (0, 1),
        "salaries.csv": (1, 1),
    }


# --- Plans ----------------------------------------------------------------------------------------------------------
def test_a_plan_without_a_rate_is_incomplete(roster: Path) -> None:
    replace(roster, "plan_rates.csv", "2026-S2,otc,0\n", "")
    (problem,) = refused(roster)
    assert (problem.file, problem.row, problem.value) == ("plans.csv", 3, "2026-S2")
    assert problem.reason == "The plan has no rate for: otc."


def test_a_new_category_needs_a_rate_in_every_running_plan(roster: Path) -> None:
    load(roster)
    only = write(
        roster.parent / "more",
        {"categories.csv": "category,name_en,name_zh,excluded\nbaby,Baby,母婴,no\nrx2,Rx,处方,yes\n"},
    )
    found = refused(only)
    assert [(problem.value, problem.reason) for problem in found] == [
        ("2026-A", "The plan has no rate for: baby."),
        ("2026-S2", "The plan has no rate for: baby."),
    ]
    write(only, {"plan_rates.csv": "plan_no,category,rate\n2026-A,baby,1\n2026-S2,baby,excluded\n"})
    load(only)


def test_bands_need_a_whole_first_month(roster: Path) -> None:
    replace(roster, "plans.csv", "2026-A,,2026-01-01", "2026-A,,2026-01-02")
    (problem,) = refused(roster)
    assert (problem.file, problem.row) == ("plans.csv", 2)
    assert "starts on 2026-01-02, in the middle of a month" in problem.reason


def test_a_plan_in_use_can_only_be_ended(tmp_path: Path) -> None:
    chain = SmallChain()
    chain.sale("01-10", (chain.zhang, 200_00))
    header = "plan_no,store_no,valid_from,valid_to,owner_share,house_share,walk_in_share\n"
    directory = write(
        tmp_path / "roster",
        {
            "plans.csv": header + "2026-A,,2026-01-01,,60,,\n",
            "plan_rates.csv": "plan_no,category,rate\n2026-A,otc,4\n",
            "plan_products.csv": "plan_no,product_no,rate,amount_per_unit\n2026-A,P1,1,\n",
            "bands.csv": "plan_no,lower_amount,rate\n2026-A,0,1\n",
        },
    )
    found = refused(directory)
    assert [(problem.file, problem.row, problem.column) for problem in found] == [
        ("plans.csv", 2, "owner_share"),
        ("plan_rates.csv", 2, "plan_no"),
        ("plan_products.csv", 2, "plan_no"),
        ("bands.csv", 2, "plan_no"),
    ]
    assert {problem.reason for problem in found} == {
        "The plan is used by tickets up to 2026-01-10 and can't be edited any more."
    }
    for name in ("plan_rates.csv", "plan_products.csv", "bands.csv"):
        (directory / name).unlink()
    write(directory, {"plans.csv": header + "2026-A,,2026-01-01,2026-01-10,70,,\n"})
    assert [problem.column for problem in refused(directory)] == ["valid_to"]
    write(
        directory,
        {
            "plans.csv": header + "2026-B,,2026-01-11,,65,,\n2026-A,,2026-01-01,2026-01-11,70,,\n",
            "plan_rates.csv": "plan_no,category,rate\n2026-B,otc,4\n",
        },
    )
    load(directory)
    assert Plan.objects.get(plan_no="2026-A").valid_to == day("01-11")


def test_no_plan_begins_in_a_closed_month_or_takes_booked_tickets_from_another(tmp_path: Path) -> None:
    """A store's plan would win over the chain's, by which its tickets are booked."""
    chain = SmallChain()
    chain.sale("02-10", (chain.zhang, 200_00))
    Plan.objects.create(plan_no="2026-S2", store=chain.second, valid_from=day("01-01"), valid_to=day("01-15"))
    Plan.objects.create(plan_no="2026-D", valid_from=day("2027-01-01"), state=Plan.State.DRAFT, store=chain.second)
    close_until(202601)
    rows = [
        # Begins in January, which is closed; so would one that goes on into it, or a rate of one that was in force.
        "2026-S1,S1,2026-01-20,,70,,",
        "2026-S2,S2,2026-01-01,2026-02-15,70,,",
        "2026-D,S2,2026-01-01,,70,,",
        "2026-S3,S1,2026-02-10,,70,,",
    ]
    header = "plan_no,store_no,valid_from,valid_to,owner_share,house_share,walk_in_share\n"
    found = []
    for place, row in enumerate(rows):
        found += refused(write(tmp_path / f"roster{place}", {"plans.csv": f"{header}{row}\n"}))
    found += refused(write(tmp_path / "rates", {"bands.csv": "plan_no,lower_amount,rate\n2026-S2,0,1\n"}))
    closed = "This would change days of a closed month, and closed months never change."
    assert [(problem.row, problem.column, problem.reason) for problem in found] == [
        (2, "valid_from", closed),
        (2, "valid_to", closed),
        (2, "plan_no", "The plan is a draft on the page of plans."),
        (2, "valid_from", "Tickets up to 2026-02-10, which this plan would pay, are booked by another plan."),
        (2, "plan_no", closed),
    ]
    # From the day after, or for another store.
    later = ["2026-S1,S1,2026-02-11,,70,,", "2026-S4,S2,2026-02-01,,70,,"]
    rates = "plan_no,category,rate\n2026-S1,otc,4\n2026-S4,otc,4\n"
    load(write(tmp_path / "later", {"plans.csv": header + "\n".join(later) + "\n", "plan_rates.csv": rates}))


# --- Bad input ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "old", "new", "row", "column", "reason"),
    [
        ("stores.csv", "S02", "S01", 3, "store_no", "Row 2 has the same key"),
        ("stores.csv", "S02,Station", ",Station", 3, "store_no", "The value is missing"),
        ("stores.csv", "S02,Station", "S02," + "x" * 101, 3, "name", "longer than 100 characters"),
        ("stores.csv", "S02,Station", 'S02,"Sta\ntion"', 3, "name", "can't be seen"),
        ("categories.csv", "yes", "true", 2, "excluded", "not known"),
        ("clerks.csv", "002", "1.2E+10", 3, "clerk_no", "scientific notation"),
        ("clerks.csv", "002", "2.0", 3, "clerk_no", "amount (.0)"),
        ("clerks.csv", "002", "００２", 3, "clerk_no", "full-width"),
        ("clerks.csv", "003,", "2,", 4, "clerk_no", "lost its leading zeros: 002 is known"),
        ("clerks.csv", "2025-01-01", "2025/01/01", 4, "hired_on", "not a date"),
        ("clerks.csv", "2025-01-01", "20250101", 4, "hired_on", "not a date"),
        ("clerks.csv", "2025-01-01", "1.1.2025", 4, "hired_on", "not a date"),
        ("clerks.csv", "2025-01-01", "２０２５-01-01", 4, "hired_on", "not a date"),
        ("clerks.csv", "2025-01-01", "2025-02-29", 4, "hired_on", "not a date"),
        ("clerks.csv", "2026-05-31", "2023-12-31", 3, "left_on", "before the day of hire"),
        ("postings.csv", "001,S01,clerk", "009,S01,clerk", 2, "clerk_no", "No clerk has this number"),
        ("postings.csv", "001,S01,clerk", "1,S01,clerk", 2, "clerk_no", "lost its leading zeros: 001"),
        ("postings.csv", "001,S01,clerk", "001,S9,clerk", 2, "store_no", "No store has this number"),
        ("postings.csv", "001,S01,clerk", "001,S01,boss", 2, "role", "not known"),
        ("postings.csv", "0.5", "0,5", 3, "weight", None),
        ("postings.csv", ",0.5", ",-0.5", 3, "weight", "not written as a ratio"),
        ("postings.csv", ",0.5", ",0.555", 3, "weight", "not written as a ratio"),
        ("postings.csv", "2026-06-01", "2025-01-01", 3, "valid_to", "The row has no day"),
        ("salaries.csv", "4200", "4,200.00", 2, "monthly_base", None),
        ("salaries.csv", "4200", '"4,200.00"', 2, "monthly_base", "thousands separators"),
        ("salaries.csv", "4200", "4200.005", 2, "monthly_base", "more than two decimals"),
        ("salaries.csv", "4200", "NaN", 2, "monthly_base", "not written as an amount"),
        ("salaries.csv", "4200", "４２００", 2, "monthly_base", "not written as an amount"),
        ("salaries.csv", "4200", "-1", 2, "monthly_base", "below zero"),
        ("salaries.csv", "001,4300.50,2026-01-01", "001,4300.50,2025-12-31", 3, "valid_from", "overlap row 2"),
        ("members.csv", "0089", "1.2E+10", 3, "member_no", "scientific notation"),
        ("members.csv", "0089", "88", 3, "member_no", "lost its leading zeros: 0088"),
        ("members.csv", "13800000000", "1.38E+10", 2, "phone", "scientific notation"),
        ("members.csv", "13800000000", "13800000000.0", 2, "phone", "amount (.0)"),
        ("members.csv", ",m,", ",male,", 2, "gender", "not known"),
        ("members.csv", "2026-03-01", "2026-01-11", 4, "closed_on", "closes before its enrolment"),
        ("members.csv", "2026-01-11,,", "2026-01-11,004,", 3, "enrolled_by", "No clerk has this number"),
        ("members.csv", "S02,2026-01-12,003", "S03,2026-01-12,003", 5, "store_no", "No store has this number"),
        ("bindings.csv", "0091", "0099", 2, "member_no", "No member has this number"),
        ("bindings.csv", "0091", "91", 2, "member_no", "lost its leading zeros: 0091"),
        ("bindings.csv", "reassignment", "because", 2, "reason", "not known"),
        ("bindings.csv", "2026-02-01", "2026-01-11", 2, "valid_from", "counts only from 2026-01-12"),
        ("plans.csv", "2026-S2,S02", "2026-S2,", 3, "valid_from", "overlap row 2"),
        ("plans.csv", "62.5", "162.5", 3, "owner_share", "too large"),
        ("plans.csv", "62.5", "62.555", 3, "owner_share", "not written as a ratio"),
        ("plans.csv", "62.5", "62.5%", 3, "owner_share", "not written as a ratio"),
        ("plan_rates.csv", "2026-A,otc", "2026-A,toys", 2, "category", "No category has this number"),
        ("plan_rates.csv", "2026-A,otc", "2026-B,otc", 2, "plan_no", "No plan has this number"),
        ("plan_products.csv", "P1,,2.50", "P1,1,2.50", 2, "rate", "either a rate or an amount"),
        ("plan_products.csv", "P1,,2.50", "P1,,", 2, "rate", "either a rate or an amount"),
        ("bands.csv", "30000.00", "0.00", 3, "plan_no", "Row 2 has the same key"),
    ],
)
def test_bad_cells(roster: Path, name: str, old: str, new: str, row: int, column: str, reason: str | None) -> None:
    replace(roster, name, old, new)
    problem = refused(roster)[0]
    if reason is None:
        # The comma splits the cell: the row's shape is wrong.
        assert (problem.file, problem.row, problem.column) == (name, row, "")
        assert "cells, the header has" in problem.reason
        return
    assert (problem.file, problem.row, problem.column) == (name, row, column)
    assert reason in problem.reason
    assert problem.remedy


def test_two_home_stores_on_one_day(roster: Path) -> None:
    replace(roster, "postings.csv", "002,S01,clerk", "001,S02,clerk")
    replace(roster, "postings.csv", "001,S02,clerk,2025-01-01", "001,S02,clerk,2025-06-01")
    (problem,) = refused(roster)
    assert (problem.file, problem.row, problem.column) == ("postings.csv", 3, "valid_from")
    assert problem.reason == "The dates overlap row 2, from 2025-01-01 until open end."


def test_two_owners_on_one_day(roster: Path) -> None:
    load(roster)
    only = write(
        roster.parent / "more",
        {"bindings.csv": "member_no,clerk_no,valid_from,valid_to,reason\n0088,003,2026-03-01,2026-04-01,rebalance\n"},
    )
    (problem,) = refused(only)
    assert problem.reason == "The dates overlap what is recorded, from 2026-01-10 until open end."


def test_errors_of_all_files_are_listed_and_none_twice(roster: Path) -> None:
    replace(roster, "stores.csv", "S02,Station", "S02,")
    replace(roster, "salaries.csv", "4200", "x")
    replace(roster, "plan_products.csv", "2.50", "2.505")
    found = refused(roster)
    assert [(problem.file, problem.row, problem.column) for problem in found] == [
        ("stores.csv", 3, "name"),
        ("salaries.csv", 2, "monthly_base"),
        ("plan_products.csv", 2, "amount_per_unit"),
    ]
    with (roster.parent / "errors.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "row", "column", "value", "reason", "remedy"]
    assert [row[3] for row in rows[1:]] == ["", "x", "2.505"]


@pytest.mark.parametrize(
    ("content", "row", "column", "reason"),
    [
        (b"", 0, "", "The file is empty"),
        (b"store_no\nS01\n", 1, "name", "The column is missing"),
        (b"store_no,name,city\nS01,a,b\n", 1, "city", "The column is not known"),
        (b"store_no,name,name\nS01,a,b\n", 1, "name", "twice"),
        (b"store_no,name\nS01,a\0b\n", 0, "", "NUL bytes"),
        (b"store_no,name\nS01," + b"x" * 70_000 + b"\n", 0, "", "longer than 65536 bytes"),
        ("store_no,name\nS01,\ufffd\n".encode(), 0, "", "replacement character"),
        (b"store_no,name\nS01,\xff\xff\n", 0, "", "neither UTF-8 nor GB18030"),
        (b'store_no,name\nS01,"a"b\n', 2, "", "cannot be read as CSV"),
    ],
)
def test_bad_files(roster: Path, content: bytes, row: int, column: str, reason: str) -> None:
    (roster / "stores.csv").write_bytes(content)
    # The next file's error is listed too; what refers to the stores is not blamed for them.
    replace(roster, "clerks.csv", "2025-01-01", "soon")
    problem, *rest = refused(roster)
    assert (problem.file, problem.row, problem.column) == ("stores.csv", row, column)
    assert reason in problem.reason
    assert ("clerks.csv", 4, "hired_on") in [(found.file, found.row, found.column) for found in rest]
    assert {found.file for found in rest} <= {"stores.csv", "clerks.csv"}


def test_a_header_alone_is_said(roster: Path) -> None:
    (roster / "bands.csv").write_text("plan_no,lower_amount,rate\n")
    assert load(roster).notices == ["bands.csv has a header and no rows."]


def test_a_directory_in_place_of_a_file(roster: Path) -> None:
    os.remove(roster / "bands.csv")
    (roster / "bands.csv").mkdir()
    (problem,) = refused(roster)
    assert (problem.file, problem.row) == ("bands.csv", 0)
    assert "cannot be read" in problem.reason


def test_what_is_no_roster(roster: Path, tmp_path: Path) -> None:
    with pytest.raises(RosterError, match="is not a directory"):
        load(roster / "stores.csv")
    with pytest.raises(RosterError, match="is not a directory"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RosterError, match=r"holds no roster file\. The names are stores\.csv"):
        load(tmp_path / "empty")
    (roster / "tickets-2026.csv").write_text("whatever")
    (roster / "notes.txt").write_text("whatever")
    load(roster, dry_run=True)
    (roster / "member.csv").write_text("whatever")
    with pytest.raises(RosterError, match=r"no roster files: member\.csv"):
        load(roster)


def test_the_command(roster: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("import_roster", str(roster), "--dry-run", stdout=out)
    assert "A dry run: nothing was changed." in out.getvalue()
    assert not Store.objects.exists()
    call_command("import_roster", str(roster), stdout=out)
    assert ["members.csv", "4", "0", "0"] in [line.split() for line in out.getvalue().splitlines()]
    replace(roster, "members.csv", "2026-01-10", "10.01.2026")
    errors = io.StringIO()
    with pytest.raises(CommandError, match=r"1 error; nothing was imported.*listed\.csv"):
        call_command("import_roster", str(roster), "--errors", str(tmp_path / "listed.csv"), stderr=errors)
    assert "members.csv, row 2, column enrolled_on [10.01.2026]" in errors.getvalue()
    assert (tmp_path / "listed.csv").exists()


def test_six_thousand_members_take_seconds(roster: Path) -> None:
    header = ROSTER["members.csv"].splitlines()[0]
    rows = [f"{number:06d},n,138{number:08d},f,,,S01,2026-01-10,001," for number in range(6_000)]
    write(roster, {"members.csv": "\n".join([header, *rows]) + "\n"})
    (roster / "bindings.csv").unlink()
    started = dt.datetime.now()
    assert load(roster).bound == 6_000
    assert (dt.datetime.now() - started).total_seconds() < 30
