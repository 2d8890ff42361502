"""Each file of pay that a command or a page hands out is on record: who, which month, how many rows, which digest."""

import hashlib
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from payroll_exports.models import ExportProfile, FileRecord
from payroll_exports.ready_profiles import ready_profile
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str | Path) -> str:
    said = StringIO()
    call_command(name, *arguments, stderr=said, stdout=StringIO())
    return said.getvalue()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_operators_commands_leave_a_record(tmp_path: Path) -> None:
    Cast()
    run("export_attributions", "2026-01", "--out", tmp_path / "a.csv")
    run("export_movement", "2026-01", "--out", tmp_path / "m.csv")
    run("payslips", "2026-01", "--out", tmp_path / "slips")
    records = FileRecord.objects.filter(recorded_by=None, filter="2026-01").order_by("pk")
    assert [(record.name, record.rows, record.sha256) for record in records] == [
        ("2026-01-attributions.csv", 3, sha256(tmp_path / "a.csv")),
        ("2026-01-movement.csv", 4, sha256(tmp_path / "m.csv")),
        ("2026-01-payslips", 6, sha256(tmp_path / "slips/manifest.json")),
    ]


def test_a_page_leaves_the_same_with_who_took_it() -> None:
    cast = Cast()
    client = cast.client("auditor")
    for name in ("attributions", "movement", "payroll"):
        response = client.get(reverse("export", args=[202601, name, "csv"]))
        content = b"".join(response)
        record = FileRecord.objects.get(name=f"2026-01-{name}.csv")
        assert record.sha256 == hashlib.sha256(content).hexdigest()
        assert record.rows == len(content.splitlines()) - 1
        assert (record.recorded_by, record.filter) == (cast.users["auditor"], "2026-01")


def test_an_export_that_fails_leaves_none(tmp_path: Path) -> None:
    Cast()
    with pytest.raises(CommandError):
        run("export_attributions", "2026-01", "--out", tmp_path / "missing" / "a.csv")
    assert not FileRecord.objects.exists()


def test_a_profile_runs_by_command(tmp_path: Path) -> None:
    cast = Cast()
    ready, hr = ready_profile("wide_chinese"), cast.users["hr"]
    assert ready is not None
    assert hr is not None
    ready.copy("用友", by=hr).save()
    said = run("run_export_profile", "用友", "2026-01", "--out", tmp_path / "out")
    assert "files 1, rows 6" in said
    (totals,) = json.loads((tmp_path / "out" / "control-totals.json").read_text(encoding="utf-8"))["files"]
    assert (totals["payslips_amount"], totals["exported_amount"]) == ("3110.50", "3110.50")
    path = tmp_path / "out" / totals["name"]
    (record,) = FileRecord.objects.all()
    assert (record.name, record.filter, record.sha256) == (path.name, "2026-01 · 用友", sha256(path))
    assert ExportProfile.objects.count() == 1
    with pytest.raises(CommandError, match=r"no export profile 金蝶\. The profiles are: 用友"):
        run("run_export_profile", "金蝶", "2026-01", "--out", tmp_path)
    with pytest.raises(CommandError, match="2026-02 is open"):
        run("run_export_profile", "用友", "2026-02", "--out", tmp_path)
