"""What clerks would have been paid in closed months with another share, rate or band, or with members moved.

Of a split of 600 at an owner share of 60% instead of 70% the owner loses 60 and the server wins 60; the chain pays
the same. Nothing is written: what each clerk's rows would bring is asked of the ledger (commission/recount.py), and
the accelerator is worked out on the credit as it would have been.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _

from commission.bands import accelerator, plan_of_store, plans_in
from commission.models import Attribution, Band
from commission.recount import Moved, add_to, recount
from commission.recount_terms import Move, Recount, Terms
from portfolios.models import Clerk, Member, Month, Store
from portfolios.postings import postings_in

__all__ = ["ClerkPay", "Move", "Terms", "WhatIf", "WhatIfError", "moved_members", "what_if"]


class WhatIfError(ValueError):
    """A what-if that cannot be worked out as asked; the message says why and what to do."""


@dataclass
class ClerkPay:
    """A clerk's commission and accelerator over the months, as they were and as they would have been (minor units)."""

    clerk: Clerk
    store: Store | None = None
    commission_before: int = 0
    commission_after: int = 0
    accelerator_before: int = 0
    accelerator_after: int = 0

    @property
    def before(self) -> int:
        return self.commission_before + self.accelerator_before

    @property
    def after(self) -> int:
        return self.commission_after + self.accelerator_after

    @property
    def difference(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class WhatIf:
    """The answer: every clerk with a part in the months, by who wins most; and how many rows were shared out anew."""

    clerks: list[ClerkPay]
    rows: int
    house_amount: int


def what_if(
    first: Month,
    last: Month,
    *,
    terms: Terms | None = None,
    move: Move | None = None,
    store: Store | None = None,
) -> WhatIf:
    """What each clerk would have earned in the months from `first` to `last`; nothing is written.

    With a store, the terms hold for its tickets and for the accelerator of its clerks; a move holds everywhere. Pay is
    commission and accelerator: the base salary, KPI, what is held and what is carried are left out. Raises WhatIfError.
    """
    months = list(Month.objects.filter(pk__gte=first.pk, pk__lte=last.pk).order_by("pk"))
    if not months:
        raise WhatIfError(_("The months end before they begin: choose the earlier one first."))
    still_open = next((month for month in months if not month.is_closed), None)
    if still_open:
        raise WhatIfError(_("%(month)s is not closed: choose closed months.") % {"month": still_open})
    if move and move.to.left_on and move.to.left_on < months[0].starts_on:
        raise WhatIfError(_("%(clerk)s had left before these months: choose another clerk.") % {"clerk": move.to.name})
    with transaction.atomic():
        # Until the transaction ends: room to keep the sums of a chain's clerks.
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL work_mem = '128MB'; SET LOCAL jit = off")
        booked = _booked(months)
        moved = recount(first, last, Recount.of(terms, move, store))
    return WhatIf(_clerk_pay(months, booked, moved, terms, store), moved.rows, moved.house_amount)


def _booked(months: list[Month]) -> dict[tuple[int, int], list[int]]:
    """Credit and commission of each month and clerk, as the ledger has them."""
    booked: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for party in ("owner", "server"):
        # Month by month: the covering index holds each together.
        for month in months:
            sums = (
                Attribution.objects.filter(month=month, **{f"{party}__isnull": False})
                .values_list(party)
                .annotate(Sum(f"{party}_credit_amount"), Sum(f"{party}_commission_amount"))
                .order_by()
            )
            for clerk, *amounts in sums:
                add_to(booked, (month.pk, clerk), amounts)
    return booked


def _clerk_pay(
    months: list[Month],
    booked: dict[tuple[int, int], list[int]],
    moved: Moved,
    terms: Terms | None,
    store: Store | None,
) -> list[ClerkPay]:
    """Each clerk's pay, the accelerator month by month, by the plan of the home store on the last day posted to one."""
    clerks = Clerk.objects.in_bulk({clerk for _month, clerk in booked.keys() | moved.clerks.keys()})
    stores = Store.objects.in_bulk()
    pay = {pk: ClerkPay(clerk) for pk, clerk in clerks.items()}
    other_bands = [Band(lower_amount=lower, rate_bp=rate_bp) for lower, rate_bp in terms.bands] if terms else []
    for month in months:
        plans, posted = plans_in(month), postings_in(month)
        bands_of = {plan.pk: list(plan.bands.all()) for plan in plans}
        for pk, clerk in pay.items():
            credit, commission = booked.get((month.pk, pk), (0, 0))
            more_credit, more_commission = moved.clerks.get((month.pk, pk), (0, 0))
            clerk.commission_before += commission
            clerk.commission_after += commission + more_commission
            home = posted[pk].home if pk in posted else None
            if home is None:
                continue
            clerk.store = stores[home[1]]
            plan = plan_of_store(plans, home[1], home[0])
            if plan is None:
                continue
            bands = bands_of[plan.pk]
            changed = terms is not None and plan == terms.plan and store in (None, clerk.store)
            earned = accelerator(credit, bands)
            clerk.accelerator_before += earned
            if changed or more_credit:
                earned = accelerator(credit + more_credit, other_bands if changed else bands)
            clerk.accelerator_after += earned
    return sorted(pay.values(), key=lambda row: (-row.difference, row.clerk.clerk_no))


def moved_members(cards: Iterable[str], among: QuerySet[Member]) -> tuple[int, ...]:
    """The primary keys of the members with these card numbers, as far as they are `among` those one may see.

    Raises WhatIfError naming those that are not there.
    """
    wanted = list(dict.fromkeys(cards))
    found = dict(Member.objects.filter(pk__in=among, member_no__in=wanted).values_list("member_no", "pk"))
    missing = [card for card in wanted if card not in found]
    if missing:
        raise WhatIfError(
            _("There is no member with the card number %(cards)s: check the list.") % {"cards": ", ".join(missing[:5])}
        )
    return tuple(found[card] for card in wanted)
