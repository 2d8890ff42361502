"""How fast payslips become PDFs: against the naive way, and with a second process.

    .venv/bin/python bench/payslips.py [--rounds 15] [--batch 80]

The naive way is `HTML(string).write_pdf()` of the very same page with its style sheet inside and the system's Noto Sans
CJK: parsed as HTML, styled as a browser would, without tags. Single payslips are compared by processor time, taking
turns; a batch by the clock, the start of the processes included. Exits with 1 where a target is missed.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SECRET_KEY", "no-payslip-is-made-for-anyone")

import django
from django.template.loader import render_to_string
from django.utils.translation import override
from weasyprint import HTML

from payroll_exports import payslip_pdf
from payroll_exports.payslip_pdf import PayslipDocument, render_payslip, render_payslips
from tests.payslips import payslip

NOTO = "Noto Sans CJK SC"
LANGUAGE = "zh-hans"


def naive_page(document: PayslipDocument) -> str:
    """The same page, complete in one string, with Noto in place of the payslip's own faces."""
    with override(document.language):
        css = str(render_to_string("payroll_exports/payslip.css", payslip_pdf.style_values()))
    css = re.sub(r"@font-face {.*?}\n", "", css)
    page = payslip_pdf.page_of(document)["page"].replace("</head>", f"<style>{css}</style></head>")
    return page.replace(f'"{payslip_pdf.FAMILY}"', f'"{NOTO}"')


def seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="single payslips of each kind (default 15)")
    parser.add_argument("--batch", type=int, default=80, help="payslips for one and for two processes (default 80)")
    arguments = parser.parse_args()
    django.setup()
    if NOTO not in subprocess.run(["fc-list"], capture_output=True, text=True, check=True).stdout:
        sys.exit(f"{NOTO} is not installed, and the naive way needs it: apt-get install fonts-noto-cjk")

    document = payslip(LANGUAGE)
    naive = naive_page(document)
    ours_size, naive_size = len(render_payslip(document)), len(HTML(string=naive).write_pdf())
    ours_seconds, naive_seconds = [], []
    for _round in range(arguments.rounds):
        naive_seconds.append(seconds(time.process_time, lambda: HTML(string=naive).write_pdf()))
        ours_seconds.append(seconds(time.process_time, lambda: render_payslip(document)))

    batch = [replace(document, clerk_no=f"C{number:04}") for number in range(arguments.batch)]
    one, two = [], []
    for _round in range(3):
        one.append(seconds(time.perf_counter, lambda: list(render_payslips(batch, processes=1))))
        two.append(seconds(time.perf_counter, lambda: list(render_payslips(batch, processes=2))))

    ours, plain = statistics.median(ours_seconds), statistics.median(naive_seconds)
    alone, together = statistics.median(one), statistics.median(two)
    rows = [
        (
            "a payslip, against the naive way",
            f"{ours * 1000:.0f} ms",
            f"{plain * 1000:.0f} ms",
            ours / plain,
            "<=",
            0.65,
        ),
        (
            "its size in KB, against the naive way",
            f"{ours_size / 1000:.1f}",
            f"{naive_size / 1000:.1f}",
            ours_size / 1000,
            "<=",
            60,
        ),
        (
            f"{arguments.batch} payslips, two processes against one",
            f"{together:.1f} s",
            f"{alone:.1f} s",
            alone / together,
            ">=",
            1.7,
        ),
    ]
    print(f"{'what':<45}{'this':>10}{'other':>10}{'figure':>9}   target")
    missed = False
    for what, this, other, figure, sign, target in rows:
        met = figure <= target if sign == "<=" else figure >= target
        missed = missed or not met
        print(f"{what:<45}{this:>10}{other:>10}{figure:>9.2f}   {sign} {target}{'' if met else '   MISSED'}")
    sys.exit(missed)


if __name__ == "__main__":
    main()
