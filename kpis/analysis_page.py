"""What the page of the member analysis shows: shares by band, a clerk's beside the store's, and the main customers.

Of 9,000.00 that a store's members spent, 2,790.00 by key members who are women of 60 to 69 from Riverside are 31%.
A clerk sees of the store shares alone, and only of bands with at least five members who are other clerks'.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from django.db.models import Sum
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commission.money import format_amount
from commission.templatetags.money import count
from kpis.analysis_bands import OTHERS, TITLES, age_label, band_label
from kpis.measure_page import percent
from kpis.member_analysis import (
    AGES,
    DIMENSIONS,
    HOURS,
    LAST_BOUGHT,
    OF_MEMBERS,
    SEPARATOR,
    UNKNOWN,
    Bands,
    Counted,
    Crowd,
    Found,
    analyse,
)
from kpis.models import MemberGroup
from kpis.movement_members import Scope
from kpis.movement_page import address
from kpis.share_bars import ShareBars, ShareRow, share_bars
from portfolios.models import Clerk, Member
from portfolios.table_files import table_file

# Fewer members of others than these are not shown to a clerk, nor named as the main customers.
FEWEST = 5
# A neighbourhood is named with them where they make so much of the spend.
MAIN_PERCENT = 10
# More members than these are not read for a page.
MOST_MEMBERS = 50_000
# So many are shown one by one.
NEIGHBOURHOODS = 8

# What the shares of a dimension are of: a field of Counted.
_MEASURED = {"last_bought": "members", "time_of_day": "tickets", "weekday": "tickets"}
_SHARE_OF = {
    "spend_amount": gettext_lazy("share of the spend"),
    "members": gettext_lazy("share of the members"),
    "tickets": gettext_lazy("share of the purchases"),
}


def measured(dimension: str) -> str:
    return _MEASURED.get(dimension, "spend_amount")


@dataclass(frozen=True)
class Row:
    """A band: `store` is the store's share beside a clerk's, empty where it is not shown or there is nothing beside."""

    band: str
    label: str
    counted: Counted
    share: str
    store: str
    url: str


@dataclass(frozen=True)
class Picture:
    """One dimension, as bars and as the table of the same figures."""

    key: str
    title: str
    share_name: str
    rows: list[Row]
    chart: ShareBars | None


@dataclass(frozen=True)
class ClerkRow:
    """One portfolio of a store: its members and their share of the store's spend."""

    name: str
    number: str
    url: str
    counted: Counted
    share: str


@dataclass(frozen=True)
class AnalysisPage:
    counted: Counted
    sentences: list[str]
    pictures: list[Picture]
    clerks: list[ClerkRow]


def is_too_large(scope: Scope) -> bool:
    """Whether there are more members than a page reads: a chain's, where it is a large one."""
    members = MemberGroup.objects.filter(Crowd.of(scope).groups).aggregate(members=Sum("members"))["members"]
    return bool(members and members > MOST_MEMBERS)


def analysis_page(scope: Scope, *, sees_store: bool) -> AnalysisPage | None:
    """The page of a closed month; None where there were no members.

    `sees_store` is whether the reader may see the store's other members: small bands of theirs are hidden otherwise.
    """
    crowd = Crowd.of(scope)
    found = analyse(crowd)
    own = found.portfolios.get(scope.clerk.pk, {}) if scope.clerk else found.whole
    everybody = own.get(("everybody", "all"))
    if everybody is None:
        return None
    return AnalysisPage(
        counted=everybody,
        sentences=_sentences(scope, found, own, sees_store),
        pictures=[_picture(scope, name, found, own, sees_store) for name in DIMENSIONS],
        clerks=_clerks(scope, found) if scope.store else [],
    )


def share(part: int, whole: int) -> str:
    """A percentage; a dash where there is no whole."""
    return f"{percent(part, whole)}%" if whole > 0 else "–"


# --- One dimension -----------------------------------------------------------------------------------------------


def _picture(scope: Scope, dimension: str, found: Found, own: Bands, sees_store: bool) -> Picture:
    whole_bands = _of(found.whole, dimension)
    bands = _of(own, dimension)
    shown = _in_order(dimension, bands, whole_bands)
    if dimension == "neighbourhood":
        shown, bands, whole_bands = _largest(shown, bands, whole_bands)
    name = measured(dimension)
    total, whole_total = _total(own, dimension, name), _total(found.whole, dimension, name)
    hidden = hidden_bands(bands, whole_bands) if scope.clerk and not sees_store else set()
    members = own["everybody", "all"].members
    rows, drawn = [], []
    for band in shown:
        counted, whole = bands.get(band, Counted()), whole_bands.get(band, Counted())
        value, store_value = getattr(counted, name), getattr(whole, name)
        text = share(value, total)
        beside, beside_text = None, ""
        if scope.clerk:
            if band not in hidden:
                beside, beside_text = _part(store_value, whole_total), share(store_value, whole_total)
        elif name == "spend_amount" and dimension in OF_MEMBERS:
            beside, beside_text = _part(counted.members, members), share(counted.members, members)
        url = _members_url(scope, dimension, band) if counted.members and band != OTHERS else ""
        label = band_label(dimension, band)
        rows.append(Row(band, label, counted, text, beside_text if scope.clerk else "", url))
        drawn.append(ShareRow(label, _part(value, total), text, beside, beside_text, url))
    second_name = ""
    if scope.clerk:
        second_name = _("the store's")
    elif name == "spend_amount" and dimension in OF_MEMBERS:
        second_name = str(_SHARE_OF["members"])
    title, share_name = str(TITLES[dimension]), str(_SHARE_OF[name])
    chart = share_bars(drawn, id=f"analysis-{dimension}", title=title, first_name=share_name, second_name=second_name)
    return Picture(dimension, title, share_name, rows, chart)


def _of(bands: Bands, dimension: str) -> dict[str, Counted]:
    return {band: counted for (name, band), counted in bands.items() if name == dimension}


def _total(bands: Bands, dimension: str, name: str) -> int:
    """What the shares are of: of what members are it is everybody, of purchases all of them."""
    if dimension in OF_MEMBERS:
        return int(getattr(bands["everybody", "all"], name))
    return sum(getattr(counted, name) for counted in _of(bands, dimension).values())


def _part(value: int, whole: int) -> float:
    return value / whole if whole > 0 else 0.0


_ORDER = {
    "tier": ("A", "B", "C"),
    "age": ("0", *map(str, AGES), UNKNOWN),
    "gender": (Member.Gender.FEMALE.value, Member.Gender.MALE.value, UNKNOWN),
    "last_bought": (*map(str, LAST_BOUGHT), "365", "0"),
    "time_of_day": (*(f"{hour:02d}" for hour in HOURS), "24"),
    "weekday": tuple("1234567"),
}


def _in_order(dimension: str, bands: Mapping[str, Counted], whole: Mapping[str, Counted]) -> list[str]:
    """The bands that anybody is in; without an order of their own, those with the largest spend first."""
    if dimension in _ORDER:
        return [band for band in _ORDER[dimension] if band in whole]
    return sorted(
        bands if dimension == "neighbourhood" else whole,
        key=lambda band: (band == UNKNOWN, -bands.get(band, Counted()).spend_amount, band),
    )


def _largest(
    shown: Sequence[str], bands: Mapping[str, Counted], whole: Mapping[str, Counted]
) -> tuple[list[str], dict[str, Counted], dict[str, Counted]]:
    """The neighbourhoods with the largest spend, all others together, and those whose is not known."""
    first = [band for band in shown if band != UNKNOWN][:NEIGHBOURHOODS]
    kept = [*first, UNKNOWN]
    result = []
    for given in (bands, whole):
        rest = [counted for band, counted in given.items() if band not in kept]
        together = {band: given[band] for band in kept if band in given}
        result.append(together | ({OTHERS: reduce(add, rest)} if rest else {}))
    order = [*first, *([OTHERS] if OTHERS in result[1] else []), *([UNKNOWN] if UNKNOWN in result[1] else [])]
    return order, result[0], result[1]


def hidden_bands(own: Mapping[str, Counted], whole: Mapping[str, Counted]) -> set[str]:
    """The bands of a store that a clerk does not see: with fewer than FEWEST members who are others'.

    What is hidden must not follow from the rest: so many members of others are hidden together, or nobody's.
    """
    others = {band: counted.members - own.get(band, Counted()).members for band, counted in whole.items()}
    hidden = {band for band, members in others.items() if members < FEWEST}
    for band in sorted(others, key=lambda band: (others[band], band)):
        if not 0 < sum(others[one] for one in hidden) < FEWEST:
            break
        hidden.add(band)
    return hidden


def _members_url(scope: Scope, dimension: str, band: str) -> str:
    return f"{address(scope, 'analysis_members', dimension)}?{urlencode({'band': band})}"


# --- The main customers ------------------------------------------------------------------------------------------


def _sentences(scope: Scope, found: Found, own: Bands, sees_store: bool) -> list[str]:
    """What part of the spend the key members make, the store's beside a clerk's, and who most of them are."""
    everybody = own["everybody", "all"]
    key, rest = _key(own), found.whole["everybody", "all"] - everybody
    sentences = [
        _("Key members (A and B: %(key)s, %(members)s of the members) make %(spend)s of what members spend.")
        % {
            "key": count(key.members),
            "members": share(key.members, everybody.members),
            "spend": share(key.spend_amount, everybody.spend_amount),
        }
    ]
    others = _key(found.whole).members - key.members
    if scope.clerk and (sees_store or (others >= FEWEST and rest.members - others >= FEWEST)):
        whole = found.whole["everybody", "all"]
        sentences.append(
            _("In the store they make %(spend)s.")
            % {"spend": share(_key(found.whole).spend_amount, whole.spend_amount)}
        )
    if main := main_customers(own):
        who, counted = main
        sentences.append(
            _("The largest group of them: %(who)s; these %(members)d make %(spend)s of what members spend.")
            % {
                "who": who,
                "members": counted.members,
                "spend": share(counted.spend_amount, everybody.spend_amount),
            }
        )
    return sentences


def _key(bands: Bands) -> Counted:
    return bands.get(("tier", "A"), Counted()) + bands.get(("tier", "B"), Counted())


def main_customers(bands: Bands) -> tuple[str, Counted] | None:
    """The key members of one gender, age band and neighbourhood who spend most, in words, and their figures.

    Where no such group has FEWEST members and MAIN_PERCENT of the spend, it is of gender and age alone; None where not
    even these are so many.
    """
    profiles, least = _of(bands, "profile"), MAIN_PERCENT * bands["everybody", "all"].spend_amount
    for length in (3, 2):
        groups: dict[tuple[str, ...], Counted] = {}
        for band, counted in profiles.items():
            group = tuple(band.split(SEPARATOR, 2)[:length])
            groups[group] = groups.get(group, Counted()) + counted
        large = [
            (counted.spend_amount, group)
            for group, counted in groups.items()
            if counted.members >= FEWEST and (length == 2 or 100 * counted.spend_amount >= least)
        ]
        if large:
            _spend, group = max(large)
            return _who(*group), groups[group]
    return None


def _who(gender: str, age: str, neighbourhood: str = "") -> str:
    facts = {"age": age_label(age), "place": neighbourhood}
    if neighbourhood:
        if gender == Member.Gender.FEMALE:
            return _("women, %(age)s, from %(place)s") % facts
        return _("men, %(age)s, from %(place)s") % facts
    return (_("women, %(age)s") if gender == Member.Gender.FEMALE else _("men, %(age)s")) % facts


# --- The portfolios of a store, and the file ---------------------------------------------------------------------


def _clerks(scope: Scope, found: Found) -> list[ClerkRow]:
    """The portfolios of a store by the clerks' numbers, and what is nobody's."""
    spend = found.whole["everybody", "all"].spend_amount
    clerks = Clerk.objects.in_bulk(list(found.portfolios))
    rows = []
    for key in sorted(found.portfolios, key=lambda key: (key == 0, clerks[key].clerk_no if key else "")):
        clerk, counted = clerks.get(key), found.portfolios[key]["everybody", "all"]
        rows.append(
            ClerkRow(
                name=clerk.name if clerk else _("Without an owner"),
                number=clerk.clerk_no if clerk else "",
                url=reverse("analysis", args=[scope.month.pk, "clerk", clerk.clerk_no]) if clerk else "",
                counted=counted,
                share=share(counted.spend_amount, spend),
            )
        )
    return rows


COLUMNS = ("month", "dimension", "band", "members", "key_members", "tickets", "spend", "share", "store_share")
_WIDTHS = (10, 18, 26, 12, 12, 12, 14, 10, 12)


def write_analysis(scope: Scope, page: AnalysisPage, format: str) -> bytes:
    """The bytes of a CSV or XLSX file of the figures of a page; no member is named in it."""
    lines: Iterable[Sequence[str]] = (
        (
            scope.month.name,
            picture.title,
            row.label,
            str(row.counted.members),
            str(row.counted.key_members),
            str(row.counted.tickets),
            format_amount(row.counted.spend_amount),
            row.share,
            row.store,
        )
        for picture in page.pictures
        for row in picture.rows
    )
    return table_file(COLUMNS, _WIDTHS, lines, sheet=scope.month.name, format=format)
