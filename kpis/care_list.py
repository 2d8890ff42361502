"""Whom a clerk should talk to today, and why: at risk, agreed, birthdays, and key members whose next talk is due.

A talk is a contact that reached the member, or was refused. An A member is due 30 days after the last one, a B member
60 (settings), at once without any: reached on 2026-10-01, an A member is due on 2026-10-31. A next date that was agreed
in the last contact counts instead. A call that reached nobody is tried again after three days, a wrong number not
before the phone is put right.
"""

import datetime as dt
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models import Max, OuterRef, QuerySet, Subquery
from django.db.models.enums import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kpis.care_models import ProfileCheck
from kpis.member_figures import figures_as_of
from kpis.models import CareContact, MemberFigures
from portfolios.models import Binding, Clerk, Member, on_date
from portfolios.phones import masked

Outcome = CareContact.Outcome

# Days until a call that reached nobody is tried again.
RETRY_DAYS = 3
# Birthdays of today and so many days ahead are on the list.
BIRTHDAY_DAYS = 7
TALKS = (Outcome.REACHED, Outcome.REFUSED)


class Why(TextChoices):
    """What puts a member on the list; of several, the first."""

    AT_RISK = "at_risk", gettext_lazy("At risk")
    AGREED = "agreed", gettext_lazy("Agreed")
    BIRTHDAY = "birthday", gettext_lazy("Birthdays")
    DUE = "due", gettext_lazy("Due")


def talk_every() -> dict[str, int]:
    """Days from one talk to the next, by tier; C members have no such rhythm."""
    return {"A": settings.CARE_A_DAYS, "B": settings.CARE_B_DAYS}


@dataclass(frozen=True)
class Known:
    """What the rule knows of a member. `talked_on` is the last talk's day, `checked_on` the last profile check's.

    `at_risk_on` is set where the member is at risk now.
    """

    tier: str = ""
    at_risk_on: dt.date | None = None
    birth_date: dt.date | None = None
    last: CareContact | None = None
    talked_on: dt.date | None = None
    checked_on: dt.date | None = None

    @property
    def wrong_number(self) -> bool:
        """The last call found a wrong number, and the profile was not checked since."""
        return wrong_since(self.last, self.checked_on)


@dataclass(frozen=True)
class Reason:
    """Why a member is on the list, and since or on which day; a birthday's may lie ahead.

    The day of a key member whom nobody has talked to yet is None.
    """

    why: Why
    day: dt.date | None


def wrong_since(last: CareContact | None, checked_on: dt.date | None) -> bool:
    """Whether the last contact found a wrong number that no profile check has put right."""
    if last is None or last.outcome != Outcome.WRONG_NUMBER:
        return False
    return checked_on is None or checked_on < last.on


def reasons(known: Known, today: dt.date) -> list[Reason]:
    """All that puts a member on today's list, the first of `Why` first; nothing for who is not to be called."""
    if known.wrong_number:
        return []
    found = []
    birthday = next_birthday(known.birth_date, today) if known.birth_date else None
    greeted_from = birthday - dt.timedelta(days=BIRTHDAY_DAYS) if birthday else today
    last, waits = known.last, False
    # Who was not reached today is congratulated tomorrow.
    greeted = bool(known.talked_on and known.talked_on >= greeted_from) or bool(last and last.on == today)
    if birthday and greeted_from <= today and not greeted:
        found.append(Reason(Why.BIRTHDAY, birthday))
    if last and last.next_on:
        waits = last.next_on > today
        if not waits:
            found.append(Reason(Why.AGREED, last.next_on))
    elif last and last.outcome == Outcome.NOT_REACHED:
        waits = last.on + dt.timedelta(days=RETRY_DAYS) > today
    if not waits:
        if known.at_risk_on and not (known.talked_on and known.talked_on >= known.at_risk_on):
            found.append(Reason(Why.AT_RISK, known.at_risk_on))
        if (every := talk_every().get(known.tier)) and not (last and last.next_on):
            due_on = known.talked_on + dt.timedelta(days=every) if known.talked_on else None
            if due_on is None or due_on <= today:
                found.append(Reason(Why.DUE, due_on))
    order = list(Why)
    return sorted(found, key=lambda reason: order.index(reason.why))


def next_birthday(birth_date: dt.date, today: dt.date) -> dt.date:
    """The next birthday, today's too; whoever was born on 29 February has it on the 28th in other years."""
    for year in (today.year, today.year + 1):
        try:
            birthday = birth_date.replace(year=year)
        except ValueError:
            birthday = dt.date(year, 2, 28)
        if birthday >= today:
            return birthday
    raise AssertionError("a year has a birthday")


@dataclass(frozen=True)
class Call:
    """A member on the list: why, and the last talk."""

    member: Member
    figures: MemberFigures | None
    reasons: list[Reason]
    last_talk: CareContact | None

    @property
    def why(self) -> Why:
        return self.reasons[0].why

    @property
    def phone(self) -> str:
        """Masked: the whole number is on the member's page, where who reads it is on record."""
        return masked(self.member.phone)

    def sentences(self, today: dt.date) -> list[str]:
        """Each reason in a sentence."""
        return [_sentence(reason, self.figures, today) for reason in self.reasons]


def _sentence(reason: Reason, figures: MemberFigures | None, today: dt.date) -> str:
    facts = {
        "day": reason.day,
        "tier": figures.tier if figures else "",
        "bought": figures.last_purchase_on if figures else None,
        "birthday": f"{reason.day:%m-%d}" if reason.day else "",
    }
    match reason.why:
        case Why.AT_RISK:
            return _("At risk since %(day)s: last bought on %(bought)s.") % facts
        case Why.AGREED:
            return _("Agreed for %(day)s.") % facts
        case Why.BIRTHDAY:
            return _("Birthday today.") if reason.day == today else _("Birthday on %(birthday)s.") % facts
        case Why.DUE:
            if reason.day is None:
                return _("%(tier)s member: no talk on record yet.") % facts
            return _("%(tier)s member: the next talk was due on %(day)s.") % facts


@dataclass
class CareList:
    """A clerk's list of a day; `groups` are those with members, in the order in which to call."""

    groups: list[tuple[Why, list[Call]]] = field(default_factory=list)

    @property
    def counts(self) -> list[tuple[Why, int]]:
        return [(why, len(calls)) for why, calls in self.groups]


def care_list(clerk: Clerk, today: dt.date) -> CareList:
    """Whom the clerk should talk to on a day. In a group the better tier comes first, then whoever waits longest."""
    as_of = figures_as_of()
    members = list(cared_for(clerk, today))
    contacts = CareContact.objects.select_related("recorded_by__clerk").in_bulk(
        [pk for member in members for pk in (member.last_id, member.talk_id) if pk]  # type: ignore[attr-defined]
    )
    by_why: dict[Why, list[Call]] = {why: [] for why in Why}
    for member in members:
        figures = getattr(member, "figures", None)
        talk = contacts.get(member.talk_id)  # type: ignore[attr-defined]
        known = Known(
            tier=figures.tier if figures else "",
            at_risk_on=at_risk_since(figures, as_of),
            birth_date=member.birth_date,
            last=contacts.get(member.last_id),  # type: ignore[attr-defined]
            talked_on=talk.on if talk else None,
            checked_on=member.checked_on,  # type: ignore[attr-defined]
        )
        if found := reasons(known, today):
            call = Call(member, figures, found, talk)
            by_why[call.why].append(call)
    for why, calls in by_why.items():
        calls.sort(key=_by_day if why is Why.BIRTHDAY else _by_tier)
    return CareList([(why, calls) for why, calls in by_why.items() if calls])


def cared_for(clerk: Clerk, today: dt.date) -> QuerySet[Member]:
    """The clerk's members on a day, each with `last_id` (its last contact), `talk_id` (its last talk) and
    `checked_on` (its last profile check)."""
    owned = Binding.objects.valid().filter(on_date(today), clerk=clerk).order_by().values("member")
    contacts = CareContact.objects.filter(member=OuterRef("pk")).order_by("-on", "-pk")
    checks = ProfileCheck.objects.filter(member=OuterRef("pk")).order_by().values("member")
    return (
        Member.objects.counting(today)
        .filter(pk__in=owned)
        .select_related("figures")
        .annotate(
            last_id=Subquery(contacts.values("pk")[:1]),
            talk_id=Subquery(contacts.filter(outcome__in=TALKS).values("pk")[:1]),
            checked_on=Subquery(checks.annotate(day=Max("on")).values("day")),
        )
    )


def at_risk_since(figures: MemberFigures | None, as_of: dt.date | None) -> dt.date | None:
    """Since when the member is at risk by its own rhythm; None where it is not."""
    risk = figures.at_risk_on if figures else None
    return risk if risk and as_of and risk <= as_of else None


def _by_tier(call: Call) -> tuple[str, dt.date, int, str]:
    tier, spend = (call.figures.tier, call.figures.spend_amount) if call.figures else ("Z", 0)
    return tier, call.reasons[0].day or dt.date.min, -spend, call.member.member_no


def _by_day(call: Call) -> tuple[dt.date, str]:
    return call.reasons[0].day or dt.date.min, call.member.member_no
