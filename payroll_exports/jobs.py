"""Long work that a page starts and follows: the close of a month, a month's payslips as PDF.

A job is a row; it runs in the process that starts it, or on a Celery worker when a broker is set. What fails says why
in the row; what was interrupted is started again and goes on where it can, for nothing here is done twice.
"""

from celery import shared_task
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from payroll_exports.models import Job
from payroll_exports.pay_run import CloseRefused, approve_close, check_approval
from payroll_exports.payslip_files import make_payslip_files
from portfolios.models import Month, User


def start_close(month: Month, *, by: User, language: str) -> Job:
    """Approves the close of a month and starts it. Raises CloseRefused where `by` may not approve it."""
    check_approval(month, by=by)
    return _start(Job.Kind.CLOSE, month, by, language)


def start_payslip_files(month: Month, *, by: User, language: str) -> Job:
    """Starts the making of the PDFs that the payslips of a closed month still lack."""
    return _start(Job.Kind.PAYSLIP_FILES, month, by, language)


def _start(kind: Job.Kind, month: Month, by: User, language: str) -> Job:
    try:
        with transaction.atomic():
            job = Job.objects.create(kind=kind, month=month, started_by=by)
    except IntegrityError:
        # It is under way, or was interrupted: started once more it goes on, and doubles nothing.
        job = Job.objects.unfinished().get(kind=kind, month=month)
    if settings.CELERY_BROKER_URL:
        transaction.on_commit(lambda: run_on_worker.delay(job.pk, language))
    else:
        run_job(job, language=language)
    job.refresh_from_db()
    return job


@shared_task(name="run_job")
def run_on_worker(job_id: int, language: str) -> None:
    """Runs the job of that number, on a Celery worker."""
    run_job(Job.objects.get(pk=job_id), language=language)


def run_job(job: Job, *, language: str) -> None:
    """Does the job's work and writes into its row how it ended, in `language`."""
    if not Job.objects.unfinished().filter(pk=job.pk).update(state=Job.State.RUNNING):
        return
    with override(language):
        try:
            message = _close(job) if job.kind == Job.Kind.CLOSE else _payslip_files(job)
            state = Job.State.DONE
        except CloseRefused as refused:
            state, message = Job.State.FAILED, str(refused)
        except Exception:
            # Whoever waits for it must learn that it ended; the operator finds the cause in the log.
            _finish(job, Job.State.FAILED, _("It stopped with an error; the operator finds it in the log."))
            raise
    _finish(job, state, message)


def _finish(job: Job, state: Job.State, message: str) -> None:
    Job.objects.unfinished().filter(pk=job.pk).update(state=state, message=message, finished_at=timezone.now())


def _close(job: Job) -> str:
    report = approve_close(job.month, by=job.started_by)
    if report.tie_out is None:
        return _("%(month)s was closed already.") % {"month": job.month}
    return ngettext(
        "%(month)s is closed, with %(count)d payslip.", "%(month)s is closed, with %(count)d payslips.", report.payslips
    ) % {"month": job.month, "count": report.payslips}


def _payslip_files(job: Job) -> str:
    def tell(done: int, total: int) -> None:
        Job.objects.filter(pk=job.pk).update(done=done, total=total)

    made = make_payslip_files(job.month, progress=tell)
    return ngettext("%(count)d PDF made.", "%(count)d PDFs made.", made) % {"count": made}
