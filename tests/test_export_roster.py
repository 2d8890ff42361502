"""export_roster: what goes out comes in again as it was, in every form; phone numbers, and who took what."""

import csv
import datetime as dt
import hashlib
import re
import string
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import openpyxl
import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from payroll_exports.exports import ExportRefused
from payroll_exports.models import FileRecord
from payroll_exports.roster import import_roster
from payroll_exports.roster_export import Phones, phones_for, roster_export, roster_names
from portfolios.import_problems import ImportRefused
from portfolios.models import Binding, Clerk, Member, Store, User
from portfolios.output_files import plain_text, safe_text
from portfolios.phones import masked
from tests.test_roster_import import ROSTER, contents, load, replace, write

FORMS = [("csv", "utf-8-sig"), ("csv", "gb18030"), ("xlsx", "utf-8-sig")]


@pytest.fixture
def roster(db: None, tmp_path: Path) -> Path:
    """A roster that is imported, with names that a spreadsheet or an old encoding would break."""
    directory = write(tmp_path / "roster", ROSTER)
    replace(directory, "members.csv", "0089,,,", "0089,=1+1,+86 13900000000,")
    replace(directory, "members.csv", "0091,李四,,", "0091,''-䶮,-1,")
    load(directory)
    return directory


def export(directory: Path, *, format: str = "csv", encoding: str = "utf-8-sig") -> dict[str, bytes]:
    call_command("export_roster", out=directory, format=format, encoding=encoding, stdout=StringIO(), stderr=StringIO())
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


# --- The round trip ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "encoding"), FORMS)
def test_what_is_exported_changes_nothing_where_it_came_from(
    roster: Path, tmp_path: Path, format: str, encoding: str
) -> None:
    export(tmp_path / "out", format=format, encoding=encoding)
    before = contents()
    report = load(tmp_path / "out")
    assert len(report.files) == 13
    assert all(file.new == file.changed == 0 for file in report.files)
    # Nobody has asked for an adjustment.
    assert [file.file for file in report.files if not file.unchanged] == [f"adjustments.{format}"]
    assert contents() == before


@pytest.mark.parametrize(("format", "encoding"), FORMS)
def test_an_empty_database_exports_what_it_imported(tmp_path: Path, db: None, format: str, encoding: str) -> None:
    with transaction.atomic():
        directory = write(tmp_path / "roster", ROSTER)
        replace(directory, "members.csv", "0089,,,", "0089,=1+1,+86 13900000000,")
        load(directory)
        first = export(tmp_path / "first", format=format, encoding=encoding)
        transaction.set_rollback(True)
    assert not Member.objects.exists()
    load(tmp_path / "first")
    assert export(tmp_path / "second", format=format, encoding=encoding) == first
    assert Member.objects.get(member_no="0089").name == "=1+1"


def test_bindings_go_out_with_their_history_and_without_what_was_voided(roster: Path, tmp_path: Path) -> None:
    write(roster, {"bindings.csv": "member_no,clerk_no,valid_from,valid_to,reason\n0088,003,2026-01-10,,merge\n"})
    load(roster)
    assert Binding.objects.filter(voided_by__isnull=False).count() == 1
    out = export(tmp_path / "out")["bindings.csv"].decode("utf-8-sig")
    assert out == (
        "member_no,clerk_no,valid_from,valid_to,reason\n"
        "0088,003,2026-01-10,,merge\n"
        "0090,002,2026-01-12,2026-03-01,enrolment\n"
        "0091,001,2026-02-01,2026-04-01,reassignment\n"
    )


def test_a_member_who_was_taken_from_everybody_waits_when_the_file_comes_again(roster: Path, tmp_path: Path) -> None:
    batch = Binding.objects.get(member__member_no="0088").batch
    Binding.objects.filter(member__member_no="0088").update(voided_by=batch)
    export(tmp_path / "out")
    assert load(tmp_path / "out").bound == 0
    # Unless the file says anew who enrolled it.
    replace(tmp_path / "out", "members.csv", "2026-01-10,001", "2026-01-10,003")
    assert load(tmp_path / "out").bound == 1
    assert Binding.objects.valid().get(member__member_no="0088").clerk.clerk_no == "003"


# Names as people have them and as they should not, a character outside of GBK and one of four bytes.
NAMES = st.text(st.sampled_from("李娜䶮𠮷é=+-@',\"; aZ09*"), min_size=1, max_size=8).map(str.strip).filter(bool)
NUMBERS = st.text(st.sampled_from(string.ascii_uppercase[:4] + "0123456789-'=+@"), min_size=1, max_size=6)
PHONES = st.one_of(st.just(""), st.from_regex(r"\+?[0-9]{3,11}", fullmatch=True))
DAYS = st.dates(dt.date(1890, 1, 1), dt.date(2199, 12, 31))


def sound(number: str) -> bool:
    """No number that a spreadsheet might have damaged."""
    return not re.fullmatch(r"[0-9]+[eE][+-][0-9]+|[0-9]+\.0+", number)


@st.composite
def rosters(draw: st.DrawFn) -> dict[str, list[list[str]]]:
    def numbers(most: int) -> list[str]:
        return draw(
            st.lists(NUMBERS.filter(sound), min_size=1, max_size=most, unique_by=lambda number: number.lstrip("0"))
        )

    stores, clerks, members = numbers(3), numbers(4), numbers(5)
    files: dict[str, list[list[str]]] = {"stores": [["store_no", "name"]], "clerks": [["clerk_no", "name"]]}
    files["clerks"][0] += ["hired_on", "left_on"]
    files["stores"] += [[no, draw(NAMES)] for no in stores]
    files["clerks"] += [[no, draw(NAMES), str(draw(DAYS)), ""] for no in clerks]
    files["salaries"] = [["clerk_no", "monthly_base", "valid_from", "valid_to"]]
    for no in clerks:
        amount = draw(st.integers(0, 10**9))
        files["salaries"].append([no, f"{amount // 100}.{amount % 100:02d}", str(draw(DAYS)), ""])
    files["postings"] = [["clerk_no", "store_no", "role", "valid_from", "valid_to", "weight"]]
    for no in clerks:
        start = draw(DAYS)
        end = draw(st.one_of(st.none(), st.dates(start + dt.timedelta(days=1), dt.date(2200, 1, 1))))
        weight = draw(st.integers(0, 1000)) / 100
        files["postings"].append(
            [no, draw(st.sampled_from(stores)), "clerk", str(start), str(end or ""), f"{weight:g}"]
        )
    columns = "member_no name phone gender birth_date neighbourhood store_no enrolled_on enrolled_by closed_on"
    files["members"] = [columns.split()]
    for no in members:
        row = [no, draw(st.one_of(st.just(""), NAMES)), draw(PHONES), draw(st.sampled_from(["", "f", "m"]))]
        row += [draw(st.one_of(st.just(""), DAYS.map(str))), draw(st.one_of(st.just(""), NAMES))]
        row += [draw(st.sampled_from(stores)), str(draw(DAYS)), draw(st.sampled_from(["", *clerks])), ""]
        files["members"].append(row)
    return files


@pytest.mark.parametrize(("format", "encoding"), FORMS)
@given(files=rosters())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_roster_comes_back_as_it_was(
    db: None, format: str, encoding: str, files: dict[str, list[list[str]]]
) -> None:
    with TemporaryDirectory() as folder:
        given_files, first, second = (Path(folder) / name for name in ("given", "first", "second"))
        given_files.mkdir()
        for name, rows in files.items():
            with (given_files / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                # As any program writes it: no apostrophe before what a spreadsheet would take for a formula.
                csv.writer(file).writerows([[safe_text(cell) if cell[:1] == "'" else cell for cell in r] for r in rows])
        try:
            with transaction.atomic():
                import_roster(given_files, errors_path=Path(folder) / "errors.csv")
                names = dict(Member.objects.values_list("member_no", "name"))
                bytes_1 = export(first, format=format, encoding=encoding)
                before = contents()
                import_roster(first, errors_path=Path(folder) / "errors.csv")
                assert contents() == before
                transaction.set_rollback(True)
        except CommandError as refusal:
            if "In GB18030 the names in this file could be taken" not in str(refusal):
                raise
            return
        assert names == {row[0]: row[1] for row in files["members"][1:]}
        with transaction.atomic():
            import_roster(first, errors_path=Path(folder) / "errors.csv")
            assert dict(Member.objects.values_list("member_no", "name")) == names
            assert export(second, format=format, encoding=encoding) == bytes_1
            transaction.set_rollback(True)


@given(st.text())
@example("'=1")
@example("''+")
@example("'90s")
def test_text_made_safe_is_read_as_it_was(text: str) -> None:
    assert plain_text(safe_text(text)) == text


# --- What the files look like -----------------------------------------------------------------------------------


def test_csv_and_workbook_hold_what_hr_expects(roster: Path, tmp_path: Path) -> None:
    out = export(tmp_path / "csv")
    assert sorted(out) == sorted(f"{name}.csv" for name in roster_names())
    members = out["members.csv"]
    assert members.startswith(b"\xef\xbb\xbfmember_no,name,phone,")
    assert b"\r" not in members
    assert "0089,'=1+1,'+86 13900000000," in members.decode("utf-8-sig")
    export(tmp_path / "xlsx", format="xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "xlsx" / "members.xlsx")["members"]
    head, first, second, *_rest = sheet.iter_rows()
    row = dict(zip([cell.value for cell in head], first, strict=True))
    assert (row["member_no"].value, row["phone"].value, row["phone"].number_format) == ("0088", "13800000000", "@")
    assert row["birth_date"].value == dt.datetime(1980, 2, 29)
    assert second[1].value == "'=1+1"
    salaries = openpyxl.load_workbook(tmp_path / "xlsx" / "salaries.xlsx")["salaries"]
    assert [row[1] for row in salaries.iter_rows(min_row=2, values_only=True)] == [4200, 4300.5]


def test_the_same_data_gives_the_same_bytes(roster: Path, tmp_path: Path) -> None:
    assert export(tmp_path / "1", format="xlsx") == export(tmp_path / "2", format="xlsx")


def test_gb18030_that_reads_as_utf_8_is_refused(db: None, tmp_path: Path) -> None:
    # 模 is C4 A3 in GB18030, which is ģ in UTF-8.
    Store.objects.create(store_no="S1", name="模")
    with pytest.raises(CommandError, match="Take UTF-8 or XLSX"):
        export(tmp_path, encoding="gb18030")
    with pytest.raises(ExportRefused):
        roster_export("stores", format="csv", encoding="gb18030")
    assert roster_export("stores", format="csv").rows == 1


def test_a_place_that_cannot_be_written_to(db: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="Name another one"):
        export(tmp_path / "file")


# --- Phone numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phone", "seen"),
    [
        ("13812345678", "138****5678"),
        ("+8613812345678", "+86*******5678"),
        ("0215551234", "02******34"),
        ("5551234", "55***34"),
        ("555123", "******"),
        ("", ""),
    ],
)
def test_masks(phone: str, seen: str) -> None:
    assert masked(phone) == seen


def person(office: str) -> User:
    return User.objects.create(username=office, office=office)


def test_who_gets_which_phone_numbers(db: None) -> None:
    hr, auditor = person(User.Office.HR), person(User.Office.AUDITOR)
    assert (phones_for(hr), phones_for(auditor)) == (Phones.MASKED, Phones.LEFT_OUT)
    said = StringIO()
    call_command("phone_right", "hr", stdout=said)
    assert "whole" in said.getvalue()
    assert phones_for(User.objects.get(pk=hr.pk)) == Phones.WHOLE
    entry = LogEntry.objects.get_for_object(hr).latest("pk")
    assert entry.additional_data == {"right": "portfolios.see_phones", "given": True}
    call_command("phone_right", "hr", "--revoke", stdout=said)
    assert phones_for(User.objects.get(pk=hr.pk)) == Phones.MASKED
    assert LogEntry.objects.get_for_object(hr).latest("pk").additional_data["given"] is False
    for name in ("auditor", "nobody"):
        with pytest.raises(CommandError):
            call_command("phone_right", name)


def member_phones(directory: Path, **options: Phones) -> list[str]:
    content = roster_export("members", format="csv", **options).content
    directory.mkdir(exist_ok=True)
    (directory / "members.csv").write_bytes(content)
    return [row.get("phone", "no column") for row in csv.DictReader(StringIO(content.decode("utf-8-sig")))]


def test_masked_phones_come_back_without_a_change(roster: Path, tmp_path: Path) -> None:
    assert member_phones(tmp_path / "out", phones=Phones.MASKED) == ["138****0000", "'+86********0000", "02***55", "**"]
    before = contents()
    (file,) = load(tmp_path / "out").files
    assert (file.changed, file.unchanged) == (0, 4)
    assert contents() == before


def test_a_mask_of_another_phone_is_an_error(roster: Path, tmp_path: Path) -> None:
    member_phones(tmp_path / "out", phones=Phones.MASKED)
    replace(tmp_path / "out", "members.csv", "138****0000", "139****0000")
    replace(tmp_path / "out", "members.csv", "0091", "0099")
    with pytest.raises(ImportRefused) as caught:
        load(tmp_path / "out")
    found = [(problem.row, problem.column, problem.reason) for problem in caught.value.problems.shown]
    assert found == [(row, "phone", "The phone number is masked, and is not the one on record.") for row in (2, 5)]
    assert Member.objects.get(member_no="0088").phone == "13800000000"


def test_a_file_without_phones_cannot_wipe_them_out(roster: Path, tmp_path: Path) -> None:
    assert set(member_phones(tmp_path / "out", phones=Phones.LEFT_OUT)) == {"no column"}
    with pytest.raises(ImportRefused, match="1 error;"):
        load(tmp_path / "out")


def test_the_operators_export_is_on_record(roster: Path, tmp_path: Path) -> None:
    out = export(tmp_path / "out")
    record = FileRecord.objects.get(name="members.csv")
    assert (record.recorded_by, record.direction, record.rows, record.phones) == (None, "out", 4, "whole")
    assert record.sha256 == hashlib.sha256(out["members.csv"]).hexdigest()
    assert FileRecord.objects.count() == 13


def test_the_order_is_that_of_the_numbers_on_every_database(db: None) -> None:
    for number in ("b", "B", "a", "Ä", "李", "10", "9"):
        Clerk.objects.create(clerk_no=number, name="x", hired_on=dt.date(2026, 1, 1))
    content = roster_export("clerks", format="csv").content.decode("utf-8-sig")
    assert [line.split(",")[0] for line in content.splitlines()[1:]] == ["10", "9", "B", "a", "b", "Ä", "李"]


def test_a_workbook_is_one_that_excel_opens(roster: Path) -> None:
    for name in roster_names():
        content = roster_export(name, format="xlsx").content
        assert openpyxl.load_workbook(BytesIO(content)).sheetnames == [name]
