"""A pay report as PDF: a store's or the chain's month, or a clerk's year, with pictures and every row's figures.

Everything on it comes from one `ReportDocument`; no database is read. A row with lines of 480,000 (base) and 31,245
(own members, served) stands as 4,800.00, 312.45 and 5,112.45 to be paid; the columns add up to the last row.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import override, pgettext

from commission.money import format_amount
from commission.templatetags.money import count, money_text
from kpis.difference_bars import DifferenceChart, difference_bars
from payroll_exports.line_codes import LineCode, line_name
from payroll_exports.pay_pictures import pay_bar
from payroll_exports.payslip_pdf import (
    FAMILY,
    LANGUAGES,
    LESS,
    PayslipError,
    PayslipLine,
    Typesetter,
    added_up,
    line_groups,
    month_name,
    style_values,
)
from payroll_exports.report_models import PayReport


@dataclass(frozen=True)
class ReportRow:
    """A payslip: its lines, and what the one before it paid (None: there was none, or nobody asks)."""

    number: str
    name: str
    lines: tuple[PayslipLine, ...]
    previous_amount: int | None = None

    @property
    def amount(self) -> int:
        return sum(line.amount for line in self.lines)


@dataclass(frozen=True)
class ReportSection:
    """Rows that have a sum of their own: a store's in the register; the only section of other reports."""

    number: str
    name: str
    rows: tuple[ReportRow, ...]


@dataclass(frozen=True)
class ReportDocument:
    """All that a report says. Amounts are in minor units of `currency`; `month` is the last one of a statement.

    PayslipError where the rows don't sum to `paid_amount`, what the payslips say.
    """

    kind: str
    language: str
    month: str
    starts_on: date
    ends_on: date
    number: str
    name: str
    sections: tuple[ReportSection, ...]
    paid_amount: int
    currency: str
    verification_code: str = ""

    def __post_init__(self) -> None:
        total = sum(row.amount for row in self.rows)
        if total != self.paid_amount:
            raise PayslipError(
                f"{self.kind} {self.month} {self.number}: the lines sum to {total} but the payslips to "
                f"{self.paid_amount} (minor units). Prove the month with manage.py verify {self.month}."
            )

    @property
    def rows(self) -> list[ReportRow]:
        return [row for section in self.sections for row in section.rows]

    @property
    def is_statement(self) -> bool:
        return self.kind == PayReport.Kind.STATEMENT

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what the verification code is made of."""
        return asdict(self) | {"starts_on": self.starts_on.isoformat(), "ends_on": self.ends_on.isoformat()}


def render_report(document: ReportDocument) -> bytes:
    """The PDF of a report: PDF/A-3a and PDF/UA-1, the same bytes for the same document. A statement fits one page."""
    # WeasyPrint loads Pango when it is imported; only who makes a PDF waits for it.
    from payroll_exports.tagged_pdf import tagged_pdf

    with override(document.language):
        page = render_to_string("payroll_exports/report.html", _page_values(document))
        style = {**style_values(), "across": not document.is_statement}
        sheets = [render_to_string(f"payroll_exports/{name}.css", style) for name in ("elements", "report")]
    stored = json.dumps(document.to_dict(), sort_keys=True).encode()
    return tagged_pdf(
        page=page,
        stylesheet="".join(sheets),
        identifier=hashlib.sha256(stored).digest()[:16],
        attached=[("lines.json", _lines_json(document), document.ends_on)],
    )


def _lines_json(document: ReportDocument) -> bytes:
    """Every line of every payslip as data, with the names and forms of the payroll export."""
    data = {
        "report": document.kind,
        "month": document.month,
        "number": document.number,
        "currency": document.currency,
        "verification_code": document.verification_code,
        "paid_amount": format_amount(document.paid_amount),
        "lines": [
            {
                "month": row.name if document.is_statement else document.month,
                "clerk_no": document.number if document.is_statement else row.number,
                "line_code": line.line_code,
                "quantity": line.quantity,
                "amount": format_amount(line.amount),
            }
            for row in document.rows
            for line in row.lines
        ],
    }
    return json.dumps(data, ensure_ascii=False, indent=1).encode()


def _page_values(document: ReportDocument) -> dict[str, Any]:
    typeset = Typesetter()
    lines = added_up(line for row in document.rows for line in row.lines)
    sections = [
        {
            "number": typeset(section.number),
            "name": typeset(section.name),
            "rows": [_row(typeset(row.number), typeset(row.name), [row]) for row in section.rows],
            "total": _row("", "", section.rows),
        }
        for section in document.sections
    ]
    page = {
        "document": document,
        "lang": LANGUAGES[document.language],
        "title": PayReport.Kind(document.kind).label,
        "period": document.month[:4] if document.is_statement else month_name(document.month),
        "number": typeset(document.number),
        "name": typeset(document.name) or _("Chain"),
        "currency": _("CNY") if document.currency == "CNY" else typeset(document.currency),
        "paid": money_text(document.paid_amount),
        "count": len(document.rows),
        "bar": pay_bar(
            ((line.line_code, line.amount) for line in lines),
            title=_("Where the variable pay came from"),
            plain=pgettext("part of the pay", "Bonus and other"),
            width=672 if document.is_statement else 990,
        ),
        "lines": [
            {
                "name": line_name(line.line_code, document.language),
                "count": count(line.quantity) if line.quantity and line.line_code != LineCode.BASE else "",
                **_money(line.amount),
            }
            for line in lines
        ],
        "chart": _chart(document, typeset),
        "groups": [name for name, _codes in line_groups()],
        "sections": sections,
        "total": _row("", "", document.rows),
        "less": LESS,
        "family": FAMILY,
    }
    return page | {"missing": ", ".join(typeset.missing)}


def _row(number: str, name: str, rows: Sequence[ReportRow]) -> dict[str, Any]:
    """A row of the table, or the sum of several: the amount of each group of lines, all of it, and the change."""
    amounts: dict[str, int] = dict.fromkeys(LineCode.values, 0)
    for row in rows:
        for line in row.lines:
            amounts[line.line_code] += line.amount
    known = [row for row in rows if row.previous_amount is not None]
    change = sum(row.amount - (row.previous_amount or 0) for row in known)
    return {
        "number": number,
        "name": name,
        "groups": [_money(sum(amounts[code] for code in codes)) for _name, codes in line_groups()],
        "paid": _money(sum(amounts.values())),
        "change": _signed_money(change) if known else "",
    }


def _money(amount: int) -> dict[str, Any]:
    return {"amount": money_text(amount) if amount else "–", "less": amount < 0}


def _signed_money(amount: int) -> str:
    return f"+{money_text(amount)}" if amount > 0 else money_text(amount)


def _chart(document: ReportDocument, typeset: Typesetter) -> DifferenceChart | None:
    """Whose pay changed most against last month: a store's clerks, the chain's stores. A year's months as they were."""
    figure: Callable[[int], str] = money_text
    if document.is_statement:
        title = _("Paid, month by month")
        bars = [(row.name, row.number, row.amount) for row in document.rows]
    else:
        title, figure = _("Biggest changes against last month"), _signed_money
        parts = (
            [(section.name, section.number, section.rows) for section in document.sections]
            if document.kind == PayReport.Kind.REGISTER
            else [(row.name, row.number, (row,)) for row in document.rows]
        )
        bars = [
            (name, number, sum(row.amount - (row.previous_amount or 0) for row in known))
            for name, number, rows in parts
            if (known := [row for row in rows if row.previous_amount is not None])
        ]
    return difference_bars(
        [(typeset(name), typeset(number), value) for name, number, value in bars],
        id="changes",
        title=title,
        figure=figure,
        figure_width=76,
        by_size=not document.is_statement,
    )
