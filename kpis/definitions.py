"""How every figure of the pages is counted: one text each, with worked tables that the tests repeat.

Each figure on a page leads here. What stands in an `Example` is what `tests/test_definitions.py` builds and counts, so
the page cannot say one thing and the program do another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from commission.money import format_amount

Text = str | Promise


@dataclass(frozen=True)
class Example:
    """A worked table. Dates are month and day of 2026; amounts are in currency units. The last columns are counted."""

    headings: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]


@dataclass(frozen=True)
class Definition:
    """One figure: its name, how it is counted, and the worked table that shows it, where it has one of its own."""

    key: str
    name: Text
    text: Text
    example: Example | None = None


@dataclass(frozen=True)
class Group:
    """Definitions that belong together; a table under them shows them all at once."""

    title: Text
    text: Text
    definitions: tuple[Definition, ...]
    example: Example | None = None


EFFECTIVE = Example(
    (_("Enrolled"), _("Bought"), _("Counted in")),
    (
        ("03-01", "03-05 38.00", "2026-03"),
        ("03-01", "03-05 37.99", "–"),
        ("03-01", "03-05 20.00, 03-05 20.00", "–"),
        ("03-01", "03-31 40.00", "2026-03"),
        ("03-01", "04-01 40.00", "–"),
        ("03-20", "04-10 50.00", "2026-04"),
        ("03-20", "03-25 50.00, 04-10 60.00", "2026-03"),
    ),
)

REPURCHASE = Example(
    (_("Enrolled"), _("Bought on"), _("30 days"), _("60 days"), _("90 days")),
    (
        ("03-01", "03-01, 03-31", "2026-03: 1 / 1", "2026-04: 1 / 1", "2026-05: 1 / 1"),
        ("03-01", "03-01, 04-01", "2026-03: 0 / 1", "2026-04: 1 / 1", "2026-05: 1 / 1"),
        ("03-01", "03-01, 03-01", "2026-03: 0 / 1", "2026-04: 0 / 1", "2026-05: 0 / 1"),
        ("03-02", "03-10, 05-31", "2026-04: 0 / 1", "2026-05: 0 / 1", "2026-05: 1 / 1"),
        ("03-01", "", "2026-03: 0 / 1", "2026-04: 0 / 1", "2026-05: 0 / 1"),
    ),
)

RETENTION = Example(
    (_("A or B at the end of April"), _("Bought since 3 March"), _("Retention in May")),
    (("4", "3", "75%"), ("3", "1", "33%"), ("2", "0", "0%"), ("0", "0", "–")),
)

# Of May; the members are active at its end but for the last one.
PURCHASES = Example(
    (_("Member"), _("Tickets"), _("Spend in May"), _("Tickets in May"), _("Days in May")),
    (
        ("M1", "05-03 60.00, 05-03 40.00, 05-20 -30.00", "70.00", "2", "1"),
        ("M2", "05-10 100.00", "100.00", "1", "1"),
        ("M3", "03-20 80.00", "0.00", "0", "0"),
        ("M4", "01-05 500.00", "–", "–", "–"),
    ),
)
# What the table comes to: 170.00 / 3, 200.00 / 3 tickets, 2 days / 3.
PURCHASES_RESULT = {"spend": "56.67", "basket": "66.67", "frequency": "0.67"}

PAY = Example(
    (_("Line of the payslip"), _("Amount"), _("Of it from own members")),
    (
        (_("Own members, served"), "300.00", "300.00"),
        (_("Own members, served by another"), "420.00", "420.00"),
        (_("Covered for another clerk"), "180.00", "0.00"),
        (_("Walk-ins"), "60.00", "0.00"),
        (_("Late tickets"), "40.00", "0.00"),
        (_("Clawback for returns"), "-100.00", "0.00"),
        (_("Together"), "900.00", "720.00"),
        (_("Member share"), "", "80%"),
    ),
)

# 李 and 王 are of store 1, 张 of store 2: transferred out and in, enrolled, newly active; organic growth of both.
MOVED = Example(
    (
        "",
        _("Transferred out"),
        _("Transferred in"),
        _("Enrolled"),
        _("Newly active"),
        _("Organic growth"),
        _("of active members"),
    ),
    (
        ("李", "2", "0", "1", "1", "1", "1"),
        ("王", "0", "1", "0", "0", "0", "0"),
        ("张", "0", "1", "0", "0", "0", "0"),
        (_("Store 1"), "1", "0", "1", "1", "1", "1"),
        (_("Store 2"), "0", "1", "0", "0", "0", "0"),
        (_("Chain"), "0", "0", "1", "1", "1", "1"),
    ),
)

# Of May.
WHO = Example(
    (_("Born on"), _("Neighbourhood"), _("Tickets"), _("Age"), _("Spend"), _("Last purchase")),
    (
        ("1966-05-31", _("Riverside"), "2025-06-01 600.00", _("60 to 69"), "600.00", _("180–364 days ago")),
        ("1966-06-01", _("Riverside"), "2025-05-31 600.00", _("50 to 59"), "0.00", _("none in 12 months")),
        ("1996-02-29", _("Old Town"), "05-02 100.00, 05-20 -30.00", _("30 to 39"), "70.00", _("last 30 days")),
        ("1996-06-01", "", "05-01 80.00, 06-01 50.00", _("under 30"), "80.00", _("30–89 days ago")),
        ("", "", "", _("unknown"), "0.00", _("none in 12 months")),
    ),
)

# Of 10,000.00 that all members spent.
MAIN = Example(
    (_("Key members"), _("Members"), _("Spend"), _("Named")),
    (
        (_("women, 60 to 69, from Riverside"), "6", "3100.00", "31%"),
        (_("women, 60 to 69, from Old Town"), "4", "3200.00", "–"),
        (_("men, 70 to 79, from Riverside"), "5", "1200.00", "–"),
    ),
)

# The members of four bands of a store, and how many of them are the clerk's.
HIDDEN = Example(
    (_("Members of the store"), _("Own ones"), _("Shown to the clerk")),
    (
        ("20 12 9 8", "4 2 1 3", _("all")),
        ("20 12 9 8", "4 8 5 1", "1 4"),
        ("20 12 9 8", "4 8 1 1", "1 3"),
        ("20 3 9 8", "4 3 1 1", "1 3 4"),
    ),
)

MEASURES = Group(
    _("Measures of a month"),
    _(
        "A clerk's, a store's and the chain's are worked out from sums: a store's average is the store's sum divided "
        "by the store's number, not the mean of its clerks' averages. They are frozen when the month closes. Those of "
        "an open month are of the last night, and count what was bought before that day."
    ),
    (
        Definition(
            "effective_new",
            _("Effective new members"),
            _(
                "New members with a ticket of at least %(amount)s within %(days)d days of the enrolment, counted "
                "once, in the month in which that ticket is posted, for the clerk who enrolled them, whoever owns "
                "them now. Returns take nothing away; a late ticket counts by its own date, in the month that it is "
                "posted to. The store's figure beside a clerk's is the mean of its clerks."
            ),
            EFFECTIVE,
        ),
        *(
            Definition(
                f"repurchase_{days}",
                name,
                _(
                    "Of the members whose %(within)dth day after the enrolment lies in the month: the share that by "
                    "then had bought on two days or more, for the clerk who enrolled them. A card that was merged "
                    "into another one is left out; the other card has its purchases."
                ),
                REPURCHASE if days == 30 else None,
            )
            for days, name in (
                (30, _("Repurchase after 30 days")),
                (60, _("Repurchase after 60 days")),
                (90, _("Repurchase after 90 days")),
            )
        ),
        Definition(
            "retention",
            _("Retention of key members"),
            _(
                "Of the A and B members at the end of the month before: the share that is active at the end of this "
                "one, for the clerk who had them then, wherever they are now. A closed card is lost; for a merged one "
                "the other card's purchases count. There is none in the first month, nor before the month before is "
                "closed."
            ),
            RETENTION,
        ),
        Definition(
            "member_pay",
            _("Member share of variable pay"),
            _(
                "Own members served, and own members served by another, as a part of variable pay: commission and "
                "accelerator, before KPI bonus, held and carried amounts and adjustments. The aim is %(goal)d%%. "
                "Where variable pay is zero or less there is no share."
            ),
            PAY,
        ),
        Definition(
            "spend",
            _("Spend per active member"),
            _(
                "What the members who are active at the end of the month bought in it, all categories, less returns, "
                "divided by their number. They count for the clerk who owns them then: in the table 170.00 of three "
                "members, 56.67 each."
            ),
            PURCHASES,
        ),
        Definition(
            "basket",
            _("Basket"),
            _(
                "What those members bought in the month, before returns, divided by the number of tickets with a "
                "purchase: in the table above 200.00 in three tickets, 66.67 each."
            ),
        ),
        Definition(
            "frequency",
            _("Purchases per active member"),
            _(
                "On how many days each of those members bought in the month, on average; two tickets on one day are "
                "one purchase: in the table above two days of three members, 0.67."
            ),
        ),
    ),
)

MOVEMENT = Group(
    _("Movement of the members"),
    _(
        "Opening + enrolled + transferred in - transferred out - closed = closing, and a closing is the next month's "
        "opening. Opening is the state before the first day of the month, closing that at the end of its last."
    ),
    (
        Definition("opening", _("Opening"), _("Members at the end of the day before the month: the last closing.")),
        Definition(
            "enrolled",
            pgettext_lazy("portfolio", "Enrolled"),
            _("Members whose card counts from a day of the month, for the clerk whom they are first bound to in it."),
        ),
        Definition(
            "transferred_in",
            _("Transferred in"),
            _("Members who came from another clerk, or from those without an owner. Growth for nobody."),
        ),
        Definition("transferred_out", _("Transferred out"), _("Members who went to another clerk. A loss for nobody.")),
        Definition(
            "closed",
            pgettext_lazy("portfolio", "Closed"),
            _("Cards that were closed in the month, or merged into another one, for the owner at opening."),
        ),
        Definition("closing", _("Closing"), _("Members at the end of the last day of the month.")),
        Definition("organic_growth", _("Organic growth"), _("Enrolled less closed. Transfers are apart from it.")),
    ),
    MOVED,
)

ACTIVE = Group(
    _("Movement of active members"),
    _(
        "A member is active at the end of a day with a purchase in the %(window)d days up to and including it; a "
        "return is no purchase, and takes none away. A late ticket counts from the first day of the month "
        "that it is posted to."
    ),
    (
        Definition("active_opening", _("Active at opening"), _("Active at the end of the day before the month.")),
        Definition(
            "newly_active",
            _("Newly active"),
            _("Not active at opening, active at closing, and never bought before the month; for the owner at closing."),
        ),
        Definition(
            "reactivated",
            _("Reactivated"),
            _("Not active at opening, active at closing, and bought before the month; for the owner at closing."),
        ),
        Definition(
            "lapsed",
            _("Lapsed"),
            _("Active at opening, and at closing not active or with a closed card; for the owner at opening."),
        ),
        Definition("active_in", _("Active in"), _("Active at both ends, and came from another book in between.")),
        Definition("active_out", _("Active out"), _("Active at both ends, and went to another book in between.")),
        Definition("active_closing", _("Active at closing"), _("Active at the end of the month's last day.")),
        Definition(
            "organic_active_growth",
            _("Organic growth of active members"),
            _("Newly active and reactivated, less lapsed. Transfers are apart from it."),
        ),
    ),
)

KEY = Group(
    _("Key members"),
    _(
        "At the end of a month the members with a positive spend in the last 12 months, less returns, are ranked. A "
        "are the first 5%%, B the further ones up to 20%%, both rounded up; equal spend shares the better tier."
    ),
    (
        Definition("tier_a", _("A members"), _("A members at closing, for the owner then.")),
        Definition("tier_b", _("B members"), _("B members at closing, for the owner then.")),
        Definition("key_members", _("Key members"), _("A and B members at closing.")),
        Definition("risen", _("Rose"), _("In a better tier than at the end of the month before.")),
        Definition("fallen", _("Fell"), _("In a lower tier than at the end of the month before.")),
    ),
    Example(
        (_("Spend in 12 months"), _("Tiers")),
        (
            ("500", "A"),
            ("60 50 40 30 20 10", "A B C C C C"),
            ("9 9 9 5 4 4 3 3 3 3 2 2 2 2 2 1 1 1 1 1", "A A A B C C C C C C C C C C C C C C C C"),
            ("50 40 30 20 10 0 -5 0 0 0", "A C C C C C C C C C"),
        ),
    ),
)

ANALYSIS = Group(
    _("Member analysis"),
    _(
        "Of the members at the end of a closed month, by their owners and home stores then. What they bought is that "
        "of the 12 months up to that day, as for the tiers: whole tickets, all categories, less returns. Birth date, "
        "gender and neighbourhood are those known today; who has none is in a band of its own."
    ),
    (
        Definition(
            "main_customers",
            _("Main customers"),
            _(
                "The key members (A and B) of one gender, age band and neighbourhood with the largest spend, where "
                "they are at least five and make at least 10%% of what all members spend; else those of one gender "
                "and age band, where they are at least five. In the table the first row is named: of the second "
                "there are only four."
            ),
            MAIN,
        ),
        Definition("by_tier", _("By tier"), _("A, B and C at the end of the month, as for the key members.")),
        Definition(
            "by_age",
            _("By age"),
            _("In whole years on the last day of the month; sixty on the sixtieth birthday."),
            WHO,
        ),
        Definition("by_gender", _("By gender"), _("As it stands on the member's page.")),
        Definition(
            "by_neighbourhood",
            _("By neighbourhood"),
            _("The eight with the largest spend, and all others together."),
        ),
        Definition(
            "by_category",
            _("What they buy"),
            _("The net amount of the lines by category, less returns. A member counts who bought some of it."),
        ),
        Definition(
            "by_last_bought",
            _("Last purchase"),
            _("Days from the last purchase to the end of the month, whose last day is day 0; returns are none."),
        ),
        Definition(
            "by_time_of_day",
            _("Time of day"),
            _("Tickets with a purchase by the hour at the till; a member counts in each part of the day it bought in."),
        ),
        Definition(
            "by_weekday",
            _("Day of the week"),
            _("Tickets with a purchase by the day of the week of their business date."),
        ),
        Definition(
            "beside_the_store",
            _("The store beside a clerk"),
            _(
                "Shares of all members of the clerk's home store at the end of the month. A clerk does not see those "
                "of a band with fewer than five members of others; where the hidden ones would follow from the rest, "
                "the next smallest band is hidden too."
            ),
            HIDDEN,
        ),
    ),
)

# Of a book in May: what grew of itself, as a part of what there was before.
GROWTH = Example(
    (
        _("Members at opening"),
        _("Enrolled"),
        _("Closed"),
        _("Active at opening"),
        _("Newly active"),
        _("Lapsed"),
        _("Organic growth"),
        _("of active members"),
        _("Lapsed share"),
    ),
    (("4", "2", "1", "4", "2", "1", "25%", "25%", "25%"),),
)

# A scorecard that pays 300.00 at 100 points, each measure up to 120% of its target.
SCORE = Example(
    (_("Measure"), _("Weight"), _("Value"), _("Target"), _("Reached"), _("Points")),
    (
        (_("Member share of variable pay"), "40%", "70%", "80%", "87.5%", "35"),
        (_("Effective new members"), "30%", "9", "6", "120%", "36"),
        (_("Lapsed share"), "30%", "8%", "6%", "75%", "22.5"),
        (_("Together"), "100%", "", "", "", "93.5"),
        (_("KPI bonus"), "", "", "", "", "280.50"),
    ),
)
# The same where the last measure has too small a sample.
LEFT_OUT = Example(
    (_("Measure"), _("Weight"), _("Reached"), _("Points")),
    (
        (_("Member share of variable pay"), "40%", "87.5%", "35"),
        (_("Effective new members"), "30%", "120%", "36"),
        (_("Together"), "70%", "", "71"),
        (_("KPI bonus"), "", "", "304.29"),
    ),
)

SCORES = Group(
    _("Scorecard"),
    _(
        "A scorecard holds measures of a month against targets. Beside the measures of a month these can count. Of a "
        "manager the figures are those of the stores managed on the last day of the month, all together: the books of "
        "the clerks whose home store it is at the end of the month, and the members without an owner."
    ),
    (
        Definition(
            "growth_share",
            pgettext_lazy("share", "Organic growth of members"),
            _("Enrolled less closed, as a part of the members at opening. Transfers are growth and loss for nobody."),
            GROWTH,
        ),
        Definition(
            "active_growth_share",
            pgettext_lazy("share", "Organic growth of active members"),
            _("Newly active and reactivated, less lapsed, as a part of the members active at opening."),
        ),
        Definition(
            "lapsed_share",
            _("Lapsed share"),
            _("Lapsed, as a part of the members active at opening. Lower is better."),
        ),
        Definition(
            "upkeep",
            _("Profile upkeep"),
            _(
                "Of three members for each day with a ticket that the clerk served: those whose phone and "
                "neighbourhood were confirmed or put right. A member counts once a month, and of a day three count."
            ),
        ),
        Definition(
            "calls_reached",
            _("Calls that reached the member"),
            _("Of the contacts that the clerk logged in the days of the month: those that reached the member."),
        ),
        Definition(
            "score",
            _("Score"),
            _(
                "Points of a measure = weight x value / target, or target / value where lower is better; to a "
                "hundredth of a percent, and not above the cap. A value of zero or less reaches nothing, or where "
                "lower is better the cap. A target of zero is reached (100%%) or not (0). The score is the sum "
                "of the points. A measure with too small a sample (fewer than %(small)d), or with nothing to measure, "
                "is left out, and its weight shared among the others: nobody gains or loses by chance."
            ),
            SCORE,
        ),
        Definition(
            "kpi_bonus",
            _("KPI bonus"),
            _(
                "The amount at 100 points x score / 100, for the days posted as the base salary is, rounded once. The "
                "member share of variable pay is counted before this bonus. The table is that of the score with "
                "the lapsed share left out: 71 points of a weight of 70."
            ),
            LEFT_OUT,
        ),
    ),
)

GROUPS = (MEASURES, MOVEMENT, ACTIVE, KEY, ANALYSIS, SCORES)


def definition_text(definition: Definition | Group) -> str:
    """How a figure is counted, with the settings that hold here."""
    values: Mapping[str, object] = {
        "amount": format_amount(settings.EFFECTIVE_PURCHASE_AMOUNT),
        "days": settings.EFFECTIVE_DAYS,
        "within": int(definition.key.removeprefix("repurchase_"))
        if isinstance(definition, Definition) and definition.key.startswith("repurchase_")
        else 0,
        "goal": settings.MEMBER_PAY_GOAL_PERCENT,
        "window": settings.ACTIVITY_WINDOW_DAYS,
        "small": settings.MEASURE_SMALL_SAMPLE,
    }
    text = str(definition.text)
    return text % values if "%" in text else text
