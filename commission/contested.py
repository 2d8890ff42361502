"""What an inquiry is about in money: what the asker would have more, and the other clerk less, if it were granted.

A part of 200.00 at 3% that 李娜 owned and 张敏 served (4.20 and 1.80): if 王伟 served it, 1.80 would go from 张敏 to
王伟; if the member was 王伟's, 4.20 from 李娜 to 王伟. That much is held of the other's pay where a month closes over
an open inquiry, and no more; what the house would lose is held of nobody.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q, QuerySet, Sum

from commission.corrections import standing
from commission.inquiry_models import HeldAmount, Inquiry
from commission.models import Attribution, Plan, Sale, SalePart
from commission.money import WHOLE_BP, round_half_away
from portfolios.duplicates import cards_of
from portfolios.models import Member, Month

Kind = Attribution.Kind
Claim = Inquiry.Claim
State = Inquiry.State


class Shift(NamedTuple):
    """What granting an inquiry would move in one booked row, in minor units.

    `gain_amount` is what the asker would have more, `loss_amount` what the other clerk would have less.
    """

    inquiry: Inquiry
    row: Attribution
    gain_amount: int
    loss_amount: int


class Held(NamedTuple):
    """What a month's payslip of a clerk takes (below zero) or gives for an inquiry, in minor units."""

    inquiry_id: int
    clerk_id: int
    amount: int


# --- If it were granted ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parties:
    """By whom a row would be shared."""

    member: bool
    owner: int | None
    server: int | None

    def shares(self, amount: int, plan: Plan) -> dict[int, int]:
        """What each clerk gets of a commission; the house gets the rest."""
        owner, server = self.owner, self.server
        if self.member and owner is not None:
            if owner == server:
                return {owner: amount}
            owners = round_half_away(amount * plan.owner_share_bp, WHOLE_BP)
            return {owner: owners} | ({server: amount - owners} if server else {})
        if server is None:
            return {}
        if self.member:
            return {server: amount - round_half_away(amount * plan.house_share_bp, WHOLE_BP)}
        return {server: round_half_away(amount * plan.walk_in_share_bp, WHOLE_BP)}


def _if_granted(inquiry: Inquiry, row: Attribution) -> _Parties:
    if inquiry.claim == Claim.SERVED:
        return _Parties(row.member_id is not None, row.owner_id, inquiry.asker_id)
    return _Parties(True, inquiry.asker_id, row.server_id)


def shifts(inquiries: Iterable[Inquiry], month: Month | None = None) -> list[Shift]:
    """What each inquiry would move in the rows that stand (of those posted to `month`), sale by sale, returns too.

    Of what a row brings the other clerk no more is in question than there is, however many inquiries name it: the
    earlier one comes first.
    """
    asked = sorted((one for one in inquiries if one.claim != Claim.LINE), key=lambda one: one.pk or 0)
    sales = {one.pk: list(_questioned(one)) for one in asked}
    chains = _chains({part.pk: part for parts in sales.values() for part in parts})
    rows: dict[int, Attribution] = {}
    of_month = Q() if month is None else Q(month=month)
    keys = [part.pk for chain in chains.values() for part, _before, _after in chain]
    for row in standing().filter(of_month, part__in=keys).select_related("plan", "month"):
        rows[row.part_id] = row
    taken: dict[tuple[int, int], int] = defaultdict(int)
    found = []
    for inquiry in asked:
        for sale in sales[inquiry.pk]:
            for part, before, after in chains[sale.pk]:
                if part.pk not in rows:
                    continue
                row = rows[part.pk]
                if inquiry.binding and row.owner_id != inquiry.binding.clerk_id:
                    continue
                parties = _if_granted(inquiry, row)
                was, now = (parties.shares(amount, row.plan) for amount in (before, after))
                gain = now.get(inquiry.asker_id, 0) - was.get(inquiry.asker_id, 0) - _brings(row, inquiry.asker_id)
                loss = 0
                if other := inquiry.other_id:
                    has = _brings(row, other)
                    loss = has - now.get(other, 0) + was.get(other, 0)
                    left = has - taken[row.pk, other]
                    loss = max(min(loss, left), 0) if has > 0 else min(max(loss, left), 0)
                    taken[row.pk, other] += loss
                found.append(Shift(inquiry, row, gain, loss))
    return found


def _brings(row: Attribution, clerk: int) -> int:
    owner = row.owner_commission_amount if row.owner_id == clerk else 0
    return owner + (row.server_commission_amount if row.server_id == clerk else 0)


def _questioned(inquiry: Inquiry) -> Iterator[SalePart]:
    """The sales that an inquiry is about; of a binding, those in its days from the first month that was open."""
    if inquiry.binding is None:
        assert inquiry.part is not None
        if inquiry.claim == Claim.MEMBER:
            # The card is the whole ticket's.
            yield from SalePart.objects.filter(sale=inquiry.part.sale_id, original__isnull=True, settled=False)
        else:
            yield inquiry.part
        return
    binding = inquiry.binding
    since, until = max(binding.valid_from, inquiry.month.starts_on), binding.valid_to
    yield from _sales_of(binding.member, since, until)


def _sales_of(member: Member, since: dt.date, until: dt.date) -> QuerySet[SalePart]:
    """A member's sales dated in [since, until), by the index on the tickets' members: cards merged into it too."""
    days = Q(business_date__gte=since, business_date__lt=until)
    printed = Sale.objects.filter(days, member__in=cards_of(member)).order_by().values("pk")
    corrected = SalePart.objects.filter(days, correction__isnull=False, member=member).order_by().values("sale")
    tickets = list(printed.union(corrected).values_list("pk", flat=True))
    return SalePart.objects.filter(sale__in=tickets, member=member, original__isnull=True, settled=False)


def _chains(sales: dict[int, SalePart]) -> dict[int, list[tuple[SalePart, int, int]]]:
    """Each sale and its returns in booking order, each with the commission that was left before it and after it."""
    left = {pk: part.commission_e4 for pk, part in sales.items()}
    chains = {pk: [(part, 0, round_half_away(part.commission_e4, WHOLE_BP))] for pk, part in sales.items()}
    for part in SalePart.objects.filter(original__in=list(sales), settled=False).order_by("pk"):
        sale = part.original_id
        assert sale is not None
        before, left[sale] = left[sale], left[sale] + part.commission_e4
        chains[sale].append((part, round_half_away(before, WHOLE_BP), round_half_away(left[sale], WHOLE_BP)))
    return chains


# --- Held --------------------------------------------------------------------------------------------------------


def held_if_closed(month: Month, clerks: Iterable[int] | None = None) -> list[Held]:
    """What closing the month now would hold for the inquiries that wait; of these clerks, where they are given.

    One that was granted too late for the ledger goes on moving what its rows bring, such as a return.
    """
    inquiries = Inquiry.objects.filter(
        Q(state=State.OPEN) | Q(paid_from_held=True), month__lte=month.pk, other__isnull=False
    )
    if clerks is not None:
        named = list(clerks)
        paid = inquiries.filter(paid_from_held=True, asker__in=named)
        # All that name one of these clerks, or whose money one of them gets: they bear on each other.
        inquiries = inquiries.filter(Q(other__in=named) | Q(other__in=paid.order_by().values("other")))
    related = inquiries.select_related("part", "binding__member", "month")
    lost: dict[int, int] = defaultdict(int)
    of_key = {one.pk: one for one in related}
    for shift in shifts(of_key.values(), month):
        lost[shift.inquiry.pk] += shift.loss_amount
    found = []
    for key, amount in lost.items():
        inquiry = of_key[key]
        assert inquiry.other_id is not None
        found.append(Held(key, inquiry.other_id, -amount))
        if inquiry.paid_from_held:
            found.append(Held(key, inquiry.asker_id, amount))
    return [held for held in found if held.amount and (clerks is None or held.clerk_id in named)]


def record_held(month: Month) -> None:
    """Keeps what the payslips of a month that is about to close hold; the payslips have the same lines."""
    HeldAmount.objects.bulk_create(HeldAmount(month=month, **held._asdict()) for held in held_if_closed(month))


def held_amounts(month: Month, clerks: Iterable[int] | None = None) -> dict[int, list[Held]]:
    """What is held of each clerk's pay of a month, or paid back, by clerk id: recorded, or to come."""
    named = None if clerks is None else list(clerks)
    recorded = HeldAmount.objects.filter(Q() if named is None else Q(clerk__in=named), month=month)
    both = [Held(*row) for row in recorded.order_by("pk").values_list("inquiry", "clerk", "amount")]
    if not month.is_closed:
        both += held_if_closed(month, named)
    found = defaultdict(list)
    for held in both:
        found[held.clerk_id].append(held)
    return dict(found)


def release(inquiry: Inquiry, *, to: int, month: Month) -> int:
    """Pays what was held for an inquiry to a clerk, in an open month; returns how much, in minor units.

    To the clerk whom it was held of where it is refused, to the asker where it is granted.
    """
    amount = -HeldAmount.objects.filter(inquiry=inquiry, clerk=inquiry.other_id).aggregate(
        total=Sum("amount", default=0)
    )["total"]
    if amount:
        HeldAmount.objects.create(inquiry=inquiry, clerk_id=to, month=month, amount=amount)
    return int(amount)
