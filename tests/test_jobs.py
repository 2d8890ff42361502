"""Long work that a page starts: it ends in its row, a second click doubles nothing, and a worker can do it."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.db import connection
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from config.celery import app
from payroll_exports import jobs
from payroll_exports.adjustments import approve, ask_adjustment
from payroll_exports.close_checklist import CloseRefused
from payroll_exports.jobs import cancel, run_job, start_close, start_draft, start_payslip_files
from payroll_exports.models import SILENCE, Job, PayRun, Payslip, PayslipFile
from payroll_exports.pay_run import close_month
from payroll_exports.pay_run_steps import draft
from tests.cast import Cast
from tests.concurrency import apart
from tests.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast():
    return Cast()


class TestClose:
    def test_it_closes_the_month_and_says_so(self, cast):
        cast.approved_run(cast.february)
        job = start_close(cast.february, by=cast.users["hr"], language="en")
        cast.february.refresh_from_db()
        assert (cast.february.is_closed, cast.february.closed_by) == (True, "second_hr")
        assert (job.state, job.started_by) == (Job.State.DONE, cast.users["hr"])
        payslips = Payslip.objects.filter(month=cast.february).count()
        assert job.message == f"2026-02 is closed, with {payslips} payslips."
        assert job.finished_at is not None
        again = start_close(cast.february, by=cast.users["hr"], language="en")
        assert again.message == "2026-02 was closed already."

    def test_whoever_looks_reads_how_it_ended_in_the_own_language(self, cast):
        cast.approved_run(cast.february)
        start_close(cast.february, by=cast.users["hr"], language="en")
        for language, said in (
            ("en", "2026-02 is closed, with 6 payslips."),
            ("zh-hans", "2026-02 已结账，共 6 张工资条。"),
        ):
            assert said in cast.client("auditor", language).get(reverse("month", args=[202602])).content.decode()

    def test_without_an_approved_run_nothing_starts(self, cast):
        with pytest.raises(CloseRefused, match="one person drafts it, another approves it"):
            start_close(cast.february, by=cast.users["hr"], language="en")
        assert not Job.objects.filter(month=cast.february).exists()

    def test_what_stands_in_the_way_is_told_in_the_row(self, cast):
        cast.approved_run(cast.february)
        line = cast.chain.unmatched_return("02-05", -1_000)
        job = start_close(cast.february, by=cast.users["second_hr"], language="en")
        assert job.state == Job.State.FAILED
        assert line.sale.ticket_no in job.message
        cast.february.refresh_from_db()
        assert not cast.february.is_closed


def finished(job):
    """The job once it has run: in a test nothing is committed, so nothing runs beside it."""
    run_job(job, language="en")
    job.refresh_from_db()
    return job


class TestDraft:
    """李 is due a base of 3,100.00 and 3% of 300.00 in February."""

    def test_the_button_starts_it_and_it_ends_on_the_pay_run_s_page(self, cast):
        page = text(cast.drafted_on_page("hr", cast.february))
        run, job = PayRun.objects.get(), Job.objects.get(kind=Job.Kind.DRAFT)
        assert (run.state, run.paid_amount, run.drafted_by) == ("draft", 310_900, cast.users["hr"])
        assert (job.state, job.started_by) == (Job.State.DONE, cast.users["hr"])
        assert "Drafted by hr" in page
        assert "I have reviewed it" in page
        assert "Draft of the pay run" not in page

    def test_who_looks_meanwhile_sees_it_and_takes_no_step(self, cast):
        cast.drafted_on_page("hr", cast.february)
        job = start_draft(cast.february, by=cast.users["hr"], language="en")
        for name in ("pay_run", "month"):
            page = text(cast.client("second_hr").get(reverse(name, args=[202602])))
            assert "Draft of the pay run: waiting, started by hr" in page
            assert "Draft again" not in page
            assert "I have reviewed it" not in page
        assert "Draft of the pay run: waiting" in text(cast.client("auditor").get(reverse("job", args=[job.pk])))
        assert "Draft of the pay run" not in text(cast.client("manager").get(reverse("pay_run", args=[202602])))

    def test_when_it_ends_the_page_is_asked_to_show_itself_again(self, cast):
        job = finished(start_draft(cast.february, by=cast.users["hr"], language="en"))
        response = cast.client("hr").get(reverse("job", args=[job.pk]))
        assert response["HX-Refresh"] == "true"

    @pytest.mark.parametrize(("name", "answer"), [("clerk", 404), ("manager", 404), ("auditor", 404)])
    def test_nobody_but_hr_starts_it(self, cast, name, answer):
        assert cast.client(name).post(reverse("draft_pay_run", args=[202602])).status_code == answer
        assert not Job.objects.filter(month=202602).exists()

    def test_a_second_press_goes_to_the_one_under_way(self, cast, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks() as callbacks:
            cast.client("hr").post(reverse("draft_pay_run", args=[202602]))
            second = cast.client("second_hr").post(reverse("draft_pay_run", args=[202602]), follow=True)
        assert len(callbacks) == 1
        assert "Draft of the pay run: waiting, started by hr" in text(second)
        finished(Job.objects.get(kind=Job.Kind.DRAFT))
        assert PayRun.objects.get().drafted_by == cast.users["hr"]

    def test_a_closed_month_is_refused_before_anything_starts(self, cast):
        said = text(cast.client("hr").post(reverse("draft_pay_run", args=[202601]), follow=True))
        assert "Month 2026-01 is closed already." in said
        assert not Job.objects.filter(kind=Job.Kind.DRAFT).exists()

    def test_a_month_that_was_closed_meanwhile_is_told_on_the_page(self, cast):
        job = start_draft(cast.february, by=cast.users["hr"], language="en")
        close_month(cast.february, approved_by="operator")
        assert finished(job).state == Job.State.FAILED
        page = text(cast.client("hr").get(reverse("pay_run", args=[202602])))
        assert "Draft of the pay run: Month 2026-02 is closed already." in page

    def test_a_payslip_without_a_store_is_told_on_the_page_and_the_run_before_stays(self, cast):
        cast.drafted_on_page("hr", cast.february)
        hired = cast.chain.clerk("C7", since="02-01")
        asked = ask_adjustment(hired, cast.february, amount=5_000, reason="bonus", asked_by=cast.users["hr"])
        approve(asked, by=cast.users["second_hr"])
        hired.postings.all().delete()
        page = text(cast.drafted_on_page("hr", cast.february))
        assert "Clerk C7 has an adjustment, but no posting and no ticket: post the clerk to a store." in page
        assert Job.objects.filter(month=202602)[0].state == Job.State.FAILED
        assert (PayRun.objects.get().state, PayRun.objects.get().paid_amount) == ("draft", 310_900)
        assert "Draft again" in page

    def test_cancelled_it_drafts_nothing(self, cast):
        client = cast.client("hr")
        client.post(reverse("draft_pay_run", args=[202602]))
        page = text(client.post(reverse("cancel_job", args=[Job.objects.unfinished().get().pk]), follow=True))
        assert "Draft of the pay run: Cancelled. Nothing was drafted." in page
        assert "Draft the pay run" in page
        assert finished(Job.objects.get(kind=Job.Kind.DRAFT)).state == Job.State.CANCELLED
        assert not PayRun.objects.exists()

    def test_what_is_cancelled_while_it_works_is_taken_back(self, cast, monkeypatch):
        job = start_draft(cast.february, by=cast.users["hr"], language="en")

        def cancelled_after_it(month, *, by):
            drafted = draft(month, by=by)
            assert cancel(job)
            return drafted

        monkeypatch.setattr(jobs, "draft", cancelled_after_it)
        run_job(job, language="en")
        assert not PayRun.objects.exists()

    def test_stopped_it_goes_on_for_whoever_started_it(self, cast, django_capture_on_commit_callbacks):
        job = start_draft(cast.february, by=cast.users["hr"], language="en")
        Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING, heard_at=timezone.now() - SILENCE * 2)
        client = cast.client("second_hr")
        assert "It can go on; nothing is done twice. Go on" in text(client.get(reverse("pay_run", args=[202602])))
        with django_capture_on_commit_callbacks() as callbacks:
            client.post(reverse("draft_pay_run", args=[202602]))
        assert len(callbacks) == 1
        assert finished(job).state == Job.State.DONE
        # Whatever ran it first was not gone after all.
        finished(job)
        assert PayRun.objects.get().drafted_by == cast.users["hr"]

    def test_with_a_broker_a_worker_does_it(self, cast, django_capture_on_commit_callbacks):
        with override_settings(CELERY_BROKER_URL="memory://"), django_capture_on_commit_callbacks() as callbacks:
            job = start_draft(cast.february, by=cast.users["hr"], language="en")
        assert len(callbacks) == 1
        app.tasks["run_job"].apply(args=[job.pk, "en"], throw=True)
        job.refresh_from_db()
        assert job.state == Job.State.DONE
        assert PayRun.objects.get().paid_amount == 310_900


class TestPayslipFiles:
    def test_each_payslip_gets_one_file_however_often_it_is_started(self, cast):
        first = finished(start_payslip_files(cast.january, by=cast.users["hr"], language="en"))
        made = PayslipFile.objects.filter(payslip__month=cast.january).count()
        assert made == Payslip.objects.filter(month=cast.january).count() > 0
        assert (first.state, first.done, first.total) == (Job.State.DONE, made, made)
        assert first.message == f"All {made} payslips are made as PDF."
        finished(start_payslip_files(cast.january, by=cast.users["hr"], language="en"))
        assert PayslipFile.objects.count() == made

    def test_it_runs_beside_the_answer_once_the_row_can_be_read(self, cast, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks() as callbacks:
            job = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
            assert job.state == Job.State.WAITING
        assert len(callbacks) == 1
        # A second click while it is under way starts nothing.
        with django_capture_on_commit_callbacks() as callbacks:
            assert start_payslip_files(cast.january, by=cast.users["second_hr"], language="en") == job
        assert callbacks == []

    def test_an_interrupted_job_goes_on_when_it_is_started_again(self, cast, django_capture_on_commit_callbacks):
        stopped = Job.objects.create(
            kind=Job.Kind.PAYSLIP_FILES,
            month=cast.january,
            started_by=cast.users["hr"],
            state=Job.State.RUNNING,
            heard_at=timezone.now() - SILENCE * 2,
        )
        with django_capture_on_commit_callbacks() as callbacks:
            job = start_payslip_files(cast.january, by=cast.users["second_hr"], language="en")
        assert len(callbacks) == 1
        assert job.pk == stopped.pk
        assert finished(job).state == Job.State.DONE

    def test_a_cancelled_job_keeps_what_it_made_and_a_new_one_makes_the_rest(self, cast, monkeypatch):
        job = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        tell = jobs._tell

        def cancelled_after_two(job):
            told = tell(job)
            if told[0] == 2:
                cancel(job)
            return told

        monkeypatch.setattr(jobs, "_tell", cancelled_after_two)
        # What is told after the third payslip finds the job ended.
        assert finished(job).state == Job.State.CANCELLED
        monkeypatch.undo()
        kept = set(PayslipFile.objects.values_list("pk", "sha256"))
        assert len(kept) == 3
        again = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        assert again.pk != job.pk
        assert finished(again).state == Job.State.DONE
        assert kept < set(PayslipFile.objects.values_list("pk", "sha256"))
        assert not cancel(again)

    def test_a_finished_job_is_not_run_again(self, cast):
        job = finished(start_payslip_files(cast.january, by=cast.users["hr"], language="en"))
        ended = job.finished_at
        assert ended is not None
        assert ended <= timezone.now()
        assert finished(job).finished_at == ended


def test_with_a_broker_the_payslips_are_shared_out_among_the_workers(
    cast, django_capture_on_commit_callbacks, monkeypatch
):
    with override_settings(CELERY_BROKER_URL="memory://"), django_capture_on_commit_callbacks() as callbacks:
        job = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        assert job.state == Job.State.WAITING
        assert not PayslipFile.objects.exists()
    assert len(callbacks) == 1  # it is sent when the row can be read by others
    # What the workers then do with the messages: each with its own payslips, in any order, one of them twice.
    monkeypatch.setattr(jobs, "_BATCH", 2)
    batches = []
    monkeypatch.setattr(jobs.make_on_worker, "delay", lambda *batch: batches.append(batch))
    app.tasks["run_job"].apply(args=[job.pk, "en"], throw=True)
    total = Payslip.objects.filter(month=cast.january).count()
    assert sorted(pk for _job, payslips, _language in batches for pk in payslips) == sorted(
        Payslip.objects.filter(month=cast.january).values_list("pk", flat=True)
    )
    for batch in [batches[-1], *reversed(batches)]:
        job.refresh_from_db()
        assert job.state == Job.State.RUNNING
        app.tasks["make_payslips"].apply(args=batch, throw=True)
    job.refresh_from_db()
    assert (job.state, job.done, job.total) == (Job.State.DONE, total, total)
    assert PayslipFile.objects.count() == total


@pytest.mark.django_db(transaction=True)
@apart
def test_what_is_small_has_ended_on_the_page_that_the_button_leads_to(shared_database, monkeypatch):
    # In life it is a second, which a busy machine may need for anything.
    monkeypatch.setattr(jobs, "_AT_ONCE", 60)
    cast = Cast()
    client, plan = cast.client("hr"), cast.next_plan()
    assert "Issue it" in text(client.post(reverse("preview_plan", args=[plan.pk]), follow=True))
    page = client.post(reverse("apply_plan_change", args=[plan.changes.get().pk]), follow=True)
    assert "Issued 20" in text(page)
    assert [job.state for job in Job.objects.filter(plan_change__plan=plan)] == [Job.State.DONE] * 2


# Makes a job's payslips one by one, and is killed in the middle.
KILLED = """
import sys, django
django.setup()
from payroll_exports import jobs, payslip_files
from payroll_exports.models import Job
whole = payslip_files.render_payslips
payslip_files.render_payslips = lambda documents, processes: whole(documents, 1)
jobs.run_job(Job.objects.get(pk=int(sys.argv[1])), language="en")
"""


@pytest.mark.django_db(transaction=True)
@apart
def test_a_process_that_is_killed_leaves_a_job_that_goes_on_without_doubling(shared_database):
    cast = Cast()
    hr, second_hr = cast.users["hr"], cast.users["second_hr"]
    assert hr
    assert second_hr
    for number in range(20, 50):
        cast.chain.clerk(f"C{number}", store=cast.chain.first)
    cast.approved_run(cast.february)
    start_close(cast.february, by=second_hr, language="en")
    total = Payslip.objects.filter(month=cast.february).count()
    job = Job.objects.create(kind=Job.Kind.PAYSLIP_FILES, month=cast.february, started_by=hr)
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.settings"}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(job.pk)], env=environment)
    while process.poll() is None and PayslipFile.objects.count() < 3:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = dict(PayslipFile.objects.values_list("payslip", "sha256"))
    assert 3 <= len(before) < total
    job.refresh_from_db()
    assert job.state == Job.State.RUNNING
    assert not job.has_stopped

    Job.objects.filter(pk=job.pk).update(heard_at=timezone.now() - SILENCE * 2)
    assert start_payslip_files(cast.february, by=hr, language="en").pk == job.pk
    # It runs in a thread of its own, with every core.
    for _wait in range(600):
        job.refresh_from_db()
        if job.finished_at:
            break
        time.sleep(0.1)
    assert (job.state, job.done, job.total) == (Job.State.DONE, total, total)
    after = dict(PayslipFile.objects.values_list("payslip", "sha256"))
    assert len(after) == total
    assert before.items() < after.items()
    # Its connection is closed before the database goes.
    for thread in threading.enumerate():
        if thread.name.startswith("job-"):
            thread.join(60)


def database_url():
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    return (
        f"postgres://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    )
