"""Members' phone numbers as each person may see them, and the record of who was given them in full.

A clerk sees those of the own portfolio, a manager those of the managed stores' members; HR sees 138****5678 unless
given the right; everyone else nothing. Whatever leaves this module in full is to be recorded.
"""

import datetime as dt
from collections.abc import Collection

from portfolios.models import Member, PhoneRead, User
from portfolios.phones import SEE_PHONES, masked


def sees_whole_phones(user: User) -> bool:
    """Whether the phones that the user sees at all are whole: HR's are masked without the right."""
    return not user.is_hr or user.has_perm(SEE_PHONES)


def shown_phones(user: User, members: Collection[Member], on: dt.date) -> dict[int, str]:
    """The members' phone numbers by primary key, as the user may see them on a date: whole, masked, or empty."""
    keys = [member.pk for member in members]
    visible = set(Member.objects.for_user(user, on).filter(pk__in=keys).values_list("pk", flat=True))
    whole = sees_whole_phones(user)
    return {
        member.pk: (member.phone if whole else masked(member.phone)) if member.pk in visible else ""
        for member in members
    }


def record_phone_read(user: User, *, page: str, member: Member | None = None, members: int = 1) -> None:
    """Keeps that the user was given the number of one member, or of so many, in full on a page or in a file."""
    PhoneRead.objects.create(user=user, page=page[:200], member=member, members=members)
