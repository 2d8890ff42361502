"""The payslips that a close writes: one per clerk, its lines, and the document that its PDF is made of.

A clerk with 4.20 of commission gets a payslip with one line of 4.20, and a code that only this installation can make.
"""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from commission.models import Attribution
from kpis.models import PortfolioMonth
from kpis.movement import FIGURES
from payroll_exports.close_checklist import CloseRefused
from payroll_exports.earnings import Earning
from payroll_exports.models import EarningLine, Payslip
from payroll_exports.payslip_pdf import PayslipDocument, PayslipLine, added_up
from portfolios.models import Clerk, Month, Posting, Store
from portfolios.months import next_number
from portfolios.postings import postings_in

_BATCH = 500


def verification_code(document: Mapping[str, Any]) -> str:
    """Sixteen characters that only this installation can make, and only of this document: "K5QX-2MBA-7RNE-ZC4U".

    `document` is a payslip's as it is stored; the code that it holds already does not count.
    """
    canonical = json.dumps({**document, "verification_code": ""}, sort_keys=True, separators=(",", ":"))
    digest = salted_hmac("payroll_exports.payslip", canonical, algorithm="sha256").digest()
    code = base64.b32encode(digest).decode()
    return "-".join(code[start : start + 4] for start in range(0, 16, 4))


def lock_payslips(month: Month, earned: Mapping[int, list[Earning]], books: Iterable[PortfolioMonth]) -> None:
    """Writes every payslip of the month with its lines, and the document that its PDF will be made of."""
    clerks = Clerk.objects.in_bulk(earned)
    stores = payslip_stores(month, list(earned))
    movements = {book.clerk_id: {name: getattr(book, name) for name in FIGURES} for book in books if book.clerk_id}
    last_month = _payslip_lines(next_number(month.pk, -1))
    years = _year_so_far(month)

    payslips = []
    for clerk_id in sorted(earned, key=lambda clerk_id: (stores[clerk_id].store_no, clerks[clerk_id].clerk_no)):
        clerk, store = clerks[clerk_id], stores[clerk_id]
        document = PayslipDocument(
            language=clerk.language,
            month=month.name,
            starts_on=month.starts_on,
            ends_on=month.ends_on,
            clerk_no=clerk.clerk_no,
            clerk_name=clerk.name,
            store_no=store.store_no,
            store_name=store.name,
            lines=tuple(PayslipLine(*line) for line in earned[clerk_id]),
            paid_amount=sum(line.amount for line in earned[clerk_id]),
            movement=movements.get(clerk_id) or dict.fromkeys(FIGURES, 0),
            previous_lines=tuple(last_month[clerk_id]) if clerk_id in last_month else None,
            verification_code="",
            currency=settings.CURRENCY,
            year_lines=added_up([*years.get(clerk_id, ()), *(PayslipLine(*line) for line in earned[clerk_id])]),
        )
        stored = document.to_dict()
        stored["verification_code"] = verification_code(stored)
        payslips.append(
            Payslip(month=month, clerk=clerk, store=store, paid_amount=document.paid_amount, document=stored)
        )
    Payslip.objects.bulk_create(payslips, batch_size=_BATCH)
    EarningLine.objects.bulk_create(
        (
            EarningLine(
                payslip=payslip,
                month=month,
                line_code=line.line_code,
                quantity=line.quantity,
                amount=line.amount,
            )
            for payslip in payslips
            for line in earned[payslip.clerk_id]
        ),
        batch_size=_BATCH,
    )


def _payslip_lines(month_id: int) -> dict[int, list[PayslipLine]]:
    """The lines of each locked payslip of a month, by clerk id."""
    payslips = Payslip.objects.filter(month=month_id).defer("document").prefetch_related("lines")
    return {
        payslip.clerk_id: [PayslipLine(line.line_code, line.quantity, line.amount) for line in payslip.lines.all()]
        for payslip in payslips
    }


def _year_so_far(month: Month) -> dict[int, list[PayslipLine]]:
    """The sum of each line of the calendar year's earlier payslips, by clerk id."""
    january = month.pk // 100 * 100 + 1
    lines = EarningLine.objects.filter(month__gte=january, month__lt=month.pk).values("payslip__clerk", "line_code")
    sums = lines.annotate(count=Sum("quantity"), total=Sum("amount")).order_by()
    found: dict[int, list[PayslipLine]] = defaultdict(list)
    for line in sums:
        found[line["payslip__clerk"]].append(PayslipLine(line["line_code"], line["count"], line["total"]))
    return found


def payslip_stores(month: Month, clerks: list[int]) -> dict[int, Store]:
    """The store on each clerk's payslip: the month's last home store, else the last store posted to.

    Who was never posted has lines from tickets alone, and gets the store of the last of them.
    """
    stores = Store.objects.in_bulk()
    posted = postings_in(month, clerks)
    found = {clerk: place[1] for clerk, where in posted.items() if (place := where.home or where.last)}
    others = [clerk for clerk in clerks if clerk not in found]
    earlier = Posting.objects.filter(clerk__in=others, valid_from__lte=month.ends_on).order_by("valid_to", "store")
    found |= dict(earlier.values_list("clerk", "store"))
    for clerk in others:
        if clerk not in found:
            rows = Attribution.objects.filter(month__lte=month.pk)
            last = (rows.filter(owner=clerk) | rows.filter(server=clerk)).order_by("business_date", "pk").last()
            if last is None:
                raise CloseRefused(
                    _("Clerk %(clerk)s has an adjustment, but no posting and no ticket: post the clerk to a store.")
                    % {"clerk": Clerk.objects.get(pk=clerk).clerk_no}
                )
            found[clerk] = last.store_id
    return {clerk: stores[store] for clerk, store in found.items()}
