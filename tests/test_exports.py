"""Files for HR: read back and compared with the ledger to the fen; safe in a spreadsheet; whole or not at all."""

import csv
import hashlib
import json
import os
import re
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.core.management import CommandError, call_command
from django.utils.translation import override
from hypothesis import given
from hypothesis import strategies as st

from commission.models import Attribution, Booking
from payroll_exports.line_codes import LineCode
from payroll_exports.models import EarningLine, FileRecord, Payslip, Salary
from payroll_exports.pay_run import close_month
from portfolios.models import Clerk, Month, Store
from portfolios.output_files import OutputFileError, output_text, safe_text
from tests.small_chain import SmallChain, day

PAYROLL = ["month", "clerk_no", "clerk_name", "store_no", "line_code", "line_name", "quantity", "amount"]
ATTRIBUTIONS = (
    "store_no business_date ticket_no sequence posted_month kind reason member_no owner_no server_no plan_no "
    "commissionable_amount excluded_amount owner_credit server_credit house_credit commission owner_commission "
    "server_commission house_commission"
).split()


@pytest.fixture
def chain(db: None) -> SmallChain:
    return SmallChain()


def close(month: Month) -> None:
    close_month(month, approved_by="test")


def export(command: str, *arguments: str, out: Path) -> str:
    said = StringIO()
    call_command(command, *arguments, "--out", str(out), stderr=said)
    return said.getvalue()


def read_csv(path: Path, encoding: str = "utf-8") -> list[dict[str, str]]:
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file))


def values_of(sheet: Any) -> list[Any]:
    return list(sheet.iter_rows(values_only=True))


def fen(text: str) -> int:
    return int(Decimal(text) * 100)


# --- Pay ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def paid_chain(chain: SmallChain) -> SmallChain:
    """January closed; in February everything is taken back, and a base salary paid."""
    own = chain.member("M1", chain.li)
    Salary.objects.create(clerk=chain.li, monthly_base_amount=512_345, valid_from=day("02-01"))
    (january,) = chain.sale("01-05", (chain.zhang, 33_333), member=own)
    close(chain.month(202601))
    chain.sale("02-05", (chain.zhang, -33_333), member=own, returns=january)
    chain.sale("02-06", (chain.zhao, 33), member=own)
    close(chain.month(202602))
    return chain


def ledger() -> list[tuple[str, str, int, int]]:
    lines = EarningLine.objects.filter(month=202602).order_by("payslip__clerk__clerk_no", "pk")
    return list(lines.values_list("payslip__clerk__clerk_no", "line_code", "quantity", "amount"))


def test_pay_as_csv_is_the_ledger_to_the_fen(paid_chain: SmallChain, tmp_path: Path) -> None:
    path = tmp_path / "pay.csv"
    said = export("export_payroll", "2026-02", "--format", "csv", out=path)

    assert path.read_bytes().startswith(b"\xef\xbb\xbfmonth,clerk_no,")
    rows = read_csv(path, "utf-8-sig")
    assert list(rows[0]) == PAYROLL
    assert [(row["clerk_no"], row["line_code"], int(row["quantity"]), fen(row["amount"])) for row in rows] == ledger()
    # 33,333 at 3% is 1000, taken back as 700 and 300; 33 at 3% is 1, and it is the owner's.
    assert [(row["clerk_no"], row["line_code"], row["quantity"], row["amount"]) for row in rows] == [
        ("C1", "BASE", "28", "5123.45"),
        ("C1", "OWN_ABSENT", "1", "0.01"),
        ("C1", "CLAWBACK", "1", "-7.00"),
        ("C1", "CARRIED_OUT", "0", "6.99"),
        ("C3", "CLAWBACK", "1", "-3.00"),
        ("C3", "CARRIED_OUT", "0", "3.00"),
        ("C4", "COVERED", "1", "0.00"),
    ]
    assert {(row["month"], row["clerk_no"], row["clerk_name"], row["store_no"]) for row in rows} == {
        ("2026-02", "C1", "店员C1", "S1"),
        ("2026-02", "C3", "店员C3", "S1"),
        ("2026-02", "C4", "店员C4", "S2"),
    }
    assert "pay.csv: lines 7, clerks 3, sum 5123.45" in said
    paid = dict(Payslip.objects.filter(month=202602).values_list("clerk__clerk_no", "paid_amount"))
    assert paid == {"C1": 512_345, "C2": 0, "C3": 0, "C4": 0}


def test_pay_as_gb18030(paid_chain: SmallChain, tmp_path: Path) -> None:
    Clerk.objects.filter(pk=paid_chain.li.pk).update(name="䶮")
    paid_chain.sale("03-06", (paid_chain.li, 1_000))
    close(paid_chain.month(202603))
    path = tmp_path / "pay.csv"
    export("export_payroll", "2026-03", "--format", "csv", "--encoding", "gb18030", out=path)
    assert path.read_bytes().startswith(b"month,")
    assert read_csv(path, "gb18030")[0]["clerk_name"] == "䶮"


def test_pay_as_xlsx_holds_numbers_and_texts(paid_chain: SmallChain, tmp_path: Path) -> None:
    Clerk.objects.filter(pk=paid_chain.li.pk).update(clerk_no="0001")
    paid_chain.sale("03-06", (paid_chain.li, 7))
    close(paid_chain.month(202603))
    path = tmp_path / "pay.xlsx"
    export("export_payroll", "2026-03", "--format", "xlsx", out=path)

    sheet = openpyxl.load_workbook(path)["2026-03"]
    head, *rows = values_of(sheet)
    assert list(head) == PAYROLL
    assert sheet.freeze_panes == "A2"
    assert rows[0][:2] == ("2026-03", "0001")
    assert {row[4] for row in rows} == {"BASE", "WALK_IN", "CARRIED_IN", "CARRIED_OUT"}
    assert all(isinstance(row[6], int) and isinstance(row[7], int | float) for row in rows)
    written = [(row[1], row[4], row[6], round(row[7] * 100)) for row in rows]
    lines = EarningLine.objects.filter(month=202603).order_by("payslip__clerk__clerk_no", "pk")
    assert written == list(lines.values_list("payslip__clerk__clerk_no", "line_code", "quantity", "amount"))
    assert any(amount < 0 for *_others, amount in written)
    assert {cell.number_format for cell in sheet["H"][1:]} == {"#,##0.00"}


def test_the_same_month_gives_the_same_bytes(paid_chain: SmallChain, tmp_path: Path) -> None:
    for format in ("csv", "xlsx", "json"):
        first, second = tmp_path / f"1.{format}", tmp_path / f"2.{format}"
        for path in (first, second):
            export("export_payroll", "2026-02", "--format", format, out=path)
        assert first.read_bytes() == second.read_bytes()


def test_pay_as_json_has_exact_texts_for_amounts(paid_chain: SmallChain, tmp_path: Path) -> None:
    path = tmp_path / "pay.json"
    export("export_payroll", "2026-02", "--format", "json", out=path)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert list(rows[0]) == PAYROLL
    assert [(row["clerk_no"], row["line_code"], row["quantity"], fen(row["amount"])) for row in rows] == ledger()
    assert rows[2]["amount"] == "-7.00"


def test_pay_as_json_keeps_to_its_schema(paid_chain: SmallChain, tmp_path: Path) -> None:
    path = tmp_path / "pay.json"
    export("export_payroll", "2026-02", "--format", "json", out=path)
    items = json.loads(Path("payroll_exports/payroll.schema.json").read_text())["items"]
    assert items["required"] == list(items["properties"]) == PAYROLL
    assert items["properties"]["line_code"]["enum"] == LineCode.values
    for row in json.loads(path.read_text(encoding="utf-8")):
        assert row.keys() == items["properties"].keys()
        assert row["line_code"] in LineCode.values
        assert type(row["quantity"]) is int
        for name in ("month", "amount"):
            assert re.search(items["properties"][name]["pattern"], row[name])


def test_totals_have_a_sheet_of_their_own_and_the_file_is_on_record(paid_chain: SmallChain, tmp_path: Path) -> None:
    path = tmp_path / "pay.xlsx"
    export("export_payroll", "2026-02", "--format", "xlsx", out=path)
    _head, *rows = values_of(openpyxl.load_workbook(path)["totals"])
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("BASE", 1, 5123.45),
        ("OWN_ABSENT", 1, 0.01),
        ("COVERED", 1, 0),
        ("CLAWBACK", 2, -10),
        ("CARRIED_OUT", 2, 9.99),
        ("", 7, 5123.45),
    ]
    kept = FileRecord.objects.get()
    assert (kept.name, kept.filter, kept.rows, kept.recorded_by) == ("2026-02-payroll.xlsx", "2026-02", 7, None)
    assert kept.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_names_are_in_the_readers_language(paid_chain: SmallChain, tmp_path: Path) -> None:
    names = {}
    for language in ("en", "zh-hans"):
        path = tmp_path / f"{language}.csv"
        with override(language):
            export("export_payroll", "2026-02", "--format", "csv", out=path)
        names[language] = {row["line_code"]: row["line_name"] for row in read_csv(path, "utf-8-sig")}
    assert names["en"]["OWN_ABSENT"] == "Own members, served by another"
    assert names["en"].keys() == names["zh-hans"].keys()


def test_a_name_that_would_be_a_formula_is_shown_as_it_is(chain: SmallChain, tmp_path: Path) -> None:
    Clerk.objects.filter(pk=chain.li.pk).update(name="=1+1", clerk_no="-7")
    Store.objects.filter(pk=chain.first.pk).update(store_no="@S")
    chain.sale("01-05", (chain.li, 10_000), ticket_no="+86")
    close(chain.month(202601))
    export("export_payroll", "2026-01", "--format", "csv", out=tmp_path / "pay.csv")
    export("export_payroll", "2026-01", "--format", "xlsx", out=tmp_path / "pay.xlsx")
    export("export_payroll", "2026-01", "--format", "json", out=tmp_path / "pay.json")
    export("export_attributions", "2026-01", out=tmp_path / "rows.csv")

    (pay,) = read_csv(tmp_path / "pay.csv", "utf-8-sig")
    assert (pay["clerk_no"], pay["clerk_name"], pay["store_no"]) == ("'-7", "'=1+1", "'@S")
    _head, cells = values_of(openpyxl.load_workbook(tmp_path / "pay.xlsx")["2026-01"])
    assert cells[1:4] == ("'-7", "'=1+1", "'@S")
    assert json.loads((tmp_path / "pay.json").read_text())[0]["clerk_name"] == "=1+1"
    (row,) = read_csv(tmp_path / "rows.csv")
    assert (row["store_no"], row["ticket_no"], row["server_no"]) == ("'@S", "'+86", "'-7")


@given(st.text())
def test_no_text_starts_a_formula(text: str) -> None:
    safe = safe_text(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert safe in (text, f"'{text}")


def test_an_open_month_has_no_pay_to_export(chain: SmallChain, tmp_path: Path) -> None:
    path = tmp_path / "pay.csv"
    with pytest.raises(CommandError, match=r"2026-01 is open.*close_month 2026-01"):
        export("export_payroll", "2026-01", "--format", "csv", out=path)
    assert list(tmp_path.iterdir()) == []


# --- Attributions ------------------------------------------------------------------------------------------------


def test_attributions_are_the_ledger_to_the_fen(chain: SmallChain, tmp_path: Path) -> None:
    own, free = chain.member("M1", chain.li), chain.member("M2", None)
    (split,) = chain.sale("01-05", (chain.zhang, 333), member=own, ticket_no="B")
    chain.sale("01-05", (chain.li, 20_000), (chain.zhang, 100, chain.rx), member=own, ticket_no="A")
    chain.sale("01-04", (None, 20_000), member=free, ticket_no="C")
    chain.sale("01-20", (chain.zhang, -33), member=own, returns=split, ticket_no="D", store=chain.second)
    chain.sale("01-21", (chain.wang, 5_050), ticket_no="E")
    path = tmp_path / "rows.csv"
    said = export("export_attributions", "2026-01", out=path)

    assert path.read_bytes().startswith(b"store_no,business_date,")
    rows = read_csv(path)
    assert list(rows[0]) == ATTRIBUTIONS
    assert [tuple(row.values()) for row in rows] == [
        tuple(line.split(","))
        for line in (
            "S1,2026-01-04,C,1,2026-01,UNOWNED,SALE,M2,,,2026-A,200.00,0.00,0.00,0.00,200.00,6.00,0.00,0.00,6.00",
            "S1,2026-01-05,A,1,2026-01,OWN_SERVED,SALE,M1,C1,C1,2026-A,200.00,0.00,200.00,0.00,0.00,6.00,6.00,0.00,0.00",
            "S1,2026-01-05,A,2,2026-01,SPLIT,SALE,M1,C1,C3,2026-A,0.00,1.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00",
            "S1,2026-01-05,B,1,2026-01,SPLIT,SALE,M1,C1,C3,2026-A,3.33,0.00,2.33,1.00,0.00,0.10,0.07,0.03,0.00",
            "S1,2026-01-21,E,1,2026-01,WALK_IN,SALE,,,C2,2026-A,50.50,0.00,0.00,50.50,0.00,1.52,0.00,1.52,0.00",
            "S2,2026-01-20,D,1,2026-01,SPLIT,RETURN,M1,C1,C3,2026-A,-0.33,0.00,-0.23,-0.10,0.00,-0.01,-0.01,0.00,0.00",
        )
    ]
    totals = {name: sum(fen(row[name]) for row in rows) for name in ATTRIBUTIONS[11:]}
    for row in Attribution.objects.all():
        for name in totals:
            totals[name] -= getattr(row, name if name.endswith("_amount") else f"{name}_amount")
    assert set(totals.values()) == {0}
    assert "2026-01: 6 attributions written" in said
    assert "The month is open" in said
    close(chain.month(202601))
    assert "is open" not in export("export_attributions", "2026-01", out=path)


def test_a_tickets_rows_are_counted_over_all_months(chain: SmallChain, tmp_path: Path) -> None:
    own = chain.member("M1", chain.li)
    chain.sale("01-05", (chain.zhang, 20_000), (chain.wang, 10_000), member=own, ticket_no="A")
    chain.sale("01-06", (chain.zhang, 20_000), member=own, ticket_no="B")
    close(chain.month(202601))
    chain.sale("02-01", (chain.zhang, 20_000), ticket_no="A")
    february, booking = chain.month(202602), Booking.objects.create(source="correction")
    # The second part first, by id: what counts within a booking is the part's number.
    for row in Attribution.objects.filter(month=202601, part__sale__ticket_no="A").order_by("-part__number"):
        names = [field.attname for field in Attribution._meta.concrete_fields if field.attname != "id"]
        values = {name: getattr(row, name) for name in names}
        reversal = {name: -values[name] for name in names if name.endswith("_amount")}
        common = {"month_id": february.pk, "booking_id": booking.pk, "reason": "CORRECTION", "corrects_id": row.pk}
        Attribution.objects.create(**(values | common | reversal | {"reverses": True}))
        Attribution.objects.create(**(values | common))

    export("export_attributions", "2026-01", out=tmp_path / "1.csv")
    export("export_attributions", "2026-02", out=tmp_path / "2.csv")

    def numbered(name: str) -> list[tuple[str, ...]]:
        columns = ("business_date", "ticket_no", "sequence", "posted_month", "server_no", "commission")
        return [tuple(row[column] for column in columns) for row in read_csv(tmp_path / name)]

    assert numbered("1.csv") == [
        ("2026-01-05", "A", "1", "2026-01", "C3", "6.00"),
        ("2026-01-05", "A", "2", "2026-01", "C2", "3.00"),
        ("2026-01-06", "B", "1", "2026-01", "C3", "6.00"),
    ]
    assert numbered("2.csv") == [
        ("2026-01-05", "A", "3", "2026-02", "C3", "-6.00"),
        ("2026-01-05", "A", "4", "2026-02", "C3", "6.00"),
        ("2026-01-05", "A", "5", "2026-02", "C2", "-3.00"),
        ("2026-01-05", "A", "6", "2026-02", "C2", "3.00"),
        ("2026-02-01", "A", "1", "2026-02", "C3", "6.00"),
    ]


def test_a_month_without_rows_is_a_header(chain: SmallChain, tmp_path: Path) -> None:
    export("export_attributions", "2026-01", out=tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == ",".join(ATTRIBUTIONS) + "\n"


# --- Whole or not at all -----------------------------------------------------------------------------------------


def test_standard_output_holds_the_file_alone(chain: SmallChain, capfdbinary: Any) -> None:
    chain.sale("01-05", (chain.li, 10_000))
    close(chain.month(202601))
    call_command("export_payroll", "2026-01", "--format", "csv", "--out", "-")
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"\xef\xbb\xbfmonth,clerk_no")
    assert out.count(b"\n") == 2
    assert b"lines 1, clerks 1, sum 3.00" in err


def test_a_full_disk_is_an_error_and_leaves_the_device_alone(chain: SmallChain) -> None:
    chain.sale("01-05", (chain.li, 10_000))
    close(chain.month(202601))
    for arguments in (
        ["export_payroll", "2026-01", "--format", "csv"],
        ["export_payroll", "2026-01", "--format", "xlsx"],
        ["export_payroll", "2026-01", "--format", "json"],
        ["export_attributions", "2026-01"],
    ):
        with pytest.raises(CommandError, match=r"/dev/full could not be written: .*No space left"):
            export(*arguments, out=Path("/dev/full"))
    assert not Path("/dev/full").is_file()


def test_a_place_that_cannot_be_written_to(chain: SmallChain, tmp_path: Path) -> None:
    for path, why in [(tmp_path / "none" / "rows.csv", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(CommandError, match=f"could not be written: {why}"):
            export("export_attributions", "2026-01", out=path)
    assert list(tmp_path.iterdir()) == []


def break_off(path: Path, error: Exception) -> None:
    with output_text(path) as file:
        file.write("new" * 100_000)
        raise error


@pytest.mark.parametrize(
    ("error", "seen"), [(ZeroDivisionError(), ZeroDivisionError), (OSError(28, "No space left"), OutputFileError)]
)
def test_a_file_that_breaks_off_leaves_the_old_one(tmp_path: Path, error: Exception, seen: type[Exception]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(seen):
        break_off(path, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with output_text(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
