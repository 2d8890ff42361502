"""Identity documents for tests, with their last character by another road than the product's."""

from payroll_exports.models import IdentityDocument
from portfolios.models import Clerk


def resident_id(number: int) -> str:
    """The number of a resident ID card of somebody born on 1990-01-01.

    The last character by ISO 7064, MOD 11-2: read from the left, each step doubles what there is and adds the next
    character, and the whole leaves 1 when divided by 11.
    """
    first = f"11010519900101{number:03d}"
    rest = 0
    for digit in first:
        rest = (rest + int(digit)) * 2 % 11
    return first + "0123456789X"[(12 - rest) % 11]


def identify_everyone() -> None:
    """Every clerk has a resident ID card, numbered by the order of clerk numbers, from 1."""
    for number, clerk in enumerate(Clerk.objects.order_by("clerk_no"), 1):
        IdentityDocument.objects.create(clerk=clerk, number=resident_id(number))
