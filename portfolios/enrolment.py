"""A new member at the counter: the phone is checked first, consent recorded, and the owner is whoever enrols.

A phone that an open card has already is shown to be whose, and nothing is bound: two cards of one person have two
owners. "138-0013 8000" and "+86 13800138000" are both 13800138000. Enrolments come one after the other, so that of
two clerks who enrol the same phone at once the second sees whose it is.
"""

import datetime as dt
import re
import uuid
from dataclasses import dataclass

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Length
from django.utils.translation import gettext as _

from portfolios.bindings import enrolments
from portfolios.models import BindingBatch, Clerk, Member, Posting, Store, User, on_date
from portfolios.months import first_open_day
from portfolios.roster_files import NumberCell, RowProblem, TextCell
from portfolios.sentences import joined

SOURCE = "enrolment"

# A number that no other lock of this database has.
_LOCK = 0x656E726F6C

_GROUPING = re.compile(r"[ ()-]", re.ASCII)
_MAINLAND_CODE = re.compile(r"(?:\+|00)86|86(?=1[3-9][0-9]{9}$)", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_MOBILE = re.compile(r"1[3-9][0-9]{9}", re.ASCII)
# A landline with its area code, one without (also of Hong Kong and Macau), a number abroad.
_OTHERS = re.compile(r"0(?:10|[2-9][0-9]{1,2})[0-9]{7,8}|[2-9][0-9]{6,7}|\+[1-9][0-9]{6,14}", re.ASCII)
# After the country code a landline is written without the 0 of its area code.
_BARE_AREA_CODE = re.compile(r"(?:10|[2-9])[0-9]{8,10}", re.ASCII)


class EnrolmentRefused(ValueError):
    """A member that cannot be enrolled so; the message says why and what to do, `field` names what it is about."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class PhoneKnown(EnrolmentRefused):
    """Open cards have this phone; `cards` says whose they are."""

    def __init__(self, cards: "list[KnownCard]") -> None:
        super().__init__(_("This phone has a card already: nobody was enrolled."), field="phone")
        self.cards = cards


@dataclass(frozen=True)
class KnownCard:
    """What a clerk is told of a card that has the phone: its store and its owner (None: unassigned), not the person."""

    store: Store
    owner: Clerk | None


def phone_number(text: str) -> str:
    """The one spelling of a phone number: digits, for a number abroad after a plus.

    Raises EnrolmentRefused, with what is wrong with it, for anything that is no phone number.
    """
    text = text.strip()
    if not text:
        raise EnrolmentRefused(_("Enter the phone number: it tells whether the person has a card."), field="phone")
    if not text.isascii():
        raise EnrolmentRefused(
            _("The phone number has full-width or other characters: write it with the digits 0 to 9."), field="phone"
        )
    number = _GROUPING.sub("", text)
    if code := _MAINLAND_CODE.match(number):
        number = number[code.end() :]
        number = f"0{number}" if _BARE_AREA_CODE.fullmatch(number) else number
    digits = number.removeprefix("+")
    if not _DIGITS.fullmatch(digits):
        raise EnrolmentRefused(
            _("“%(text)s” is not a phone number: write digits only, for example 13800138000.") % {"text": text},
            field="phone",
        )
    if number.startswith("1") and not _MOBILE.fullmatch(number):
        raise EnrolmentRefused(
            _("A mobile number has 11 digits and begins with 13 to 19; this has %(count)d: read it back to the person.")
            % {"count": len(digits)},
            field="phone",
        )
    if not _MOBILE.fullmatch(number) and not _OTHERS.fullmatch(number):
        raise EnrolmentRefused(
            _(
                "%(number)s is no phone number: a mobile has 11 digits, a landline its area code (0571 8888 8888), "
                "a number abroad begins with + and the country."
            )
            % {"number": number},
            field="phone",
        )
    return number


def find_by_phone(phone: str, *, on: dt.date, besides: Member | None = None) -> list[KnownCard]:
    """The cards that are open on a date and have this phone (as `phone_number` spells it), the oldest first.

    `besides` is a card that is not looked for: the one whose phone is to be put right.
    """
    cards = (
        Member.objects.filter(Q(closed_on__isnull=True) | Q(closed_on__gt=on), phone__in=_spellings(phone))
        .exclude(pk__in=[besides.pk] if besides else [])
        .with_owner(on)
        .select_related("store")
        .order_by("enrolled_on", "member_no")
    )
    found = list(cards)
    owners = Clerk.objects.in_bulk([card.owner_id for card in found if card.owner_id])  # type: ignore[attr-defined]
    return [KnownCard(card.store, owners.get(card.owner_id)) for card in found]  # type: ignore[attr-defined]


def _spellings(phone: str) -> list[str]:
    """A phone as rosters may have written it: an index finds each, where a rule over all phones would read them all."""
    if not _MOBILE.fullmatch(phone):
        return [phone]
    first, middle, last = phone[:3], phone[3:7], phone[7:]
    grouped = [mark.join((first, middle, last)) for mark in ("", " ", "-")]
    return [code + number for code in ("", "+86", "86", "0086", "+86 ", "+86-") for number in grouped]


def home_store(clerk: Clerk, on: dt.date) -> Store | None:
    """The clerk's home store on a date; None without one, or for a clerk who has left."""
    if clerk.left_on is not None and clerk.left_on < on:
        return None
    posting = Posting.objects.clerk_postings().filter(on_date(on), clerk=clerk).select_related("store").first()
    return posting.store if posting else None


def hold_enrolments() -> None:
    """Lets nobody enrol a member until the transaction ends; on SQLite no one else writes beside it anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


@transaction.atomic
def enrol(
    *,
    phone: str,
    consent: bool,
    on: dt.date,
    recorded_by: User,
    form_token: uuid.UUID,
    name: str = "",
    member_no: str = "",
    another_person: bool = False,
) -> Member:
    """Enrols a member in the home store of the clerk whose login this is, and binds it to that clerk.

    It counts from `on`, or from the first open day where that is later. Without `member_no` the next number of the
    store is made. The same form sent again returns the member that it enrolled. Raises PhoneKnown where open cards
    have the phone, unless it is `another_person`; EnrolmentRefused for what is missing or wrong.
    """
    number = phone_number(phone)
    name, member_no = _text(name, field="name"), _text(member_no, field="member_no")
    if not consent:
        raise EnrolmentRefused(_("Ask the person for consent, and tick that it was given."), field="consent")
    # From here on nobody else enrols, and no month closes, until this transaction ends.
    hold_enrolments()
    if again := BindingBatch.objects.filter(form_token=form_token).first():
        return _enrolled_before(again, number, recorded_by)
    clerk = recorded_by.clerk
    store = home_store(clerk, on) if clerk else None
    if clerk is None or store is None:
        raise EnrolmentRefused(
            _("You have no home store on %(day)s, so nobody could own the member: ask HR for a posting.") % {"day": on}
        )
    known = find_by_phone(number, on=on)
    if known and not another_person:
        raise PhoneKnown(known)
    member_no = member_no or _next_number(store)
    member = Member(
        member_no=member_no,
        name=name,
        phone=number,
        store=store,
        enrolled_on=on,
        enrolled_by=clerk,
        counted_from=max(on, first_open_day() or on),
        consented_on=on,
    )
    try:
        with transaction.atomic():
            member.save(force_insert=True)
    except IntegrityError as error:
        raise EnrolmentRefused(
            _("Card number %(number)s is another member's: scan the card again, or take a new card.")
            % {"number": member_no},
            field="member_no",
        ) from error
    batch = BindingBatch.objects.create(source=SOURCE, recorded_by=recorded_by, form_token=form_token)
    enrolments([member]).carry_out(batch)
    return member


def _enrolled_before(batch: BindingBatch, phone: str, recorded_by: User) -> Member:
    member = Member.objects.filter(bindings__batch=batch).first()
    if member is None or batch.recorded_by_id != recorded_by.pk or member.phone != phone:
        raise EnrolmentRefused(
            _("This form has enrolled somebody else already: send it again for this person, it is a new one now.")
        )
    return member


def _text(text: str, *, field: str) -> str:
    """As strict as the roster's files are with the same cell."""
    cell = NumberCell(30, required=False) if field == "member_no" else TextCell(100, required=False)
    try:
        return str(cell.clean(text.strip()))
    except RowProblem as problem:
        raise EnrolmentRefused(joined(problem.reason, problem.remedy), field=field) from problem


def _next_number(store: Store) -> str:
    """The store's number and a running one: S01-000042 after S01-000041."""
    made = Member.objects.filter(
        member_no__startswith=f"{store.store_no}-", member_no__regex=rf"^{re.escape(store.store_no)}-[0-9]{{6,9}}$"
    )
    last = made.order_by(Length("member_no").desc(), "-member_no").values_list("member_no", flat=True).first()
    running = int(last.rpartition("-")[2]) if last else 0
    return f"{store.store_no}-{running + 1:06d}"
