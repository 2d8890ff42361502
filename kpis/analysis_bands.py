"""What the bands of the member analysis are called: "60" of the ages is "60 to 69", "12" of the day "9:00 to 12:00"."""

from collections.abc import Mapping

from django.utils.dates import WEEKDAYS
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from commission.models import Category
from kpis.member_analysis import AGES, HOURS, LAST_BOUGHT, UNKNOWN
from portfolios.models import Member

# The band of all other neighbourhoods together.
OTHERS = "*"

TITLES: Mapping[str, Promise] = {
    "tier": gettext_lazy("Key members"),
    "age": gettext_lazy("Age"),
    "gender": gettext_lazy("Gender"),
    "neighbourhood": gettext_lazy("Neighbourhood"),
    "category": gettext_lazy("What they buy"),
    "last_bought": gettext_lazy("Last purchase"),
    "time_of_day": gettext_lazy("Time of day"),
    "weekday": gettext_lazy("Day of the week"),
}


def band_label(dimension: str, band: str) -> str:
    """What a band is called."""
    if dimension == "tier":
        return band
    if band == UNKNOWN:
        return pgettext("band", "unknown")
    match dimension:
        case "age":
            return age_label(band)
        case "gender":
            return str(Member.Gender(band).label) if band in Member.Gender.values else band
        case "neighbourhood":
            return pgettext("neighbourhoods", "all others") if band == OTHERS else band
        case "category":
            category = Category.objects.filter(pk=band).first() if band.isdecimal() else None
            return str(category) if category else band
        case "last_bought":
            return _last_label(band)
        case "time_of_day":
            return _time_label(band)
        case "weekday":
            return str(WEEKDAYS[int(band) - 1]) if band in set("1234567") else band
    return band


def age_label(band: str) -> str:
    lowest = int(band) if band.isdecimal() else 0
    if lowest == 0:
        return _("under %(age)d") % {"age": AGES[0]}
    if lowest == AGES[-1]:
        return _("%(age)d and over") % {"age": lowest}
    return _("%(from)d to %(to)d") % {"from": lowest, "to": lowest + 9}


def _last_label(band: str) -> str:
    if band == "0":
        return _("none in 12 months")
    first, *later = LAST_BOUGHT
    spans = dict(zip(map(str, (*later, 365)), zip(LAST_BOUGHT, (*later, 365), strict=True), strict=True))
    if band in spans:
        before, until = spans[band]
        return _("%(from)d–%(to)d days ago") % {"from": before, "to": until - 1}
    return _("last %(days)d days") % {"days": first}


def _time_label(band: str) -> str:
    if band == "24":
        return _("from %(hour)d:00") % {"hour": HOURS[-1]}
    until = int(band) if band.isdecimal() else HOURS[0]
    if until == HOURS[0]:
        return _("before %(hour)d:00") % {"hour": until}
    earlier = [hour for hour in HOURS if hour < until]
    return _("%(from)d:00 to %(to)d:00") % {"from": earlier[-1] if earlier else 0, "to": until}
