"""HR's pages of export profiles: a ready one is copied, filled in, looked through and taken out, on record."""

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from payroll_exports.models import ExportProfile, FileRecord
from tests.cast import Cast, one_cast
from tests.identity import identify_everyone, resident_id

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


@pytest.fixture(autouse=True)
def nothing_stays(cast: Cast) -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def copied(client: Client, key: str, name: str = "mine") -> ExportProfile:
    client.post(reverse("copy_ready_profile", args=[key]), {"name": name})
    return ExportProfile.objects.get(name=name)


def as_sent(profile: ExportProfile, **changes: Any) -> dict[str, Any]:
    """What the form of a profile sends when nothing but `changes` was touched."""
    data: dict[str, Any] = {
        name: getattr(profile, name)
        for name in ("name", "layout", "rows", "scope", "sign", "encoding", "delimiter", "decimal_mark", "date_format")
    }
    data |= {"preamble": profile.preamble, "references": ""}
    for code, (earning, deduction) in profile.codes.items():
        data |= {f"earning_{code}": earning, f"deduction_{code}": deduction}
    count = len(profile.columns)
    data |= {"columns-TOTAL_FORMS": count + 2, "columns-INITIAL_FORMS": count}
    for place, (heading, source, detail) in enumerate(profile.columns):
        names = {"heading": heading, "source": source, "detail": detail, "ORDER": place + 1}
        data |= {f"columns-{place}-{name}": value for name, value in names.items()}
    return data | changes


def test_from_a_ready_profile_to_a_file_on_record(cast: Cast) -> None:
    client = cast.client("hr")
    profile = copied(client, "frappe")
    page = reverse("export_profile", args=[profile.pk])
    refused = client.get(page).content.decode()
    assert "question mark: company" in refused
    assert f'<a href="{reverse("edit_export_profile", args=[profile.pk])}">Put it right in the profile' in refused

    # The company is filled in, the name goes to the front, the currency goes away, a column is added.
    end = len(profile.columns)
    changes = {
        "columns-2-detail": "One-to-One",
        "columns-1-ORDER": "0",
        "columns-5-DELETE": "on",
        f"columns-{end}-heading": "department",
        f"columns-{end}-source": "store_name",
        "references": "clerk_no\temployee\nC1\tHR-EMP-00001\n",
    }
    answer = client.post(reverse("edit_export_profile", args=[profile.pk]), as_sent(profile, **changes))
    assert answer.status_code == 302
    profile.refresh_from_db()
    assert [column[0] for column in profile.columns[:3]] == ["employee_name", "employee", "company"]
    assert "currency" not in [column[0] for column in profile.columns]
    assert profile.columns[-1] == ["department", "store_name", ""]
    assert profile.references == {"C1": {"employee": "HR-EMP-00001"}}

    shown = client.get(page).content.decode()
    # 李: 4.20 and 3.00 of own members; 张 1.80, 赵 1.50.
    assert "HR-EMP-00001" in shown
    assert "7.20" in shown
    answer = client.post(reverse("run_export_profile", args=[profile.pk, 202601]))
    archive = zipfile.ZipFile(BytesIO(answer.content))
    (one,) = json.loads(archive.read("control-totals.json"))["files"]
    assert (one["rows"], one["exported_amount"], one["left_out"]) == (3, "10.50", {"BASE": "3100.00"})
    kept = FileRecord.objects.get()
    assert (kept.recorded_by, kept.sha256, kept.filter) == (cast.users["hr"], one["sha256"], "2026-01 · mine")
    assert kept.name in client.get(reverse("export_profiles")).content.decode()


def test_what_was_typed_wrongly_is_said_and_kept(cast: Cast) -> None:
    client = cast.client("hr")
    profile = copied(client, "odoo")
    references = "clerk_no,payslip_id\nC1,1\nC1,2\nC99,3\nC3\n"
    answer = client.post(
        reverse("edit_export_profile", args=[profile.pk]), as_sent(profile, references=references, deduction_BASE="X")
    )
    assert answer.status_code == 422
    said = answer.content.decode()
    for text in ("Line 3: Clerk C1 is there twice", "Line 4: There is no clerk C99", "Line 5: It has 1 columns"):
        assert text in said
    assert "needs one for earnings too" in said
    profile.refresh_from_db()
    assert profile.references == {}


def test_a_refused_run_says_why_and_leaves_no_record(cast: Cast) -> None:
    client = cast.client("hr")
    profile = copied(client, "odoo")
    page = client.get(reverse("export_profile", args=[profile.pk])).content.decode()
    assert "has no payslip_id" in page
    assert "C1, C3, C4" in page
    form = reverse("edit_export_profile", args=[profile.pk])
    assert f'<a href="{form}#id_references">Put it right' in page
    assert 'id="id_references"' in client.get(form).content.decode()
    seen = cast.client("auditor").get(reverse("export_profile", args=[profile.pk])).content.decode()
    assert form not in seen
    assert "HR puts it right." in seen
    address = reverse("export_profile", args=[profile.pk])
    chinese = cast.client("auditor").get(address, headers={"accept-language": "zh-hans"}).content.decode()
    assert "缺少文件所需的编号：C1" in chinese
    answer = client.post(reverse("run_export_profile", args=[profile.pk, 202601]), follow=True)
    assert "has no payslip_id" in answer.content.decode()
    assert not FileRecord.objects.exists()
    assert client.post(reverse("run_export_profile", args=[profile.pk, 202602])).status_code == 404


def test_who_lacks_a_document_is_sent_to_the_roster(cast: Cast) -> None:
    profile = copied(cast.client("hr"), "income_tax")
    page = cast.client("hr").get(reverse("export_profile", args=[profile.pk])).content.decode()
    assert "has no identity document: import identity_documents.csv." in page
    assert f'<a href="{reverse("roster")}">Bring identity documents in with the roster</a>' in page
    assert "Put it right in the profile" not in page


def test_identity_numbers_are_masked_on_the_page_and_unseen_by_an_auditor(cast: Cast) -> None:
    profile = copied(cast.client("hr"), "income_tax")
    identify_everyone()
    page = reverse("export_profile", args=[profile.pk])
    assert resident_id(1) == "110105199001010010"
    shown = cast.client("hr").get(page).content.decode()
    assert "110105199001010010" not in shown
    assert "110***********0010" in shown
    seen = cast.client("auditor").get(page).content.decode()
    assert "0010" not in seen
    assert "3107.20" in seen
    assert cast.client("auditor").get(reverse("edit_export_profile", args=[profile.pk])).status_code == 404


def test_a_copy_and_its_end(cast: Cast) -> None:
    client = cast.client("hr")
    profile = copied(client, "wide_chinese")
    client.post(reverse("copy_export_profile", args=[profile.pk]), {"name": "mine"})
    assert ExportProfile.objects.count() == 1
    client.post(reverse("copy_export_profile", args=[profile.pk]), {"name": "another"})
    another = ExportProfile.objects.get(name="another")
    assert another.columns == profile.columns
    client.post(reverse("delete_export_profile", args=[another.pk]))
    assert list(ExportProfile.objects.all()) == [profile]
