"""Compares a closed month's ledger with what the rules give, row by row, and names what is otherwise.

Plain rows that are right are proved all at once (commission/plain_rows.py); what is left is worked out one by one
(commission/expected_rows.py). Neither shares anything with what books.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commission.expected_rows import AMOUNTS, FACTS, Batch, Part, Row, Terms
from commission.models import Attribution, Sale, SalePart
from commission.plain_rows import plain_rows
from portfolios.models import Month

_CHUNK = 1_000

# Named once: to look a word up for each of a million parts takes as long as to check them.
_STORE = gettext_lazy("store")
_BUSINESS_DATE = gettext_lazy("business date")
_MONTH_OF_DATE = gettext_lazy("month of the business date")
_COMMISSIONABLE = gettext_lazy("commissionable amount")
_EXCLUDED = gettext_lazy("excluded amount")
_BEFORE_ROUNDING = gettext_lazy("commission before rounding")
_FIRST_ROWS = gettext_lazy("rows that bring it in")
_ROWS_IN_FORCE = gettext_lazy("rows in force")
_PLAN = gettext_lazy("plan")
_MEMBER = gettext_lazy("member")
_SERVERS = gettext_lazy("servers of its lines")


class Finding(NamedTuple):
    """Something that is not as it should be: in which month, what, where, what is right, what is there, what to do."""

    month: str
    what: str
    where: str
    expected: str
    found: str
    remedy: str


@dataclass
class ClerkTotals:
    """What the rules give each clerk in a month: tickets and minor units of each line, and the credit."""

    lines: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    credits: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    rows: int = 0


def verify_ledger(month: Month, totals: ClerkTotals, *, one_by_one: bool = False) -> Iterator[Finding]:
    """What of the month's ledger the rules don't give, row by row; `totals` takes up what they do give each clerk.

    Plain rows that are right are proved all at once, unless `one_by_one`; what is left goes ticket by ticket, some
    hundred at a time: memory does not grow with the ledger.
    """
    with nullcontext() if one_by_one else plain_rows(month) as plain:
        if plain is None:
            rows = Attribution.objects.filter(month=month).order_by("part__sale", "pk")
            yield from _verify_rows(
                month, totals, rows.values_list("part__sale", "part", "pk").iterator(chunk_size=_CHUNK)
            )
        else:
            for clerk, line, tickets, commission, credit in plain.totals():
                totals.lines[clerk, line][0] += tickets
                totals.lines[clerk, line][1] += commission
                totals.credits[clerk] += credit
            totals.rows += plain.count
            yield from _verify_rows(month, totals, plain.others())
    yield from _without_ticket(month, totals.rows)
    yield from _unattributed(month)


def _verify_rows(month: Month, totals: ClerkTotals, keys: Iterable[tuple[int, int, int]]) -> Iterator[Finding]:
    """The rows with these keys, each with its ticket and part, ticket by ticket."""
    terms = Terms()
    batch: dict[int, dict[int, list[int]]] = {}
    held = 0
    for sale, part, row in keys:
        if held >= _CHUNK and sale not in batch:
            yield from _compare(month, terms, batch, totals)
            batch, held = {}, 0
        batch.setdefault(sale, {}).setdefault(part, []).append(row)
        held += 1
    yield from _compare(month, terms, batch, totals)


def _compare(
    month: Month, terms: Terms, tickets: dict[int, dict[int, list[int]]], totals: ClerkTotals
) -> Iterator[Finding]:
    facts = Batch(terms, [part for parts in tickets.values() for part in parts])
    for sale_id, parts in tickets.items():
        lines: set[tuple[int, str]] = set()
        for part_id, posted in parts.items():
            part = facts.parts.get(part_id)
            if part is None or sale_id not in facts.sales:
                continue
            for what, right, found in _part_faults(facts, part):
                yield _finding(month, _place(facts, part), what, right, found)
            for key in posted:
                row = facts.rows[part_id][key]
                expected = facts.expected(row)
                for what, right, found in _row_faults(facts, row, expected):
                    at = _("%(part)s, attribution %(key)d") % {"part": _place(facts, part), "key": key}
                    yield _finding(month, at, what, right, found)
                _add_up(expected, totals, lines)
                totals.rows += 1
        for line in lines:
            totals.lines[line][0] += 1


def _part_faults(facts: Batch, part: Part) -> Iterator[tuple[str, Any, Any]]:
    """What of a part is not right: what, the right value, and the one that is there."""
    terms, sale, lines = facts.terms, facts.sales[part.sale_id], facts.lines[part.id]
    sums = facts.sums(part, part.plan_id)
    plan = terms.plans.get(part.plan_id)
    first_rows = sum(row.corrects_id is None for row in facts.rows[part.id].values())
    standing = sum(facts.stands(row) for row in facts.rows[part.id].values())
    due = facts.parts.get(part.original_id) if part.original_id else None
    winner = terms.plans.get(due.plan_id) if due else terms.winning_plan(part.store_id, part.business_date)
    checks: list[tuple[Any, Any, Any]] = [
        (_STORE, sale.store_id, part.store_id),
        (_BUSINESS_DATE, sale.business_date, part.business_date),
        (_MONTH_OF_DATE, terms.month(part.business_date) or sale.month_number, part.month_number),
        (_COMMISSIONABLE, sums.commissionable, part.commissionable_amount),
        (_EXCLUDED, sums.excluded, part.excluded_amount),
        (_BEFORE_ROUNDING, sums.e4, part.commission_e4),
        (_FIRST_ROWS, 1, first_rows),
        (_ROWS_IN_FORCE, 1, standing),
        (_PLAN, winner and winner.plan_no, plan and plan.plan_no),
    ]
    if part.original_id is None and part.correction_id is None:
        checks.append((_MEMBER, terms.card(sale.member_id, part.business_date), part.member_id))
        if not part.settled:
            servers = {line.server_id for line in lines}
            checks.append((_SERVERS, {part.server_id}, servers or {part.server_id}))
    yield from ((str(what), right, found) for what, right, found in checks if right != found)
    for line in lines:
        if line.sale_id != part.sale_id:
            yield _("ticket of line %(line)d") % {"line": line.line_no}, part.sale_id, line.sale_id
        if part.original_id and line.original_line_id is None:
            yield _("original of line %(line)d") % {"line": line.line_no}, _("a line"), _("none")


def _row_faults(facts: Batch, row: Row, expected: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in (*FACTS, *AMOUNTS):
        found = getattr(row, name)
        if expected[name] != found:
            clerk = name in ("owner_id", "server_id")
            what = Attribution._meta.get_field(name.removesuffix("_id")).verbose_name  # type: ignore[union-attr]
            shown = [facts.terms.clerk_no.get(key, key) if clerk else key for key in (expected[name], found)]
            yield str(what), shown[0], shown[1]
    if row.month_id < facts.parts[row.part_id].month_number:
        yield _("month"), facts.parts[row.part_id].month_number, row.month_id


def _add_up(row: dict[str, Any], totals: ClerkTotals, lines: set[tuple[int, str]]) -> None:
    """Adds a row to the lines of its clerks; a ticket counts once in a line, whatever the clerk is in it."""
    kind = row["kind"]
    if kind is None or row["pay_line"] is None:
        return
    shares = []
    if row["owner_id"] is not None:
        shares.append(("owner", {"OWN_SERVED": "OWN_SERVED", "SPLIT": "OWN_ABSENT"}[kind]))
    if row["server_id"] is not None and kind != "OWN_SERVED":
        shares.append(("server", {"SPLIT": "COVERED", "UNOWNED": "UNOWNED", "WALK_IN": "WALK_IN"}[kind]))
    for party, of_kind in shares:
        clerk = row[f"{party}_id"]
        line = (clerk, of_kind if row["pay_line"] == "KIND" else row["pay_line"])
        totals.lines[line][1] += row[f"{party}_commission_amount"]
        totals.credits[clerk] += row[f"{party}_credit_amount"]
        lines.add(line)


def _without_ticket(month: Month, with_ticket: int) -> Iterator[Finding]:
    rows = Attribution.objects.filter(month=month)
    if rows.count() != with_ticket:
        parts = SalePart.objects.filter(pk=OuterRef("part"), sale__in=Sale.objects.all())
        for key in rows.filter(~Exists(parts)).order_by("pk").values_list("pk", flat=True):
            yield _finding(month, _("attribution %(key)d") % {"key": key}, _("its ticket"), _("there"), _("none"))


def _unattributed(month: Month) -> Iterator[Finding]:
    missing: QuerySet[SalePart] = SalePart.objects.filter(
        ~Exists(Attribution.objects.filter(part=OuterRef("pk"))), month_number=month.pk
    )
    for part in missing.select_related("sale__store").order_by("pk").iterator(chunk_size=_CHUNK):
        where = _("store %(store)s, %(date)s, ticket %(ticket)s") % {
            "store": part.sale.store.store_no,
            "date": part.business_date,
            "ticket": part.sale.ticket_no,
        }
        yield _finding(month, where, _("attribution"), _("one"), _("none"))


def _place(facts: Batch, part: Part) -> str:
    sale = facts.sales[part.sale_id]
    return _("store %(store)s, %(date)s, ticket %(ticket)s, part %(part)d") % {
        "store": facts.terms.store_no.get(sale.store_id, sale.store_id),
        "date": sale.business_date,
        "ticket": sale.ticket_no,
        "part": part.number,
    }


def _finding(month: Month, where: str, what: str, expected: Any, found: Any) -> Finding:
    remedy = _("Compare the ticket, its plan and its member's bindings with a backup: one of them was changed.")
    return Finding(month.name, what, where, _text(expected), _text(found), remedy)


def _text(value: Any) -> str:
    if value is None:
        return _("none")
    if isinstance(value, set):
        return ", ".join(sorted(map(_text, value)))
    return str(value)
