"""Setting a signal as looked at: by whoever may see it, but not by whom it is about.

Who looked at 12 of 40 (30%) with a note sees it no more that month, until it is 31% or more. Nothing else happens.
"""

from django.utils.translation import gettext as _

from kpis.models import Signal, SignalReview
from portfolios.models import Binding, User


class ReviewRefused(ValueError):
    """A signal that cannot be set as looked at so; the message says why and what to do."""


def may_review(signal: Signal, user: User) -> bool:
    """Nobody looks at what is about oneself, nor at reassignments that one has made."""
    if signal.clerk_id == user.clerk_id:
        return False
    return not (
        signal.kind == Signal.Kind.AFTER_INCOME
        and Binding.objects.filter(pk__in=signal.evidence, batch__recorded_by=user).exists()
    )


def review(signal: Signal, *, note: str, by: User) -> SignalReview:
    """Keeps that somebody has looked at a signal as its figure stands now. Raises ReviewRefused."""
    if not may_review(signal, by):
        raise ReviewRefused(
            _("This is about yourself, or about members whom you reassigned: another manager or HR looks at it.")
        )
    if not note.strip():
        raise ReviewRefused(_("Say in the note what you found: it is kept, and HR may read it."))
    return SignalReview.objects.create(
        month_id=signal.month_id,
        kind=signal.kind,
        clerk_id=signal.clerk_id,
        level=signal.level,
        note=note.strip()[:500],
        looked_at_by=by,
    )
