"""import_tickets: a file counts whole or not at all, once, in any order; and what each kind of bad input gets."""

import csv
import datetime as dt
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as project
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commission.attribution import lock_ledger
from commission.models import Attribution, Booking, Sale, SaleLine
from commission.ticket_import import TicketReport, import_tickets
from commission.ticket_lines import COLUMNS, STAGED_COLUMNS, LineReader
from portfolios.import_problems import SHOWN, ImportProblem, ImportProblems, ImportRefused
from portfolios.input_files import read_rows
from portfolios.models import Store
from tests.builders import (
    Row,
    Till,
    as_csv,
    booked,
    everything,
    facts,
    line,
    make_category,
    make_chain,
    make_plan,
    ticket,
)
from tests.concurrency import at_once
from tests.test_attribution import BigChain

GOOD = ticket("T1", "03-05", line("200.00", by="C3"), line("3.33", by="C1", category="care"), member="M1")


@pytest.fixture
def till(db: None, tmp_path: Path) -> Till:
    make_chain()
    return Till(tmp_path)


def changed(**cells: str) -> list[Row]:
    """One good ticket line with some of its cells changed."""
    return [{**ticket("T1", "03-05", line("200.00", by="C3"), member="M1")[0], **cells}]


def told(problems: list[ImportProblem]) -> list[tuple[int, str, str]]:
    return [(problem.row, problem.column, problem.value) for problem in problems]


# --- The same file again, shuffled, cut, split --------------------------------------------------------------------


def chronological(tickets: list[list[Row]]) -> list[list[Row]]:
    return sorted(
        tickets, key=lambda rows: [rows[0][name] for name in ("business_date", "sold_at", "store_no", "ticket_no")]
    )


@pytest.mark.django_db
def test_any_order_gives_the_same_database(tmp_path: Path) -> None:
    chain, till = BigChain(seed=1), Till(tmp_path)
    tickets = list(chain.tickets(120))
    tickets = chronological([*tickets, *chain.returns(tickets)])
    cut = len(tickets) // 2

    def after(*files: list[list[Row]], shuffled: bool = False) -> dict[str, list[object]]:
        with transaction.atomic():
            for content in files:
                rows = [row for ticket_rows in content for row in ticket_rows]
                if shuffled:
                    random.Random(1).shuffle(rows)
                assert till.load(rows).tickets == len(content)
            stored = facts()
            transaction.set_rollback(True)
        return stored

    whole = after(tickets)
    assert len(whole["booked"]) > 300
    assert after(tickets, shuffled=True) == whole
    assert after(tickets[:cut], tickets[cut:]) == whole
    assert after(tickets[:cut], tickets[cut:], shuffled=True) == whole


def test_the_same_file_again_changes_nothing(till: Till) -> None:
    tickets = [GOOD, ticket("R1", "03-06", line("-1.00", of=("T1", "03-05", 1)), line("-1.00", of=("T9", "03-05", 1)))]
    first = till.load(*tickets)
    before = everything()
    again = till.load(*tickets)
    assert (first.tickets, first.lines, first.repeated, first.waiting) == (2, 4, 0, 1)
    assert (again.tickets, again.lines, again.repeated, again.attributions) == (0, 0, 2, 0)
    assert everything() == before


def test_a_repeat_beside_something_new(till: Till) -> None:
    till.load(GOOD)
    report = till.load(ticket("T2", "03-05", line("1.00")), GOOD)
    assert (report.tickets, report.repeated, report.attributions) == (1, 1, 1)


def test_another_way_to_write_the_same_ticket_is_a_repeat(till: Till) -> None:
    till.load(changed(sold_at="2026-03-05T10:00:00+08:00", net_amount="200.00", quantity="1"))
    report = till.load(changed(sold_at="2026-03-05 02:00:00.0Z", net_amount="200", quantity="1.000"))
    assert (report.tickets, report.repeated) == (0, 1)


def test_a_ticket_twice_in_a_file_is_there_once(till: Till) -> None:
    report = till.load(GOOD, GOOD)
    assert (report.tickets, report.lines, report.attributions) == (1, 2, 2)


def test_lines_of_two_servers_in_turn_are_two_parts(till: Till) -> None:
    """C1 1.00 and 4.00, C3 2.00 between them; and once more, backwards."""
    rows = ticket("T1", "03-05", line("1.00", by="C1"), line("2.00", by="C3"), line("4.00", by="C1"), member="M1")
    assert till.load(rows, rows[::-1]).lines == 3
    parts = Sale.objects.get().parts.order_by("number")
    assert list(parts.values_list("number", "server__clerk_no", "commissionable_amount")) == [
        (1, "C1", 500),
        (2, "C3", 200),
    ]
    lines = SaleLine.objects.order_by("line_no").values_list("line_no", "part__number", "net_amount")
    assert list(lines) == [(1, 1, 100), (2, 2, 200), (3, 1, 400)]


@pytest.mark.parametrize("step", [1, -1])
def test_a_ticket_that_comes_back_later_in_the_file_is_there_once(till: Till, step: int) -> None:
    assert till.load(GOOD, ticket("T2", "03-05", line("1.00")), GOOD[::step]).lines == 3


def test_a_part_adds_up_its_lines_once(till: Till) -> None:
    """1.00 at 3%, 2.00 at 5% and 4.00 excluded earn 3 + 10 fen; line 2 is there three times, line 3 twice."""
    rows = ticket(
        "T1", "03-05", line("-8.00"), line("1.00"), line("2.00", category="care"), line("4.00", category="rx")
    )
    assert till.load(rows, [rows[2]], [rows[1], rows[2]], [rows[0]]).lines == 4
    part = Sale.objects.get().parts.get()
    assert (part.number, part.commissionable_amount, part.excluded_amount) == (2, 300, 400)
    assert part.commission_e4 == 13_0000


def test_a_ticket_of_hundreds_of_lines_is_one_part(till: Till) -> None:
    """Line n of 250 is n fen: 31,375 together, at 3%."""
    lines = [line(f"{number // 100}.{number % 100:02}") for number in range(1, 251)]
    assert till.load(ticket("T1", "03-05", *lines)).lines == 250
    part = Sale.objects.get().parts.get()
    assert (part.number, part.commissionable_amount, part.commission_e4) == (1, 31_375, 31_375 * 300)
    assert list(part.lines.order_by("id").values_list("line_no", flat=True)) == list(range(1, 251))


def test_a_line_that_comes_back_later_with_other_content_is_refused(till: Till) -> None:
    (problem,) = till.refused([*GOOD, *changed(ticket_no="T2"), {**GOOD[0], "clerk_no": "C2"}])
    assert (problem.row, problem.column, problem.value) == (5, "line_no", "T1 / 1")


@pytest.mark.parametrize(
    ("texts", "times"),
    [
        (["2026-03-05T10:00:07+08:00", "2026-03-05T10:00:59+08:00"], ["02:00:07", "02:00:59"]),
        (["2026-03-05T10:00:07+08:00", "2026-03-05T10:00:07+09:00"], ["02:00:07", "01:00:07"]),
        (["2026-03-05 10:00:07.25+0800", "2026-03-05 10:00:08.50+0800"], ["02:00:07.250000", "02:00:08.500000"]),
        (["2026-03-05T10:00Z", "2026-03-05T10:01Z"], ["10:00:00", "10:01:00"]),
        # Further from UTC than PostgreSQL reads.
        (["2026-03-05T22:00:01+20:00", "2026-03-05T22:00:02+20:00"], ["02:00:01", "02:00:02"]),
    ],
)
def test_a_time_is_kept_to_the_second_in_utc(till: Till, texts: list[str], times: list[str]) -> None:
    till.load(*(changed(ticket_no=f"T{n}", sold_at=text) for n, text in enumerate(texts)))
    sold = Sale.objects.order_by("ticket_no").values_list("sold_at", flat=True)
    assert [f"{time.astimezone(dt.UTC)}" for time in sold] == [f"2026-03-05 {time}+00:00" for time in times]


def test_a_second_that_is_none_is_refused_in_a_minute_that_is_known(till: Till) -> None:
    (problem,) = till.refused([*changed(), *changed(ticket_no="T2", sold_at="2026-03-05T10:00:60+08:00")])
    assert (problem.row, problem.column) == (3, "sold_at")


def test_a_product_number_may_hold_what_copy_reads_as_its_own(till: Till) -> None:
    till.load(changed(product_no=r"\N"), changed(product_no=r"a\tb", ticket_no="T2"))
    assert set(SaleLine.objects.values_list("product_no", flat=True)) == {r"\N", r"a\tb"}


TEXTS = {
    "product_no": ["P1", "P2", "维C", ""],
    "category": ["otc", "care", "rx", "toys"],
    "quantity": ["1", "2", "0.5", "0", "-1", "x"],
    "net_amount": ["0", "3.33", "200.00", "-1.00", "1,0"],
    "clerk_no": ["", "C1", "C3", "C99"],
    "original_line_no": ["", "", "", "1"],
}


@given(st.lists(st.fixed_dictionaries({name: st.sampled_from(texts) for name, texts in TEXTS.items()}), max_size=12))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_row_is_read_as_does_not_depend_on_the_rows_before_it(till: Till, rows: list[Row]) -> None:
    """A reader that has met the texts before, and one that meets them for the first time."""
    head = changed()[0]
    told: list[tuple[str, str]] = []
    practised = LineReader(lambda _row, column, _value, reason, _remedy: told.append((column, reason)))

    def read(reader: LineReader, row: Row) -> tuple[list[str] | None, list[tuple[str, str]]]:
        told.clear()
        # A ticket of its own, so that every row carries its ticket's cells.
        cells = {**head, **row, "line_no": "1"}
        reader.read(2, [cells.get(column, "") for column in COLUMNS])
        staged = reader.staged(last=True)
        assert len(staged) <= 1
        return staged[0].split("\t") if staged else None, list(told)

    for row in rows:
        new = LineReader(lambda _row, column, _value, reason, _remedy: told.append((column, reason)))
        first = read(new, row)
        again = read(practised, row)
        assert again == first
        assert (again[0] is None) == bool(again[1])
        if again[0]:
            assert len(again[0]) == len(STAGED_COLUMNS)


def test_a_line_twice_in_a_file_with_other_content_is_refused(till: Till) -> None:
    problems = till.refused([*changed(), *changed(net_amount="100.00")])
    assert told(problems) == [(3, "line_no", "T1 / 1")]
    assert "Row 2 has the same line of this ticket with other content." in problems[0].reason


@pytest.mark.parametrize(
    ("cells", "value", "stored"),
    [
        ({"net_amount": "100.00"}, "T1 / 1: 100.00", "its line 1 is 200.00"),
        ({"sold_at": "2026-03-05T10:00:01+08:00"}, "T1 / 1: 200.00", "its time is another"),
        ({"member_no": "M0"}, "T1 / 1: 200.00", "its member is another"),
        ({"member_no": ""}, "T1 / 1: 200.00", "its member is another"),
        ({"clerk_no": "C1"}, "T1 / 1: 200.00", "differs in server"),
        ({"clerk_no": ""}, "T1 / 1: 200.00", "differs in server"),
        ({"product_no": "P2"}, "T1 / 1: 200.00", "differs in server, product"),
        ({"category": "care"}, "T1 / 1: 200.00", "differs in server, product, category"),
        ({"quantity": "2"}, "T1 / 1: 200.00", "differs in server, product, category, quantity"),
        ({"line_no": "2"}, "T1 / 2: 200.00", "it has no line 2"),
    ],
)
def test_a_stored_ticket_with_other_content_is_refused(
    till: Till, cells: dict[str, str], value: str, stored: str
) -> None:
    till.load(changed())
    problems = till.refused(changed(**cells))
    assert (problems[0].row, problems[0].column, problems[0].value) == (2, "ticket_no", value)
    assert stored in problems[0].reason
    assert "send the return or the correction as a ticket of its own" in problems[0].remedy


def test_a_return_of_another_original_is_a_conflict(till: Till) -> None:
    till.load(ticket("R1", "03-06", line("-1.00", of=("T1", "03-05", 1))))
    (problem,) = till.refused(ticket("R1", "03-06", line("-1.00", of=("T1", "03-05", 2))))
    assert "or original" in problem.reason


def test_a_ticket_split_over_two_files_is_refused_both_ways(till: Till) -> None:
    till.load(GOOD[:1])
    assert "it has no line 2" in till.refused(GOOD)[0].reason
    assert "it has no line 2" in till.refused(GOOD[1:])[0].reason
    till.load(both := ticket("T2", "03-05", line("1.00"), line("2.00")))
    (problem,) = till.refused(both[:1])
    assert "stored with 2 lines, of which the file has 1" in problem.reason


def test_the_same_number_on_another_day_or_in_another_store_is_another_ticket(till: Till) -> None:
    till.load(GOOD)
    assert till.load(changed(business_date="2026-03-06"), changed(store_no="S2")).tickets == 2


# --- Bad cells ----------------------------------------------------------------------------------------------------

BAD_CELLS = [
    ("store_no", "S9", "no store with this number"),
    ("store_no", "", "no store with this number"),
    ("clerk_no", "C99", "no clerk with this number"),
    ("member_no", "M99", "no member with this card number"),
    ("member_no", "1.2E+10", "spreadsheet has damaged"),
    ("member_no", "13800000000.0", "spreadsheet has damaged"),
    ("member_no", "9" * 41, "no number of this kind"),
    ("category", "toys", "no such category"),
    ("category", "", "no such category"),
    ("ticket_no", "", "It is empty"),
    ("ticket_no", "1E+05", "spreadsheet has damaged"),
    ("ticket_no", "a\tb", "no number of this kind"),
    ("product_no", "", "It is empty"),
    ("product_no", "6.9E+12", "spreadsheet has damaged"),
    ("line_no", "", "no line number"),
    ("line_no", "0", "no line number"),
    ("line_no", "1.0", "no line number"),
    ("line_no", "9999999999", "no line number"),
    ("business_date", "", "no date"),
    ("business_date", "2026/03/05", "no date"),
    ("business_date", "05.03.2026", "no date"),
    ("business_date", "46086", "no date"),
    ("business_date", "2026-02-30", "no date"),
    ("business_date", "２０２６-03-05", "no date"),
    ("business_date", "0001-01-01", "no date"),
    ("sold_at", "", "no time with an offset"),
    ("sold_at", "2026-03-05T10:00:00", "no time with an offset"),
    ("sold_at", "2026-03-05", "no time with an offset"),
    ("sold_at", "0", "no time with an offset"),
    ("sold_at", "2026-03-05T25:00:00+08:00", "no time with an offset"),
    ("sold_at", "2026-03-05T10:00:00+99:99", "no time with an offset"),
    ("sold_at", "0001-01-01T00:00:00+14:00", "no time with an offset"),
    ("sold_at", "9999-12-31T23:00:00-12:00", "no time with an offset"),
    ("quantity", "", "no quantity"),
    ("quantity", "1.2345", "no quantity"),
    ("quantity", "1,000", "no quantity"),
    ("quantity", "NaN", "no quantity"),
    ("quantity", "-1", "different signs"),
    ("net_amount", "", "no amount"),
    ("net_amount", "1.234", "more than two decimals"),
    ("net_amount", "1,000.00", "thousands separators"),
    ("net_amount", "１００", "no amount"),
    ("net_amount", "NaN", "no amount"),
    ("net_amount", "1e3", "no amount"),
    ("net_amount", "9" * 5_000, "too large"),
    ("net_amount", "10000000000.01", "too large"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "reason"), BAD_CELLS)
def test_a_bad_cell_is_told_with_its_place(till: Till, column: str, value: str, reason: str) -> None:
    problems = till.refused([*changed(), *changed(**{"ticket_no": "T2"} | {column: value})])
    found = [problem for problem in problems if problem.column == ("quantity" if "signs" in reason else column)]
    assert [(problem.file, problem.row, problem.value) for problem in found] == [("tickets-1.csv", 3, value[:200])]
    assert reason in found[0].reason
    assert found[0].remedy


RETURN = {"net_amount": "-1.00", "quantity": "-1"}
ORIGINAL = {
    "original_store_no": "S1", "original_business_date": "2026-03-05", "original_ticket_no": "T0",
    "original_line_no": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        (ORIGINAL, "original_ticket_no", "Only a return names an original"),
        ({**RETURN, **ORIGINAL, "original_line_no": ""}, "original_ticket_no", "The original is named in part"),
        ({**RETURN, **ORIGINAL, "original_store_no": ""}, "original_ticket_no", "The original is named in part"),
        ({**RETURN, **ORIGINAL, "original_store_no": "S9"}, "original_store_no", "no store with this number"),
        ({**RETURN, **ORIGINAL, "original_business_date": "5.3."}, "original_business_date", "no date"),
        ({**RETURN, **ORIGINAL, "original_business_date": "2026-03-06"}, "original_business_date", "before its sale"),
        ({**RETURN, **ORIGINAL, "original_ticket_no": "1.0"}, "original_ticket_no", "damaged"),
        ({**RETURN, **ORIGINAL, "original_line_no": "x"}, "original_line_no", "no line number"),
        ({"net_amount": "-1.00"}, "quantity", "different signs"),
        ({"net_amount": "-1.00", "quantity": "0"}, "quantity", "different signs"),
    ],
)
def test_a_bad_original_is_told(till: Till, cells: dict[str, str], column: str, reason: str) -> None:
    (problem,) = till.refused(changed(**cells))
    assert (problem.row, problem.column) == (2, column)
    assert reason in problem.reason


def test_every_bad_cell_of_a_row_is_told(till: Till) -> None:
    problems = till.refused(changed(store_no="S9", sold_at="now", clerk_no="x", net_amount="NaN", category="?"))
    assert [problem.column for problem in problems] == ["store_no", "sold_at", "clerk_no", "category", "net_amount"]


@pytest.mark.parametrize(
    ("second", "column"), [({"sold_at": "2026-03-05T11:00:00+08:00"}, "sold_at"), ({"member_no": "M0"}, "member_no"),
                           ({"member_no": ""}, "member_no")],
)  # fmt: skip
def test_lines_of_a_ticket_that_do_not_agree_are_refused(till: Till, second: dict[str, str], column: str) -> None:
    problems = till.refused([*changed(), *changed(line_no="2", **second)])
    assert told(problems) == [(2, column, "T1")]


def test_a_store_and_date_without_a_plan_is_refused(till: Till) -> None:
    (problem,) = till.refused(changed(business_date="2019-12-31"))
    assert (problem.column, problem.value) == ("business_date", "2019-12-31")
    assert "No plan covers this store and date" in problem.reason


def test_a_plan_without_a_rate_for_the_category_is_refused(till: Till) -> None:
    make_category("toys")
    (problem,) = till.refused(changed(category="toys"))
    assert problem.reason == "Plan 2026-A has no rate for this category."


def test_a_commission_beyond_every_measure_is_refused(till: Till) -> None:
    make_plan("S2", rates={"otc": 300}, units={"GOLD": 10**14}, store=Store.objects.get(store_no="S2"))
    (problem,) = till.refused(changed(store_no="S2", product_no="GOLD", quantity="999999999"))
    assert (problem.column, problem.value) == ("quantity", "999999999")


def test_a_members_ticket_before_any_binding_is_unowned(till: Till) -> None:
    till.load(ticket("T1", "2024-12-31", line("200.00", by="C3"), member="M1"))
    assert [(row["kind"], row["server_commission_amount"]) for row in booked()] == [("UNOWNED", 600)]


# --- Bad files ----------------------------------------------------------------------------------------------------

HEADER = ",".join(COLUMNS)
GOOD_CSV = as_csv(GOOD)


@pytest.mark.parametrize(
    ("content", "row", "column", "reason"),
    [
        (b"", 0, "", "The file is empty"),
        (HEADER.encode(), 0, "", "a header and no rows"),
        (f"{HEADER}\r\n\r\n,,,,,,,,,,,,,,\r\n".encode(), 0, "", "a header and no rows"),
        (GOOD_CSV.replace("net_amount", "net").encode(), 1, "net_amount", "The column is missing"),
        (GOOD_CSV.replace("net_amount", "net_amount,till").encode(), 1, "till", "The column is not known"),
        (GOOD_CSV.replace("net_amount", "net_amount,line_no").encode(), 1, "line_no", "The column is there twice"),
        (GOOD_CSV.replace("T1,", "T1\0,").encode(), 0, "", "NUL bytes"),
        (GOOD_CSV.encode("utf-16"), 0, "", "NUL bytes"),
        (GOOD_CSV.replace("P1", "\ufffd").encode(), 0, "", "replacement character"),
        (GOOD_CSV.encode() + b"\xff\xff", 0, "", "neither UTF-8 nor GB18030"),
        (GOOD_CSV.replace("T1,", "T1,,").encode(), 2, "", "The row has 16 cells, the header has 15"),
        (GOOD_CSV.replace("P1", '"P1').encode(), 3, "", "cannot be read as CSV"),
        (GOOD_CSV.replace("P1", '"P"1').encode(), 2, "", "cannot be read as CSV"),
    ],
)
def test_a_bad_file_is_refused(till: Till, content: bytes, row: int, column: str, reason: str) -> None:
    path = till.directory / "bad.csv"
    path.write_bytes(content)
    problem = till.refused(path)[0]
    assert (problem.file, problem.row, problem.column) == ("bad.csv", row, column)
    assert reason in problem.reason
    assert problem.remedy


def test_a_directory_is_refused(till: Till) -> None:
    (problem,) = till.refused(till.directory)
    assert problem.reason == "The file cannot be read: Is a directory."


def test_a_file_that_is_not_there_is_refused(till: Till) -> None:
    (problem,) = till.refused(till.directory / "nothing.csv")
    assert problem.reason == "The file cannot be read: No such file or directory."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(till: Till, encoding: str, newline: str) -> None:
    """䶮 is in GB18030 and not in GBK."""
    path = till.directory / "encoded.csv"
    rows = [{**row, "product_no": "䶮牌维生素"} for row in GOOD]
    path.write_bytes(as_csv(rows).replace("\r\n", newline).encode(encoding))
    assert till.load_file(path).lines == 2
    assert set(SaleLine.objects.values_list("product_no", flat=True)) == {"䶮牌维生素"}


@given(
    lines=st.lists(st.lists(st.text("aB7.-\t\xa0 ", max_size=2), min_size=1, max_size=3).map(",".join), max_size=6),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    columns=st.sampled_from([["a"], ["a", "b"]]),
)
def test_rows_are_as_csv_has_them(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], newline: str, columns: list[str]
) -> None:
    """Blanks and short rows, or none: a file that commas alone tell apart is read without csv."""
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    text = newline.join([",".join(columns), *lines])
    path.write_bytes(text.encode())
    by_csv = [[cell.strip() for cell in cells] for cells in csv.reader(StringIO(text, newline=""))]
    assert list(read_rows(path, columns, ImportProblems(listed=False))) == [
        (row, cells)
        for row, cells in enumerate(by_csv, start=1)
        if row > 1 and len(cells) == len(columns) and any(cells)
    ]


def test_columns_come_in_any_order(till: Till) -> None:
    path = till.directory / "mixed.csv"
    path.write_text(as_csv(GOOD, sorted(COLUMNS)))
    till.load_file(path)
    before = everything()
    assert till.load(GOOD).repeated == 1
    assert everything() == before


def test_a_line_of_200_megabytes_costs_no_memory(till: Till) -> None:
    path = till.directory / "long.csv"
    with path.open("wb") as file:
        file.write(GOOD_CSV.encode())
        for _block in range(200):
            file.write(b"9" * 1_000_000)
    tracemalloc.start()
    (problem,) = till.refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    path.unlink()
    assert "A line is longer than 65536 bytes" in problem.reason
    assert peak < 20_000_000


def test_a_thousand_errors_are_shown_and_all_are_listed(till: Till) -> None:
    rows = [row for n in range(SHOWN + 500) for row in changed(ticket_no=f"T{n}", member_no=f"=M{n}")]
    with pytest.raises(ImportRefused) as caught:
        till.load(rows)
    problems = caught.value.problems
    assert (problems.count, len(problems.shown)) == (SHOWN + 500, SHOWN)
    with (till.directory / "errors.csv").open(encoding="utf-8-sig", newline="") as file:
        listed = list(csv.DictReader(file))
    assert list(listed[0]) == ["file", "row", "column", "value", "reason", "remedy"]
    # No value may start a formula in the spreadsheet that shows them.
    assert [row["value"] for row in listed] == [f"'=M{n}" for n in range(SHOWN + 500)]
    assert [row["row"] for row in listed] == [str(n) for n in range(2, SHOWN + 502)]


# --- The command --------------------------------------------------------------------------------------------------


def command(*arguments: object) -> str:
    out = StringIO()
    call_command("import_tickets", *map(str, arguments), "--verbosity", "0", stdout=out, stderr=out)
    return out.getvalue()


def test_the_command_says_what_it_did(till: Till) -> None:
    said = command(till.file(GOOD), till.file(ticket("R1", "03-06", line("-1.00", of=("T9", "03-05", 1)))))
    first, second = said.splitlines()
    assert "tickets-1.csv: new tickets: 1, lines: 2, net: 203.33; attributions: 2; posted to 2026-03" in first
    assert "return lines that wait for their original: 1" in second


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(till: Till) -> None:
    path = till.file(GOOD)
    before = everything()
    said = command(path, "--dry-run")
    assert "dry run, nothing changed: new tickets: 1, lines: 2, net: 203.33; attributions: 2; posted to 2026-03" in said
    assert everything() == before
    assert "would" not in command(path)


def test_a_dry_run_refuses_what_an_import_would(till: Till) -> None:
    with pytest.raises(CommandError):
        command(till.file(changed(store_no="S9")), "--dry-run", "--errors", till.directory / "errors.csv")


def test_the_command_lists_the_errors_and_fails(till: Till) -> None:
    listed = till.directory / "list" / "errors.csv"
    good, bad, unread = till.file(GOOD), till.file(changed(ticket_no="T2", member_no="M99")), till.file(changed())
    err = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(
            "import_tickets", str(good), str(bad), str(unread), "--errors", str(listed), "--verbosity", "0",
            stdout=StringIO(), stderr=err,
        )  # fmt: skip
    assert err.getvalue().strip() == (
        "tickets-2.csv, row 2, column member_no [M99]: There is no member with this card number. "
        "Import members.csv first; check that no leading zeros were lost."
    )
    assert f"1 error; nothing was imported. It is in {listed}" in str(caught.value)
    assert "Files imported before it, which stay: 1. Files not read: 1." in str(caught.value)
    assert caught.value.returncode == 1
    assert Sale.objects.count() == 1
    assert len(listed.read_text("utf-8-sig").splitlines()) == 2


@pytest.mark.parametrize("errors", [1, 20_000])
def test_a_full_disk_loses_the_list_and_not_the_refusal(till: Till, errors: int) -> None:
    path = till.file([{**changed()[0], "ticket_no": f"T{n}", "store_no": "S9"} for n in range(errors)])
    before = everything()
    with pytest.raises(CommandError, match=rf"{errors} errors?; nothing was imported") as caught:
        command(path, "--errors", "/dev/full")
    assert "cannot be listed in /dev/full: No space left on device." in str(caught.value)
    assert everything() == before


def test_an_unwritable_list_of_errors_is_told(till: Till) -> None:
    with pytest.raises(CommandError, match=r"cannot be listed in .*: Is a directory"):
        command(till.file(changed(store_no="S9")), "--errors", till.directory)


# --- Beside others ------------------------------------------------------------------------------------------------


def in_its_own_thread(scenario: Callable[[], object]) -> None:
    (result,) = at_once(scenario)
    if isinstance(result, Exception):
        raise result


def load_together(*paths: Path) -> list[TicketReport | Exception]:
    """Imports the files at once: each is staged and checked before any is booked."""
    together = threading.Barrier(len(paths))

    def meet(what: str, done: int) -> None:
        if what == "checking":
            together.wait(60)

    def load(path: Path) -> TicketReport:
        return import_tickets(path, errors_path=path.with_suffix(".errors"), progress=meet)

    return at_once(*(partial(load, path) for path in paths))


def test_two_imports_of_one_file_book_it_once(shared_database: None, tmp_path: Path) -> None:
    def scenario() -> None:
        make_chain()
        till = Till(tmp_path)
        tickets = [ticket(f"T{n}", "03-05", line("200.00", by="C3"), member="M1") for n in range(200)]
        reports = load_together(till.file(*tickets), till.file(*tickets))
        done = [report for report in reports if isinstance(report, TicketReport)]
        assert len(done) == 2, reports
        booked_by = sorted((report.tickets, report.repeated, report.attributions) for report in done)
        assert booked_by == [(0, 200, 0), (200, 0, 200)]
        assert (Sale.objects.count(), Attribution.objects.count(), Booking.objects.count()) == (200, 200, 1)
        assert sum(row["commission_amount"] for row in booked()) == 200 * 600

    in_its_own_thread(scenario)


def test_of_two_files_at_odds_one_is_refused(shared_database: None, tmp_path: Path) -> None:
    def scenario() -> None:
        make_chain()
        till = Till(tmp_path)
        reports = load_together(till.file(changed()), till.file(changed(net_amount="100.00")))
        assert sorted(type(report).__name__ for report in reports) == ["ImportRefused", "TicketReport"]
        assert (Sale.objects.count(), Attribution.objects.count()) == (1, 1)

    in_its_own_thread(scenario)


def test_a_sale_and_its_return_at_once_find_each_other(shared_database: None, tmp_path: Path) -> None:
    def scenario() -> None:
        make_chain()
        till = Till(tmp_path)
        back = ticket("R1", "03-06", line("-200.00", by="C3", of=("T1", "03-05", 1)))
        reports = load_together(till.file(changed()), till.file(back))
        assert sum(report.attributions for report in reports if isinstance(report, TicketReport)) == 2
        assert sum(row["commission_amount"] for row in booked()) == 0

    in_its_own_thread(scenario)


def test_a_database_that_fails_leaves_nothing_behind(shared_database: None, tmp_path: Path) -> None:
    """SQLite has no page left; PostgreSQL waits in vain for another writer."""

    def scenario() -> None:
        make_chain()
        path = Till(tmp_path).file(*(ticket(f"T{n}", "03-05", line("200.00")) for n in range(500)))
        before = everything()
        release, held = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                lock_ledger(opening=(202603, 202603))
                held.set()
                release.wait(60)
                transaction.set_rollback(True)

        def load() -> None:
            with connection.cursor() as cursor:
                if connection.vendor == "sqlite":
                    # Pages that earlier tests left free would do for the file.
                    cursor.execute("VACUUM")
                    cursor.execute("PRAGMA page_count")
                    cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0] + 2}")
                else:
                    assert held.wait(60)
                    cursor.execute("SET lock_timeout = '200ms'")
            try:
                command(path)
            finally:
                release.set()

        tasks = [load] if connection.vendor == "sqlite" else [load, hold]
        error = at_once(*tasks)[0]
        assert isinstance(error, CommandError)
        reason = (
            "database or disk is full" if connection.vendor == "sqlite" else "canceling statement due to lock timeout"
        )
        assert "nothing was imported, the disk or the database failed" in str(error)
        assert reason in str(error)
        assert everything() == before

    in_its_own_thread(scenario)


# --- Memory -------------------------------------------------------------------------------------------------------


def database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    login = database["USER"] + (f":{database['PASSWORD']}" if database["PASSWORD"] else "")
    return f"postgres://{login}@{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(shared_database: None, tmp_path: Path) -> None:
    """Peak memory of the command over 20,000 lines and over 200,000, good and bad ones."""

    def peak(path: Path, *, refused: bool) -> int:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "import_tickets", str(path), "--errors", str(tmp_path / "errors.csv")],
            cwd=project.BASE_DIR,
            env={**os.environ, "DATABASE_URL": database_url()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == (1 if refused else 0)
        return usage.ru_maxrss // 1024

    in_its_own_thread(make_chain)
    head, row = as_csv(changed(ticket_no="NUMBER", member_no="CARD")).splitlines()
    for refused in (True, False):
        peaks = []
        for size in (20_000, 200_000):
            path = tmp_path / f"tickets-{size}-{refused}.csv"
            with path.open("w") as file:
                file.write(f"{head}\n")
                for number in range(size):
                    text = row.replace("NUMBER", f"{size}-{number}").replace("CARD", f"NO{number}" if refused else "M1")
                    file.write(f"{text}\n")
            peaks.append(peak(path, refused=refused))
        # SQLite keeps up to 64 MB of pages; the lines themselves would take some 200 MB.
        assert peaks[1] < peaks[0] + 80, f"MB for 20,000 and 200,000 lines: {peaks}"
