"""What each of a fixed cast of people gets at every address. An address that is not listed here fails the tests."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from commission.inquiries import ask_owned
from commission.plan_changes import preview
from commission.ticket_corrections import ask_for_member
from payroll_exports import pay_run_steps
from payroll_exports.adjustments import ask_adjustment
from payroll_exports.applied_imports import AppliedImport
from payroll_exports.identity_documents import IdentityDocument
from payroll_exports.jobs import start_issue
from payroll_exports.models import Job, MailedPayslip, PayRun, PayslipAddress
from payroll_exports.payslip_addresses import address_token
from payroll_exports.ready_profiles import ready_profile
from portfolios.models import User
from tests.cast import Cast, one_cast, without_tokens
from tests.scorecards import scorecard

pytestmark = pytest.mark.django_db

LOGIN = "login"


class Route(NamedTuple):
    """The answer to each person of the cast, in order: a status, or LOGIN for being sent to the login page."""

    name: str
    args: tuple[int | str, ...]
    method: str
    #           anonymous, clerk, other_clerk, manager, other_manager, hr, auditor
    answers: tuple[int | str, ...]


# C1 works in the first store. January is closed, February open. The ticket is one of the first store's.
TICKET = "the split ticket"
PROPOSAL = "the proposal for the first store"
CORRECTION = "what 李 asked for"
PLAN, DRAFT, PLAN_CHANGE = "the chain's plan", "a draft of the next one", "the preview of issuing it"
INQUIRY, BINDING = "what 王 questioned of 李's", "the binding of 李's member"
MEMBER, UNASSIGNED = "李's member", "the unassigned member"
PAY_RUN = "February's draft"
ADJUSTMENT = "an adjustment of 李's pay"
SCORECARD, SCORECARD_DRAFT = "the clerks' scorecard", "a draft of the next scorecard"
PROFILE, IMPORT = "an export profile", "an import"
ADDRESS = "the link to 李's address"
JOB, PLAN_JOB, NO_JOB = "January's close", "the issue of a plan", 0
ROUTES = [
    Route("home", (), "get", (LOGIN, 302, 302, 302, 302, 302, 302)),
    Route("login", (), "get", (200, 302, 302, 302, 302, 302, 302)),
    Route("logout", (), "post", (LOGIN, 302, 302, 302, 302, 302, 302)),
    Route("logout", (), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("password_change", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("verify", (), "get", (200, 200, 200, 200, 200, 200, 200)),
    Route("verify", (), "post", (422, 422, 422, 422, 422, 422, 422)),
    Route("set_language", (), "post", (302, 302, 302, 302, 302, 302, 302)),
    Route("enrol", (), "get", (LOGIN, 200, 200, 200, 200, 404, 404)),
    Route("enrol", (), "post", (LOGIN, 200, 200, 200, 200, 404, 404)),
    Route("duplicates", (), "get", (LOGIN, 404, 404, 200, 200, 200, 404)),
    Route("merge_cards", (MEMBER, UNASSIGNED), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    Route("merge_cards", (MEMBER, UNASSIGNED), "post", (LOGIN, 404, 404, 302, 404, 302, 404)),
    # Nothing was merged by it.
    Route("undo_merge", (1,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("undo_merge", (1,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("enrolled", ("M1",), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("my_tickets", (), "get", (LOGIN, 302, 302, 302, 302, 404, 404)),
    Route("ticket", (TICKET,), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    # 赵 was not at the first store on that day; January's ticket can be asked about, and is refused then.
    Route("find_ticket", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("correct_ticket", (TICKET,), "get", (LOGIN, 200, 404, 200, 404, 200, 404)),
    Route("correct_ticket", (TICKET,), "post", (LOGIN, 422, 404, 422, 404, 422, 404)),
    Route("corrections", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("decide_correction", (CORRECTION,), "post", (LOGIN, 404, 404, 302, 404, 302, 404)),
    Route("decide_correction", (CORRECTION,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    # 王, who asked, is none of these; the manager's own clerk number lets the manager ask too.
    Route("question_ticket", (TICKET,), "get", (LOGIN, 200, 404, 200, 404, 404, 404)),
    Route("question_ticket", (TICKET,), "post", (LOGIN, 422, 404, 422, 404, 404, 404)),
    Route("question_binding", (BINDING,), "get", (LOGIN, 404, 404, 200, 404, 404, 404)),
    Route("question_binding", (BINDING,), "post", (LOGIN, 404, 404, 422, 404, 404, 404)),
    Route("question_line", (202601, "C1"), "get", (LOGIN, 200, 404, 404, 404, 404, 404)),
    Route("question_line", (202601, "C1"), "post", (LOGIN, 422, 404, 404, 404, 404, 404)),
    Route("inquiries", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("inquiry", (INQUIRY,), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("comment_on_inquiry", (INQUIRY,), "post", (LOGIN, 422, 404, 422, 404, 422, 404)),
    Route("comment_on_inquiry", (INQUIRY,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("answer_inquiry", (INQUIRY,), "post", (LOGIN, 404, 404, 422, 404, 422, 404)),
    Route("answer_inquiry", (INQUIRY,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("withdraw_inquiry", (INQUIRY,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("withdraw_inquiry", (INQUIRY,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("clerk_tickets", (202601, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("waiting_returns", (), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    # Nothing waits on it.
    Route("settle_waiting_return", (TICKET,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("settle_waiting_return", (TICKET,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("plans", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("plan", (PLAN,), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("plan", (DRAFT,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("new_plan", (), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("new_plan", (), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("edit_plan", (DRAFT,), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("edit_plan", (DRAFT,), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    # Tickets use it.
    Route("edit_plan", (PLAN,), "get", (LOGIN, 404, 404, 404, 404, 302, 404)),
    *(
        Route(name, (DRAFT,), "post", (LOGIN, 404, 404, 404, 404, 302, 404))
        for name in ("discard_plan", "withdraw_plan", "end_plan", "preview_plan")
    ),
    *(
        Route(name, (DRAFT,), "get", (LOGIN, 405, 405, 405, 405, 405, 405))
        for name in ("discard_plan", "withdraw_plan", "end_plan", "preview_plan")
    ),
    Route("plan_change", (PLAN_CHANGE,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("apply_plan_change", (PLAN_CHANGE,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("apply_plan_change", (PLAN_CHANGE,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("unattributed_tickets", (202602,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("month_unassigned", (202602,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("stores", (), "get", (LOGIN, 404, 404, 302, 302, 302, 302)),
    Route("store", (202601, "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("store", (202602, "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("unassigned", ("S1",), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    Route("leaving", ("S1",), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    Route("leaving", ("S1",), "post", (LOGIN, 404, 404, 422, 404, 422, 404)),
    Route("changes", ("S1",), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    *(
        Route("propose", ("S1", kind), method, (LOGIN, 404, 404, 200, 404, 200, 404))
        for kind in ("split", "unassigned", "rebalance", "reassignment", "hand_over")
        for method in ("get", "post")
    ),
    Route("propose", ("S1", "nonsense"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("proposal", (PROPOSAL,), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    Route("proposal_progress", (PROPOSAL,), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    Route("apply_proposal", (PROPOSAL,), "post", (LOGIN, 404, 404, 302, 404, 302, 404)),
    Route("apply_proposal", (PROPOSAL,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("undo_proposal", (PROPOSAL,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("undo_proposal", (PROPOSAL,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("members", (), "get", (LOGIN, 200, 200, 200, 200, 200, 404)),
    Route("member", ("M1",), "get", (LOGIN, 200, 404, 200, 404, 200, 404)),
    Route("member_care", ("M1",), "post", (LOGIN, 302, 404, 302, 404, 302, 404)),
    Route("member_care", ("M1",), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("complaints", (), "get", (LOGIN, 404, 404, 200, 200, 200, 404)),
    Route("today", (), "get", (LOGIN, 200, 200, 200, 200, 404, 404)),
    Route("upkeep", (), "get", (LOGIN, 200, 200, 200, 200, 404, 404)),
    # The owner alone, not the manager of the store.
    Route("upkeep_member", ("M1",), "get", (LOGIN, 200, 404, 404, 404, 404, 404)),
    Route("upkeep_member", ("M1",), "post", (LOGIN, 422, 404, 404, 404, 404, 404)),
    Route("complaint_close", (1,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("complaint_close", (1,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("member_lock", ("M1",), "post", (LOGIN, 404, 404, 302, 404, 302, 404)),
    Route("member_lock", ("M1",), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("clerk_portfolio", ("C1",), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("clerk_portfolio_file", ("C1", "csv"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("clerk_portfolio_file", ("C1", "pdf"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("store_portfolio", ("S1",), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("store_portfolio_file", ("S1", "xlsx"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    # Not asked anything yet; the file is there only for a question.
    Route("what_if", (), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    Route("what_if_file", (), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    # Nothing stands out in the cast's months, and nobody asked for a correction of January's tickets.
    Route("signals", (202602,), "get", (LOGIN, 404, 404, 200, 200, 200, 404)),
    Route("signal", (202602, "walk_in", "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("look_at_signal", (202602, "walk_in", "C1"), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("look_at_signal", (202602, "walk_in", "C1"), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("clerk_corrections", (202602, "C1"), "get", (LOGIN, 404, 404, 200, 404, 200, 404)),
    Route("movement", (202601, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("movement", (202602, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("movement", (202601, "store", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("movement", (202601, "unassigned", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("movement", (202601, "chain", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("movement", (202601, "region", "all"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("movement_members", (202601, "clerk", "closing", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("movement_members", (202601, "store", "closing", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("movement_members", (202601, "chain", "lapsed", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("movement_members", (202601, "clerk", "nonsense", "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("movement_file", (202601, "clerk", "closing", "csv", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("movement_file", (202601, "chain", "closing", "xlsx", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("movement_file", (202601, "clerk", "closing", "pdf", "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("movement_pdf", (202601, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("movement_pdf", (202601, "chain", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("movement_pdf", (202602, "clerk", "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("measures", (202601, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("measures", (202602, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("measures", (202601, "store", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("measures", (202601, "chain", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("analysis", (202601, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("analysis", (202602, "clerk", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("analysis", (202601, "store", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("analysis", (202601, "unassigned", "S1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("analysis", (202601, "chain", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("analysis_members", (202601, "clerk", "age", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("analysis_members", (202601, "store", "weekday", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("analysis_members", (202601, "chain", "category", "all"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("analysis_members", (202601, "clerk", "profile", "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("analysis_file", (202601, "clerk", "csv", "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("analysis_file", (202601, "store", "xlsx", "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("analysis_file", (202602, "clerk", "csv", "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("measures", (202601, "region", "all"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("scorecards", (), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    Route("new_scorecard", (), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("new_scorecard", (), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("scorecard", (SCORECARD,), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    Route("scorecard", (SCORECARD_DRAFT,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("edit_scorecard", (SCORECARD_DRAFT,), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("edit_scorecard", (SCORECARD_DRAFT,), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("issue_scorecard", (SCORECARD_DRAFT,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("issue_scorecard", (SCORECARD_DRAFT,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("withdraw_scorecard", (SCORECARD,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("withdraw_scorecard", (SCORECARD,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("discard_scorecard", (SCORECARD_DRAFT,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("discard_scorecard", (SCORECARD_DRAFT,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("end_scorecard", (SCORECARD,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("end_scorecard", (SCORECARD,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("preview_scorecard", (SCORECARD, 202601), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("store_scores", (202602, "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("score", (202602, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("definitions", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("my_month", (), "get", (LOGIN, 302, 302, 302, 302, 404, 404)),
    Route("clerk_month", (202601, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("clerk_month", (202602, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("line_tickets", (202601, "C1", "OWN_SERVED"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("line_tickets", (202601, "C1", "BASE"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("line_adjustments", (202601, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("adjustments", (202602,), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    Route("adjustments", (202602,), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("decide_adjustment", (ADJUSTMENT,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("decide_adjustment", (ADJUSTMENT,), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    # Another person in HR asked for it.
    Route("withdraw_adjustment", (ADJUSTMENT,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("withdraw_adjustment", (ADJUSTMENT,), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    Route("payslips", (), "get", (LOGIN, 200, 200, 200, 200, 200, 200)),
    Route("payslip_pdf", (202601, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("payslip_pdf", (202602, "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("statement", (2026, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("statement", (2025, "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("statement_pdf", (2026, "C1"), "get", (LOGIN, 200, 404, 200, 404, 200, 200)),
    Route("statement_pdf", (2025, "C1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("register_pdf", (202601,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("register_pdf", (202602,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("store_summary_pdf", (202601, "S1"), "get", (LOGIN, 404, 404, 200, 404, 200, 200)),
    Route("store_summary_pdf", (202602, "S1"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("months", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("month", (202601,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("month", (202602,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("salaries", ("C1",), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("salaries", ("C1",), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("minimum_wages", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("minimum_wages", (), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("leavers_debts", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    # Nothing is owed: HR is told so.
    Route("write_off", ("C1",), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("write_off", ("C1",), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    # A manager reads the own stores' part of it.
    Route("pay_run", (202602,), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    Route("pay_run_file", (202602, "csv"), "get", (LOGIN, 404, 404, 200, 200, 200, 200)),
    Route("pay_run_file", (202602, "pdf"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    *(
        Route(name, (about,), method, (LOGIN, 404, 404, 404, 404, answer, 404))
        for name, about in (
            ("draft_pay_run", 202602),
            ("review_pay_run", PAY_RUN),
            ("approve_pay_run", PAY_RUN),
            ("close_month", 202602),
        )
        for method, answer in (("post", 302), ("get", 405))
    ),
    Route("payslip_language", (), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("payslip_language", (), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    # With MAIL_PAYSLIPS on; where it is off all are 404 (tests/test_mailed_payslips.py). HR is told to make PDFs first.
    Route("type_payslip_address", (), "post", (LOGIN, 302, 302, 302, 302, 404, 404)),
    Route("type_payslip_address", (), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("remove_payslip_address", (), "post", (LOGIN, 302, 302, 302, 302, 404, 404)),
    Route("remove_payslip_address", (), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    # 李's: the others are told that it is none of theirs.
    Route("confirm_payslip_address", (ADDRESS,), "get", (LOGIN, 200, 302, 302, 302, 404, 404)),
    Route("confirm_payslip_address", (ADDRESS,), "post", (LOGIN, 302, 302, 302, 302, 404, 404)),
    Route("month_mail", (202601,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("month_mail", (202602,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("mail_payslips", (202601,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("mail_payslips", (202601,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("mail_again", (202601, "C1"), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("mail_again", (202601, "C4"), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("mail_again", (202601, "C1"), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("make_payslips", (202601,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("make_payslips", (202601,), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    # The one job of January has ended; its payslips are not made as PDF.
    *(Route("cancel_job", (job,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)) for job in (JOB, PLAN_JOB)),
    Route("cancel_job", (NO_JOB,), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("cancel_job", (JOB,), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    Route("payslips_zip", (202601,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("payslips_zip", (202602,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    *(Route("job", (job,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)) for job in (JOB, PLAN_JOB)),
    Route("job", (NO_JOB,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("roster", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("roster_export", ("members", "csv"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("roster_export", ("tickets", "csv"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("roster_import", (), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("roster_import", (), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    # HR is sent back to the roster from an upload that is not there, or another person's.
    Route("roster_preview", (1,), "get", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("roster_errors", (1,), "get", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("roster_apply", (1,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("roster_apply", (1,), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    Route("roster_discard", (1,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("roster_discard", (1,), "get", (LOGIN, 404, 404, 404, 404, 405, 404)),
    Route("applied_import", (999,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("applied_import", (IMPORT,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("undo_import", (IMPORT,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("undo_import", (IMPORT,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("roster_export", ("identity_documents", "csv"), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("identity_documents", (), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("show_identity_document", ("C1",), "post", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("show_identity_document", ("C2",), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("show_identity_document", ("C1",), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("export", (202601, "payroll", "csv"), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("export", (202602, "payroll", "csv"), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("journal", (202601,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("journal", (202602,), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("take_journal", (202601,), "post", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("take_journal", (202601,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("journal_accounts", (), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("journal_accounts", (), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("export_profiles", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    # Without a name it is not copied; HR is sent back and told.
    Route("copy_ready_profile", ("frappe",), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("copy_ready_profile", ("nonsense",), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("copy_ready_profile", ("frappe",), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("export_profile", (PROFILE,), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("edit_export_profile", (PROFILE,), "get", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("edit_export_profile", (PROFILE,), "post", (LOGIN, 404, 404, 404, 404, 422, 404)),
    Route("copy_export_profile", (PROFILE,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("copy_export_profile", (PROFILE,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("delete_export_profile", (PROFILE,), "post", (LOGIN, 404, 404, 404, 404, 302, 404)),
    Route("delete_export_profile", (PROFILE,), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    Route("run_export_profile", (PROFILE, 202601), "post", (LOGIN, 404, 404, 404, 404, 200, 404)),
    Route("run_export_profile", (PROFILE, 202602), "post", (LOGIN, 404, 404, 404, 404, 404, 404)),
    Route("run_export_profile", (PROFILE, 202601), "get", (LOGIN, 405, 405, 405, 405, 405, 405)),
    # A login opens no operation of the API, and a token no page; what a token may do is in tests/test_ticket_api.py.
    Route("api:tickets", (), "post", (401, 401, 401, 401, 401, 401, 401)),
    Route("api:tickets", (), "get", (405, 405, 405, 405, 405, 405, 405)),
    Route("api:stored_ticket", ("S1", "2026-01-05", "T1"), "get", (401, 401, 401, 401, 401, 401, 401)),
    Route("api:store_day", ("S1", "2026-01-05"), "get", (401, 401, 401, 401, 401, 401, 401)),
    Route("api:openapi-json", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("api:openapi-view", (), "get", (LOGIN, 404, 404, 404, 404, 200, 200)),
    Route("api:api-root", (), "get", (LOGIN, 404, 404, 404, 404, 404, 404)),
]


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def names(patterns: list[URLPattern | URLResolver], space: str = "") -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            found |= names(pattern.url_patterns, f"{space}{pattern.namespace}:" if pattern.namespace else space)
        else:
            assert pattern.name, f"{pattern} has no name, so no test can list it"
            found.add(f"{space}{pattern.name}")
    return found


def test_every_address_is_listed_here() -> None:
    assert names(get_resolver().url_patterns) == {route.name for route in ROUTES}


def answer(client: Client, route: Route, url: str) -> int | str:
    """What the person gets; nothing that a POST changes stays."""
    with transaction.atomic():
        response = getattr(client, route.method)(url)
        if response.streaming:
            assert b"".join(response)
        transaction.set_rollback(True)
    sent_to_login = response.status_code == 302 and response["Location"] == f"{reverse('login')}?next={quote(url)}"
    return LOGIN if sent_to_login else response.status_code


def addresses(cast: Cast) -> dict[Route, str]:
    """Of each route; what its address names is written first. Payslips must be mailed by the settings."""
    clerk, walk_in = cast.users["clerk"], cast.chain.sale("02-04", (cast.chain.li, 10_000))[0].sale
    assert clerk is not None
    correction = ask_for_member(walk_in, card="M1", reason="forgotten", asked_by=clerk)
    wang = cast.user("wang", clerk=cast.chain.wang)
    binding = cast.member.bindings.get()
    inquiry = ask_owned(binding, text="mine", asked_by=wang)
    change = preview(cast.next_plan(), by=None)
    wide = ready_profile("wide_chinese")
    assert wide is not None
    profile = wide.copy("wide", by=clerk)
    profile.save()
    IdentityDocument.objects.create(clerk=cast.chain.li, number="11010519491231002X")
    adjustment = ask_adjustment(
        cast.chain.li, cast.february, amount=5_000, reason="stocktaking", asked_by=cast.users["second_hr"]
    )
    address = PayslipAddress.objects.create(clerk=cast.chain.li, email="li@home.example", typed_at=timezone.now())
    MailedPayslip.objects.create(payslip=cast.payslip, email=address.email, begun_at=timezone.now())
    imported = AppliedImport.objects.create(applied_by=clerk)
    card = scorecard("K1", since="02-01", upkeep=(10_000, 9_000))
    next_card = scorecard("K2", since="03-01", state="draft", upkeep=(10_000, 9_000))
    hr = cast.users["hr"]
    assert hr is not None
    run = pay_run_steps.draft(cast.february, by=hr)
    there: dict[int | str, int | str] = {TICKET: cast.split_ticket.pk, PROPOSAL: cast.proposal.pk}
    there |= {CORRECTION: correction.pk, INQUIRY: inquiry.pk, BINDING: binding.pk}
    there |= {PLAN: cast.chain.plan.pk, DRAFT: change.plan_id, PLAN_CHANGE: change.pk}
    there |= {SCORECARD: card.pk, SCORECARD_DRAFT: next_card.pk}
    there |= {MEMBER: cast.member.pk, UNASSIGNED: cast.unassigned.pk, PROFILE: profile.pk, IMPORT: imported.pk}
    there |= {ADJUSTMENT: adjustment.pk, PAY_RUN: run.pk, ADDRESS: address_token(address)}
    january, issue = Job.objects.get(month=cast.january), start_issue(change, by=hr, language="en")
    there |= {JOB: january.pk, PLAN_JOB: issue.pk}
    return {route: reverse(route.name, args=[there.get(arg, arg) for arg in route.args]) for route in ROUTES}


def test_what_each_person_gets(cast: Cast, settings: Settings) -> None:
    settings.MAIL_PAYSLIPS = True
    answers = {}
    for route, url in addresses(cast).items():
        answers[route[:3]] = dict(
            zip(cast.PEOPLE, (answer(cast.client(name), route, url) for name in cast.PEOPLE), strict=True)
        )
    assert answers == {route[:3]: dict(zip(cast.PEOPLE, route.answers, strict=True)) for route in ROUTES}


def test_what_one_may_not_see_answers_as_what_is_not_there(cast: Cast) -> None:
    client = cast.client("other_clerk")
    hidden = client.get(reverse("clerk_month", args=[202601, "C1"]))
    missing = client.get(reverse("clerk_month", args=[202601, "C777"]))
    assert (hidden.status_code, missing.status_code) == (404, 404)
    # But for the address in the language form, and tokens, the two pages are the same.
    assert "C1" not in without_tokens(hidden).replace(hidden.wsgi_request.path, "")
    assert len(hidden.content) == len(missing.content) - len("77")


def test_the_list_of_payslips_holds_those_one_may_see(cast: Cast) -> None:
    seen = {}
    for person in cast.PEOPLE[1:]:
        table = cast.client(person).get(reverse("payslips")).context["table"]
        seen[person] = {row.record.clerk.clerk_no for row in table.rows}
    everyone = {"C1", "C2", "C3", "C4", "C8", "C9"}
    assert seen == {
        "clerk": {"C1"},
        "other_clerk": {"C4"},
        "manager": {"C1", "C2", "C3", "C8"},
        "other_manager": {"C4", "C9"},
        "hr": everyone,
        "auditor": everyone,
    }


def test_a_store_that_one_does_not_manage_filters_nothing(cast: Cast) -> None:
    assert cast.client("manager").get(reverse("payslips"), {"store": "S1"}).status_code == 200
    assert cast.client("manager").get(reverse("payslips"), {"store": "S2"}).status_code == 404
    assert cast.client("clerk").get(reverse("payslips"), {"store": "S1"}).status_code == 404


def test_someone_without_a_role_sees_nothing_but_what_to_do(cast: Cast) -> None:
    cast.users["nobody"] = User.objects.create(username="nobody")
    client = cast.client("nobody")
    assert "Ask HR to link it to your clerk number." in client.get(reverse("home")).content.decode()
    urls = [reverse(name) for name in ("my_month", "my_tickets", "payslips", "stores", "months")]
    assert [client.get(url).status_code for url in urls] == [404] * 5


def test_a_login_that_is_switched_off_is_no_login(cast: Cast) -> None:
    client = cast.client("hr")
    User.objects.filter(username="hr").update(is_active=False)
    assert client.get(reverse("months")).status_code == 302


def test_a_former_manager_sees_the_store_no_more(cast: Cast) -> None:
    client = cast.client("manager")
    manager = cast.users["manager"]
    assert manager is not None
    assert manager.clerk is not None
    manager.clerk.postings.update(valid_to="2026-01-15")
    assert client.get(reverse("store", args=[202602, "S1"])).status_code == 404
    assert client.get(reverse("clerk_month", args=[202601, "C1"])).status_code == 404


def test_a_change_without_the_form_s_token_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept-language": "en"})
    hr = cast.users["hr"]
    assert hr is not None
    client.force_login(hr, backend="portfolios.access.StaffBackend")
    for name in ("draft_pay_run", "close_month", "make_payslips"):
        response = client.post(reverse(name, args=[202602]))
        assert response.status_code == 403
        assert "Nothing was saved." in response.content.decode()
    assert not PayRun.objects.filter(month=202602).exists()
