"""`manage.py check` says what the machine lacks for payslips; a command, what the database lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from payroll_exports import checks


def test_this_machine_lacks_nothing() -> None:
    assert checks.libraries(None) == []
    assert checks.fonts(None) == []


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not checks.loads("no-such-library", 0)
    monkeypatch.setattr(checks, "loads", lambda library, version: False)
    error, warning = checks.libraries(None)
    assert (error.id, warning.id) == ("payslips.E001", "payslips.W001")
    assert "pango-1.0 and pangoft2-1.0" in error.msg
    assert "libharfbuzz-subset0" in str(warning.hint)


def test_a_missing_typeface_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "font_file", lambda weight: tmp_path / f"{weight}.ttf")
    assert [message.id for message in checks.fonts(None)] == ["payslips.E002", "payslips.E002"]


def test_a_translation_that_is_not_compiled_or_old_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    po, mo = folder / "django.po", folder / "django.mo"
    po.write_text("")
    with override_settings(LOCALE_PATHS=[tmp_path]):
        (message,) = checks.translations(None)
        assert "zh_Hans is not compiled" in message.msg
        mo.write_text("")
        os.utime(po, (1, 1))
        assert checks.translations(None) == []
        os.utime(po, (2_000_000_000, 2_000_000_000))
        (message,) = checks.translations(None)
        assert "older than its texts" in message.msg


def test_a_command_on_a_database_without_tables_says_what_to_do(tmp_path: Path) -> None:
    def close(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "close_month", "2026-10", *options],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite3", "LANGUAGE_CODE": "en"},
            capture_output=True,
            text=True,
            check=False,
        )

    plain = close()
    assert plain.returncode == 1
    assert plain.stderr == (
        "The database cannot be used: no such table: portfolios_month. Check that it runs and that DATABASE_URL names "
        "it, and run manage.py migrate; --traceback shows where it happened.\n"
    )
    assert "Traceback" in close("--traceback").stderr
