"""Taking an import back: as a whole, to what was there before, and only as long as nothing was built on it."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from commission.models import Attribution
from payroll_exports.applied_imports import AppliedImport
from payroll_exports.models import IdentityDocument, Salary
from payroll_exports.roster import import_roster
from portfolios.models import Clerk, Month, User
from tests.cast import without_tokens
from tests.small_chain import SmallChain
from tests.test_roster_import import ROSTER, close_until, contents, write
from tests.test_roster_pages import Files, confirm, logged_in, upload

pytestmark = pytest.mark.django_db

CLERKS = "clerk_no,name,hired_on,left_on\n"
POSTINGS = "clerk_no,store_no,role,valid_from,valid_to\n"
SALARIES = "clerk_no,monthly_base,valid_from,valid_to\n"
DOCUMENTS = "clerk_no,document_type,document_no\n"
# 004 is new; 001 gets another name, a rise from December on, and the right document.
NEW_CLERK: Files = {
    "clerks.csv": CLERKS + "004,=赵敏,2026-11-01,\n001,李娜娜,2024-01-01,\n",
    "postings.csv": POSTINGS + "004,S01,clerk,2026-11-01,\n",
    "salaries.csv": SALARIES + "001,4300.50,2026-01-01,2026-12-01\n001,4600,2026-12-01,\n004,4000,2026-11-01,\n",
    "identity_documents.csv": DOCUMENTS + "004,resident_id,110105199001010010\n001,foreign_passport,P7654321\n",
}


@pytest.fixture
def hr() -> Client:
    return logged_in("hr", User.Office.HR)


@pytest.fixture
def roster(tmp_path: Path) -> None:
    import_roster(write(tmp_path / "given", ROSTER), errors_path=tmp_path / "errors.csv")


def imported(hr: Client, files: Files) -> AppliedImport:
    upload(hr, files)
    assert "Imported" in confirm(hr).content.decode()
    return AppliedImport.objects.latest("pk")


def undo(client: Client, applied: AppliedImport) -> str:
    """What the page says after the button was pressed."""
    page = client.post(reverse("undo_import", args=[applied.pk]), follow=True)
    return " ".join(str(message) for message in page.context["messages"])


def refused(client: Client, applied: AppliedImport) -> str:
    """Why it can't be taken back; nothing has changed."""
    before = contents()
    said = undo(client, applied)
    assert "Nothing was taken back" in said
    assert contents() == before
    applied.refresh_from_db()
    assert applied.undone_at is None
    return said


def test_everything_is_as_it_was_before(hr: Client, roster: None) -> None:
    before = contents()
    applied = imported(hr, NEW_CLERK)
    assert Salary.objects.count() == 4
    assert Clerk.objects.get(clerk_no="004").name == "=赵敏"
    assert "is taken back" in undo(hr, applied)
    assert contents() == before
    applied.refresh_from_db()
    assert applied.undone_by == User.objects.get(username="hr")
    assert "taken back already" in undo(hr, applied)


def test_the_page_shows_each_cell_and_masks_identity_numbers(hr: Client, roster: None) -> None:
    applied = imported(hr, NEW_CLERK)
    page = hr.get(reverse("applied_import", args=[applied.pk]))
    shown = {(row["file"], row["key"]): (row["is_new"], row["cells"]) for row in page.context["rows"]}
    assert len(shown) == 8
    assert shown["clerks", "001"] == (False, [("name", "李娜", "李娜娜")])
    assert shown["salaries", "001 · 2026-01-01"] == (False, [("valid_to", "", "2026-12-01")])
    assert shown["salaries", "001 · 2026-12-01"] == (True, [("monthly_base", "", "4600.00"), ("valid_to", "", "")])
    assert shown["identity_documents", "001"][1] == [
        ("document_type", "resident_id", "foreign_passport"),
        ("document_no", "110***********002X", "P7****21"),
    ]
    assert "1990" not in page.content.decode()
    assert reverse("applied_import", args=[applied.pk]) in hr.get(reverse("roster")).content.decode()


def test_a_later_change_stands_in_the_way(hr: Client, roster: None) -> None:
    applied = imported(hr, NEW_CLERK)
    second = imported(hr, {"salaries.csv": SALARIES + "001,4700,2026-12-01,\n"})
    assert "salaries 001 · 2026-12-01 was changed since" in refused(hr, applied)
    undo(hr, second)
    assert "is taken back" in undo(hr, applied)


def test_a_clerk_who_is_in_use_stays_and_so_does_all_else(hr: Client, roster: None) -> None:
    applied = imported(hr, NEW_CLERK)
    User.objects.create(username="zhao", clerk=Clerk.objects.get(clerk_no="004"))
    assert "clerks 004 is in use: users" in refused(hr, applied)


def test_what_a_closed_month_used_stays(hr: Client, roster: None) -> None:
    applied = imported(hr, NEW_CLERK)
    close_until(202611)
    assert "salaries 004 · 2026-11-01: This would change days of a closed month" in refused(hr, applied)


def test_a_base_that_changed_in_a_month_that_closed_stays(hr: Client, roster: None) -> None:
    close_until(202609)
    applied = imported(hr, {"salaries.csv": SALARIES + "001,4300.50,2026-01-01,2026-10-01\n001,4600,2026-12-01,\n"})
    Month.objects.filter(pk=202610).update(closed_at=timezone.now())
    said = refused(hr, applied)
    assert "salaries.csv, row 2, column valid_to" in said
    assert "days of a closed month" in said


def test_a_leaver_who_did_not_leave_has_the_sales_again(hr: Client) -> None:
    chain = SmallChain()
    member = chain.member("M1", chain.li)
    chain.sale("01-20", (chain.zhang, 20_000), member=member)

    def credited() -> dict[str, int]:
        found: dict[str, int] = {}
        for row in Attribution.objects.select_related("owner", "server"):
            for clerk, amount in ((row.owner, row.owner_commission_amount), (row.server, row.server_commission_amount)):
                if clerk:
                    found[clerk.clerk_no] = found.get(clerk.clerk_no, 0) + amount
        return found

    assert credited() == {"C1": 420, "C3": 180}
    applied = imported(hr, {"clerks.csv": CLERKS + "C1,店员C1,2026-01-01,2026-01-10\n"})
    assert credited() == {"C1": 0, "C3": 600}
    assert "is taken back" in undo(hr, applied)
    assert credited() == {"C1": 420, "C3": 180}


def test_an_import_of_members_is_not_taken_back_here(hr: Client, roster: None) -> None:
    files: Files = {
        "clerks.csv": CLERKS + "005,孙,2026-11-01,\n",
        "stores.csv": "store_no,name\nS03,New\n",
    }
    upload(hr, files)
    confirm(hr)
    assert not AppliedImport.objects.exists()


def test_an_auditor_reads_an_import_without_identity_numbers_and_its_record_stays(hr: Client, roster: None) -> None:
    applied = imported(hr, {"identity_documents.csv": DOCUMENTS + "001,foreign_passport,P7654321\n"})
    auditor = logged_in("auditor", User.Office.AUDITOR)
    page = without_tokens(auditor.get(reverse("applied_import", args=[applied.pk])))
    assert "•••" in page
    assert "P7" not in page
    assert reverse("undo_import", args=[applied.pk]) not in page
    assert auditor.post(reverse("undo_import", args=[applied.pk])).status_code == 404
    for change in (applied.rows.all().delete, lambda: AppliedImport.objects.update(files=[])):
        with transaction.atomic(), pytest.raises(IntegrityError, match="never edited or deleted"):
            change()
    undo(hr, applied)
    assert IdentityDocument.objects.get(clerk__clerk_no="001").number == "11010519491231002X"
    with transaction.atomic(), pytest.raises(IntegrityError, match="applied_import_stays"):
        AppliedImport.objects.update(undone_at=None, undone_by=None)
