"""A store's summary, the chain's register and a clerk's annual statement: of locked payslips, made once and kept.

Their rows are the frozen earning lines and add up to what the payslips pay: four payslips of 420, 180, 0 and 150 are a
register of 750. Names are those that the payslips were locked with.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from payroll_exports.models import EarningLine, PayReport, Payslip
from payroll_exports.payslip_lock import verification_code
from payroll_exports.payslip_pdf import PayslipLine
from payroll_exports.report_pdf import ReportDocument, ReportRow, ReportSection, render_report
from portfolios.models import Clerk, Month, Store
from portfolios.months import next_number

Kind = PayReport.Kind


def store_summary(month: Month, store: Store, *, language: str) -> PayReport:
    """The summary of a store's payslips of a closed month; Payslip.DoesNotExist where it has none."""

    def document() -> ReportDocument:
        payslips = Payslip.objects.filter(month=month, store=store)
        return _of_month(Kind.STORE_SUMMARY, month, payslips, language, number=store.store_no)

    return _kept(Kind.STORE_SUMMARY, month, store.store_no, language, document, store=store)


def chain_register(month: Month, *, language: str) -> PayReport:
    """Every payslip of a closed month, store by store; Payslip.DoesNotExist where it has none."""

    def document() -> ReportDocument:
        return _of_month(Kind.REGISTER, month, Payslip.objects.filter(month=month), language)

    return _kept(Kind.REGISTER, month, "", language, document)


def annual_statement(clerk: Clerk, year: int) -> PayReport:
    """A clerk's payslips of a calendar year, as far as its months are closed, in the clerk's language.

    Payslip.DoesNotExist where there is none.
    """
    payslips = payslips_of_year(clerk, year)
    last = payslips.order_by("-month").first()
    if last is None:
        raise Payslip.DoesNotExist

    def document() -> ReportDocument:
        rows = [
            ReportRow(payslip.document["store_no"], payslip.month.name, lines)
            for payslip, lines in _with_lines(payslips.order_by("month"))
        ]
        first = payslips.order_by("month")[0]
        return ReportDocument(
            kind=Kind.STATEMENT,
            language=clerk.language,
            month=last.month.name,
            starts_on=first.month.starts_on,
            ends_on=last.month.ends_on,
            number=clerk.clerk_no,
            name=last.document["clerk_name"],
            sections=(ReportSection("", "", tuple(rows)),),
            paid_amount=sum(payslips.values_list("paid_amount", flat=True)),
            currency=settings.CURRENCY,
        )

    return _kept(Kind.STATEMENT, last.month, clerk.clerk_no, clerk.language, document, clerk=clerk)


def payslips_of_year(clerk: Clerk, year: int) -> QuerySet[Payslip]:
    """The clerk's locked payslips of the months that bear the year's name."""
    months = range(year * 100 + 1, year * 100 + 13)
    return Payslip.objects.filter(clerk=clerk, month__in=months).select_related("month", "store")


def years_of(clerk: Clerk) -> list[tuple[int, int]]:
    """The calendar years in which the clerk has locked payslips, the latest first, and what they pay."""
    paid: dict[int, int] = defaultdict(int)
    for month, amount in Payslip.objects.filter(clerk=clerk).values_list("month", "paid_amount"):
        paid[month // 100] += amount
    return sorted(paid.items(), reverse=True)


def month_reports(month: Month, *, language: str) -> Iterator[PayReport]:
    """Each store's summary, then the register; nothing of a month without payslips."""
    stores = Store.objects.filter(pk__in=Payslip.objects.filter(month=month).values("store"))
    for store in stores:
        yield store_summary(month, store, language=language)
    if stores:
        yield chain_register(month, language=language)


def _of_month(
    kind: Kind, month: Month, payslips: QuerySet[Payslip], language: str, *, number: str = ""
) -> ReportDocument:
    last_month = dict(Payslip.objects.filter(month=next_number(month.pk, -1)).values_list("clerk", "paid_amount"))
    rows: dict[tuple[str, str], list[ReportRow]] = defaultdict(list)
    paid_amount = 0
    for payslip, lines in _with_lines(payslips.order_by("store__store_no", "clerk__clerk_no")):
        shown = payslip.document
        row = ReportRow(shown["clerk_no"], shown["clerk_name"], lines, last_month.get(payslip.clerk_id))
        rows[shown["store_no"], shown["store_name"]].append(row)
        paid_amount += payslip.paid_amount
    if not rows:
        raise Payslip.DoesNotExist
    sections = tuple(ReportSection(*store, tuple(own)) for store, own in rows.items())
    name = ""
    if kind == Kind.STORE_SUMMARY:
        # Its one store is the report's own name.
        name = sections[0].name
        sections = tuple(replace(section, number="", name="") for section in sections)
    return ReportDocument(
        kind=kind,
        language=language,
        month=month.name,
        starts_on=month.starts_on,
        ends_on=month.ends_on,
        number=number,
        name=name,
        sections=sections,
        paid_amount=paid_amount,
        currency=settings.CURRENCY,
    )


def _with_lines(payslips: QuerySet[Payslip]) -> Iterator[tuple[Payslip, tuple[PayslipLine, ...]]]:
    """Each payslip with its lines as the ledger's own table has them."""
    lines: dict[int, list[PayslipLine]] = defaultdict(list)
    for line in EarningLine.objects.filter(payslip__in=payslips.order_by().values("pk")):
        lines[line.payslip_id].append(PayslipLine(line.line_code, line.quantity, line.amount))
    for payslip in payslips.select_related("month"):
        yield payslip, tuple(lines[payslip.pk])


def _kept(
    kind: Kind,
    month: Month,
    number: str,
    language: str,
    document: Callable[[], ReportDocument],
    *,
    store: Store | None = None,
    clerk: Clerk | None = None,
) -> PayReport:
    """The report that is kept; made now if it is asked for the first time. Of two at once the first one's is kept."""
    which = {"kind": kind, "month": month, "number": number, "language": language}
    kept = PayReport.objects.filter(**which).first()
    if kept:
        return kept
    plain = document()
    coded = replace(plain, verification_code=verification_code(plain.to_dict()))
    pdf = render_report(coded)
    values: dict[str, Any] = {"store": store, "clerk": clerk, "paid_amount": coded.paid_amount, "pdf": pdf}
    values |= {"verification_code": coded.verification_code, "sha256": hashlib.sha256(pdf).hexdigest()}
    return PayReport.objects.get_or_create(**which, defaults=values)[0]
