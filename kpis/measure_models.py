"""What the measures of a month are worked out from, book by book: kept for good by the close, each night until then.

Every measure is one sum by another (of 12 key members 9 are still active: 9 and 12 are kept, and 75% is worked out), so
a store's and the chain's are sums of the same rows, never averages of averages.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Clerk, Month, Store

# After how many days it is asked whether a new member has bought again.
REPURCHASE_DAYS = (30, 60, 90)


class MeasureSums(models.Model):
    """The sums of one book in one month; amounts in minor units. Without a clerk: what is nobody's in the store."""

    month = models.ForeignKey(Month, models.PROTECT, db_index=False, related_name="+", verbose_name=_("month"))
    clerk = models.ForeignKey(
        Clerk, models.PROTECT, null=True, db_index=False, related_name="+", verbose_name=_("clerk")
    )
    store = models.ForeignKey(
        Store, models.PROTECT, null=True, db_index=False, related_name="+", verbose_name=_("store")
    )
    effective_new = models.PositiveIntegerField(_("effective new members"))
    new_30 = models.PositiveIntegerField(_("new members after 30 days"))
    again_30 = models.PositiveIntegerField(_("of them bought again"))
    new_60 = models.PositiveIntegerField(_("new members after 60 days"))
    again_60 = models.PositiveIntegerField(_("of them bought again"))
    new_90 = models.PositiveIntegerField(_("new members after 90 days"))
    again_90 = models.PositiveIntegerField(_("of them bought again"))
    key_opening = models.PositiveIntegerField(_("key members at opening"))
    key_kept = models.PositiveIntegerField(_("of them active at closing"))
    active_members = models.PositiveIntegerField(_("active members at closing"))
    spend_amount = models.BigIntegerField(_("spend of active members"))
    bought_amount = models.BigIntegerField(_("purchases of active members, before returns"))
    tickets = models.PositiveIntegerField(_("tickets with a purchase"))
    purchase_days = models.PositiveIntegerField(_("days with a purchase"))
    member_pay_amount = models.BigIntegerField(_("pay from own members"))
    variable_pay_amount = models.BigIntegerField(_("variable pay before carry and adjustments"))
    opening = models.PositiveIntegerField(_("members at opening"), default=0)
    organic_growth = models.IntegerField(_("enrolled less closed"), default=0)
    active_opening = models.PositiveIntegerField(_("active members at opening"), default=0)
    organic_active_growth = models.IntegerField(_("newly active and reactivated, less lapsed"), default=0)
    lapsed = models.PositiveIntegerField(_("of them lapsed"), default=0)
    profiles_due = models.PositiveIntegerField(_("profiles due"), default=0)
    profiles_done = models.PositiveIntegerField(_("of them done"), default=0)
    contacts = models.PositiveIntegerField(_("contacts"), default=0)
    contacts_reached = models.PositiveIntegerField(_("of them reached"), default=0)

    class Meta:
        abstract = True


SUMS = (
    "effective_new",
    *(f"{name}_{days}" for days in REPURCHASE_DAYS for name in ("new", "again")),
    "key_opening",
    "key_kept",
    "active_members",
    "spend_amount",
    "bought_amount",
    "tickets",
    "purchase_days",
    "member_pay_amount",
    "variable_pay_amount",
    "opening",
    "organic_growth",
    "active_opening",
    "organic_active_growth",
    "lapsed",
    "profiles_due",
    "profiles_done",
    "contacts",
    "contacts_reached",
)

_A_PART_IS_NO_MORE_THAN_ALL = (
    Q(again_30__lte=F("new_30"))
    & Q(again_60__lte=F("new_60"))
    & Q(again_90__lte=F("new_90"))
    & Q(key_kept__lte=F("key_opening"))
    & Q(lapsed__lte=F("active_opening"))
    & Q(profiles_done__lte=F("profiles_due"))
    & Q(contacts_reached__lte=F("contacts"))
)


class MeasureMonth(MeasureSums):
    """The sums of a book as the close of the month froze them."""

    class Meta:
        verbose_name = _("measures of a month")
        verbose_name_plural = _("measures of months")
        indexes = [
            models.Index(name="measures_by_store", fields=["month", "store"]),
            models.Index(name="measures_by_clerk", fields=["clerk", "month"]),
        ]
        constraints = [
            models.UniqueConstraint(
                name="measured_once_per_clerk", fields=["month", "clerk"], condition=Q(clerk__isnull=False)
            ),
            models.UniqueConstraint(
                name="measured_once_per_store", fields=["month", "store"], condition=Q(clerk__isnull=True)
            ),
            models.CheckConstraint(name="measured_part_of_all", condition=_A_PART_IS_NO_MORE_THAN_ALL),
            AppendOnly(name="measure_month_stays"),
            OpenMonthOnly(name="measure_month_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.clerk or self.store or ''}"


class MeasuresSoFar(MeasureSums):
    """The sums of a book in an open month, as of the start of a day. Made anew each night, no history."""

    as_of = models.DateField(_("as of"))

    class Meta:
        verbose_name = _("measures so far")
        verbose_name_plural = _("measures so far")
        indexes = [
            models.Index(name="measures_so_far_by_store", fields=["month", "store"]),
            models.Index(name="measures_so_far_by_clerk", fields=["clerk", "month"]),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.clerk or self.store or ''} {self.as_of}"
