"""What each clerk earns in a month, line by line, from the ledger as it stands.

A clerk posted for 20 of 31 days on a base of 5,000.00 a month gets 3,225.81. Variable pay is never below zero: a
clerk with 200.00 of commission and 500.00 of clawbacks is paid the base alone, and 300.00 is carried into next month.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.expressions import Combinable

from commission.bands import accelerators
from commission.contested import held_amounts
from commission.models import Attribution
from commission.money import round_half_away
from kpis.scorecard import bonuses
from payroll_exports.line_codes import LineCode
from payroll_exports.models import Adjustment, EarningLine, Payslip, Salary
from portfolios.models import Clerk, Month
from portfolios.months import next_number
from portfolios.postings import Posted, postings_in

Kind = Attribution.Kind
PayLine = Attribution.PayLine

# The lines that hold the ledger's commission, before what is added, held or carried.
COMMISSION_LINES = (
    LineCode.OWN_SERVED,
    LineCode.OWN_ABSENT,
    LineCode.COVERED,
    LineCode.UNOWNED,
    LineCode.WALK_IN,
    LineCode.LATE,
    LineCode.CLAWBACK,
    LineCode.CORRECTION,
)
_OWNER_LINES = {Kind.OWN_SERVED: LineCode.OWN_SERVED, Kind.SPLIT: LineCode.OWN_ABSENT}
# The lines that gather rows of every kind.
_OTHER_LINES = (LineCode.LATE, LineCode.CLAWBACK, LineCode.CORRECTION)
_SERVER_LINES = {Kind.SPLIT: LineCode.COVERED, Kind.UNOWNED: LineCode.UNOWNED, Kind.WALK_IN: LineCode.WALK_IN}


class Earning(NamedTuple):
    """One line of a clerk's month: `quantity` counts distinct tickets (BASE: days), `amount` is in minor units."""

    line_code: str
    quantity: int
    amount: int


Lines = dict[int, dict[str, Earning]]


def earnings(month: Month, clerks: Iterable[int] | None = None) -> dict[int, list[Earning]]:
    """The earning lines of every clerk (or of those with these ids) who is due a payslip, by clerk id.

    Due a payslip is who was posted on a day of the month, and who has any line. Lines come in the payslip's order,
    and only those with a quantity or an amount. A closed month's are the locked ones; an open month's are worked out
    from the ledger. Nothing is carried into a month while the one before it is open.
    """
    ids = None if clerks is None else list(clerks)
    if month.is_closed:
        return _locked(month, ids)
    lines: Lines = defaultdict(dict)
    posted = postings_in(month, ids)
    credits = _add_commission(lines, month, ids)
    _add_base(lines, month, posted)
    _add_bands(lines, month, posted, credits)
    _add_kpi(lines, month, ids)
    _add_held(lines, month, ids)
    _add_adjustments(lines, month, ids)
    _add_carried(lines, month, ids)
    return {
        clerk: [lines[clerk][code] for code in LineCode if code in lines[clerk]]
        for clerk in sorted(lines.keys() | posted.keys())
    }


def line_rows(month: Month, clerk: Clerk, line_code: str) -> QuerySet[Any]:
    """The ledger's rows behind a clerk's commission line of a month, the latest sale first.

    Annotates `line_amount` and `line_credit_amount`, in minor units: what each brings the clerk in this line, as owner
    or as server; the amounts sum to the line's. Raises ValueError for a line that is made of no tickets.
    """
    if line_code not in COMMISSION_LINES:
        raise ValueError(f"{line_code} is made of no tickets")
    of_line = {
        "owner": [kind for kind, code in _OWNER_LINES.items() if line_code in (code, *_OTHER_LINES)],
        "server": [kind for kind, code in _SERVER_LINES.items() if line_code in (code, *_OTHER_LINES)],
    }
    pay_line = line_code if line_code in _OTHER_LINES else PayLine.KIND
    has_part = {side: Q(**{side: clerk, "kind__in": kinds}) for side, kinds in of_line.items()}

    def sums(what: str) -> Combinable:
        sides = [Case(When(part, then=F(f"{side}_{what}_amount")), default=Value(0)) for side, part in has_part.items()]
        return sides[0] + sides[1]

    rows = Attribution.objects.filter(has_part["owner"] | has_part["server"], month=month, pay_line=pay_line)
    return rows.annotate(line_amount=sums("commission"), line_credit_amount=sums("credit")).order_by(
        "-business_date", "-pk"
    )


def _among(column: str, clerks: list[int] | None) -> Q:
    return Q() if clerks is None else Q(**{f"{column}__in": clerks})


def _locked(month: Month, clerks: list[int] | None) -> dict[int, list[Earning]]:
    payslips = Payslip.objects.filter(_among("clerk", clerks), month=month)
    lines: dict[int, list[Earning]] = {
        clerk: [] for clerk in payslips.order_by("clerk").values_list("clerk", flat=True)
    }
    rows = EarningLine.objects.filter(_among("payslip__clerk", clerks), month=month).order_by("pk")
    for clerk, code, quantity, amount in rows.values_list("payslip__clerk", "line_code", "quantity", "amount"):
        lines[clerk].append(Earning(code, quantity, amount))
    return lines


def _add(lines: Lines, clerk: int, line_code: str, quantity: int, amount: int) -> None:
    before = lines[clerk].get(line_code, Earning(line_code, 0, 0))
    total = Earning(line_code, before.quantity + quantity, before.amount + amount)
    if total.quantity or total.amount:
        lines[clerk][line_code] = total


def _add_commission(lines: Lines, month: Month, clerks: list[int] | None) -> dict[int, int]:
    """Adds the ledger's lines; returns each clerk's credit, as owner and as server.

    A clerk may be the owner in one row of a ticket and the server in another of the same line (a correction that
    swaps the two): such a ticket is counted once, on the owner's side.
    """
    rows = Attribution.objects.filter(month=month)
    also_owner = Exists(
        rows.filter(pay_line=OuterRef("pay_line"), owner=OuterRef("server"), part__sale=OuterRef("part__sale"))
    )
    sides: list[tuple[str, dict[Kind, LineCode], Q]] = [
        ("owner", _OWNER_LINES, Q()),
        ("server", _SERVER_LINES, Q(pay_line=PayLine.KIND) | Q(~also_owner)),
    ]
    credits: dict[int, int] = defaultdict(int)
    for side, lines_of_kind, counted in sides:
        of_kind = [When(kind=kind, then=Value(code.value)) for kind, code in lines_of_kind.items()]
        totals = (
            rows.filter(_among(side, clerks), kind__in=lines_of_kind, **{f"{side}__isnull": False})
            .annotate(
                line=Case(When(~Q(pay_line=PayLine.KIND), then=F("pay_line")), *of_kind, output_field=CharField())
            )
            .values_list(side, "line")
            .annotate(
                tickets=Count("part__sale", distinct=True, filter=counted),
                commission=Sum(f"{side}_commission_amount"),
                credit=Sum(f"{side}_credit_amount"),
            )
            .order_by()
        )
        for clerk, line_code, tickets, commission_amount, credit_amount in totals:
            _add(lines, clerk, line_code, tickets, commission_amount)
            credits[clerk] += credit_amount
    return credits


def _add_base(lines: Lines, month: Month, posted: dict[int, Posted]) -> None:
    """Adds the base salary: monthly base x days posted / days of the month, rounded once, over all salaries."""
    salaries = Salary.objects.filter(clerk__in=posted, valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
    shares: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for clerk, base, start, end in salaries.values_list("clerk", "monthly_base_amount", "valid_from", "valid_to"):
        shares[clerk].append((sum(start <= day < end for day in posted[clerk].days), base))
    for clerk, parts in shares.items():
        amount = round_half_away(sum(days * base for days, base in parts), month.days)
        _add(lines, clerk, LineCode.BASE, sum(days for days, _base in parts), amount)


def _add_bands(lines: Lines, month: Month, posted: dict[int, Posted], credits: dict[int, int]) -> None:
    """Adds the accelerator, by the plan of the home store on the last day posted to one."""
    for clerk, amount in accelerators(month, credits, posted).items():
        _add(lines, clerk, LineCode.BAND, 0, amount)


def _add_kpi(lines: Lines, month: Month, clerks: list[int] | None) -> None:
    """Adds the bonus of the scorecard: of an open month, as its measures were worked out last."""
    for clerk, amount in bonuses(month, clerks).items():
        _add(lines, clerk, LineCode.KPI, 0, amount)


def _add_held(lines: Lines, month: Month, clerks: list[int] | None) -> None:
    """Adds what inquiries hold of a clerk's pay, or give back; the quantity is the number of inquiries."""
    for clerk, held in held_amounts(month, clerks).items():
        _add(lines, clerk, LineCode.HELD, len({one.inquiry_id for one in held}), sum(one.amount for one in held))


def _add_adjustments(lines: Lines, month: Month, clerks: list[int] | None) -> None:
    """Adds what was approved beside the ledger; the quantity is the number of adjustments."""
    approved = Adjustment.objects.approved().filter(_among("clerk", clerks), month=month).order_by()
    for clerk, number, amount in approved.values_list("clerk").annotate(Count("pk"), Sum("amount")):
        _add(lines, clerk, LineCode.ADJUSTMENT, number, amount)


def _add_carried(lines: Lines, month: Month, clerks: list[int] | None) -> None:
    """Adds what last month left owing, and takes variable pay below zero out of this month."""
    carried = EarningLine.objects.filter(
        _among("payslip__clerk", clerks), month=next_number(month.pk, -1), line_code=LineCode.CARRIED_OUT
    )
    for clerk, amount in carried.values_list("payslip__clerk", "amount"):
        _add(lines, clerk, LineCode.CARRIED_IN, 0, -amount)
    for clerk, own in lines.items():
        variable = sum(line.amount for line in own.values() if line.line_code != LineCode.BASE)
        if variable < 0:
            _add(lines, clerk, LineCode.CARRIED_OUT, 0, -variable)
