"""A fixed cast of people in two stores, with a closed month and an open one, for tests of the pages.

李 (C1) has a member; in January 张 (C3) sold it 200.00 (6.00: 4.20 and 1.80) and 李 sold 100.00 (3.00). January is
closed, 赵 (C4) of the second store has a walk-in of 50.00 (1.50) in it. In February 李 sold the member 300.00 (9.00).
"""

import re
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from commission.models import Category, Plan, PlanRate
from kpis.models import Proposal
from kpis.proposals import Options, draft
from payroll_exports.jobs import run_job
from payroll_exports.models import Job, PayRun, Payslip, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.pay_run_steps import approve, review
from payroll_exports.pay_run_steps import draft as draft_run
from portfolios.models import Clerk, Month, Posting, Store, User
from tests.small_chain import SmallChain, day


def without_tokens(response: Any) -> str:
    """The page but for its tokens, which may hold any letters."""
    return re.sub(r"\b[A-Za-z0-9]{64}\b", "", response.content.decode())


class Cast:
    """Each person of `PEOPLE` by name; None is someone who has not logged in."""

    PEOPLE = ("anonymous", "clerk", "other_clerk", "manager", "other_manager", "hr", "auditor")

    def __init__(self) -> None:
        self.chain = chain = SmallChain()
        self.users: dict[str, User | None] = {"anonymous": None}
        self.users["clerk"] = self.user("li", clerk=chain.li)
        self.users["other_clerk"] = self.user("zhao", clerk=chain.zhao)
        for name, store, clerk_no in (("manager", chain.first, "C8"), ("other_manager", chain.second, "C9")):
            self.users[name] = self.user(name, clerk=chain.clerk(clerk_no, store=store, role=Posting.Role.MANAGER))
        self.users["hr"] = self.user("hr", office=User.Office.HR)
        self.users["second_hr"] = second_hr = self.user("second_hr", office=User.Office.HR)
        self.users["auditor"] = self.user("auditor", office=User.Office.AUDITOR)

        Salary.objects.create(clerk=chain.li, monthly_base_amount=310_000, valid_from=day("01-01"))
        self.member = chain.member("M1", chain.li)
        self.unassigned = chain.member("M2", None)
        (split,) = chain.sale("01-05", (chain.zhang, 20_000), member=self.member)
        chain.sale("01-06", (chain.li, 10_000), member=self.member)
        chain.sale("01-07", (chain.zhao, 5_000), store=chain.second)
        chain.sale("02-03", (chain.li, 30_000), member=self.member)
        self.split_ticket = split.sale
        self.january, self.february = chain.month(202601), chain.month(202602)
        close_month(self.january, approved_by="test")
        self.january.refresh_from_db()
        Job.objects.create(
            kind=Job.Kind.CLOSE,
            month=self.january,
            state=Job.State.DONE,
            messages={"en": "2026-01 is closed.", "zh-hans": "2026-01 已结账。"},
            started_by=second_hr,
            finished_at=timezone.now(),
        )

        # 李, 王 and 张 would share the one unassigned member from the tenth on.
        on = day("02-10")
        self.proposal = draft(Proposal.Kind.UNASSIGNED, chain.first, on=on, options=Options(), by=self.users["manager"])

    @staticmethod
    def user(name: str, *, clerk: Clerk | None = None, office: str = "") -> User:
        return User.objects.create(username=name, clerk=clerk, office=office)

    def client(self, name: str, language: str = "en") -> Client:
        """A browser in which the person is logged in."""
        client = Client(headers={"accept-language": language})
        user = self.users[name]
        if user is not None:
            client.force_login(user, backend="portfolios.access.StaffBackend")
        return client

    @property
    def payslip(self) -> Payslip:
        """李's of January."""
        return Payslip.objects.get(month=self.january, clerk=self.chain.li)

    @property
    def first(self) -> Store:
        return self.chain.first

    def month(self, number: int) -> Month:
        return self.chain.month(number)

    def approved_run(self, month: Month) -> PayRun:
        """The month's pay run, drafted by HR and approved by the second person there."""
        first, second = self.users["hr"], self.users["second_hr"]
        assert first is not None
        assert second is not None
        return approve(review(draft_run(month, by=first), by=second), by=second)

    def drafted_on_page(self, name: str, month: Month) -> HttpResponseBase:
        """The page of the pay run that the person has drafted there; in a test nothing runs beside the answer."""
        client, page = self.client(name), reverse("pay_run", args=[month.pk])
        assert client.post(reverse("draft_pay_run", args=[month.pk]), follow=True).request["PATH_INFO"] == page
        run_job(Job.objects.unfinished().get(kind=Job.Kind.DRAFT, month=month), language="en")
        return client.get(page)

    @staticmethod
    def next_plan() -> Plan:
        """A draft of what follows the chain's plan in March: 4% in place of 3%, and the rest as before."""
        plan = Plan.objects.create(plan_no="2026-B", valid_from=day("03-01"), state=Plan.State.DRAFT)
        PlanRate.objects.create(plan=plan, category=Category.objects.get(category="otc"), rate_bp=400)
        return plan


def one_cast(django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """The cast of a whole module: each test takes back what it did, and the module the cast."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield Cast()
        transaction.set_rollback(True)
