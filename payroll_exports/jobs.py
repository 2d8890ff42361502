"""Long work that a page starts and follows: a month's pay run and close, its payslips as PDF, and their mailing; what
issuing a plan moves, and the issue.

A job is a row. Files are made beside the page's answer, on every core, or by Celery workers where a broker is set; a
close runs in the process that starts it, or on one worker; everything else is done beside the answer, or on one
worker. What fails says why in the row. A job that was cancelled or whose process died keeps what it made: started
again it goes on there, for nothing here is done twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread

from auditlog.context import set_actor
from celery import shared_task
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import get_language, ngettext, override
from django.utils.translation import gettext as _

from commission.models import PlanChange
from commission.plan_changes import PlanRefused, apply_change, work_out
from payroll_exports.close_checklist import CloseRefused
from payroll_exports.models import Job, Payslip
from payroll_exports.pay_reports import month_reports
from payroll_exports.pay_run import close_month
from payroll_exports.pay_run_steps import PayRunRefused, approved_run, draft, refuse_closed
from payroll_exports.payslip_files import make_payslip_files, payslip_pdf
from payroll_exports.payslip_mail import MailServerFailed, mail_payslips
from portfolios.models import Month, User
from portfolios.months import MonthError
from portfolios.sentences import joined

# A message, in the language of the moment.
Said = Callable[[], str]

# Payslips that a Celery worker makes in one go.
_BATCH = 20
# An answer waits so many seconds for what is done beside it: what is small has ended on the page that it leads to.
_AT_ONCE = 1


class _Cancelled(Exception):
    """The job has ended meanwhile: somebody cancelled it, another worker failed, or another run of it was first."""


def start_close(month: Month, *, by: User, language: str) -> Job:
    """Starts the close of a month on its approved pay run. Raises CloseRefused where there is none."""
    approved_run(month)
    job, _is_new = _job(Job.Kind.CLOSE, by, month=month)
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
    return _start_beside(Job.Kind.DRAFT, by, language, month=month)


def start_payslip_files(month: Month, *, by: User, language: str) -> Job:
    """Starts the making of the PDFs that a closed month still lacks, or goes on with it where it has stopped."""
    return _start_beside(Job.Kind.PAYSLIP_FILES, by, language, month=month)


def start_mailing(month: Month, *, by: User, language: str) -> Job:
    """Starts to mail what a closed month has to mail, or goes on with it where it has stopped."""
    return _start_beside(Job.Kind.MAIL, by, language, month=month)


def start_preview(change: PlanChange, *, by: User, language: str) -> Job:
    """Starts to work out what issuing a plan moves, or goes on with it where it has stopped."""
    return _start_beside(Job.Kind.PREVIEW_PLAN, by, language, plan_change=change)


def start_issue(change: PlanChange, *, by: User, language: str) -> Job:
    """Starts to issue a plan as it was shown, or goes on with it where it has stopped."""
    return _start_beside(Job.Kind.ISSUE_PLAN, by, language, plan_change=change)


def _start_beside(kind: Job.Kind, by: User, language: str, **about: Month | PlanChange) -> Job:
    job, is_new = _job(kind, by, **about)
    if is_new or job.has_stopped:
        Job.objects.filter(pk=job.pk).update(heard_at=timezone.now())
        if settings.CELERY_BROKER_URL:
            transaction.on_commit(lambda: run_on_worker.delay(job.pk, language))
        else:
            transaction.on_commit(lambda: _start_thread(job, language))
    return job


def _start_thread(job: Job, language: str) -> None:
    beside = Thread(name=f"job-{job.pk}", target=_run_beside, args=[job.pk, language])
    beside.start()
    beside.join(_AT_ONCE)


def cancel(job: Job) -> bool:
    """Ends a job that is not a close; files that are made stay, and mails that are sent. False where it had ended."""

    def said() -> str:
        messages = {
            Job.Kind.DRAFT: _("Cancelled. Nothing was drafted."),
            Job.Kind.MAIL: _("Cancelled. What was mailed stays so."),
            Job.Kind.PREVIEW_PLAN: _("Cancelled. Nothing was worked out."),
            Job.Kind.ISSUE_PLAN: _("Cancelled. The plan was not issued."),
        }
        return messages.get(Job.Kind(job.kind), _("Cancelled. What was made is kept."))

    return job.can_be_cancelled and _finish(job, Job.State.CANCELLED, said)


def _job(kind: Job.Kind, by: User, **about: Month | PlanChange) -> tuple[Job, bool]:
    """The unfinished job of that kind about it, and whether it is new; else it is under way, or was interrupted."""
    return Job.objects.unfinished().get_or_create(kind=kind, **about, defaults={"started_by": by})


def _month(job: Job) -> Month:
    assert job.month is not None, "only what is about a plan has none"
    return job.month


def _plan_change(job: Job) -> PlanChange:
    assert job.plan_change is not None, "whatever is about no month is about a plan"
    return job.plan_change


def _run_beside(job_id: int, language: str) -> None:
    try:
        _run_apart(Job.objects.get(pk=job_id), language)
    finally:
        connection.close()


def _run_apart(job: Job, language: str) -> None:
    """Outside of a request: the audit log has it as done by whoever started it."""
    with set_actor(job.started_by):
        run_job(job, language=language)


@shared_task(name="run_job")
def run_on_worker(job_id: int, language: str) -> None:
    """Runs the job of that number on a Celery worker; payslips are shared out among all workers."""
    job = Job.objects.get(pk=job_id)
    if job.kind != Job.Kind.PAYSLIP_FILES:
        _run_apart(job, language)
    elif _begin(job):
        lacking = list(Payslip.objects.filter(month=_month(job), file__isnull=True).values_list("pk", flat=True))
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
        Job.Kind.PREVIEW_PLAN: _preview_plan,
        Job.Kind.ISSUE_PLAN: _issue_plan,
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
        except (CloseRefused, PayRunRefused, PlanRefused, MonthError) as refused:
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
    payslips = Payslip.objects.filter(month=_month(job))
    total = payslips.count()
    done = total - payslips.filter(file__isnull=True).count()
    _write(job, done, total)
    return done, total


def _write(job: Job, done: int, total: int) -> None:
    if not Job.objects.unfinished().filter(pk=job.pk).update(done=done, total=total, heard_at=timezone.now()):
        raise _Cancelled


def _draft(job: Job) -> None:
    with _all_or_nothing(job):
        draft(_month(job), by=job.started_by)


def _preview_plan(job: Job) -> None:
    with _all_or_nothing(job):
        work_out(_plan_change(job))


def _issue_plan(job: Job) -> None:
    with _all_or_nothing(job):
        apply_change(_plan_change(job), by=job.started_by)


@contextmanager
def _all_or_nothing(job: Job) -> Iterator[None]:
    """What is done within it is done together with the job's end, of which the page itself tells, or not at all:
    nothing is left of what was cancelled, or of what another run of the job has done.
    """
    with transaction.atomic():
        yield
        if not _finish(job, Job.State.DONE, str):
            raise _Cancelled


def _close(job: Job) -> Said:
    month = _month(job)
    run = approved_run(month)
    assert run.approved_by is not None, "the database holds no approved run without who approved it"
    report = close_month(month, approved_by=run.approved_by.get_username(), run=run)
    if report.tie_out is None:
        return lambda: _("%(month)s was closed already.") % {"month": month}
    return lambda: (
        ngettext(
            "%(month)s is closed, with %(count)d payslip.",
            "%(month)s is closed, with %(count)d payslips.",
            report.payslips,
        )
        % {"month": month, "count": report.payslips}
    )


def _payslip_files(job: Job) -> Said:
    def tell(_made: int, _lacking: int) -> None:
        _tell(job)

    _tell(job)
    make_payslip_files(_month(job), progress=tell)
    _done, total = _tell(job)
    return _made(job, total)


def _mail(job: Job) -> Said:
    sent, refused = mail_payslips(_month(job), tell=partial(_write, job))

    def said() -> str:
        mailed = ngettext("%(count)d payslip is mailed.", "%(count)d payslips are mailed.", sent) % {"count": sent}
        missed = ngettext("The mail server refused %(count)d.", "The mail server refused %(count)d.", refused)
        return joined(mailed, missed % {"count": refused} if refused else "")

    return said


def _made(job: Job, total: int) -> Said:
    """What is made of all payslips, in the job's language, and the message that they are there."""
    for _report in month_reports(_month(job), language=get_language() or settings.LANGUAGE_CODE):
        _tell(job)
    return lambda: (
        ngettext("%(count)d payslip is made as PDF.", "All %(count)d payslips are made as PDF.", total)
        % {"count": total}
    )
