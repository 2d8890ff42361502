"""Payslips by mail: locked with a password, to a confirmed address, never twice, and nothing of it where it is off."""

import datetime as dt
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from email.message import Message
from smtplib import SMTPAuthenticationError, SMTPRecipientsRefused, SMTPServerDisconnected

import pikepdf
import pypdfium2
import pytest
import time_machine
from auditlog.models import LogEntry
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override
from pytest_django import Settings

from payroll_exports import jobs
from payroll_exports.jobs import cancel, run_job, start_mailing
from payroll_exports.models import (
    SILENCE,
    IdentityDocument,
    Job,
    MailedPayslip,
    Payslip,
    PayslipAddress,
    PayslipFile,
)
from payroll_exports.payslip_files import make_payslip_files
from portfolios.models import Clerk
from tests.cast import Cast
from tests.identity import identify_everyone, resident_id

pytestmark = pytest.mark.django_db

# The six clerks of January by number: C1 has the document resident_id(1), and so on.
CLERKS = ["C1", "C2", "C3", "C4", "C8", "C9"]


class Server(EmailBackend):
    """A mail server that does to each address what `does` says, and delivers to all others."""

    does: dict[str, BaseException] = {}
    after_delivery: dict[str, BaseException] = {}
    closed_door: BaseException | None = None

    def open(self) -> bool:
        if Server.closed_door:
            raise Server.closed_door
        return True

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        (message,) = messages
        (to,) = message.to
        if to in Server.does:
            raise Server.does[to]
        sent = super().send_messages(messages)
        if to in Server.after_delivery:
            raise Server.after_delivery[to]
        return sent


@pytest.fixture(autouse=True)
def mail_is_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAIL_PAYSLIPS = True
    settings.DEFAULT_FROM_EMAIL = "payroll@chain.example"
    settings.EMAIL_BACKEND = "tests.test_mailed_payslips.Server"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    monkeypatch.setattr(Server, "does", {})
    monkeypatch.setattr(Server, "after_delivery", {})
    monkeypatch.setattr(Server, "closed_door", None)


@pytest.fixture
def cast() -> Cast:
    """January's payslips are made as PDF; all six clerks have a confirmed address and an identity document."""
    cast = Cast()
    identify_everyone()
    for clerk in Clerk.objects.filter(clerk_no__in=CLERKS):
        now = timezone.now()
        email = f"{clerk.clerk_no.lower()}@home.example"
        PayslipAddress.objects.create(clerk=clerk, email=email, typed_at=now, confirmed_at=now)
    make_payslip_files(cast.january, processes=1)
    return cast


def mailed(cast: Cast) -> Job:
    """January's mailing, run to its end; in a test nothing is committed, so nothing runs beside it."""
    hr = cast.users["hr"]
    assert hr is not None
    job = start_mailing(cast.january, by=hr, language="en")
    run_job(job, language="en")
    job.refresh_from_db()
    return job


def sent_to() -> list[str]:
    return [to.removesuffix("@home.example").upper() for message in mail.outbox for to in message.to]


def states() -> dict[str, str]:
    return dict(MailedPayslip.objects.values_list("payslip__clerk__clerk_no", "state"))


def attached(message: EmailMessage) -> bytes:
    (part,) = [part for part in message.message().walk() if part.get_content_type() == "application/pdf"]
    assert isinstance(part, Message)
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def words(pdf: bytes, password: str | None = None) -> list[str]:
    opened = pypdfium2.PdfDocument(pdf, password=password)
    return [page.get_textpage().get_text_bounded() for page in opened]


def text(response: object) -> str:
    """What a person reads on a page: without tags, white space as one blank."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())  # type: ignore[attr-defined]


class TestTheMail:
    def test_the_file_opens_with_the_end_of_the_identity_number_only_and_says_the_same(self, cast: Cast) -> None:
        assert mailed(cast).message == "6 payslips are mailed."
        assert sorted(sent_to()) == CLERKS
        (message,) = [message for message in mail.outbox if message.to == ["c1@home.example"]]
        pdf, kept = attached(message), bytes(PayslipFile.objects.get(payslip__clerk__clerk_no="C1").pdf)
        right = resident_id(1)[12:]
        for wrong in ("", "01001", resident_id(2)[12:], resident_id(1), right[1:]):
            with pytest.raises(pikepdf.PasswordError):
                pikepdf.open(io.BytesIO(pdf), password=wrong)
        with pikepdf.open(io.BytesIO(pdf), password=right) as opened:
            assert opened.encryption.R == 6
            assert opened.encryption.stream_method.name == "aesv3"
            assert opened.user_password_matched
            assert not opened.owner_password_matched
            allowed = opened.allow
            assert (allowed.print_highres, allowed.modify_other, allowed.modify_annotation) == (True, False, False)
            # An encrypted file is no PDF/A and does not claim to be one.
            assert "pdfaid:part" not in opened.open_metadata()
        with pikepdf.open(io.BytesIO(kept)) as original:
            assert original.open_metadata()["pdfaid:part"] == "3"
        assert words(pdf, right) == words(kept)

    def test_it_says_which_password_and_never_the_password_or_an_amount(self, cast: Cast) -> None:
        Clerk.objects.filter(clerk_no="C2").update(language="en")
        mailed(cast)
        said = {message.to[0]: f"{message.subject}\n{message.body}" for message in mail.outbox}
        assert "the last six characters of the number of your identity document" in said["c2@home.example"]
        assert said["c2@home.example"].startswith("Payslip 2026-01\n")
        for number, clerk_no in enumerate(CLERKS, 1):
            one = said[f"{clerk_no.lower()}@home.example"]
            assert resident_id(number)[12:] not in one
            # No digits but those of the month and the clerk's name.
            assert set(re.findall(r"\d+", one)) <= {"2026", "01", clerk_no[1:]}
        assert {message.from_email for message in mail.outbox} == {"payroll@chain.example"}

    def test_who_has_no_document_or_no_confirmed_address_gets_none(self, cast: Cast) -> None:
        IdentityDocument.objects.filter(clerk__clerk_no="C1").delete()
        IdentityDocument.objects.filter(clerk__clerk_no="C2").update(kind="foreign_passport", number="E1234")
        PayslipAddress.objects.filter(clerk__clerk_no="C3").update(confirmed_at=None)
        PayslipAddress.objects.filter(clerk__clerk_no="C4").delete()
        assert mailed(cast).message == "2 payslips are mailed."
        assert sorted(sent_to()) == ["C8", "C9"]
        said = text(cast.client("hr").get(reverse("month_mail", args=[202601])))
        assert "no identity document: 2 · address not confirmed: 1 · no address: 1 · sent: 2" in said
        assert "home.example" not in said


class TestNeverTwice:
    def test_a_second_mailing_sends_nothing_and_the_database_holds_what_is_sent(self, cast: Cast) -> None:
        mailed(cast)
        assert mailed(cast).message == "0 payslips are mailed."
        assert len(mail.outbox) == 6
        for change in ({"state": "again", "sent_at": None}, {"email": "else@home.example"}):
            with pytest.raises(IntegrityError, match="mailed_payslip_goes_forward"), transaction.atomic():
                MailedPayslip.objects.update(**change)
        with pytest.raises(IntegrityError), transaction.atomic():
            MailedPayslip.objects.all()._raw_delete("default")

    def test_what_died_between_sending_and_marking_is_sent_again_only_on_purpose(self, cast: Cast) -> None:
        Server.after_delivery = {"c3@home.example": KeyboardInterrupt()}
        hr = cast.users["hr"]
        assert hr is not None
        job = start_mailing(cast.january, by=hr, language="en")
        with pytest.raises(KeyboardInterrupt):
            run_job(job, language="en")
        assert sent_to() == ["C1", "C2", "C3"]
        assert states() == {"C1": "sent", "C2": "sent", "C3": "sending"}
        Server.after_delivery = {}

        # Started again it goes on there, in the same row, and leaves out what may have been sent.
        Job.objects.filter(pk=job.pk).update(heard_at=timezone.now() - SILENCE * 2)
        assert mailed(cast).pk == job.pk
        assert sent_to() == CLERKS
        client = cast.client("hr")
        page = reverse("month_mail", args=[202601])
        again = reverse("mail_again", args=[202601, "C3"])
        # As long as it may still be under way nobody can send it again.
        client.post(again)
        assert states()["C3"] == "sending"
        with time_machine.travel(timezone.now() + SILENCE * 2):
            said = text(cast.client("hr").get(page))
            assert "may have been sent: 1 · sent: 5" in said
            assert "Send again all the same" in said
            assert "Send again" not in text(cast.client("auditor").get(page))
            mailed(cast)
            assert len(mail.outbox) == 6
            assert "1 payslip is to be mailed." in text(cast.client("hr").post(again, follow=True))
            assert len(mail.outbox) == 6
            assert mailed(cast).message == "1 payslip is mailed."
        assert sent_to() == [*CLERKS, "C3"]
        (entry,) = LogEntry.objects.get_for_model(MailedPayslip)
        assert (entry.actor, entry.additional_data) == (hr, {"to be mailed again": "C3"})

    def test_a_connection_that_breaks_off_leaves_it_open_and_the_others_are_sent(self, cast: Cast) -> None:
        Server.does = {"c1@home.example": SMTPServerDisconnected("gone"), "c2@home.example": TimeoutError("timed out")}
        assert mailed(cast).message == "4 payslips are mailed."
        assert states() == {"C1": "sending", "C2": "sending", "C3": "sent", "C4": "sent", "C8": "sent", "C9": "sent"}

    def test_of_two_that_have_the_same_list_one_sends(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        write, other = jobs._write, list[Job]()

        def beside(job: Job, done: int, total: int) -> None:
            write(job, done, total)
            if done == 0 and not other:
                # Another worker was given the same job, and sends all of it while this one is at its first.
                other.append(job)
                run_job(job, language="en")
                Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING, finished_at=None)

        monkeypatch.setattr(jobs, "_write", beside)
        mailed(cast)
        assert sorted(sent_to()) == CLERKS

    def test_cancelled_it_stops_and_goes_on_when_it_is_started_again(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = jobs._write

        def cancelled_after_two(job: Job, done: int, total: int) -> None:
            if done == 2:
                cancel(job)
            write(job, done, total)

        monkeypatch.setattr(jobs, "_write", cancelled_after_two)
        job = mailed(cast)
        assert (job.state, job.message) == (Job.State.CANCELLED, "Cancelled. What was mailed stays so.")
        assert sent_to() == CLERKS[:2]
        monkeypatch.undo()
        again = mailed(cast)
        assert again.pk != job.pk
        assert (again.state, again.done, again.total) == (Job.State.DONE, 4, 4)
        assert sent_to() == CLERKS


class TestRefused:
    def test_it_is_on_record_without_the_address_and_stops_nobody(self, cast: Cast) -> None:
        refusal = {"c1@home.example": (550, b"5.1.1 <C1@home.example>: no user c1 here")}
        Server.does = {"c1@home.example": SMTPRecipientsRefused(refusal)}
        job = mailed(cast)
        assert job.message == "5 payslips are mailed. The mail server refused 1."
        with override("zh-hans"):
            assert job.message == "已发送 5 份工资条。邮件服务器拒收 1 份。"
        refused = MailedPayslip.objects.get(state="failed")
        assert (refused.reason, refused.sent_at) == ("550 5.1.1 <…>: no user … here", None)
        said = text(cast.client("hr").get(reverse("month_mail", args=[202601])))
        assert "refused: 1 · sent: 5" in said
        assert "550 5.1.1" in said
        # It surely did not arrive: the next mailing tries it again.
        Server.does = {}
        assert mailed(cast).message == "1 payslip is mailed."
        assert sorted(sent_to()) == CLERKS

    def test_a_server_that_lets_nobody_in_ends_the_job_and_nothing_counts_as_sent(self, cast: Cast) -> None:
        Server.closed_door = SMTPAuthenticationError(535, b"5.7.8 wrong password")
        job = mailed(cast)
        assert job.state == Job.State.FAILED
        assert "535 5.7.8 wrong password" in job.message
        assert not MailedPayslip.objects.exists()


class TestTheAddress:
    def test_it_is_confirmed_by_a_mailed_link_that_opens_for_its_clerk_alone(self, cast: Cast) -> None:
        PayslipAddress.objects.all().delete()
        clerk = cast.client("clerk")
        said = text(clerk.post(reverse("type_payslip_address"), {"email": "li@home.example"}, follow=True))
        assert "A link is on its way to li@home.example" in said
        assert "not confirmed" in said
        (message,) = mail.outbox
        # 李 reads Chinese, and the mail holds nothing of pay.
        (link,) = re.findall(r"https?://testserver(/payslips/address/\S+)", str(message.body))
        assert mailed(cast).message == "0 payslips are mailed."
        # Whoever else opens the link, and looking at it, confirms nothing.
        for client, status in ((cast.client("other_clerk"), 302), (cast.client("hr"), 404), (clerk, 200)):
            assert client.get(link).status_code == status
        assert cast.client("other_clerk").post(link).status_code == 302
        assert cast.client("anonymous").post(link)["Location"].startswith("/login/")
        assert PayslipAddress.objects.get().confirmed_at is None
        assert "Payslips are mailed to li@home.example" in text(clerk.post(link, follow=True))
        assert mailed(cast).message == "1 payslip is mailed."
        # The audit log says that there is one, and not which.
        entries = LogEntry.objects.get_for_model(PayslipAddress).filter(actor=cast.users["clerk"])
        assert entries.exists()
        assert "home.example" not in str(list(entries.values()))

    def test_another_address_is_confirmed_anew_and_an_old_link_opens_nothing(self, cast: Cast) -> None:
        clerk = cast.client("clerk")
        for email in ("first@home.example", "second@home.example"):
            clerk.post(reverse("type_payslip_address"), {"email": email})
        old, new = (re.findall(r"testserver(/payslips/address/\S+)", str(message.body))[0] for message in mail.outbox)
        clerk.post(old)
        assert PayslipAddress.objects.get(clerk=cast.chain.li).confirmed_at is None
        with time_machine.travel(timezone.now() + dt.timedelta(days=2, seconds=1)):
            assert "too old" in text(cast.client("clerk").post(new, follow=True))
        clerk.post(new)
        assert PayslipAddress.objects.get(clerk=cast.chain.li).confirmed_at is not None
        with pytest.raises(IntegrityError), transaction.atomic():
            PayslipAddress.objects.update(typed_at=timezone.now() + dt.timedelta(days=1))

    def test_taken_away_nothing_is_sent_there(self, cast: Cast) -> None:
        assert "is taken away" in text(cast.client("clerk").post(reverse("remove_payslip_address"), follow=True))
        assert mailed(cast).message == "5 payslips are mailed."
        assert "C1" not in sent_to()

    def test_a_mail_that_is_refused_leaves_the_address_as_it_was(self, cast: Cast) -> None:
        Server.does = {"new@home.example": ConnectionRefusedError("no")}
        client = cast.client("clerk")
        said = text(client.post(reverse("type_payslip_address"), {"email": "new@home.example"}, follow=True))
        assert "did not take the mail to new@home.example" in said
        assert "Enter a valid email" in text(client.post(reverse("type_payslip_address"), {"email": "x"}, follow=True))
        own = PayslipAddress.objects.get(clerk=cast.chain.li)
        assert own.email == "c1@home.example"
        assert own.confirmed_at is not None

    def test_five_links_a_day_and_no_more(self, cast: Cast, settings: Settings) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "links"}}
        client = cast.client("clerk")
        for number in range(6):
            said = client.post(reverse("type_payslip_address"), {"email": f"a{number}@home.example"}, follow=True)
        assert "try again tomorrow" in text(said)
        assert len(mail.outbox) == 5


class TestPages:
    def test_hr_starts_it_once_the_files_are_made(
        self, cast: Cast, django_capture_on_commit_callbacks: pytest.FixtureRequest
    ) -> None:
        client = cast.client("hr")
        start = reverse("mail_payslips", args=[202601])
        assert "Mail 6 payslips" in text(client.get(reverse("month_mail", args=[202601])))
        client.post(start)
        client.post(start)
        job = Job.objects.get(kind=Job.Kind.MAIL)
        assert "Payslips by mail: waiting, started by hr" in text(client.get(reverse("month_mail", args=[202601])))
        run_job(job, language="en")
        assert sorted(sent_to()) == CLERKS
        said = text(cast.client("clerk").get(reverse("payslips")))
        assert re.search(r"2026-01: mailed on \d{4}-\d\d-\d\d \d\d:\d\d to c1@home.example", said)

    def test_without_all_files_it_does_not_start(self) -> None:
        cast = Cast()
        said = text(cast.client("hr").post(reverse("mail_payslips", args=[202601]), follow=True))
        assert "First have all payslips made as PDF." in said
        assert not Job.objects.filter(kind=Job.Kind.MAIL).exists()

    def test_where_it_is_off_nothing_shows(self, cast: Cast, settings: Settings) -> None:
        settings.MAIL_PAYSLIPS = False
        assert "mail" not in text(cast.client("clerk").get(reverse("payslips"))).lower()
        assert "mail" not in text(cast.client("hr").get(reverse("month", args=[202601]))).lower()
        hr, clerk = cast.client("hr"), cast.client("clerk")
        assert hr.get(reverse("month_mail", args=[202601])).status_code == 404
        assert hr.post(reverse("mail_payslips", args=[202601])).status_code == 404
        assert hr.post(reverse("mail_again", args=[202601, "C1"])).status_code == 404
        for name in ("type_payslip_address", "remove_payslip_address"):
            assert clerk.post(reverse(name)).status_code == 404
        assert clerk.get(reverse("confirm_payslip_address", args=["x"])).status_code == 404
        assert not mail.outbox


def test_switched_on_without_a_server_it_does_not_start() -> None:
    environment = {**os.environ, "MAIL_PAYSLIPS": "1", "EMAIL_URL": "", "DJANGO_SETTINGS_MODULE": "config.settings"}
    asked = (
        "from config import settings as s; "
        "print(s.EMAIL_HOST, s.EMAIL_PORT, s.EMAIL_HOST_USER, s.EMAIL_HOST_PASSWORD, s.EMAIL_USE_TLS)"
    )
    command = [sys.executable, "-c", asked]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode != 0
    assert "name the mail server in EMAIL_URL" in process.stderr
    named = {"EMAIL_URL": "smtp+tls://pay%40x.example:p%2Fw@smtp.x.example:587", "DEFAULT_FROM_EMAIL": "pay@x.example"}
    process = subprocess.run(command, env=environment | named, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["smtp.x.example", "587", "pay@x.example", "p/w", "True"]


def test_every_payslip_has_at_most_one_mailing(cast: Cast) -> None:
    mailed(cast)
    payslip = Payslip.objects.get(month=cast.january, clerk__clerk_no="C1")
    with pytest.raises(IntegrityError), transaction.atomic():
        MailedPayslip.objects.create(payslip=payslip, email="else@home.example", begun_at=timezone.now())
