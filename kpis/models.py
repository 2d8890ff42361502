"""How books changed, member by member and month by month, and the changes of owners that were proposed.

A closed month has frozen snapshots, one per clerk and one per store's unassigned list. A member's figures are those of
one day, made anew. A proposal is what a manager saw before applying it, move by move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from kpis.care_models import ContactResult as ContactResult
from kpis.care_models import ProfileCheck as ProfileCheck
from kpis.measure_models import MeasureMonth as MeasureMonth
from kpis.measure_models import MeasuresSoFar as MeasuresSoFar
from kpis.movement_models import ACTIVE_MEMBERS_ADD_UP, MEMBERS_ADD_UP, MovementFigures
from kpis.movement_models import CohortMonth as CohortMonth
from kpis.movement_models import MemberGroup as MemberGroup
from kpis.movement_models import StoreMonth as StoreMonth
from kpis.scorecard_models import Scorecard as Scorecard
from kpis.scorecard_models import ScorecardMeasure as ScorecardMeasure
from kpis.scorecard_models import ScoreLine as ScoreLine
from kpis.scorecard_models import ScoreMonth as ScoreMonth
from kpis.signal_models import Signal as Signal
from kpis.signal_models import SignalReview as SignalReview
from kpis.signal_models import SignalsRefresh as SignalsRefresh
from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import BindingBatch, Clerk, Member, Month, Store, User

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


class PortfolioMonth(MovementFigures):
    """The movement of one book in one closed month. A row without a clerk is the store's unassigned list."""

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, null=True, related_name="+", verbose_name=_("clerk"))
    store = models.ForeignKey(Store, models.PROTECT, null=True, related_name="+", verbose_name=_("store"))

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
            models.CheckConstraint(name="movement_adds_up", condition=MEMBERS_ADD_UP),
            models.CheckConstraint(name="active_movement_adds_up", condition=ACTIVE_MEMBERS_ADD_UP),
            AppendOnly(name="portfolio_month_stays"),
            OpenMonthOnly(name="portfolio_month_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month} {self.clerk or self.store}"


class MemberFigures(models.Model):
    """What a member bought: what the members table sorts and filters by, as of the last refresh. Made anew, no history.

    A member who enrolled since has none yet.
    """

    member = models.OneToOneField(
        Member, models.CASCADE, primary_key=True, related_name="figures", verbose_name=_("member")
    )
    tier = models.CharField(_("tier"), max_length=1)
    spend_amount = models.BigIntegerField(_("spend in 12 months"))
    purchases = models.PositiveIntegerField(_("days with a purchase in 12 months"))
    last_purchase_on = models.DateField(_("last purchase"), null=True)
    # The day from which the member is at risk of lapsing if nothing is bought before; none for those who lapsed.
    at_risk_on = models.DateField(_("at risk from"), null=True)

    class Meta:
        verbose_name = _("member figures")
        verbose_name_plural = _("member figures")
        # A million members are sorted by walking one of these; within a store, its members are few enough to sort.
        indexes = [
            models.Index(name="figures_by_last_purchase", fields=["last_purchase_on", "member"]),
            models.Index(name="figures_by_spend", fields=["spend_amount", "member"]),
            models.Index(name="figures_by_tier", fields=["tier", "spend_amount", "member"]),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.tier}"


class FiguresRefresh(models.Model):
    """When the members' figures were last made anew, and as of which day: purchases before it count."""

    as_of = models.DateField(_("as of"))
    refreshed_at = models.DateTimeField(_("refreshed at"), auto_now_add=True)

    class Meta:
        get_latest_by = "pk"
        verbose_name = _("refresh of member figures")
        verbose_name_plural = _("refreshes of member figures")

    def __str__(self) -> str:
        return f"{self.as_of}"


class ProposalQuerySet(models.QuerySet["Proposal"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The proposals that the user may see and apply: of the managed stores, or HR's all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self if user.is_hr else self.filter(store__in=user.managed_store_ids())


class Proposal(models.Model):
    """A change of owners as it was shown: each move, and each clerk before and after. It is applied so, or not at all.

    `basis` is the digest of what it was worked out from; where that has changed, it must be worked out anew.
    """

    class Kind(models.TextChoices):
        SPLIT = "split", _("split")
        UNASSIGNED = "unassigned", _("sharing out of the unassigned")
        REBALANCE = "rebalance", _("rebalance")
        REASSIGNMENT = "reassignment", _("reassignment")
        HAND_OVER = "hand_over", _("hand-over")

    kind = models.CharField(_("change"), max_length=20, choices=Kind)
    store = models.ForeignKey(Store, models.PROTECT, related_name="proposals", verbose_name=_("store"))
    clerk = models.ForeignKey(
        Clerk, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("clerk who hands over")
    )
    effective_on = models.DateField(_("takes effect on"))
    note = models.CharField(_("note"), max_length=500, blank=True)
    options = models.JSONField(_("options"), help_text=_("What was asked for, so that it can be worked out anew."))
    document = models.JSONField(_("document"), help_text=_("The moves, and each clerk before and after."))
    basis = models.CharField(_("basis"), max_length=64)
    drafted_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", verbose_name=_("drafted by"))
    drafted_at = models.DateTimeField(_("drafted at"), auto_now_add=True)
    batch = models.OneToOneField(
        BindingBatch, models.PROTECT, null=True, related_name="proposal", verbose_name=_("applied as")
    )

    objects = ProposalQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("proposal")
        verbose_name_plural = _("proposals")
        constraints = [
            AppendOnly(name="proposal_stays", mutable=["batch_id"], allow="OLD.batch_id IS NULL"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.store} {self.effective_on}"


class CareContactQuerySet(models.QuerySet["CareContact"]):
    def open_complaints(self) -> Self:
        return self.filter(kind=CareContact.Kind.COMPLAINT, closed_at__isnull=True)


class CareContact(models.Model):
    """A talk with a member, or an attempt at one: what about, how it went, and when to call again.

    A complaint stays open until the manager closes it.
    """

    class Kind(models.TextChoices):
        FOLLOW_UP = "follow_up", _("follow-up")
        COMPLAINT = "complaint", _("complaint")
        CONSULTATION = "consultation", _("consultation")

    class Outcome(models.TextChoices):
        REACHED = "reached", _("reached")
        NOT_REACHED = "not_reached", _("not reached")
        WRONG_NUMBER = "wrong_number", _("wrong number")
        REFUSED = "refused", _("refused")

    member = models.ForeignKey(Member, models.PROTECT, related_name="care", verbose_name=_("member"))
    recorded_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("recorded by"))
    recorded_at = models.DateTimeField(_("recorded at"), auto_now_add=True)
    on = models.DateField(_("date"), db_column="contact_date")
    kind = models.CharField(_("about"), max_length=12, choices=Kind)
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome)
    note = models.CharField(_("note"), max_length=500, blank=True)
    next_on = models.DateField(_("next on"), null=True, blank=True)
    closed_at = models.DateTimeField(_("complaint closed at"), null=True, blank=True)
    closed_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("complaint closed by")
    )

    objects = CareContactQuerySet.as_manager()

    class Meta:
        ordering = ["-on", "-id"]
        verbose_name = _("care contact")
        verbose_name_plural = _("care log")
        constraints = [
            models.CheckConstraint(
                name="only_complaints_are_closed",
                condition=Q(closed_at__isnull=True, closed_by__isnull=True)
                | Q(closed_at__isnull=False, closed_by__isnull=False, kind="complaint"),
            ),
            models.CheckConstraint(
                name="next_contact_is_later", condition=Q(next_on__isnull=True) | Q(next_on__gt=F("on"))
            ),
            AppendOnly(name="care_contact_stays", mutable=["closed_at", "closed_by_id"], allow="OLD.closed_at IS NULL"),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} {self.on} {self.kind}"
