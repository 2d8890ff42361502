"""The rows of closed months that a change touches, shared out anew by the expressions that book: asked, not written.

A split of 600 (owner 420, server 180) at an owner share of 60% is 360 and 240: the owner loses 60, the server wins
60. A row counts in the month that it is posted to. A return mirrors its original, so it changes where the original
does: where that was posted before the first of the months, it takes back what was paid.

Of sales at another rate the lines are read stretch by stretch of the parts, so that what is joined stays in memory.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, CharField

from commission.attribution import RETURN_SHARES, SALE_SHARES, Columns, select_shares
from commission.money import WHOLE_BP, half_away_sql
from commission.recount_lines import Stretch, changed_among, changed_returns, changed_sales
from commission.recount_terms import Kind, Recount, Sql, listed
from portfolios.models import Month


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


# So many parts of sales are worked out by one statement where their lines are read.
STRETCH = 500_000

# What of a row is asked for: all that a share changes, and what a rate alone does.
_AMOUNTS = ("owner_credit", "server_credit", "owner_commission", "server_commission", "commission")
_COMMISSIONS = _AMOUNTS[2:]
_NUMBERS = {
    "month", "was_owner", "owner", "server", "share_bp", "commissionable_amount", "booked_commission", "credit_before",
    "e4_before", "e4",
}  # fmt: skip


def recount(first: Month, last: Month, asked: Recount) -> Moved:
    """Shares out anew what is asked of the rows posted to the months, and says what each clerk gains or loses."""
    moved = Moved()
    if not (asked.kinds or asked.by_line or asked.move):
        return moved
    stretches = _stretches(first.pk, last.pk) if asked.by_line else [None]
    sales = [_sales(first.pk, last.pk, asked, stretch) for stretch in stretches]
    sales.append(_corrections(first.pk, last.pk, asked))
    shared_out = [_shared_out(rows, SALE_SHARES, asked) for rows in sales]
    shared_out.append(_shared_out(_returns(first.pk, last.pk, asked), RETURN_SHARES, asked))
    with connection.cursor() as cursor:
        for sql, params in (_summed(rows, asked) for rows in shared_out):
            cursor.execute(sql, params)
            for month, clerk, credit_amount, commission_amount, rows, house_amount in cursor.fetchall():
                moved.rows += rows
                moved.house_amount += house_amount
                if clerk is not None:
                    add_to(moved.clerks, (month, clerk), (credit_amount, commission_amount))
    return moved


def _stretches(first: int, last: int) -> list[Stretch]:
    """The parts of sales that have rows in the months; parts are booked, and numbered, with their tickets."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT MIN(part_id), MAX(part_id) FROM commission_attribution "
            f"WHERE month_id BETWEEN {first} AND {last} GROUP BY part_id / {STRETCH} ORDER BY 1"
        )
        parts = cursor.fetchall()
        found = []
        for lowest, highest in parts:
            cursor.execute(
                "SELECT MIN(sale_id), MAX(sale_id) FROM commission_salepart "
                f"WHERE id BETWEEN {lowest} AND {highest} AND original_id IS NULL"
            )
            [sales] = cursor.fetchall()
            if sales[0] is not None:
                found.append(Stretch((lowest, highest), sales))
    return found


def _asked_amounts(asked: Recount) -> tuple[str, ...]:
    return _AMOUNTS if asked.kinds or asked.move else _COMMISSIONS


def _summed(rows: Sql, asked: Recount) -> Sql:
    """Rows of (month, clerk, credit, commission, rows, house's commission): each what is more or less than booked."""
    sql, params = rows
    names = _asked_amounts(asked)
    keys = ["month", "owner", "server"]
    sums = {name: f"to_{name}_amount - to_was_{name}_amount" for name in names}
    if asked.move:
        # What the one owner wins the other one loses.
        keys.append("was_owner")
        owners = [name for name in names if name.startswith("owner")]
        sums |= {name: f"to_{name}_amount" for name in owners}
        sums |= {f"was_{name}": f"to_was_{name}_amount" for name in owners}
    summed = ", ".join(f"CAST(SUM({amount}) AS bigint) AS {name}" for name, amount in sums.items())
    by = ", ".join(f"to_{key}" for key in keys)
    named = ", ".join(f"to_{key} AS {key}" for key in keys)
    # A chain has few pairs of owner and server: their sums are made in one reading of the rows, and kept.
    recounted = f"SELECT {named}, COUNT(*) AS of_rows, {summed} FROM ({sql}) AS shared_out GROUP BY {by}"

    def leg(clerk: str, prefix: str, sign: str = "") -> str:
        totals = ", ".join(
            f"CAST(SUM({sign}{prefix}_{what}) AS bigint)" if f"{prefix}_{what}" in sums else "0"
            for what in ("credit", "commission")
        )
        return f"SELECT month, {clerk}, {totals}, 0, 0 FROM recounted GROUP BY month, {clerk}"

    legs = [leg("owner", "owner"), leg("server", "server")]
    house = "commission - owner_commission - server_commission"
    if asked.move:
        legs.append(leg("was_owner", "was_owner", "-"))
        house += " + was_owner_commission"
    legs.append(
        "SELECT 0, NULL, 0, 0, CAST(COALESCE(SUM(of_rows), 0) AS bigint), "
        f"CAST(COALESCE(SUM({house}), 0) AS bigint) FROM recounted"
    )
    return f"WITH recounted AS ({recounted}) {' UNION ALL '.join(legs)}", params


def _shared_out(rows: Sql, shares: Columns, asked: Recount) -> Sql:
    """The rows with their owner, kind and share as asked, shared out by the expressions that book."""
    sql, params = rows
    owner, kind, share, plans = "was_owner", "was_kind", "", ""
    if asked.terms and asked.kinds:
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
    share = f"CASE {share}ELSE was_share_bp END" if share else "was_share_bp"
    sql = f"SELECT with_kind.*, {share} AS share_bp FROM ({sql}) AS with_kind{plans}"
    known: dict[str, tuple[str, Any]] = {name: (name, BigIntegerField(null=True)) for name in _NUMBERS}
    amounts = [f"{name}_amount" for name in _asked_amounts(asked)]
    known |= {"kind": ("kind", CharField())} | {f"was_{name}": (f"was_{name}", BigIntegerField()) for name in amounts}
    kept = ["month", "was_owner", "owner", "server", *(f"was_{name}" for name in amounts)]
    outer, outer_params = select_shares(known, kept, {name: shares[name] for name in amounts})
    # PostgreSQL would copy the expression of a kind or a share into every amount that uses it.
    once = " OFFSET 0" if connection.vendor == "postgresql" else ""
    return f"{outer} FROM ({sql}{once}) AS booked", [*outer_params, *params]


def _facts(asked: Recount, *, sold_in: str, member: str, dated: str) -> str:
    """What a row is booked with, and whether the terms and the move are about it."""
    booked = ", ".join(f"a.{name}_amount AS was_{name}_amount" for name in _asked_amounts(asked))
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
    return f"{member} IN ({listed(asked.move.members)})" if asked.move.members else "1 = 0"


def _sales(first: int, last: int, asked: Recount, stretch: Stretch | None) -> Sql:
    """The rows that sales were first booked with, of a stretch of the parts or all."""
    of_parts = f" AND a.part_id BETWEEN {stretch.parts[0]} AND {stretch.parts[1]}" if stretch else ""
    changed = changed_sales(asked, stretch) if stretch else None
    return _rows_of_sales(
        asked,
        changed,
        "commission_attribution a",
        f"a.month_id BETWEEN {first} AND {last} AND a.reason IN ('SALE', 'LATE'){of_parts}",
    )


def _corrections(first: int, last: int, asked: Recount) -> Sql:
    """The corrections of sales: a row is opposite in sign to what it reverses, and shared out like it."""
    corrected = "SELECT DISTINCT part_id FROM commission_attribution WHERE corrects_id IS NOT NULL"
    return _rows_of_sales(
        asked,
        changed_among(asked, corrected) if asked.by_line else None,
        "commission_attribution a JOIN commission_salepart p ON p.id = a.part_id "
        "JOIN commission_attribution corrected ON corrected.id = a.corrects_id",
        f"a.month_id BETWEEN {first} AND {last} AND a.reason = 'CORRECTION' AND a.corrects_id IS NOT NULL "
        f"AND p.original_id IS NULL AND {_in_these_months(first)}",
    )


def _rows_of_sales(asked: Recount, changed: Sql | None, rows: str, where: str) -> Sql:
    """Rows of sales that the change touches, with their commission by the rates asked for."""
    in_terms = _in_terms(asked, "a.store_id")
    touched = [f"a.kind IN ({', '.join(repr(kind) for kind in sorted(asked.kinds))})"] if asked.kinds else []
    touched += ["c.part_id IS NOT NULL"] if changed else []
    due = [f"{in_terms} AND ({' OR '.join(touched)})"] if touched else []
    due += [_moved(asked, "a.member_id")] if asked.move else []
    commission, params = "a.commission_amount", []
    if changed:
        anew = half_away_sql("c.commission_e4 + c.more_e4", str(WHOLE_BP))
        commission = (
            f"CASE WHEN c.part_id IS NULL OR NOT ({in_terms}) THEN a.commission_amount "
            f"ELSE {anew} * CASE WHEN a.reverses THEN -1 ELSE 1 END END"
        )
        rows, params = f"{rows} LEFT JOIN ({changed[0]}) AS c ON c.part_id = a.part_id", changed[1]
    facts = _facts(asked, sold_in="a.store_id", member="a.member_id", dated="a.business_date")
    select = f"SELECT {facts}, {commission} AS booked_commission FROM {rows}"
    return f"{select} WHERE {where} AND ({' OR '.join(due)})", params


def _in_these_months(first: int) -> str:
    """That what a row reverses, if it does, is one of the rows shared out anew, and not what was paid before."""
    return f"(NOT a.reverses OR corrected.month_id >= {first})"


def _returns(first: int, last: int, asked: Recount) -> Sql:
    """The rows of returns whose originals were posted in these months, beside what was left of those before."""
    facts = _facts(asked, sold_in="r.sold_in", member="r.member_id", dated="r.sold_on")
    back = "CASE WHEN a.reverses THEN"
    returned, params = _returned_parts(last, asked)
    return (
        f"SELECT {facts}, {back} r.credit_before + r.commissionable_amount ELSE r.credit_before END AS credit_before, "
        f"{back} r.e4_before + r.e4 ELSE r.e4_before END AS e4_before, {back} -r.e4 ELSE r.e4 END AS e4 "
        f"FROM commission_attribution a JOIN ({returned}) AS r ON r.part_id = a.part_id "
        "LEFT JOIN commission_attribution corrected ON corrected.id = a.corrects_id "
        f"WHERE a.month_id BETWEEN {first} AND {last} AND a.reason IN ('RETURN', 'CORRECTION') "
        f"AND ({_in_terms(asked, 'r.sold_in')} OR {_moved(asked, 'r.member_id')}) "
        f"AND {_in_these_months(first)} "
        "AND (SELECT MIN(posted.month_id) FROM commission_attribution posted WHERE posted.part_id = r.original_id) "
        f">= {first}",
        params,
    )


def _returned_parts(last: int, asked: Recount) -> Sql:
    """Every part that returns another, with the other's store, member and date, and what of it was left before."""
    more, earlier_more, with_changed, changed = "", "", "", ""
    params: list[Any] = []
    if asked.by_line:
        parts, params = changed_returns(asked)
        more, earlier_more = " + COALESCE(c.more_e4, 0)", " + COALESCE(sold.more_e4, 0)"
        with_changed = f"WITH changed AS ({parts}) "
        changed = " LEFT JOIN changed c ON c.part_id = p.id LEFT JOIN changed sold ON sold.part_id = o.id"

    def earlier(amount: str) -> str:
        return f"COALESCE(CAST(SUM({amount}) OVER earlier AS bigint), 0)"

    return (
        f"{with_changed}SELECT p.id AS part_id, p.original_id, o.store_id AS sold_in, o.member_id, "
        "o.business_date AS sold_on, "
        f"p.commissionable_amount, p.commission_e4{more} AS e4, "
        f"o.commissionable_amount + {earlier('p.commissionable_amount')} AS credit_before, "
        f"o.commission_e4{earlier_more} + {earlier('p.commission_e4' + more)} AS e4_before "
        f"FROM commission_salepart p JOIN commission_salepart o ON o.id = p.original_id{changed} "
        f"WHERE p.original_id IS NOT NULL AND p.month_number <= {last} WINDOW earlier AS "
        "(PARTITION BY p.original_id ORDER BY p.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)",
        params,
    )
