"""On SQLite one writes and the others wait: whom that takes too long is told so, and can try again."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from django.db import connection
from django.urls import reverse

from payroll_exports.models import Job
from tests.cast import Cast
from tests.concurrency import apart
from tests.test_pages import text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_database")]


@contextmanager
def somebody_writes() -> Iterator[None]:
    """Holds the file's one lock for writers on a connection of its own."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@apart
def test_a_draft_that_cannot_be_cancelled_now_is_cancelled_later(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        # Writers do not lock each other out there.
        return
    # In life it is twenty seconds.
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.1)
    cast = Cast()
    hr = cast.users["hr"]
    assert hr is not None
    job = Job.objects.create(kind=Job.Kind.DRAFT, month=cast.february, started_by=hr)
    url = reverse("cancel_job", args=[job.pk])
    english, chinese = cast.client("hr"), cast.client("second_hr", "zh-hans")
    for client in (english, chinese):
        client.raise_request_exception = False
    with somebody_writes():
        response = english.post(url)
        assert (response.status_code, response["Retry-After"]) == (503, "10")
        assert "The books are busy." in text(response)
        assert "Go back and try again in a moment." in text(response)
        assert "账目正忙。" in text(chinese.post(url))
        # Where a part of a page asked, the page shows itself again and says it.
        part = english.post(url, headers={"HX-Request": "true"})
        assert (part.status_code, part["HX-Refresh"]) == (503, "true")
        shown = english.get(reverse("month", args=[202602]))
        assert "The books are busy. Nothing was saved. Try again in a moment." in text(shown)
    job.refresh_from_db()
    assert job.state == Job.State.WAITING
    assert english.post(url).status_code == 302
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED


@apart
def test_any_other_fault_is_told_as_one() -> None:
    cast = Cast()
    client = cast.client("hr")
    client.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payroll_exports_job RENAME TO gone")
    try:
        response = client.post(reverse("cancel_job", args=[1]))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE gone RENAME TO payroll_exports_job")
    assert response.status_code == 500
    assert "Something went wrong on our side." in text(response)
