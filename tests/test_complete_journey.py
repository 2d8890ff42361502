"""The Complete Journey as input files: by hand on a tiny table, and the whole year against totals by other code.

These need requirements-real.txt (pyarrow and the data), so they run only where asked for: pytest -m real.
"""

import csv
from collections import Counter, defaultdict
from datetime import date, datetime
from pathlib import Path

import pytest

from payroll_exports.complete_journey import JourneySource, source_totals, write_complete_journey

pytestmark = pytest.mark.real

PRODUCTS = [(1, "GROCERY"), (2, "FUEL"), (3, "DRUG GM"), (4, "MISCELLANEOUS")]
# household, store, basket, product, quantity, sales_value, time (UTC)
LINES = [
    (8, 5, 101, 1, 1, 0.50, datetime(2017, 1, 1, 11, 53, 26)),
    (7, 5, 102, 1, 2, 2.78, datetime(2017, 1, 15, 3, 0, 0)),
    (7, 5, 102, 3, 1, 10.10, datetime(2017, 1, 15, 3, 0, 0)),
    (7, 5, 102, 99, 0, 0.0, datetime(2017, 1, 15, 3, 0, 0)),  # not in the product table
    (8, 3, 103, 2, 9874, 25.29, datetime(2017, 3, 12, 6, 59, 59)),  # the last second of winter time
    (7, 3, 104, 4, 1, 0.29, datetime(2017, 3, 12, 7, 0, 0)),
    (7, 5, 105, 1, 1, 1.15, datetime(2017, 7, 1, 3, 30, 0)),  # still June in the store
    (9, 30000, 106, 3, 0, 5.551115123125783e-17, datetime(2018, 1, 1, 4, 1, 20)),  # still December
]


def write_source(directory: Path, lines=LINES, products=PRODUCTS) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory.mkdir()
    household, store, basket, product, quantity, value, time = zip(*lines, strict=True)
    transactions = {
        "household_id": pa.array(household, pa.int64()),
        "store_id": pa.array(store, pa.int64()),
        "basket_id": pa.array(basket, pa.int64()),
        "product_id": pa.array(product, pa.int64()),
        "quantity": pa.array(quantity, pa.int64()),
        "sales_value": pa.array(value, pa.float64()),
        "coupon_disc": pa.array([9.99] * len(lines), pa.float64()),
        "transaction_timestamp": pa.array(time, pa.timestamp("ns")),
    }
    pq.write_table(pa.table(transactions), directory / "transactions.parquet")
    numbers, departments = zip(*products, strict=True)
    table = pa.table({"product_id": pa.array(numbers, pa.int64()), "department": pa.array(departments, pa.string())})
    pq.write_table(table, directory / "products.parquet")
    return directory


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def tiny(tmp_path) -> JourneySource:
    return write_complete_journey(tmp_path / "out", source=write_source(tmp_path / "source"))


def test_a_basket_becomes_a_ticket_at_its_local_time(tiny):
    assert {month: path.name for month, path in tiny.ticket_files.items()} == {
        month: f"tickets-{month}.csv" for month in ("2017-01", "2017-03", "2017-06", "2017-12")
    }
    columns = ["store_no", "business_date", "ticket_no", "sold_at", "member_no", "line_no", "product_no", "category"]
    columns += ["quantity", "net_amount"]
    written = [tuple(row[name] for name in columns) for path in tiny.ticket_files.values() for row in rows_of(path)]
    first, january = "2017-01-01T06:53:26-05:00", "2017-01-14T22:00:00-05:00"
    assert written == [
        ("5", "2017-01-01", "101", first, "8", "1", "1", "GROCERY", "1", "0.50"),
        ("5", "2017-01-14", "102", january, "7", "1", "1", "GROCERY", "2", "2.78"),
        ("5", "2017-01-14", "102", january, "7", "2", "3", "DRUG_GM", "1", "10.10"),
        ("5", "2017-01-14", "102", january, "7", "3", "99", "UNKNOWN", "0", "0.00"),
        ("3", "2017-03-12", "103", "2017-03-12T01:59:59-05:00", "8", "1", "2", "FUEL", "9874", "25.29"),
        ("3", "2017-03-12", "104", "2017-03-12T03:00:00-04:00", "7", "1", "4", "MISCELLANEOUS", "1", "0.29"),
        ("5", "2017-06-30", "105", "2017-06-30T23:30:00-04:00", "7", "1", "1", "GROCERY", "1", "1.15"),
        ("30000", "2017-12-31", "106", "2017-12-31T23:01:20-05:00", "9", "1", "3", "DRUG_GM", "0", "0.00"),
    ]


def test_the_home_store_has_most_baskets_and_of_equals_the_lowest_number(tiny):
    members = {row["member_no"]: row for row in rows_of(tiny.roster / "members.csv")}
    # Two baskets of 7 at store 5 and one at 3; 8 has one at each; lines don't count.
    assert {number: row["store_no"] for number, row in members.items()} == {"7": "5", "8": "3", "9": "30000"}
    assert {row["enrolled_on"] for row in members.values()} == {"2017-01-01"}
    assert {row["enrolled_by"] for row in members.values()} == {""}


def test_a_ticket_has_one_clerk_of_its_store_and_the_counts_are_right(tiny):
    postings = {row["clerk_no"]: row["store_no"] for row in rows_of(tiny.roster / "postings.csv")}
    assert Counter(postings.values()) == {"3": 2, "5": 2, "30000": 2}
    clerks = defaultdict(set)
    for path in tiny.ticket_files.values():
        for row in rows_of(path):
            assert postings[row["clerk_no"]] == row["store_no"]
            clerks[row["ticket_no"]].add(row["clerk_no"])
    assert all(len(served_by) == 1 for served_by in clerks.values())
    assert (tiny.stores, tiny.clerks, tiny.members, tiny.tickets, tiny.lines) == (3, 6, 3, 6, 8)
    assert tiny.first_day == date(2017, 1, 1)


def test_totals_by_other_code_are_the_ones_added_up_by_hand(tmp_path):
    totals = source_totals(write_source(tmp_path / "source"))
    assert totals == {
        "2017-01": {"net": 1338, "excluded": 0, "commissionable": 1338, "tickets": 2, "lines": 4},
        "2017-03": {"net": 2558, "excluded": 2558, "commissionable": 0, "tickets": 2, "lines": 2},
        "2017-06": {"net": 115, "excluded": 0, "commissionable": 115, "tickets": 1, "lines": 1},
        "2017-12": {"net": 0, "excluded": 0, "commissionable": 0, "tickets": 1, "lines": 1},
    }


def test_a_product_without_a_department_counts_as_excluded(tmp_path):
    line = (7, 5, 101, 99, 1, 4.20, datetime(2017, 5, 5, 12, 0, 0))
    totals = source_totals(write_source(tmp_path / "source", [line]))
    assert totals == {"2017-05": {"net": 420, "excluded": 420, "commissionable": 0, "tickets": 1, "lines": 1}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ((8, 5, 101, 3, 1, 1.0, LINES[0][-1]), "basket 101: its lines don't stand together"),
        ((7, 30000, 106, 1, 1, 1.0, LINES[-1][-1]), "basket 106: its lines differ in household"),
        ((9, 5, 106, 1, 1, 1.0, LINES[-1][-1]), "basket 106: its lines differ in household, store"),
        ((9, 30000, 106, 1, 1, 1.0, LINES[0][-1]), "basket 106: its lines differ in household, store or time"),
        ((9, 30000, 106, 1, -1, 1.0, LINES[-1][-1]), "basket 106: it has a line below zero"),
        ((9, 30000, 106, 1, 1, -1.0, LINES[-1][-1]), "basket 106: it has a line below zero"),
    ],
)
def test_a_basket_that_is_no_single_ticket_is_refused(tmp_path, line, message):
    source = write_source(tmp_path / "source", [*LINES, line])
    with pytest.raises(ValueError, match=message):
        write_complete_journey(tmp_path / "out", source=source)
    assert not (tmp_path / "out").exists()


def test_a_department_without_a_rate_is_refused(tmp_path):
    source = write_source(tmp_path / "source", products=[*PRODUCTS, (5, "TELEPORTATION")])
    with pytest.raises(ValueError, match="no rate is set for TELEPORTATION"):
        write_complete_journey(tmp_path / "out", source=source)


def test_the_whole_year_has_the_published_counts_and_agrees_with_the_source_to_the_cent(tmp_path):
    journey = write_complete_journey(tmp_path)
    counts = (journey.lines, journey.tickets, journey.members, journey.stores)
    assert counts == (1_469_307, 155_848, 2_469, 457)

    excluded = {row["category"] for row in rows_of(journey.roster / "categories.csv") if row["excluded"] == "yes"}
    rates = {row["category"]: row["rate"] for row in rows_of(journey.roster / "plan_rates.csv")}
    assert {category for category, rate in rates.items() if rate == "excluded"} == excluded
    stores = {row["clerk_no"]: row["store_no"] for row in rows_of(journey.roster / "postings.csv")}
    assert len(stores) == journey.clerks
    assert min(Counter(stores.values()).values()) == 2
    members = {row["member_no"] for row in rows_of(journey.roster / "members.csv")}
    assert len(members) == journey.members

    written = {}
    seen = set()
    for month, path in journey.ticket_files.items():
        totals = Counter({"net": 0, "excluded": 0, "commissionable": 0, "tickets": 0, "lines": 0})
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                assert row["business_date"][:7] == row["sold_at"][:7] == month
                assert stores[row["clerk_no"]] == row["store_no"]
                assert row["member_no"] in members
                assert int(row["quantity"]) >= 0
                whole, _, cents = row["net_amount"].partition(".")
                assert len(cents) == 2
                amount = int(whole + cents)
                kind = "commissionable" if rates[row["category"]] != "excluded" else "excluded"
                totals.update({"net": amount, kind: amount, "lines": 1, "tickets": row["line_no"] == "1"})
                key = (row["store_no"], row["business_date"], row["ticket_no"], row["line_no"])
                seen.add(hash(key))
        written[month] = dict(totals)
    assert list(written) == [f"2017-{number:02d}" for number in range(1, 13)]
    assert written == source_totals()
    assert len(seen) == journey.lines
