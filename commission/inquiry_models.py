"""Inquiries: what a clerk questions, what both sides say about it, how it was answered, and the amounts held for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Binding, BindingBatch, Clerk, Member, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class InquiryQuerySet(models.QuerySet["Inquiry"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The inquiries the user may see: one's own, those about one's own pay, the managed stores', or all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        if not user.clerk_id:
            return self.none()
        party = Q(asker=user.clerk_id) | Q(other=user.clerk_id)
        return self.filter(party | Q(store__in=user.managed_store_ids()))

    def unanswered(self) -> Self:
        return self.filter(state=Inquiry.State.OPEN)


class Inquiry(models.Model):
    """That a clerk questions a part of a ticket, a binding or a line of the own pay; answered by somebody else."""

    class Claim(models.TextChoices):
        SERVED = "served", _("I served this sale")
        MEMBER = "member", _("It was my member's, with the card forgotten or another one used")
        OWNED = "owned", _("The member was mine")
        LINE = "line", _("This line of my pay is not right")

    class State(models.TextChoices):
        OPEN = "open", _("waits for an answer")
        GRANTED = "granted", _("granted")
        REFUSED = "refused", pgettext_lazy("inquiry", "refused")
        WITHDRAWN = "withdrawn", _("withdrawn")

    claim = models.CharField(_("question"), max_length=10, choices=Claim)
    part = models.ForeignKey(
        "SalePart", models.PROTECT, null=True, blank=True, related_name="inquiries", verbose_name=_("ticket part")
    )
    # Whose sale it was, where the claim is that the card was forgotten.
    new_member = models.ForeignKey(
        Member, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("member")
    )
    binding = models.ForeignKey(
        Binding, models.PROTECT, null=True, blank=True, related_name="inquiries", verbose_name=_("binding")
    )
    line_code = models.CharField(_("line"), max_length=20, blank=True)
    # The one that it is about: of a binding, the first open month when it was asked.
    month = models.ForeignKey(Month, models.PROTECT, related_name="inquiries", verbose_name=_("month"))
    store = models.ForeignKey(Store, models.PROTECT, related_name="inquiries", verbose_name=_("store"))
    asked_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("asked by"))
    asker = models.ForeignKey(Clerk, models.PROTECT, related_name="inquiries", verbose_name=_("clerk"))
    asked_at = models.DateTimeField(_("asked at"), auto_now_add=True)
    # The clerk who would have less if it were granted; None where only the house would.
    other = models.ForeignKey(
        Clerk, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("the other clerk")
    )
    text = models.CharField(_("what is not right"), max_length=1000)
    # What the asker would have more if it were granted, as of the day on which it was asked.
    contested_amount = models.BigIntegerField(_("amount in question"))
    # What was on record when it was asked, by language: {"en": {"title": "", "asker": [""], "whole": [""]}, ...}.
    # "asker" is what the asker may read of it.
    evidence = models.JSONField(_("evidence"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    answered_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("answered by")
    )
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)
    answer = models.CharField(_("answer"), max_length=1000, blank=True)
    # What a granted one led to: a corrected ticket, or a changed binding.
    correction = models.OneToOneField(
        "TicketCorrection", models.PROTECT, null=True, blank=True, related_name="inquiry", verbose_name=_("correction")
    )
    batch = models.OneToOneField(
        BindingBatch, models.PROTECT, null=True, blank=True, related_name="inquiry", verbose_name=_("batch")
    )
    # Granted when its month was closed: the ledger keeps its rows, and the held amount goes to the asker.
    paid_from_held = models.BooleanField(_("paid from what was held"), default=False)

    objects = InquiryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("inquiry")
        verbose_name_plural = _("inquiries")
        constraints = [
            models.CheckConstraint(
                name="inquiry_has_a_subject",
                condition=Q(claim="served", part__isnull=False, binding=None, new_member=None, line_code="")
                | Q(claim="member", part__isnull=False, binding=None, new_member__isnull=False, line_code="")
                | Q(claim="owned", binding__isnull=False, new_member=None, line_code="")
                | (Q(claim="line", part=None, binding=None, new_member=None) & ~Q(line_code="")),
            ),
            models.CheckConstraint(name="inquiry_says_what", condition=~Q(text="")),
            models.CheckConstraint(
                name="inquiry_is_answered_whole",
                condition=Q(state="open", answered_by=None, answered_at=None, answer="")
                | Q(state="withdrawn", answered_by=models.F("asked_by"), answered_at__isnull=False)
                | (
                    Q(state__in=["granted", "refused"], answered_by__isnull=False, answered_at__isnull=False)
                    & ~Q(answered_by=models.F("asked_by"))
                    & ~Q(answer="")
                ),
            ),
            # What is in question is in question once, whoever asks: no fen is held twice.
            models.UniqueConstraint(
                name="one_open_inquiry_per_part",
                fields=["part"],
                condition=Q(state="open", claim__in=["served", "member"]),
            ),
            models.UniqueConstraint(
                name="one_open_inquiry_per_binding", fields=["binding"], condition=Q(state="open", claim="owned")
            ),
            models.UniqueConstraint(
                name="one_open_inquiry_per_line",
                fields=["asker", "month", "line_code"],
                condition=Q(state="open", claim="line"),
            ),
            AppendOnly(
                name="inquiry_stays",
                mutable=[
                    "state",
                    "answered_by_id",
                    "answered_at",
                    "answer",
                    "correction_id",
                    "batch_id",
                    "paid_from_held",
                ],
                allow="OLD.state = 'open'",
            ),
        ]
        indexes = [models.Index(name="inquiry_open", fields=["month"], condition=Q(state="open"))]

    def __str__(self) -> str:
        return f"{self.asker_id} {self.claim} ({self.state})"

    def recorded(self, what: str) -> Any:
        """A piece of the evidence ("title", "asker", "whole") in the reader's language."""
        language = get_language() or "en"
        return self.evidence.get(language, self.evidence["en"])[what]

    @property
    def title(self) -> str:
        return str(self.recorded("title"))


class InquiryComment(models.Model):
    """What one of the people concerned added while it was open."""

    inquiry = models.ForeignKey(Inquiry, models.PROTECT, related_name="comments", verbose_name=_("inquiry"))
    made_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("by"))
    made_at = models.DateTimeField(_("at"), auto_now_add=True)
    text = models.CharField(_("text"), max_length=1000)

    class Meta:
        ordering = ["id"]
        verbose_name = _("comment on an inquiry")
        verbose_name_plural = _("comments on inquiries")
        constraints = [
            models.CheckConstraint(name="inquiry_comment_says_something", condition=~Q(text="")),
            AppendOnly(name="inquiry_comment_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.inquiry_id}: {self.text[:40]}"


class InquirySeen(models.Model):
    """When a clerk last opened an inquiry: what came later is news."""

    inquiry = models.ForeignKey(Inquiry, models.CASCADE, related_name="seen", verbose_name=_("inquiry"))
    clerk = models.ForeignKey(Clerk, models.CASCADE, related_name="+", verbose_name=_("clerk"))
    seen_at = models.DateTimeField(_("seen at"))

    class Meta:
        verbose_name = _("inquiry seen")
        verbose_name_plural = _("inquiries seen")
        constraints = [models.UniqueConstraint(name="one_inquiry_seen_per_clerk", fields=["inquiry", "clerk"])]

    def __str__(self) -> str:
        return f"{self.inquiry_id} {self.clerk_id}"


class HeldAmount(models.Model):
    """What an inquiry takes from a clerk's payslip of a month (below zero), or gives back or on (above zero)."""

    inquiry = models.ForeignKey(Inquiry, models.PROTECT, related_name="held", verbose_name=_("inquiry"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=_("clerk"))
    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    amount = models.BigIntegerField(_("amount"))
    recorded_at = models.DateTimeField(_("recorded at"), auto_now_add=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("held amount")
        verbose_name_plural = _("held amounts")
        constraints = [
            models.CheckConstraint(name="held_amount_is_not_nothing", condition=~Q(amount=0)),
            AppendOnly(name="held_amount_stays"),
            OpenMonthOnly(name="held_amount_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.clerk_id} {self.amount}"
