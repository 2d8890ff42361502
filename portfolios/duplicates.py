"""Two cards of one person: found by the phone, merged, taken apart again; and which card stands for which on a day.

The surviving card keeps its owner. The merged one closes on a day, its binding ends, and what was booked before stays
as it was: of M2 merged into M1 from 2026-11-22, a purchase of the 21st is M2's and its owner's, one of the 22nd M1's.
Cards are merged one by one; where M2 is merged into M1 and M1 later into M0, both stand for M0 from then on.
"""

import datetime as dt
from collections.abc import Collection

from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from portfolios.bindings import BindingError, end, undo
from portfolios.models import Binding, BindingBatch, Member
from portfolios.months import first_open_day, require_open

SOURCE = "merge"


class MergeError(ValueError):
    """Cards that cannot be merged, or taken apart; the message says which, why and what to do."""


def open_cards() -> QuerySet[Member]:
    return Member.objects.filter(closed_on__isnull=True)


def same_phone(stores: Collection[int] | None = None) -> QuerySet[Member]:
    """The open cards, of these stores or of all, whose phone another open card (of any store) has too."""
    twins = open_cards().filter(phone=OuterRef("phone")).exclude(pk=OuterRef("pk"))
    cards = open_cards().exclude(phone="").filter(Exists(twins))
    return cards if stores is None else cards.filter(store__in=stores)


def shared_phones(stores: Collection[int] | None = None) -> QuerySet[Member, str]:
    """The phones of `same_phone`, each once."""
    return same_phone(stores).order_by("phone").values_list("phone", flat=True).distinct()


def earliest_day(card: Member, *, today: dt.date) -> dt.date:
    """The first day on which the card can close: today, an open day, on which it counts, and no cards come to it later.

    Whoever knows the tickets adds the day after the last one with it.
    """
    came = card.merged.aggregate(last=Max("counted_to"))["last"]
    return max(day for day in (today, first_open_day(), card.counted_from, came) if day)


def merge(survivor: Member, card: Member, *, on: dt.date, batch: BindingBatch) -> None:
    """Closes `card` from `on` and lets `survivor` stand for it; whoever calls opens the transaction.

    The caller sees to it that no ticket with the card is dated on that day or later. Raises MergeError for cards that
    are closed or the same, MonthError for a day in a closed month.
    """
    require_open(on, _("The merge"))
    survivor, card = _locked(survivor, card)
    check(survivor, card)
    if on < earliest_day(card, today=on) or on < survivor.counted_from:
        raise MergeError(
            _("Card %(card)s can't close on %(day)s: it, or the card that survives, counts only later.")
            % {"card": card.member_no, "day": on}
        )
    end([card.pk], on=on, batch=batch)
    card.closed_on = card.counted_to = on
    card.merged_into, card.merged_by = survivor, batch
    card.save(update_fields=["closed_on", "counted_to", "merged_into", "merged_by"])


def check(survivor: Member, card: Member) -> None:
    """Raises MergeError where the two cards are not two, or one of them is closed or merged."""
    if survivor.pk == card.pk:
        raise MergeError(_("Card %(card)s can't be merged into itself: choose two cards.") % {"card": card.member_no})
    for one in (survivor, card):
        if one.merged_into is not None:
            raise MergeError(
                _("Card %(card)s was merged into %(survivor)s already: merge that card instead.")
                % {"card": one.member_no, "survivor": one.merged_into.member_no}
            )
        if one.closed_on is not None:
            raise MergeError(
                _("Card %(card)s is closed from %(day)s on: there is nothing to merge.")
                % {"card": one.member_no, "day": one.closed_on}
            )


def undo_merge(batch: BindingBatch, back: BindingBatch) -> Member:
    """Takes a merge back: the card is open again and bound as it was, from the day of the merge on.

    `back` is the batch that does so, with `undoes` set; it is saved here. The caller sees to it that no ticket was
    sold with the card since. Raises MergeError where something else was built on the merge, MonthError where its day
    lies in a closed month.
    """
    card = Member.objects.select_for_update(of=("self",)).filter(merged_by=batch).first()
    if card is None:
        raise MergeError(_("This merge was taken back already."))
    assert card.merged_into is not None
    require_open(card.counted_to, _("The merge to take back"))
    survivor, card = _locked(card.merged_into, card)
    later = Q(batch__gt=batch) | Q(ended_by__gt=batch) | Q(voided_by__gt=batch)
    if survivor.closed_on is not None or Binding.objects.filter(later, member__in=[survivor, card]).exists():
        raise MergeError(
            _(
                "The merge can't be taken back any more: card %(survivor)s was changed since. "
                "Reassign it where its owner is wrong."
            )
            % {"survivor": survivor.member_no}
        )
    if Binding.objects.filter(Q(ended_by=batch) | Q(voided_by=batch)).exists():
        try:
            undo(batch, back)
        except BindingError as error:
            raise MergeError(str(error)) from error
    else:
        # Nobody owned the card: there is no binding to make again.
        back.save()
    Member.objects.filter(pk=card.pk).update(
        closed_on=None, counted_to=Member._meta.get_field("counted_to").default, merged_into=None, merged_by=None
    )
    card.refresh_from_db()
    return card


def _locked(*cards: Member) -> list[Member]:
    """The cards as they are now, held until the transaction ends: of two merges of one card, one comes first."""
    assert transaction.get_connection().in_atomic_block
    held = Member.objects.select_for_update(of=("self",)).filter(pk__in=[card.pk for card in cards]).order_by("pk")
    found = {card.pk: card for card in held.select_related("merged_into")}
    return [found[card.pk] for card in cards]


# --- Which card stands for which ---------------------------------------------------------------------------------


def surviving_cards_sql() -> str:
    """SQL of a relation (card_id, survivor_id): the merged cards at the end of a day, each with the card it stands for.

    The day is its one parameter, given three times. There are as many rows as merged cards, however many there are in
    all.
    """
    return """
        WITH RECURSIVE led(card_id, survivor_id) AS (
            SELECT id, merged_into_id FROM portfolios_member
            WHERE merged_into_id IS NOT NULL AND counted_to <= %s
            UNION ALL
            SELECT led.card_id, next.merged_into_id FROM led
            JOIN portfolios_member AS next ON next.id = led.survivor_id
            WHERE next.merged_into_id IS NOT NULL AND next.counted_to <= %s
        )
        SELECT led.card_id, led.survivor_id FROM led
        JOIN portfolios_member AS last ON last.id = led.survivor_id
        WHERE last.merged_into_id IS NULL OR last.counted_to > %s"""


def surviving_cards(on: dt.date) -> dict[int, int]:
    """By merged card, the card that stands for it at the end of a day, as primary keys."""
    with connection.cursor() as cursor:
        cursor.execute(surviving_cards_sql(), [on] * 3)
        return dict(cursor.fetchall())


def surviving_card_sql(card: str, day: str) -> str:
    """SQL of the card that stands for one card on a day: itself, where it was not merged by then.

    The arguments are SQL too. It is meant for merged cards, which are few.
    """
    return f"""(
        WITH RECURSIVE led(card_id, steps) AS (
            SELECT CAST({card} AS bigint), 0
            UNION ALL
            SELECT next.merged_into_id, led.steps + 1 FROM led
            JOIN portfolios_member AS next ON next.id = led.card_id
            WHERE next.merged_into_id IS NOT NULL AND next.counted_to <= {day}
        )
        SELECT card_id FROM led ORDER BY steps DESC LIMIT 1)"""


def credit_survivors(table: str) -> None:
    """In a table of things sold (member_id, business_date), puts the surviving card in the place of a merged one."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET member_id = {surviving_card_sql(f'{table}.member_id', f'{table}.business_date')} "
            "WHERE member_id IN (SELECT id FROM portfolios_member WHERE merged_into_id IS NOT NULL)"
        )


def cards_of(card: Member) -> list[int]:
    """The card, and those that were ever merged into it or into one of them, as primary keys."""
    found, newest = [card.pk], [card.pk]
    while newest := list(Member.objects.filter(merged_into__in=newest).values_list("pk", flat=True)):
        found += newest
    return found
