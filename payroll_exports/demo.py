"""The main job from end to end on data that anyone can make or fetch: roster, split, tickets, closes, files, logins.

It takes the way that a user's files take: what `import_roster`, `split_store`, `import_tickets`, `close_month`,
`payslips` and the exports do. A month that is closed already is not done again, so that a second run is quick.
"""

import datetime as dt
import resource
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from django.core.management import call_command
from django.db.models import Max, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.models import Attribution, Sale, SaleLine
from commission.ticket_import import import_tickets
from kpis.contact_results import refresh_contact_results
from kpis.gaming_signals import refresh_signals
from kpis.measures import refresh_measures
from kpis.member_figures import refresh_member_figures
from kpis.store_split import split_stores
from payroll_exports import demo_care
from payroll_exports.adjustments import approve, ask_adjustment
from payroll_exports.complete_journey import JourneySource, source_totals, write_complete_journey
from payroll_exports.demo_chain import DemoChain, write_demo_chain
from payroll_exports.demo_scorecard import issue_scorecard
from payroll_exports.models import PayRun, Payslip
from payroll_exports.pay_run import close_month
from payroll_exports.pay_run_steps import draft
from payroll_exports.payslip_files import make_payslip_files, write_payslips
from payroll_exports.roster import import_roster
from payroll_exports.tie_out import TieOut, tie_out
from portfolios.models import Clerk, Member, Month, Posting, Store, User
from portfolios.months import get_month

# Told what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

EXPORTS = {
    "attributions.csv": ["export_attributions"],
    "movement.csv": ["export_movement"],
    "payroll.csv": ["export_payroll", "--format=csv"],
    "payroll.xlsx": ["export_payroll", "--format=xlsx"],
    "payroll.json": ["export_payroll", "--format=json"],
}


class DemoError(RuntimeError):
    """The demo's figures do not agree: a defect, of which the message says where it shows."""


@dataclass
class MonthSummary:
    month: Month
    tickets: int
    figures: TieOut
    payslips: int
    paid_amount: int
    seconds: float


@dataclass
class DemoSummary:
    """What was done. `logins` are (role, what it shows, user name, password)."""

    stores: int = 0
    clerks: int = 0
    members: int = 0
    tickets: int = 0
    lines: int = 0
    months: list[MonthSummary] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    pdfs: int = 0
    pdf_bytes: int = 0
    logins: list[tuple[str, str, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    peak_bytes: int = 0


def run_demo(directory: Path, *, progress: Progress) -> DemoSummary:
    """Thirteen months of the generated chain, the last of them left open; payslips of the last two closed months."""
    started = time.monotonic()
    progress(_("writing the chain's files"), 0, 1)
    chain: DemoChain = write_demo_chain(directory / "files")
    progress(_("writing the chain's files"), 1, 1)
    seconds: dict[str, float] = {}
    for place, month in enumerate(chain.months):
        progress(month.month, place, len(chain.months))
        begun = time.monotonic()
        last = place == len(chain.months) - 1
        if not _is_closed(month.month):
            import_roster(month.roster)
            split_stores(list(Store.objects.all()), on=chain.first_day if place == 0 else None, source="demo")
            import_tickets(month.tickets_file)
            demo_care.write_month(get_month(month.month), place=place, months=len(chain.months))
            if place == len(chain.months) - 2:
                issue_scorecard(get_month(month.month))
            if not last:
                close_month(get_month(month.month), approved_by="demo")
        seconds[month.month] = time.monotonic() - begun
    demo_care.write_afterwards(get_month(chain.months[-1].month), today=timezone.localdate())
    progress(chain.months[-1].month, len(chain.months), len(chain.months))
    summary = _summary([month.month for month in chain.months], seconds)
    _hand_out(directory, [month.month for month in chain.months[-3:-1]], summary, progress)
    _refresh_members(progress)
    summary.logins = _logins(chain.months[-1].month, colleague=True)
    _draft_pay_run(get_month(chain.months[-1].month))
    return _measured(summary, started)


def run_journey(directory: Path, *, progress: Progress) -> DemoSummary:
    """Twelve months of The Complete Journey, all of them closed; payslips of the last.

    Raises DemoError where a month's totals are not those that other code adds up from the source.
    """
    started = time.monotonic()
    progress(_("converting the receipts"), 0, 1)
    source: JourneySource = write_complete_journey(directory / "files")
    progress(_("converting the receipts"), 1, 1)
    months = list(source.ticket_files)
    seconds: dict[str, float] = {}
    for place, (name, path) in enumerate(source.ticket_files.items()):
        progress(name, place, len(months))
        begun = time.monotonic()
        if not _is_closed(name):
            if place == 0:
                import_roster(source.roster)
                split_stores(list(Store.objects.filter(members__isnull=False).distinct()), on=source.first_day)
            import_tickets(path)
            close_month(get_month(name), approved_by="demo")
        seconds[name] = time.monotonic() - begun
    progress(months[-1], len(months), len(months))
    summary = _summary(months, seconds)
    for name, expected in source_totals().items():
        figures = next(row.figures for row in summary.months if row.month.name == name)
        found = (figures.pos_amount, figures.excluded_amount, figures.pos_amount - figures.excluded_amount)
        if found != (expected["net"], expected["excluded"], expected["commissionable"]):
            raise DemoError(f"{name}: the ledger has {found}, the source {expected}.")
    _hand_out(directory, months[-1:], summary, progress)
    _refresh_members(progress)
    summary.logins = _logins(months[-1], colleague=False)
    return _measured(summary, started)


def _is_closed(name: str) -> bool:
    return Month.objects.filter(pk=int(name.replace("-", "")), closed_at__isnull=False).exists()


def _summary(names: Iterable[str], seconds: dict[str, float]) -> DemoSummary:
    summary = DemoSummary(
        stores=Store.objects.count(),
        clerks=Clerk.objects.count(),
        members=Member.objects.count(),
        tickets=Sale.objects.count(),
        lines=SaleLine.objects.count(),
    )
    for name in names:
        month = get_month(name)
        payslips = Payslip.objects.filter(month=month)
        row = MonthSummary(
            month=month,
            tickets=Sale.objects.filter(month_number=month.pk).count(),
            figures=tie_out(month),
            payslips=payslips.count(),
            paid_amount=payslips.aggregate(paid=Sum("paid_amount", default=0))["paid"],
            seconds=seconds[name],
        )
        if not row.figures.ties:
            raise DemoError(f"{name} does not tie out: {row.figures}")
        summary.months.append(row)
    return summary


def _hand_out(directory: Path, months: list[str], summary: DemoSummary, progress: Progress) -> None:
    """The PDFs of the months and the exports of the last of them."""
    for name in months:
        month = get_month(name)
        label = _("payslips of %(month)s") % {"month": name}
        make_payslip_files(month, progress=partial(progress, label))
        written = write_payslips(month, directory / "payslips")
        summary.pdfs += len(written)
        summary.pdf_bytes += sum(file.size for file in written)
    exports = directory / "exports"
    exports.mkdir(parents=True, exist_ok=True)
    for place, (file_name, command) in enumerate(EXPORTS.items()):
        progress(_("exports"), place, len(EXPORTS))
        path = exports / f"{months[-1]}-{file_name}"
        with Path("/dev/null").open("w") as nowhere:
            call_command(command[0], months[-1], *command[1:], f"--out={path}", stderr=nowhere)
        summary.files.append(path)
    progress(_("exports"), len(EXPORTS), len(EXPORTS))


def _refresh_members(progress: Progress) -> None:
    """The figures of the members table, as of the day after the last ticket's."""
    last = Sale.objects.aggregate(day=Max("business_date"))["day"]
    progress(_("members' figures"), 0, 1)
    refresh_member_figures(last + dt.timedelta(days=1))
    refresh_contact_results(last + dt.timedelta(days=1))
    refresh_measures(last + dt.timedelta(days=1))
    progress(_("members' figures"), 1, 1)
    for month in Month.objects.order_by("-pk")[:2]:
        refresh_signals(month, as_of=last + dt.timedelta(days=1))


def _logins(month_name: str, *, colleague: bool) -> list[tuple[str, str, str, str]]:
    """A clerk, a manager and HR, each with a new password of this run; nobody else can log in.

    The clerk is the one with the most commission as an owner in the month. With `colleague` there is a second person
    of HR: closing a month takes two.
    """
    month = get_month(month_name)
    best = (
        Attribution.objects.filter(month=month, owner__isnull=False, owner__left_on__isnull=True)
        .exclude(owner__postings__role=Posting.Role.MANAGER)
        .values("owner")
        .annotate(earned=Sum("owner_commission_amount"))
        .order_by("-earned", "owner")
        .first()
    )
    clerk = Clerk.objects.get(pk=best["owner"]) if best else Clerk.objects.order_by("clerk_no")[:1].get()
    home = clerk.postings.clerk_postings().order_by("valid_from").last()
    stores = Posting.objects.filter(role=Posting.Role.MANAGER, clerk__left_on__isnull=True)
    posting = stores.filter(store=home.store).first() if home else None
    posting = posting or stores.order_by("store").first()
    people: list[tuple[str, str, str, dict[str, object]]] = [
        (_("clerk"), str(clerk), "clerk", {"clerk": clerk}),
        (_("HR"), _("all months"), "hr", {"office": User.Office.HR}),
    ]
    if posting:
        people.insert(1, (_("manager"), str(posting.store), "manager", {"clerk": posting.clerk}))
    if colleague:
        people.append((_("HR colleague"), _("approves pay runs and adjustments"), "hr2", {"office": User.Office.HR}))
    logins = []
    for role, what, name, fields in people:
        password = secrets.token_urlsafe(9)
        # A clerk of the story has a login already, by number and without a password.
        if "clerk" in fields:
            User.objects.filter(clerk__in=[fields["clerk"]]).update(username=name)
        user, _made = User.objects.get_or_create(username=name, defaults=fields)
        for attribute, value in fields.items():
            setattr(user, attribute, value)
        user.set_password(password)
        user.save()
        logins.append((role, what, name, password))
    return logins


def _draft_pay_run(month: Month) -> None:
    """The open month as HR has it before the close: an adjustment that is approved, one that waits, and a draft."""
    if PayRun.objects.filter(month=month).exists():
        return
    hr, colleague = (User.objects.get(username=name) for name in ("hr", "hr2"))
    first, second = Clerk.objects.filter(left_on__isnull=True).order_by("clerk_no")[:2]
    bonus = ask_adjustment(first, month, amount=30_000, reason=_("Stocktaking on a Sunday"), asked_by=hr)
    approve(bonus, by=colleague)
    ask_adjustment(second, month, amount=-8_650, reason=_("The till was short"), asked_by=hr)
    draft(month, by=hr)


def _measured(summary: DemoSummary, started: float) -> DemoSummary:
    summary.seconds = time.monotonic() - started
    # Linux counts it in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    summary.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return summary
