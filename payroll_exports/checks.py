"""What the machine must have for payslips, told by `manage.py check` before anybody waits for a PDF."""

import ctypes
import sys
from collections.abc import Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from payroll_exports.payslip_pdf import font_file

APT = "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def loads(library: str, version: int) -> bool:
    """Whether the shared library is there; on Linux by its file name, which costs no search."""
    name = f"lib{library}.so.{version}" if sys.platform.startswith("linux") else find_library(library)
    try:
        return name is not None and ctypes.CDLL(name) is not None
    except OSError:
        return False


@register()
def libraries(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Pango lays out the text of a PDF; HarfBuzz's subsetter makes it small and quick."""
    missing = [name for name, version in (("pango-1.0", 0), ("pangoft2-1.0", 0)) if not loads(name, version)]
    found: list[CheckMessage] = []
    if missing:
        found.append(
            Error(f"No payslip can be made: {' and '.join(missing)} cannot be loaded.", hint=APT, id="payslips.E001")
        )
    if not loads("harfbuzz-subset", 0):
        found.append(
            Warning("Payslips take eight times as long without harfbuzz-subset.", hint=APT, id="payslips.W001")
        )
    return found


@register()
def fonts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The Chinese typeface of the payslips."""
    return [
        Error(
            f"No payslip can be made: its typeface {path} is not there.",
            hint="Install the requirements again: pip install --force-reinstall weblate-fonts",
            id="payslips.E002",
        )
        for path in map(font_file, ("Rg", "Bd"))
        if not path.is_file()
    ]


@register()
def translations(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The compiled Chinese texts: without them, or with old ones, pages and payslips come out in English."""
    found: list[CheckMessage] = []
    for po in (po for path in settings.LOCALE_PATHS for po in Path(path).glob("*/LC_MESSAGES/*.po")):
        mo = po.with_suffix(".mo")
        if not mo.is_file() or mo.stat().st_mtime < po.stat().st_mtime:
            state = "older than its texts" if mo.is_file() else "not compiled"
            found.append(
                Warning(
                    f"The translation {po.parent.parent.name} is {state}: it comes out in English.",
                    hint="bin/compile-messages",
                    id="payslips.W002",
                )
            )
    return found
