"""The care log: each talk with a member, or attempt at one, and the complaints that wait for their manager.

A follow-up of 2026-11-20 that reached nobody, with the next one on 2026-11-23, is one contact; nothing of it is edited
afterwards. A complaint is open until a manager of the member's store, or HR, closes it.
"""

import datetime as dt

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from kpis.models import CareContact
from portfolios.models import Member, User


class CareError(ValueError):
    """A contact that cannot be logged, or a complaint that cannot be closed; the message says why and what to do."""


def log_contact(
    member: Member,
    *,
    kind: CareContact.Kind,
    outcome: CareContact.Outcome,
    by: User,
    on: dt.date,
    note: str = "",
    next_on: dt.date | None = None,
) -> CareContact:
    """Keeps a contact of a date. Raises CareError for a next date that is not later, or a complaint without a note."""
    if next_on is not None and next_on <= on:
        raise CareError(
            _("The next contact is on %(next)s, not after this one of %(day)s: choose a later date.")
            % {"next": next_on, "day": on}
        )
    if kind == CareContact.Kind.COMPLAINT and not note.strip():
        raise CareError(_("Say in the note what the complaint is about: the manager closes it by that."))
    return CareContact.objects.create(
        member=member, kind=kind, outcome=outcome, recorded_by=by, on=on, note=note.strip(), next_on=next_on
    )


def may_close_complaints(user: User, member: Member) -> bool:
    return user.is_hr or member.store_id in user.managed_store_ids()


def complaints_to_close(user: User) -> QuerySet[CareContact]:
    """The open complaints that the user may close: of the managed stores' members, or HR's all; the oldest first."""
    complaints = CareContact.objects.open_complaints().order_by("on", "pk")
    return complaints if user.is_hr else complaints.filter(member__store__in=user.managed_store_ids())


def close_complaint(contact: CareContact, *, by: User) -> None:
    """Closes an open complaint; twice does nothing more. Raises CareError for who may not."""
    if not may_close_complaints(by, contact.member):
        raise CareError(_("Only a manager of the member's store, or HR, closes a complaint: ask one of them."))
    CareContact.objects.open_complaints().filter(pk=contact.pk).update(closed_at=timezone.now(), closed_by=by)
