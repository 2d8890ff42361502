"""What a signal says: sentences that state what was counted, and never why. And from when a figure is a signal."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commission.templatetags.money import money_text
from kpis.gaming_signals import AT_THE_TILL, DAYS_BEFORE, SHIFT, Limits, Period
from kpis.models import Signal
from portfolios.sentences import joined

Kind = Signal.Kind


def sentence(signal: Signal, period: Period) -> str:
    """What was counted, with the clerk's figure."""
    limits, first, last = period.limits, *period.quiet_span
    figures = {
        "hits": signal.hits,
        "total": signal.total,
        "month": period.month.name,
        "amount": money_text(limits.large_amount),
        "first": first,
        "last": last,
        "place": signal.detail,
    }
    match signal.kind:
        case Kind.LARGE_FIRST:
            text = _(
                "%(hits)d of %(total)d members enrolled in %(month)s bought for %(amount)s or more at once on the day "
                "of enrolment."
            )
        case Kind.SAME_PHONE:
            text = ngettext(
                "%(hits)d card enrolled in %(month)s has a phone that an earlier card has.",
                "%(hits)d cards enrolled in %(month)s have a phone that an earlier card has.",
                signal.hits,
            )
        case Kind.NEIGHBOURHOOD:
            text = _("%(hits)d of %(total)d members enrolled in %(month)s live in the neighbourhood %(place)s.")
        case Kind.NOT_AGAIN:
            text = _(
                "%(hits)d of %(total)d members enrolled from %(first)s to %(last)s have not bought since the day of "
                "enrolment."
            )
        case Kind.OWN_NAME:
            text = ngettext(
                "%(hits)d ticket in %(month)s is of a member with the clerk's own name, in the clerk's own portfolio.",
                "%(hits)d tickets in %(month)s are of a member with the clerk's own name, in the clerk's own "
                "portfolio.",
                signal.hits,
            )
        case Kind.SERVER_SWAP:
            text = ngettext(
                "%(hits)d sale in %(month)s had another server before, within the same shift.",
                "%(hits)d sales in %(month)s had another server before, within the same shift.",
                signal.hits,
            )
        case Kind.WALK_IN:
            text = _("%(hits)d of %(total)d sales in %(month)s were rung up without a member's card.")
        case Kind.AFTER_MONTH_END:
            figures["first"], figures["last"] = period.return_span
            text = _(
                "Of %(hits)d of %(total)d sales of the month before, something came back from %(first)s to %(last)s."
            )
        case _other:
            text = _(
                "%(hits)d of %(total)d members reassigned to the clerk in %(month)s had bought for %(amount)s or more "
                "shortly before."
            )
    return text % figures


def rule(kind: Kind, limits: Limits) -> str:
    """From when on a figure of this kind is shown."""
    least = {"least": limits.at_least, "percent": limits.rate_percent}
    by_rate = (
        _("Shown from %(least)d on, if the rate is at least %(percent)d%% of that of the rest of the store.") % least
    )
    by_number = _("Shown from %(least)d on.") % least
    match kind:
        case Kind.LARGE_FIRST:
            return joined(
                _(
                    "One ticket for at least %(amount)s. Where the time of the enrolment is known, only tickets "
                    "up to %(minutes)d minutes after it count."
                )
                % {"amount": money_text(limits.large_amount), "minutes": AT_THE_TILL.seconds // 60},
                by_rate,
            )
        case Kind.SAME_PHONE:
            return joined(_("Two people of one household may share a phone."), by_number)
        case Kind.NEIGHBOURHOOD:
            return (
                _(
                    "The neighbourhood that most of the clerk's new members give. Shown from %(least)d on, if it is at "
                    "least half of them, and the rate at least %(percent)d%% of that of the rest of the store."
                )
                % least
            )
        case Kind.NOT_AGAIN:
            return joined(
                _("Members who enrolled %(days)d days or more ago; each is counted in one month only.")
                % {"days": limits.quiet_days},
                by_rate,
            )
        case Kind.OWN_NAME:
            return joined(
                _("Names are compared: it may be another person with the same name, or the clerk as a customer."),
                by_number,
            )
        case Kind.SERVER_SWAP:
            return joined(
                _(
                    "Taken back and sold again for the same amount by another server, within %(hours)d hours; or "
                    "the server was corrected, asked for within that time."
                )
                % {"hours": SHIFT.seconds // 3600},
                by_number,
            )
        case Kind.WALK_IN:
            return joined(_("Customers without a card are among them."), by_rate)
        case Kind.AFTER_MONTH_END:
            return joined(_("Returns in the first %(days)d days of a month.") % {"days": limits.return_days}, by_rate)
        case _other:
            return _(
                "Reassignments that a person made; bought from %(days)d days before the change until it was recorded. "
                "Shown from %(least)d on, if it is at least half of them."
            ) % {"days": DAYS_BEFORE, **least}


def yardstick(signal: Signal) -> str:
    """The figure of the rest of the store, where the kind is compared with it."""
    if signal.others_total is None:
        return ""
    if not signal.others_total:
        return _("The rest of the store has none to compare with.")
    return _("Rest of the store: %(hits)d of %(total)d (%(percent)s%%).") % {
        "hits": signal.others_hits,
        "total": signal.others_total,
        "percent": percent(signal.others_hits or 0, signal.others_total),
    }


def percent(hits: int, total: int) -> str:
    """A rate in percent with one decimal, rounded half up: 2 of 14 is 14.3."""
    tenths = (2000 * hits + total) // (2 * total)
    return f"{tenths // 10}.{tenths % 10}"
