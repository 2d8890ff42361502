"""From a ticket to a credited amount: tickets with their lines and parts, attributions. Plans are in plan_models.

A ticket is attributed by parts: the lines with the same server and the same original (or none). Each part has one
attribution when it is first booked, and further ones only as corrections; a row is never edited. The foreign keys
that a set-based statement fills from the very tables they point to carry no database constraint of their own
(docs/decisions/0003-attribution-rows.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from commission.inquiry_models import HeldAmount as HeldAmount
from commission.inquiry_models import Inquiry as Inquiry
from commission.inquiry_models import InquiryComment as InquiryComment
from commission.inquiry_models import InquirySeen as InquirySeen
from commission.plan_models import Band as Band
from commission.plan_models import Category as Category
from commission.plan_models import Plan as Plan
from commission.plan_models import PlanChange as PlanChange
from commission.plan_models import PlanProduct as PlanProduct
from commission.plan_models import PlanRate as PlanRate
from commission.token_models import ApiToken as ApiToken
from portfolios.database_rules import AppendOnly, OpenMonthOnly
from portfolios.models import Binding, Clerk, Member, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class Booking(models.Model):
    """What wrote attributions together: a ticket file, a change of bindings, a settlement. Booking order is by id."""

    recorded_at = models.DateTimeField(_("recorded at"), auto_now_add=True)
    recorded_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("recorded by")
    )
    source = models.CharField(_("source"), max_length=200, help_text=_("The command, file or page it came from."))
    note = models.CharField(_("note"), max_length=500, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("booking")
        verbose_name_plural = _("bookings")
        constraints = [AppendOnly(name="booking_stays")]

    def __str__(self) -> str:
        return f"{self.source} ({self.recorded_at:%Y-%m-%d %H:%M})"


class SaleQuerySet(models.QuerySet["Sale"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The tickets the user may see whole: those with a part of one's own, the managed stores', or all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        if not user.clerk_id:
            return self.none()
        # Ticket by ticket: the ledger has no index by clerk alone.
        own = Attribution.objects.filter(
            Q(owner=user.clerk_id) | Q(server=user.clerk_id), part__sale=models.OuterRef("pk")
        )
        return self.filter(models.Exists(own) | Q(store__in=user.managed_store_ids()))


class Sale(models.Model):
    """A ticket. Its key is store, business date and ticket number."""

    store = models.ForeignKey(Store, models.PROTECT, db_constraint=False, db_index=False, related_name="sales")
    business_date = models.DateField(_("business date"))
    month_number = models.PositiveIntegerField(_("month of the business date"))
    ticket_no = models.CharField(_("ticket number"), max_length=40)
    sold_at = models.DateTimeField(_("sold at"))
    member = models.ForeignKey(
        Member, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="sales"
    )
    booking = models.ForeignKey(Booking, models.PROTECT, db_constraint=False, related_name="sales", db_index=False)

    objects = SaleQuerySet.as_manager()

    class Meta:
        verbose_name = _("ticket")
        verbose_name_plural = _("tickets")
        constraints = [
            models.UniqueConstraint(name="one_ticket_per_key", fields=["business_date", "store", "ticket_no"]),
            AppendOnly(name="sale_stays"),
        ]
        indexes = [
            models.Index(name="sale_of_member", fields=["member", "business_date"], condition=Q(member__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.store_id} {self.business_date} {self.ticket_no}"


class MemberBindings(models.ForeignObject):
    """From a part straight to the bindings of its member: a join, and no column; the members' table is left out."""

    # A member has many; whoever joins them says which (commission.attribution.own_sales).
    requires_unique_target = False

    def __init__(self) -> None:
        super().__init__(
            Binding, on_delete=models.DO_NOTHING, from_fields=["member"], to_fields=["member"], related_name="+",
            null=True, editable=False,
        )  # fmt: skip

    def contribute_to_class(self, cls: type[models.Model], name: str, **_options: Any) -> None:  # type: ignore[override]
        # Private: no migration knows of it.
        super().contribute_to_class(cls, name, private_only=True)


def _same(*columns: str) -> str:
    """SQL on OLD and NEW: none of the columns changes."""
    return " AND ".join(f"COALESCE(NEW.{column}, 0) = COALESCE(OLD.{column}, 0)" for column in columns)


_PLANNED = ["plan_id", "commissionable_amount", "excluded_amount", "commission_e4"]
_BY_A_LATER_PLAN_CHANGE = "NEW.plan_change_id > COALESCE(OLD.plan_change_id, 0)"


class SalePart(models.Model):
    """The lines of one ticket with the same server and the same original (or none): the unit that is attributed.

    Member and server are those that it is attributed by: as printed, unless a correction says otherwise.
    Its totals and its plan are kept from the import on, unless a change of plans says otherwise. `commission_e4` is
    the commission before rounding, in ten-thousandths of the minor unit: the sum over the lines of net amount x rate
    in basis points.
    """

    sale = models.ForeignKey(Sale, models.PROTECT, db_constraint=False, db_index=False, related_name="parts")
    number = models.PositiveIntegerField(_("number"), help_text=_("The line that the part begins with."))
    store = models.ForeignKey(Store, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    business_date = models.DateField(_("business date"))
    month_number = models.PositiveIntegerField(_("month of the business date"))
    member = models.ForeignKey(
        Member, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="sale_parts"
    )
    server = models.ForeignKey(Clerk, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+")
    original = models.ForeignKey(
        "self", models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="returns"
    )
    plan = models.ForeignKey(Plan, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    commissionable_amount = models.BigIntegerField(_("commissionable amount"))
    excluded_amount = models.BigIntegerField(_("excluded amount"))
    commission_e4 = models.BigIntegerField(_("commission before rounding"))
    # A return without a known original that a manager has settled: wholly the house's.
    settled = models.BooleanField(_("settled"), default=False)
    # The latest that gave the part its member or server; the ticket and its lines keep what the till printed.
    correction = models.ForeignKey(
        "TicketCorrection",
        models.PROTECT,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="corrected_parts",
        verbose_name=_("correction"),
    )
    # The latest that gave the part its plan; its lines have the rates of that plan.
    plan_change = models.ForeignKey(
        PlanChange,
        models.PROTECT,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="parts",
        verbose_name=_("change of plans"),
    )
    bindings = MemberBindings()

    class Meta:
        verbose_name = _("ticket part")
        verbose_name_plural = _("ticket parts")
        indexes = [
            models.Index(name="part_of_original", fields=["original"], condition=Q(original__isnull=False)),
            models.Index(name="part_corrected", fields=["correction"], condition=Q(correction__isnull=False)),
            # The few tickets with more than one part that is a sale: who counts tickets counts parts, and looks here.
            models.Index(
                name="part_further",
                fields=["business_date", "sale"],
                condition=Q(number__gt=1, original__isnull=True),
            ),
        ]
        constraints = [
            models.UniqueConstraint(name="one_part_per_number", fields=["sale", "number"]),
            # Another member or server comes only with the approved correction that names it, each with a newer one;
            # another plan with the change of plans that put it in force, and never in a closed month.
            AppendOnly(
                name="sale_part_stays",
                mutable=["member_id", "server_id", "correction_id", *_PLANNED, "plan_change_id"],
                allow=f"NEW.correction_id > COALESCE(OLD.correction_id, 0) AND {_same(*_PLANNED, 'plan_change_id')} "
                f"OR {_BY_A_LATER_PLAN_CHANGE} AND {_same('member_id', 'server_id', 'correction_id')} "
                "AND NOT EXISTS (SELECT 1 FROM portfolios_month AS m "
                "WHERE m.id = NEW.month_number AND m.closed_at IS NOT NULL)",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sale_id}/{self.number}"


class TicketCorrectionQuerySet(models.QuerySet["TicketCorrection"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The requests the user may see: one's own, those for tickets of the managed stores, or all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        if not user.clerk_id:
            return self.none()
        return self.filter(Q(asked_by=user.pk) | Q(sale__store__in=user.managed_store_ids()))

    def waiting(self) -> Self:
        return self.filter(approved__isnull=True)


class TicketCorrection(models.Model):
    """That a ticket's member or a part's server was not who the till printed: asked for by one, decided by another."""

    class What(models.TextChoices):
        MEMBER = "member", _("another member, or none")
        SERVER = "server", _("another server, or none")

    sale = models.ForeignKey(Sale, models.PROTECT, related_name="corrections", verbose_name=_("ticket"))
    what = models.CharField(_("correction"), max_length=10, choices=What)
    # The part with the wrong server; the member is the whole ticket's.
    part = models.ForeignKey(
        SalePart, models.PROTECT, null=True, blank=True, related_name="corrections", verbose_name=_("ticket part")
    )
    new_member = models.ForeignKey(
        Member, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("member")
    )
    new_server = models.ForeignKey(
        Clerk, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("server")
    )
    reason = models.CharField(_("reason"), max_length=500)
    asked_by = models.ForeignKey(User, models.PROTECT, related_name="corrections_asked", verbose_name=_("asked for by"))
    asked_at = models.DateTimeField(_("asked for at"), auto_now_add=True)
    # None while it waits.
    approved = models.BooleanField(_("approved"), null=True, blank=True)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decision_note = models.CharField(_("note on the decision"), max_length=500, blank=True)
    booking = models.OneToOneField(
        Booking, models.PROTECT, null=True, blank=True, related_name="correction", verbose_name=_("booking")
    )

    objects = TicketCorrectionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("correction of a ticket")
        verbose_name_plural = _("corrections of tickets")
        constraints = [
            models.CheckConstraint(
                name="correction_of_member_or_server",
                condition=Q(what="member", part__isnull=True, new_server__isnull=True)
                | Q(what="server", part__isnull=False, new_member__isnull=True),
            ),
            models.CheckConstraint(name="correction_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(name="correction_by_two_people", condition=~Q(decided_by=F("asked_by"))),
            models.CheckConstraint(
                name="correction_is_decided_whole",
                condition=Q(approved=None, decided_by=None, decided_at=None, booking=None)
                | Q(approved=True, decided_by__isnull=False, decided_at__isnull=False, booking__isnull=False)
                | Q(approved=False, decided_by__isnull=False, decided_at__isnull=False, booking=None),
            ),
            models.UniqueConstraint(
                name="one_member_request_waits", fields=["sale"], condition=Q(approved=None, what="member")
            ),
            models.UniqueConstraint(
                name="one_server_request_waits", fields=["part"], condition=Q(approved=None, what="server")
            ),
            AppendOnly(
                name="ticket_correction_stays",
                mutable=["approved", "decided_by_id", "decided_at", "decision_note", "booking_id"],
                allow="OLD.approved IS NULL",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sale_id} {self.what}"


class SaleLine(models.Model):
    """A line of a ticket. A return line waits without a part until its original is known (or settled)."""

    sale = models.ForeignKey(Sale, models.PROTECT, db_constraint=False, db_index=False, related_name="lines")
    line_no = models.PositiveIntegerField(_("line"))
    part = models.ForeignKey(
        SalePart, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="lines"
    )
    server = models.ForeignKey(Clerk, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+")
    product_no = models.CharField(_("product number"), max_length=50)
    category = models.ForeignKey(Category, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    quantity_milli = models.BigIntegerField(_("quantity"), help_text=_("In thousandths of the unit."))
    net_amount = models.BigIntegerField(_("net amount"))
    excluded = models.BooleanField(_("excluded"), null=True)
    rate_bp = models.PositiveIntegerField(_("rate"), null=True)
    unit_amount = models.PositiveBigIntegerField(_("amount per unit"), null=True)
    commission_e4 = models.BigIntegerField(_("commission before rounding"), null=True)
    is_return = models.BooleanField(_("return"))
    original_store_no = models.CharField(max_length=20, null=True)  # noqa: DJ001 - absent is not empty: no original
    original_business_date = models.DateField(null=True)
    original_ticket_no = models.CharField(max_length=40, null=True)  # noqa: DJ001
    original_line_no = models.PositiveIntegerField(null=True)
    original_line = models.ForeignKey(
        "self", models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="return_lines"
    )
    # The latest that gave the line its rate.
    plan_change = models.ForeignKey(
        PlanChange,
        models.PROTECT,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("change of plans"),
    )

    class Meta:
        verbose_name = _("ticket line")
        verbose_name_plural = _("ticket lines")
        indexes = [
            models.Index(name="line_waiting", fields=["sale"], condition=Q(part__isnull=True)),
            models.Index(name="line_of_original", fields=["original_line"], condition=Q(original_line__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(name="one_line_per_number", fields=["sale", "line_no"]),
            AppendOnly(
                name="sale_line_stays",
                mutable=[
                    "part_id",
                    "original_line_id",
                    "excluded",
                    "rate_bp",
                    "unit_amount",
                    "commission_e4",
                    "plan_change_id",
                ],
                # Once it has its part, a line gets other rates with a change of plans only.
                allow=f"OLD.part_id IS NULL OR {_BY_A_LATER_PLAN_CHANGE} AND {_same('part_id', 'original_line_id')}",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sale_id}/{self.line_no}"


class AttributionQuerySet(models.QuerySet["Attribution"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The rows whose amounts the user may see: one's own, those of the managed stores' clerks, or all."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        if user.office:
            return self
        clerks = Clerk.objects.for_user(user).values("pk")
        return self.filter(Q(owner__in=clerks) | Q(server__in=clerks))


class Attribution(models.Model):
    """Who is credited for a part of a ticket, how much, and by which rule. Owner, server and house add up."""

    class Kind(models.TextChoices):
        OWN_SERVED = "OWN_SERVED", _("own member, served")
        SPLIT = "SPLIT", _("split between owner and server")
        UNOWNED = "UNOWNED", _("member without an owner")
        WALK_IN = "WALK_IN", _("no member")

    class Reason(models.TextChoices):
        SALE = "SALE", _("sale")
        RETURN = "RETURN", _("return")
        LATE = "LATE", _("late")
        CORRECTION = "CORRECTION", _("correction")

    class PayLine(models.TextChoices):
        """The line of the payslip that the row goes to."""

        KIND = "KIND", _("its kind's")
        LATE = "LATE", _("late items")
        CLAWBACK = "CLAWBACK", _("clawback")
        CORRECTION = "CORRECTION", _("correction")

    part = models.ForeignKey(SalePart, models.PROTECT, db_constraint=False, related_name="attributions")
    booking = models.ForeignKey(Booking, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    month = models.ForeignKey(Month, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    reason = models.CharField(_("reason"), max_length=10, choices=Reason)
    pay_line = models.CharField(_("payslip line"), max_length=10, choices=PayLine)
    # The row that this one reverses, or whose place it takes: set on corrections only.
    corrects = models.ForeignKey(
        "self", models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="corrected_by"
    )
    reverses = models.BooleanField(_("reversal"), default=False)
    store = models.ForeignKey(Store, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    business_date = models.DateField(_("business date"))
    member = models.ForeignKey(Member, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="+")
    owner = models.ForeignKey(
        Clerk, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="owned_attributions"
    )
    server = models.ForeignKey(
        Clerk, models.PROTECT, null=True, db_constraint=False, db_index=False, related_name="served_attributions"
    )
    plan = models.ForeignKey(Plan, models.PROTECT, db_constraint=False, db_index=False, related_name="+")
    # The share that is rounded; the other party gets the rest: the owner's (OWN_SERVED: the whole, SPLIT), the
    # house's (UNOWNED) or the server's (WALK_IN).
    share_bp = models.PositiveIntegerField(_("share"))
    commissionable_amount = models.BigIntegerField(_("commissionable amount"))
    excluded_amount = models.BigIntegerField(_("excluded amount"))
    owner_credit_amount = models.BigIntegerField(_("owner credit"))
    server_credit_amount = models.BigIntegerField(_("server credit"))
    house_credit_amount = models.BigIntegerField(_("house credit"))
    commission_amount = models.BigIntegerField(_("commission"))
    owner_commission_amount = models.BigIntegerField(_("owner commission"))
    server_commission_amount = models.BigIntegerField(_("server commission"))
    house_commission_amount = models.BigIntegerField(_("house commission"))

    objects = AttributionQuerySet.as_manager()

    class Meta:
        verbose_name = _("attribution")
        verbose_name_plural = _("attributions")
        indexes = [
            # One clerk's month, and every clerk's, without touching the table.
            models.Index(
                name="attribution_owner_month",
                fields=["month", "owner"],
                include=["kind", "pay_line", "owner_credit_amount", "owner_commission_amount"],
            ),
            models.Index(
                name="attribution_server_month",
                fields=["month", "server"],
                include=["kind", "pay_line", "server_credit_amount", "server_commission_amount"],
            ),
            models.Index(name="attribution_corrects", fields=["corrects"], condition=Q(corrects__isnull=False)),
            # What may be dated before the month that it is posted to.
            models.Index(
                name="attribution_late",
                fields=["month", "business_date"],
                condition=Q(reason__in=["LATE", "CORRECTION"]),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="credit_adds_up",
                condition=Q(
                    commissionable_amount=F("owner_credit_amount")
                    + F("server_credit_amount")
                    + F("house_credit_amount")
                ),
            ),
            models.CheckConstraint(
                name="commission_adds_up",
                condition=Q(
                    commission_amount=F("owner_commission_amount")
                    + F("server_commission_amount")
                    + F("house_commission_amount")
                ),
            ),
            AppendOnly(name="attribution_stays"),
            OpenMonthOnly(name="attribution_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.part_id} {self.kind} {self.reason}"
