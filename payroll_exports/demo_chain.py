"""A believable chain of pharmacies, made up from a seed, as ordinary roster and ticket files, one pair a month.

The same arguments give the same bytes: every choice comes from one `random.Random(seed)`. A chain of 6,000 members
has some 60,000 tickets in 13 months; a fifth of its members spend about four fifths of the money.

What happens, in months counted from the first (of 13):

* Every month: enrolments (some online, without a clerk), closed cards, returns whole and partial, some in a later
  month or another store, exchanges, two sellers on one ticket, walk-ins, online orders without a seller, visits to
  another store, tickets that arrive with the next month's file, members who lapse and come back.
* 3: a clerk is on leave for three weeks; others cover.
* 4 and 8: a clerk leaves (in the middle, at the end of the month); 5: a new clerk starts, on probation with weight 0.
* 6: the second plan takes over: bands, a house share, convenience goods excluded; some clerks get a raise.
* 7: a clerk is transferred to another store.
* 8 to 10: the third store has a plan of its own.

In a shorter chain the same events lie closer together; from four months on all but the store's own plan occur.
"""

from __future__ import annotations

import csv
import math
import random
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

VISITS_PER_MEMBER_MONTH: Final = 0.74  # all of the chain's sales, walk-ins too, per member and month
DAY: Final = timedelta(days=1)
UTC_OFFSET: Final = "+08:00"

STORES: Final = (  # name, share of the sales, neighbourhoods
    ("禾安堂药房人民路店", 24, "锦绣花园 人民新村 邮电小区 文化里 建设大院 百货公司宿舍"),
    ("禾安堂药房中山公园店", 19, "中山苑 公园里 湖滨小区 翠湖苑 望湖公寓 园林新村"),
    ("禾安堂药房滨江花园店", 17, "滨江花园 江畔明珠 望江府 碧水湾 江南春城 临江苑"),
    ("禾安堂药房南门菜场店", 16, "南门新村 城南小区 菜园里 纺织大院 红星巷 南苑"),
    ("禾安堂药房大学城店", 13, "学府花园 师大家属区 育才小区 博雅苑 书香门第 紫荆公寓"),
    ("禾安堂药房高新区店", 11, "科技公寓 创新家园 软件园小区 高新花园 天润城 未来城"),
    ("禾安堂药房火车站店", 10, "铁路新村 站前小区 工人村 四方里 迎宾花园 长途站宿舍"),
    ("禾安堂药房东湖路店", 10, "东湖花园 水岸华庭 东苑新村 芳草里 碧波小区 桃花苑"),
)
CATEGORIES: Final = (  # category, English, Chinese, excluded; rate in the first and second plan, the store's own plan
    ("prescription", "Prescription medicines", "处方药", True, "excluded", "excluded", "excluded"),
    ("otc", "OTC medicines", "非处方药", False, "4", "4", "4"),
    ("supplements", "Supplements", "保健食品", False, "8", "9", "10"),
    ("tonics", "Premium tonics", "参茸贵细", False, "6", "7", "7"),
    ("herbal", "Herbal pieces", "中药饮片", False, "5", "5", "5"),
    ("devices", "Medical devices", "医疗器械", False, "5", "5.5", "8"),
    ("mother_baby", "Mother and baby", "母婴用品", False, "4.5", "4.5", "4.5"),
    ("personal_care", "Personal care", "个人护理", False, "6", "6", "6"),
    ("disinfection", "Masks and disinfection", "防护消毒", False, "3", "3.5", "3.5"),
    ("convenience", "Convenience goods", "便民商品", False, "1", "excluded", "1"),
)
SHELVES: Final = {  # category: number of products, lowest and highest price in yuan, seldom more than one
    "prescription": (60, 9, 118, False),
    "otc": (70, 8, 78, False),
    "supplements": (34, 29, 238, False),
    "tonics": (12, 88, 880, True),
    "herbal": (24, 9, 118, False),
    "devices": (22, 19, 398, True),
    "mother_baby": (20, 19, 298, False),
    "personal_care": (26, 15, 128, False),
    "disinfection": (12, 5, 49, False),
    "convenience": (14, 6, 69, False),
}
CATEGORY_NAMES: Final = tuple(SHELVES)
TASTES: Final = {  # how often a customer of this kind takes from a shelf, cumulated in the order of SHELVES
    "senior": list(accumulate((36, 27, 9, 2, 10, 5, 0, 2, 4, 5))),
    "family": list(accumulate((10, 32, 6, 1, 3, 3, 26, 10, 7, 2))),
    "adult": list(accumulate((14, 38, 10, 1, 6, 4, 2, 14, 8, 3))),
}
GLUCOMETER: Final = "P600013"  # pays an amount per unit
PROTEIN_POWDER: Final = "P300024"  # has a rate of its own
SPRING_FESTIVALS: Final = {2024: (2, 10), 2025: (1, 29), 2026: (2, 17), 2027: (2, 6), 2028: (1, 26)}
WEEKDAYS: Final = (0.95, 0.92, 0.94, 0.96, 1.0, 1.17, 1.12)
MEMBER_DAYS: Final = (8, 18, 28)  # discount for members, and a fuller shop
HOURS: Final = (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
HOUR_WEIGHTS: Final = list(accumulate((6, 11, 12, 9, 5, 4, 5, 6, 7, 9, 11, 9, 7, 3)))

SURNAMES: Final = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢"
    "姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫雷龙史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常"
)
RARE_SURNAMES: Final = ("欧阳", "司马", "诸葛", "翟", "亓", "逄", "芈", "仝")
GIVEN: Final = {  # by gender and generation (born before 1965, before 1985, later)
    "f": (
        "秀英 桂兰 玉兰 淑珍 秀兰 凤英 玉梅 桂芳 素琴 惠珍 翠萍 月娥 淑华 爱华 金凤 美玲",
        "丽 敏 静 艳 娟 芳 燕 红梅 晓燕 丽娟 海霞 雪梅 春燕 晓红 丽萍 文静 玉洁 慧敏",
        "婷 雪 倩 欣怡 梓涵 思雨 佳怡 雨桐 诗涵 梦瑶 晓彤 若曦 一诺 可欣 语嫣 子萱",
    ),
    "m": (
        "建国 建华 国强 志明 德明 永福 福生 振华 金生 保国 文华 志强 水根 长根 兴旺 宝山",
        "伟 强 军 磊 勇 建军 海涛 志刚 晓东 永强 立新 国栋 海波 俊杰 文斌 振宇",
        "浩 宇航 子轩 浩然 俊熙 一鸣 博文 家豪 天佑 泽宇 明轩 嘉诚 思远 晨阳 睿 志远",
    ),
}
RARE_GIVEN: Final = ("䶮", "㛃", "燊", "喆", "堃", "翀", "頔", "彧", "祎", "犇", "淼", "玥")

ROSTER_COLUMNS: Final = {
    "stores": "store_no name",
    "categories": "category name_en name_zh excluded",
    "clerks": "clerk_no name hired_on left_on",
    "postings": "clerk_no store_no role valid_from valid_to weight",
    "salaries": "clerk_no monthly_base valid_from valid_to",
    "identity_documents": "clerk_no document_type document_no",
    "members": "member_no name phone gender birth_date neighbourhood store_no enrolled_on enrolled_by closed_on",
    "plans": "plan_no store_no valid_from valid_to owner_share house_share walk_in_share",
    "plan_rates": "plan_no category rate",
    "plan_products": "plan_no product_no rate amount_per_unit",
    "bands": "plan_no lower_amount rate",
}
TICKET_COLUMNS: Final = (
    "store_no business_date ticket_no sold_at clerk_no member_no line_no product_no category quantity net_amount "
    "original_store_no original_business_date original_ticket_no original_line_no"
)


@dataclass(frozen=True, kw_only=True)
class DemoMonth:
    """One month's input files, and what the ticket file holds: tickets, lines and net amount (fen)."""

    month: str
    roster: Path
    tickets_file: Path
    tickets: int
    lines: int
    net_amount: int


@dataclass(frozen=True, kw_only=True)
class DemoChain:
    """What was written: the months in order, the counts over all of them, and who the story is about."""

    directory: Path
    first_day: date
    months: list[DemoMonth]
    stores: int
    clerks: int
    members: int
    tickets: int
    lines: int
    leavers: dict[str, date]  # clerk: last day worked
    new_clerk: str
    transferred: tuple[str, date]  # clerk, first day at the new store
    on_leave: tuple[str, date, date]  # clerk, first day away, first day back


@dataclass(eq=False)
class _Clerk:
    no: str
    name: str
    store: int
    place: int  # in the store's staff: decides days off and shift
    is_manager: bool
    sells: bool
    weight: str
    monthly_base: int
    hired_on: date
    posted_from: date
    left_on: date | None = None
    away: tuple[date, date] | None = None


@dataclass(eq=False)
class _Member:
    no: str
    name: str
    phone: str
    gender: str
    birth_date: date
    neighbourhood: str
    store: int
    enrolled_on: date
    enrolled_by: str
    taste: str
    visits: float  # relative frequency
    purse: float  # relative size of a basket
    absent: range  # months without a visit
    prefers: _Clerk | None = None
    closed_on: date | None = None


@dataclass
class _Line:
    clerk: str
    product: str
    category: str
    quantity: int
    amount: int  # fen
    original: tuple[_Ticket, int] | None = None


@dataclass(eq=False)
class _Ticket:
    store: int
    day: date
    second: int  # of the day
    member: _Member | None
    lines: list[_Line]
    is_late: bool = False
    no: str = ""


@dataclass
class _Return:
    """What a customer brings back on a later day: quantity and amount (fen) by line number of the original."""

    original: _Ticket
    goods: dict[int, tuple[int, int]]
    is_exchange: bool = False


@dataclass
class _Product:
    no: str
    category: str
    price: int  # fen


@dataclass
class _Roster:
    """One month's roster rows by file."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, file: str, *row: Any) -> None:
        self.rows[file].append(row)

    def write(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for file, rows in self.rows.items():
            _write_rows(directory / f"{file}.csv", ROSTER_COLUMNS[file], rows)


def write_demo_chain(
    directory: Path,
    *,
    seed: int = 20251001,
    stores: int = 6,
    clerks: int = 45,
    members: int = 6000,
    first_month: str = "2025-10",
    months: int = 13,
) -> DemoChain:
    """Write `directory/<YYYY-MM>/roster/*.csv` and `directory/<YYYY-MM>/tickets.csv` for each month.

    The first roster holds everything known at the start, each later one what that month changes. Members of the first
    roster have no enroller and no binding: they are there to be split. `clerks` counts everyone who ever works there,
    `members` every card ever enrolled. Money is in yuan with two decimals, times are China's (+08:00).

    Raises ValueError for a chain too small or too short for its story, or with more stores than there are names for.
    """
    if not 2 <= stores <= len(STORES):
        raise ValueError(f"stores={stores}: a demo chain has 2 to {len(STORES)} stores.")
    if clerks < 4 * stores + 1:
        raise ValueError(f"clerks={clerks}: {stores} stores need at least {4 * stores + 1} clerks.")
    if members < 20 * stores:
        raise ValueError(f"members={members}: {stores} stores need at least {20 * stores} members.")
    if not 4 <= months <= 36:
        raise ValueError(f"months={months}: the chain's story takes 4 to 36 months.")
    calendar = _month_starts(date.fromisoformat(f"{first_month}-01"), months)
    return _Chain(random.Random(seed), stores, clerks, members, calendar).write(directory)


def _month_starts(first_day: date, months: int) -> list[date]:
    """The first day of each month, and of the one after the last."""
    start = first_day.year * 12 + first_day.month - 1
    return [date(number // 12, number % 12 + 1, 1) for number in range(start, start + months + 1)]


def _days(first: date, end: date) -> Iterator[date]:
    return (first + timedelta(days=offset) for offset in range((end - first).days))


def _yuan(fen: int) -> str:
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def _resident_id(number: int) -> str:
    """An ID card's number of a place that there is not, so that it is nobody's; the last character fits (GB 11643)."""
    born = date(1966, 1, 1) + timedelta(days=number * 211 % 13_000)
    first = f"990000{born:%Y%m%d}{number % 1_000:03d}"
    weights = (2 ** (17 - place) % 11 for place in range(17))
    return first + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(first, weights, strict=True)) % 11]


def _write_rows(path: Path, columns: str, rows: Iterable[Iterable[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns.split())
        writer.writerows(rows)


def _day_factor(day: date) -> float:
    """How full the shops are: the week, members' days, the flu season and the Spring Festival."""
    factor = WEEKDAYS[day.weekday()]
    if day.day in MEMBER_DAYS:
        factor *= 1.5
    if day.month in (11, 12, 1):
        factor *= 1.1
    elif day.month in (6, 7, 8):
        factor *= 0.93
    if day.year in SPRING_FESTIVALS:
        offset = (day - date(day.year, *SPRING_FESTIVALS[day.year])).days
        if -8 <= offset < -1:
            factor *= 1.25
        elif -1 <= offset < 4:
            factor *= 0.5
    return factor


class _Chain:
    """The chain's people and their story, and the tickets that follow from both."""

    def __init__(self, rng: random.Random, stores: int, clerks: int, members: int, calendar: list[date]) -> None:
        self.rng = rng
        self.calendar = calendar
        self.first_day, self.end = calendar[0], calendar[-1]
        self.months = len(calendar) - 1
        self.store_weights = [weight for _, weight, _ in STORES[:stores]]
        self.rosters = [_Roster() for _ in range(self.months)]
        self.phones: set[str] = set()
        self.shelves = self._stock()
        self.clerks = self._hire(clerks)
        self._tell_story()
        self.members: list[_Member] = []
        self.enrolled_on: dict[date, list[_Member]] = defaultdict(list)
        self._enrol(members)
        self.returns: dict[date, list[_Return]] = defaultdict(list)

    # --- who and what there is -----------------------------------------------------------------------------------

    def _stock(self) -> dict[str, list[_Product]]:
        """The products by category, cheapest first; prices end in .0, .5, .8 or .9."""
        shelves = {}
        for place, (category, (count, low, high, _)) in enumerate(SHELVES.items(), 1):
            prices = sorted(
                int(low * (high / low) ** self.rng.random()) * 100 + self.rng.choice((0, 50, 80, 90))
                for _ in range(count)
            )
            shelves[category] = [
                _Product(f"P{place}{number:05d}", category, price) for number, price in enumerate(prices, 1)
            ]
        return shelves

    def _name(self, gender: str, born: int) -> str:
        rng = self.rng
        surname = rng.choice(SURNAMES[: int(len(SURNAMES) * (0.25 + 0.75 * rng.random()))])
        if rng.random() < 0.01:
            surname = rng.choice(RARE_SURNAMES)
        if rng.random() < 0.006:
            return surname + rng.choice(RARE_GIVEN)
        return surname + rng.choice(GIVEN[gender][(born >= 1965) + (born >= 1985)].split())

    def _hire(self, count: int) -> list[_Clerk]:
        """The staff at the start; the last one listed is hired later. Each store has a manager, every other sells."""
        rng = self.rng
        stores = len(self.store_weights)
        homes = [place % stores for place in range(4 * stores)]  # a shop can't be kept open with fewer than four
        homes += rng.choices(range(stores), self.store_weights, k=count - 1 - len(homes))
        places: dict[int, int] = defaultdict(int)
        names: set[str] = set()
        clerks = []
        for number, store in enumerate([*sorted(homes), 0], 1):
            place = places[store]
            places[store] += 1
            gender = "f" if rng.random() < 0.78 else "m"
            born = rng.randrange(1974, 2002)
            name = self._name(gender, born)
            while name in names:
                name = self._name(gender, born)
            names.add(name)
            is_manager = place == 0
            hired_on = self.first_day - timedelta(days=rng.randrange(120, 3000))
            clerks.append(
                _Clerk(
                    no=f"E{1000 + number}",
                    name=name,
                    store=store,
                    place=place,
                    is_manager=is_manager,
                    sells=not is_manager or store % 2 == 0,
                    # A selling manager and a part-timer carry half a book.
                    weight="0.5" if is_manager or (place == 3 and store % 2) else "1",
                    monthly_base=rng.randrange(6200, 8000, 100) if is_manager else rng.randrange(3400, 4600, 50),
                    hired_on=hired_on,
                    posted_from=hired_on,
                )
            )
        clerks[4].name = clerks[4].name[0] + "䶮"
        return clerks

    def _tell_story(self) -> None:
        """Choose who leaves, starts, moves and is away, and write the roster rows of staff and plans."""
        at = self._month_of_event
        stores = len(self.store_weights)
        plain = [
            [clerk for clerk in self.clerks[:-1] if clerk.store == s and clerk.weight == "1"] for s in range(stores)
        ]
        leavers = [plain[0][0], plain[1][0]]
        last_days = [self.calendar[at(4)] + 17 * DAY, self.calendar[at(8) + 1] - DAY]
        for leaver, last_day in zip(leavers, last_days, strict=True):
            leaver.left_on = last_day
        self.leavers = {leaver.no: last_day for leaver, last_day in zip(leavers, last_days, strict=True)}
        self.mover, self.moved_on = plain[0][1], self.calendar[at(7)] + 8 * DAY
        away = (self.calendar[at(3)] + 5 * DAY, self.calendar[at(3)] + 26 * DAY)
        plain[-1][0].away = away
        self.on_leave = (plain[-1][0].no, *away)
        new = self.new_clerk = self.clerks[-1]
        new.hired_on = new.posted_from = self.calendar[at(5)] + 2 * DAY
        new.weight = "0"

        first = self.rosters[0]
        for store in range(stores):
            first.add("stores", _store_no(store), STORES[store][0])
        for clerk in self.clerks[:-1]:
            self._write_clerk(first, clerk)
        self._write_clerk(self.rosters[at(5)], new)
        # Probation ends on the first of the third month, if that is still told.
        probation_end = self.calendar[min(at(5) + 3, self.months)]
        self.rosters[at(5)].add("postings", new.no, _store_no(0), "clerk", new.posted_from, probation_end, "0")
        self.rosters[at(5)].add("postings", new.no, _store_no(0), "clerk", probation_end, "", "1")
        for month, leaver in zip((at(4), at(8)), leavers, strict=True):
            self._write_leaver(self.rosters[month], leaver)
        roster = self.rosters[at(7)]
        mover, new_store = self.mover, _store_no(1)
        roster.add("postings", mover.no, _store_no(0), "clerk", mover.posted_from, self.moved_on, mover.weight)
        roster.add("postings", mover.no, new_store, "clerk", self.moved_on, "", mover.weight)
        raised_on = self.calendar[at(6)]
        for clerk in self.clerks[2:-1:3]:
            if clerk.left_on is None:
                roster = self.rosters[at(6)]
                roster.add("salaries", clerk.no, _yuan(clerk.monthly_base * 100), clerk.hired_on, raised_on)
                roster.add("salaries", clerk.no, _yuan(clerk.monthly_base * 100 + 20000), raised_on, "")
        self._write_plans()

    def _month_of_event(self, number: int) -> int:
        """Where an event of the 13 months' story lies in this chain's months; never the first, nor the last."""
        return max(1, min(self.months - 2, number * self.months // 13))

    def _write_clerk(self, roster: _Roster, clerk: _Clerk) -> None:
        roster.add("clerks", clerk.no, clerk.name, clerk.hired_on, "")
        roster.add("salaries", clerk.no, _yuan(clerk.monthly_base * 100), clerk.hired_on, "")
        roster.add("identity_documents", clerk.no, "resident_id", _resident_id(int(clerk.no[1:])))
        if clerk is self.new_clerk:
            return
        if clerk.sells:
            roster.add("postings", clerk.no, _store_no(clerk.store), "clerk", clerk.posted_from, "", clerk.weight)
        if clerk.is_manager:
            promoted_on = clerk.hired_on + timedelta(days=100)
            roster.add("postings", clerk.no, _store_no(clerk.store), "manager", promoted_on, "", "0")

    def _write_leaver(self, roster: _Roster, clerk: _Clerk) -> None:
        assert clerk.left_on is not None
        gone = clerk.left_on + DAY
        roster.add("clerks", clerk.no, clerk.name, clerk.hired_on, clerk.left_on)
        roster.add("postings", clerk.no, _store_no(clerk.store), "clerk", clerk.posted_from, gone, clerk.weight)
        roster.add("salaries", clerk.no, _yuan(clerk.monthly_base * 100), clerk.hired_on, gone)

    def _write_plans(self) -> None:
        at = self._month_of_event
        changed_on = self.calendar[at(6)]
        old_no = f"{self.first_day.year}-A"
        new_no = f"{changed_on.year}-{'A' if changed_on.year > self.first_day.year else 'B'}"
        first, second = self.rosters[0], self.rosters[at(6)]
        for category, name_en, name_zh, excluded, *_ in CATEGORIES:
            first.add("categories", category, name_en, name_zh, "yes" if excluded else "no")
        first.add("plans", old_no, "", self.first_day, "", "70", "0", "100")
        second.add("plans", old_no, "", self.first_day, changed_on, "70", "0", "100")
        second.add("plans", new_no, "", changed_on, "", "70", "10", "90")
        plans = [(first, old_no, 4, "12", "18.00"), (second, new_no, 5, "13.5", "20.00")]
        if self.months >= 12 and len(self.store_weights) >= 3:
            own, own_no = self.rosters[at(8)], f"{self.calendar[at(8)].year}-{_store_no(2)}"
            own.add("plans", own_no, _store_no(2), self.calendar[at(8)], self.calendar[at(8) + 3], "60", "0", "100")
            plans.append((own, own_no, 6, "15", "25.00"))
        for roster, plan_no, column, rate, amount_per_unit in plans:
            for row in CATEGORIES:
                roster.add("plan_rates", plan_no, row[0], row[column])
            roster.add("plan_products", plan_no, PROTEIN_POWDER, rate, "")
            roster.add("plan_products", plan_no, GLUCOMETER, "", amount_per_unit)
        for lower_amount, rate in (("0.00", "0"), ("10000.00", "1"), ("20000.00", "2")):
            second.add("bands", new_no, lower_amount, rate)

    def _enrol(self, count: int) -> None:
        """Draw the members, numbered as they enrolled: four fifths before the start, one in seven later ones online."""
        rng = self.rng
        at_start = count * 4 // 5
        days = list(_days(self.first_day, self.end))
        busy = [_day_factor(day) for day in days]
        dates = sorted(rng.choices(days, busy, k=count - at_start))
        joined = sorted(self.first_day - timedelta(days=1 + int(2200 * rng.random() ** 1.3)) for _ in range(at_start))
        for number, enrolled_on in enumerate([*joined, *dates], 1):
            member = self._draw_member(f"66{number:06d}", enrolled_on)
            if enrolled_on >= self.first_day:
                self.enrolled_on[enrolled_on].append(member)
                if rng.random() >= 0.15:
                    member.prefers = rng.choice(self._on_duty(member.store, enrolled_on))
                    member.enrolled_by = member.prefers.no
            self.members.append(member)
        # A few customers took out a second card with the same phone.
        for member in rng.sample(self.members[1:at_start], k=max(1, count // 500)):
            twin = self.members[rng.randrange(at_start)]
            if twin is not member:
                member.name, member.phone, member.gender, member.birth_date = (
                    twin.name, twin.phone, twin.gender, twin.birth_date,
                )  # fmt: skip
        for member in rng.sample(self.members[:at_start], k=max(1, count // 300)):
            member.closed_on = rng.choice(list(_days(self.calendar[1], self.end)))
        for member in self.members:
            index = max(0, bisect(self.calendar, member.enrolled_on) - 1)
            self._write_member(self.rosters[index], member, closed_on=None)
            if member.closed_on:
                index = bisect(self.calendar, member.closed_on) - 1
                self._write_member(self.rosters[index], member, closed_on=member.closed_on)

    def _draw_member(self, no: str, enrolled_on: date) -> _Member:
        rng = self.rng
        gender = "f" if rng.random() < 0.61 else "m"
        age = int(rng.triangular(20, 50, 33) if rng.random() < 0.36 else rng.triangular(45, 90, 66))
        birth_date = enrolled_on - timedelta(days=age * 365 + rng.randrange(365))
        taste = "senior" if age >= 58 else "family" if age < 42 and rng.random() < 0.45 else "adult"
        store = rng.choices(range(len(self.store_weights)), self.store_weights)[0]
        keenness, wealth = rng.gauss(0, 1), rng.gauss(0, 1)
        visits = math.exp(1.45 * keenness)
        fate = rng.random()
        absent = range(0)
        if fate < 0.14:  # lapses and comes back
            begin = rng.randrange(self.months)
            absent = range(begin, begin + rng.randrange(4, 8))
        elif fate < 0.24:  # stays away for good
            absent = range(rng.randrange(1, self.months), self.months)
        return _Member(
            no=no,
            name=self._name(gender, birth_date.year),
            phone=self._phone(),
            gender=gender if rng.random() < 0.97 else "",
            birth_date=birth_date,
            neighbourhood=rng.choice(STORES[store][2].split()),
            store=store,
            enrolled_on=enrolled_on,
            enrolled_by="",
            taste=taste,
            visits=min(visits, 24.0),
            purse=math.exp(0.95 * (0.4 * keenness + 0.92 * wealth)),
            absent=absent,
        )

    def _phone(self) -> str:
        """A number that looks like a mobile's but rings nowhere: no operator has the prefix 154."""
        while (phone := f"154{self.rng.randrange(10**8):08d}") in self.phones:
            pass
        self.phones.add(phone)
        return phone

    def _write_member(self, roster: _Roster, member: _Member, *, closed_on: date | None) -> None:
        roster.add(
            "members",
            member.no,
            member.name,
            member.phone,
            member.gender,
            member.birth_date,
            member.neighbourhood,
            _store_no(member.store),
            member.enrolled_on,
            member.enrolled_by,
            closed_on or "",
        )

    # --- who works when ------------------------------------------------------------------------------------------

    def _store_of(self, clerk: _Clerk, day: date) -> int:
        return 1 if clerk is self.mover and day >= self.moved_on else clerk.store

    def _staff(self, store: int, day: date) -> list[_Clerk]:
        """Who sells at a store in these days, at work or not."""
        return [
            clerk
            for clerk in self.clerks
            if clerk.sells
            and self._store_of(clerk, day) == store
            and clerk.posted_from <= day
            and (clerk.left_on is None or day <= clerk.left_on)
            and not (clerk.away and clerk.away[0] <= day < clerk.away[1])
        ]

    def _on_duty(self, store: int, day: date) -> list[_Clerk]:
        """Five days of seven for most, three for part-timers; somebody is always there."""
        staff = self._staff(store, day)
        number = day.toordinal()
        return [
            clerk for clerk in staff if (number + 2 * clerk.place) % 7 < (3 if clerk.weight == "0.5" else 5)
        ] or staff

    def _shift(self, duty: Sequence[_Clerk], hour: int, day: date) -> Sequence[_Clerk]:
        """Of those on duty the ones who work at that hour: two shifts, changing by the week."""
        week = day.toordinal() // 7
        return [clerk for clerk in duty if ((clerk.place + week) % 2 == 0) == (hour < 15)] or duty

    # --- what is sold --------------------------------------------------------------------------------------------

    def write(self, directory: Path) -> DemoChain:
        """Sell day by day, and write each month when it is over."""
        expected = self._expected_sales()
        months: list[DemoMonth] = []
        late: list[_Ticket] = []
        for index in range(self.months):
            first, end = self.calendar[index], self.calendar[index + 1]
            customers = self._customers(index, end)
            sold: list[_Ticket] = []
            for day in _days(first, end):
                sold += self._sell(day, expected[day], customers)
            is_last = index == self.months - 1
            now = late + [ticket for ticket in sold if is_last or not ticket.is_late]
            late = [ticket for ticket in sold if ticket.is_late]
            months.append(self._write_month(directory / f"{first:%Y-%m}", index, now))
        return DemoChain(
            directory=directory,
            first_day=self.first_day,
            months=months,
            stores=len(self.store_weights),
            clerks=len(self.clerks),
            members=len(self.members),
            tickets=sum(month.tickets for month in months),
            lines=sum(month.lines for month in months),
            leavers=self.leavers,
            new_clerk=self.new_clerk.no,
            transferred=(self.mover.no, self.moved_on),
            on_leave=self.on_leave,
        )

    def _expected_sales(self) -> dict[date, float]:
        """How many tickets the chain may expect on each day."""
        days = list(_days(self.first_day, self.end))
        factors = [_day_factor(day) for day in days]
        scale = VISITS_PER_MEMBER_MONTH * len(self.members) * self.months / sum(factors)
        return {day: factor * scale for day, factor in zip(days, factors, strict=True)}

    def _customers(self, index: int, end: date) -> list[tuple[list[_Member], list[float]]]:
        """Each store's members of that month, and their cumulative weights to draw by."""
        shops: list[list[_Member]] = [[] for _ in self.store_weights]
        for member in self.members:
            if member.enrolled_on < end and index not in member.absent:
                shops[member.store].append(member)
        return [(shop, list(accumulate(member.visits for member in shop))) for shop in shops]

    def _sell(self, day: date, expected: float, customers: list[tuple[list[_Member], list[float]]]) -> list[_Ticket]:
        """One day's tickets of all stores, numbered by time in each."""
        rng = self.rng
        tickets: list[_Ticket] = []
        duty = [self._on_duty(store, day) for store in range(len(self.store_weights))]
        for member in self.enrolled_on[day]:
            if rng.random() < 0.85:
                tickets.append(self._sale(day, member, member.store, duty[member.store], is_first=True))
        for store, weight in enumerate(self.store_weights):
            mean = expected * weight / sum(self.store_weights)
            count = int(max(0.0, mean * rng.gauss(1, 0.1)) + rng.random())
            shop, weights = customers[store]
            for member in rng.choices(shop, cum_weights=weights, k=count) if shop else []:
                is_known = member.enrolled_on <= day and not (member.closed_on and member.closed_on <= day)
                if not is_known or rng.random() < 0.2:
                    tickets.append(self._sale(day, None, store, duty[store]))
                elif rng.random() < 0.05:
                    elsewhere = rng.randrange(len(duty))
                    tickets.append(self._sale(day, member, elsewhere, duty[elsewhere]))
                else:
                    tickets.append(self._sale(day, member, store, duty[store]))
        for sale in tickets:
            self._maybe_return(sale)
        tickets += [self._take_back(day, goods, duty) for goods in self.returns.pop(day, [])]
        numbers = [0] * len(duty)
        for ticket in sorted(tickets, key=lambda ticket: ticket.second):
            numbers[ticket.store] += 1
            ticket.no = f"{day:%y%m%d}-{numbers[ticket.store]:04d}"
        return tickets

    def _sale(
        self, day: date, member: _Member | None, store: int, duty: list[_Clerk], *, is_first: bool = False
    ) -> _Ticket:
        rng = self.rng
        hour = rng.choices(HOURS, cum_weights=HOUR_WEIGHTS)[0]
        clerk: _Clerk | None = None
        if is_first and member and not member.enrolled_by:
            pass  # enrolled online, and ordered there: nobody serves
        elif not is_first and rng.random() < (0.05 if member else 0.015):
            pass  # an online order of somebody known, or not
        elif member:
            if member.prefers is None or (store == member.store and self._has_gone(member.prefers, store, day)):
                member.prefers = rng.choice(duty)
            if member.prefers in duty and (is_first or rng.random() < 0.6):
                clerk = member.prefers
            else:
                clerk = rng.choice(self._shift(duty, hour, day))
        else:
            clerk = rng.choice(self._shift(duty, hour, day))
        lines = self._basket(day, member, clerk.no if clerk else "")
        ticket = _Ticket(store, day, hour * 3600 + rng.randrange(3600), member, lines)
        if clerk and len(lines) > 1 and rng.random() < 0.035 and len(duty) > 1:
            other = rng.choice([colleague for colleague in duty if colleague is not clerk])
            for line in lines[rng.randrange(1, len(lines)) :]:
                line.clerk = other.no
        ticket.is_late = rng.random() < 0.003
        return ticket

    def _has_gone(self, clerk: _Clerk, store: int, day: date) -> bool:
        return self._store_of(clerk, day) != store or (clerk.left_on is not None and clerk.left_on < day)

    def _basket(self, day: date, member: _Member | None, clerk_no: str) -> list[_Line]:
        """One to five lines; who has a fuller purse takes more of the dearer things."""
        rng = self.rng
        purse = member.purse if member else 0.5
        tastes = TASTES[member.taste if member else "adult"]
        count = rng.choices((1, 2, 3, 4, 5), cum_weights=(40, 70, 86, 95, 100))[0]
        discount = 100
        if member:
            discount = 88 if day.day in MEMBER_DAYS else rng.choices((100, 95, 90), cum_weights=(70, 90, 100))[0]
        lines = []
        for category in rng.choices(CATEGORY_NAMES, cum_weights=tastes, k=count):
            products = self.shelves[category]
            product = products[int(len(products) * rng.random() ** (1 / purse))]
            quantity = 1
            if not SHELVES[category][3]:
                quantity = rng.choices((1, 2, 3, 5), cum_weights=(74, 92, 98, 100))[0]
                if purse > 2 and rng.random() < 0.3:
                    quantity += rng.randrange(1, 4)
            amount = product.price * quantity
            if category != "prescription":
                amount = amount * discount // 100
            lines.append(_Line(clerk_no, product.no, category, quantity, amount))
        if count > 2 and rng.random() < 0.02:  # a gift with the purchase
            gift = self.shelves["disinfection"][0]
            lines.append(_Line(clerk_no, gift.no, gift.category, 1, 0))
        return lines

    # --- what comes back -----------------------------------------------------------------------------------------

    def _maybe_return(self, sale: _Ticket) -> None:
        """Few sales come back, within the month or after it. Medicines on prescription are not taken back."""
        rng = self.rng
        if sale.is_late or rng.random() >= 0.022:
            return  # a late sale isn't known yet when its return would be
        sold = {
            number: (line.quantity, line.amount)
            for number, line in enumerate(sale.lines, 1)
            if line.category != "prescription" and line.amount > 0
        }
        if not sold:
            return
        day = sale.day + timedelta(days=1 + int(40 * rng.random() ** 2.2))
        kind = rng.random()
        if kind < 0.45:  # all that may be returned
            self.returns[day].append(_Return(sale, sold))
        elif kind < 0.65:  # an exchange: one line back, another product instead
            number = rng.choice(list(sold))
            self.returns[day].append(_Return(sale, {number: sold[number]}, is_exchange=True))
        else:  # a part of one line, sometimes the rest of it later
            number = max(sold, key=lambda number: sold[number][0])
            quantity, amount = sold[number]
            part = rng.randrange(1, quantity) if quantity > 1 else 1
            part_amount = amount * part // quantity
            self.returns[day].append(_Return(sale, {number: (part, part_amount)}))
            if part < quantity and rng.random() < 0.3:
                rest = {number: (quantity - part, amount - part_amount)}
                self.returns[day + timedelta(days=rng.randrange(1, 9))].append(_Return(sale, rest))

    def _take_back(self, day: date, goods: _Return, duty: list[list[_Clerk]]) -> _Ticket:
        rng = self.rng
        sale = goods.original
        store = rng.randrange(len(duty)) if rng.random() < 0.1 else sale.store
        hour = rng.choices(HOURS, cum_weights=HOUR_WEIGHTS)[0]
        clerk_no = rng.choice(self._shift(duty[store], hour, day)).no
        member = sale.member
        if member and member.closed_on and member.closed_on <= day:
            member = None
        lines = []
        for number, (quantity, amount) in goods.goods.items():
            sold = sale.lines[number - 1]
            lines.append(_Line(clerk_no, sold.product, sold.category, -quantity, -amount, (sale, number)))
        if goods.is_exchange:
            instead = rng.choice(self.shelves[lines[0].category])
            lines.append(_Line(clerk_no, instead.no, instead.category, 1, instead.price))
        ticket = _Ticket(store, day, hour * 3600 + rng.randrange(3600), member, lines)
        ticket.is_late = rng.random() < 0.01
        return ticket

    def _write_month(self, directory: Path, index: int, tickets: list[_Ticket]) -> DemoMonth:
        roster = directory / "roster"
        self.rosters[index].write(roster)
        tickets.sort(key=lambda ticket: (ticket.day, ticket.store, ticket.no))
        tickets_file = directory / "tickets.csv"
        _write_rows(tickets_file, TICKET_COLUMNS, (row for ticket in tickets for row in _ticket_rows(ticket)))
        return DemoMonth(
            month=directory.name,
            roster=roster,
            tickets_file=tickets_file,
            tickets=len(tickets),
            lines=sum(len(ticket.lines) for ticket in tickets),
            net_amount=sum(line.amount for ticket in tickets for line in ticket.lines),
        )


def _store_no(store: int) -> str:
    return f"S{store + 1:02d}"


def _ticket_rows(ticket: _Ticket) -> Iterator[tuple[Any, ...]]:
    minute, second = divmod(ticket.second, 60)
    sold_at = f"{ticket.day}T{minute // 60:02d}:{minute % 60:02d}:{second:02d}{UTC_OFFSET}"
    head = (_store_no(ticket.store), ticket.day, ticket.no, sold_at)
    member_no = ticket.member.no if ticket.member else ""
    for number, line in enumerate(ticket.lines, 1):
        original: tuple[Any, ...] = ("", "", "", "")
        if line.original:
            sale, line_no = line.original
            original = (_store_no(sale.store), sale.day, sale.no, line_no)
        fact = (line.clerk, member_no, number, line.product, line.category, line.quantity, _yuan(line.amount))
        yield (*head, *fact, *original)
