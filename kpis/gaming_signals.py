"""Figures of a clerk's month that stand out from the rest of the store, each with what it counts. None proves anything.

A rate is compared with that of the clerks who have the same home store: of 40 members whom 李娜 enrolled 12 have not
bought since (30%), of 120 of the others 9 (7.5%), and 30% is four times as much. A signal takes SIGNAL_AT_LEAST hits
(3) and SIGNAL_RATE_PERCENT of the others' rate (200), or half of all, or the number alone; below SIGNAL_SMALL_SAMPLE
(20) it is marked as small. Nothing follows from it by itself.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from commission.corrections import standing
from commission.models import Attribution, Sale, SalePart, TicketCorrection
from kpis.activity import PURCHASE
from kpis.models import Signal, SignalsRefresh
from portfolios.enrolment import SOURCE as AT_THE_COUNTER
from portfolios.models import Binding, Member, Month
from portfolios.months import next_number
from portfolios.postings import postings_in

Kind = Signal.Kind

# A ticket until so long after an enrolment whose time is known was under way when the card was made.
AT_THE_TILL = dt.timedelta(minutes=15)
SHIFT = dt.timedelta(hours=8)
# Purchases from so many days before a reassignment count as bought before it.
DAYS_BEFORE = 30
_CHUNK = 500

# Rows with `who`, the clerk's key, and `thing`, the key of what is listed as evidence.
Rows = QuerySet[Any, Any]


@dataclass(frozen=True)
class Limits:
    """From when a figure is a signal, by the settings; `large_amount` in minor units."""

    at_least: int
    rate_percent: int
    small_sample: int
    large_amount: int
    quiet_days: int
    return_days: int


def limits() -> Limits:
    return Limits(
        at_least=settings.SIGNAL_AT_LEAST,
        rate_percent=settings.SIGNAL_RATE_PERCENT,
        small_sample=settings.SIGNAL_SMALL_SAMPLE,
        large_amount=settings.SIGNAL_LARGE_AMOUNT,
        quiet_days=settings.SIGNAL_QUIET_DAYS,
        return_days=settings.SIGNAL_RETURN_DAYS,
    )


@dataclass
class Figure:
    """One clerk's figure, and that of the rest of the store."""

    hits: int
    total: int = 0
    others_hits: int = 0
    others_total: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Counted:
    """What a kind counts: `hits`, out of `all` where there is a rate."""

    hits: Rows
    all: Rows | None = None


@dataclass(frozen=True)
class Period:
    """The month that is looked at, up to a day."""

    month: Month
    until: dt.date
    limits: Limits = field(default_factory=limits)

    @property
    def quiet_span(self) -> tuple[dt.date, dt.date]:
        """The days of enrolment from which the quiet days end in the month, up to the day that is known."""
        quiet = dt.timedelta(days=self.limits.quiet_days)
        return self.month.starts_on - quiet, self.until - quiet

    @property
    def return_span(self) -> tuple[dt.date, dt.date]:
        """The first days of the month, in which sales of the month before come back."""
        return self.month.starts_on, self.month.starts_on + dt.timedelta(days=self.limits.return_days - 1)


def known_period(month: Month) -> Period | None:
    """The part of a month that its signals are about; None before they were worked out."""
    refresh = SignalsRefresh.objects.filter(month=month).first()
    return Period(month, min(month.ends_on, refresh.as_of - dt.timedelta(days=1))) if refresh else None


# --- What each kind counts ---------------------------------------------------------------------------------------


def _enrolled(first: dt.date, last: dt.date) -> Rows:
    enrolled = Member.objects.order_by().filter(enrolled_on__range=(first, last), enrolled_by__isnull=False)
    return enrolled.annotate(who=F("enrolled_by"), thing=F("pk"))


def _enrolled_in(period: Period) -> Rows:
    return _enrolled(period.month.starts_on, period.month.ends_on)


def _sold(number: int) -> Rows:
    """The parts of tickets posted to a month that were sold by somebody, as they stand."""
    sold = standing().filter(PURCHASE, month=number, server__isnull=False)
    return sold.annotate(who=F("server"), thing=F("part"))


# Of the parts that a query over tickets is about.
_SPENT = Sum(F("parts__commissionable_amount") + F("parts__excluded_amount"))


def large_first(period: Period) -> Counted:
    """Members who bought for a large amount on the day of enrolment, at once where its time is known."""
    long_before = (
        Binding.objects.annotate(until=F("batch__recorded_at") + AT_THE_TILL)
        .filter(member=OuterRef("member"), batch__source=AT_THE_COUNTER, until__lt=OuterRef("sold_at"))
        .order_by()
    )
    tickets = Sale.objects.filter(
        ~Exists(long_before), member=OuterRef("pk"), business_date=OuterRef("enrolled_on"), parts__original=None
    )
    large = tickets.values("pk").annotate(net=_SPENT).filter(net__gte=period.limits.large_amount)
    everyone = _enrolled_in(period)
    return Counted(everyone.filter(Exists(large)), everyone)


def same_phone(period: Period) -> Counted:
    """Cards with a phone that an earlier card has."""
    earlier = Member.objects.filter(
        Q(enrolled_on__lt=OuterRef("enrolled_on")) | Q(enrolled_on=OuterRef("enrolled_on"), pk__lt=OuterRef("pk")),
        phone=OuterRef("phone"),
    )
    return Counted(_enrolled_in(period).exclude(phone="").filter(Exists(earlier)))


def not_again(period: Period) -> Counted:
    """Members whose quiet days end in the month, and who have bought nothing since the day of enrolment."""
    sold = {"parts__original": None, "parts__settled": False, "parts__member": OuterRef("pk")}
    bought = Sale.objects.filter(
        member=OuterRef("pk"), business_date__gt=OuterRef("enrolled_on"), business_date__lte=period.until, **sold
    )
    # A card that was forgotten did buy; there are few.
    forgotten = SalePart.objects.filter(
        correction__isnull=False,
        original=None,
        business_date__gt=F("member__enrolled_on"),
        business_date__lte=period.until,
    )
    everyone = _enrolled(*period.quiet_span).filter(merged_into=None)
    return Counted(everyone.exclude(Exists(bought)).exclude(pk__in=forgotten.values("member")), everyone)


def own_name(period: Period) -> Counted:
    """Tickets of a member who bears the clerk's name, while the clerk owns it."""
    tickets = Binding.objects.order_by().filter(
        voided_by=None,
        member__name=F("clerk__name"),
        valid_from__lte=period.month.ends_on,
        valid_to__gt=period.month.starts_on,
        member__sales__business_date__range=(period.month.starts_on, period.month.ends_on),
        member__sales__business_date__gte=F("valid_from"),
        member__sales__business_date__lt=F("valid_to"),
        member__sales__parts__original=None,
        member__sales__parts__settled=False,
    )
    return Counted(tickets.annotate(who=F("clerk"), thing=F("member__sales")))


def resold(period: Period) -> Counted:
    """Sales that another clerk had made within a shift before: taken back, and sold again for the same amount."""
    taken_back = Attribution.objects.annotate(
        back_amount=-F("commissionable_amount") - F("excluded_amount"),
        back_member=Coalesce("member", Value(0)),
        shift_end=F("part__original__sale__sold_at") + SHIFT,
    ).filter(
        month=period.month,
        reason=Attribution.Reason.RETURN,
        store=OuterRef("store"),
        business_date=OuterRef("business_date"),
        back_member=OuterRef("of_member"),
        back_amount=OuterRef("net_amount"),
        part__original__business_date=F("business_date"),
        part__original__server__isnull=False,
        part__sale__sold_at__lte=OuterRef("part__sale__sold_at"),
        shift_end__gte=OuterRef("part__sale__sold_at"),
    )
    sold = _sold(period.month.pk).annotate(
        net_amount=F("commissionable_amount") + F("excluded_amount"), of_member=Coalesce("member", Value(0))
    )
    return Counted(sold.filter(Exists(taken_back.exclude(part__original__server=OuterRef("server")))))


def login_corrected(period: Period) -> Counted:
    """Parts whose server was corrected to this clerk, asked for within a shift of the sale."""
    corrected = TicketCorrection.objects.order_by().filter(
        what=TicketCorrection.What.SERVER,
        approved=True,
        new_server=F("part__server"),
        sale__month_number=period.month.pk,
        asked_at__lte=F("sale__sold_at") + SHIFT,
    )
    return Counted(corrected.annotate(who=F("new_server"), thing=F("part")))


def walk_in(period: Period) -> Counted:
    """Sales without a member."""
    sold = _sold(period.month.pk)
    return Counted(sold.filter(kind=Attribution.Kind.WALK_IN), sold)


def after_month_end(period: Period) -> Counted:
    """Sales of the month before of which something came back in the first days of this one."""
    before = next_number(period.month.pk, -1)
    back = Attribution.objects.filter(
        month__gte=period.month,
        reason=Attribution.Reason.RETURN,
        business_date__range=period.return_span,
        part__original__month_number=before,
        part__original__server__isnull=False,
    )
    return Counted(back.annotate(who=F("part__original__server"), thing=F("part__original")), _sold(before))


def after_income(period: Period) -> Counted:
    """Members whom a person reassigned to the clerk after they had bought for a large amount."""
    reassigned = (
        Binding.objects.valid()
        .order_by()
        .filter(
            reason=Binding.Reason.REASSIGNMENT,
            valid_from__range=(period.month.starts_on, period.month.ends_on),
            batch__recorded_by__isnull=False,
        )
        # Compared with > as the two databases make a time of it: the day itself is out, the next one in.
        .annotate(who=F("clerk"), thing=F("pk"), day_before=F("valid_from") - dt.timedelta(days=DAYS_BEFORE + 1))
    )
    bought = Sale.objects.filter(
        member=OuterRef("member"),
        business_date__gt=OuterRef("day_before"),
        sold_at__lt=OuterRef("batch__recorded_at"),
    )
    large = bought.values("member").annotate(net=_SPENT).filter(net__gte=period.limits.large_amount)
    return Counted(reassigned.filter(Exists(large)), reassigned)


# --- From counts to signals --------------------------------------------------------------------------------------


def _by_clerk(rows: Rows) -> dict[int, int]:
    return dict(rows.order_by().values("who").annotate(n=Count("thing", distinct=True)).values_list("who", "n"))


def _listed(rows: Rows, clerks: Collection[int]) -> dict[int, set[int]]:
    """The evidence of these clerks, each thing once."""
    found: dict[int, set[int]] = defaultdict(set)
    keys = list(clerks)
    for start in range(0, len(keys), _CHUNK):
        for who, what in rows.filter(who__in=keys[start : start + _CHUNK]).order_by().values_list("who", "thing"):
            found[who].add(what)
    return found


@dataclass(frozen=True)
class Stands:
    """Whether a figure is a signal: by the others' rate, by half of all, or by the number alone."""

    against_others: bool = False
    half: bool = False

    def out(self, figure: Figure, limits: Limits) -> bool:
        if figure.hits < limits.at_least or (self.half and 2 * figure.hits < figure.total):
            return False
        if not self.against_others:
            return True
        # hits / total >= percent x others_hits / others_total, in integers; without others there is no yardstick.
        return (
            100 * figure.hits * figure.others_total >= limits.rate_percent * figure.others_hits * figure.total
            if figure.others_total
            else True
        )

    def is_small(self, figure: Figure, limits: Limits) -> bool:
        by_others = self.against_others and figure.others_total < limits.small_sample
        return (self.half or self.against_others) and (figure.total < limits.small_sample or by_others)


NUMBER, HALF = Stands(), Stands(half=True)
OTHERS, HALF_AND_OTHERS = Stands(against_others=True), Stands(half=True, against_others=True)

# How each kind stands out, and what it counts; several counts are added up. The neighbourhood is counted apart.
KINDS: dict[Kind, tuple[Stands, tuple[Callable[[Period], Counted], ...]]] = {
    Kind.LARGE_FIRST: (OTHERS, (large_first,)),
    Kind.SAME_PHONE: (NUMBER, (same_phone,)),
    Kind.NEIGHBOURHOOD: (HALF_AND_OTHERS, ()),
    Kind.NOT_AGAIN: (OTHERS, (not_again,)),
    Kind.OWN_NAME: (NUMBER, (own_name,)),
    Kind.SERVER_SWAP: (NUMBER, (resold, login_corrected)),
    Kind.WALK_IN: (OTHERS, (walk_in,)),
    Kind.AFTER_MONTH_END: (OTHERS, (after_month_end,)),
    Kind.AFTER_INCOME: (HALF, (after_income,)),
}


def _mates(homes: dict[int, int]) -> dict[int, list[int]]:
    """The clerks of each home store."""
    mates: dict[int, list[int]] = defaultdict(list)
    for clerk, store in homes.items():
        mates[store].append(clerk)
    return mates


def _figures(hits: dict[int, int], all_: dict[int, int], homes: dict[int, int]) -> dict[int, Figure]:
    stores = {
        store: (sum(hits.get(clerk, 0) for clerk in clerks), sum(all_.get(clerk, 0) for clerk in clerks))
        for store, clerks in _mates(homes).items()
    }
    figures = {}
    for clerk, number in hits.items():
        if clerk in homes:
            store_hits, store_total = stores[homes[clerk]]
            total = all_.get(clerk, 0)
            figures[clerk] = Figure(number, total, store_hits - number, store_total - total)
    return figures


def _neighbourhoods(period: Period, homes: dict[int, int]) -> tuple[dict[int, Figure], dict[int, list[int]]]:
    """Each clerk's members of the neighbourhood that most of them give, and how many of the others' give the same."""
    rows = _enrolled_in(period).exclude(neighbourhood="")
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    grouped = rows.values("who", "neighbourhood").annotate(n=Count("pk"))
    for who, name, number in grouped.values_list("who", "neighbourhood", "n"):
        counts[who][name] = number
    by_store: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for clerk, named in counts.items():
        if clerk in homes:
            for name, number in named.items():
                by_store[homes[clerk]][name] += number
    figures, evidence = {}, {}
    for clerk, named in counts.items():
        if clerk not in homes:
            continue
        top = min(named, key=lambda name: (-named[name], name))
        here, total = by_store[homes[clerk]], sum(named.values())
        figures[clerk] = Figure(named[top], total, here[top] - named[top], sum(here.values()) - total, top)
    of_top = {clerk: figure for clerk, figure in figures.items() if HALF_AND_OTHERS.out(figure, period.limits)}
    for clerk, figure in of_top.items():
        evidence[clerk] = sorted(rows.filter(who=clerk, neighbourhood=figure.detail).values_list("thing", flat=True))
    return of_top, evidence


def _standing_out(kind: Kind, period: Period, homes: dict[int, int]) -> tuple[dict[int, Figure], dict[int, list[int]]]:
    """The figures of a kind that are signals, with their evidence."""
    stands, counts = KINDS[kind]
    if kind == Kind.NEIGHBOURHOOD:
        return _neighbourhoods(period, homes)
    counted = [count(period) for count in counts]
    hits: dict[int, int] = defaultdict(int)
    for one in counted:
        for clerk, number in _by_clerk(one.hits).items():
            hits[clerk] += number
    everything = counted[0].all
    figures = _figures(hits, {} if everything is None else _by_clerk(everything), homes)
    found = {clerk: figure for clerk, figure in figures.items() if stands.out(figure, period.limits)}
    evidence: dict[int, set[int]] = defaultdict(set)
    for one in counted:
        for clerk, things in _listed(one.hits, found).items():
            evidence[clerk] |= things
    return found, {clerk: sorted(things) for clerk, things in evidence.items()}


def refresh_signals(month: Month, *, as_of: dt.date) -> int:
    """Makes a month's signals anew, with what is known before `as_of`; returns how many there are.

    A clerk's store is the home store on the last day posted in the month. Who was posted nowhere has no signal.
    """
    posted = postings_in(month)
    homes = {clerk: place[1] for clerk, one in posted.items() if (place := one.home or one.last)}
    period = Period(month, min(month.ends_on, as_of - dt.timedelta(days=1)))
    rows = []
    for kind, (stands, _counts) in KINDS.items():
        found, evidence = _standing_out(kind, period, homes)
        for clerk, figure in found.items():
            # What is listed is the number: two counts may have the same ticket, and an import come between.
            things = evidence.get(clerk, [])
            figure.hits = len(things)
            if not stands.out(figure, period.limits):
                continue
            has_rate = stands.half or stands.against_others
            rows.append(
                Signal(
                    month=month,
                    kind=kind,
                    clerk_id=clerk,
                    store_id=homes[clerk],
                    hits=figure.hits,
                    total=figure.total if has_rate else None,
                    others_hits=figure.others_hits if stands.against_others else None,
                    others_total=figure.others_total if stands.against_others else None,
                    detail=figure.detail,
                    level=100 * figure.hits // figure.total if has_rate and figure.total else figure.hits,
                    small=stands.is_small(figure, period.limits),
                    evidence=things,
                )
            )
    with transaction.atomic():
        # Of two refreshes at once the later one stays.
        Month.objects.select_for_update().get(pk=month.pk)
        Signal.objects.filter(month=month).delete()
        Signal.objects.bulk_create(rows, batch_size=1000)
        SignalsRefresh.objects.update_or_create(month=month, defaults={"as_of": as_of})
    return len(rows)
