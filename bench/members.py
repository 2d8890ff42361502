"""How fast each page of the members table is with a million members on PostgreSQL, beside one of ten thousand.

    .venv/bin/python bench/members.py [--scale 1] [--rounds 5] [--postgres URL] [--figures] [--plans]

Stores of 5,000 members and ten clerks: first two of them, then two hundred (times --scale). Each page is what the view
asks for (`member_page` of `MemberFilter`: the filter, the count, fifty members with owners and figures), as HR sees the
chain, a manager a store, and a clerk the own portfolio. The last column is the whole chain against the small one.
--figures makes the figures anew from a ledger of 12 purchases per member; --plans prints each statement with its plan.
"""

import statistics
import time
from argparse import Namespace
from collections.abc import Callable

import throwaway

PER_STORE, CLERKS_PER_STORE, STORES, SMALL = 5_000, 10, 200, 2
PURCHASES = 12
# The small table has 200 pages: its hundredth stands beside the thousandth of the large one.
DEEP, DEEP_IN_SMALL = 1_000, 100


def drawn(number: str, of: int, salt: int) -> str:
    """SQL of a number from 0 up to, not including, `of`: no two salts have anything to do with each other."""
    return f"((hashint8extended(CAST({number} AS bigint), {salt}) & 9223372036854775807) % {of})"


def make_members(first_store: int, last_store: int) -> None:
    """Members with names, phones, an owner (49 of 50) and figures; the stores have 5,000 each."""
    from chain import LONG_AGO, date, execute, series

    from portfolios.models import OPEN_END, BindingBatch, Clerk, Store

    stores = range(first_store, last_store + 1)
    Store.objects.bulk_create(Store(pk=n, store_no=f"S{n:04}", name=f"店{n}") for n in stores)
    clerks = range((first_store - 1) * CLERKS_PER_STORE + 1, last_store * CLERKS_PER_STORE + 1)
    Clerk.objects.bulk_create(Clerk(pk=n, clerk_no=f"C{n:05}", name=f"店员{n}", hired_on=LONG_AGO) for n in clerks)
    start, end = date(LONG_AGO), date(OPEN_END)
    execute(
        "INSERT INTO portfolios_posting (clerk_id, store_id, role, valid_from, valid_to, weight_percent) "
        f"SELECT id, 1 + (id - 1) / {CLERKS_PER_STORE}, 'clerk', {start}, {end}, 100 FROM portfolios_clerk "
        f"WHERE id BETWEEN {clerks[0]} AND {clerks[-1]}"
    )
    batch = BindingBatch.objects.create(source="bench")
    before = (first_store - 1) * PER_STORE
    count = len(stores) * PER_STORE
    # Enrolled here and there, so that the members of a store lie all over the table.
    rows = f"(SELECT n + {before} AS n FROM {series(count)}) AS members"
    store = f"{first_store} + n % {len(stores)}"
    # Foreign keys are checked by triggers, which rest while the rows are made.
    execute("SET session_replication_role = replica")
    surnames, given = (
        "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗",
        "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华文玲建",
    )
    execute(
        "INSERT INTO portfolios_member (id, member_no, name, phone, gender, neighbourhood, store_id, enrolled_on, "
        "counted_from, counted_to, locked) SELECT n, 'M' || CAST(100000000 + n AS varchar(20)), "
        f"substr('{surnames}', CAST(1 + {drawn('n', len(surnames), 1)} AS integer), 1) || "
        f"substr('{given}', CAST(1 + {drawn('n', len(given), 2)} AS integer), 1) || "
        f"substr('{given}', CAST(1 + {drawn('n', len(given), 3)} AS integer), CAST({drawn('n', 2, 4)} AS integer)), "
        f"'13' || CAST(100000000 + {drawn('n', 899_999_999, 5)} AS varchar(20)), 'f', '', {store}, {start}, {start}, "
        f"{end}, false FROM {rows} ORDER BY n"
    )
    execute(
        "INSERT INTO portfolios_binding (member_id, clerk_id, valid_from, valid_to, reason, batch_id) "
        f"SELECT id, 1 + (store_id - 1) * {CLERKS_PER_STORE} + {drawn('id', CLERKS_PER_STORE, 6)}, {start}, {end}, "
        f"'initial_split', {batch.pk} FROM portfolios_member WHERE id > {before} AND {drawn('id', 50, 7)} > 0"
    )
    execute("SET session_replication_role = DEFAULT")


def make_figures(members_before: int) -> None:
    """Spend as it is in a chain: few spend much. 5% are A, 15% B; two in three bought within the window."""
    from chain import execute

    execute(
        "INSERT INTO kpis_memberfigures (member_id, tier, spend_amount, purchases, last_purchase_on, at_risk_on) "
        "SELECT id, CASE WHEN place < 5 THEN 'A' WHEN place < 20 THEN 'B' ELSE 'C' END, "
        f"10000000 / (1 + place) + {drawn('id', 10_000, 12)}, 1 + {drawn('id', 20, 13)}, "
        "CASE WHEN bought < 700 THEN date '2026-10-31' - CAST(bought AS integer) END, "
        "CASE WHEN bought < 90 THEN date '2026-10-31' - CAST(bought AS integer) + 45 END "
        f"FROM (SELECT id, {drawn('id', 100, 10)} AS place, {drawn('id', 800, 11)} * {drawn('id', 100, 14)} / 100 "
        f"AS bought FROM portfolios_member WHERE id > {members_before}) AS members"
    )


def make_purchases(members: int) -> None:
    """A ledger of a year: each member's purchases, one row each."""
    from chain import date, execute, series

    from commission.models import Booking, Plan
    from portfolios.months import month_days, next_number, open_months

    first = 202511
    open_months(first, 202610)
    booking = Booking.objects.create(source="bench")
    plan = Plan.objects.create(plan_no="P", valid_from=month_days(first)[0])
    execute("SET session_replication_role = replica")
    number = first
    for turn in range(PURCHASES):
        execute(
            "INSERT INTO commission_attribution (part_id, booking_id, month_id, kind, reason, pay_line, reverses, "
            "store_id, business_date, member_id, plan_id, share_bp, commissionable_amount, excluded_amount, "
            "owner_credit_amount, server_credit_amount, house_credit_amount, commission_amount, "
            "owner_commission_amount, server_commission_amount, house_commission_amount) "
            f"SELECT n + {turn * members}, {booking.pk}, {number}, 'UNOWNED', 'SALE', 'KIND', false, 1, "
            f"{date(month_days(number)[0])} + CAST({drawn('n', 28, turn)} AS integer), "
            f"1 + {drawn('n', members, turn)}, "
            f"{plan.pk}, 10000, 1000 + {drawn('n', 9000, turn + 50)}, 0, 0, 0, 1000 + {drawn('n', 9000, turn + 50)}, "
            f"0, 0, 0, 0 FROM {series(members)}"
        )
        number = next_number(number)
    execute("SET session_replication_role = DEFAULT")


def measure(options: Namespace) -> None:
    throwaway.make_tables()
    import datetime as dt

    from chain import execute
    from django.db import connection
    from django.http import QueryDict
    from django.test.utils import CaptureQueriesContext

    from kpis.member_figures import refresh_member_figures
    from kpis.member_filters import MemberFilter
    from kpis.member_list import FIRST_ORDER, member_page
    from kpis.models import FiguresRefresh, MemberFigures
    from portfolios.models import Clerk, Posting, User

    on = dt.date(2026, 10, 31)
    stores = max(SMALL + 1, int(STORES * options.scale))
    FiguresRefresh.objects.create(as_of=on)
    make_members(1, SMALL)
    make_figures(0)
    boss = Clerk.objects.create(pk=999_999, clerk_no="B1", name="店长", hired_on="2020-01-01")
    Posting.objects.create(clerk=boss, store_id=1, role="manager", valid_from="2020-01-01")
    people = {
        "HR": User.objects.create(username="hr", office=User.Office.HR),
        "manager": User.objects.create(username="manager", clerk=boss),
        "clerk": User.objects.create(username="clerk", clerk_id=1),
    }
    pages: list[tuple[str, str, str, str, int]] = [
        ("HR", f"sorted by {name}{way}", "", f"{sign}{order}", number)
        for order, name in (("card", "card"), ("name", "name"), ("bought", "last purchase"), ("spend", "spend"))
        for sign, way in (("", ""), ("-", ", falling"))
        for number in (1, DEEP)
    ]
    pages += [
        ("HR", f"{name}", query, order, 1)
        for name, query in (
            ("card M1000012...", "q=M1000012"),
            ("one card", "q=M100001234"),
            ("name 李...", "q=李"),
            ("name 李娜", "q=李娜"),
            ("name nobody has", "q=欧阳"),
            ("last four digits", "q=4821"),
            ("a clerk's", "owner=C00003"),
            ("tier A", "tier=A"),
            ("bought on two days", "bought_from=2026-10-02&bought_to=2026-10-03"),
            ("not bought since March", "bought_to=2026-03-01"),
            ("at risk", "at_risk=on"),
            ("without an owner", "unassigned=on"),
            ("A, at risk, 李", "q=李&tier=A&at_risk=on"),
            ("at risk, no owner", "at_risk=on&unassigned=on"),
        )
        for order in (FIRST_ORDER, "name")
    ]
    pages += [
        ("manager", f"a store {name}", f"store=S0001{query}", FIRST_ORDER, number)
        for name, query, number in (
            ("whole", "", 1), ("whole", "", 100), ("tier A", "&tier=A", 1), ("no owner", "&unassigned=on", 1),
            ("at risk", "&at_risk=on", 1), ("name 李", "&q=李", 1), ("a clerk's", "&owner=C00003", 1),
        )
    ]  # fmt: skip
    pages += [("clerk", "own portfolio", "", order, 1) for order in (FIRST_ORDER, "name")]

    def page(who: str, query: str, order: str, number: int) -> Callable[[], object]:
        data = QueryDict(query)
        return lambda: member_page(
            MemberFilter(data, user=people[who], on=on).found(),
            order=order, number=number, on=on, as_of=on, exact="store" in data or who == "clerk",
        )  # fmt: skip

    times: dict[str, dict[tuple[str, str, str, str, int], list[float]]] = {}
    for size in ("small", "large"):
        if size == "large":
            make_members(SMALL + 1, stores)
            make_figures(SMALL * PER_STORE)
        execute("VACUUM ANALYZE")
        times[size] = {}
        for wanted in pages:
            who, _name, query, order, number = wanted
            once = page(who, query, order, DEEP_IN_SMALL if number == DEEP and size == "small" else number)
            once()
            rounds = [throwaway.measured(once) for _ in range(options.rounds)]
            times[size][wanted] = [statistics.median(column) for column in zip(*rounds, strict=True)]
            if options.plans and size == "large":
                with CaptureQueriesContext(
                    connection,
                ) as captured:
                    once()
                for asked in captured.captured_queries:
                    if asked["sql"].startswith("SELECT"):
                        print(asked["sql"][:600])
                        print(
                            "\n".join(row[0] for row in execute(f"EXPLAIN ANALYZE {asked['sql']}".replace("%", "%%")))
                        )
    print(f"{stores * PER_STORE:,} members of {stores} stores against {SMALL * PER_STORE:,} of {SMALL}; milliseconds\n")
    print(f"{'':51}{'by the clock':>18}{'':9}{'of processor':>18}")
    print(f"{'who':9}{'page':26}{'order':9}{'number':>7}{'small':>9}{'large':>9}{'ratio':>9}{'small':>9}{'large':>9}")
    for who, name, query, order, number in pages:
        small, large = (times[size][who, name, query, order, number] for size in ("small", "large"))
        print(
            f"{who:9}{name:26}{order:9}{number:7}{small[0] * 1000:9.1f}{large[0] * 1000:9.1f}"
            f"{large[0] / small[0]:8.1f}x{small[1] * 1000:9.1f}{large[1] * 1000:9.1f}",
            flush=True,
        )
    if not options.figures:
        return
    members = stores * PER_STORE
    make_purchases(members)
    execute("ANALYZE")
    for name, day in (("of all members", on + dt.timedelta(days=1)), ("the next night", on + dt.timedelta(days=2))):
        begun = time.perf_counter()
        changed = refresh_member_figures(day)
        print(f"figures {name}: {time.perf_counter() - begun:.1f} s, {changed:,} of {MemberFigures.objects.count():,}")


if __name__ == "__main__":
    parser = throwaway.arguments(__doc__)
    parser.set_defaults(rounds=5)
    parser.add_argument("--figures", action="store_true", help="measure the nightly refresh of the figures too")
    parser.add_argument("--plans", action="store_true", help="print each statement with its plan")
    chosen = parser.parse_args()
    if chosen.inside:
        measure(chosen)
    else:
        throwaway.run_in("postgresql", chosen)
