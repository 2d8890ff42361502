"""Payslips mailed to their clerks, each locked with a password: only where MAIL_PAYSLIPS is on.

What is mailed is the kept file, encrypted with AES-256: it can be read and printed, not changed. The password is the
last six characters of the number of the clerk's identity document, 31002X of 11010519491231002X; the mail says so in
words and holds no amount. Whoever has no identity document there, or no confirmed address, gets none.

A mailing is written down before it is sent and marked after. One that was neither refused nor marked may have been
sent: it is not sent again before somebody in HR has said so.
"""

import datetime as dt
import io
import re
import secrets
from collections.abc import Callable
from smtplib import SMTP, SMTPException, SMTPRecipientsRefused, SMTPResponseException, SMTPServerDisconnected
from typing import Any, NamedTuple

import pikepdf
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import IntegrityError, transaction
from django.db.models import Case, CharField, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Length
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from payroll_exports.identity_documents import IdentityDocument
from payroll_exports.mail_models import MailedPayslip, PayslipAddress
from payroll_exports.models import SILENCE, Payslip
from payroll_exports.payslip_files import file_name
from portfolios.models import Clerk, Month, User

# Characters of the password; a document with a shorter number gives none.
PASSWORD_LENGTH = 6
# Months on a clerk's page.
SENT_SHOWN = 3

_REASON_LENGTH = 300
_State = MailedPayslip.State


class MailServerFailed(Exception):
    """The mail server cannot be reached, or does not let us in."""


class MailState:
    """Beside the states of a mailing: why there is none."""

    WAITING = "waiting"
    HUNG = "hung"
    NO_ADDRESS = "no_address"
    UNCONFIRMED = "unconfirmed"
    NO_DOCUMENT = "no_document"


def password_of(clerk: Clerk) -> str | None:
    """The password of what is mailed to the clerk; None without an identity document."""
    document = IdentityDocument.objects.filter(clerk=clerk).first()
    return document.number[-PASSWORD_LENGTH:] if document and len(document.number) >= PASSWORD_LENGTH else None


class OwnMail(NamedTuple):
    """What a clerk sees of the own mailings."""

    address: PayslipAddress | None
    password: bool
    sent: list[MailedPayslip]


def own_mail(user: User) -> OwnMail:
    """A clerk's own address, whether there is a password to lock with, and what was mailed last."""
    assert user.clerk is not None
    own = MailedPayslip.objects.filter(payslip__clerk=user.clerk, state=_State.SENT)
    sent = own.select_related("payslip__month").order_by("-payslip__month")[:SENT_SHOWN]
    address = PayslipAddress.objects.for_user(user).first()
    return OwnMail(address, password_of(user.clerk) is not None, list(sent))


def encrypted(pdf: bytes, password: str) -> bytes:
    """The file as it opens with the password alone; nobody has the other one, by which it could be changed.

    An encrypted file is no PDF/A, so it does not say that it is.
    """
    allowed = pikepdf.Permissions(modify_annotation=False, modify_assembly=False, modify_form=False, modify_other=False)
    lock = pikepdf.Encryption(user=password, owner=secrets.token_urlsafe(32), R=6, allow=allowed)
    locked = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        with opened.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as metadata:
            for claim in ("pdfaid:part", "pdfaid:conformance"):
                metadata.pop(claim, None)
        opened.save(locked, encryption=lock)
    return locked.getvalue()


def with_mail_state(payslips: QuerySet[Payslip]) -> QuerySet[Any]:
    """The payslips, each with its `mail_state`: that of its mailing, or why there is none, or that it waits for one."""
    addresses = PayslipAddress.objects.filter(clerk=OuterRef("clerk"))
    documents = IdentityDocument.objects.filter(clerk=OuterRef("clerk")).annotate(length=Length("number"))
    hung = Q(mailed__state=_State.SENDING, mailed__begun_at__lt=timezone.now() - SILENCE)
    return payslips.annotate(
        address_typed_at=Subquery(addresses.values("typed_at")[:1]),
        address_confirmed_at=Subquery(addresses.values("confirmed_at")[:1]),
        document_length=Subquery(documents.values("length")[:1]),
        mail_state=Case(
            When(hung, then=Value(MailState.HUNG)),
            When(mailed__isnull=False, then=F("mailed__state")),
            When(address_typed_at=None, then=Value(MailState.NO_ADDRESS)),
            When(address_confirmed_at=None, then=Value(MailState.UNCONFIRMED)),
            When(document_length__gte=PASSWORD_LENGTH, then=Value(MailState.WAITING)),
            default=Value(MailState.NO_DOCUMENT),
            output_field=CharField(),
        ),
    )


def to_be_mailed(month: Month) -> QuerySet[Any]:
    """The month's payslips that a mailing sends now: what was refused before is tried again."""
    payslips = with_mail_state(Payslip.objects.filter(month=month, file__isnull=False))
    return payslips.filter(
        address_confirmed_at__isnull=False,
        document_length__gte=PASSWORD_LENGTH,
        mail_state__in=[MailState.WAITING, _State.FAILED, _State.AGAIN],
    )


def mail_payslips(month: Month, *, tell: Callable[[int, int], None]) -> tuple[int, int]:
    """Mails what the month still has to mail; returns how many were sent and refused.

    `tell` learns before each how many are behind it, of how many. Raises MailServerFailed.
    """
    keys = list(to_be_mailed(month).order_by("clerk__clerk_no").values_list("pk", flat=True))
    post = _Post()
    states = []
    try:
        for place, pk in enumerate(keys):
            tell(place, len(keys))
            post.open()
            states.append(_mail(pk, post))
        tell(len(keys), len(keys))
    finally:
        post.close()
    return states.count(_State.SENT), states.count(_State.FAILED)


def send_again(mailed: MailedPayslip) -> bool:
    """Lets the next mailing send what may have been sent already. False where that is not open any more."""
    return bool(
        MailedPayslip.objects.filter(pk=mailed.pk, state=_State.SENDING, begun_at__lt=timezone.now() - SILENCE).update(
            state=_State.AGAIN
        )
    )


class _Post:
    """The connection to the mail server, opened anew after a mail that went wrong, or where the server has left."""

    def __init__(self) -> None:
        self.connection = get_connection()

    def open(self) -> None:
        smtp = getattr(self.connection, "connection", None)
        if smtp is not None and not _answers(smtp):
            self.close()
        try:
            self.connection.open()
        except (SMTPException, OSError) as error:
            raise MailServerFailed(_said(error, "")) from error

    def close(self) -> None:
        try:
            self.connection.close()
        except (SMTPException, OSError):
            # It is gone already.
            self.connection = get_connection()


def _answers(smtp: SMTP) -> bool:
    try:
        return smtp.noop()[0] == 250
    except (SMTPException, OSError):
        return False


def _mail(pk: int, post: _Post) -> str:
    """Mails one payslip, unless it was meanwhile; returns the state it is left in, "" where it was not begun."""
    payslip = Payslip.objects.select_related("clerk", "month", "file").get(pk=pk)
    address = PayslipAddress.objects.filter(clerk=payslip.clerk, confirmed_at__isnull=False).first()
    password = password_of(payslip.clerk)
    if not address or not password:
        return ""
    message = _message(payslip, address.email, encrypted(bytes(payslip.file.pdf), password))
    begun_at = timezone.now()
    if not _begin(payslip, address.email, begun_at):
        return ""
    mailing = MailedPayslip.objects.filter(payslip=payslip, state=_State.SENDING, begun_at=begun_at)
    try:
        post.connection.send_messages([message])
    except SMTPException as error:
        post.close()
        # A connection that broke off may have broken off after the mail was taken.
        state = _State.SENDING if isinstance(error, SMTPServerDisconnected) else _State.FAILED
        mailing.update(state=state, reason=_said(error, address.email))
        return state
    except OSError as error:
        post.close()
        mailing.update(reason=_said(error, address.email))
        return _State.SENDING
    mailing.update(state=_State.SENT, sent_at=timezone.now())
    return _State.SENT


def _begin(payslip: Payslip, email: str, begun_at: dt.datetime) -> bool:
    """Writes down that the payslip is being sent; False where somebody else has begun with it."""
    begun = {"email": email, "state": _State.SENDING, "reason": "", "begun_at": begun_at}
    open_again = MailedPayslip.objects.filter(payslip=payslip, state__in=[_State.FAILED, _State.AGAIN])
    if open_again.update(**begun):
        return True
    try:
        with transaction.atomic():
            MailedPayslip.objects.create(payslip=payslip, **begun)
    except IntegrityError:
        return False
    return True


def _message(payslip: Payslip, email: str, pdf: bytes) -> EmailMessage:
    clerk = payslip.clerk
    with override(clerk.language):
        text = _(
            "%(name)s, your payslip of %(month)s is attached.\n\nIt opens with a password: the last six characters of "
            "the number of your identity document, as HR has it. A letter in it is a capital.\n\nThis copy is to read "
            "and to print. The file that proves itself genuine is on your page of payslips. Nobody reads answers to "
            "this mail: if something is wrong, ask HR."
        ) % {"name": clerk.name, "month": payslip.month}
        message = EmailMessage(
            _("Payslip %(month)s") % {"month": payslip.month},
            text,
            settings.DEFAULT_FROM_EMAIL,
            [email],
            headers={"Auto-Submitted": "auto-generated"},
        )
    message.attach(f"{payslip.month}-{file_name(clerk.clerk_no)}.pdf", pdf, "application/pdf")
    return message


def _said(error: Exception, email: str) -> str:
    """What a mail server said, without the address, which is the clerk's own."""
    said = str(error) or type(error).__name__
    if isinstance(error, SMTPRecipientsRefused):
        said = " ".join(_answer(code, text) for code, text in error.recipients.values())
    elif isinstance(error, SMTPResponseException):
        said = _answer(error.smtp_code, error.smtp_error)
    for secret in filter(None, (email, email.partition("@")[0])):
        said = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", said, flags=re.IGNORECASE)
    return said[:_REASON_LENGTH]


def _answer(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
