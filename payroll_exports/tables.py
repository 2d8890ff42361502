"""Lists of months, payslips and stores."""

import django_tables2 as tables
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from commission.tables import CountColumn, MoneyColumn, marked
from payroll_exports.models import FileRecord, Payslip
from payroll_exports.store_pay import StorePay
from portfolios.models import Month


class MonthTable(tables.Table):
    name = tables.Column(_("Month"), accessor="pk")
    starts_on = tables.DateColumn(verbose_name=_("From"), format="Y-m-d", attrs=marked("wide"))
    ends_on = tables.DateColumn(verbose_name=_("To"), format="Y-m-d", attrs=marked("wide"))
    state = tables.Column(_("State"), empty_values=())
    payslips = CountColumn(_("Payslips"), accessor="payslip_count")
    paid_amount = MoneyColumn(_("Paid"))

    class Meta:
        attrs = {"class": "ledger"}
        orderable = False

    def render_name(self, record: Month) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("month", args=[record.pk]), record.name)

    def render_state(self, record: Month) -> str:
        return render_to_string("pieces/state.html", {"month": record})


class PayslipTable(tables.Table):
    month = tables.Column(_("Month"), order_by="month_id")
    clerk = tables.Column(_("Clerk"), order_by="clerk__clerk_no")
    store = tables.Column(_("Store"), accessor="store__name", attrs=marked("wide"))
    paid_amount = MoneyColumn(_("To be paid"))
    file = tables.Column(_("File"), accessor="pk", orderable=False, attrs=marked("num"))

    class Meta:
        attrs = {"class": "ledger"}

    def render_month(self, record: Payslip) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>',
            reverse("clerk_month", args=[record.month_id, record.clerk.clerk_no]),
            record.month.name,
        )

    def render_clerk(self, record: Payslip) -> SafeString:
        return format_html('{} <span class="small">{}</span>', record.clerk.name, record.clerk.clerk_no)

    def render_file(self, record: Payslip) -> SafeString:
        return format_html(
            '<a href="{}">PDF</a>', reverse("payslip_pdf", args=[record.month_id, record.clerk.clerk_no])
        )


class FileRecordTable(tables.Table):
    """Who took which file out, or brought it in, the latest first."""

    recorded_at = tables.DateTimeColumn(verbose_name=_("When"), format="Y-m-d H:i", attrs=marked("text-nowrap"))
    recorded_by = tables.Column(_("Who"), empty_values=())
    name = tables.Column(_("File"))
    rows = CountColumn(_("Rows"), wide=True)
    sha256 = tables.Column(_("SHA-256"), attrs=marked("wide"))

    class Meta:
        attrs = {"class": "ledger"}
        orderable = False

    def render_recorded_by(self, record: FileRecord) -> str:
        return str(record.recorded_by or _("operator"))

    def render_name(self, record: FileRecord) -> SafeString:
        notes = [record.get_direction_display(), record.get_phones_display()]
        return format_html('{} <span class="small">{}</span>', record.name, " · ".join(filter(None, notes)))

    def render_sha256(self, record: FileRecord) -> SafeString:
        return format_html('<span class="small" title="{}">{}…</span>', record.sha256, record.sha256[:12])


class StorePayTable(tables.Table):
    """What each store's clerks are paid in a closed month."""

    store = tables.Column(_("Store"), accessor="store__name", order_by="store__store_no", footer=_("Chain"))
    payslips = CountColumn(_("Payslips"), total=True)
    commission_amount = MoneyColumn(_("Commission"), total=True, wide=True)
    paid_amount = MoneyColumn(_("To be paid"), total=True)
    file = tables.Column(_("Summary"), accessor="store", orderable=False, attrs=marked("num"))

    class Meta:
        attrs = {"class": "ledger"}

    def __init__(self, data: list[StorePay], *, month: Month) -> None:
        self.month = month
        super().__init__(data)

    def render_store(self, record: StorePay) -> SafeString:
        store = record.store
        url = f"{reverse('payslips')}?month={self.month}&store={store.store_no}"
        return format_html('<a href="{}">{}</a> <span class="small">{}</span>', url, store.name, store.store_no)

    def render_file(self, record: StorePay) -> SafeString:
        url = reverse("store_summary_pdf", args=[self.month.pk, record.store.store_no])
        return format_html('<a href="{}">PDF</a>', url)
