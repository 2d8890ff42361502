"""What stands out in a clerk's month, made anew each night, and who has looked at it with what note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly
from portfolios.models import Clerk, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class SignalQuerySet(models.QuerySet["Signal"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The signals the user may see: those about the managed stores' clerks, or HR's all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self if user.is_hr else self.filter(store__in=user.managed_store_ids())

    def with_review(self) -> Self:
        """Annotates `review_id`: the latest review that holds, whose figure the signal has not risen above."""
        same = {name: OuterRef(name) for name in ("month", "kind", "clerk")}
        reviews = SignalReview.objects.filter(**same, level__gte=OuterRef("level")).order_by("-pk")
        return self.annotate(review_id=Subquery(reviews.values("pk")[:1]))

    def to_look_at(self) -> Self:
        """Those that nobody has looked at, or whose figure has risen since; small samples are not among them."""
        return self.with_review().filter(review_id=None, small=False)


class Signal(models.Model):
    """A figure of a clerk's month that stands out. It proves nothing and changes nothing. Made anew, no history.

    `hits` of `total` things, against `others_hits` of `others_total` of the clerks with the same home store;
    `evidence` are the keys of the hits: members, ticket parts, tickets or bindings, as the kind counts.
    """

    class Kind(models.TextChoices):
        LARGE_FIRST = "large_first", _("large purchase on the day of enrolment")
        SAME_PHONE = "same_phone", _("same phone again")
        NEIGHBOURHOOD = "neighbourhood", _("one neighbourhood")
        NOT_AGAIN = "not_again", _("never bought again")
        OWN_NAME = "own_name", _("purchases under the clerk's own name")
        SERVER_SWAP = "server_swap", _("another server within the shift")
        WALK_IN = "walk_in", _("sales without a card")
        AFTER_MONTH_END = "after_month_end", _("returns right after the month")
        AFTER_INCOME = "after_income", _("reassigned after large purchases")

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    kind = models.CharField(_("signal"), max_length=20, choices=Kind)
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=_("clerk"))
    store = models.ForeignKey(Store, models.PROTECT, related_name="+", verbose_name=_("store"))
    hits = models.PositiveIntegerField(_("number"))
    total = models.PositiveIntegerField(_("of"), null=True)
    others_hits = models.PositiveIntegerField(_("number of the rest of the store"), null=True)
    others_total = models.PositiveIntegerField(_("of, in the rest of the store"), null=True)
    detail = models.CharField(_("detail"), max_length=100, blank=True)
    # What a review is compared with: the rate in whole percent, or the number where there is no rate.
    level = models.PositiveIntegerField(_("level"))
    small = models.BooleanField(_("small sample"), default=False)
    evidence = models.JSONField(_("evidence"))

    objects = SignalQuerySet.as_manager()

    class Meta:
        ordering = ["month", "kind", "small", "-level", "clerk"]
        verbose_name = _("signal")
        verbose_name_plural = _("signals")
        constraints = [models.UniqueConstraint(name="one_signal_per_clerk", fields=["month", "kind", "clerk"])]
        indexes = [models.Index(name="signal_by_store", fields=["month", "store"])]

    def __str__(self) -> str:
        return f"{self.month} {self.kind} {self.clerk}"


class SignalsRefresh(models.Model):
    """When a month's signals were last made anew, and up to which day."""

    month = models.OneToOneField(Month, models.PROTECT, primary_key=True, related_name="+", verbose_name=_("month"))
    as_of = models.DateField(_("as of"))
    refreshed_at = models.DateTimeField(_("refreshed at"), auto_now=True)

    class Meta:
        verbose_name = _("refresh of signals")
        verbose_name_plural = _("refreshes of signals")

    def __str__(self) -> str:
        return f"{self.month_id} {self.as_of}"


class SignalReview(models.Model):
    """That somebody has looked at a signal: who, when, and what was found. Nothing else follows from it."""

    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    kind = models.CharField(_("signal"), max_length=20, choices=Signal.Kind)
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=_("clerk"))
    level = models.PositiveIntegerField(_("level"))
    note = models.CharField(_("note"), max_length=500)
    looked_at_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("looked at by"))
    looked_at = models.DateTimeField(_("looked at"), auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("signal looked at")
        verbose_name_plural = _("signals looked at")
        indexes = [models.Index(name="signal_review", fields=["month", "clerk", "kind"])]
        constraints = [
            models.CheckConstraint(name="signal_review_has_a_note", condition=~Q(note="")),
            AppendOnly(name="signal_review_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.month} {self.kind} {self.clerk}"
