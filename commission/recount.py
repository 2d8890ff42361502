"""The rows of closed months that a change touches, shared out anew by the expressions that book: asked, not written.

A split of 600 (owner 420, server 180) at an owner share of 60% is 360 and 240: the owner loses 60, the server wins
60. A row counts in the month that it is posted to. A return mirrors its original, so it changes where the original
does: where that was posted before the first of the months, it takes back what was paid.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, CharField

from commission.attribution import PARTIES, RETURN_SHARES, SALE_SHARES, Columns, select_shares
from commission.models import Attribution, Plan
from commission.money import WHOLE_BP, half_away_sql
from commission.plan_book import Rate
from portfolios.models import Clerk, Month, Store

Kind = Attribution.Kind


@dataclass(frozen=True)
class Terms:
    """What a plan pays: shares in basis points, rates by category, product rates by number, and the bands' steps."""

    plan: Plan
    owner_share_bp: int
    house_share_bp: int
    walk_in_share_bp: int
    rates: Mapping[int, int]
    products: Mapping[str, Rate]
    bands: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, plan: Plan) -> "Terms":
        """The terms that the plan has. What it excludes is no rate, and stays excluded in every what-if."""
        return cls(
            plan,
            plan.owner_share_bp,
            plan.house_share_bp,
            plan.walk_in_share_bp,
            {rate.category_id: rate.rate_bp for rate in plan.rates.all() if rate.rate_bp is not None},
            {
                product.product_no: Rate(rate_bp=product.rate_bp, unit_amount=product.unit_amount)
                for product in plan.products.all()
            },
            tuple(plan.bands.order_by("lower_amount").values_list("lower_amount", "rate_bp")),
        )


@dataclass(frozen=True)
class Move:
    """Members who would have been another clerk's: all that were one clerk's, or those of a list of primary keys."""

    to: Clerk
    of: Clerk | None = None
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class Recount:
    """What is shared out anew: rows of the terms' plan of these kinds, those with a line at one of these rates (by
    category or product), those whose owner the move changes. With a store, the terms hold for its tickets only."""

    terms: Terms | None = None
    kinds: frozenset[str] = frozenset()
    rates: Mapping[int, int] = field(default_factory=dict)
    products: Mapping[str, Rate] = field(default_factory=dict)
    move: Move | None = None
    store: Store | None = None

    @classmethod
    def of(cls, terms: Terms | None, move: Move | None, store: Store | None) -> "Recount":
        """What the change touches, and no more: where an owner share changes, splits alone."""
        if terms is None:
            return cls(move=move)
        now = Terms.of(terms.plan)
        shares = [
            (Kind.SPLIT, terms.owner_share_bp, now.owner_share_bp),
            (Kind.UNOWNED, terms.house_share_bp, now.house_share_bp),
            (Kind.WALK_IN, terms.walk_in_share_bp, now.walk_in_share_bp),
        ]
        return cls(
            terms,
            frozenset(str(kind) for kind, then, share_bp in shares if then != share_bp),
            {category: bp for category, bp in terms.rates.items() if bp != now.rates.get(category)},
            {product: rate for product, rate in terms.products.items() if rate != now.products.get(product)},
            move,
            store,
        )

    @property
    def by_line(self) -> bool:
        return bool(self.rates or self.products)


@dataclass
class Moved:
    """What the rows shared out anew bring: by month and clerk credit and commission, more or less than booked.

    `rows` is how many were; `house_amount` what the stores would keep more or less of the commission.
    """

    rows: int = 0
    house_amount: int = 0
    clerks: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))


def add_to(totals: dict[tuple[int, int], list[int]], key: tuple[int, int], amounts: Iterable[int]) -> None:
    for place, amount in enumerate(amounts):
        totals[key][place] += amount


Sql = tuple[str, list[Any]]

_BOOKED = [f"{party}_{what}_amount" for party in PARTIES for what in ("credit", "commission")]
_NUMBERS = {
    "month", "was_owner", "owner", "server", "share_bp", "commissionable_amount", "booked_commission", "credit_before",
    "e4_before", "e4",
}  # fmt: skip


def recount(first: Month, last: Month, asked: Recount) -> Moved:
    """Shares out anew what is asked of the rows posted to the months, and says what each clerk gains or loses."""
    moved = Moved()
    if not (asked.kinds or asked.by_line or asked.move):
        return moved
    sql, params = _statement(first.pk, last.pk, asked)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        for month, clerk, credit_amount, commission_amount, rows, house_amount in cursor.fetchall():
            moved.rows += rows
            moved.house_amount += house_amount
            if clerk is not None:
                add_to(moved.clerks, (month, clerk), (credit_amount, commission_amount))
    return moved


def _statement(first: int, last: int, asked: Recount) -> Sql:
    """Rows of (month, clerk, credit, commission, rows, house's commission): each what is more or less than booked."""
    withs: list[tuple[str, Sql]] = []
    if asked.by_line:
        withs += [("returned_line", (_RETURNED_LINES, [])), ("changed", _changed_parts(first, last, asked))]
    withs.append(("returned", (_returned_parts(last, asked), [])))
    sales = _shared_out(_sales(first, last, asked), SALE_SHARES, asked)
    returns = _shared_out(_returns(first, last, asked), RETURN_SHARES, asked)
    amounts = [f"{side}{name}" for name in _BOOKED for side in ("to_", "to_was_")]
    sums = ", ".join(f"CAST(SUM({name}) AS bigint) AS {name}" for name in amounts)
    keys = "to_month, to_was_owner, to_owner, to_server"
    # A chain has few pairs of owner and server: their sums are made in one reading of the rows, and kept.
    withs.append(
        (
            "recounted",
            (
                f"SELECT {keys}, COUNT(*) AS of_rows, {sums} FROM ({sales[0]} UNION ALL {returns[0]}) AS shared_out "
                f"GROUP BY {keys}",
                [*sales[1], *returns[1]],
            ),
        )
    )
    legs = [
        ("to_month, to_owner", "to_owner_credit_amount", "to_owner_commission_amount", "0", "0"),
        ("to_month, to_was_owner", "-to_was_owner_credit_amount", "-to_was_owner_commission_amount", "0", "0"),
        (
            "to_month, to_server",
            "to_server_credit_amount - to_was_server_credit_amount",
            "to_server_commission_amount - to_was_server_commission_amount",
            "0",
            "0",
        ),
        ("0, NULL", "0", "0", "of_rows", "to_house_commission_amount - to_was_house_commission_amount"),
    ]
    selects = []
    for key, *summed in legs:
        totals = ", ".join(f"CAST(COALESCE(SUM({amount}), 0) AS bigint)" for amount in summed)
        by = "" if key == "0, NULL" else f" GROUP BY {key}"
        selects.append(f"SELECT {key}, {totals} FROM recounted{by}")
    named = ", ".join(f"{name} AS ({sql})" for name, (sql, _params) in withs)
    params = [param for _name, (_sql, params) in withs for param in params]
    return f"WITH {named} {' UNION ALL '.join(selects)}", params


def _shared_out(rows: Sql, shares: Columns, asked: Recount) -> Sql:
    """The rows with their owner, kind and share as asked, shared out by the expressions that book."""
    sql, params = rows
    owner, kind, share, plans = "was_owner", "was_kind", "", ""
    if asked.terms:
        terms = asked.terms
        share += (
            f"WHEN in_terms = 1 THEN CASE kind WHEN '{Kind.SPLIT}' THEN {terms.owner_share_bp} WHEN '{Kind.UNOWNED}' "
            f"THEN {terms.house_share_bp} WHEN '{Kind.WALK_IN}' THEN {terms.walk_in_share_bp} ELSE {WHOLE_BP} END "
        )
    if asked.move:
        to = asked.move.to
        # Who has left owns nobody any more.
        still_there = "WHEN dated > %s THEN NULL " if to.left_on else ""
        params = ([connection.ops.adapt_datefield_value(to.left_on)] if to.left_on else []) + params
        owner = f"CASE WHEN moved = 0 THEN was_owner {still_there}ELSE {to.pk} END"
        kind = (
            f"CASE WHEN moved = 0 THEN was_kind WHEN owner IS NULL THEN '{Kind.UNOWNED}' "
            f"WHEN owner = server THEN '{Kind.OWN_SERVED}' ELSE '{Kind.SPLIT}' END"
        )
        share += (
            f"WHEN moved = 1 THEN CASE kind WHEN '{Kind.SPLIT}' THEN plan.owner_share_bp WHEN '{Kind.UNOWNED}' "
            f"THEN plan.house_share_bp ELSE {WHOLE_BP} END "
        )
        plans = " JOIN commission_plan plan ON plan.id = with_kind.plan_id"
    sql = f"SELECT facts.*, {owner} AS owner FROM ({sql}) AS facts"
    sql = f"SELECT with_owner.*, {kind} AS kind FROM ({sql}) AS with_owner"
    sql = f"SELECT with_kind.*, CASE {share}ELSE was_share_bp END AS share_bp FROM ({sql}) AS with_kind{plans}"
    known: dict[str, tuple[str, Any]] = {name: (name, BigIntegerField(null=True)) for name in _NUMBERS}
    known |= {"kind": ("kind", CharField())} | {f"was_{name}": (f"was_{name}", BigIntegerField()) for name in _BOOKED}
    kept = ["month", "was_owner", "owner", "server", *(f"was_{name}" for name in _BOOKED)]
    outer, outer_params = select_shares(known, kept, shares)
    return f"{outer} FROM ({sql}) AS booked", [*outer_params, *params]


def _facts(asked: Recount, *, sold_in: str, member: str, dated: str) -> str:
    """What a row is booked with, and whether the terms and the move are about it."""
    booked = ", ".join(f"a.{name} AS was_{name}" for name in _BOOKED)
    return (
        f"a.month_id AS month, a.owner_id AS was_owner, a.server_id AS server, a.kind AS was_kind, "
        f"a.share_bp AS was_share_bp, a.plan_id, {dated} AS dated, a.commissionable_amount, {booked}, "
        f"CASE WHEN {_in_terms(asked, sold_in)} THEN 1 ELSE 0 END AS in_terms, "
        f"CASE WHEN {_moved(asked, member)} THEN 1 ELSE 0 END AS moved"
    )


def _in_terms(asked: Recount, sold_in: str) -> str:
    if asked.terms is None:
        return "1 = 0"
    of_store = f" AND {sold_in} = {asked.store.pk}" if asked.store else ""
    return f"a.plan_id = {asked.terms.plan.pk}{of_store}"


def _moved(asked: Recount, member: str) -> str:
    if asked.move is None:
        return "1 = 0"
    if asked.move.of:
        return f"a.owner_id = {asked.move.of.pk}"
    return f"{member} IN ({_list(asked.move.members)})" if asked.move.members else "1 = 0"


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(str(int(number)) for number in numbers)


def _places(values: Sized) -> str:
    return ", ".join(["%s"] * len(values))


def _sales(first: int, last: int, asked: Recount) -> Sql:
    """The rows of sales: a correction of one is opposite in sign to what it reverses, and shared out like it."""
    in_terms = _in_terms(asked, "a.store_id")
    touched = [f"a.kind IN ({', '.join(repr(kind) for kind in sorted(asked.kinds))})"] if asked.kinds else []
    touched += ["c.part_id IS NOT NULL"] if asked.by_line else []
    due = [f"{in_terms} AND ({' OR '.join(touched)})"] if touched else []
    due += [_moved(asked, "a.member_id")] if asked.move else []
    commission, changed = "a.commission_amount", ""
    if asked.by_line:
        anew = half_away_sql("c.commission_e4 + c.more_e4", str(WHOLE_BP))
        commission = (
            f"CASE WHEN c.part_id IS NULL OR NOT ({in_terms}) THEN a.commission_amount "
            f"WHEN a.reverses THEN -{anew} ELSE {anew} END"
        )
        changed = " LEFT JOIN changed c ON c.part_id = a.part_id"
    facts = _facts(asked, sold_in="a.store_id", member="a.member_id", dated="a.business_date")
    select = f"SELECT {facts}, {commission} AS booked_commission FROM commission_attribution a"
    of_months = f"a.month_id BETWEEN {first} AND {last} AND ({' OR '.join(due)})"
    corrected = (
        " JOIN commission_salepart p ON p.id = a.part_id"
        " LEFT JOIN commission_attribution corrected ON corrected.id = a.corrects_id"
    )
    return (
        f"{select}{changed} WHERE {of_months} AND a.reason IN ('SALE', 'LATE') "
        f"UNION ALL {select}{corrected}{changed} WHERE {of_months} AND a.reason = 'CORRECTION' "
        f"AND p.original_id IS NULL AND {_in_these_months(first)}",
        [],
    )


def _in_these_months(first: int) -> str:
    """That what a row reverses, if it does, is one of the rows shared out anew, and not what was paid before."""
    return f"(NOT a.reverses OR corrected.month_id >= {first})"


def _returns(first: int, last: int, asked: Recount) -> Sql:
    """The rows of returns whose originals were posted in these months, beside what was left of those before."""
    facts = _facts(asked, sold_in="r.sold_in", member="r.member_id", dated="r.sold_on")
    back = "CASE WHEN a.reverses THEN"
    return (
        f"SELECT {facts}, {back} r.credit_before + r.commissionable_amount ELSE r.credit_before END AS credit_before, "
        f"{back} r.e4_before + r.e4 ELSE r.e4_before END AS e4_before, {back} -r.e4 ELSE r.e4 END AS e4 "
        "FROM commission_attribution a JOIN returned r ON r.part_id = a.part_id "
        "LEFT JOIN commission_attribution corrected ON corrected.id = a.corrects_id "
        f"WHERE a.month_id BETWEEN {first} AND {last} AND a.reason IN ('RETURN', 'CORRECTION') "
        f"AND ({_in_terms(asked, 'r.sold_in')} OR {_moved(asked, 'r.member_id')}) AND {_in_these_months(first)} "
        "AND (SELECT MIN(posted.month_id) FROM commission_attribution posted WHERE posted.part_id = r.original_id) "
        f">= {first}",
        [],
    )


def _returned_parts(last: int, asked: Recount) -> str:
    """Every part that returns another, with the other's store, member and date, and what of it was left before."""
    more, earlier_more, changed = "", "", ""
    if asked.by_line:
        more, earlier_more = " + COALESCE(c.more_e4, 0)", " + COALESCE(sold.more_e4, 0)"
        changed = " LEFT JOIN changed c ON c.part_id = p.id LEFT JOIN changed sold ON sold.part_id = o.id"

    def earlier(amount: str) -> str:
        return f"COALESCE(CAST(SUM({amount}) OVER earlier AS bigint), 0)"

    return (
        "SELECT p.id AS part_id, p.original_id, o.store_id AS sold_in, o.member_id, o.business_date AS sold_on, "
        f"p.commissionable_amount, p.commission_e4{more} AS e4, "
        f"o.commissionable_amount + {earlier('p.commissionable_amount')} AS credit_before, "
        f"o.commission_e4{earlier_more} + {earlier('p.commission_e4' + more)} AS e4_before "
        f"FROM commission_salepart p JOIN commission_salepart o ON o.id = p.original_id{changed} "
        f"WHERE p.original_id IS NOT NULL AND p.month_number <= {last} WINDOW earlier AS "
        "(PARTITION BY p.original_id ORDER BY p.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )


# Lines that return a part of another, beside it and what of its net amount was left before.
_RETURNED_LINES = """
SELECT l.part_id, l.net_amount, l.commission_e4, l.excluded, o.product_no, o.category_id,
    o.quantity_milli AS sold_milli, o.net_amount AS sold_amount,
    o.net_amount + COALESCE(CAST(SUM(l.net_amount) OVER earlier AS bigint), 0) AS left_amount
FROM commission_saleline l JOIN commission_saleline o ON o.id = l.original_line_id
WHERE l.original_line_id IS NOT NULL AND l.part_id IS NOT NULL
WINDOW earlier AS (
    PARTITION BY l.original_line_id ORDER BY l.part_id, l.line_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
)
"""


def _changed_parts(first: int, last: int, asked: Recount) -> Sql:
    """The parts with a line at another rate, and how much more that is, in ten-thousandths of the minor unit."""
    assert asked.terms is not None
    plan = asked.terms.plan.pk
    changed, priced = list(asked.products), list(asked.terms.products)
    at_product = f"l.product_no IN ({_places(changed)})" if changed else "1 = 0"
    # A product with a rate of its own is not touched by its category's.
    by_category = f" AND l.product_no NOT IN ({_places(priced)})" if priced else ""
    in_category = f"l.category_id IN ({_list(asked.rates)}){by_category}" if asked.rates else "1 = 0"
    at_rate = f"NOT l.excluded AND ({at_product} OR {in_category})"
    at_rate_params = [*changed, *(priced if asked.rates else [])]

    def anew(of_units: Callable[[int], str]) -> Sql:
        whens, params = [], []
        for product, rate in asked.products.items():
            pays = of_units(rate.unit_amount) if rate.unit_amount is not None else f"l.net_amount * {rate.rate_bp}"
            whens.append(f"WHEN l.product_no = %s THEN {pays}")
            params.append(product)
        whens += [f"WHEN l.category_id = {category} THEN l.net_amount * {bp}" for category, bp in asked.rates.items()]
        return f"CASE WHEN l.net_amount = 0 THEN 0 {' '.join(whens)} END", params

    def returned_units(unit_amount: int) -> str:
        # An amount per unit shrinks with the net amount that has come back.
        whole = f"l.sold_milli * {unit_amount * 10}"
        left = half_away_sql(f"{whole} * (l.left_amount + l.net_amount)", "l.sold_amount")
        return f"{left} - {half_away_sql(f'{whole} * l.left_amount', 'l.sold_amount')}"

    sold, sold_params = anew(lambda unit_amount: f"l.quantity_milli * {unit_amount * 10}")
    back, back_params = anew(returned_units)
    of_store = f" AND p.store_id = {asked.store.pk}" if asked.store else ""
    # The lines' index is by ticket, which SQLite needs; asked for both, PostgreSQL expects hardly a line.
    of_part = "l.part_id = p.id" + (" AND l.sale_id = p.sale_id" if connection.vendor == "sqlite" else "")
    posted_later = (
        f"SELECT a.part_id FROM commission_attribution a WHERE a.month_id BETWEEN {first} AND {last} "
        "AND a.reason <> 'SALE'"
    )
    return (
        "SELECT part_id, part_e4 AS commission_e4, CAST(SUM(more_e4) AS bigint) AS more_e4 FROM ("
        f"SELECT p.id AS part_id, p.commission_e4 AS part_e4, {sold} - l.commission_e4 AS more_e4 "
        f"FROM commission_salepart p JOIN commission_saleline l ON {of_part} "
        f"WHERE p.plan_id = {plan} AND p.original_id IS NULL{of_store} AND {at_rate} "
        f"AND (p.month_number BETWEEN {first} AND {last} OR p.id IN ({posted_later})) "
        f"UNION ALL SELECT r.id, r.commission_e4, {back} - l.commission_e4 "
        "FROM returned_line l JOIN commission_salepart r ON r.id = l.part_id "
        "JOIN commission_salepart p ON p.id = r.original_id "
        f"WHERE r.plan_id = {plan}{of_store} AND {at_rate}) AS line GROUP BY part_id, part_e4",
        [*sold_params, *at_rate_params, *back_params, *at_rate_params],
    )
