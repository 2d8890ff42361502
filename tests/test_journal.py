"""The accounting journal: balanced for any pay, the ledger's figures, the chain's own codes, and on record."""

import json
import zipfile
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from commission.models import Plan
from payroll_exports.journal import JournalEntry, Unbalanced, entries, journals
from payroll_exports.journal_accounts import JournalAccount
from payroll_exports.journal_files import journal_files
from payroll_exports.line_codes import LineCode
from payroll_exports.models import FileRecord, Salary
from payroll_exports.pay_run import close_month
from portfolios.models import Month
from tests.cast import Cast
from tests.small_chain import SmallChain, day


def test_the_worked_figure() -> None:
    lines = {"BASE": 310_000, "OWN_ABSENT": 42_000, "CLAWBACK": -8_000, "HELD": -5_000}
    assert entries(lines, paid=339_000, house=0) == [
        JournalEntry("BASE", 310_000, 0),
        JournalEntry("OWN_ABSENT", 42_000, 0),
        JournalEntry("CLAWBACK", 0, 8_000),
        JournalEntry("HELD", 0, 5_000),
        JournalEntry("PAYABLE", 0, 339_000),
    ]


def test_what_is_carried_is_owed_by_staff_until_the_next_month() -> None:
    assert entries({"CLAWBACK": -699, "CARRIED_OUT": 699}, paid=0, house=0) == [
        JournalEntry("CLAWBACK", 0, 699),
        JournalEntry("CARRIED", 699, 0),
    ]
    assert entries({"OWN_SERVED": 1_000, "CARRIED_IN": -699}, paid=301, house=0) == [
        JournalEntry("OWN_SERVED", 1_000, 0),
        JournalEntry("CARRIED", 0, 699),
        JournalEntry("PAYABLE", 0, 301),
    ]


def test_the_houses_part_is_a_pair_beside_and_turns_round_below_zero() -> None:
    assert entries({}, paid=0, house=351) == [
        JournalEntry("HOUSE", 351, 0, memo=True),
        JournalEntry("HOUSE_CONTRA", 0, 351, memo=True),
    ]
    assert entries({}, paid=0, house=-35) == [
        JournalEntry("HOUSE", 0, 35, memo=True),
        JournalEntry("HOUSE_CONTRA", 35, 0, memo=True),
    ]


def test_a_debt_that_is_written_off_is_no_wage() -> None:
    """15.00 of a leaver's, beside another's adjustment of 2.00."""
    lines = {"ADJUSTMENT": 1_700, "CARRIED_IN": -1_500}
    assert entries(lines, paid=200, house=0, written_off=1_500) == [
        JournalEntry("ADJUSTMENT", 200, 0),
        JournalEntry("WRITE_OFF", 1_500, 0),
        JournalEntry("CARRIED", 0, 1_500),
        JournalEntry("PAYABLE", 0, 200),
    ]


def test_lines_that_are_not_what_is_paid_are_refused() -> None:
    with pytest.raises(Unbalanced, match="310000 on the lines, 309999 to be paid"):
        entries({"BASE": 310_000}, paid=309_999, house=0)


@given(
    st.dictionaries(st.sampled_from(LineCode.values), st.integers(-(10**12), 10**12)),
    st.integers(),
    st.integers(min_value=0),
)
def test_any_pay_balances(lines: dict[str, int], house: int, written_off: int) -> None:
    found = entries(lines, paid=sum(lines.values()), house=house, written_off=written_off)
    for memo in (False, True):
        assert sum(e.debit for e in found if e.memo is memo) == sum(e.credit for e in found if e.memo is memo)
    assert all(min(entry.debit, entry.credit) == 0 < max(entry.debit, entry.credit) for entry in found)
    assert len({entry.account for entry in found}) == len(found)


@pytest.fixture
def january(db: None) -> Month:
    """S1: 李's base of 3,100.00 and 4.20 of a split, 张's 1.80. S2: 赵's 1.50 of an unowned sale, 3.51 the house's."""
    chain = SmallChain()
    Plan.objects.update(house_share_bp=7_000)
    Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
    chain.sale("01-05", (chain.zhang, 20_000), member=chain.member("M1", chain.li))
    chain.sale("01-06", (chain.zhao, 16_700), member=chain.member("M2", None), store=chain.second)
    close_month(chain.month(202601), approved_by="test")
    return Month.objects.get(pk=202601)


def test_each_store_has_its_own_journal(january: Month) -> None:
    first, second = journals(january)
    assert (first.store_no, first.date) == ("S1", day("01-31"))
    assert (first.debit, first.credit, first.memo) == (310_600, 310_600, 0)
    assert {entry.account: entry.debit - entry.credit for entry in first.entries} == {
        "BASE": 310_000,
        "OWN_ABSENT": 420,
        "COVERED": 180,
        "PAYABLE": -310_600,
    }
    assert {entry.account: entry.debit - entry.credit for entry in second.entries} == {
        "UNOWNED": 150,
        "PAYABLE": -150,
        "HOUSE": 351,
        "HOUSE_CONTRA": -351,
    }


def test_the_files_have_the_chains_codes_and_the_same_bytes_each_time(january: Month) -> None:
    hr = Cast.user("hr", office="hr")
    JournalAccount.objects.create(account="PAYABLE", code="0022110100000000001", changed_by=hr)
    first, again = journal_files(january), journal_files(january)
    assert first == again
    rows = first[0].content.decode("utf-8-sig").splitlines()
    assert rows[1] == "2026-01,2026-01-31,S1,店1,1,660101,BASE,Base salary,3100.00,0.00,no"
    assert rows[4] == "2026-01,2026-01-31,S1,店1,4,0022110100000000001,PAYABLE,Payable to staff,0.00,3106.00,no"
    assert rows[-1].endswith(',9002,HOUSE_CONTRA,"Commission kept by the store, contra (memo)",0.00,3.51,yes')
    totals = json.loads(first[-1].content)
    assert (totals["debit"], totals["credit"]) == ("3107.50", "3107.50")
    assert totals["stores"][1] == {"store_no": "S2", "entries": 4, "debit": "1.50", "credit": "1.50", "memo": "3.51"}


def test_the_command_writes_the_files_and_leaves_a_record(january: Month, tmp_path: Path) -> None:
    call_command("export_journal", "2026-01", "--out", tmp_path / "new", stderr=StringIO())
    names = {"2026-01-journal.csv", "2026-01-journal.xlsx", "2026-01-journal.json", "control-totals.json"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    records = FileRecord.objects.filter(recorded_by=None, filter="2026-01")
    assert set(records.values_list("name", flat=True)) == names
    with pytest.raises(CommandError, match="2026-02 is open"):
        call_command("export_journal", "2026-02", "--out", tmp_path)


@pytest.mark.django_db
def test_the_page_shows_it_and_hands_it_out() -> None:
    cast = Cast()
    client = cast.client("auditor")
    page = client.get(reverse("journal", args=[202601]), {"store": "S2"}).content.decode()
    assert "Walk-ins" in page
    assert "1.50" in page
    assert client.get(reverse("journal", args=[202601]), {"store": "S3"}).status_code == 404
    packed = client.post(reverse("take_journal", args=[202601]))
    with zipfile.ZipFile(BytesIO(packed.content)) as archive:
        assert len(archive.namelist()) == 4
    assert FileRecord.objects.filter(recorded_by=cast.users["auditor"], filter="2026-01").count() == 4


@pytest.mark.django_db
def test_hr_writes_the_codes() -> None:
    cast = Cast()
    client, url = cast.client("hr"), reverse("journal_accounts")
    fields = client.get(url).context["form"].fields
    codes = {name: field.initial for name, field in fields.items()}
    assert codes["BASE"] == "660101"
    assert client.post(url, codes | {"BASE": ""}).status_code == 422
    assert client.post(url, codes | {"BASE": "6601-S"}).status_code == 302
    (changed,) = JournalAccount.objects.all()
    assert (changed.account, changed.code, changed.changed_by) == ("BASE", "6601-S", cast.users["hr"])
    assert "6601-S" in client.get(reverse("journal", args=[202601])).content.decode()
