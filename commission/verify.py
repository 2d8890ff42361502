"""Works a month's ledger out again from tickets, plans and bindings, in plain Python, and compares it row by row.

It is the rules written a second time: nothing here is shared with what books (one SQL statement), so that a fault of
either shows. A split of 200.00 at 3% must be 6.00, 4.20 of it the owner's and 1.80 the server's, to the fen.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from commission.models import Attribution, Plan, PlanProduct, PlanRate, Sale, SaleLine, SalePart
from portfolios.models import Binding, Clerk, Member, Month, Store

_CHUNK = 1_000
_E4 = 10_000

AMOUNTS = (
    "commissionable_amount", "excluded_amount", "owner_credit_amount", "server_credit_amount", "house_credit_amount",
    "commission_amount", "owner_commission_amount", "server_commission_amount", "house_commission_amount",
)  # fmt: skip
FACTS = (
    "kind", "reason", "pay_line", "reverses", "store_id", "business_date", "member_id", "owner_id", "server_id",
    "plan_id", "share_bp",
)  # fmt: skip


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


def half_away(top: int, bottom: int) -> int:
    """top / bottom rounded half away from zero; bottom is positive."""
    whole, rest = divmod(abs(top), bottom)
    whole += 2 * rest >= bottom
    return whole if top >= 0 else -whole


def parties(total: int, kind: str, share_bp: int, served: bool) -> tuple[int, int, int]:
    """Owner's, server's and house's part of a total: one share is rounded, the other party gets the rest."""
    share = half_away(total * share_bp, _E4)
    owner, server, house = {
        "OWN_SERVED": (total, 0, 0),
        "SPLIT": (share, total - share, 0),
        "UNOWNED": (0, total - share, share),
        "WALK_IN": (0, share, total - share),
    }[kind]
    return (owner, server, house) if served or kind == "OWN_SERVED" else (owner, 0, server + house)


class _Sums(NamedTuple):
    """Of a part: what counts, what is excluded, and the commission before rounding."""

    commissionable: int
    excluded: int
    e4: int


_NOTHING = _Sums(0, 0, 0)


class _Terms:
    """Plans, stores, clerks' last days and merged cards: little beside the ledger, and read once."""

    def __init__(self) -> None:
        self.plans = Plan.objects.in_bulk()
        self.rates = {(row.plan_id, row.category_id): row for row in PlanRate.objects.all()}
        self.products = {(row.plan_id, row.product_no): row for row in PlanProduct.objects.all()}
        self.left_on = dict(Clerk.objects.values_list("pk", "left_on"))
        self.clerk_no = dict(Clerk.objects.values_list("pk", "clerk_no"))
        self.store_no = dict(Store.objects.values_list("pk", "store_no"))
        self.months = list(Month.objects.values_list("pk", "starts_on", "ends_on"))
        merged = Member.objects.filter(merged_into__isnull=False).values_list("pk", "merged_into", "counted_to")
        self.merged = {card: (into, closed) for card, into, closed in merged}

    def card(self, member: int | None, on: dt.date) -> int | None:
        """The card that stands for one on a date: itself, or the one that it had been merged into by then."""
        for _step in range(len(self.merged)):
            if member not in self.merged or self.merged[member][1] > on:
                break
            member = self.merged[member][0]
        return member

    def month(self, on: dt.date) -> int | None:
        """The month that a business date lies in; None before the first."""
        return next((number for number, starts_on, ends_on in self.months if starts_on <= on <= ends_on), None)

    def winning_plan(self, store: int, on: dt.date) -> Plan | None:
        """The plan of a store on a date: its own before the chain's."""
        covering = [plan for plan in self.plans.values() if plan.valid_from <= on < plan.valid_to]
        in_force = {plan.store_id: plan for plan in covering if plan.state == "issued"}
        return in_force.get(store) or in_force.get(None)

    def line_e4(self, plan: int, line: SaleLine, *, superseded: bool) -> tuple[bool, int]:
        """Whether the plan excludes a line, and its commission before rounding.

        A plan without a rate for a category is complete only where the category is excluded.
        """
        rate = self.rates.get((plan, line.category_id))
        product = self.products.get((plan, line.product_no))
        # Whether a category is excluded by default may have changed since: the line keeps what it was then, by the
        # plan that it has.
        if rate.excluded if rate is not None else superseded or line.excluded or product is None:
            return True, 0
        if line.net_amount == 0:
            return False, 0
        pays = product or rate
        assert pays is not None
        if isinstance(pays, PlanProduct) and pays.unit_amount is not None:
            return False, line.quantity_milli * pays.unit_amount * _E4 // 1_000
        return False, line.net_amount * (pays.rate_bp or 0)


class _Batch:
    """The parts of some tickets, with all that their rows follow from: originals, other returns of them, bindings."""

    def __init__(self, terms: _Terms, part_ids: Iterable[int]) -> None:
        self.terms = terms
        self.asked = set(part_ids)
        parts = {part.pk: part for part in SalePart.objects.filter(pk__in=self.asked)}
        originals = {part.original_id for part in parts.values() if part.original_id}
        parts |= {part.pk: part for part in SalePart.objects.filter(pk__in=originals)}
        # All returns of an original, in the order of their parts: each takes from what the ones before it left.
        self.returns: dict[int, list[SalePart]] = defaultdict(list)
        for part in SalePart.objects.filter(original__in=originals).order_by("pk"):
            parts[part.pk] = part
            self.returns[part.original_id or 0].append(part)
        self.parts = parts
        self.sales = Sale.objects.in_bulk({part.sale_id for part in parts.values()})
        self.lines: dict[int, list[SaleLine]] = defaultdict(list)
        for line in SaleLine.objects.filter(sale__in=self.sales).order_by("sale", "line_no"):
            if line.part_id in parts:
                self.lines[line.part_id or 0].append(line)
        self.rows: dict[int, dict[int, Attribution]] = defaultdict(dict)
        self.reversed: set[int] = set()
        for row in Attribution.objects.filter(part__in=parts).order_by("pk"):
            self.rows[row.part_id][row.pk] = row
            if row.reverses:
                self.reversed.add(row.corrects_id or 0)
        self.bindings: dict[int, list[Binding]] = defaultdict(list)
        members = {part.member_id for part in parts.values() if part.member_id}
        for binding in Binding.objects.filter(voided_by=None, member__in=members):
            self.bindings[binding.member_id].append(binding)
        self._sums: dict[tuple[int, int], _Sums] = {}
        self._line_e4: dict[int, int] = {}
        self._expected: dict[int, dict[str, Any]] = {}

    # --- What a part comes to ------------------------------------------------------------------------------------

    def sums(self, part: SalePart | None, plan: int) -> _Sums:
        """What a part comes to by a plan; nothing where it is not there, or returns what is itself a return."""
        if part is None:
            return _NOTHING
        if (part.pk, plan) not in self._sums:
            if part.original_id is None:
                superseded = plan != part.plan_id
                own = [self.terms.line_e4(plan, line, superseded=superseded) for line in self.lines[part.pk]]
                self._sums[part.pk, plan] = self._total(part, own)
            elif part.original_id in self.parts:
                self._returned(part.original_id, plan)
        return self._sums.get((part.pk, plan), _NOTHING)

    def _total(self, part: SalePart, own: list[tuple[bool, int]]) -> _Sums:
        nets = [line.net_amount for line in self.lines[part.pk]]
        return _Sums(
            sum(net for net, (out, _e4) in zip(nets, own, strict=True) if not out),
            sum(net for net, (out, _e4) in zip(nets, own, strict=True) if out),
            sum(e4 for _out, e4 in own),
        )

    def _returned(self, original_id: int, plan: int) -> None:
        """The sums of all returns of a part by a plan: each line takes from what is left of its original line."""
        superseded = plan != self.parts[original_id].plan_id
        sold = {line.pk: line for line in self.lines[original_id]}
        left = {key: line.net_amount for key, line in sold.items()}
        backs = [
            (self._first_booking(part), part, line)
            for part in self.returns[original_id]
            for line in self.lines[part.pk]
        ]
        own: dict[int, tuple[bool, int]] = {}
        for _booking, _part, line in sorted(backs, key=lambda back: (back[0], back[1].sale_id, back[2].line_no)):
            of = sold.get(line.original_line_id or 0)
            if of is None:
                own[line.pk] = (False, 0)
                continue
            out, e4 = self.terms.line_e4(plan, of, superseded=superseded)
            before, left[of.pk] = left[of.pk], left[of.pk] + line.net_amount
            product = self.terms.products.get((plan, of.product_no))
            if out:
                own[line.pk] = (True, 0)
            elif product is not None and product.unit_amount is not None:
                then, now = (
                    half_away(e4 * net, of.net_amount) if of.net_amount else 0 for net in (before, left[of.pk])
                )
                own[line.pk] = (False, now - then)
            else:
                own[line.pk] = (False, e4 // of.net_amount * line.net_amount if of.net_amount else 0)
        for part in self.returns[original_id]:
            self._sums[part.pk, plan] = self._total(part, [own[line.pk] for line in self.lines[part.pk]])

    def _first_booking(self, part: SalePart) -> int:
        return min((row.booking_id for row in self.rows[part.pk].values()), default=0)

    # --- What a row must say -------------------------------------------------------------------------------------

    def owner(self, member: int | None, on: dt.date) -> int | None:
        """The clerk whom the member is bound to on the date, unless the clerk has left before it."""
        for binding in self.bindings[member] if member else ():
            if binding.valid_from <= on < binding.valid_to:
                left = self.terms.left_on.get(binding.clerk_id)
                return binding.clerk_id if left is None or on <= left else None
        return None

    def stands(self, row: Attribution) -> bool:
        return not row.reverses and row.pk not in self.reversed

    def expected(self, row: Attribution) -> dict[str, Any]:
        """Every fact and amount of a row as the rules have it."""
        if row.pk not in self._expected:
            # Rows that refer to each other in a circle know nothing of each other.
            self._expected[row.pk] = dict.fromkeys([*FACTS, *AMOUNTS])
            self._expected[row.pk] = self._reversal(row) if row.reverses else self._booking(row)
        return self._expected[row.pk]

    def _corrected(self, row: Attribution) -> Attribution | None:
        return self.rows[row.part_id].get(row.corrects_id) if row.corrects_id else None

    def _reversal(self, row: Attribution) -> dict[str, Any]:
        corrected = self._corrected(row)
        same: dict[str, Any] = self.expected(corrected) if corrected is not None else {"kind": None}
        if corrected is None or same["kind"] is None:
            return dict.fromkeys([*FACTS, *AMOUNTS])
        return {
            **same,
            **{name: -same[name] for name in AMOUNTS},
            "reverses": True,
            "reason": "CORRECTION",
            "pay_line": self._correction_line(row, corrected),
        }

    def _correction_line(self, row: Attribution, corrected: Attribution) -> str:
        return "CORRECTION" if row.month_id > corrected.month_id else self.expected(corrected)["pay_line"]

    def _booking(self, row: Attribution) -> dict[str, Any]:
        part = self.parts[row.part_id]
        stands = self.stands(row)
        # What a change of plans took back was worked out by the plan before it.
        plan = part.plan_id if stands else row.plan_id
        sums = self.sums(part, plan)
        member = part.member_id if stands else row.member_id
        if part.original_id:
            shared = self._mirrored(row, part)
            original = self.sums(self.parts.get(part.original_id), plan)
            earlier = [self.sums(other, plan) for other in self.returns[part.original_id] if other.pk < part.pk]
            before = (
                original.commissionable + sum(other.commissionable for other in earlier),
                original.e4 + sum(other.e4 for other in earlier),
            )
        else:
            server = part.server_id if stands else row.server_id
            owner = self.owner(member, part.business_date) if stands else row.owner_id
            shared = self._sharing(plan, member, None if part.settled else owner, server)
            before = (0, 0)
        after = (before[0] + sums.commissionable, before[1] + sums.e4)
        return {
            **shared,
            **self._amounts(shared, before, after),
            "commissionable_amount": sums.commissionable,
            "excluded_amount": sums.excluded,
            "reverses": False,
            "store_id": part.store_id,
            "business_date": part.business_date,
            "member_id": member,
            "plan_id": plan,
            **self._posting(row, part),
        }

    def _sharing(self, plan_id: int, member: int | None, owner: int | None, server: int | None) -> dict[str, Any]:
        plan = self.terms.plans.get(plan_id)
        if plan is None:
            return dict.fromkeys(("kind", "owner_id", "server_id", "share_bp"))
        if member is None:
            kind, share_bp, owner = "WALK_IN", plan.walk_in_share_bp, None
        elif owner is None:
            kind, share_bp = "UNOWNED", plan.house_share_bp
        elif owner == server:
            kind, share_bp = "OWN_SERVED", _E4
        else:
            kind, share_bp = "SPLIT", plan.owner_share_bp
        return {"kind": kind, "owner_id": owner, "server_id": server, "share_bp": share_bp}

    def _mirrored(self, row: Attribution, part: SalePart) -> dict[str, Any]:
        """What a return shares by: its original as last corrected (by the time of a row that no longer stands)."""
        booked = [other for other in self.rows[part.original_id or 0].values() if not other.reverses]
        if not self.stands(row):
            booked = [other for other in booked if other.pk < row.pk] or booked
        if not booked:
            return dict.fromkeys(("kind", "owner_id", "server_id", "share_bp"))
        mirrored = self.expected(booked[-1])
        return {name: mirrored[name] for name in ("kind", "owner_id", "server_id", "share_bp")}

    def _amounts(self, shared: dict[str, Any], before: tuple[int, int], after: tuple[int, int]) -> dict[str, Any]:
        """What each party is left with afterwards, less what each had before."""
        if shared["kind"] is None:
            return dict.fromkeys(AMOUNTS)
        kind, share_bp, served = shared["kind"], shared["share_bp"], shared["server_id"] is not None
        commission = [half_away(e4, _E4) for _credit, e4 in (before, after)]
        amounts = {"commission_amount": commission[1] - commission[0]}
        for what, had, has in (("credit", before[0], after[0]), ("commission", commission[0], commission[1])):
            then, now = (parties(total, kind, share_bp, served) for total in (had, has))
            for party, was, now_is in zip(("owner", "server", "house"), then, now, strict=True):
                amounts[f"{party}_{what}_amount"] = now_is - was
        return amounts

    def _posting(self, row: Attribution, part: SalePart) -> dict[str, Any]:
        """Reason and payslip line."""
        corrected = self._corrected(row)
        if corrected is not None:
            return {"reason": "CORRECTION", "pay_line": self._correction_line(row, corrected)}
        if part.original_id:
            posted = [other.month_id for other in self.rows[part.original_id].values()]
            back = bool(posted) and min(posted) < row.month_id
            return {"reason": "RETURN", "pay_line": "CLAWBACK" if back else "KIND"}
        if part.settled:
            return {"reason": "RETURN", "pay_line": "KIND"}
        late = row.month_id > part.month_number
        return {"reason": "LATE" if late else "SALE", "pay_line": "LATE" if late else "KIND"}


# --- A month -----------------------------------------------------------------------------------------------------


def verify_ledger(month: Month, totals: ClerkTotals) -> Iterator[Finding]:
    """What of the month's ledger the rules don't give, row by row; `totals` takes up what they do give each clerk.

    It goes ticket by ticket, some hundred at a time: memory does not grow with the ledger.
    """
    terms = _Terms()
    keys = Attribution.objects.filter(month=month).order_by("part__sale", "pk").values_list("part__sale", "part", "pk")
    batch: dict[int, dict[int, list[int]]] = {}
    held = 0
    for sale, part, row in keys.iterator(chunk_size=_CHUNK):
        if held >= _CHUNK and sale not in batch:
            yield from _compare(month, terms, batch, totals)
            batch, held = {}, 0
        batch.setdefault(sale, {}).setdefault(part, []).append(row)
        held += 1
    yield from _compare(month, terms, batch, totals)
    yield from _without_ticket(month, totals.rows)
    yield from _unattributed(month)


def _compare(
    month: Month, terms: _Terms, tickets: dict[int, dict[int, list[int]]], totals: ClerkTotals
) -> Iterator[Finding]:
    facts = _Batch(terms, [part for parts in tickets.values() for part in parts])
    for sale_id, parts in tickets.items():
        lines: set[tuple[int, str]] = set()
        for part_id, posted in parts.items():
            part = facts.parts.get(part_id)
            if part is None or sale_id not in facts.sales:
                continue
            where = _place(terms, facts.sales[sale_id], part)
            yield from _check_part(month, where, facts, part)
            for key in posted:
                row = facts.rows[part_id][key]
                expected = facts.expected(row)
                at = _("%(part)s, attribution %(key)d") % {"part": where, "key": key}
                yield from _check_row(month, at, facts, row, expected)
                _add_up(expected, totals, lines)
                totals.rows += 1
        for line in lines:
            totals.lines[line][0] += 1


def _check_part(month: Month, where: str, facts: _Batch, part: SalePart) -> Iterator[Finding]:
    terms, sale, lines = facts.terms, facts.sales[part.sale_id], facts.lines[part.pk]
    sums = facts.sums(part, part.plan_id)
    plan = terms.plans.get(part.plan_id)
    first_rows = sum(row.corrects_id is None for row in facts.rows[part.pk].values())
    standing = sum(facts.stands(row) for row in facts.rows[part.pk].values())
    checks: list[tuple[str, Any, Any]] = [
        (_("store"), sale.store_id, part.store_id),
        (_("business date"), sale.business_date, part.business_date),
        (_("month of the business date"), terms.month(part.business_date) or sale.month_number, part.month_number),
        (_("commissionable amount"), sums.commissionable, part.commissionable_amount),
        (_("excluded amount"), sums.excluded, part.excluded_amount),
        (_("commission before rounding"), sums.e4, part.commission_e4),
        (_("rows that bring it in"), 1, first_rows),
        (_("rows in force"), 1, standing),
    ]
    due = facts.parts.get(part.original_id) if part.original_id else None
    winner = terms.plans.get(due.plan_id) if due else terms.winning_plan(part.store_id, part.business_date)
    checks.append((_("plan"), winner and winner.plan_no, plan and plan.plan_no))
    if part.original_id is None and not getattr(part, "correction_id", None):
        checks.append((_("member"), terms.card(sale.member_id, part.business_date), part.member_id))
        if not part.settled:
            servers = {line.server_id for line in lines}
            checks.append((_("servers of its lines"), {part.server_id}, servers or {part.server_id}))
    for line in lines:
        if line.sale_id != part.sale_id:
            checks.append((_("ticket of line %(line)d") % {"line": line.line_no}, part.sale_id, line.sale_id))
        if part.original_id and line.original_line_id is None:
            checks.append((_("original of line %(line)d") % {"line": line.line_no}, _("a line"), _("none")))
    for what, expected, found in checks:
        if expected != found:
            yield _finding(month, where, what, expected, found)


def _check_row(
    month: Month, where: str, facts: _Batch, row: Attribution, expected: dict[str, Any]
) -> Iterator[Finding]:
    for name in (*FACTS, *AMOUNTS):
        found = getattr(row, name)
        if expected[name] != found:
            clerk = name in ("owner_id", "server_id")
            what = Attribution._meta.get_field(name.removesuffix("_id")).verbose_name  # type: ignore[union-attr]
            shown = [facts.terms.clerk_no.get(key, key) if clerk else key for key in (expected[name], found)]
            yield _finding(month, where, str(what), *shown)
    if row.month_id < facts.parts[row.part_id].month_number:
        yield _finding(month, where, _("month"), facts.parts[row.part_id].month_number, row.month_id)


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


def _place(terms: _Terms, sale: Sale, part: SalePart) -> str:
    return _("store %(store)s, %(date)s, ticket %(ticket)s, part %(part)d") % {
        "store": terms.store_no.get(sale.store_id, sale.store_id),
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
