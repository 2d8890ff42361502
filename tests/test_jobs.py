"""Long work that a page starts: it ends in its row, a second click doubles nothing, and a worker can do it."""

import pytest
from django.test import override_settings
from django.utils import timezone

from config.celery import app
from payroll_exports.jobs import run_job, start_close, start_payslip_files
from payroll_exports.models import Job, Payslip, PayslipFile
from payroll_exports.pay_run import CloseRefused, request_close
from tests.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast():
    return Cast()


class TestClose:
    def test_it_closes_the_month_and_says_so(self, cast):
        request_close(cast.february, by=cast.users["hr"])
        job = start_close(cast.february, by=cast.users["second_hr"], language="en")
        cast.february.refresh_from_db()
        assert cast.february.is_closed
        assert (job.state, job.started_by) == (Job.State.DONE, cast.users["second_hr"])
        payslips = Payslip.objects.filter(month=cast.february).count()
        assert job.message == f"2026-02 is closed, with {payslips} payslips."
        assert job.finished_at is not None

    def test_the_same_person_starts_nothing(self, cast):
        request_close(cast.february, by=cast.users["hr"])
        with pytest.raises(CloseRefused, match="another person"):
            start_close(cast.february, by=cast.users["hr"], language="en")
        assert not Job.objects.filter(month=cast.february).exists()

    def test_what_stands_in_the_way_is_told_in_the_row(self, cast):
        march = cast.chain.month(202603)
        request_close(march, by=cast.users["hr"])
        job = start_close(march, by=cast.users["second_hr"], language="en")
        assert job.state == Job.State.FAILED
        assert "2026-02" in job.message
        march.refresh_from_db()
        assert not march.is_closed


class TestPayslipFiles:
    def test_each_payslip_gets_one_file_however_often_it_is_started(self, cast):
        first = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        made = PayslipFile.objects.filter(payslip__month=cast.january).count()
        assert made == Payslip.objects.filter(month=cast.january).count() > 0
        assert (first.done, first.total) == (made, made)
        again = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        assert again.message == "0 PDFs made."
        assert PayslipFile.objects.count() == made

    def test_an_interrupted_job_goes_on_when_it_is_started_again(self, cast):
        stopped = Job.objects.create(
            kind=Job.Kind.PAYSLIP_FILES, month=cast.january, started_by=cast.users["hr"], state=Job.State.RUNNING
        )
        job = start_payslip_files(cast.january, by=cast.users["second_hr"], language="en")
        assert job.pk == stopped.pk
        assert job.state == Job.State.DONE

    def test_a_finished_job_is_not_run_again(self, cast):
        job = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        ended = job.finished_at
        assert ended is not None
        assert ended <= timezone.now()
        run_job(job, language="zh-hans")
        job.refresh_from_db()
        assert job.finished_at == ended


def test_with_a_broker_the_job_waits_for_a_worker(cast, django_capture_on_commit_callbacks):
    with override_settings(CELERY_BROKER_URL="memory://"), django_capture_on_commit_callbacks() as callbacks:
        job = start_payslip_files(cast.january, by=cast.users["hr"], language="en")
        assert job.state == Job.State.WAITING
        assert not PayslipFile.objects.exists()
    assert len(callbacks) == 1  # it is sent when the row can be read by others
    # What the worker then does with the message.
    app.tasks["run_job"].apply(args=[job.pk, "en"], throw=True)
    job.refresh_from_db()
    assert job.state == Job.State.DONE
    assert PayslipFile.objects.exists()
