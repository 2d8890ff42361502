"""What would clerks have been paid? For HR and auditors of the chain, for a manager of the own store's staff."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditlog.models import LogEntry
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from commission.money import format_amount
from commission.templatetags.money import currency
from commission.what_if import ClerkPay, WhatIfError, what_if
from commission.what_if_chart import picture
from commission.what_if_form import WhatIfForm
from portfolios.models import Clerk, Store, User
from portfolios.output_files import safe_text
from portfolios.views import reader

# So many of each end are listed; the file has everybody.
ROWS_SHOWN = 100
COLUMNS = (
    "clerk_no", "clerk_name", "store_no", "commission_before", "commission_after", "accelerator_before",
    "accelerator_after", "pay_before", "pay_after", "difference",
)  # fmt: skip


@dataclass(frozen=True)
class StoreRow:
    """A store's clerks together, in minor units; no store: clerks without a home store in the months."""

    store: Store | None
    clerks: int
    before: int
    after: int

    @property
    def difference(self) -> int:
        return self.after - self.before


def _form(request: HttpRequest) -> WhatIfForm:
    """Nobody but HR, auditors and managers has such a page."""
    user = reader(request)
    if not user.office and not user.managed_store_ids():
        raise Http404
    return WhatIfForm(request.GET, user=user, asked="ask" in request.GET)


def _answer(form: WhatIfForm, user: User) -> tuple[list[ClerkPay], int | None] | None:
    """The clerks whom the reader may see, and what all stores keep more or less; None where it is not asked well."""
    if not form.is_valid():
        return None
    asked = form.cleaned_data
    store = asked["store"]
    try:
        answer = what_if(asked["first"], asked["last"], terms=asked["terms"], move=asked["move"], store=store)
    except WhatIfError as refused:
        form.add_error(None, str(refused))
        return None
    rows = [row for row in answer.clerks if store is None or row.store == store or row.difference]
    if user.office:
        return rows, answer.house_amount
    visible = set(Clerk.objects.for_user(user).values_list("pk", flat=True))
    return [row for row in rows if row.clerk.pk in visible], None


def _by_store(rows: Sequence[ClerkPay]) -> list[StoreRow]:
    groups: dict[Store | None, list[ClerkPay]] = {}
    for row in rows:
        groups.setdefault(row.store, []).append(row)
    return [
        StoreRow(store, len(group), sum(row.before for row in group), sum(row.after for row in group))
        for store, group in sorted(groups.items(), key=lambda item: item[0].store_no if item[0] else "")
    ]


@require_GET
def ask_what_if(request: HttpRequest) -> HttpResponse:
    """Chooses months and changes, and shows what each clerk would have been paid; nothing is written."""
    user, form = reader(request), _form(request)
    context: dict[str, Any] = {"here": "months" if user.office else "stores", "form": form, "currency": currency()}
    answer = _answer(form, user) if "ask" in request.GET else None
    if answer is not None:
        rows, house_amount = answer
        changed = [row for row in rows if row.difference]
        context |= {
            "answered": True,
            "rows": changed if len(changed) <= 2 * ROWS_SHOWN else [*changed[:ROWS_SHOWN], *changed[-ROWS_SHOWN:]],
            "changed": len(changed),
            "listed": 2 * ROWS_SHOWN,
            "winners": sum(row.difference > 0 for row in rows),
            "losers": sum(row.difference < 0 for row in rows),
            "unchanged": len(rows) - len(changed),
            "before": sum(row.before for row in rows),
            "after": sum(row.after for row in rows),
            "difference": sum(row.difference for row in rows),
            "more": abs(sum(row.difference for row in rows)),
            "house_amount": house_amount,
            "stores": _by_store(rows),
            "picture": picture(rows),
            "file": f"{reverse('what_if_file')}?{request.GET.urlencode()}",
        }
    return render(request, "commission/what_if.html", context)


@require_GET
def what_if_file(request: HttpRequest) -> HttpResponse:
    """Every clerk's pay before and after, as CSV. Who took it is in the audit log."""
    user, form = reader(request), _form(request)
    answer = _answer(form, user)
    if answer is None:
        raise Http404
    months = f"{form.cleaned_data['first']}-{form.cleaned_data['last']}"
    name = f"what-if-{months}.csv"
    LogEntry.objects.log_create(
        form.cleaned_data["plan"],
        force_log=True,
        action=LogEntry.Action.ACCESS,
        additional_data={"export": name, "asked": request.GET.urlencode()},
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in answer[0]:
        amounts = (
            row.commission_before, row.commission_after, row.accelerator_before, row.accelerator_after, row.before,
            row.after, row.difference,
        )  # fmt: skip
        writer.writerow(
            [
                safe_text(row.clerk.clerk_no),
                safe_text(row.clerk.name),
                safe_text(row.store.store_no) if row.store else "",
                *map(format_amount, amounts),
            ]
        )
    return HttpResponse(
        # Excel knows UTF-8 by its byte order mark.
        text.getvalue().encode("utf-8-sig"),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=name) or "",
            "Cache-Control": "private",
        },
    )
