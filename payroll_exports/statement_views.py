"""A clerk's year: each closed month with its payslip, each earning line added up, and the statement as PDF."""

from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from commission.tables import in_currency
from commission.templatetags.money import currency
from payroll_exports.line_codes import LineCode
from payroll_exports.models import EarningLine, Payslip
from payroll_exports.pay_pictures import mark_of
from payroll_exports.pay_reports import annual_statement, payslips_of_year, years_of
from payroll_exports.views import attachment
from portfolios.models import Clerk
from portfolios.views import Choice, reader


@require_GET
def statement(request: HttpRequest, year: int, clerk_no: str) -> HttpResponse:
    """The months of a clerk's year and its earning lines, from the locked payslips."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    payslips = list(payslips_of_year(clerk, year).order_by("-month").defer("document"))
    if not payslips:
        raise Http404
    sums = EarningLine.objects.filter(payslip__in=payslips).values("line_code").order_by()
    lines = {line["line_code"]: line for line in sums.annotate(tickets=Sum("quantity"), total=Sum("amount"))}
    context = {
        "here": "payslips",
        "clerk": clerk,
        "own": clerk.pk == reader(request).clerk_id,
        "year": year,
        "payslips": payslips,
        "lines": [
            {
                "code": code.value,
                "name": code.label,
                "mark": mark_of(code, lines[code]["total"]),
                "quantity": lines[code]["tickets"],
                "amount": lines[code]["total"],
            }
            for code in LineCode
            if code in lines
        ],
        "paid_amount": sum(payslip.paid_amount for payslip in payslips),
        "currency": currency(),
        "amount_heading": in_currency(_("Amount")),
        "years": [
            Choice(reverse("statement", args=[other, clerk_no]), str(other), "", other == year)
            for other, _amount in years_of(clerk)
        ],
    }
    return render(request, "payroll_exports/statement.html", context)


@require_GET
def statement_pdf(request: HttpRequest, year: int, clerk_no: str) -> HttpResponse:
    """The statement as PDF in the clerk's language; the same bytes until another month closes."""
    clerk = get_object_or_404(Clerk.objects.for_user(request.user), clerk_no=clerk_no)
    try:
        report = annual_statement(clerk, year)
    except Payslip.DoesNotExist:
        raise Http404 from None
    headers = {"Content-Disposition": attachment(f"{year}-{clerk_no}.pdf"), "Cache-Control": "private"}
    return HttpResponse(bytes(report.pdf), content_type="application/pdf", headers=headers)
