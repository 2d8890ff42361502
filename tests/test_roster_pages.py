"""The roster's pages: files in with a preview, errors by file, row and column, a confirmed import; files out."""

import csv
import datetime as dt
import hashlib
import json
import zipfile
from collections.abc import Sequence
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from commission.models import Attribution
from payroll_exports import roster_uploads
from payroll_exports.models import FileRecord, RosterPreviewPage, RosterUpload
from payroll_exports.roster import import_roster
from portfolios import workbooks
from portfolios.import_problems import ImportProblem, ImportRefused
from portfolios.models import Binding, Clerk, Member, Month, Store, User
from portfolios.months import open_months
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day
from tests.test_roster_import import ROSTER, contents, write

pytestmark = pytest.mark.django_db

MEMBERS = "member_no,name,phone,gender,birth_date,neighbourhood,store_no,enrolled_on,enrolled_by\n"
Files = dict[str, bytes | str]


@pytest.fixture
def hr() -> Client:
    return logged_in("hr", User.Office.HR)


def logged_in(name: str, office: str) -> Client:
    client = Client(headers={"accept-language": "en"})
    user, _new = User.objects.get_or_create(username=name, office=office)
    client.force_login(user, backend="portfolios.access.StaffBackend")
    return client


@pytest.fixture
def roster(tmp_path: Path) -> None:
    """What the tests of the command import: two stores, three clerks, four members."""
    import_roster(write(tmp_path / "given", ROSTER), errors_path=tmp_path / "errors.csv")


def upload(client: Client, files: Files) -> Any:
    """The page that follows an upload."""
    return client.post(
        reverse("roster_import"),
        {
            "files": [
                SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content)
                for name, content in files.items()
            ]
        },
        follow=True,
    )


def problems(page: Any) -> list[tuple[str, int, str, str]]:
    """File, row, column and reason of each error that an upload's page shows."""
    assert page.context["shown"]["name"] == "errors"
    return [(problem.file, problem.row, problem.column, problem.reason) for problem in page.context["lines"]]


def counts(page: Any) -> list[tuple[str, int, int, int, int]]:
    files = page.context["summary"]["files"]
    return [(file["name"], *(file[key] for key in ("new", "changed", "unchanged", "errors"))) for file in files]


def confirm(client: Client) -> Any:
    return client.post(reverse("roster_apply", args=[RosterUpload.objects.get().pk]), follow=True)


def text(page: Any) -> str:
    return str(page.content.decode())


def workbook(rows: Sequence[Any], **formats: str) -> bytes:
    """A workbook as a person makes one; `formats` has number formats by cell."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in rows:
        sheet.append(row)
    for cell, number_format in formats.items():
        sheet[cell].number_format = number_format
    file = BytesIO()
    book.save(file)
    return file.getvalue()


# --- Preview and confirmation ----------------------------------------------------------------------------------


def test_a_preview_shows_each_cell_and_changes_nothing(hr: Client, roster: None) -> None:
    before = contents()
    page = upload(
        hr,
        {
            "members.csv": MEMBERS
            + "0088,张三丰,13900000000,m,1980-02-29,东湖,S01,2026-01-10,001\n"
            + "0089,,,,,,S01,2026-01-11,\n"
            + "0095,王五,,f,,,S02,2026-02-01,003\n"
        },
    )
    assert contents() == before
    assert counts(page) == [("members.csv", 1, 1, 1, 0)]
    assert page.context["summary"]["bound"] == 1
    assert page.context["shown"]["title"] == "members.csv: changed"
    # The stored phone number is masked: whoever may see it takes it from the export.
    assert page.context["lines"] == [[2, "0088", [["name", "张三", "张三丰"], ["phone", "138****0000", "13900000000"]]]]
    assert "13800000000" not in text(page)
    url = page.redirect_chain[-1][0]
    new = hr.get(url, {"list": "members.new"}).context["lines"]
    assert new == [[4, "0095", "王五", "", "f", "", "", "S02", "2026-02-01", "003"]]
    bound = hr.get(url, {"list": "members.bound"}).context["lines"]
    assert bound == [["", "0095", "003", "2026-02-01", ""]]
    assert hr.get(url, {"list": "members.gone"}).status_code == 404


def test_what_is_confirmed_is_what_was_shown(hr: Client, roster: None) -> None:
    file = MEMBERS + "0095,王五,,f,,,S02,2026-02-01,003\n"
    upload(hr, {"members.csv": file, "stores.csv": "store_no,name\nS02,车站店\n"})
    page = confirm(hr)
    assert "Imported: 1 new rows, 1 changed ones." in text(page)
    member = Member.objects.get(member_no="0095")
    binding = Binding.objects.get(member=member)
    assert (binding.clerk.clerk_no, binding.valid_from) == ("003", day("02-01"))
    assert binding.batch.recorded_by == User.objects.get(username="hr")
    assert binding.batch.source == "roster, members.csv, stores.csv"
    assert Store.objects.get(store_no="S02").name == "车站店"
    assert not RosterUpload.objects.exists()
    assert not RosterPreviewPage.objects.exists()
    record = FileRecord.objects.get(name="members.csv")
    assert (record.direction, record.recorded_by, record.rows) == ("in", binding.batch.recorded_by, 1)
    assert record.sha256 == hashlib.sha256(file.encode()).hexdigest()


def test_a_second_click_imports_nothing_twice(hr: Client, roster: None) -> None:
    upload(hr, {"stores.csv": "store_no,name\nS03,New\n"})
    url = reverse("roster_apply", args=[RosterUpload.objects.get().pk])
    hr.post(url)
    before = contents()
    assert "These files are not here any more" in text(hr.post(url, follow=True))
    assert contents() == before
    assert FileRecord.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scenario", ["two_clicks", "two_uploads_of_one_thing"])
def test_at_once(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def two_clicks() -> None:
    upload(logged_in("hr", User.Office.HR), {"stores.csv": "store_no,name\nS03,New\n"})
    waiting = RosterUpload.objects.get()
    said = at_once(*[partial(roster_uploads.apply, waiting)] * 2)
    assert sorted(map(str, said)) == ["RosterUpload matching query does not exist.", "True"]
    assert Store.objects.filter(store_no="S03").count() == FileRecord.objects.count() == 1


def two_uploads_of_one_thing() -> None:
    """One imports; the other then sees what it would still change: nothing."""
    for name in ("hr", "hr2"):
        upload(logged_in(name, User.Office.HR), {"stores.csv": "store_no,name\nS03,New\n"})
    said = at_once(*[partial(roster_uploads.apply, waiting) for waiting in RosterUpload.objects.all()])
    assert sorted(said) == [False, True]
    (left,) = RosterUpload.objects.get().summary["files"]
    assert (left["new"], left["unchanged"]) == (0, 1)


def test_files_that_change_nothing_have_nothing_to_confirm(hr: Client, roster: None) -> None:
    page = upload(hr, {**ROSTER})
    assert all((file["new"], file["changed"], file["errors"]) == (0, 0, 0) for file in page.context["summary"]["files"])
    assert "These files change nothing" in text(page)
    assert "Import exactly this" not in text(page)


def test_data_that_changed_meanwhile_is_previewed_again(hr: Client, roster: None) -> None:
    upload(hr, {"stores.csv": "store_no,name\nS02,车站店\n"})
    Store.objects.filter(store_no="S02").update(name="Airport")
    before = contents()
    page = confirm(hr)
    assert contents() == before
    assert "The data has changed since you looked" in text(page)
    assert page.context["lines"] == [[2, "S02", [["name", "Airport", "车站店"]]]]
    confirm(hr)
    assert Store.objects.get(store_no="S02").name == "车站店"


def test_an_error_that_came_meanwhile_imports_nothing(hr: Client, roster: None) -> None:
    upload(hr, {"members.csv": MEMBERS + "0095,,,,,,S02,2026-02-01,\n"})
    store = Store.objects.get(store_no="S02")
    Member.objects.create(member_no="00095", store=store, enrolled_on=day("02-01"), counted_from=day("02-01"))
    page = confirm(hr)
    assert problems(page) == [("members.csv", 2, "member_no", "The number has lost its leading zeros: 00095 is known.")]
    assert not Member.objects.filter(member_no="0095").exists()


def test_corrections_are_part_of_what_is_confirmed(hr: Client) -> None:
    chain = SmallChain()
    member = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), member=member)
    bindings = "member_no,clerk_no,valid_from,valid_to,reason\nM1,C2,2026-01-01,,reassignment\n"
    page = upload(hr, {"bindings.csv": bindings})
    assert page.context["summary"]["corrections"] == 1
    assert page.context["lines"] == [
        [2, "M1 · 2026-01-01", [["clerk_no", "C1", "C2"], ["reason", "enrolment", "reassignment"]]]
    ]
    assert Attribution.objects.count() == 1
    # Another sale that the import would correct came in between.
    chain.sale("01-06", (chain.zhang, 10_000), member=member)
    assert confirm(hr).context["summary"]["corrections"] == 2
    confirm(hr)
    # 200.00 and 100.00 at 3%, each taken back from 李 and booked for 王 (70%).
    owners = Attribution.objects.filter(reason="CORRECTION").order_by("pk")
    amounts = list(owners.values_list("owner__clerk_no", "owner_commission_amount"))
    assert sorted(amounts) == [("C1", -420), ("C1", -210), ("C2", 210), ("C2", 420)]


def test_what_a_closed_month_makes_of_an_enrolment_is_said(hr: Client, roster: None) -> None:
    open_months(202601, 202602)
    Month.objects.filter(pk=202601).update(closed_at=timezone.now())
    page = upload(hr, {"members.csv": MEMBERS + "0095,,,,,,S01,2026-01-20,001\n"})
    assert (
        "1 new cards were enrolled in a closed month: they count, and are bound, from 2026-02-01."
        in page.context["summary"]["notices"]
    )
    assert "from 2026-02-01" in text(page)


def test_many_rows_are_shown_in_pages(hr: Client, roster: None) -> None:
    rows = [f"N{number:04d},,,,,,S01,2026-02-01," for number in range(120)]
    page = upload(hr, {"members.csv": MEMBERS + "\n".join(rows) + "\n"})
    url = page.redirect_chain[-1][0]
    assert len(page.context["lines"]) == 50
    last = hr.get(url, {"list": "members.new", "page": "3"}).context
    assert [line[1] for line in last["lines"]] == [f"N{number:04d}" for number in range(100, 120)]
    assert last["page"].paginator.num_pages == 3
    with connection.execute_wrapper(no_big_reads):
        hr.get(url, {"page": 2})


def no_big_reads(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Fails where a page of the preview reads the files, or more than one page of lines."""
    assert "rosteruploadfile" not in sql
    assert "rosterpreviewpage" not in sql or "COUNT" in sql or "LIMIT 1" in sql
    return execute(sql, params, many, context)


def test_discarded_files_are_forgotten(hr: Client, roster: None) -> None:
    upload(hr, {"stores.csv": "store_no,name\nS03,New\n"})
    page = hr.post(reverse("roster_discard", args=[RosterUpload.objects.get().pk]), follow=True)
    assert "nothing was changed" in text(page)
    assert not RosterUpload.objects.exists()


def test_old_files_are_forgotten(hr: Client, roster: None) -> None:
    with time_machine.travel("2026-05-01 10:00", tick=False):
        first = upload(hr, {"stores.csv": "store_no,name\nS03,New\n"}).redirect_chain[-1][0]
        assert "stores.csv" in text(hr.get(reverse("roster")))
    with time_machine.travel("2026-05-02 10:01", tick=False):
        client = logged_in("hr", User.Office.HR)
        assert "not here any more" in text(client.get(first, follow=True))
        upload(client, {"stores.csv": "store_no,name\nS04,New\n"})
        assert RosterUpload.objects.count() == 1


# --- Errors -----------------------------------------------------------------------------------------------------


def test_every_error_with_file_row_and_column(hr: Client, roster: None) -> None:
    before = contents()
    page = upload(
        hr,
        {
            "members.csv": MEMBERS + "0088,,1.38E+10,x,1.2.1980,,S09,2026-01-10,001\n",
            "clerks.csv": "clerk_no,name,hired_on,left_on\n1,李娜,2024-01-01,\n004,,2024-01-01,2023-01-01\n",
        },
    )
    assert counts(page) == [("clerks.csv", 1, 0, 0, 2), ("members.csv", 0, 0, 0, 4)]
    found = problems(page)
    assert [problem[:3] for problem in found] == [
        ("clerks.csv", 2, "clerk_no"),
        ("clerks.csv", 3, "name"),
        *(("members.csv", 2, column) for column in ("phone", "gender", "birth_date", "store_no")),
    ]
    assert found[0][3] == "The number has lost its leading zeros: 001 is known."
    assert found[2][3] == "A spreadsheet turned the number into scientific notation: its digits are lost."
    assert "Import exactly this" not in text(page)
    assert contents() == before
    # Whoever sends the confirmation all the same gets the same errors.
    confirm(hr)
    assert contents() == before


def test_all_errors_as_a_file(hr: Client, roster: None) -> None:
    rows = [f"N{number:04d},,,,,,=S,2026-02-01," for number in range(120)]
    page = upload(hr, {"members.csv": MEMBERS + "\n".join(rows) + "\n"})
    assert len(problems(page)) == 50
    response = hr.get(reverse("roster_errors", args=[RosterUpload.objects.get().pk]))
    listed = list(csv.reader(StringIO(response.content.decode("utf-8-sig"))))
    assert listed[0] == list(ImportProblem._fields)
    assert [line[1] for line in listed[1:]] == [str(row) for row in range(2, 122)]
    assert listed[1][3] == "'=S"


def test_a_file_is_known_by_its_columns_and_told_by_its_name(hr: Client, roster: None) -> None:
    page = upload(hr, {"会员名单 (2).csv": (MEMBERS + "0088,䶮,,,,,S09,2026-01-10,001\n").encode("gb18030")})
    assert problems(page) == [("会员名单 (2).csv", 2, "store_no", "No store has this number.")]


def test_gb18030_with_rare_characters(hr: Client, roster: None) -> None:
    name = "䶮𠮷㛃"
    upload(hr, {"members.csv": (MEMBERS + f"0088,{name},,m,,,S01,2026-01-10,001\n").encode("gb18030")})
    confirm(hr)
    assert Member.objects.get(member_no="0088").name == name


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "No file was chosen"),
        ({"a.csv": "x,y\n1,2\n"}, "a.csv is no roster file by its name or its columns (x, y)"),
        ({"a.csv": b"\0"}, "a.csv is no roster file by its name or its columns (none)"),
        ({"stores.csv": "store_no,name\n", "Läden.csv": "store_no,name\n"}, "are both stores"),
        ({f"{number}.csv": "store_no,name\n" for number in range(21)}, "These are 21 files; at most 20"),
        ({"old.xls": b"\xd0\xcf\x11\xe0" + bytes(600)}, "of Excel's old form (.xls), or has a password"),
    ],
)
def test_what_is_no_roster_is_not_kept(hr: Client, files: Files, message: str) -> None:
    page = upload(hr, files)
    assert message in text(page).replace("&#x27;", "'")
    assert not RosterUpload.objects.exists()


def test_files_that_are_too_large(hr: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_uploads, "MAX_BYTES", 1_000_000)
    page = upload(hr, {"stores.csv": b"x" * 1_250_000})
    assert "The files have 1.2 MB together, and at most 1 MB go through a page." in text(page)
    assert not RosterUpload.objects.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"store_no,name\nS01,\xff\xff\n", "The file is neither UTF-8 nor GB18030 text."),
        ("store_no,name\nS01,a\ufffdb\n", "The file holds the replacement character"),
        ("store_no,name\nS01,a,b\n", "The row has 3 cells, the header has 2."),
        ("store_no\nS01\n", "The column is missing."),
        (b"PK\x03\x04 no workbook", "The workbook cannot be read."),
    ],
)
def test_a_file_that_cannot_be_read(hr: Client, roster: None, content: bytes | str, reason: str) -> None:
    before = contents()
    (problem,) = problems(upload(hr, {"stores.csv": content}))
    assert problem[0] == "stores.csv"
    assert problem[3].startswith(reason)
    assert contents() == before


# --- Workbooks --------------------------------------------------------------------------------------------------


def test_a_workbook_is_read_as_it_shows(hr: Client, roster: None) -> None:
    heads = [*MEMBERS.strip().split(","), None]
    born, enrolled = dt.date(1980, 2, 29), dt.datetime(2026, 2, 1)
    rows = [heads, ["0095", "王五", "13700000000", "f", born, 18, "S02", enrolled, None, None], [None] * 10]
    page = upload(hr, {"名单.xlsx": workbook(rows, J5="0%")})
    assert counts(page) == [("名单.xlsx", 1, 0, 0, 0)]
    confirm(hr)
    member = Member.objects.get(member_no="0095")
    assert (member.birth_date, member.enrolled_on, member.neighbourhood) == (born, enrolled.date(), "18")


def test_amounts_and_ratios_of_a_workbook(hr: Client, roster: None) -> None:
    salaries = [["clerk_no", "monthly_base", "valid_from", "valid_to"], ["003", 4300.1, dt.date(2026, 1, 1), None]]
    rates = [["plan_no", "category", "rate"], ["2026-A", "otc", 4], ["2026-A", "rx", "excluded"]]
    upload(hr, {"salaries.xlsx": workbook(salaries), "plan_rates.xlsx": workbook(rates)})
    confirm(hr)
    assert Clerk.objects.get(clerk_no="003").salaries.get().monthly_base_amount == 430_010
    assert RosterUpload.objects.count() == 0


def test_what_a_spreadsheet_has_damaged_is_an_error(hr: Client, roster: None) -> None:
    rows = [
        MEMBERS.strip().split(","),
        ["0088", "张三", 13_800_000_000, "m", 29_280, "东湖", "S01", "2026-01-10", 1],
        [89, dt.date(2026, 3, 5), 1.2e10, None, dt.datetime(1980, 1, 1, 12, 30), None, "S01", "=DATE(2026,1,11)", None],
        ["0090", "#N/A", "1.2E+10", None, None, None, "S02", "2026-01-12", "002.0"],
    ]
    found = problems(upload(hr, {"members.xlsx": workbook(rows)}))
    amount = "The cell holds an amount and no text: leading zeros and digits after the fifteenth are lost."
    no_date = "This is not a date of the calendar as the file must write it."
    assert found == [
        ("members.xlsx", 2, "phone", amount),
        ("members.xlsx", 2, "birth_date", no_date),
        ("members.xlsx", 2, "enrolled_by", amount),
        ("members.xlsx", 3, "member_no", amount),
        ("members.xlsx", 3, "name", "A spreadsheet turned the cell into a date."),
        ("members.xlsx", 3, "phone", amount),
        ("members.xlsx", 3, "birth_date", no_date),
        ("members.xlsx", 3, "enrolled_on", "The cell holds a formula, whose result may be out of date."),
        ("members.xlsx", 4, "name", "The cell holds an error of the spreadsheet (such as #N/A)."),
        (
            "members.xlsx",
            4,
            "phone",
            "A spreadsheet turned the number into scientific notation: its digits are lost.",
        ),
        ("members.xlsx", 4, "enrolled_by", "A spreadsheet turned the number into an amount (.0)."),
    ]


def test_a_percentage_of_a_spreadsheet_is_an_error(hr: Client, roster: None) -> None:
    heads = ["plan_no", "store_no", "valid_from", "valid_to", "owner_share", "house_share", "walk_in_share"]
    row = ["2027-A", None, "2027-01-01", None, 0.7, 5, 1]
    content = workbook([heads, row], E2="0%", G2='0.00" %"%')
    found = problems(upload(hr, {"plans.xlsx": content}))
    reason = "The cell is formatted as a percentage, of which a spreadsheet keeps the hundredth part."
    columns = [problem[2] for problem in found if problem[3] == reason]
    assert columns == ["owner_share", "walk_in_share"]


@pytest.mark.parametrize(("column", "cell"), [("A", "A300001"), ("ZZ", "ZZ3")])
def test_a_cell_far_off_the_table(hr: Client, roster: None, column: str, cell: str) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["store_no", "name"])
    sheet[cell] = "x"
    file = BytesIO()
    book.save(file)
    (problem,) = problems(upload(hr, {"stores.xlsx": file.getvalue()}))
    assert problem[3] == f"Cell {cell} is not empty, and a file has at most 300000 rows and 50 columns."


def test_a_workbook_with_two_sheets(hr: Client, roster: None) -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].append(["store_no", "name"])
    book.create_sheet("notes").append(["to do"])
    file = BytesIO()
    book.save(file)
    (problem,) = problems(upload(hr, {"stores.xlsx": file.getvalue()}))
    assert problem[3] == "The workbook has more than one sheet with content: Sheet, notes."


def test_a_workbook_that_unpacks_to_too_much(hr: Client, roster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "MAX_UNPACKED_BYTES", 1_000_000)
    file = BytesIO(workbook([["store_no", "name"]]))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet9.xml", " " * 1_000_000)
    assert len(file.getvalue()) < 20_000
    (problem,) = problems(upload(hr, {"stores.xlsx": file.getvalue()}))
    assert problem[3] == "The workbook is too large."


def test_the_command_reads_workbooks_too(roster: None, tmp_path: Path) -> None:
    directory = tmp_path / "books"
    directory.mkdir()
    (directory / "stores.xlsx").write_bytes(workbook([["store_no", "name"], ["S02", "车站店"]]))
    call_command("import_roster", str(directory), stdout=StringIO())
    assert Store.objects.get(store_no="S02").name == "车站店"
    (directory / "clerks.xlsx").write_bytes(workbook([["clerk_no", "name", "hired_on", "left_on"], [1, "李", "", ""]]))
    with pytest.raises(ImportRefused) as caught:
        import_roster(directory, errors_path=tmp_path / "errors.csv")
    assert str(caught.value.problems.shown[0]).startswith("clerks.xlsx, row 2, column clerk_no [1]: The cell holds an")


# --- Out, and who may -------------------------------------------------------------------------------------------


def test_files_out_and_who_took_them(hr: Client, roster: None) -> None:
    starts = {"members.csv": b"\xef\xbb\xbfmember_no,", "clerks.xlsx": b"PK", "bands.csv": b"\xef\xbb\xbfplan_no,"}
    for name, start in starts.items():
        response = hr.get(f"/roster/files/{name}")
        assert response.content.startswith(start)
        assert response["Content-Disposition"] == f'attachment; filename="{name}"'
        assert response["Cache-Control"] == "private, no-store"
        record = FileRecord.objects.latest("pk")
        assert (record.name, record.recorded_by.username, record.direction) == (name, "hr", "out")  # type: ignore[union-attr]
        assert record.sha256 == hashlib.sha256(response.content).hexdigest()
    assert hr.get("/roster/files/clerks.csv?encoding=gb18030").content.decode("gb18030").splitlines()[3][:5] == "003,䶮"
    for wrong in ("tickets.csv", "members.json", "members.csv?encoding=utf-16"):
        assert hr.get(f"/roster/files/{wrong}").status_code == 404
    assert "members.csv" in text(hr.get(reverse("roster")))


def test_phone_numbers_by_right(hr: Client, roster: None) -> None:
    def phones(client: Client) -> str:
        content = client.get("/roster/files/members.csv").content.decode("utf-8-sig")
        rows = list(csv.DictReader(StringIO(content)))
        return str(rows[0].get("phone", "no column"))

    assert phones(hr) == "138****0000"
    assert FileRecord.objects.latest("pk").phones == "masked"
    call_command("phone_right", "hr", stdout=StringIO())
    assert phones(hr) == "13800000000"
    assert FileRecord.objects.latest("pk").phones == "whole"
    assert phones(logged_in("auditor", User.Office.AUDITOR)) == "no column"
    assert FileRecord.objects.latest("pk").phones == "left_out"


def test_a_masked_export_comes_back_unchanged(hr: Client, roster: None) -> None:
    page = upload(hr, {"members.xlsx": hr.get("/roster/files/members.xlsx").content})
    assert counts(page) == [("members.xlsx", 0, 0, 4, 0)]


def test_an_upload_is_its_owners_alone(hr: Client, roster: None) -> None:
    upload(hr, {"Filialen.csv": "store_no,name\nS03,New\n"})
    pk = RosterUpload.objects.get().pk
    other = logged_in("hr2", User.Office.HR)
    hidden = [
        other.get(reverse("roster_preview", args=[pk]), follow=True),
        other.post(reverse("roster_apply", args=[pk]), follow=True),
        other.post(reverse("roster_discard", args=[pk]), follow=True),
        other.get(reverse("roster_errors", args=[pk]), follow=True),
    ]
    assert all("not here any more" in text(page) for page in hidden)
    assert "Filialen" in text(hr.get(reverse("roster")))
    assert "Filialen" not in text(other.get(reverse("roster")))
    assert RosterUpload.objects.filter(pk=pk).exists()
    assert not Store.objects.filter(store_no="S03").exists()


def test_an_auditor_reads_and_brings_nothing_in(roster: None) -> None:
    auditor = logged_in("auditor", User.Office.AUDITOR)
    page = text(auditor.get(reverse("roster")))
    assert "Take out" in page
    assert "Bring in" not in page
    assert upload(auditor, {"stores.csv": "store_no,name\nS03,New\n"}).status_code == 404
    assert not RosterUpload.objects.exists()


def test_lines_are_kept_as_text_that_a_page_escapes(hr: Client, roster: None) -> None:
    page = upload(hr, {"stores.csv": "store_no,name\nS03,<b>x</b>\n"})
    assert "<b>x</b>" not in text(page)
    assert json.loads(RosterPreviewPage.objects.get().lines) == [[2, "S03", "<b>x</b>"]]
