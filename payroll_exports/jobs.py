"""Long work that a page starts and follows: a month's pay run and close, its payslips as PDF, and their mailing.

A job is a row. Files are made beside the page's answer, on every core, or by Celery workers where a broker is set; a
close runs in the process that starts it, or on one worker; a pay run is drafted and payslips are mailed beside the
answer, or on one worker. What fails says why in the row. A job that was cancelled or whose process died keeps what it
made: started again it goes on there, for nothing here is done twice.
"""

from collections.abc import Callable
from functools import partial
from threading import Thread

from celery import shared_task
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import get_language, ngettext, override
from django.utils.translation import gettext as _

from payroll_exports.close_checklist import CloseRefused
from payroll_exports.models import Job, Payslip
from payroll_exports.pay_reports import month_reports
from payroll_exports.pay_run import close_month
from payroll_exports.pay_run_steps import PayRunRefused, approved_run, draft, refuse_closed
from payroll_exports.payslip_files import make_payslip_files, payslip_pdf
from payroll_exports.payslip_mail import MailServerFailed, mail_payslips
from portfolios.models import Month, User
from portfolios.sentences import joined

# A message, in the language of the moment.
Said = Callable[[], str]

# Payslips that a Celery worker makes in one go.
_BATCH = 20


class _Cancelled(Exception):
    """The job has ended meanwhile: somebody cancelled it, another worker failed, or another run of it was first."""


def start_close(month: Month, *, by: User, language: str) -> Job:
    """Starts the close of a month on its approved pay run. Raises CloseRefused where there is none."""
    approved_run(month)
    job, _is_new = _job(Job.Kind.CLOSE, month, by)
    if settings.CELERY_BROKER_URL:
        transaction.on_commit(lambda: run_on_worker.delay(job.pk, language))
    else:
        run_job(job, language=language)
    job.refresh_from_db()
    return job


def start_draft(month: Month, *, by: User, language: str) -> Job:
    """Starts to draft a month's pay run, or goes on with it where it has stopped.

    Raises PayRunRefused where the month is closed; what else is in the way is told by the job.
    """
    refuse_closed(month)
    return _start_beside(Job.Kind.DRAFT, month, by, language)


def start_payslip_files(month: Month, *, by: User, language: str) -> Job:
    """Starts the making of the PDFs that a closed month still lacks, or goes on with it where it has stopped."""
    return _start_beside(Job.Kind.PAYSLIP_FILES, month, by, language)


def start_mailing(month: Month, *, by: User, language: str) -> Job:
    """Starts to mail what a closed month has to mail, or goes on with it where it has stopped."""
    return _start_beside(Job.Kind.MAIL, month, by, language)


def _start_beside(kind: Job.Kind, month: Month, by: User, language: str) -> Job:
    job, is_new = _job(kind, month, by)
    if is_new or job.has_stopped:
        Job.objects.filter(pk=job.pk).update(heard_at=timezone.now())
        if settings.CELERY_BROKER_URL:
            transaction.on_commit(lambda: run_on_worker.delay(job.pk, language))
        else:
            transaction.on_commit(Thread(name=f"job-{job.pk}", target=_run_beside, args=[job.pk, language]).start)
    return job


def cancel(job: Job) -> bool:
    """Ends a job that is not a close; files that are made stay, and mails that are sent. False where it had ended."""

    def said() -> str:
        messages = {
            Job.Kind.DRAFT: _("Cancelled. Nothing was drafted."),
            Job.Kind.MAIL: _("Cancelled. What was mailed stays so."),
        }
        return messages.get(Job.Kind(job.kind), _("Cancelled. What was made is kept."))

    return job.can_be_cancelled and _finish(job, Job.State.CANCELLED, said)


def _job(kind: Job.Kind, month: Month, by: User) -> tuple[Job, bool]:
    """The unfinished job of that kind and month, and whether it is new; else it is under way, or was interrupted."""
    return Job.objects.unfinished().get_or_create(kind=kind, month=month, defaults={"started_by": by})


def _run_beside(job_id: int, language: str) -> None:
    try:
        run_job(Job.objects.get(pk=job_id), language=language)
    finally:
        connection.close()


@shared_task(name="run_job")
def run_on_worker(job_id: int, language: str) -> None:
    """Runs the job of that number on a Celery worker; payslips are shared out among all workers."""
    job = Job.objects.get(pk=job_id)
    if job.kind != Job.Kind.PAYSLIP_FILES:
        run_job(job, language=language)
    elif _begin(job):
        lacking = list(Payslip.objects.filter(month=job.month, file__isnull=True).values_list("pk", flat=True))
        for start in range(0, max(len(lacking), 1), _BATCH):
            make_on_worker.delay(job_id, lacking[start : start + _BATCH], language)


@shared_task(name="make_payslips")
def make_on_worker(job_id: int, payslips: list[int], language: str) -> None:
    """Makes some of a job's payslips; whoever makes the last one finishes the job."""
    job = Job.objects.get(pk=job_id)

    def make() -> Said | None:
        for payslip in Payslip.objects.filter(pk__in=payslips, file__isnull=True):
            _tell(job)
            payslip_pdf(payslip)
        done, total = _tell(job)
        return _made(job, total) if done == total else None

    _run(job, make, language)


def run_job(job: Job, *, language: str) -> None:
    """Does the job's work in `language` and writes into its row how it ended."""
    works: dict[Job.Kind, Callable[[Job], Said | None]] = {
        Job.Kind.DRAFT: _draft,
        Job.Kind.CLOSE: _close,
        Job.Kind.PAYSLIP_FILES: _payslip_files,
        Job.Kind.MAIL: _mail,
    }
    work = works[Job.Kind(job.kind)]
    if _begin(job):
        _run(job, lambda: work(job), language)


def _begin(job: Job) -> bool:
    return bool(Job.objects.unfinished().filter(pk=job.pk).update(state=Job.State.RUNNING, heard_at=timezone.now()))


def _run(job: Job, work: Callable[[], Said | None], language: str) -> None:
    """Does the work; the job is done where it comes back with a message."""
    with override(language):
        try:
            said = work()
        except _Cancelled:
            return
        except (CloseRefused, PayRunRefused) as refused:
            # Worded where it was found out: in the language of whoever started the job.
            reasons = str(refused)
            _finish(job, Job.State.FAILED, lambda: reasons)
        except MailServerFailed as failed:
            answer = {"said": str(failed)}
            _finish(
                job,
                Job.State.FAILED,
                lambda: (
                    _("The mail server does not let us in: %(said)s. What was not sent yet can be sent later.") % answer
                ),
            )
        except Exception:
            # Whoever waits for it must learn that it ended; the operator finds the cause in the log.
            _finish(job, Job.State.FAILED, lambda: _("It stopped with an error; the operator finds it in the log."))
            raise
        else:
            if said is not None:
                _finish(job, Job.State.DONE, said)


def _finish(job: Job, state: Job.State, said: Said) -> bool:
    """Writes into the row how it ended, in each language."""
    messages = {}
    for language, _name in settings.LANGUAGES:
        with override(language):
            messages[language] = said()
    ended = {"state": state, "messages": messages, "finished_at": timezone.now()}
    return bool(Job.objects.unfinished().filter(pk=job.pk).update(**ended))


def _tell(job: Job) -> tuple[int, int]:
    """Writes how far the job is and returns that: the month's payslips that are made, of how many."""
    payslips = Payslip.objects.filter(month=job.month)
    total = payslips.count()
    done = total - payslips.filter(file__isnull=True).count()
    _write(job, done, total)
    return done, total


def _write(job: Job, done: int, total: int) -> None:
    if not Job.objects.unfinished().filter(pk=job.pk).update(done=done, total=total, heard_at=timezone.now()):
        raise _Cancelled


def _draft(job: Job) -> None:
    with transaction.atomic():
        draft(job.month, by=job.started_by)
        # With the run or not at all: nothing is drafted that was cancelled, or that another run of the job has drafted.
        if not _finish(job, Job.State.DONE, str):
            raise _Cancelled


def _close(job: Job) -> Said:
    run = approved_run(job.month)
    assert run.approved_by is not None, "the database holds no approved run without who approved it"
    report = close_month(job.month, approved_by=run.approved_by.get_username(), run=run)
    if report.tie_out is None:
        return lambda: _("%(month)s was closed already.") % {"month": job.month}
    return lambda: (
        ngettext(
            "%(month)s is closed, with %(count)d payslip.",
            "%(month)s is closed, with %(count)d payslips.",
            report.payslips,
        )
        % {"month": job.month, "count": report.payslips}
    )


def _payslip_files(job: Job) -> Said:
    def tell(_made: int, _lacking: int) -> None:
        _tell(job)

    _tell(job)
    make_payslip_files(job.month, progress=tell)
    _done, total = _tell(job)
    return _made(job, total)


def _mail(job: Job) -> Said:
    sent, refused = mail_payslips(job.month, tell=partial(_write, job))

    def said() -> str:
        mailed = ngettext("%(count)d payslip is mailed.", "%(count)d payslips are mailed.", sent) % {"count": sent}
        missed = ngettext("The mail server refused %(count)d.", "The mail server refused %(count)d.", refused)
        return joined(mailed, missed % {"count": refused} if refused else "")

    return said


def _made(job: Job, total: int) -> Said:
    """What is made of all payslips, in the job's language, and the message that they are there."""
    for _report in month_reports(job.month, language=get_language() or settings.LANGUAGE_CODE):
        _tell(job)
    return lambda: (
        ngettext("%(count)d payslip is made as PDF.", "All %(count)d payslips are made as PDF.", total)
        % {"count": total}
    )
