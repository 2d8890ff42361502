"""Every change of who owns whom: enrolments, assign, end, undo; one BindingBatch for all that an action did.

A binding is ended or voided, never edited or deleted: 李娜's [2026-03-01, open) becomes [2026-03-01, 2026-06-01) when
王伟 takes over from 2026-06-01, and is voided when he takes over from 2026-03-01, which leaves it no day. Members and
clerks are given by primary key; whoever calls opens the transaction.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from django.db.models import F, Q
from django.utils.translation import gettext as _

from portfolios.models import OPEN_END, Binding, BindingBatch, Member
from portfolios.months import first_open_day, require_open

# Numbers in one statement: well under the variables that either database allows.
_CHUNK = 10_000


class BindingError(ValueError):
    """A binding that cannot be made; the message says whose, why and what to do."""


@dataclass
class BindingChanges:
    """What was done to bindings; `since` is the first date on which an owner may have changed."""

    made: int = 0
    ended: int = 0
    voided: int = 0
    since: dt.date | None = None

    def __add__(self, other: "BindingChanges") -> "BindingChanges":
        dates = [day for day in (self.since, other.since) if day]
        return BindingChanges(
            self.made + other.made, self.ended + other.ended, self.voided + other.voided, min(dates, default=None)
        )


@dataclass
class BindingPlan:
    """Bindings to void, to end and to make, worked out before any is written."""

    void: list[Binding] = field(default_factory=list)
    end: list[tuple[Binding, dt.date]] = field(default_factory=list)
    make: list[Binding] = field(default_factory=list)

    def cut(self, binding: Binding, on: dt.date) -> None:
        """Leaves the binding its days before `on`: ended, or voided where it has none."""
        if binding.valid_from >= on:
            self.void.append(binding)
        else:
            self.end.append((binding, on))

    def restore(self, binding: Binding, valid_from: dt.date, valid_to: dt.date) -> None:
        """Binds the member again as it was, for these days."""
        self.make.append(
            Binding(
                member_id=binding.member_id,
                clerk_id=binding.clerk_id,
                valid_from=valid_from,
                valid_to=valid_to,
                reason=Binding.Reason.UNDO,
            )
        )

    def carry_out(self, batch: BindingBatch, progress: Callable[[int, int], None] | None = None) -> BindingChanges:
        """Voids, ends and makes, in this order, so that no two owners meet.

        Raises MonthError where one of them would change a day of a closed month.
        """
        dates = [binding.valid_from for binding in (*self.void, *self.make)] + [on for _binding, on in self.end]
        if not dates:
            return BindingChanges()
        since = min(dates)
        require_open(since, _("The change of bindings"))
        for keys in _chunks([binding.pk for binding in self.void]):
            Binding.objects.filter(pk__in=keys).update(voided_by=batch)
        by_end = defaultdict(list)
        for binding, on in self.end:
            by_end[on].append(binding.pk)
        for on, ending in by_end.items():
            for keys in _chunks(ending):
                Binding.objects.filter(pk__in=keys).update(valid_to=on, ended_by=batch, former_valid_to=F("valid_to"))
        for binding in self.make:
            binding.batch = batch
        for start in range(0, len(self.make), 2_000):
            Binding.objects.bulk_create(self.make[start : start + 2_000])
            if progress:
                progress(min(start + 2_000, len(self.make)), len(self.make))
        return BindingChanges(len(self.make), len(self.end), len(self.void), since)


def _chunks(keys: Collection[int]) -> Iterator[list[int]]:
    ordered = list(keys)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def _members(keys: Collection[int]) -> Iterator[Member]:
    for chunk in _chunks(keys):
        yield from Member.objects.filter(pk__in=chunk).order_by("pk")


def _bindings(members: Collection[int], *, after: dt.date) -> dict[int, list[Binding]]:
    """The members' bindings that have days on or after a date, in the order of the dates."""
    found = defaultdict(list)
    for chunk in _chunks(members):
        for binding in Binding.objects.valid().filter(member__in=chunk, valid_to__gt=after).order_by("valid_from"):
            found[binding.member_id].append(binding)
    return found


def enrolments(members: Iterable[Member]) -> BindingPlan:
    """Each member's binding to the clerk who enrolled it: from the day it counts, or the first open day if later.

    A member with a binding, or whose card is closed by then, is passed over.
    """
    first = first_open_day()
    enrolled = [
        (member, member.enrolled_by_id, max(member.counted_from, first or member.counted_from))
        for member in members
        if member.enrolled_by_id is not None
    ]
    bound: set[int] = set()
    for chunk in _chunks([member.pk for member, _clerk, _start in enrolled]):
        bound.update(Binding.objects.valid().filter(member__in=chunk).values_list("member", flat=True))
    return BindingPlan(
        make=[
            Binding(
                member=member,
                clerk_id=clerk,
                valid_from=start,
                valid_to=member.counted_to,
                reason=Binding.Reason.ENROLMENT,
            )
            for member, clerk, start in enrolled
            if member.pk not in bound and start < member.counted_to
        ]
    )


def assign(
    owners: Mapping[int, int],
    *,
    on: dt.date,
    reason: Binding.Reason | Mapping[int, Binding.Reason],
    batch: BindingBatch,
    keep_later: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> BindingChanges:
    """Binds each member to its clerk from `on`, or from the day it counts if that is later, until its card closes.

    What runs on that day ends; what begins later is voided, or with `keep_later` takes over on its day as recorded.
    A member whom the clerk owns already, with nothing later, is left as it is. `reason` is one for all or one per
    member; `progress` is told how many of the new bindings are written. Raises BindingError for a card that is closed
    by then, MonthError for a date in a closed month.
    """
    require_open(on, _("The assignment"))
    there = _bindings(owners, after=on)
    plan = BindingPlan()
    for member in _members(owners):
        start = max(on, member.counted_from)
        if start >= member.counted_to:
            raise BindingError(
                _("Member %(number)s is closed since %(day)s and can't be bound from %(start)s: leave the card out.")
                % {"number": member.member_no, "day": member.counted_to, "start": start}
            )
        end = member.counted_to
        current = [binding for binding in there[member.pk] if binding.valid_to > start]
        later = [binding for binding in current if binding.valid_from > start]
        if keep_later and later:
            end = later[0].valid_from
            current = [binding for binding in current if binding.valid_from <= start]
        running = [(binding.clerk_id, binding.valid_to) for binding in current if binding.valid_from <= start]
        if running == [(owners[member.pk], end)]:
            continue
        for binding in current:
            plan.cut(binding, start)
        plan.make.append(
            Binding(
                member=member,
                clerk_id=owners[member.pk],
                valid_from=start,
                valid_to=end,
                reason=reason[member.pk] if isinstance(reason, Mapping) else reason,
            )
        )
    return plan.carry_out(batch, progress)


def end(members: Collection[int], *, on: dt.date, batch: BindingBatch) -> BindingChanges:
    """Sends the members to the unassigned list from `on`: what runs ends, what begins later is voided.

    Raises MonthError for a date in a closed month.
    """
    require_open(on, _("The end of the bindings"))
    plan = BindingPlan()
    for bindings in _bindings(members, after=on).values():
        for binding in bindings:
            plan.cut(binding, on)
    return plan.carry_out(batch)


def plan_undo(batch: BindingBatch) -> BindingPlan:
    """What taking a batch back would do, from its own dates on: void what it made, bind again what it ended or voided.

    Raises BindingError where a later batch has touched one of the members, or there is nothing to take back; MonthError
    where it reaches into a closed month.
    """
    made = list(Binding.objects.filter(batch=batch))
    ended = list(Binding.objects.filter(ended_by=batch))
    voided = list(Binding.objects.filter(voided_by=batch))
    if not (made or ended or voided):
        raise BindingError(_("This change moved no member: there is nothing to take back."))
    touched = {binding.member_id for binding in (*made, *ended, *voided)}
    later = Q(batch__gt=batch) | Q(ended_by__gt=batch) | Q(voided_by__gt=batch)
    built_on: set[int] = set()
    for chunk in _chunks(touched):
        built_on.update(Binding.objects.filter(later, member__in=chunk).values_list("member", flat=True))
    if built_on:
        first = Member.objects.filter(pk__in=sorted(built_on)[:_CHUNK]).order_by("member_no")[0]
        raise BindingError(
            _(
                "This change can't be taken back as a whole any more: %(count)d of its members were changed again "
                "afterwards, %(number)s among them. Reassign those that are wrong."
            )
            % {"count": len(built_on), "number": first.member_no}
        )
    plan = BindingPlan(void=made)
    for binding in ended:
        plan.restore(binding, binding.valid_to, binding.former_valid_to or OPEN_END)
    for binding in voided:
        plan.restore(binding, binding.valid_from, binding.valid_to)
    require_open(min(binding.valid_from for binding in (*plan.void, *plan.make)), _("The change to take back"))
    return plan


def undo(batch: BindingBatch, back: BindingBatch) -> BindingChanges:
    """Takes a batch back as `plan_undo` says; `back` is the batch that does so, with `undoes` set; it is saved here."""
    plan = plan_undo(batch)
    back.save()
    return plan.carry_out(back)


def end_with_cards(members: Collection[int], *, batch: BindingBatch) -> BindingChanges:
    """Ends the bindings that outlast their members' closed cards, on the first day that no longer counts."""
    plan = BindingPlan()
    for chunk in _chunks(members):
        outlasting = Binding.objects.valid().filter(
            Q(member__in=chunk), ~Q(member__counted_to=OPEN_END), valid_to__gt=F("member__counted_to")
        )
        for binding in outlasting.select_related("member"):
            plan.cut(binding, binding.member.counted_to)
    return plan.carry_out(batch)
