"""What a close keeps of the members' movement: the figures of stores and of the chain, and who is behind each figure.

The members who went the same way in a month are one row with all their keys, so the list behind a figure is as long as
the figure for good: of 12 enrolled and 3 of them moved on, a row of 9 and a row of 3 are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Clerk, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class MovementFigures(models.Model):
    """The figures of a movement, of members and of active members."""

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

    class Meta:
        abstract = True

    @property
    def key_members(self) -> int:
        """A and B members at closing."""
        return self.tier_a + self.tier_b

    @property
    def organic_growth(self) -> int:
        """Members that came and went of themselves: enrolled less closed. Transfers are apart."""
        return self.enrolled - self.closed

    @property
    def organic_active_growth(self) -> int:
        """Members who began or began again to buy, less those who lapsed. Transfers are apart."""
        return self.newly_active + self.reactivated - self.lapsed


MEMBERS_ADD_UP = Q(closing=F("opening") + F("enrolled") + F("transferred_in") - F("transferred_out") - F("closed"))
ACTIVE_MEMBERS_ADD_UP = Q(
    active_closing=F("active_opening")
    + F("newly_active")
    + F("reactivated")
    + F("active_in")
    - F("active_out")
    - F("lapsed")
)


class StoreMonthQuerySet(models.QuerySet["StoreMonth"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The movements the user may see: the managed stores', or all and the chain's."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self if user.office else self.filter(store__in=user.managed_store_ids())


class StoreMonth(MovementFigures):
    """The movement of one store in one closed month, or of the chain (no store); transfers inside it are none."""

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    store = models.ForeignKey(Store, models.PROTECT, null=True, related_name="+", verbose_name=_("store"))

    objects = StoreMonthQuerySet.as_manager()

    class Meta:
        ordering = ["month", "store"]
        verbose_name = _("store month")
        verbose_name_plural = _("store months")
        constraints = [
            models.UniqueConstraint(
                name="one_movement_per_store_and_month", fields=["month", "store"], condition=Q(store__isnull=False)
            ),
            models.UniqueConstraint(
                name="one_movement_of_the_chain", fields=["month"], condition=Q(store__isnull=True)
            ),
            models.CheckConstraint(name="store_movement_adds_up", condition=MEMBERS_ADD_UP),
            models.CheckConstraint(name="active_store_movement_adds_up", condition=ACTIVE_MEMBERS_ADD_UP),
            AppendOnly(name="store_month_stays"),
            OpenMonthOnly(name="store_month_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month} {self.store or ''}"


class MemberGroup(models.Model):
    """The members who went the same way in a closed month: from which book to which, how active, and their tiers.

    Without a clerk the book is the unassigned list of the store; else the store is the clerk's home store then. A tier
    is empty where the member was not there.
    """

    # The rows are made from these very tables, inside the close: the checks would cost more than the rows. That
    # there is such a month is checked with its being open.
    month = models.ForeignKey(
        Month, models.PROTECT, db_constraint=False, db_index=False, related_name="+", verbose_name=_("month")
    )
    first_clerk = models.ForeignKey(
        Clerk, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    first_store = models.ForeignKey(
        Store, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    last_clerk = models.ForeignKey(
        Clerk, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    last_store = models.ForeignKey(
        Store, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    at_opening = models.BooleanField(_("there at opening"))
    at_closing = models.BooleanField(_("there at closing"))
    active_opening = models.BooleanField(_("active at opening"))
    active_closing = models.BooleanField(_("active at closing"))
    bought_before = models.BooleanField(_("turned active and bought before the month"))
    opening_tier = models.CharField(_("tier at opening"), max_length=1, blank=True)
    closing_tier = models.CharField(_("tier at closing"), max_length=1, blank=True)
    members = models.PositiveIntegerField(_("members"))
    # Primary keys of members, "17,204,9001".
    member_ids = models.TextField(_("member keys"))

    class Meta:
        verbose_name = _("group of members")
        verbose_name_plural = _("groups of members")
        indexes = [
            models.Index(name="group_by_first_clerk", fields=["month", "first_clerk"]),
            models.Index(name="group_by_last_clerk", fields=["month", "last_clerk"]),
            models.Index(name="group_by_first_store", fields=["month", "first_store"]),
            models.Index(name="group_by_last_store", fields=["month", "last_store"]),
        ]
        constraints = [
            models.CheckConstraint(name="group_has_members", condition=Q(members__gt=0)),
            AppendOnly(name="member_group_stays"),
            OpenMonthOnly(name="member_group_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.first_clerk_id} -> {self.last_clerk_id} ({self.members})"

    @property
    def keys(self) -> list[int]:
        return sorted(map(int, self.member_ids.split(",")))


class CohortMonth(models.Model):
    """Of the cards that a clerk (or nobody) enrolled in one month for a store: how many are active at another's end."""

    # Not checked row by row, as the rows of a group of members.
    month = models.ForeignKey(
        Month, models.PROTECT, db_constraint=False, db_index=False, related_name="+", verbose_name=_("month")
    )
    enrolled_month = models.PositiveIntegerField(_("month of enrolment"))
    store = models.ForeignKey(
        Store, models.PROTECT, db_constraint=False, db_index=False, related_name="+", verbose_name=_("store")
    )
    clerk = models.ForeignKey(
        Clerk,
        models.PROTECT,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("enrolled by"),
    )
    members = models.PositiveIntegerField(_("members"))
    active = models.PositiveIntegerField(_("active"))

    class Meta:
        verbose_name = _("cohort")
        verbose_name_plural = _("cohorts")
        indexes = [
            models.Index(name="cohort_by_store", fields=["store", "month"]),
            models.Index(name="cohort_by_clerk", fields=["clerk", "month"]),
            models.Index(name="cohort_by_month", fields=["month"]),
        ]
        constraints = [
            models.CheckConstraint(name="cohort_is_not_more_than_all", condition=Q(active__lte=F("members"))),
            AppendOnly(name="cohort_month_stays"),
            OpenMonthOnly(name="cohort_month_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.enrolled_month} {self.active}/{self.members}"
