"""Who may log in: whoever has an active login, and has not left. Access ends with the last day worked."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.utils import timezone

from portfolios.models import User


class StaffBackend(ModelBackend):
    """A leaver's login, and every open visit, ends at midnight after the last day."""

    def user_can_authenticate(self, user: Any) -> bool:
        if not super().user_can_authenticate(user):
            return False
        clerk = user.clerk if isinstance(user, User) else None
        return clerk is None or clerk.left_on is None or clerk.left_on >= timezone.localdate()
