"""How fast payslips become PDFs: against the naive way, typst, Chromium and wkhtmltopdf, on two cores, and in bulk.

    .venv/bin/python -m pip install --require-hashes -r requirements-bench.txt
    .venv/bin/python bench/payslips.py [--rounds 15] [--batch 240] [--many 2000]

All make the same page, each time of another clerk. The naive way is `HTML(string).write_pdf()` with the style sheet
inside and the system's Noto Sans CJK: parsed as HTML, styled as a browser would, without tags. typst has the page in
its own language (payslip.typ), its compiler and fonts loaded once, and writes PDF/A-3a as we do. Both are compared by
processor time, taking turns. Chromium prints a file and is started for each one; wkhtmltopdf takes the page on its
standard input with the options that ERPNext and Odoo give it. They are compared by the clock with a payslip of a batch,
as a month is made: on every core. What is not installed is left out. Exits with 1 where a target is missed.
"""

import argparse
import gc
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SECRET_KEY", "no-payslip-is-made-for-anyone")

import django
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import override
from weasyprint import HTML

from kpis.movement_pictures import ACTIVE_MEMBERS, MOVEMENT, PORTFOLIO
from payroll_exports import payslip_pdf
from payroll_exports.payslip_pdf import PayslipDocument, PayslipLine, render_payslip, render_payslips
from tests.payslips import YEAR, payslip

typst: Any = import_module("typst") if find_spec("typst") else None

NOTO = "Noto Sans CJK SC"
LANGUAGE = "zh-hans"
ERPNEXT_AND_ODOO = (
    "--quiet --print-media-type --background --images --encoding UTF-8 --page-size A4 --margin-top 14mm "
    "--margin-bottom 16mm --margin-left 16mm --margin-right 16mm --dpi 90 --disable-smart-shrinking "
    "--disable-local-file-access --disable-javascript"
).split()

Work = Callable[[PayslipDocument], object]


def naive_page(document: PayslipDocument) -> str:
    """The same page, complete in one string, with Noto in place of the payslip's own faces."""
    with override(document.language):
        css = str(render_to_string("payroll_exports/payslip.css", payslip_pdf.style_values()))
    css = re.sub(r"@font-face {.*?}\n", "", css)
    page = payslip_pdf.page_of(document)["page"].replace("</head>", f"<style>{css}</style></head>")
    return page.replace(f'"{payslip_pdf.FAMILY}"', f'"{NOTO}"')


def in_typst() -> Work | None:
    """The page by typst; its compiler keeps the fonts, as ours does."""
    if typst is None:
        return None
    regular = payslip_pdf.font_file("Rg")
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(regular.parent)])
    compiler = typst.Compiler(str(Path(__file__).with_name("payslip.typ")), font_paths=fonts)

    def work(document: PayslipDocument) -> object:
        data = {"data": json.dumps(typst_data(document))}
        return compiler.compile(format="pdf", sys_inputs=data, pdf_standards=["a-3a"])

    return work


def typst_data(document: PayslipDocument) -> dict[str, Any]:
    """What stands on the page, and its pictures, as payslip.typ wants them."""
    with override(document.language):
        page = payslip_pdf._page_values(document)
        books = page["portfolio"]

        def drawn(name: str, chart: Any) -> str:
            return str(render_to_string(f"charts/{name}.svg", {"chart": chart, "bare": True}))

        return {
            "family": "Kurinto Sans SC",
            "lang": "zh",
            "title": f"{page['month']} {page['clerk_name']}",
            "slip": f"{page['month']} · {page['clerk_no']} · {page['verification_code']}",
            "page_words": payslip_pdf.style_values()["page_words"],
            "brand": _("One-to-One"),
            "head": f"{_('Payslip')} · {page['month']}",
            "who": f"{page['clerk_no']} · {page['store_no']} · {document.starts_on} {document.ends_on}",
            "paid_label": _("To be paid, gross (%(currency)s)") % {"currency": page["currency"]},
            "bar_title": _("Where the variable pay came from"),
            "bar_svg": drawn("kind_bar", page["bar"]),
            "marks": [
                {"x": float(mark.label_x), "label": mark.label, "figure": mark.figure} for mark in page["bar"].marks
            ],
            "headings": [_("Earnings"), "", _("Tickets"), _("Amount"), _("Sum"), _("Year to date")],
            "total": _("To be paid"),
            "books_title": _("My portfolio"),
            "books": [
                {
                    "title": title,
                    "rows": [[mark.label, mark.figure] for mark in chart.marks],
                    "svg": drawn("movement_waterfall", chart),
                }
                for title, chart in ((_("All members"), books["members"]), (_("Active members"), books["active"]))
            ]
            + [
                {
                    "title": _("Key members at the end"),
                    "rows": [["A", books["tier_a"]], ["B", books["tier_b"]], [_("Together"), books["key_members"]]],
                    "svg": "",
                }
            ],
            "change_title": _("Against last month"),
            "question": _(
                "A question? Ask your store manager or HR and quote the verification code. What proves wrong is put "
                "right on a later payslip."
            ),
            "code_label": _("Verification code"),
            "code": page["verification_code"],
            **{name: page[name] for name in ("clerk_name", "store_name", "paid", "groups", "year", "change")},
        }


def in_chromium(folder: Path) -> Work | None:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        return None

    def work(document: PayslipDocument) -> object:
        page, pdf = folder / f"{document.clerk_no}.html", folder / f"{document.clerk_no}.pdf"
        page.write_text(naive_page(document))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={pdf}"]
        subprocess.run([program, *options, page.as_uri()], check=True, capture_output=True)
        return pdf.read_bytes()

    return work


def in_wkhtmltopdf() -> Work | None:
    program = shutil.which("wkhtmltopdf")
    if program is None:
        return None
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}

    def work(document: PayslipDocument) -> object:
        page = naive_page(document).encode()
        command = [program, *ERPNEXT_AND_ODOO, "-", "-"]
        return subprocess.run(command, input=page, check=True, capture_output=True, env=environment).stdout

    return work


def drawn_by(batch: list[PayslipDocument], processes: int) -> int:
    """Payslips that so many processes have drawn."""
    return sum(1 for _payslip in render_payslips(batch, processes))


def seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def of_clerks() -> Iterator[PayslipDocument]:
    """Payslips of one clerk after another: every name, count and amount is another one, as a month's are."""
    chance = random.Random(1)
    document = payslip(LANGUAGE, year_lines=YEAR)

    def other(lines: tuple[PayslipLine, ...] | None) -> tuple[PayslipLine, ...]:
        factors = [chance.uniform(0.5, 2) for _line in lines or ()]
        return tuple(
            replace(line, quantity=round(line.quantity * factor), amount=round(line.amount * factor))
            for line, factor in zip(lines or (), factors, strict=True)
        )

    for number in count(1):
        movement = {name: chance.randint(1, 20) for name in document.movement}
        movement |= {"opening": chance.randint(100, 500), "active_opening": chance.randint(80, 100)}
        for book in (PORTFOLIO, ACTIVE_MEMBERS):
            *changes, closing = book
            movement[closing] = sum(MOVEMENT[name] * movement[name] for name in changes)
        lines = other(document.lines)
        yield replace(
            document,
            clerk_no=f"C{number:05}",
            clerk_name="".join(chance.sample("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗", 3)),
            store_no=f"S{chance.randint(1, 200):03}",
            lines=lines,
            paid_amount=sum(line.amount for line in lines),
            previous_lines=other(document.previous_lines),
            year_lines=other(document.year_lines),
            movement=movement,
            verification_code="-".join("".join(chance.choices("ABCDEFGHJKLMNPQ234567", k=4)) for _group in range(4)),
        )
    raise AssertionError("there is always another clerk")


def memory() -> float:
    """Megabytes that this process and its children hold, without what they share."""
    processes = [os.getpid()]
    for process in processes:
        children = Path(f"/proc/{process}/task/{process}/children")
        processes += [int(child) for child in children.read_text().split()] if children.exists() else []
    total = 0
    for process in processes:
        try:
            shown = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in shown.splitlines() if line.startswith("Private_"))
    return total / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="single payslips of each kind (default 15)")
    parser.add_argument("--batch", type=int, default=240, help="payslips for one and for two processes (default 80)")
    parser.add_argument("--many", type=int, default=2000, help="payslips for the memory, 0 for none (default 2000)")
    arguments = parser.parse_args()
    django.setup()
    if NOTO not in subprocess.run(["fc-list"], capture_output=True, text=True, check=True).stdout:
        sys.exit(f"{NOTO} is not installed, and the naive way needs it: apt-get install fonts-noto-cjk")

    clerks = of_clerks()
    rows: list[tuple[str, str, str, float, str, float]] = []

    usual = gc.get_threshold()

    def naive(document: PayslipDocument) -> object:
        # Nobody who is naive has told the collector of garbage to come rarely, as making our first PDF does.
        ours = gc.get_threshold()
        gc.set_threshold(*usual)
        try:
            return HTML(string=naive_page(document)).write_pdf()
        finally:
            gc.set_threshold(*ours)

    for name, work, target in (("the naive way", naive, 0.65), ("typst", in_typst(), 10)):
        if work:
            rows.append(compared(name, work, clerks, arguments.rounds, target))
    document = next(clerks)
    ours_size, naive_size = len(render_payslip(document)), len(HTML(string=naive_page(document)).write_pdf())
    sizes = (f"{ours_size / 1000:.1f}", f"{naive_size / 1000:.1f}")
    rows.append(("its size in KB, against the naive way", *sizes, ours_size / 1000, "<=", 60))

    one, two = [], []
    launched: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        programs = {"Chromium, started for each": in_chromium(Path(folder)), "wkhtmltopdf": in_wkhtmltopdf()}
        for _round in range(3 if arguments.batch else 0):
            batch = [next(clerks) for _document in range(arguments.batch)]
            one.append(seconds(time.perf_counter, partial(drawn_by, batch, 1)))
            two.append(seconds(time.perf_counter, partial(drawn_by, batch, 2)))
            for name, program in programs.items():
                for document in batch[: arguments.rounds]:
                    if program is None:
                        break
                    launched.setdefault(name, []).append(seconds(time.perf_counter, partial(program, document)))
    if one:
        alone, together = statistics.median(one), statistics.median(two)
        what = f"{arguments.batch} payslips, two processes against one"
        rows.append((what, f"{together:.1f} s", f"{alone:.1f} s", alone / together, ">=", 1.7))
        each = together / arguments.batch
        for name, times in launched.items():
            launch = statistics.median(times)
            what = f"a payslip of those, against {name}"
            rows.append((what, f"{each * 1000:.0f} ms", f"{launch * 1000:.0f} ms", each / launch, "<=", 1))
    if arguments.many:
        rows.append(many(clerks, arguments.many))

    print(f"{'what':<50}{'this':>10}{'other':>10}{'figure':>9}   target")
    missed = False
    for what, this, other, figure, sign, target in rows:
        met = figure <= target if sign == "<=" else figure >= target
        missed = missed or not met
        print(f"{what:<50}{this:>10}{other:>10}{figure:>9.2f}   {sign} {target}{'' if met else '   MISSED'}")
    sys.exit(missed)


def compared(
    name: str,
    other: Work,
    clerks: Iterator[PayslipDocument],
    rounds: int,
    target: float,
) -> tuple[str, str, str, float, str, float]:
    """A payslip of ours and one of another's, in turns, by processor time; the first of each is not counted."""
    ours_seconds, other_seconds = [], []
    for _round in range(rounds + 1):
        document = next(clerks)
        other_seconds.append(seconds(time.process_time, partial(other, document)))
        ours_seconds.append(seconds(time.process_time, partial(render_payslip, document)))
    ours, others = statistics.median(ours_seconds[1:]), statistics.median(other_seconds[1:])
    return (
        f"a payslip, against {name}",
        f"{ours * 1000:.0f} ms",
        f"{others * 1000:.0f} ms",
        ours / others,
        "<=",
        target,
    )


def many(clerks: Iterator[PayslipDocument], number: int) -> tuple[str, str, str, float, str, float]:
    """The most memory in the last quarter of a bulk run, against that in its second."""
    most = [0.0] * 4
    start = time.perf_counter()
    for place, _pdf in render_payslips(next(clerks) for _document in range(number)):
        if place % 20 == 0:
            quarter = min(place * 4 // number, 3)
            most[quarter] = max(most[quarter], memory())
    took = time.perf_counter() - start
    what = f"{number:,} payslips in {took:.0f} s: memory, last quarter to second"
    return (what, f"{most[3]:.0f} MB", f"{most[1]:.0f} MB", most[3] / most[1], "<=", 1.1)


if __name__ == "__main__":
    main()
