"""Writing a file to hand out: whole or not at all, and with text that starts no formula in a spreadsheet.

A file appears under its name when its last byte is on the disk; a full disk leaves what was there before. The text
"=1+1" is written as "'=1+1", and read as "=1+1" again; amounts are not text, so -50.00 stays a number.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TextIO

from django.utils.translation import gettext as _

# The name that stands for standard output.
STDOUT = "-"
# With one of these first, a spreadsheet takes a cell for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class OutputFileError(OSError):
    """A file that could not be written; the message says which, why and what to do."""


def safe_text(text: str) -> str:
    """The text of a cell that a spreadsheet shows as it is: with an apostrophe before what would be a formula.

    What has apostrophes there already gets one more, so that plain_text() gives each text back.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA_STARTS) else text


def plain_text(text: str) -> str:
    """The text that safe_text() made safe: "=1+1" for "'=1+1", and "'90s" for "'90s"."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA_STARTS) else text


@contextmanager
def output_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of `path` when the block ends without an error.

    "-" is standard output. What is there and is no ordinary file (a pipe, a device) is written to directly. Raises
    OutputFileError.
    """
    try:
        if str(path) == STDOUT:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OutputFileError:
        raise
    except OSError as error:
        raise OutputFileError(
            _("%(path)s could not be written: %(why)s. Name a file in a directory that is there, with room left.")
            % {"path": path, "why": error.strerror or error}
        ) from error


def output_directory(directory: Path) -> None:
    """Makes a directory where it is not there. Raises OutputFileError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(
            _("The directory %(path)s cannot be made: %(why)s. Name one that you may write to.")
            % {"path": directory, "why": error.strerror}
        ) from error


@contextmanager
def output_text(path: str | Path, encoding: str = "utf-8") -> Iterator[TextIO]:
    """The same for text; line ends are written as they come."""
    with output_file(path) as file:
        text = TextIOWrapper(file, encoding=encoding, newline="")
        try:
            yield text
        finally:
            # Left attached, the wrapper would close standard output with itself.
            text.detach()
