"""Merging two cards of one person: preview, then apply, then undo, beside the ledger.

What is shown is what is done: the day, who owns what, each portfolio before and after. A card closes on the day after
its last ticket, and not before today: 李娜's M2, last used on 2026-11-22, merges into 王伟's M1 from the 23rd on, which
leaves 李娜 one member less and 王伟 as many as before.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Count, Max, Min, Sum
from django.utils.translation import gettext as _

from commission.models import Sale
from commission.rebinding import hold_ledger
from kpis.activity import PURCHASE, member_activity
from kpis.store_portfolios import portfolio_sizes
from kpis.tiers import year_before
from portfolios.duplicates import (
    SOURCE,
    MergeError,
    cards_of,
    check,
    earliest_day,
    merge,
    undo_merge,
)
from portfolios.models import BindingBatch, Clerk, Member, User


class MergeChanged(MergeError):
    """The cards are not as they were shown: look again."""


@dataclass(frozen=True)
class Card:
    """One of the two cards: its owner on the day of the merge, and what was bought with it in the 12 months before.

    Spend in minor units, less returns, of the card and of cards merged into it.
    """

    member: Member
    owner: Clerk | None
    spend_amount: int
    purchases: int
    last_ticket_on: dt.date | None


@dataclass(frozen=True)
class Portfolio:
    clerk: Clerk
    before: int
    after: int


@dataclass(frozen=True)
class Merge:
    """What merging does; `basis` is what it was worked out from."""

    survivor: Card
    card: Card
    on: dt.date
    portfolios: list[Portfolio]
    basis: str


@dataclass(frozen=True)
class Twins:
    """The open cards with one phone, the one that should survive first: owned before not, then the oldest."""

    phone: str
    cards: list[tuple[Member, Clerk | None]]


def twins(phones: Iterable[str], *, on: dt.date) -> list[Twins]:
    """The open cards with each of these phones, with their owners on a date."""
    cards = Member.objects.with_owner(on).filter(phone__in=list(phones), closed_on=None).select_related("store")
    owners = _owners(cards)
    found: dict[str, list[tuple[Member, Clerk | None]]] = {}
    for card in cards:
        found.setdefault(card.phone, []).append((card, owners.get(card.pk)))
    return [
        Twins(phone, sorted(found[phone], key=lambda one: (one[1] is None, one[0].enrolled_on, one[0].member_no)))
        for phone in phones
        if phone in found
    ]


def _owners(cards: Iterable[Member]) -> dict[int, Clerk]:
    by_card = {card.pk: owner for card in cards if (owner := getattr(card, "owner_id", None))}
    clerks = Clerk.objects.in_bulk(by_card.values())
    return {card: clerks[owner] for card, owner in by_card.items()}


def preview_merge(survivor: Member, card: Member, *, today: dt.date) -> Merge:
    """What merging `card` into `survivor` would do, from the first day on which it can.

    Raises MergeError for cards that are closed, merged or the same.
    """
    check(survivor, card)
    sold = Sale.objects.filter(member__in=cards_of(card)).aggregate(last=Max("business_date"))["last"]
    after_last = sold + dt.timedelta(days=1) if sold else today
    on = max(earliest_day(card, today=today), after_last, survivor.counted_from)
    ours = Member.objects.filter(pk__in=[survivor.pk, card.pk]).with_owner(on)
    owners = _owners(ours)
    keeps, gives = owners.get(survivor.pk), owners.get(card.pk)
    clerks = {clerk.pk: clerk for clerk in (keeps, gives) if clerk}
    sizes = portfolio_sizes(list(clerks), on)
    return Merge(
        survivor=_card(survivor, keeps, on),
        card=_card(card, gives, on),
        on=on,
        portfolios=[
            Portfolio(clerk, sizes.get(pk, 0), sizes.get(pk, 0) - (1 if clerk == gives else 0))
            for pk, clerk in clerks.items()
        ],
        basis=f"{survivor.pk}:{keeps.pk if keeps else ''} {card.pk}:{gives.pk if gives else ''} {on}",
    )


def _card(member: Member, owner: Clerk | None, on: dt.date) -> Card:
    # By way of the tickets: these have an index on their card.
    bought = member_activity(since=year_before(on), before=on).filter(part__sale__member__in=cards_of(member))
    year = bought.aggregate(spend=Sum("net_amount"), purchases=Count("part__sale", filter=PURCHASE, distinct=True))
    last = Sale.objects.filter(member__in=cards_of(member)).aggregate(last=Max("business_date"))["last"]
    return Card(member, owner, int(year["spend"] or 0), year["purchases"], last)


@transaction.atomic
def apply_merge(
    survivor: Member, card: Member, *, today: dt.date, basis: str, recorded_by: User | None = None
) -> BindingBatch:
    """Merges `card` into `survivor` as `preview_merge` showed it.

    Raises MergeChanged where that would be another merge now, MergeError as `merge` does.
    """
    hold_ledger()
    shown = preview_merge(
        *(Member.objects.select_related("merged_into").get(pk=one.pk) for one in (survivor, card)), today=today
    )
    if shown.basis != basis:
        raise MergeChanged(
            _("The cards have changed since they were shown: look at the merge again before you apply it.")
        )
    batch = BindingBatch.objects.create(
        source=SOURCE, note=f"{card.member_no} -> {survivor.member_no}", recorded_by=recorded_by
    )
    merge(survivor, card, on=shown.on, batch=batch)
    return batch


@transaction.atomic
def take_back(batch: BindingBatch, *, recorded_by: User | None = None) -> Member:
    """Takes a merge back as a whole; returns the card, which is open again.

    Raises MergeError where something was built on it, a ticket with the card's number too; MonthError where its day
    lies in a closed month.
    """
    hold_ledger()
    card = Member.objects.filter(merged_by=batch).first()
    if card is not None:
        used = Sale.objects.filter(member__in=cards_of(card), business_date__gte=card.counted_to)
        if day := used.aggregate(first=Min("business_date"))["first"]:
            raise MergeError(
                _(
                    "The merge can't be taken back any more: card %(card)s was used on %(day)s, and that sale is the "
                    "surviving card's."
                )
                % {"card": card.member_no, "day": day}
            )
    back = BindingBatch(source=SOURCE, note=batch.note, undoes=batch, recorded_by=recorded_by)
    return undo_merge(batch, back)
