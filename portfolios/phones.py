"""Members' phone numbers as people without the right to them see them: 138****5678 for 13812345678.

The length stays, and enough of both ends to tell a member's number from another's by asking for it.
"""

from typing import Any

from portfolios.roster_files import NumberCell

# The right, as user.has_perm() takes it; `manage.py phone_right` gives it.
SEE_PHONES = "portfolios.see_phones"
MASK = "*"


def masked(phone: str) -> str:
    """The first three and last four digits of a mobile number; less of a shorter one, nothing below seven."""
    shown = (3, 4) if len(phone) >= 11 else (2, 2) if len(phone) >= 7 else (0, 0)
    hidden = len(phone) - sum(shown)
    return phone[: shown[0]] + MASK * hidden + phone[len(phone) - shown[1] :]


class PhoneCell(NumberCell):
    """A phone number; with `masks` the export shows its mask."""

    def __init__(self) -> None:
        super().__init__(30, required=False)
        self.masks = False

    def render(self, value: str | None, obj: Any = None, **kwargs: Any) -> str:
        return super().render(masked(value or "") if self.masks else value)
