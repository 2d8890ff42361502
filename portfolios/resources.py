"""The roster's files about people: stores, clerks, postings, members, bindings."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F
from django.utils.translation import gettext as _

from portfolios.bindings import BindingPlan, end_with_cards, enrolments
from portfolios.models import OPEN_END, Binding, Clerk, Member, Posting, Store
from portfolios.phones import MASK, PhoneCell, masked
from portfolios.roster_files import (
    ChoiceCell,
    Column,
    DateCell,
    DatedResource,
    NumberCell,
    ReferenceCell,
    RosterResource,
    Row,
    RowProblem,
    TextCell,
    UntilCell,
    WeightCell,
    closed_month,
)


class StoreResource(RosterResource):
    file_name = "stores.csv"
    key = ("store_no",)

    store_no = Column("store_no", NumberCell(20))
    name = Column("name", TextCell(100))

    class Meta:
        model = Store
        fields = ("store_no", "name")


class ClerkResource(RosterResource):
    file_name = "clerks.csv"
    key = ("clerk_no",)

    clerk_no = Column("clerk_no", NumberCell(20))
    name = Column("name", TextCell(100))
    hired_on = Column("hired_on", DateCell())
    left_on = Column("left_on", DateCell(required=False))

    class Meta:
        model = Clerk
        fields = ("clerk_no", "name", "hired_on", "left_on")

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        if values["left_on"] and values["left_on"] < values["hired_on"]:
            problems["left_on"] = RowProblem(
                _("The last day worked lies before the day of hire."), _("Correct one of the two dates.")
            )

    def check_rows(self) -> None:
        super().check_rows()
        for row in self.rows:
            if "left_on" not in row.before:
                continue
            # From the day after, the clerk owns nobody; so that is the first day that changes.
            day = min(day for day in (row.before["left_on"], row.instance.left_on) if day) + dt.timedelta(days=1)
            if self.first_open_day and day < self.first_open_day:
                self.refuse(row, "left_on", closed_month(self.first_open_day))
            self.note_change(day)


class PostingResource(DatedResource):
    file_name = "postings.csv"
    optional = ("weight",)
    key = ("clerk_no", "store_no", "role", "valid_from")

    clerk_no = Column("clerk", ReferenceCell(Clerk, "clerk_no"))
    store_no = Column("store", ReferenceCell(Store, "store_no"))
    role = Column("role", ChoiceCell({role.value: role.value for role in Posting.Role}))
    valid_from = Column("valid_from", DateCell())
    valid_to = Column("valid_to", UntilCell())
    weight = Column("weight_percent", WeightCell(required=False))

    class Meta:
        model = Posting
        fields = ("clerk_no", "store_no", "role", "valid_from", "valid_to", "weight")

    def key_of(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        # A clerk has one home store a day, so its number may be corrected; a manager may have many stores.
        store = values["store_id"] if values["role"] == Posting.Role.MANAGER else None
        return values["clerk_id"], values["role"], store, values["valid_from"]

    def scope(self, instance: Posting) -> tuple[Any, ...]:
        return instance.clerk_id, instance.role, instance.store_id if instance.role == Posting.Role.MANAGER else None

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        super().check_row(values, problems)
        if "weight_percent" in values and values["weight_percent"] is None:
            values["weight_percent"] = _full_weight(values["role"])

    def import_instance(self, instance: Posting, row: Mapping[str, str], **kwargs: Any) -> None:
        if instance._state.adding and "weight_percent" not in self.values:
            instance.weight_percent = _full_weight(self.values["role"])
        super().import_instance(instance, row, **kwargs)


def _full_weight(role: str) -> int:
    return 0 if role == Posting.Role.MANAGER else 100


class MemberResource(RosterResource):
    file_name = "members.csv"
    optional = ("closed_on",)
    key = ("member_no",)

    member_no = Column("member_no", NumberCell(30))
    name = Column("name", TextCell(100, required=False))
    phone = Column("phone", PhoneCell())
    gender = Column("gender", ChoiceCell({gender.value: gender.value for gender in Member.Gender}, required=False))
    birth_date = Column("birth_date", DateCell(required=False))
    neighbourhood = Column("neighbourhood", TextCell(100, required=False))
    store_no = Column("store", ReferenceCell(Store, "store_no"))
    enrolled_on = Column("enrolled_on", DateCell())
    enrolled_by = Column("enrolled_by", ReferenceCell(Clerk, "clerk_no", required=False))
    closed_on = Column("closed_on", DateCell(required=False))

    class Meta:
        model = Member
        fields = (
            "member_no",
            "name",
            "phone",
            "gender",
            "birth_date",
            "neighbourhood",
            "store_no",
            "enrolled_on",
            "enrolled_by",
            "closed_on",
        )

    def mask_phones(self) -> None:
        """Has the export show what someone without the right to phone numbers sees of them."""
        self.fields["phone"].widget.masks = True

    def changes(self, row: Row) -> list[tuple[str, str, str]]:
        """As for every file, but for the phone that is stored: only the export may show it, to whom it may."""
        return [(name, masked(old) if name == "phone" else old, new) for name, old, new in super().changes(row)]

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        if MASK in values["phone"]:
            # An exported file that comes back: what it doesn't show stays as it is.
            stored = self.stored.get(self.key_of(values))
            if stored is not None and masked(stored.phone) == values["phone"]:
                values["phone"] = stored.phone
            else:
                problems["phone"] = RowProblem(
                    _("The phone number is masked, and is not the one on record."),
                    _("Write the whole number, or what the export had there."),
                )
        if (closed_on := values.get("closed_on")) and closed_on < values["enrolled_on"]:
            problems["closed_on"] = RowProblem(
                _("The card closes before its enrolment."), _("Correct one of the two dates.")
            )

    def load(self) -> None:
        self.bound_late = 0
        # What enrol() made.
        self.enrolled: list[Binding] = []

    def import_instance(self, instance: Member, row: Mapping[str, str], **kwargs: Any) -> None:
        super().import_instance(instance, row, **kwargs)
        # Only where the dates change: the day on which a card became known to a later month stays.
        first = self.first_open_day
        if instance._state.adding or "enrolled_on" in self.before:
            instance.counted_from = max(instance.enrolled_on, first or instance.enrolled_on)
        if instance._state.adding or "closed_on" in self.before:
            self.before["counted_to"] = instance.counted_to
            closed = instance.closed_on or OPEN_END
            instance.counted_to = max(closed, first or closed)

    def check_rows(self) -> None:
        super().check_rows()
        first = self.first_open_day
        moved = [row.instance.pk for row in self.rows if "enrolled_on" in row.before]
        bound_from: dict[int, dt.date] = {}
        for member, day in Binding.objects.valid().filter(member__in=moved).values_list("member", "valid_from"):
            bound_from[member] = min(day, bound_from.get(member, day))
        for row in self.rows:
            member = row.instance
            if row.is_new:
                if first and member.enrolled_on < first:
                    self.bound_late += 1
                continue
            if "enrolled_on" in row.before:
                if first and min(row.before["enrolled_on"], member.enrolled_on) < first:
                    self.refuse(row, "enrolled_on", closed_month(first))
                elif member.counted_from > bound_from.get(member.pk, OPEN_END):
                    self.refuse(
                        row,
                        "enrolled_on",
                        RowProblem(
                            _("The member is bound to a clerk from %(day)s.") % {"day": bound_from[member.pk]},
                            _("Write that day or an earlier one."),
                        ),
                    )
            if "closed_on" in row.before and member.merged_into_id is not None:
                closed = RowProblem(
                    _("The card was merged into another one, and is closed from %(day)s.")
                    % {"day": row.before["closed_on"]},
                    _("Write that day, or leave the column out; or take the merge back first."),
                )
                self.refuse(row, "closed_on", closed)
            elif "closed_on" in row.before and first and min(row.before["counted_to"], member.counted_to) < first:
                self.refuse(row, "closed_on", closed_month(first))
        if first and self.bound_late:
            self.notices.append(
                _("%(count)d new cards were enrolled in a closed month: they count, and are bound, from %(day)s.")
                % {"count": self.bound_late, "day": first}
            )

    def write_changed(self, instances: list[Member]) -> None:
        # One upsert: an UPDATE with a CASE for each column and row takes minutes for a whole chain.
        columns = [column.stored_as.removesuffix("_id") for _name, column in self.columns]
        Member.objects.bulk_create(
            instances,
            batch_size=2_000,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[*columns, "counted_from", "counted_to"],
        )
        closed = [row.instance.pk for row in self.rows if not row.is_new and row.instance.closed_on]
        if closed and Binding.objects.valid().filter(valid_to__gt=F("member__counted_to")).exists():
            assert self.batch is not None
            self.note_change(end_with_cards(closed, batch=self.batch()).since)

    def enrol(self) -> int:
        """Binds the file's members that have no binding to those who enrolled them; to be called after bindings.csv."""
        # A member whose bindings were all taken back waits, as was decided, unless the file says anew who enrolled it.
        anew = {row.instance.pk for row in self.rows if "enrolled_by_id" in row.before}
        stored = [instance for key in self.seen if (instance := self.stored.get(key)) is not None]
        once = Binding.objects.filter(voided_by__isnull=False).values_list("member", flat=True)
        waiting = set(once) - anew
        known = [member for member in stored if member.pk not in waiting]
        plan = enrolments([*known, *(row.instance for row in self.rows if row.is_new)])
        self.enrolled = plan.make
        if not plan.make:
            return 0
        if late := sum(binding.valid_from > binding.member.counted_from for binding in plan.make):
            self.notices.append(
                _("%(count)d cards known before were enrolled in a closed month: they are bound from %(day)s.")
                % {"count": late, "day": self.first_open_day}
            )
        assert self.batch is not None
        self.note_change(plan.carry_out(self.batch()).since)
        return len(plan.make)


class BindingResource(DatedResource):
    """A row with another end shortens its binding, or voids it and writes a longer one; so does another clerk.

    An open end leaves a binding alone that a later one has taken over from since.
    """

    file_name = "bindings.csv"
    key = ("member_no", "valid_from")

    member_no = Column("member", ReferenceCell(Member, "member_no"))
    clerk_no = Column("clerk", ReferenceCell(Clerk, "clerk_no"))
    valid_from = Column("valid_from", DateCell())
    valid_to = Column("valid_to", UntilCell())
    reason = Column("reason", ChoiceCell({reason.value: reason.value for reason in Binding.Reason}))

    class Meta:
        model = Binding
        fields = ("member_no", "clerk_no", "valid_from", "valid_to", "reason")

    def get_queryset(self) -> Any:
        return Binding.objects.valid()

    def load(self) -> None:
        self.counted = {
            member: (counted_from, counted_to)
            for member, counted_from, counted_to in Member.objects.values_list("pk", "counted_from", "counted_to")
        }
        self.last_from: dict[int, dt.date] = {}
        for binding in self.stored.values():
            member = binding.member_id
            self.last_from[member] = max(binding.valid_from, self.last_from.get(member, binding.valid_from))

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        super().check_row(values, problems)
        counted_from, counted_to = self.counted[values["member_id"]]
        if (values["member_id"], values["valid_from"]) in self.stored:
            pass
        elif values["valid_from"] < counted_from:
            problems["valid_from"] = RowProblem(
                _("The member counts only from %(day)s on (its enrolment, or the first open day since).")
                % {"day": counted_from},
                _("Begin the binding on that day or later."),
            )
        elif values["valid_from"] >= counted_to:
            problems["valid_from"] = RowProblem(
                _("The member's card is closed since %(day)s.") % {"day": counted_to}, _("Remove the row.")
            )

    def import_instance(self, instance: Binding, row: Mapping[str, str], **kwargs: Any) -> None:
        # A stored binding is not touched here: it can only be ended or voided.
        values = self.values
        self.stated_open = values["valid_to"] == OPEN_END
        values["valid_to"] = min(values["valid_to"], self.counted[values["member_id"]][1])
        self.before = {}
        if instance._state.adding:
            for name, value in values.items():
                setattr(instance, name, value)
            return
        self.before = {name: value for name, value in values.items() if getattr(instance, name) != value}
        taken_over = self.last_from[instance.member_id] >= instance.valid_to
        if self.stated_open and taken_over and set(self.before) == {"valid_to"}:
            self.before = {}

    def changes(self, row: Row) -> list[tuple[str, str, str]]:
        stored, wanted = row.before["stored"], row.instance
        both = [
            (name, column, *(getattr(binding, column.stored_as) for binding in (stored, wanted)))
            for name, column in self.columns
        ]
        return [(name, self.text(column, old), self.text(column, new)) for name, column, old, new in both if old != new]

    def save_instance(self, instance: Binding, is_create: bool, row: Mapping[str, str], **kwargs: Any) -> None:
        # `before` holds the stored binding; `instance` is what the file wants in its place.
        wanted = instance if is_create else Binding(**self.values)
        self.rows.append(
            Row(self.row_number, self.row_key, wanted, is_create, {} if is_create else {"stored": instance})
        )

    def check_rows(self) -> None:
        self.plan = BindingPlan()
        gone: set[int] = set()
        dated: list[tuple[Any, Any, Row | None]] = []
        touched = defaultdict(list)
        for row in self.rows:
            wanted, stored = row.instance, row.before.get("stored")
            first = self.first_open_day
            if stored is None:
                column, day = "valid_from", wanted.valid_from
                self.plan.make.append(wanted)
            elif (stored.clerk_id, stored.reason) == (wanted.clerk_id, wanted.reason) and (
                wanted.valid_to < stored.valid_to
            ):
                column, day = "valid_to", wanted.valid_to
                self.plan.end.append((stored, wanted.valid_to))
            else:
                same = (stored.clerk_id, stored.reason) == (wanted.clerk_id, wanted.reason)
                column, day = "valid_to" if same else "clerk_no", stored.valid_from
                self.plan.void.append(stored)
                self.plan.make.append(wanted)
            if first and day < first:
                self.refuse(row, column, closed_month(first))
            if stored is not None:
                gone.add(stored.pk)
            touched[wanted.member_id].append(row)
        for stored in self.stored.values():
            if stored.pk not in gone and stored.member_id in touched:
                dated.append((stored.member_id, stored, None))
        dated += [(member, row.instance, row) for member, rows in touched.items() for row in rows]
        self.check_overlaps(dated)

    def write(self) -> None:
        if not self.rows:
            return
        assert self.batch is not None
        self.note_change(self.plan.carry_out(self.batch()).since)

    @property
    def bound(self) -> int:
        return len(self.plan.make)
