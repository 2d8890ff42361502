"""Who owns whom, when: stores, clerks and their postings, members, bindings, and the accounting month.

A member has at most one owner on any date; bindings are half-open date ranges that are ended or voided, never
edited. A member bound to 李娜 from 2026-03-01 and to 王伟 from 2026-06-01 has two rows, [03-01, 06-01) and
[06-01, 9999-12-31).
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Right
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly, NoOverlap, OpenMonthOnly

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

__all__ = [
    "OPEN_END",
    "Binding",
    "BindingBatch",
    "Clerk",
    "Member",
    "Month",
    "OpenMonthOnly",
    "PhoneRead",
    "Posting",
    "Store",
    "User",
]

# The `valid_to` of a row that has no end: never null, so that range joins stay plain comparisons.
OPEN_END = dt.date(9999, 12, 31)


def on_date(on: dt.date | Any) -> Q:
    """The rows valid on a date (a value or an expression)."""
    return Q(valid_from__lte=on, valid_to__gt=on)


class StoreQuerySet(models.QuerySet["Store"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The stores whose staff and members the user may see: HR and auditors all, a manager the managed ones."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        return self.filter(pk__in=user.managed_store_ids())


class Store(models.Model):
    store_no = models.CharField(_("store number"), max_length=20, unique=True)
    name = models.CharField(_("store name"), max_length=100)
    # For a whole month; None where none is set, and nobody is warned of.
    minimum_wage_amount = models.PositiveBigIntegerField(_("minimum wage a month"), null=True, blank=True)

    objects = StoreQuerySet.as_manager()

    class Meta:
        ordering = ["store_no"]
        verbose_name = _("store")
        verbose_name_plural = _("stores")

    def __str__(self) -> str:
        return f"{self.store_no} {self.name}"


class ClerkQuerySet(models.QuerySet["Clerk"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The clerks whose money the user may see: oneself, the staff of managed stores, or all of them for HR."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        own = Q(pk=user.clerk_id)
        posted = Posting.objects.filter(store__in=user.managed_store_ids(), role=Posting.Role.CLERK)
        return self.filter(own | Q(pk__in=posted.values("clerk"))) if user.clerk_id else self.none()

    def posted_to(self, store: Store, on: dt.date) -> Self:
        """The clerks whose home store on that date is `store` and who have not left."""
        return self.filter(
            Q(left_on__isnull=True) | Q(left_on__gte=on),
            pk__in=Posting.objects.clerk_postings().filter(on_date(on), store=store).values("clerk"),
        )


class Clerk(models.Model):
    class Language(models.TextChoices):
        CHINESE = "zh-hans", _("Chinese")
        ENGLISH = "en", _("English")

    clerk_no = models.CharField(_("clerk number"), max_length=20, unique=True)
    name = models.CharField(_("clerk name"), max_length=100)
    hired_on = models.DateField(_("hired on"))
    left_on = models.DateField(_("last day worked"), null=True, blank=True)
    language = models.CharField(_("language of the payslip"), max_length=10, choices=Language, default=Language.CHINESE)

    objects = ClerkQuerySet.as_manager()

    class Meta:
        ordering = ["clerk_no"]
        verbose_name = _("clerk")
        verbose_name_plural = _("clerks")
        constraints = [
            models.CheckConstraint(
                name="clerk_leaves_after_hire", condition=Q(left_on__isnull=True) | Q(left_on__gte=F("hired_on"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.clerk_no} {self.name}"


class PostingQuerySet(models.QuerySet["Posting"]):
    def clerk_postings(self) -> Self:
        return self.filter(role=Posting.Role.CLERK)


class Posting(models.Model):
    """A clerk's dated place at a store: one clerk posting a day (the home store), any number as a manager."""

    class Role(models.TextChoices):
        CLERK = "clerk", _("clerk")
        MANAGER = "manager", _("manager")

    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="postings", verbose_name=_("clerk"))
    store = models.ForeignKey(Store, models.PROTECT, related_name="postings", verbose_name=_("store"))
    role = models.CharField(_("role"), max_length=10, choices=Role)
    valid_from = models.DateField(_("from"))
    valid_to = models.DateField(_("until"), default=OPEN_END)
    weight_percent = models.PositiveSmallIntegerField(
        _("weight"), default=100, help_text=_("Share of a full portfolio: 100 full, 50 part-time, 0 none.")
    )

    objects = PostingQuerySet.as_manager()

    class Meta:
        ordering = ["clerk", "valid_from"]
        verbose_name = _("posting")
        verbose_name_plural = _("postings")
        constraints = [
            models.CheckConstraint(name="posting_not_empty", condition=Q(valid_from__lt=F("valid_to"))),
            NoOverlap(name="one_home_store", key=["clerk"], where={"role": "clerk"}),
            NoOverlap(name="one_posting_per_role", key=["clerk", "store"], where={"role": "manager"}),
        ]

    def __str__(self) -> str:
        return f"{self.clerk} - {self.store} ({self.role})"


class User(AbstractUser):
    """A login. What it may see follows from the clerk it stands for, that clerk's manager postings, and `office`."""

    class Office(models.TextChoices):
        HR = "hr", _("HR")
        AUDITOR = "auditor", _("auditor")

    clerk = models.OneToOneField(Clerk, models.PROTECT, null=True, blank=True, related_name="user")
    office = models.CharField(_("office"), max_length=10, choices=Office, blank=True)

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")

    @property
    def is_hr(self) -> bool:
        return self.office == self.Office.HR

    def managed_store_ids(self, on: dt.date | None = None) -> list[int]:
        """The stores the user manages on a date (today by default)."""
        from django.utils import timezone

        if self.clerk_id is None:
            return []
        postings = Posting.objects.filter(
            on_date(on or timezone.localdate()), clerk=self.clerk_id, role=Posting.Role.MANAGER
        )
        return list(postings.values_list("store", flat=True))


class Month(models.Model):
    """The accounting period, numbered 202610 for the calendar month in which it ends; open, then closed for good."""

    id = models.PositiveIntegerField(_("month"), primary_key=True)
    starts_on = models.DateField(_("first day"), unique=True)
    ends_on = models.DateField(_("last day"), unique=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    closed_by = models.CharField(_("closed by"), max_length=150, blank=True)
    # SHA-256 over the month before's and all that this one froze, set by the close.
    digest = models.CharField(_("digest"), max_length=64, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("month")
        verbose_name_plural = _("months")
        constraints = [
            models.CheckConstraint(name="month_not_empty", condition=Q(starts_on__lte=F("ends_on"))),
            AppendOnly(
                name="month_stays_closed",
                mutable=["closed_at", "closed_by", "digest"],
                allow="OLD.closed_at IS NULL",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.id // 100:04d}-{self.id % 100:02d}"

    @property
    def days(self) -> int:
        return (self.ends_on - self.starts_on).days + 1

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None


class MemberQuerySet(models.QuerySet["Member"]):
    def for_user(self, user: User | AnonymousUser, on: dt.date) -> Self:
        """The members whose details the user may see: a clerk's own portfolio on that date, a manager's stores."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.is_hr:
            return self
        if not user.clerk_id:
            return self.none()
        own = Binding.objects.valid().filter(on_date(on), clerk=user.clerk_id).values("member")
        managed = user.managed_store_ids()
        # One list of a few thousand keys: an OR of the two would look at every member of the chain.
        stores = Member.objects.filter(store__in=managed).order_by().values("pk")
        return self.filter(pk__in=own.order_by().union(stores, all=True) if managed else own)

    def with_owner(self, on: dt.date) -> Self:
        """Annotates `owner_id`: the clerk bound on that date who has not left before it, or None."""
        owning = (
            Binding.objects.valid().filter(on_date(on), member=models.OuterRef("pk")).exclude(clerk__left_on__lt=on)
        )
        return self.annotate(owner_id=models.Subquery(owning.values("clerk")[:1]))

    def counting(self, on: dt.date) -> Self:
        """The cards that count on that date: enrolled by then, and not closed."""
        return self.filter(counted_from__lte=on, counted_to__gt=on)

    def unassigned(self, on: dt.date) -> Self:
        """Open cards without an owner on that date, or whose owner has left before it."""
        owning = (
            Binding.objects.valid().filter(on_date(on), member=models.OuterRef("pk")).exclude(clerk__left_on__lt=on)
        )
        return self.counting(on).filter(~models.Exists(owning))


class Member(models.Model):
    class Gender(models.TextChoices):
        FEMALE = "f", _("female")
        MALE = "m", _("male")

    member_no = models.CharField(_("card number"), max_length=30, unique=True)
    name = models.CharField(_("member name"), max_length=100, blank=True)
    phone = models.CharField(_("phone"), max_length=30, blank=True, db_index=True)
    gender = models.CharField(_("gender"), max_length=1, choices=Gender, blank=True)
    birth_date = models.DateField(_("birth date"), null=True, blank=True)
    neighbourhood = models.CharField(_("neighbourhood"), max_length=100, blank=True)
    store = models.ForeignKey(Store, models.PROTECT, related_name="members", verbose_name=_("store"))
    enrolled_on = models.DateField(_("enrolled on"))
    enrolled_by = models.ForeignKey(
        Clerk, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("enrolled by")
    )
    closed_on = models.DateField(_("closed on"), null=True, blank=True)
    # The day from which the member counts in a portfolio: the enrolment, or the first open day where that lies in a
    # month that had closed before the card became known. A closed card likewise counts until `counted_to`.
    counted_from = models.DateField(_("counted from"))
    counted_to = models.DateField(_("counted until"), default=OPEN_END)
    consented_on = models.DateField(_("consented on"), null=True, blank=True)
    # No split, rebalance or proposal of one moves a locked member; a person may.
    locked = models.BooleanField(_("stays with its owner"), default=False)
    # The surviving card of the same person; this one is closed.
    merged_into = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="merged", verbose_name=_("merged into")
    )
    merged_by = models.OneToOneField(
        "BindingBatch", models.PROTECT, null=True, blank=True, related_name="merged_card", verbose_name=_("merged by")
    )
    phone_tail = models.GeneratedField(
        expression=Right("phone", 4), output_field=models.CharField(max_length=4), db_persist=True
    )

    objects = MemberQuerySet.as_manager()

    class Meta:
        ordering = ["member_no"]
        verbose_name = _("member")
        verbose_name_plural = _("members")
        permissions = [("see_phones", "may see members' phone numbers")]
        indexes = [
            # The members table: sorted by name, and found by the phone's last four digits or by how a name begins.
            models.Index(name="member_by_name", fields=["name", "id"]),
            models.Index(name="member_by_phone_tail", fields=["phone_tail"]),
            # LIKE 'x%' uses a plain index in the C collation only.
            models.Index(name="member_by_name_start", fields=["name"], opclasses=["varchar_pattern_ops"]),
        ]
        constraints = [
            models.CheckConstraint(
                name="member_closes_after_enrolment",
                condition=Q(closed_on__isnull=True) | Q(closed_on__gte=F("enrolled_on")),
            ),
            models.CheckConstraint(name="member_counts", condition=Q(counted_from__lte=F("counted_to"))),
            models.CheckConstraint(
                name="merged_card_is_closed",
                condition=Q(merged_into__isnull=True, merged_by__isnull=True)
                | Q(merged_into__isnull=False, merged_by__isnull=False, closed_on__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.member_no} {self.name}"


class BindingBatch(models.Model):
    """The bindings that one action made, ended or voided together: who, when, and why."""

    recorded_at = models.DateTimeField(_("recorded at"), auto_now_add=True)
    recorded_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("recorded by")
    )
    source = models.CharField(_("source"), max_length=200, help_text=_("The command, file or page it came from."))
    note = models.CharField(_("note"), max_length=500, blank=True)
    # Set on the batch that takes another one back, as a whole and once.
    undoes = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, related_name="undone_by", verbose_name=_("takes back")
    )
    # Of the form on a page that it was sent with: a form that is sent twice acts once.
    form_token = models.UUIDField(_("form"), null=True, blank=True, unique=True)

    class Meta:
        verbose_name = _("binding batch")
        verbose_name_plural = _("binding batches")
        constraints = [AppendOnly(name="binding_batch_stays")]

    def __str__(self) -> str:
        return f"{self.source} ({self.recorded_at:%Y-%m-%d %H:%M})"

    @property
    def origin(self) -> str:
        """The source in the reader's words: "import_roster /srv/in/10" is a roster import, "undo split S02" a split of
        S02 that was taken back. One that has no such words is as it is written."""
        return _origin(self.source)


_ORIGINS = {
    "split": _("split"),
    "split_store": _("split"),
    "demo": _("split"),
    "unassigned": _("sharing out of the unassigned"),
    "rebalance": _("rebalance"),
    "reassignment": _("reassignment"),
    "hand_over": _("hand-over"),
    "enrolment": _("enrolment"),
    "merge": _("merge"),
    "inquiry": _("inquiry"),
    "undo": _("undo"),
}


def _origin(source: str) -> str:
    word, _blank, rest = source.partition(" ")
    if word in ("import_roster", "roster,"):
        # Folders and names of files say nothing to a clerk.
        return gettext("roster import")
    rest = _origin(rest) if word == "undo" else rest
    return f"{_ORIGINS.get(word, word)} {rest}".rstrip()


class BindingQuerySet(models.QuerySet["Binding"]):
    def valid(self) -> Self:
        """The bindings that count: not voided."""
        return self.filter(voided_by__isnull=True)


class Binding(models.Model):
    """One member belongs to one clerk on the days of [valid_from, valid_to)."""

    class Reason(models.TextChoices):
        INITIAL_SPLIT = "initial_split", _("initial split")
        ENROLMENT = "enrolment", _("enrolment")
        REASSIGNMENT = "reassignment", _("reassignment")
        LEAVER = "leaver", _("leaver")
        REBALANCE = "rebalance", _("rebalance")
        MERGE = "merge", _("merge")
        UNDO = "undo", _("undo")

    member = models.ForeignKey(Member, models.PROTECT, related_name="bindings", verbose_name=_("member"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="bindings", verbose_name=_("clerk"))
    valid_from = models.DateField(_("from"))
    valid_to = models.DateField(_("until"), default=OPEN_END)
    reason = models.CharField(_("reason"), max_length=20, choices=Reason)
    batch = models.ForeignKey(BindingBatch, models.PROTECT, related_name="made", verbose_name=_("batch"))
    ended_by = models.ForeignKey(
        BindingBatch, models.PROTECT, null=True, blank=True, related_name="ended", verbose_name=_("ended by")
    )
    # What `valid_to` was before it was ended, so that the batch that ended it can be taken back.
    former_valid_to = models.DateField(_("until, before it was ended"), null=True, blank=True)
    voided_by = models.ForeignKey(
        BindingBatch, models.PROTECT, null=True, blank=True, related_name="voided", verbose_name=_("voided by")
    )

    objects = BindingQuerySet.as_manager()

    class Meta:
        ordering = ["member", "valid_from"]
        verbose_name = _("binding")
        verbose_name_plural = _("bindings")
        indexes = [
            models.Index(name="binding_member_dates", fields=["member", "valid_from"], condition=Q(voided_by=None)),
            models.Index(name="binding_clerk_dates", fields=["clerk", "valid_from"], condition=Q(voided_by=None)),
        ]
        constraints = [
            models.CheckConstraint(name="binding_not_empty", condition=Q(valid_from__lt=F("valid_to"))),
            NoOverlap(name="one_owner_at_a_time", key=["member"], where={"voided_by": None}),
            AppendOnly(
                name="binding_history_stays",
                mutable=["valid_to", "ended_by_id", "former_valid_to", "voided_by_id"],
                # It may end earlier or be voided, once; what is voided rests.
                allow="OLD.voided_by_id IS NULL AND NEW.valid_to <= OLD.valid_to",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.member_id} -> {self.clerk_id} [{self.valid_from}, {self.valid_to})"


class PhoneRead(models.Model):
    """That someone was given members' phone numbers in full: who, when, and where; of one member, or how many."""

    user = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("read by"))
    read_at = models.DateTimeField(_("read at"), auto_now_add=True)
    page = models.CharField(_("page"), max_length=200, help_text=_("The address of the page or file."))
    member = models.ForeignKey(
        Member, models.PROTECT, null=True, blank=True, related_name="phone_reads", verbose_name=_("member")
    )
    members = models.PositiveIntegerField(_("members"), default=1)

    class Meta:
        verbose_name = _("phone number read")
        verbose_name_plural = _("phone numbers read")
        constraints = [AppendOnly(name="phone_read_stays")]

    def __str__(self) -> str:
        return f"{self.user} {self.page} ({self.members})"
