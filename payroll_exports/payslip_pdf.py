"""A frozen payslip becomes a PDF: A4, tagged, in Chinese or English, the same bytes for the same payslip.

Everything on the page comes from one `PayslipDocument`; no database is read. Lines of 500000 (base) and 42050 (own
members, served) with a paid amount of 542050 print as 5,000.00, 420.50 and 5,420.50.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from itertools import chain, islice
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any, TypedDict
from unicodedata import normalize

from django.template.loader import render_to_string
from django.utils.dateformat import format as format_date
from django.utils.translation import gettext as _
from django.utils.translation import override, pgettext
from fontTools.ttLib import TTFont

from commission.money import format_amount
from commission.templatetags.money import count, money_text
from kpis.movement_pictures import ACTIVE_MEMBERS, MOVEMENT, PORTFOLIO, book_pictures
from payroll_exports.line_codes import LineCode, line_name
from payroll_exports.pay_pictures import pay_bar

LANGUAGES = {"zh-hans": "zh-Hans", "en": "en"}

# The family's name inside a payslip; its figures are equally wide by themselves. No second family stands behind it,
# since what a machine has installed must not change the bytes: a character that the font lacks is replaced before the
# page is laid out (see `Typesetter`).
FAMILY = "Payslip"
# Printers' mark for a missing character, and the mark of an amount that takes away.
GETA = "〓"
LESS = "▼"

_LINE_CODES = frozenset(LineCode.values)

# Starting processes costs a second or two; below this many payslips it would save nothing.
_FEWEST_FOR_PROCESSES = 16


class PayslipError(ValueError):
    """A payslip that must not be printed: its figures disagree, or its language is not one of `LANGUAGES`."""


@dataclass(frozen=True)
class PayslipLine:
    """One earning line: `quantity` counts tickets (BASE: days), `amount` is in minor units, negative where it takes."""

    line_code: str
    quantity: int
    amount: int


@dataclass(frozen=True)
class PayslipDocument:
    """All that a payslip says, as it was when the month was locked; `to_dict` is what is stored.

    Amounts are in minor units of `currency`. `ends_on` is the last day. `movement` holds the columns of
    `export_movement`. `previous_lines` are last month's, None where there was no payslip; `year_lines` those of the
    calendar year up to and with this month, added up. PayslipError where the lines don't sum to `paid_amount`, or a
    portfolio's opening and changes don't make its closing.
    """

    language: str
    month: str
    starts_on: date
    ends_on: date
    clerk_no: str
    clerk_name: str
    store_no: str
    store_name: str
    lines: tuple[PayslipLine, ...]
    paid_amount: int
    movement: dict[str, int]
    previous_lines: tuple[PayslipLine, ...] | None
    verification_code: str
    currency: str = "CNY"
    year_lines: tuple[PayslipLine, ...] = ()

    def __post_init__(self) -> None:
        who = f"Payslip {self.month} of clerk {self.clerk_no}"
        if self.language not in LANGUAGES:
            raise PayslipError(f"{who}: no payslip in {self.language!r}; choose one of {', '.join(LANGUAGES)}.")
        for line in chain(self.lines, self.previous_lines or (), self.year_lines):
            if line.line_code not in _LINE_CODES:
                raise PayslipError(f"{who}: unknown line code {line.line_code!r}; known are {', '.join(LineCode)}.")
        total = sum(line.amount for line in self.lines)
        if total != self.paid_amount:
            raise PayslipError(
                f"{who}: the lines sum to {total} but {self.paid_amount} is to be paid (minor units). "
                "Run the pay run again, so that both come from the same ledger."
            )
        missing = MOVEMENT.keys() - self.movement.keys()
        if missing:
            raise PayslipError(f"{who}: the movement lacks {', '.join(sorted(missing))}.")
        for book in (PORTFOLIO, ACTIVE_MEMBERS):
            *changes, closing = book
            expected = sum(MOVEMENT[name] * self.movement[name] for name in changes)
            if expected != self.movement[closing]:
                raise PayslipError(
                    f"{who}: {' and '.join(changes)} make {expected}, but {closing} is {self.movement[closing]}. "
                    "Take the month's movement anew."
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back to an equal document."""
        return asdict(self) | {"starts_on": self.starts_on.isoformat(), "ends_on": self.ends_on.isoformat()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "PayslipDocument":
        """The document that `to_dict` stored; PayslipError where its figures disagree."""
        previous = stored["previous_lines"]
        return cls(
            **{
                **stored,
                "starts_on": date.fromisoformat(stored["starts_on"]),
                "ends_on": date.fromisoformat(stored["ends_on"]),
                "lines": tuple(PayslipLine(**line) for line in stored["lines"]),
                "previous_lines": None if previous is None else tuple(PayslipLine(**line) for line in previous),
                "year_lines": tuple(PayslipLine(**line) for line in stored.get("year_lines", ())),
            }
        )


class Page(TypedDict):
    """What `tagged_pdf` takes: plain values, so that another process may take them too."""

    page: str
    stylesheet: str
    identifier: bytes
    attached: list[tuple[str, bytes, date]]


def page_of(document: PayslipDocument) -> Page:
    """A payslip as XHTML with its style sheet; the identifier is a digest of all that it says."""
    with override(document.language):
        page = render_to_string("payroll_exports/payslip.html", _page_values(document))
    stored = json.dumps(document.to_dict(), sort_keys=True).encode()
    return {
        "page": page,
        "stylesheet": _stylesheet(document.language),
        "identifier": hashlib.sha256(stored).digest()[:16],
        "attached": [("lines.json", _lines_json(document), document.ends_on)],
    }


def _lines_json(document: PayslipDocument) -> bytes:
    """The figures as data, with the names and forms of the payroll export."""
    data = {
        "month": document.month,
        "clerk_no": document.clerk_no,
        "clerk_name": document.clerk_name,
        "store_no": document.store_no,
        "currency": document.currency,
        "verification_code": document.verification_code,
        "paid_amount": format_amount(document.paid_amount),
        "lines": [
            {
                "line_code": line.line_code,
                "line_name": line_name(line.line_code, document.language),
                "quantity": line.quantity,
                "amount": format_amount(line.amount),
            }
            for line in document.lines
        ],
    }
    return json.dumps(data, ensure_ascii=False, indent=1).encode()


def render_payslip(document: PayslipDocument) -> bytes:
    """The PDF of one payslip: PDF/A-3a and PDF/UA-1, fonts as subsets, no date or number but the document's own."""
    # WeasyPrint loads Pango when it is imported. A machine that has none must still get as far as the check that says
    # so, and commands that make no PDF need not wait for it.
    from payroll_exports.tagged_pdf import tagged_pdf

    return tagged_pdf(**page_of(document))


def render_payslips(documents: Iterable[PayslipDocument], processes: int = 0) -> Iterator[tuple[int, bytes]]:
    """Each document's place and PDF, in order and one by one: neither documents nor PDFs pile up in memory.

    `processes` = 0 takes one per core where there are enough documents to be worth it; 1 stays in this process, as a
    Celery worker does whatever is asked.
    Raises what `render_payslip` raises.
    """
    documents = iter(documents)
    workers = processes or os.cpu_count() or 1
    if current_process().daemon:
        # A Celery worker's process may have no children of its own.
        workers = 1
    elif not processes:
        first = list(islice(documents, _FEWEST_FOR_PROCESSES))
        workers = workers if len(first) == _FEWEST_FOR_PROCESSES else 1
        documents = chain(first, documents)
    if workers == 1:
        for place, document in enumerate(documents):
            yield place, render_payslip(document)
        return
    from payroll_exports.tagged_pdf import end_with_parent, tagged_pdf

    # Spawned, not forked: a child must not share the database connections or threads of a server. It is given pages,
    # and never starts Django, which takes as long as some payslips.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent)
    try:
        waiting = deque(
            (place, pool.submit(tagged_pdf, **page_of(document)))
            for place, document in enumerate(islice(documents, 4 * workers))
        )
        place = len(waiting)
        while waiting:
            done, future = waiting.popleft()
            pdf = future.result()
            for document in islice(documents, 1):
                waiting.append((place, pool.submit(tagged_pdf, **page_of(document))))
                place += 1
            yield done, pdf
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def font_file(weight: str) -> Path:
    """The font file of a weight, "Rg" or "Bd", inside the installed package weblate-fonts."""
    return Path(str(files("weblate_fonts"))) / f"static/weblate_fonts/kurinto/ttf/KurintoSansSC-{weight}.ttf"


@cache
def _drawable_characters() -> frozenset[int]:
    """The code points that the font draws; regular and bold cover the same."""
    with TTFont(font_file("Rg"), lazy=True) as font:
        return frozenset(font.getBestCmap())


def style_values() -> dict[str, Any]:
    """What the template of the style sheet is filled with, in the active language."""
    return {
        "family": FAMILY,
        "regular": font_file("Rg").as_uri(),
        "bold": font_file("Bd").as_uri(),
        # Chinese needs words before, between and after the two figures.
        "page_words": pgettext("page # of #: only the words, with # for each figure", "Page # of #").split("#"),
    }


@cache
def _stylesheet(language: str) -> str:
    with override(language):
        sheets = (f"payroll_exports/{name}.css" for name in ("elements", "payslip"))
        return "".join(render_to_string(sheet, style_values()) for sheet in sheets)


class Typesetter:
    """Text that the font can draw, and the characters that it could not.

    A payslip is not refused for a rare name: such a character is printed as 〓, and the foot says which it was.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []

    def __call__(self, text: str) -> str:
        text = normalize("NFC", text)
        lacking = [character for character in text if ord(character) not in _drawable_characters()]
        for character in lacking:
            name = f"U+{ord(character):04X}"
            if name not in self.missing:
                self.missing.append(name)
            text = text.replace(character, GETA)
        return text


def _signed(value: int, text: str) -> str:
    return f"+{text}" if value > 0 else text


def month_name(month: str) -> str:
    """2026-10 as October 2026, in the active language."""
    return format_date(date.fromisoformat(f"{month}-01"), pgettext("format of a month, see Django's date", "F Y"))


def _page_values(document: PayslipDocument) -> dict[str, Any]:
    """What the template of the page is filled with, in the active language."""
    typeset = Typesetter()
    page = {
        "document": document,
        "lang": LANGUAGES[document.language],
        "month": month_name(document.month),
        "clerk_no": typeset(document.clerk_no),
        "clerk_name": typeset(document.clerk_name),
        "store_no": typeset(document.store_no),
        "store_name": typeset(document.store_name),
        "verification_code": typeset(document.verification_code),
        "currency": _("CNY") if document.currency == "CNY" else typeset(document.currency),
        "paid": money_text(document.paid_amount),
        "bar": pay_bar(
            ((line.line_code, line.amount) for line in document.lines),
            title=_("Where the variable pay came from"),
            plain=pgettext("part of the pay", "Bonus and other"),
            width=672,
        ),
        "groups": _groups(document),
        "year": money_text(sum(line.amount for line in document.year_lines)) if document.year_lines else "",
        "less": LESS,
        "portfolio": _portfolio(document),
        "change": _change(document),
    }
    return page | {"geta": GETA, "missing": ", ".join(typeset.missing)}


def added_up(lines: Iterable[PayslipLine]) -> tuple[PayslipLine, ...]:
    """One line per code that has a count or an amount, in the order of a payslip."""
    sums = {code.value: [0, 0] for code in LineCode}
    for line in lines:
        sums[line.line_code][0] += line.quantity
        sums[line.line_code][1] += line.amount
    return tuple(PayslipLine(code, *pair) for code, pair in sums.items() if any(pair))


def line_groups() -> list[tuple[str, tuple[LineCode, ...]]]:
    """The groups of lines on a payslip, in order, each with its name in the active language."""
    return [
        (_("Base"), (LineCode.BASE,)),
        (_("From my members"), (LineCode.OWN_SERVED, LineCode.OWN_ABSENT)),
        (_("From covering"), (LineCode.COVERED,)),
        (_("Others"), (LineCode.UNOWNED, LineCode.WALK_IN, LineCode.BAND, LineCode.KPI)),
        (
            _("Corrections"),
            (LineCode.LATE, LineCode.CLAWBACK, LineCode.CORRECTION, LineCode.HELD, LineCode.ADJUSTMENT),
        ),
        (_("Carried"), (LineCode.CARRIED_IN, LineCode.CARRIED_OUT)),
    ]


def _groups(document: PayslipDocument) -> list[dict[str, Any]]:
    """The lines in groups with their sums; what has neither count nor amount, nor had any this year, is left out."""
    lines = {line.line_code: line for line in document.lines}
    year = {line.line_code: line.amount for line in document.year_lines}
    shown = []
    for name, codes in line_groups():
        rows = []
        for code in codes:
            line = lines.get(code, PayslipLine(code, 0, 0))
            here = bool(line.amount or line.quantity)
            if here or year.get(code):
                rows.append(
                    {
                        "name": line_name(code, document.language),
                        "count": _quantity(line),
                        "amount": money_text(line.amount) if here else "",
                        "less": line.amount < 0,
                        "year": money_text(year.get(code, 0)),
                    }
                )
        if rows:
            total = sum(lines[code].amount for code in codes if code in lines)
            shown.append({"name": name, "rows": rows, "amount": money_text(total), "less": total < 0})
    return shown


def _quantity(line: PayslipLine) -> str:
    if not line.quantity:
        return ""
    if line.line_code == LineCode.BASE:
        return _("%(days)s days") % {"days": count(line.quantity)}
    return count(line.quantity)


def _portfolio(document: PayslipDocument) -> dict[str, Any] | None:
    """The two waterfalls and the key members; None for a clerk without a member before, in and after the month."""
    movement = document.movement
    if not any(movement[name] for name in MOVEMENT):
        return None
    members, active = book_pictures(movement, width=104, label_width=0, figure_width=0)
    return {
        "members": members,
        "active": active,
        "tier_a": count(movement["tier_a"]),
        "tier_b": count(movement["tier_b"]),
        "key_members": count(movement["tier_a"] + movement["tier_b"]),
    }


def _change(document: PayslipDocument) -> str | None:
    """What changed against last month, in one sentence: the difference and the two lines that moved most.

    None where there was no payslip last month.
    """
    if document.previous_lines is None:
        return None
    moved = dict.fromkeys(LineCode, 0)
    for line in document.lines:
        moved[LineCode(line.line_code)] += line.amount
    for line in document.previous_lines:
        moved[LineCode(line.line_code)] -= line.amount
    difference = sum(moved.values())
    if difference > 0:
        lead = _("%(amount)s more than last month")
    elif difference < 0:
        lead = _("%(amount)s less than last month")
    else:
        lead = _("The same amount as last month")
    lead %= {"amount": money_text(abs(difference))}
    # sorted() is stable: of two equal changes, the one higher up on the payslip comes first.
    movers = sorted((code for code in moved if moved[code]), key=lambda code: -abs(moved[code]))[:2]
    if not movers:
        return _("%(lead)s.") % {"lead": lead}
    return _("%(lead)s, above all by %(movers)s.") % {
        "lead": lead,
        "movers": pgettext("between the two lines that changed most", " and ").join(
            f"{line_name(code, document.language)} {_signed(moved[code], money_text(moved[code]))}" for code in movers
        ),
    }
