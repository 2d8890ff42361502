"""Issuing a scorecard, ending one, and taking back one that no close has used.

A scorecard that is issued ends the one before it in the same scope (the clerks or managers of the chain or of a store)
on the day before it begins: K2 from 1 March on ends K1 on the last day of February. A month that is closed has its
scores; so a scorecard begins and ends in open months only.
"""

import datetime as dt

from django.db import models, transaction
from django.utils.translation import gettext as _

from commission.money import WHOLE_BP, format_bp
from kpis.models import Scorecard, ScorecardMeasure, ScoreMonth
from portfolios.models import OPEN_END
from portfolios.months import month_days, month_number, require_open

DAY = dt.timedelta(days=1)


class ScorecardRefused(ValueError):
    """A scorecard that cannot be changed as asked; the message says why and what to do."""


def is_used(scorecard: Scorecard) -> bool:
    """Whether a close has worked out scores by it."""
    return ScoreMonth.objects.filter(scorecard=scorecard).exists()


def predecessor(scorecard: Scorecard) -> Scorecard | None:
    """The scorecard that is in force in the same scope on the first day of this one."""
    first = scorecard.valid_from
    return _same_scope(scorecard).filter(valid_from__lte=first, valid_to__gt=first).first()


def write_measures(scorecard: Scorecard, measures: list[ScorecardMeasure]) -> None:
    """Writes the measures in place of those that a draft has."""
    scorecard.measures.all().delete()
    for measure in measures:
        measure.scorecard = scorecard
    ScorecardMeasure.objects.bulk_create(measures)


@transaction.atomic
def issue(scorecard: Scorecard) -> Scorecard:
    """Puts a draft in force, and ends the one before it; returns it.

    Raises ScorecardRefused, or MonthError where it begins in a closed month.
    """
    scorecard = _held(scorecard)
    if not scorecard.is_draft:
        raise ScorecardRefused(_("Scorecard %(scorecard)s is issued already.") % {"scorecard": scorecard})
    require_open(scorecard.valid_from, _("Scorecard %(scorecard)s") % {"scorecard": scorecard})
    _check_weights(scorecard)
    before = predecessor(scorecard)
    if before and before.valid_from < scorecard.valid_from:
        _check_end(before, scorecard.valid_from)
        before.valid_to = scorecard.valid_from
        before.save(update_fields=["valid_to"])
    _check_free(scorecard, scorecard.valid_to)
    scorecard.state = Scorecard.State.ISSUED
    scorecard.save(update_fields=["state"])
    return scorecard


@transaction.atomic
def withdraw(scorecard: Scorecard) -> Scorecard:
    """Makes an issued scorecard that no close has used a draft again; what it has ended stays ended.

    Raises ScorecardRefused.
    """
    scorecard = _held(scorecard)
    if is_used(scorecard):
        raise ScorecardRefused(
            _("A month was closed by scorecard %(scorecard)s, so it stays as it is: end it, and issue a copy.")
            % {"scorecard": scorecard}
        )
    scorecard.state = Scorecard.State.DRAFT
    scorecard.save(update_fields=["state"])
    return scorecard


@transaction.atomic
def end(scorecard: Scorecard, last_month: int | None) -> Scorecard:
    """Sets the last month (its number) that an issued scorecard covers; None is no end.

    Raises ScorecardRefused, or MonthError for a month that is closed.
    """
    scorecard = _held(scorecard)
    if scorecard.is_draft:
        raise ScorecardRefused(_("Scorecard %(scorecard)s is a draft: edit it.") % {"scorecard": scorecard})
    until = month_days(last_month)[1] + DAY if last_month else OPEN_END
    if until <= scorecard.valid_from:
        raise ScorecardRefused(
            _("The scorecard begins on %(day)s: its last month is no earlier.") % {"day": scorecard.valid_from}
        )
    _check_end(scorecard, until)
    _check_free(scorecard, until)
    scorecard.valid_to = until
    scorecard.save(update_fields=["valid_to"])
    return scorecard


@transaction.atomic
def discard(scorecard: Scorecard) -> None:
    """Deletes a draft. Raises ScorecardRefused for any other scorecard."""
    scorecard = _held(scorecard)
    if not scorecard.is_draft:
        raise ScorecardRefused(
            _("Scorecard %(scorecard)s is issued: only a draft is thrown away.") % {"scorecard": scorecard}
        )
    scorecard.delete()


def months_of(scorecard: Scorecard) -> tuple[int, int | None]:
    """The numbers of its first and its last month; None is no end."""
    last = scorecard.last_day
    return month_number(scorecard.valid_from), month_number(last) if last else None


def _held(scorecard: Scorecard) -> Scorecard:
    return Scorecard.objects.select_for_update(of=("self",)).get(pk=scorecard.pk)


def _same_scope(scorecard: Scorecard) -> models.QuerySet[Scorecard]:
    others = Scorecard.objects.issued().filter(role=scorecard.role).exclude(pk=scorecard.pk)
    return others.filter(store=scorecard.store_id) if scorecard.store_id else others.filter(store=None)


def _check_weights(scorecard: Scorecard) -> None:
    weight = sum(scorecard.measures.values_list("weight_bp", flat=True))
    if weight != WHOLE_BP:
        raise ScorecardRefused(
            _("The weights come to %(weight)s%%: give the measures 100%% together.") % {"weight": format_bp(weight)}
        )


def _check_end(scorecard: Scorecard, until: dt.date) -> None:
    """What changes of a scorecard's days lies in open months."""
    require_open(min(until, scorecard.valid_to), _("The end of scorecard %(scorecard)s") % {"scorecard": scorecard})


def _check_free(scorecard: Scorecard, until: dt.date) -> None:
    following = _same_scope(scorecard).filter(valid_from__lt=until, valid_to__gt=scorecard.valid_from).first()
    if following:
        raise ScorecardRefused(
            _("Scorecard %(other)s is for the same people from %(day)s on: end it before, or choose other months.")
            % {"other": following, "day": following.valid_from}
        )
