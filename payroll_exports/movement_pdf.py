"""A movement as a PDF to print: the pictures and the figures of its page, of a clerk, a store or the chain.

It is made when it is asked for, of what a close kept: the same month gives the same PDF.
"""

import hashlib
from dataclasses import replace
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import get_language

from kpis.movement_members import Scope
from kpis.movement_page import MovementPage
from payroll_exports.payslip_pdf import FAMILY, LANGUAGES, Typesetter, style_values


def movement_pdf(scope: Scope, page: MovementPage) -> bytes:
    """The PDF in the active language: PDF/A-3a and PDF/UA-1, fonts embedded as subsets."""
    # WeasyPrint loads Pango when it is imported; only who makes a PDF waits for it.
    from payroll_exports.tagged_pdf import tagged_pdf

    document = render_to_string("payroll_exports/movement_document.html", _values(scope, page))
    sheets = (f"payroll_exports/{name}.css" for name in ("elements", "movement_document"))
    return tagged_pdf(
        page=document,
        stylesheet="".join(render_to_string(sheet, style_values()) for sheet in sheets),
        identifier=hashlib.sha256(document.encode()).digest()[:16],
    )


def _values(scope: Scope, page: MovementPage) -> dict[str, Any]:
    typeset = Typesetter()
    stores = page.stores
    return {
        "lang": LANGUAGES.get(get_language() or "", "en"),
        "month": scope.month,
        "scope": scope,
        "page": page,
        "name": typeset(scope.clerk.name if scope.clerk else scope.store.name if scope.store else ""),
        "number": typeset(scope.clerk.clerk_no if scope.clerk else scope.store.store_no if scope.store else ""),
        "charts": [replace(chart, font_family=FAMILY) for chart in page.charts],
        "stores": replace(stores, bars=[replace(bar, name=typeset(bar.name)) for bar in stores.bars])
        if stores
        else None,
        "tables": [
            replace(
                table, rows=[replace(row, name=typeset(row.name), number=typeset(row.number)) for row in table.rows]
            )
            for table in page.tables
        ],
        "font_family": FAMILY,
    }
