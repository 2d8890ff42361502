"""Whether a payslip is genuine: by what is printed on it, by its bytes, and never more than that."""

import io
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pikepdf
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from commission.templatetags.money import money_text
from payroll_exports.pay_reports import chain_register
from payroll_exports.payslip_files import payslip_pdf
from payroll_exports.verification import WRONG_ANSWERS
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return Cast()


@pytest.fixture(autouse=True)
def nobody_waits(settings: Settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "verify"}}
    cache.clear()


def typed(cast: Cast, **changes: str) -> dict[str, str]:
    """What 李's payslip of January says, with `changes`."""
    code = cast.payslip.document["verification_code"]
    return {"number": "C1", "month": "2026-01", "code": code, "amount": "3,107.20", **changes}


def answer(data: Mapping[str, object]) -> tuple[int, bool, bool]:
    """Of somebody without a login: the status, whether the page says "genuine", and whether "not ours"."""
    response = Client(headers={"accept-language": "en"}).post(reverse("verify"), data)
    page = response.content.decode()
    return response.status_code, "Genuine." in page, "Not ours." in page


GENUINE, NOT_OURS = (200, True, False), (200, False, True)


def test_what_is_printed_is_genuine_where_all_of_it_is_right(cast: Cast) -> None:
    code = cast.payslip.document["verification_code"]
    assert answer(typed(cast)) == GENUINE
    # As somebody types it: without dashes, small, a zero for an O; without the comma.
    assert answer(typed(cast, code=code.replace("-", " ").lower().replace("o", "0"), amount="3107.2")) == GENUINE
    for wrong in ({"amount": "3,107.21"}, {"month": "2026-02"}, {"number": "C3"}, {"amount": "much"}):
        assert answer(typed(cast, **wrong)) == NOT_OURS
    other = "A" if code[0] != "A" else "B"
    assert answer(typed(cast, code=other + code[1:])) == NOT_OURS
    assert answer(typed(cast, code=""))[0] == 422


def test_the_page_tells_nothing_that_was_not_typed(cast: Cast) -> None:
    response = Client().post(reverse("verify"), typed(cast))
    assert cast.payslip.document["clerk_name"] not in response.content.decode()
    assert cast.payslip.document["store_name"] not in response.content.decode()


def test_after_five_wrong_answers_for_a_number_one_has_to_wait(cast: Cast) -> None:
    for _attempt in range(WRONG_ANSWERS):
        assert answer(typed(cast, amount="1")) == NOT_OURS
    assert answer(typed(cast)) == (429, False, False)
    # Nobody else's payslip is shut by it.
    assert answer(typed(cast, number="C3", amount="1")) == NOT_OURS


def test_a_file_is_genuine_byte_by_byte(cast: Cast) -> None:
    pdf = bytes(payslip_pdf(cast.payslip).pdf)
    assert answer({"file": SimpleUploadedFile("a.pdf", pdf)}) == GENUINE
    assert answer({"file": SimpleUploadedFile("a.pdf", pdf + b" ")}) == NOT_OURS
    assert answer({"file": SimpleUploadedFile("a.pdf", b"")}) == NOT_OURS
    assert answer({"file": SimpleUploadedFile("a.pdf", b"x" * 4_000_001)}) == (422, False, False)


def test_pay_reports_are_known_too(cast: Cast) -> None:
    register = chain_register(cast.january, language="en")
    printed = typed(cast, number="", code=register.verification_code, amount=money_text(register.paid_amount))
    assert answer(printed) == GENUINE
    assert answer(typed(cast, number="", amount="3,107.20")) == NOT_OURS
    assert answer({"file": SimpleUploadedFile("a.pdf", bytes(register.pdf))}) == GENUINE


def test_the_command_tells_a_kept_file_from_one_that_only_has_the_code(cast: Cast, tmp_path: Path) -> None:
    pdf = bytes(payslip_pdf(cast.payslip).pdf)
    kept, again, text = (tmp_path / name for name in ("kept.pdf", "saved-again.pdf", "text.pdf"))
    kept.write_bytes(pdf)
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        opened.save(again)
    text.write_text("no PDF")

    said = StringIO()
    call_command("verify_payslip", str(kept), stdout=said)
    assert said.getvalue() == f"{kept}: genuine, 2026-01 C1 店员C1.\n"

    said = StringIO()
    with pytest.raises(CommandError, match="2 files are not genuine"):
        call_command("verify_payslip", str(kept), str(again), str(text), stdout=said)
    lines = said.getvalue().splitlines()
    assert lines[1:] == [
        f"{again}: not the file that is kept, but with the code of 2026-01 C1 店员C1, 3107.20. Compare what it says.",
        f"{text}: not ours.",
    ]
    with pytest.raises(CommandError, match=r"none\.pdf cannot be read: No such file"):
        call_command("verify_payslip", str(tmp_path / "none.pdf"))
