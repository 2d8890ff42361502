"""A closed month as the rows and columns of an export profile, and the control totals that tie them to the payslips.

A clerk with 5,123.45 of base, 0.01 of commission and 7.00 taken back, under a profile that leaves the base out and
calls the rest COMM or CLAW, never negative: one row "CLAW 6.99". The control totals say: 5,116.46 on the payslip are
-6.99 exported and 5,123.45 left out.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db.models import TextChoices
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from commission.money import format_amount
from payroll_exports.exports import ExportRefused
from payroll_exports.identity_documents import TAX_WORDS, IdentityDocument
from payroll_exports.line_codes import LineCode, line_name
from payroll_exports.models import ExportProfile, Payslip
from portfolios.models import Month

# What a ready profile cannot know, in a text, a code or a line before the data: HR fills it in before the first file.
OPEN = "?"
Rows, Sign = ExportProfile.Rows, ExportProfile.Sign
Kind = IdentityDocument.Kind


class Source(TextChoices):
    """Where a column's cells come from; some need a detail."""

    CLERK_NO = "clerk_no", gettext_lazy("clerk number")
    CLERK_NAME = "clerk_name", gettext_lazy("clerk name")
    STORE_NO = "store_no", gettext_lazy("store number")
    STORE_NAME = "store_name", gettext_lazy("store name")
    MONTH = "month", gettext_lazy("month: 2026-10")
    MONTH_DIGITS = "month_digits", gettext_lazy("month: 202610")
    MONTH_FIRST = "month_first", gettext_lazy("first day of the calendar month")
    MONTH_ENDS = "month_ends", gettext_lazy("last day of the month")
    PAY_DATE = "pay_date", gettext_lazy("last day of the month, or a leaver's last day")
    AMOUNT = "amount", gettext_lazy("amount of the row")
    SUM = "sum", gettext_lazy("sum of these lines (detail: BASE CLAWBACK …)")
    QUANTITY = "quantity", gettext_lazy("quantity: tickets or days")
    CODE = "code", gettext_lazy("code of the line")
    LINE_CODE = "line_code", gettext_lazy("earning line: CLAWBACK")
    LINE_NAME = "line_name", gettext_lazy("earning line's name")
    SEQUENCE = "sequence", gettext_lazy("number of the row")
    TEXT = "text", gettext_lazy("this text (detail)")
    IDENTITY_TYPE = "identity_type", gettext_lazy("identity document: its type, as the tax office calls it")
    IDENTITY_NO = "identity_no", gettext_lazy("identity document: its number")
    REFERENCE = "reference", gettext_lazy("clerk's number in the other system (detail: its name)")
    REFERENCE_OR_CLERK_NO = (
        "reference_or_clerk_no",
        gettext_lazy("number in the other system, or else the clerk number"),
    )


AMOUNTS = (Source.AMOUNT, Source.SUM)
IDENTITY = (Source.IDENTITY_TYPE, Source.IDENTITY_NO)
# What a row of several lines has no single one of.
_OF_ONE_LINE = {
    Rows.CLERK: (Source.CODE, Source.LINE_CODE, Source.LINE_NAME, Source.QUANTITY),
    Rows.CODE: (Source.LINE_CODE, Source.LINE_NAME),
}


class Column(NamedTuple):
    heading: str
    source: str
    detail: str


class Money(NamedTuple):
    """An amount in minor units, as it stands in the file."""

    amount: int


Cell = str | int | dt.date | Money


class Line(NamedTuple):
    """An earning line; `amount` in minor units, with the payslip's sign."""

    line_code: str
    quantity: int
    amount: int


@dataclass(frozen=True)
class PaidClerk:
    """What a payslip says, as it was when it was locked; when the clerk left, and type and number of the identity
    document as of now.
    """

    clerk_no: str
    clerk_name: str
    store_no: str
    store_name: str
    left_on: dt.date | None
    identity: tuple[str, str] | None
    lines: list[Line]


@dataclass
class ProfileTable:
    """One file's rows, and its control totals in minor units with the payslips' signs."""

    store_no: str
    columns: list[Column]
    rows: list[list[Cell]] = field(default_factory=list)
    clerks: int = 0
    ledger_amount: int = 0
    exported_amount: int = 0
    left_out: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def column_totals(self) -> dict[int, int]:
        """The sum of each column of amounts, by its place, as it stands in the file."""
        places = [place for place, column in enumerate(self.columns) if column.source in AMOUNTS]
        totals = dict.fromkeys(places, 0)
        for row in self.rows:
            for place in places:
                cell = row[place]
                assert isinstance(cell, Money)
                totals[place] += cell.amount
        return totals


def columns_of(profile: ExportProfile) -> list[Column]:
    return [Column(*column) for column in profile.columns]


def profile_problems(profile: ExportProfile) -> list[str]:
    """Why no file can be made by the profile, in sentences; empty where one can."""
    columns = columns_of(profile)
    sources = [column.source for column in columns]
    problems = []
    if not any(source in AMOUNTS for source in sources):
        problems.append(_("The profile has no column with an amount."))
    headings = [column.heading for column in columns]
    if len(set(headings)) < len(headings):
        problems.append(_("Two columns have the same heading."))
    for column in columns:
        if column.source in _OF_ONE_LINE.get(Rows(profile.rows), ()):
            problems.append(
                _("Column %(heading)s belongs to a single line, and a row holds several of them.")
                % {"heading": column.heading}
            )
        if column.source == Source.SUM and profile.rows != Rows.CLERK:
            problems.append(
                _("Column %(heading)s is a sum of lines: take one row per clerk, or the amount of the row.")
                % {"heading": column.heading}
            )
        if column.source == Source.SUM and not (column.detail and set(column.detail.split()) <= set(LineCode.values)):
            problems.append(
                _("Column %(heading)s needs the codes of the lines that it sums: %(codes)s.")
                % {"heading": column.heading, "codes": " ".join(LineCode.values)}
            )
        if column.source in (Source.REFERENCE, Source.REFERENCE_OR_CLERK_NO) and not column.detail:
            problems.append(
                _("Column %(heading)s needs the name of the number in the other system.") % {"heading": column.heading}
            )
    if profile.rows == Rows.CODE and Source.CODE not in sources:
        problems.append(_("One row per code needs a column with the code."))
    if profile.sign == Sign.NEVER_NEGATIVE and Source.CODE not in sources:
        problems.append(_("Amounts that are never negative need a column with the code, which tells a deduction."))
    if profile.layout in (ExportProfile.Layout.JSON, ExportProfile.Layout.LODAS) and profile.trailer:
        problems.append(_("Totals in a last row are for CSV and XLSX only."))
    return problems + _open_places(profile, columns)


def _open_places(profile: ExportProfile, columns: list[Column]) -> list[str]:
    places = [column.heading for column in columns if column.source == Source.TEXT and column.detail == OPEN]
    if any(column.source == Source.CODE for column in columns):
        places += [code for code, pair in profile.codes.items() if OPEN in pair]
    places += [line.rstrip(OPEN).rstrip("=") for line in profile.preamble.splitlines() if line.endswith(f"={OPEN}")]
    if not places:
        return []
    return [
        _("Still to be filled in, where the profile has a question mark: %(places)s.") % {"places": ", ".join(places)}
    ]


def profile_tables(profile: ExportProfile, month: Month) -> list[ProfileTable]:
    """The month's files by the profile: one for the chain, or one per store with payslips, by store number.

    Names of lines are in the active language. Raises ExportRefused where the month is open, the profile incomplete,
    or a clerk's reference or a deduction's code is missing.
    """
    problems = profile_problems(profile)
    if problems:
        raise ExportRefused("\n".join(problems))
    clerks = _paid_clerks(month)
    if profile.scope == ExportProfile.Scope.CHAIN:
        return [_table(profile, month, "", clerks)]
    stores = sorted({clerk.store_no for clerk in clerks})
    return [
        _table(profile, month, store_no, [clerk for clerk in clerks if clerk.store_no == store_no])
        for store_no in stores
    ]


def missing_references(profile: ExportProfile, month: Month) -> list[str]:
    """The clerks of the month's rows, by number, who lack a number that a column needs: of theirs in the other system,
    or of their identity document.
    """
    columns = columns_of(profile)
    needed = {column.detail for column in columns if column.source == Source.REFERENCE}
    identified = any(column.source in IDENTITY for column in columns)
    coded = any(column.source == Source.CODE for column in columns)
    return [
        clerk.clerk_no
        for clerk in _paid_clerks(month)
        if (
            (identified and clerk.identity is None)
            or any(not profile.references.get(clerk.clerk_no, {}).get(name) for name in needed)
        )
        and (
            profile.rows == Rows.CLERK or any(_is_exported(profile, columns, line, coded=coded) for line in clerk.lines)
        )
    ]


def _paid_clerks(month: Month) -> list[PaidClerk]:
    if not month.is_closed:
        raise ExportRefused(
            _("Month %(month)s is open: pay is exported once it is closed (manage.py close_month %(month)s).")
            % {"month": month}
        )
    payslips = Payslip.objects.filter(month=month).select_related("clerk").prefetch_related("lines")
    documents = IdentityDocument.objects.filter(clerk__payslips__month=month)
    identities = {document.clerk_id: (TAX_WORDS[Kind(document.kind)], document.number) for document in documents}
    found = [
        PaidClerk(
            slip.document["clerk_no"],
            slip.document["clerk_name"],
            slip.document["store_no"],
            slip.document["store_name"],
            slip.clerk.left_on,
            identities.get(slip.clerk_id),
            [Line(line.line_code, line.quantity, line.amount) for line in slip.lines.all()],
        )
        for slip in payslips
    ]
    return sorted(found, key=lambda clerk: clerk.clerk_no)


def _table(profile: ExportProfile, month: Month, store_no: str, clerks: Iterable[PaidClerk]) -> ProfileTable:
    columns = columns_of(profile)
    language = get_language() or "en"
    names = {code: line_name(code, language) for code in LineCode.values}
    table = ProfileTable(store_no, columns)
    for clerk in clerks:
        rows = [*_rows_of(profile, columns, clerk, table)]
        table.clerks += bool(rows)
        for code, lines in rows:
            amount = sum(line.amount for line in lines)
            cells = _Cells(profile, month, clerk, code, lines, amount, len(table.rows) + 1, names)
            table.rows.append([cells.cell(column) for column in columns])
    return table


def _rows_of(
    profile: ExportProfile, columns: list[Column], clerk: PaidClerk, table: ProfileTable
) -> Iterator[tuple[str, list[Line]]]:
    """A clerk's rows, each a code ("" where the profile has none) and its lines; counts all lines in the totals."""
    coded = any(column.source == Source.CODE for column in columns)
    exported = []
    for line in clerk.lines:
        table.ledger_amount += line.amount
        if _is_exported(profile, columns, line, coded=coded):
            table.exported_amount += line.amount
            exported.append(line)
        else:
            table.left_out[line.line_code] += line.amount
    if profile.rows == Rows.CLERK:
        yield "", exported
        return
    groups: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in exported:
        pair = tuple(profile.codes[line.line_code]) if coded else ()
        groups[pair if profile.rows == Rows.CODE else (*pair, line.line_code)].append(line)
    for key, lines in groups.items():
        amount = sum(line.amount for line in lines)
        # Lines that cancel each other out under one code leave nothing to pay or to deduct.
        if amount or profile.rows == Rows.LINE:
            yield (_code(profile, key[0], key[1], amount, clerk) if coded else ""), lines


def _is_exported(profile: ExportProfile, columns: list[Column], line: Line, *, coded: bool) -> bool:
    if coded:
        return bool(profile.codes.get(line.line_code, ["", ""])[0])
    return any(
        column.source == Source.AMOUNT or (column.source == Source.SUM and line.line_code in column.detail.split())
        for column in columns
    )


def _code(profile: ExportProfile, earning: str, deduction: str, amount: int, clerk: PaidClerk) -> str:
    if amount >= 0:
        return earning
    if profile.sign == Sign.NEVER_NEGATIVE and not deduction:
        raise ExportRefused(
            _(
                "Clerk %(clerk)s has %(amount)s under %(code)s, which has no code for deductions: give it one in the "
                "profile's form."
            )
            % {"clerk": clerk.clerk_no, "amount": format_amount(amount), "code": earning}
        )
    return deduction or earning


class _Cells(NamedTuple):
    """A row's facts, from which each column takes its cell."""

    profile: ExportProfile
    month: Month
    clerk: PaidClerk
    code: str
    lines: list[Line]
    amount: int
    number: int
    names: dict[str, str]

    def cell(self, column: Column) -> Cell:
        source, month, clerk = column.source, self.month, self.clerk
        facts: dict[str, Cell] = {
            Source.CLERK_NO: clerk.clerk_no,
            Source.CLERK_NAME: clerk.clerk_name,
            Source.STORE_NO: clerk.store_no,
            Source.STORE_NAME: clerk.store_name,
            Source.MONTH: month.name,
            Source.MONTH_DIGITS: str(month.pk),
            # A month that begins on a cut-off day bears the name of the calendar month in which it ends.
            Source.MONTH_FIRST: dt.date(month.pk // 100, month.pk % 100, 1),
            Source.MONTH_ENDS: month.ends_on,
            Source.PAY_DATE: min(month.ends_on, clerk.left_on or month.ends_on),
            Source.QUANTITY: sum(line.quantity for line in self.lines),
            Source.CODE: self.code,
            Source.SEQUENCE: self.number,
            Source.TEXT: column.detail,
        }
        if source in facts:
            return facts[source]
        if source == Source.AMOUNT:
            return self._money(self.amount)
        if source == Source.SUM:
            return self._money(sum(line.amount for line in self.lines if line.line_code in column.detail.split()))
        if source == Source.LINE_CODE:
            return self.lines[0].line_code
        if source == Source.LINE_NAME:
            return self.names[self.lines[0].line_code]
        return self._identity(column) if source in IDENTITY else self._reference(column)

    def _money(self, amount: int) -> Money:
        if self.profile.sign == Sign.NEVER_NEGATIVE:
            return Money(abs(amount))
        return Money(-amount if self.profile.sign == Sign.REVERSED else amount)

    def _identity(self, column: Column) -> str:
        if self.clerk.identity is None:
            raise ExportRefused(
                _("Clerk %(clerk)s has no identity document: import identity_documents.csv.")
                % {"clerk": f"{self.clerk.clerk_no} {self.clerk.clerk_name}"}
            )
        kind, number = self.clerk.identity
        return kind if column.source == Source.IDENTITY_TYPE else number

    def _reference(self, column: Column) -> str:
        value: str = self.profile.references.get(self.clerk.clerk_no, {}).get(column.detail, "")
        if value or column.source == Source.REFERENCE_OR_CLERK_NO:
            return value or self.clerk.clerk_no
        raise ExportRefused(
            _("Clerk %(clerk)s has no %(name)s: add it in the profile's form, to the numbers in the other system.")
            % {"clerk": f"{self.clerk.clerk_no} {self.clerk.clerk_name}", "name": column.detail}
        )
