"""What the demo's clerks do beside selling: calls with their results, complaints, and profiles that are confirmed.

The same files and the same day give the same entries: every choice comes from a `random.Random` of the month. A clerk
with 25 key members makes some 25 calls a month, of which 17 reach the member, and confirms up to three profiles on
each working day. A store has one or two complaints a month; the last one of the open month still waits.
"""

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from django.contrib.auth.hashers import make_password
from django.db.models import Max
from django.utils import timezone

from commission.models import Attribution, Sale
from kpis.models import CareContact, MemberGroup, ProfileCheck
from kpis.upkeep import PER_DAY
from portfolios.models import Binding, Clerk, Member, Month, Posting, User
from portfolios.months import next_number

Kind, Outcome = CareContact.Kind, CareContact.Outcome

# In the last so many months of the story there is a care log, and profiles are confirmed.
CARE_MONTHS, CHECKED_MONTHS = 4, 2
# Calls go on for so many days after the last ticket, up to the day before today.
AFTERWARDS_DAYS = 30
DAY = dt.timedelta(days=1)

_OUTCOMES = {Outcome.REACHED: 68, Outcome.NOT_REACHED: 25, Outcome.WRONG_NUMBER: 3, Outcome.REFUSED: 4}
_NOTES = {
    Kind.FOLLOW_UP: (
        "降压药还够两周，月底来取。",
        "说血糖稳定，提醒下周复查空腹血糖。",
        "钙片快吃完了，会员日再来。",
        "感冒好了，谢谢关心。",
        "最近膝盖疼，约周末来店看护膝。",
        "在外地女儿家，下月初回来。",
        "问会员日折扣，已告知28日。",
        "老伴的药也想一起买，已记下药名。",
    ),
    Kind.CONSULTATION: (
        "问二甲双胍饭前还是饭后吃，请药师回复：随餐。",
        "问阿胶怎么服用，已说明。",
        "问两种感冒药能不能一起吃，已提醒成分重复。",
        "问电子血压计怎么校准，请带来店里看。",
        "问孩子退烧药的用量，请药师接听。",
    ),
    Kind.COMPLAINT: (
        "蛋白粉离保质期只剩三个月，要求换货。",
        "结账排队太久，希望多开一台收银。",
        "会员价没有打折，要求补差价。",
        "血压计用了一周数值不准，要求检修。",
        "送货晚了一天，老人没能按时吃药。",
        "处方药缺货，通知到货后没有来电话。",
    ),
}


@dataclass(frozen=True)
class _Staff:
    """A clerk with a login, its members of the whole time, and how diligent it is, from 0 to 1."""

    user: User
    clerk: Clerk
    members: Sequence[int]
    diligence: float


def write_month(month: Month, *, place: int, months: int) -> None:
    """The entries of a month of the story, before it closes; nothing where there are some already.

    `place` is the month's in the story of `months`.
    """
    if place < months - CARE_MONTHS or CareContact.objects.filter(on__range=(month.starts_on, month.ends_on)).exists():
        return
    rng = random.Random(f"care {month.name}")
    staff = _staff(month.starts_on, month.ends_on)
    days = _working_days(month)
    last = place == months - 1
    contacts = _calls(rng, staff, days, _key_members(month))
    contacts += _complaints(rng, staff, days, leave_open=last)
    CareContact.objects.bulk_create(contacts, batch_size=500)
    if place >= months - CHECKED_MONTHS:
        ProfileCheck.objects.bulk_create(_checks(rng, staff, days), batch_size=500)


def write_afterwards(month: Month, *, today: dt.date) -> None:
    """Calls between the last ticket, of this month, and today; so that today's list is that of a shop at work."""
    sold = Sale.objects.aggregate(day=Max("business_date"))["day"]
    last = min(today - DAY, sold + AFTERWARDS_DAYS * DAY)
    if last <= sold or CareContact.objects.filter(on__gt=sold).exists():
        return
    rng = random.Random(f"care after {month.name}")
    staff = _staff(month.starts_on, last)
    dates = [sold + number * DAY for number in range(1, (last - sold).days + 1)]
    # Everybody is off on two days of the week.
    days = {one.clerk.pk: [day for day in dates if (day.toordinal() + one.clerk.pk) % 7 > 1] for one in staff}
    contacts = _calls(rng, staff, days, _key_members(month))
    contacts += _complaints(rng, staff, days, leave_open=True)
    CareContact.objects.bulk_create(contacts, batch_size=500)


# --- Who -------------------------------------------------------------------------------------------------------------


def _staff(first: dt.date, last: dt.date) -> list[_Staff]:
    """The clerks with members from the first day to the last, by number. Their logins have no password."""
    clerks = list(Clerk.objects.order_by("clerk_no").select_related("user"))
    missing = [clerk for clerk in clerks if not hasattr(clerk, "user")]
    User.objects.bulk_create(
        User(username=clerk.clerk_no.lower(), clerk=clerk, password=make_password(None)) for clerk in missing
    )
    users = {user.clerk_id: user for user in User.objects.filter(clerk__isnull=False)}
    members: dict[int, list[int]] = defaultdict(list)
    bound = Binding.objects.valid().filter(
        valid_from__lte=first, valid_to__gt=last, member__counted_to__gt=last, clerk__in=clerks
    )
    for clerk, member in bound.order_by("member__member_no").values_list("clerk", "member"):
        members[clerk].append(member)
    return [
        _Staff(users[clerk.pk], clerk, members[clerk.pk], 0.6 + 0.38 * random.Random(clerk.clerk_no).random())
        for clerk in clerks
        if clerk.pk in members
    ]


def _key_members(month: Month) -> dict[int, str]:
    """The A and B members at the end of the month before, with their tier."""
    groups = MemberGroup.objects.filter(month=next_number(month.pk, -1), closing_tier__in=("A", "B"))
    return {key: group.closing_tier for group in groups for key in group.keys}


def _working_days(month: Month) -> dict[int, list[dt.date]]:
    """By clerk, the days on which something was sold by them."""
    served = Attribution.objects.filter(
        month=month, business_date__range=(month.starts_on, month.ends_on), server__isnull=False
    )
    days: dict[int, list[dt.date]] = defaultdict(list)
    for server, day in served.order_by("server", "business_date").values_list("server", "business_date").distinct():
        days[server].append(day)
    return days


# --- What ------------------------------------------------------------------------------------------------------------


def _calls(
    rng: random.Random, staff: Sequence[_Staff], days: Mapping[int, Sequence[dt.date]], tiers: Mapping[int, str]
) -> list[CareContact]:
    """One or two calls a working day: whoever agreed to one first, then A members twice as often as B members."""
    contacts = []
    agreed = dict(CareContact.objects.order_by("on", "pk").values_list("member", "next_on"))
    for one in staff:
        own = [member for member in one.members if member in tiers]
        waiting = [member for member in own for _time in range(2 if tiers[member] == "A" else 1)]
        if not waiting:
            continue
        rng.shuffle(waiting)
        members = cycle(waiting)
        for day in days.get(one.clerk.pk, ()):
            due = [member for member in one.members if (on := agreed.get(member)) and on <= day]
            for _call in range((rng.random() < one.diligence) + (rng.random() < 0.3)):
                contact = _call_of(rng, one, due.pop() if due else next(members), day)
                agreed[contact.member_id] = contact.next_on
                contacts.append(contact)
    return contacts


def _call_of(rng: random.Random, one: _Staff, member: int, day: dt.date) -> CareContact:
    kind = Kind.CONSULTATION if rng.random() < 0.15 else Kind.FOLLOW_UP
    (outcome,) = rng.choices(list(_OUTCOMES), list(_OUTCOMES.values()))
    if kind == Kind.CONSULTATION:
        outcome = Outcome.REACHED
    reached = outcome == Outcome.REACHED
    return CareContact(
        member_id=member,
        recorded_by=one.user,
        on=day,
        kind=kind,
        outcome=outcome,
        note=rng.choice(_NOTES[kind]) if reached and rng.random() < 0.7 else "",
        next_on=day + rng.randrange(7, 36) * DAY if reached and rng.random() < 0.12 else None,
    )


def _complaints(
    rng: random.Random, staff: Sequence[_Staff], days: Mapping[int, Sequence[dt.date]], *, leave_open: bool
) -> list[CareContact]:
    """One or two in each store, closed by its manager some days later; with `leave_open` the last one is not."""
    homes = dict(
        Posting.objects.clerk_postings().order_by("clerk", "valid_from").values_list("clerk", "store"),
    )
    managers = dict(
        Posting.objects.filter(role=Posting.Role.MANAGER, clerk__user__isnull=False)
        .order_by("store", "valid_from")
        .values_list("store", "clerk__user"),
    )
    contacts = []
    for store in sorted(managers):
        clerks = [one for one in staff if homes.get(one.clerk.pk) == store and days.get(one.clerk.pk)]
        chosen = [rng.choice(clerks) for _number in range(rng.randrange(1, 3))] if clerks else []
        told = sorted(((rng.choice(days[one.clerk.pk]), place, one) for place, one in enumerate(chosen)))
        notes = rng.sample(_NOTES[Kind.COMPLAINT], len(told))
        for (day, place, one), note in zip(told, notes, strict=True):
            closed_on = day + rng.randrange(1, 6) * DAY
            waits = (leave_open and place == told[-1][1]) or closed_on >= timezone.localdate()
            contacts.append(
                CareContact(
                    member_id=rng.choice(one.members),
                    recorded_by=one.user,
                    on=day,
                    kind=Kind.COMPLAINT,
                    outcome=Outcome.REACHED,
                    note=note,
                    closed_at=None if waits else timezone.make_aware(dt.datetime.combine(closed_on, dt.time(16, 30))),
                    closed_by_id=None if waits else managers[store],
                )
            )
    return contacts


def _checks(
    rng: random.Random, staff: Sequence[_Staff], days: Mapping[int, Sequence[dt.date]]
) -> Iterator[ProfileCheck]:
    """Up to three profiles a working day, each member's once; all three on the last days, so that there are streaks."""
    checked = set(ProfileCheck.objects.values_list("member", flat=True))
    whole = Member.objects.exclude(phone="").exclude(neighbourhood="")
    complete = set(whole.order_by().values_list("pk", flat=True))
    for one in staff:
        members = [member for member in one.members if member in complete and member not in checked]
        rng.shuffle(members)
        worked = days.get(one.clerk.pk, ())
        streak = worked[len(worked) - rng.randrange(1, 9) :] if worked else ()
        for day in worked:
            asked = PER_DAY if day in streak or rng.random() < one.diligence else rng.randrange(PER_DAY)
            for member in members[:asked]:
                yield ProfileCheck(
                    member_id=member,
                    clerk=one.clerk,
                    on=day,
                    outcome=ProfileCheck.Outcome.CONFIRMED,
                    recorded_by=one.user,
                )
            del members[:asked]
