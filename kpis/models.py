"""How a book changed in a month: frozen snapshots, one per clerk and one per store's unassigned list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Clerk, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class PortfolioMonthQuerySet(models.QuerySet["PortfolioMonth"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The books the user may see: one's own, the managed stores', or all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        return self.filter(
            Q(clerk__in=Clerk.objects.for_user(user).values("pk"))
            | Q(clerk__isnull=True, store__in=user.managed_store_ids())
        )


class PortfolioMonth(models.Model):
    """The movement of one book in one closed month. A row without a clerk is the store's unassigned list."""

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, null=True, related_name="+", verbose_name=_("clerk"))
    store = models.ForeignKey(Store, models.PROTECT, null=True, related_name="+", verbose_name=_("store"))
    opening = models.PositiveIntegerField(_("opening"))
    enrolled = models.PositiveIntegerField(_("enrolled"))
    transferred_in = models.PositiveIntegerField(_("transferred in"))
    transferred_out = models.PositiveIntegerField(_("transferred out"))
    closed = models.PositiveIntegerField(_("closed"))
    closing = models.PositiveIntegerField(_("closing"))
    active_opening = models.PositiveIntegerField(_("active at opening"))
    newly_active = models.PositiveIntegerField(_("newly active"))
    reactivated = models.PositiveIntegerField(_("reactivated"))
    active_in = models.PositiveIntegerField(_("active in"))
    active_out = models.PositiveIntegerField(_("active out"))
    lapsed = models.PositiveIntegerField(_("lapsed"))
    active_closing = models.PositiveIntegerField(_("active at closing"))
    tier_a = models.PositiveIntegerField(_("A members"))
    tier_b = models.PositiveIntegerField(_("B members"))

    objects = PortfolioMonthQuerySet.as_manager()

    class Meta:
        ordering = ["month", "store", "clerk"]
        verbose_name = _("portfolio month")
        verbose_name_plural = _("portfolio months")
        constraints = [
            models.UniqueConstraint(
                name="one_book_per_clerk_and_month", fields=["month", "clerk"], condition=Q(clerk__isnull=False)
            ),
            models.UniqueConstraint(
                name="one_unassigned_book_per_store", fields=["month", "store"], condition=Q(clerk__isnull=True)
            ),
            models.CheckConstraint(
                name="movement_adds_up",
                condition=Q(
                    closing=F("opening") + F("enrolled") + F("transferred_in") - F("transferred_out") - F("closed")
                ),
            ),
            models.CheckConstraint(
                name="active_movement_adds_up",
                condition=Q(
                    active_closing=F("active_opening")
                    + F("newly_active")
                    + F("reactivated")
                    + F("active_in")
                    - F("active_out")
                    - F("lapsed")
                ),
            ),
            AppendOnly(name="portfolio_month_stays"),
            OpenMonthOnly(name="portfolio_month_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month} {self.clerk or self.store}"
