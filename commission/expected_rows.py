"""What each row of the ledger must say by the rules, worked out again in plain Python from tickets, plans and bindings.

It is the rules written a second time: nothing here is shared with what books (one SQL statement), so that a fault of
either shows. A split of 200.00 at 3% must be 6.00, 4.20 of it the owner's and 1.80 the server's, to the fen.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.db import models

from commission.models import Attribution, Plan, PlanProduct, PlanRate, Sale, SaleLine, SalePart
from portfolios.models import Binding, Clerk, Member, Month, Store

_E4 = 10_000

AMOUNTS = (
    "commissionable_amount", "excluded_amount", "owner_credit_amount", "server_credit_amount", "house_credit_amount",
    "commission_amount", "owner_commission_amount", "server_commission_amount", "house_commission_amount",
)  # fmt: skip
FACTS = (
    "kind", "reason", "pay_line", "reverses", "store_id", "business_date", "member_id", "owner_id", "server_id",
    "plan_id", "share_bp",
)  # fmt: skip


class Ticket(NamedTuple):
    """What is read of a sale."""

    id: int
    store_id: int
    business_date: dt.date
    month_number: int
    ticket_no: str
    member_id: int | None


class Part(NamedTuple):
    """What is read of a part."""

    id: int
    sale_id: int
    number: int
    store_id: int
    business_date: dt.date
    month_number: int
    member_id: int | None
    server_id: int | None
    original_id: int | None
    plan_id: int
    commissionable_amount: int
    excluded_amount: int
    commission_e4: int
    settled: bool
    correction_id: int | None


class Line(NamedTuple):
    """What is read of a line."""

    id: int
    sale_id: int
    line_no: int
    part_id: int | None
    server_id: int | None
    product_no: str
    category_id: int
    quantity_milli: int
    net_amount: int
    excluded: bool | None
    original_line_id: int | None


class Row(NamedTuple):
    """An attribution: FACTS, AMOUNTS, and what it hangs together with."""

    id: int
    part_id: int
    booking_id: int
    month_id: int
    corrects_id: int | None
    kind: str
    reason: str
    pay_line: str
    reverses: bool
    store_id: int
    business_date: dt.date
    member_id: int | None
    owner_id: int | None
    server_id: int | None
    plan_id: int
    share_bp: int
    commissionable_amount: int
    excluded_amount: int
    owner_credit_amount: int
    server_credit_amount: int
    house_credit_amount: int
    commission_amount: int
    owner_commission_amount: int
    server_commission_amount: int
    house_commission_amount: int


class Owning(NamedTuple):
    """What is read of a binding."""

    member_id: int
    clerk_id: int
    valid_from: dt.date
    valid_to: dt.date


def _read(kind: Any, rows: models.QuerySet[Any]) -> Iterator[Any]:
    """The rows as tuples of that kind: to make a model's instances takes as long as to work them out."""
    return map(kind._make, rows.values_list(*kind._fields))


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


class Sums(NamedTuple):
    """Of a part: what counts, what is excluded, and the commission before rounding."""

    commissionable: int
    excluded: int
    e4: int


_NOTHING = Sums(0, 0, 0)


class Terms:
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

    def line_e4(self, plan: int, line: Line, *, superseded: bool) -> tuple[bool, int]:
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


class Batch:
    """The parts of some tickets, with all that their rows follow from: originals, other returns of them, bindings."""

    def __init__(self, terms: Terms, part_ids: Iterable[int]) -> None:
        self.terms = terms
        parts = {part.id: part for part in _read(Part, SalePart.objects.filter(pk__in=part_ids))}
        originals = {part.original_id for part in parts.values() if part.original_id}
        parts |= {part.id: part for part in _read(Part, SalePart.objects.filter(pk__in=originals))}
        # All returns of an original, in the order of their parts: each takes from what the ones before it left.
        self.returns: dict[int, list[Part]] = defaultdict(list)
        for part in _read(Part, SalePart.objects.filter(original__in=originals).order_by("pk")):
            parts[part.id] = part
            self.returns[part.original_id or 0].append(part)
        self.parts = parts
        sales = {part.sale_id for part in parts.values()}
        self.sales = {sale.id: sale for sale in _read(Ticket, Sale.objects.filter(pk__in=sales))}
        self.lines: dict[int, list[Line]] = defaultdict(list)
        for line in _read(Line, SaleLine.objects.filter(sale__in=self.sales).order_by("sale", "line_no")):
            if line.part_id in parts:
                self.lines[line.part_id or 0].append(line)
        self.rows: dict[int, dict[int, Row]] = defaultdict(dict)
        self.reversed: set[int] = set()
        for row in _read(Row, Attribution.objects.filter(part__in=parts).order_by("pk")):
            self.rows[row.part_id][row.id] = row
            if row.reverses:
                self.reversed.add(row.corrects_id or 0)
        self.bindings: dict[int, list[Owning]] = defaultdict(list)
        members = {part.member_id for part in parts.values() if part.member_id}
        for binding in _read(Owning, Binding.objects.filter(voided_by=None, member__in=members)):
            self.bindings[binding.member_id].append(binding)
        self._sums: dict[tuple[int, int], Sums] = {}
        self._line_e4: dict[int, int] = {}
        self._expected: dict[int, dict[str, Any]] = {}

    # --- What a part comes to ------------------------------------------------------------------------------------

    def sums(self, part: Part | None, plan: int) -> Sums:
        """What a part comes to by a plan; nothing where it is not there, or returns what is itself a return."""
        if part is None:
            return _NOTHING
        if (part.id, plan) not in self._sums:
            if part.original_id is None:
                superseded = plan != part.plan_id
                own = [self.terms.line_e4(plan, line, superseded=superseded) for line in self.lines[part.id]]
                self._sums[part.id, plan] = self._total(part, own)
            elif part.original_id in self.parts:
                self._returned(part.original_id, plan)
        return self._sums.get((part.id, plan), _NOTHING)

    def _total(self, part: Part, own: list[tuple[bool, int]]) -> Sums:
        nets = [line.net_amount for line in self.lines[part.id]]
        return Sums(
            sum(net for net, (out, _e4) in zip(nets, own, strict=True) if not out),
            sum(net for net, (out, _e4) in zip(nets, own, strict=True) if out),
            sum(e4 for _out, e4 in own),
        )

    def _returned(self, original_id: int, plan: int) -> None:
        """The sums of all returns of a part by a plan: each line takes from what is left of its original line."""
        superseded = plan != self.parts[original_id].plan_id
        sold = {line.id: line for line in self.lines[original_id]}
        left = {key: line.net_amount for key, line in sold.items()}
        backs = [
            (self._first_booking(part), part, line)
            for part in self.returns[original_id]
            for line in self.lines[part.id]
        ]
        own: dict[int, tuple[bool, int]] = {}
        for _booking, _part, line in sorted(backs, key=lambda back: (back[0], back[1].sale_id, back[2].line_no)):
            of = sold.get(line.original_line_id or 0)
            if of is None:
                own[line.id] = (False, 0)
                continue
            out, e4 = self.terms.line_e4(plan, of, superseded=superseded)
            before, left[of.id] = left[of.id], left[of.id] + line.net_amount
            product = self.terms.products.get((plan, of.product_no))
            if out:
                own[line.id] = (True, 0)
            elif product is not None and product.unit_amount is not None:
                then, now = (
                    half_away(e4 * net, of.net_amount) if of.net_amount else 0 for net in (before, left[of.id])
                )
                own[line.id] = (False, now - then)
            else:
                own[line.id] = (False, e4 // of.net_amount * line.net_amount if of.net_amount else 0)
        for part in self.returns[original_id]:
            self._sums[part.id, plan] = self._total(part, [own[line.id] for line in self.lines[part.id]])

    def _first_booking(self, part: Part) -> int:
        return min((row.booking_id for row in self.rows[part.id].values()), default=0)

    # --- What a row must say -------------------------------------------------------------------------------------

    def owner(self, member: int | None, on: dt.date) -> int | None:
        """The clerk whom the member is bound to on the date, unless the clerk has left before it."""
        for binding in self.bindings[member] if member else ():
            if binding.valid_from <= on < binding.valid_to:
                left = self.terms.left_on.get(binding.clerk_id)
                return binding.clerk_id if left is None or on <= left else None
        return None

    def stands(self, row: Row) -> bool:
        return not row.reverses and row.id not in self.reversed

    def expected(self, row: Row) -> dict[str, Any]:
        """Every fact and amount of a row as the rules have it."""
        if row.id not in self._expected:
            # Rows that refer to each other in a circle know nothing of each other.
            self._expected[row.id] = dict.fromkeys([*FACTS, *AMOUNTS])
            self._expected[row.id] = self._reversal(row) if row.reverses else self._booking(row)
        return self._expected[row.id]

    def _corrected(self, row: Row) -> Row | None:
        return self.rows[row.part_id].get(row.corrects_id) if row.corrects_id else None

    def _reversal(self, row: Row) -> dict[str, Any]:
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

    def _correction_line(self, row: Row, corrected: Row) -> str:
        return "CORRECTION" if row.month_id > corrected.month_id else self.expected(corrected)["pay_line"]

    def _booking(self, row: Row) -> dict[str, Any]:
        part = self.parts[row.part_id]
        stands = self.stands(row)
        # What a change of plans took back was worked out by the plan before it.
        plan = part.plan_id if stands else row.plan_id
        sums = self.sums(part, plan)
        member = part.member_id if stands else row.member_id
        if part.original_id:
            shared = self._mirrored(row, part)
            original = self.sums(self.parts.get(part.original_id), plan)
            earlier = [self.sums(other, plan) for other in self.returns[part.original_id] if other.id < part.id]
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

    def _mirrored(self, row: Row, part: Part) -> dict[str, Any]:
        """What a return shares by: its original as last corrected (by the time of a row that no longer stands)."""
        booked = [other for other in self.rows[part.original_id or 0].values() if not other.reverses]
        if not self.stands(row):
            booked = [other for other in booked if other.id < row.id] or booked
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

    def _posting(self, row: Row, part: Part) -> dict[str, Any]:
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
