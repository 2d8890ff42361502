"""The demo's files: the same bytes every time, importable to the letter, and as eventful as they claim to be.

Everything is read back from the CSV files by code that knows nothing of the generator.
"""

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from payroll_exports.demo_chain import DemoChain, write_demo_chain

COLUMNS = {
    "stores.csv": "store_no,name",
    "categories.csv": "category,name_en,name_zh,excluded",
    "clerks.csv": "clerk_no,name,hired_on,left_on",
    "postings.csv": "clerk_no,store_no,role,valid_from,valid_to,weight",
    "salaries.csv": "clerk_no,monthly_base,valid_from,valid_to",
    "identity_documents.csv": "clerk_no,document_type,document_no",
    "members.csv": "member_no,name,phone,gender,birth_date,neighbourhood,store_no,enrolled_on,enrolled_by,closed_on",
    "plans.csv": "plan_no,store_no,valid_from,valid_to,owner_share,house_share,walk_in_share",
    "plan_rates.csv": "plan_no,category,rate",
    "plan_products.csv": "plan_no,product_no,rate,amount_per_unit",
    "bands.csv": "plan_no,lower_amount,rate",
    "tickets.csv": (
        "store_no,business_date,ticket_no,sold_at,clerk_no,member_no,line_no,product_no,category,quantity,net_amount,"
        "original_store_no,original_business_date,original_ticket_no,original_line_no"
    ),
}
FOREVER = date(9999, 12, 31)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def fen(text: str) -> int:
    """Money as the files write it: exactly two decimals."""
    whole, _, cents = text.partition(".")
    assert len(cents) == 2, text
    return int(whole + cents)


def day(text: str) -> date:
    return date.fromisoformat(text) if text else FOREVER


@dataclass(frozen=True)
class Line:
    month: str  # of the file
    ticket: tuple[str, date, str]
    sold_at: datetime
    clerk: str
    member: str
    number: int
    product: str
    category: str
    quantity: int
    amount: int
    original: tuple[tuple[str, date, str], int] | None

    @property
    def key(self):
        return self.ticket, self.number


@dataclass(frozen=True)
class Story:
    """A chain's files as a reader finds them: ticket lines in file order, roster rows by file in month order."""

    chain: DemoChain
    lines: list[Line]
    rosters: dict[str, dict[str, list[dict[str, str]]]]

    def roster(self, name: str) -> list[dict[str, str]]:
        return [row for files in self.rosters.values() for row in files.get(name, [])]

    def latest(self, name: str, *key: str) -> dict[tuple[str, ...], dict[str, str]]:
        """Upserted: the last row of each key counts."""
        return {tuple(row[column] for column in key): row for row in self.roster(name)}

    def tickets(self) -> dict[tuple[str, date, str], list[Line]]:
        tickets = defaultdict(list)
        for line in self.lines:
            tickets[line.ticket].append(line)
        return tickets


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    chain = write_demo_chain(tmp_path_factory.mktemp("demo"), stores=3, clerks=19, members=900)
    lines, rosters = [], {}
    for month in chain.months:
        rosters[month.month] = {path.name: rows_of(path) for path in month.roster.iterdir()}
        for row in rows_of(month.tickets_file):
            originals = [row[f"original_{name}"] for name in ("store_no", "business_date", "ticket_no", "line_no")]
            assert all(originals) or not any(originals)
            store_no, business_date, ticket_no, line_no = originals
            lines.append(
                Line(
                    month=month.month,
                    ticket=(row["store_no"], day(row["business_date"]), row["ticket_no"]),
                    sold_at=datetime.fromisoformat(row["sold_at"]),
                    clerk=row["clerk_no"],
                    member=row["member_no"],
                    number=int(row["line_no"]),
                    product=row["product_no"],
                    category=row["category"],
                    quantity=int(row["quantity"]),
                    amount=fen(row["net_amount"]),
                    original=((store_no, day(business_date), ticket_no), int(line_no)) if line_no else None,
                )
            )
    return Story(chain, lines, rosters)


def digest(directory: Path) -> str:
    total = sha256()
    for path in sorted(directory.rglob("*.csv")):
        total.update(str(path.relative_to(directory)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    write_small = partial(write_demo_chain, stores=2, clerks=10, members=120, months=4)
    first = write_small(tmp_path / "a")
    again = write_small(tmp_path / "b")
    write_small(tmp_path / "c", seed=7)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    counts = (first.tickets, first.lines, first.members, first.clerks)
    assert counts == (again.tickets, again.lines, again.members, again.clerks)


def test_files_have_the_columns_of_the_format_and_nothing_else(story):
    for path in story.chain.directory.rglob("*.*"):
        assert path.read_text(encoding="utf-8").partition("\n")[0] == COLUMNS[path.name], path
    first = story.rosters[story.chain.months[0].month]
    assert set(first) == set(COLUMNS) - {"tickets.csv", "bands.csv"}  # the first plan has no bands


def test_months_follow_each_other_and_the_counts_are_those_of_the_files(story):
    chain = story.chain
    assert [month.month for month in chain.months] == [
        *(f"2025-{number}" for number in (10, 11, 12)),
        *(f"2026-{number:02d}" for number in range(1, 11)),
    ]
    assert chain.first_day == date(2025, 10, 1)
    for month in chain.months:
        lines = [line for line in story.lines if line.month == month.month]
        counted = (len({line.ticket for line in lines}), len(lines), sum(line.amount for line in lines))
        assert (month.tickets, month.lines, month.net_amount) == counted
    assert chain.tickets == len(story.tickets()) == sum(month.tickets for month in chain.months)
    assert chain.lines == len(story.lines)
    assert chain.members == len(story.latest("members.csv", "member_no")) == 900
    assert chain.clerks == len(story.latest("clerks.csv", "clerk_no")) == 19
    assert chain.stores == len(story.roster("stores.csv")) == 3


def test_the_number_of_tickets_follows_from_members_and_months(story):
    expected = 0.74 * 900 * 13
    assert 0.97 * expected < story.chain.tickets < 1.07 * expected


def test_a_ticket_is_whole_and_in_one_file(story):
    for ticket, lines in story.tickets().items():
        assert len({(line.month, line.sold_at, line.member) for line in lines}) == 1, ticket
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        assert lines[0].sold_at.date() == ticket[1]
        assert lines[0].sold_at.utcoffset() == timedelta(hours=8)
        assert len(lines) <= 6


def test_every_number_is_known_from_a_roster_imported_before(story):
    known: dict[str, set[str]] = defaultdict(set)
    columns = {"stores.csv": "store_no", "categories.csv": "category", "clerks.csv": "clerk_no"}
    columns["members.csv"] = "member_no"
    by_month = defaultdict(list)
    for line in story.lines:
        by_month[line.month].append(line)
    for month, files in story.rosters.items():
        for name, column in columns.items():
            known[column].update(row[column] for row in files.get(name, []))
        for name in ("postings.csv", "salaries.csv"):
            assert {row["clerk_no"] for row in files.get(name, [])} <= known["clerk_no"]
        for member in files.get("members.csv", []):
            assert member["store_no"] in known["store_no"]
            assert member["enrolled_by"] in known["clerk_no"] | {""}
        for line in by_month[month]:
            assert line.ticket[0] in known["store_no"]
            assert line.category in known["category"]
            assert line.clerk in known["clerk_no"] | {""}
            assert line.member in known["member_no"] | {""}


def test_no_roster_file_names_one_thing_twice(story):
    keys = {
        "stores.csv": ["store_no"],
        "categories.csv": ["category"],
        "clerks.csv": ["clerk_no"],
        "postings.csv": ["clerk_no", "valid_from"],
        "salaries.csv": ["clerk_no", "valid_from"],
        "identity_documents.csv": ["document_no"],
        "members.csv": ["member_no"],
        "plans.csv": ["plan_no"],
        "plan_rates.csv": ["plan_no", "category"],
        "plan_products.csv": ["plan_no", "product_no"],
        "bands.csv": ["plan_no", "lower_amount"],
    }
    for files in story.rosters.values():
        for name, rows in files.items():
            assert len({tuple(row[column] for column in keys[name]) for row in rows}) == len(rows), name


def test_members_of_the_first_roster_wait_for_the_split_and_later_ones_have_mostly_an_enroller(story):
    first, *later = story.rosters.values()
    assert len(first["members.csv"]) > 720
    at_start = [row for row in first["members.csv"] if day(row["enrolled_on"]) < story.chain.first_day]
    assert len(at_start) == 720
    assert not any(row["enrolled_by"] for row in at_start)
    new = [row for files in later for row in files["members.csv"] if not row["closed_on"]]
    assert 0.05 < sum(not row["enrolled_by"] for row in new) / len(new) < 0.3
    assert all(files["members.csv"] for files in later)  # enrolments all along
    for month, files in list(story.rosters.items())[1:]:
        assert all(row["enrolled_on"].startswith(month) for row in files["members.csv"] if not row["closed_on"])


def test_members_buy_only_while_they_have_a_card(story):
    members = story.latest("members.csv", "member_no")
    closed = [row for row in members.values() if row["closed_on"]]
    assert closed
    for line in story.lines:
        if line.member:
            member = members[line.member,]
            assert day(member["enrolled_on"]) <= line.ticket[1] < day(member["closed_on"])


def clerk_postings(story: Story) -> dict[str, list[tuple[str, date, date, str]]]:
    postings = defaultdict(list)
    for row in story.latest("postings.csv", "clerk_no", "store_no", "role", "valid_from").values():
        if row["role"] == "clerk":
            postings[row["clerk_no"]].append(
                (row["store_no"], day(row["valid_from"]), day(row["valid_to"]), row["weight"])
            )
    return postings


def test_clerks_serve_only_where_they_are_posted(story):
    postings = clerk_postings(story)
    for line in story.lines:
        if line.clerk:
            store_no, business_date, _ = line.ticket
            places = [store for store, start, end, _ in postings[line.clerk] if start <= business_date < end]
            assert places == [store_no], line
    for spans in postings.values():
        spans.sort(key=lambda span: span[1])
        assert all(before[2] <= after[1] for before, after in pairwise(spans))


def test_managers_have_a_posting_without_weight_and_only_some_of_them_sell(story):
    managers = {row["clerk_no"] for row in story.roster("postings.csv") if row["role"] == "manager"}
    assert len(managers) == story.chain.stores
    assert {row["weight"] for row in story.roster("postings.csv") if row["role"] == "manager"} == {"0"}
    sellers = {line.clerk for line in story.lines}
    assert managers & sellers
    assert managers - sellers
    assert {weight for spans in clerk_postings(story).values() for *_, weight in spans} == {"0", "0.5", "1"}


def test_two_clerks_leave_in_different_months_and_sell_until_then(story):
    leavers = story.chain.leavers
    assert leavers == {
        row["clerk_no"]: day(row["left_on"])
        for row in story.latest("clerks.csv", "clerk_no").values()
        if row["left_on"]
    }
    assert len(leavers) == 2
    assert len({(last_day.year, last_day.month) for last_day in leavers.values()}) == 2
    postings, salaries = clerk_postings(story), story.latest("salaries.csv", "clerk_no", "valid_from")
    for clerk, last_day in leavers.items():
        days = [line.ticket[1] for line in story.lines if line.clerk == clerk]
        assert last_day - timedelta(days=7) < max(days) <= last_day
        gone = last_day + timedelta(days=1)
        assert [end for _, _, end, _ in postings[clerk]] == [gone]
        assert [day(row["valid_to"]) for (number, _), row in salaries.items() if number == clerk] == [gone]


def test_one_clerk_moves_one_starts_and_one_is_away_for_three_weeks(story):
    chain = story.chain
    mover, moved_on = chain.transferred
    stores_before = {line.ticket[0] for line in story.lines if line.clerk == mover and line.ticket[1] < moved_on}
    stores_after = {line.ticket[0] for line in story.lines if line.clerk == mover and line.ticket[1] >= moved_on}
    assert len(stores_before) == len(stores_after) == 1
    assert stores_before != stores_after

    resting, away_from, back_on = chain.on_leave
    assert back_on - away_from == timedelta(weeks=3)
    days = {line.ticket[1] for line in story.lines if line.clerk == resting}
    assert min(days) < away_from
    assert max(days) > back_on
    assert not any(away_from <= business_date < back_on for business_date in days)

    started = min(line.ticket[1] for line in story.lines if line.clerk == chain.new_clerk)
    assert started > chain.first_day + timedelta(days=90)
    assert [weight for *_, weight in clerk_postings(story)[chain.new_clerk]] == ["0", "1"]


def test_some_salaries_rise_without_a_gap(story):
    salaries = defaultdict(list)
    for (clerk, valid_from), row in story.latest("salaries.csv", "clerk_no", "valid_from").items():
        salaries[clerk].append((day(valid_from), day(row["valid_to"]), fen(row["monthly_base"])))
    assert len(salaries) == story.chain.clerks
    raised = [sorted(spans) for spans in salaries.values() if len(spans) > 1]
    assert raised
    for before, after in raised:
        assert before[1] == after[0]
        assert before[2] < after[2]


def test_returns_keep_within_their_originals(story):
    """Every return names a line that an earlier or the same file sold, and no line gives back more than it sold."""
    sold = {line.key: line for line in story.lines if line.original is None}
    assert all(line.quantity > 0 and line.amount >= 0 for line in sold.values())
    remaining = {key: (line.quantity, line.amount) for key, line in sold.items()}
    for line in story.lines:
        if line.original is None:
            continue
        assert line.quantity < 0
        assert line.amount < 0
        original = sold[line.original]
        assert original.sold_at < line.sold_at
        assert original.month <= line.month
        assert (original.product, original.category) == (line.product, line.category)
        assert original.category != "prescription"
        quantity, amount = remaining[line.original]
        remaining[line.original] = (quantity + line.quantity, amount + line.amount)
        assert min(remaining[line.original]) >= 0
        # What is all back in pieces is all back in money.
        assert remaining[line.original][0] > 0 or remaining[line.original][1] == 0


def test_returns_are_whole_partial_in_two_parts_late_and_in_another_store(story):
    sold = {line.key: line for line in story.lines if line.original is None}
    returned = Counter(line.original for line in story.lines if line.original)
    parts: Counter = Counter()
    for line in story.lines:
        if line.original:
            parts[line.original] -= line.quantity
    whole = [key for key, quantity in parts.items() if quantity == sold[key].quantity]
    assert whole
    assert len(whole) < len(parts)
    assert max(returned.values()) == 2
    returns = [line for line in story.lines if line.original]
    assert any(line.ticket[0] != line.original[0][0] for line in returns)
    assert any(
        (line.ticket[1].year, line.ticket[1].month) > (d.year, d.month)
        for line in returns
        for d in [line.original[0][1]]
    )
    share = len({line.ticket for line in returns}) / story.chain.tickets
    assert 0.01 < share < 0.04


def test_all_kinds_of_tickets_occur(story):
    tickets = story.tickets().values()
    homes = {number: row["store_no"] for (number,), row in story.latest("members.csv", "member_no").items()}
    total = len(tickets)
    exchanges = sum(len({line.original is None for line in lines}) == 2 for lines in tickets)
    two_sellers = sum(len({line.clerk for line in lines}) == 2 for lines in tickets)
    walk_ins = sum(not lines[0].member for lines in tickets)
    online = sum(not lines[0].clerk for lines in tickets)
    elsewhere = sum(bool(lines[0].member) and homes[lines[0].member] != lines[0].ticket[0] for lines in tickets)
    assert exchanges >= 10
    assert two_sellers / total > 0.01
    assert 0.1 < walk_ins / total < 0.3
    assert 0.02 < online / total < 0.1
    assert 0.01 < elsewhere / total < 0.1
    assert not any(lines[0].clerk and not all(line.clerk for line in lines) for lines in tickets)


def test_late_tickets_come_with_the_next_month_and_nothing_is_left_over(story):
    months = [month.month for month in story.chain.months]
    late = {line.ticket: line.month for line in story.lines if f"{line.ticket[1]:%Y-%m}" != line.month}
    assert len(late) >= 5
    for (_, business_date, _), month in late.items():
        assert months.index(month) == months.index(f"{business_date:%Y-%m}") + 1


def test_a_fifth_of_the_buyers_spends_about_four_fifths(story):
    spend: Counter[str] = Counter()
    for line in story.lines:
        if line.member:
            spend[line.member] += line.amount
    amounts = sorted((amount for amount in spend.values() if amount > 0), reverse=True)
    assert 0.7 < sum(amounts[: len(amounts) // 5]) / sum(amounts) < 0.88


def test_members_lapse_and_come_back(story):
    days = defaultdict(set)
    for line in story.lines:
        if line.member and line.original is None:
            days[line.member].add(line.ticket[1])
    gaps = [
        (after - before).days
        for bought in days.values()
        if len(bought) > 8
        for before, after in pairwise(sorted(bought))
    ]
    assert sum(gap > 120 for gap in gaps) >= 5


def test_each_day_has_one_complete_plan_and_only_the_second_has_bands(story):
    chain = story.chain
    plans = list(story.latest("plans.csv", "plan_no").values())
    rates = story.latest("plan_rates.csv", "plan_no", "category")
    categories = {row["category"] for row in story.roster("categories.csv")}
    for plan in plans:
        assert {category for number, category in rates if number == plan["plan_no"]} == categories
    first, second = sorted((plan for plan in plans if not plan["store_no"]), key=lambda plan: plan["valid_from"])
    assert day(first["valid_from"]) == chain.first_day
    assert first["valid_to"] == second["valid_from"] == "2026-04-01"
    assert second["valid_to"] == ""
    assert {row["plan_no"] for row in story.roster("bands.csv")} == {second["plan_no"]}
    (own,) = [plan for plan in plans if plan["store_no"]]
    assert (own["valid_from"], own["valid_to"]) == ("2026-06-01", "2026-09-01")
    excluded = {row["category"] for row in story.roster("categories.csv") if row["excluded"] == "yes"}
    assert excluded == {"prescription"}
    assert rates[first["plan_no"], "convenience"]["rate"] == "1"
    assert rates[second["plan_no"], "convenience"]["rate"] == "excluded"


def test_each_plan_pays_one_product_by_rate_and_one_by_unit_and_both_are_sold(story):
    by_plan = defaultdict(list)
    for row in story.roster("plan_products.csv"):
        assert bool(row["rate"]) != bool(row["amount_per_unit"])
        by_plan[row["plan_no"]].append(row)
    assert len(by_plan) == 3
    for rows in by_plan.values():
        assert sorted(bool(row["rate"]) for row in rows) == [False, True]
    sold = {line.product for line in story.lines}
    assert {row["product_no"] for row in story.roster("plan_products.csv")} <= sold


def test_people_look_like_people(story):
    members = [row for row in story.roster("members.csv") if not row["closed_on"]]
    phones = Counter(row["phone"] for row in members)
    assert all(phone.startswith("154") and len(phone) == 11 and phone.isdigit() for phone in phones)
    assert max(phones.values()) == 2  # a few second cards
    names = "".join(row["name"] for row in members)
    assert all(2 <= len(row["name"]) <= 4 for row in members)
    assert names.encode("gb18030").decode("gb18030") == names
    assert set(names) & set("㛃燊喆堃翀頔彧祎犇淼玥䶮")
    assert any("䶮" in row["name"] for row in story.roster("clerks.csv"))
    assert {row["gender"] for row in members} == {"f", "m", ""}
    over_55 = sum(day(row["birth_date"]).year < 1970 for row in members) / len(members)
    assert 0.45 < over_55 < 0.75


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stores": 1}, "stores=1"),
        ({"stores": 9}, "stores=9"),
        ({"clerks": 24}, "clerks=24"),
        ({"members": 100}, "members=100"),
        ({"months": 3}, "months=3"),
    ],
)
def test_a_chain_too_small_for_its_story_is_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_demo_chain(tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("months", [4, 5, 7])
def test_a_short_chain_of_another_year_has_the_same_story(tmp_path, months):
    chain = write_demo_chain(tmp_path, stores=2, clerks=9, members=200, first_month="1997-11", months=months, seed=3)
    assert chain.months[0].month == "1997-11"
    assert len(chain.months) == months
    last_month = date.fromisoformat(f"{chain.months[-1].month}-01")
    assert len(chain.leavers) == 2
    for happened_on in (*chain.leavers.values(), chain.transferred[1], chain.on_leave[1]):
        assert date(1997, 12, 1) <= happened_on < last_month
