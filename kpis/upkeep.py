"""Profile upkeep: three members a working day whose phone and neighbourhood a clerk confirms or puts right.

A working day is one with a ticket that the clerk served. A member counts once a month, on the day of its first check;
of a day three count. Four working days with 3, 5, 1 and 0 checks are 3 + 3 + 1 + 0 = 7 of 12, 58.33%; what was checked
on a day off adds nothing. Stale profiles are asked for first.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from auditlog.models import LogEntry
from django.conf import settings
from django.db import transaction
from django.db.models import Min, Q, QuerySet
from django.db.models.enums import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commission.models import Attribution
from commission.money import round_half_away
from kpis.activity import PURCHASE
from kpis.care_list import cared_for, wrong_since
from kpis.models import CareContact, MemberFigures, ProfileCheck
from portfolios.enrolment import EnrolmentRefused, KnownCard, find_by_phone, hold_enrolments, phone_number
from portfolios.models import Clerk, Member, Month, User
from portfolios.months import month_days, month_number, next_number
from portfolios.roster_files import RowProblem, TextCell
from portfolios.sentences import joined

PER_DAY = 3
# A streak is followed back for so many months.
STREAK_MONTHS = 12

Outcome = ProfileCheck.Outcome


class ProfileError(ValueError):
    """A profile that can't be confirmed or put right so; the message says why and what to do, `field` where."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class PhoneTaken(ProfileError):
    """Other open cards have this phone; `cards` says whose they are."""

    def __init__(self, cards: list[KnownCard]) -> None:
        super().__init__(_("Another card has this phone: nothing was changed."), field="phone")
        self.cards = cards


# --- Which profiles to ask for ---------------------------------------------------------------------------------------


class Stale(TextChoices):
    """Why a profile is asked for, the most pressing first."""

    WRONG_NUMBER = "wrong_number", gettext_lazy("the phone is a wrong number")
    INCOMPLETE = "incomplete", gettext_lazy("phone or neighbourhood is missing")
    NEVER = "never", gettext_lazy("never confirmed")
    OLD = "old", gettext_lazy("confirmed long ago")


@dataclass(frozen=True)
class Profile:
    """A member's profile: why it is stale (None: it isn't), and when it was last checked."""

    member: Member
    figures: MemberFigures | None
    stale: Stale | None
    checked_on: dt.date | None


def profiles(clerk: Clerk, today: dt.date) -> list[Profile]:
    """The profiles of the clerk's members, stale ones first; of the same kind the older check, then the better tier."""
    return sorted(_profiles(cared_for(clerk, today), today), key=_pressing)


def profile_of(member: Member, clerk: Clerk, today: dt.date) -> Profile | None:
    """The profile of one of the clerk's members; None for anybody else's."""
    return next(iter(_profiles(cared_for(clerk, today).filter(pk=member.pk), today)), None)


def _profiles(members: QuerySet[Member], today: dt.date) -> list[Profile]:
    asked = list(members)
    last = CareContact.objects.in_bulk([m.last_id for m in asked if m.last_id])  # type: ignore[attr-defined]
    found = []
    for member in asked:
        checked_on: dt.date | None = member.checked_on  # type: ignore[attr-defined]
        wrong = wrong_since(last.get(member.last_id), checked_on)  # type: ignore[attr-defined]
        stale = _stale(member, checked_on, wrong, today)
        found.append(Profile(member, getattr(member, "figures", None), stale, checked_on))
    return found


def _stale(member: Member, checked_on: dt.date | None, wrong_number: bool, today: dt.date) -> Stale | None:
    if wrong_number:
        return Stale.WRONG_NUMBER
    if not (member.phone and member.neighbourhood):
        return Stale.INCOMPLETE
    if checked_on is None:
        return Stale.NEVER
    return Stale.OLD if fresh_until(checked_on) <= today else None


def fresh_until(checked_on: dt.date) -> dt.date:
    """The day from which a profile that was checked on a day is stale again."""
    return checked_on + dt.timedelta(days=settings.PROFILE_STALE_DAYS)


def _pressing(profile: Profile) -> tuple[int, dt.date, str, int, str]:
    kinds = list(Stale)
    figures = profile.figures
    return (
        kinds.index(profile.stale) if profile.stale else len(kinds),
        profile.checked_on or dt.date.min,
        figures.tier if figures else "Z",
        -figures.spend_amount if figures else 0,
        profile.member.member_no,
    )


# --- Confirming and putting right -------------------------------------------------------------------------------------


@transaction.atomic
def confirm(member: Member, *, by: User, on: dt.date) -> ProfileCheck:
    """Keeps that phone and neighbourhood are right.

    Raises ProfileError for who is not the clerk's member, and for a profile that is incomplete, has a wrong number or
    was confirmed lately.
    """
    clerk, profile = _hold(member, by, on)
    if profile.stale is Stale.INCOMPLETE:
        raise ProfileError(_("Phone and neighbourhood are not both there: ask for what is missing."))
    if profile.stale is Stale.WRONG_NUMBER:
        raise ProfileError(_("The last call found a wrong number: ask for the right one."), field="phone")
    if profile.stale is None and profile.checked_on:
        raise ProfileError(
            _("This profile was confirmed on %(day)s: it is asked for again from %(again)s on.")
            % {"day": profile.checked_on, "again": fresh_until(profile.checked_on)}
        )
    return ProfileCheck.objects.create(member=member, clerk=clerk, on=on, outcome=Outcome.CONFIRMED, recorded_by=by)


@transaction.atomic
def correct(
    member: Member, *, by: User, on: dt.date, phone: str, neighbourhood: str, another_person: bool = False
) -> ProfileCheck:
    """Puts phone (empty: it is right) and neighbourhood right; what they were is in the audit log.

    Where nothing is different it is a confirmation. Raises PhoneTaken where other open cards have the phone, unless
    it is `another_person`; ProfileError for what is missing or wrong.
    """
    # Enrolments look for the same phones: one comes after the other.
    hold_enrolments()
    clerk, profile = _hold(member, by, on)
    unasked = not phone.strip() and member.phone
    if unasked and profile.stale is Stale.WRONG_NUMBER:
        raise ProfileError(_("The last call found a wrong number: ask for the right one."), field="phone")
    wanted = {
        "phone": member.phone if unasked else _phone(phone),
        "neighbourhood": _neighbourhood(neighbourhood),
    }
    changes = {name: [getattr(member, name), new] for name, new in wanted.items() if getattr(member, name) != new}
    if not changes and profile.stale is not Stale.WRONG_NUMBER:
        return confirm(member, by=by, on=on)
    if "phone" in changes and not another_person and (cards := find_by_phone(wanted["phone"], on=on, besides=member)):
        raise PhoneTaken(cards)
    if changes:
        Member.objects.filter(pk=member.pk).update(**wanted)
        LogEntry.objects.log_create(member, action=LogEntry.Action.UPDATE, changes=changes, actor=by)
    # A number that was called wrong and is given once more is right after all.
    outcome = Outcome.CORRECTED if changes else Outcome.CONFIRMED
    return ProfileCheck.objects.create(member=member, clerk=clerk, on=on, outcome=outcome, recorded_by=by)


def _hold(member: Member, by: User, on: dt.date) -> tuple[Clerk, Profile]:
    """The clerk and the profile as it is now, with the member held until the transaction ends."""
    now = Member.objects.select_for_update(of=("self",)).get(pk=member.pk)
    member.phone, member.neighbourhood = now.phone, now.neighbourhood
    profile = profile_of(member, by.clerk, on) if by.clerk else None
    if by.clerk is None or profile is None:
        raise ProfileError(_("%(member)s is not your member: its owner confirms the details.") % {"member": member})
    return by.clerk, profile


def _phone(text: str) -> str:
    try:
        return phone_number(text)
    except EnrolmentRefused as refusal:
        raise ProfileError(str(refusal), field="phone") from refusal


def _neighbourhood(text: str) -> str:
    if not text.strip():
        raise ProfileError(_("Enter the neighbourhood where the member lives."), field="neighbourhood")
    try:
        return str(TextCell(100, required=True).clean(text.strip()))
    except RowProblem as problem:
        raise ProfileError(joined(problem.reason, problem.remedy), field="neighbourhood") from problem


# --- How far: today, the streak, the month ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """A clerk's day: how many profiles, and how many working days in a row had all three.

    Today belongs to the streak once its three are done, and doesn't break it before.
    """

    done: int
    streak: int

    @property
    def per_day(self) -> int:
        return PER_DAY

    @property
    def left(self) -> int:
        return max(0, PER_DAY - self.done)


@dataclass(frozen=True)
class MonthUpkeep:
    """A clerk's month: working days, profiles that count of PER_DAY on each, and the days that had all of them."""

    clerk_id: int
    working_days: int
    done: int
    full_days: int

    @property
    def due(self) -> int:
        return self.working_days * PER_DAY

    @property
    def rate_bp(self) -> int:
        """What was done of what was due, in basis points; there is always a working day."""
        return round_half_away(self.done * 10_000, self.due)


def progress(clerk: Clerk, today: dt.date) -> Progress:
    """How far the clerk is today."""
    number, streak, done_today = month_number(today), 0, 0
    for back in range(STREAK_MONTHS):
        first, last = month_days(next_number(number, -back))
        checks = _checks_by_day(clerk, first, last)
        if back == 0:
            done_today = checks[today]
        days = {day for day in _working_days(next_number(number, -back), clerk) if day < today}
        if back == 0 and done_today >= PER_DAY:
            days.add(today)
        for day in sorted(days, reverse=True):
            if checks[day] < PER_DAY:
                return Progress(done_today, streak)
            streak += 1
        if back and not days:
            break
    return Progress(done_today, streak)


def _checks_by_day(clerk: Clerk, first: dt.date, last: dt.date) -> Counter[dt.date]:
    checks = _first_checks(first, last).filter(clerk=clerk)
    return Counter(row["first"] for row in checks)


def _first_checks(first: dt.date, last: dt.date) -> QuerySet[ProfileCheck, Any]:
    """Each clerk's members checked in the days from first to last, with the first day of each."""
    checks = ProfileCheck.objects.filter(on__range=(first, last)).order_by()
    return checks.values("clerk", "member").annotate(first=Min("on"))


def worked_in(number: int) -> Q:
    """Which attributions of a month make a working day of the one who served: sold in it, and as it stands."""
    reversed_rows = Attribution.objects.filter(reverses=True, corrects__isnull=False).values("corrects")
    return (
        PURCHASE
        & Q(business_date__range=month_days(number), server__isnull=False, reverses=False)
        & ~Q(pk__in=reversed_rows)
    )


def _working(number: int) -> QuerySet[Attribution, Any]:
    """Who served on which day of a month, each pair once."""
    sold = Attribution.objects.filter(worked_in(number), month=number).order_by()
    return sold.values_list("server", "business_date").distinct()


def _working_days(number: int, clerk: Clerk) -> set[dt.date]:
    return {day for _clerk, day in _working(number).filter(server=clerk)}


def month_upkeep(
    month: Month, *, clerk: Clerk | None = None, working: Iterable[tuple[int, dt.date]] | None = None
) -> list[MonthUpkeep]:
    """Every clerk's upkeep of a month (or the one clerk's), by clerk; whoever served nobody in it is not there.

    Of an open month: so far. `working` are the clerks' working days, where they have been read already.
    """
    checks = _first_checks(month.starts_on, month.ends_on)
    if clerk:
        checks = checks.filter(clerk=clerk)
    if working is None:
        working = _working(month.pk).filter(server=clerk) if clerk else _working(month.pk)
    worked = set(working)
    checked = Counter((row["clerk"], row["first"]) for row in checks)
    done, full = Counter[int](), Counter[int]()
    for (clerk_id, day), count in checked.items():
        if (clerk_id, day) in worked:
            done[clerk_id] += min(PER_DAY, count)
            full[clerk_id] += count >= PER_DAY
    days = Counter(clerk_id for clerk_id, _day in worked)
    return [MonthUpkeep(clerk_id, days[clerk_id], done[clerk_id], full[clerk_id]) for clerk_id in sorted(days)]
