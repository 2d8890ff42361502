"""What a closed month is proved by: its digest, the rules worked out again, and the payslips against both.

Every row that the close froze is in the month's digest, and every digest in the next one's. `verify` names the row
that changed, and whatever the ledger or a payslip holds that tickets, plans, bindings, postings and salaries don't
give: a payslip line of 4.30 where the ledger comes to 4.20.
"""

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from django.db import models
from django.db.models import Count, Sum
from django.utils.translation import gettext as _

from commission.expected_rows import half_away
from commission.ledger_proof import (
    Block,
    Difference,
    FrozenTable,
    blocks,
    calm_planner,
    differences,
    frozen,
    ledger_tables,
    month_digest,
)
from commission.models import Attribution, Band, HeldAmount, Plan, Sale, SaleLine, SalePart
from commission.money import format_amount
from commission.verify import ClerkTotals, Finding, verify_ledger
from kpis.models import CohortMonth, MeasureMonth, MemberGroup, PortfolioMonth, ScoreLine, ScoreMonth, StoreMonth
from payroll_exports.models import Adjustment, EarningLine, PayRun, Payslip, PayslipFile, ProofBlock, Salary
from payroll_exports.score_proof import verify_scores
from portfolios.models import Clerk, Month, Posting

__all__ = ["Finding", "seal", "verify"]


def frozen_tables(month: Month) -> list[FrozenTable]:
    """Everything that the close of a month froze, table by table."""
    return [
        *ledger_tables(month),
        frozen(PortfolioMonth.objects.filter(month=month)),
        frozen(StoreMonth.objects.filter(month=month)),
        frozen(MemberGroup.objects.filter(month=month)),
        frozen(CohortMonth.objects.filter(month=month)),
        frozen(MeasureMonth.objects.filter(month=month)),
        frozen(ScoreMonth.objects.filter(month=month)),
        frozen(ScoreLine.objects.filter(month=month)),
        frozen(Payslip.objects.filter(month=month)),
        frozen(EarningLine.objects.filter(month=month)),
        frozen(HeldAmount.objects.filter(month=month)),
        frozen(Adjustment.objects.filter(month=month)),
        frozen(PayRun.objects.filter(month=month)),
    ]


def seal(month: Month) -> str:
    """Writes the blocks of a month that is about to close, and returns its digest: `closed_at` is set already."""
    previous = Month.objects.filter(pk__lt=month.pk, closed_at__isnull=False).order_by("pk").last()

    def written() -> Iterator[Block]:
        calm_planner()
        for table in frozen_tables(month):
            sealed = list(blocks(table))
            ProofBlock.objects.bulk_create(
                [ProofBlock(month=month, **block._asdict()) for block in sealed], batch_size=200
            )
            yield from sealed

    return month_digest(month, previous.digest if previous else "", written())


# --- Verifying ---------------------------------------------------------------------------------------------------


def verify(months: Iterable[Month], progress: Callable[[str], None] | None = None) -> Iterator[Finding]:
    """What of these closed months is not as it was frozen, or not as the rules have it; nothing where all is well."""
    tell = progress or (lambda step: None)
    for month in months:
        tell(_("%(month)s: what was frozen") % {"month": month})
        yield from _verify_digest(month)
        tell(_("%(month)s: the ledger by the rules") % {"month": month})
        totals = ClerkTotals()
        yield from verify_ledger(month, totals)
        tell(_("%(month)s: the scores") % {"month": month})
        bonuses: dict[int, int] = {}
        yield from verify_scores(month, bonuses)
        tell(_("%(month)s: the payslips") % {"month": month})
        yield from _verify_payslips(month, totals, bonuses)
        yield from _verify_books(month)
        yield from _verify_files(month)


def _restore() -> str:
    return _("Restore it from a backup that was made after the close, and find out who can write to the database.")


def _verify_digest(month: Month) -> Iterator[Finding]:
    stored = ProofBlock.objects.filter(month=month).order_by("pk")
    if not month.digest or not stored.exists():
        yield Finding(month.name, _("digest"), _("month"), _("one"), _("none"), _restore())
        return
    yield from _verify_tables(month, stored)
    previous = Month.objects.filter(pk__lt=month.pk, closed_at__isnull=False).order_by("pk").last()
    found = month_digest(month, previous.digest if previous else "", map(_as_block, stored.iterator(chunk_size=100)))
    if found != month.digest:
        where = _("the month's own row, the blocks of its proof, or the digest of the month before")
        yield Finding(month.name, _("digest"), where, month.digest, found, _restore())


def _as_block(row: ProofBlock) -> Block:
    values: dict[str, Any] = {name: getattr(row, name) for name in Block._fields}
    return Block(**{**values, "row_digests": bytes(row.row_digests)})


def _verify_tables(month: Month, stored: models.QuerySet[ProofBlock]) -> Iterator[Finding]:
    tables = {table.name: table for table in frozen_tables(month)}
    rows = map(_as_block, stored.iterator(chunk_size=100))
    for name, sealed in groupby(rows, key=lambda block: block.table):
        first = next(sealed)
        # A column or table that came later is not in the digest of an earlier month.
        table = tables.pop(name)._replace(columns=tuple(first.columns.split()))
        for difference in differences(table, _again(first, sealed)):
            yield _changed(month, table, difference)


def _again(first: Block, others: Iterable[Block]) -> Iterator[Block]:
    yield first
    yield from others


def _changed(month: Month, table: FrozenTable, difference: Difference) -> Finding:
    found = {"changed": _("changed"), "added": _("added"), "removed": _("removed")}[difference.what]
    first, last = difference.first_key, difference.last_key
    if difference.what == "removed":
        where = _("%(table)s, between row %(first)d and row %(last)d")
    elif first == last:
        where = _("%(table)s, row %(first)d (%(what)s)")
    else:
        where = _("%(table)s, rows %(first)d to %(last)d")
    named = where % {"table": table.name, "first": first, "last": last, "what": _name(table.rows.model, first)}
    return Finding(month.name, _("frozen row"), named, _("as at the close"), found, _restore())


def _name(model: type[models.Model], key: int) -> str:
    """What people call a row: its ticket, or its clerk."""
    tickets = {Sale: "", SalePart: "sale__", SaleLine: "sale__", Attribution: "part__sale__"}
    clerks = {Payslip: "clerk__", EarningLine: "payslip__clerk__", PortfolioMonth: "clerk__", HeldAmount: "clerk__"}
    clerks |= {Adjustment: "clerk__", ScoreMonth: "clerk__", ScoreLine: "score__clerk__"}
    rows = model._default_manager.filter(pk=key)
    if model in tickets:
        at = tickets[model]
        for store_no, on, ticket_no in rows.values_list(f"{at}store__store_no", f"{at}business_date", f"{at}ticket_no"):
            return _("store %(store)s, %(date)s, ticket %(ticket)s") % {
                "store": store_no,
                "date": on,
                "ticket": ticket_no,
            }
    if model in clerks:
        for clerk_no in rows.values_list(f"{clerks[model]}clerk_no", flat=True):
            return _("clerk %(clerk)s") % {"clerk": clerk_no}
    return str(model._meta.verbose_name)


# --- Payslips ----------------------------------------------------------------------------------------------------


def _verify_payslips(month: Month, totals: ClerkTotals, bonuses: Mapping[int, int]) -> Iterator[Finding]:
    """The payslips' lines against what the rules give, and each payslip against its own lines.

    `bonuses` is what the rules give each clerk for the score.
    """
    numbers = dict(Clerk.objects.values_list("pk", "clerk_no"))
    due: dict[int, dict[str, list[int]]] = defaultdict(dict)
    for (clerk, code), (tickets, amount) in totals.lines.items():
        if tickets or amount:
            due[clerk][code] = [tickets, amount]
    for clerk, code, quantity, amount in _other_lines(month, totals):
        if quantity or amount:
            due[clerk][code] = [quantity, amount]
    for clerk, amount in bonuses.items():
        if amount:
            due[clerk]["KPI"] = [0, amount]
    slips = Payslip.objects.filter(month=month).order_by("clerk")
    locked: dict[int, dict[str, list[int]]] = defaultdict(dict)
    for row in EarningLine.objects.filter(month=month).select_related("payslip"):
        locked[row.payslip.clerk_id][row.line_code] = [row.quantity, row.amount]
    _carry(month, due)

    def finding(clerk: int, what: str, expected: str, found: str) -> Finding:
        remedy = _("Compare the payslip with its PDF and the ledger with a backup: one of them was changed.")
        where = _("payslip of clerk %(clerk)s") % {"clerk": numbers.get(clerk, clerk)}
        return Finding(month.name, what, where, expected, found, remedy)

    seen = set()
    for slip in slips.iterator(chunk_size=500):
        clerk, own = slip.clerk_id, locked[slip.clerk_id]
        seen.add(clerk)
        for code in sorted(due[clerk].keys() | own.keys()):
            want, have = due[clerk].get(code), own.get(code)
            if want != have:
                yield finding(clerk, _("line %(line)s") % {"line": code}, _quantity(want), _quantity(have))
        paid = sum(amount for _quantity_of, amount in own.values())
        if slip.paid_amount != paid:
            yield finding(clerk, _("to be paid"), format_amount(paid), format_amount(slip.paid_amount))
        document = slip.document
        shown = {line["line_code"]: [line["quantity"], line["amount"]] for line in document.get("lines", ())}
        if shown != own or document.get("paid_amount") != slip.paid_amount:
            yield finding(clerk, _("document"), _("the payslip's lines and amount"), _("others"))
    for clerk in sorted(due.keys() - seen):
        if due[clerk]:
            yield finding(clerk, _("payslip"), _("one"), _("none"))


def _quantity(line: list[int] | None) -> str:
    return _("%(amount)s (%(count)d)") % {"amount": format_amount(line[1]), "count": line[0]} if line else _("none")


def _other_lines(month: Month, totals: ClerkTotals) -> Iterator[tuple[int, str, int, int]]:
    """Each clerk's base, accelerator, what is held, and adjustments: from their own rows."""
    held = HeldAmount.objects.filter(month=month).order_by().values_list("clerk")
    for key, inquiries, amount in held.annotate(Count("inquiry", distinct=True), Sum("amount")):
        yield key, "HELD", inquiries, amount
    approved = Adjustment.objects.filter(month=month, approved=True).order_by().values_list("clerk")
    for key, number, amount in approved.annotate(Count("pk"), Sum("amount")):
        yield key, "ADJUSTMENT", number, amount
    days: dict[int, set[dt.date]] = defaultdict(set)
    home: dict[int, tuple[dt.date, int]] = {}
    postings = Posting.objects.filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
    for posting in postings.select_related("clerk"):
        clerk = posting.clerk
        on = max(posting.valid_from, clerk.hired_on, month.starts_on)
        last = min(posting.valid_to - dt.timedelta(days=1), month.ends_on, clerk.left_on or month.ends_on)
        while on <= last:
            days[clerk.pk].add(on)
            if posting.role == Posting.Role.CLERK and (clerk.pk not in home or home[clerk.pk][0] < on):
                home[clerk.pk] = (on, posting.store_id)
            on += dt.timedelta(days=1)
    earned: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for salary in Salary.objects.filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on):
        worked = sum(salary.valid_from <= on < salary.valid_to for on in days[salary.clerk_id])
        earned[salary.clerk_id][0] += worked
        earned[salary.clerk_id][1] += worked * salary.monthly_base_amount
    length = (month.ends_on - month.starts_on).days + 1
    for clerk_id, (worked, base) in earned.items():
        yield clerk_id, "BASE", worked, half_away(base, length)
    plans = [
        plan
        for plan in Plan.objects.filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
        if plan.state == "issued"
    ]
    steps: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for band in Band.objects.order_by("lower_amount"):
        steps[band.plan_id].append((band.lower_amount, band.rate_bp))
    for clerk_id, credit in totals.credits.items():
        if clerk_id not in home:
            continue
        on, store = home[clerk_id]
        in_force = [plan for plan in plans if plan.valid_from <= on < plan.valid_to and plan.store_id in (store, None)]
        if in_force:
            plan = max(in_force, key=lambda plan: plan.store_id is not None)
            yield clerk_id, "BAND", 0, _accelerator(credit, steps[plan.pk])


def _accelerator(credit: int, steps: list[tuple[int, int]]) -> int:
    """Each step's rate on the credit within it, rounded once."""
    if not steps:
        return 0
    uppers = [lower for lower, _rate in steps[1:]] + [max(credit, 0)]
    e4 = sum(
        rate_bp * max(0, min(credit, upper) - lower) for (lower, rate_bp), upper in zip(steps, uppers, strict=True)
    )
    return half_away(e4, 10_000)


def _carry(month: Month, due: dict[int, dict[str, list[int]]]) -> None:
    """Adds what is carried in and out."""
    year, number = divmod(month.pk, 100)
    before = month.pk - 1 if number > 1 else (year - 1) * 100 + 12
    carried = EarningLine.objects.filter(month=before, line_code="CARRIED_OUT")
    for clerk, amount in carried.values_list("payslip__clerk", "amount"):
        due[clerk]["CARRIED_IN"] = [0, -amount]
    for own in due.values():
        variable = sum(amount for code, (_quantity_of, amount) in own.items() if code != "BASE")
        if variable < 0:
            own["CARRIED_OUT"] = [0, -variable]


# --- Books and files ---------------------------------------------------------------------------------------------


def _verify_books(month: Month) -> Iterator[Finding]:
    """Each book begins with what it ended with in the month before."""
    before = Month.objects.filter(pk__lt=month.pk, closed_at__isnull=False).order_by("pk").last()
    if before is None:
        return
    closings = {
        (clerk, None if clerk else store): (closing, active)
        for clerk, store, closing, active in PortfolioMonth.objects.filter(month=before).values_list(
            "clerk__clerk_no", "store__store_no", "closing", "active_closing"
        )
    }
    for clerk, store, opening, active in PortfolioMonth.objects.filter(month=month).values_list(
        "clerk__clerk_no", "store__store_no", "opening", "active_opening"
    ):
        book = (clerk, None if clerk else store)
        expected = closings.get(book, (0, 0))
        if expected != (opening, active):
            where = _("portfolio of %(book)s") % {"book": clerk or store}
            yield Finding(month.name, _("opening"), where, str(expected), str((opening, active)), _restore())


def _verify_files(month: Month) -> Iterator[Finding]:
    files = PayslipFile.objects.filter(payslip__month=month).select_related("payslip__clerk").order_by("pk")
    for file in files.iterator(chunk_size=50):
        found = hashlib.sha256(bytes(file.pdf)).hexdigest()
        if found != file.sha256:
            where = _("PDF of clerk %(clerk)s") % {"clerk": file.payslip.clerk.clerk_no}
            yield Finding(month.name, _("SHA-256"), where, file.sha256, found, _restore())
