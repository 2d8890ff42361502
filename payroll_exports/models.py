"""Paying and proving: salaries, payslips with their earning lines, the PDF made of each, and what HR takes out."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from commission.models import PlanChange
from payroll_exports.adjustment_models import Adjustment as Adjustment
from payroll_exports.applied_imports import AppliedImport as AppliedImport
from payroll_exports.applied_imports import AppliedRow as AppliedRow
from payroll_exports.identity_documents import IdentityDocument as IdentityDocument
from payroll_exports.identity_documents import IdentityRead as IdentityRead
from payroll_exports.journal_accounts import JournalAccount as JournalAccount
from payroll_exports.line_codes import LineCode
from payroll_exports.mail_models import MailedPayslip as MailedPayslip
from payroll_exports.mail_models import PayslipAddress as PayslipAddress
from payroll_exports.pay_run_models import PayRun as PayRun
from payroll_exports.pay_run_models import PayRunLine as PayRunLine
from payroll_exports.pay_run_models import PayRunSlip as PayRunSlip
from payroll_exports.report_models import PayReport as PayReport
from portfolios.database_rules import AppendOnly, ClosedDaysStay, NoOverlap, OpenMonthOnly
from portfolios.models import OPEN_END, Clerk, Month, Store, User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


# A job that makes files says how far it is after each; the longest takes seconds, and so does the draft of a pay run.
SILENCE = dt.timedelta(minutes=2)


class Salary(models.Model):
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="salaries", verbose_name=_("clerk"))
    monthly_base_amount = models.PositiveBigIntegerField(_("monthly base"))
    valid_from = models.DateField(_("from"))
    valid_to = models.DateField(_("until"), default=OPEN_END)

    class Meta:
        ordering = ["clerk", "valid_from"]
        verbose_name = _("salary")
        verbose_name_plural = _("salaries")
        constraints = [
            models.CheckConstraint(name="salary_not_empty", condition=Q(valid_from__lt=F("valid_to"))),
            NoOverlap(name="one_salary_at_a_time", key=["clerk"]),
            ClosedDaysStay(name="salary_paid_stays"),
        ]

    def __str__(self) -> str:
        return f"{self.clerk} {self.valid_from}"


class PayslipQuerySet(models.QuerySet["Payslip"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The payslips the user may see: one's own, those of the managed stores' clerks, or all."""
        return self.filter(clerk__in=Clerk.objects.for_user(user).values("pk"))


class Payslip(models.Model):
    """One clerk's pay for one month, locked with it."""

    month = models.ForeignKey(Month, models.PROTECT, related_name="payslips", verbose_name=_("month"))
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="payslips", verbose_name=_("clerk"))
    store = models.ForeignKey(Store, models.PROTECT, related_name="payslips", verbose_name=_("store"))
    paid_amount = models.BigIntegerField(_("to be paid"))
    document = models.JSONField(_("document"), help_text=_("What the PDF shows, frozen."))

    objects = PayslipQuerySet.as_manager()

    class Meta:
        ordering = ["month", "store", "clerk"]
        verbose_name = _("payslip")
        verbose_name_plural = _("payslips")
        constraints = [
            models.UniqueConstraint(name="one_payslip_per_clerk_and_month", fields=["month", "clerk"]),
            AppendOnly(name="payslip_stays"),
            OpenMonthOnly(name="payslip_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month} {self.clerk}"


class EarningLine(models.Model):
    payslip = models.ForeignKey(Payslip, models.PROTECT, related_name="lines", verbose_name=_("payslip"))
    month = models.ForeignKey(Month, models.PROTECT, related_name="+", verbose_name=_("month"))
    line_code = models.CharField(_("line"), max_length=20, choices=LineCode)
    quantity = models.PositiveIntegerField(_("quantity"))
    amount = models.BigIntegerField(_("amount"))

    class Meta:
        ordering = ["payslip", "id"]
        verbose_name = _("earning line")
        verbose_name_plural = _("earning lines")
        constraints = [
            models.UniqueConstraint(name="one_line_per_code", fields=["payslip", "line_code"]),
            AppendOnly(name="earning_line_stays"),
            OpenMonthOnly(name="earning_line_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.payslip} {self.line_code}"


class ProofBlock(models.Model):
    """The digest of rows that a closed month froze in one table, from one key to another: it says where a change is."""

    month = models.ForeignKey(Month, models.PROTECT, related_name="proof_blocks", verbose_name=_("month"))
    table = models.CharField(_("table"), max_length=63)
    number = models.PositiveIntegerField(_("number"))
    columns = models.TextField(_("columns"))
    first_key = models.BigIntegerField(_("first key"))
    last_key = models.BigIntegerField(_("last key"))
    rows = models.PositiveIntegerField(_("rows"))
    row_digests = models.BinaryField(_("rows' digests"), help_text=_("The first four bytes of each row's SHA-256."))
    digest = models.CharField(_("digest"), max_length=64)

    class Meta:
        ordering = ["month", "id"]
        verbose_name = _("block of a month's proof")
        verbose_name_plural = _("blocks of months' proofs")
        constraints = [
            models.UniqueConstraint(name="one_proof_block", fields=["month", "table", "number"]),
            AppendOnly(name="proof_block_stays"),
            OpenMonthOnly(name="proof_block_to_open_month"),
        ]

    def __str__(self) -> str:
        return f"{self.month_id} {self.table} {self.number}"


class PayslipFile(models.Model):
    """The PDF of a locked payslip: bytes and language are fixed when it is first made."""

    payslip = models.OneToOneField(Payslip, models.PROTECT, related_name="file", verbose_name=_("payslip"))
    language = models.CharField(_("language"), max_length=10, choices=Clerk.Language)
    pdf = models.BinaryField(_("PDF"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    made_at = models.DateTimeField(_("made at"), auto_now_add=True)

    class Meta:
        verbose_name = _("payslip file")
        verbose_name_plural = _("payslip files")
        constraints = [AppendOnly(name="payslip_file_stays")]

    def __str__(self) -> str:
        return str(self.payslip)


class JobQuerySet(models.QuerySet["Job"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The jobs the user may see: HR's and the auditor's business, nobody else's."""
        return self if isinstance(user, User) and user.is_active and user.office else self.none()

    def unfinished(self) -> Self:
        return self.filter(state__in=[Job.State.WAITING, Job.State.RUNNING])


class Job(models.Model):
    """Work that takes long, as a page follows it: what, how far, and how it ended."""

    class Kind(models.TextChoices):
        DRAFT = "draft", _("draft of the pay run")
        CLOSE = "close", _("close of the month")
        PAYSLIP_FILES = "payslip_files", _("payslips as PDF")
        MAIL = "mail", _("payslips by mail")
        PREVIEW_PLAN = "preview_plan", _("preview of a plan")
        ISSUE_PLAN = "issue_plan", _("issue of a plan")

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    kind = models.CharField(_("job"), max_length=20, choices=Kind)
    # What it is about, one of these.
    month = models.ForeignKey(
        Month, models.PROTECT, null=True, blank=True, related_name="jobs", verbose_name=_("month")
    )
    plan_change = models.ForeignKey(
        PlanChange, models.CASCADE, null=True, blank=True, related_name="jobs", verbose_name=_("change of plans")
    )
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    done = models.PositiveIntegerField(_("done"), default=0)
    total = models.PositiveIntegerField(_("total"), default=0)
    # How it ended, by language.
    messages = models.JSONField(_("message"), default=dict, blank=True)
    started_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("started by"))
    started_at = models.DateTimeField(_("started at"), auto_now_add=True)
    heard_at = models.DateTimeField(_("last heard of"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        constraints = [
            # A second click finds the job that the first one started.
            models.UniqueConstraint(
                name="one_unfinished_job",
                fields=["kind", "month"],
                condition=Q(finished_at__isnull=True),
            ),
            models.UniqueConstraint(
                name="one_unfinished_plan_job",
                fields=["kind", "plan_change"],
                condition=Q(finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="job_is_about_one_thing",
                condition=Q(month__isnull=False, plan_change__isnull=True)
                | Q(month__isnull=True, plan_change__isnull=False),
            ),
            models.CheckConstraint(
                name="finished_jobs_have_ended",
                condition=Q(state__in=["waiting", "running"], finished_at__isnull=True)
                | Q(state__in=["done", "failed", "cancelled"], finished_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.month or self.plan_change}"

    @property
    def message(self) -> str:
        """How it ended, in the reader's language."""
        return str(self.messages.get(get_language() or settings.LANGUAGE_CODE, ""))

    @property
    def can_be_cancelled(self) -> bool:
        """A close is for good; what makes files keeps them, what was mailed stays so, and the rest leaves nothing."""
        return self.finished_at is None and self.kind != self.Kind.CLOSE

    @property
    def has_stopped(self) -> bool:
        """Whether an unfinished job has not been heard of for so long that whatever ran it must be gone."""
        return self.finished_at is None and self.heard_at < timezone.now() - SILENCE


class FileRecordQuerySet(models.QuerySet["FileRecord"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The records the user may see: all for HR and auditors, none for anybody else."""
        return self if isinstance(user, User) and user.is_active and user.office else self.none()


class FileRecord(models.Model):
    """Who took which file out, or brought it in, and when: for pay, and for members' phone numbers."""

    class Direction(models.TextChoices):
        IN = "in", pgettext_lazy("file", "in")
        OUT = "out", pgettext_lazy("file", "out")

    class Phones(models.TextChoices):
        """What a file that went out shows of members' phone numbers."""

        WHOLE = "whole", _("whole phone numbers")
        MASKED = "masked", _("phone numbers masked")
        LEFT_OUT = "left_out", _("without phone numbers")

    recorded_at = models.DateTimeField(_("recorded at"), auto_now_add=True)
    recorded_by = models.ForeignKey(
        User,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("recorded by"),
        help_text=_("Empty: a command of the operator."),
    )
    direction = models.CharField(_("direction"), max_length=3, choices=Direction)
    name = models.CharField(_("file"), max_length=255)
    filter = models.CharField(_("filter"), max_length=200, blank=True)
    phones = models.CharField(_("phone numbers"), max_length=10, choices=Phones, blank=True)
    rows = models.PositiveIntegerField(_("rows"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64)

    objects = FileRecordQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("file on record")
        verbose_name_plural = _("files on record")
        constraints = [AppendOnly(name="file_record_stays")]

    def __str__(self) -> str:
        return f"{self.name} ({self.direction})"


class ExportProfileQuerySet(models.QuerySet["ExportProfile"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The profiles the user may see: all for HR and auditors, none for anybody else."""
        return self if isinstance(user, User) and user.is_active and user.office else self.none()


class ExportProfile(models.Model):
    """How a payroll system wants a closed month: which columns, in which order, with which codes and signs."""

    class Layout(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "XLSX"
        JSON = "json", "JSON"
        LODAS = "lodas", "DATEV LODAS"

    class Encoding(models.TextChoices):
        UTF_8_BOM = "utf-8-sig", _("UTF-8 with a mark for Excel")
        UTF_8 = "utf-8", "UTF-8"
        GB18030 = "gb18030", "GB18030"
        CP1252 = "cp1252", "Windows-1252"

    class Delimiter(models.TextChoices):
        COMMA = ",", _("comma")
        SEMICOLON = ";", _("semicolon")
        TAB = "\t", _("tab")

    class DecimalMark(models.TextChoices):
        POINT = ".", _("point: 420.50")
        COMMA = ",", _("comma: 420,50")

    class DateFormat(models.TextChoices):
        ISO = "%Y-%m-%d", "2026-10-31"
        GERMAN = "%d.%m.%Y", "31.10.2026"
        US = "%m/%d/%Y", "10/31/2026"

    class Rows(models.TextChoices):
        CLERK = "clerk", _("one row per clerk")
        LINE = "line", _("one row per clerk and earning line")
        CODE = "code", _("one row per clerk and code: lines with the same code are one sum")

    class Scope(models.TextChoices):
        CHAIN = "chain", _("one file for the chain")
        STORE = "store", _("one file per store")

    class Sign(models.TextChoices):
        SIGNED = "signed", _("as on the payslip: what is taken back is negative")
        NEVER_NEGATIVE = "never_negative", _("never negative: what is taken back has the deduction's code")
        REVERSED = "reversed", _("reversed: what is paid is negative")

    name = models.CharField(_("name"), max_length=60, unique=True)
    layout = models.CharField(_("format"), max_length=10, choices=Layout, default=Layout.XLSX)
    encoding = models.CharField(_("encoding"), max_length=10, choices=Encoding, default=Encoding.UTF_8_BOM)
    delimiter = models.CharField(_("between columns"), max_length=1, choices=Delimiter, default=Delimiter.COMMA)
    decimal_mark = models.CharField(_("decimal mark"), max_length=1, choices=DecimalMark, default=DecimalMark.POINT)
    date_format = models.CharField(_("dates"), max_length=10, choices=DateFormat, default=DateFormat.ISO)
    rows = models.CharField(_("rows"), max_length=10, choices=Rows, default=Rows.CLERK)
    scope = models.CharField(_("files"), max_length=10, choices=Scope, default=Scope.CHAIN)
    sign = models.CharField(_("signs"), max_length=20, choices=Sign, default=Sign.SIGNED)
    trailer = models.BooleanField(_("totals in a last row"), default=False)
    preamble = models.TextField(_("lines before the data"), blank=True)
    columns = models.JSONField(_("columns"), default=list, help_text=_("Heading, source and detail of each, in order."))
    codes = models.JSONField(_("codes"), default=dict, help_text=_("Per earning line: its code, and the deduction's."))
    references = models.JSONField(
        _("numbers in the other system"), default=dict, help_text=_("Per clerk number: a value for each name.")
    )
    changed_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("changed by"))
    changed_at = models.DateTimeField(_("changed at"), auto_now=True)

    objects = ExportProfileQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name = _("export profile")
        verbose_name_plural = _("export profiles")

    def __str__(self) -> str:
        return self.name


class RosterUploadQuerySet(models.QuerySet["RosterUpload"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """One's own uploads, for HR; nobody confirms what another person looked at."""
        if not isinstance(user, User) or not user.is_active or not user.is_hr:
            return self.none()
        return self.filter(uploaded_by=user)

    def unexpired(self) -> Self:
        return self.filter(expires_at__gt=timezone.now())


class RosterUpload(models.Model):
    """Roster files that wait, with the preview of what they would change, until they are applied, discarded or old."""

    uploaded_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("uploaded by"))
    uploaded_at = models.DateTimeField(_("uploaded at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("kept until"))
    previewed_at = models.DateTimeField(_("previewed at"), auto_now=True)
    summary = models.JSONField(_("summary"), default=dict)
    digest = models.CharField(_("digest of the preview"), max_length=64, blank=True)

    objects = RosterUploadQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("roster upload")
        verbose_name_plural = _("roster uploads")

    def __str__(self) -> str:
        return f"{self.uploaded_by} {self.uploaded_at:%Y-%m-%d %H:%M}"


class RosterUploadFile(models.Model):
    upload = models.ForeignKey(RosterUpload, models.CASCADE, related_name="files", verbose_name=_("roster upload"))
    name = models.CharField(_("file"), max_length=255)
    content = models.BinaryField(_("content"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)

    class Meta:
        ordering = ["id"]
        verbose_name = _("uploaded file")
        verbose_name_plural = _("uploaded files")

    def __str__(self) -> str:
        return self.name


class RosterPreviewPage(models.Model):
    """A page of one list of a preview (the errors, the new members ...): its lines as JSON text."""

    upload = models.ForeignKey(RosterUpload, models.CASCADE, related_name="pages", verbose_name=_("roster upload"))
    list = models.CharField(_("list"), max_length=40)
    number = models.PositiveIntegerField(_("page"))
    lines = models.TextField(_("lines"))

    class Meta:
        ordering = ["id"]
        verbose_name = _("page of a preview")
        verbose_name_plural = _("pages of a preview")
        constraints = [models.UniqueConstraint(name="one_preview_page", fields=["upload", "list", "number"])]

    def __str__(self) -> str:
        return f"{self.list} {self.number}"
