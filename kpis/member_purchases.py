"""What a member bought, ticket by ticket, as far as whoever asks may see it.

That there was a ticket, when and where, is the member's; what it came to is shown to those who may see the ticket.
"""

from dataclasses import dataclass

from django.core.paginator import Page, Paginator
from django.db.models import Sum

from commission.models import Sale, SaleLine, SalePart
from portfolios.duplicates import cards_of
from portfolios.models import Member, User

PER_PAGE = 20


@dataclass(frozen=True)
class Purchase:
    """A ticket of the member; `net_amount` (minor units) is None for a ticket that the reader may not see."""

    sale: Sale
    net_amount: int | None

    @property
    def visible(self) -> bool:
        return self.net_amount is not None


def purchases(member: Member, *, user: User, number: str | int | None) -> tuple[Page, list[Purchase]]:
    """A page of the member's tickets, the latest first: with the card or one that was merged into it, unless it was
    corrected to another's."""
    cards = cards_of(member)
    corrected = SalePart.objects.filter(correction__isnull=False)
    printed = Sale.objects.filter(member__in=cards).exclude(
        pk__in=corrected.filter(sale__member__in=cards).exclude(member__in=cards).values("sale")
    )
    own = printed.order_by().values("pk").union(corrected.filter(member__in=cards).values("sale"))
    tickets = Sale.objects.filter(pk__in=own).select_related("store").order_by("-business_date", "-pk")
    page = Paginator(tickets, PER_PAGE).get_page(number)
    shown = [sale.pk for sale in page.object_list]
    visible = list(Sale.objects.for_user(user).filter(pk__in=shown).values_list("pk", flat=True))
    lines = SaleLine.objects.filter(sale__in=visible).order_by().values("sale").annotate(net=Sum("net_amount"))
    amounts = dict.fromkeys(visible, 0) | {sale: int(net) for sale, net in lines.values_list("sale", "net")}
    return page, [Purchase(sale, amounts.get(sale.pk)) for sale in page.object_list]
