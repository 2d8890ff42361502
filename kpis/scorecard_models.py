"""Scorecards: which measures count how much, towards which target and up to which cap, and what a full score pays.

A scorecard is dated like a plan, in whole months, for clerks or for managers, of the chain or of one store. Once a
close has used it, it is only ended. What a close worked out by it is kept, measure by measure: a weight of 40% and an
attainment of 85% are 34 points of 100.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from commission.money import WHOLE_BP, round_half_away
from portfolios.database_rules import AppendOnly, FixedOnceUsed, NoOverlap, OpenMonthOnly
from portfolios.models import OPEN_END, Clerk, Month, Posting, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

# No measure counts for more than five times its target.
MAX_CAP_BP = 5 * WHOLE_BP


class ScorecardQuerySet(models.QuerySet["Scorecard"]):
    def issued(self) -> Self:
        """The scorecards that scores are worked out by in the months that they cover."""
        return self.filter(state=Scorecard.State.ISSUED)

    def in_month(self, month: Month) -> Self:
        """Those that cover a month: they begin on a month's first day, and end with one."""
        return self.issued().filter(valid_from__lte=month.starts_on, valid_to__gt=month.starts_on)

    def for_user(self, user: User | AnonymousUser) -> Self:
        """The scorecards the user may read: all for the office, the chain's and the managed stores' for a manager.

        A draft is the office's alone. A clerk reads the own scorecard on the page of the own score.
        """
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        managed = user.managed_store_ids()
        return self.issued().filter(Q(store=None) | Q(store__in=managed)) if managed else self.none()


class Scorecard(models.Model):
    """What scores clerks or managers in the months that it covers, for the chain (no store) or for one store."""

    class State(models.TextChoices):
        DRAFT = "draft", _("draft")
        ISSUED = "issued", _("issued")

    scorecard_no = models.CharField(_("scorecard number"), max_length=30, unique=True)
    role = models.CharField(_("for"), max_length=10, choices=Posting.Role, default=Posting.Role.CLERK)
    store = models.ForeignKey(
        Store, models.PROTECT, null=True, blank=True, related_name="scorecards", verbose_name=_("store")
    )
    valid_from = models.DateField(_("from"))
    valid_to = models.DateField(_("until"), default=OPEN_END)
    full_amount = models.PositiveBigIntegerField(_("bonus at 100 points"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)

    objects = ScorecardQuerySet.as_manager()

    class Meta:
        ordering = ["scorecard_no"]
        verbose_name = _("scorecard")
        verbose_name_plural = _("scorecards")
        constraints = [
            models.CheckConstraint(name="scorecard_not_empty", condition=Q(valid_from__lt=F("valid_to"))),
            NoOverlap(name="one_scorecard_at_a_time", key=["store", "role"], where={"state": "issued"}),
            FixedOnceUsed(
                name="scorecard_stays",
                user="kpis_scoremonth",
                column="scorecard_id",
                mutable=["valid_to"],
                allow=(
                    "NEW.valid_to > (SELECT MAX(m.ends_on) FROM portfolios_month AS m "
                    "JOIN kpis_scoremonth AS s ON s.month_id = m.id WHERE s.scorecard_id = OLD.id)"
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.scorecard_no

    @property
    def last_day(self) -> dt.date | None:
        """The last day that it covers; None where it has no end."""
        return None if self.valid_to == OPEN_END else self.valid_to - dt.timedelta(days=1)

    @property
    def is_draft(self) -> bool:
        return self.state == Scorecard.State.DRAFT

    @property
    def is_issued(self) -> bool:
        return self.state == Scorecard.State.ISSUED


class Direction(models.TextChoices):
    HIGHER = "higher", _("higher is better")
    LOWER = "lower", _("lower is better")


class MeasureTerms(models.Model):
    """How a measure counts. The target is in basis points, minor units, hundredths or members, as the measure is."""

    measure = models.CharField(_("measure"), max_length=30)
    weight_bp = models.PositiveIntegerField(_("weight"))
    target = models.PositiveBigIntegerField(_("target"))
    cap_bp = models.PositiveIntegerField(_("cap"), default=12_000)
    direction = models.CharField(_("direction"), max_length=10, choices=Direction, default=Direction.HIGHER)

    class Meta:
        abstract = True


_SOUND_TERMS = Q(weight_bp__gt=0, weight_bp__lte=WHOLE_BP, cap_bp__gte=WHOLE_BP, cap_bp__lte=MAX_CAP_BP)


class ScorecardMeasure(MeasureTerms):
    """A measure of a scorecard."""

    scorecard = models.ForeignKey(Scorecard, models.CASCADE, related_name="measures", verbose_name=_("scorecard"))

    class Meta:
        ordering = ["scorecard", "id"]
        verbose_name = _("measure of a scorecard")
        verbose_name_plural = _("measures of scorecards")
        constraints = [
            models.UniqueConstraint(name="one_weight_per_measure", fields=["scorecard", "measure"]),
            models.CheckConstraint(name="scorecard_terms_are_sound", condition=_SOUND_TERMS),
            FixedOnceUsed(
                name="scorecard_measure_stays", user="kpis_scoremonth", column="scorecard_id", key="scorecard_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scorecard_id} {self.measure}"


class ScoreMonth(models.Model):
    """A clerk's score and bonus of a month, as the close froze them.

    `points` are in ten-thousandths of basis points, of `counted_bp`, the weight of the measures that count: they and
    the days are all that the bonus is made of.
    """

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=_("clerk"))
    scorecard = models.ForeignKey(Scorecard, models.PROTECT, related_name="+", verbose_name=_("scorecard"))
    points = models.PositiveBigIntegerField(_("points"))
    counted_bp = models.PositiveIntegerField(_("weight that counts"))
    days = models.PositiveIntegerField(_("days posted"))
    bonus_amount = models.PositiveBigIntegerField(_("bonus"))

    class Meta:
        ordering = ["month", "clerk"]
        verbose_name = _("score")
        verbose_name_plural = _("scores")
        constraints = [
            models.UniqueConstraint(name="one_score_per_clerk_and_month", fields=["month", "clerk"]),
            models.CheckConstraint(
                name="no_bonus_without_points", condition=Q(bonus_amount=0) | Q(points__gt=0, counted_bp__gt=0)
            ),
            AppendOnly(name="score_month_stays"),
            OpenMonthOnly(name="score_month_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.clerk_id}"


class ScoreLine(MeasureTerms):
    """A measure of a frozen score: its value as one sum by another, and the points that it gives."""

    class LeftOut(models.TextChoices):
        """Why a measure does not count, so that its weight is shared among the others."""

        UNKNOWN = "unknown", _("there is nothing to measure")
        SMALL = "small", _("the sample is too small")

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    score = models.ForeignKey(ScoreMonth, models.PROTECT, related_name="lines", verbose_name=_("score"))
    top = models.BigIntegerField(_("value: sum"))
    bottom = models.BigIntegerField(_("value: divided by"))
    left_out = models.CharField(_("left out"), max_length=10, choices=LeftOut, blank=True)
    attainment_bp = models.PositiveIntegerField(_("attainment"))
    points = models.PositiveBigIntegerField(_("points"))

    class Meta:
        ordering = ["score", "id"]
        verbose_name = _("measure of a score")
        verbose_name_plural = _("measures of scores")
        constraints = [
            models.UniqueConstraint(name="one_line_per_measure", fields=["score", "measure"]),
            models.CheckConstraint(
                name="points_are_weight_by_attainment",
                condition=Q(left_out="", points=F("weight_bp") * F("attainment_bp"))
                | (~Q(left_out="") & Q(points=0, attainment_bp=0)),
            ),
            models.CheckConstraint(name="attainment_is_capped", condition=Q(attainment_bp__lte=F("cap_bp"))),
            AppendOnly(name="score_line_stays"),
            OpenMonthOnly(name="score_line_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.score_id} {self.measure}"


def score_bp(points: int, counted_bp: int) -> int | None:
    """The score in basis points of what all targets reached would give: 100.00% is 100 points; None where none counts.

    34 points of a weight of 40% that counts are a score of 85.
    """
    return round_half_away(points, counted_bp) if counted_bp else None
