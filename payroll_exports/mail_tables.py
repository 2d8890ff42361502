"""A month's payslips with what became of their mailing."""

import django_tables2 as tables
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from commission.tables import marked
from payroll_exports.models import MailedPayslip, Payslip
from payroll_exports.payslip_mail import MailState

# In the order in which HR wants to see them.
STATES: dict[str, Promise | str] = {
    MailState.HUNG: _("may have been sent"),
    MailedPayslip.State.FAILED: MailedPayslip.State.FAILED.label,
    MailedPayslip.State.AGAIN: MailedPayslip.State.AGAIN.label,
    MailedPayslip.State.SENDING: MailedPayslip.State.SENDING.label,
    MailState.WAITING: pgettext_lazy("mail", "to be sent"),
    MailState.NO_DOCUMENT: _("no identity document"),
    MailState.UNCONFIRMED: _("address not confirmed"),
    MailState.NO_ADDRESS: _("no address"),
    MailedPayslip.State.SENT: MailedPayslip.State.SENT.label,
}


class MailTable(tables.Table):
    clerk = tables.Column(_("Clerk"), order_by="clerk__clerk_no")
    store = tables.Column(_("Store"), accessor="store__name", attrs=marked("wide"))
    mail_state = tables.Column(_("Mailing"))

    class Meta:
        attrs = {"class": "ledger"}
        orderable = False

    def render_clerk(self, record: Payslip) -> SafeString:
        return format_html('{} <span class="small">{}</span>', record.clerk.name, record.clerk.clerk_no)

    def render_mail_state(self, record: Payslip, value: str) -> str:
        context = {
            "payslip": record,
            "mailed": getattr(record, "mailed", None),
            "state": STATES[value],
            "again": value == MailState.HUNG and self.request.user.is_hr,
            "csrf_token": get_token(self.request),
        }
        return render_to_string("payroll_exports/mail_state.html", context)
