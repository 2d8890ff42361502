"""A clerk's own e-mail address for payslips: typed by the clerk, confirmed by a link mailed to it, taken away again.

The link opens only for the clerk who typed the address, logged in: whoever else gets the mail, because of a slip of
the keyboard, can do nothing with it. It is good for two days, and for the address as it was typed last.
"""

import datetime as dt

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from payroll_exports.mail_models import PayslipAddress
from portfolios.models import Clerk

LINK_IS_GOOD_FOR = dt.timedelta(days=2)
# Mails to addresses of the clerk's choice, within a day.
LINKS_A_DAY = 5

_SALT = "payslip-address"


class TooManyLinks(Exception):
    """So many links were mailed for this clerk today that the clerk has to wait."""


def address_token(address: PayslipAddress) -> str:
    """What a link says of an address: which one, and when it was typed."""
    return signing.dumps([address.pk, address.typed_at.isoformat()], salt=_SALT)


def address_of_token(token: str, *, clerk: Clerk) -> PayslipAddress | None:
    """The clerk's address that a link is about; None where it is old, another's, or of an earlier address."""
    try:
        pk, typed_at = signing.loads(token, salt=_SALT, max_age=LINK_IS_GOOD_FOR)
    except signing.BadSignature:
        return None
    address = PayslipAddress.objects.filter(pk=pk, clerk=clerk).first()
    return address if address and address.typed_at.isoformat() == typed_at else None


def type_address(clerk: Clerk, email: str, *, page: str, link: str) -> PayslipAddress:
    """Keeps the address unconfirmed and mails the link to it: `link` with the token in place of "TOKEN".

    `page` is where the payslips are. Raises TooManyLinks, or what the mail server says (SMTPException, OSError); the
    earlier address stays then.
    """
    key = f"payslip-address:{clerk.pk}"
    mailed = cache.get(key, 0)
    if mailed >= LINKS_A_DAY:
        raise TooManyLinks
    cache.set(key, mailed + 1, timeout=24 * 60 * 60)
    with transaction.atomic():
        address, _is_new = PayslipAddress.objects.update_or_create(
            clerk=clerk, defaults={"email": email, "typed_at": timezone.now(), "confirmed_at": None}
        )
        with override(clerk.language):
            text = _(
                "Somebody asked on %(page)s to have payslips mailed to this address. If it was you, log in there and "
                "confirm it within two days:\n\n%(link)s\n\nIf it was not you, leave this mail alone: nothing is sent "
                "to you."
            ) % {"page": page, "link": link.replace("TOKEN", address_token(address))}
            EmailMessage(_("Confirm this address"), text, settings.DEFAULT_FROM_EMAIL, [email]).send()
    return address


def confirm_address(address: PayslipAddress) -> None:
    """From now on payslips are mailed there, unless another address was typed meanwhile."""
    with transaction.atomic():
        known = PayslipAddress.objects.select_for_update().filter(pk=address.pk, typed_at=address.typed_at).first()
        if known and known.confirmed_at is None:
            known.confirmed_at = timezone.now()
            known.save(update_fields=["confirmed_at"])
