"""Clerks' identity documents: the check of their numbers, the roster's file, and who sees them in full."""

import datetime as dt
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from payroll_exports.identity_documents import number_fault
from payroll_exports.models import FileRecord, IdentityDocument, IdentityRead
from payroll_exports.roster_export import roster_export
from portfolios.models import Clerk
from tests.cast import Cast
from tests.identity import resident_id
from tests.test_roster_import import ROSTER, load, refused, replace, write

pytestmark = pytest.mark.django_db

TODAY = dt.date(2026, 11, 22)
Kind = IdentityDocument.Kind


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    return write(tmp_path / "roster", ROSTER)


@pytest.mark.parametrize("number", ["11010519491231002X", "440524188001010014", resident_id(1), resident_id(2)])
def test_numbers_of_the_standard_are_right(number: str) -> None:
    assert number_fault(Kind.RESIDENT_ID, number, today=TODAY) == ""
    assert number_fault(Kind.TAIWAN_RESIDENCE, number, today=TODAY) == ""


def test_one_wrong_digit_is_found_wherever_it_is() -> None:
    right = "11010519491231002X"
    for place in range(18):
        for digit in "0123456789X":
            wrong = right[:place] + digit + right[place + 1 :]
            assert (number_fault(Kind.RESIDENT_ID, wrong, today=TODAY) == "") == (wrong == right), wrong


def test_two_neighbours_that_change_places_are_found() -> None:
    right = "440524188001010014"
    for place in range(17):
        wrong = right[:place] + right[place + 1] + right[place] + right[place + 2 :]
        assert (number_fault(Kind.RESIDENT_ID, wrong, today=TODAY) == "") == (wrong == right), wrong


@pytest.mark.parametrize(
    ("kind", "number", "fault"),
    [
        (Kind.RESIDENT_ID, "110105491231002", "17 digits and a last character"),
        (Kind.RESIDENT_ID, "11010519491231002x", "17 digits and a last character"),
        (Kind.RESIDENT_ID, "１10105194912310021", "17 digits and a last character"),
        (Kind.RESIDENT_ID, "110105194913310021", "no day of birth"),
        (Kind.RESIDENT_ID, "110105202611220019", "no day of birth"),
        (Kind.RESIDENT_ID, "110105194912310021", "a digit is wrong"),
        (Kind.FOREIGN_PASSPORT, "E 12345", "capital letters and digits"),
        (Kind.FOREIGN_PASSPORT, "E12", "capital letters and digits"),
        (Kind.PERMANENT_RESIDENCE, "usa123", "capital letters and digits"),
    ],
)
def test_what_is_no_number_is_told_why(kind: str, number: str, fault: str) -> None:
    assert fault in number_fault(kind, number, today=TODAY)


def test_the_rosters_file_takes_the_words_of_the_tax_office_too(roster: Path) -> None:
    load(roster)
    assert list(
        IdentityDocument.objects.order_by("clerk__clerk_no").values_list("clerk__clerk_no", "kind", "number")
    ) == [
        ("001", "resident_id", "11010519491231002X"),
        ("002", "resident_id", "440524188001010014"),
        ("003", "foreign_passport", "E0012345"),
    ]
    out = roster_export("identity_documents", format="csv").content.decode("utf-8-sig")
    assert out.splitlines()[1:3] == ["001,resident_id,11010519491231002X", "002,resident_id,440524188001010014"]


def test_errors_of_the_file_have_row_and_column(roster: Path) -> None:
    # What a spreadsheet makes of 18 digits, a digit that is wrong, and a clerk twice.
    replace(roster, "identity_documents.csv", "11010519491231002X", "1.10105E+17")
    replace(roster, "identity_documents.csv", "440524188001010014", "440524188001010000")
    replace(roster, "identity_documents.csv", "E0012345\n", "E0012345\n003,resident_id,11010519491231002X\n")
    found = [(problem.row, problem.column, problem.reason) for problem in refused(roster)]
    assert [(row, column) for row, column, _reason in found] == [
        (2, "document_no"),
        (3, "document_no"),
        (5, "clerk_no"),
    ]
    assert "scientific notation" in found[0][2]
    assert "a digit is wrong" in found[1][2]
    assert "Row 4 has the same key" in found[2][2]


def test_two_clerks_at_once_never_have_one_document_but_one_who_comes_back_has(roster: Path) -> None:
    replace(roster, "identity_documents.csv", "440524188001010014", "11010519491231002X")
    (first, second) = refused(roster)
    assert (first.row, second.row) == (2, 3)
    assert "Clerk 002, employed at the same time, has this document" in first.reason
    # 002 left at the end of May 2026; from June on the same person is 001.
    replace(roster, "clerks.csv", "001,李娜,2024-01-01,", "001,李娜,2026-06-01,")
    load(roster)
    assert IdentityDocument.objects.filter(number="11010519491231002X").count() == 2


def test_the_database_refuses_a_resident_id_of_another_length() -> None:
    clerk = Clerk.objects.create(clerk_no="1", name="x", hired_on=TODAY)
    with transaction.atomic(), pytest.raises(IntegrityError, match="resident_id_is_whole"):
        IdentityDocument.objects.create(clerk=clerk, number="110105491231002")


def test_a_number_is_masked_until_it_is_shown_and_that_is_on_record() -> None:
    cast = Cast()
    IdentityDocument.objects.create(clerk=cast.chain.li, number="11010519491231002X")
    hr = cast.client("hr")
    page = hr.get(reverse("identity_documents")).content.decode()
    assert "110***********002X" in page
    assert "19491231" not in page
    assert not IdentityRead.objects.exists()
    shown = hr.post(reverse("show_identity_document", args=["C1"]))
    assert "11010519491231002X" in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    (read,) = IdentityRead.objects.all()
    assert (read.user, read.clerk) == (cast.users["hr"], cast.chain.li)


def test_only_hr_takes_the_file_and_that_is_on_record() -> None:
    cast = Cast()
    IdentityDocument.objects.create(clerk=cast.chain.li, number="11010519491231002X")
    url = reverse("roster_export", args=["identity_documents", "csv"])
    assert cast.client("auditor").get(url).status_code == 404
    assert url not in cast.client("auditor").get(reverse("roster")).content.decode()
    assert "11010519491231002X" in cast.client("hr").get(url).content.decode("utf-8-sig")
    (record,) = FileRecord.objects.filter(name="identity_documents.csv")
    assert (record.recorded_by, record.rows) == (cast.users["hr"], 1)
